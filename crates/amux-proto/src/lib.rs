//! The words that cross a process or outlive one.
//!
//! Commands are orders, events are facts, effects are wishes, views are answers; frames carry them. Nothing here
//! does I/O, reads a clock or decides anything: what may happen is `amux-core`, who may come in is `amux-server`.
//! Start at [`command`] for what can be said and at [`event`] for what can have happened.

#[macro_use]
mod vocabulary;

pub mod board;
pub mod command;
pub mod effect;
pub mod endpoint;
pub mod entity;
pub mod env;
pub mod event;
pub mod exit;
pub mod frame;
pub mod ids;
pub mod layout;
pub mod principal;
pub mod query;
pub mod ready;
pub mod rejection;
pub mod schema;
pub mod time;
pub mod transcript;
pub mod view;

pub use command::Command;
pub use effect::Effect;
pub use event::Event;
pub use ids::{
    AgentId, ClosedId, CmdId, Epoch, FlowId, MessageId, Name, NodeId, PaneId, RequestId, Rev, RunNo, Seq, TabId,
    TeamId, ThreadId, WorkspaceId,
};
pub use principal::Principal;
pub use query::Query;
pub use rejection::{Code, Rejection};
pub use time::Time;

/// The version of the frames; a client that speaks another one is refused at the hello.
pub const PROTOCOL: u32 = 1;

/// A frame is one line or one WebSocket message. Larger bodies travel as attachments.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;
