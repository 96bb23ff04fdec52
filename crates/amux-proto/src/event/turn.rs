//! Turns: from an accepted input, or from nothing, to idle.

use crate::ids::{AgentId, RunNo};
use crate::transcript::{Trigger, TurnEnd};

events! {
    "turn.started" "TurnStarted" Started { agent: AgentId, run: RunNo, turn: u32, trigger: Trigger }
    "turn.ended" "TurnEnded" Ended { agent: AgentId, run: RunNo, turn: u32, end: TurnEnd }
}
