//! Workspaces, tabs, panes: what a person does is one command, however many things it moves.

use amux_proto::command::{layout, pane, setting, tab, workspace};
use amux_proto::entity::{Content, TornFrom};
use amux_proto::layout::{Node, Place, Side};
use amux_proto::{AgentId, ClosedId, Code, PaneId, Principal, Rev, TabId, WorkspaceId};
use serde_json::json;
use uuid::Uuid;

use crate::world::{World, close_pane, id, move_pane, names, open, remove};

/// A workspace with a tab of three panes: `[a | b / c]`.
struct Scene {
    world: World,
    main: WorkspaceId,
    tab: TabId,
    a: PaneId,
    b: PaneId,
    c: PaneId,
}

fn scene() -> Scene {
    let mut world = World::new();
    let main = world.workspace("main");
    let tab = world.tab(main, "one");
    let a = world.pane(Place::Tab { tab });
    let b = world.pane(Place::Beside { pane: a, side: Side::Right });
    let c = world.pane(Place::Beside { pane: b, side: Side::Down });
    Scene { world, main, tab, a, b, c }
}

fn close_tab(tab: TabId) -> tab::Command {
    tab::Command::Close(tab::Close { tab: tab.to_string() })
}

fn close_workspace(workspace: WorkspaceId) -> workspace::Command {
    workspace::Command::Close(workspace::Close { workspace: workspace.to_string() })
}

fn restore(workspace: WorkspaceId) -> workspace::Command {
    workspace::Command::Restore(workspace::Restore { workspace: workspace.to_string() })
}

fn tear_off(pane: PaneId) -> pane::Command {
    pane::Command::TearOff(pane::TearOff { pane: pane.to_string(), workspace: None, tab: None, name: None })
}

fn tear_off_tab(tab: TabId) -> tab::Command {
    tab::Command::TearOff(tab::TearOff { tab: tab.to_string(), workspace: None, name: None })
}

fn reopen(closed: Option<ClosedId>) -> layout::Command {
    layout::Command::Reopen(layout::Reopen { closed })
}

fn pin(tab: TabId, pinned: bool) -> tab::Command {
    tab::Command::Pin(tab::Pin { tab: tab.to_string(), pinned })
}

fn move_tab(tab: TabId, to: Option<WorkspaceId>, index: u32) -> tab::Command {
    tab::Command::Move(tab::Move { tab: tab.to_string(), workspace: to.map(|id| id.to_string()), index })
}

fn tabs(world: &World, workspace: WorkspaceId) -> (Vec<TabId>, Option<TabId>) {
    let workspace = &world.state.workspaces[&workspace];
    (workspace.tabs.clone(), workspace.active)
}

#[test]
fn an_opened_pane_has_the_focus() {
    let Scene { mut world, tab, a, c, .. } = scene();
    assert_eq!(world.focus(tab), Some(c));
    let opened = world.says(open(Place::Stack { pane: a, index: None }, Content::View { view: "events".into() }));
    assert_eq!(names(&opened), ["pane.opened", "tab.layout_changed"]);
    assert_eq!(world.focus(tab), Some(PaneId(id(&opened.answer, "pane"))));
}

#[test]
fn a_pane_shows_only_what_there_is() {
    let Scene { mut world, tab, .. } = scene();
    world.refused_with(Code::NotFound, open(Place::Tab { tab }, Content::Agent { agent: AgentId(Uuid::nil()) }));
    world.refused_with(Code::BadArgs, open(Place::Tab { tab }, Content::View { view: "No View".into() }));
    world.refused_with(Code::NotFound, open(Place::Tab { tab: TabId(Uuid::nil()) }, Content::Empty));
    world.refused_with(
        Code::NotFound,
        open(Place::Beside { pane: PaneId(Uuid::nil()), side: Side::Up }, Content::Empty),
    );
}

#[test]
fn a_move_to_where_it_stands_is_no_move() {
    let Scene { mut world, tab, a, b, c, .. } = scene();
    let before = world.root(tab).cloned();
    let nowhere = [
        (c, Place::Beside { pane: b, side: Side::Down }),
        (c, Place::Beside { pane: c, side: Side::Left }),
        (c, Place::Stack { pane: c, index: Some(0) }),
    ];
    for (pane, place) in nowhere {
        assert_eq!(world.events(move_pane(pane, place)), [""; 0]);
    }
    // It is brought to the front all the same.
    assert_eq!(world.events(move_pane(a, Place::Edge { tab, side: Side::Left })), ["tab.layout_changed"]);
    assert_eq!((world.root(tab).cloned(), world.focus(tab)), (before, Some(a)));
}

