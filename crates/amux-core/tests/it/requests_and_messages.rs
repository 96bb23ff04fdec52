//! What waits for a human, and text between principals.

use amux_core::{view, wish};
use amux_proto::command::message::{Ack, Cancel, Command, Edit, Expire, Retry, Seen, Send};
use amux_proto::command::run::Fact;
use amux_proto::entity::{Recipient, RequestKind, Stage, Words};
use amux_proto::transcript::{Ask, InputStage};
use amux_proto::view as proto_view;
use amux_proto::{AgentId, BODY_BYTES_MAX, Code, Effect, MessageId, Principal, RunNo, ThreadId, query};
use serde_json::json;
use uuid::Uuid;

use crate::world::{
    World, ask, ask_closed, asked, decide_request, exited, id, letter, lost, names, option, remove, request, start,
    started, text,
};

pub(crate) fn send(to: &[&str], body: &str) -> Command {
    Command::Send(order(to, body))
}

fn order(to: &[&str], body: &str) -> Send {
    Send { to: to.iter().map(|to| (*to).to_owned()).collect(), ..letter("", body) }
}

fn as_agent(agent: AgentId) -> Principal {
    Principal::Agent { agent, run: RunNo(1) }
}

fn ack(message: MessageId) -> Command {
    Command::Ack(Ack { message: message.to_string() })
}

fn cancel(message: MessageId) -> Command {
    Command::Cancel(Cancel { message: message.to_string(), to: None })
}

fn stages(world: &World, message: MessageId) -> Vec<(Recipient, Stage)> {
    let deliveries = &world.state.messages[&message].deliveries;
    deliveries.iter().map(|delivery| (delivery.to, delivery.stage.clone())).collect()
}

#[test]
fn everybody_who_is_meant_gets_it_once() {
    let mut world = World::new();
    let (scout, lead) = (world.running("scout"), world.running("lead"));
    let sent = world.says(send(&["scout", "scout@default", "team:default", "all", "operator"], "hello"));
    let message = MessageId(id(&sent.answer, "id"));
    let to: Vec<_> = stages(&world, message).into_iter().map(|(to, _)| to).collect();
    let mut expected = vec![Recipient::Operator, Recipient::Agent { agent: scout }, Recipient::Agent { agent: lead }];
    expected.sort();
    assert_eq!(to, expected);
    assert_eq!(sent.answer["thread"], sent.answer["id"]);
    assert_eq!(
        sent.answer["deliveries"][0],
        json!({ "to": "operator", "id": message, "stage": "accepted", "reason": null })
    );
    // A group never means the sender; its own name does.
    for (to, meant) in [(&["all"][..], vec![lead]), (&["team:default"], vec![lead]), (&["scout"], vec![scout])] {
        let sent = world.try_as(as_agent(scout), None, send(to, "hello")).unwrap();
        let to: Vec<_> = stages(&world, MessageId(id(&sent.answer, "id"))).into_iter().map(|(to, _)| to).collect();
        assert_eq!(to, meant.into_iter().map(|agent| Recipient::Agent { agent }).collect::<Vec<_>>());
    }
}

#[test]
fn one_unknown_recipient_refuses_the_whole_and_is_named() {
    let mut world = World::new();
    world.running("scout");
    let refusal = world.refused(send(&["scout", "scuot", "team:shop"], "hello"));
    assert_eq!((refusal.code, refusal.message.as_str()), (Code::NotFound, "no such agent: scuot"));
    assert_eq!(refusal.hint.as_deref(), Some("did you mean scout@default?"));
    let unknown = &refusal.details.unwrap()["unknown"];
    assert_eq!((&unknown[0]["to"], &unknown[1]["to"]), (&json!("scuot"), &json!("team:shop")));
    assert_eq!(unknown[0]["details"]["near"], json!(["scout@default"]));
    assert!(world.state.messages.is_empty());
}

#[test]
fn whoever_says_the_bare_name_of_a_team_or_group_is_told_how_it_is_addressed() {
    let mut world = World::new();
    world.running("scout");
    let hint = |world: &mut World, to: &str| world.refused(send(&[to], "hello")).hint;
    assert_eq!(hint(&mut world, "default").as_deref(), Some("did you mean team:default?"));
    assert_eq!(hint(&mut world, "scuot").as_deref(), Some("did you mean scout@default?"));
}

#[test]
fn a_message_to_nobody_with_nothing_or_with_too_much_is_refused() {
    let mut world = World::new();
    let scout = world.running("scout");
    world.refused_with(Code::BadArgs, send(&[], "hello"));
    world.refused_with(Code::BadArgs, send(&["scout"], " \n"));
    world.refused_with(Code::TooLarge, send(&["scout"], &"x".repeat(256 * 1024 + 1)));
    world.refused_with(Code::Limit, send(&["scout"; 201], "hello"));
    world.refused_with(
        Code::NotFound,
        Command::Send(Send { reply_to: Some(MessageId(Uuid::nil())), ..order(&["scout"], "x") }),
    );
    world.refused_with(Code::TooLarge, Command::Send(Send { key: Some("k".repeat(201)), ..order(&["scout"], "x") }));
    // There is nobody else.
    let refusal = world.try_as(as_agent(scout), None, send(&["all"], "hello")).unwrap_err();
    assert_eq!(refusal.code, Code::NotFound);
    assert!(world.attempt(send(&["scout"], &"x".repeat(256 * 1024))).is_ok());
}

