//! amux-server
