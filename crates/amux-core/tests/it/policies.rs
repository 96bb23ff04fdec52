//! Who may say what. The table covers every verb there is, and refuses what is not in it.

use std::collections::BTreeSet;

use amux_core::policy::allows;
use amux_proto::command::agent::Command;
use amux_proto::entity::RequestKind;
use amux_proto::query::{Act, Query};
use amux_proto::{AgentId, Code, Principal, Rev, RunNo};
use uuid::Uuid;

use crate::world::{World, asked, create, decide_request, exited, option, start, started};

pub(crate) fn verbs() -> impl Iterator<Item = &'static str> {
    amux_proto::Command::names().chain(Act::NAMES.iter().copied()).chain(Query::NAMES.iter().copied())
}

fn agent() -> Principal {
    Principal::Agent { agent: AgentId(Uuid::nil()), run: RunNo(1) }
}

#[test]
fn every_verb_is_in_the_table_and_somebody_may_say_it() {
    let everyone = [Principal::Operator, Principal::System, agent()];
    for verb in verbs() {
        assert!(everyone.iter().any(|actor| allows(actor, verb).is_ok()), "nobody may say {verb}");
        let refusal = allows(&Principal::Peer("elsewhere".into()), verb).unwrap_err();
        assert_eq!(refusal.code, Code::Denied, "{verb}");
        assert_eq!(refusal.details.unwrap()["rule"], "no_peers");
    }
    assert_eq!(allows(&Principal::Operator, "team.dance").unwrap_err().code, Code::UnknownVerb);
}

#[test]
fn the_operator_may_say_everything_but_what_only_the_server_can_have_seen() {
    let observed = [
        "host.boot",
        "kind.load",
        "message.expire",
        "message.file",
        "policy.load",
        "run.exited",
        "run.failed",
        "run.lost",
        "run.seen",
        "run.started",
        "setting.load",
    ];
    let denied: BTreeSet<_> = verbs().filter(|verb| allows(&Principal::Operator, verb).is_err()).collect();
    assert_eq!(denied, observed.into());
}

#[test]
fn an_agent_may_read_and_talk_and_what_a_policy_can_give() {
    let allowed: BTreeSet<_> = verbs().filter(|verb| allows(&agent(), verb).is_ok()).collect();
    let reads = ["snapshot", "agents", "agent", "teams", "requests", "message", "settings", "kinds", "rights"];
    let more = [
        "processes",
        "transcript",
        "frames",
        "status",
        "diag",
        "look",
        "events",
        "inbox",
        "queue",
        "thread",
        "attachment",
    ];
    let talks = ["message.send", "message.ack", "message.cancel", "message.seen", "message.retry", "attachment.put"];
    assert_eq!(allowed, reads.into_iter().chain(more).chain(talks).chain(GIVEN).collect());
}

/// What nobody has by itself.
pub(crate) const GIVEN: [&str; 11] = [
    "agent.create",
    "agent.describe",
    "agent.mail",
    "agent.remove",
    "agent.start",
    "agent.stop",
    "agent.restart",
    "agent.keys",
    "agent.resize",
    "agent.interrupt",
    "request.decide",
];

#[test]
fn a_denial_comes_before_anything_else_and_names_its_rule() {
    let mut world = World::new();
    let scout = world.running("scout");
    let me = Principal::Agent { agent: scout, run: RunNo(1) };
    // Even a command that could not be obeyed is denied first: its refusal would tell what exists.
    let refusal = world.try_as(me, Some(Rev(99)), start(AgentId(Uuid::max()))).unwrap_err();
    assert_eq!((refusal.code, &refusal.details.unwrap()["rule"]), (Code::Denied, &"default start".into()));
    let refusal = world.try_as(Principal::System, None, Command::Create(create("lead"))).unwrap_err();
    assert_eq!(refusal.code, Code::Denied);
    let refusal = world.try_as(Principal::Operator, None, started(scout, 1)).unwrap_err();
    assert_eq!(refusal.details.unwrap()["rule"], "system_only");
}

#[test]
fn no_agent_decides_what_waits_for_a_human() {
    let mut world = World::new();
    let (scout, lead) = (world.running("scout"), world.running("lead"));
    world.sees(scout, &[asked(5, RequestKind::Permission)]);
    let decide = || decide_request(5, option("yes"));
    for (agent, rule) in [(scout, "own_request"), (lead, "default decide")] {
        let refusal = world.try_as(Principal::Agent { agent, run: RunNo(1) }, None, decide()).unwrap_err();
        assert_eq!((refusal.code, &refusal.details.unwrap()["rule"]), (Code::Denied, &rule.into()));
    }
    assert!(world.try_as(Principal::Operator, None, decide()).is_ok());
}

#[test]
fn what_was_left_behind_by_an_older_run_speaks_for_nobody() {
    let mut world = World::new();
    let scout = world.running("scout");
    world.says(exited(scout, 1));
    world.says(start(scout));
    let send = || crate::requests_and_messages::send(&["operator"], "hello");
    let old = Principal::Agent { agent: scout, run: RunNo(1) };
    let refusal = world.try_as(old, None, send()).unwrap_err();
    assert_eq!((refusal.code, &refusal.details.unwrap()["rule"]), (Code::Denied, &"current_run".into()));
    let current = Principal::Agent { agent: scout, run: RunNo(2) };
    assert!(world.try_as(current, None, send()).is_ok());
}
