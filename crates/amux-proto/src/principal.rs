//! Who acts. Decided by the server from the connection; no field of a request can name an actor.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::ids::{AgentId, RunNo};

/// Written `operator`, `system`, `agent:<uid>:<run>` or `peer:<host>`; people are shown `agent:name@team` instead.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, TS)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
#[ts(type = "string")]
pub enum Principal {
    /// The human of this uid.
    Operator,
    /// A process in the tree of this agent, in this run.
    Agent { agent: AgentId, run: RunNo },
    /// The server of another host.
    Peer(String),
    /// The server itself: observations and housekeeping.
    System,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a principal")]
pub struct BadPrincipal(String);

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator => f.write_str("operator"),
            Self::Agent { agent, run } => write!(f, "agent:{agent}:{run}"),
            Self::Peer(host) => write!(f, "peer:{host}"),
            Self::System => f.write_str("system"),
        }
    }
}

impl FromStr for Principal {
    type Err = BadPrincipal;
    fn from_str(text: &str) -> Result<Self, BadPrincipal> {
        let bad = || BadPrincipal(text.chars().take(100).collect());
        match text.split_once(':') {
            None if text == "operator" => Ok(Self::Operator),
            None if text == "system" => Ok(Self::System),
            Some(("peer", host)) if !host.is_empty() => Ok(Self::Peer(host.to_owned())),
            Some(("agent", rest)) => {
                let (agent, run) = rest.rsplit_once(':').ok_or_else(bad)?;
                Ok(Self::Agent {
                    agent: agent.parse().map_err(|_| bad())?,
                    run: RunNo(run.parse().map_err(|_| bad())?),
                })
            }
            _ => Err(bad()),
        }
    }
}

impl TryFrom<String> for Principal {
    type Error = BadPrincipal;
    fn try_from(text: String) -> Result<Self, BadPrincipal> {
        text.parse()
    }
}

impl From<Principal> for String {
    fn from(principal: Principal) -> Self {
        principal.to_string()
    }
}