#[test]
fn a_pane_moves_within_its_tab_out_of_its_stack_and_to_other_tabs() {
    let Scene { mut world, main, tab, a, b, c } = scene();
    assert_eq!(world.events(move_pane(a, Place::Stack { pane: b, index: Some(0) })), ["tab.layout_changed"]);
    // Beside itself: out of the stack it is in.
    assert_eq!(world.events(move_pane(a, Place::Beside { pane: a, side: Side::Left })), ["tab.layout_changed"]);
    assert_eq!(world.root(tab).map(Node::panes), Some(vec![a, b, c]));
    let other = world.tab(main, "two");
    assert_eq!(
        world.events(move_pane(a, Place::Tab { tab: other })),
        ["pane.moved", "tab.layout_changed", "tab.layout_changed"]
    );
    assert_eq!((world.state.panes[&a].tab, world.focus(other)), (other, Some(a)));
    // The last pane leaves an empty tab behind.
    world.says(move_pane(b, Place::Stack { pane: a, index: None }));
    world.says(move_pane(c, Place::Stack { pane: a, index: None }));
    assert_eq!((world.root(tab), world.focus(tab)), (None, None));
}

#[test]
fn focus_goes_to_the_right_neighbour_else_to_the_left() {
    let Scene { mut world, tab, a, b, c, .. } = scene();
    world.says(pane::Command::Activate(pane::Activate { pane: b.to_string() }));
    world.says(close_pane(b));
    assert_eq!(world.focus(tab), Some(c));
    world.says(close_pane(c));
    assert_eq!(world.focus(tab), Some(a));
    world.says(close_pane(a));
    assert_eq!(world.focus(tab), None);
}

#[test]
fn the_revision_of_the_tab_guards_its_panes() {
    let Scene { mut world, tab, a, b, .. } = scene();
    let rev = world.state.tabs[&tab].rev;
    let swap = || move_pane(a, Place::Beside { pane: b, side: Side::Right });
    let refusal = world.try_as(Principal::Operator, Some(Rev(rev.0 - 1)), swap()).unwrap_err();
    assert_eq!((refusal.code, &refusal.details.unwrap()["rev"]), (Code::Stale, &json!(rev)));
    assert!(world.try_as(Principal::Operator, Some(rev), swap()).is_ok());
    assert_eq!(world.state.tabs[&tab].rev, rev.next());
    let create = workspace::Command::Create(workspace::Create { id: None, name: "x".into() });
    let refusal = world.try_as(Principal::Operator, Some(Rev(1)), create).unwrap_err();
    assert_eq!(refusal.code, Code::BadArgs);
}

#[test]
fn a_tab_holds_only_so_many_panes() {
    let Scene { mut world, main, tab, a, .. } = scene();
    for _ in 3..64 {
        world.says(open(Place::Stack { pane: a, index: None }, Content::Empty));
    }
    world.refused_with(Code::Limit, open(Place::Tab { tab }, Content::Empty));
    let other = world.tab(main, "two");
    let moving = world.pane(Place::Tab { tab: other });
    world.refused_with(Code::Limit, move_pane(moving, Place::Tab { tab }));
}

#[test]
fn tabs_are_numbered_when_nobody_names_them_and_stand_where_they_are_put() {
    let mut world = World::new();
    let main = world.workspace("main");
    let unnamed = |index| {
        let workspace = main.to_string();
        tab::Command::Create(tab::Create { id: None, workspace, name: None, index, pane: None, content: None })
    };
    let made: Vec<TabId> =
        [None, None, Some(0)].map(|index| TabId(id(&world.says(unnamed(index)).answer, "tab"))).into();
    assert_eq!(tabs(&world, main), (vec![made[2], made[0], made[1]], Some(made[2])));
    let names: Vec<_> = made.iter().map(|tab| world.state.tabs[tab].name.as_str()).collect();
    assert_eq!(names, ["1", "2", "3"]);
    let with_pane = tab::Create {
        id: None,
        workspace: main.to_string(),
        name: None,
        index: None,
        pane: None,
        content: Some(Content::Empty),
    };
    let expected = ["tab.created", "workspace.tabs_changed", "pane.opened", "tab.layout_changed"];
    assert_eq!(world.events(tab::Command::Create(with_pane)), expected);
}

