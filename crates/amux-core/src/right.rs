//! What `policy.toml` says about who may do what to whom, and what holds where it says nothing. Judges one agent, one
//! right and one target at a time; which of them a verb needs is in [`crate::policy`].

use amux_proto::entity::{Agent, May, Right};
use amux_proto::view::{Granted, Rights};
use amux_proto::{AgentId, Name, Principal};

use crate::near::nearest;
use crate::state::State;
use crate::{bounds, view};

/// Whom an entry speaks of.
enum Who<'a> {
    Agents,
    Team(Name),
    Role(&'a str),
    One(Name, Name),
}

/// Whom it lets them do it to. What means several means the others among them.
enum To {
    Itself,
    Team,
    All,
    Nobody,
    TeamNamed(Name),
    One(Name, Name),
}

const WHO: [&str; 4] = ["agents", "team:", "role:", "name@team"];
const TO: [&str; 6] = ["self", "team", "all", "nobody", "team:", "name@team"];

fn who(text: &str) -> Result<Who<'_>, String> {
    match text.split_once(':') {
        None if text == "agents" => Ok(Who::Agents),
        Some(("team", team)) => Ok(Who::Team(name(team)?)),
        Some(("role", role)) if !role.trim().is_empty() => Ok(Who::Role(role)),
        _ => one(text).map(|(name, team)| Who::One(name, team)).ok_or_else(|| unknown("who", text, &WHO)),
    }
}

fn to(text: &str) -> Result<To, String> {
    match text.split_once(':') {
        None if text == "self" => Ok(To::Itself),
        None if text == "team" => Ok(To::Team),
        None if text == "all" => Ok(To::All),
        None if text == "nobody" => Ok(To::Nobody),
        Some(("team", team)) => Ok(To::TeamNamed(name(team)?)),
        _ => one(text).map(|(name, team)| To::One(name, team)).ok_or_else(|| unknown("to", text, &TO)),
    }
}

fn name(text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|error| format!("not the name of a team: {error}"))
}

fn one(text: &str) -> Option<(Name, Name)> {
    let (name, team) = text.split_once('@')?;
    Some((Name::new(name).ok()?, Name::new(team).ok()?))
}

fn unknown(key: &str, text: &str, known: &[&str]) -> String {
    let shown = bounds::cut_at(text, 100);
    match nearest(text, known.iter().copied()).first() {
        Some(near) => format!("`{key}` means nobody: {shown} (did you mean {near}?)"),
        None => format!("`{key}` means nobody: {shown} (one of {})", known.join(", ")),
    }
}

/// What is wrong with an entry.
pub(crate) fn check(may: &May) -> Result<(), String> {
    for (key, text) in [("who", &may.who), ("to", &may.to)] {
        if text.len() > bounds::REASON_BYTES_MAX || text.contains('\0') {
            return Err(format!("`{key}` is too long, or no text"));
        }
    }
    if may.rights.is_empty() {
        return Err("`do` is empty".into());
    }
    who(&may.who)?;
    to(&may.to)?;
    Ok(())
}

/// What is known of somebody who is spoken of.
struct Known<'a> {
    name: &'a Name,
    team: Option<&'a Name>,
    role: Option<&'a str>,
}

fn known<'a>(state: &'a State, agent: &'a Agent) -> Known<'a> {
    let team = state.teams.get(&agent.team).map(|team| &team.name);
    Known { name: &agent.name, team, role: agent.role.as_deref() }
}

impl Known<'_> {
    fn is_meant(&self, may: &May) -> bool {
        match who(&may.who) {
            Ok(Who::Agents) => true,
            Ok(Who::Team(team)) => self.team == Some(&team),
            Ok(Who::Role(role)) => self.role.is_some_and(|own| own.to_lowercase() == role.to_lowercase()),
            Ok(Who::One(name, team)) => *self.name == name && self.team == Some(&team),
            // What cannot be read is not loaded; it would give nothing.
            Err(_) => false,
        }
    }
}

/// Where an entry stands in the file, as people count.
fn entry(at: usize) -> String {
    format!("may {} of policy.toml", at + 1)
}

fn default_of(right: Right) -> String {
    format!("default {}", right.word())
}

