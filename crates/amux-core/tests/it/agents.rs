//! What is wanted of agents and what becomes of their runs.

use std::collections::BTreeMap;

use amux_core::wish;
use amux_proto::command::agent::{Command, Create, Rename, Restart};
use amux_proto::command::{kind, message, run};
use amux_proto::entity::{
    Content, Desired, Dialect, ExitWhy, Kind, KindName, RequestKind, RunState, Size, Stage, Work,
};
use amux_proto::event::{Event, agent as event};
use amux_proto::layout::Place;
use amux_proto::{Code, Effect, MessageId, RunNo};
use uuid::Uuid;

use crate::world::{
    World, asked, create, decide_request, exit, exited, failed, id, letter, lost, name, open, option, process, remove,
    restart, start, started, stop, stop_within,
};

#[test]
fn an_agent_is_started_when_it_is_made_unless_that_is_not_wanted() {
    let mut world = World::new();
    let order = Create { start: true, ..create("scout") };
    assert_eq!(world.events(Command::Create(order)), ["team.created", "agent.created", "agent.start_wanted"]);
    assert_eq!(world.events(Command::Create(create("lead"))), ["agent.created"]);
    let runs: Vec<_> = world.state.agents.values().map(|agent| agent.run.as_ref().map(|run| run.no)).collect();
    assert_eq!(runs, [Some(RunNo(1)), None]);
}

#[test]
fn an_answer_says_who_it_was_and_whether_anything_changed() {
    let mut world = World::new();
    let made = world.says(Command::Create(Create { start: true, ..create("scout") }));
    assert_eq!(made.answer["agent"], "scout@default");
    assert_eq!(made.answer["run"], 1);
    assert_eq!(made.answer["changed"], true);
    let agent = amux_proto::AgentId(id(&made.answer, "uid"));
    let again = world.says(start(agent));
    assert_eq!((&again.answer["changed"], &again.answer["run"]), (&false.into(), &1.into()));
}

/// Given, when, then, and the effects that are open afterwards.
#[test]
fn the_life_of_a_run() {
    type Say = fn(amux_proto::AgentId) -> amux_proto::Command;
    const START: Say = |a| start(a).into();
    const STOP: Say = |a| stop(a).into();
    const RESTART: Say = |a| restart(a).into();
    const STARTED_1: Say = |a| started(a, 1).into();
    const STARTED_2: Say = |a| started(a, 2).into();
    const EXITED_1: Say = |a| exited(a, 1).into();
    const EXITED_2: Say = |a| exited(a, 2).into();
    const FAILED_1: Say = |a| failed(a, 1).into();
    const LOST_1: Say = |a| lost(a, 1).into();
    type Case<'a> = (&'a [Say], Say, &'a [&'a str], &'a [&'a str]);
    let cases: &[Case<'_>] = &[
        (&[], START, &["agent.start_wanted"], &["run 1"]),
        (&[START], START, &[], &["run 1"]),
        (&[START], STARTED_1, &["run.started"], &[]),
        (&[START, STARTED_1], STARTED_1, &[], &[]),
        (&[START, STARTED_1], START, &[], &[]),
        (&[START], FAILED_1, &["run.failed"], &[]),
        (&[START], EXITED_1, &["run.exited"], &[]),
        (&[START], STOP, &["agent.stop_wanted"], &["stop 1"]),
        (&[START, STOP], STARTED_1, &["run.started"], &["stop 1"]),
        (&[START, STOP], FAILED_1, &["run.failed"], &[]),
        (&[START, STOP], STOP, &[], &["stop 1"]),
        (&[START, STARTED_1], STOP, &["agent.stop_wanted"], &["stop 1"]),
        (&[START, STARTED_1], EXITED_1, &["run.exited"], &[]),
        (&[START, STARTED_1], LOST_1, &["run.lost"], &[]),
        (&[START, STARTED_1, STOP], EXITED_1, &["run.exited"], &[]),
        (&[START, STARTED_1, STOP], START, &["agent.start_wanted"], &["stop 1", "run 2"]),
        (&[START, STARTED_1, STOP, START], START, &[], &["stop 1", "run 2"]),
        (&[START, STARTED_1, STOP, START], RESTART, &[], &["stop 1", "run 2"]),
        (&[START, STARTED_1, STOP, START], STOP, &["agent.start_dropped"], &["stop 1"]),
        (&[START, STARTED_1, STOP, START], EXITED_1, &["run.exited"], &["run 2"]),
        (&[START, STARTED_1, STOP, START, EXITED_1], STARTED_2, &["run.started"], &[]),
        (&[START, STARTED_1, STOP, START, STOP], EXITED_1, &["run.exited"], &[]),
        (&[], RESTART, &["agent.start_wanted"], &["run 1"]),
        (&[START], RESTART, &["agent.stop_wanted", "agent.start_wanted"], &["stop 1", "run 2"]),
        (&[START, STARTED_1], RESTART, &["agent.stop_wanted", "agent.start_wanted"], &["stop 1", "run 2"]),
        (&[START, STARTED_1, RESTART], LOST_1, &["run.lost"], &["run 2"]),
        (&[START, STARTED_1, EXITED_1], START, &["agent.start_wanted"], &["run 2"]),
        (&[START, STARTED_1, EXITED_1], STOP, &[], &[]),
        // Of an ended, an older or an unknown run: heard, and nothing more.
        (&[START, STARTED_1, EXITED_1], EXITED_1, &[], &[]),
        (&[START, STARTED_1, EXITED_1], STARTED_1, &[], &[]),
        (&[START, STARTED_1, EXITED_1, START], EXITED_1, &[], &["run 2"]),
        (&[START, STARTED_1], EXITED_2, &[], &[]),
    ];
    for (at, (given, when, then, open)) in cases.iter().enumerate() {
        let mut world = World::new();
        let agent = world.agent("scout");
        for said in *given {
            world.says(said(agent));
        }
        assert_eq!(world.events(when(agent)), *then, "case {at}");
        let wishes = wish::open(&world.state).into_iter().map(|wish| match wish {
            Effect::EnsureRunning { run, .. } => format!("run {run}"),
            Effect::EnsureStopped { run, .. } => format!("stop {run}"),
            Effect::Answer { request } => format!("answer {request}"),
            Effect::Deliver { message, .. } => format!("deliver {message}"),
        });
        assert_eq!(wishes.collect::<Vec<_>>(), *open, "case {at}");
    }
}

