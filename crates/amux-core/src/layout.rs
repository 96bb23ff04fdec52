//! What concerns trees and the shelf rather than one pane: sizes, and bringing back what was closed. The algebra is in
//! [`tree`].

pub mod tree;

use amux_proto::command::layout::{Command, Reopen, Resize};
use amux_proto::entity::{Closed, ClosedWhat, Content, Pane, Tab, Workspace};
use amux_proto::event::layout::{Event, Shelved, Unshelved};
use amux_proto::event::{pane as pane_event, tab as tab_event, workspace as workspace_event};
use amux_proto::{ClosedId, Code, NodeId, PaneId, Rejection, TabId, WorkspaceId};
use serde_json::{Value, json};

use crate::bounds::{self, TABS_MAX, WORKSPACES_MAX, bad};
use crate::case::Case;
use crate::state::State;
use crate::{pane, resolve, setting, workspace};

pub(crate) fn decide(case: &mut Case<'_>, command: &Command) -> Result<Value, Rejection> {
    match command {
        Command::Resize(order) => resize(case, order),
        Command::Reopen(order) => reopen(case, order),
    }
}

fn resize(case: &mut Case<'_>, order: &Resize) -> Result<Value, Rejection> {
    let tab = resolve::tab(case.state, &order.tab)?;
    case.expect(tab.rev)?;
    let Some(root) = &tab.root else {
        return Err(Rejection::new(Code::NotFound, format!("no such split: {}", order.split)));
    };
    match tree::resize(root, order.split, &order.sizes) {
        Some(root) => {
            pane::set_layout(case, tab, Some(root), tab.focus);
            Ok(json!({ "tab": tab.id, "split": order.split }))
        }
        None => {
            let bare = format!("no such split, or not one size above 0 for each of its children: {}", order.split);
            Err(bad(bare))
        }
    }
}

/// Without a name the newest that can come back does; what cannot stays on the shelf for when it can.
fn reopen(case: &mut Case<'_>, order: &Reopen) -> Result<Value, Rejection> {
    let state = case.state;
    let candidates: Vec<ClosedId> = match order.closed {
        Some(id) => vec![id],
        None => state.order.closed.iter().rev().copied().collect(),
    };
    let mut refusal = None;
    for id in candidates {
        let closed = state.closed.get(&id).ok_or_else(|| {
            Rejection::new(Code::NotFound, format!("nothing closed has this id: {id}")).hint("agentmux layout show")
        })?;
        match Way::back(state, closed) {
            Ok(way) => return Ok(bring_back(case, closed, way)),
            Err(why) => refusal = refusal.or(Some(why)),
        }
    }
    Err(refusal.unwrap_or_else(|| Rejection::new(Code::NotFound, "there is nothing to reopen: the shelf is empty")))
}