/// To whom a right goes where nothing is said.
fn default_to(right: Right) -> To {
    match right {
        Right::Send => To::All,
        Right::Look => To::Team,
        Right::Mail
        | Right::Interrupt
        | Right::Keys
        | Right::Decide
        | Right::Start
        | Right::Stop
        | Right::Create
        | Right::Remove => To::Nobody,
    }
}

fn spoken<'a>(state: &'a State, me: &'a Agent, right: Right) -> impl Iterator<Item = (usize, &'a May)> {
    let known = known(state, me);
    let of_right = state.may.iter().enumerate().filter(move |(_, may)| may.rights.contains(&right));
    of_right.filter(move |(_, may)| known.is_meant(may))
}

/// The rule that allows it, or the one that does not.
pub(crate) type Verdict = Result<String, String>;

fn judge(state: &State, me: &Agent, right: Right, reaches: impl Fn(&To) -> bool) -> Verdict {
    let mut first = None;
    for (at, may) in spoken(state, me, right) {
        if to(&may.to).is_ok_and(|to| reaches(&to)) {
            return Ok(entry(at));
        }
        first = first.or(Some(entry(at)));
    }
    match first {
        Some(rule) => Err(rule),
        None if reaches(&default_to(right)) => Ok(default_of(right)),
        None => Err(default_of(right)),
    }
}

/// Whether `me` may do this to `target`.
pub(crate) fn on_agent(state: &State, me: &Agent, right: Right, target: &Agent) -> Verdict {
    let is_self = me.id == target.id;
    match right {
        // What is its own it knows anyway; and keys would be answers to what it itself asks.
        Right::Look | Right::Send if is_self => return Ok("own".into()),
        Right::Keys if is_self => return Err("own_keys".into()),
        Right::Decide if is_self => return Err("own_request".into()),
        _ => {}
    }
    let target_known = known(state, target);
    judge(state, me, right, |to| match to {
        To::Itself => is_self,
        To::Team => !is_self && me.team == target.team,
        To::All => !is_self,
        To::Nobody => false,
        To::TeamNamed(team) => !is_self && target_known.team == Some(team),
        To::One(name, team) => *target_known.name == *name && target_known.team == Some(team),
    })
}

/// Whether `me` may do this in a team, whoever is in it.
pub(crate) fn in_team(state: &State, me: &Agent, right: Right, team: &Name) -> Verdict {
    let own = known(state, me).team;
    judge(state, me, right, |to| match to {
        To::Team => own == Some(team),
        To::All => true,
        To::TeamNamed(named) => named == team,
        To::Itself | To::Nobody | To::One(..) => false,
    })
}

/// Whether there is anybody at all to whom `me` may do this, or the rule that says no.
pub(crate) fn anybody(state: &State, me: &Agent, right: Right) -> Verdict {
    judge(state, me, right, |to| !matches!(to, To::Nobody))
}

/// The first entry that would mean somebody with this name, team and role, and does not mean `me`: nobody makes
/// somebody who may more.
pub(crate) fn beyond(state: &State, me: &Agent, name: &Name, team: &Name, role: Option<&str>) -> Option<String> {
    let (made, own) = (Known { name, team: Some(team), role }, known(state, me));
    let mut entries = state.may.iter().enumerate();
    entries.find(|(_, may)| made.is_meant(may) && !own.is_meant(may)).map(|(at, _)| entry(at))
}

/// Whether somebody may do this to an agent. People and the server are not asked here.
pub(crate) fn reaches(state: &State, actor: &Principal, right: Right, target: AgentId) -> bool {
    let Principal::Agent { agent, .. } = actor else { return *actor == Principal::Operator };
    let (Some(me), Some(target)) = (state.agents.get(agent), state.agents.get(&target)) else { return false };
    on_agent(state, me, right, target).is_ok()
}

/// What an agent may do, and what says so.
pub(crate) fn show(state: &State, agent: &Agent) -> Rights {
    let may = Right::ALL.into_iter().flat_map(|right| {
        let mut said: Vec<Granted> = spoken(state, agent, right)
            .map(|(at, may)| Granted { right, to: may.to.clone(), rule: entry(at) })
            .collect();
        if said.is_empty() {
            let to = match default_to(right) {
                To::All => "all",
                To::Team => "team",
                _ => "nobody",
            };
            said.push(Granted { right, to: to.into(), rule: default_of(right) });
        }
        said
    });
    Rights { agent: view::label(state, agent.id), may: may.collect() }
}
