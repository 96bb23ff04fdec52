//! The local socket: one frame a line, peers known by the kernel.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use amux_proto::frame::ServerFrame;
use amux_proto::{Code, FRAME_BYTES_MAX, Principal, Rejection};
use amux_runner::polled;
use amux_sys::pty;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use crate::auth::{self, Admission};
use crate::daemon::Daemon;
use crate::places::Places;
use crate::session::{self, Incoming, Sink, Source};

/// Two hundred agents with a connection or two each, and room for people and scripts.
const CONNECTIONS_MAX: usize = 1024;
const CONNECTIONS_RESERVED: usize = 128;

pub(crate) fn places() -> Arc<Places> {
    Places::new(CONNECTIONS_MAX, CONNECTIONS_RESERVED)
}

/// Accepts until the listener is replaced or the server ends.
pub(crate) async fn accept(daemon: Arc<Daemon>, listener: UnixListener) {
    let mut failures = 0;
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                failures += 1;
                // Out of descriptors: those who are connected go on, and the next try finds some again.
                if failures == 1 {
                    tracing::warn!(%error, "A connection could not be accepted.");
                }
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        failures = 0;
        // Before it is known who it is, so that nothing is missed that changes that.
        let panes = daemon.runner.panes_moved();
        // Known before it has a place: a crowd that nobody has looked at yet would keep the operator out.
        let admission = match auth::local(&stream, &daemon.family()) {
            Ok(admission) => admission,
            Err(refusal) => {
                tokio::spawn(refuse(stream, refusal));
                continue;
            }
        };
        let place = match daemon.local_places.take(admission.guest()) {
            Ok(place) => place,
            Err(refusal) => {
                daemon.counters.refused();
                tokio::spawn(refuse(stream, refusal));
                continue;
            }
        };
        let (source, sink) = match lines(stream) {
            Ok(lines) => lines,
            Err(error) => {
                tracing::warn!(%error, "A connection could not be watched.");
                continue;
            }
        };
        let (serving, peer) = (Arc::clone(&daemon), Arc::clone(&sink.0));
        let is_operator = admission == Admission::Known(Principal::Operator);
        // The place is given back when the session is over, however it ends.
        daemon.tasks.spawn("session", async move {
            let _place = place;
            let _counted = serving.counters.connected();
            tokio::select! {
                () = session::serve(Arc::clone(&serving), (source, sink), admission, None) => {}
                () = is_an_agents(&serving, peer.get_ref(), panes), if is_operator => {}
            }
        });
    }
}

/// Waits until the terminal that somebody came from is taken for an agent: he is another one then, and comes again as that.
async fn is_an_agents(daemon: &Daemon, peer: &OwnedFd, mut panes: watch::Receiver<u64>) {
    while panes.changed().await.is_ok() {
        if auth::local(peer, &daemon.family()) != Ok(Admission::Known(Principal::Operator)) {
            return;
        }
    }
    std::future::pending().await
}

async fn refuse(mut stream: UnixStream, refusal: Rejection) {
    let message = refusal.message.clone();
    for frame in [ServerFrame::error(None, refusal), ServerFrame::closing(message)] {
        if let Ok(text) = serde_json::to_string(&frame)
            && stream.write_all(format!("{text}\n").as_bytes()).await.is_err()
        {
            return;
        }
    }
}

fn lines(stream: UnixStream) -> io::Result<(Lines, Writer)> {
    let reader = polled::Reader::new(OwnedFd::from(stream.into_std()?))?;
    let writer = Writer(reader.shared());
    Ok((Lines { reader: BufReader::new(reader), partial: Vec::new() }, writer))
}

struct Lines {
    reader: BufReader<polled::Reader>,
    /// What of the next line has come; kept here so that a read that is dropped loses nothing.
    partial: Vec<u8>,
}

impl Source for Lines {
    async fn next(&mut self) -> Result<Option<Incoming>, Rejection> {
        loop {
            let Ok(chunk) = self.reader.fill_buf().await else { return Ok(None) };
            if chunk.is_empty() {
                // Half a frame is no frame.
                return Ok(None);
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(chunk.len(), |at| at + 1);
            if self.partial.len() + taken > FRAME_BYTES_MAX + 1 {
                let message = format!("a frame has at most {FRAME_BYTES_MAX} bytes");
                return Err(Rejection::new(Code::TooLarge, message));
            }
            self.partial.extend_from_slice(&chunk[..taken]);
            self.reader.consume(taken);
            if end.is_none() {
                continue;
            }
            let line = std::mem::take(&mut self.partial);
            let text = String::from_utf8(line).map_err(|_| Rejection::new(Code::BadFrame, "a frame is UTF-8"))?;
            if !text.trim().is_empty() {
                return Ok(Some(Incoming::Text(text)));
            }
        }
    }
}

/// Watched only while there is no room: a client that reads its answer would wake the server otherwise.
struct Writer(Arc<AsyncFd<OwnedFd>>);

impl Sink for Writer {
    const TAKES_BYTES: bool = false;

    async fn send(&mut self, lines: &str) -> io::Result<()> {
        // One who takes all that he is told is no reason to let the others wait.
        tokio::task::coop::consume_budget().await;
        let mut left = lines.as_bytes();
        let mut room = None;
        while !left.is_empty() {
            match pty::write(self.0.get_ref().as_fd(), left) {
                Ok(count) => left = &left[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let room = match &room {
                        Some(room) => room,
                        None => room.insert(polled::writable(self.0.get_ref().try_clone()?)?),
                    };
                    room.writable().await?.clear_ready();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn send_bytes(&mut self, _: Vec<u8>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