#[test]
fn an_observation_of_a_run_that_is_over_says_that_it_is_stale() {
    let mut world = World::new();
    let agent = world.running("scout");
    world.says(exited(agent, 1));
    assert_eq!(world.says(exited(agent, 1)).answer["stale"], true);
    assert_eq!(world.says(started(amux_proto::AgentId(Uuid::nil()), 1)).answer["stale"], true);
}

#[test]
fn what_cannot_follow_is_refused() {
    let mut world = World::new();
    let agent = world.running("scout");
    world.refused_with(Code::Conflict, failed(agent, 1));
    let other = run::Started { agent, run: RunNo(1), process: process(999) };
    world.refused_with(Code::Conflict, run::Command::Started(other));
}

#[test]
fn a_process_that_started_after_its_stop_is_still_to_be_stopped() {
    let mut world = World::new();
    let agent = world.agent("scout");
    world.says(start(agent));
    world.says(stop_within(agent, 700));
    world.says(started(agent, 1));
    assert_eq!(world.run_state(agent), Some((1, RunState::Stopping { process: Some(process(101)), grace_ms: 700 })));
}

#[test]
fn a_stop_can_be_hurried_and_not_delayed() {
    let mut world = World::new();
    let agent = world.running("scout");
    world.says(stop_within(agent, 5000));
    assert_eq!(world.events(stop_within(agent, 9000)), [""; 0]);
    assert_eq!(world.events(stop_within(agent, 0)), ["agent.stop_wanted"]);
    assert_eq!(wish::open(&world.state), [Effect::EnsureStopped { agent, run: RunNo(1), grace_ms: 0 }]);
    world.refused_with(Code::BadArgs, stop_within(agent, u64::MAX));
}

#[test]
fn nothing_starts_again_by_itself() {
    let mut world = World::new();
    let agent = world.running("scout");
    let crashed = run::Exited { agent, run: RunNo(1), exit: exit(1, ExitWhy::Itself) };
    world.says(run::Command::Exited(crashed));
    assert_eq!(world.the(agent).desired, Desired::Stopped);
    assert_eq!(wish::open(&world.state), []);
}

