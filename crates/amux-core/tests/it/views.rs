//! What clients are shown of an agent, and from what evidence.

use amux_core::view;
use amux_proto::command::agent::{Command, Create};
use amux_proto::command::run;
use amux_proto::entity::{Activity, Dialect, Exit, ExitWhy, Front, KindName, Phase, RequestKind};
use amux_proto::query;
use amux_proto::view::AgentState;
use amux_proto::{AgentId, Epoch, MessageId, Principal, RunNo, Seq, Time};
use uuid::Uuid;

use crate::agents::{a_kind, load};
use crate::requests_and_messages::send;
use crate::world::{
    World, asked, create, decide_request, exit, exited, failed, id, lost, option, seen, start, started, stop,
};

fn ended(agent: AgentId, exit: Exit) -> run::Command {
    run::Command::Exited(run::Exited { agent, run: RunNo(1), exit })
}

#[test]
fn the_shown_state_is_the_first_that_holds_with_its_evidence() {
    type Say = fn(AgentId) -> amux_proto::Command;
    const START: Say = |a| start(a).into();
    const STARTED: Say = |a| started(a, 1).into();
    let cases: &[(&[Say], AgentState, &str)] = &[
        (&[], AgentState::Offline, "never started"),
        (&[START], AgentState::Starting, ""),
        (&[START, STARTED], AgentState::Unknown, "running; nothing tells what it does"),
        (&[START, STARTED, |a| stop(a).into()], AgentState::Unknown, "asked to stop"),
        (&[START, |a| failed(a, 1).into()], AgentState::Failed, "no such program"),
        (&[START, STARTED, |a| lost(a, 1).into()], AgentState::Failed, "nobody saw it end"),
        (&[START, STARTED, |a| exited(a, 1).into()], AgentState::Offline, "exit 0"),
        (&[START, STARTED, |a| ended(a, exit(1, ExitWhy::Itself)).into()], AgentState::Failed, "exit 1"),
        (&[START, STARTED, |a| ended(a, exit(143, ExitWhy::Stopped)).into()], AgentState::Offline, "asked to stop"),
        (
            &[
                START,
                STARTED,
                |a| seen(a, 1, at(1, Phase::Untold), &[asked(1, RequestKind::Question)]).into(),
                |a| seen(a, 1, at(2, Phase::Untold), &[asked(2, RequestKind::Permission)]).into(),
            ],
            AgentState::NeedsPermission,
            "Permission?",
        ),
        (
            &[START, STARTED, |a| seen(a, 1, at(1, Phase::Idle), &[asked(1, RequestKind::Login)]).into()],
            AgentState::NeedsLogin,
            "Login?",
        ),
        (&[START, STARTED, |_| send(&["scout"], "hello").into()], AgentState::Queued, "1 waiting"),
        (
            &[START, STARTED, |a| seen(a, 1, at(1, Phase::Opening), &[]).into(), |_| send(&["scout"], "hello").into()],
            AgentState::Queued,
            "1 waiting: it is starting",
        ),
        (
            &[START, STARTED, |a| seen(a, 1, left_to("sh", true), &[]).into()],
            AgentState::Offline,
            "claude does not run in its terminal: sh is at its prompt",
        ),
        (
            &[START, STARTED, |a| seen(a, 1, left_to("vim", false), &[]).into()],
            AgentState::Unknown,
            "claude is not in front in its terminal: vim has the keyboard",
        ),
    ];
    for (given, state, reason) in cases {
        let mut world = World::new();
        let order = Create { kind: KindName::cmd(), argv: vec!["work".into()], ..create("scout") };
        let agent = AgentId(id(&world.says(Command::Create(order)).answer, "uid"));
        for said in *given {
            world.says(said(agent));
        }
        let shown = view::detail(&world.state, "scout").unwrap().agent;
        assert_eq!((shown.state, shown.reason.as_deref().unwrap_or_default()), (*state, *reason));
        assert_eq!(shown, view::agent(&world.state, world.the(agent)));
        let listed = view::agents(&world.state, &query::Agents { all: true, team: None }).unwrap();
        assert_eq!(listed, [shown]);
    }
}

fn left_to(instead: &str, is_shell: bool) -> Activity {
    let front = Front { program: Some("claude".into()), instead: Some(instead.into()), is_shell, ..Front::default() };
    Activity { front, ..at(1, Phase::Untold) }
}

fn at(seen: u64, phase: Phase) -> Activity {
    Activity { seen, phase, ..Activity::default() }
}

