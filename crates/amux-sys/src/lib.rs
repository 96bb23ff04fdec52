//! Everything that differs between operating systems, and everything `unsafe`: processes, terminals, sockets, locks,
//! descriptors, paths, clocks. It returns plain descriptors and values; no runtime, no domain.
//!
//! Linux is where it runs every day. What differs between systems is in `os` (`linux.rs`, `other.rs`) and nowhere else;
//! what a system does not have is answered with `None` there, and not at the call sites.

#![cfg(unix)]

pub mod cgroup;
pub mod clock;
pub mod desktop;
pub mod detach;
pub mod disk;
pub mod fdpass;
pub mod folder;
pub mod lock;
pub mod memory;
pub mod notify;
pub mod output;
pub mod parent;
pub mod paths;
pub mod peer;
pub mod poll;
pub mod pour;
pub mod process;
pub mod pty;
pub mod secret;
pub mod signals;
pub mod socket;
pub mod spawn;
pub mod stop;
pub mod tty;

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "other.rs")]
mod os;