#[test]
fn a_name_is_taken_once_in_a_team() {
    let mut world = World::new();
    let scout = world.agent("scout");
    world.team("shop");
    world.refused_with(Code::Exists, Command::Create(create("SCOUT")));
    world.says(Command::Create(Create { team: Some("shop".into()), ..create("scout") }));
    let lead = world.agent("lead");
    let rename = |agent: amux_proto::AgentId, to| Command::Rename(Rename { agent: agent.to_string(), name: name(to) });
    world.refused_with(Code::Exists, rename(lead, "scout"));
    assert_eq!(world.events(rename(scout, "scout")), [""; 0]);
    assert_eq!(world.events(rename(scout, "eyes")), ["agent.renamed"]);
    // The old name is free again.
    assert_eq!(world.events(rename(lead, "scout")), ["agent.renamed"]);
}

#[test]
fn an_id_that_is_brought_along_is_used_once() {
    let mut world = World::new();
    let agent = world.agent("scout");
    world.refused_with(Code::Exists, Command::Create(Create { id: Some(agent), ..create("lead") }));
}

#[test]
fn a_definition_that_cannot_be_run_is_refused() {
    let env = |name: &str| BTreeMap::from([(name.to_owned(), "x".to_owned())]);
    let cases: Vec<(Code, Create)> = vec![
        (Code::BadArgs, Create { kind: KindName::cmd(), argv: Vec::new(), ..create("a") }),
        (Code::BadArgs, Create { kind: KindName::cmd(), argv: vec![String::new()], ..create("a") }),
        (Code::BadArgs, Create { cwd: "here".into(), ..create("a") }),
        (Code::BadArgs, Create { cwd: String::new(), ..create("a") }),
        (Code::BadArgs, Create { cwd: "/a\0b".into(), ..create("a") }),
        (Code::BadArgs, Create { argv: vec!["a\0b".into()], ..create("a") }),
        (Code::BadArgs, Create { env: env(""), ..create("a") }),
        (Code::BadArgs, Create { env: env("A=B"), ..create("a") }),
        (Code::BadArgs, Create { env: env("AGENTMUX_TOKEN"), ..create("a") }),
        (Code::BadArgs, Create { env: env("NOTIFY_SOCKET"), ..create("a") }),
        (Code::BadArgs, Create { size: Some(Size { rows: 0, cols: 80 }), ..create("a") }),
        (Code::BadArgs, Create { size: Some(Size { rows: 24, cols: u16::MAX }), ..create("a") }),
        (Code::TooLarge, Create { cwd: format!("/{}", "x".repeat(5000)), ..create("a") }),
        (Code::TooLarge, Create { argv: vec!["x".repeat(200_000)], ..create("a") }),
        (Code::TooLarge, Create { argv: vec!["x".repeat(100_000); 3], ..create("a") }),
        (Code::Limit, Create { argv: vec!["x".to_owned(); 1025], ..create("a") }),
        (Code::NotFound, Create { team: Some("shop".into()), ..create("a") }),
    ];
    for (code, order) in cases {
        let mut world = World::new();
        let shown = format!("{order:?}").chars().take(200).collect::<String>();
        assert_eq!(world.refused(Command::Create(order)).code, code, "{shown}");
    }
    let mut world = World::new();
    let hint = world.refused(Command::Create(Create { team: Some("shop".into()), ..create("a") })).hint;
    assert_eq!(hint.as_deref(), Some("agentmux team create shop"));
}

#[test]
fn there_are_at_most_a_thousand_agents() {
    let mut world = World::new();
    world.agent("first");
    let mut last = Ok(());
    let mut made = 1;
    for at in 0..1000 {
        // Without the check of every invariant after each of them.
        let ctx = world.ctx(amux_proto::Principal::Operator, None);
        let command = Command::Create(create(&format!("a{at}"))).into();
        match amux_core::decide(&world.state, &command, &ctx) {
            Ok(decided) => decided.events.iter().for_each(|event| amux_core::apply(&mut world.state, ctx.now, event)),
            Err(refusal) => {
                last = Err(refusal.code);
                break;
            }
        }
        made += 1;
    }
    assert_eq!((made, last), (1000, Err(Code::Limit)));
}

