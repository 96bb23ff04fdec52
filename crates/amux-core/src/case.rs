//! One command under decision: the state and the context it is judged in, the events it comes to, the ids it makes.
//! Lives for one call of [`crate::decide`]; a case that is refused leaves nothing behind.

use amux_proto::entity::Message;
use amux_proto::event::message;
use amux_proto::{Code, Event, MessageId, Principal, Rejection, Rev, Time, uuid_at};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::resolve;
use crate::state::State;

/// The world a command is decided in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ctx {
    pub now: Time,
    /// Decided by the server from the connection.
    pub actor: Principal,
    /// The revision the command was made for, of the thing it names first.
    pub expect: Option<Rev>,
    /// Entropy for the ids this command makes. A seed is used once.
    pub seed: u128,
    /// Old mail the command speaks of, fetched for it: what [`crate::mail::absent`] said is not in the state.
    pub recalled: Vec<Message>,
}

/// What a command came to. No events: it asked for what already is.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    pub events: Vec<Event>,
    /// An object; `changed` says whether there were events.
    pub answer: Value,
}

pub(crate) struct Case<'a> {
    pub(crate) state: &'a State,
    pub(crate) ctx: &'a Ctx,
    events: Vec<Event>,
    ids_made: u64,
    expect_compared: bool,
}

impl<'a> Case<'a> {
    pub(crate) fn new(state: &'a State, ctx: &'a Ctx) -> Self {
        Self { state, ctx, events: Vec::new(), ids_made: 0, expect_compared: false }
    }

    pub(crate) fn emit(&mut self, event: impl Into<Event>) {
        self.events.push(event.into());
    }

    pub(crate) fn into_events(self) -> Vec<Event> {
        self.events
    }

    /// The same context makes the same ids: a version 7 UUID of its moment, its seed and a counter.
    pub(crate) fn make_id(&mut self) -> Uuid {
        self.ids_made += 1;
        let seed = self.ctx.seed;
        let mut mixer = Mixer(self.ids_made ^ u64_of(seed) ^ u64_of(seed >> 64).rotate_left(32));
        let (high, low) = (mixer.next() ^ u64_of(seed >> 64), mixer.next() ^ u64_of(seed));
        let mut entropy = [0; 10];
        entropy[..8].copy_from_slice(&low.to_be_bytes());
        entropy[8..].copy_from_slice(&high.to_be_bytes()[..2]);
        uuid_at(self.ctx.now, &entropy)
    }

    /// A message, of today or old.
    pub(crate) fn message(&self, reference: &str) -> Result<&'a Message, Rejection> {
        resolve::message_or_old(self.state, &self.ctx.recalled, &self.ctx.actor, reference)
    }

    pub(crate) fn message_of(&self, id: MessageId) -> Option<&'a Message> {
        self.state.messages.get(&id).or_else(|| self.ctx.recalled.iter().find(|message| message.id == id))
    }

    /// To be said before something happens to an old message.
    pub(crate) fn recall(&mut self, message: &Message) {
        let is_of_today = self.state.messages.contains_key(&message.id);
        let is_said = |event: &Event| matches!(event, Event::Message(message::Event::Recalled(said)) if said.message.id == message.id);
        if !is_of_today && !self.events.iter().any(is_said) {
            self.emit(message::Event::Recalled(message::Recalled { message: message.clone() }));
        }
    }

    /// Compares `expect` with the revision of the thing the command names first.
    pub(crate) fn expect(&mut self, rev: Rev) -> Result<(), Rejection> {
        self.expect_compared = true;
        match self.ctx.expect {
            Some(expected) if expected != rev => {
                Err(Rejection::new(Code::Stale, format!("it changed meanwhile: revision {rev}, not {expected}"))
                    .details(json!({ "rev": rev })))
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(crate) fn close(self, verb: &str, answer: Value) -> Result<Decided, Rejection> {
        if self.ctx.expect.is_some() && !self.expect_compared {
            return Err(Rejection::new(Code::BadArgs, format!("there is nothing to compare `expect` with: {verb}")));
        }
        let mut answer = answer;
        answer["changed"] = (!self.events.is_empty()).into();
        Ok(Decided { events: self.events, answer })
    }
}

/// SplitMix64: spreads a few bits over all.
struct Mixer(u64);

impl Mixer {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// The low half.
fn u64_of(wide: u128) -> u64 {
    (wide & u128::from(u64::MAX)) as u64
}
