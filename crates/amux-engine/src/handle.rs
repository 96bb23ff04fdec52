//! The writer behind a thread: a bounded inbox, group commit, and handles that are cheap to clone.

use std::sync::Arc;
use std::thread;

use amux_proto::{Code, Rejection, Time, effect};
use amux_sys::{clock, memory};
use tokio::sync::{mpsc, oneshot};

use crate::feed::{Feed, Published};
use crate::store::{Error, Keep};
use crate::writer::{Answer, Submission, Writer};

/// Senders wait for a place here, each for its own; enough for every connection to have one command under way.
const INBOX_MAX: usize = 1024;

/// Commands that share one fsync. More would make the first of them wait longer than it saves.
const GROUP_MAX: usize = 256;

/// The writing thread and a handle to it.
pub struct Running {
    pub handle: Handle,
    pub thread: thread::JoinHandle<()>,
}

/// Starts the writing thread. It ends when it is told to, or when the last handle is gone.
///
/// A fault of the store or a panic in it ends the whole process: what was acknowledged is on disk, and a writer in an
/// unknown state must not touch it again.
pub fn spawn(mut writer: Writer) -> std::io::Result<Running> {
    let (inbox, orders) = mpsc::channel(INBOX_MAX);
    let published = Arc::clone(writer.published());
    let feed = writer.feed();
    let thread = thread::Builder::new().name("writer".into()).spawn(move || {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&mut writer, orders)));
        let why = match outcome {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic_text(panic.as_ref()),
        };
        tracing::error!(%why, "The writer cannot go on; the server ends.");
        eprintln!("agentmux: the writer cannot go on: {why}");
        std::process::abort();
    })?;
    Ok(Running { handle: Handle { inbox, published, feed }, thread })
}

/// Submits to the writer and reads what it published.
#[derive(Clone)]
pub struct Handle {
    inbox: mpsc::Sender<Order>,
    published: Arc<Published>,
    feed: Feed,
}

enum Order {
    Submit(Box<Submission>, oneshot::Sender<Answer>),
    Attempted(effect::Key, i64),
    Compact(Keep, oneshot::Sender<bool>),
    Probe(oneshot::Sender<bool>),
    Ping(oneshot::Sender<()>),
    End,
}

impl Handle {
    /// The answer comes after the commit. Waits for a place in the inbox: that is the back-pressure.
    pub async fn submit(&self, submission: Submission) -> Answer {
        match self.enqueue(submission).await {
            Ok(answer) => answer.await.unwrap_or_else(|_| Err(gone())),
            Err(rejection) => Err(rejection),
        }
    }

    /// Takes a place in the order of arrival now; the answer can be awaited later.
    pub async fn enqueue(&self, submission: Submission) -> Result<oneshot::Receiver<Answer>, Rejection> {
        let (reply, answer) = oneshot::channel();
        self.inbox.send(Order::Submit(Box::new(submission), reply)).await.map_err(|_| gone())?;
        Ok(answer)
    }

    /// A wish was tried and did not come true; it will not be repeated before `not_before_ms`.
    pub async fn attempted(&self, key: effect::Key, not_before_ms: i64) {
        // A writer that is gone has taken the process with it.
        let _ = self.inbox.send(Order::Attempted(key, not_before_ms)).await;
    }

    /// Forgets a slice of old history; whether there may be more.
    pub async fn compact(&self, keep: Keep) -> bool {
        let (reply, more) = oneshot::channel();
        if self.inbox.send(Order::Compact(keep, reply)).await.is_err() {
            return false;
        }
        more.await.unwrap_or(false)
    }

    /// Whether a store that was full has room again; asking it writes.
    pub async fn probe(&self) -> bool {
        let (reply, answer) = oneshot::channel();
        self.inbox.send(Order::Probe(reply)).await.is_ok() && answer.await.unwrap_or(false)
    }

    /// Comes back when the writer has done everything before it: proof that it lives.
    pub async fn ping(&self) -> bool {
        let (reply, pong) = oneshot::channel();
        self.inbox.send(Order::Ping(reply)).await.is_ok() && pong.await.is_ok()
    }

    /// Lets the writer finish what was sent before this, and end.
    pub async fn end(&self) {
        let _ = self.inbox.send(Order::End).await;
    }

    pub fn published(&self) -> &Arc<Published> {
        &self.published
    }

    pub fn feed(&self) -> &Feed {
        &self.feed
    }
}

fn run(writer: &mut Writer, mut orders: mpsc::Receiver<Order>) -> Result<(), Error> {
    let mut batch = Vec::new();
    let mut replies = Vec::new();
    let mut after = None;
    loop {
        match after.take().or_else(|| orders.blocking_recv()) {
            None | Some(Order::End) => return Ok(()),
            Some(Order::Attempted(key, not_before_ms)) => writer.attempted(&key, not_before_ms)?,
            Some(Order::Probe(reply)) => {
                let _ = reply.send(writer.probe()?);
            }
            Some(Order::Ping(reply)) => {
                let _ = reply.send(());
            }
            Some(Order::Compact(keep, reply)) => {
                let now = Time(clock::now_ms());
                let more = writer.compact(keep, now)? | writer.file_mail(true, now, &mut entropy)?;
                // Whoever asked may have gone; the work is done all the same.
                let _ = reply.send(more);
            }
            Some(Order::Submit(submission, reply)) => {
                batch.push(*submission);
                replies.push(reply);
                while batch.len() < GROUP_MAX {
                    match orders.try_recv() {
                        Ok(Order::Submit(submission, reply)) => {
                            batch.push(*submission);
                            replies.push(reply);
                        }
                        Ok(other) => {
                            after = Some(other);
                            break;
                        }
                        Err(_) => break,
                    }
                }
                let answers = writer.step(&batch, Time(clock::now_ms()), &mut entropy)?;
                for (reply, answer) in replies.drain(..).zip(answers) {
                    // A client that hung up learns the answer from the receipt when it asks again.
                    let _ = reply.send(answer);
                }
                writer.answered();
                batch.clear();
                writer.file_mail(false, Time(clock::now_ms()), &mut entropy)?;
                if writer.is_lighter() {
                    // It takes a while, and nobody's command should wait for it. Without a thread it is done next time.
                    let _ = thread::Builder::new().name("memory".into()).spawn(memory::give_back);
                }
            }
        }
    }
}

fn entropy() -> u128 {
    u128::from_le_bytes(clock::random_bytes::<16>())
}

fn gone() -> Rejection {
    Rejection::new(Code::Unavailable, "the server is ending")
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panic: {}", text.unwrap_or_else(|| "without a message".into()))
}
