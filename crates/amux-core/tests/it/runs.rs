//! What is seen of a run: what it says happened once, the level it is at, the conversation it is in.

use amux_core::wish;
use amux_proto::command::agent::{Command as AgentCommand, Create, Rename};
use amux_proto::command::message::Command as MessageCommand;
use amux_proto::command::run::{self, Fact};
use amux_proto::entity::{Activity, Desired, ExitWhy, Kind, KindName, Phase, RequestKind, Session, Stage};
use amux_proto::event::{Event, turn};
use amux_proto::transcript::{InputStage, Opened, SessionOpened, Trigger, TurnEnd, Usage};
use amux_proto::{AgentId, Effect, MessageId, RunNo, Time};
use serde_json::json;

use crate::world::{
    World, ask_closed, asked, create, exit, exited, failed, id, letter, lost, name, names, remove, restart, seen,
    start, started, stop,
};

fn opened(session: &str, how: Opened) -> Fact {
    Fact::Session { session: SessionOpened { id: session.into(), how, model: None, mode: None, cwd: None } }
}

fn fresh(session: &str, attempted: &str) -> Fact {
    opened(session, Opened::Fresh { attempted: attempted.into(), why: "not found".into() })
}

fn session_lost(session: &str) -> Fact {
    Fact::SessionLost { session: session.into(), why: "not found".into() }
}

fn turn_started(turn: u32) -> Fact {
    Fact::TurnStarted { turn, trigger: Trigger::Input }
}

fn turn_ended(turn: u32) -> Fact {
    Fact::TurnEnded { turn, end: TurnEnd::Done }
}

fn input(message: MessageId, stage: InputStage) -> Fact {
    Fact::Input { message, stage, evidence: "seen".into(), edition: 0 }
}

fn send(world: &mut World, to: &str) -> MessageId {
    MessageId(id(&world.says(MessageCommand::Send(letter(to, "hello"))).answer, "id"))
}

fn at(seen: u64, phase: Phase) -> Activity {
    Activity { seen, phase, ..Activity::default() }
}

fn conversation(world: &World, agent: AgentId) -> (Option<&str>, Vec<&str>) {
    let Some(Session { id, dead, .. }) = &world.the(agent).session else { return (None, Vec::new()) };
    (id.as_deref(), dead.iter().map(String::as_str).collect())
}

#[test]
fn what_was_seen_is_heard_once() {
    let mut world = World::new();
    let scout = world.running("scout");
    let facts = [turn_started(1), asked(1, RequestKind::Question)];
    let first = seen(scout, 1, at(5, Phase::Idle), &facts);
    assert_eq!(world.events(first.clone()), ["turn.started", "request.opened", "run.active"]);
    for again in
        [first, seen(scout, 1, at(5, Phase::Compacting), &[turn_ended(1)]), seen(scout, 1, at(4, Phase::Idle), &facts)]
    {
        let said = world.says(again);
        assert_eq!(
            (names(&said), &said.answer["stale"], &said.answer["changed"]),
            (Vec::new(), &json!(true), &json!(false))
        );
    }
    assert_eq!(world.events(seen(scout, 1, at(6, Phase::Idle), &[])), ["run.active"]);
}

#[test]
fn every_fact_has_its_event() {
    let mut world = World::new();
    let scout = world.running("scout");
    let message = send(&mut world, "scout");
    let cases: &[(Fact, &[&str])] = &[
        (opened("s1", Opened::New), &["session.opened"]),
        (turn_started(1), &["turn.started"]),
        (input(message, InputStage::Begun), &["message.staged", "message.staged"]),
        (asked(1, RequestKind::Permission), &["request.opened"]),
        (ask_closed(1), &["request.withdrawn"]),
        (turn_ended(1), &["turn.ended"]),
        (session_lost("s1"), &["session.lost"]),
        // Known, over, or never heard of.
        (session_lost("s1"), &[]),
        (turn_started(1), &[]),
        (turn_ended(1), &[]),
        (turn_ended(2), &[]),
        (ask_closed(1), &[]),
        (input(message, InputStage::Handed), &[]),
        (input(MessageId(uuid::Uuid::nil()), InputStage::Handed), &[]),
    ];
    for (fact, events) in cases {
        let [expected @ .., "run.active"] = &world.sees(scout, std::slice::from_ref(fact))[..] else {
            panic!("{fact:?} says nothing of the level")
        };
        assert_eq!(expected, *events, "{fact:?}");
    }
}