#[test]
fn the_same_key_of_the_same_sender_is_the_same_message() {
    let mut world = World::new();
    let (scout, lead) = (world.running("scout"), world.running("lead"));
    let keyed = |body: &str| Command::Send(Send { key: Some("k1".into()), ..order(&["lead"], body) });
    let first = world.try_as(as_agent(scout), None, keyed("one")).unwrap();
    let again = world.try_as(as_agent(scout), None, keyed("two")).unwrap();
    assert_eq!((names(&again), &again.answer["id"]), (Vec::new(), &first.answer["id"]));
    assert_eq!(again.answer["deliveries"], first.answer["deliveries"]);
    // Another sender's key is another key; the same agent in its next run is the same sender.
    let other = world.says(keyed("three"));
    assert_ne!(other.answer["id"], first.answer["id"]);
    world.says(exited(scout, 1));
    world.says(crate::world::start(scout));
    let later = Principal::Agent { agent: scout, run: RunNo(2) };
    assert_eq!(world.try_as(later, None, keyed("four")).unwrap().answer["id"], first.answer["id"]);
    // How far it has come is said as it is now.
    world.try_as(as_agent(lead), None, ack(MessageId(id(&first.answer, "id")))).unwrap();
    let later = Principal::Agent { agent: scout, run: RunNo(2) };
    let now = world.try_as(later, None, keyed("five")).unwrap();
    assert_eq!(now.answer["deliveries"][0]["stage"], "acked");
}

#[test]
fn a_reply_joins_the_thread_and_answers_the_senders_copy() {
    let mut world = World::new();
    let scout = world.running("scout");
    world.running("lead");
    let sent = MessageId(id(&world.says(send(&["scout", "lead"], "which way?")).answer, "id"));
    let reply = Command::Send(Send { reply_to: Some(sent), ..order(&["operator"], "left") });
    let replied = world.try_as(as_agent(scout), None, reply.clone()).unwrap();
    // It had it by another way than being given it, and has answered.
    assert_eq!(names(&replied), ["message.sent", "message.staged", "message.staged"]);
    assert_eq!(replied.answer["thread"], json!(ThreadId(sent.0)));
    let by = MessageId(id(&replied.answer, "id"));
    let answered: Vec<_> = stages(&world, sent).into_iter().filter(|(_, stage)| *stage != Stage::Accepted).collect();
    assert_eq!(answered, [(Recipient::Agent { agent: scout }, Stage::Answered { by })]);
    // It is answered once.
    let again = world.try_as(as_agent(scout), None, reply).unwrap();
    assert_eq!(names(&again), ["message.sent"]);
}

#[test]
fn only_a_recipient_acknowledges_and_only_once() {
    let mut world = World::new();
    let (scout, lead) = (world.running("scout"), world.running("lead"));
    let sent = MessageId(id(&world.says(send(&["scout"], "hello")).answer, "id"));
    for other in [Principal::Operator, as_agent(lead)] {
        let refusal = world.try_as(other, None, ack(sent)).unwrap_err();
        assert_eq!((refusal.code, &refusal.details.unwrap()["rule"]), (Code::Denied, &json!("recipient")));
    }
    assert_eq!(names(&world.try_as(as_agent(scout), None, ack(sent)).unwrap()), ["message.staged", "message.staged"]);
    assert_eq!(names(&world.try_as(as_agent(scout), None, ack(sent)).unwrap()), [""; 0]);
    assert_eq!(stages(&world, sent), [(Recipient::Agent { agent: scout }, Stage::Acked)]);
}

#[test]
fn only_what_waits_can_be_cancelled_and_only_by_its_sender_or_the_operator() {
    let mut world = World::new();
    let (scout, lead) = (world.running("scout"), world.running("lead"));
    let sent = world.try_as(as_agent(scout), None, send(&["lead", "operator"], "hello")).unwrap();
    let sent = MessageId(id(&sent.answer, "id"));
    let refusal = world.try_as(as_agent(lead), None, cancel(sent)).unwrap_err();
    assert_eq!((refusal.code, &refusal.details.unwrap()["rule"]), (Code::Denied, &json!("sender")));
    world.try_as(as_agent(lead), None, ack(sent)).unwrap();
    let cancelled = world.says(cancel(sent));
    assert_eq!(cancelled.answer["cancelled"], json!(["operator"]));
    assert_eq!(world.events(cancel(sent)), [""; 0]);
    // The recipient is told that it is over.
    assert_eq!(world.refused(ack(sent)).code, Code::Conflict);
    let other = world.try_as(as_agent(scout), None, send(&["lead"], "hello")).unwrap();
    let other = MessageId(id(&other.answer, "id"));
    world.try_as(as_agent(lead), None, ack(other)).unwrap();
    assert_eq!(world.refused(cancel(other)).code, Code::Conflict);
}

