//! The book of turns, kept by every dialect: a turn is opened by the first pass that begins while none is open, holds
//! every input that is begun in it, and is closed exactly once, whichever way it ends.
//!
//! A pass that ends while inputs of ours are still unread does not close its turn: the next pass belongs to it. What
//! is settled is settled by evidence like that and not by waiting.

use amux_proto::transcript::{InputStage, Item, Trigger, TurnEnd};
use serde::{Deserialize, Serialize};

use crate::Out;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turns {
    newest: u32,
    open: bool,
    /// Inputs begun in the open turn.
    inputs: Vec<String>,
}

impl Turns {
    pub fn is_open(&self) -> bool {
        self.open
    }

    pub fn newest(&self) -> u32 {
        self.newest
    }

    /// A pass begins: of the open turn, or of a new one.
    pub fn begin(&mut self, trigger: Trigger, out: &mut Out) {
        if self.open {
            out.say(Item::PassStarted { turn: self.newest });
        } else {
            self.newest += 1;
            self.open = true;
            out.say(Item::TurnStarted { turn: self.newest, trigger });
        }
    }

    /// The open turn contains this input.
    pub fn contains(&mut self, input: &str, evidence: &str, out: &mut Out) {
        self.inputs.push(input.to_owned());
        out.say(Item::InputStage { input: input.to_owned(), stage: InputStage::Begun, evidence: evidence.to_owned() });
    }

    /// The open turn is over; without an open turn nothing happens.
    pub fn end(&mut self, end: TurnEnd, out: &mut Out) {
        if !self.open {
            return;
        }
        self.open = false;
        let evidence = match &end {
            TurnEnd::Done => "its turn has ended",
            TurnEnd::Interrupted => "its turn was interrupted",
            TurnEnd::Error { .. } => "its turn ended with an error",
            TurnEnd::Exited => "the process ended during its turn",
        };
        let stage = if end == TurnEnd::Done { InputStage::Ended } else { InputStage::Failed };
        for input in self.inputs.drain(..) {
            out.items.push(Item::InputStage { input, stage, evidence: evidence.to_owned() });
        }
        out.say(Item::TurnEnded { turn: self.newest, end });
    }
}
