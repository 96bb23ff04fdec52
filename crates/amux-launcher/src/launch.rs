//! The one loop: it waits for whatever happens first, tells the machine, and carries its wishes out. Everything that
//! touches the world is here; nothing here decides.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use amux_proto::Time;
use amux_proto::ready::Line;
use amux_sys::lock::{self, Lock};
use amux_sys::process::{self, Reaped};
use amux_sys::signals::{self, Signal, Signals};
use amux_sys::socket::{self, SocketGuard};
use amux_sys::{clock, fdpass, paths, poll};

use crate::child::{self, Birth, Child, Stream};
use crate::echo::Echo;
use crate::environment::{self, Common};
use crate::journal::{Journal, Who};
use crate::log::Log;
use crate::lookup;
use crate::machine::{Asker, Death, Effect, End, Initiator, Input, Machine, Next, Progress};
use crate::notify::{MESSAGE_BYTES_MAX, Message};
use crate::orphans::{self, Ledger};
use crate::policy::{Class, Memory, Status};
use crate::store::{self, Store};
use crate::sweep;
use crate::window::{self, Backend};
use crate::{Config, ExitOutcome};

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("a launcher runs already")]
    AlreadyRunning(Option<u32>),
    #[error("the directories cannot be used")]
    Layout(#[from] paths::Error),
    #[error("the launcher's lock cannot be taken")]
    Lock(#[from] lock::Error),
    #[error("the launcher's socket cannot be made: {path}")]
    Socket {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("signals cannot be received")]
    Signals(#[source] io::Error),
}

/// `what: why: why that`, on one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(&format!(": {error}"));
        cause = error.source();
    }
    words
}

pub(crate) struct Launcher {
    config: Config,
    running: Option<PathBuf>,
    cwd: PathBuf,
    began: u64,
    machine: Machine,
    first: Vec<Effect>,
    server: Option<Child>,
    /// Of the present start or the last one; kept to keep it out of the log.
    auth_key: String,
    instance: String,
    window: Option<WindowKeeper>,
    store: Store,
    ledger: Ledger,
    /// The server does not read what it is told; it is asked again soon.
    is_stuck: bool,
    /// There are more ended children than one turn took; nothing will wake us for them.
    reap_more: bool,
    /// The kernel's count when we last looked.
    oom_kills: Option<u64>,
    strangers: u64,
    end: Option<End>,
    last_line: String,
    voice: Voice,
    journal: Journal,
    signals: Signals,
    ear: Ear,
    /// Last, so that it is given back last.
    _lock: Lock,
}

struct Ear {
    socket: UnixDatagram,
    guard: SocketGuard,
}

struct WindowKeeper {
    machine: window::Machine,
    process: Option<Child>,
    since: u64,
}

/// Where words go.
struct Voice {
    log: Log,
    echo: Option<Echo>,
}

/// Twice the store's bound while a server starts, and the rest for ourselves; servers inherit it.
const OPEN_FILES: u64 = 16_384;

/// What is heard in one turn; the rest waits for the next, after everything else had its turn.
const MESSAGES_PER_TURN_MAX: usize = 256;

/// What a dead server may have left in the socket. The kernel's queue is shorter.
const LAST_MESSAGES_MAX: usize = 16_384;

/// Children reaped in one turn.
const REAPED_PER_TURN_MAX: usize = 1_024;

/// When to ask a server again that does not read its life-line.
const ASK_AGAIN_MS: u64 = 50;

/// Of each of two files.
const LOG_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Of the server's last line, as far as it is quoted.
const QUOTE_CHARS_MAX: usize = 300;

