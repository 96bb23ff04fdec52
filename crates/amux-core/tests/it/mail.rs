//! When agents are given their mail, and who may change that.

use std::collections::BTreeMap;

use amux_core::mail;
use amux_core::view;
use amux_proto::command::agent::{self, Mail};
use amux_proto::command::message::{Ack, Cancel, Command, Edit, Expire, Move, Release, Retry, Seen, Send};
use amux_proto::command::policy;
use amux_proto::command::run::Fact;
use amux_proto::entity::{
    Activity, Class, Dialect, Front, KindName, May, Phase, Priority, Recipient, RequestKind, Right, Stage, WhileWorking,
};
use amux_proto::query;
use amux_proto::transcript::InputStage;
use amux_proto::{AgentId, Code, MessageId, Principal, RunNo, Time};

use crate::agents::{a_kind, load};
use crate::world::{World, asked, create, decide_request, exited, id, letter, option, seen, start, started};

fn me(agent: AgentId) -> Principal {
    Principal::Agent { agent, run: RunNo(1) }
}

fn send_as(world: &mut World, from: Principal, letter: Send) -> MessageId {
    let sent = world.try_as(from, None, Command::Send(letter)).unwrap();
    MessageId(id(&sent.answer, "id"))
}

fn says(world: &mut World, to: &str, body: &str) -> MessageId {
    send_as(world, Principal::Operator, letter(to, body))
}

fn due(world: &World, agent: AgentId) -> Vec<MessageId> {
    mail::due(&world.state, agent, world.now, |_, _| false).batch.into_iter().map(|(id, _)| id).collect()
}

fn hold(world: &World, agent: AgentId, message: MessageId) -> Option<(String, Option<Time>)> {
    let message = &world.state.messages[&message];
    let to = Recipient::Agent { agent };
    let copy = message.deliveries.iter().find(|copy| copy.to == to).unwrap();
    mail::hold(&world.state, message, copy, world.now).map(|hold| (hold.reason, hold.until))
}

fn stage(world: &World, message: MessageId) -> Stage {
    world.state.messages[&message].deliveries[0].stage.clone()
}

fn is(world: &mut World, agent: AgentId, change: impl FnOnce(&mut Activity)) {
    is_of(world, agent, 1, change);
}

fn is_of(world: &mut World, agent: AgentId, run: u32, change: impl FnOnce(&mut Activity)) {
    let mut activity = world.run(agent).activity.clone();
    activity.seen += 1;
    activity.since = world.now;
    change(&mut activity);
    world.says(seen(agent, run, activity, &[]));
}

fn works(world: &mut World, agent: AgentId) {
    is(world, agent, |activity| {
        activity.phase = Phase::Working { doing: None };
        activity.turn_open = true;
    });
}

pub(crate) fn handed(world: &mut World, agent: AgentId, messages: &[MessageId]) {
    let evidence = "every byte of it was taken";
    let fact = |message: &MessageId| Fact::Input {
        message: *message,
        stage: InputStage::Handed,
        evidence: evidence.into(),
        edition: 0,
    };
    world.sees(agent, &messages.iter().map(fact).collect::<Vec<_>>());
}

fn rules(agent: AgentId) -> Mail {
    Mail { agent: agent.to_string(), paused: None, while_working: None, boundary_ms: None, wakes_per_hour: None }
}

fn left_to(instead: &str, is_shell: bool) -> Front {
    Front { program: Some("claude".into()), instead: Some(instead.into()), is_shell, ..Front::default() }
}

#[test]
fn a_person_may_say_that_another_program_is_the_agent_and_never_that_a_shell_is() {
    let mut world = World::new();
    let scout = world.running("scout");
    let message = says(&mut world, "scout", "remove everything");
    is(&mut world, scout, |activity| activity.front = left_to("sh", true));
    world.says(Command::Release(Release { message: message.to_string(), to: None }));
    assert!(due(&world, scout).is_empty() && hold(&world, scout, message).is_some());
    is(&mut world, scout, |activity| activity.front = left_to("2.1.5", false));
    let later = says(&mut world, "scout", "and more");
    assert_eq!(due(&world, scout), [message], "only what was let through");
    assert!(hold(&world, scout, later).is_some());
}

#[test]
fn nothing_is_given_to_whoever_is_there_instead_of_the_agent() {
    let mut world = World::new();
    let scout = world.running("scout");
    let message = says(&mut world, "scout", "remove everything");
    for (instead, is_shell, why) in [("sh", true, "sh is at its prompt"), ("vim", false, "vim has the keyboard")] {
        is(&mut world, scout, |activity| {
            activity.front = left_to(instead, is_shell);
        });
        assert!(due(&world, scout).is_empty());
        assert!(hold(&world, scout, message).unwrap().0.contains(why));
    }
    let listed = view::agents(&world.state, &query::Agents { all: false, team: None }).unwrap();
    assert_eq!(listed.len(), 1, "its terminal is still there");
    is(&mut world, scout, |activity| activity.front.instead = None);
    assert_eq!(due(&world, scout), [message]);
}