#[test]
fn a_request_lives_until_its_decision_has_reached_the_agent() {
    let mut world = World::new();
    let scout = world.running("scout");
    assert_eq!(world.sees(scout, &[asked(1, RequestKind::Permission)]), ["request.opened", "run.active"]);
    // Observed twice, it is one.
    assert_eq!(world.sees(scout, &[asked(1, RequestKind::Permission)]), ["run.active"]);
    assert_eq!(world.refused(decide_request(1, option("maybe"))).hint.as_deref(), Some("one of yes, no"));
    world.refused_with(Code::BadArgs, decide_request(1, text("sure")));
    assert_eq!(wish::open(&world.state), []);
    assert_eq!(world.events(decide_request(1, option("yes"))), ["request.decided"]);
    // It waits for the agent, and for no person.
    assert_eq!(wish::open(&world.state), [Effect::Answer { request: request(1) }]);
    assert_eq!(world.state.requests[&request(1)].decided, Some(option("yes")));
    assert_eq!(view::requests(&world.state), []);
    assert_eq!(world.sees(scout, &[ask_closed(1)]), ["request.settled", "run.active"]);
    assert_eq!(wish::open(&world.state), []);
    assert!(world.state.requests.is_empty());
}

#[test]
fn a_question_takes_a_text() {
    let mut world = World::new();
    let scout = world.running("scout");
    world.sees(scout, &[asked(1, RequestKind::Question), asked(2, RequestKind::HeldMessage)]);
    assert_eq!(world.events(decide_request(1, text("left"))), ["request.decided"]);
    world.refused_with(Code::BadArgs, decide_request(2, text("left")));
}

#[test]
fn a_request_is_decided_once() {
    let mut world = World::new();
    let scout = world.running("scout");
    world.sees(scout, &[asked(1, RequestKind::Permission)]);
    world.says(decide_request(1, option("no")));
    for second in ["yes", "no"] {
        world.refused_with(Code::Conflict, decide_request(1, option(second)));
    }
    assert_eq!(world.state.requests[&request(1)].decided, Some(option("no")));
    world.sees(scout, &[ask_closed(1)]);
    world.refused_with(Code::NotFound, decide_request(1, option("yes")));
}

#[test]
fn what_was_asked_and_closed_in_one_report_waits_for_nobody() {
    let mut world = World::new();
    let scout = world.running("scout");
    let events = world.sees(scout, &[asked(1, RequestKind::Question), ask_closed(1), ask_closed(1)]);
    assert_eq!(events, ["request.opened", "request.withdrawn", "run.active"]);
    assert!(world.state.requests.is_empty());
}

#[test]
fn answers_given_in_another_order_reach_their_own() {
    let mut world = World::new();
    let scout = world.running("scout");
    world.sees(scout, &[asked(1, RequestKind::Permission), asked(2, RequestKind::Permission)]);
    world.says(decide_request(2, option("no")));
    assert_eq!(wish::open(&world.state), [Effect::Answer { request: request(2) }]);
    world.says(decide_request(1, option("yes")));
    let decided = |number| world.state.requests[&request(number)].decided.clone();
    assert_eq!((decided(1), decided(2)), (Some(option("yes")), Some(option("no"))));
    assert_eq!(world.sees(scout, &[ask_closed(2)]), ["request.settled", "run.active"]);
    assert_eq!(wish::open(&world.state), [Effect::Answer { request: request(1) }]);
}

#[test]
fn an_answer_after_the_agent_moved_on_is_refused() {
    let mut world = World::new();
    let scout = world.running("scout");
    world.sees(scout, &[asked(1, RequestKind::Permission)]);
    assert_eq!(world.sees(scout, &[ask_closed(1)]), ["request.withdrawn", "run.active"]);
    world.refused_with(Code::NotFound, decide_request(1, option("yes")));
    // Nor does it answer what the agent asks next.
    world.sees(scout, &[asked(2, RequestKind::Permission)]);
    world.refused_with(Code::NotFound, decide_request(1, option("yes")));
    assert_eq!(world.state.requests[&request(2)].decided, None);
    // Or what the agent asks in its next run.
    world.says(exited(scout, 1));
    world.says(start(scout));
    world.says(started(scout, 2));
    world.refused_with(Code::NotFound, decide_request(2, option("yes")));
    assert_eq!(wish::open(&world.state), []);
}