impl Launcher {
    pub(crate) fn open(config: Config) -> Result<Self, Error> {
        config.layout.prepare()?;
        let path = config.layout.launcher_lock();
        let Some(lock) = Lock::try_acquire(&path)? else {
            return Err(Error::AlreadyRunning(lock::holder(&path)));
        };
        let mut wanted = vec![Signal::Term, Signal::Int, Signal::Child];
        if config.foreground {
            wanted.push(Signal::Hup);
        } else {
            // The terminal of whoever needed a server is not ours.
            signals::ignore(Signal::Hup);
        }
        let signals = Signals::new(&wanted).map_err(Error::Signals)?;
        process::set_subreaper();
        let open_files = process::raise_nofile_limit(OPEN_FILES);
        let ear = Ear::open(&config.layout.launcher_socket())?;
        let logs = config.layout.logs();
        let (machine, first) = Machine::start(config.policy);
        let mut launcher = Self {
            running: std::env::current_exe().ok(),
            cwd: std::env::current_dir().unwrap_or_default(),
            began: clock::mono_ms(),
            machine,
            first,
            server: None,
            auth_key: String::new(),
            instance: String::new(),
            window: config.window.as_ref().map(|_| WindowKeeper {
                machine: window::Machine::new(config.policy),
                process: None,
                since: 0,
            }),
            store: Store::new(open_files),
            ledger: Ledger::default(),
            is_stuck: false,
            reap_more: false,
            oom_kills: None,
            strangers: 0,
            end: None,
            last_line: String::new(),
            voice: Voice {
                log: Log::new(logs.join("srv-stderr.log"), LOG_BYTES_MAX),
                echo: config.foreground.then(Echo::start).flatten(),
            },
            journal: Journal::new(&logs),
            signals,
            ear,
            _lock: lock,
            config,
        };
        let (pid, room) = (std::process::id(), launcher.store.room());
        launcher.voice.say(&format!("launcher {pid} supervises profile {}", launcher.config.profile));
        if room < store::FDS_MAX {
            launcher
                .voice
                .say(&format!("only {room} descriptors can be kept: the limit of open files is {open_files}"));
        }
        Ok(launcher)
    }

    pub(crate) fn supervise(mut self) -> ExitOutcome {
        let first = std::mem::take(&mut self.first);
        self.carry_out(first);
        let end = loop {
            if let Some(end) = self.end.take() {
                break end;
            }
            self.turn();
        };
        self.close_window();
        self.sweep();
        self.outcome(end)
    }

    fn turn(&mut self) {
        self.wait();
        for signal in self.signals.read() {
            match signal {
                Signal::Term => self.tell(Input::Stop(Asker::Terminate)),
                Signal::Int => self.tell(Input::Stop(Asker::Interrupt)),
                Signal::Hup => self.tell(Input::Stop(Asker::Hangup)),
                // Looked after in every turn.
                Signal::Child => {}
                Signal::Kill | Signal::Abort | Signal::Stop | Signal::Cont | Signal::Winch => {}
            }
        }
        self.hear(MESSAGES_PER_TURN_MAX);
        self.listen();
        self.reap();
        self.pass_on_exits();
        let now = clock::mono_ms();
        if self.machine.deadline().is_some_and(|deadline| deadline <= now) {
            self.tell(Input::Timer);
        }
        if let Some(window) = &mut self.window {
            let effects = window.machine.timer(now);
            self.carry_out_window(effects);
        }
    }

    fn wait(&self) {
        let now = clock::mono_ms();
        let window = self.window.as_ref();
        let deadlines = [
            self.machine.deadline(),
            window.and_then(|window| window.machine.deadline()),
            self.is_stuck.then(|| now + ASK_AGAIN_MS),
            self.reap_more.then_some(now),
        ];
        let until = deadlines.into_iter().flatten().min();
        let timeout = until.map(|until| Duration::from_millis(until.saturating_sub(now)));
        let mut fds: Vec<BorrowedFd<'_>> = vec![self.signals.as_fd(), self.ear.socket.as_fd()];
        fds.extend(self.server.iter().flat_map(Child::ends));
        fds.extend(window.and_then(|window| window.process.as_ref()).iter().flat_map(|child| child.ends()));
        if poll::wait(&fds, timeout).is_err() {
            // Nothing in a turn waits, so turns without poll are only less thrifty.
            std::thread::sleep(Duration::from_millis(ASK_AGAIN_MS));
        }
    }

