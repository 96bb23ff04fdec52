//! Panes: they exist exactly where they are placed.

use crate::entity::Content;
use crate::ids::{PaneId, TabId, WorkspaceId};
use crate::layout::Place;

commands! {
    /// Open a pane at a place: beside another (a split), in its stack, at an edge, in an empty tab.
    "pane.open" "PaneOpen" Open {
        #[serde(default)] id: Option<PaneId>,
        content: Content,
        place: Place,
        #[serde(default)] title: Option<String>,
    }
    /// To another place, in this tab or any other.
    "pane.move" "PaneMove" Move { pane: String, place: Place }
    /// The place closes up; the agent shown in it lives on. Can be reopened.
    "pane.close" "PaneClose" Close { pane: String }
    /// In front of its stack, and focused.
    "pane.activate" "PaneActivate" Activate { pane: String }
    "pane.rename" "PaneRename" Rename {
        pane: String,
        #[serde(default)] title: Option<String>,
    }
    /// Show something else in the same place.
    "pane.show" "PaneShow" Show { pane: String, content: Content }
    /// To a workspace of its own.
    "pane.tear_off" "PaneTearOff" TearOff {
        pane: String,
        #[serde(default)] workspace: Option<WorkspaceId>,
        #[serde(default)] tab: Option<TabId>,
        #[serde(default)] name: Option<String>,
    }
}
