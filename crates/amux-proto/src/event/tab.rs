//! What happened to tabs. The tree travels whole: a reader never computes it.

use crate::ids::{PaneId, TabId, WorkspaceId};
use crate::layout::Node;

events! {
    /// Its place in the workspace follows in `workspace.tabs_changed`.
    "tab.created" "TabCreated" Created { tab: TabId, workspace: WorkspaceId, name: String, pinned: bool }
    "tab.renamed" "TabRenamed" Renamed { tab: TabId, name: String }
    "tab.moved" "TabMoved" Moved { tab: TabId, workspace: WorkspaceId }
    "tab.pinned" "TabPinned" Pinned { tab: TabId, pinned: bool }
    "tab.layout_changed" "TabLayoutChanged" LayoutChanged { tab: TabId, root: Option<Node>, focus: Option<PaneId> }
    "tab.closed" "TabClosed" Closed { tab: TabId, workspace: WorkspaceId }
}
