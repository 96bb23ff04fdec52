//! Panes: they exist exactly where they are placed. What opens, moves or closes one also says the tree it leaves
//! behind; `expect` is the revision of the pane's tab, because that is what a person saw.

use amux_proto::command::pane::{Activate, Close, Command, Move, Open, Rename, Show, TearOff};
use amux_proto::entity::{ClosedWhat, Content, Pane, Tab, TornFrom};
use amux_proto::event::pane::{Closed, Event, Moved, Opened, Renamed, Shown};
use amux_proto::event::tab::{self as tab_event, LayoutChanged};
use amux_proto::event::workspace as workspace_event;
use amux_proto::layout::{Node, Place};
use amux_proto::{Code, NodeId, PaneId, Rejection};
use serde_json::{Value, json};

use crate::bounds::{self, PANES_MAX, bad};
use crate::case::Case;
use crate::layout::{self, tree};
use crate::state::{FIRST_REV, State, change};
use crate::{resolve, tab, workspace};

pub(crate) fn decide(case: &mut Case<'_>, command: &Command) -> Result<Value, Rejection> {
    match command {
        Command::Open(order) => open(case, order),
        Command::Move(order) => move_to(case, order),
        Command::Close(order) => close(case, order),
        Command::Activate(order) => activate(case, order),
        Command::Rename(order) => rename(case, order),
        Command::Show(order) => show(case, order),
        Command::TearOff(order) => tear_off(case, order),
    }
}

fn open(case: &mut Case<'_>, order: &Open) -> Result<Value, Rejection> {
    let Open { id, content, place, title } = order;
    let tab = target(case.state, place)?;
    case.expect(tab.rev)?;
    check_room(tab)?;
    check_content(case.state, content)?;
    check_title(title.as_deref())?;
    let pane = fresh_id(case, *id)?;
    case.emit(Event::Opened(Opened { pane, tab: tab.id, title: title.clone(), content: content.clone() }));
    let root = tree::insert(tab.root.clone(), pane, place, NodeId(case.make_id()));
    set_layout(case, tab, Some(root), Some(pane));
    Ok(json!({ "pane": pane, "tab": tab.id }))
}

fn move_to(case: &mut Case<'_>, order: &Move) -> Result<Value, Rejection> {
    let state = case.state;
    let pane = resolve::pane(state, &order.pane)?;
    let (source, root) = standing(state, pane)?;
    case.expect(source.rev)?;
    let target = target(state, &order.place)?;
    let fresh = NodeId(case.make_id());
    if target.id == source.id {
        let root = moved_within(root, pane.id, &order.place, fresh);
        set_layout(case, source, Some(root), Some(pane.id));
    } else {
        check_room(target)?;
        case.emit(Event::Moved(Moved { pane: pane.id, tab: target.id }));
        leave(case, source, root, pane.id);
        let root = tree::insert(target.root.clone(), pane.id, &order.place, fresh);
        set_layout(case, target, Some(root), Some(pane.id));
    }
    Ok(json!({ "pane": pane.id, "tab": target.id }))
}

/// A move to where it stands keeps the tree with its sizes, and brings the pane to the front.
fn moved_within(root: &Node, pane: PaneId, place: &Place, fresh: NodeId) -> Node {
    let mate = || tree::stack_of(root, pane).into_iter().flatten().copied().find(|mate| *mate != pane);
    let in_front = || tree::activate(root.clone(), pane);
    let place = match place {
        Place::Beside { pane: anchor, side } if *anchor == pane => match mate() {
            Some(mate) => Place::Beside { pane: mate, side: *side },
            None => return in_front(),
        },
        Place::Stack { pane: anchor, index } if *anchor == pane => match mate() {
            Some(mate) => Place::Stack { pane: mate, index: *index },
            None => return in_front(),
        },
        other => other.clone(),
    };
    let moved = tree::insert(tree::remove(root.clone(), pane), pane, &place, fresh);
    if tree::same_shape(root, &moved) { in_front() } else { moved }
}

