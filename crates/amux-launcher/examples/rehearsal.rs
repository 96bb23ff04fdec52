//! The launcher and a server that plays what a test wrote, in one program as in real life. For the tests of this
//! crate; `tests/it` writes the plans and reads what is left in the state directory.
//!
//! `rehearsal launcher STATE_DIR MODE POLICY PLAN` supervises `rehearsal srv PLAN`. A plan has one scene for each start, divided
//! by `/`; the last is played again and again. A scene is a list of acts, divided by `,`.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{BufRead as _, Seek as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use amux_launcher::{Config, Policy, Window};
use amux_proto::env;
use amux_proto::ready::{Line, Ready};
use amux_sys::notify::{Notifier, listen_fds};
use amux_sys::paths::Layout;
use amux_sys::signals::{self, Signal, Signals};
use amux_sys::spawn::{self, Session, SpawnSpec, Stdio};
use amux_sys::{fdpass, poll, process};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["launcher", state_dir, mode, policy, plan] => launcher(Path::new(state_dir), mode, policy, plan),
        ["srv", plan] => server(plan),
        ["window", state_dir] => window(Path::new(state_dir)),
        _ => panic!("rehearsal launcher STATE_DIR MODE POLICY PLAN"),
    }
}

fn launcher(state_dir: &Path, mode: &str, numbers: &str, plan: &str) -> ExitCode {
    let layout = Layout::resolve("rehearsal", Some(state_dir.into()), Some(state_dir.join("config")), &|_| None)
        .expect("the test gave its directories");
    let this = std::env::current_exe().expect("the system names the running program");
    let window = (mode == "window")
        .then(|| Window { program: this, args: vec!["window".into(), state_dir.as_os_str().to_owned()] });
    let outcome = amux_launcher::run(Config {
        layout,
        profile: "rehearsal".into(),
        srv_args: vec!["srv".into(), plan.into()],
        foreground: mode == "foreground",
        policy: policy(numbers),
        window,
    });
    if let Some(sentence) = outcome.sentence() {
        eprintln!("agentmux: {sentence}");
    }
    ExitCode::from(outcome.code())
}

/// `start=300 watchdog=200`, in milliseconds.
fn policy(numbers: &str) -> Policy {
    let mut policy = Policy::default();
    for word in numbers.split_whitespace() {
        let (name, ms) = word.split_once('=').expect("name=ms");
        let ms = ms.parse().expect("a number");
        match name {
            "start" => policy.start_ms = ms,
            "watchdog" => policy.watchdog_ms = ms,
            "stop" => policy.stop_ms = ms,
            "last_words" => policy.last_words_ms = ms,
            "orphan_grace" => policy.orphan_grace_ms = ms,
            other => panic!("no such number: {other}"),
        }
    }
    policy
}

struct Server {
    data: PathBuf,
    generation: usize,
    notifier: Arc<Notifier>,
    stored: Vec<OwnedFd>,
}

fn server(plan: &str) -> ExitCode {
    let get = |name: &str| std::env::var(name).ok();
    let kept = listen_fds(get(env::LISTEN_FDS).as_deref(), get(env::LISTEN_FDNAMES).as_deref(), None);
    let data = PathBuf::from(get(env::DATA_DIR).expect("a launcher says where the data are"));
    let generation = 1 + (1..).take_while(|n| data.join(format!("env.{n}")).exists()).count();
    let notifier =
        Notifier::from_env_value(std::env::var_os(env::NOTIFY_SOCKET).as_deref()).expect("a launcher listens");
    let server = Server { data, generation, notifier: Arc::new(notifier), stored: Vec::new() };
    let signals = Signals::new(&[Signal::Term]).expect("signals can be received");

    let mut contents = String::new();
    for (name, fd) in kept {
        let mut file = std::fs::File::from(fd);
        let text = file.rewind().and_then(|()| std::io::read_to_string(&mut file)).unwrap_or_default();
        contents.push_str(&format!("{name}={text}\n"));
    }
    server.leave("kept", &contents);
    let own: Vec<String> = std::env::vars_os()
        .map(|(key, value)| format!("{}={}", key.to_string_lossy(), value.to_string_lossy()))
        .collect();
    server.leave("env", &own.join("\n"));
    server.leave("pid", &std::process::id().to_string());

    let scenes: Vec<&str> = plan.split('/').collect();
    let scene = scenes[(generation - 1).min(scenes.len() - 1)];
    server.play(scene, &signals)
}

