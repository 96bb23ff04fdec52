//! The shelf of closed things.

use crate::entity::Closed;
use crate::ids::ClosedId;

events! {
    /// Something was closed and can be reopened; `dropped` fell off the other end of the shelf.
    "layout.shelved" "LayoutShelved" Shelved { closed: Box<Closed>, dropped: Option<ClosedId> }
    /// It was reopened, or nothing of it could come back.
    "layout.unshelved" "LayoutUnshelved" Unshelved { closed: ClosedId }
}
