//! Observations of processes. Only the newest run can change anything; what is reported of another one is answered
//! as stale and leaves no event. When a run ends, what hung on it ends too: its requests, a removal that waited.

pub mod machine;

use amux_proto::command::run::{self as order, Command};
use amux_proto::entity::{Agent, Desired, Run, RunState};
use amux_proto::event::request::{self, Withdrawn};
use amux_proto::event::run::{Event, Exited, Failed, Lost, Started};
use amux_proto::{AgentId, Code, Rejection, RunNo, Time};
use serde_json::{Value, json};

use crate::bounds::cut;
use crate::case::Case;
use crate::run::machine::Step;
use crate::state::{State, change};
use crate::{agent, team};

pub(crate) fn decide(case: &mut Case<'_>, command: &Command) -> Result<Value, Rejection> {
    match command {
        Command::Started(order) => started(case, order),
        Command::Failed(order::Failed { agent, run, error }) => {
            let error = cut(error);
            let step = Step::Failed { error: error.clone() };
            ended(case, *agent, *run, step, Event::Failed(Failed { agent: *agent, run: *run, error }))
        }
        Command::Exited(order::Exited { agent, run, exit }) => {
            let step = Step::Exited { exit: exit.clone() };
            ended(case, *agent, *run, step, Event::Exited(Exited { agent: *agent, run: *run, exit: exit.clone() }))
        }
        Command::Lost(order::Lost { agent, run, why }) => {
            let why = cut(why);
            let step = Step::Lost { why: why.clone() };
            ended(case, *agent, *run, step, Event::Lost(Lost { agent: *agent, run: *run, why }))
        }
    }
}

fn started(case: &mut Case<'_>, order: &order::Started) -> Result<Value, Rejection> {
    let order::Started { agent, run, process } = *order;
    let Some((_, live)) = live(case.state, agent, run) else { return Ok(stale()) };
    // A report repeated after a crash says nothing new.
    if live.process() != Some(process) {
        legal(live, Step::Started { process })?;
        case.emit(Event::Started(Started { agent, run, process }));
    }
    Ok(fresh())
}

fn ended(case: &mut Case<'_>, id: AgentId, run: RunNo, step: Step, event: Event) -> Result<Value, Rejection> {
    let Some((agent, live)) = live(case.state, id, run) else { return Ok(stale()) };
    legal(live, step)?;
    case.emit(event);
    if agent.removing {
        agent::remove(case, agent, "it was removed");
        team::has_lost(case, agent);
    } else {
        let asked = case.state.requests.values().filter(|request| request.agent == id && request.run == run);
        for request in asked {
            let why = "the run has ended".to_owned();
            case.emit(request::Event::Withdrawn(Withdrawn { request: request.id, why }));
        }
    }
    Ok(fresh())
}

/// The run an observation is of, while it lives.
pub(crate) fn live(state: &State, agent: AgentId, run: RunNo) -> Option<(&Agent, &Run)> {
    let agent = state.agents.get(&agent)?;
    let live = agent.run.as_ref().filter(|current| current.no == run && current.is_live())?;
    Some((agent, live))
}

fn legal(run: &Run, step: Step) -> Result<RunState, Rejection> {
    machine::next(&run.state, step).map_err(|illegal| Rejection::new(Code::Conflict, illegal.to_string()))
}

pub(crate) fn stale() -> Value {
    json!({ "stale": true })
}

pub(crate) fn fresh() -> Value {
    json!({ "stale": false })
}

pub(crate) fn apply(state: &mut State, at: Time, event: &Event) {
    match event {
        Event::Started(Started { agent, run, process }) => {
            change(&mut state.agents, agent, |agent| step(agent, *run, Step::Started { process: *process }, at));
        }
        Event::Failed(Failed { agent, run, error }) => {
            change(&mut state.agents, agent, |agent| end(agent, *run, Step::Failed { error: error.clone() }, at));
        }
        Event::Exited(Exited { agent, run, exit }) => {
            change(&mut state.agents, agent, |agent| end(agent, *run, Step::Exited { exit: exit.clone() }, at));
        }
        Event::Lost(Lost { agent, run, why }) => {
            change(&mut state.agents, agent, |agent| end(agent, *run, Step::Lost { why: why.clone() }, at));
        }
    }
}

/// One step of the newest run; an event about another run is counted and changes nothing.
pub(crate) fn step(agent: &mut Agent, no: RunNo, step: Step, at: Time) {
    let Some(run) = agent.run.as_mut().filter(|run| run.no == no) else { return };
    if let Ok(next) = machine::next(&run.state, step) {
        run.state = next;
        run.since = at;
    }
}

/// The run has ended; a newer one that was wanted meanwhile begins, and nothing begins by itself.
fn end(agent: &mut Agent, no: RunNo, last: Step, at: Time) {
    step(agent, no, last, at);
    match agent.desired {
        Desired::Running { run } if run > no => agent.run = Some(Run { no: run, state: RunState::Starting, since: at }),
        Desired::Running { .. } | Desired::Stopped => agent.desired = Desired::Stopped,
    }
}