#[test]
fn a_level_is_what_was_seen_last() {
    let mut world = World::new();
    let scout = world.running("scout");
    let usage = Usage { cost_micro_usd: Some(1200), ..Usage::default() };
    let first = Activity { model: Some("large".into()), tasks: 2, usage, ..at(1, Phase::Compacting) };
    world.says(seen(scout, 1, first.clone(), &[]));
    assert_eq!(world.run(scout).activity, first);
    // Levels between were never reported, and nothing of the old one stays.
    let last = Activity { turn: 9, evidence: "it works".into(), ..at(70, Phase::Working { doing: None }) };
    world.says(seen(scout, 1, last.clone(), &[]));
    assert_eq!(world.run(scout).activity, last);
}

#[test]
fn a_run_that_ends_ends_its_turn() {
    for (end, what) in [(exited as fn(_, _) -> _, "run.exited"), (lost, "run.lost")] {
        let mut world = World::new();
        let scout = world.running("scout");
        let activity = Activity { turn: 1, turn_open: true, ..at(1, Phase::Working { doing: None }) };
        world.says(seen(scout, 1, activity, &[turn_started(1)]));
        let ended = world.says(end(scout, 1));
        assert_eq!(names(&ended), ["turn.ended", what]);
        let expected = turn::Ended { agent: scout, run: RunNo(1), turn: 1, end: TurnEnd::Exited };
        assert_eq!(ended.events[0], Event::from(turn::Event::Ended(expected)));
        assert!(!world.run(scout).activity.turn_open);
    }
    let mut world = World::new();
    let scout = world.running("scout");
    world.sees(scout, &[turn_started(1), turn_ended(1)]);
    assert_eq!(world.events(exited(scout, 1)), ["run.exited"], "a turn ends once");
}

#[test]
fn a_removed_agents_turn_ends_with_it() {
    let mut world = World::new();
    let scout = world.running("scout");
    let activity = Activity { turn: 1, turn_open: true, ..at(1, Phase::Idle) };
    world.says(seen(scout, 1, activity, &[turn_started(1)]));
    world.says(remove(scout, true));
    assert_eq!(world.events(exited(scout, 1)), ["turn.ended", "run.exited", "agent.removed"]);
}

#[test]
fn what_is_said_of_an_older_run_changes_nothing() {
    let mut world = World::new();
    let scout = world.running("scout");
    let message = send(&mut world, "scout");
    let facts = [
        opened("old", Opened::New),
        session_lost("new"),
        turn_started(1),
        asked(7, RequestKind::Permission),
        ask_closed(8),
        input(message, InputStage::Ended),
    ];
    world.says(restart(scout));
    world.says(exited(scout, 1));
    world.says(started(scout, 2));
    world.sees(scout, &[opened("new", Opened::New), asked(8, RequestKind::Question)]);
    let before = world.state.clone();
    for late in [
        seen(scout, 1, at(1000, Phase::Idle), &facts),
        seen(scout, 3, at(1000, Phase::Idle), &facts),
        started(scout, 1),
        exited(scout, 1),
        lost(scout, 1),
        failed(scout, 1),
    ] {
        let said = world.says(late);
        assert_eq!((names(&said), &said.answer["stale"]), (Vec::new(), &json!(true)));
        assert!(world.state == before);
    }
}

