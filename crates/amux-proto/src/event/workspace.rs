//! What happened to workspaces.

use crate::entity::TornFrom;
use crate::ids::{TabId, WorkspaceId};

events! {
    "workspace.created" "WorkspaceCreated" Created {
        workspace: WorkspaceId, name: String, index: u32, torn_from: Option<TornFrom>,
    }
    "workspace.renamed" "WorkspaceRenamed" Renamed { workspace: WorkspaceId, name: String }
    "workspace.moved" "WorkspaceMoved" Moved { workspace: WorkspaceId, index: u32 }
    /// The order of its tabs and the one in front, as they are now.
    "workspace.tabs_changed" "WorkspaceTabsChanged" TabsChanged {
        workspace: WorkspaceId, tabs: Vec<TabId>, active: Option<TabId>,
    }
    /// Its tabs and panes were closed or moved away by events before this one.
    "workspace.closed" "WorkspaceClosed" Closed { workspace: WorkspaceId }
}
