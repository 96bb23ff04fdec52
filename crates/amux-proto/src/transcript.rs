//! What agents say and do, in one vocabulary for every CLI. A dialect turns lines into these; the live view, the
//! transcript, search and the state of an agent all read them and nothing else.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

use crate::entity::{RequestKind, RequestOption};
use crate::time::Time;

/// One item with its place: the input that caused it (a line the agent printed or an order it was given, counted
/// together from 1), its number among the items of that input, and where the agent's output stood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[ts(rename = "TranscriptEntry")]
#[schemars(rename = "TranscriptEntry")]
pub struct Entry {
    pub n: u64,
    pub i: u32,
    /// Offset in the tape of its output, after that input.
    pub offset: u64,
    pub at: Time,
    pub item: Item,
}

/// Ids (`id`, `tool`, `task`) are the CLI's own words and mean something inside one run only. `parent` is the tool
/// that a sub-agent's item belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(tag = "type", rename_all = "snake_case")]
#[ts(rename = "TranscriptItem", optional_fields)]
#[schemars(rename = "TranscriptItem")]
pub enum Item {
    /// A conversation is open.
    Session { session: SessionOpened },
    TurnStarted { turn: u32, trigger: Trigger },
    /// Another loop of the CLI inside the same turn.
    PassStarted { turn: u32 },
    TurnEnded { turn: u32, end: TurnEnd },
    /// What was put to the agent.
    Input { input: String, text: String },
    /// How far an input has come, each claimed with what was seen.
    InputStage { input: String, stage: InputStage, evidence: String },
    MessageDelta { id: String, text: String, #[serde(default)] parent: Option<String> },
    Message { id: String, text: String, #[serde(default)] parent: Option<String> },
    ThinkingDelta { id: String, text: String, #[serde(default)] parent: Option<String> },
    Thinking { id: String, text: String, #[serde(default)] parent: Option<String> },
    ToolStarted { tool: Tool },
    /// Output while the tool runs.
    ToolOutput { id: String, text: String },
    ToolDone { id: String, output: String, is_error: bool, #[serde(default)] exit_code: Option<i32> },
    Diff { #[serde(default)] tool: Option<String>, path: String, change: DiffChange },
    Plan { entries: Vec<PlanEntry> },
    /// A human is asked.
    Asked { ask: Ask },
    /// It is not asked any more: answered, or withdrawn by the agent.
    AskClosed { ask: String, how: String },
    Usage { usage: Usage },
    /// Something that goes on beside the conversation: a sub-agent or a background command.
    Task { task: Task },
    /// The model did not answer; the CLI tries again by itself.
    Retry { attempt: u32, #[serde(default)] max: Option<u32>, #[serde(default)] until: Option<Time>, reason: String },
    /// The conversation is being shortened, or was.
    Compaction { done: bool, #[serde(default)] trigger: Option<String> },
    Error { error: Failure },
    /// The CLI tells its model or mode.
    Mode { #[serde(default)] model: Option<String>, #[serde(default)] mode: Option<String> },
    Notice { text: String },
    /// A frame this build does not know; it is on the tape.
    Unknown { kind: String },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[ts(optional_fields)]
pub struct SessionOpened {
    /// The CLI's id of the conversation.
    pub id: String,
    pub how: Opened,
    #[serde(default)]
    pub model: Option<String>,
    #[serde(default)]
    pub mode: Option<String>,
    #[serde(default)]
    pub cwd: Option<String>,
}

/// Never silently fresh: a session that should have gone on and did not says which one was lost, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Opened {
    New,
    Resumed,
    Fresh { attempted: String, why: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// An input of ours.
    Input,
    /// Something that ran in the background has ended.
    Task,
    /// It began by itself and nothing says why.
    Itself,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TurnEnd {
    Done,
    Interrupted,
    Error { class: FailureClass },
    /// The process ended, was stopped or was lost.
    Exited,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum InputStage {
    /// Every byte of it was taken by the pipe or the terminal.
    Handed,
    /// In the hands of the CLI: accepted by its protocol, echoed, or seen in its composer.
    Shown,
    /// A turn that contains it has started.
    Begun,
    /// The turn that contains it was done.
    Ended,
    /// The turn that contains it ended otherwise.
    Failed,
    /// The CLI said no.
    Refused,
    /// It may or may not have arrived, and nothing will tell.
    Unproven,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[ts(optional_fields)]
pub struct Tool {
    pub id: String,
    /// The CLI's name: `Bash`, `commandExecution`.
    pub name: String,
    pub kind: ToolKind,
    /// One line for people: the command, the path, the query.
    pub title: String,
    #[ts(type = "unknown")]
    pub input: Value,
    #[serde(default)]
    pub parent: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum ToolKind {
    Execute,
    Read,
    Edit,
    Search,
    Fetch,
    Think,
    /// A sub-agent.
    Delegate,
    Mcp,
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(tag = "type", rename_all = "snake_case")]
#[ts(optional_fields)]
pub enum DiffChange {
    Texts { #[serde(default)] old: Option<String>, new: String },
    Unified { diff: String },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct PlanEntry {
    pub text: String,
    pub status: PlanStatus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum PlanStatus {
    Pending,
    InProgress,
    Completed,
}

/// What is asked, before it has an id of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[ts(optional_fields)]
pub struct Ask {
    /// The CLI's own id of the question, unique in the run.
    pub id: String,
    pub kind: RequestKind,
    pub title: String,
    pub detail: String,
    pub options: Vec<RequestOption>,
    /// What a rule can match: the tool's name and its subject (a command line, a path).
    #[serde(default)]
    pub tool: Option<String>,
    #[serde(default)]
    pub subject: Option<String>,
}

/// What one pass, or the session so far, has used. Absent figures were not told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[ts(optional_fields)]
pub struct Usage {
    /// Of the newest pass.
    #[serde(default)]
    pub input_tokens: Option<u64>,
    #[serde(default)]
    pub cached_tokens: Option<u64>,
    #[serde(default)]
    pub output_tokens: Option<u64>,
    /// Of the session so far, as the CLI counts it.
    #[serde(default)]
    pub cost_micro_usd: Option<u64>,
    #[serde(default)]
    pub context_used: Option<u64>,
    #[serde(default)]
    pub context_size: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[ts(optional_fields)]
pub struct Task {
    pub id: String,
    /// The tool call that started it.
    #[serde(default)]
    pub tool: Option<String>,
    pub title: String,
    pub status: TaskStatus,
    /// Whether the conversation goes on beside it.
    pub background: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    Running,
    Completed,
    Failed,
    Stopped,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[ts(rename = "AgentFailure")]
#[schemars(rename = "AgentFailure")]
pub struct Failure {
    pub class: FailureClass,
    pub text: String,
    /// Whether the same input may succeed later.
    pub retryable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    RateLimited,
    Overloaded,
    Network,
    UsageLimit,
    Auth,
    ContextExceeded,
    MaxTurns,
    Refused,
    Protocol,
    Unknown,
}

impl FailureClass {
    pub fn is_retryable(self) -> bool {
        match self {
            Self::RateLimited | Self::Overloaded | Self::Network => true,
            Self::UsageLimit
            | Self::Auth
            | Self::ContextExceeded
            | Self::MaxTurns
            | Self::Refused
            | Self::Protocol
            | Self::Unknown => false,
        }
    }

    /// By the status a model's server answered with.
    pub fn of_http(status: u64) -> Self {
        match status {
            401 | 403 => Self::Auth,
            429 => Self::RateLimited,
            408 | 502 | 504 => Self::Network,
            500 | 503 | 529 => Self::Overloaded,
            _ => Self::Unknown,
        }
    }
}

impl Item {
    /// Seen only while it happens: what it adds up to comes as an item of its own.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::MessageDelta { .. } | Self::ThinkingDelta { .. } | Self::ToolOutput { .. })
    }
}
