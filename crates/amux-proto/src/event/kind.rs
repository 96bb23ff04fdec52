//! What happened to the table of kinds.

use crate::entity::{Kind, KindName};

events! {
    "kind.changed" "KindChanged" Changed { name: KindName, kind: Box<Kind> }
    "kind.removed" "KindRemoved" Removed { name: KindName }
}