#[test]
fn a_running_agent_is_removed_only_when_its_stop_is_wanted_and_goes_with_its_run() {
    let mut world = World::new();
    let agent = world.running("scout");
    let refusal = world.refused(remove(agent, false));
    assert_eq!((refusal.code, refusal.hint.as_deref()), (Code::Conflict, Some("agentmux rm scout@default --stop")));
    assert_eq!(world.events(remove(agent, true)), ["agent.stop_wanted", "agent.removing"]);
    assert_eq!(world.events(remove(agent, true)), [""; 0]);
    world.refused_with(Code::Conflict, start(agent));
    world.refused_with(Code::Conflict, restart(agent));
    assert_eq!(world.events(exited(agent, 1)), ["run.exited", "agent.removed"]);
    assert!(world.state.agents.is_empty());
}

#[test]
fn a_removal_takes_back_the_wish_for_the_next_run() {
    let mut world = World::new();
    let agent = world.running("scout");
    world.says(restart(agent));
    assert_eq!(world.events(remove(agent, true)), ["agent.start_dropped", "agent.removing"]);
}

#[test]
fn with_an_agent_goes_what_only_made_sense_with_it() {
    let mut world = World::new();
    let agent = world.running("scout");
    let workspace = world.workspace("main");
    let tab = world.tab(workspace, "one");
    let pane = world.pane(Place::Tab { tab });
    world.says(open(Place::Tab { tab }, Content::Agent { agent }));
    world.sees(agent, &[asked(1, RequestKind::Question), asked(2, RequestKind::Permission)]);
    world.says(decide_request(2, option("yes")));
    let to = vec!["scout".into(), "operator".into()];
    let sent = message::Send { to, ..letter("scout", "look there") };
    let sent = MessageId(id(&world.says(message::Command::Send(sent)).answer, "id"));
    world.says(remove(agent, true));
    assert_eq!(
        world.events(exited(agent, 1)),
        ["run.exited", "message.staged", "request.withdrawn", "request.withdrawn", "pane.shown", "agent.removed"]
    );
    assert!(world.state.requests.is_empty());
    assert_eq!(wish::open(&world.state), [], "nobody is left to be answered or written to");
    assert_eq!(world.state.panes.len(), 2);
    assert!(world.state.panes.contains_key(&pane));
    let stages: Vec<_> = world.state.messages[&sent].deliveries.iter().map(|delivery| delivery.stage.clone()).collect();
    assert_eq!(stages, [Stage::Accepted, Stage::Failed { reason: "it was removed".into(), attempts: 0 }]);
}

#[test]
fn the_requests_of_a_run_end_with_it_decided_or_not() {
    for end in [exited, lost] {
        let mut world = World::new();
        let agent = world.running("scout");
        world.sees(agent, &[asked(1, RequestKind::Question), asked(2, RequestKind::Question)]);
        world.says(decide_request(2, option("yes")));
        assert_eq!(world.events(end(agent, 1))[1..], ["request.withdrawn", "request.withdrawn"]);
        assert!(world.state.requests.is_empty());
        assert_eq!(wish::open(&world.state), [], "a decision that came too late reaches nobody");
    }
}

#[test]
fn why_an_agent_was_stopped_is_in_the_log() {
    let mut world = World::new();
    let agent = world.running("scout");
    let order = amux_proto::command::agent::Stop {
        agent: "scout".into(),
        grace_ms: None,
        reason: Some("limit reached: 2 GiB of tape".into()),
    };
    let stopped = world.says(Command::Stop(order));
    let Event::Agent(event::Event::StopWanted(wanted)) = &stopped.events[0] else { panic!("{:?}", stopped.events) };
    assert_eq!((wanted.agent, wanted.reason.as_deref()), (agent, Some("limit reached: 2 GiB of tape")));
}

pub(crate) fn a_kind(dialect: Dialect, program: &str) -> Kind {
    Kind {
        dialect,
        program: Some(program.into()),
        args: Vec::new(),
        new_args: Vec::new(),
        resume_args: Vec::new(),
        model_args: Vec::new(),
        mode_args: Vec::new(),
        mcp_args: Vec::new(),
        env: BTreeMap::new(),
        unset: Vec::new(),
        install: None,
        about: String::new(),
    }
}

pub(crate) fn load(kinds: &[(&str, Kind)]) -> kind::Command {
    let kinds = kinds.iter().map(|(name, kind)| ((*name).to_owned(), kind.clone())).collect();
    kind::Command::Load(kind::Load { kinds })
}

