//! Wishes: the state of the world the log asks for. They are rows, found again after any crash, and are carried out
//! idempotently, keyed by what they are about.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::{AgentId, MessageId, RequestId, RunNo};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Effect {
    EnsureRunning { agent: AgentId, run: RunNo },
    EnsureStopped { agent: AgentId, run: RunNo, grace_ms: u64 },
    /// A decision is to reach the agent that asked.
    Answer { request: RequestId },
    /// A message is to reach an agent, in whatever run it is then.
    Deliver { agent: AgentId, message: MessageId },
}

/// What makes two wishes the same wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub kind: Kind,
    /// Nil for what its subject alone names.
    pub agent: AgentId,
    /// 0 for what is not about one run.
    pub run: RunNo,
    /// The request or message; nil for what is about the run itself.
    pub subject: Uuid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    EnsureRunning,
    EnsureStopped,
    Answer,
    Deliver,
}

impl Effect {
    pub fn key(&self) -> Key {
        match *self {
            Self::EnsureRunning { agent, run } => Key::of_run(Kind::EnsureRunning, agent, run),
            Self::EnsureStopped { agent, run, .. } => Key::of_run(Kind::EnsureStopped, agent, run),
            Self::Answer { request } => Key::answer(request),
            Self::Deliver { agent, message } => Key::deliver(agent, message),
        }
    }
}

impl Key {
    pub fn of_run(kind: Kind, agent: AgentId, run: RunNo) -> Self {
        Self { kind, agent, run, subject: Uuid::nil() }
    }

    pub fn answer(request: RequestId) -> Self {
        Self { kind: Kind::Answer, agent: AgentId(Uuid::nil()), run: RunNo(0), subject: request.0 }
    }

    pub fn deliver(agent: AgentId, message: MessageId) -> Self {
        Self { kind: Kind::Deliver, agent, run: RunNo(0), subject: message.0 }
    }
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EnsureRunning => "ensure_running",
            Self::EnsureStopped => "ensure_stopped",
            Self::Answer => "answer",
            Self::Deliver => "deliver",
        }
    }
}
