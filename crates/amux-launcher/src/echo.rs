//! What a person sees of a launcher in the foreground. A terminal may be held, a pipe may be full: neither may stop
//! the supervision, so a thread does the writing and lines that do not fit its queue are dropped and counted.

use std::io::Write as _;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Echo {
    lines: Option<SyncSender<String>>,
    done: Receiver<()>,
    dropped: u64,
}

/// Some screens full.
const QUEUE_LINES_MAX: usize = 512;

/// Whoever holds the terminal longer than this does not get the last lines.
const LAST_LINES: Duration = Duration::from_millis(500);

impl Echo {
    /// Without a thread nothing is shown; the log has it all.
    pub(crate) fn start() -> Option<Self> {
        let (lines, queue) = sync_channel::<String>(QUEUE_LINES_MAX);
        let (finished, done) = sync_channel(1);
        let write = move || {
            for line in queue {
                if writeln!(std::io::stderr(), "{line}").is_err() {
                    break;
                }
            }
            let _ = finished.send(());
        };
        std::thread::Builder::new().name("echo".into()).spawn(write).ok()?;
        Some(Self { lines: Some(lines), done, dropped: 0 })
    }

    pub(crate) fn line(&mut self, line: &str) {
        let Some(lines) = &self.lines else { return };
        if self.dropped > 0 && lines.try_send(format!("[{} lines were not shown]", self.dropped)).is_ok() {
            self.dropped = 0;
        }
        if lines.try_send(line.to_owned()).is_err() {
            self.dropped += 1;
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.lines = None;
        let _ = self.done.recv_timeout(LAST_LINES);
    }
}
