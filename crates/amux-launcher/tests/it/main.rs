//! The promises of the launcher, kept by real processes: a launcher and a server that plays a plan, both
//! `examples/rehearsal.rs`. Tests read what the server left in its state directory and wait for it.

mod ending;
mod keeping;
mod restarting;
mod speaking;
mod stage;
mod starting;