/// The contract's list, and for each entry that a live run can have what makes it hold. Whatever holds at once, the
/// first of the list is shown.
#[test]
fn of_everything_that_holds_the_first_of_the_contract_is_shown() {
    use AgentState as S;
    const ORDER: [AgentState; 13] = [
        S::Offline,
        S::Failed,
        S::NeedsPermission,
        S::NeedsAnswer,
        S::NeedsLogin,
        S::RateLimited,
        S::Compacting,
        S::Working,
        S::Queued,
        S::Background,
        S::Idle,
        S::Starting,
        S::Unknown,
    ];
    let why = || "why".to_owned();
    let phases = [
        (Phase::Untold, S::Unknown),
        (Phase::Opening, S::Starting),
        (Phase::Idle, S::Idle),
        (Phase::Working { doing: Some(why()) }, S::Working),
        (Phase::Retrying { attempt: 2, max: Some(9), until: Some(Time(0)), reason: why() }, S::RateLimited),
        (Phase::Compacting, S::Compacting),
        (Phase::Limited { reason: why(), until: None }, S::RateLimited),
        (Phase::LoggedOut { reason: why() }, S::NeedsLogin),
    ];
    let asks = [
        None,
        Some((RequestKind::Permission, S::NeedsPermission)),
        Some((RequestKind::Question, S::NeedsAnswer)),
        Some((RequestKind::Login, S::NeedsLogin)),
    ];
    type Say = fn(AgentId) -> run::Command;
    let ends: [(Say, Option<AgentState>); 4] = [
        (|a| started(a, 1), None),
        (|a| ended(a, exit(0, ExitWhy::Itself)), Some(S::Offline)),
        (|a| ended(a, exit(1, ExitWhy::Itself)), Some(S::Failed)),
        (|a| lost(a, 1), Some(S::Failed)),
    ];
    let mut shown = std::collections::BTreeSet::new();
    for (phase, of_phase) in &phases {
        for ask in &asks {
            for (mail, tasks, decided) in [0, 1, 2, 3, 4, 5, 6, 7].map(|bits| (bits & 1 > 0, bits & 2, bits & 4 > 0)) {
                for (is_started, (end, of_end)) in [(false, ends[0])].into_iter().chain(ends.map(|end| (true, end))) {
                    let mut world = World::new();
                    let order = Create { kind: KindName::cmd(), argv: vec!["work".into()], ..create("scout") };
                    let agent = AgentId(id(&world.says(Command::Create(order)).answer, "uid"));
                    world.says(start(agent));
                    let mut holding = vec![*of_phase];
                    let facts: Vec<_> = ask.iter().map(|(kind, _)| asked(1, *kind)).collect();
                    let activity = Activity { tasks, ..at(1, phase.clone()) };
                    if is_started {
                        world.says(started(agent, 1));
                    } else {
                        holding.push(S::Starting);
                    }
                    world.says(seen(agent, 1, activity, &facts));
                    match ask {
                        // A decision on its way needs nobody.
                        Some(_) if decided => drop(world.says(decide_request(1, option("yes")))),
                        Some((_, needs)) => holding.push(*needs),
                        None => {}
                    }
                    if mail {
                        world.says(send(&["scout"], "hello"));
                        holding.push(S::Queued);
                    }
                    if tasks > 0 {
                        holding.push(S::Background);
                    }
                    if is_started {
                        world.says(end(agent));
                    }
                    holding.extend(of_end);
                    let expected = ORDER.iter().find(|state| holding.contains(state)).copied().unwrap();
                    let found = view::agent(&world.state, world.the(agent));
                    let case = format!("{phase:?} {ask:?} mail {mail} tasks {tasks} decided {decided} {holding:?}");
                    assert_eq!(found.state, expected, "{case}");
                    shown.insert(found.state);
                }
            }
        }
    }
    assert_eq!(shown, ORDER.into(), "every state of the contract is shown by something");
    assert!(ORDER.is_sorted(), "the enum is in the contract's order");
}

#[test]
fn the_evidence_of_a_phase_is_its_reason() {
    let retrying = |max, until| Phase::Retrying { attempt: 2, max, until, reason: "overloaded".into() };
    let cases = [
        (retrying(None, None), "retry 2: overloaded"),
        (retrying(Some(10), None), "retry 2/10: overloaded"),
        (retrying(Some(10), Some(Time(0))), "retry 2/10 at 1970-01-01T00:00:00.000Z: overloaded"),
        (Phase::Limited { reason: "5 hour limit".into(), until: None }, "5 hour limit"),
        (Phase::Working { doing: Some("Bash: make".into()) }, "Bash: make"),
        (Phase::Working { doing: None }, "it said so"),
        (Phase::Idle, "it said so"),
        (Phase::Untold, "it said so"),
    ];
    for (phase, reason) in cases {
        let mut world = World::new();
        let agent = world.running("scout");
        world.says(seen(agent, 1, Activity { evidence: "it said so".into(), ..at(1, phase.clone()) }, &[]));
        let shown = view::agent(&world.state, world.the(agent));
        assert_eq!(shown.reason.as_deref(), Some(reason), "{phase:?}");
    }
}