    fn tell(&mut self, input: Input) {
        let effects = self.machine.handle(input, clock::mono_ms(), random());
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Spawn => {
                    let born = self.spawn();
                    effects.extend(self.machine.handle(born, clock::mono_ms(), random()));
                }
                Effect::Signal(signal) => {
                    // Not reaped yet, so the pid is still its own.
                    if let Some(server) = &self.server {
                        let _ = signals::send(server.process.pid, to_signal(signal));
                    }
                }
                Effect::Journal(death) => {
                    self.journal.death(Time(clock::now_ms()), Who::Srv, &self.instance, &death);
                }
                Effect::Say(text) => self.voice.say(&text),
                Effect::End(end) => self.end = Some(end),
            }
        }
    }

    fn spawn(&mut self) -> Input {
        // Somebody may have cleaned up a directory for temporary files; a new server could not reach us.
        if !self.ear.guard.still_bound() {
            match Ear::open(&self.config.layout.launcher_socket()) {
                Ok(ear) => self.ear = ear,
                Err(error) => return Input::NotSpawned { why: with_causes(&error) },
            }
        }
        let program = match self.lookup() {
            Ok(program) => program,
            Err(error) => return Input::NotSpawned { why: error.to_string() },
        };
        self.auth_key = hex(&clock::random_bytes::<32>());
        self.instance = hex(&clock::random_bytes::<8>());
        let server = environment::Server {
            auth_key: &self.auth_key,
            watchdog_ms: self.config.policy.watchdog_ms,
            fds: self.store.len(),
            fd_names: self.store.names(),
        };
        let birth = Birth {
            program,
            args: self.config.srv_args.clone(),
            cwd: self.config.layout.state_dir.clone(),
            env: environment::server(std::env::vars_os(), &self.common(), server),
            instance: self.instance.clone(),
        };
        let (started, fds) = Child::start(birth, self.store.lend());
        self.store.take_back(fds);
        match started {
            Ok(server) => {
                let pid = server.process.pid;
                self.server = Some(server);
                self.ledger.begin_again();
                self.pass_on_exits();
                self.oom_kills = process::oom_kills();
                Input::Spawned { pid }
            }
            Err(error) => Input::NotSpawned { why: with_causes(&error) },
        }
    }

    fn lookup(&self) -> Result<PathBuf, lookup::Error> {
        lookup::program(&lookup::World {
            env: &|name| std::env::var_os(name),
            running: self.running.as_deref(),
            cwd: &self.cwd,
            can_run: &|path| path.is_file(),
        })
    }

    fn common(&self) -> Common<'_> {
        let app_path = self.running.as_deref().and_then(Path::parent).unwrap_or(&self.cwd);
        Common {
            layout: &self.config.layout,
            profile: &self.config.profile,
            instance: &self.instance,
            app_path: app_path.as_os_str(),
        }
    }

    /// The datagrams that are there, in order.
    fn hear(&mut self, messages_max: usize) {
        let mut buffer = [0; MESSAGE_BYTES_MAX + 1];
        for _ in 0..messages_max {
            let received = match fdpass::recv_with_fds(&self.ear.socket, &mut buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    self.voice.say(&format!("a notification could not be read: {error}"));
                    continue;
                }
            };
            let server = self.server.as_ref().map(|server| server.process.pid);
            // Where the kernel does not say who sent it, the socket's mode has kept other users out.
            if server.is_none() || received.pid.is_some_and(|pid| Some(pid) != server) {
                self.strangers += 1;
                if self.strangers.is_power_of_two() {
                    let (pid, count) = (received.pid.unwrap_or(0), self.strangers);
                    self.voice
                        .say(&format!("a notification of pid {pid} was ignored: not the server ({count} so far)"));
                }
                continue;
            }
            if received.bytes > MESSAGE_BYTES_MAX {
                self.voice.say("a notification was ignored: too long");
                continue;
            }
            self.obey(Message::parse(&buffer[..received.bytes]), received.fds);
        }
    }

    fn obey(&mut self, message: Message, fds: Vec<std::os::fd::OwnedFd>) {
        if let Some(name) = message.remove {
            self.store.remove(&name);
        }
        if let Some(name) = message.store
            && let Err(error) = self.store.keep(&name, fds)
        {
            self.voice.say(&format!("descriptors {name:?} were refused: {error}"));
        }
        for process in message.reaped {
            self.ledger.acknowledge(process);
        }
        if let Some(ms) = message.extend_ms {
            self.tell(Input::Progress(Progress::Extend { ms }));
        }
        if let Some(status) = message.status {
            self.tell(Input::Progress(Progress::Status(status)));
        }
        if message.ready {
            self.tell(Input::Ready);
        }
        // Who speaks this protocol when ready has been told of the watchdog by it.
        if message.ping || message.ready {
            self.tell(Input::Ping);
            self.oom_kills = process::oom_kills();
        }
        if let Some(goal) = message.stopping {
            self.tell(Input::Stopping(goal));
        }
    }

    fn listen(&mut self) {
        let said = self.server.as_mut().map(Child::listen).unwrap_or_default();
        self.note(said);
        let said = self.window.as_mut().and_then(|window| window.process.as_mut()).map(Child::listen);
        for (_, line) in said.unwrap_or_default() {
            self.voice.pass_on(&line);
        }
    }

    /// What the server said.
    fn note(&mut self, said: Vec<(Stream, String)>) {
        for (stream, line) in said {
            let line = line.replace(&self.auth_key, "[key]");
            self.voice.pass_on(&line);
            match Line::parse(&line).filter(|_| stream == Stream::Err) {
                Some(Line::Ready(ready)) => {
                    self.tell(Input::Ready);
                    if let Some(window) = &mut self.window {
                        let backend = Backend { ws: ready.ws, web: ready.web };
                        let effects = window.machine.server_ready(backend, clock::mono_ms());
                        self.carry_out_window(effects);
                    }
                }
                Some(Line::Migrating { migrations }) => self.tell(Input::Progress(Progress::Migrating { migrations })),
                Some(Line::MigrationFailed { error }) => self.last_line = error,
                None => self.last_line = line,
            }
        }
    }

    fn reap(&mut self) {
        self.reap_more = false;
        for _ in 0..REAPED_PER_TURN_MAX {
            let Some(reaped) = process::reap_any() else { return };
            if self.server.as_ref().is_some_and(|server| server.process.pid == reaped.process.pid) {
                self.server_ended(reaped);
            } else if self.is_window(reaped) {
                self.window_ended(reaped);
            } else {
                self.orphan_ended(reaped);
            }
        }
        self.reap_more = true;
    }

    fn server_ended(&mut self, reaped: Reaped) {
        // What it said and did before it ended counts: first of all the descriptors it wanted kept.
        self.hear(LAST_MESSAGES_MAX);
        let said = self.server.as_mut().map(Child::last_words).unwrap_or_default();
        self.note(said);
        self.server = None;
        let now = process::oom_kills();
        let memory = Memory {
            available_bytes: process::memory_available_bytes(),
            killer_was_here: self.oom_kills.zip(now).map(|(before, now)| now > before),
        };
        self.tell(Input::Exited { status: child::status(reaped.status), memory });
    }

    fn orphan_ended(&mut self, reaped: Reaped) {
        let (code, signal) = match child::status(reaped.status) {
            Status::Code(code) => (Some(code), None),
            Status::Signal(signal) => (None, Some(signal)),
        };
        let exit = orphans::Exit { process: reaped.process, code, signal, at_ms: clock::now_ms() };
        if let Some(forgotten) = self.ledger.add(exit) {
            self.voice.say(&format!("too many orphans ended: that of pid {} is forgotten", forgotten.process.pid));
        }
    }

    fn pass_on_exits(&mut self) {
        let ledger = &mut self.ledger;
        self.is_stuck = self.server.as_mut().is_some_and(|server| !server.tell(|| ledger.tell()));
    }

    fn is_window(&self, reaped: Reaped) -> bool {
        let window = self.window.as_ref().and_then(|window| window.process.as_ref());
        window.is_some_and(|window| window.process.pid == reaped.process.pid)
    }

    fn window_ended(&mut self, reaped: Reaped) {
        let status = child::status(reaped.status);
        let Some(window) = &mut self.window else { return };
        let Some(mut process) = window.process.take() else { return };
        for (_, line) in process.last_words() {
            self.voice.pass_on(&line);
        }
        let now = clock::mono_ms();
        let uptime_ms = now.saturating_sub(window.since);
        let effects = window.machine.ended(Some(status), now, random());
        let next = match (window.machine.deadline(), effects.is_empty()) {
            (Some(until), _) => Next::Restart { wait_ms: until.saturating_sub(now) },
            (None, false) if matches!(effects[..], [window::Effect::Open(_)]) => Next::Restart { wait_ms: 0 },
            (None, false) => Next::GiveUp,
            (None, true) => Next::End,
        };
        let death = Death {
            pid: Some(process.process.pid),
            status: Some(status),
            class: if status == Status::Code(0) { Class::Clean } else { Class::Crash },
            initiator: Initiator::Server,
            reason: status.to_string(),
            was_ready: true,
            uptime_ms,
            next,
        };
        self.journal.death(Time(clock::now_ms()), Who::Window, &process.instance, &death);
        self.voice.say(&format!("window {} ended: {status}", process.process.pid));
        self.carry_out_window(effects);
    }

    fn carry_out_window(&mut self, effects: Vec<window::Effect>) {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                window::Effect::Open(backend) => effects.extend(self.open_window(&backend)),
                window::Effect::Terminate => self.signal_window(Signal::Term),
                window::Effect::Kill => self.signal_window(Signal::Kill),
                window::Effect::Say(text) => self.voice.say(&text),
            }
        }
    }

    fn open_window(&mut self, backend: &Backend) -> Vec<window::Effect> {
        let Some(spec) = &self.config.window else { return Vec::new() };
        let pid = self.server.as_ref().map_or(0, |server| server.process.pid);
        let backend = environment::Backend { ws: &backend.ws, web: &backend.web, pid };
        let birth = Birth {
            program: spec.program.clone(),
            args: spec.args.clone(),
            cwd: self.config.layout.state_dir.clone(),
            env: environment::window(std::env::vars_os(), &self.common(), &backend),
            instance: self.instance.clone(),
        };
        let (started, _) = Child::start(birth, Vec::new());
        let Some(window) = &mut self.window else { return Vec::new() };
        window.since = clock::mono_ms();
        match started {
            Ok(process) => {
                self.voice.say(&format!("window {} started", process.process.pid));
                window.process = Some(process);
                Vec::new()
            }
            Err(error) => {
                self.voice.say(&format!("the window did not start: {}", with_causes(&error)));
                window.machine.ended(None, window.since, random())
            }
        }
    }

    fn signal_window(&self, signal: Signal) {
        if let Some(process) = self.window.as_ref().and_then(|window| window.process.as_ref()) {
            let _ = signals::send(process.process.pid, signal);
        }
    }

    /// The server is gone; what showed it goes too.
    fn close_window(&mut self) {
        let Some(process) = self.window.take().and_then(|window| window.process) else { return };
        let deadline = clock::mono_ms() + self.config.policy.last_words_ms;
        let _ = signals::send(process.process.pid, Signal::Term);
        let mut killed = false;
        while process::alive(&process.process) {
            if !killed && clock::mono_ms() >= deadline {
                killed = signals::send(process.process.pid, Signal::Kill).is_ok();
            }
            let _ = poll::wait(&[self.signals.as_fd()], Some(Duration::from_millis(ASK_AGAIN_MS)));
            self.signals.read();
        }
    }

    fn sweep(&mut self) {
        let socket = self.config.layout.srv_socket();
        let grace = Duration::from_millis(self.config.policy.orphan_grace_ms);
        let report = sweep::sweep(socket.as_os_str(), grace);
        if report.stopped > 0 {
            self.voice.say(&format!("stopped {} processes the server left", report.stopped));
        }
        for (what, left) in [("could not be ended", report.survivors), ("left alone: not an agent", report.strangers)] {
            for process in left {
                let command = process::command_line(process.pid).unwrap_or_default();
                self.voice.say(&format!("pid {} {what}: {}", process.pid, quote(&command)));
            }
        }
    }

    fn outcome(&mut self, end: End) -> ExitOutcome {
        let log = self.voice.log.path().display().to_string();
        let last_line = quote(&self.last_line);
        let explain = |words: String| match last_line.as_str() {
            "" => format!("{words}; see {log}"),
            line => format!("{words}; it last said: {line}; see {log}"),
        };
        let (class, outcome) = match end {
            End::Clean => ("clean", ExitOutcome::Clean),
            End::Stopped(_) => ("stopped", ExitOutcome::Stopped),
            End::Refused(refusal) => {
                let words = explain(format!("the server cannot start: {refusal}"));
                ("refused", ExitOutcome::Refused { refusal, words })
            }
            End::GaveUp { words } => ("gave_up", ExitOutcome::GaveUp { words: explain(words) }),
        };
        let reason = outcome.sentence().unwrap_or_else(|| match end_reason(&outcome) {
            Some(reason) => reason.to_owned(),
            None => class.to_owned(),
        });
        self.voice.say(&format!("ends ({class}): {reason}"));
        let uptime_ms = clock::mono_ms().saturating_sub(self.began);
        self.journal.last(Time(clock::now_ms()), class, &reason, uptime_ms);
        outcome
    }
}

