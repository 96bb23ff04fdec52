//! The state as rows: one table an aggregate, a JSON body a row. What the engine writes beside the log, and what it
//! starts from; never read by anything but [`load`].

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use amux_proto::entity::{KindName, Message, Words};
use amux_proto::event::{
    Event, agent, flow, kind, layout, message, pane, request, run, session, setting, tab, team, turn, workspace,
};
use amux_proto::{AgentId, MessageId, PaneId, Rev, TabId, WorkspaceId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::state::State;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    Team,
    Agent,
    Workspace,
    Tab,
    Pane,
    Closed,
    Request,
    Message,
    /// What a message says. A row of its own: it stays as it is while hundreds of copies go their way.
    Words,
    Setting,
    Flow,
    Host,
    Kind,
    Policy,
    Order,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub table: Table,
    pub id: String,
    /// 0 for what has no revisions, and for what is gone.
    pub rev: Rev,
    /// JSON; `None`: the row is deleted.
    pub body: Option<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("row {id:?} of table {} cannot be read: {source}", table.name())]
pub struct Error {
    pub table: Table,
    pub id: String,
    pub source: serde_json::Error,
}

impl Table {
    pub const ALL: &'static [Self] = &[
        Self::Team,
        Self::Agent,
        Self::Workspace,
        Self::Tab,
        Self::Pane,
        Self::Closed,
        Self::Request,
        Self::Message,
        Self::Words,
        Self::Setting,
        Self::Flow,
        Self::Host,
        Self::Kind,
        Self::Policy,
        Self::Order,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Team => "team",
            Self::Agent => "agent",
            Self::Workspace => "workspace",
            Self::Tab => "tab",
            Self::Pane => "pane",
            Self::Closed => "closed",
            Self::Request => "request",
            Self::Message => "message",
            Self::Words => "words",
            Self::Setting => "setting",
            Self::Flow => "flow",
            Self::Host => "host",
            Self::Kind => "kind",
            Self::Policy => "policy",
            Self::Order => "order",
        }
    }
}

/// The rows to write after these events, from the state after all of them; each once.
pub fn touched<'a>(after: &State, events: impl IntoIterator<Item = &'a Event>) -> Vec<Row> {
    let mut keys = BTreeSet::new();
    for event in events {
        touch(event, &mut |table, id| {
            keys.insert((table, id));
        });
    }
    keys.into_iter().map(|(table, id)| row(after, table, id)).collect()
}

/// Every row of a state.
pub fn all(state: &State) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut add = |table, ids: Vec<String>| rows.extend(ids.into_iter().map(|id| row(state, table, id)));
    for &table in Table::ALL {
        add(
            table,
            match table {
                Table::Team => ids(&state.teams),
                Table::Agent => ids(&state.agents),
                Table::Workspace => ids(&state.workspaces),
                Table::Tab => ids(&state.tabs),
                Table::Pane => ids(&state.panes),
                Table::Closed => ids(&state.closed),
                Table::Request => ids(&state.requests),
                Table::Message | Table::Words => ids(&state.messages),
                Table::Setting => ids(&state.settings),
                Table::Flow => ids(&state.flows),
                Table::Host => vec![HOST.to_owned()],
                Table::Kind => state.kinds.keys().map(|name| name.0.clone()).collect(),
                Table::Policy => vec![RULES.to_owned(), MAY.to_owned()],
                Table::Order => vec![WORKSPACES.to_owned(), CLOSED.to_owned()],
            },
        );
    }
    rows.retain(|row| row.body.is_some());
    rows
}

/// The inverse of [`all`], in whatever order the rows come.
pub fn load(rows: impl Iterator<Item = (Table, String, String)>) -> Result<State, Error> {
    let mut state = State::default();
    let (mut messages, mut words) = (Vec::new(), BTreeMap::new());
    for (table, id, body) in rows {
        let read = match table {
            Table::Message => serde_json::from_str(&body).map(|message: Message| messages.push(message)),
            Table::Words => serde_json::from_str(&body).map(|said: Said| drop(words.insert(id.clone(), said))),
            _ => put(&mut state, table, &id, &body),
        };
        read.map_err(|source| Error { table, id, source })?;
    }
    for mut message in messages {
        match words.remove(&message.id.to_string()) {
            Some(Said { body, earlier }) => {
                (message.body, message.earlier) = (body.into_owned(), earlier.into_owned());
            }
            // A store that knows no such table has them where the rest is. No message says nothing: without them it would
            // be given as one that does.
            None if message.body.is_empty() => {
                let source = serde::de::Error::custom("what the message says is not there");
                return Err(Error { table: Table::Words, id: message.id.to_string(), source });
            }
            None => {}
        }
        state.put_message(message);
    }
    if let Some((id, _)) = words.pop_first() {
        let source = serde::de::Error::custom("what it says is there, and it is not");
        return Err(Error { table: Table::Message, id, source });
    }
    Ok(state)
}

