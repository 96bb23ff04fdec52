//! Wishes: the state of the world the log asks for. They are rows, found again after any crash, and are carried out
//! idempotently, keyed by agent and run.

use serde::{Deserialize, Serialize};

use crate::ids::{AgentId, RunNo};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Effect {
    EnsureRunning { agent: AgentId, run: RunNo },
    EnsureStopped { agent: AgentId, run: RunNo, grace_ms: u64 },
}

/// What makes two wishes the same wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub kind: Kind,
    pub agent: AgentId,
    pub run: RunNo,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    EnsureRunning,
    EnsureStopped,
}

impl Effect {
    pub fn key(&self) -> Key {
        match *self {
            Self::EnsureRunning { agent, run } => Key { kind: Kind::EnsureRunning, agent, run },
            Self::EnsureStopped { agent, run, .. } => Key { kind: Kind::EnsureStopped, agent, run },
        }
    }
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EnsureRunning => "ensure_running",
            Self::EnsureStopped => "ensure_stopped",
        }
    }
}
