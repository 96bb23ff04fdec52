//! The board: what clients show, as rows read off the state. [`touched`] says which rows an event may have changed, so
//! that following costs as much as there is to tell; [`row`] says what such a row is now. A row that changes with time
//! alone names that time.

use std::collections::BTreeSet;

use amux_proto::board::{Agent, Request, Row, Setting, SettingTakes, Workspace};
use amux_proto::entity::{self, Dialect, KindName, Message, Recipient, Run};
use amux_proto::event::{
    Event, agent, kind as kinds, layout, message, request, session, setting as settings, team, turn, workspace,
};
use amux_proto::{
    AgentId, ClosedId, MessageId, PaneId, RequestId, TabId, TeamId, Time, WorkspaceId, board as proto_board,
};
use serde_json::json;

use crate::state::State;
use crate::{kind, message as mail, row, setting, view};

/// One row. In this order: what stands on something comes after it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Team(TeamId),
    Kind(String),
    Setting(String),
    Agent(AgentId),
    Pane(PaneId),
    Tab(TabId),
    Workspace(WorkspaceId),
    Closed(ClosedId),
    Request(RequestId),
    Message(MessageId),
}

/// What an event may have changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Touch {
    Row(Key),
    /// Every message that waits for this agent: why it waits is read off the agent.
    MailOf(AgentId),
    /// Names that many rows show.
    Everything,
}

/// Of messages of which everything is settled, so many are shown.
pub const SETTLED_MESSAGES: usize = 200;

const BUILT_IN: [&str; 3] = [KindName::SHELL, KindName::CMD, KindName::TMUX];

/// Every key but those of messages.
pub fn keys(state: &State) -> BTreeSet<Key> {
    let kinds = state.kinds.keys().map(|name| name.0.clone()).chain(BUILT_IN.map(str::to_owned));
    let known = setting::REGISTRY.iter().map(|known| known.key).chain(setting::WORDS.iter().map(|known| known.key));
    let settings = known.map(str::to_owned).chain(state.settings.keys().cloned());
    let mut keys: BTreeSet<Key> = kinds.map(Key::Kind).chain(settings.map(Key::Setting)).collect();
    keys.extend(state.teams.keys().copied().map(Key::Team));
    keys.extend(state.agents.keys().copied().map(Key::Agent));
    keys.extend(state.panes.keys().copied().map(Key::Pane));
    keys.extend(state.tabs.keys().copied().map(Key::Tab));
    keys.extend(state.workspaces.keys().copied().map(Key::Workspace));
    keys.extend(state.closed.keys().copied().map(Key::Closed));
    keys.extend(state.requests.keys().copied().map(Key::Request));
    keys
}

/// Whether somebody may still wait for something about it.
pub fn is_open(message: &Message) -> bool {
    message.deliveries.iter().any(|copy| !copy.stage.is_settled())
}

