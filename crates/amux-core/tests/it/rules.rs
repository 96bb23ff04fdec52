//! What `policy.toml` answers, and what it leaves to a person.

use amux_core::view;
use amux_proto::command::policy::{Command, Load};
use amux_proto::command::run::Fact;
use amux_proto::entity::{RequestKind, RequestOption, RequestOptionKind, Rule, RuleAnswer};
use amux_proto::event::{Event, request as event};
use amux_proto::transcript::Ask;
use amux_proto::view::AgentState;
use amux_proto::{AgentId, Code, Principal, RunNo};

use crate::world::{World, ask, asked, decide_request, names, option, request, seen};

fn rule(answer: RuleAnswer) -> Rule {
    Rule { agent: None, tool: None, subject: None, answer }
}

fn on(subject: &str, answer: RuleAnswer) -> Rule {
    Rule { subject: Some(subject.into()), ..rule(answer) }
}

fn load(rules: &[Rule]) -> Command {
    Command::Load(Load { rules: rules.to_vec(), may: Vec::new() })
}

fn running(subject: &str) -> Ask {
    Ask { subject: Some(subject.into()), ..ask(RequestKind::Permission) }
}

/// What becomes of a question under these rules: the option that was chosen and the rule that chose it.
fn answered(rules: &[Rule], ask: &Ask) -> Option<(String, String)> {
    let mut world = World::new();
    let scout = world.running("scout");
    world.says(load(rules));
    let fact = Fact::Asked { request: request(1), ask: Box::new(ask.clone()) };
    let report = world.report(scout, &[fact]);
    let said = world.says(report);
    let decided = said.events.iter().find_map(|event| match event {
        Event::Request(event::Event::Decided(decided)) => Some(decided),
        _ => None,
    })?;
    assert_eq!(decided.by, Principal::System);
    let amux_proto::entity::Answer::Option { option, .. } = &decided.answer else { panic!("{decided:?}") };
    Some((option.clone(), decided.rule.clone().expect("a rule decided")))
}

fn chosen(rules: &[Rule], ask: &Ask) -> Option<String> {
    answered(rules, ask).map(|(option, _)| option)
}

#[test]
fn what_no_rule_speaks_of_is_asked() {
    assert_eq!(answered(&[], &running("git status")), None);
    assert_eq!(answered(&[on("git status", RuleAnswer::Allow)], &running("git push")), None);
    // A question that names no subject is not the one the rule means.
    let unnamed = Ask { subject: None, ..ask(RequestKind::Permission) };
    assert_eq!(answered(&[on("*", RuleAnswer::Allow)], &unnamed), None);
}

#[test]
fn the_first_rule_that_matches_decides() {
    use RuleAnswer::{Allow, Ask, Deny};
    let push = running("git push");
    let rules = [on("git status", Allow), on("git push*", Deny), on("git*", Allow), on("*", Ask)];
    assert_eq!(answered(&rules, &push), Some(("no".into(), "rule 2 of policy.toml".into())));
    assert_eq!(answered(&rules, &running("git fetch")), Some(("yes".into(), "rule 3 of policy.toml".into())));
    assert_eq!(answered(&[on("git push", Ask), on("git*", Allow)], &push), None, "to be asked is an answer too");
}

#[test]
fn a_rule_is_for_a_tool_and_an_agent_where_it_names_them() {
    let of = |agent: Option<&str>, tool: Option<&str>| Rule {
        agent: agent.map(Into::into),
        tool: tool.map(Into::into),
        ..rule(RuleAnswer::Allow)
    };
    for (agent, tool, matches) in [
        (None, None, true),
        (Some("scout@default"), Some("Bash"), true),
        (Some("scout"), None, false),
        (Some("lead@default"), None, false),
        (None, Some("bash"), false),
        (None, Some("Write"), false),
    ] {
        assert_eq!(chosen(&[of(agent, tool)], &running("ls")).is_some(), matches, "{agent:?} {tool:?}");
    }
}

