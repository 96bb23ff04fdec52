//! Claude Code's stream-json, spoken by a process that lives through many turns.

use amux_proto::Time;
use serde::{Deserialize, Serialize};

use crate::turns::Turns;
use crate::{Order, Out, Refused};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Claude {
    turns: Turns,
    unknown: u64,
}

impl Claude {
    pub fn hear(&mut self, _line: &str, _now: Time, _out: &mut Out) {
        self.unknown += 1;
    }

    pub fn order(&mut self, _order: &Order, _now: Time, _out: &mut Out) -> Result<(), Refused> {
        Err(Refused::NotReady)
    }

    pub fn is_idle(&self) -> bool {
        !self.turns.is_open()
    }

    pub fn unknown(&self) -> u64 {
        self.unknown
    }
}
