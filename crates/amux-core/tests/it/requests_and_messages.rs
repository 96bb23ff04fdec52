//! What waits for a human, and text between principals.

use amux_proto::command::message::{Ack, Cancel, Command, Send};
use amux_proto::command::request;
use amux_proto::entity::{Answer, Recipient, RequestKind, RequestOption, RequestOptionKind, Stage};
use amux_proto::{AgentId, Code, MessageId, Principal, RequestId, RunNo, ThreadId, Time};
use serde_json::json;
use uuid::Uuid;

use crate::world::{World, exited, id, names};

pub(crate) fn send(to: &[&str], body: &str) -> Command {
    Command::Send(order(to, body))
}

fn order(to: &[&str], body: &str) -> Send {
    let to = to.iter().map(|to| (*to).to_owned()).collect();
    Send { id: None, to, body: body.into(), reply_to: None, thread: None, key: None }
}

fn as_agent(agent: AgentId) -> Principal {
    Principal::Agent { agent, run: RunNo(1) }
}

fn ack(message: MessageId) -> Command {
    Command::Ack(Ack { message: message.to_string() })
}

fn cancel(message: MessageId) -> Command {
    Command::Cancel(Cancel { message: message.to_string() })
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
    assert_eq!(names(&replied), ["message.sent", "message.staged"]);
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
    assert_eq!(names(&world.try_as(as_agent(scout), None, ack(sent)).unwrap()), ["message.staged"]);
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

fn ask(agent: AgentId, number: u128, kind: RequestKind) -> request::Open {
    let option = |id: &str, kind| RequestOption { id: id.into(), label: id.into(), kind };
    request::Open {
        id: RequestId(Uuid::from_u128(number)),
        agent,
        run: RunNo(1),
        kind,
        title: "may I?".into(),
        detail: "rm -rf build".into(),
        options: vec![option("yes", RequestOptionKind::AllowOnce), option("no", RequestOptionKind::RejectOnce)],
        expires: None,
    }
}

fn decide(number: u128, answer: Answer) -> request::Command {
    request::Command::Decide(request::Decide { request: Uuid::from_u128(number).to_string(), answer })
}

#[test]
fn a_request_lives_until_it_is_decided() {
    let mut world = World::new();
    let scout = world.running("scout");
    let yes = || Answer::Option { option: "yes".into() };
    assert_eq!(world.events(request::Command::Open(ask(scout, 1, RequestKind::Permission))), ["request.opened"]);
    // Observed twice, it is one.
    let again = world.says(request::Command::Open(ask(scout, 1, RequestKind::Permission)));
    assert_eq!((names(&again), &again.answer["stale"]), (Vec::new(), &json!(true)));
    assert_eq!(
        world.refused(decide(1, Answer::Option { option: "maybe".into() })).hint.as_deref(),
        Some("one of yes, no")
    );
    world.refused_with(Code::BadArgs, decide(1, Answer::Text { text: "sure".into() }));
    assert_eq!(world.events(decide(1, yes())), ["request.decided"]);
    world.refused_with(Code::NotFound, decide(1, yes()));
    world.says(request::Command::Open(ask(scout, 2, RequestKind::Question)));
    assert_eq!(world.events(decide(2, Answer::Text { text: "left".into() })), ["request.decided"]);
    world
        .says(request::Command::Open(request::Open { expires: Some(Time(1)), ..ask(scout, 3, RequestKind::Question) }));
    world.refused_with(Code::Conflict, decide(3, yes()));
    let withdraw =
        || request::Command::Withdraw(request::Withdraw { request: RequestId(Uuid::from_u128(3)), why: "over".into() });
    assert_eq!(world.events(withdraw()), ["request.withdrawn"]);
    assert_eq!(world.events(withdraw()), [""; 0]);
}

#[test]
fn a_request_of_a_run_that_does_not_live_is_not_opened() {
    let mut world = World::new();
    let scout = world.running("scout");
    world.says(exited(scout, 1));
    assert_eq!(world.says(request::Command::Open(ask(scout, 1, RequestKind::Permission))).answer["stale"], true);
    assert!(world.state.requests.is_empty());
}

#[test]
fn an_agent_can_ask_only_so_much_at_once() {
    let mut world = World::new();
    let scout = world.running("scout");
    for number in 0..100 {
        world.says(request::Command::Open(ask(scout, number, RequestKind::Question)));
    }
    world.refused_with(Code::Limit, request::Command::Open(ask(scout, 100, RequestKind::Question)));
}
