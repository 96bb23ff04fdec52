//! amux-client
