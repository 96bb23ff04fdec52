//! Durable text between principals, and how far each copy of it has come. A stage is only claimed with evidence: here
//! are the ones that need none but the command itself (accepted, acked, answered, cancelled).

use std::collections::{BTreeMap, BTreeSet};

use amux_proto::command::message::{Ack, Cancel, Command, Edit, Expire, File, Move, Release, Retry, Seen, Send};
use amux_proto::entity::{
    Agent, Answer, Delivery, Message, Passed, Recipient, Request, RequestKind, RequestOption, RequestOptionKind, Right,
    Stage, Words,
};
use amux_proto::event::message::{Edited, Event, Filed, Moved, Recalled, Released, Sent, Staged};
use amux_proto::event::request;
use amux_proto::transcript::InputStage;
use amux_proto::view::{self as proto_view, SentDelivery};
use amux_proto::{
    AgentId, BODY_BYTES_MAX, Code, MessageId, Name, Principal, Rejection, RequestId, RunNo, ThreadId, Time,
};
use serde_json::{Value, json};

use crate::bounds::{self, KEY_BYTES_MAX, RECIPIENTS_MAX, bad};
use crate::case::Case;
use crate::near::nearest;
use crate::policy::denied;
use crate::state::{FIRST_REV, Sender, State, change};
use crate::{agent, attachment, mail, resolve, right, sight, view};

pub(crate) fn decide(case: &mut Case<'_>, command: &Command) -> Result<Value, Rejection> {
    match command {
        Command::Send(order) => send(case, order),
        Command::Ack(order) => ack(case, order),
        Command::Cancel(order) => cancel(case, order),
        Command::Seen(order) => before_the_eyes(case, order),
        Command::Retry(order) => retry(case, order),
        Command::Release(order) => release(case, order),
        Command::Move(order) => reorder(case, order),
        Command::Edit(order) => edit(case, order),
        Command::Expire(order) => expire(case, order),
        Command::File(File {}) => file(case),
    }
}

fn send(case: &mut Case<'_>, order: &Send) -> Result<Value, Rejection> {
    let Send { id, to, body, reply_to, thread, key, priority, class, ttl_ms, wants_answer, attachments } = order;
    let state = case.state;
    let from = case.ctx.actor.clone();
    if let Some(key) = key {
        bounds::at_most("the key", key.len(), KEY_BYTES_MAX)?;
        bounds::label("the key", key)?;
        let is_it = |old: &&Message| old.key.as_ref() == Some(key) && Sender::from(&old.from) == Sender::from(&from);
        let known = state.message_keyed(&from, key).or_else(|| case.ctx.recalled.iter().find(is_it));
        if let Some(known) = known {
            return Ok(receipt(state, known, case.ctx.now));
        }
    }
    check_body(body)?;
    attachment::check(state, attachments)?;
    if let Some(ms) = ttl_ms.filter(|ms| *ms == 0 || *ms > TTL_MS_MAX) {
        return Err(bad(format!("a message is kept for 1 ms to {} days: {ms} ms", TTL_MS_MAX / DAY_MS)));
    }
    let at = case.ctx.now;
    if let Principal::Agent { agent, .. } = &from
        && state.sent_since(*agent, Time(at.0.saturating_sub(CEILING_MS))) >= CEILING
    {
        let minutes = CEILING_MS / 60_000;
        let words = format!("an agent sends at most {CEILING} messages in {minutes} minutes");
        return Err(Rejection::new(Code::Limit, words).details(json!({ "rule": "sender_ceiling" })));
    }
    if let Principal::Agent { agent, .. } = &from
        && body.len() > SMALL_BYTES
        && state.bytes_sent_since(*agent, Time(at.0.saturating_sub(CEILING_MS))) + body.len() > CEILING_BYTES
    {
        let (megabytes, minutes) = (CEILING_BYTES / (1024 * 1024), CEILING_MS / 60_000);
        let words = format!("an agent sends at most {megabytes} MiB in {minutes} minutes");
        let limit = Rejection::new(Code::Limit, words).hint("attach a file: agentmux send --attach FILE");
        return Err(limit.details(json!({ "rule": "sender_ceiling" })));
    }
    let recipients = recipients(state, &from, to)?;
    let replied = match reply_to {
        Some(id) => Some(case.message_of(*id).filter(|known| sight::reads(state, &from, known)).ok_or_else(|| {
            Rejection::new(Code::NotFound, format!("no such message to reply to: {id}")).hint("agentmux inbox --all")
        })?),
        None => None,
    };
    // Nobody joins a conversation that it cannot read.
    let joined = thread.and_then(|thread| state.thread(thread).next().map(|_| thread));
    if let Some(joined) = joined.filter(|thread| !state.thread(*thread).any(|known| sight::reads(state, &from, known)))
    {
        return Err(Rejection::new(Code::NotFound, format!("no such thread: {joined}")));
    }
    let id = match id {
        Some(id) if case.message_of(*id).is_some() => {
            return Err(Rejection::new(Code::Exists, format!("a message has this id already: {id}")));
        }
        Some(id) => *id,
        None => MessageId(case.make_id()),
    };
    let cause = mail::cause(state, &from);
    let is_loop = mail::is_loop(state, &from, cause, at);
    // A page answers a group by the names of all it was; it is said to agents still.
    let was_among_agents =
        |to| replied.is_some_and(|replied| copy_of(replied, to).is_some_and(|copy| copy.among_agents));
    let copies = recipients.into_iter().map(|(to, among)| first(state, to, among || was_among_agents(to), at));
    let mut deliveries: Vec<Delivery> = copies.collect();
    if is_loop {
        for copy in deliveries.iter_mut().filter(|copy| matches!(copy.to, Recipient::Agent { .. })) {
            stop(case, copy, id, &from, body);
        }
    }
    let message = Message {
        id,
        from: from.clone(),
        body: body.clone(),
        edition: 0,
        earlier: Vec::new(),
        // A thread has the id of its first message.
        thread: thread.or(replied.map(|replied| replied.thread)).unwrap_or(ThreadId(id.0)),
        reply_to: *reply_to,
        key: key.clone(),
        priority: *priority,
        class: *class,
        expires: ttl_ms.map(|ms| Time(at.0.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX)))),
        wants_answer: *wants_answer,
        cause,
        attachments: attachments.clone(),
        created: at,
        deliveries,
        rev: FIRST_REV,
    };
    let answer = receipt(state, &message, at);
    case.emit(Event::Sent(Sent { message }));
    let own_copy = replied.and_then(|replied| Some((replied, own_copy(replied, &from)?)));
    if let Some((replied, copy)) = own_copy.filter(|(_, copy)| !copy.stage.is_end()) {
        case.recall(replied);
        fetched(case, replied, copy, None);
        let stage = Stage::Answered { by: id };
        self::stage(case, (replied.id, copy.to), stage, None);
    }
    Ok(answer)
}