#[test]
fn an_agent_writes_to_a_shell_in_a_pane_only_if_it_may_press_its_keys() {
    let mut world = World::new();
    let (scout, lead) = (world.running("scout"), world.running("lead"));
    is(&mut world, scout, |activity| {
        activity.front = Front { instead: Some("sh".into()), is_shell: true, ..Front::default() };
    });
    let kept = send_as(&mut world, me(lead), letter("scout", "make clean"));
    let person = says(&mut world, "scout", "ls");
    assert_eq!(due(&world, scout), [person], "a person knows what it is");
    assert!(hold(&world, scout, kept).unwrap().0.starts_with("a shell has its keyboard"));
    handed(&mut world, scout, &[person]);
    assert!(due(&world, scout).is_empty());
    world.says(Command::Release(Release { message: kept.to_string(), to: None }));
    assert_eq!(due(&world, scout), [kept]);
}

#[test]
fn what_is_due_and_not_taken_yet_says_what_it_waits_for() {
    let mut world = World::new();
    let scout = world.running("scout");
    let (first, second) = (says(&mut world, "scout", "one"), says(&mut world, "scout", "two"));
    let queue = |world: &World| {
        let query = query::Queue { agent: "scout".into() };
        let mail = view::queue(&world.state, &query, world.now).unwrap();
        mail.into_iter().map(|mail| (mail.id, mail.stage, mail.reason.unwrap_or_default())).collect::<Vec<_>>()
    };
    let accepted = || "accepted".to_owned();
    let behind = || (second, accepted(), "others are given before it".to_owned());
    assert_eq!(queue(&world), [(first, accepted(), "it is being given".into()), behind()]);
    is(&mut world, scout, |activity| activity.phase = Phase::Opening);
    assert_eq!(queue(&world), [(first, accepted(), "its CLI has not said yet that it is ready".into()), behind()]);
}

#[test]
fn what_is_kept_from_a_shell_is_not_what_the_others_wait_for() {
    let mut world = World::new();
    let (scout, lead) = (world.running("scout"), world.running("lead"));
    is(&mut world, scout, |activity| {
        activity.front = Front { instead: Some("sh".into()), is_shell: true, ..Front::default() };
    });
    send_as(&mut world, me(lead), letter("scout", "make clean"));
    let person = says(&mut world, "scout", "ls");
    let queue = view::queue(&world.state, &query::Queue { agent: "scout".into() }, world.now).unwrap();
    let of_person = queue.iter().find(|mail| mail.id == person).unwrap();
    assert_eq!(of_person.reason.as_deref(), Some("it is being given"));
}

#[test]
fn what_an_agent_cannot_take_waits_with_its_reason() {
    let mut world = World::new();
    let scout = world.running("scout");
    let message = says(&mut world, "scout", "hello");
    assert_eq!(due(&world, scout), [message]);
    world.sees(scout, &[asked(1, RequestKind::Permission)]);
    assert!(due(&world, scout).is_empty());
    assert!(hold(&world, scout, message).unwrap().0.starts_with("it waits for a decision"));
    world.says(decide_request(1, option("yes")));
    assert_eq!(due(&world, scout), [message]);

    is(&mut world, scout, |activity| activity.draft = true);
    assert_eq!(hold(&world, scout, message).unwrap().0, "a person is typing to it");
    is(&mut world, scout, |activity| activity.draft = false);

    world.says(agent::Command::Mail(Mail { paused: Some(true), ..rules(scout) }));
    assert_eq!(hold(&world, scout, message).unwrap().0, "its mail is paused");
    let shown = view::message(&world.state, &[], &Principal::Operator, &message.to_string(), world.now).unwrap();
    assert_eq!(
        (shown.deliveries[0].stage.as_str(), shown.deliveries[0].reason.as_deref()),
        ("held", Some("its mail is paused"))
    );
    let agent = view::detail(&world.state, "scout").unwrap().agent;
    assert_eq!(agent.reason.as_deref(), Some("1 waiting: its mail is paused"));
    // A person may overrule that, and nobody else.
    let release = Command::Release(Release { message: message.to_string(), to: None });
    assert_eq!(world.try_as(me(scout), None, release.clone()).unwrap_err().code, Code::Denied);
    world.says(release);
    assert_eq!(due(&world, scout), [message]);

    world.says(agent::Command::Mail(Mail { paused: Some(false), ..rules(scout) }));
    let until = Time(world.now.0 + 60_000);
    is(&mut world, scout, |activity| activity.phase = Phase::Limited { reason: "5 hours".into(), until: Some(until) });
    let other = says(&mut world, "scout", "more");
    let (_, over) = hold(&world, scout, other).unwrap();
    assert!(over.is_some_and(|over| over > until), "a second late rather than into the limit again");
}

