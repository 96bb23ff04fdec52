//! How a command gets its server: connect; else start one, exactly one, however many commands want it at once.
//!
//! Readiness is a welcome, not a connection: a listener answers connections also while its process is stopped. The
//! spawn lock makes one starter; the others wait for the same welcome, and take the lock themselves when the first
//! has failed. Whether a server lives is asked of the lock it holds for life, never of a file it may have left.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use amux_proto::env;
use amux_sys::lock::{self, Lock};
use amux_sys::paths::{self, Layout};
use amux_sys::process;
use amux_sys::spawn::{self, Session, SpawnSpec, Stdio};

use crate::client::{Client, Error as ClientError};

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
    /// The program that is the launcher: the contract's variables, else the running executable.
    pub program: PathBuf,
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
    #[error("the server could not be started: {0}")]
    Spawn(#[from] spawn::Error),
    #[error("the server did not start: {words}")]
    Failed { words: String },
    #[error("the server is starting and not ready after {seconds} s: {log}")]
    NotReady { seconds: u64, log: String },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// From starting to a welcome. A migration takes longer; the next command finds it done.
const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// A person begins to wonder.
const SAY_SOMETHING_AFTER: Duration = Duration::from_secs(1);

const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A server whose socket was deleted puts it back within this.
const HEAL_TIMEOUT: Duration = Duration::from_secs(3);

/// Connects, starting a server where there is none and one may be started.
pub fn ensure(bootstrap: &Bootstrap) -> Result<Client, Error> {
    let Bootstrap { layout, .. } = bootstrap;
    layout.check()?;
    match Client::connect(&layout.srv_socket()) {
        Ok(client) => return Ok(client),
        Err(error) if !is_nobody(&error) => return Err(error.into()),
        Err(_) => {}
    }
    if is_served(layout) {
        // Its socket is gone, or it is just starting or ending.
        if let Some(client) = wait_for_healing(layout)? {
            return Ok(client);
        }
    }
    if bootstrap.start == Start::Never {
        return Err(Error::NotRunning { profile: bootstrap.profile.clone() });
    }
    layout.prepare()?;
    start(bootstrap)
}

fn start(bootstrap: &Bootstrap) -> Result<Client, Error> {
    let layout = &bootstrap.layout;
    let deadline = Instant::now() + READY_TIMEOUT;
    let mut progress = Progress::new();
    let mut mine: Option<Starting> = None;
    loop {
        match Client::connect(&layout.srv_socket()) {
            Ok(client) => return Ok(client),
            Err(error) if !is_nobody(&error) => return Err(error.into()),
            Err(_) => {}
        }
        match &mut mine {
            None => {
                // Winner or loser: whoever gets the lock while nobody serves is the one who starts. A loser that
                // gets it later does so because the winner is done, and then either connects or tries itself.
                if let Some(held) = Lock::try_acquire(&layout.spawn_lock())? {
                    match Client::connect(&layout.srv_socket()) {
                        Ok(client) => return Ok(client),
                        Err(error) if !is_nobody(&error) => return Err(error.into()),
                        Err(_) => mine = Some(Starting { _lock: held, launcher: spawn_launcher(bootstrap)? }),
                    }
                }
            }
            Some(starting) => {
                if let Some(status) = starting.launcher.try_wait()? {
                    // Another launcher may have been first; then its server is the one to wait for.
                    if !is_launched(layout) {
                        let words = last_words(layout);
                        let words = if words.is_empty() { status.to_string() } else { words };
                        return Err(Error::Failed { words });
                    }
                }
            }
        }
        if Instant::now() >= deadline {
            let log = layout.logs().join(SRV_LOG).display().to_string();
            return Err(Error::NotReady { seconds: READY_TIMEOUT.as_secs(), log });
        }
        progress.tick();
        std::thread::sleep(LOOK_AGAIN);
    }
}

struct Starting {
    /// Held until the server is ready, so that others wait instead of starting a second one.
    _lock: Lock,
    launcher: spawn::Child,
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
        program: bootstrap.program.clone(),
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

/// The line that says why, from what the launcher wrote last.
fn last_words(layout: &Layout) -> String {
    use std::io::{Read as _, Seek as _, SeekFrom};
    const TAIL_BYTES: u64 = 4096;
    let tail = || -> io::Result<String> {
        let mut file = std::fs::File::open(layout.logs().join(LAUNCHER_LOG))?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut text = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    let text = tail().unwrap_or_default();
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    line.trim().trim_start_matches("agentmux: ").to_owned()
}

/// Whether a server holds its lock. Where that cannot be known, it is assumed that none does: the server itself
/// refuses to be the second.
pub fn is_served(layout: &Layout) -> bool {
    lock::is_held(&layout.state_dir).or_else(|| lock::is_held(&layout.srv_lock())).unwrap_or(false)
}

fn is_launched(layout: &Layout) -> bool {
    lock::is_held(&layout.launcher_lock()).unwrap_or(false) || is_served(layout)
}

fn wait_for_healing(layout: &Layout) -> Result<Option<Client>, Error> {
    let deadline = Instant::now() + HEAL_TIMEOUT;
    while Instant::now() < deadline && is_served(layout) {
        match Client::connect(&layout.srv_socket()) {
            Ok(client) => return Ok(Some(client)),
            Err(error) if !is_nobody(&error) => return Err(error.into()),
            Err(_) => std::thread::sleep(LOOK_AGAIN),
        }
    }
    if is_served(layout) {
        let pid = lock::holder(&layout.srv_lock()).filter(|pid| process::identity(*pid).is_some());
        let who = pid.map_or("a server".to_owned(), |pid| format!("the server (pid {pid})"));
        return Err(Error::Failed { words: format!("{who} holds the state directory and does not answer") });
    }
    Ok(None)
}

/// Nobody serves: as opposed to somebody who refuses or does not answer.
fn is_nobody(error: &ClientError) -> bool {
    match error {
        ClientError::NoServer { .. } | ClientError::Lost(_) | ClientError::Closed(_) => true,
        ClientError::Silent { .. } | ClientError::Refused(_) | ClientError::Garbled(_) => false,
    }
}

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
