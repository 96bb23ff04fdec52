//! What is true of every state that commands led to. For tests and for `doctor`; the decisions do not ask, they keep it.

use std::collections::{BTreeMap, BTreeSet};

use amux_proto::entity::{Agent, ClosedWhat, Content, Desired, FlowState, Recipient, RequestKind, RunState, Tab};
use amux_proto::{AgentId, PaneId, TabId, TeamId, WorkspaceId};

use crate::bounds::{AGENTS_MAX, PANES_MAX, REQUESTS_OF_AGENT_MAX, TABS_MAX, TEAMS_MAX, WORKSPACES_MAX};
use crate::layout::{self, tree};
use crate::state::{Index, State};

/// What is wrong, in sentences; nothing in a good state.
pub fn check(state: &State) -> Vec<String> {
    let mut wrong = Wrong(Vec::new());
    index(state, &mut wrong);
    teams(state, &mut wrong);
    agents(state, &mut wrong);
    workspaces(state, &mut wrong);
    tabs(state, &mut wrong);
    panes(state, &mut wrong);
    shelf(state, &mut wrong);
    requests(state, &mut wrong);
    messages(state, &mut wrong);
    wrong.0
}

struct Wrong(Vec<String>);

impl Wrong {
    fn unless(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.0.push(what());
        }
    }
}

fn index(state: &State, wrong: &mut Wrong) {
    let mut rebuilt = State::default();
    state.teams.values().for_each(|team| rebuilt.put_team(team.clone()));
    state.agents.values().for_each(|agent| rebuilt.put_agent(agent.clone()));
    state.messages.values().for_each(|message| rebuilt.put_message(message.clone()));
    let index: &Index = &state.index;
    wrong.unless(*index == rebuilt.index, || "the indexes are not those of the maps".into());
    let ids = state.teams.iter().all(|(id, team)| *id == team.id)
        && state.agents.iter().all(|(id, agent)| *id == agent.id)
        && state.workspaces.iter().all(|(id, workspace)| *id == workspace.id)
        && state.tabs.iter().all(|(id, tab)| *id == tab.id)
        && state.panes.iter().all(|(id, pane)| *id == pane.id)
        && state.requests.iter().all(|(id, request)| *id == request.id)
        && state.messages.iter().all(|(id, message)| *id == message.id)
        && state.settings.iter().all(|(key, setting)| *key == setting.key)
        && state.flows.iter().all(|(id, flow)| *id == flow.id)
        && state.closed.iter().all(|(id, closed)| *id == closed.id);
    wrong.unless(ids, || "something is kept under an id that is not its own".into());
}

fn teams(state: &State, wrong: &mut Wrong) {
    wrong.unless(state.teams.len() <= TEAMS_MAX, || "there are too many teams".into());
    let names: BTreeSet<_> = state.teams.values().map(|team| &team.name).collect();
    wrong.unless(names.len() == state.teams.len(), || "two teams have one name".into());
    let mut waited: BTreeMap<TeamId, BTreeSet<AgentId>> = BTreeMap::new();
    for flow in state.flows.values() {
        let FlowState::RemovingTeam { team, waiting } = &flow.state;
        wrong.unless(!waiting.is_empty(), || format!("flow {} waits for nobody", flow.id));
        let twice = waited.insert(*team, waiting.iter().copied().collect());
        wrong.unless(twice.is_none(), || format!("team {team} is removed twice at once"));
        wrong.unless(state.teams.contains_key(team), || format!("flow {} removes a team that is gone", flow.id));
    }
    for team in state.teams.values() {
        let members: BTreeSet<_> = state.agents_of(team.id).map(|agent| agent.id).collect();
        let expected = team.removing.then_some(members);
        wrong.unless(waited.get(&team.id) == expected.as_ref(), || {
            format!("team {} is being removed exactly when a flow waits for exactly its agents, but is not", team.name)
        });
        wrong.unless(!team.removing || state.agents_of(team.id).all(|agent| agent.removing), || {
            format!("team {} is being removed but not all of its agents are", team.name)
        });
    }
}

