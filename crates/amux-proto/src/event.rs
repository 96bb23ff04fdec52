//! Facts. They state results with everything a reader needs; they are for ever, so they hold no words of any UI.
//!
//! A stored event carries its shape's version; older shapes are lifted by the engine before anyone sees them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ts_rs::TS;

use crate::ids::{CmdId, Epoch, Seq};
use crate::principal::Principal;
use crate::time::Time;

pub mod agent;
pub mod flow;
pub mod host;
pub mod kind;
pub mod layout;
pub mod message;
pub mod pane;
pub mod policy;
pub mod request;
pub mod run;
pub mod session;
pub mod setting;
pub mod tab;
pub mod team;
pub mod turn;
pub mod workspace;

nouns! {
    /// Everything that can have happened.
    Event {
        Team(team), Agent(agent), Run(run), Workspace(workspace), Tab(tab), Pane(pane), Layout(layout),
        Request(request), Message(message), Setting(setting), Flow(flow), Host(host),
        Session(session), Turn(turn), Kind(kind), Policy(policy),
    }
}

impl Event {
    /// The noun before the dot; subscriptions choose by it.
    pub fn topic(&self) -> &'static str {
        topic_of(self.name())
    }
}

pub fn topic_of(name: &str) -> &str {
    name.split_once('.').map_or(name, |(noun, _)| noun)
}

/// An event at its place in the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub seq: Seq,
    pub at: Time,
    pub actor: Principal,
    /// The actor as people knew it then: `operator`, `system`, `agent:name@team`, `peer:host`.
    pub actor_name: String,
    /// The event whose effect led to this one.
    pub cause: Option<Seq>,
    pub cmd_id: CmdId,
    pub event: Event,
}

/// An event as clients read it; the line of `agentmux events`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, TS)]
#[ts(rename = "EventLine")]
#[schemars(rename = "EventLine")]
pub struct Line {
    pub epoch: Epoch,
    pub seq: Seq,
    pub at: Time,
    /// `operator`, `system`, `agent:name@team` or `peer:host`, by the names of that moment.
    pub actor: String,
    pub cause: Option<Seq>,
    /// Of the command it came from; a client knows its own changes by it.
    pub cmd_id: CmdId,
    pub topic: String,
    #[serde(rename = "type")]
    pub kind: String,
    #[ts(type = "unknown")]
    #[schemars(with = "serde_json::Value")]
    pub data: Box<RawValue>,
}
