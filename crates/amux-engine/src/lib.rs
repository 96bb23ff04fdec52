//! The one writer. A submission becomes a decision, a transaction, a fold and an answer, in that order; nothing is
//! acknowledged before its commit, and nothing is published before it either.
//!
//! [`Writer::step`] is the whole path, synchronous, for tests and the simulation; [`Handle`] is the same behind a
//! thread and a bounded inbox. Readers take the published state or follow the [`Feed`] by cursor. This crate knows
//! neither HTTP nor processes; all SQL of the project is in [`store`].

pub mod archive;
pub mod ask;
pub mod doctor;
pub mod feed;
mod handle;
pub mod store;
mod writer;

pub use amux_core::board;
pub use amux_core::mention;
pub use amux_core::notice::Waiting;
pub use feed::{Cursor, Entry, Feed, Page, Touched};
pub use handle::{Handle, Running, spawn};
pub use store::{Options, Store};
pub use writer::{Answer, Boundary, Committed, Mode, Published, Submission, Wish, Writer};
