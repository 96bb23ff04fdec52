//! The board: rows of what waits.

use amux_core::board::{self, Key};
use amux_proto::board::Row;
use amux_proto::command::agent::{self, Mail};
use amux_proto::command::message::{Command, Send};
use amux_proto::entity::{Activity, Class, Phase, WhileWorking};
use amux_proto::view::Delivery;
use amux_proto::{AgentId, MessageId, Time};

use crate::world::{World, id, letter, seen};

fn says(world: &mut World, class: Class) -> MessageId {
    let sent = world.says(Command::Send(Send { class, ..letter("scout", "hello") }));
    MessageId(id(&sent.answer, "id"))
}

fn is(world: &mut World, agent: AgentId, phase: Phase, turn_open: bool) {
    let activity = Activity { seen: 1, phase, since: world.now, turn_open, ..Activity::default() };
    world.says(seen(agent, 1, activity, &[]));
}

/// The copy as its row shows it at a time, and when that row is another.
fn copy(world: &World, message: MessageId, now: Time) -> (Delivery, Option<Time>) {
    match board::row(&world.state, &Key::Message(message), now) {
        (Row::Message { row: Some(mut row), .. }, until) => (row.deliveries.remove(0), until),
        (row, _) => panic!("no message: {row:?}"),
    }
}

#[test]
fn what_waits_for_a_time_is_shown_otherwise_when_it_has_come_and_not_before() {
    type Case = (&'static str, fn(&mut World, AgentId), Class);
    let cases: [Case; 3] = [
        (
            "boundary",
            |world, scout| {
                is(world, scout, Phase::Working { doing: None }, true);
                world.says(agent::Command::Mail(Mail {
                    agent: scout.to_string(),
                    paused: None,
                    while_working: Some(WhileWorking::Boundary),
                    boundary_ms: Some(10_000),
                    wakes_per_hour: None,
                }));
            },
            Class::Request,
        ),
        ("compacts", |world, scout| is(world, scout, Phase::Compacting, false), Class::Request),
        ("collected", |world, scout| is(world, scout, Phase::Idle, false), Class::Info),
    ];
    for (words, comes_to, class) in cases {
        let mut world = World::new();
        let scout = world.running("scout");
        comes_to(&mut world, scout);
        let message = says(&mut world, class);
        let (waits, until) = copy(&world, message, world.now);
        assert!(waits.stage == "held" && waits.reason.as_ref().is_some_and(|why| why.contains(words)), "{waits:?}");
        let until = until.unwrap_or_else(|| panic!("{words}: nobody would look again"));
        assert_eq!(waits.until, Some(until));
        assert_eq!(copy(&world, message, Time(until.0 - 1)), (waits, Some(until)), "{words}");
        let (after, next) = copy(&world, message, until);
        assert_eq!((after.stage.as_str(), after.reason, next), ("accepted", None, None), "{words}");
    }
}