fn close(case: &mut Case<'_>, order: &Close) -> Result<Value, Rejection> {
    let pane = resolve::pane(case.state, &order.pane)?;
    let (tab, root) = standing(case.state, pane)?;
    case.expect(tab.rev)?;
    case.emit(Event::Closed(Closed { pane: pane.id, tab: tab.id }));
    leave(case, tab, root, pane.id);
    let what = ClosedWhat::Pane { pane: pane.clone(), workspace: tab.workspace, root_before: root.clone() };
    let closed = layout::shelve(case, what);
    Ok(json!({ "pane": pane.id, "tab": tab.id, "closed": closed }))
}

fn activate(case: &mut Case<'_>, order: &Activate) -> Result<Value, Rejection> {
    let pane = resolve::pane(case.state, &order.pane)?;
    let (tab, root) = standing(case.state, pane)?;
    case.expect(tab.rev)?;
    set_layout(case, tab, Some(tree::activate(root.clone(), pane.id)), Some(pane.id));
    Ok(json!({ "pane": pane.id, "tab": tab.id }))
}

fn rename(case: &mut Case<'_>, order: &Rename) -> Result<Value, Rejection> {
    let pane = resolve::pane(case.state, &order.pane)?;
    let (tab, _) = standing(case.state, pane)?;
    case.expect(tab.rev)?;
    check_title(order.title.as_deref())?;
    if pane.title != order.title {
        case.emit(Event::Renamed(Renamed { pane: pane.id, title: order.title.clone() }));
    }
    Ok(json!({ "pane": pane.id, "tab": tab.id, "title": order.title }))
}

fn show(case: &mut Case<'_>, order: &Show) -> Result<Value, Rejection> {
    let pane = resolve::pane(case.state, &order.pane)?;
    let (tab, _) = standing(case.state, pane)?;
    case.expect(tab.rev)?;
    check_content(case.state, &order.content)?;
    if pane.content != order.content {
        case.emit(Event::Shown(Shown { pane: pane.id, content: order.content.clone() }));
    }
    Ok(json!({ "pane": pane.id, "tab": tab.id }))
}

fn tear_off(case: &mut Case<'_>, order: &TearOff) -> Result<Value, Rejection> {
    let state = case.state;
    let pane = resolve::pane(state, &order.pane)?;
    let (source, root) = standing(state, pane)?;
    case.expect(source.rev)?;
    let home = tab::home(state, source)?;
    if home.tabs.len() == 1 && root.panes().len() == 1 {
        // It has a workspace of its own.
        return Ok(json!({ "workspace": home.id, "tab": source.id, "pane": pane.id }));
    }
    let index = layout::index_of(home.tabs.iter().position(|id| *id == source.id).unwrap_or_default());
    let torn_from = TornFrom { workspace: home.id, tab: Some(source.id), index };
    let name = order.name.as_ref().or(pane.title.as_ref()).unwrap_or(&source.name);
    let workspace = workspace::open(case, order.workspace, name, Some(torn_from))?;
    let tab = tab::fresh_id(case, order.tab)?;
    case.emit(tab_event::Event::Created(tab_event::Created { tab, workspace, name: name.clone(), pinned: false }));
    let tabs = workspace_event::TabsChanged { workspace, tabs: vec![tab], active: Some(tab) };
    case.emit(workspace_event::Event::TabsChanged(tabs));
    case.emit(Event::Moved(Moved { pane: pane.id, tab }));
    leave(case, source, root, pane.id);
    let root = tree::insert(None, pane.id, &Place::Tab { tab }, NodeId(case.make_id()));
    case.emit(tab_event::Event::LayoutChanged(LayoutChanged { tab, root: Some(root), focus: Some(pane.id) }));
    Ok(json!({ "workspace": workspace, "tab": tab, "pane": pane.id }))
}

