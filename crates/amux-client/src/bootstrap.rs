//! How a command gets its server: connect; else start one, exactly one, however many commands want it at once.
//!
//! Readiness is a welcome, not a connection: a listener answers connections also while its process is stopped. The
//! spawn lock makes one starter; the others wait for the same welcome, and take the lock themselves when the first
//! has failed. Whether a server lives is asked of the lock it holds for life, never of a file it may have left.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use amux_proto::env;
use amux_proto::exit::SrvExit;
use amux_sys::lock::{self, Lock};
use amux_sys::paths::{self, Layout};
use amux_sys::process;
use amux_sys::spawn::{self, Session, SpawnSpec, Stdio};

use crate::client::{Answer, Client, Error as ClientError};

/// Whether a server may be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    IfNone,
    Never,
}

/// What a start needs to know.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    pub layout: Layout,
    pub profile: String,
    pub start: Start,
    /// The program that is the launcher, or why there is none; of interest only when one is started.
    pub program: Result<PathBuf, String>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no server is running: {profile}")]
    NotRunning { profile: String },
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Paths(#[from] paths::Error),
    #[error(transparent)]
    Lock(#[from] lock::Error),
    #[error("{0}")]
    NoProgram(String),
    #[error("the server could not be started: {0}")]
    Spawn(#[from] spawn::Error),
    #[error("the server did not start: {words}")]
    Failed { words: String },
    #[error("{who} is not ready after {seconds} s: see {log}")]
    NotReady { who: String, seconds: u64, log: String },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// From starting to a welcome. A migration takes longer; the next command finds it done.
const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// A server whose socket was deleted puts it back within two seconds, and one that crashed is back within one.
const BACK_TIMEOUT: Duration = Duration::from_secs(3);

/// A person begins to wonder.
const SAY_SOMETHING_AFTER: Duration = Duration::from_secs(1);

const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Connects, starting a server where there is none and one may be started.
pub fn ensure(bootstrap: &Bootstrap) -> Result<Client, Error> {
    let layout = &bootstrap.layout;
    layout.check()?;
    if let Some(client) = knock(layout)? {
        return Ok(client);
    }
    let patience = match bootstrap.start {
        Start::IfNone => READY_TIMEOUT,
        Start::Never => BACK_TIMEOUT,
    };
    let deadline = Instant::now() + patience;
    let mut progress = Progress::new();
    let mut mine: Option<Starting> = None;
    loop {
        match &mut mine {
            Some(starting) => match starting.launcher.try_wait()? {
                // Another launcher was first; its server is the one to wait for.
                Some(status) if status.code() == Some(SrvExit::Held as i32) => mine = None,
                Some(status) => return Err(Error::Failed { words: starting.last_words(bootstrap, &status) }),
                None => {}
            },
            // It starts, or ends, or was restarted, or somebody deleted its socket.
            None if is_there(layout) => {}
            None if bootstrap.start == Start::Never => {
                return Err(Error::NotRunning { profile: bootstrap.profile.clone() });
            }
            None => {
                layout.prepare()?;
                // Whoever gets the lock while nobody serves is the one who starts. A loser gets it when the winner
                // is done: then there is a server, or it is the loser's turn.
                if let Some(held) = Lock::try_acquire(&layout.spawn_lock())? {
                    if let Some(client) = knock(layout)? {
                        return Ok(client);
                    }
                    if !is_there(layout) {
                        mine = Some(Starting::new(bootstrap, held)?);
                    }
                }
            }
        }
        if Instant::now() >= deadline {
            let pid = lock::holder(&layout.srv_lock()).filter(|pid| process::identity(*pid).is_some());
            let who = pid.map_or("the server".to_owned(), |pid| format!("the server (pid {pid})"));
            let log = layout.logs().join(SRV_LOG).display().to_string();
            return Err(Error::NotReady { who, seconds: patience.as_secs(), log });
        }
        // Whoever may not start one waits in silence: it may have the screen.
        if bootstrap.start == Start::IfNone {
            progress.tick();
        }
        std::thread::sleep(LOOK_AGAIN);
        if let Some(client) = knock(layout)? {
            return Ok(client);
        }
    }
}

/// Makes `attempt` at whatever server there is, and again when the server went away meanwhile and `again` says that
/// a second time cannot hurt: a restart of the server is a pause and not an error.
pub fn persist(
    bootstrap: &Bootstrap,
    patience: Duration,
    mut attempt: impl FnMut(&mut Client) -> Result<Answer, ClientError>,
    again: impl Fn(&ClientError) -> bool,
) -> Result<Answer, Error> {
    const PAUSE: Duration = Duration::from_millis(20);
    let deadline = Instant::now() + patience;
    loop {
        match attempt(&mut ensure(bootstrap)?) {
            Err(error) if again(&error) && Instant::now() < deadline => std::thread::sleep(PAUSE),
            outcome => return Ok(outcome?),
        }
    }
}

/// Whether a server holds its lock. Where that cannot be known, it is assumed that none does: the server itself
/// refuses to be the second.
pub fn is_served(layout: &Layout) -> bool {
    lock::is_held(&layout.state_dir).or_else(|| lock::is_held(&layout.srv_lock())).unwrap_or(false)
}

/// Whether there is a server, or somebody who is about to start one.
pub fn is_there(layout: &Layout) -> bool {
    lock::is_held(&layout.launcher_lock()).unwrap_or(false) || is_served(layout)
}

/// The connection, or `None` when nobody serves: as opposed to somebody who refuses or does not answer.
fn knock(layout: &Layout) -> Result<Option<Client>, Error> {
    match Client::connect(&layout.srv_socket()) {
        Ok(client) => Ok(Some(client)),
        Err(error) if error.is_lost() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

struct Starting {
    launcher: spawn::Child,
    /// Where its words begin in the log.
    words_from: u64,
    /// Held until the server is ready, so that others wait instead of starting a second one.
    _lock: Lock,
}

impl Starting {
    fn new(bootstrap: &Bootstrap, lock: Lock) -> Result<Self, Error> {
        let log = std::fs::metadata(bootstrap.layout.logs().join(LAUNCHER_LOG));
        let words_from = log.map_or(0, |meta| meta.len());
        Ok(Self { launcher: spawn_launcher(bootstrap)?, words_from, _lock: lock })
    }

    /// The line that says why: what the launcher wrote last.
    fn last_words(&self, bootstrap: &Bootstrap, status: &ExitStatus) -> String {
        use std::io::{Read as _, Seek as _, SeekFrom};
        const WORDS_BYTES_MAX: u64 = 64 * 1024;
        let said = || -> io::Result<String> {
            let mut file = std::fs::File::open(bootstrap.layout.logs().join(LAUNCHER_LOG))?;
            let end = file.metadata()?.len();
            file.seek(SeekFrom::Start(self.words_from.max(end.saturating_sub(WORDS_BYTES_MAX))))?;
            let mut bytes = Vec::new();
            file.take(WORDS_BYTES_MAX).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let said = said().unwrap_or_default();
        let line = said.lines().rev().map(str::trim).find(|line| !line.is_empty());
        match (line, &bootstrap.program) {
            (Some(line), _) => line.trim_start_matches("agentmux: ").to_owned(),
            (None, Ok(program)) => format!("{}: {status}", program.display()),
            (None, Err(_)) => status.to_string(),
        }
    }
}

fn spawn_launcher(bootstrap: &Bootstrap) -> Result<spawn::Child, Error> {
    let layout = &bootstrap.layout;
    let word = |text: &str| OsString::from(text);
    let args = vec![
        word("--profile"),
        word(&bootstrap.profile),
        word("--state-dir"),
        layout.state_dir.clone().into(),
        word("--config-dir"),
        layout.config_dir.clone().into(),
        word("server"),
        word("run"),
        word("--detached"),
    ];
    let ours = |name: &OsString| name.to_str().is_some_and(env::is_ours);
    // A person's log filter and program are theirs to pass on; nothing else of ours is.
    let passed = |name: &OsString| [env::LOG, env::COMMAND, env::RELAY_COMMAND].iter().any(|of| name == of);
    let environment = std::env::vars_os().filter(|(name, _)| !ours(name) || passed(name)).collect();
    let spec = SpawnSpec {
        program: bootstrap.program.clone().map_err(Error::NoProgram)?,
        args,
        // Not where the command was run: a directory in use cannot be unmounted, and may go away.
        cwd: "/".into(),
        env: environment,
        stdio: Stdio::LogFile(layout.logs().join(LAUNCHER_LOG)),
        session: Session::Own,
        pass_fds: Vec::new(),
        nofile: None,
    };
    Ok(spawn::spawn(&spec)?)
}

const LAUNCHER_LOG: &str = "launcher.log";
const SRV_LOG: &str = "srv-stderr.log";

/// Says on a terminal that something is happening, when it takes longer than a person expects.
struct Progress {
    began: Instant,
    said: bool,
}

impl Progress {
    fn new() -> Self {
        Self { began: Instant::now(), said: false }
    }

    fn tick(&mut self) {
        if !self.said && self.began.elapsed() > SAY_SOMETHING_AFTER && io::stderr().is_terminal() {
            eprintln!("agentmux: starting the server …");
            self.said = true;
        }
    }
}