const DAY_MS: u64 = 24 * 60 * 60_000;
const TTL_MS_MAX: u64 = 365 * DAY_MS;

/// More than this is not a conversation.
const CEILING: usize = 2_000;
const CEILING_MS: i64 = 10 * 60_000;

/// What waits is in memory. As many as one may send of these come to no more.
const SMALL_BYTES: usize = CEILING_BYTES / CEILING;
const CEILING_BYTES: usize = 16 * 1024 * 1024;

/// Room between places, so that something can be put between two of them.
const PLACE_STEP: i64 = 1 << 20;

/// Where a delivery begins: on its way, or waiting for an agent that does not run.
fn first(state: &State, to: Recipient, among_agents: bool, at: Time) -> Delivery {
    let (runs, place) = match to {
        Recipient::Operator => (true, 0),
        Recipient::Agent { agent } => {
            (state.agents.get(&agent).is_some_and(agent::is_live), last_place(state, agent, None))
        }
    };
    let accepted = Passed { stage: Stage::Accepted, at, evidence: None, edition: None };
    let held = (!runs).then(|| Stage::Held { reason: mail::NOT_RUNNING.to_owned(), request: None });
    let stage = held.clone().unwrap_or(Stage::Accepted);
    let history = [Some(accepted), held.map(|stage| Passed { stage, at, evidence: None, edition: None })]
        .into_iter()
        .flatten()
        .collect();
    Delivery { to, stage, at, among_agents, run: None, history, released: false, into_shell: false, place }
}

/// Behind everything else that waits.
fn last_place(state: &State, agent: AgentId, but: Option<MessageId>) -> i64 {
    let last = state.waiting_for(agent).rev().find(|message| Some(message.id) != but);
    last.and_then(|message| place_of(message, agent)).map_or(0, |place| place.saturating_add(PLACE_STEP))
}

fn place_of(message: &Message, agent: AgentId) -> Option<i64> {
    copy_of(message, Recipient::Agent { agent }).map(|copy| copy.place)
}

fn copy_of(message: &Message, to: Recipient) -> Option<&Delivery> {
    message.deliveries.iter().find(|copy| copy.to == to)
}

const LET_THROUGH: &str = "release";
const DROP: &str = "drop";

/// Agents that keep each other busy are stopped here, and a person is asked.
fn stop(case: &mut Case<'_>, copy: &mut Delivery, message: MessageId, from: &Principal, body: &str) {
    let Recipient::Agent { agent } = copy.to else { return };
    let state = case.state;
    let sender = match from {
        Principal::Agent { agent, .. } => view::label(state, *agent),
        other => other.to_string(),
    };
    let held = |id: RequestId| {
        let reason = format!("a loop of agents; agentmux approve {id} lets it go on");
        Stage::Held { reason, request: Some(id) }
    };
    let of_sender = |message: &&Message| Sender::from(&message.from) == Sender::from(from);
    let asked = state.waiting_for(agent).filter(of_sender).find_map(|known| stopped_by(known, agent));
    // One question for one sender, however much it sends.
    if let Some(id) = asked.filter(|id| state.requests.contains_key(id)) {
        copy.stage = held(id);
        copy.history.push(Passed { stage: copy.stage.clone(), at: case.ctx.now, evidence: None, edition: None });
        return;
    }
    let option = |id: &str, label: &str, kind| RequestOption { id: id.into(), label: label.into(), kind };
    let id = RequestId(case.make_id());
    let request = Request {
        id,
        kind: RequestKind::HeldMessage,
        agent,
        run: state.agents.get(&agent).and_then(|agent| agent.run.as_ref()).map_or(RunNo(0), |run| run.no),
        title: format!("{sender} and {} answer each other without a person", view::label(state, agent)),
        detail: bounds::cut_at(body, bounds::DETAIL_BYTES_MAX).to_owned(),
        options: vec![
            option(LET_THROUGH, "let it through", RequestOptionKind::AllowOnce),
            option(DROP, "drop it", RequestOptionKind::RejectOnce),
        ],
        created: case.ctx.now,
        expires: None,
        ask: message.to_string(),
        tool: None,
        subject: None,
        decided: None,
        rev: FIRST_REV,
    };
    copy.stage = held(id);
    copy.history.push(Passed { stage: copy.stage.clone(), at: case.ctx.now, evidence: None, edition: None });
    case.emit(request::Event::Opened(request::Opened { request }));
}

/// The request that a copy waits for.
fn stopped_by(message: &Message, agent: AgentId) -> Option<RequestId> {
    match copy_of(message, Recipient::Agent { agent })?.stage {
        Stage::Held { request, .. } => request,
        _ => None,
    }
}

/// A person has decided about what was stopped.
pub(crate) fn decided(case: &mut Case<'_>, request: &Request, answer: &Answer) {
    let state = case.state;
    let to = Recipient::Agent { agent: request.agent };
    let by = case.ctx.actor.clone();
    let is_let_through = matches!(answer, Answer::Option { option, .. } if option == LET_THROUGH);
    for message in state.waiting_for(request.agent).filter(|known| stopped_by(known, request.agent) == Some(request.id))
    {
        let message = message.id;
        if is_let_through {
            case.emit(Event::Released(Released { message, to, into_shell: false }));
            let evidence = Some(format!("{by} let it through"));
            self::stage(case, (message, to), Stage::Accepted, evidence);
        } else {
            let stage = Stage::Cancelled { by: by.clone() };
            self::stage(case, (message, to), stage, None);
        }
    }
}

