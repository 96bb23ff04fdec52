//! The task of one live agent: it owns the process, the terminal, the screen and the tape of one run at a time, and
//! nobody else touches them. Generations fence everything: what belongs to an older run is finished before the next
//! one begins.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use amux_proto::entity::{Definition, Exit, ExitWhy, Kind, Process, Size};
use amux_proto::view::Look;
use amux_proto::{AgentId, Code, Effect, Rejection, RunNo, effect, env};
use amux_sys::process::ProcessId;
use amux_sys::spawn::{self, Child, Session, SpawnSpec, Stdio};
use amux_sys::{clock, pty, stop};
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};

use crate::kept::{self, Kept};
use crate::screen::Screen;
use crate::tape::{self, Tape};
use crate::{Shared, keys, polled, report};

/// A question to a live agent.
pub enum Ask {
    Look { lines: Option<u32>, ansi: bool, reply: oneshot::Sender<Look> },
    Keys { keys: Vec<String>, reply: oneshot::Sender<Result<(), Rejection>> },
    Resize { size: Size, reply: oneshot::Sender<Result<(), Rejection>> },
}

/// A PTY hands out 4 KiB a read.
const READ_BYTES: usize = 8 * 1024;

/// Output that is still in the PTY when its process has ended. The bound keeps a background child that holds the
/// terminal open from holding us.
const DRAIN_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Keys wait at most this long for a program that does not read.
const KEYS_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the launcher may take to tell us how an adopted process ended.
const ORPHAN_STATUS_TIMEOUT: Duration = Duration::from_secs(2);

/// After a failed start the next one waits, longer each time.
const START_RETRY_FIRST_MS: i64 = 1_000;
const START_RETRY_MAX_MS: i64 = 60_000;

/// Follows one agent's wishes until none is open and nothing lives.
pub(crate) async fn task(
    shared: Arc<Shared>,
    agent: AgentId,
    kept: Option<(RunNo, Kept)>,
    mut asks: mpsc::Receiver<Ask>,
) {
    let mut live = match kept {
        Some((run, kept)) => adopt(&shared, agent, run, kept).await,
        None => None,
    };
    let mut moved = shared.world.engine.published().watch_wishes();
    let mut detach = shared.detach.subscribe();
    loop {
        moved.borrow_and_update();
        let wishes = Wishes::of(&shared, agent);
        live = match (live, wishes.stop, wishes.start) {
            (Some(run), Some((no, grace_ms)), _) if no == run.no => {
                let (no, exit) = run.stop(&shared, agent, Duration::from_millis(grace_ms)).await;
                shared.set_run(agent, None);
                report::exited(&shared, agent, no, exit).await;
                None
            }
            (None, Some((no, _)), _) => {
                // The stop overtook the start, or the process ended while nobody looked.
                report::end_leftovers(&shared, agent, no).await;
                let exit = Exit { code: None, signal: None, why: ExitWhy::Stopped, survivors: Vec::new() };
                report::exited(&shared, agent, no, exit).await;
                None
            }
            (None, None, Some(start)) => {
                if let Some(wait) = start.wait() {
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        _ = moved.changed() => {}
                        _ = detach.changed() => return,
                    }
                    None
                } else {
                    begin(&shared, agent, &start).await
                }
            }
            (None, None, None) => return,
            (Some(mut run), _, _) => {
                let ended = tokio::select! {
                    _ = moved.changed() => None,
                    _ = detach.changed() => return,
                    Some(ask) = asks.recv() => { run.answer(agent, ask).await; None }
                    ended = run.step() => ended,
                };
                match ended {
                    None => Some(run),
                    Some(Ended) => {
                        shared.set_run(agent, None);
                        let (no, exit) = run.finish(&shared, agent).await;
                        report::exited(&shared, agent, no, exit).await;
                        None
                    }
                }
            }
        };
    }
}

struct Start {
    run: RunNo,
    key: effect::Key,
    attempts: u32,
    not_before_ms: i64,
}

impl Start {
    fn wait(&self) -> Option<Duration> {
        u64::try_from(self.not_before_ms - clock::now_ms()).ok().filter(|ms| *ms > 0).map(Duration::from_millis)
    }
}

/// What is open for one agent.
#[derive(Default)]
struct Wishes {
    stop: Option<(RunNo, u64)>,
    start: Option<Start>,
}

impl Wishes {
    fn of(shared: &Shared, of: AgentId) -> Self {
        let mut wishes = Self::default();
        for wish in shared.world.engine.published().wishes() {
            match wish.effect {
                Effect::EnsureStopped { agent, run, grace_ms } if agent == of => wishes.stop = Some((run, grace_ms)),
                Effect::EnsureRunning { agent, run } if agent == of => {
                    let (key, attempts, not_before_ms) = (wish.effect.key(), wish.attempts, wish.not_before_ms);
                    wishes.start = Some(Start { run, key, attempts, not_before_ms });
                }
                Effect::EnsureStopped { .. } | Effect::EnsureRunning { .. } => {}
            }
        }
        wishes
    }
}

