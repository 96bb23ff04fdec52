//! What an agent sees of what is told to everybody. Names and states stay, so that it knows whom to write to; what others
//! say, ask, run and show is left out unless its policy lets it look at them. People see everything, and pay nothing
//! for this.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use amux_proto::entity::{
    self, Activity, Definition, Kind, Message, Phase, Recipient, Request, Right, Run, RunState, Setting, Size,
};
use amux_proto::event::{Event, agent, kind, message, request, run, session, setting};
use amux_proto::view::{Agent, AgentDetail, Snapshot};
use amux_proto::{AgentId, MessageId, Principal, RequestId};

use crate::right;
use crate::setting::is_a_persons;
use crate::state::State;

/// Whether somebody may read a message: its parties, a person, and whoever may look at a party.
pub(crate) fn reads(state: &State, actor: &Principal, message: &Message) -> bool {
    match actor {
        Principal::Agent { .. } => is_of(message, |agent| right::reaches(state, actor, Right::Look, agent)),
        Principal::Operator | Principal::System => true,
        Principal::Peer(_) => false,
    }
}

fn is_of(message: &Message, looks_at: impl Fn(AgentId) -> bool) -> bool {
    let is_from = matches!(message.from, Principal::Agent { agent, .. } if looks_at(agent));
    let is_to = |to: &Recipient| to.agent().is_some_and(&looks_at);
    is_from || message.deliveries.iter().any(|copy| is_to(&copy.to))
}

/// What one principal sees.
pub struct Sight<'a> {
    state: &'a State,
    /// `None`: everything.
    seen: Option<BTreeSet<AgentId>>,
}

impl<'a> Sight<'a> {
    pub fn of(state: &'a State, actor: &Principal) -> Self {
        let seen = match actor {
            Principal::Operator | Principal::System => None,
            Principal::Agent { .. } => {
                let looked_at = |agent: &&AgentId| right::reaches(state, actor, Right::Look, **agent);
                Some(state.agents.keys().filter(looked_at).copied().collect())
            }
            Principal::Peer(_) => Some(BTreeSet::new()),
        };
        Self { state, seen }
    }

    fn looks_at(&self, agent: AgentId) -> bool {
        self.seen.as_ref().is_none_or(|seen| seen.contains(&agent))
    }

    pub(crate) fn reads(&self, message: &Message) -> bool {
        self.seen.is_none() || is_of(message, |agent| self.looks_at(agent))
    }

    fn is_read(&self, message: MessageId) -> bool {
        self.state.messages.get(&message).is_some_and(|message| self.reads(message))
    }

    fn is_asked(&self, request: RequestId) -> bool {
        self.state.requests.get(&request).is_some_and(|request| self.looks_at(request.agent))
    }

    pub fn snapshot(&self, mut snapshot: Snapshot) -> Snapshot {
        if self.seen.is_none() {
            return snapshot;
        }
        snapshot.agents.iter_mut().for_each(|agent| agent.draft = None);
        for agent in snapshot.agents.iter_mut().filter(|agent| !self.looks_at(agent.id)) {
            agent.definition = outline(&agent.definition);
            agent.session = None;
            agent.run = agent.run.as_ref().map(outline_run);
        }
        snapshot.requests.retain(|request| self.looks_at(request.agent));
        snapshot.messages.retain(|message| self.reads(message));
        snapshot.kinds.values_mut().for_each(|kind| kind.env.clear());
        snapshot.settings.retain(|setting| self.sets(&setting.key));
        snapshot
    }

    pub fn agents(&self, agents: Vec<Agent>) -> Vec<Agent> {
        agents.into_iter().map(|agent| self.agent(agent)).collect()
    }

    fn agent(&self, agent: Agent) -> Agent {
        if self.looks_at(agent.uid) {
            return agent;
        }
        Agent {
            reason: None,
            pid: None,
            cwd: String::new(),
            session_id: None,
            model: None,
            cost_micro_usd: None,
            context_used: None,
            context_size: None,
            ..agent
        }
    }

