//! amux-core
