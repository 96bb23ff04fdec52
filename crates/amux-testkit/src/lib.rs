//! amux-testkit
