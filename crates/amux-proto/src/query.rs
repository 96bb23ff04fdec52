//! Questions: answered from what is committed, never entering the order; and acts that leave no trace in it (keys,
//! window sizes, stopping the server), which share the `cmd` frame but have no receipt.

/// Read-only questions: `{"id":10,"get":"agents","args":{…}}`.
mod questions {
    use crate::entity::KindName;
    use crate::ids::Seq;

    macro_rules! questions {
        ($( $(#[$meta:meta])* $name:literal $ts:literal $Query:ident { $( $(#[$field_meta:meta])* $field:ident : $type:ty ),* $(,)? } )*) => {
            $(
                $(#[$meta])*
                #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema, ts_rs::TS)]
                #[serde(deny_unknown_fields)]
                #[schemars(rename = $ts)]
                #[ts(rename = $ts, optional_fields)]
                pub struct $Query { $( $(#[$field_meta])* pub $field: $type ),* }
            )*
            vocabulary!(Query; $( $name $Query )*);
        };
    }

    questions! {
        /// Everything, as of one sequence number.
        "snapshot" "GetSnapshot" Snapshot {
            /// All mail may be more than one answer holds.
            #[serde(default)] #[ts(as = "Option<bool>")] without_messages: bool,
        }
        /// Agents that run or wait for something; `all`: those at rest too.
        "agents" "GetAgents" Agents {
            #[serde(default)] all: bool,
            #[serde(default)] team: Option<String>,
        }
        "agent" "GetAgent" Agent { agent: String }
        "teams" "GetTeams" Teams {}
        "requests" "GetRequests" Requests {}
        /// One message, with how far each copy of it has come; with `led_to` also what came of it.
        "message" "GetMessage" Message {
            message: String,
            #[serde(default)] #[ts(as = "Option<bool>")] led_to: bool,
        }
        /// What came for an agent, or for whoever asks; newest last. Without `all` only what is not acknowledged.
        "inbox" "GetInbox" Inbox {
            #[serde(default)] agent: Option<String>,
            #[serde(default)] unread: bool,
            #[serde(default)] all: bool,
            #[serde(default)] limit: Option<u32>,
        }
        /// What waits for an agent, in the order it will be given, and why it waits.
        "queue" "GetQueue" Queue { agent: String }
        /// A part of what an attachment holds, for whoever sent or was sent the message. Without a name: the only one.
        "attachment" "GetAttachment" Attachment {
            message: String,
            #[serde(default)] name: Option<String>,
            #[serde(default)] offset: u64,
        }
        /// The messages of one thread, oldest first.
        "thread" "GetThread" Thread { thread: String }
        "settings" "GetSettings" Settings {}
        "kinds" "GetKinds" Kinds {}
        /// What an agent may do, and the rule that says so; without one, of every agent.
        "rights" "GetRights" Rights { #[serde(default)] agent: Option<String> }
        /// Processes of an agent's tree, with what they use.
        "processes" "GetProcesses" Processes { agent: String }
        /// What an agent said and did: the newest `limit` entries, those after `after`, or the last ones before `before`.
        "transcript" "GetTranscript" Transcript {
            agent: String,
            #[serde(default)] run: Option<u32>,
            #[serde(default)] after: Option<u64>,
            #[serde(default)] before: Option<u64>,
            #[serde(default)] limit: Option<u32>,
        }
        /// The lines that crossed the pipes between us and its CLI, in their order: the newest `limit` of them, those
        /// after a place, or the last ones before it. A place is a word of the answer before.
        "frames" "GetFrames" Frames {
            agent: String,
            #[serde(default)] run: Option<u32>,
            #[serde(default)] after: Option<String>,
            #[serde(default)] before: Option<String>,
            #[serde(default)] limit: Option<u32>,
        }
        /// What its CLI takes as `/name`, as it said itself when it began.
        "commands" "GetCommands" Commands { agent: String }
        /// Files and directories of the directory it works in whose path has this word, the best first.
        "files" "GetFiles" Files {
            agent: String,
            #[serde(default)] word: String,
            #[serde(default)] limit: Option<u32>,
        }
        "status" "GetStatus" Status {}
        /// A part of the server in detail: `boot`, `store`, `outbox`, `flows`, `connections`, `tasks`, `runs`.
        "diag" "GetDiag" Diag { topic: String }
        "doctor" "GetDoctor" Doctor {}
        /// The screen of a PTY agent, or the end of its transcript.
        "look" "GetLook" Look {
            agent: String,
            #[serde(default)] lines: Option<u32>,
            #[serde(default)] ansi: bool,
        }
        /// A page of the log.
        "events" "GetEvents" Events {
            #[serde(default)] from: Option<Seq>,
            #[serde(default)] limit: Option<u32>,
            #[serde(default)] topics: Vec<String>,
        }
        /// A team file: what is there, what is wrong with it or with `text` in its place, and what that would come to.
        /// A directory means the `agentmux.toml` in it; `prune`: agents that it does not name are to go.
        "team_file" "GetTeamFile" TeamFile {
            /// Absolute, or from `~`.
            path: String,
            #[serde(default)] text: Option<String>,
            #[serde(default)] #[ts(as = "Option<bool>")] prune: bool,
        }
        /// The words that an agent would be started with; none where a command is missing.
        "preview" "GetPreview" Preview {
            kind: KindName,
            #[serde(default)] argv: Vec<String>,
            #[serde(default)] model: Option<String>,
            #[serde(default)] mode: Option<String>,
            #[serde(default)] resume: Option<String>,
        }
        /// A one-time code with which a browser signs in.
        "login_code" "GetLoginCode" LoginCode {}
        /// Browsers that are signed in.
        "sessions" "GetSessions" Sessions {}
    }
}

pub use questions::*;

/// Acts: they happen now or not at all.
pub mod act {
    commands! {
        /// Named keys or quoted text, straight to a PTY.
        "agent.keys" "AgentKeys" Keys { agent: String, keys: Vec<String> }
        "agent.resize" "AgentResize" Resize { agent: String, rows: u16, cols: u16 }
        /// End the running turn; the agent stays.
        "agent.interrupt" "AgentInterrupt" Interrupt { agent: String }
        /// Another model or permission mode for the running conversation, where its protocol can.
        "agent.set" "AgentSet" Set {
            agent: String,
            #[serde(default)] model: Option<String>,
            #[serde(default)] mode: Option<String>,
        }
        /// End whoever drives this agent's conversation elsewhere on this machine, so that it can be started here.
        "agent.take_over" "AgentTakeOver" TakeOver { agent: String }
        /// A part of a file that a message is to carry. One at a time on a connection, in order: what is at 0 begins a
        /// file, and what was begun and not finished before is forgotten, as it is when the connection ends.
        "attachment.put" "AttachmentPut" Put {
            offset: u64,
            /// Base64; so much of the file that it fits a frame.
            data: String,
            /// With this it is whole: it is on disk when that is answered, with its digest.
            #[serde(default)] last: bool,
        }
        /// Write a rule to `policy.toml` and use it.
        "policy.add" "PolicyAdd" AddRule { rule: crate::entity::Rule }
        /// Write a team file. What is there is said, word for word, so that nobody's words are lost; absent: nothing is.
        "team.write" "TeamWrite" WriteTeam {
            /// Absolute, or from `~`.
            path: String,
            text: String,
            #[serde(default)] instead_of: Option<String>,
        }
        /// Sign a browser out; without an id every one.
        "session.revoke" "SessionRevoke" RevokeSession {
            #[serde(default)] id: Option<String>,
        }
        /// Stop the agents, then the server.
        "server.stop" "ServerStop" Stop {}
        /// End the server and start the binary that is on disk now; agents go on.
        "server.restart" "ServerRestart" Restart {}
        /// Read `settings.jsonc` again.
        "server.reload" "ServerReload" Reload {}
    }
    pub use Command as Act;
}

pub use act::Act;
