//! Workspaces: their order, their tabs' order, and the way back of one that was torn off.

use amux_proto::command::workspace::{Close, Command, Create, Move, Rename, Restore};
use amux_proto::entity::{ClosedWhat, Pane, Tab, TornFrom, Workspace};
use amux_proto::event::workspace::{Closed, Created, Event, Moved, Renamed, TabsChanged};
use amux_proto::event::{pane, tab};
use amux_proto::{Code, NodeId, Rejection, TabId, WorkspaceId};
use serde_json::{Value, json};

use crate::bounds::{self, PANES_MAX, TABS_MAX, WORKSPACES_MAX};
use crate::case::Case;
use crate::layout::{self, tree};
use crate::resolve;
use crate::state::{FIRST_REV, State, change};

pub(crate) fn decide(case: &mut Case<'_>, command: &Command) -> Result<Value, Rejection> {
    match command {
        Command::Create(order) => create(case, order),
        Command::Rename(order) => rename(case, order),
        Command::Move(order) => move_to(case, order),
        Command::Close(order) => close(case, order),
        Command::Restore(order) => restore(case, order),
    }
}

fn create(case: &mut Case<'_>, order: &Create) -> Result<Value, Rejection> {
    let workspace = open(case, order.id, &order.name, None)?;
    Ok(json!({ "workspace": workspace, "name": order.name }))
}

/// A new workspace behind the last.
pub(crate) fn open(
    case: &mut Case<'_>,
    id: Option<WorkspaceId>,
    name: &str,
    torn_from: Option<TornFrom>,
) -> Result<WorkspaceId, Rejection> {
    bounds::label("the workspace's name", name)?;
    if case.state.workspaces.len() >= WORKSPACES_MAX {
        return Err(bounds::limit("workspaces", WORKSPACES_MAX));
    }
    let workspace = match id {
        Some(id) if case.state.workspaces.contains_key(&id) || layout::shelf_has_workspace(case.state, id) => {
            return Err(Rejection::new(Code::Exists, format!("a workspace has this id already: {id}")));
        }
        Some(id) => id,
        None => WorkspaceId(case.make_id()),
    };
    let index = layout::index_of(case.state.order.workspaces.len());
    case.emit(Event::Created(Created { workspace, name: name.to_owned(), index, torn_from }));
    Ok(workspace)
}

fn rename(case: &mut Case<'_>, order: &Rename) -> Result<Value, Rejection> {
    let workspace = resolve::workspace(case.state, &order.workspace)?;
    case.expect(workspace.rev)?;
    bounds::label("the workspace's name", &order.name)?;
    if workspace.name != order.name {
        case.emit(Event::Renamed(Renamed { workspace: workspace.id, name: order.name.clone() }));
    }
    Ok(json!({ "workspace": workspace.id, "name": order.name }))
}

fn move_to(case: &mut Case<'_>, order: &Move) -> Result<Value, Rejection> {
    let workspace = resolve::workspace(case.state, &order.workspace)?;
    case.expect(workspace.rev)?;
    let others = case.state.order.workspaces.len().saturating_sub(1);
    let index = layout::place_in(order.index, others);
    if case.state.order.workspaces.get(index) != Some(&workspace.id) {
        case.emit(Event::Moved(Moved { workspace: workspace.id, index: layout::index_of(index) }));
    }
    Ok(json!({ "workspace": workspace.id, "index": index }))
}

fn close(case: &mut Case<'_>, order: &Close) -> Result<Value, Rejection> {
    let state = case.state;
    let workspace = resolve::workspace(state, &order.workspace)?;
    case.expect(workspace.rev)?;
    let tabs: Vec<Tab> = tabs_of(state, workspace).cloned().collect();
    let panes: Vec<Pane> = tabs.iter().flat_map(|tab| layout::panes_of(state, tab)).cloned().collect();
    for pane in &panes {
        case.emit(pane::Event::Closed(pane::Closed { pane: pane.id, tab: pane.tab }));
    }
    for tab in &tabs {
        case.emit(tab::Event::Closed(tab::Closed { tab: tab.id, workspace: workspace.id }));
    }
    case.emit(Event::Closed(Closed { workspace: workspace.id }));
    let place = state.order.workspaces.iter().position(|id| *id == workspace.id).unwrap_or_default();
    let index = layout::index_of(place);
    let what = ClosedWhat::Workspace { workspace: workspace.clone(), tabs, panes, index };
    let closed = layout::shelve(case, what);
    Ok(json!({ "workspace": workspace.id, "closed": closed }))
}

fn restore(case: &mut Case<'_>, order: &Restore) -> Result<Value, Rejection> {
    let state = case.state;
    let workspace = resolve::workspace(state, &order.workspace)?;
    case.expect(workspace.rev)?;
    let Some(from) = workspace.torn_from else {
        return Err(Rejection::new(Code::Conflict, format!("the workspace was not torn off: {}", workspace.name)));
    };
    let origin_tab = from.tab.and_then(|tab| state.tabs.get(&tab)).filter(|tab| tab.workspace != workspace.id);
    let tabs: Vec<&Tab> = tabs_of(state, workspace).collect();
    let answer = match (origin_tab, state.workspaces.get(&from.workspace)) {
        (Some(tab), _) => into_tab(case, tab, &tabs)?,
        (None, Some(origin)) => into_workspace(case, origin, from.index, &tabs)?,
        (None, None) => {
            let gone = format!("the workspace it was torn off from is gone: {}", workspace.name);
            return Err(Rejection::new(Code::Conflict, gone).hint("agentmux layout reopen"));
        }
    };
    case.emit(Event::Closed(Closed { workspace: workspace.id }));
    Ok(answer)
}

