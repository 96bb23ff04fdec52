//! The server's own tasks. One that panics is caught, recorded and visible in `doctor`; it does not take the others
//! along, and it is never silently gone.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use amux_proto::Time;
use amux_proto::view::{Finding, Level};
use amux_sys::clock;
use futures_util::FutureExt as _;

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
    /// Runs a task beside the others. The handle is the task's own: to abort it is to end the task.
    pub(crate) fn spawn(
        self: &Arc<Self>,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> tokio::task::JoinHandle<()> {
        let tasks = Arc::clone(self);
        tokio::spawn(async move {
            // What it leaves behind is dropped or locked, and no lock here minds a holder that panicked.
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
                let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
                tasks.note(name, &text.unwrap_or_else(|| "a panic without a message".into()));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_is_aborted_lets_go_of_what_it_held() {
        let tasks = Arc::new(Tasks::default());
        let held = Arc::new(());
        let (holds, (started, begun)) = (Arc::clone(&held), tokio::sync::oneshot::channel());
        let task = tasks.spawn("held", async move {
            let _holds = holds;
            let _ = started.send(());
            std::future::pending::<()>().await;
        });
        begun.await.unwrap();
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert_eq!(Arc::strong_count(&held), 1);
        assert_eq!(tasks.finding().level, Level::Ok, "to be ended is not to break");
    }

    #[tokio::test]
    async fn a_task_that_panics_is_told_of() {
        let tasks = Arc::new(Tasks::default());
        tasks.spawn("broken", async { panic!("the reason") }).await.unwrap();
        let finding = tasks.finding();
        assert!(finding.level == Level::Failure && finding.message.contains("the reason"), "{finding:?}");
    }
}
