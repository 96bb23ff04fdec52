//! What waits for a human. A request lives from its opening to its decision; the events keep what was said.

use std::collections::BTreeSet;

use amux_proto::command::request::{Command, Decide, Open, Withdraw};
use amux_proto::entity::{Answer, Request, RequestKind};
use amux_proto::event::request::{Decided, Event, Opened, Withdrawn};
use amux_proto::{Code, Principal, Rejection};
use serde_json::{Value, json};

use crate::bounds::{self, DETAIL_BYTES_MAX, OPTIONS_MAX, REQUESTS_OF_AGENT_MAX, bad};
use crate::case::Case;
use crate::policy::denied;
use crate::state::{FIRST_REV, State};
use crate::{resolve, run};

pub(crate) fn decide(case: &mut Case<'_>, command: &Command) -> Result<Value, Rejection> {
    match command {
        Command::Open(order) => open(case, order),
        Command::Decide(order) => decide_one(case, order),
        Command::Withdraw(order) => Ok(withdraw(case, order)),
    }
}

fn open(case: &mut Case<'_>, order: &Open) -> Result<Value, Rejection> {
    let Open { id, agent, run, kind, title, detail, options, expires } = order;
    let state = case.state;
    if state.requests.contains_key(id) || run::live(state, *agent, *run).is_none() {
        return Ok(run::stale());
    }
    if state.requests.values().filter(|request| request.agent == *agent).count() >= REQUESTS_OF_AGENT_MAX {
        return Err(bounds::limit("requests of one agent", REQUESTS_OF_AGENT_MAX));
    }
    bounds::at_most("the detail", detail.len(), DETAIL_BYTES_MAX)?;
    if options.len() > OPTIONS_MAX {
        return Err(bounds::limit("options", OPTIONS_MAX));
    }
    if options.iter().map(|option| &option.id).collect::<BTreeSet<_>>().len() != options.len() {
        return Err(bad(format!("two options have the same id: {id}")));
    }
    for option in options {
        bounds::at_most("an option", option.id.len() + option.label.len(), bounds::REASON_BYTES_MAX)?;
    }
    let request = Request {
        id: *id,
        kind: *kind,
        agent: *agent,
        run: *run,
        title: bounds::cut(title),
        detail: detail.clone(),
        options: options.clone(),
        created: case.ctx.now,
        expires: *expires,
        rev: FIRST_REV,
    };
    case.emit(Event::Opened(Opened { request }));
    Ok(run::fresh())
}

fn decide_one(case: &mut Case<'_>, order: &Decide) -> Result<Value, Rejection> {
    let request = resolve::request(case.state, &order.request)?;
    case.expect(request.rev)?;
    let actor = &case.ctx.actor;
    if matches!(actor, Principal::Agent { agent, .. } if *agent == request.agent) {
        return Err(denied("own_request", actor, "request.decide"));
    }
    if request.expires.is_some_and(|expires| expires <= case.ctx.now) {
        return Err(Rejection::new(Code::Conflict, format!("the request has expired: {}", request.id)));
    }
    check_answer(request, &order.answer)?;
    case.emit(Event::Decided(Decided { request: request.id, answer: order.answer.clone(), by: actor.clone() }));
    Ok(json!({ "request": request.id }))
}

fn check_answer(request: &Request, answer: &Answer) -> Result<(), Rejection> {
    let ids = || request.options.iter().map(|option| option.id.clone()).collect::<Vec<_>>();
    match (answer, request.kind) {
        (Answer::Option { option }, _) => {
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

fn withdraw(case: &mut Case<'_>, order: &Withdraw) -> Value {
    if !case.state.requests.contains_key(&order.request) {
        return run::stale();
    }
    case.emit(Event::Withdrawn(Withdrawn { request: order.request, why: bounds::cut(&order.why) }));
    run::fresh()
}

pub(crate) fn apply(state: &mut State, event: &Event) {
    match event {
        Event::Opened(Opened { request }) => {
            state.requests.insert(request.id, request.clone());
        }
        Event::Decided(Decided { request, .. }) | Event::Withdrawn(Withdrawn { request, .. }) => {
            state.requests.remove(request);
        }
    }
}