const RULES: &str = "rules";
const MAY: &str = "may";
const HOST: &str = "host";
const WORKSPACES: &str = "workspaces";
const CLOSED: &str = "closed";

fn ids<K: ToString, T>(map: &BTreeMap<K, T>) -> Vec<String> {
    map.keys().map(K::to_string).collect()
}

fn put(state: &mut State, table: Table, id: &str, body: &str) -> Result<(), serde_json::Error> {
    fn read<T: DeserializeOwned>(body: &str) -> Result<T, serde_json::Error> {
        serde_json::from_str(body)
    }
    match table {
        Table::Team => state.put_team(read(body)?),
        Table::Agent => state.put_agent(read(body)?),
        // Their two rows are put together when both are there.
        Table::Message | Table::Words => {}
        Table::Workspace => {
            let workspace: amux_proto::entity::Workspace = read(body)?;
            state.workspaces.insert(workspace.id, workspace);
        }
        Table::Tab => {
            let tab: amux_proto::entity::Tab = read(body)?;
            state.tabs.insert(tab.id, tab);
        }
        Table::Pane => {
            let pane: amux_proto::entity::Pane = read(body)?;
            state.panes.insert(pane.id, pane);
        }
        Table::Closed => {
            let closed: amux_proto::entity::Closed = read(body)?;
            state.closed.insert(closed.id, closed);
        }
        Table::Request => {
            let request: amux_proto::entity::Request = read(body)?;
            state.requests.insert(request.id, request);
        }
        Table::Setting => {
            let setting: amux_proto::entity::Setting = read(body)?;
            state.settings.insert(setting.key.clone(), setting);
        }
        Table::Flow => {
            let flow: amux_proto::entity::Flow = read(body)?;
            state.flows.insert(flow.id, flow);
        }
        Table::Host => state.host = Some(read(body)?),
        Table::Kind => {
            state.kinds.insert(KindName(id.to_owned()), read(body)?);
        }
        Table::Policy => match id {
            RULES => state.rules = read(body)?,
            MAY => state.may = read(body)?,
            unknown => return Err(serde::de::Error::custom(format!("no such part of the policy: {unknown}"))),
        },
        Table::Order => match id {
            WORKSPACES => state.order.workspaces = read(body)?,
            CLOSED => state.order.closed = read(body)?,
            unknown => return Err(serde::de::Error::custom(format!("no such order: {unknown}"))),
        },
    }
    Ok(())
}

fn row(state: &State, table: Table, id: String) -> Row {
    fn entity<K: Ord + std::str::FromStr, T: Serialize>(
        map: &BTreeMap<K, T>,
        id: &str,
        rev: impl Fn(&T) -> Rev,
    ) -> Option<(Rev, String)> {
        let entity = map.get(&id.parse().ok()?)?;
        Some((rev(entity), json(entity)))
    }
    fn order<T: Serialize>(order: &[T]) -> Option<(Rev, String)> {
        (!order.is_empty()).then(|| (Rev(0), json(order)))
    }
    let found = match table {
        Table::Team => entity(&state.teams, &id, |team| team.rev),
        Table::Agent => entity(&state.agents, &id, |agent| agent.rev),
        Table::Workspace => entity(&state.workspaces, &id, |workspace| workspace.rev),
        Table::Tab => entity(&state.tabs, &id, |tab| tab.rev),
        Table::Pane => entity(&state.panes, &id, |pane| pane.rev),
        Table::Closed => entity(&state.closed, &id, |_| Rev(0)),
        Table::Request => entity(&state.requests, &id, |request| request.rev),
        Table::Message => {
            let message = id.parse().ok().and_then(|id: MessageId| state.messages.get(&id));
            message.map(|message| (message.rev, json(&without_words(message))))
        }
        Table::Words => {
            let message = id.parse().ok().and_then(|id: MessageId| state.messages.get(&id));
            message.map(|message| (Rev(0), json(&Said::of(message))))
        }
        Table::Setting => entity(&state.settings, &id, |setting| setting.rev),
        Table::Flow => entity(&state.flows, &id, |flow| flow.rev),
        Table::Host => state.host.as_ref().map(|host| (host.rev, json(host))),
        Table::Kind => state.kinds.get(&KindName(id.clone())).map(|kind| (Rev(0), json(kind))),
        Table::Policy if id == RULES => order(&state.rules),
        Table::Policy => order(&state.may),
        Table::Order if id == WORKSPACES => order(&state.order.workspaces),
        Table::Order => order(&state.order.closed),
    };
    let (rev, body) = found.map_or((Rev(0), None), |(rev, body)| (rev, Some(body)));
    Row { table, id, rev, body }
}

