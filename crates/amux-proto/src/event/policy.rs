//! What happened to the rules.

use crate::entity::{May, Rule};

events! {
    /// All of them, in their order.
    "policy.changed" "PolicyChanged" Changed { rules: Vec<Rule>, #[serde(default)] may: Vec<May> }
}