#[test]
fn pinned_tabs_stand_first() {
    let mut world = World::new();
    let main = world.workspace("main");
    let [x, y, z] = ["x", "y", "z"].map(|name| world.tab(main, name));
    assert_eq!(world.events(pin(z, true)), ["tab.pinned", "workspace.tabs_changed"]);
    assert_eq!(tabs(&world, main).0, [z, x, y]);
    assert_eq!(world.events(pin(z, true)), [""; 0]);
    // Behind the pinned ones is as far forward as another gets.
    assert_eq!(world.events(move_tab(y, None, 0)), ["workspace.tabs_changed"]);
    assert_eq!(tabs(&world, main).0, [z, y, x]);
    assert_eq!(world.events(move_tab(y, None, 0)), [""; 0]);
    world.says(pin(x, true));
    assert_eq!(tabs(&world, main).0, [z, x, y]);
    // It is the last pinned one, so it stands where it is to stand already.
    assert_eq!(world.events(pin(x, false)), ["tab.pinned"]);
    world.says(pin(z, false));
    assert_eq!(tabs(&world, main).0, [z, x, y]);
}

#[test]
fn a_tab_moves_to_another_workspace() {
    let Scene { mut world, main, tab, .. } = scene();
    let other = world.workspace("other");
    assert_eq!(
        world.events(move_tab(tab, Some(other), 9)),
        ["tab.moved", "workspace.tabs_changed", "workspace.tabs_changed"]
    );
    assert_eq!((tabs(&world, main), tabs(&world, other)), ((vec![], None), (vec![tab], Some(tab))));
}

#[test]
fn workspaces_have_an_order() {
    let mut world = World::new();
    let [x, y, z] = ["x", "y", "z"].map(|name| world.workspace(name));
    let to = |workspace: WorkspaceId, index| {
        workspace::Command::Move(workspace::Move { workspace: workspace.to_string(), index })
    };
    assert_eq!(world.events(to(z, 0)), ["workspace.moved"]);
    assert_eq!(world.state.order.workspaces, [z, x, y]);
    assert_eq!(world.events(to(y, 99)), [""; 0]);
    assert_eq!(world.events(to(z, 99)), ["workspace.moved"]);
    assert_eq!(world.state.order.workspaces, [x, y, z]);
}

#[test]
fn tearing_off_a_pane_is_one_act_and_can_be_undone() {
    let Scene { mut world, main, tab, a, b, c } = scene();
    let torn = world.says(tear_off(b));
    assert_eq!(
        names(&torn),
        [
            "workspace.created",
            "tab.created",
            "workspace.tabs_changed",
            "pane.moved",
            "tab.layout_changed",
            "tab.layout_changed"
        ]
    );
    let workspace = WorkspaceId(id(&torn.answer, "workspace"));
    let from = TornFrom { workspace: main, tab: Some(tab), index: 0 };
    assert_eq!(world.state.workspaces[&workspace].torn_from, Some(from));
    // It has a workspace of its own now; that is what was asked for.
    assert_eq!(world.events(tear_off(b)), [""; 0]);
    // Whatever is with it by then comes along.
    let d = world.pane(Place::Beside { pane: b, side: Side::Down });
    assert_eq!(
        world.events(restore(workspace)),
        ["pane.moved", "pane.moved", "tab.closed", "tab.layout_changed", "workspace.closed"]
    );
    assert_eq!(world.root(tab).map(Node::panes), Some(vec![a, c, b, d]));
    assert_eq!(world.state.workspaces.len(), 1);
    assert!(world.state.closed.is_empty());
}

#[test]
fn a_torn_off_pane_goes_back_to_its_workspace_when_its_tab_is_gone() {
    let Scene { mut world, main, tab, b, .. } = scene();
    let workspace = WorkspaceId(id(&world.says(tear_off(b)).answer, "workspace"));
    world.says(close_tab(tab));
    assert_eq!(world.events(restore(workspace)), ["tab.moved", "workspace.tabs_changed", "workspace.closed"]);
    assert_eq!(tabs(&world, main).0.len(), 1);
    assert_eq!(world.state.panes.len(), 1);
}