/// The process of a run ended by itself.
struct Ended;

struct Live {
    no: RunNo,
    process: ProcessId,
    /// `None` for a process an earlier server started: the launcher reaps it.
    child: Option<Child>,
    pty: AsyncFd<OwnedFd>,
    pidfd: Option<AsyncFd<OwnedFd>>,
    /// The terminal says nothing more; only the end of the process is awaited.
    hung_up: bool,
    screen: Screen,
    tape: Tape,
    buffer: Box<[u8]>,
    name: String,
}

async fn begin(shared: &Arc<Shared>, agent: AgentId, start: &Start) -> Option<Live> {
    let (definition, label) = shared.world.engine.published().definition(agent)?;
    match spawn_run(shared, agent, &label, &definition, start.run) {
        Ok(live) => {
            let process = Process { pid: live.process.pid, start_ticks: live.process.start_ticks };
            shared.set_run(agent, Some(start.run));
            report::started(shared, agent, start.run, process).await;
            Some(live)
        }
        Err(StartError::Spawn(error)) if error.is_final() => {
            report::failed(shared, agent, start.run, error.to_string()).await;
            None
        }
        Err(error) => {
            // A shortage of the machine passes; the wish stays open.
            tracing::warn!(%agent, run = %start.run, %error, "An agent could not be started; it is tried again.");
            let pause = (START_RETRY_FIRST_MS << start.attempts.min(10)).min(START_RETRY_MAX_MS);
            shared.world.engine.attempted(start.key, clock::now_ms() + pause).await;
            None
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Spawn(#[from] spawn::Error),
    #[error("its tape cannot be opened: {0}")]
    Tape(#[source] io::Error),
    #[error("its terminal cannot be watched: {0}")]
    Watch(#[source] io::Error),
}

fn spawn_run(
    shared: &Shared,
    agent: AgentId,
    label: &str,
    definition: &Definition,
    run: RunNo,
) -> Result<Live, StartError> {
    let tape = Tape::open(tape::dir(&shared.world.tapes, agent, run)).map_err(StartError::Tape)?;
    let spec = spec(shared, agent, label, definition, run);
    let mut child = spawn::spawn(&spec)?;
    let name = kept::name(agent, run, &child.id);
    let pty = child.pty.take().expect("a child with Stdio::Pty has a PTY");
    let pidfd = child.pidfd.take();
    let fds: Vec<_> = std::iter::once(pty.as_fd()).chain(pidfd.as_ref().map(|fd| fd.as_fd())).collect();
    if let Err(error) = shared.world.notifier.store_fds(&name, &fds) {
        tracing::warn!(%agent, %run, %error, "A terminal could not be given to the launcher; a restart would lose it.");
    }
    drop(fds);
    let (pty, pidfd) = match watched(pty, pidfd) {
        Ok(both) => both,
        Err(error) => {
            stop::stop_tree(&child.id, Some((env::TAG, &report::tag(agent, run))), Duration::ZERO);
            child.wait().ok();
            shared.world.notifier.remove_fds(&name).ok();
            return Err(StartError::Watch(error));
        }
    };
    let screen = Screen::live(definition.size);
    Ok(Live {
        no: run,
        process: child.id,
        child: Some(child),
        pty,
        pidfd,
        hung_up: false,
        screen,
        tape,
        buffer: buffer(),
        name,
    })
}

type Watched = (AsyncFd<OwnedFd>, Option<AsyncFd<OwnedFd>>);

fn watched(terminal: OwnedFd, pidfd: Option<OwnedFd>) -> io::Result<Watched> {
    pty::set_nonblocking(terminal.as_fd())?;
    let terminal = polled::both(terminal)?;
    let pidfd = pidfd.map(polled::readable).transpose()?;
    Ok((terminal, pidfd))
}

fn spec(shared: &Shared, agent: AgentId, label: &str, definition: &Definition, run: RunNo) -> SpawnSpec {
    let world = &shared.world;
    let (program, args) = match (definition.kind, definition.argv.split_first()) {
        (Kind::Cmd, Some((program, args))) => (PathBuf::from(program), args),
        (Kind::Shell, _) | (Kind::Cmd, None) => (world.shell.clone(), definition.argv.as_slice()),
    };
    // The later word wins: a definition may set what it likes, but not who the agent is.
    let mut environment: BTreeMap<OsString, OsString> = world.base_env.iter().cloned().collect();
    environment.insert("TERM".into(), "xterm-256color".into());
    environment.insert("COLORTERM".into(), "truecolor".into());
    environment.extend(definition.env.iter().map(|(key, value)| (key.into(), value.into())));
    let ours: [(&str, OsString); 7] = [
        (env::AGENT, label.into()),
        (env::AGENT_UID, agent.to_string().into()),
        (env::RUN, run.to_string().into()),
        (env::TAG, report::tag(agent, run).into()),
        (env::TOKEN, (world.token)(agent, run).into()),
        (env::SOCKET, world.socket.clone().into()),
        (env::LOCAL_URL, world.local_url.clone().into()),
    ];
    environment.extend(ours.map(|(key, value)| (key.into(), value)));
    let Size { rows, cols } = definition.size;
    SpawnSpec {
        program,
        args: args.iter().map(Into::into).collect(),
        cwd: PathBuf::from(&definition.cwd),
        env: environment.into_iter().collect(),
        stdio: Stdio::Pty { rows, cols },
        session: Session::Own,
        pass_fds: Vec::new(),
        nofile: None,
    }
}

/// Takes over a process that an earlier server started.
async fn adopt(shared: &Arc<Shared>, agent: AgentId, run: RunNo, kept: Kept) -> Option<Live> {
    let (size, known) = shared.world.engine.published().read(|state, _| {
        let found = state.agents.get(&agent);
        let size = found.map_or_else(Size::default, |agent| agent.definition.size);
        let known = found.and_then(|agent| agent.run.as_ref()?.process());
        (size, known)
    });
    let dir = tape::dir(&shared.world.tapes, agent, run);
    let mut screen = Screen::live(size);
    screen.feed(&tape::tail(&dir).unwrap_or_default());
    // What the program asked before the restart was answered then.
    screen.take_answers();
    let parts = Tape::open(dir).and_then(|tape| Ok((tape, watched(kept.pty, kept.pidfd)?)));
    let (tape, (pty, pidfd)) = match parts {
        Ok(parts) => parts,
        Err(error) => {
            tracing::error!(%agent, %run, %error, "A kept terminal cannot be used.");
            report::end_leftovers(shared, agent, run).await;
            report::lost(shared, agent, run, "its terminal could not be taken over").await;
            return None;
        }
    };
    let process = Process { pid: kept.process.pid, start_ticks: kept.process.start_ticks };
    if known != Some(process) {
        // Its start was carried out but never committed.
        report::started(shared, agent, run, process).await;
    }
    tracing::info!(%agent, %run, pid = process.pid, "An agent was taken over.");
    Some(Live {
        no: run,
        process: kept.process,
        child: None,
        pty,
        pidfd,
        hung_up: false,
        screen,
        tape,
        buffer: buffer(),
        name: kept.name,
    })
}

impl Live {
    /// One piece of output, or the end.
    async fn step(&mut self) -> Option<Ended> {
        tokio::select! {
            // Output first: what was printed before the end belongs before the end.
            biased;
            read = read(&self.pty, &mut self.buffer), if !self.hung_up => {
                self.heard(read);
                None
            }
            () = exited(self.pidfd.as_ref(), &self.process) => Some(Ended),
        }
    }

    fn heard(&mut self, read: io::Result<usize>) {
        match read {
            Ok(0) | Err(_) => self.hung_up = true,
            Ok(count) => self.take_in(count),
        }
    }

    fn take_in(&mut self, count: usize) {
        let bytes = &self.buffer[..count];
        self.tape.write(bytes);
        self.screen.feed(bytes);
        let answers = self.screen.take_answers();
        if !answers.is_empty() {
            // A program that does not read its answers loses them, as with any terminal whose buffer is full.
            let _ = pty::write(self.pty.get_ref().as_fd(), &answers);
        }
    }

    async fn answer(&mut self, agent: AgentId, ask: Ask) {
        // Whoever asked may have gone meanwhile; that is theirs to know.
        match ask {
            Ask::Look { lines, ansi, reply } => {
                let Size { rows, cols } = self.screen.size();
                let lines = self.screen.rows(lines.map(|lines| lines as usize), ansi);
                let (cursor, title) = (self.screen.cursor(), self.screen.title());
                let _ = reply.send(Look { agent: agent.to_string(), run: self.no, rows, cols, lines, cursor, title });
            }
            Ask::Keys { keys, reply } => {
                let _ = reply.send(self.type_keys(&keys).await);
            }
            Ask::Resize { size, reply } => {
                let resized = pty::resize(self.pty.get_ref().as_fd(), size.rows, size.cols);
                if resized.is_ok() {
                    self.screen.resize(size);
                }
                let _ = reply
                    .send(resized.map_err(|error| Rejection::new(Code::Conflict, format!("cannot resize: {error}"))));
            }
        }
    }

    async fn type_keys(&mut self, keys: &[String]) -> Result<(), Rejection> {
        let bytes = keys::encode(keys, self.screen.application_cursor())?;
        let write = async {
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let mut ready = self.pty.writable().await?;
                match ready.try_io(|fd| pty::write(fd.get_ref().as_fd(), rest)) {
                    Ok(written) => rest = &rest[written?..],
                    Err(_would_block) => {}
                }
            }
            io::Result::Ok(())
        };
        match tokio::time::timeout(KEYS_TIMEOUT, write).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Rejection::new(Code::Conflict, format!("the terminal takes no keys: {error}"))),
            Err(_) => Err(Rejection::new(Code::TimedOut, "the program does not read its keys: some may have arrived")),
        }
    }

    async fn stop(mut self, shared: &Shared, agent: AgentId, grace: Duration) -> (RunNo, Exit) {
        let (process, tag) = (self.process, report::tag(agent, self.no));
        let stopped = tokio::task::spawn_blocking(move || stop::stop_tree(&process, Some((env::TAG, &tag)), grace));
        tokio::pin!(stopped);
        let ended = loop {
            // Its last words are read while it ends, so that a full terminal does not keep it from ending.
            tokio::select! {
                report = &mut stopped => break report,
                read = read(&self.pty, &mut self.buffer), if !self.hung_up => self.heard(read),
            }
        };
        let (no, mut exit) = self.finish(shared, agent).await;
        match ended {
            Ok(report) => {
                exit.why = if report.escalated { ExitWhy::Killed } else { ExitWhy::Stopped };
                exit.survivors = report.survivors.iter().map(|process| process.pid).collect();
            }
            Err(error) => tracing::error!(%agent, %error, "Stopping an agent broke."),
        }
        (no, exit)
    }

    /// Reads what is left, reaps, and lets go of everything.
    async fn finish(mut self, shared: &Shared, agent: AgentId) -> (RunNo, Exit) {
        let mut drained = 0;
        while !self.hung_up && drained < DRAIN_BYTES_MAX {
            match pty::read(self.pty.get_ref().as_fd(), &mut self.buffer) {
                Ok(0) | Err(_) => break,
                Ok(count) => {
                    drained += count;
                    self.tape.write(&self.buffer[..count]);
                }
            }
        }
        let (code, signal) = match &mut self.child {
            Some(child) => child_status(child),
            None => orphan_status(shared, &self.process).await,
        };
        shared.world.notifier.remove_fds(&self.name).ok();
        tracing::info!(%agent, run = %self.no, pid = self.process.pid, ?code, ?signal, "A run ended.");
        (self.no, Exit { code, signal, why: ExitWhy::Itself, survivors: Vec::new() })
    }
}

fn buffer() -> Box<[u8]> {
    vec![0; READ_BYTES].into_boxed_slice()
}

async fn read(terminal: &AsyncFd<OwnedFd>, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        let mut ready = terminal.readable().await?;
        match ready.try_io(|fd| pty::read(fd.get_ref().as_fd(), buffer)) {
            Ok(read) => return read,
            Err(_would_block) => {}
        }
    }
}

/// Where there is no pidfd the end is looked for; the interval is a last resort and does not scale with agents that
/// have one.
const LOOK_FOR_END: Duration = Duration::from_millis(500);

async fn exited(pidfd: Option<&AsyncFd<OwnedFd>>, process: &ProcessId) {
    match pidfd {
        Some(pidfd) => {
            // An error of the watch itself must not spin: the process is then looked for.
            if pidfd.readable().await.is_ok() {
                return;
            }
        }
        None => tokio::time::sleep(LOOK_FOR_END).await,
    }
    while amux_sys::process::alive(process) {
        tokio::time::sleep(LOOK_FOR_END).await;
    }
}

/// Never waits: a process that cannot be ended, which a stop names as a survivor, must not hold this thread.
fn child_status(child: &mut Child) -> (Option<i32>, Option<i32>) {
    use std::os::unix::process::ExitStatusExt as _;
    child.try_wait().ok().flatten().map_or((None, None), |status| (status.code(), status.signal()))
}

async fn orphan_status(shared: &Shared, process: &ProcessId) -> (Option<i32>, Option<i32>) {
    let mut moved = shared.orphans_moved.subscribe();
    let told = async {
        loop {
            if let Some(exit) = shared.take_orphan(process.pid, process.start_ticks) {
                return (exit.code, exit.signal);
            }
            if moved.changed().await.is_err() {
                return (None, None);
            }
        }
    };
    tokio::time::timeout(ORPHAN_STATUS_TIMEOUT, told).await.unwrap_or((None, None))
}
