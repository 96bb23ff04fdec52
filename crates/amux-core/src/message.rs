//! Durable text between principals, and how far each copy of it has come. A stage is only claimed with evidence: here
//! are the ones that need none but the command itself (accepted, acked, answered, cancelled).

use std::collections::BTreeSet;

use amux_proto::command::message::{Ack, Cancel, Command, Send};
use amux_proto::entity::{Delivery, Message, Recipient, Stage};
use amux_proto::event::message::{Event, Sent, Staged};
use amux_proto::view::{self as proto_view, SentDelivery};
use amux_proto::transcript::InputStage;
use amux_proto::{AgentId, Code, MessageId, Principal, Rejection, RunNo, ThreadId, Time};
use serde_json::{Value, json};

use crate::bounds::{self, BODY_BYTES_MAX, KEY_BYTES_MAX, RECIPIENTS_MAX, bad};
use crate::case::Case;
use crate::policy::denied;
use crate::state::{FIRST_REV, Sender, State, change};
use crate::{agent, resolve, view};

pub(crate) fn decide(case: &mut Case<'_>, command: &Command) -> Result<Value, Rejection> {
    match command {
        Command::Send(order) => send(case, order),
        Command::Ack(order) => ack(case, order),
        Command::Cancel(order) => cancel(case, order),
    }
}

fn send(case: &mut Case<'_>, order: &Send) -> Result<Value, Rejection> {
    let Send { id, to, body, reply_to, thread, key } = order;
    let state = case.state;
    let from = case.ctx.actor.clone();
    if let Some(key) = key {
        bounds::at_most("the key", key.len(), KEY_BYTES_MAX)?;
        bounds::label("the key", key)?;
        if let Some(known) = state.message_keyed(&from, key) {
            return Ok(receipt(state, known));
        }
    }
    bounds::at_most("the body", body.len(), BODY_BYTES_MAX)?;
    if body.trim().is_empty() {
        return Err(bad("there is nothing in it: the body"));
    }
    let recipients = recipients(state, &from, to)?;
    let replied = match reply_to {
        Some(id) => Some(state.messages.get(id).ok_or_else(|| {
            Rejection::new(Code::NotFound, format!("no such message to reply to: {id}")).hint("agentmux inbox --all")
        })?),
        None => None,
    };
    let id = match id {
        Some(id) if state.messages.contains_key(id) => {
            return Err(Rejection::new(Code::Exists, format!("a message has this id already: {id}")));
        }
        Some(id) => *id,
        None => MessageId(case.make_id()),
    };
    let at = case.ctx.now;
    let message = Message {
        id,
        from: from.clone(),
        body: body.clone(),
        // A thread has the id of its first message.
        thread: thread.or(replied.map(|replied| replied.thread)).unwrap_or(ThreadId(id.0)),
        reply_to: *reply_to,
        key: key.clone(),
        created: at,
        deliveries: recipients.into_iter().map(|to| first(state, to, at)).collect(),
        rev: FIRST_REV,
    };
    let answer = receipt(state, &message);
    case.emit(Event::Sent(Sent { message }));
    let own_copy = replied.and_then(|replied| Some((replied.id, own_copy(replied, &from)?)));
    if let Some((replied, copy)) = own_copy.filter(|(_, copy)| !copy.stage.is_end()) {
        let stage = Stage::Answered { by: id };
        case.emit(Event::Staged(Staged { message: replied, to: copy.to, stage, evidence: None }));
    }
    Ok(answer)
}

/// Where a delivery begins: on its way, or waiting for an agent that does not run.
fn first(state: &State, to: Recipient, at: Time) -> Delivery {
    let runs = match to {
        Recipient::Operator => true,
        Recipient::Agent { agent } => state.agents.get(&agent).is_some_and(agent::is_live),
    };
    let stage = if runs { Stage::Accepted } else { Stage::Held { reason: NOT_RUNNING.to_owned() } };
    Delivery { to, stage, at, run: None }
}

const NOT_RUNNING: &str = "the agent is not running";

/// What was seen of a message at the agent it is for. A delivery only climbs, and an end is an end.
pub(crate) fn seen(case: &mut Case<'_>, of: (AgentId, RunNo), id: MessageId, stage: InputStage, evidence: &str) {
    let (agent, run) = of;
    let to = Recipient::Agent { agent };
    let Some(message) = case.state.messages.get(&id) else { return };
    let Some(delivery) = message.deliveries.iter().find(|delivery| delivery.to == to) else { return };
    let reason = bounds::cut(evidence);
    let wanted = match stage {
        InputStage::Handed => Stage::Handed,
        InputStage::Shown => Stage::Shown,
        InputStage::Begun => Stage::Begun,
        InputStage::Ended => Stage::Acked,
        InputStage::Failed => Stage::Failed { reason: reason.clone(), attempts: 1 },
        InputStage::Refused => Stage::Refused { reason: reason.clone() },
        InputStage::Unproven => Stage::Unproven { reason: reason.clone() },
    };
    // What was acknowledged stays acknowledged, whatever becomes of the turn.
    let is_over = delivery.stage.is_end() || delivery.stage == Stage::Acked;
    if is_over || rank(&wanted) <= rank(&delivery.stage) {
        return;
    }
    let evidence = Some(reason);
    if delivery.run != Some(run) {
        let stage = Stage::Routed { run };
        case.emit(Event::Staged(Staged { message: id, to, stage, evidence: None }));
    }
    case.emit(Event::Staged(Staged { message: id, to, stage: wanted, evidence }));
}

