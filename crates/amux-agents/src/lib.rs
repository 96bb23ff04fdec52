//! The dialects: how each CLI is told things and what its lines mean, as pure machines over lines. No process, no
//! socket, no clock: lines and orders go in, items of the transcript and lines to be written come out.
//!
//! A machine is deterministic. The tape of an agent's output and the journal of its orders, fed to a machine again in
//! the same order, lead to the same state, the same items and the same writes; that is how a server that was killed
//! finds out in the middle of a turn where it is.

pub mod acp;
pub mod claude;
pub mod codex;
mod failure;
pub mod kinds;
pub mod ledger;
pub mod once;
pub mod part;
pub mod streams;
pub mod tmux;
pub mod turns;

use amux_proto::Time;
use amux_proto::entity::Answer;
use amux_proto::transcript::Item;
use amux_proto::view::SlashCommand;
use serde::{Deserialize, Serialize};

/// What one input of a machine led to.
#[derive(Debug, Default)]
pub struct Out {
    pub items: Vec<Item>,
    pub writes: Vec<Write>,
}

/// A line for the agent's standard input, without its newline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    pub line: String,
    /// The input it carries: written, it is in the hands of the CLI.
    pub input: Option<String>,
}

impl Out {
    pub fn say(&mut self, item: Item) {
        self.items.push(item);
    }

    pub fn write(&mut self, line: &impl Serialize) {
        self.writes.push(Write { line: json(line), input: None });
    }

    pub fn write_input(&mut self, input: &str, line: &impl Serialize) {
        self.writes.push(Write { line: json(line), input: Some(input.to_owned()) });
    }
}

impl Write {
    /// Whether it answers something the CLI asked, and is therefore understood as a repetition when it comes twice.
    pub fn is_response(&self) -> bool {
        let Ok(frame) = serde_json::from_str::<serde_json::Value>(&self.line) else { return false };
        frame["type"] == "control_response" || (frame.get("id").is_some() && frame.get("method").is_none())
    }
}

fn json(line: &impl Serialize) -> String {
    serde_json::to_string(line).expect("frames have string keys and no fallible serializer")
}

/// What an agent is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Order {
    /// The first of every run, as soon as there is a process.
    Begin(Begin),
    /// Work. The machine keeps it until the CLI can take it. `parts` are the messages in it, see [`part`].
    Input {
        input: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        parts: Vec<String>,
        text: String,
        how: How,
    },
    /// To an [`Item::Asked`].
    Answer { ask: String, answer: Answer },
    /// End the running turn; the process stays.
    Interrupt,
    /// For the turns to come, or at once where the CLI can.
    Set { model: Option<String>, mode: Option<String> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// The CLI may read it when it likes, at the latest as the next turn.
    Next,
    /// Into the running turn where the protocol can do that; else as [`How::Next`].
    Steer,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    pub cwd: String,
    pub session: Session,
    /// The conversation that should have gone on and is gone; what is opened instead says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<String>,
    pub model: Option<String>,
    pub mode: Option<String>,
    /// Our MCP server, for CLIs that are handed one over their protocol.
    pub mcp: Option<McpServer>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Session {
    /// The id is for CLIs that let us choose it.
    New {
        id: String,
    },
    Resume {
        id: String,
    },
}

/// A stdio MCP server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct McpServer {
    pub name: String,
    pub command: String,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
}

/// Why an order cannot be carried out; nothing has happened then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("nothing is running that could be interrupted")]
    NotRunning,
    #[error("this is not asked, or not any more: {0}")]
    NotAsked(String),
    #[error("this answer does not fit the question: {0}")]
    BadAnswer(String),
    #[error("its protocol cannot do this: {0}")]
    Unsupported(&'static str),
    #[error("the conversation is not open yet")]
    NotReady,
}

/// A dialect in its current state. Serializable, so that a long tape need not be read from its beginning.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "dialect", rename_all = "snake_case")]
pub enum Machine {
    Acp(Box<acp::Acp>),
    Claude(claude::Claude),
    Codex(codex::Codex),
    Once(once::Once),
}

