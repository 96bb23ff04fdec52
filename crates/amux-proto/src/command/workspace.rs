//! Workspaces: ordered sets of tabs, one a window.

use crate::ids::WorkspaceId;

commands! {
    "workspace.create" "WorkspaceCreate" Create {
        #[serde(default)] id: Option<WorkspaceId>,
        name: String,
    }
    "workspace.rename" "WorkspaceRename" Rename { workspace: String, name: String }
    /// To another place in the order.
    "workspace.move" "WorkspaceMove" Move { workspace: String, index: u32 }
    /// With every tab and pane in it; can be reopened.
    "workspace.close" "WorkspaceClose" Close { workspace: String }
    /// Bring a torn-off workspace back to where it came from.
    "workspace.restore" "WorkspaceRestore" Restore { workspace: String }
}