    pub fn detail(&self, detail: AgentDetail) -> AgentDetail {
        if self.looks_at(detail.agent.uid) {
            return detail;
        }
        AgentDetail {
            agent: self.agent(detail.agent),
            definition: outline(&detail.definition),
            current_run: detail.current_run.as_ref().map(outline_run),
            session: None,
            requests: Vec::new(),
            evidence: Vec::new(),
            ..detail
        }
    }

    /// What waits for a person, as far as it is of somebody who may be looked at.
    pub fn requests(&self) -> Vec<amux_proto::view::Request> {
        let is_seen = |request: &Request| self.looks_at(request.agent);
        crate::view::requests_where(self.state, is_seen)
    }

    /// Whether a setting is one that is told.
    fn sets(&self, key: &str) -> bool {
        self.seen.is_none() || !is_a_persons(key)
    }

    pub fn settings(&self) -> Vec<&'a Setting> {
        self.state.settings.values().filter(|setting| self.sets(&setting.key)).collect()
    }

    /// The kinds of agents there are, by name.
    pub fn kinds(&self) -> BTreeMap<&'a str, Cow<'a, Kind>> {
        let kinds = crate::view::kinds(self.state).into_iter();
        kinds.map(|(name, kind)| (name, self.kind(kind))).collect()
    }

    fn kind(&self, kind: &'a Kind) -> Cow<'a, Kind> {
        match self.seen {
            None => Cow::Borrowed(kind),
            Some(_) => Cow::Owned(Kind { env: BTreeMap::new(), ..kind.clone() }),
        }
    }

    /// An event as far as it may be seen; `None`: not at all.
    pub fn event(&self, event: Event) -> Option<Event> {
        if self.seen.is_none() {
            return Some(event);
        }
        match event {
            Event::Agent(event) => Some(self.agent_event(event).into()),
            Event::Run(event) => Some(self.run_event(event).into()),
            Event::Session(event) => {
                let agent = match &event {
                    session::Event::Opened(event) => event.agent,
                    session::Event::Lost(event) => event.agent,
                    session::Event::Chosen(event) => event.agent,
                };
                self.looks_at(agent).then(|| event.into())
            }
            Event::Request(event) => self.request_event(event).map(Into::into),
            Event::Message(event) => {
                let is_read = match &event {
                    message::Event::Sent(event) => self.reads(&event.message),
                    message::Event::Staged(event) => self.is_read(event.message),
                    message::Event::Released(event) => self.is_read(event.message),
                    message::Event::Moved(event) => self.is_read(event.message),
                    message::Event::Edited(event) => self.is_read(event.message),
                    message::Event::Recalled(event) => self.reads(&event.message),
                    // Where old mail is kept says nothing to those who write it.
                    message::Event::Filed(_) => false,
                };
                is_read.then(|| event.into())
            }
            Event::Setting(event) => {
                let key = match &event {
                    setting::Event::Changed(event) => &event.key,
                    setting::Event::Cleared(event) => &event.key,
                };
                self.sets(key).then(|| event.into())
            }
            Event::Kind(kind::Event::Changed(mut event)) => {
                event.kind.env.clear();
                Some(kind::Event::Changed(event).into())
            }
            // Where things stand, how they are called and what holds: for everybody.
            Event::Team(_)
            | Event::Turn(_)
            | Event::Workspace(_)
            | Event::Tab(_)
            | Event::Pane(_)
            | Event::Layout(_)
            | Event::Flow(_)
            | Event::Host(_)
            | Event::Kind(kind::Event::Removed(_))
            | Event::Policy(_) => Some(event),
        }
    }

    fn agent_event(&self, event: agent::Event) -> agent::Event {
        match event {
            // Nobody's until it is said, whoever looks.
            agent::Event::Drafted(mut event) => {
                event.text = None;
                agent::Event::Drafted(event)
            }
            agent::Event::Created(mut event) if !self.looks_at(event.agent) => {
                event.definition = outline(&event.definition);
                agent::Event::Created(event)
            }
            agent::Event::Defined(mut event) if !self.looks_at(event.agent) => {
                event.definition = outline(&event.definition);
                agent::Event::Defined(event)
            }
            agent::Event::StopWanted(mut event) if !self.looks_at(event.agent) => {
                event.reason = None;
                agent::Event::StopWanted(event)
            }
            agent::Event::Created(_)
            | agent::Event::Defined(_)
            | agent::Event::StopWanted(_)
            | agent::Event::Renamed(_)
            | agent::Event::Described(_)
            | agent::Event::MailChanged(_)
            | agent::Event::StartWanted(_)
            | agent::Event::StartDropped(_)
            | agent::Event::Removing(_)
            | agent::Event::Removed(_) => event,
        }
    }

    fn run_event(&self, event: run::Event) -> run::Event {
        match event {
            run::Event::Failed(mut event) if !self.looks_at(event.agent) => {
                event.error.clear();
                run::Event::Failed(event)
            }
            run::Event::Lost(mut event) if !self.looks_at(event.agent) => {
                event.why.clear();
                run::Event::Lost(event)
            }
            run::Event::Active(mut event) if !self.looks_at(event.agent) => {
                *event.activity = outline_activity(&event.activity);
                run::Event::Active(event)
            }
            run::Event::Failed(_)
            | run::Event::Lost(_)
            | run::Event::Active(_)
            | run::Event::Started(_)
            | run::Event::Exited(_) => event,
        }
    }

    /// That one is over is told to everybody: one that is gone cannot be asked whose it was, and whoever knew of it must
    /// hear it.
    fn request_event(&self, event: request::Event) -> Option<request::Event> {
        match event {
            request::Event::Opened(event) => {
                self.looks_at(event.request.agent).then_some(request::Event::Opened(event))
            }
            request::Event::Decided(event) => self.is_asked(event.request).then_some(request::Event::Decided(event)),
            request::Event::Withdrawn(mut event) => {
                event.why.clear();
                Some(request::Event::Withdrawn(event))
            }
            request::Event::Settled(_) => Some(event),
        }
    }
}

