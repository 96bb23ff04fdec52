//! The domain as pure functions: what may happen ([`decide`]), what it does to the state ([`apply`]), and what can be
//! read off a state. No clock, no randomness, no I/O: time and entropy come in with [`Ctx`].
//!
//! One noun a module, the same nouns as in `amux-proto`. The engine decides and folds with these functions, the
//! projections are written from [`row`], the outbox from [`wish`], and every answer comes from [`view`].

mod agent;
pub mod attachment;
mod bounds;
mod case;
mod host;
mod layout;
pub mod mail;
mod message;
mod near;
mod pane;
mod request;
mod right;
mod rule;
mod run;
mod state;
mod tab;
mod team;
mod workspace;

pub mod board;
pub mod invariant;
pub mod kind;
pub mod mention;
pub mod notice;
pub mod policy;
pub mod resolve;
pub mod row;
pub mod setting;
pub mod sight;
pub mod view;
pub mod wish;

pub use case::{Ctx, Decided};
pub use layout::tree;
pub use run::machine;
pub use state::{Order, State};

use amux_proto::{Command, Event, Rejection, Time};

/// What a command comes to, in a state, by someone, at a moment. Total, and without effect: a rejection changed
/// nothing, and the same arguments give the same events.
pub fn decide(state: &State, command: &Command, ctx: &Ctx) -> Result<Decided, Rejection> {
    policy::may_order(state, &ctx.actor, command)?;
    let mut case = case::Case::new(state, ctx);
    let answer = match command {
        Command::Team(command) => team::decide(&mut case, command),
        Command::Agent(command) => agent::decide(&mut case, command),
        Command::Run(command) => run::decide(&mut case, command),
        Command::Workspace(command) => workspace::decide(&mut case, command),
        Command::Tab(command) => tab::decide(&mut case, command),
        Command::Pane(command) => pane::decide(&mut case, command),
        Command::Layout(command) => layout::decide(&mut case, command),
        Command::Request(command) => request::decide(&mut case, command),
        Command::Message(command) => message::decide(&mut case, command),
        Command::Setting(command) => setting::decide(&mut case, command),
        Command::Host(command) => host::decide(&mut case, command),
        Command::Kind(command) => kind::decide(&mut case, command),
        Command::Policy(command) => rule::decide(&mut case, command),
    }?;
    case.close(command.name(), answer)
}

/// What an event does. Infallible: an event is a fact, and one about a thing that is not there changes nothing. The
/// memory, the projections and the check of the log are all this one fold.
pub fn apply(state: &mut State, at: Time, event: &Event) {
    match event {
        Event::Team(event) => team::apply(state, at, event),
        Event::Agent(event) => agent::apply(state, at, event),
        Event::Run(event) => run::apply(state, at, event),
        Event::Workspace(event) => workspace::apply(state, event),
        Event::Tab(event) => tab::apply(state, event),
        Event::Pane(event) => pane::apply(state, event),
        Event::Layout(event) => layout::apply(state, event),
        Event::Request(event) => request::apply(state, event),
        Event::Message(event) => message::apply(state, at, event),
        Event::Setting(event) => setting::apply(state, event),
        Event::Flow(event) => team::apply_flow(state, at, event),
        Event::Host(event) => host::apply(state, at, event),
        Event::Session(event) => run::apply_session(state, at, event),
        Event::Turn(event) => run::apply_turn(state, event),
        Event::Kind(event) => kind::apply(state, event),
        Event::Policy(event) => rule::apply(state, event),
    }
}
