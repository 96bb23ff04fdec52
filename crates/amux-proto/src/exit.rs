//! Exit codes: of the command line, which scripts rely on, and of the server, which the launcher reads.

use crate::rejection::Code;

/// What a command ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Unreachable = 3,
    Denied = 4,
    Partly = 5,
    TimedOut = 6,
    NotFound = 7,
}

impl From<Code> for Exit {
    fn from(code: Code) -> Self {
        match code {
            Code::BadArgs | Code::UnknownVerb => Self::Usage,
            Code::NotFound | Code::Ambiguous => Self::NotFound,
            Code::Denied => Self::Denied,
            Code::TimedOut => Self::TimedOut,
            Code::Unreachable => Self::Unreachable,
            Code::BadFrame
            | Code::HelloRequired
            | Code::ProtocolMismatch
            | Code::TooLarge
            | Code::Exists
            | Code::Stale
            | Code::Conflict
            | Code::Limit
            | Code::Busy
            | Code::ReadOnly
            | Code::CmdIdReused
            | Code::Unsupported
            | Code::Unavailable
            | Code::Internal => Self::Failed,
        }
    }
}

/// What the server process ends with; the launcher's policy and the systemd unit read these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum SrvExit {
    /// Asked to stop, and did.
    Clean = 0,
    /// Asked to restart: start me again, at no cost to the budget.
    Restart = 64,
    /// The store or the configuration cannot be used; starting again cannot help.
    Fatal = 70,
    /// Another server holds the data directory.
    Held = 71,
    /// The store was written by a newer agentmux.
    NewerSchema = 72,
}

impl SrvExit {
    pub fn from_code(code: i32) -> Option<Self> {
        [Self::Clean, Self::Restart, Self::Fatal, Self::Held, Self::NewerSchema]
            .into_iter()
            .find(|exit| i32::from(*exit as u8) == code)
    }
}
