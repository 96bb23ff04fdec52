//! The whole program as a person or a script uses it: the real binary, its real server, real agents.

mod attach;
mod doors;
mod harness;
mod life;
mod panes;
mod relay;
mod words;
