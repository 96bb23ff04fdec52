//! amux-runner