fn agents(state: &State, wrong: &mut Wrong) {
    wrong.unless(state.agents.len() <= AGENTS_MAX, || "there are too many agents".into());
    let names: BTreeSet<_> = state.agents.values().map(|agent| (agent.team, &agent.name)).collect();
    wrong.unless(names.len() == state.agents.len(), || "two agents of a team have one name".into());
    for agent in state.agents.values() {
        wrong.unless(state.teams.contains_key(&agent.team), || format!("agent {} is in no team", agent.id));
        wrong.unless(desire_fits_run(agent), || {
            format!("agent {}: {:?} does not fit {:?}", agent.id, agent.desired, agent.run)
        });
        let going = matches!(agent.run.as_ref().map(|run| &run.state), Some(RunState::Stopping { .. }));
        wrong.unless(!agent.removing || (going && agent.desired == Desired::Stopped), || {
            format!("agent {} is being removed but not being stopped", agent.id)
        });
    }
}

fn desire_fits_run(agent: &Agent) -> bool {
    match (agent.desired, agent.run.as_ref().map(|run| (run.no, &run.state))) {
        (Desired::Stopped, None) => true,
        (Desired::Stopped, Some((no, state))) => match state {
            RunState::Stopping { .. } | RunState::Exited { .. } | RunState::Failed { .. } | RunState::Lost { .. } => {
                no.0 > 0
            }
            RunState::Starting | RunState::Running { .. } => false,
        },
        (Desired::Running { .. }, None) => false,
        (Desired::Running { run }, Some((no, state))) => match state {
            RunState::Starting | RunState::Running { .. } => run == no,
            RunState::Stopping { .. } => run == no.next(),
            RunState::Exited { .. } | RunState::Failed { .. } | RunState::Lost { .. } => false,
        },
    }
}

fn workspaces(state: &State, wrong: &mut Wrong) {
    wrong.unless(state.workspaces.len() <= WORKSPACES_MAX, || "there are too many workspaces".into());
    wrong.unless(is_order_of(&state.order.workspaces, state.workspaces.keys()), || {
        "the order of the workspaces is not that of the workspaces there are".into()
    });
    for workspace in state.workspaces.values() {
        let (id, tabs) = (workspace.id, &workspace.tabs);
        wrong.unless(tabs.len() <= TABS_MAX, || format!("workspace {id} has too many tabs"));
        let members: BTreeSet<TabId> =
            state.tabs.values().filter(|tab| tab.workspace == id).map(|tab| tab.id).collect();
        wrong.unless(is_order_of(tabs, members.iter()), || format!("the tabs of workspace {id} are not those in it"));
        wrong.unless(workspace.active.is_none() == tabs.is_empty(), || {
            format!("workspace {id} has a tab in front exactly when it has tabs, but does not")
        });
        wrong.unless(workspace.active.is_none_or(|active| tabs.contains(&active)), || {
            format!("the tab in front of workspace {id} is not one of its tabs")
        });
        let pinned: Vec<bool> = tabs.iter().filter_map(|tab| state.tabs.get(tab)).map(|tab| tab.pinned).collect();
        wrong.unless(pinned.is_sorted_by_key(|pinned| !pinned), || {
            format!("a pinned tab of workspace {id} stands behind another")
        });
    }
}

fn tabs(state: &State, wrong: &mut Wrong) {
    for tab in state.tabs.values() {
        let id = tab.id;
        wrong.unless(state.workspaces.contains_key(&tab.workspace), || format!("tab {id} is in no workspace"));
        wrong.unless(layout::count(tab) <= PANES_MAX, || format!("tab {id} has too many panes"));
        if let Some(root) = &tab.root {
            wrong.0.extend(tree::check(root).into_iter().map(|what| format!("tab {id}: {what}")));
        }
        let seen = tab.root.as_ref().map(tree::visible).unwrap_or_default();
        let focused = tab.focus.map_or(seen.is_empty(), |focus| seen.contains(&focus));
        wrong.unless(focused, || format!("the focus of tab {id} is not a pane in front"));
    }
}