/// Panes torn off a tab that still stands: everything that is with them now comes along, to the right edge.
fn into_tab(case: &mut Case<'_>, origin: &Tab, tabs: &[&Tab]) -> Result<Value, Rejection> {
    let roots: Vec<_> = tabs.iter().filter_map(|tab| tab.root.clone()).collect();
    let coming: Vec<_> = roots.iter().flat_map(|root| root.panes()).collect();
    if layout::count(origin) + coming.len() > PANES_MAX {
        return Err(bounds::limit("panes in a tab", PANES_MAX));
    }
    for pane in &coming {
        case.emit(pane::Event::Moved(pane::Moved { pane: *pane, tab: origin.id }));
    }
    for tab in tabs {
        case.emit(tab::Event::Closed(tab::Closed { tab: tab.id, workspace: tab.workspace }));
    }
    if !coming.is_empty() {
        let mut root = origin.root.clone();
        for torn in roots {
            let fresh = NodeId(case.make_id());
            root = Some(tree::graft(root, torn, fresh));
        }
        let focus = tabs.first().and_then(|tab| tab.focus);
        let focus = tree::refocus(origin.root.as_ref(), root.as_ref(), focus.or(origin.focus));
        case.emit(tab::Event::LayoutChanged(tab::LayoutChanged { tab: origin.id, root, focus }));
    }
    Ok(json!({ "workspace": origin.workspace, "tab": origin.id }))
}

/// A tab torn off whole, or panes whose tab is gone: the tabs themselves go back.
fn into_workspace(case: &mut Case<'_>, origin: &Workspace, index: u32, tabs: &[&Tab]) -> Result<Value, Rejection> {
    if origin.tabs.len() + tabs.len() > TABS_MAX {
        return Err(bounds::limit("tabs in a workspace", TABS_MAX));
    }
    let mut order = origin.tabs.clone();
    let at = layout::place_in(index, order.len());
    order.splice(at..at, tabs.iter().map(|tab| tab.id));
    for tab in tabs {
        case.emit(tab::Event::Moved(tab::Moved { tab: tab.id, workspace: origin.id }));
    }
    let front = tabs.first().map(|tab| tab.id);
    if !tabs.is_empty() {
        set_tabs(case, origin, pinned_first(case.state, order), front);
    }
    Ok(json!({ "workspace": origin.id, "tab": front }))
}

/// The tabs of a workspace, in order.
pub(crate) fn tabs_of<'a>(state: &'a State, workspace: &Workspace) -> impl Iterator<Item = &'a Tab> {
    workspace.tabs.iter().filter_map(|id| state.tabs.get(id))
}

/// Pinned tabs stand before the others, each group in the order given.
pub(crate) fn pinned_first(state: &State, tabs: Vec<TabId>) -> Vec<TabId> {
    let (mut pinned, others): (Vec<TabId>, Vec<TabId>) =
        tabs.into_iter().partition(|id| state.tabs.get(id).is_some_and(|tab| tab.pinned));
    pinned.extend(others);
    pinned
}

/// Says what a workspace's tabs are now, if they are not that already.
pub(crate) fn set_tabs(case: &mut Case<'_>, workspace: &Workspace, tabs: Vec<TabId>, active: Option<TabId>) {
    if workspace.tabs != tabs || workspace.active != active {
        case.emit(Event::TabsChanged(TabsChanged { workspace: workspace.id, tabs, active }));
    }
}

/// The same without one of them.
pub(crate) fn take_tab(case: &mut Case<'_>, workspace: &Workspace, tab: TabId) {
    let mut tabs = workspace.tabs.clone();
    let Some(at) = tabs.iter().position(|id| *id == tab) else { return };
    tabs.remove(at);
    let active = if workspace.active == Some(tab) { tree::neighbour(&tabs, at) } else { workspace.active };
    set_tabs(case, workspace, tabs, active);
}

pub(crate) fn apply(state: &mut State, event: &Event) {
    match event {
        Event::Created(Created { workspace, name, index, torn_from }) => {
            let order = &mut state.order.workspaces;
            order.retain(|id| id != workspace);
            order.insert(layout::place_in(*index, order.len()), *workspace);
            let workspace = Workspace {
                id: *workspace,
                name: name.clone(),
                tabs: Vec::new(),
                active: None,
                torn_from: *torn_from,
                rev: FIRST_REV,
            };
            state.workspaces.insert(workspace.id, workspace);
        }
        Event::Renamed(Renamed { workspace, name }) => {
            change(&mut state.workspaces, workspace, |workspace| workspace.name = name.clone());
        }
        Event::Moved(Moved { workspace, index }) => {
            if state.workspaces.contains_key(workspace) {
                let order = &mut state.order.workspaces;
                order.retain(|id| id != workspace);
                order.insert(layout::place_in(*index, order.len()), *workspace);
            }
            change(&mut state.workspaces, workspace, |_| {});
        }
        Event::TabsChanged(TabsChanged { workspace, tabs, active }) => {
            change(&mut state.workspaces, workspace, |workspace| {
                workspace.tabs = tabs.clone();
                workspace.active = *active;
            });
        }
        Event::Closed(Closed { workspace }) => {
            state.workspaces.remove(workspace);
            state.order.workspaces.retain(|id| id != workspace);
        }
    }
}