/// Where something closed can go.
enum Way<'a> {
    Pane { pane: &'a Pane, root_before: &'a amux_proto::layout::Node, tab: &'a Tab },
    Tab { tab: &'a Tab, panes: &'a [Pane], index: u32, workspace: &'a Workspace },
    Workspace { workspace: &'a Workspace, tabs: &'a [Tab], panes: &'a [Pane], index: u32 },
}

impl<'a> Way<'a> {
    fn back(state: &'a State, closed: &'a Closed) -> Result<Self, Rejection> {
        let gone = |what: &str| Rejection::new(Code::Conflict, format!("there is no place left for it: {what}"));
        match &closed.what {
            ClosedWhat::Pane { pane, workspace, root_before } => {
                let instead = || state.tabs.get(&state.workspaces.get(workspace)?.active?);
                let tab = state.tabs.get(&pane.tab).or_else(instead);
                let tab = tab.ok_or_else(|| gone("its tab is gone and its workspace has none"))?;
                pane::check_room(tab)?;
                Ok(Self::Pane { pane, root_before, tab })
            }
            ClosedWhat::Tab { tab, panes, index } => {
                let home = state.workspaces.get(&tab.workspace).ok_or_else(|| gone("its workspace is gone"))?;
                if home.tabs.len() >= TABS_MAX {
                    return Err(bounds::limit("tabs in a workspace", TABS_MAX));
                }
                Ok(Self::Tab { tab, panes, index: *index, workspace: home })
            }
            ClosedWhat::Workspace { workspace, tabs, panes, index } => {
                if state.workspaces.len() >= WORKSPACES_MAX {
                    return Err(bounds::limit("workspaces", WORKSPACES_MAX));
                }
                Ok(Self::Workspace { workspace, tabs, panes, index: *index })
            }
        }
    }
}

fn bring_back(case: &mut Case<'_>, closed: &Closed, way: Way<'_>) -> Value {
    let answer = match way {
        Way::Pane { pane, root_before, tab } => {
            open_pane(case, pane, tab.id);
            let fresh = NodeId(case.make_id());
            let root = tree::reinstate(tab.root.clone(), root_before, pane.id, fresh);
            pane::set_layout(case, tab, Some(root), Some(pane.id));
            json!({ "closed": closed.id, "workspace": tab.workspace, "tab": tab.id, "pane": pane.id })
        }
        Way::Tab { tab, panes, index, workspace } => {
            open_tab(case, tab, panes);
            let mut tabs = workspace.tabs.clone();
            // Pinned tabs stand first, and this one is not among the state's tabs yet.
            let pinned = tabs.iter().filter(|id| case.state.tabs.get(id).is_some_and(|tab| tab.pinned)).count();
            let at = place_in(index, tabs.len());
            tabs.insert(if tab.pinned { at.min(pinned) } else { at.max(pinned) }, tab.id);
            workspace::set_tabs(case, workspace, tabs, Some(tab.id));
            json!({ "closed": closed.id, "workspace": workspace.id, "tab": tab.id })
        }
        Way::Workspace { workspace, tabs, panes, index } => {
            case.emit(workspace_event::Event::Created(workspace_event::Created {
                workspace: workspace.id,
                name: workspace.name.clone(),
                index: index_of(place_in(index, case.state.order.workspaces.len())),
                torn_from: workspace.torn_from,
            }));
            for tab in tabs {
                open_tab(case, tab, panes);
            }
            if !tabs.is_empty() {
                case.emit(workspace_event::Event::TabsChanged(workspace_event::TabsChanged {
                    workspace: workspace.id,
                    tabs: workspace.tabs.clone(),
                    active: workspace.active,
                }));
            }
            json!({ "closed": closed.id, "workspace": workspace.id })
        }
    };
    case.emit(Event::Unshelved(Unshelved { closed: closed.id }));
    answer
}

fn open_tab(case: &mut Case<'_>, tab: &Tab, panes: &[Pane]) {
    let Tab { id, workspace, name, pinned, root, focus, rev: _ } = tab.clone();
    case.emit(tab_event::Event::Created(tab_event::Created { tab: id, workspace, name, pinned }));
    for pane in panes.iter().filter(|pane| pane.tab == id) {
        open_pane(case, pane, id);
    }
    if root.is_some() {
        case.emit(tab_event::Event::LayoutChanged(tab_event::LayoutChanged { tab: id, root, focus }));
    }
}

/// A pane whose agent is gone comes back empty.
fn open_pane(case: &mut Case<'_>, pane: &Pane, tab: TabId) {
    let content = match pane::check_content(case.state, &pane.content) {
        Ok(()) => pane.content.clone(),
        Err(_) => Content::Empty,
    };
    case.emit(pane_event::Event::Opened(pane_event::Opened { pane: pane.id, tab, title: pane.title.clone(), content }));
}

/// Puts what was closed on the shelf; the oldest fall off its other end.
pub(crate) fn shelve(case: &mut Case<'_>, what: ClosedWhat) -> ClosedId {
    let id = ClosedId(case.make_id());
    let shelf = &case.state.order.closed;
    let surplus = (shelf.len() + 1).saturating_sub(setting::shelf_keep(case.state));
    let mut dropped = shelf.iter().take(surplus).copied();
    let first = dropped.next();
    let closed = Box::new(Closed { id, at: case.ctx.now, what });
    case.emit(Event::Shelved(Shelved { closed, dropped: first }));
    for dropped in dropped {
        case.emit(Event::Unshelved(Unshelved { closed: dropped }));
    }
    id
}

/// The ids of what can be reopened stay taken: it comes back under them.
pub(crate) fn shelf_has_pane(state: &State, id: PaneId) -> bool {
    state.closed.values().any(|closed| match &closed.what {
        ClosedWhat::Pane { pane, .. } => pane.id == id,
        ClosedWhat::Tab { panes, .. } | ClosedWhat::Workspace { panes, .. } => panes.iter().any(|pane| pane.id == id),
    })
}

pub(crate) fn shelf_has_tab(state: &State, id: TabId) -> bool {
    state.closed.values().any(|closed| match &closed.what {
        ClosedWhat::Pane { .. } => false,
        ClosedWhat::Tab { tab, .. } => tab.id == id,
        ClosedWhat::Workspace { tabs, .. } => tabs.iter().any(|tab| tab.id == id),
    })
}

pub(crate) fn shelf_has_workspace(state: &State, id: WorkspaceId) -> bool {
    state.closed.values().any(|closed| match &closed.what {
        ClosedWhat::Pane { .. } | ClosedWhat::Tab { .. } => false,
        ClosedWhat::Workspace { workspace, .. } => workspace.id == id,
    })
}

/// The panes of a tab, in reading order.
pub(crate) fn panes_of<'a>(state: &'a State, tab: &Tab) -> impl Iterator<Item = &'a Pane> {
    let panes = tab.root.as_ref().map(|root| root.panes()).unwrap_or_default();
    panes.into_iter().filter_map(|id| state.panes.get(&id))
}

pub(crate) fn count(tab: &Tab) -> usize {
    tab.root.as_ref().map_or(0, |root| root.panes().len())
}

/// An index somebody gave, within a list of so many.
pub(crate) fn place_in(index: u32, len: usize) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX).min(len)
}

/// An index of ours, as it travels.
pub(crate) fn index_of(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

pub(crate) fn apply(state: &mut State, event: &Event) {
    match event {
        Event::Shelved(Shelved { closed, dropped }) => {
            if let Some(dropped) = dropped {
                unshelve(state, *dropped);
            }
            unshelve(state, closed.id);
            state.order.closed.push(closed.id);
            state.closed.insert(closed.id, Closed::clone(closed));
        }
        Event::Unshelved(Unshelved { closed }) => unshelve(state, *closed),
    }
}

fn unshelve(state: &mut State, id: ClosedId) {
    state.closed.remove(&id);
    state.order.closed.retain(|other| *other != id);
}
