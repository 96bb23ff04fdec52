//! What concerns the tree itself rather than one pane.

use crate::ids::{ClosedId, NodeId};

commands! {
    /// The sizes of one split, when the drag has ended.
    "layout.resize" "LayoutResize" Resize { tab: String, split: NodeId, sizes: Vec<u32> }
    /// Undo a close: the newest one, or the one named.
    "layout.reopen" "LayoutReopen" Reopen {
        #[serde(default)] closed: Option<ClosedId>,
    }
}
