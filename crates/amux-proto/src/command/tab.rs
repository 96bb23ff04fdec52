//! Tabs: one layout tree each.

use crate::entity::Content;
use crate::ids::{PaneId, TabId, WorkspaceId};

commands! {
    /// A tab, empty or with a first pane; behind the last, or at `index`.
    "tab.create" "TabCreate" Create {
        #[serde(default)] id: Option<TabId>,
        workspace: String,
        #[serde(default)] name: Option<String>,
        #[serde(default)] index: Option<u32>,
        #[serde(default)] pane: Option<PaneId>,
        #[serde(default)] content: Option<Content>,
    }
    "tab.rename" "TabRename" Rename { tab: String, name: String }
    /// Within its workspace, or to another one.
    "tab.move" "TabMove" Move {
        tab: String,
        #[serde(default)] workspace: Option<String>,
        index: u32,
    }
    "tab.pin" "TabPin" Pin { tab: String, pinned: bool }
    "tab.activate" "TabActivate" Activate { tab: String }
    /// With every pane in it; can be reopened.
    "tab.close" "TabClose" Close { tab: String }
    /// To a workspace of its own.
    "tab.tear_off" "TabTearOff" TearOff {
        tab: String,
        #[serde(default)] workspace: Option<WorkspaceId>,
        #[serde(default)] name: Option<String>,
    }
}
