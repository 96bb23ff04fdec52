//! What a team file can say, once: the reader takes its keys from here, what is suggested for a mistyped one, and whoever
//! makes a form of it the fields.

use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Field {
    pub key: &'static str,
    pub takes: Takes,
    pub of: Of,
    /// What it is, in a few words.
    pub about: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Takes {
    Text,
    Kind,
    /// A path, from the file's directory.
    Path,
    /// An array of strings.
    Words,
    /// Names of agents of this file.
    Agents,
    Flag,
    Number,
    Duration,
    /// `now`, `boundary` or `turn_end`.
    WhileWorking,
    /// Names with strings.
    Env,
    /// A table with the fields of [`MAIL`].
    Mail,
}

/// Which kinds have use for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Of {
    All,
    /// A command is named, since the kind brings none.
    Command,
    /// It speaks a protocol, so that it can be told.
    Protocol,
}

const fn field(key: &'static str, takes: Takes, of: Of, about: &'static str) -> Field {
    Field { key, takes, of, about }
}

pub const TEAM: &[Field] = &[field("name", Takes::Text, Of::All, "how its agents are addressed together")];

pub const AGENT: &[Field] = &[
    field("name", Takes::Text, Of::All, "how it is addressed"),
    field("kind", Takes::Kind, Of::All, "what is run"),
    field("command", Takes::Words, Of::Command, "the program and its arguments"),
    field("args", Takes::Words, Of::All, "arguments to the program"),
    field("cwd", Takes::Path, Of::All, "where it works, from this file's folder"),
    field("worktree", Takes::Flag, Of::All, "in a git worktree and on a branch of its own"),
    field("role", Takes::Text, Of::All, "what it is there for"),
    field("groups", Takes::Words, Of::All, "addresses it shares with others"),
    field("model", Takes::Text, Of::Protocol, "in the word of the CLI"),
    field("mode", Takes::Text, Of::Protocol, "the permission mode, in the word of the CLI"),
    field("env", Takes::Env, Of::All, "no secrets: definitions are kept in the log"),
    field("start", Takes::Flag, Of::All, "whether it is started with the team"),
    field("start_after", Takes::Agents, Of::All, "starts when these run"),
    field("mail", Takes::Mail, Of::All, "when it may be given mail"),
];

pub const MAIL: &[Field] = &[
    field("paused", Takes::Flag, Of::All, "nothing is given until a person says so"),
    field("while_working", Takes::WhileWorking, Of::All, "what mail waits for while it works"),
    field("boundary", Takes::Duration, Of::All, "a boundary is not waited for longer"),
    field("wakes_per_hour", Takes::Number, Of::All, "so often other agents may wake it"),
];
