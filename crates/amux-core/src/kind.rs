//! Kinds of agents: the table the server read from what is built in and from `agents.toml`.

use amux_proto::command::kind::{Command, Load};
use amux_proto::entity::{Dialect, Kind, KindName};
use amux_proto::event::kind::{Changed, Event, Removed};
use amux_proto::{Code, Rejection};
use serde_json::{Value, json};

use crate::bounds::{self, KINDS_MAX};
use crate::case::Case;
use crate::near::nearest;
use crate::state::State;

pub(crate) fn decide(case: &mut Case<'_>, command: &Command) -> Result<Value, Rejection> {
    match command {
        Command::Load(order) => load(case, order),
    }
}

fn load(case: &mut Case<'_>, order: &Load) -> Result<Value, Rejection> {
    if order.kinds.len() > KINDS_MAX {
        return Err(bounds::limit("kinds", KINDS_MAX));
    }
    for (name, kind) in &order.kinds {
        let name = KindName(name.clone());
        if case.state.kinds.get(&name) != Some(kind) {
            case.emit(Event::Changed(Changed { name, kind: Box::new(kind.clone()) }));
        }
    }
    for name in case.state.kinds.keys().filter(|name| !order.kinds.contains_key(&name.0)) {
        case.emit(Event::Removed(Removed { name: name.clone() }));
    }
    Ok(json!({ "kinds": order.kinds.len() }))
}

/// How agents of this kind are run. `shell`, `cmd` and `tmux:TARGET` are words of the language and need no table.
pub fn find(state: &State, name: &KindName) -> Result<Kind, Rejection> {
    if let Some(kind) = state.kinds.get(name) {
        return Ok(kind.clone());
    }
    let dialect = match name.0.as_str() {
        KindName::SHELL | KindName::CMD => Dialect::Pty,
        KindName::TMUX => Dialect::Tmux,
        unknown => {
            let known = state.kinds.keys().map(|name| name.0.as_str()).chain([KindName::SHELL, KindName::CMD]);
            let near = nearest(unknown, known.clone());
            let hint = match near.first() {
                Some(near) => format!("did you mean {near}?"),
                None => format!("one of {}", known.collect::<Vec<_>>().join(", ")),
            };
            let shown: String = unknown.chars().take(64).collect();
            return Err(Rejection::new(Code::BadArgs, format!("no such kind of agent: {shown}")).hint(hint));
        }
    };
    Ok(Kind {
        dialect,
        program: None,
        args: Vec::new(),
        new_args: Vec::new(),
        resume_args: Vec::new(),
        model_args: Vec::new(),
        mode_args: Vec::new(),
        mcp_args: Vec::new(),
        env: std::collections::BTreeMap::new(),
        unset: Vec::new(),
        install: None,
        about: String::new(),
    })
}

pub(crate) fn apply(state: &mut State, event: &Event) {
    match event {
        Event::Changed(Changed { name, kind }) => {
            state.kinds.insert(name.clone(), (**kind).clone());
        }
        Event::Removed(Removed { name }) => {
            state.kinds.remove(name);
        }
    }
}