#[test]
fn a_person_may_try_what_a_limit_without_an_end_holds_from_agents() {
    let mut world = World::new();
    let (scout, lead) = (world.running("scout"), world.running("lead"));
    is(&mut world, scout, |activity| activity.phase = Phase::LoggedOut { reason: "401".into() });
    let from_agent = send_as(&mut world, me(lead), letter("scout", "hello"));
    assert!(due(&world, scout).is_empty() && hold(&world, scout, from_agent).is_some());
    let from_person = says(&mut world, "scout", "hello");
    assert_eq!(due(&world, scout), [from_person]);
}

#[test]
fn what_waits_for_a_boundary_is_given_when_it_does_not_come() {
    let mut world = World::new();
    let scout = world.running("scout");
    works(&mut world, scout);
    let message = says(&mut world, "scout", "hello");
    assert_eq!(due(&world, scout), [message], "the CLI reads it when it likes");
    let boundary = Mail { while_working: Some(WhileWorking::Boundary), boundary_ms: Some(10_000), ..rules(scout) };
    world.says(agent::Command::Mail(boundary));
    let (_, until) = hold(&world, scout, message).unwrap();
    let next = mail::due(&world.state, scout, world.now, |_, _| false).next;
    assert_eq!((until, next), (next, until), "whoever gives it knows when to look again");
    world.now = until.unwrap();
    assert_eq!(due(&world, scout), [message]);
    // An urgent one does not wait, and takes along what its sender said before.
    world.says(agent::Command::Mail(Mail { while_working: Some(WhileWorking::TurnEnd), ..rules(scout) }));
    assert!(due(&world, scout).is_empty());
    send_as(&mut world, Principal::Operator, Send { priority: Priority::Urgent, ..letter("scout", "now") });
    assert_eq!(due(&world, scout), [message], "the order of one sender is kept");
}

#[test]
fn what_wakes_nobody_goes_along_with_what_does() {
    let mut world = World::new();
    let (scout, lead) = (world.running("scout"), world.running("lead"));
    let state = send_as(&mut world, me(lead), Send { class: Class::State, ..letter("scout", "42 %") });
    for _ in 0..20 {
        send_as(&mut world, me(lead), Send { class: Class::State, ..letter("scout", "beat") });
    }
    world.now = Time(world.now.0 + 3_600_000);
    assert!(due(&world, scout).is_empty(), "heartbeats wake nobody");
    let info = send_as(&mut world, me(lead), Send { class: Class::Info, ..letter("scout", "by the way") });
    assert!(due(&world, scout).is_empty(), "it is collected");
    let request = send_as(&mut world, me(lead), letter("scout", "do it"));
    let batch = due(&world, scout);
    assert_eq!((batch.len(), batch[0]), (23, state));
    assert_eq!(batch[21..], [info, request], "all of it in one piece, in its order");
}

#[test]
fn a_persons_words_are_a_turn_of_their_own() {
    let mut world = World::new();
    let (scout, lead) = (world.running("scout"), world.running("lead"));
    let first = send_as(&mut world, me(lead), letter("scout", "one"));
    let person = says(&mut world, "scout", "two");
    let third = send_as(&mut world, me(lead), letter("scout", "three"));
    assert_eq!(due(&world, scout), [first, third]);
    handed(&mut world, scout, &[first, third]);
    assert_eq!(due(&world, scout), [person]);
}

#[test]
fn agents_wake_an_agent_only_so_often() {
    let mut world = World::new();
    let (scout, lead) = (world.running("scout"), world.running("lead"));
    world.says(agent::Command::Mail(Mail { wakes_per_hour: Some(3), ..rules(scout) }));
    for n in 0..3 {
        let message = send_as(&mut world, me(lead), letter("scout", &format!("{n}")));
        assert_eq!(due(&world, scout), [message]);
        handed(&mut world, scout, &[message]);
        world.now = Time(world.now.0 + 1_000);
    }
    let more: Vec<_> = (0..5).map(|n| send_as(&mut world, me(lead), letter("scout", &format!("more {n}")))).collect();
    assert!(due(&world, scout).is_empty());
    let (reason, until) = hold(&world, scout, more[0]).unwrap();
    assert_eq!(reason, "agents woke it 3 times in an hour");
    let person = says(&mut world, "scout", "hello");
    assert_eq!(due(&world, scout), [person], "a person is not held back");
    handed(&mut world, scout, &[person]);
    world.now = until.unwrap();
    assert_eq!(due(&world, scout), more, "all of it wakes once");
}

