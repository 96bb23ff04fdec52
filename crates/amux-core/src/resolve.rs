//! What a reference means, at the moment of the decision: a full id, a name, or the end of an id. A reference that
//! means nothing is answered with the nearest names, one that means several things with all of them.

use std::collections::BTreeMap;

use amux_proto::entity::{Agent, Message, Pane, Request, Tab, Team, Workspace};
use amux_proto::{Code, MessageId, Name, Principal, Rejection};
use serde_json::json;
use uuid::Uuid;

use crate::near::nearest;
use crate::state::State;
use crate::{sight, view};

/// Shorter ends of ids are too easily mistyped into another one.
const SUFFIX_HEX_MIN: usize = 4;

/// Candidates listed for an ambiguous reference.
const CANDIDATES_MAX: usize = 20;

/// `name@team`, `name` where one agent has it, an id or its end.
pub fn agent<'a>(state: &'a State, reference: &str) -> Result<&'a Agent, Rejection> {
    let label = |agent: &Agent| view::label(state, agent.id);
    if let Some(agent) = by_id(&state.agents, reference) {
        return Ok(agent);
    }
    let named: Vec<&Agent> = match reference.split_once('@') {
        Some((name, team)) => match (Name::new(name), Name::new(team)) {
            (Ok(name), Ok(team)) => {
                let team = state.team_named(&team).map(|team| team.id);
                state.agents_named(&name).filter(|agent| Some(agent.team) == team).collect()
            }
            _ => Vec::new(),
        },
        None => Name::new(reference).map(|name| state.agents_named(&name).collect()).unwrap_or_default(),
    };
    let found = if named.is_empty() { by_suffix(&state.agents, reference) } else { named };
    one("agent", reference, found, label, || {
        let full = state.agents.values().map(label).collect();
        let near = if reference.contains('@') { near_of(reference, full) } else { near_names(state, reference) };
        (near, Some("agentmux ls --all"))
    })
}

pub fn team<'a>(state: &'a State, reference: &str) -> Result<&'a Team, Rejection> {
    if let Some(team) = by_id(&state.teams, reference) {
        return Ok(team);
    }
    if let Some(team) = Name::new(reference).ok().and_then(|name| state.team_named(&name)) {
        return Ok(team);
    }
    let found = by_suffix(&state.teams, reference);
    one(
        "team",
        reference,
        found,
        |team| team.name.to_string(),
        || {
            let names = state.teams.values().map(|team| team.name.to_string()).collect();
            (near_of(reference, names), None)
        },
    )
    .map_err(|rejection| match Name::new(reference) {
        Ok(name) if rejection.code == Code::NotFound && rejection.hint.is_none() => {
            rejection.hint(format!("agentmux team create {name}"))
        }
        Ok(_) | Err(_) => rejection,
    })
}

/// Workspaces are found by their name too, where one has it.
pub fn workspace<'a>(state: &'a State, reference: &str) -> Result<&'a Workspace, Rejection> {
    named("workspace", &state.workspaces, reference, |workspace| &workspace.name, "agentmux workspace ls")
}

/// Tabs too.
pub fn tab<'a>(state: &'a State, reference: &str) -> Result<&'a Tab, Rejection> {
    named("tab", &state.tabs, reference, |tab| &tab.name, "agentmux tab ls")
}

pub fn pane<'a>(state: &'a State, reference: &str) -> Result<&'a Pane, Rejection> {
    plain("pane", &state.panes, reference, |pane| pane.id.to_string(), "agentmux pane ls")
}

pub fn request<'a>(state: &'a State, reference: &str) -> Result<&'a Request, Rejection> {
    plain("request", &state.requests, reference, |request| request.id.to_string(), "agentmux requests")
}

/// Of the messages that `actor` may read: of the others nobody is told that they are there.
pub fn message<'a>(state: &'a State, actor: &Principal, reference: &str) -> Result<&'a Message, Rejection> {
    let is_read = |message: &&'a Message| sight::reads(state, actor, message);
    if let Some(message) = by_id(&state.messages, reference).filter(is_read) {
        return Ok(message);
    }
    let found = by_suffix(&state.messages, reference).into_iter().filter(is_read).collect();
    let label = |message: &Message| message.id.to_string();
    one("message", reference, found, label, || (Vec::new(), Some("agentmux inbox --all")))
}

/// A message of today, or one of these old ones.
pub fn message_or_old<'a>(
    state: &'a State,
    old: &'a [Message],
    actor: &Principal,
    reference: &str,
) -> Result<&'a Message, Rejection> {
    let why = match message(state, actor, reference) {
        Err(why) if why.code == Code::NotFound => why,
        known => return known,
    };
    let read: Vec<&Message> = old.iter().filter(|message| sight::reads(state, actor, message)).collect();
    let is_it = |message: &&&Message| Uuid::parse_str(reference).is_ok_and(|id| message.id == MessageId(id));
    if let Some(exact) = read.iter().find(is_it) {
        return Ok(exact);
    }
    let found: Vec<&Message> = read.into_iter().filter(|message| ends_with(&message.id, reference)).collect();
    match found.is_empty() {
        true => Err(why),
        false => one("message", reference, found, |message| message.id.to_string(), || (Vec::new(), None)),
    }
}