#[test]
fn a_conversation_goes_on_from_run_to_run() {
    let mut world = World::new();
    let scout = world.running("scout");
    assert_eq!(conversation(&world, scout), (None, vec![]));
    assert_eq!(world.sees(scout, &[opened("s1", Opened::New)]), ["session.opened", "run.active"]);
    let since = world.the(scout).session.as_ref().unwrap().since;
    world.says(restart(scout));
    world.says(exited(scout, 1));
    world.says(started(scout, 2));
    assert_eq!(conversation(&world, scout), (Some("s1"), vec![]));
    // That it went on is said too, and changes nothing.
    assert_eq!(world.sees(scout, &[opened("s1", Opened::Resumed)]), ["session.opened", "run.active"]);
    assert_eq!(conversation(&world, scout), (Some("s1"), vec![]));
    assert_eq!(world.the(scout).session.as_ref().unwrap().since, since);
    // The CLI began another by itself.
    world.sees(scout, &[opened("s2", Opened::New)]);
    assert_eq!(conversation(&world, scout), (Some("s2"), vec![]));
    let renamed = Rename { agent: "scout".into(), name: name("eyes") };
    world.says(AgentCommand::Rename(renamed));
    assert_eq!(conversation(&world, scout), (Some("s2"), vec![]), "a name is not an identity");
}

#[test]
fn a_fresh_conversation_buries_the_one_that_was_tried() {
    let mut world = World::new();
    let scout = world.running("scout");
    world.sees(scout, &[opened("s1", Opened::New)]);
    world.sees(scout, &[fresh("s2", "s1")]);
    assert_eq!(conversation(&world, scout), (Some("s2"), vec!["s1"]));
    // A late word of the dead one is not believed.
    assert_eq!(world.sees(scout, &[opened("s1", Opened::Resumed)]), ["run.active"]);
    assert_eq!(conversation(&world, scout), (Some("s2"), vec!["s1"]));
}

#[test]
fn only_so_many_dead_conversations_are_remembered() {
    let mut world = World::new();
    let scout = world.running("scout");
    for number in 0..20 {
        world.sees(scout, &[fresh(&format!("s{}", number + 1), &format!("s{number}"))]);
    }
    let (alive, dead) = conversation(&world, scout);
    assert_eq!((alive, dead.len(), dead[0], dead[15]), (Some("s20"), 16, "s4", "s19"));
}

/// An agent that was to go on with `s1`, and its run that found it gone.
fn with_a_lost_conversation() -> (World, AgentId) {
    let mut world = World::new();
    let kind = Kind {
        dialect: amux_proto::entity::Dialect::Claude,
        program: Some("claude".into()),
        args: Vec::new(),
        new_args: Vec::new(),
        resume_args: vec!["--resume".into(), "{session}".into()],
        model_args: Vec::new(),
        mode_args: Vec::new(),
        mcp_args: Vec::new(),
        env: Default::default(),
        unset: Vec::new(),
        install: None,
        about: String::new(),
    };
    let kinds = [("claude".to_owned(), kind)].into();
    world.says(amux_proto::command::kind::Command::Load(amux_proto::command::kind::Load { kinds }));
    let kind = KindName("claude".into());
    let order = Create { kind, resume: Some("s1".into()), start: true, ..create("scout") };
    let made = world.says(AgentCommand::Create(order));
    let scout = AgentId(id(&made.answer, "uid"));
    world.says(started(scout, 1));
    assert_eq!(conversation(&world, scout), (Some("s1"), vec![]));
    (world, scout)
}