fn end_reason(outcome: &ExitOutcome) -> Option<&'static str> {
    match outcome {
        ExitOutcome::Clean => Some("the server was done"),
        ExitOutcome::Stopped => Some("asked to end"),
        _ => None,
    }
}

impl Ear {
    fn open(path: &Path) -> Result<Self, Error> {
        let fail = |source| Error::Socket { path: path.to_owned(), source };
        let (socket, guard) = socket::bind_datagram(path).map_err(fail)?;
        fdpass::want_credentials(&socket).map_err(fail)?;
        Ok(Self { socket, guard })
    }
}

impl Voice {
    /// Our own words.
    fn say(&mut self, text: &str) {
        self.log.write(&format!("{} agentmux launcher: {text}", Time(clock::now_ms())));
        if let Some(echo) = &mut self.echo {
            echo.line(&format!("agentmux launcher: {text}"));
        }
    }

    /// Somebody else's, as they are.
    fn pass_on(&mut self, line: &str) {
        self.log.write(line);
        if let Some(echo) = &mut self.echo {
            echo.line(line);
        }
    }
}

fn to_signal(signal: crate::machine::Signal) -> Signal {
    match signal {
        crate::machine::Signal::Terminate => Signal::Term,
        crate::machine::Signal::Abort => Signal::Abort,
        crate::machine::Signal::Kill => Signal::Kill,
    }
}

fn random() -> u64 {
    u64::from_ne_bytes(clock::random_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The words of others inside our own: short, and nothing a terminal would obey.
fn quote(text: &str) -> String {
    text.chars().take(QUOTE_CHARS_MAX).map(|char| if char.is_control() { '?' } else { char }).collect()
}
