//! Everything that is. The maps are what the projections hold; the indexes beside them follow from the maps and are
//! kept by the methods here, which is why names and keys are never changed in a map directly.

use std::collections::{BTreeMap, BTreeSet};

use amux_proto::entity::{
    Agent, Closed, Delivery, Flow, Host, Kind, KindName, May, Message, Pane, Recipient, Request, Rule, Setting, Stage,
    Tab, Team, Workspace,
};
use amux_proto::{
    AgentId, ClosedId, FlowId, MessageId, Name, PaneId, Principal, RequestId, Rev, TabId, TeamId, ThreadId, Time,
    WorkspaceId,
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
    pub may: Vec<May>,
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
    mail: Mail,
}

/// Messages by what is asked of them, so that no question costs as much as there are messages.
#[derive(Debug, Clone, Default, PartialEq)]
struct Mail {
    /// What waits for an agent, by its place.
    waiting: BTreeMap<AgentId, BTreeSet<(i64, MessageId)>>,
    /// Copies of which nothing is settled yet.
    open: BTreeMap<Recipient, BTreeSet<MessageId>>,
    /// What was given to an agent, by when it was given last.
    given: BTreeMap<AgentId, BTreeSet<(Time, MessageId)>>,
    came: BTreeMap<Recipient, BTreeSet<(Time, MessageId)>>,
    sent: BTreeMap<AgentId, BTreeSet<(Time, MessageId)>>,
    threads: BTreeMap<ThreadId, BTreeSet<(Time, MessageId)>>,
    expiring: BTreeSet<(Time, MessageId)>,
    /// Messages no copy of which anybody waits for, by when the last of them came to that.
    settled: BTreeSet<(Time, MessageId)>,
}

impl Mail {
    fn put(&mut self, message: &Message) {
        let at = (message.created, message.id);
        if let Principal::Agent { agent, .. } = message.from {
            self.sent.entry(agent).or_default().insert(at);
        }
        self.threads.entry(message.thread).or_default().insert(at);
        for delivery in &message.deliveries {
            self.came.entry(delivery.to).or_default().insert(at);
            self.put_copy(message.id, delivery);
        }
        self.put_end(message);
        self.settled.extend(settled(message));
    }

    fn drop(&mut self, message: &Message) {
        let at = (message.created, message.id);
        if let Principal::Agent { agent, .. } = message.from {
            take(&mut self.sent, &agent, &at);
        }
        take(&mut self.threads, &message.thread, &at);
        for delivery in &message.deliveries {
            take(&mut self.came, &delivery.to, &at);
            self.drop_copy(message.id, delivery);
        }
        if let Some(expires) = message.expires {
            self.expiring.remove(&(expires, message.id));
        }
        if let Some(settled) = settled(message) {
            self.settled.remove(&settled);
        }
    }

    fn put_copy(&mut self, id: MessageId, delivery: &Delivery) {
        if let (Recipient::Agent { agent }, true) = (delivery.to, delivery.stage.is_waiting()) {
            self.waiting.entry(agent).or_default().insert((delivery.place, id));
        }
        if !delivery.stage.is_settled() {
            self.open.entry(delivery.to).or_default().insert(id);
        }
        if let (Recipient::Agent { agent }, Some(at)) = (delivery.to, last_given(delivery)) {
            self.given.entry(agent).or_default().insert((at, id));
        }
    }

    fn drop_copy(&mut self, id: MessageId, delivery: &Delivery) {
        if let Recipient::Agent { agent } = delivery.to {
            take(&mut self.waiting, &agent, &(delivery.place, id));
            if let Some(at) = last_given(delivery) {
                take(&mut self.given, &agent, &(at, id));
            }
        }
        take(&mut self.open, &delivery.to, &id);
    }

    /// Only what still waits somewhere can expire.
    fn put_end(&mut self, message: &Message) {
        let Some(expires) = message.expires else { return };
        match message.deliveries.iter().any(|delivery| delivery.stage.is_waiting()) {
            true => self.expiring.insert((expires, message.id)),
            false => self.expiring.remove(&(expires, message.id)),
        };
    }
}

fn last_given(copy: &Delivery) -> Option<Time> {
    copy.history.iter().rev().find(|passed| matches!(passed.stage, Stage::Routed { .. })).map(|passed| passed.at)
}

fn settled(message: &Message) -> Option<(Time, MessageId)> {
    let is_settled = message.deliveries.iter().all(|copy| copy.stage.is_settled());
    let last = message.deliveries.iter().map(|copy| copy.at).max()?;
    is_settled.then_some((last, message.id))
}