/// What a message says and said.
#[derive(Serialize, Deserialize)]
struct Said<'a> {
    body: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "is_empty")]
    earlier: Cow<'a, [Words]>,
}

impl<'a> Said<'a> {
    fn of(message: &'a Message) -> Self {
        Self { body: Cow::Borrowed(&message.body), earlier: Cow::Borrowed(&message.earlier) }
    }
}

fn is_empty(earlier: &[Words]) -> bool {
    earlier.is_empty()
}

fn without_words(message: &Message) -> Message {
    Message {
        id: message.id,
        from: message.from.clone(),
        body: String::new(),
        edition: message.edition,
        earlier: Vec::new(),
        thread: message.thread,
        reply_to: message.reply_to,
        key: message.key.clone(),
        priority: message.priority,
        class: message.class,
        expires: message.expires,
        wants_answer: message.wants_answer,
        cause: message.cause,
        attachments: message.attachments.clone(),
        created: message.created,
        deliveries: message.deliveries.clone(),
        rev: message.rev,
    }
}

fn json<T: Serialize + ?Sized>(thing: &T) -> String {
    serde_json::to_string(thing).expect("entities have string keys and no fallible serializer")
}

/// What an event changes. One that forgets a row here is found by the property that writes tables batch by batch.
fn touch(event: &Event, to: &mut dyn FnMut(Table, String)) {
    match event {
        Event::Team(event) => to(Table::Team, team_of(event)),
        Event::Agent(event) => to(Table::Agent, agent_of(event).to_string()),
        Event::Run(event) => to(Table::Agent, run_of(event).to_string()),
        Event::Workspace(event) => {
            to(Table::Workspace, workspace_of(event).to_string());
            match event {
                workspace::Event::Created(_) | workspace::Event::Moved(_) | workspace::Event::Closed(_) => {
                    to(Table::Order, WORKSPACES.to_owned());
                }
                workspace::Event::Renamed(_) | workspace::Event::TabsChanged(_) => {}
            }
        }
        Event::Tab(event) => to(Table::Tab, tab_of(event).to_string()),
        Event::Pane(event) => to(Table::Pane, pane_of(event).to_string()),
        Event::Layout(event) => {
            to(Table::Order, CLOSED.to_owned());
            match event {
                layout::Event::Shelved(layout::Shelved { closed, dropped }) => {
                    to(Table::Closed, closed.id.to_string());
                    if let Some(dropped) = dropped {
                        to(Table::Closed, dropped.to_string());
                    }
                }
                layout::Event::Unshelved(layout::Unshelved { closed }) => to(Table::Closed, closed.to_string()),
            }
        }
        Event::Request(event) => to(
            Table::Request,
            match event {
                request::Event::Opened(event) => event.request.id,
                request::Event::Decided(event) => event.request,
                request::Event::Withdrawn(event) => event.request,
                request::Event::Settled(event) => event.request,
            }
            .to_string(),
        ),
        Event::Message(event) => {
            let mut whole = |message: &MessageId| {
                to(Table::Message, message.to_string());
                to(Table::Words, message.to_string());
            };
            match event {
                message::Event::Sent(event) => whole(&event.message.id),
                message::Event::Edited(event) => whole(&event.message),
                message::Event::Filed(event) => event.messages.iter().for_each(whole),
                message::Event::Recalled(event) => whole(&event.message.id),
                message::Event::Staged(event) => to(Table::Message, event.message.to_string()),
                message::Event::Released(event) => to(Table::Message, event.message.to_string()),
                message::Event::Moved(event) => to(Table::Message, event.message.to_string()),
            }
        }
        Event::Setting(event) => to(
            Table::Setting,
            match event {
                setting::Event::Changed(event) => event.key.clone(),
                setting::Event::Cleared(event) => event.key.clone(),
            },
        ),
        Event::Flow(event) => to(
            Table::Flow,
            match event {
                flow::Event::Started(event) => event.flow,
                flow::Event::Advanced(event) => event.flow,
                flow::Event::Finished(event) => event.flow,
            }
            .to_string(),
        ),
        Event::Host(_) => to(Table::Host, HOST.to_owned()),
        Event::Session(event) => to(
            Table::Agent,
            match event {
                session::Event::Opened(event) => event.agent,
                session::Event::Lost(event) => event.agent,
                session::Event::Chosen(event) => event.agent,
            }
            .to_string(),
        ),
        Event::Turn(event) => to(
            Table::Agent,
            match event {
                turn::Event::Started(event) => event.agent,
                turn::Event::Ended(event) => event.agent,
            }
            .to_string(),
        ),
        Event::Kind(event) => to(
            Table::Kind,
            match event {
                kind::Event::Changed(event) => event.name.0.clone(),
                kind::Event::Removed(event) => event.name.0.clone(),
            },
        ),
        Event::Policy(_) => {
            to(Table::Policy, RULES.to_owned());
            to(Table::Policy, MAY.to_owned());
        }
    }
}