#[test]
fn what_was_torn_off_stays_when_there_is_no_way_back() {
    let Scene { mut world, main, b, .. } = scene();
    let workspace = WorkspaceId(id(&world.says(tear_off(b)).answer, "workspace"));
    world.says(close_workspace(main));
    assert_eq!(world.refused(restore(workspace)).hint.as_deref(), Some("agentmux layout reopen"));
    world.says(reopen(None));
    world.says(restore(workspace));
    let never = world.workspace("never torn");
    world.refused_with(Code::Conflict, restore(never));
}

#[test]
fn a_torn_off_tab_goes_back_to_its_place() {
    let mut world = World::new();
    let main = world.workspace("main");
    let [x, y, z] = ["x", "y", "z"].map(|name| world.tab(main, name));
    let torn = world.says(tear_off_tab(y));
    let expected = ["workspace.created", "tab.moved", "workspace.tabs_changed", "workspace.tabs_changed"];
    assert_eq!(names(&torn), expected);
    let workspace = WorkspaceId(id(&torn.answer, "workspace"));
    assert_eq!(world.events(tear_off_tab(y)), [""; 0]);
    world.says(restore(workspace));
    assert_eq!(tabs(&world, main), (vec![x, y, z], Some(y)));
}

#[test]
fn a_closed_pane_comes_back_with_what_it_showed() {
    let Scene { mut world, tab, b, .. } = scene();
    let agent = world.agent("scout");
    let show = |content| pane::Command::Show(pane::Show { pane: b.to_string(), content });
    assert_eq!(world.events(show(Content::Agent { agent })), ["pane.shown"]);
    assert_eq!(world.events(show(Content::Agent { agent })), [""; 0]);
    let rename = || pane::Command::Rename(pane::Rename { pane: b.to_string(), title: Some("eyes".into()) });
    assert_eq!(world.events(rename()), ["pane.renamed"]);
    assert_eq!(world.events(rename()), [""; 0]);
    let before = (world.root(tab).cloned(), world.state.panes[&b].clone());
    assert_eq!(world.events(close_pane(b)), ["pane.closed", "tab.layout_changed", "layout.shelved"]);
    assert!(world.state.agents.contains_key(&agent));
    assert_eq!(world.events(reopen(None)), ["pane.opened", "tab.layout_changed", "layout.unshelved"]);
    let after = world.state.panes[&b].clone();
    assert_eq!(world.root(tab).cloned(), before.0);
    assert_eq!((after.title, after.content), (before.1.title, before.1.content));
    world.refused_with(Code::NotFound, reopen(None));
    // Its agent gone, it comes back empty.
    world.says(close_pane(b));
    world.says(remove(agent, false));
    world.says(reopen(None));
    assert_eq!(world.state.panes[&b].content, Content::Empty);
}

#[test]
fn a_closed_tab_and_a_closed_workspace_come_back_whole() {
    let Scene { mut world, main, tab, .. } = scene();
    let pinned = world.tab(main, "pinned");
    world.says(pin(pinned, true));
    let without_revs = |world: &World| {
        let mut state = world.state.clone();
        state.workspaces.values_mut().for_each(|workspace| workspace.rev = Rev(0));
        state.tabs.values_mut().for_each(|tab| tab.rev = Rev(0));
        state.panes.values_mut().for_each(|pane| pane.rev = Rev(0));
        (state.workspaces, state.tabs, state.panes, state.order)
    };
    world.says(tab::Command::Activate(tab::Activate { tab: tab.to_string() }));
    let before = without_revs(&world);
    assert_eq!(
        world.events(close_tab(tab)),
        ["pane.closed", "pane.closed", "pane.closed", "tab.closed", "workspace.tabs_changed", "layout.shelved"]
    );
    assert_eq!(tabs(&world, main), (vec![pinned], Some(pinned)));
    world.says(reopen(None));
    assert_eq!(without_revs(&world), before);
    world.says(close_workspace(main));
    assert!(world.state.workspaces.is_empty() && world.state.tabs.is_empty() && world.state.panes.is_empty());
    world.says(reopen(None));
    assert_eq!(without_revs(&world), before);
}

