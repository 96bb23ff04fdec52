//! The start as a list of named stages, each timed, each fatal or lived with.

use std::time::Instant;

use amux_proto::view::{BootPolicy, BootStage};

#[derive(Default)]
pub(crate) struct Boot {
    stages: Vec<BootStage>,
}

impl Boot {
    /// Without this stage there is no server.
    pub(crate) fn fatal<T, E: std::fmt::Display>(
        &mut self,
        name: &str,
        stage: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let started = Instant::now();
        let outcome = stage();
        self.note(name, started, BootPolicy::Fatal, outcome.as_ref().err().map(ToString::to_string));
        outcome
    }

    /// Without this stage the server is poorer, and says so.
    pub(crate) fn degraded<T, E: std::fmt::Display>(
        &mut self,
        name: &str,
        stage: impl FnOnce() -> Result<T, E>,
    ) -> Option<T> {
        let started = Instant::now();
        let outcome = stage();
        self.note(name, started, BootPolicy::Degraded, outcome.as_ref().err().map(ToString::to_string));
        outcome.ok()
    }

    pub(crate) fn note(&mut self, name: &str, started: Instant, policy: BootPolicy, error: Option<String>) {
        if let Some(error) = &error {
            tracing::error!(stage = name, error, "A stage of the start failed.");
        }
        let duration_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.stages.push(BootStage { name: name.into(), duration_us, policy, error });
    }

    pub(crate) fn finish(self) -> Vec<BootStage> {
        self.stages
    }
}