#[test]
fn agents_that_keep_each_other_busy_are_stopped_until_a_person_decides() {
    let mut world = World::new();
    let ring = [world.running("a"), world.running("b"), world.running("c")];
    let names = ["a", "b", "c"];
    for members in [2, 3] {
        let mut stopped = None;
        for step in 0..12 {
            let (from, to) = (step % members, (step + 1) % members);
            let message = send_as(&mut world, me(ring[from]), letter(names[to], "thank you"));
            world.now = Time(world.now.0 + 1_000);
            if let Stage::Held { request: Some(request), .. } = stage(&world, message) {
                stopped = Some((step, request, message, ring[to]));
                break;
            }
            handed(&mut world, ring[to], &[message]);
        }
        let (step, request, message, to) = stopped.expect("a loop is stopped");
        assert_eq!(step, 6, "after six answers to answers");
        assert!(due(&world, to).is_empty());
        assert!(view::requests(&world.state).iter().any(|shown| shown.id == request), "a person sees it");
        world.says(amux_proto::command::request::Command::Decide(amux_proto::command::request::Decide {
            request: request.to_string(),
            answer: option("release"),
        }));
        assert_eq!(due(&world, to), [message]);
        handed(&mut world, to, &[message]);
        // And they have as much again.
        let back = send_as(&mut world, me(to), letter("operator", "done"));
        assert!(matches!(stage(&world, back), Stage::Accepted));
        world.now = Time(world.now.0 + 600_000);
    }
}

/// Two agents that answer each other until they are stopped: the stopped message, its recipient and its sender.
fn a_loop(world: &mut World) -> (MessageId, AgentId, AgentId) {
    let (a, b) = (world.running("a"), world.running("b"));
    for step in 0..12 {
        let (from, to, name) = if step % 2 == 0 { (a, b, "b") } else { (b, a, "a") };
        let message = send_as(world, me(from), letter(name, "thank you"));
        world.now = Time(world.now.0 + 1_000);
        if matches!(stage(world, message), Stage::Held { request: Some(_), .. }) {
            return (message, to, from);
        }
        handed(world, to, &[message]);
    }
    panic!("it is stopped");
}

fn decide(world: &mut World, answer: &str) {
    let request = view::requests(&world.state)[0].id.to_string();
    world.says(amux_proto::command::request::Command::Decide(amux_proto::command::request::Decide {
        request,
        answer: option(answer),
    }));
}

#[test]
fn whoever_was_stopped_cannot_let_itself_through() {
    let mut world = World::new();
    let (message, to, from) = a_loop(&mut world);
    let cancel = Command::Cancel(Cancel { message: message.to_string(), to: None });
    world.try_as(me(from), None, cancel).unwrap();
    let again = || Command::Retry(Retry { message: message.to_string(), to: None });
    assert_eq!(world.try_as(me(from), None, again()).unwrap_err().code, Code::Conflict);
    // Nor can its recipient fetch what it was not to be given.
    let more = send_as(&mut world, me(from), letter(&to.to_string(), "thank you"));
    let inbox = query::Inbox { agent: None, unread: false, all: true, limit: None };
    let mail = view::inbox(&world.state, &[], &me(to), &inbox, world.now).unwrap();
    assert!(mail.iter().all(|mail| mail.id != more), "it is not listed");
    decide(&mut world, "drop");
    let again = Command::Retry(Retry { message: more.to_string(), to: None });
    assert_eq!(world.try_as(me(from), None, again.clone()).unwrap_err().code, Code::Conflict);
    world.says(again);
    assert_eq!(stage(&world, more), Stage::Accepted, "a person may change its mind");
}

#[test]
fn what_was_stopped_outlives_the_run_it_was_for_and_is_one_question() {
    let mut world = World::new();
    let (first, to, from) = a_loop(&mut world);
    let more: Vec<_> = (0..150).map(|_| send_as(&mut world, me(from), letter(&to.to_string(), "thanks"))).collect();
    assert_eq!(view::requests(&world.state).len(), 1, "one question for one sender");
    world.sees(to, &[asked(1, RequestKind::Permission)]);
    assert_eq!(view::requests(&world.state).len(), 2, "what the agent asks is still heard");
    world.says(crate::world::exited(to, 1));
    assert_eq!(view::requests(&world.state).len(), 1);
    decide(&mut world, "release");
    world.says(start(to));
    world.says(crate::world::started(to, 2));
    assert_eq!(due(&world, to)[0], first);
    assert!(more.iter().all(|message| stage(&world, *message) == Stage::Accepted));
}

#[test]
fn letting_one_through_lets_through_those_before_it_and_no_others() {
    let mut world = World::new();
    let (scout, lead) = (world.running("scout"), world.running("lead"));
    world.says(agent::Command::Mail(Mail { paused: Some(true), ..rules(scout) }));
    let sent: Vec<_> = (0..4).map(|n| send_as(&mut world, me(lead), letter("scout", &format!("{n}")))).collect();
    world.says(Command::Release(Release { message: sent[1].to_string(), to: None }));
    assert_eq!(due(&world, scout), sent[..2]);
}

