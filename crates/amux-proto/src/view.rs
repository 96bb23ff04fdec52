//! Answers: what clients show. Derived from the state by `amux-core`, never stored.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

use crate::entity::{self, RequestKind, RequestOption};
use crate::ids::{AgentId, Digest, Epoch, MessageId, Name, RequestId, RunNo, Seq, ThreadId};
use crate::time::Time;

/// Everything a client needs to follow the events after `seq`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Snapshot {
    pub epoch: Epoch,
    pub seq: Seq,
    pub teams: Vec<entity::Team>,
    pub agents: Vec<entity::Agent>,
    /// In order.
    pub workspaces: Vec<entity::Workspace>,
    pub tabs: Vec<entity::Tab>,
    pub panes: Vec<entity::Pane>,
    pub closed: Vec<entity::Closed>,
    pub requests: Vec<entity::Request>,
    pub messages: Vec<entity::Message>,
    pub settings: Vec<entity::Setting>,
    pub flows: Vec<entity::Flow>,
    pub host: Option<entity::Host>,
    #[serde(default)]
    pub kinds: std::collections::BTreeMap<String, entity::Kind>,
    #[serde(default)]
    pub rules: Vec<entity::Rule>,
    #[serde(default)]
    pub may: Vec<entity::May>,
}

/// One row of `agentmux ls`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Agent {
    pub uid: AgentId,
    pub name: Name,
    pub team: Name,
    pub kind: entity::KindName,
    pub state: AgentState,
    /// The evidence in a few words: `exit 1`, `asked to stop`.
    pub reason: Option<String>,
    pub since: Time,
    pub run: Option<RunNo>,
    pub pid: Option<u32>,
    pub cwd: String,
    pub session_id: Option<String>,
    pub unread: u32,
    pub queued: u32,
    /// What it is there for.
    #[serde(default)]
    pub role: Option<String>,
    pub model: Option<String>,
    pub cost_micro_usd: Option<u64>,
    pub context_used: Option<u64>,
    pub context_size: Option<u64>,
    pub turn: u32,
}

/// The first that holds, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    Offline,
    Failed,
    NeedsPermission,
    NeedsAnswer,
    NeedsLogin,
    RateLimited,
    Compacting,
    Working,
    Queued,
    Background,
    Idle,
    Starting,
    Unknown,
}

/// `agentmux show`: one agent with the evidence for its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct AgentDetail {
    pub agent: Agent,
    pub definition: entity::Definition,
    pub desired: entity::Desired,
    pub current_run: Option<entity::Run>,
    pub created: Time,
    pub session: Option<entity::Session>,
    pub requests: Vec<Request>,
    pub evidence: Vec<Evidence>,
    pub role: Option<String>,
    pub groups: std::collections::BTreeSet<Name>,
    pub mail: entity::MailRules,
    pub rev: crate::ids::Rev,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Evidence {
    pub fact: String,
    pub source: String,
    pub at: Time,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Request {
    pub id: RequestId,
    pub kind: RequestKind,
    /// `name@team`
    pub agent: String,
    pub run: RunNo,
    pub title: String,
    pub detail: String,
    pub options: Vec<RequestOption>,
    pub created: Time,
    pub expires: Option<Time>,
    pub tool: Option<String>,
    pub subject: Option<String>,
}

/// The answer to `message.send`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Sent {
    pub id: MessageId,
    pub thread: ThreadId,
    pub deliveries: Vec<SentDelivery>,
}

/// One message and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[ts(rename = "MessageView")]
#[schemars(rename = "MessageView")]
pub struct Message {
    pub id: MessageId,
    pub from: String,
    pub body: String,
    pub thread: ThreadId,
    pub reply_to: Option<MessageId>,
    pub priority: entity::Priority,
    pub class: entity::Class,
    pub expires: Option<Time>,
    /// The message its sender was working on.
    pub cause: Option<MessageId>,
    #[serde(default)]
    pub attachments: Vec<entity::Attachment>,
    pub created: Time,
    /// To whom, as names.
    pub to: Vec<String>,
    pub deliveries: Vec<Delivery>,
    /// Other words that somebody was given: it was changed while it was on its way already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[ts(optional, as = "Option<Vec<entity::Words>>")]
    pub other: Vec<entity::Words>,
    /// What it was changed to when everybody had been given other words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub too_late: Option<String>,
}

/// A message by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[ts(optional_fields)]
pub struct MessageDetail {
    #[serde(flatten)]
    pub message: Message,
    /// Answers to it, and what those sent who were working on it, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub led_to: Option<Vec<MessageId>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct SentDelivery {
    /// `name@team` or `operator`
    pub to: String,
    pub id: MessageId,
    pub stage: String,
    pub reason: Option<String>,
}

/// A copy of a message with the way it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[ts(rename = "DeliveryView")]
#[schemars(rename = "DeliveryView")]
pub struct Delivery {
    /// `name@team` or `operator`
    pub to: String,
    pub id: MessageId,
    pub stage: String,
    pub reason: Option<String>,
    /// When what it waits for is over by itself.
    pub until: Option<Time>,
    pub history: Vec<Passed>,
    /// How often it was given, as far as anybody knows.
    pub attempts: u32,
    /// Where it stands among what waits for the same agent; the lower the sooner.
    #[serde(default)]
    pub place: i64,
    /// The words this one was given are not the body but among the `other` ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub edition: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[ts(rename = "PassedView")]
#[schemars(rename = "PassedView")]
pub struct Passed {
    pub stage: String,
    pub at: Time,
    pub evidence: Option<String>,
}

/// A message as its recipient has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Mail {
    pub id: MessageId,
    /// `name@team` or `operator`
    pub from: String,
    pub to: String,
    pub body: String,
    pub thread: ThreadId,
    pub reply_to: Option<MessageId>,
    pub priority: entity::Priority,
    pub class: entity::Class,
    #[serde(default)]
    pub attachments: Vec<entity::Attachment>,
    pub created: Time,
    pub stage: String,
    pub reason: Option<String>,
    pub until: Option<Time>,
    pub unread: bool,
    /// Which of its words these are. A server that says nothing of it does not want to hear of it in `message.seen`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub edition: Option<u32>,
}