#[test]
fn a_pane_whose_tab_is_gone_goes_to_the_tab_in_front_of_its_workspace() {
    let Scene { mut world, main, tab, b, .. } = scene();
    let other = world.tab(main, "two");
    let closed = ClosedId(id(&world.says(close_pane(b)).answer, "closed"));
    world.says(close_tab(tab));
    let back = world.says(reopen(Some(closed)));
    assert_eq!(back.answer["tab"], json!(other));
    // With neither tab nor workspace there is no place; it stays on the shelf.
    let closed = ClosedId(id(&world.says(close_pane(b)).answer, "closed"));
    world.says(close_workspace(main));
    world.refused_with(Code::Conflict, reopen(Some(closed)));
    assert!(world.state.closed.contains_key(&closed));
}

#[test]
fn the_newest_that_can_come_back_does() {
    let Scene { mut world, main, tab, b, .. } = scene();
    world.says(close_pane(b));
    world.says(close_workspace(main));
    let other = world.workspace("other");
    let lonely = world.tab(other, "lonely");
    world.says(close_tab(lonely));
    let gone = ClosedId(id(&world.says(close_workspace(other)).answer, "closed"));
    // The newest, forgotten, would have been the way for the tab before it.
    world.says(reopen(Some(gone)));
    world.says(close_workspace(other));
    assert_eq!(world.says(reopen(None)).answer["workspace"], json!(other));
    assert_eq!(world.says(reopen(None)).answer["tab"], json!(lonely));
    assert_eq!(world.says(reopen(None)).answer["workspace"], json!(main));
    assert_eq!(world.says(reopen(None)).answer["tab"], json!(tab));
}

#[test]
fn the_shelf_forgets_the_oldest() {
    let Scene { mut world, a, b, c, .. } = scene();
    world.says(setting::Command::Set(setting::Set { key: "shelf.keep".into(), value: json!(2) }));
    let closed = [a, b, c].map(|pane| ClosedId(id(&world.says(close_pane(pane)).answer, "closed")));
    assert_eq!(world.state.order.closed, closed[1..]);
    world.refused_with(Code::NotFound, reopen(Some(closed[0])));
    // A smaller shelf takes effect with the next thing that is put on it.
    world.says(setting::Command::Set(setting::Set { key: "shelf.keep".into(), value: json!(1) }));
    let empty = world.workspace("empty");
    assert_eq!(world.events(close_workspace(empty)), ["workspace.closed", "layout.shelved", "layout.unshelved"]);
    assert_eq!(world.state.order.closed.len(), 1);
}

#[test]
fn what_can_come_back_keeps_its_id() {
    let Scene { mut world, tab, b, .. } = scene();
    world.says(close_pane(b));
    let same = pane::Command::Open(pane::Open {
        id: Some(b),
        content: Content::Empty,
        place: Place::Tab { tab },
        title: None,
    });
    world.refused_with(Code::Exists, same);
}

#[test]
fn a_split_is_resized_by_its_id() {
    let Scene { mut world, tab, .. } = scene();
    let Some(Node::Split { id: split, .. }) = world.root(tab).cloned() else { panic!("there is a split") };
    let resize =
        |sizes: &[u32]| layout::Command::Resize(layout::Resize { tab: tab.to_string(), split, sizes: sizes.to_vec() });
    assert_eq!(world.events(resize(&[1, 3])), ["tab.layout_changed"]);
    assert_eq!(world.events(resize(&[2500, 7500])), [""; 0]);
    world.refused_with(Code::BadArgs, resize(&[1, 2, 3]));
    world.refused_with(Code::BadArgs, resize(&[1, 0]));
}

#[test]
fn names_for_people_are_seen_and_on_one_line() {
    let mut world = World::new();
    for (name, code) in [("", Code::BadArgs), ("  ", Code::BadArgs), ("a\nb", Code::BadArgs), ("\u{7}", Code::BadArgs)]
    {
        world.refused_with(code, workspace::Command::Create(workspace::Create { id: None, name: name.into() }));
    }
    let long = workspace::Create { id: None, name: "x".repeat(201) };
    world.refused_with(Code::TooLarge, workspace::Command::Create(long));
}
