//! amux-proto