pub(crate) fn fresh_id(case: &mut Case<'_>, id: Option<PaneId>) -> Result<PaneId, Rejection> {
    match id {
        Some(id) if case.state.panes.contains_key(&id) || layout::shelf_has_pane(case.state, id) => {
            Err(Rejection::new(Code::Exists, format!("a pane has this id already: {id}")))
        }
        Some(id) => Ok(id),
        None => Ok(PaneId(case.make_id())),
    }
}

pub(crate) fn check_content(state: &State, content: &Content) -> Result<(), Rejection> {
    match content {
        Content::Agent { agent } if !state.agents.contains_key(agent) => {
            Err(Rejection::new(Code::NotFound, format!("no such agent: {agent}")).hint("agentmux ls --all"))
        }
        Content::View { view } => {
            let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-' | '.');
            bounds::label("the view", view)?;
            if view.chars().all(good) { Ok(()) } else { Err(bad(format!("not a name of a view: {view:?}"))) }
        }
        Content::Agent { .. } | Content::Empty => Ok(()),
    }
}

pub(crate) fn check_room(tab: &Tab) -> Result<(), Rejection> {
    if layout::count(tab) >= PANES_MAX { Err(bounds::limit("panes in a tab", PANES_MAX)) } else { Ok(()) }
}

/// Says what a tab's tree and focus are now, if they are not that already.
pub(crate) fn set_layout(case: &mut Case<'_>, tab: &Tab, root: Option<Node>, focus: Option<PaneId>) {
    if tab.root != root || tab.focus != focus {
        case.emit(tab_event::Event::LayoutChanged(LayoutChanged { tab: tab.id, root, focus }));
    }
}

/// The tab closes up behind a pane.
fn leave(case: &mut Case<'_>, tab: &Tab, root: &Node, pane: PaneId) {
    let rest = tree::remove(root.clone(), pane);
    let focus = tree::refocus(Some(root), rest.as_ref(), tab.focus);
    set_layout(case, tab, rest, focus);
}

fn check_title(title: Option<&str>) -> Result<(), Rejection> {
    title.map_or(Ok(()), |title| bounds::label("the pane's title", title))
}

/// The tab a place is in.
fn target<'a>(state: &'a State, place: &Place) -> Result<&'a Tab, Rejection> {
    match place {
        Place::Tab { tab } | Place::Edge { tab, .. } => state
            .tabs
            .get(tab)
            .ok_or_else(|| Rejection::new(Code::NotFound, format!("no such tab: {tab}")).hint("agentmux tab ls")),
        Place::Beside { pane, .. } | Place::Stack { pane, .. } => {
            let found = state.panes.get(pane).ok_or_else(|| {
                Rejection::new(Code::NotFound, format!("no such pane: {pane}")).hint("agentmux pane ls")
            })?;
            Ok(standing(state, found)?.0)
        }
    }
}

/// The tab a pane is in and the tree it stands in.
fn standing<'a>(state: &'a State, pane: &Pane) -> Result<(&'a Tab, &'a Node), Rejection> {
    let tab = state.tabs.get(&pane.tab);
    tab.and_then(|tab| Some((tab, tab.root.as_ref()?)))
        .ok_or_else(|| Rejection::new(Code::Internal, format!("the pane stands nowhere: {}", pane.id)))
}

pub(crate) fn apply(state: &mut State, event: &Event) {
    match event {
        Event::Opened(Opened { pane, tab, title, content }) => {
            let pane = Pane { id: *pane, tab: *tab, title: title.clone(), content: content.clone(), rev: FIRST_REV };
            state.panes.insert(pane.id, pane);
        }
        Event::Moved(Moved { pane, tab }) => change(&mut state.panes, pane, |pane| pane.tab = *tab),
        Event::Renamed(Renamed { pane, title }) => change(&mut state.panes, pane, |pane| pane.title = title.clone()),
        Event::Shown(Shown { pane, content }) => {
            change(&mut state.panes, pane, |pane| pane.content = content.clone());
        }
        Event::Closed(Closed { pane, .. }) => {
            state.panes.remove(pane);
        }
    }
}