/// A set that is empty is not there, or two ways to the same state would differ.
fn take<K: Ord + Clone, V: Ord>(sets: &mut BTreeMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(set) = sets.get_mut(key) {
        set.remove(value);
        if set.is_empty() {
            sets.remove(key);
        }
    }
}

/// Who a message is from, for its idempotency key: an agent stays the same sender through its runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sender {
    Operator,
    Agent(AgentId),
    Peer(String),
    System,
}

impl std::fmt::Display for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Operator => f.write_str("operator"),
            Self::Agent(agent) => write!(f, "agent:{agent}"),
            Self::Peer(host) => write!(f, "peer:{host}"),
            Self::System => f.write_str("system"),
        }
    }
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
        if let Some(known) = self.messages.get(&message.id) {
            self.index.mail.drop(known);
        }
        if let Some(key) = &message.key {
            self.index.keys.insert(((&message.from).into(), key.clone()), message.id);
        }
        self.index.mail.put(&message);
        self.messages.insert(message.id, message);
    }

    /// Changes one copy of a message.
    pub(crate) fn change_copy(&mut self, id: MessageId, to: Recipient, how: impl FnOnce(&mut Delivery)) {
        let mail = &mut self.index.mail;
        change(&mut self.messages, &id, |message| {
            if let Some(settled) = settled(message) {
                mail.settled.remove(&settled);
            }
            if let Some(delivery) = message.deliveries.iter_mut().find(|delivery| delivery.to == to) {
                mail.drop_copy(id, delivery);
                how(delivery);
                mail.put_copy(id, delivery);
            }
            mail.put_end(message);
            mail.settled.extend(settled(message));
        });
    }

    pub(crate) fn drop_message(&mut self, id: MessageId) {
        let Some(message) = self.messages.remove(&id) else { return };
        if let Some(key) = &message.key {
            self.index.keys.remove(&((&message.from).into(), key.clone()));
        }
        self.index.mail.drop(&message);
    }

    /// Messages about which nothing is left to do, the longest at rest first.
    pub(crate) fn settled(&self) -> impl Iterator<Item = (Time, MessageId)> {
        self.index.mail.settled.iter().copied()
    }

    pub fn settled_count(&self) -> usize {
        self.index.mail.settled.len()
    }

    /// What waits for an agent, in the order it will be given.
    pub fn waiting_for(&self, agent: AgentId) -> impl DoubleEndedIterator<Item = &Message> {
        let waiting = self.index.mail.waiting.get(&agent).into_iter().flatten();
        waiting.filter_map(|(_, id)| self.messages.get(id))
    }

    /// What an agent was given, the newest first, each with when that was.
    pub(crate) fn given_to(&self, agent: AgentId) -> impl Iterator<Item = (Time, &Message)> {
        let given = self.index.mail.given.get(&agent).into_iter().flatten().rev();
        given.filter_map(|(at, id)| Some((*at, self.messages.get(id)?)))
    }

    /// Messages with a copy for somebody of which nothing is settled yet.
    pub fn open_for(&self, to: Recipient) -> impl Iterator<Item = &Message> {
        self.index.mail.open.get(&to).into_iter().flatten().filter_map(|id| self.messages.get(id))
    }

    /// Everything that ever came for somebody, newest last.
    pub fn mail_of(&self, to: Recipient) -> impl DoubleEndedIterator<Item = &Message> {
        self.index.mail.came.get(&to).into_iter().flatten().filter_map(|(_, id)| self.messages.get(id))
    }

    /// What an agent sent since then.
    pub fn sent_since(&self, agent: AgentId, since: Time) -> usize {
        let sent = self.index.mail.sent.get(&agent);
        sent.map_or(0, |sent| sent.iter().rev().take_while(|(at, _)| *at >= since).count())
    }

    /// How much that was.
    pub fn bytes_sent_since(&self, agent: AgentId, since: Time) -> usize {
        let sent = self.index.mail.sent.get(&agent).into_iter().flatten().rev();
        let bodies = sent.take_while(|(at, _)| *at >= since).filter_map(|(_, id)| self.messages.get(id));
        bodies.map(|message| message.body.len()).sum()
    }

    pub fn thread(&self, thread: ThreadId) -> impl DoubleEndedIterator<Item = &Message> {
        self.index.mail.threads.get(&thread).into_iter().flatten().filter_map(|(_, id)| self.messages.get(id))
    }

    /// The message that waits and whose time is over first.
    pub fn next_to_expire(&self) -> Option<(Time, MessageId)> {
        self.index.mail.expiring.first().copied()
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
