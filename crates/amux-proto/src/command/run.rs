//! Observations of one run. Only the server itself says these; those of an older run change nothing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::entity::{Activity, Exit, Process};
use crate::ids::{AgentId, MessageId, RequestId, RunNo};
use crate::transcript::{Ask, InputStage, SessionOpened, Trigger, TurnEnd};

commands! {
    "run.started" "RunStartedObserved" Started { agent: AgentId, run: RunNo, process: Process }
    "run.failed" "RunFailedObserved" Failed { agent: AgentId, run: RunNo, error: String }
    "run.exited" "RunExitedObserved" Exited { agent: AgentId, run: RunNo, exit: Exit }
    /// It is gone and nobody saw how.
    "run.lost" "RunLostObserved" Lost { agent: AgentId, run: RunNo, why: String }
    /// What was seen of it up to one input of its dialect. Said again after a crash it changes nothing.
    "run.seen" "RunSeenObserved" Seen {
        agent: AgentId,
        run: RunNo,
        activity: Box<Activity>,
        #[serde(default)] facts: Vec<Fact>,
    }
}

/// Something that happened once, as opposed to the level that [`Activity`] is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(tag = "type", rename_all = "snake_case")]
#[ts(rename = "RunFact")]
#[schemars(rename = "RunFact")]
pub enum Fact {
    Session {
        session: SessionOpened,
    },
    /// A conversation that was to be resumed is gone.
    SessionLost {
        session: String,
        why: String,
    },
    TurnStarted {
        turn: u32,
        trigger: Trigger,
    },
    TurnEnded {
        turn: u32,
        end: TurnEnd,
    },
    Asked {
        request: RequestId,
        ask: Box<Ask>,
    },
    /// Answered where the agent could see it, or not asked any more.
    AskClosed {
        request: RequestId,
        how: String,
    },
    Input {
        message: MessageId,
        stage: InputStage,
        evidence: String,
        /// Which of its words were given.
        #[serde(default)]
        edition: u32,
    },
}