/// The rows that an event may change, by the state before it.
pub fn touched(before: &State, event: &Event, to: &mut impl FnMut(Touch)) {
    let mut of_agent = |agent: AgentId| {
        to(Touch::Row(Key::Agent(agent)));
        to(Touch::MailOf(agent));
    };
    match event {
        Event::Agent(event) => match event {
            agent::Event::Renamed(_) | agent::Event::Removed(_) => to(Touch::Everything),
            agent::Event::Drafted(drafted) => to(Touch::Row(Key::Agent(drafted.agent))),
            event => of_agent(row::agent_of(event)),
        },
        Event::Run(event) => of_agent(row::run_of(event)),
        Event::Turn(
            turn::Event::Started(turn::Started { agent, .. }) | turn::Event::Ended(turn::Ended { agent, .. }),
        ) => {
            of_agent(*agent);
        }
        Event::Session(event) => {
            let (session::Event::Opened(session::Opened { agent, .. })
            | session::Event::Lost(session::Lost { agent, .. })
            | session::Event::Chosen(session::Chosen { agent, .. })) = event;
            to(Touch::Row(Key::Agent(*agent)));
        }
        Event::Request(event) => {
            let (id, agent) = match event {
                request::Event::Opened(request::Opened { request }) => (request.id, Some(request.agent)),
                request::Event::Decided(request::Decided { request, .. })
                | request::Event::Withdrawn(request::Withdrawn { request, .. })
                | request::Event::Settled(request::Settled { request }) => {
                    (*request, before.requests.get(request).map(|known| known.agent))
                }
            };
            if let Some(agent) = agent {
                of_agent(agent);
            }
            to(Touch::Row(Key::Request(id)));
        }
        Event::Message(event) => {
            let mut copy = |id: MessageId, recipient: Recipient, changes_others: bool| {
                to(Touch::Row(Key::Message(id)));
                if let Recipient::Agent { agent } = recipient {
                    to(Touch::Row(Key::Agent(agent)));
                    if changes_others {
                        to(Touch::MailOf(agent));
                    }
                }
            };
            match event {
                message::Event::Sent(message::Sent { message }) => {
                    message.deliveries.iter().for_each(|delivery| copy(message.id, delivery.to, false));
                }
                // What was given counts against the budget of the rest.
                message::Event::Staged(message::Staged { message, to, .. }) => copy(*message, *to, true),
                message::Event::Released(message::Released { message, to, .. })
                | message::Event::Moved(message::Moved { message, to, .. }) => copy(*message, *to, false),
                message::Event::Edited(message::Edited { message, .. })
                | message::Event::Recalled(message::Recalled { message: Message { id: message, .. } }) => {
                    to(Touch::Row(Key::Message(*message)));
                }
                message::Event::Filed(message::Filed { messages }) => {
                    messages.iter().for_each(|message| to(Touch::Row(Key::Message(*message))));
                }
            }
        }
        Event::Team(event) => match event {
            team::Event::Renamed(_) | team::Event::Removed(_) => to(Touch::Everything),
            team::Event::Created(team::Created { team, .. }) | team::Event::Removing(team::Removing { team }) => {
                to(Touch::Row(Key::Team(*team)));
            }
        },
        Event::Workspace(event) => {
            to(Touch::Row(Key::Workspace(row::workspace_of(event))));
            match event {
                // The others stand elsewhere then.
                workspace::Event::Created(_) | workspace::Event::Moved(_) | workspace::Event::Closed(_) => {
                    before.workspaces.keys().for_each(|id| to(Touch::Row(Key::Workspace(*id))));
                }
                workspace::Event::Renamed(_) | workspace::Event::TabsChanged(_) => {}
            }
        }
        Event::Tab(event) => to(Touch::Row(Key::Tab(row::tab_of(event)))),
        Event::Pane(event) => to(Touch::Row(Key::Pane(row::pane_of(event)))),
        Event::Layout(layout::Event::Shelved(layout::Shelved { closed, dropped })) => {
            to(Touch::Row(Key::Closed(closed.id)));
            dropped.iter().for_each(|id| to(Touch::Row(Key::Closed(*id))));
        }
        Event::Layout(layout::Event::Unshelved(layout::Unshelved { closed })) => {
            to(Touch::Row(Key::Closed(*closed)));
        }
        Event::Setting(
            settings::Event::Changed(settings::Changed { key, .. })
            | settings::Event::Cleared(settings::Cleared { key }),
        ) => to(Touch::Row(Key::Setting(key.clone()))),
        Event::Kind(
            kinds::Event::Changed(kinds::Changed { name, .. }) | kinds::Event::Removed(kinds::Removed { name }),
        ) => {
            to(Touch::Row(Key::Kind(name.0.clone())));
            let of_kind = before.agents.values().filter(|agent| agent.definition.kind == *name);
            of_kind.for_each(|agent| to(Touch::Row(Key::Agent(agent.id))));
        }
        Event::Flow(_) | Event::Host(_) | Event::Policy(_) => {}
    }
}