/// Things with names that several may have.
fn named<'a, K: Ord + Identity + std::fmt::Display, T>(
    what: &str,
    map: &'a BTreeMap<K, T>,
    reference: &str,
    name: impl Fn(&T) -> &String,
    list: &'static str,
) -> Result<&'a T, Rejection> {
    if let Some(thing) = by_id(map, reference) {
        return Ok(thing);
    }
    let sought = reference.to_lowercase();
    let has_it: Vec<_> = map.iter().filter(|(_, thing)| name(thing).to_lowercase() == sought).collect();
    let found = if has_it.is_empty() { pairs_by_suffix(map, reference) } else { has_it };
    let names = || map.values().map(|thing| name(thing).clone()).collect();
    let label = |(id, thing): &(&K, &T)| format!("{} ({id})", name(thing));
    one(what, reference, found.iter().collect(), label, || (near_of(reference, names()), Some(list)))
        .map(|(_, thing)| *thing)
}

/// Things without names.
fn plain<'a, K: Ord + Identity, T>(
    what: &str,
    map: &'a BTreeMap<K, T>,
    reference: &str,
    label: impl Fn(&T) -> String,
    list: &'static str,
) -> Result<&'a T, Rejection> {
    if let Some(thing) = by_id(map, reference) {
        return Ok(thing);
    }
    one(what, reference, by_suffix(map, reference), label, || (Vec::new(), Some(list)))
}

fn by_id<'a, K: Ord + Identity, T>(map: &'a BTreeMap<K, T>, reference: &str) -> Option<&'a T> {
    Uuid::parse_str(reference).ok().and_then(|id| map.get(&K::of(id)))
}

fn by_suffix<'a, K: Ord + Identity, T>(map: &'a BTreeMap<K, T>, reference: &str) -> Vec<&'a T> {
    pairs_by_suffix(map, reference).into_iter().map(|(_, thing)| thing).collect()
}

fn pairs_by_suffix<'a, K: Ord + Identity, T>(map: &'a BTreeMap<K, T>, reference: &str) -> Vec<(&'a K, &'a T)> {
    let Some(suffix) = suffix(reference) else { return Vec::new() };
    let Ok(wanted) = u128::from_str_radix(&suffix, 16) else { return Vec::new() };
    // A whole id was looked up already, and of many things nobody looks through all for one that is not there.
    let Some(mask) = 1_u128.checked_shl(4 * suffix.len() as u32).map(|bit| bit - 1) else { return Vec::new() };
    map.iter().filter(|(id, _)| id.bits() & mask == wanted).collect()
}

/// The hex digits of a reference that can be the end of an id.
pub fn suffix(reference: &str) -> Option<String> {
    let suffix: String = reference.chars().filter(|c| *c != '-').flat_map(char::to_lowercase).collect();
    let is_one = (SUFFIX_HEX_MIN..=32).contains(&suffix.len()) && suffix.chars().all(|c| c.is_ascii_hexdigit());
    is_one.then_some(suffix)
}

fn ends_with(id: &MessageId, reference: &str) -> bool {
    suffix(reference).is_some_and(|suffix| id.0.simple().to_string().ends_with(&suffix))
}

fn one<'a, T>(
    what: &str,
    reference: &str,
    found: Vec<&'a T>,
    label: impl Fn(&T) -> String,
    otherwise: impl FnOnce() -> (Vec<String>, Option<&'static str>),
) -> Result<&'a T, Rejection> {
    let shown: String = reference.chars().take(100).collect();
    match found[..] {
        [only] => Ok(only),
        [] => {
            let (near, list) = otherwise();
            let rejection = Rejection::new(Code::NotFound, format!("no such {what}: {shown}"));
            let rejection = match (near.first(), list) {
                (Some(nearest), _) => rejection.hint(format!("did you mean {nearest}?")),
                (None, Some(list)) => rejection.hint(list),
                (None, None) => rejection,
            };
            Err(rejection.details(json!({ "near": near })))
        }
        _ => {
            let candidates: Vec<_> = found.iter().take(CANDIDATES_MAX).map(|thing| label(thing)).collect();
            Err(Rejection::new(Code::Ambiguous, format!("several {what}s are meant by this: {shown}"))
                .hint(format!("one of {}", candidates.join(", ")))
                .details(json!({ "candidates": candidates })))
        }
    }
}

/// Labels of the agents whose bare name is near.
fn near_names(state: &State, reference: &str) -> Vec<String> {
    let near = nearest(reference, state.agents.values().map(|agent| agent.name.as_str()));
    near.into_iter()
        .filter_map(|name| Name::new(name).ok())
        .flat_map(|name| state.agents_named(&name).map(|agent| view::label(state, agent.id)).collect::<Vec<_>>())
        .collect()
}

fn near_of(reference: &str, known: Vec<String>) -> Vec<String> {
    nearest(reference, known.iter().map(String::as_str)).into_iter().map(str::to_owned).collect()
}

/// An id as a number, for comparing its end.
trait Identity {
    fn of(id: Uuid) -> Self;
    fn bits(&self) -> u128;
}

macro_rules! identity {
    ($( $Id:ident )*) => { $(
        impl Identity for amux_proto::$Id {
            fn of(id: Uuid) -> Self {
                Self(id)
            }

            fn bits(&self) -> u128 {
                self.0.as_u128()
            }
        }
    )* };
}

identity!(AgentId TeamId WorkspaceId TabId PaneId RequestId MessageId);
