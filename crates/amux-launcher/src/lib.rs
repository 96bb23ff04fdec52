//! amux-launcher
