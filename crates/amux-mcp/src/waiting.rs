//! Waiting for facts: look, and look again when the bell rings. Nothing is polled, and nothing is waited for without
//! end: a host that has forgotten its call must not be answered by it for ever.

use std::time::Duration;

use amux_proto::{Code, Rejection, Seq};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::World;

pub(crate) const WAIT_DEFAULT_MS: u64 = 5 * 60_000;
pub(crate) const WAIT_MAX_MS: u64 = 60 * 60_000;

/// A server at work rings many times a second; whoever waits need not look as often.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);

pub(crate) struct Waiting {
    bell: watch::Receiver<Seq>,
    deadline: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Look,
    TimeOver,
}

impl Waiting {
    /// To be made before the first look, so that nothing happens between the two unheard.
    pub(crate) async fn begin(world: &impl World, timeout_ms: Option<u64>) -> Result<Self, Rejection> {
        let ms = timeout_ms.unwrap_or(WAIT_DEFAULT_MS);
        if ms > WAIT_MAX_MS {
            let message = format!("nothing is waited for longer than {WAIT_MAX_MS} ms: {ms} ms");
            return Err(Rejection::new(Code::BadArgs, message).hint("wait again when the time is over"));
        }
        let deadline = Instant::now() + Duration::from_millis(ms);
        Ok(Self { bell: world.bell().await?, deadline })
    }

    pub(crate) async fn next(&mut self, world: &impl World) -> Result<Next, Rejection> {
        sleep_until(self.deadline.min(Instant::now() + LOOK_AGAIN_AFTER)).await;
        match timeout_at(self.deadline, self.bell.changed()).await {
            Err(_) => Ok(Next::TimeOver),
            Ok(Ok(())) => Ok(Next::Look),
            Ok(Err(_)) => {
                self.bell = world.bell().await?;
                Ok(Next::Look)
            }
        }
    }
}

/// A server that is away comes back, and the bell rings then; anything else is an answer.
pub(crate) fn unless_away<T>(looked: Result<Option<T>, Rejection>) -> Result<Option<T>, Rejection> {
    match looked {
        Err(rejection) if matches!(rejection.code, Code::Unreachable | Code::Unavailable) => Ok(None),
        looked => looked,
    }
}