fn rank(stage: &Stage) -> u8 {
    match stage {
        Stage::Held { .. } => 0,
        Stage::Accepted => 1,
        Stage::Routed { .. } => 2,
        Stage::Handed => 3,
        Stage::Shown => 4,
        Stage::Begun => 5,
        Stage::Acked => 6,
        Stage::Answered { .. } => 7,
        Stage::Unproven { .. }
        | Stage::Expired
        | Stage::Cancelled { .. }
        | Stage::Refused { .. }
        | Stage::Failed { .. } => 8,
    }
}

/// A run has ended: what was given to it and not begun may have been read or not, and nothing will tell. Unless the
/// conversation never opened: then nothing of it was read, and it goes to the next run.
pub(crate) fn run_ended(case: &mut Case<'_>, of: (AgentId, RunNo), never_opened: bool) {
    let (agent, run) = of;
    let to = Recipient::Agent { agent };
    let state = case.state;
    for message in state.messages.values() {
        let Some(delivery) = message.deliveries.iter().find(|delivery| delivery.to == to) else { continue };
        if delivery.run != Some(run) {
            continue;
        }
        let (stage, evidence) = match &delivery.stage {
            Stage::Routed { .. } | Stage::Handed | Stage::Shown if never_opened => {
                (Stage::Accepted, "the conversation did not open; nothing of it was read")
            }
            Stage::Routed { .. } | Stage::Handed | Stage::Shown => {
                let reason = "the agent ended; whether it had read this is not known".to_owned();
                (Stage::Unproven { reason }, "the run has ended")
            }
            Stage::Begun => {
                let reason = "the agent ended during the turn".to_owned();
                (Stage::Failed { reason, attempts: 1 }, "the run has ended")
            }
            Stage::Accepted
            | Stage::Held { .. }
            | Stage::Acked
            | Stage::Answered { .. }
            | Stage::Unproven { .. }
            | Stage::Expired
            | Stage::Cancelled { .. }
            | Stage::Refused { .. }
            | Stage::Failed { .. } => continue,
        };
        case.emit(Event::Staged(Staged { message: message.id, to, stage, evidence: Some(evidence.to_owned()) }));
    }
}

/// Everybody who is meant, once. One name that means nobody refuses the whole, and the details say which.
fn recipients(state: &State, from: &Principal, to: &[String]) -> Result<BTreeSet<Recipient>, Rejection> {
    if to.is_empty() {
        return Err(bad("a recipient is needed: to"));
    }
    if to.len() > RECIPIENTS_MAX {
        return Err(bounds::limit("recipients", RECIPIENTS_MAX));
    }
    let mut recipients = BTreeSet::new();
    let mut unknown: Vec<(&str, Rejection)> = Vec::new();
    for reference in to {
        match meant(state, from, reference) {
            Ok(meant) => recipients.extend(meant),
            Err(why) => unknown.push((reference, why)),
        }
    }
    let Some((_, first)) = unknown.first() else {
        if recipients.is_empty() {
            return Err(Rejection::new(Code::NotFound, format!("there is nobody to send to: {}", to.join(", "))));
        }
        return Ok(recipients);
    };
    let all: Vec<_> = unknown
        .iter()
        .map(|(to, why)| json!({ "to": to, "code": why.code, "message": why.message, "details": why.details }))
        .collect();
    let mut rejection = Rejection::new(first.code, first.message.clone());
    rejection.hint = first.hint.clone();
    Err(rejection.details(json!({ "unknown": all })))
}

/// A group never means the sender itself.
fn meant(state: &State, from: &Principal, reference: &str) -> Result<Vec<Recipient>, Rejection> {
    let others = |agents: &mut dyn Iterator<Item = &amux_proto::entity::Agent>| {
        let sender = match from {
            Principal::Agent { agent, .. } => Some(*agent),
            Principal::Operator | Principal::Peer(_) | Principal::System => None,
        };
        agents.filter(|agent| Some(agent.id) != sender).map(|agent| Recipient::Agent { agent: agent.id }).collect()
    };
    match reference.split_once(':') {
        Some(("team", team)) => {
            let team = resolve::team(state, team)?.id;
            Ok(others(&mut state.agents_of(team)))
        }
        None if reference == "all" => Ok(others(&mut state.agents.values())),
        None if reference == "operator" => Ok(vec![Recipient::Operator]),
        Some(_) | None => Ok(vec![Recipient::Agent { agent: resolve::agent(state, reference)?.id }]),
    }
}