#[test]
fn what_was_let_through_once_is_not_let_through_for_ever() {
    let mut world = World::new();
    let scout = world.running("scout");
    world.says(agent::Command::Mail(Mail { paused: Some(true), ..rules(scout) }));
    let message = says(&mut world, "scout", "hello");
    world.says(Command::Release(Release { message: message.to_string(), to: None }));
    world.says(Command::Cancel(Cancel { message: message.to_string(), to: None }));
    world.says(Command::Retry(Retry { message: message.to_string(), to: None }));
    assert!(due(&world, scout).is_empty());
}

#[test]
fn no_class_and_no_priority_gets_round_the_budget() {
    for (priority, class) in [(Priority::Urgent, Class::Request), (Priority::Normal, Class::Info)] {
        let mut world = World::new();
        let (scout, lead) = (world.running("scout"), world.running("lead"));
        world.says(agent::Command::Mail(Mail { wakes_per_hour: Some(1), ..rules(scout) }));
        let first = send_as(&mut world, me(lead), letter("scout", "one"));
        handed(&mut world, scout, &[first]);
        send_as(&mut world, me(lead), Send { priority, class, ..letter("scout", "two") });
        world.now = Time(world.now.0 + 60_000);
        assert!(due(&world, scout).is_empty(), "{priority:?} {class:?}");
        let person = send_as(&mut world, Principal::Operator, Send { priority, class, ..letter("scout", "three") });
        world.now = Time(world.now.0 + 60_000);
        assert_eq!(due(&world, scout), [person], "{priority:?} {class:?}");
    }
}

#[test]
fn an_agent_types_into_no_shell_by_writing_to_it() {
    let mut world = World::new();
    let (lead, scout) = (world.running("lead"), world.running("scout"));
    shell(&mut world, "shell");
    let refused = world.try_as(me(lead), None, Command::Send(letter("shell", "rm -rf /"))).unwrap_err();
    assert_eq!(
        (refused.code, &refused.details.unwrap()["unknown"][0]["details"]["rule"]),
        (Code::Denied, &"keys_of_shell".into())
    );
    let all = send_as(&mut world, me(lead), letter("team:default", "hello"));
    let to: Vec<_> = world.state.messages[&all].deliveries.iter().map(|copy| copy.to).collect();
    assert_eq!(to, [Recipient::Agent { agent: scout }], "a team is meant without its shells");
    says(&mut world, "shell", "ls");
}

fn shell(world: &mut World, name: &str) -> AgentId {
    let shell = agent::Create { kind: KindName::shell(), argv: Vec::new(), ..create(name) };
    AgentId(id(&world.says(agent::Command::Create(shell)).answer, "uid"))
}

/// As a terminal at its prompt is seen, in which nothing but the shell has been.
fn prompt() -> Front {
    Front { instead: Some("sh".into()), is_shell: true, ..Front::default() }
}

fn told(world: &World, message: MessageId) -> Vec<AgentId> {
    world.state.messages[&message].deliveries.iter().filter_map(|copy| copy.to.agent()).collect()
}

#[test]
fn a_group_means_its_shells_only_where_it_has_nobody_else() {
    let mut world = World::new();
    let shells = ["one", "two"].map(|name| shell(&mut world, name));
    let of_shells = says(&mut world, "all", "git pull");
    assert_eq!(told(&world, of_shells), shells);
    world.says(start(shells[0]));
    world.says(started(shells[0], 1));
    let denied = world.try_as(me(shells[0]), None, Command::Send(letter("all", "git pull"))).unwrap_err();
    assert_eq!(denied.code, Code::NotFound, "an agent types into no shell by writing to its group");

    let lead = world.running("lead");
    for name in ["lead", "one"] {
        let in_groups = agent::Describe {
            agent: name.into(),
            role: Some("builds".into()),
            groups: ["ops".parse().unwrap()].into(),
        };
        world.says(agent::Command::Describe(in_groups));
    }
    for group in ["all", "team:default", "group:ops", "role:builds"] {
        let mixed = says(&mut world, group, "stop; `make clean` was wrong");
        assert_eq!(told(&world, mixed), [lead], "{group}");
    }
    let may = May { who: "lead@default".into(), rights: vec![Right::Keys], to: "all".into() };
    world.says(policy::Command::Load(policy::Load { rules: Vec::new(), may: vec![may] }));
    let alone = world.try_as(me(lead), None, Command::Send(letter("all", "done"))).unwrap_err();
    assert_eq!(alone.code, Code::NotFound, "whoever has shells only for company is heard by nobody");
    let named =
        send_as(&mut world, Principal::Operator, Send { to: vec!["all".into(), "one".into()], ..letter("all", "ls") });
    assert_eq!(told(&world, named), [shells[0], lead]);
}

