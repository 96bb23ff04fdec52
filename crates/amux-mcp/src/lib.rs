//! The tools of an agent, spoken over the Model Context Protocol: who is in the team, mail, and waiting without polling.
//!
//! Whoever serves them brings a [`World`]: a connection over the local socket ([`stdio`]) or the server itself
//! ([`http()`]). Who acts is the world's to know; no argument of a tool names an actor, and whether something may be
//! done is the server's to decide, so a tool that is refused still exists and says why.
//!
//! A crate because these two may not know each other, and because `rmcp` is to be known to nobody else.

mod mail;
mod schema;
mod server;
mod team;
mod text;
mod tool;
mod waiting;

use amux_proto::entity::Attachment;
use amux_proto::{Rejection, Seq};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::watch;

pub use server::{http, stdio};

/// What the tools need: one principal's way to the server.
pub trait World: Send + Sync + 'static {
    /// `operator` or `agent:name@team`, as the server says.
    fn me(&self) -> impl Future<Output = Result<String, Rejection>> + Send;

    /// A command. It happens once, however often it must be sent until it is answered.
    fn order(&self, name: &'static str, args: Value) -> impl Future<Output = Result<Box<RawValue>, Rejection>> + Send;

    /// A question.
    fn ask(&self, name: &'static str, args: Value) -> impl Future<Output = Result<Box<RawValue>, Rejection>> + Send;

    /// Brings a file that whoever is served can read, to be named by a message.
    fn upload(&self, path: String) -> impl Future<Output = Result<Attachment, Rejection>> + Send;

    /// Changes after everything that happens from the answer on.
    fn bell(&self) -> impl Future<Output = Result<watch::Receiver<Seq>, Rejection>> + Send;
}