#[test]
fn loading_the_kinds_again_says_only_what_is_different() {
    let mut world = World::new();
    let (claude, codex) = (a_kind(Dialect::Claude, "claude"), a_kind(Dialect::Codex, "codex"));
    let both = || load(&[("claude", claude.clone()), ("codex", codex.clone())]);
    assert_eq!(world.events(both()), ["kind.changed", "kind.changed"]);
    assert_eq!(world.events(both()), [""; 0]);
    let other = a_kind(Dialect::Claude, "claude-next");
    assert_eq!(world.events(load(&[("claude", other)])), ["kind.changed", "kind.removed"]);
}

#[test]
fn a_kind_of_the_table_brings_its_own_program() {
    let mut world = World::new();
    world.says(load(&[("claude", a_kind(Dialect::Claude, "claude"))]));
    let (kind, model) = (KindName("claude".into()), Some("large".into()));
    let order = Create { kind, model, argv: Vec::new(), ..create("scout") };
    let made = world.says(Command::Create(order));
    let definition = &world.the(amux_proto::AgentId(id(&made.answer, "uid"))).definition;
    assert_eq!((definition.kind.0.as_str(), definition.model.as_deref()), ("claude", Some("large")));
    assert_eq!(definition.argv, [""; 0]);
    // Of an agent that exists, the name of its kind is kept even when the table loses it.
    world.says(load(&[]));
    assert_eq!(world.state.agents.values().next().unwrap().definition.kind.0, "claude");
}

#[test]
fn an_unknown_kind_is_refused_and_the_nearest_is_named() {
    let mut world = World::new();
    world.says(load(&[("claude", a_kind(Dialect::Claude, "claude")), ("codex", a_kind(Dialect::Codex, "codex"))]));
    for (word, hint) in [
        ("cluade", "did you mean claude?"),
        ("Codex", "did you mean codex?"),
        ("shel", "did you mean shell?"),
        ("gpt", "one of claude, codex, shell, cmd"),
    ] {
        let refusal = world.refused(Command::Create(Create { kind: KindName(word.into()), ..create("a") }));
        assert_eq!((refusal.code, refusal.hint.as_deref()), (Code::BadArgs, Some(hint)), "{word}");
    }
}

#[test]
fn what_a_kind_cannot_do_is_not_asked_of_it() {
    let mut world = World::new();
    let resumable = Kind { resume_args: vec!["-r".into(), "{session}".into()], ..a_kind(Dialect::ClaudeOnce, "qwen") };
    world.says(load(&[("once", a_kind(Dialect::ClaudeOnce, "once")), ("qwen", resumable)]));
    let of = |kind: &str| Create { kind: KindName(kind.into()), argv: Vec::new(), ..create("a") };
    let refused = [
        Create { model: Some("large".into()), ..of("once") },
        Create { resume: Some("s1".into()), ..of("once") },
        Create { resume: Some("s1".into()), ..of("shell") },
        // They would be read as options of the program.
        Create { resume: Some("--dangerously".into()), ..of("qwen") },
        Create { mode: Some("-x".into()), ..of("qwen") },
        // A pane of tmux is named by what is run.
        of("tmux"),
    ];
    for order in refused {
        world.refused_with(Code::BadArgs, Command::Create(order));
    }
    let events = world.events(Command::Create(Create { resume: Some("s1".into()), ..of("qwen") }));
    assert_eq!(events, ["team.created", "agent.created", "session.chosen"]);
}

#[test]
fn what_is_restarted_as_something_else_is_that_in_one_order() {
    let mut world = World::new();
    let agent = world.running("scout");
    let work = Work {
        kind: KindName::shell(),
        argv: vec!["-l".into()],
        cwd: "/srv".into(),
        env: std::collections::BTreeMap::new(),
        size: None,
        model: None,
        mode: None,
        worktree: false,
    };
    let restart = |work: Work| Restart { agent: agent.to_string(), grace_ms: None, define: Some(work) };
    let size = world.the(agent).definition.size;
    let events = world.events(Command::Restart(restart(work.clone())));
    assert_eq!(events, ["agent.defined", "agent.stop_wanted", "agent.start_wanted"]);
    assert_eq!(world.the(agent).definition.argv, ["-l"]);
    assert_eq!(world.the(agent).definition.size, size);
    // What cannot be run ends nothing.
    world.refused_with(Code::BadArgs, Command::Restart(restart(Work { cwd: "here".into(), ..work })));
}
