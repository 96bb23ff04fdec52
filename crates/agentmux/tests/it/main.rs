//! The whole program as a person or a script uses it: the real binary, its real server, real agents.

mod acceptance;
mod attach;
mod cast;
mod doors;
mod ending;
mod faults;
mod files;
mod frames;
mod harness;
mod incidents;
mod life;
mod mail;
mod masks;
mod mcp;
mod notices;
mod panes;
mod real;
mod relay;
mod rights;
mod teams;
mod web;
mod words;
