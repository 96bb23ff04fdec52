//! What happened to panes. Where they stand is in the tree of their tab.

use crate::entity::Content;
use crate::ids::{PaneId, TabId};

events! {
    "pane.opened" "PaneOpened" Opened { pane: PaneId, tab: TabId, title: Option<String>, content: Content }
    "pane.moved" "PaneMoved" Moved { pane: PaneId, tab: TabId }
    "pane.renamed" "PaneRenamed" Renamed { pane: PaneId, title: Option<String> }
    "pane.shown" "PaneShown" Shown { pane: PaneId, content: Content }
    "pane.closed" "PaneClosed" Closed { pane: PaneId, tab: TabId }
}