/// Nobody need decide any more about what is not stopped any more.
fn withdraw(case: &mut Case<'_>, copy: &Delivery, why: &str) {
    let state = case.state;
    let stopped = |agent, request| {
        state.waiting_for(agent).filter(move |known| stopped_by(known, agent) == Some(request)).count()
    };
    if let (Stage::Held { request: Some(request), .. }, Recipient::Agent { agent }) = (&copy.stage, copy.to)
        && state.requests.contains_key(request)
        && stopped(agent, *request) <= 1
    {
        let request = *request;
        case.emit(request::Event::Withdrawn(request::Withdrawn { request, why: why.to_owned() }));
    }
}

/// Something that was seen of a message at an agent.
pub(crate) struct Input<'a> {
    pub(crate) message: MessageId,
    pub(crate) stage: InputStage,
    pub(crate) evidence: &'a str,
    pub(crate) edition: u32,
}

/// What was seen of a message at the agent it is for. A delivery only climbs, and an end is an end, unless it was said
/// too late.
pub(crate) fn seen(case: &mut Case<'_>, of: (AgentId, RunNo), input: &Input<'_>) {
    let (agent, run) = of;
    let to = Recipient::Agent { agent };
    let Input { message: id, stage, evidence, edition } = *input;
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
    let overtaken = overtaken(&delivery.stage).filter(|_| may_have_been_read(stage));
    // What was acknowledged stays acknowledged, whatever becomes of the turn. Which words it was is learned all the same.
    if overtaken.is_none() && (delivery.stage.is_settled() || rank(&wanted) <= rank(&delivery.stage)) {
        if delivery.run == Some(run) && may_have_been_read(stage) {
            learned(case, message, delivery, edition, reason);
        }
        return;
    }
    let mut evidence = match overtaken {
        Some(too_late) => bounds::cut(&format!("{too_late}: {reason}")),
        None => reason,
    };
    let mut told = None;
    if delivery.run != Some(run) {
        let late = (edition < message.edition).then_some(CHANGED_TOO_LATE);
        routed(case, message, to, run, Some(edition), late);
    } else if may_have_been_read(stage) {
        told = news(message, delivery, edition);
        if let Some(differs) = differs(message, delivery, edition) {
            evidence = bounds::cut(&format!("{differs}: {evidence}"));
        }
    }
    case.emit(Event::Staged(Staged { message: id, to, stage: wanted, evidence: Some(evidence), edition: told }));
}

const BOTH_WORDS: &str = "it was given what it said before it was changed, and after";
const CHANGED_TOO_LATE: &str = "it was on its way already when it was changed";

/// A copy is at another stage; of its words nothing is learned by that.
fn stage(case: &mut Case<'_>, (message, to): (MessageId, Recipient), stage: Stage, evidence: Option<String>) {
    case.emit(Event::Staged(Staged { message, to, stage, evidence, edition: None }));
}

/// A run has it, with these words where somebody tells which: they may be others than the newest.
fn routed(
    case: &mut Case<'_>,
    message: &Message,
    to: Recipient,
    run: RunNo,
    edition: Option<u32>,
    evidence: Option<&str>,
) {
    let edition = edition.filter(|_| message.edition > 0);
    let (stage, evidence) = (Stage::Routed { run }, evidence.map(str::to_owned));
    case.emit(Event::Staged(Staged { message: message.id, to, stage, evidence, edition }));
}

/// These words, where they say more of a copy than is known. Of several that it was given, the newest count.
fn news(message: &Message, copy: &Delivery, edition: u32) -> Option<u32> {
    let is_news = message.edition > 0 && copy.edition_told().is_none_or(|told| told < edition);
    is_news.then_some(edition)
}

/// What is to be said of words that are others than those of which a copy is shown.
fn differs(message: &Message, copy: &Delivery, edition: u32) -> Option<&'static str> {
    match copy.edition_told() {
        Some(told) => (told != edition).then_some(BOTH_WORDS),
        // The newest were taken to be meant.
        None => (edition < message.edition).then_some(CHANGED_TOO_LATE),
    }
}

/// Which words it was is told after the fact: who acknowledges a message names it, and not its words.
fn learned(case: &mut Case<'_>, message: &Message, copy: &Delivery, edition: u32, reason: String) {
    // Of these nobody has read anything.
    let is_unread = matches!(copy.stage, Stage::Refused { .. } | Stage::Cancelled { .. } | Stage::Expired);
    let Some(told) = news(message, copy, edition).filter(|_| !is_unread) else { return };
    let evidence = match differs(message, copy, edition) {
        Some(differs) => bounds::cut(&format!("{differs}: {reason}")),
        None => reason,
    };
    let (stage, evidence) = (copy.stage.clone(), Some(evidence));
    case.emit(Event::Staged(Staged { message: message.id, to: copy.to, stage, evidence, edition: Some(told) }));
}

/// What ends a copy that nobody was given may be said while it is being written. Where it is then read all the same,
/// that is what became of it.
fn overtaken(stage: &Stage) -> Option<&'static str> {
    match stage {
        Stage::Cancelled { .. } => Some("it was on its way already when it was cancelled"),
        Stage::Expired => Some("it was on its way already when its time was over"),
        Stage::Accepted
        | Stage::Held { .. }
        | Stage::Routed { .. }
        | Stage::Handed
        | Stage::Shown
        | Stage::Begun
        | Stage::Acked
        | Stage::Answered { .. }
        | Stage::Unproven { .. }
        | Stage::Refused { .. }
        | Stage::Failed { .. } => None,
    }
}