/// The answer to the last `attachment.put` of a file: it is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Stored {
    pub bytes: u64,
    pub digest: Digest,
}

/// A part of what an attachment holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct AttachmentPart {
    pub attachment: entity::Attachment,
    /// Base64, from the offset that was asked for.
    pub data: String,
    /// Where the next part begins; the end when it is as large as the file.
    pub next: u64,
}

/// `agentmux server status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Status {
    pub profile: String,
    pub pid: u32,
    pub launcher_pid: Option<u32>,
    pub version: String,
    pub started: Time,
    pub epoch: Epoch,
    pub head_seq: Seq,
    pub agents: u32,
    pub web_url: String,
    pub socket: String,
    pub state_dir: String,
    pub mode: Mode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    ReadWrite,
    /// The store cannot be written; agents go on.
    ReadOnly,
    Stopping,
}

/// One line of `agentmux doctor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Finding {
    pub check: String,
    pub level: Level,
    pub message: String,
    pub hint: Option<String>,
    #[ts(type = "unknown")]
    pub details: Option<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Ok,
    /// Not known here, and said so.
    Unknown,
    Warning,
    Failure,
}

/// One named stage of the server's start, for `agentmux diag boot`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct BootStage {
    pub name: String,
    pub duration_us: u64,
    pub policy: BootPolicy,
    pub error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum BootPolicy {
    /// Its failure ends the start.
    Fatal,
    /// Its failure is reported and lived with.
    Degraded,
}

/// The screen of a PTY.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Look {
    pub agent: String,
    pub run: RunNo,
    pub rows: u16,
    pub cols: u16,
    pub lines: Vec<String>,
    pub cursor: Option<Cursor>,
    pub title: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Cursor {
    pub row: u16,
    pub col: u16,
}

/// A part of a transcript.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, TS)]
pub struct TranscriptPage {
    /// `name@team`
    pub agent: String,
    pub run: RunNo,
    /// Entries, oldest first.
    #[ts(type = "Array<TranscriptEntry>")]
    #[schemars(with = "Vec<crate::transcript::Entry>")]
    pub entries: Vec<Box<serde_json::value::RawValue>>,
    /// Where the first of them begins; what is before it is asked for with `before`.
    #[serde(default)]
    pub from: u64,
    /// Where the next part begins.
    pub next: u64,
}

/// A line that crossed a pipe between us and the CLI of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[ts(optional_fields)]
pub struct Frame {
    pub way: Way,
    /// When it was heard, or begun to be written. Absent where no file says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// Without the end of the line, and of a long one the beginning.
    pub text: String,
    /// How long all of it is, where that is not all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// So many bytes before it are gone, and with them its own beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<u64>,
    /// Of what it was told and that is not known to have been taken whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubt: Option<Doubt>,
    /// Where it ends: what was said on the tape, what was told in the journal. It is no other's of the same way.
    pub end: u64,
    /// The place behind it, to ask from.
    pub place: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// To the standard input of the CLI.
    Told,
    /// From its standard output.
    Said,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// It was begun to be written, and nothing says that it was finished.
    Begun,
    /// The server was killed meanwhile, and it was not repeated.
    Unproven,
}

/// A part of what crossed the pipes of a run.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, TS)]
#[ts(optional_fields)]
pub struct FramesPage {
    /// `name@team`
    pub agent: String,
    pub run: RunNo,
    /// Oldest first.
    pub frames: Vec<Frame>,
    /// Where the first of them begins, unless nothing is before it; what is, is asked for with `before`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Where the next part begins; whoever gets no frame from there has them all.
    pub next: String,
}

/// A browser that is signed in. Never with what it shows to be known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[ts(rename = "SessionView")]
#[schemars(rename = "SessionView")]
pub struct Session {
    pub id: String,
    pub made: Time,
    pub used: Time,
    pub until: Time,
    /// What it says it is, in a few words.
    pub agent: String,
}

/// Everybody in the tree of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Processes {
    /// `name@team`
    pub agent: String,
    pub processes: Vec<ProcessUse>,
    pub rss_bytes: u64,
    pub cpu_ms: u64,
}

/// What can be given to an agent as `/name`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct AgentCommands {
    /// `name@team`
    pub agent: String,
    /// In its own order.
    pub commands: Vec<SlashCommand>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct SlashCommand {
    /// Without the slash.
    pub name: String,
    /// One line; empty when it says nothing.
    pub about: String,
    /// What it may be followed by.
    #[serde(default)]
    pub takes: String,
}

/// Paths in the directory an agent works in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct AgentFiles {
    /// `name@team`
    pub agent: String,
    pub cwd: String,
    /// From there; a directory ends with a slash.
    pub paths: Vec<String>,
    /// Everything there was looked at: a path that is not named does not fit, or is beyond the limit.
    pub complete: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct ProcessUse {
    pub pid: u32,
    pub command: String,
    pub rss_bytes: u64,
    /// Since it began.
    pub cpu_ms: u64,
}

/// What an agent may do, and what says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Rights {
    /// `name@team`
    pub agent: String,
    /// Every right, in their order.
    pub may: Vec<Granted>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Granted {
    #[serde(rename = "do")]
    pub right: entity::Right,
    /// As in `policy.toml`.
    pub to: String,
    /// `default look`, `may 2 of policy.toml`.
    pub rule: String,
}