#[test]
fn an_answer_for_what_the_request_was_before_is_stale() {
    let mut world = World::new();
    let scout = world.running("scout");
    world.sees(scout, &[asked(1, RequestKind::Permission)]);
    let seen = world.state.requests[&request(1)].rev;
    world.says(decide_request(1, option("no")));
    let refusal = world.try_as(Principal::Operator, Some(seen), decide_request(1, option("yes"))).unwrap_err();
    assert_eq!(refusal.code, Code::Stale);
}

#[test]
fn a_request_of_a_run_that_does_not_live_is_not_opened() {
    let mut world = World::new();
    let scout = world.running("scout");
    world.says(exited(scout, 1));
    let late = world.report(scout, &[asked(1, RequestKind::Permission)]);
    assert_eq!(world.says(late).answer["stale"], true);
    assert!(world.state.requests.is_empty());
}

#[test]
fn no_run_closes_what_another_asks() {
    let mut world = World::new();
    let (scout, lead) = (world.running("scout"), world.running("lead"));
    world.sees(scout, &[asked(1, RequestKind::Permission)]);
    assert_eq!(world.sees(lead, &[ask_closed(1)]), ["run.active"]);
    assert!(world.state.requests.contains_key(&request(1)));
}

#[test]
fn an_agent_can_ask_only_so_much_at_once_and_is_heard_beyond_it() {
    let mut world = World::new();
    let scout = world.running("scout");
    let many: Vec<_> = (0..=100).map(|number| asked(number, RequestKind::Question)).collect();
    let events = world.sees(scout, &many);
    assert_eq!((events.len(), world.state.requests.len()), (101, 100));
    // What is answered makes room.
    world.sees(scout, &[ask_closed(0)]);
    assert_eq!(world.sees(scout, &[asked(100, RequestKind::Question)]), ["request.opened", "run.active"]);
}

#[test]
fn what_is_too_much_of_a_question_is_cut_and_its_subject_never_is() {
    let mut world = World::new();
    let scout = world.running("scout");
    let long = |ask: Ask| Ask {
        title: "t".repeat(10_000),
        detail: "\u{e9}".repeat(70_000),
        options: vec![ask.options[0].clone(); 40],
        subject: Some("s".repeat(100_000)),
        ..ask
    };
    let ask = Box::new(long(ask(RequestKind::Permission)));
    world.sees(scout, &[Fact::Asked { request: request(1), ask }]);
    let kept = &world.state.requests[&request(1)];
    assert_eq!((kept.title.len(), kept.detail.len(), kept.options.len()), (4096, 65536, 1));
    assert_eq!(kept.subject.as_ref().map(String::len), Some(100_000));
}

/// Said of one message to one agent, and the stage it has then.
#[test]
fn a_delivery_only_climbs() {
    use InputStage::{Begun, Ended, Failed, Handed, Refused, Shown, Unproven};
    let why = || "seen".to_owned();
    let cases: Vec<(&[InputStage], Stage)> = vec![
        (&[], Stage::Accepted),
        (&[Handed], Stage::Handed),
        (&[Handed, Shown, Begun, Ended], Stage::Acked),
        (&[Begun], Stage::Begun),
        (&[Shown, Handed], Stage::Shown),
        (&[Begun, Handed, Shown], Stage::Begun),
        (&[Handed, Unproven], Stage::Unproven { reason: why() }),
        (&[Refused], Stage::Refused { reason: why() }),
        (&[Begun, Failed], Stage::Failed { reason: why(), attempts: 1 }),
        (&[Refused, Shown, Begun, Ended], Stage::Refused { reason: why() }),
        (&[Unproven, Ended], Stage::Unproven { reason: why() }),
        (&[Ended, Failed], Stage::Acked),
        (&[Ended, Unproven, Handed, Refused], Stage::Acked),
    ];
    for (seen, stage) in cases {
        // One by one, and all in one report.
        for at_once in [false, true] {
            let mut world = World::new();
            let scout = world.running("scout");
            let message = MessageId(id(&world.says(send(&["scout"], "hello")).answer, "id"));
            let facts: Vec<_> =
                seen.iter().map(|stage| Fact::Input { message, stage: *stage, evidence: why(), edition: 0 }).collect();
            if at_once {
                world.sees(scout, &facts);
            } else {
                facts.iter().for_each(|fact| drop(world.sees(scout, std::slice::from_ref(fact))));
            }
            let (_, reached) = stages(&world, message).remove(0);
            assert_eq!(reached, stage, "{seen:?}, at once: {at_once}");
            assert_eq!(wish::open(&world.state).is_empty(), !seen.is_empty(), "{seen:?} is wished for or not");
            let run = world.state.messages[&message].deliveries[0].run;
            assert_eq!(run, (!seen.is_empty()).then_some(RunNo(1)), "{seen:?}");
        }
    }
}