impl Server {
    /// Whole or not there: tests wait for it.
    fn leave(&self, what: &str, text: &str) {
        let path = self.data.join(format!("{what}.{}", self.generation));
        let new = path.with_extension("new");
        std::fs::write(&new, text)
            .and_then(|()| std::fs::rename(&new, &path))
            .expect("the state directory is writable");
    }

    fn play(mut self, scene: &str, signals: &Signals) -> ExitCode {
        let (mut acknowledge, mut deaf) = (false, false);
        for act in scene.split(',') {
            let words: Vec<&str> = act.split(':').collect();
            let number = |at: usize| words[at].parse::<u64>().expect("a number");
            match words[0] {
                "line" => eprintln!("{}", ready_line()),
                "notify" => self.send(&[("READY", "1")]),
                "ping" => self.keep_pinging(),
                "status" => {
                    for n in 0..number(2) {
                        self.send(&[("STATUS", &format!("stage {n}"))]);
                        std::thread::sleep(Duration::from_millis(number(1)));
                    }
                }
                "migrating" => eprintln!("{}", Line::Migrating { migrations: 2 }),
                "migration_failed" => eprintln!("{}", Line::MigrationFailed { error: words[1].into() }),
                "store" => self.store(words[1], number(2)),
                "let_go" => self.notifier.remove_fds(words[1]).expect("a launcher listens"),
                "agent" => self.agent(words[1], words[2]),
                "orphans" => self.orphans(number(1)),
                "mark" => self.leave(words[1], ""),
                "wait" => {
                    while !self.data.join(words[1]).exists() {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                }
                "acknowledge" => acknowledge = true,
                "deaf" => deaf = true,
                "say" => eprintln!("{}", words[1]),
                "say_key" => eprintln!("my key is {}", std::env::var(env::AUTH_KEY).expect("a launcher gives a key")),
                "shout" => shout(number(1)),
                "flood" => (0..number(1) / 1000).for_each(|_| eprintln!("{}", "y".repeat(999))),
                "exit" => return ExitCode::from(u8::try_from(number(1)).expect("an exit code")),
                "stopping" => self.send(&[("STOPPING", "1")]),
                "stopping_to_restart" => self.send(&[("STOPPING", "1"), (amux_proto::ready::GOAL_KEY, "restart")]),
                "die" => signals::kill_self(),
                "stuck" => loop {
                    std::thread::park();
                },
                "serve" => return self.serve(signals, acknowledge, deaf),
                other => panic!("no such act: {other}"),
            }
        }
        panic!("a scene must come to an end")
    }

    fn send(&self, words: &[(&str, &str)]) {
        self.notifier.send(words).expect("a launcher listens");
    }

    fn keep_pinging(&self) {
        let notifier = self.notifier.clone();
        std::thread::spawn(move || {
            while notifier.send(&[("WATCHDOG", "1")]).is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
    }

    /// Files that hold `<name> <number>`.
    fn store(&mut self, name: &str, count: u64) {
        let fds: Vec<OwnedFd> = (0..count)
            .map(|n| {
                let path = self.data.join("stored");
                let mut file =
                    OpenOptions::new().read(true).write(true).create_new(true).open(&path).expect("a file can be made");
                write!(file, "{name} {n}").expect("a file can be written");
                std::fs::remove_file(&path).expect("a file can be removed");
                file.into()
            })
            .collect();
        for some in fds.chunks(fdpass::FDS_PER_MESSAGE_MAX) {
            let some: Vec<_> = some.iter().map(|fd| fd.as_fd()).collect();
            self.notifier.store_fds(name, &some).expect("a launcher listens");
        }
        self.stored.extend(fds);
    }

    /// A process such as a server starts for an agent. It ends with the code when the file `end.<name>` is there.
    fn agent(&self, name: &str, code: &str) {
        let end = self.data.join(format!("end.{name}"));
        let script = match name {
            // Hears no polite word, and has a child that left the session.
            "daemon" => concat!(
                "trap '' TERM HUP; ",
                "setsid sh -c 'trap \"\" TERM HUP; while :; do sleep 0.05; done' & ",
                "while :; do sleep 0.05; done"
            )
            .to_owned(),
            // Goes when it is asked; its child hears nothing and left the environment too.
            "parent" => concat!(
                "env -i setsid sh -c 'trap \"\" TERM HUP; : > untagged; while :; do sleep 0.05; done' & ",
                "while :; do sleep 0.05; done"
            )
            .to_owned(),
            // One that nobody ends goes with the directory of its test.
            _ => {
                let (dir, end) = (end.parent().expect("it is in a directory").display(), end.display());
                format!("while [ -d '{dir}' ] && [ ! -e '{end}' ]; do sleep 0.01; done; exit {code}")
            }
        };
        let socket = std::env::var_os(env::SRV_PIPE_PATH).expect("a launcher says where the socket is");
        let mut environment = vec![(env::TAG.into(), format!("{name}:1").into())];
        if name != "stranger" {
            environment.push((env::SOCKET.into(), socket));
        }
        let child = self.sh(&script, environment);
        self.leave(&format!("agent.{name}"), &child.id.pid.to_string());
    }

    /// So many processes whose parent ends before them.
    fn orphans(&self, count: u64) {
        let script = format!("i=0; while [ $i -lt {count} ]; do (true &); i=$((i+1)); done");
        let mut child = self.sh(&script, Vec::new());
        child.wait().expect("a child can be waited for");
    }

    fn sh(&self, script: &str, mut environment: Vec<(OsString, OsString)>) -> spawn::Child {
        environment.push(("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()));
        let spec = SpawnSpec {
            program: "sh".into(),
            args: vec!["-c".into(), script.into()],
            cwd: self.data.clone(),
            env: environment,
            stdio: Stdio::Null,
            session: Session::Own,
            pass_fds: Vec::new(),
            nofile: None,
        };
        spawn::spawn(&spec).expect("sh can be started")
    }

    /// Until it is told to stop, or its launcher is gone.
    fn serve(self, signals: &Signals, acknowledge: bool, deaf: bool) -> ExitCode {
        let server = Arc::new(self);
        let (cut, lifeline) = std::os::unix::net::UnixStream::pair().expect("sockets can be made");
        let mut kept = None;
        if deaf {
            kept = Some(cut);
        } else {
            let server = server.clone();
            std::thread::spawn(move || {
                let path = server.data.join(format!("heard.{}", server.generation));
                let mut heard =
                    OpenOptions::new().create(true).append(true).open(path).expect("the state directory is writable");
                for line in std::io::stdin().lock().lines() {
                    let Ok(line) = line else { break };
                    if acknowledge {
                        server.send(&[(amux_proto::ready::REAPED_KEY, &reaped(&line))]);
                    }
                    heard.write_all(format!("{line}\n").as_bytes()).expect("the state directory is writable");
                }
                server.leave("lifeline_cut", "");
                drop(cut);
            });
        }
        loop {
            let ready = poll::wait(&[signals.as_fd(), lifeline.as_fd()], None).expect("two descriptors can be polled");
            if ready[1] {
                drop(kept);
                return ExitCode::SUCCESS;
            }
            if !signals.read().is_empty() {
                server.send(&[("STOPPING", "1")]);
                server.leave("stopped", "");
                return ExitCode::SUCCESS;
            }
        }
    }
}

fn reaped(line: &str) -> String {
    let line: serde_json::Value = serde_json::from_str(line).expect("the life-line speaks JSON");
    format!("{}:{}", line["exited"]["pid"], line["exited"]["start_ticks"])
}

fn ready_line() -> Line {
    Line::Ready(Ready {
        ws: "ws://127.0.0.1:1/v1/stream".into(),
        web: "http://127.0.0.1:1".into(),
        version: "0".into(),
        buildtime: "0".into(),
        instance: std::env::var(env::INSTANCE_ID).unwrap_or_default(),
    })
}

/// One line, without an end.
fn shout(bytes: u64) {
    let chunk = [b'x'; 64 * 1024];
    let mut left = usize::try_from(bytes).expect("a size");
    while left > 0 {
        let count = left.min(chunk.len());
        std::io::stderr().write_all(&chunk[..count]).expect("the launcher reads what is said");
        left -= count;
    }
}

fn window(state_dir: &Path) -> ExitCode {
    let own = [env::BACKEND_WS, env::BACKEND_WEB, env::BACKEND_PID, env::AUTH_KEY]
        .map(|name| format!("{name}={}", std::env::var(name).unwrap_or_default()));
    let text = format!("pid={}\n{}", std::process::id(), own.join("\n"));
    let count = (1..).take_while(|n| state_dir.join(format!("window.{n}")).exists()).count() + 1;
    let new = state_dir.join("window.new");
    std::fs::write(&new, text).expect("the state directory is writable");
    std::fs::rename(&new, state_dir.join(format!("window.{count}"))).expect("the state directory is writable");
    let parent = process::parent_pid().expect("a launcher started us");
    while std::io::stdin().lock().lines().next().is_some() {}
    eprintln!("launcher {parent} is gone");
    ExitCode::SUCCESS
}