/// What is left of a definition: which kind it is.
fn outline(definition: &Definition) -> Definition {
    Definition {
        kind: definition.kind.clone(),
        argv: Vec::new(),
        cwd: String::new(),
        env: BTreeMap::new(),
        size: Size::default(),
        model: None,
        mode: None,
        worktree: false,
    }
}

fn outline_run(run: &Run) -> Run {
    let state = match &run.state {
        RunState::Failed { .. } => RunState::Failed { error: String::new() },
        RunState::Lost { .. } => RunState::Lost { why: String::new() },
        RunState::Starting | RunState::Running { .. } | RunState::Stopping { .. } | RunState::Exited { .. } => {
            run.state.clone()
        }
    };
    Run { state, activity: outline_activity(&run.activity), ..run.clone() }
}

fn outline_activity(activity: &Activity) -> Activity {
    let phase = match &activity.phase {
        Phase::Working { .. } => Phase::Working { doing: None },
        Phase::Retrying { attempt, max, until, .. } => {
            Phase::Retrying { attempt: *attempt, max: *max, until: *until, reason: String::new() }
        }
        Phase::Limited { until, .. } => Phase::Limited { reason: String::new(), until: *until },
        Phase::LoggedOut { .. } => Phase::LoggedOut { reason: String::new() },
        Phase::Silent { .. } => Phase::Silent { reason: String::new() },
        Phase::Untold | Phase::Opening | Phase::Idle | Phase::Compacting => activity.phase.clone(),
    };
    Activity {
        seen: activity.seen,
        phase,
        since: activity.since,
        turn: activity.turn,
        turn_open: activity.turn_open,
        tasks: activity.tasks,
        ..entity::Activity::default()
    }
}
