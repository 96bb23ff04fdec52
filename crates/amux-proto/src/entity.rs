//! The things that exist: what the state is made of, what a projection row holds and what a snapshot carries.
//! Derived facts (an agent's shown state, unread counts) are views, never stored here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

use crate::ids::{
    AgentId, ClosedId, Digest, FlowId, MessageId, Name, PaneId, RequestId, Rev, RunNo, TabId, TeamId, ThreadId,
    WorkspaceId,
};
use crate::layout::Node;
use crate::principal::Principal;
use crate::time::Time;
use crate::transcript::Usage;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Team {
    pub id: TeamId,
    pub name: Name,
    pub created: Time,
    /// While its agents are being stopped for removal nothing new joins it.
    pub removing: bool,
    pub rev: Rev,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[ts(rename = "AgentEntity")]
#[schemars(rename = "AgentEntity")]
pub struct Agent {
    pub id: AgentId,
    pub name: Name,
    pub team: TeamId,
    pub created: Time,
    pub definition: Definition,
    pub desired: Desired,
    /// The newest run, live or ended; `None` before the first.
    pub run: Option<Run>,
    /// The conversation that the next run goes on with; `None` before the first.
    #[serde(default)]
    pub session: Option<Session>,
    /// What it is there for, in a few words.
    #[serde(default)]
    pub role: Option<String>,
    /// Addresses it shares with others: `group:NAME`.
    #[serde(default)]
    pub groups: BTreeSet<Name>,
    /// When it may be given mail.
    #[serde(default)]
    pub mail: MailRules,
    /// A person's words to it that are not sent yet.
    #[serde(default)]
    pub draft: Option<String>,
    /// Two-phase: it is removed when its run has ended.
    pub removing: bool,
    pub rev: Rev,
}

/// What protects an agent from its mail. Senders cannot change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(default)]
pub struct MailRules {
    /// Nothing is given until a person says so.
    pub paused: bool,
    /// What an ordinary message waits for while the agent works.
    pub while_working: WhileWorking,
    /// A boundary that does not come in this time is not waited for.
    pub boundary_ms: u64,
    /// So often in an hour other agents may wake it; then their mail is collected.
    pub wakes_per_hour: u32,
}

impl Default for MailRules {
    fn default() -> Self {
        Self { paused: false, while_working: WhileWorking::Now, boundary_ms: 10_000, wakes_per_hour: 60 }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum WhileWorking {
    /// The CLI reads it when it likes.
    #[default]
    Now,
    /// The end of the tool that runs, or of what is being written.
    Boundary,
    TurnEnd,
}

/// What is run. Never holds secrets: definitions are part of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[ts(optional_fields)]
pub struct Definition {
    pub kind: KindName,
    /// The command, where the kind has none of its own; else arguments to it.
    pub argv: Vec<String>,
    pub cwd: String,
    pub env: BTreeMap<String, String>,
    pub size: Size,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The CLI's permission mode, in its own word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Works in a git worktree and on a branch of its own, made from the repository of `cwd`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub worktree: bool,
}

/// How an agent is to be run from now on, as somebody orders it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(deny_unknown_fields)]
#[ts(optional_fields)]
pub struct Work {
    pub kind: KindName,
    #[serde(default)]
    pub argv: Vec<String>,
    /// Absolute.
    pub cwd: String,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    #[serde(default)]
    pub size: Option<Size>,
    #[serde(default)]
    pub model: Option<String>,
    #[serde(default)]
    pub mode: Option<String>,
    #[serde(default)]
    pub worktree: bool,
}

/// A kind of agent by its name: `claude`, `shell`, `cmd`, or one of the user's own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, TS)]
#[serde(transparent)]
pub struct KindName(pub String);

impl KindName {
    /// The user's shell in a PTY. This and [`KindName::CMD`] exist whatever the table of kinds says.
    pub const SHELL: &'static str = "shell";
    /// Any program in a PTY.
    pub const CMD: &'static str = "cmd";
    /// A pane of a tmux server that runs already.
    pub const TMUX: &'static str = "tmux";

    pub fn shell() -> Self {
        Self(Self::SHELL.into())
    }

    pub fn is_shell(&self) -> bool {
        self.0 == Self::SHELL
    }

    pub fn cmd() -> Self {
        Self(Self::CMD.into())
    }
}

/// How a kind of agent is started and spoken to. Data: a CLI that speaks a known dialect needs no code.
/// In arguments `{session}`, `{model}` and `{mode}` stand for what is known when the agent starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[ts(rename = "KindEntity", optional_fields)]
#[schemars(rename = "KindEntity")]
#[serde(deny_unknown_fields)]
pub struct Kind {
    pub dialect: Dialect,
    /// Absent: the command comes with the agent.
    #[serde(default)]
    pub program: Option<String>,
    #[serde(default)]
    pub args: Vec<String>,
    /// For a conversation whose id we choose.
    #[serde(default)]
    pub new_args: Vec<String>,
    /// To go on with a conversation.
    #[serde(default)]
    pub resume_args: Vec<String>,
    #[serde(default)]
    pub model_args: Vec<String>,
    #[serde(default)]
    pub mode_args: Vec<String>,
    /// Hands it our MCP server; `{mcp}` stands for a configuration file's text. Where the protocol itself can do that
    /// it does.
    #[serde(default)]
    pub mcp_args: Vec<String>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Variables the program must not inherit.
    #[serde(default)]
    pub unset: Vec<String>,
    /// What to type to get it.
    #[serde(default)]
    pub install: Option<String>,
    /// What it is, in a few words.
    #[serde(default)]
    pub about: String,
}

/// The protocols there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// A terminal.
    Pty,
    /// Claude Code's stream-json, one process for many turns.
    Claude,
    /// Codex's app-server.
    Codex,
    /// The Agent Client Protocol, version 1.
    Acp,
    /// A process a turn: `codex exec --json`.
    CodexExec,
    /// A process a turn: stream-json as Claude Code and Qwen Code print it.
    ClaudeOnce,
    /// A process a turn: stream-json as Gemini CLI prints it.
    GeminiOnce,
    /// A pane of a tmux server, over its control mode.
    Tmux,
}

/// A conversation that the CLI keeps under an id of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[ts(rename = "AgentSession", optional_fields)]
#[schemars(rename = "AgentSession")]
pub struct Session {
    /// `None` after the conversation was lost and before the next is open.
    #[serde(default)]
    pub id: Option<String>,
    pub since: Time,
    /// Conversations that are known to be gone, newest last; none of them is taken up again.
    #[serde(default)]
    pub dead: Vec<String>,
}

/// One rule of `policy.toml`: who asks for what, and what is answered. The first that matches decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(deny_unknown_fields)]
#[ts(rename = "PolicyRule", optional_fields)]
#[schemars(rename = "PolicyRule")]
pub struct Rule {
    /// `name@team`; absent: every agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The tool's name as the CLI says it; absent: every tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The command line, path or URL, whole or with a `*` at its end; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    pub answer: RuleAnswer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum RuleAnswer {
    Allow,
    Deny,
    Ask,
}

/// One entry of `policy.toml`: who may do what to whom. What is said of somebody about a right takes the place of the
/// default for it; several entries add up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(deny_unknown_fields)]
#[ts(rename = "PolicyMay", optional_fields)]
#[schemars(rename = "PolicyMay")]
pub struct May {
    /// `name@team`, `team:NAME`, `role:WORDS` or `agents`.
    #[serde(default = "May::everybody")]
    pub who: String,
    #[serde(rename = "do")]
    pub rights: Vec<Right>,
    /// `self`, `team`, `all`, `nobody`, `name@team` or `team:NAME`. `team` and `all` are the others.
    pub to: String,
}

impl May {
    fn everybody() -> String {
        "agents".into()
    }
}

/// What one may do to an agent, where `policy.toml` has a say in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
#[ts(rename = "PolicyRight")]
#[schemars(rename = "PolicyRight")]
pub enum Right {
    /// Send it messages.
    Send,
    /// See its screen, transcript, queue, processes, requests, definition, and the messages it sends and gets.
    Look,
    /// Say when it may be given mail.
    Mail,
    /// End its turn.
    Interrupt,
    /// Press keys in its terminal.
    Keys,
    /// Decide what it asks.
    Decide,
    Start,
    Stop,
    /// Make agents in its team.
    Create,
    Remove,
}

impl Right {
    pub const ALL: [Self; 10] = [
        Self::Send,
        Self::Look,
        Self::Mail,
        Self::Interrupt,
        Self::Keys,
        Self::Decide,
        Self::Start,
        Self::Stop,
        Self::Create,
        Self::Remove,
    ];

    /// The word for it in `policy.toml` and on every wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Look => "look",
            Self::Mail => "mail",
            Self::Interrupt => "interrupt",
            Self::Keys => "keys",
            Self::Decide => "decide",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Create => "create",
            Self::Remove => "remove",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Size {
    pub rows: u16,
    pub cols: u16,
}

impl Default for Size {
    fn default() -> Self {
        Self { rows: 24, cols: 80 }
    }
}

/// What is wanted of an agent; the run says what is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Desired {
    Stopped,
    Running { run: RunNo },
}

/// One process generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Run {
    pub no: RunNo,
    pub state: RunState,
    pub since: Time,
    /// What it does, as far as anything tells.
    #[serde(default)]
    pub activity: Activity,
    /// The conversation it was to go on with turned out to be gone.
    #[serde(default)]
    pub lost_session: bool,
}

/// What a run does, by what was seen of it. A level, not a history: the newest one holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[ts(optional_fields)]
#[serde(default)]
pub struct Activity {
    /// The input of the dialect this rests on; what is older is not listened to.
    pub seen: u64,
    pub phase: Phase,
    /// Since when it is in this phase.
    pub since: Time,
    /// What was seen.
    pub evidence: String,
    /// The newest turn, from 1; 0 before the first.
    pub turn: u32,
    pub turn_open: bool,
    /// Work that goes on beside the conversation.
    pub tasks: u32,
    pub model: Option<String>,
    pub mode: Option<String>,
    pub usage: Usage,
    /// The directory it says it is in.
    pub cwd: Option<String>,
    /// A person's words stand in its composer and are not sent yet.
    #[serde(default)]
    pub draft: bool,
    /// Who has the keyboard of its terminal, where that can be seen.
    #[serde(skip_serializing_if = "Front::is_untold")]
    #[ts(as = "Option<Front>", optional)]
    pub front: Front,
    /// What leads the terminal of a pane that was taken: whatever comes from there is the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub leader: Option<Process>,
    /// The last line of what it said last.
    pub said: Option<String>,
}

/// Who has the keyboard of a terminal in which an agent is meant to be. The terminal outlives the program: what is typed
/// then is somebody else's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[ts(optional_fields)]
#[serde(default)]
pub struct Front {
    /// The program that is the agent, once it was seen there.
    pub program: Option<String>,
    /// Who has the keyboard, when that is not this program.
    pub instead: Option<String>,
    /// That is a shell, which runs what it is sent.
    pub is_shell: bool,
    /// The process group of the program: it may change its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<u32>,
}

impl Front {
    pub fn is_untold(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the program that is the agent is not there to be spoken to.
    pub fn is_away(&self) -> bool {
        self.program.is_some() && self.instead.is_some()
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(tag = "is", rename_all = "snake_case")]
#[ts(rename = "AgentPhase", optional_fields)]
#[schemars(rename = "AgentPhase")]
pub enum Phase {
    /// Nothing tells.
    #[default]
    Untold,
    /// There is a process; its protocol is not open yet.
    Opening,
    Idle,
    Working {
        /// The tool, in a few words.
        #[serde(default)]
        doing: Option<String>,
    },
    /// The model did not answer; the CLI waits and tries again.
    Retrying {
        attempt: u32,
        #[serde(default)]
        max: Option<u32>,
        #[serde(default)]
        until: Option<Time>,
        reason: String,
    },
    Compacting,
    /// It cannot go on before a limit ends.
    Limited {
        reason: String,
        #[serde(default)]
        until: Option<Time>,
    },
    LoggedOut {
        reason: String,
    },
    /// Who answers for it, as the tmux that has its pane, does not answer.
    Silent {
        reason: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RunState {
    /// Wanted, not yet observed.
    Starting,
    Running {
        process: Process,
    },
    /// Asked to end; `process` is `None` when the stop overtook the start.
    Stopping {
        process: Option<Process>,
        /// How long it may take before it is killed.
        grace_ms: u64,
    },
    Exited {
        exit: Exit,
    },
    /// It could not be started.
    Failed {
        error: String,
    },
    /// It ended unobserved; nobody knows how.
    Lost {
        why: String,
    },
}

/// A process beyond pid reuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Process {
    pub pid: u32,
    pub start_ticks: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[ts(rename = "RunExit")]
#[schemars(rename = "RunExit")]
pub struct Exit {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub why: ExitWhy,
    /// Processes of its tree that could not be ended, by pid.
    pub survivors: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum ExitWhy {
    /// By itself.
    Itself,
    /// We asked it to stop.
    Stopped,
    /// It did not stop when asked, so it was killed.
    Killed,
}

impl Run {
    /// Whether a process of this run may exist.
    pub fn is_live(&self) -> bool {
        match self.state {
            RunState::Starting | RunState::Running { .. } | RunState::Stopping { .. } => true,
            RunState::Exited { .. } | RunState::Failed { .. } | RunState::Lost { .. } => false,
        }
    }

    pub fn process(&self) -> Option<Process> {
        match self.state {
            RunState::Running { process } | RunState::Stopping { process: Some(process), .. } => Some(process),
            RunState::Starting
            | RunState::Stopping { process: None, .. }
            | RunState::Exited { .. }
            | RunState::Failed { .. }
            | RunState::Lost { .. } => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Workspace {
    pub id: WorkspaceId,
    pub name: String,
    pub tabs: Vec<TabId>,
    pub active: Option<TabId>,
    /// Where it was torn off, so that it can go back.
    pub torn_from: Option<TornFrom>,
    pub rev: Rev,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct TornFrom {
    pub workspace: WorkspaceId,
    /// `None` when a whole tab was torn off.
    pub tab: Option<TabId>,
    pub index: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Tab {
    pub id: TabId,
    pub workspace: WorkspaceId,
    pub name: String,
    /// Pinned tabs stand before the others and are not closed by closing many.
    pub pinned: bool,
    pub root: Option<Node>,
    /// The pane that has the focus when the tab is opened; one of the tree's visible panes.
    pub focus: Option<PaneId>,
    pub rev: Rev,
}

/// Exists exactly where it is placed: in one leaf of one tab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Pane {
    pub id: PaneId,
    pub tab: TabId,
    pub title: Option<String>,
    pub content: Content,
    pub rev: Rev,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Content {
    /// A view of an agent; the agent lives on when the pane closes.
    Agent { agent: AgentId },
    /// A view of the system: `events`, `messages`, `inbox` and the like.
    View { view: String },
    /// Nothing yet.
    Empty,
}

/// What was closed, with everything needed to bring it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Closed {
    pub id: ClosedId,
    pub at: Time,
    pub what: ClosedWhat,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClosedWhat {
    /// The tree of the tab as it was before, so that the pane finds its place if the rest still stands.
    Pane {
        pane: Pane,
        workspace: WorkspaceId,
        root_before: Node,
    },
    Tab {
        tab: Tab,
        panes: Vec<Pane>,
        index: u32,
    },
    Workspace {
        workspace: Workspace,
        tabs: Vec<Tab>,
        panes: Vec<Pane>,
        index: u32,
    },
}

/// Something a human, or a policy, must decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[ts(rename = "RequestEntity", optional_fields)]
#[schemars(rename = "RequestEntity")]
pub struct Request {
    pub id: RequestId,
    pub kind: RequestKind,
    pub agent: AgentId,
    pub run: RunNo,
    pub title: String,
    pub detail: String,
    pub options: Vec<RequestOption>,
    pub created: Time,
    pub expires: Option<Time>,
    /// The agent's own name for it.
    #[serde(default)]
    pub ask: String,
    #[serde(default)]
    pub tool: Option<String>,
    #[serde(default)]
    pub subject: Option<String>,
    /// Decided, and on its way to the agent.
    #[serde(default)]
    pub decided: Option<Answer>,
    pub rev: Rev,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum RequestKind {
    Permission,
    Question,
    Login,
    HeldMessage,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct RequestOption {
    pub id: String,
    pub label: String,
    pub kind: RequestOptionKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum RequestOptionKind {
    AllowOnce,
    AllowAlways,
    RejectOnce,
    RejectAlways,
    Choice,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, TS)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[ts(optional_fields)]
pub enum Answer {
    Option {
        option: String,
        /// What the agent is told beside it, where its protocol can carry that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    Text {
        text: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[ts(rename = "MessageEntity")]
#[schemars(rename = "MessageEntity")]
pub struct Message {
    pub id: MessageId,
    pub from: Principal,
    /// Its newest words.
    pub body: String,
    /// How often they were changed.
    #[serde(default, skip_serializing_if = "is_first")]
    pub edition: u32,
    /// What it said before: somebody may have been given that, or may yet turn out to have been.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Words>,
    pub thread: ThreadId,
    pub reply_to: Option<MessageId>,
    /// The sender's idempotency key.
    pub key: Option<String>,
    #[serde(default)]
    pub priority: Priority,
    #[serde(default)]
    pub class: Class,
    /// What is not given by then is not given any more.
    #[serde(default)]
    pub expires: Option<Time>,
    /// Its recipient is told how to answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wants_answer: bool,
    /// The message its sender was working on; what makes a loop of polite agents visible.
    #[serde(default)]
    pub cause: Option<MessageId>,
    /// Files that go with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    pub created: Time,
    pub deliveries: Vec<Delivery>,
    pub rev: Rev,
}

impl Message {
    /// The words of one edition, as far as they are kept.
    pub fn words(&self, edition: u32) -> Option<&str> {
        if edition == self.edition {
            return Some(&self.body);
        }
        self.earlier.iter().find(|words| words.edition == edition).map(|words| words.body.as_str())
    }

    /// Which words the recipient of a copy has, or will be given.
    pub fn edition_of(&self, copy: &Delivery) -> u32 {
        if copy.stage.is_waiting() {
            return self.edition;
        }
        copy.edition_told().unwrap_or(self.edition)
    }

    /// The words the recipient of a copy has, or will be given.
    pub fn words_of(&self, copy: &Delivery) -> &str {
        self.words(self.edition_of(copy)).unwrap_or(&self.body)
    }
}

/// What a message said at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Words {
    /// How often they had been changed.
    pub edition: u32,
    pub body: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
pub(crate) fn is_first(edition: &u32) -> bool {
    *edition == 0
}

/// A file that goes with a message. What it holds is kept once, under its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// What its recipient sees it as: one part of a path.
    pub name: String,
    pub bytes: u64,
    pub digest: Digest,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Delivery {
    pub to: Recipient,
    pub stage: Stage,
    pub at: Time,
    /// Its recipient was not named: a group was that is not one of shells. A shell is not given it unless a person says so.
    #[serde(default)]
    pub among_agents: bool,
    /// The run it was given to.
    #[serde(default)]
    pub run: Option<RunNo>,
    /// How it came to this stage, oldest first.
    #[serde(default)]
    pub history: Vec<Passed>,
    /// A person said: now. It waits for no boundary and no budget.
    #[serde(default)]
    pub released: bool,
    /// A person said so when a shell would have run it.
    #[serde(default)]
    pub into_shell: bool,
    /// Where it stands among what waits for the same agent; the lower the sooner.
    #[serde(default)]
    pub place: i64,
}

impl Delivery {
    /// The steps at which its recipient had it, as far as anybody knows, oldest first. What a conversation was handed that
    /// did not open, and what was refused before it was seen, nobody has read.
    pub fn given(&self) -> Vec<&Passed> {
        let mut given: Vec<&Passed> = Vec::new();
        // Where the latest try begins.
        let mut tried = 0;
        let mut before = &Stage::Accepted;
        for passed in &self.history {
            match &passed.stage {
                Stage::Routed { .. } => {
                    tried = given.len();
                    given.push(passed);
                }
                Stage::Handed
                | Stage::Shown
                | Stage::Begun
                | Stage::Acked
                | Stage::Answered { .. }
                | Stage::Unproven { .. }
                | Stage::Failed { .. } => given.push(passed),
                Stage::Accepted | Stage::Held { .. } | Stage::Cancelled { .. } | Stage::Expired => {
                    // Whoever wants it given again says so of what has ended. Only a conversation that did not open takes
                    // this way back from what was handed.
                    if matches!(before, Stage::Routed { .. } | Stage::Handed | Stage::Shown) {
                        given.truncate(tried);
                    }
                    tried = given.len();
                }
                Stage::Refused { .. } => {
                    if given[tried..].iter().all(|step| matches!(step.stage, Stage::Routed { .. } | Stage::Handed)) {
                        given.truncate(tried);
                    }
                }
            }
            before = &passed.stage;
        }
        given
    }

    /// Which words it was given last, as far as anybody told.
    pub fn edition_told(&self) -> Option<u32> {
        let says = |passed: &&&Passed| passed.edition.is_some() || matches!(passed.stage, Stage::Routed { .. });
        self.given().iter().rev().find(says).and_then(|passed| passed.edition)
    }
}

/// A stage that was reached, and why that is claimed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Passed {
    pub stage: Stage,
    pub at: Time,
    pub evidence: Option<String>,
    /// The words that were given, where they were changed and somebody told which it was; else the newest are meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edition: Option<u32>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// At the end of a turn, together with others.
    Low,
    #[default]
    Normal,
    /// Into the running turn, where the protocol can.
    Urgent,
}

/// What a message is for, which decides whether an agent is woken by it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// How things stand: never wakes anybody, goes along with the next that does.
    State,
    /// Worth knowing: collected for a while.
    Info,
    #[default]
    Request,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, TS)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Recipient {
    Operator,
    Agent { agent: AgentId },
}

impl Recipient {
    pub fn agent(self) -> Option<AgentId> {
        match self {
            Self::Agent { agent } => Some(agent),
            Self::Operator => None,
        }
    }
}

/// The receipt ladder. A stage is only claimed with evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Stage {
    Accepted,
    Routed {
        run: RunNo,
    },
    Handed,
    Shown,
    Begun,
    Acked,
    Answered {
        by: MessageId,
    },
    /// With a request a person decides whether it is given at all.
    Held {
        reason: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<RequestId>,
    },
    Unproven {
        reason: String,
    },
    Expired,
    Cancelled {
        by: Principal,
    },
    Refused {
        reason: String,
    },
    Failed {
        reason: String,
        attempts: u32,
    },
}

impl Stage {
    /// Whether it is still to be given.
    pub fn is_waiting(&self) -> bool {
        matches!(self, Self::Accepted | Self::Held { .. })
    }

    /// Whether nobody waits for this delivery: it is over, or what it was for is done.
    pub fn is_settled(&self) -> bool {
        self.is_end() || *self == Self::Acked
    }

    /// Whether nothing more can happen to this delivery.
    pub fn is_end(&self) -> bool {
        match self {
            Self::Accepted
            | Self::Routed { .. }
            | Self::Handed
            | Self::Shown
            | Self::Begun
            | Self::Acked
            | Self::Held { .. } => false,
            Self::Answered { .. }
            | Self::Unproven { .. }
            | Self::Expired
            | Self::Cancelled { .. }
            | Self::Refused { .. }
            | Self::Failed { .. } => true,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Setting {
    pub key: String,
    #[ts(type = "unknown")]
    pub value: Value,
    pub source: SettingSource,
    pub rev: Rev,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum SettingSource {
    /// `settings.jsonc`, which only a person edits.
    File,
    Command,
}

/// A long piece of work that crosses processes: resumed forward, never undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Flow {
    pub id: FlowId,
    pub started: Time,
    pub cause: Principal,
    pub state: FlowState,
    pub rev: Rev,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FlowState {
    /// A team goes when the last of these agents has ended.
    RemovingTeam { team: TeamId, waiting: Vec<AgentId> },
}

/// The machine, as of the newest start of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Host {
    pub hostname: String,
    pub boot_id: String,
    pub version: String,
    pub booted: Time,
    pub rev: Rev,
}

impl fmt::Display for KindName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
