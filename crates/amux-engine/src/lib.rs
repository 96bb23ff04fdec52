//! amux-engine
