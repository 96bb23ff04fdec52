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
pub mod text;
pub mod time;
pub mod transcript;
pub mod view;

pub use command::Command;
pub use effect::Effect;
pub use event::Event;
pub use ids::{
    AgentId, ClosedId, CmdId, Digest, Epoch, FlowId, MessageId, Name, NodeId, PaneId, RequestId, Rev, RunNo, Seq,
    TabId, TeamId, ThreadId, WorkspaceId, uuid_at,
};
pub use principal::Principal;
pub use query::Query;
pub use rejection::{Code, Rejection};
pub use time::Time;

/// The version of the frames; a client that speaks another one is refused at the hello.
pub const PROTOCOL: u32 = 1;

/// A frame is one line or one WebSocket message. Larger bodies travel as attachments.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;

/// The body of one message: it is read by a model as one turn, and fits a frame with room to spare. What is longer
/// travels as an attachment.
pub const BODY_BYTES_MAX: usize = 256 * 1024;

/// So much of a file goes into one frame: as Base64, and with all that is around it.
pub const PART_BYTES_MAX: usize = 512 * 1024;

/// Files that one message carries; more than these are an archive of their own.
pub const ATTACHMENTS_MAX: usize = 8;

/// What a file system takes as one part of a path.
pub const FILE_NAME_BYTES_MAX: usize = 255;
