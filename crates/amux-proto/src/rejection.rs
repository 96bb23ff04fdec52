//! Why something was refused: a code for the machine, a sentence for the person, a hint for the next step.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS, thiserror::Error)]
#[error("{message}")]
pub struct Rejection {
    pub code: Code,
    /// `<what went wrong>: <which thing>`
    pub message: String,
    /// A command to run, or nothing.
    pub hint: Option<String>,
    #[ts(type = "unknown")]
    pub details: Option<Value>,
}

/// A closed list: clients switch on these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Not JSON, not a frame, or half of one.
    BadFrame,
    /// The first frame must be a good hello.
    HelloRequired,
    /// This server speaks another version of the frames.
    ProtocolMismatch,
    /// A frame, body or queue over its bound.
    TooLarge,
    UnknownVerb,
    /// The arguments are not of the verb's form.
    BadArgs,
    NotFound,
    /// Several things have this name; the details list them.
    Ambiguous,
    Exists,
    Denied,
    /// `expect` is not the current revision; the details carry it.
    Stale,
    /// The thing is in a state that does not allow this.
    Conflict,
    /// A named bound was reached.
    Limit,
    /// Try again in a moment; nothing happened.
    Busy,
    /// The disk is full or the store cannot be written; reading goes on.
    ReadOnly,
    /// This command id belongs to another command.
    CmdIdReused,
    /// Known, but not by this build or on this system.
    Unsupported,
    /// A part of the server is degraded; `agentmux doctor` says which.
    Unavailable,
    /// No server, or one that does not answer.
    Unreachable,
    TimedOut,
    /// A defect of ours.
    Internal,
}

impl Rejection {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, details: None }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }
}

impl Code {
    pub fn http_status(self) -> u16 {
        match self {
            Self::BadFrame | Self::BadArgs | Self::HelloRequired | Self::ProtocolMismatch => 400,
            Self::Denied => 403,
            Self::NotFound | Self::UnknownVerb => 404,
            Self::Ambiguous | Self::Exists | Self::Stale | Self::Conflict | Self::CmdIdReused => 409,
            Self::TooLarge => 413,
            Self::Limit | Self::Busy => 429,
            Self::Internal => 500,
            Self::Unsupported => 501,
            Self::ReadOnly => 507,
            Self::Unavailable | Self::Unreachable => 503,
            Self::TimedOut => 504,
        }
    }
}