#[test]
fn a_lost_conversation_is_dead_for_ever() {
    let (mut world, scout) = with_a_lost_conversation();
    assert_eq!(world.sees(scout, &[session_lost("s1")]), ["session.lost", "run.active"]);
    assert_eq!(conversation(&world, scout), (None, vec!["s1"]));
    for how in [Opened::New, Opened::Resumed] {
        assert_eq!(world.sees(scout, &[opened("s1", how)]), ["run.active"]);
    }
    world.says(exited(scout, 1));
    world.says(started(scout, 2));
    assert_eq!(world.sees(scout, &[opened("s1", Opened::Resumed)]), ["run.active"]);
    assert_eq!(conversation(&world, scout), (None, vec!["s1"]));
    world.sees(scout, &[opened("s2", Opened::New)]);
    assert_eq!(conversation(&world, scout), (Some("s2"), vec!["s1"]));
}

#[test]
fn after_a_lost_conversation_exactly_one_next_run_gets_the_mail_in_its_order() {
    let (mut world, scout) = with_a_lost_conversation();
    let [first, second, third] = [(); 3].map(|()| send(&mut world, "scout"));
    world.sees(scout, &[input(first, InputStage::Handed), input(second, InputStage::Shown)]);
    assert_eq!(wish::open(&world.state), [Effect::Deliver { agent: scout, message: third }]);
    world.sees(scout, &[session_lost("s1")]);
    assert_eq!(
        world.events(exited(scout, 1)),
        ["run.exited", "message.staged", "message.staged", "agent.start_wanted"]
    );
    let deliver = |message| Effect::Deliver { agent: scout, message };
    let next = Effect::EnsureRunning { agent: scout, run: RunNo(2) };
    assert_eq!(wish::open(&world.state), [next, deliver(first), deliver(second), deliver(third)]);
    // Heard again, nothing more is wanted.
    assert_eq!(world.events(exited(scout, 1)), [""; 0]);
    world.says(started(scout, 2));
    // The next run is told of no run but its own, and loses nothing by a late word.
    assert_eq!(world.sees(scout, &[session_lost("s1")]), ["run.active"]);
    let crashed = run::Exited { agent: scout, run: RunNo(2), exit: exit(1, ExitWhy::Itself) };
    assert_eq!(world.events(run::Command::Exited(crashed)), ["run.exited"]);
    assert_eq!(world.the(scout).desired, Desired::Stopped);
    let stages = [first, second, third].map(|message| world.state.messages[&message].deliveries[0].stage.clone());
    assert_eq!(stages, [Stage::Accepted, Stage::Accepted, Stage::Accepted], "they wait for whoever starts it");
}

#[test]
fn a_run_that_was_to_end_is_not_followed_by_another_because_its_conversation_was_lost() {
    let (mut world, scout) = with_a_lost_conversation();
    world.sees(scout, &[session_lost("s1")]);
    world.says(stop(scout));
    assert_eq!(world.events(exited(scout, 1)), ["run.exited"]);
    assert_eq!(wish::open(&world.state), []);

    let (mut world, scout) = with_a_lost_conversation();
    world.sees(scout, &[session_lost("s1")]);
    world.says(restart(scout));
    // One was wanted already.
    assert_eq!(world.events(exited(scout, 1)), ["run.exited"]);
    assert_eq!(wish::open(&world.state), [Effect::EnsureRunning { agent: scout, run: RunNo(2) }]);

    let (mut world, scout) = with_a_lost_conversation();
    world.sees(scout, &[session_lost("s1")]);
    world.says(remove(scout, true));
    assert_eq!(world.events(exited(scout, 1)), ["run.exited", "agent.removed"]);
}

#[test]
fn evidence_is_kept_as_a_sentence() {
    let mut world = World::new();
    let scout = world.running("scout");
    let activity = Activity { evidence: "x".repeat(10_000), since: Time(1), ..at(1, Phase::Idle) };
    world.says(seen(scout, 1, activity, &[]));
    assert_eq!(world.run(scout).activity.evidence.len(), 4096);
    world.says(exited(scout, 1));
    world.says(start(scout));
    assert_eq!(world.run(scout).activity, Activity::default(), "the next run begins untold");
}