/// A row as it is, and when it is another without anything happening. Of messages the caller says which are wanted.
pub fn row(state: &State, key: &Key, now: Time) -> (Row, Option<Time>) {
    let row = match key {
        Key::Team(id) => Row::Team { key: *id, row: state.teams.get(id).cloned() },
        Key::Kind(name) => Row::Kind { key: name.clone(), row: kind::find(state, &KindName(name.clone())).ok() },
        Key::Setting(key) => Row::Setting { key: key.clone(), row: shown_setting(state, key) },
        Key::Agent(id) => {
            Row::Agent { key: *id, row: state.agents.get(id).map(|agent| Box::new(shown_agent(state, agent))) }
        }
        Key::Pane(id) => Row::Pane { key: *id, row: state.panes.get(id).cloned() },
        Key::Tab(id) => Row::Tab { key: *id, row: state.tabs.get(id).cloned() },
        Key::Workspace(id) => {
            let index = state.order.workspaces.iter().position(|known| known == id).unwrap_or(usize::MAX);
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            let row = state.workspaces.get(id).map(|workspace| Workspace { workspace: workspace.clone(), index });
            Row::Workspace { key: *id, row }
        }
        Key::Closed(id) => Row::Closed { key: *id, row: state.closed.get(id).cloned() },
        Key::Request(id) => {
            let asked = state.requests.get(id).filter(|request| request.decided.is_none());
            let shown = |request| view::shown_request(state, request);
            Row::Request { key: *id, row: asked.map(|asked| Request { shown: shown(asked), agent_uid: asked.agent }) }
        }
        Key::Message(id) => {
            let shown = state.messages.get(id).map(|message| mail::shown(state, message, now));
            let until = shown.as_ref().and_then(|shown| shown.deliveries.iter().filter_map(|copy| copy.until).min());
            return (Row::Message { key: *id, row: shown }, until);
        }
    };
    (row, None)
}

/// The row of something that nobody is to see any more.
pub fn gone(key: &Key) -> Row {
    match key {
        Key::Team(id) => Row::Team { key: *id, row: None },
        Key::Kind(name) => Row::Kind { key: name.clone(), row: None },
        Key::Setting(key) => Row::Setting { key: key.clone(), row: None },
        Key::Agent(id) => Row::Agent { key: *id, row: None },
        Key::Pane(id) => Row::Pane { key: *id, row: None },
        Key::Tab(id) => Row::Tab { key: *id, row: None },
        Key::Workspace(id) => Row::Workspace { key: *id, row: None },
        Key::Closed(id) => Row::Closed { key: *id, row: None },
        Key::Request(id) => Row::Request { key: *id, row: None },
        Key::Message(id) => Row::Message { key: *id, row: None },
    }
}

fn shown_agent(state: &State, agent: &entity::Agent) -> Agent {
    let activity = agent.run.as_ref().map(|run| &run.activity);
    let dialect = kind::find(state, &agent.definition.kind).map(|kind| kind.dialect);
    Agent {
        shown: view::agent(state, agent),
        team_id: agent.team,
        groups: agent.groups.clone(),
        desired: agent.desired,
        created: agent.created,
        is_terminal: matches!(dialect, Ok(Dialect::Pty | Dialect::Tmux)),
        is_live: agent.run.as_ref().is_some_and(Run::is_live),
        phase: activity.map(|now| now.phase.clone()).unwrap_or_default(),
        turn_open: activity.is_some_and(|now| now.turn_open),
        tasks: activity.map_or(0, |now| now.tasks),
        mode: activity.and_then(|now| now.mode.clone()).or_else(|| agent.definition.mode.clone()),
        worktree: agent.definition.worktree,
        // It is written down where the worktrees are, which is not for us to read.
        branch: None,
        mail: agent.mail,
        removing: agent.removing,
        draft: agent.draft.clone(),
        said: activity.and_then(|now| now.said.clone()),
        rev: agent.rev,
    }
}

fn shown_setting(state: &State, key: &str) -> Option<proto_board::Setting> {
    let set = state.settings.get(key);
    let words = setting::WORDS.iter().find(|known| known.key == key);
    let number = setting::REGISTRY.iter().find(|known| known.key == key);
    let (default, takes, about) = match (number, words) {
        (Some(known), _) => {
            (json!(known.default), SettingTakes::Number { min: known.min, max: known.max }, known.about)
        }
        (None, Some(known)) => {
            let among = known.takes.among().iter().map(|word| (*word).to_owned()).collect();
            (json!(known.default), SettingTakes::Texts { max: known.max as u64, among }, known.about)
        }
        (None, None) => (json!(null), SettingTakes::Unknown, ""),
    };
    if set.is_none() && takes == SettingTakes::Unknown {
        return None;
    }
    // One word that stands for a list of one is shown as that.
    let value = |set: &entity::Setting| match words {
        Some(_) if set.value.is_string() => json!([set.value]),
        Some(_) | None => set.value.clone(),
    };
    Some(Setting {
        value: set.map_or_else(|| default.clone(), value),
        default,
        source: set.map(|set| set.source),
        takes,
        about: about.to_owned(),
        rev: set.map_or(amux_proto::Rev(0), |set| set.rev),
    })
}