fn team_of(event: &team::Event) -> String {
    match event {
        team::Event::Created(event) => event.team,
        team::Event::Renamed(event) => event.team,
        team::Event::Removing(event) => event.team,
        team::Event::Removed(event) => event.team,
    }
    .to_string()
}

pub(crate) fn agent_of(event: &agent::Event) -> AgentId {
    match event {
        agent::Event::Created(event) => event.agent,
        agent::Event::Renamed(event) => event.agent,
        agent::Event::Defined(event) => event.agent,
        agent::Event::Described(event) => event.agent,
        agent::Event::MailChanged(event) => event.agent,
        agent::Event::Drafted(event) => event.agent,
        agent::Event::StartWanted(event) => event.agent,
        agent::Event::StopWanted(event) => event.agent,
        agent::Event::StartDropped(event) => event.agent,
        agent::Event::Removing(event) => event.agent,
        agent::Event::Removed(event) => event.agent,
    }
}

pub(crate) fn run_of(event: &run::Event) -> AgentId {
    match event {
        run::Event::Started(event) => event.agent,
        run::Event::Failed(event) => event.agent,
        run::Event::Exited(event) => event.agent,
        run::Event::Lost(event) => event.agent,
        run::Event::Active(event) => event.agent,
    }
}

pub(crate) fn workspace_of(event: &workspace::Event) -> WorkspaceId {
    match event {
        workspace::Event::Created(event) => event.workspace,
        workspace::Event::Renamed(event) => event.workspace,
        workspace::Event::Moved(event) => event.workspace,
        workspace::Event::TabsChanged(event) => event.workspace,
        workspace::Event::Closed(event) => event.workspace,
    }
}

pub(crate) fn pane_of(event: &pane::Event) -> PaneId {
    match event {
        pane::Event::Opened(event) => event.pane,
        pane::Event::Moved(event) => event.pane,
        pane::Event::Renamed(event) => event.pane,
        pane::Event::Shown(event) => event.pane,
        pane::Event::Closed(event) => event.pane,
    }
}

pub(crate) fn tab_of(event: &tab::Event) -> TabId {
    match event {
        tab::Event::Created(event) => event.tab,
        tab::Event::Renamed(event) => event.tab,
        tab::Event::Moved(event) => event.tab,
        tab::Event::Pinned(event) => event.tab,
        tab::Event::LayoutChanged(event) => event.tab,
        tab::Event::Closed(event) => event.tab,
    }
}