#[test]
fn a_shell_that_ends_with_a_status_has_not_failed() {
    let mut world = World::new();
    let shell = Create { kind: KindName::shell(), argv: Vec::new(), ..create("scout") };
    let created = world.says(Command::Create(shell));
    let agent = AgentId(id(&created.answer, "uid"));
    world.says(start(agent));
    world.says(started(agent, 1));
    world.says(ended(agent, exit(130, ExitWhy::Itself)));
    let shown = view::agent(&world.state, world.the(agent));
    assert_eq!((shown.state, shown.reason.as_deref()), (AgentState::Offline, Some("exit 130")));
}

#[test]
fn those_at_rest_are_listed_only_when_all_are_asked_for() {
    let mut world = World::new();
    world.agent("resting");
    world.running("working");
    world.team("shop");
    world.says(Command::Create(Create { team: Some("shop".into()), ..create("afar") }));
    let list = |all, team: Option<&str>| {
        let listed = view::agents(&world.state, &query::Agents { all, team: team.map(Into::into) });
        listed.map(|agents| agents.iter().map(|agent| format!("{}@{}", agent.name, agent.team)).collect::<Vec<_>>())
    };
    assert_eq!(list(false, None).unwrap(), ["working@default"]);
    assert_eq!(list(true, None).unwrap(), ["resting@default", "working@default", "afar@shop"]);
    assert_eq!(list(true, Some("SHOP")).unwrap(), ["afar@shop"]);
    assert!(list(true, Some("nowhere")).is_err());
}

#[test]
fn unread_and_queued_count_down_as_mail_is_taken() {
    let mut world = World::new();
    let agent = world.running("scout");
    let sent = world.says(send(&["scout"], "hello"));
    let counts = |world: &World| {
        let shown = view::agent(&world.state, world.the(agent));
        (shown.unread, shown.queued)
    };
    assert_eq!(counts(&world), (1, 1));
    let ack = amux_proto::command::message::Ack { message: MessageId(id(&sent.answer, "id")).to_string() };
    let me = Principal::Agent { agent, run: RunNo(1) };
    world.try_as(me, None, amux_proto::command::message::Command::Ack(ack)).unwrap();
    assert_eq!(counts(&world), (0, 0));
}

#[test]
fn whoever_was_given_something_and_has_not_begun_is_not_at_rest() {
    let given = || Some("1 given and not begun");
    for (dialect, state, reason) in [
        (Dialect::Claude, AgentState::Queued, given()),
        // In a terminal nothing tells that a program begins, and what is never told is not waited for.
        (Dialect::Pty, AgentState::Idle, None),
    ] {
        let mut world = World::new();
        world.says(load(&[("writer", a_kind(dialect, "writer"))]));
        let order = Create { kind: KindName("writer".into()), argv: Vec::new(), ..create("scout") };
        let agent = AgentId(id(&world.says(Command::Create(order)).answer, "uid"));
        world.says(start(agent));
        world.says(started(agent, 1));
        world.says(seen(agent, 1, at(1, Phase::Idle), &[]));
        let sent = world.says(send(&["scout"], "hello"));
        crate::mail::handed(&mut world, agent, &[MessageId(id(&sent.answer, "id"))]);
        world.says(seen(agent, 1, at(2, Phase::Idle), &[]));
        let shown = view::agent(&world.state, world.the(agent));
        assert_eq!((shown.state, shown.reason.as_deref()), (state, reason), "{dialect:?}");
    }
}

#[test]
fn a_label_is_the_address_and_of_the_departed_the_id() {
    let mut world = World::new();
    let agent = world.agent("scout");
    assert_eq!(view::label(&world.state, agent), "scout@default");
    world.says(crate::world::remove(agent, false));
    assert_eq!(view::label(&world.state, agent), agent.to_string());
}

#[test]
fn a_snapshot_has_the_workspaces_in_their_order() {
    let mut world = World::new();
    let [x, y] = ["x", "y"].map(|name| world.workspace(name));
    let to = amux_proto::command::workspace::Move { workspace: y.to_string(), index: 0 };
    world.says(amux_proto::command::workspace::Command::Move(to));
    let snapshot = view::snapshot(&world.state, Epoch(Uuid::nil()), Seq(9));
    assert_eq!(snapshot.workspaces.iter().map(|workspace| workspace.id).collect::<Vec<_>>(), [y, x]);
    assert_eq!(snapshot.seq, Seq(9));
    let without = view::snapshot_without_messages(&world.state, Epoch(Uuid::nil()), Seq(9));
    assert_eq!(without, amux_proto::view::Snapshot { messages: Vec::new(), ..snapshot });
}
