//! The whole program as a person or a script uses it: the real binary, its real server, real agents.

mod attach;
mod doors;
mod ending;
mod faults;
mod harness;
mod life;
mod mail;
mod masks;
mod mcp;
mod panes;
mod real;
mod relay;
mod teams;
mod web;
mod words;
