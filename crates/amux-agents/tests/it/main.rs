//! Dialects against the real programs that speak them, where those are installed.

mod tmux;
