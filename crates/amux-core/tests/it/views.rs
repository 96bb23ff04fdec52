//! What clients are shown of an agent, and from what evidence.

use amux_core::view;
use amux_proto::command::agent::{Command, Create};
use amux_proto::command::{request, run};
use amux_proto::entity::{Exit, ExitWhy, Kind, RequestKind};
use amux_proto::query;
use amux_proto::view::AgentState;
use amux_proto::{AgentId, Epoch, MessageId, Principal, RequestId, RunNo, Seq};
use uuid::Uuid;

use crate::requests_and_messages::send;
use crate::world::{World, create, exit, exited, failed, id, lost, start, started, stop};

fn ended(agent: AgentId, exit: Exit) -> run::Command {
    run::Command::Exited(run::Exited { agent, run: RunNo(1), exit })
}

fn asks(agent: AgentId, number: u128, kind: RequestKind) -> request::Command {
    request::Command::Open(request::Open {
        id: RequestId(Uuid::from_u128(number)),
        agent,
        run: RunNo(1),
        kind,
        title: format!("{kind:?}?"),
        detail: String::new(),
        options: Vec::new(),
        expires: None,
    })
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
                |a| asks(a, 1, RequestKind::Question).into(),
                |a| asks(a, 2, RequestKind::Permission).into(),
            ],
            AgentState::NeedsPermission,
            "Permission?",
        ),
        (&[START, STARTED, |a| asks(a, 1, RequestKind::Login).into()], AgentState::NeedsLogin, "Login?"),
        (&[START, STARTED, |_| send(&["scout"], "hello").into()], AgentState::Queued, "1 waiting"),
    ];
    for (given, state, reason) in cases {
        let mut world = World::new();
        let order = Create { kind: Kind::Cmd, argv: vec!["work".into()], ..create("scout") };
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

#[test]
fn a_shell_that_ends_with_a_status_has_not_failed() {
    let mut world = World::new();
    let agent = world.running("scout");
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
}