/// What was refused was read by nobody.
fn may_have_been_read(stage: InputStage) -> bool {
    match stage {
        InputStage::Handed
        | InputStage::Shown
        | InputStage::Begun
        | InputStage::Ended
        | InputStage::Failed
        | InputStage::Unproven => true,
        InputStage::Refused => false,
    }
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
    for message in state.open_for(to) {
        let Some(delivery) = copy_of(message, to) else { continue };
        if delivery.run != Some(run) {
            continue;
        }
        let (stage, evidence) = match &delivery.stage {
            Stage::Routed { .. } | Stage::Handed | Stage::Shown if never_opened => {
                (before_it_was_given(delivery), "the conversation did not open; nothing of it was read")
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
        self::stage(case, (message.id, to), stage, Some(evidence.to_owned()));
    }
}

/// What was said of a copy last by others than the agent: that it ends, perhaps while it was on its way already, or that
/// it is to be given.
fn before_it_was_given(copy: &Delivery) -> Stage {
    let said = copy.history.iter().rev().map(|passed| &passed.stage);
    let mut said = said.filter(|stage| matches!(stage, Stage::Accepted | Stage::Cancelled { .. } | Stage::Expired));
    said.next().cloned().unwrap_or(Stage::Accepted)
}

/// Everybody who is meant, once, and whether only among agents. One name that means nobody refuses the whole, and the
/// details say which.
pub(crate) fn recipients(
    state: &State,
    from: &Principal,
    to: &[String],
) -> Result<BTreeMap<Recipient, bool>, Rejection> {
    if to.is_empty() {
        return Err(bad("a recipient is needed: to"));
    }
    if to.len() > RECIPIENTS_MAX {
        return Err(bounds::limit("recipients", RECIPIENTS_MAX));
    }
    let mut recipients = BTreeMap::new();
    let mut unknown: Vec<(&str, Rejection)> = Vec::new();
    for reference in to {
        match meant(state, from, reference) {
            Ok((meant, among_agents)) => {
                for recipient in meant {
                    *recipients.entry(recipient).or_insert(true) &= among_agents;
                }
            }
            Err(why) => unknown.push((reference, why)),
        }
    }
    let Some((_, first)) = unknown.first() else {
        if recipients.is_empty() {
            return Err(Rejection::new(Code::NotFound, format!("there is nobody to send to: {}", to.join(", "))).hint(
                "agentmux ls; a group does not mean who sends, and shells only where it has nobody else: name them",
            ));
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

/// Who is meant by one reference, and whether as one of several agents. A group never means the sender itself, and shells
/// only where it is one of shells: what is said to agents, a shell would run.
fn meant(state: &State, from: &Principal, reference: &str) -> Result<(Vec<Recipient>, bool), Rejection> {
    let others = |members: &mut dyn Iterator<Item = &Agent>| {
        let sender = match from {
            Principal::Agent { agent, .. } => Some(*agent),
            Principal::Operator | Principal::Peer(_) | Principal::System => None,
        };
        let members: Vec<_> = members.collect();
        let is_shell = |agent: &Agent| agent.definition.kind.is_shell();
        let among_agents = !members.iter().copied().all(is_shell);
        let others = members.into_iter().filter(|agent| Some(agent.id) != sender);
        let told = others.filter(|agent| !(among_agents && is_shell(agent)) && may_tell(state, from, agent));
        (told.map(|agent| Recipient::Agent { agent: agent.id }).collect(), among_agents)
    };
    match reference.split_once(':') {
        Some(("team", team)) => {
            let team = resolve::team(state, team)?.id;
            Ok(others(&mut state.agents_of(team)))
        }
        Some(("group", group)) => {
            let name = Name::new(group).map_err(|error| bad(format!("not the name of a group: {error}")))?;
            let mut members = state.agents.values().filter(|agent| agent.groups.contains(&name)).peekable();
            if members.peek().is_none() {
                let groups = state.agents.values().flat_map(|agent| &agent.groups);
                return Err(unknown("group", group, groups.map(ToString::to_string)));
            }
            Ok(others(&mut members))
        }
        Some(("role", role)) => {
            let sought = role.to_lowercase();
            let is_it = |agent: &&Agent| agent.role.as_ref().is_some_and(|role| role.to_lowercase() == sought);
            let mut members = state.agents.values().filter(is_it).peekable();
            if members.peek().is_none() {
                let roles = state.agents.values().filter_map(|agent| agent.role.clone());
                return Err(unknown("role", role, roles));
            }
            Ok(others(&mut members))
        }
        None if reference == "all" => Ok(others(&mut state.agents.values())),
        None if reference == OPERATOR => Ok((vec![Recipient::Operator], false)),
        Some(_) | None => {
            let agent = resolve::agent(state, reference).map_err(|rejection| or_many(state, reference, rejection))?;
            match may_tell(state, from, agent) {
                true => Ok((vec![Recipient::Agent { agent: agent.id }], false)),
                false => Err(denied("keys_of_shell", from, "message.send")
                    .hint("a shell runs what it is sent; policy.toml: do = [\"keys\"]")),
            }
        }
    }
}

/// Whoever says the bare name of a team or group is told how it is addressed.
fn or_many(state: &State, reference: &str, rejection: Rejection) -> Rejection {
    let Ok(name) = Name::new(reference) else { return rejection };
    if rejection.code != Code::NotFound {
        return rejection;
    }
    let address = if state.team_named(&name).is_some() {
        format!("team:{name}")
    } else if state.agents.values().any(|agent| agent.groups.contains(&name)) {
        format!("group:{name}")
    } else {
        return rejection;
    };
    rejection.hint(format!("did you mean {address}?")).details(json!({ "near": [address] }))
}

/// What a shell is sent it runs: an agent needs the right to press its keys.
fn may_tell(state: &State, from: &Principal, to: &Agent) -> bool {
    let is_agent = matches!(from, Principal::Agent { .. });
    !is_agent || !to.definition.kind.is_shell() || right::reaches(state, from, Right::Keys, to.id)
}

fn unknown(what: &str, name: &str, known: impl Iterator<Item = String>) -> Rejection {
    let known: BTreeSet<String> = known.collect();
    let near = nearest(name, known.iter().map(String::as_str));
    Rejection::new(Code::NotFound, format!("no such {what}: {name}")).details(json!({ "near": near }))
}

fn ack(case: &mut Case<'_>, order: &Ack) -> Result<Value, Rejection> {
    let message = case.message(&order.message)?;
    case.expect(message.rev)?;
    let Some(delivery) = own_copy(message, &case.ctx.actor) else {
        return Err(denied("recipient", &case.ctx.actor, "message.ack").hint("whom it was sent to takes it"));
    };
    match &delivery.stage {
        Stage::Acked | Stage::Answered { .. } => {}
        Stage::Accepted | Stage::Routed { .. } | Stage::Handed | Stage::Shown | Stage::Begun | Stage::Held { .. } => {
            fetched(case, message, delivery, None);
            let evidence = Some("the recipient said so".to_owned());
            self::stage(case, (message.id, delivery.to), Stage::Acked, evidence);
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

/// Who speaks of a copy that nobody gave it has it by another way: from here on it works on that.
fn fetched(case: &mut Case<'_>, message: &Message, copy: &Delivery, edition: Option<u32>) {
    if let Principal::Agent { run, .. } = case.ctx.actor
        && copy.stage.is_waiting()
    {
        withdraw(case, copy, "its recipient has it by another way");
        let earlier = edition.is_some_and(|edition| edition < message.edition).then_some(SAYS_EARLIER);
        routed(case, message, copy.to, run, edition, earlier);
    }
}

/// Nobody but itself can tell which words it had before its eyes.
const SAYS_EARLIER: &str = "its recipient says that it read this as it was before it was changed";

/// Somebody who answers for a message: its sender, or a person.
fn answers_for(case: &Case<'_>, message: &Message, verb: &str) -> Result<(), Rejection> {
    let actor = &case.ctx.actor;
    if *actor != Principal::Operator && Sender::from(actor) != Sender::from(&message.from) {
        return Err(denied("sender", actor, verb).hint("its sender may, or a person"));
    }
    Ok(())
}

/// The copies that are meant: all, or that of one recipient.
fn copies<'a>(state: &State, message: &'a Message, to: Option<&str>) -> Result<Vec<&'a Delivery>, Rejection> {
    let Some(to) = to else { return Ok(message.deliveries.iter().collect()) };
    let to = match to {
        OPERATOR => Recipient::Operator,
        agent => Recipient::Agent { agent: resolve::agent(state, agent)?.id },
    };
    let none = || Rejection::new(Code::NotFound, format!("it was not sent there: {}", message.id));
    Ok(vec![copy_of(message, to).ok_or_else(none)?])
}

fn cancel(case: &mut Case<'_>, order: &Cancel) -> Result<Value, Rejection> {
    let message = case.message(&order.message)?;
    case.expect(message.rev)?;
    answers_for(case, message, "message.cancel")?;
    let actor = case.ctx.actor.clone();
    let mut cancelled = Vec::new();
    let mut waiting = 0_usize;
    for copy in copies(case.state, message, order.to.as_deref())? {
        if copy.stage.is_waiting() {
            withdraw(case, copy, "the message was cancelled");
            let stage = Stage::Cancelled { by: actor.clone() };
            self::stage(case, (message.id, copy.to), stage, None);
            cancelled.push(recipient_name(case.state, copy.to));
            waiting += 1;
        } else if matches!(copy.stage, Stage::Cancelled { .. }) {
            waiting += 1;
        }
    }
    if waiting == 0 {
        return Err(nothing_waits(message));
    }
    Ok(json!({ "id": message.id, "cancelled": cancelled }))
}

fn nothing_waits(message: &Message) -> Rejection {
    Rejection::new(Code::Conflict, format!("nothing of it waits any more: {}", message.id))
        .hint(format!("agentmux msg show {}", message.id))
}

/// Given once more, on the word of whoever answers for it: nobody else does so.
fn retry(case: &mut Case<'_>, order: &Retry) -> Result<Value, Rejection> {
    let message = case.message(&order.message)?;
    case.expect(message.rev)?;
    answers_for(case, message, "message.retry")?;
    if mail::is_over(message, case.ctx.now) {
        return Err(Rejection::new(Code::Conflict, format!("its time is over: {}", message.id)));
    }
    let (mut again, mut is_for_a_person) = (Vec::new(), false);
    for copy in copies(case.state, message, order.to.as_deref())? {
        let is_there = match copy.to {
            Recipient::Operator => false,
            Recipient::Agent { agent } => case.state.agents.contains_key(&agent),
        };
        let ended_badly = match copy.stage {
            Stage::Unproven { .. }
            | Stage::Expired
            | Stage::Refused { .. }
            | Stage::Failed { .. }
            | Stage::Cancelled { .. } => true,
            Stage::Accepted
            | Stage::Held { .. }
            | Stage::Routed { .. }
            | Stage::Handed
            | Stage::Shown
            | Stage::Begun
            | Stage::Acked
            | Stage::Answered { .. } => false,
        };
        // Also where it was on its way by then: what was called back comes again on a person's word only, or it would not
        // stay stopped.
        let was_called_back = matches!(before_it_was_given(copy), Stage::Cancelled { .. });
        if is_there && ended_badly && was_called_back && case.ctx.actor != Principal::Operator {
            is_for_a_person = true;
        } else if is_there && ended_badly {
            case.recall(message);
            let evidence = Some(format!("{} wants it given again", case.ctx.actor));
            self::stage(case, (message.id, copy.to), Stage::Accepted, evidence);
            again.push(recipient_name(case.state, copy.to));
        }
    }
    if again.is_empty() {
        let why = match is_for_a_person {
            true => format!("it was called back, and only a person gives it again: {}", message.id),
            false => format!("nothing of it ended without being taken: {}", message.id),
        };
        return Err(Rejection::new(Code::Conflict, why).hint(format!("agentmux msg show {}", message.id)));
    }
    Ok(json!({ "id": message.id, "retried": again }))
}

/// A person overrules what a message waits for. What nobody can overrule, it goes on waiting for.
fn release(case: &mut Case<'_>, order: &Release) -> Result<Value, Rejection> {
    let message = case.message(&order.message)?;
    case.expect(message.rev)?;
    let waiting = copies(case.state, message, order.to.as_deref())?.into_iter().filter(|copy| copy.stage.is_waiting());
    let waiting: Vec<_> = waiting.collect();
    let (mut released, mut kept) = (Vec::new(), Vec::new());
    for &copy in &waiting {
        let into_shell = mail::is_held_from_a_shell(case.state, message, copy, case.ctx.now);
        // Whoever lets several go at once means none of the shells among them.
        if into_shell && waiting.len() > 1 {
            kept.push(recipient_name(case.state, copy.to));
            continue;
        }
        if !copy.released || into_shell {
            case.emit(Event::Released(Released { message: message.id, to: copy.to, into_shell }));
        }
        if matches!(copy.stage, Stage::Held { request: Some(_), .. }) {
            withdraw(case, copy, "the message was let through");
            let evidence = Some(format!("{} let it through", case.ctx.actor));
            self::stage(case, (message.id, copy.to), Stage::Accepted, evidence);
        }
        released.push(recipient_name(case.state, copy.to));
    }
    if let (true, Some(first)) = (released.is_empty(), kept.first()) {
        let why = format!("shells would run it: {}", kept.join(", "));
        let hint = format!("one at a time: agentmux msg release {} --to {first}", message.id);
        return Err(Rejection::new(Code::Conflict, why).hint(hint));
    }
    if released.is_empty() {
        return Err(nothing_waits(message));
    }
    Ok(json!({ "id": message.id, "released": released }))
}

/// Another place among what waits. Nobody else's order is changed by it.
fn reorder(case: &mut Case<'_>, order: &Move) -> Result<Value, Rejection> {
    let state = case.state;
    let message = case.message(&order.message)?;
    case.expect(message.rev)?;
    let agent = resolve::agent(state, &order.to)?.id;
    let to = Recipient::Agent { agent };
    let Some(copy) = copy_of(message, to).filter(|copy| copy.stage.is_waiting()) else {
        return Err(nothing_waits(message));
    };
    let others: Vec<(MessageId, i64)> = state
        .waiting_for(agent)
        .filter(|other| other.id != message.id)
        .filter_map(|other| Some((other.id, place_of(other, agent)?)))
        .collect();
    let Some(before) = &order.before else {
        let place = last_place(state, agent, Some(message.id));
        if others.last().is_some_and(|(_, last)| *last >= copy.place) {
            case.emit(Event::Moved(Moved { message: message.id, to, place }));
        }
        return Ok(json!({ "id": message.id }));
    };
    let before = resolve::message(state, &case.ctx.actor, before)?;
    if before.id == message.id {
        return Ok(json!({ "id": message.id }));
    }
    let Some(at) = others.iter().position(|(id, _)| *id == before.id) else { return Err(nothing_waits(before)) };
    let high = others[at].1;
    let low = at.checked_sub(1).map_or(high.saturating_sub(2 * PLACE_STEP), |at| others[at].1);
    if high.saturating_sub(low) > 1 {
        let place = low + (high - low) / 2;
        if copy.place != place {
            case.emit(Event::Moved(Moved { message: message.id, to, place }));
        }
        return Ok(json!({ "id": message.id }));
    }
    // No room left between two: those behind move on.
    if copy.place != high {
        case.emit(Event::Moved(Moved { message: message.id, to, place: high }));
    }
    let mut place = high;
    for (id, known) in &others[at..] {
        if *known > place {
            break;
        }
        place += PLACE_STEP;
        case.emit(Event::Moved(Moved { message: *id, to, place }));
    }
    Ok(json!({ "id": message.id }))
}

/// Each of them is kept with the message: whatever it is that was given, its receipt can say it.
const EARLIER_MAX: usize = 32;

/// They are in memory, and written anew with each change: all together are no more than the longest message is by itself,
/// which can so be changed once.
const EARLIER_BYTES_MAX: usize = BODY_BYTES_MAX;

/// Other words for what nobody was given yet, as far as is known: where it was being written meanwhile, what was seen of
/// it says which words those were.
fn edit(case: &mut Case<'_>, order: &Edit) -> Result<Value, Rejection> {
    let message = case.message(&order.message)?;
    case.expect(message.rev)?;
    check_body(&order.body)?;
    if !message.deliveries.iter().all(|copy| copy.stage.is_waiting() && !was_given(copy)) {
        return Err(Rejection::new(Code::Conflict, format!("somebody was given it already: {}", message.id)));
    }
    if message.body != order.body {
        let limit = |words: String| Err(Rejection::new(Code::Limit, words).hint("cancel it, and send another"));
        if message.earlier.len() == EARLIER_MAX {
            return limit(format!("it was changed {EARLIER_MAX} times already: {}", message.id));
        }
        let kept: usize = message.earlier.iter().map(|words| words.body.len()).sum();
        if kept + message.body.len() > EARLIER_BYTES_MAX {
            let kilobytes = EARLIER_BYTES_MAX / 1024;
            return limit(format!("what it said before is kept, and would be over {kilobytes} KiB: {}", message.id));
        }
        let edition = Some(message.edition + 1);
        case.emit(Event::Edited(Edited { message: message.id, body: order.body.clone(), edition }));
    }
    Ok(json!({ "id": message.id }))
}

fn check_body(body: &str) -> Result<(), Rejection> {
    bounds::at_most("the body", body.len(), BODY_BYTES_MAX)?;
    if body.trim().is_empty() {
        return Err(bad("there is nothing in it: the body"));
    }
    Ok(())
}

/// The copies that were not given in their time end; those that were given go on.
fn expire(case: &mut Case<'_>, order: &Expire) -> Result<Value, Rejection> {
    let message = case.message(&order.message)?;
    if !mail::is_over(message, case.ctx.now) {
        return Err(Rejection::new(Code::Conflict, format!("its time is not over: {}", message.id)));
    }
    for copy in message.deliveries.iter().filter(|copy| copy.stage.is_waiting()) {
        withdraw(case, copy, "the message has expired");
        self::stage(case, (message.id, copy.to), Stage::Expired, None);
    }
    Ok(json!({ "id": message.id }))
}

/// What is settled is wanted for an hour, to count by; and no more of it than this, whatever is sent.
const SETTLED_MS: i64 = 60 * 60_000;
const SETTLED_MAX: usize = 3_000;

/// Once an hour it is looked which files messages of today hold on to; those must be seen by that.
const SETTLED_WITH_FILES_MS: i64 = 3 * SETTLED_MS;

/// Settled mail is put away when this much more has come than may stay, so that it costs one event for many.
const FILED_AT_ONCE_MAX: usize = 500;

/// Whether there is so much settled mail that some of it should be put away, whatever its age.
pub(crate) fn is_crowded(state: &State) -> bool {
    state.settled_count() >= SETTLED_MAX + FILED_AT_ONCE_MAX
}

fn file(case: &mut Case<'_>) -> Result<Value, Rejection> {
    let state = case.state;
    let old = Time(case.ctx.now.0.saturating_sub(SETTLED_MS));
    let too_many = state.settled_count().saturating_sub(SETTLED_MAX);
    let kept_longer = Time(case.ctx.now.0.saturating_sub(SETTLED_WITH_FILES_MS));
    let oldest = state.settled().take(FILED_AT_ONCE_MAX).enumerate();
    let messages: Vec<MessageId> = oldest
        .take_while(|(at, (settled, _))| *at < too_many || *settled <= old)
        .filter(|(_, (settled, id))| *settled <= kept_longer || state.messages[id].attachments.is_empty())
        .map(|(_, (_, id))| id)
        .collect();
    let filed = messages.len();
    if filed > 0 {
        case.emit(Event::Filed(Filed { messages }));
    }
    Ok(json!({ "filed": filed, "more": filed == FILED_AT_ONCE_MAX }))
}

/// Whoever lists its mail has seen it. A copy that was not given by another way counts as given by this one.
fn before_the_eyes(case: &mut Case<'_>, order: &Seen) -> Result<Value, Rejection> {
    if order.messages.len() > SEEN_MAX {
        return Err(bounds::limit("messages at once", SEEN_MAX));
    }
    let mut seen = BTreeSet::new();
    for (at, reference) in order.messages.iter().enumerate() {
        let message = case.message(reference)?;
        let Some(copy) = own_copy(message, &case.ctx.actor).filter(|_| seen.insert(message.id)) else { continue };
        let edition = order.editions.get(at).copied().filter(|edition| message.words(*edition).is_some());
        let is_stopped = matches!(copy.stage, Stage::Held { request: Some(_), .. });
        if is_stopped {
            continue;
        }
        let evidence = match edition.filter(|edition| *edition < message.edition) {
            Some(_) => format!("{READ_INBOX}; {SAYS_EARLIER}"),
            None => READ_INBOX.to_owned(),
        };
        if let Some(too_late) = overtaken_list(copy).filter(|_| case.state.messages.contains_key(&message.id)) {
            if let Principal::Agent { run, .. } = case.ctx.actor {
                routed(case, message, copy.to, run, edition, None);
            }
            let edition = edition.filter(|_| copy.to == Recipient::Operator && message.edition > 0);
            let (stage, evidence) = (Stage::Shown, Some(format!("{too_late}: {evidence}")));
            case.emit(Event::Staged(Staged { message: message.id, to: copy.to, stage, evidence, edition }));
            continue;
        }
        if rank(&copy.stage) >= rank(&Stage::Shown) {
            // Of what was put away nothing was said meanwhile.
            if let Some(edition) = edition.filter(|_| case.state.messages.contains_key(&message.id)) {
                learned(case, message, copy, edition, evidence);
            }
            continue;
        }
        fetched(case, message, copy, edition);
        // What an agent has, a run of it has: that is said already where it is this that it has it by.
        let is_said = copy.stage.is_waiting() && copy.to != Recipient::Operator;
        let edition = edition.filter(|_| !is_said).and_then(|edition| news(message, copy, edition));
        let (stage, evidence) = (Stage::Shown, Some(evidence));
        case.emit(Event::Staged(Staged { message: message.id, to: copy.to, stage, evidence, edition }));
    }
    Ok(json!({ "seen": seen.len() }))
}

/// What is cancelled is not listed as unread: whoever says that it read its inbox says that it had listed it before. What was
/// stopped is listed to nobody. What has expired may be read at any time, and has expired all the same.
fn overtaken_list(copy: &Delivery) -> Option<&'static str> {
    let was_stopped = |passed: &Passed| matches!(passed.stage, Stage::Held { request: Some(_), .. });
    let before = copy.history.iter().rev().nth(1);
    let is_cancelled = matches!(copy.stage, Stage::Cancelled { .. });
    (is_cancelled && !before.is_some_and(was_stopped))
        .then_some("its recipient says that it had listed it when it was cancelled")
}

const READ_INBOX: &str = "the recipient read its inbox";

/// A page of an inbox.
const SEEN_MAX: usize = 1_000;

const OPERATOR: &str = "operator";

/// The delivery to the one who speaks.
pub(crate) fn own_copy<'a>(message: &'a Message, actor: &Principal) -> Option<&'a Delivery> {
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
pub(crate) fn shown(state: &State, message: &Message, now: Time) -> proto_view::Message {
    let body = edition_shown(message);
    let deliveries = message.deliveries.iter().map(|copy| {
        let (stage, reason, until) = stands(state, message, copy, now);
        let passed = |passed: &Passed| proto_view::Passed {
            stage: view::stage_name(&passed.stage).to_owned(),
            at: passed.at,
            evidence: passed.evidence.clone().or_else(|| view::stage_reason(&passed.stage).map(str::to_owned)),
        };
        let edition = Some(message.edition_of(copy)).filter(|edition| *edition != body && was_given(copy));
        proto_view::Delivery {
            to: recipient_name(state, copy.to),
            id: message.id,
            stage: stage.to_owned(),
            reason,
            until,
            history: copy.history.iter().map(passed).collect(),
            attempts: times_given(copy),
            place: copy.place,
            edition,
        }
    });
    let other = message.earlier.iter().filter(|words| words.edition != body && is_given(message, words.edition));
    proto_view::Message {
        id: message.id,
        from: sender_name(state, &message.from),
        body: message.words(body).unwrap_or(&message.body).to_owned(),
        thread: message.thread,
        reply_to: message.reply_to,
        priority: message.priority,
        class: message.class,
        expires: message.expires,
        cause: message.cause,
        attachments: message.attachments.clone(),
        created: message.created,
        to: message.deliveries.iter().map(|copy| recipient_name(state, copy.to)).collect(),
        deliveries: deliveries.collect(),
        other: other.cloned().collect(),
        too_late: (body != message.edition).then(|| message.body.clone()),
    }
}

/// The words a message is shown with: the newest that anybody has or will be given.
fn edition_shown(message: &Message) -> u32 {
    let is_read = |copy: &&Delivery| copy.stage.is_waiting() || was_given(copy);
    let editions = message.deliveries.iter().filter(is_read).map(|copy| message.edition_of(copy));
    editions.max().unwrap_or(message.edition)
}

/// Whether its recipient has or had it, as far as anybody knows.
fn was_given(copy: &Delivery) -> bool {
    !copy.given().is_empty()
}

/// How often a run was given it. What a conversation was handed that did not open counts for nothing.
fn times_given(copy: &Delivery) -> u32 {
    let routed = copy.given().iter().filter(|passed| matches!(passed.stage, Stage::Routed { .. })).count();
    u32::try_from(routed).unwrap_or(u32::MAX)
}

/// Whether these words were given to anybody, at whatever time.
fn is_given(message: &Message, edition: u32) -> bool {
    message.deliveries.iter().flat_map(Delivery::given).any(|passed| passed.edition == Some(edition))
}

/// One message as its recipient has it.
pub(crate) fn mail_of(state: &State, message: &Message, to: Recipient, now: Time) -> Option<proto_view::Mail> {
    let copy = copy_of(message, to)?;
    let (stage, mut reason, until) = stands(state, message, copy, now);
    if reason.is_none() && copy.stage.is_waiting() {
        reason = mail::queued(state, message, copy, now);
    }
    Some(proto_view::Mail {
        id: message.id,
        from: sender_name(state, &message.from),
        to: recipient_name(state, to),
        body: message.words_of(copy).to_owned(),
        thread: message.thread,
        reply_to: message.reply_to,
        priority: message.priority,
        class: message.class,
        attachments: message.attachments.clone(),
        created: message.created,
        stage: stage.to_owned(),
        reason,
        until,
        unread: is_unread(copy),
        edition: Some(message.edition_of(copy)),
    })
}

/// Not before the recipient's eyes yet, as far as anybody knows.
pub(crate) fn is_unread(copy: &Delivery) -> bool {
    match copy.stage {
        Stage::Accepted
        | Stage::Held { .. }
        | Stage::Routed { .. }
        | Stage::Handed
        | Stage::Unproven { .. }
        | Stage::Expired
        | Stage::Refused { .. }
        | Stage::Failed { .. } => true,
        Stage::Shown | Stage::Begun | Stage::Acked | Stage::Answered { .. } | Stage::Cancelled { .. } => false,
    }
}

/// How a copy stands: its stage, and of one that waits, why and until when.
fn stands(
    state: &State,
    message: &Message,
    copy: &Delivery,
    now: Time,
) -> (&'static str, Option<String>, Option<Time>) {
    if !copy.stage.is_waiting() {
        return (view::stage_name(&copy.stage), view::stage_reason(&copy.stage).map(str::to_owned), None);
    }
    match mail::hold(state, message, copy, now) {
        Some(hold) => (HELD, Some(hold.reason), hold.until),
        None => (view::stage_name(&Stage::Accepted), None, None),
    }
}

const HELD: &str = "held";

fn sender_name(state: &State, from: &Principal) -> String {
    match from {
        Principal::Agent { agent, .. } => view::label(state, *agent),
        other => other.to_string(),
    }
}

fn deliveries(state: &State, message: &Message, now: Time) -> Vec<SentDelivery> {
    let each = message.deliveries.iter().map(|copy| {
        let (stage, reason, _) = stands(state, message, copy, now);
        SentDelivery { to: recipient_name(state, copy.to), id: message.id, stage: stage.to_owned(), reason }
    });
    each.collect()
}

/// What the sender is told: of a repeated key, how far the one message has come.
fn receipt(state: &State, message: &Message, now: Time) -> Value {
    let sent = proto_view::Sent { id: message.id, thread: message.thread, deliveries: deliveries(state, message, now) };
    serde_json::to_value(sent).expect("a receipt has string keys and no fallible serializer")
}

/// Enough for the ladder several times over; what is between the first and the newest of more is forgotten.
const HISTORY_MAX: usize = 64;

pub(crate) fn apply(state: &mut State, at: Time, event: &Event) {
    match event {
        Event::Sent(Sent { message }) => state.put_message(message.clone()),
        Event::Staged(Staged { message, to, stage, evidence, edition }) => {
            state.change_copy(*message, *to, |copy| {
                // That it was let through was said of that time.
                copy.released &= !(copy.stage.is_end() && *stage == Stage::Accepted);
                copy.into_shell &= copy.released;
                // What is learned of it later does not change when it came here.
                if copy.stage != *stage {
                    copy.at = at;
                }
                copy.stage = stage.clone();
                match stage {
                    Stage::Routed { run } => copy.run = Some(*run),
                    Stage::Accepted => copy.run = None,
                    _ => {}
                }
                if copy.history.len() >= HISTORY_MAX {
                    // How often it was given is counted by these.
                    let is_counted = |passed: &Passed| matches!(passed.stage, Stage::Routed { .. });
                    let oldest = copy.history.iter().skip(1).position(|passed| !is_counted(passed));
                    copy.history.remove(oldest.map_or(1, |at| at + 1));
                }
                copy.history.push(Passed { stage: stage.clone(), at, evidence: evidence.clone(), edition: *edition });
            });
        }
        Event::Released(Released { message, to, into_shell }) => state.change_copy(*message, *to, |copy| {
            copy.released = true;
            copy.into_shell |= into_shell;
        }),
        Event::Moved(Moved { message, to, place }) => state.change_copy(*message, *to, |copy| copy.place = *place),
        Event::Edited(Edited { message, body, edition }) => change(&mut state.messages, message, |message| {
            let before = std::mem::replace(&mut message.body, body.clone());
            if let Some(edition) = edition {
                message.earlier.push(Words { edition: message.edition, body: before });
                message.edition = *edition;
            }
        }),
        Event::Filed(Filed { messages }) => messages.iter().for_each(|message| state.drop_message(*message)),
        Event::Recalled(Recalled { message }) => state.put_message(message.clone()),
    }
}
