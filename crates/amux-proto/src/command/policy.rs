//! The rules of `policy.toml`.

use crate::entity::{May, Rule};

commands! {
    /// The content of the file; only the server says this.
    "policy.load" "PolicyLoad" Load { rules: Vec<Rule>, #[serde(default)] may: Vec<May> }
}
