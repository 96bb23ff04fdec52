//! What tests stand on: random commands over the whole vocabulary, a simulated world around the real writer, a fake of
//! the model vendors for real agents, and the real server to be struck down while clients keep count. Nothing of the
//! product depends on it.

pub mod commands;
pub mod crash;
pub mod crash_agents;
pub mod fake;
pub mod model;
pub mod powerloss;
pub mod server;
pub mod sim;
pub mod wire;