fn ack(case: &mut Case<'_>, order: &Ack) -> Result<Value, Rejection> {
    let message = resolve::message(case.state, &order.message)?;
    case.expect(message.rev)?;
    let Some(delivery) = own_copy(message, &case.ctx.actor) else {
        return Err(denied("recipient", &case.ctx.actor, "message.ack"));
    };
    match &delivery.stage {
        Stage::Acked | Stage::Answered { .. } => {}
        Stage::Accepted | Stage::Routed { .. } | Stage::Handed | Stage::Shown | Stage::Begun | Stage::Held { .. } => {
            let evidence = Some("the recipient said so".to_owned());
            case.emit(Event::Staged(Staged { message: message.id, to: delivery.to, stage: Stage::Acked, evidence }));
        }
        over @ (Stage::Unproven { .. }
        | Stage::Expired
        | Stage::Cancelled { .. }
        | Stage::Refused { .. }
        | Stage::Failed { .. }) => {
            let why = format!("the delivery is over ({}): {}", view::stage_name(over), message.id);
            return Err(Rejection::new(Code::Conflict, why));
        }
    }
    Ok(json!({ "id": message.id }))
}

fn cancel(case: &mut Case<'_>, order: &Cancel) -> Result<Value, Rejection> {
    let message = resolve::message(case.state, &order.message)?;
    case.expect(message.rev)?;
    let actor = &case.ctx.actor;
    if *actor != Principal::Operator && Sender::from(actor) != Sender::from(&message.from) {
        return Err(denied("sender", actor, "message.cancel"));
    }
    let mut cancelled = Vec::new();
    let mut waiting = 0_usize;
    for delivery in &message.deliveries {
        match &delivery.stage {
            Stage::Accepted | Stage::Held { .. } => {
                let stage = Stage::Cancelled { by: actor.clone() };
                let staged = Staged { message: message.id, to: delivery.to, stage, evidence: None };
                case.emit(Event::Staged(staged));
                cancelled.push(recipient_name(case.state, delivery.to));
                waiting += 1;
            }
            Stage::Cancelled { .. } => waiting += 1,
            Stage::Routed { .. }
            | Stage::Handed
            | Stage::Shown
            | Stage::Begun
            | Stage::Acked
            | Stage::Answered { .. }
            | Stage::Unproven { .. }
            | Stage::Expired
            | Stage::Refused { .. }
            | Stage::Failed { .. } => {}
        }
    }
    if waiting == 0 {
        return Err(Rejection::new(Code::Conflict, format!("nothing of it waits any more: {}", message.id)));
    }
    Ok(json!({ "id": message.id, "cancelled": cancelled }))
}

/// The delivery to the one who speaks.
fn own_copy<'a>(message: &'a Message, actor: &Principal) -> Option<&'a Delivery> {
    let me = match actor {
        Principal::Operator => Recipient::Operator,
        Principal::Agent { agent, .. } => Recipient::Agent { agent: *agent },
        Principal::Peer(_) | Principal::System => return None,
    };
    message.deliveries.iter().find(|delivery| delivery.to == me)
}

fn recipient_name(state: &State, to: Recipient) -> String {
    match to {
        Recipient::Operator => "operator".to_owned(),
        Recipient::Agent { agent } => view::label(state, agent),
    }
}

/// One message as anybody who may read it sees it.
pub(crate) fn shown(state: &State, message: &Message) -> proto_view::Message {
    proto_view::Message {
        id: message.id,
        from: match &message.from {
            Principal::Agent { agent, .. } => view::label(state, *agent),
            other => other.to_string(),
        },
        body: message.body.clone(),
        thread: message.thread,
        reply_to: message.reply_to,
        created: message.created,
        deliveries: deliveries(state, message),
    }
}

fn deliveries(state: &State, message: &Message) -> Vec<SentDelivery> {
    let each = message.deliveries.iter().map(|delivery| SentDelivery {
        to: recipient_name(state, delivery.to),
        id: message.id,
        stage: view::stage_name(&delivery.stage).to_owned(),
        reason: view::stage_reason(&delivery.stage).map(str::to_owned),
    });
    each.collect()
}

/// What the sender is told: of a repeated key, how far the one message has come.
fn receipt(state: &State, message: &Message) -> Value {
    let sent = proto_view::Sent { id: message.id, thread: message.thread, deliveries: deliveries(state, message) };
    serde_json::to_value(sent).expect("a receipt has string keys and no fallible serializer")
}

pub(crate) fn apply(state: &mut State, at: Time, event: &Event) {
    match event {
        Event::Sent(Sent { message }) => state.put_message(message.clone()),
        Event::Staged(Staged { message, to, stage, .. }) => change(&mut state.messages, message, |message| {
            for delivery in message.deliveries.iter_mut().filter(|delivery| delivery.to == *to) {
                delivery.stage = stage.clone();
                delivery.at = at;
                match stage {
                    Stage::Routed { run } => delivery.run = Some(*run),
                    Stage::Accepted => delivery.run = None,
                    _ => {}
                }
            }
        }),
    }
}