#[test]
fn what_is_said_to_agents_no_prompt_is_given() {
    let mut world = World::new();
    let (lead, pane) = (world.running("lead"), world.agent("pane"));
    let unseen = says(&mut world, "all", "stop; `make clean` was wrong");
    assert_eq!(told(&world, unseen), [lead, pane], "nothing tells yet that a shell is there");
    let named = says(&mut world, "pane", "make");
    world.says(start(pane));
    world.says(started(pane, 1));
    is(&mut world, pane, |activity| (activity.phase, activity.front) = (Phase::Idle, prompt()));
    assert!(hold(&world, pane, unseen).unwrap().0.contains("this is said to agents"));
    assert_eq!(due(&world, pane), [named], "to a shell that is named one writes commands");

    let seen = says(&mut world, "all", "stop");
    assert_eq!(told(&world, seen), [lead, pane], "a program may be begun at a prompt");
    assert!(hold(&world, pane, seen).is_some());
    let names = || vec!["lead".into(), "pane".into()];
    let answer = Send { to: names(), reply_to: Some(seen), ..letter("all", "and wait") };
    let answer = send_as(&mut world, Principal::Operator, answer);
    assert!(hold(&world, pane, answer).is_some(), "an answer to all is said to agents, too");
    let both = send_as(
        &mut world,
        Principal::Operator,
        Send { to: [names(), vec!["all".into()]].concat(), ..letter("all", "ls") },
    );
    assert_eq!(hold(&world, pane, both), None, "who is named as well is named");
    is(&mut world, pane, |activity| activity.front = Front { program: Some("claude".into()), ..Front::default() });
    assert_eq!(hold(&world, pane, seen), None, "whoever was meant is there");

    let as_shell = agent::Define {
        agent: "lead".into(),
        kind: KindName::shell(),
        argv: Vec::new(),
        cwd: "/".into(),
        env: BTreeMap::new(),
        size: None,
        model: None,
        mode: None,
        worktree: false,
    };
    world.says(agent::Command::Define(as_shell));
    assert!(hold(&world, lead, unseen).is_some(), "and whoever becomes a shell is one");
}

#[test]
fn a_message_goes_to_a_prompt_when_a_person_saw_the_prompt_and_let_that_one_through() {
    let mut world = World::new();
    let (lead, pane) = (world.running("lead"), world.running("pane"));
    for agent in [lead, pane] {
        is(&mut world, agent, |activity| activity.phase = Phase::Idle);
    }
    let message = says(&mut world, "all", "stop");
    let release =
        |to: Option<&str>| Command::Release(Release { message: message.to_string(), to: to.map(str::to_owned) });
    // Its program has left it to a shell for a while, or it does not run: it was not let through into that shell.
    is(&mut world, pane, |activity| activity.front = left_to("bash", true));
    world.says(release(Some("pane")));
    is(&mut world, pane, |activity| activity.front = prompt());
    assert!(hold(&world, pane, message).is_some(), "it was said of another time");
    world.says(exited(pane, 1));
    world.says(release(Some("pane")));
    world.says(start(pane));
    world.says(started(pane, 2));
    is_of(&mut world, pane, 2, |activity| (activity.phase, activity.front) = (Phase::Idle, prompt()));
    assert!(hold(&world, pane, message).is_some(), "nobody saw a shell");
    let paused = says(&mut world, "all", "stop");
    world.says(agent::Command::Mail(Mail { paused: Some(true), ..rules(pane) }));
    world.says(Command::Release(Release { message: paused.to_string(), to: Some("pane".into()) }));
    world.says(agent::Command::Mail(Mail { paused: Some(false), ..rules(pane) }));
    assert!(hold(&world, pane, paused).is_some(), "as far as anybody was told it waited for the end of a pause");
    let several = world.says(release(None)).answer;
    assert_eq!(
        several["released"],
        serde_json::json!(["lead@default"]),
        "several were let go at once, and none of the shells"
    );
    assert!(hold(&world, pane, message).is_some());
    is(&mut world, lead, |activity| activity.front = prompt());
    let shells = world.refused(release(None));
    assert_eq!(
        (shells.code, shells.message.as_str()),
        (Code::Conflict, "shells would run it: lead@default, pane@default")
    );
    world.says(release(Some("pane")));
    assert_eq!((hold(&world, pane, message), due(&world, pane)), (None, vec![message]));
}

#[test]
fn an_agent_sends_only_so_many_bytes() {
    let mut world = World::new();
    let lead = world.running("lead");
    world.agent("scout");
    let large = "x".repeat(200 * 1024);
    let sent = (0..200).take_while(|_| world.try_as(me(lead), None, Command::Send(letter("scout", &large))).is_ok());
    assert_eq!(sent.count(), 81);
    send_as(&mut world, me(lead), letter("scout", "few"));
    world.now = Time(world.now.0 + 10 * 60_000 + 1);
    send_as(&mut world, me(lead), letter("scout", &large));
}

