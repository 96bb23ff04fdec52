//! Wishes: what the log wants of the world. An event opens at most one and may settle some; the wishes that are open
//! after any history are exactly those its state implies.

use amux_proto::effect::{Effect, Key, Kind};
use amux_proto::entity::{Agent, Desired, RunState};
use amux_proto::event::{Event, agent, run};
use amux_proto::{AgentId, RunNo};

use crate::state::State;

/// The wish an event opens; one with the same key replaces the open one.
pub fn opened(event: &Event) -> Option<Effect> {
    match event {
        Event::Agent(agent::Event::StartWanted(agent::StartWanted { agent, run })) => {
            Some(Effect::EnsureRunning { agent: *agent, run: *run })
        }
        Event::Agent(agent::Event::StopWanted(agent::StopWanted { agent, run, grace_ms })) => {
            Some(Effect::EnsureStopped { agent: *agent, run: *run, grace_ms: *grace_ms })
        }
        Event::Agent(
            agent::Event::Created(_)
            | agent::Event::Renamed(_)
            | agent::Event::StartDropped(_)
            | agent::Event::Removing(_)
            | agent::Event::Removed(_),
        )
        | Event::Run(_)
        | Event::Team(_)
        | Event::Workspace(_)
        | Event::Tab(_)
        | Event::Pane(_)
        | Event::Layout(_)
        | Event::Request(_)
        | Event::Message(_)
        | Event::Setting(_)
        | Event::Flow(_)
        | Event::Host(_) => None,
    }
}

/// The wishes an event settles, whether they are open or not.
pub fn settled(event: &Event) -> Vec<Key> {
    match event {
        Event::Agent(
            agent::Event::StopWanted(agent::StopWanted { agent, run, .. })
            | agent::Event::StartDropped(agent::StartDropped { agent, run }),
        )
        | Event::Run(run::Event::Started(run::Started { agent, run, .. })) => vec![running(*agent, *run)],
        Event::Run(
            run::Event::Failed(run::Failed { agent, run, .. })
            | run::Event::Exited(run::Exited { agent, run, .. })
            | run::Event::Lost(run::Lost { agent, run, .. }),
        ) => vec![running(*agent, *run), stopped(*agent, *run)],
        Event::Agent(
            agent::Event::Created(_)
            | agent::Event::Renamed(_)
            | agent::Event::StartWanted(_)
            | agent::Event::Removing(_)
            | agent::Event::Removed(_),
        )
        | Event::Team(_)
        | Event::Workspace(_)
        | Event::Tab(_)
        | Event::Pane(_)
        | Event::Layout(_)
        | Event::Request(_)
        | Event::Message(_)
        | Event::Setting(_)
        | Event::Flow(_)
        | Event::Host(_) => Vec::new(),
    }
}

/// The wishes a state implies.
pub fn open(state: &State) -> Vec<Effect> {
    state.agents.values().flat_map(of_agent).collect()
}

fn of_agent(agent: &Agent) -> impl Iterator<Item = Effect> {
    let id = agent.id;
    let live = agent.run.as_ref().and_then(|run| match run.state {
        RunState::Starting => Some(Effect::EnsureRunning { agent: id, run: run.no }),
        RunState::Stopping { grace_ms, .. } => Some(Effect::EnsureStopped { agent: id, run: run.no, grace_ms }),
        RunState::Running { .. } | RunState::Exited { .. } | RunState::Failed { .. } | RunState::Lost { .. } => None,
    });
    let next = match agent.desired {
        Desired::Running { run } if agent.run.as_ref().is_none_or(|current| current.no != run) => {
            Some(Effect::EnsureRunning { agent: id, run })
        }
        Desired::Running { .. } | Desired::Stopped => None,
    };
    live.into_iter().chain(next)
}

fn running(agent: AgentId, run: RunNo) -> Key {
    Key { kind: Kind::EnsureRunning, agent, run }
}

fn stopped(agent: AgentId, run: RunNo) -> Key {
    Key { kind: Kind::EnsureStopped, agent, run }
}
