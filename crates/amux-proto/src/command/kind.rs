//! Kinds of agents. They are data: the built-in ones and those of `agents.toml`.

use std::collections::BTreeMap;

use crate::entity::Kind;

commands! {
    /// Every kind there is; only the server says this.
    "kind.load" "KindLoad" Load { kinds: BTreeMap<String, Kind> }
}
