//! Tabs: one layout tree each, in a workspace's order.

use amux_proto::command::tab::{Activate, Close, Command, Create, Move, Pin, Rename, TearOff};
use amux_proto::entity::{ClosedWhat, Content, Pane, Tab, TornFrom, Workspace};
use amux_proto::event::tab::{Closed, Created, Event, LayoutChanged, Moved, Pinned, Renamed};
use amux_proto::event::{pane as pane_event, workspace as workspace_event};
use amux_proto::layout::Place;
use amux_proto::{Code, NodeId, Rejection, TabId};
use serde_json::{Value, json};

use crate::bounds::{self, TABS_MAX};
use crate::case::Case;
use crate::layout::{self, tree};
use crate::state::{FIRST_REV, State, change};
use crate::{pane, resolve, workspace};

pub(crate) fn decide(case: &mut Case<'_>, command: &Command) -> Result<Value, Rejection> {
    match command {
        Command::Create(order) => create(case, order),
        Command::Rename(order) => rename(case, order),
        Command::Move(order) => move_to(case, order),
        Command::Pin(order) => pin(case, order),
        Command::Activate(order) => activate(case, order),
        Command::Close(order) => close(case, order),
        Command::TearOff(order) => tear_off(case, order),
    }
}

fn create(case: &mut Case<'_>, order: &Create) -> Result<Value, Rejection> {
    let state = case.state;
    let workspace = resolve::workspace(state, &order.workspace)?;
    case.expect(workspace.rev)?;
    if workspace.tabs.len() >= TABS_MAX {
        return Err(bounds::limit("tabs in a workspace", TABS_MAX));
    }
    let name = match &order.name {
        Some(name) => name.clone(),
        None => free_number(state, workspace),
    };
    bounds::label("the tab's name", &name)?;
    let tab = fresh_id(case, order.id)?;
    // A first pane is made when one is asked for, by its content or by its id.
    let content = order.content.clone().or_else(|| order.pane.map(|_| Content::Empty));
    if let Some(content) = &content {
        pane::check_content(state, content)?;
    }
    let pane = content.as_ref().map(|_| pane::fresh_id(case, order.pane)).transpose()?;
    case.emit(Event::Created(Created { tab, workspace: workspace.id, name: name.clone(), pinned: false }));
    let mut tabs = workspace.tabs.clone();
    let at = order.index.map_or(tabs.len(), |index| layout::place_in(index, tabs.len()));
    tabs.insert(at, tab);
    workspace::set_tabs(case, workspace, workspace::pinned_first(state, tabs), Some(tab));
    if let (Some(pane), Some(content)) = (pane, content) {
        case.emit(pane_event::Event::Opened(pane_event::Opened { pane, tab, title: None, content }));
        let root = Some(tree::insert(None, pane, &Place::Tab { tab }, NodeId(case.make_id())));
        case.emit(Event::LayoutChanged(LayoutChanged { tab, root, focus: Some(pane) }));
    }
    Ok(json!({ "workspace": workspace.id, "tab": tab, "pane": pane, "name": name }))
}

/// The smallest number no tab of the workspace is named.
fn free_number(state: &State, workspace: &Workspace) -> String {
    let taken = |name: &String| workspace::tabs_of(state, workspace).any(|tab| tab.name == *name);
    (1..=TABS_MAX).map(|number| number.to_string()).find(|name| !taken(name)).unwrap_or_else(|| TABS_MAX.to_string())
}

pub(crate) fn fresh_id(case: &mut Case<'_>, id: Option<TabId>) -> Result<TabId, Rejection> {
    match id {
        Some(id) if case.state.tabs.contains_key(&id) || layout::shelf_has_tab(case.state, id) => {
            Err(Rejection::new(Code::Exists, format!("a tab has this id already: {id}")))
        }
        Some(id) => Ok(id),
        None => Ok(TabId(case.make_id())),
    }
}

fn rename(case: &mut Case<'_>, order: &Rename) -> Result<Value, Rejection> {
    let tab = resolve::tab(case.state, &order.tab)?;
    case.expect(tab.rev)?;
    bounds::label("the tab's name", &order.name)?;
    if tab.name != order.name {
        case.emit(Event::Renamed(Renamed { tab: tab.id, name: order.name.clone() }));
    }
    Ok(json!({ "tab": tab.id, "name": order.name }))
}

fn move_to(case: &mut Case<'_>, order: &Move) -> Result<Value, Rejection> {
    let state = case.state;
    let tab = resolve::tab(state, &order.tab)?;
    case.expect(tab.rev)?;
    let source = home(state, tab)?;
    let target = match &order.workspace {
        Some(reference) => resolve::workspace(state, reference)?,
        None => source,
    };
    let mut tabs: Vec<TabId> = target.tabs.iter().copied().filter(|id| *id != tab.id).collect();
    tabs.insert(layout::place_in(order.index, tabs.len()), tab.id);
    let tabs = workspace::pinned_first(state, tabs);
    if target.id != source.id {
        if target.tabs.len() >= TABS_MAX {
            return Err(bounds::limit("tabs in a workspace", TABS_MAX));
        }
        case.emit(Event::Moved(Moved { tab: tab.id, workspace: target.id }));
        workspace::take_tab(case, source, tab.id);
    }
    workspace::set_tabs(case, target, tabs, target.active.or(Some(tab.id)));
    Ok(json!({ "tab": tab.id, "workspace": target.id }))
}

