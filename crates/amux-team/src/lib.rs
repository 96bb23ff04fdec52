//! Team files: what is written is read ([`parse`]), compared with what is there ([`plan`]), and said as orders
//! ([`order`]). Pure: files, kinds and the team as it is come in. `agentmux up` carries the orders out from a terminal,
//! a page does it from a browser, and both mean the same by the same text.

pub mod field;
pub mod order;
pub mod parse;
pub mod plan;

/// A team's file where nobody names another.
pub const FILE_NAME: &str = "agentmux.toml";