impl Machine {
    /// A line the agent printed, without its newline. What is no frame at all is skipped and counted.
    pub fn hear(&mut self, line: &str, now: Time, out: &mut Out) {
        match self {
            Self::Acp(machine) => machine.hear(line, now, out),
            Self::Claude(machine) => machine.hear(line, now, out),
            Self::Codex(machine) => machine.hear(line, now, out),
            Self::Once(machine) => machine.hear(line, now, out),
        }
    }

    /// Something it is told. A refused order leaves the machine as it was.
    pub fn order(&mut self, order: &Order, now: Time, out: &mut Out) -> Result<(), Refused> {
        match self {
            Self::Acp(machine) => machine.order(order, now, out),
            Self::Claude(machine) => machine.order(order, now, out),
            Self::Codex(machine) => machine.order(order, now, out),
            Self::Once(machine) => machine.order(order, now, out),
        }
    }

    /// Whether an input given now would be begun at once.
    pub fn is_idle(&self) -> bool {
        match self {
            Self::Acp(machine) => machine.is_idle(),
            Self::Claude(machine) => machine.is_idle(),
            Self::Codex(machine) => machine.is_idle(),
            Self::Once(machine) => machine.is_idle(),
        }
    }

    /// Whether an input given now is written, or refused, at once. One that is not is better kept by whoever gives it,
    /// who can still take it back.
    pub fn takes_input(&self, how: How) -> bool {
        match self {
            Self::Acp(machine) => machine.takes_input(how),
            // It reads on at any time, and says itself when.
            Self::Claude(_) => true,
            Self::Codex(machine) => machine.takes_input(how),
            Self::Once(machine) => machine.is_idle(),
        }
    }

    /// A conversation that was to be resumed and turned out to be gone; the run has no other one.
    pub fn dead_session(&self) -> Option<&str> {
        match self {
            Self::Claude(machine) => machine.dead_session(),
            // These open another conversation in the same process.
            Self::Acp(_) | Self::Codex(_) | Self::Once(_) => None,
        }
    }

    /// What it takes as `/name`, as far as it said so.
    pub fn commands(&self) -> &[SlashCommand] {
        match self {
            Self::Acp(machine) => machine.commands(),
            Self::Claude(machine) => machine.commands(),
            Self::Codex(_) | Self::Once(_) => &[],
        }
    }

    /// Lines of a kind this build does not know.
    pub fn unknown(&self) -> u64 {
        match self {
            Self::Acp(machine) => machine.unknown(),
            Self::Claude(machine) => machine.unknown(),
            Self::Codex(machine) => machine.unknown(),
            Self::Once(machine) => machine.unknown(),
        }
    }
}

/// A list that is longer is not looked through by anybody; a CLI has some dozens.
const COMMANDS_MAX: usize = 256;
const COMMAND_NAME_CHARS: usize = 100;
const COMMAND_ABOUT_CHARS: usize = 200;

/// The commands a CLI lists. `takes` says where an entry has what may follow its name.
pub(crate) fn slash_commands(
    list: &serde_json::Value,
    takes: impl Fn(&serde_json::Value) -> &serde_json::Value,
) -> Vec<SlashCommand> {
    let entries = list.as_array().map(Vec::as_slice).unwrap_or_default();
    let line = |told: &serde_json::Value, chars| {
        cut(told.as_str().and_then(|told| told.lines().next()).unwrap_or_default(), chars)
    };
    let command = |entry: &serde_json::Value| {
        // Some versions list names alone.
        let name = entry.as_str().or(entry["name"].as_str())?.trim_start_matches('/');
        let is_name = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control());
        is_name.then(|| SlashCommand {
            name: cut(name, COMMAND_NAME_CHARS),
            about: line(&entry["description"], COMMAND_ABOUT_CHARS),
            takes: line(takes(entry), COMMAND_NAME_CHARS),
        })
    };
    entries.iter().filter_map(command).take(COMMANDS_MAX).collect()
}

/// How an ask was closed by a person: by the option of this id. What was typed may be for nobody else.
pub(crate) fn answered(answer: &Answer) -> String {
    match answer {
        Answer::Option { option, .. } => format!("answered: {option}"),
        Answer::Text { .. } => "answered in words".to_owned(),
    }
}

/// As much of a text as a title or a notice needs.
pub(crate) fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