fn pin(case: &mut Case<'_>, order: &Pin) -> Result<Value, Rejection> {
    let state = case.state;
    let tab = resolve::tab(state, &order.tab)?;
    case.expect(tab.rev)?;
    if tab.pinned != order.pinned {
        case.emit(Event::Pinned(Pinned { tab: tab.id, pinned: order.pinned }));
        let home = home(state, tab)?;
        let (mut tabs, others): (Vec<TabId>, Vec<TabId>) = home
            .tabs
            .iter()
            .filter(|id| **id != tab.id)
            .partition(|id| state.tabs.get(id).is_some_and(|tab| tab.pinned));
        // Between the two groups it is both the last pinned and the first unpinned one.
        tabs.push(tab.id);
        tabs.extend(others);
        workspace::set_tabs(case, home, tabs, home.active);
    }
    Ok(json!({ "tab": tab.id, "pinned": order.pinned }))
}

fn activate(case: &mut Case<'_>, order: &Activate) -> Result<Value, Rejection> {
    let tab = resolve::tab(case.state, &order.tab)?;
    case.expect(tab.rev)?;
    let home = home(case.state, tab)?;
    workspace::set_tabs(case, home, home.tabs.clone(), Some(tab.id));
    Ok(json!({ "tab": tab.id, "workspace": home.id }))
}

fn close(case: &mut Case<'_>, order: &Close) -> Result<Value, Rejection> {
    let state = case.state;
    let tab = resolve::tab(state, &order.tab)?;
    case.expect(tab.rev)?;
    let home = home(state, tab)?;
    let panes: Vec<Pane> = layout::panes_of(state, tab).cloned().collect();
    for pane in &panes {
        case.emit(pane_event::Event::Closed(pane_event::Closed { pane: pane.id, tab: tab.id }));
    }
    case.emit(Event::Closed(Closed { tab: tab.id, workspace: home.id }));
    workspace::take_tab(case, home, tab.id);
    let index = layout::index_of(home.tabs.iter().position(|id| *id == tab.id).unwrap_or_default());
    let closed = layout::shelve(case, ClosedWhat::Tab { tab: tab.clone(), panes, index });
    Ok(json!({ "tab": tab.id, "workspace": home.id, "closed": closed }))
}

fn tear_off(case: &mut Case<'_>, order: &TearOff) -> Result<Value, Rejection> {
    let state = case.state;
    let tab = resolve::tab(state, &order.tab)?;
    case.expect(tab.rev)?;
    let home = home(state, tab)?;
    if home.tabs.len() == 1 {
        // It has a workspace of its own.
        return Ok(json!({ "workspace": home.id, "tab": tab.id }));
    }
    let index = layout::index_of(home.tabs.iter().position(|id| *id == tab.id).unwrap_or_default());
    let torn_from = TornFrom { workspace: home.id, tab: None, index };
    let name = order.name.as_ref().unwrap_or(&tab.name);
    let workspace = workspace::open(case, order.workspace, name, Some(torn_from))?;
    case.emit(Event::Moved(Moved { tab: tab.id, workspace }));
    workspace::take_tab(case, home, tab.id);
    let (tabs, active) = (vec![tab.id], Some(tab.id));
    case.emit(workspace_event::Event::TabsChanged(workspace_event::TabsChanged { workspace, tabs, active }));
    Ok(json!({ "workspace": workspace, "tab": tab.id }))
}

/// The workspace a tab is in.
pub(crate) fn home<'a>(state: &'a State, tab: &Tab) -> Result<&'a Workspace, Rejection> {
    state
        .workspaces
        .get(&tab.workspace)
        .ok_or_else(|| Rejection::new(Code::Internal, format!("the tab is in no workspace: {}", tab.id)))
}

pub(crate) fn apply(state: &mut State, event: &Event) {
    match event {
        Event::Created(Created { tab, workspace, name, pinned }) => {
            let tab = Tab {
                id: *tab,
                workspace: *workspace,
                name: name.clone(),
                pinned: *pinned,
                root: None,
                focus: None,
                rev: FIRST_REV,
            };
            state.tabs.insert(tab.id, tab);
        }
        Event::Renamed(Renamed { tab, name }) => change(&mut state.tabs, tab, |tab| tab.name = name.clone()),
        Event::Moved(Moved { tab, workspace }) => change(&mut state.tabs, tab, |tab| tab.workspace = *workspace),
        Event::Pinned(Pinned { tab, pinned }) => change(&mut state.tabs, tab, |tab| tab.pinned = *pinned),
        Event::LayoutChanged(LayoutChanged { tab, root, focus }) => change(&mut state.tabs, tab, |tab| {
            tab.root = root.clone();
            tab.focus = *focus;
        }),
        Event::Closed(Closed { tab, .. }) => {
            state.tabs.remove(tab);
        }
    }
}
