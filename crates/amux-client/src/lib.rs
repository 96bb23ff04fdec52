//! Find or start a server, call it, follow it. Blocking and without a runtime: a command that lists agents lives for
//! two milliseconds.
//!
//! [`bootstrap::ensure`] is how a command gets its server; [`Client`] is one connection; [`follow`] keeps an eye on
//! the order for ever, across restarts; [`Viewer`] follows a terminal and never waits.

pub mod bootstrap;
mod client;
mod file;
pub mod follow;
mod viewer;

pub use bootstrap::{Bootstrap, Start, ensure, persist};
pub use client::{ANSWER_TIMEOUT, Answer, Client, Error, new_cmd_id};
pub use viewer::{Seen, Viewer};