#[test]
fn what_was_on_its_way_when_it_was_cancelled_is_what_became_of_it() {
    use InputStage::{Begun, Ended, Failed, Handed, Refused, Unproven};
    let why = || "seen".to_owned();
    let cases: Vec<(&[InputStage], Option<Stage>)> = vec![
        (&[Handed], Some(Stage::Handed)),
        (&[Handed, Begun, Ended], Some(Stage::Acked)),
        (&[Failed], Some(Stage::Failed { reason: why(), attempts: 1 })),
        (&[Unproven], Some(Stage::Unproven { reason: why() })),
        // Nobody has read it.
        (&[Refused], None),
    ];
    for (seen, became) in cases {
        for is_expired in [false, true] {
            let mut world = World::new();
            let scout = world.running("scout");
            let order = Send { ttl_ms: is_expired.then_some(1), ..order(&["scout"], "hello") };
            let message = MessageId(id(&world.says(Command::Send(order)).answer, "id"));
            match is_expired {
                true => drop(world.says(Command::Expire(Expire { message: message.to_string() }))),
                false => drop(world.says(cancel(message))),
            }
            let ended = stages(&world, message).remove(0).1;
            let facts: Vec<_> =
                seen.iter().map(|stage| Fact::Input { message, stage: *stage, evidence: why(), edition: 0 }).collect();
            facts.iter().for_each(|fact| drop(world.sees(scout, std::slice::from_ref(fact))));
            assert_eq!(stages(&world, message)[0].1, *became.as_ref().unwrap_or(&ended), "{seen:?}");
            let copy = &world.state.messages[&message].deliveries[0];
            // Both are told: what was said, and that it came too late.
            assert!(copy.history.iter().any(|passed| passed.stage == ended), "{copy:?}");
            let told = copy.history.iter().filter_map(|passed| passed.evidence.as_deref());
            assert_eq!(
                told.filter(|told| told.starts_with("it was on its way already")).count(),
                usize::from(became.is_some())
            );
            assert_eq!(copy.run.is_some(), became.is_some());
            assert_eq!(wish::open(&world.state), [], "nobody gives it again");
        }
    }
}

#[test]
fn what_was_cancelled_while_a_conversation_opened_is_not_given_to_the_next_run() {
    for (is_retried, is_expired) in [(false, false), (false, true), (true, false)] {
        let mut world = World::new();
        let scout = world.running("scout");
        let order = Send { ttl_ms: is_expired.then_some(1), ..order(&["scout"], "hello") };
        let message = MessageId(id(&world.says(Command::Send(order)).answer, "id"));
        match is_expired {
            true => drop(world.says(Command::Expire(Expire { message: message.to_string() }))),
            false => drop(world.says(cancel(message))),
        }
        let ended = stages(&world, message).remove(0).1;
        if is_retried {
            world.says(Command::Retry(Retry { message: message.to_string(), to: None }));
        }
        let handed =
            Fact::Input { message, stage: InputStage::Handed, evidence: "every byte was taken".into(), edition: 0 };
        world.sees(scout, &[handed]);
        assert_eq!(stages(&world, message)[0].1, Stage::Handed);
        world.sees(scout, &[Fact::SessionLost { session: "s".into(), why: "not found".into() }]);
        world.says(exited(scout, 1));
        let expected = if is_retried { Stage::Accepted } else { ended };
        assert_eq!(stages(&world, message)[0].1, expected);
        let is_wished = wish::open(&world.state).contains(&Effect::Deliver { agent: scout, message });
        assert_eq!(is_wished, is_retried);
    }
}

fn edit(message: MessageId, body: &str) -> Command {
    Command::Edit(Edit { message: message.to_string(), body: body.into() })
}

fn given(message: MessageId, edition: u32) -> Fact {
    Fact::Input { message, stage: InputStage::Handed, evidence: "every byte was taken".into(), edition }
}

fn shown(world: &World, message: MessageId) -> proto_view::Message {
    view::message(&world.state, &[], &Principal::Operator, &message.to_string(), world.now).unwrap()
}

/// The words that each recipient was given or will be.
fn words(shown: &proto_view::Message) -> Vec<&str> {
    let of = |copy: &proto_view::Delivery| match copy.edition {
        Some(edition) => shown.other.iter().find(|words| words.edition == edition).unwrap().body.as_str(),
        None => shown.body.as_str(),
    };
    shown.deliveries.iter().map(of).collect()
}

#[test]
fn an_edit_overtaken_by_the_write_yields_to_the_proof() {
    for ends in [None, Some(cancel as fn(MessageId) -> Command)] {
        let mut world = World::new();
        let scout = world.running("scout");
        let message = MessageId(id(&world.says(send(&["scout"], "old")).answer, "id"));
        world.says(edit(message, "new"));
        world.says(edit(message, "newer"));
        assert_eq!(shown(&world, message).body, "newer", "as far as anybody knows it will be given that");
        if let Some(end) = ends {
            world.says(end(message));
        }
        world.sees(scout, &[given(message, 0)]);
        let receipt = shown(&world, message);
        assert_eq!((receipt.body.as_str(), receipt.too_late.as_deref()), ("old", Some("newer")));
        assert_eq!((words(&receipt), receipt.other.len()), (vec!["old"], 0));
        let routed = &receipt.deliveries[0].history.iter().find(|passed| passed.stage == "routed").unwrap();
        assert_eq!(routed.evidence.as_deref(), Some("it was on its way already when it was changed"));
        world.refused_with(Code::Conflict, edit(message, "newest"));
    }
}

