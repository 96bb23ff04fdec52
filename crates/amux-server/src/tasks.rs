//! The server's own tasks. One that panics is caught, recorded and visible in `doctor`; it does not take the others
//! along, and it is never silently gone.

use std::sync::{Mutex, PoisonError};

use amux_proto::Time;
use amux_proto::view::{Finding, Level};
use amux_sys::clock;

#[derive(Default)]
pub(crate) struct Tasks {
    broken: Mutex<Vec<Broken>>,
}

#[derive(Clone)]
struct Broken {
    task: &'static str,
    at: Time,
    why: String,
}

/// The first ones tell the story.
const BROKEN_KEPT: usize = 100;

impl Tasks {
    /// Runs a task beside the others; the handle ends when it does.
    pub(crate) fn spawn(
        self: &std::sync::Arc<Self>,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> tokio::task::JoinHandle<()> {
        let tasks = std::sync::Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = tokio::spawn(task).await
                && error.is_panic()
            {
                tasks.note(name, &error.to_string());
            }
        })
    }

    fn note(&self, task: &'static str, why: &str) {
        tracing::error!(task, why, "A task of the server broke.");
        let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        if broken.len() < BROKEN_KEPT {
            broken.push(Broken { task, at: Time(clock::now_ms()), why: why.to_owned() });
        }
    }

    pub(crate) fn finding(&self) -> Finding {
        let broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        let (level, message) = match broken.last() {
            None => (Level::Ok, "no task of the server broke".to_owned()),
            Some(last) => {
                let count = broken.len();
                (Level::Failure, format!("{count} tasks broke; last {} at {}: {}", last.task, last.at, last.why))
            }
        };
        let hint = (level == Level::Failure).then(|| "agentmux server restart".to_owned());
        Finding { check: "tasks".into(), level, message, hint, details: None }
    }
}
