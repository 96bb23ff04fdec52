//! amux-sys