#[test]
fn of_several_recipients_each_is_shown_with_the_words_it_was_given() {
    let mut world = World::new();
    let (scout, lead) = (world.running("scout"), world.running("lead"));
    let message = MessageId(id(&world.says(send(&["scout", "lead"], "old")).answer, "id"));
    world.says(edit(message, "new"));
    world.says(edit(message, "newer"));
    world.sees(scout, &[given(message, 0)]);
    let receipt = shown(&world, message);
    assert_eq!((words(&receipt), receipt.too_late.as_deref()), (vec!["old", "newer"], None));
    world.sees(lead, &[given(message, 1)]);
    let receipt = shown(&world, message);
    assert_eq!((words(&receipt), receipt.too_late.as_deref()), (vec!["old", "new"], Some("newer")));
    let inbox = |agent: &str| query::Inbox { agent: Some(agent.into()), unread: false, all: true, limit: None };
    let read = |agent: &str| view::inbox(&world.state, &[], &Principal::Operator, &inbox(agent), world.now);
    assert_eq!((&*read("scout").unwrap()[0].body, &*read("lead").unwrap()[0].body), ("old", "new"));
}

#[test]
fn given_once_more_it_is_given_with_the_newest_words() {
    let mut world = World::new();
    let scout = world.running("scout");
    let message = MessageId(id(&world.says(send(&["scout"], "old")).answer, "id"));
    world.says(edit(message, "new"));
    let unproven = Fact::Input { message, stage: InputStage::Unproven, evidence: "nobody knows".into(), edition: 0 };
    world.sees(scout, &[unproven]);
    assert_eq!(words(&shown(&world, message)), ["old"]);
    world.says(Command::Retry(Retry { message: message.to_string(), to: None }));
    assert_eq!(words(&shown(&world, message)), ["new"]);
    world.sees(scout, &[given(message, 1)]);
    let receipt = shown(&world, message);
    assert_eq!(words(&receipt), ["new"]);
    assert_eq!(receipt.other, [Words { edition: 0, body: "old".into() }], "it had these before");
}

#[test]
fn what_was_listed_before_an_edit_was_seen_as_it_was_then() {
    let mut world = World::new();
    let scout = world.running("scout");
    let message = MessageId(id(&world.says(send(&["scout", "operator"], "old")).answer, "id"));
    world.says(edit(message, "new"));
    let seen = |edition| Command::Seen(Seen { messages: vec![message.to_string()], editions: vec![edition] });
    world.try_as(as_agent(scout), None, seen(0)).unwrap();
    assert_eq!(words(&shown(&world, message)), ["new", "old"]);
    world.says(seen(0));
    let receipt = shown(&world, message);
    assert_eq!((words(&receipt), receipt.too_late.as_deref()), (vec!["old", "old"], Some("new")));
    // Its run was given it, too, and that says the newer words.
    world.sees(scout, &[Fact::Input { stage: InputStage::Begun, evidence: "a turn".into(), message, edition: 1 }]);
    assert_eq!(words(&shown(&world, message)), ["old", "new"]);
}

#[test]
fn whoever_acknowledges_before_it_is_known_what_it_was_given_is_shown_with_what_it_was_given() {
    let reply = |message| Command::Send(Send { reply_to: Some(message), ..order(&["operator"], "yes") });
    for says in [&ack as &dyn Fn(MessageId) -> Command, &reply] {
        let mut world = World::new();
        let scout = world.running("scout");
        let message = MessageId(id(&world.says(send(&["scout"], "old")).answer, "id"));
        world.says(edit(message, "new"));
        world.try_as(as_agent(scout), None, says(message)).unwrap();
        let (_, settled) = stages(&world, message).remove(0);
        assert!(settled.is_settled() && words(&shown(&world, message)) == ["new"], "nobody says otherwise");
        let at = world.state.messages[&message].deliveries[0].at;
        // What was on its way turns out to have been the old ones.
        world.sees(scout, &[given(message, 0)]);
        let receipt = shown(&world, message);
        assert_eq!((words(&receipt), receipt.too_late.as_deref()), (vec!["old"], Some("new")));
        let copy = &world.state.messages[&message].deliveries[0];
        assert_eq!((&copy.stage, copy.at), (&settled, at), "and it stays where it was");
        let why = copy.history.last().unwrap().evidence.as_deref();
        assert_eq!(why, Some("it was on its way already when it was changed: every byte was taken"));
        // It is learned once; and what is newer counts, if it was given that as well.
        let known = copy.history.len();
        world.sees(scout, &[given(message, 0)]);
        assert_eq!(world.state.messages[&message].deliveries[0].history.len(), known);
        world.sees(scout, &[given(message, 1)]);
        assert_eq!(words(&shown(&world, message)), ["new"]);
    }
}

