//! Teams, and the one long piece of work about them: a team with running agents goes when the last of them has ended.

use amux_proto::command::team::{Command, Create, Remove, Rename};
use amux_proto::entity::{Agent, Flow, FlowState, Team};
use amux_proto::event::flow;
use amux_proto::event::team::{Created, Event, Removed, Removing, Renamed};
use amux_proto::{Code, FlowId, Name, Rejection, TeamId, Time};
use serde_json::{Value, json};

use crate::bounds::{self, TEAMS_MAX};
use crate::case::Case;
use crate::state::{FIRST_REV, State, change};
use crate::{agent, resolve};

pub(crate) fn decide(case: &mut Case<'_>, command: &Command) -> Result<Value, Rejection> {
    match command {
        Command::Create(order) => create(case, order),
        Command::Rename(order) => rename(case, order),
        Command::Remove(order) => remove(case, order),
    }
}

/// The team of agents whose team nobody named.
pub(crate) fn default_name() -> Name {
    Name::new("default").expect("`default` is a name")
}

/// Made on demand: nobody has to know about teams to have an agent.
pub(crate) fn create_default(case: &mut Case<'_>) -> Result<TeamId, Rejection> {
    if case.state.teams.len() >= TEAMS_MAX {
        return Err(bounds::limit("teams", TEAMS_MAX));
    }
    let team = TeamId(case.make_id());
    case.emit(Event::Created(Created { team, name: default_name() }));
    Ok(team)
}

fn create(case: &mut Case<'_>, order: &Create) -> Result<Value, Rejection> {
    if case.state.teams.len() >= TEAMS_MAX {
        return Err(bounds::limit("teams", TEAMS_MAX));
    }
    if let Some(namesake) = case.state.team_named(&order.name) {
        return Err(taken(namesake));
    }
    let team = match order.id {
        Some(id) if case.state.teams.contains_key(&id) => {
            return Err(Rejection::new(Code::Exists, format!("a team has this id already: {id}")));
        }
        Some(id) => id,
        None => TeamId(case.make_id()),
    };
    case.emit(Event::Created(Created { team, name: order.name.clone() }));
    Ok(json!({ "id": team, "name": order.name }))
}

fn rename(case: &mut Case<'_>, order: &Rename) -> Result<Value, Rejection> {
    let team = resolve::team(case.state, &order.team)?;
    case.expect(team.rev)?;
    if team.name != order.name {
        if let Some(namesake) = case.state.team_named(&order.name) {
            return Err(taken(namesake));
        }
        case.emit(Event::Renamed(Renamed { team: team.id, name: order.name.clone() }));
    }
    Ok(json!({ "id": team.id, "name": order.name }))
}

fn remove(case: &mut Case<'_>, order: &Remove) -> Result<Value, Rejection> {
    let team = resolve::team(case.state, &order.team)?;
    case.expect(team.rev)?;
    let agents: Vec<&Agent> = case.state.agents_of(team.id).collect();
    let (live, resting): (Vec<&Agent>, Vec<&Agent>) = agents.iter().copied().partition(|agent| agent::is_live(agent));
    let answer = json!({ "id": team.id, "name": team.name, "removed": live.is_empty(), "waiting": live.len() });
    if team.removing {
        return Ok(answer);
    }
    if !agents.is_empty() && !order.with_agents {
        return Err(Rejection::new(Code::Conflict, format!("the team has {} agents: {}", agents.len(), team.name))
            .hint(format!("agentmux team rm {} --with-agents", team.name)));
    }
    if live.is_empty() {
        resting.into_iter().for_each(|agent| agent::remove(case, agent, "its team was removed"));
        case.emit(Event::Removed(Removed { team: team.id }));
        return Ok(answer);
    }
    case.emit(Event::Removing(Removing { team: team.id }));
    resting.into_iter().for_each(|agent| agent::remove(case, agent, "its team was removed"));
    live.iter().filter(|agent| !agent.removing).for_each(|agent| agent::begin_removal(case, agent));
    let state = FlowState::RemovingTeam { team: team.id, waiting: live.iter().map(|agent| agent.id).collect() };
    let flow = FlowId(case.make_id());
    let cause = case.ctx.actor.clone();
    case.emit(flow::Event::Started(flow::Started { flow, cause, state }));
    Ok(answer)
}

/// An agent has gone by itself; a team that waits for it is one step further, or gone too.
pub(crate) fn has_lost(case: &mut Case<'_>, agent: &Agent) {
    for flow in case.state.flows.values() {
        let FlowState::RemovingTeam { team, waiting } = &flow.state;
        if !waiting.contains(&agent.id) {
            continue;
        }
        let waiting: Vec<_> = waiting.iter().copied().filter(|id| *id != agent.id).collect();
        if waiting.is_empty() {
            case.emit(flow::Event::Finished(flow::Finished { flow: flow.id }));
            case.emit(Event::Removed(Removed { team: *team }));
        } else {
            let state = FlowState::RemovingTeam { team: *team, waiting };
            case.emit(flow::Event::Advanced(flow::Advanced { flow: flow.id, state }));
        }
    }
}

fn taken(namesake: &Team) -> Rejection {
    Rejection::new(Code::Exists, format!("a team has this name already: {}", namesake.name))
        .details(json!({ "id": namesake.id }))
}

pub(crate) fn apply(state: &mut State, at: Time, event: &Event) {
    match event {
        Event::Created(Created { team, name }) => {
            state.put_team(Team { id: *team, name: name.clone(), created: at, removing: false, rev: FIRST_REV });
        }
        Event::Renamed(Renamed { team, name }) => {
            if let Some(found) = state.teams.get(team) {
                let renamed = Team { name: name.clone(), rev: found.rev.next(), ..found.clone() };
                state.put_team(renamed);
            }
        }
        Event::Removing(Removing { team }) => change(&mut state.teams, team, |team| team.removing = true),
        Event::Removed(Removed { team }) => state.drop_team(*team),
    }
}

pub(crate) fn apply_flow(state: &mut State, at: Time, event: &flow::Event) {
    match event {
        flow::Event::Started(flow::Started { flow, cause, state: begun }) => {
            let flow = Flow { id: *flow, started: at, cause: cause.clone(), state: begun.clone(), rev: FIRST_REV };
            state.flows.insert(flow.id, flow);
        }
        flow::Event::Advanced(flow::Advanced { flow, state: reached }) => {
            change(&mut state.flows, flow, |flow| flow.state = reached.clone());
        }
        flow::Event::Finished(flow::Finished { flow }) => {
            state.flows.remove(flow);
        }
    }
}
