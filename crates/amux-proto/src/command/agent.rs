//! Agents: durable identities with a definition and a wish (stopped, running).

use std::collections::{BTreeMap, BTreeSet};

use crate::entity::{KindName, Size, WhileWorking, Work};
use crate::ids::{AgentId, Name};

commands! {
    /// Make an agent and, unless `start` is false, start it. Without a team it joins `default`, or the team of the
    /// agent that makes it.
    "agent.create" "AgentCreate" Create {
        #[serde(default)] id: Option<AgentId>,
        name: Name,
        #[serde(default)] team: Option<String>,
        kind: KindName,
        #[serde(default)] argv: Vec<String>,
        /// Absolute.
        cwd: String,
        #[serde(default)] env: BTreeMap<String, String>,
        #[serde(default)] size: Option<Size>,
        #[serde(default)] model: Option<String>,
        #[serde(default)] mode: Option<String>,
        /// The CLI's id of a conversation to go on with.
        #[serde(default)] resume: Option<String>,
        #[serde(default)] worktree: bool,
        #[serde(default = "crate::command::agent::yes")] #[ts(as = "Option<bool>")] start: bool,
    }
    /// Give an agent another name; its identity, mail and history stay.
    "agent.rename" "AgentRename" Rename { agent: String, name: Name }
    /// Run it differently from its next run on.
    "agent.define" "AgentDefine" Define {
        agent: String,
        kind: KindName,
        #[serde(default)] argv: Vec<String>,
        /// Absolute.
        cwd: String,
        #[serde(default)] env: BTreeMap<String, String>,
        #[serde(default)] size: Option<Size>,
        #[serde(default)] model: Option<String>,
        #[serde(default)] mode: Option<String>,
        #[serde(default)] worktree: bool,
    }
    /// What it is there for, and the groups it is in.
    "agent.describe" "AgentDescribe" Describe {
        agent: String,
        #[serde(default)] role: Option<String>,
        #[serde(default)] groups: BTreeSet<Name>,
    }
    /// When it may be given mail; what is not said stays.
    "agent.mail" "AgentMail" Mail {
        agent: String,
        #[serde(default)] paused: Option<bool>,
        #[serde(default)] while_working: Option<WhileWorking>,
        #[serde(default)] boundary_ms: Option<u64>,
        #[serde(default)] wakes_per_hour: Option<u32>,
    }
    /// A person's words to it that are not sent yet; empty: none.
    "agent.draft" "AgentDraft" Draft { agent: String, text: String }
    /// Remove an agent; a running one only with `stop`, and then it goes when its run has ended.
    "agent.remove" "AgentRemove" Remove {
        agent: String,
        #[serde(default)] stop: bool,
    }
    /// Want it running; a new run begins when none is live.
    "agent.start" "AgentStart" Start { agent: String }
    /// Want it stopped.
    "agent.stop" "AgentStop" Stop {
        agent: String,
        #[serde(default)] grace_ms: Option<u64>,
        /// For the log; limits that end an agent say themselves here.
        #[serde(default)] reason: Option<String>,
    }
    /// Stop the live run, if any, and begin the next; with `define` as what is said there.
    "agent.restart" "AgentRestart" Restart {
        agent: String,
        #[serde(default)] grace_ms: Option<u64>,
        #[serde(default)] define: Option<Work>,
    }
}

/// An agent is made to be run.
pub(crate) fn yes() -> bool {
    true
}
