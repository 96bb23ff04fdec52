//! What waits for a human. A request lives from its opening until its decision has reached the agent, or until the
//! agent asks no more; the events keep what was said.

use std::collections::BTreeSet;

use amux_proto::command::request::{Command, Decide};
use amux_proto::entity::{Answer, Request, RequestKind, RequestOption};
use amux_proto::event::request::{Decided, Event, Opened, Settled, Withdrawn};
use amux_proto::transcript::Ask;
use amux_proto::{AgentId, Code, Principal, Rejection, RequestId, RunNo};
use serde_json::{Value, json};

use crate::bounds::{self, DETAIL_BYTES_MAX, OPTIONS_MAX, REQUESTS_OF_AGENT_MAX, bad};
use crate::case::Case;
use crate::state::{FIRST_REV, State, change};
use crate::{message, resolve, rule};

pub(crate) fn decide(case: &mut Case<'_>, command: &Command) -> Result<Value, Rejection> {
    match command {
        Command::Decide(order) => decide_one(case, order),
    }
}

/// An agent asks. Said again, as after a crash, nothing happens. What is too much of it is cut: an observation is not
/// refused, and an agent that waits must be seen to wait.
pub(crate) fn open(case: &mut Case<'_>, agent: AgentId, run: RunNo, id: RequestId, ask: &Ask) {
    let state = case.state;
    let open = state.requests.values().filter(|known| known.agent == agent && known.kind != RequestKind::HeldMessage);
    let open = open.count();
    if state.requests.contains_key(&id) || open >= REQUESTS_OF_AGENT_MAX {
        return;
    }
    let mut seen = BTreeSet::new();
    let options = ask.options.iter().filter(|option| seen.insert(option.id.clone())).take(OPTIONS_MAX);
    let request = Request {
        id,
        kind: ask.kind,
        agent,
        run,
        title: bounds::cut(&ask.title),
        detail: bounds::cut_at(&ask.detail, DETAIL_BYTES_MAX).to_owned(),
        options: options.map(|option| RequestOption { label: bounds::cut(&option.label), ..option.clone() }).collect(),
        created: case.ctx.now,
        expires: None,
        ask: ask.id.clone(),
        tool: ask.tool.clone(),
        // Never cut: a rule matches the whole of it.
        subject: ask.subject.clone(),
        decided: None,
        rev: FIRST_REV,
    };
    case.emit(Event::Opened(Opened { request }));
    if ask.kind == RequestKind::Permission
        && let Some((answer, rule)) = rule::answer(state, agent, ask)
    {
        case.emit(Event::Decided(Decided { request: id, answer, by: Principal::System, rule: Some(rule) }));
    }
}

/// The agent does not ask any more, for whatever reason. No run speaks for the questions of another.
pub(crate) fn close(case: &mut Case<'_>, by: (AgentId, RunNo), id: RequestId, why: &str) {
    let asked = case.state.requests.get(&id).filter(|request| (request.agent, request.run) == by);
    let Some(request) = asked else { return };
    case.emit(match request.decided {
        Some(_) => Event::Settled(Settled { request: id }),
        None => Event::Withdrawn(Withdrawn { request: id, why: bounds::cut(why) }),
    });
}

fn decide_one(case: &mut Case<'_>, order: &Decide) -> Result<Value, Rejection> {
    let request = resolve::request(case.state, &order.request)?;
    case.expect(request.rev)?;
    if request.decided.is_some() {
        return Err(Rejection::new(Code::Conflict, format!("the request is decided already: {}", request.id)));
    }
    if request.expires.is_some_and(|expires| expires <= case.ctx.now) {
        return Err(Rejection::new(Code::Conflict, format!("the request has expired: {}", request.id)));
    }
    check_answer(request, &order.answer)?;
    case.emit(Event::Decided(Decided {
        request: request.id,
        answer: order.answer.clone(),
        by: case.ctx.actor.clone(),
        rule: None,
    }));
    match request.kind {
        RequestKind::Permission | RequestKind::Question | RequestKind::Login => {}
        // No agent waits for it.
        RequestKind::HeldMessage => {
            message::decided(case, request, &order.answer);
            case.emit(Event::Settled(Settled { request: request.id }));
        }
    }
    Ok(json!({ "request": request.id }))
}

fn check_answer(request: &Request, answer: &Answer) -> Result<(), Rejection> {
    let ids = || request.options.iter().map(|option| option.id.clone()).collect::<Vec<_>>();
    match (answer, request.kind) {
        (Answer::Option { option, text }, _) => {
            bounds::at_most("the answer", text.as_ref().map_or(0, String::len), DETAIL_BYTES_MAX)?;
            if request.options.iter().any(|known| known.id == *option) {
                return Ok(());
            }
            let shown: String = option.chars().take(100).collect();
            Err(bad(format!("no such option: {shown}")).hint(format!("one of {}", ids().join(", "))))
        }
        (Answer::Text { text }, RequestKind::Question | RequestKind::Login) => {
            bounds::at_most("the answer", text.len(), DETAIL_BYTES_MAX)
        }
        (Answer::Text { .. }, RequestKind::Permission | RequestKind::HeldMessage) => {
            let bare = format!("an option is needed, not a text: {}", request.id);
            Err(bad(bare).hint(format!("one of {}", ids().join(", "))))
        }
    }
}

pub(crate) fn apply(state: &mut State, event: &Event) {
    match event {
        Event::Opened(Opened { request }) => {
            state.requests.insert(request.id, request.clone());
        }
        Event::Decided(Decided { request, answer, .. }) => {
            change(&mut state.requests, request, |request| request.decided = Some(answer.clone()));
        }
        Event::Withdrawn(Withdrawn { request, .. }) | Event::Settled(Settled { request }) => {
            state.requests.remove(request);
        }
    }
}