#[test]
fn a_cli_that_takes_one_input_a_turn_is_given_the_next_when_that_is_over() {
    let mut world = World::new();
    world.says(load(&[("acp", a_kind(Dialect::Acp, "gemini"))]));
    let kind = KindName("acp".into());
    let made = world.says(agent::Command::Create(agent::Create { kind, argv: Vec::new(), ..create("scout") }));
    let scout = AgentId(id(&made.answer, "uid"));
    world.says(start(scout));
    world.says(crate::world::started(scout, 1));
    works(&mut world, scout);
    let message = says(&mut world, "scout", "next");
    assert!(due(&world, scout).is_empty());
    assert_eq!(hold(&world, scout, message).unwrap().0, "it is told when its turn is over");
    let urgent =
        send_as(&mut world, Principal::Operator, Send { priority: Priority::Urgent, ..letter("scout", "stop") });
    assert_eq!(due(&world, scout), [message], "what one says urgently comes behind what it said before");
    is(&mut world, scout, |activity| (activity.phase, activity.turn_open) = (Phase::Idle, false));
    assert_eq!(due(&world, scout), [message]);
    handed(&mut world, scout, &[message]);
    assert_eq!(due(&world, scout), [urgent]);
}

#[test]
fn what_an_agent_acknowledges_it_works_on() {
    let mut world = World::new();
    let (scout, lead) = (world.running("scout"), world.running("lead"));
    let message = send_as(&mut world, me(lead), letter("scout", "hello"));
    world.try_as(me(scout), None, Command::Ack(Ack { message: message.to_string() })).unwrap();
    let answer = send_as(&mut world, me(scout), letter("lead", "hello yourself"));
    assert_eq!(world.state.messages[&answer].cause, Some(message));
}

#[test]
fn nobody_speaks_for_a_run_that_has_ended() {
    let mut world = World::new();
    let (scout, _) = (world.running("scout"), world.running("lead"));
    world.says(crate::world::exited(scout, 1));
    let refused = world.try_as(me(scout), None, Command::Send(letter("lead", "still here"))).unwrap_err();
    assert_eq!(refused.details.unwrap()["rule"], "current_run");
}

#[test]
fn with_a_person_between_it_is_no_loop() {
    let mut world = World::new();
    let (a, b) = (world.running("a"), world.running("b"));
    for step in 0..30 {
        let (from, to, name) = if step % 2 == 0 { (a, b, "b") } else { (b, a, "a") };
        if step % 5 == 0 {
            let message = says(&mut world, if from == a { "a" } else { "b" }, "go on");
            handed(&mut world, from, &[message]);
            world.now = Time(world.now.0 + 1);
        }
        let message = send_as(&mut world, me(from), letter(name, "next"));
        assert!(!matches!(stage(&world, message), Stage::Held { .. }), "step {step}");
        handed(&mut world, to, &[message]);
        world.now = Time(world.now.0 + 1_000);
    }
}

#[test]
fn what_waits_can_be_put_in_another_order_and_other_words() {
    let mut world = World::new();
    let scout = world.agent("scout");
    let messages: Vec<_> = (0..4).map(|n| says(&mut world, "scout", &format!("{n}"))).collect();
    let order = |world: &World| -> Vec<MessageId> {
        let queue = query::Queue { agent: "scout".into() };
        view::queue(&world.state, &queue, world.now).unwrap().into_iter().map(|mail| mail.id).collect()
    };
    assert_eq!(order(&world), messages);
    let put = |message: MessageId, before: Option<MessageId>| {
        Command::Move(Move {
            message: message.to_string(),
            to: "scout".into(),
            before: before.map(|id| id.to_string()),
        })
    };
    world.says(put(messages[3], Some(messages[0])));
    assert_eq!(order(&world), [messages[3], messages[0], messages[1], messages[2]]);
    world.says(put(messages[0], None));
    assert_eq!(order(&world), [messages[3], messages[1], messages[2], messages[0]]);
    // However often, there is room between two.
    for _ in 0..100 {
        world.says(put(messages[2], Some(messages[1])));
        world.says(put(messages[1], Some(messages[2])));
    }
    assert_eq!(order(&world), [messages[3], messages[1], messages[2], messages[0]]);
    world.says(Command::Edit(Edit { message: messages[3].to_string(), body: "other words".into() }));
    assert_eq!(world.state.messages[&messages[3]].body, "other words");
    world.says(start(scout));
    world.says(crate::world::started(scout, 1));
    handed(&mut world, scout, &[messages[3]]);
    let late = Edit { message: messages[3].to_string(), body: "too late".into() };
    world.refused_with(Code::Conflict, Command::Edit(late));
}

