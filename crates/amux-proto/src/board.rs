//! The board: what a client shows, as rows that the server derives and pushes. A client never works out a state; it
//! puts each row in the place of the one with the same table and key.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use ts_rs::TS;

use crate::entity;
use crate::ids::{
    AgentId, ClosedId, Epoch, MessageId, Name, PaneId, RequestId, Rev, RunNo, Seq, TabId, TeamId, WorkspaceId,
};
use crate::time::Time;
use crate::view;

/// Rows that changed, or with `reset` all of them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, TS)]
pub struct Rows {
    /// The head of the order that these rows show.
    pub seq: Seq,
    /// The `seq` of the frame before; a client that knows another one asks again. `null` with `reset`.
    pub after: Option<Seq>,
    /// What is not in this frame is not there.
    pub reset: bool,
    #[ts(type = "Array<BoardRow>")]
    #[schemars(with = "Vec<Row>")]
    pub rows: Vec<Box<RawValue>>,
}

/// One thing as it is shown; `row: null`: it is gone, or of no interest any more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(tag = "table", rename_all = "snake_case")]
#[ts(rename = "BoardRow")]
#[schemars(rename = "BoardRow")]
pub enum Row {
    Agent {
        key: AgentId,
        row: Option<Box<Agent>>,
    },
    Team {
        key: TeamId,
        row: Option<entity::Team>,
    },
    Request {
        key: RequestId,
        row: Option<Request>,
    },
    /// With a copy of which nothing is settled, what came for the operator and is not acknowledged, and the newest 200
    /// of the last hour; older ones are asked for by `inbox` and `thread`.
    Message {
        key: MessageId,
        row: Option<view::Message>,
    },
    Workspace {
        key: WorkspaceId,
        row: Option<Workspace>,
    },
    Tab {
        key: TabId,
        row: Option<entity::Tab>,
    },
    Pane {
        key: PaneId,
        row: Option<entity::Pane>,
    },
    /// The shelf of what can be reopened.
    Closed {
        key: ClosedId,
        row: Option<entity::Closed>,
    },
    Kind {
        key: String,
        row: Option<entity::Kind>,
    },
    /// Every setting there is, set or not.
    Setting {
        key: String,
        row: Option<Setting>,
    },
    /// One row, with the profile as its key.
    Server {
        key: String,
        row: Option<Server>,
    },
}

/// An agent as `agentmux ls` shows it, and what an interface needs beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
#[ts(rename = "BoardAgent")]
#[schemars(rename = "BoardAgent")]
pub struct Agent {
    #[serde(flatten)]
    pub shown: view::Agent,
    pub team_id: TeamId,
    pub groups: BTreeSet<Name>,
    pub desired: entity::Desired,
    pub created: Time,
    /// Its kind shows a screen; the others are read as a transcript.
    pub is_terminal: bool,
    /// Its run lives.
    pub is_live: bool,
    /// What its run does, in the words of the protocol; `untold` without one.
    pub phase: entity::Phase,
    pub turn_open: bool,
    /// Work that goes on beside the conversation.
    pub tasks: u32,
    /// The permission mode of its run, in the CLI's own word.
    pub mode: Option<String>,
    /// It works in a worktree of its own; `cwd` is then where that is, while it runs.
    pub worktree: bool,
    /// The branch that was made for that worktree; `null` until it is.
    pub branch: Option<String>,
    pub mail: entity::MailRules,
    pub removing: bool,
    /// A person's words that are not sent yet.
    pub draft: Option<String>,
    /// The last line of what its run said last.
    pub said: Option<String>,
    pub rev: Rev,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
#[ts(rename = "BoardRequest")]
#[schemars(rename = "BoardRequest")]
pub struct Request {
    #[serde(flatten)]
    pub shown: view::Request,
    pub agent_uid: AgentId,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
#[ts(rename = "BoardWorkspace")]
#[schemars(rename = "BoardWorkspace")]
pub struct Workspace {
    #[serde(flatten)]
    pub workspace: entity::Workspace,
    /// Its place among the others, from 0.
    pub index: u32,
}

/// A setting with what holds: set by somebody, or the default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
#[ts(rename = "BoardSetting")]
#[schemars(rename = "BoardSetting")]
pub struct Setting {
    #[ts(type = "unknown")]
    pub value: Value,
    #[ts(type = "unknown")]
    pub default: Value,
    /// `null`: nobody set it.
    pub source: Option<entity::SettingSource>,
    pub takes: SettingTakes,
    /// What it is, in a sentence.
    pub about: String,
    /// What a command that changes it is decided on; 0 while nobody set it.
    pub rev: Rev,
}

/// What values a setting takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SettingTakes {
    /// A whole number.
    Number { min: u64, max: u64 },
    /// A list of text; of these, unless there are none.
    Texts { max: u64, among: Vec<String> },
    /// Of an older or newer build.
    Unknown,
}

/// The server itself. Where the order ends is the `seq` of every frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[ts(rename = "BoardServer")]
#[schemars(rename = "BoardServer")]
pub struct Server {
    pub profile: String,
    pub version: String,
    pub mode: view::Mode,
    pub started: Time,
    pub epoch: Epoch,
    pub hostname: Option<String>,
    pub web_url: String,
}

/// Entries of a transcript as they are appended, and what streams between them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, TS)]
pub struct Entries {
    pub agent: AgentId,
    /// 0: it never ran.
    pub run: RunNo,
    /// Where the first of them begins; what is before it is asked for with `before`.
    pub from: u64,
    /// Where the next begins.
    pub next: u64,
    /// What was known before does not continue: another run, or a transcript that was begun anew.
    pub reset: bool,
    /// These stream: they have no place of their own, are not told again, and what they add up to comes as an entry.
    #[serde(default)]
    pub live: bool,
    /// Oldest first.
    #[ts(type = "Array<TranscriptEntry>")]
    #[schemars(with = "Vec<crate::transcript::Entry>")]
    pub entries: Vec<Box<RawValue>>,
}
