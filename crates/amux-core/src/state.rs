//! Everything that is. The maps are what the projections hold; the indexes beside them follow from the maps and are
//! kept by the methods here, which is why names and keys are never changed in a map directly.

use std::collections::{BTreeMap, BTreeSet};

use amux_proto::entity::{
    Agent, Closed, Flow, Host, Kind, KindName, Message, Pane, Request, Rule, Setting, Tab, Team, Workspace,
};
use amux_proto::{
    AgentId, ClosedId, FlowId, MessageId, Name, PaneId, Principal, RequestId, Rev, TabId, TeamId, WorkspaceId,
};

#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    pub teams: BTreeMap<TeamId, Team>,
    pub agents: BTreeMap<AgentId, Agent>,
    pub workspaces: BTreeMap<WorkspaceId, Workspace>,
    pub tabs: BTreeMap<TabId, Tab>,
    pub panes: BTreeMap<PaneId, Pane>,
    pub requests: BTreeMap<RequestId, Request>,
    pub messages: BTreeMap<MessageId, Message>,
    pub settings: BTreeMap<String, Setting>,
    pub flows: BTreeMap<FlowId, Flow>,
    pub closed: BTreeMap<ClosedId, Closed>,
    pub order: Order,
    pub host: Option<Host>,
    pub kinds: BTreeMap<KindName, Kind>,
    pub rules: Vec<Rule>,
    pub(crate) index: Index,
}

/// Orders that are facts of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Order {
    pub workspaces: Vec<WorkspaceId>,
    /// The shelf, oldest first.
    pub closed: Vec<ClosedId>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Index {
    teams: BTreeMap<Name, TeamId>,
    agents: BTreeMap<Name, BTreeSet<AgentId>>,
    keys: BTreeMap<(Sender, String), MessageId>,
}

/// Who a message is from, for its idempotency key: an agent stays the same sender through its runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sender {
    Operator,
    Agent(AgentId),
    Peer(String),
    System,
}

impl From<&Principal> for Sender {
    fn from(principal: &Principal) -> Self {
        match principal {
            Principal::Operator => Self::Operator,
            Principal::Agent { agent, .. } => Self::Agent(*agent),
            Principal::Peer(host) => Self::Peer(host.clone()),
            Principal::System => Self::System,
        }
    }
}

impl State {
    pub fn team_named(&self, name: &Name) -> Option<&Team> {
        self.index.teams.get(name).and_then(|id| self.teams.get(id))
    }

    /// Agents of every team that have this name.
    pub fn agents_named(&self, name: &Name) -> impl Iterator<Item = &Agent> {
        self.index.agents.get(name).into_iter().flatten().filter_map(|id| self.agents.get(id))
    }

    pub fn agents_of(&self, team: TeamId) -> impl Iterator<Item = &Agent> {
        self.agents.values().filter(move |agent| agent.team == team)
    }

    pub(crate) fn message_keyed(&self, from: &Principal, key: &str) -> Option<&Message> {
        self.index.keys.get(&(from.into(), key.to_owned())).and_then(|id| self.messages.get(id))
    }

    pub(crate) fn put_team(&mut self, team: Team) {
        self.drop_team(team.id);
        self.index.teams.insert(team.name.clone(), team.id);
        self.teams.insert(team.id, team);
    }

    pub(crate) fn drop_team(&mut self, id: TeamId) {
        if let Some(team) = self.teams.remove(&id) {
            self.index.teams.remove(&team.name);
        }
    }

    pub(crate) fn put_agent(&mut self, agent: Agent) {
        self.drop_agent(agent.id);
        self.index.agents.entry(agent.name.clone()).or_default().insert(agent.id);
        self.agents.insert(agent.id, agent);
    }

    pub(crate) fn drop_agent(&mut self, id: AgentId) {
        let Some(agent) = self.agents.remove(&id) else { return };
        if let Some(namesakes) = self.index.agents.get_mut(&agent.name) {
            namesakes.remove(&id);
            if namesakes.is_empty() {
                self.index.agents.remove(&agent.name);
            }
        }
    }

    pub(crate) fn put_message(&mut self, message: Message) {
        if let Some(key) = &message.key {
            self.index.keys.insert(((&message.from).into(), key.clone()), message.id);
        }
        self.messages.insert(message.id, message);
    }
}

/// The revision of what has just come to be.
pub(crate) const FIRST_REV: Rev = Rev(1);

/// Changes one thing and counts it; a thing that is not there is not changed.
pub(crate) fn change<K: Ord, T: Revised>(map: &mut BTreeMap<K, T>, id: &K, how: impl FnOnce(&mut T)) {
    if let Some(thing) = map.get_mut(id) {
        how(thing);
        let rev = thing.rev_mut();
        *rev = rev.next();
    }
}

pub(crate) trait Revised {
    fn rev_mut(&mut self) -> &mut Rev;
}

macro_rules! revised {
    ($( $Thing:ident )*) => { $(
        impl Revised for $Thing {
            fn rev_mut(&mut self) -> &mut Rev {
                &mut self.rev
            }
        }
    )* };
}

revised!(Team Agent Workspace Tab Pane Request Message Setting Flow);