#[test]
fn what_is_not_given_in_its_time_is_not_given() {
    let mut world = World::new();
    let scout = world.agent("scout");
    let message = send_as(&mut world, Principal::Operator, Send { ttl_ms: Some(5_000), ..letter("scout", "soon") });
    let (at, next) = world.state.next_to_expire().unwrap();
    assert_eq!(next, message);
    let expire = || Command::Expire(Expire { message: message.to_string() });
    world.says(start(scout));
    world.says(crate::world::started(scout, 1));
    assert_eq!(due(&world, scout), [message]);
    assert!(world.try_as(Principal::System, None, expire()).is_err(), "not before its time");
    world.now = at;
    assert!(due(&world, scout).is_empty());
    world.try_as(Principal::System, None, expire()).unwrap();
    assert_eq!((stage(&world, message), world.state.next_to_expire()), (Stage::Expired, None));
}

#[test]
fn what_ended_badly_is_given_again_only_when_somebody_says_so() {
    let mut world = World::new();
    let scout = world.running("scout");
    let message = says(&mut world, "scout", "hello");
    let said = |stage| Fact::Input { message, stage, evidence: "seen".into(), edition: 0 };
    world.sees(scout, &[said(InputStage::Handed), said(InputStage::Unproven)]);
    assert!(due(&world, scout).is_empty());
    world.says(Command::Retry(Retry { message: message.to_string(), to: None }));
    let again = mail::due(&world.state, scout, world.now, |_, _| false).batch;
    assert_eq!(again, [(message, 1)], "and it is known that it was given once");
    world.sees(scout, &[said(InputStage::Handed), said(InputStage::Ended)]);
    world.refused_with(Code::Conflict, Command::Retry(Retry { message: message.to_string(), to: None }));
    let shown = view::message(&world.state, &[], &Principal::Operator, &message.to_string(), world.now).unwrap();
    let history: Vec<_> = shown.deliveries[0].history.iter().map(|passed| passed.stage.as_str()).collect();
    assert_eq!(history, ["accepted", "routed", "handed", "unproven", "accepted", "routed", "handed", "acked"]);
    assert_eq!(shown.deliveries[0].attempts, 2);
}

#[test]
fn what_an_agent_owes_is_what_it_was_asked_and_has_not_answered() {
    let mut world = World::new();
    let (scout, lead) = (world.running("scout"), world.running("lead"));
    let owed = |world: &World| mail::owed(&world.state, scout);
    let asks =
        |world: &mut World, body: &str| send_as(world, me(lead), Send { wants_answer: true, ..letter("scout", body) });
    let (first, second) = (asks(&mut world, "one?"), asks(&mut world, "two?"));
    let order = send_as(&mut world, me(lead), letter("scout", "do it"));
    let aside = send_as(&mut world, me(lead), Send { class: Class::Info, ..letter("scout", "by the way") });
    assert!(owed(&world).is_empty(), "nothing of it was given");
    let said = |message, stage| Fact::Input { message, stage, evidence: "seen".into(), edition: 0 };
    let all = [first, second, order, aside];
    for stage in [InputStage::Handed, InputStage::Begun] {
        world.sees(scout, &all.map(|message| said(message, stage)));
    }
    assert_eq!(owed(&world), [first, second, order]);
    let answer = Send { reply_to: Some(first), ..letter("lead", "yes") };
    send_as(&mut world, me(scout), answer);
    assert_eq!(owed(&world), [second, order]);
    world.sees(scout, &all.map(|message| said(message, InputStage::Ended)));
    assert_eq!(owed(&world), [second], "who does not wait for an answer has what it wanted");
    // Another run was asked nothing yet.
    world.says(crate::world::exited(scout, 1));
    world.says(start(scout));
    world.says(crate::world::started(scout, 2));
    assert!(owed(&world).is_empty());
}

#[test]
fn an_inbox_is_its_owners() {
    let mut world = World::new();
    let (scout, lead) = (world.running("scout"), world.running("lead"));
    let message = send_as(&mut world, me(lead), letter("scout", "hello"));
    let inbox =
        |agent: Option<&str>| query::Inbox { agent: agent.map(str::to_owned), unread: false, all: false, limit: None };
    let read = |world: &World, actor: &Principal, of| view::inbox(&world.state, &[], actor, &inbox(of), world.now);
    assert_eq!(read(&world, &me(scout), None).unwrap()[0].id, message);
    assert!(read(&world, &me(lead), None).unwrap().is_empty());
    assert_eq!(read(&world, &me(lead), Some("scout")).unwrap_err().code, Code::Denied);
    assert_eq!(read(&world, &Principal::Operator, Some("scout")).unwrap().len(), 1);
    // Who reads it there need not be given it again.
    let seen = || Command::Seen(Seen { messages: vec![message.to_string()], editions: Vec::new() });
    world.try_as(me(lead), None, seen()).unwrap();
    assert_eq!(stage(&world, message), Stage::Accepted, "it is not the sender's to have seen");
    world.try_as(me(scout), None, seen()).unwrap();
    assert_eq!(stage(&world, message), Stage::Shown);
    assert!(due(&world, scout).is_empty());
    assert!(!read(&world, &me(scout), None).unwrap()[0].unread);
}
