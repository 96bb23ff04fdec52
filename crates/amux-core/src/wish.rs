//! Wishes: what the log wants of the world. Events open and settle them; the wishes that are open after any history
//! are exactly those its state implies.

use amux_proto::effect::{Effect, Key, Kind};
use amux_proto::entity::{Agent, Desired, Message, Recipient, RunState, Stage};
use amux_proto::event::{Event, agent, message, request, run, turn};
use amux_proto::{AgentId, MessageId, RunNo};

use crate::row;
use crate::state::State;

/// The wishes an event opens; one with the same key replaces the open one.
pub fn opened(event: &Event) -> Vec<Effect> {
    match event {
        Event::Agent(agent::Event::StartWanted(agent::StartWanted { agent, run })) => {
            vec![Effect::EnsureRunning { agent: *agent, run: *run }]
        }
        Event::Agent(agent::Event::StopWanted(agent::StopWanted { agent, run, grace_ms, .. })) => {
            vec![Effect::EnsureStopped { agent: *agent, run: *run, grace_ms: *grace_ms }]
        }
        Event::Request(request::Event::Decided(request::Decided { request, .. })) => {
            vec![Effect::Answer { request: *request }]
        }
        Event::Message(message::Event::Sent(message::Sent { message })) => of_message(message).collect(),
        Event::Message(message::Event::Staged(message::Staged { message, to, stage, .. })) => {
            waiting(*message, *to, stage).into_iter().collect()
        }
        Event::Agent(
            agent::Event::Created(_)
            | agent::Event::Renamed(_)
            | agent::Event::Defined(_)
            | agent::Event::Described(_)
            | agent::Event::MailChanged(_)
            | agent::Event::Drafted(_)
            | agent::Event::StartDropped(_)
            | agent::Event::Removing(_)
            | agent::Event::Removed(_),
        )
        | Event::Request(request::Event::Opened(_) | request::Event::Withdrawn(_) | request::Event::Settled(_))
        | Event::Message(
            message::Event::Released(_)
            | message::Event::Moved(_)
            | message::Event::Edited(_)
            | message::Event::Filed(_)
            | message::Event::Recalled(_),
        )
        | Event::Run(_)
        | Event::Session(_)
        | Event::Turn(_)
        | Event::Team(_)
        | Event::Workspace(_)
        | Event::Tab(_)
        | Event::Pane(_)
        | Event::Layout(_)
        | Event::Setting(_)
        | Event::Flow(_)
        | Event::Host(_)
        | Event::Kind(_)
        | Event::Policy(_) => Vec::new(),
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
        Event::Request(
            request::Event::Withdrawn(request::Withdrawn { request, .. })
            | request::Event::Settled(request::Settled { request }),
        ) => vec![Key::answer(*request)],
        Event::Message(message::Event::Staged(message::Staged { message, to, stage, .. })) => match to {
            Recipient::Agent { agent } if waiting(*message, *to, stage).is_none() => {
                vec![Key::deliver(*agent, *message)]
            }
            Recipient::Agent { .. } | Recipient::Operator => Vec::new(),
        },
        Event::Agent(
            agent::Event::Created(_)
            | agent::Event::Renamed(_)
            | agent::Event::Defined(_)
            | agent::Event::Described(_)
            | agent::Event::MailChanged(_)
            | agent::Event::Drafted(_)
            | agent::Event::StartWanted(_)
            | agent::Event::Removing(_)
            | agent::Event::Removed(_),
        )
        | Event::Request(request::Event::Opened(_) | request::Event::Decided(_))
        | Event::Message(
            message::Event::Sent(_)
            | message::Event::Released(_)
            | message::Event::Moved(_)
            | message::Event::Edited(_)
            | message::Event::Filed(_)
            | message::Event::Recalled(_),
        )
        | Event::Run(run::Event::Active(_))
        | Event::Session(_)
        | Event::Turn(_)
        | Event::Team(_)
        | Event::Workspace(_)
        | Event::Tab(_)
        | Event::Pane(_)
        | Event::Layout(_)
        | Event::Setting(_)
        | Event::Flow(_)
        | Event::Host(_)
        | Event::Kind(_)
        | Event::Policy(_) => Vec::new(),
    }
}

/// The wishes a state implies.
pub fn open(state: &State) -> Vec<Effect> {
    let decided = state.requests.values().filter(|request| request.decided.is_some());
    let answers = decided.map(|request| Effect::Answer { request: request.id });
    let mail = state.messages.values().flat_map(of_message);
    state.agents.values().flat_map(of_agent).chain(answers).chain(mail).collect()
}

/// The agents about which something is different after an event; by the state before it.
pub fn concerns(before: &State, event: &Event) -> Vec<AgentId> {
    let of_copy = |to: &Recipient| match to {
        Recipient::Agent { agent } => vec![*agent],
        Recipient::Operator => Vec::new(),
    };
    let of_request = |id| before.requests.get(id).map(|request| request.agent).into_iter().collect();
    match event {
        Event::Agent(event) => vec![row::agent_of(event)],
        Event::Run(event) => vec![row::run_of(event)],
        Event::Request(event) => match event {
            request::Event::Opened(request::Opened { request }) => vec![request.agent],
            request::Event::Decided(request::Decided { request, .. })
            | request::Event::Withdrawn(request::Withdrawn { request, .. })
            | request::Event::Settled(request::Settled { request }) => of_request(request),
        },
        Event::Message(event) => match event {
            message::Event::Sent(message::Sent { message }) => {
                message.deliveries.iter().flat_map(|copy| of_copy(&copy.to)).collect()
            }
            message::Event::Staged(message::Staged { to, .. })
            | message::Event::Released(message::Released { to, .. })
            | message::Event::Moved(message::Moved { to, .. }) => of_copy(to),
            message::Event::Edited(_) | message::Event::Filed(_) | message::Event::Recalled(_) => Vec::new(),
        },
        Event::Turn(
            turn::Event::Started(turn::Started { agent, .. }) | turn::Event::Ended(turn::Ended { agent, .. }),
        ) => {
            vec![*agent]
        }
        Event::Session(_)
        | Event::Team(_)
        | Event::Workspace(_)
        | Event::Tab(_)
        | Event::Pane(_)
        | Event::Layout(_)
        | Event::Setting(_)
        | Event::Flow(_)
        | Event::Host(_)
        | Event::Kind(_)
        | Event::Policy(_) => Vec::new(),
    }
}

fn of_message(message: &Message) -> impl Iterator<Item = Effect> {
    message.deliveries.iter().filter_map(|delivery| waiting(message.id, delivery.to, &delivery.stage))
}

/// A delivery that has not been given to its agent is wished for.
fn waiting(message: MessageId, to: Recipient, stage: &Stage) -> Option<Effect> {
    let Recipient::Agent { agent } = to else { return None };
    stage.is_waiting().then_some(Effect::Deliver { agent, message })
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
    Key::of_run(Kind::EnsureRunning, agent, run)
}

fn stopped(agent: AgentId, run: RunNo) -> Key {
    Key::of_run(Kind::EnsureStopped, agent, run)
}