#[test]
fn what_nobody_read_counts_as_given_to_nobody() {
    let lost = Fact::SessionLost { session: "s".into(), why: "not found".into() };
    let refused = |message| Fact::Input { message, stage: InputStage::Refused, evidence: "no".into(), edition: 0 };
    for (is_cancelled, never_opened) in [(false, true), (true, true), (false, false)] {
        let mut world = World::new();
        let scout = world.running("scout");
        let message = MessageId(id(&world.says(send(&["scout"], "old")).answer, "id"));
        world.says(edit(message, "new"));
        if is_cancelled {
            world.says(cancel(message));
        }
        world.sees(scout, &[given(message, 0)]);
        assert_eq!(words(&shown(&world, message)), ["old"]);
        if never_opened {
            world.sees(scout, std::slice::from_ref(&lost));
            world.says(exited(scout, 1));
        } else {
            world.sees(scout, &[refused(message)]);
        }
        let receipt = shown(&world, message);
        assert_eq!((words(&receipt), receipt.too_late.as_deref()), (vec!["new"], None), "cancelled: {is_cancelled}");
        assert_eq!(receipt.other, []);
        let inbox = query::Inbox { agent: Some("scout".into()), unread: false, all: true, limit: None };
        let mail = view::inbox(&world.state, &[], &Principal::Operator, &inbox, world.now).unwrap();
        assert_eq!(mail[0].body, "new");
    }
}

#[test]
fn what_a_conversation_that_did_not_open_was_handed_can_be_changed() {
    let mut world = World::new();
    let scout = world.running("scout");
    let message = MessageId(id(&world.says(send(&["scout"], "old")).answer, "id"));
    world.sees(scout, &[given(message, 0)]);
    assert_eq!(shown(&world, message).deliveries[0].attempts, 1);
    world.refused_with(Code::Conflict, edit(message, "new"));
    world.sees(scout, &[Fact::SessionLost { session: "s".into(), why: "not found".into() }]);
    world.says(exited(scout, 1));
    assert_eq!(shown(&world, message).deliveries[0].attempts, 0, "nobody was given it");
    world.says(edit(message, "new"));
    assert_eq!(words(&shown(&world, message)), ["new"]);
    // The next run is given what it says then.
    world.says(start(scout));
    world.says(started(scout, 2));
    world.sees(scout, &[given(message, 1)]);
    let receipt = shown(&world, message);
    assert_eq!((words(&receipt), receipt.deliveries[0].attempts), (vec!["new"], 1));
    world.refused_with(Code::Conflict, edit(message, "newer"));
    // What may have been read and is given again was given, whatever became of it.
    world.says(exited(scout, 2));
    world.says(Command::Retry(Retry { message: message.to_string(), to: None }));
    world.refused_with(Code::Conflict, edit(message, "newer"));
}

#[test]
fn what_was_read_before_it_was_cancelled_was_read() {
    let seen = |message: MessageId| Command::Seen(Seen { messages: vec![message.to_string()], editions: vec![0] });
    for (to, reader) in [("scout", as_agent as fn(AgentId) -> Principal), ("operator", |_| Principal::Operator)] {
        let mut world = World::new();
        let scout = world.running("scout");
        let message = MessageId(id(&world.says(send(&[to], "old")).answer, "id"));
        // It is listed here, with these words; before that is told, it is changed and cancelled.
        world.says(edit(message, "new"));
        world.says(cancel(message));
        world.try_as(reader(scout), None, seen(message)).unwrap();
        let receipt = shown(&world, message);
        let copy = &receipt.deliveries[0];
        assert_eq!((copy.stage.as_str(), words(&receipt)), ("shown", vec!["old"]), "{to}");
        let why = copy.history.last().unwrap().evidence.as_deref().unwrap();
        assert!(
            why.starts_with(
                "its recipient says that it had listed it when it was cancelled: the recipient read its inbox"
            ),
            "{why}"
        );
        // It goes on from there like any other.
        world.try_as(reader(scout), None, ack(message)).unwrap();
    }
}

#[test]
fn what_was_called_back_comes_again_on_a_persons_word_only() {
    let mut world = World::new();
    let (lead, scout) = (world.running("lead"), world.running("scout"));
    let sent = world.try_as(as_agent(lead), None, send(&["scout"], "old")).unwrap();
    let message = MessageId(id(&sent.answer, "id"));
    world.says(cancel(message));
    let seen = Command::Seen(Seen { messages: vec![message.to_string()], editions: vec![0] });
    world.try_as(as_agent(scout), None, seen).unwrap();
    world.says(exited(scout, 1));
    assert!(matches!(stages(&world, message)[0].1, Stage::Unproven { .. }));
    let retry = || Command::Retry(Retry { message: message.to_string(), to: None });
    let refusal = world.try_as(as_agent(lead), None, retry()).unwrap_err();
    assert!(refusal.code == Code::Conflict && refusal.message.contains("only a person"), "{refusal:?}");
    world.says(retry());
    assert_eq!(stages(&world, message)[0].1, Stage::Accepted);
}