#[test]
fn what_is_allowed_is_not_widened_behind_the_star() {
    for pattern in ["git *", "*"] {
        let rules = [on(pattern, RuleAnswer::Allow)];
        assert_eq!(chosen(&rules, &running("git status -s")).as_deref(), Some("yes"), "{pattern}");
        for glue in ["; x", " && x", " | x", " & x", " $(x)", " `x`", " > x", " < x", "\nx", "\rx", " (x)"] {
            assert_eq!(chosen(&rules, &running(&format!("git status{glue}"))), None, "{pattern} and {glue:?}");
        }
    }
    // Said in full, it is what was meant.
    let whole = [on("make | tee log", RuleAnswer::Allow)];
    assert_eq!(chosen(&whole, &running("make | tee log")).as_deref(), Some("yes"));
}

#[test]
fn what_is_denied_stays_denied_behind_a_semicolon() {
    let rules = [on("rm*", RuleAnswer::Deny), rule(RuleAnswer::Allow)];
    for line in ["rm -rf /", "rm -rf /; true", "rm x && ls", "rm $(ls)"] {
        assert_eq!(chosen(&rules, &running(line)).as_deref(), Some("no"), "{line}");
    }
}

#[test]
fn a_rule_answers_permissions_only_and_only_once_at_a_time() {
    let allow = [rule(RuleAnswer::Allow)];
    for kind in [RequestKind::Question, RequestKind::Login, RequestKind::HeldMessage] {
        assert_eq!(answered(&allow, &ask(kind)), None, "{kind:?}");
    }
    // Where the CLI offers nothing that holds once, a person chooses.
    let always = RequestOption { id: "always".into(), label: "always".into(), kind: RequestOptionKind::AllowAlways };
    let ask = Ask { options: vec![always], ..ask(RequestKind::Permission) };
    assert_eq!(answered(&allow, &ask), None);
}

#[test]
fn a_rule_that_decided_leaves_nothing_to_a_person() {
    let mut world = World::new();
    let scout = world.running("scout");
    world.says(load(&[rule(RuleAnswer::Deny)]));
    let events = world.sees(scout, &[asked(1, RequestKind::Permission)]);
    assert_eq!(events, ["request.opened", "request.decided", "run.active"]);
    assert_eq!(view::requests(&world.state), []);
    world.refused_with(Code::Conflict, decide_request(1, option("yes")));
}

#[test]
fn rules_that_come_later_decide_what_is_asked_later() {
    let mut world = World::new();
    let scout = world.running("scout");
    world.sees(scout, &[asked(1, RequestKind::Permission)]);
    assert_eq!(world.events(load(&[rule(RuleAnswer::Allow)])), ["policy.changed"]);
    assert_eq!(world.events(load(&[rule(RuleAnswer::Allow)])), [""; 0]);
    assert_eq!(view::requests(&world.state).len(), 1);
}

#[test]
fn a_file_with_a_senseless_rule_is_not_used_at_all() {
    let mut world = World::new();
    world.refused_with(Code::BadArgs, load(&[rule(RuleAnswer::Allow), on("", RuleAnswer::Allow)]));
    world.refused_with(Code::BadArgs, load(&[on("a\0b", RuleAnswer::Allow)]));
    world.refused_with(Code::TooLarge, load(&[on(&"x".repeat(5000), RuleAnswer::Allow)]));
    world.refused_with(Code::Limit, load(&vec![rule(RuleAnswer::Allow); 1001]));
    assert_eq!(world.state.rules, []);
}

#[test]
fn no_time_that_passes_allows_anything() {
    let mut world = World::new();
    let scout = world.running("scout");
    world.sees(scout, &[asked(1, RequestKind::Permission)]);
    world.now = world.now.plus_ms(365 * 24 * 60 * 60 * 1000);
    let said = {
        let activity = world.run(scout).activity.clone();
        let next = amux_proto::entity::Activity { seen: activity.seen + 1, ..activity };
        world.says(seen(scout, 1, next, &[]))
    };
    assert_eq!(names(&said), ["run.active"]);
    assert_eq!(world.state.requests[&request(1)].decided, None);
    assert_eq!(view::agent(&world.state, world.the(scout)).state, AgentState::NeedsPermission);
    // Nor can the server answer in anybody's name.
    let refusal = world.try_as(Principal::System, None, decide_request(1, option("yes"))).unwrap_err();
    assert_eq!(refusal.code, Code::Denied);
    let agent = |agent: AgentId| Principal::Agent { agent, run: RunNo(1) };
    assert_eq!(world.try_as(agent(scout), None, decide_request(1, option("yes"))).unwrap_err().code, Code::Denied);
}
