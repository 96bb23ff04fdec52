//! Everything that differs between operating systems, and everything `unsafe`: processes, terminals, sockets, locks,
//! descriptors, paths, clocks. It returns plain descriptors and values; no runtime, no domain.
//!
//! Linux is where it runs every day. What only Linux has (pidfd, subreaper, `/proc`) answers `None` elsewhere, here
//! and not at the call sites.

#![cfg(unix)]

pub mod clock;
pub mod disk;
pub mod fdpass;
pub mod lock;
pub mod notify;
pub mod parent;
pub mod paths;
pub mod peer;
pub mod poll;
pub mod process;
pub mod pty;
pub mod secret;
pub mod signals;
pub mod socket;
pub mod spawn;
pub mod stop;