fn panes(state: &State, wrong: &mut Wrong) {
    let mut placed: BTreeMap<PaneId, TabId> = BTreeMap::new();
    let standing = |tab: &Tab| tab.root.as_ref().map(|root| root.panes()).unwrap_or_default();
    for tab in state.tabs.values() {
        for pane in standing(tab) {
            let twice = placed.insert(pane, tab.id);
            wrong.unless(twice.is_none(), || format!("pane {pane} stands in two places"));
        }
    }
    let panes: BTreeMap<PaneId, TabId> = state.panes.values().map(|pane| (pane.id, pane.tab)).collect();
    wrong.unless(panes == placed, || "the panes are not exactly those that are placed".into());
    for pane in state.panes.values() {
        let there = match &pane.content {
            Content::Agent { agent } => state.agents.contains_key(agent),
            Content::View { .. } | Content::Empty => true,
        };
        wrong.unless(there, || format!("pane {} shows an agent that is gone", pane.id));
    }
}

fn shelf(state: &State, wrong: &mut Wrong) {
    wrong.unless(is_order_of(&state.order.closed, state.closed.keys()), || {
        "the order of the shelf is not that of what is on it".into()
    });
    let mut workspaces: BTreeSet<WorkspaceId> = state.workspaces.keys().copied().collect();
    let mut tabs: BTreeSet<TabId> = state.tabs.keys().copied().collect();
    let mut panes: BTreeSet<PaneId> = state.panes.keys().copied().collect();
    for closed in state.closed.values() {
        let unique = match &closed.what {
            ClosedWhat::Pane { pane, .. } => panes.insert(pane.id),
            ClosedWhat::Tab { tab, panes: inside, .. } => {
                tabs.insert(tab.id) && inside.iter().all(|pane| panes.insert(pane.id))
            }
            ClosedWhat::Workspace { workspace, tabs: inside, panes: within, .. } => {
                workspaces.insert(workspace.id)
                    && inside.iter().all(|tab| tabs.insert(tab.id))
                    && within.iter().all(|pane| panes.insert(pane.id))
            }
        };
        wrong.unless(unique, || format!("what {} would bring back is there already", closed.id));
    }
}

fn requests(state: &State, wrong: &mut Wrong) {
    let mut asked: BTreeMap<AgentId, usize> = BTreeMap::new();
    for request in state.requests.values() {
        if request.kind == RequestKind::HeldMessage {
            let is_there = state.agents.contains_key(&request.agent);
            wrong.unless(is_there, || format!("request {} is about mail of an agent that is gone", request.id));
            continue;
        }
        *asked.entry(request.agent).or_default() += 1;
        let live = crate::run::live(state, request.agent, request.run);
        wrong.unless(live.is_some(), || format!("request {} is of a run that does not live", request.id));
    }
    wrong.unless(asked.values().all(|count| *count <= REQUESTS_OF_AGENT_MAX), || "an agent asks too much".into());
}

fn messages(state: &State, wrong: &mut Wrong) {
    for message in state.messages.values() {
        let to: BTreeSet<_> = message.deliveries.iter().map(|delivery| delivery.to).collect();
        wrong.unless(!to.is_empty() && to.len() == message.deliveries.len(), || {
            format!("message {} goes to nobody, or to somebody twice", message.id)
        });
        for delivery in &message.deliveries {
            let hopeless = match delivery.to {
                Recipient::Operator => false,
                Recipient::Agent { agent } => !state.agents.contains_key(&agent),
            };
            wrong.unless(!hopeless || delivery.stage.is_settled(), || {
                format!("message {} still waits for an agent that is gone", message.id)
            });
        }
    }
}

/// Whether a list names each of these once and nothing else.
fn is_order_of<'a, T: Ord + 'a>(order: &[T], of: impl Iterator<Item = &'a T>) -> bool {
    let named: BTreeSet<&T> = order.iter().collect();
    named.len() == order.len() && named.into_iter().eq(of)
}
