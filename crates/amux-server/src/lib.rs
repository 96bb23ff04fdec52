//! The doors: local socket, HTTP, WebSocket; who may come in by which; and the wiring of the daemon. Nothing is
//! decided here that the log would have to know.
//!
//! [`daemon::run`] is the whole server process. Start there, then read [`session`], which is one client.

mod acts;
mod answers;
mod attachments;
mod auth;
mod board;
mod boot;
mod composing;
pub mod daemon;
mod files;
mod follow;
pub mod http;
mod keeping;
mod local;
mod logs;
mod mcp;
mod metrics;
mod notice;
mod outbox;
mod places;
mod session;
mod settings;
mod takeover;
mod tasks;
mod teams;
mod transcripts;
mod turns;
mod views;
mod web;

pub use daemon::{Config, run};