#[test]
fn that_it_read_other_words_than_it_was_given_is_told_as_what_it_says() {
    let mut world = World::new();
    let scout = world.running("scout");
    let message = MessageId(id(&world.says(send(&["scout", "operator"], "old")).answer, "id"));
    world.says(edit(message, "new"));
    let seen = |edition| Command::Seen(Seen { messages: vec![message.to_string()], editions: vec![edition] });
    world.try_as(as_agent(scout), None, seen(0)).unwrap();
    world.says(seen(0));
    for copy in shown(&world, message).deliveries {
        let told: Vec<_> = copy.history.iter().filter_map(|passed| passed.evidence.as_deref()).collect();
        let is_its_word = |told: &&str| told.contains("its recipient says that it read this as it was before");
        assert!(told.iter().any(is_its_word), "{}: {told:?}", copy.to);
        assert!(!told.iter().any(|told| told.contains("on its way already")), "that is what the server saw: {told:?}");
    }
}

#[test]
fn what_it_said_before_is_kept_within_a_bound() {
    let mut world = World::new();
    world.agent("scout");
    let long = |letter: &str| letter.repeat(BODY_BYTES_MAX);
    let message = MessageId(id(&world.says(send(&["scout"], &long("a"))).answer, "id"));
    world.says(edit(message, &long("b")));
    let refusal = world.refused(edit(message, "short"));
    assert_eq!((refusal.code, refusal.hint.as_deref()), (Code::Limit, Some("cancel it, and send another")));
    assert!(refusal.message.contains("256 KiB"), "{}", refusal.message);
    let half = BODY_BYTES_MAX / 2;
    let message = MessageId(id(&world.says(send(&["scout"], &"a".repeat(half))).answer, "id"));
    world.says(edit(message, &"b".repeat(half)));
    world.says(edit(message, &long("c")));
    world.refused_with(Code::Limit, edit(message, "short"));
}

#[test]
fn words_are_not_changed_without_end() {
    let mut world = World::new();
    world.agent("scout");
    let message = MessageId(id(&world.says(send(&["scout"], "words 0")).answer, "id"));
    (1..=32).for_each(|n| drop(world.says(edit(message, &format!("words {n}")))));
    world.refused_with(Code::Limit, edit(message, "words 33"));
    assert_eq!(shown(&world, message).other, [], "nobody was given any of them");
}

#[test]
fn a_message_for_an_agent_at_rest_is_held_and_wished_for() {
    let mut world = World::new();
    let scout = world.agent("scout");
    let message = MessageId(id(&world.says(send(&["scout", "operator"], "hello")).answer, "id"));
    let reason = "the agent is not running".to_owned();
    assert_eq!(stages(&world, message)[1], (Recipient::Agent { agent: scout }, Stage::Held { reason, request: None }));
    assert_eq!(wish::open(&world.state), [Effect::Deliver { agent: scout, message }]);
    world.says(cancel(message));
    assert_eq!(wish::open(&world.state), []);
}

#[test]
fn what_a_run_was_given_and_did_not_finish_is_not_claimed_when_it_ends() {
    use InputStage::{Begun, Ended, Handed, Shown};
    let gone = || Stage::Unproven { reason: "the agent ended; whether it had read this is not known".into() };
    let cases = [
        (None, Stage::Accepted),
        (Some(Handed), gone()),
        (Some(Shown), gone()),
        (Some(Begun), Stage::Failed { reason: "the agent ended during the turn".into(), attempts: 1 }),
        (Some(Ended), Stage::Acked),
    ];
    for end in [exited, lost] {
        for (seen, stage) in &cases {
            let mut world = World::new();
            let scout = world.running("scout");
            let message = MessageId(id(&world.says(send(&["scout"], "hello")).answer, "id"));
            if let Some(stage) = *seen {
                world.sees(scout, &[Fact::Input { message, stage, evidence: "seen".into(), edition: 0 }]);
            }
            world.says(end(scout, 1));
            assert_eq!(stages(&world, message)[0].1, *stage, "{seen:?}");
            // Given once: only what no run had is wished for.
            let wished = wish::open(&world.state);
            assert_eq!(wished.len(), usize::from(seen.is_none()), "{seen:?}: {wished:?}");
        }
    }
}

#[test]
fn what_was_acknowledged_stays_so_when_the_agent_goes() {
    let mut world = World::new();
    let scout = world.running("scout");
    let message = MessageId(id(&world.says(send(&["scout"], "hello")).answer, "id"));
    world.try_as(as_agent(scout), None, ack(message)).unwrap();
    world.says(remove(scout, true));
    world.says(exited(scout, 1));
    assert!(world.state.agents.is_empty());
    assert_eq!(stages(&world, message)[0].1, Stage::Acked);
}
