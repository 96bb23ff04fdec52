//! The supervisor: it starts the server, keeps what must outlive it, and starts it again. It has no domain state, no
//! runtime and nothing to crash on.
//!
//! [`machine`] decides, by the numbers of [`policy`]; `launch` is the one loop that carries decisions out. The
//! server speaks the notification protocol of service managers, so that one of those can take our place.

mod child;
mod echo;
mod environment;
mod journal;
mod launch;
mod lines;
mod log;
pub mod lookup;
pub mod machine;
mod notify;
mod orphans;
pub mod policy;
mod store;
mod sweep;
mod window;

use std::ffi::OsString;
use std::path::PathBuf;

use amux_proto::exit::SrvExit;
use amux_sys::paths::Layout;

pub use policy::Policy;
use policy::Refusal;

#[derive(Debug, Clone)]
pub struct Config {
    pub layout: Layout,
    pub profile: String,
    /// How the program is told to be the server.
    pub srv_args: Vec<OsString>,
    /// A person watches: show what the server says, and end with the terminal.
    pub foreground: bool,
    pub policy: Policy,
    /// A program to run beside the server.
    pub window: Option<Window>,
}

#[derive(Debug, Clone)]
pub struct Window {
    pub program: PathBuf,
    pub args: Vec<OsString>,
}

/// How it ended. Nothing of ours runs any more in any of these cases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitOutcome {
    /// The server was told to stop, and did.
    Clean,
    /// We were told to stop, and did.
    Stopped,
    /// Another launcher has this profile; nothing was started.
    AlreadyRunning {
        pid: Option<u32>,
    },
    /// The server says that starting it again cannot help.
    Refused {
        refusal: Refusal,
        words: String,
    },
    GaveUp {
        words: String,
    },
    /// The launcher itself could not begin.
    Failed {
        words: String,
    },
}

impl ExitOutcome {
    /// What the process ends with. 71 also for [`ExitOutcome::AlreadyRunning`]: who lost a race to start the server
    /// can tell from it that there is one.
    pub fn code(&self) -> u8 {
        match self {
            Self::Clean | Self::Stopped => 0,
            Self::AlreadyRunning { .. } => SrvExit::Held as u8,
            Self::Refused { refusal, .. } => refusal.exit() as u8,
            Self::GaveUp { .. } | Self::Failed { .. } => 1,
        }
    }

    /// One line for a person; `None` where there is nothing to explain.
    pub fn sentence(&self) -> Option<String> {
        match self {
            Self::Clean | Self::Stopped => None,
            Self::AlreadyRunning { pid: Some(pid) } => Some(format!("a launcher runs already: pid {pid}")),
            Self::AlreadyRunning { pid: None } => Some("a launcher runs already".to_owned()),
            Self::Refused { words, .. } | Self::GaveUp { words } | Self::Failed { words } => Some(words.clone()),
        }
    }
}

/// Blocks until the supervision is over. To be called once, by a process that has nothing else to do: it takes the
/// signals, the children and the orphans of the whole process.
pub fn run(config: Config) -> ExitOutcome {
    match launch::Launcher::open(config) {
        Ok(launcher) => launcher.supervise(),
        Err(launch::Error::AlreadyRunning(pid)) => ExitOutcome::AlreadyRunning { pid },
        Err(error) => ExitOutcome::Failed { words: launch::with_causes(&error) },
    }
}
