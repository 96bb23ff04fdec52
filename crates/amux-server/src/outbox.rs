//! What was said to a client and is not with its socket yet. It is written while the client is heard: what it types is
//! read also when it reads nothing.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use amux_proto::frame::ServerFrame;
use amux_proto::{Code, FRAME_BYTES_MAX, Rejection};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::session::Sink;
use crate::views::Out;

/// Room for what answers a client that asks much at once, as a page that opens all of its terminals. One that asks for
/// more and does not read is not heard until it does. What is on its way into the socket comes to that.
const WAITING_BYTES_MAX: usize = 4 * FRAME_BYTES_MAX;

/// So much is written together. What is on its way cannot be taken back, so it is little.
const TOGETHER_BYTES: usize = 64 * 1024;

/// So long a client that leaves or is sent away may take for what it still is to hear: longer than a busy disk keeps an
/// answer or a slow line a frame, and short enough that whoever does not read keeps no place for long.
pub(crate) const LET_GO_WITHIN: Duration = Duration::from_secs(10);

pub(crate) struct Outbox<S> {
    /// While nothing is written.
    socket: Option<S>,
    writing: Option<BoxFuture<'static, (S, io::Result<()>)>>,
    waiting: VecDeque<Said>,
    waiting_bytes: usize,
}

enum Said {
    /// Frames, each a line.
    Lines(String),
    Bytes(Vec<u8>),
}

impl Said {
    fn len(&self) -> usize {
        match self {
            Self::Lines(lines) => lines.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

impl<S: Sink> Outbox<S> {
    pub(crate) fn new(socket: S) -> Self {
        Self { socket: Some(socket), writing: None, waiting: VecDeque::new(), waiting_bytes: 0 }
    }

    pub(crate) fn put(&mut self, out: Vec<Out>) {
        for out in out {
            let said = match out {
                Out::Frame(frame) => {
                    let mut lines = String::new();
                    push(&mut lines, &frame);
                    Said::Lines(lines)
                }
                Out::Line(lines) => Said::Lines(lines),
                Out::Bytes(bytes) => Said::Bytes(bytes),
            };
            self.waiting_bytes += said.len();
            match (self.waiting.back_mut(), said) {
                // Together, for a socket that takes them in one go.
                (Some(Said::Lines(before)), Said::Lines(lines)) if before.len() + lines.len() <= TOGETHER_BYTES => {
                    before.push_str(&lines);
                }
                (_, said) => self.waiting.push_back(said),
            }
        }
    }

    /// Whether all of it is with the socket.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.writing.is_none()
    }

    /// Whether there is room for an answer.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting_bytes < WAITING_BYTES_MAX
    }

    /// Waits until what is being written is with the socket, and begins with what waits. Dropped at any time it loses
    /// nothing: the next one goes on.
    pub(crate) async fn written(&mut self) -> io::Result<()> {
        if let (Some(_), Some(said)) = (&self.socket, self.waiting.front()) {
            self.waiting_bytes -= said.len();
            self.writing =
                self.socket.take().zip(self.waiting.pop_front()).map(|(socket, said)| write(socket, said).boxed());
        }
        let Some(writing) = &mut self.writing else { return Ok(()) };
        let (socket, written) = writing.await;
        (self.socket, self.writing) = (Some(socket), None);
        written
    }

    /// What waits is not for this client any more. What is half with the socket goes on: half a frame is none, and
    /// nothing could be said behind it.
    pub(crate) fn forget(&mut self) {
        self.waiting.clear();
        self.waiting_bytes = 0;
    }

    /// Says a last thing behind all the others, to whoever takes it in this time.
    pub(crate) async fn end(mut self, last: Vec<Out>, within: Duration) {
        self.put(last);
        // The client may be gone: it is then nobody's to read.
        let all = async { while !self.is_empty() && self.written().await.is_ok() {} };
        let _ = tokio::time::timeout(within, all).await;
    }
}

async fn write<S: Sink>(mut socket: S, said: Said) -> (S, io::Result<()>) {
    let sent = match said {
        Said::Lines(lines) => socket.send(&lines).await,
        Said::Bytes(bytes) => socket.send_bytes(bytes).await,
    };
    (socket, sent)
}

pub(crate) fn push(lines: &mut String, frame: &ServerFrame) {
    let before = lines.len();
    match serde_json::to_string(frame) {
        Ok(text) if text.len() <= FRAME_BYTES_MAX || frame.reset.is_some() || frame.ok.is_some() => {
            lines.push_str(&text)
        }
        Ok(_) | Err(_) => {
            lines.truncate(before);
            let refusal = Rejection::new(Code::TooLarge, "the answer is larger than a frame");
            let frame = ServerFrame::error(frame.id, refusal);
            lines.push_str(&serde_json::to_string(&frame).expect("a refusal can be written"));
        }
    }
    lines.push('\n');
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::*;

    impl Sink for DuplexStream {
        const TAKES_BYTES: bool = true;

        async fn send(&mut self, lines: &str) -> io::Result<()> {
            self.write_all(lines.as_bytes()).await
        }

        async fn send_bytes(&mut self, bytes: Vec<u8>) -> io::Result<()> {
            self.write_all(&bytes).await
        }
    }

    #[tokio::test]
    async fn what_was_said_comes_in_its_order_however_often_the_wait_for_it_is_dropped() {
        let (ours, mut theirs) = tokio::io::duplex(3);
        let mut outbox = Outbox::new(ours);
        let (mut said, mut heard) = (String::new(), String::new());
        for n in 0..20 {
            said.push_str(&format!("line {n}\nbytes {n}\n"));
            outbox.put(vec![Out::Line(format!("line {n}\n")), Out::Bytes(format!("bytes {n}\n").into_bytes())]);
            if let Some(written) = outbox.written().now_or_never() {
                written.unwrap();
            }
            let mut some = [0; 5];
            let count = theirs.read(&mut some).await.unwrap();
            heard.push_str(std::str::from_utf8(&some[..count]).unwrap());
        }
        assert!(heard.len() < said.len(), "there is no room for all of it");
        let mut unread = String::new();
        let last = vec![Out::Line("the end\n".into())];
        let (_, read) = tokio::join!(outbox.end(last, LET_GO_WITHIN), theirs.read_to_string(&mut unread));
        read.unwrap();
        assert_eq!(heard + &unread, said + "the end\n");
    }

    #[tokio::test]
    async fn for_one_that_reads_nothing_only_so_much_waits() {
        let (ours, _theirs) = tokio::io::duplex(3);
        let mut outbox = Outbox::new(ours);
        let mut answers = 0;
        while outbox.has_room() {
            outbox.put(vec![Out::Bytes(vec![0; FRAME_BYTES_MAX])]);
            answers += 1;
            assert!(outbox.written().now_or_never().is_none());
        }
        // The first is on its way already.
        assert_eq!(answers, 1 + WAITING_BYTES_MAX / FRAME_BYTES_MAX);
    }

    #[tokio::test]
    async fn one_that_is_sent_away_hears_the_rest_of_a_line_and_why_and_nothing_else() {
        let (ours, mut theirs) = tokio::io::duplex(3);
        let mut outbox = Outbox::new(ours);
        let long = format!("{}\n", "x".repeat(TOGETHER_BYTES));
        outbox.put(vec![Out::Line("begun\n".into()), Out::Line(long.clone()), Out::Bytes(vec![0; FRAME_BYTES_MAX])]);
        assert!(outbox.written().now_or_never().is_none());
        outbox.forget();
        assert!(outbox.has_room());
        let (mut heard, last) = (String::new(), vec![Out::Line("signed out\n".into())]);
        let (_, read) = tokio::join!(outbox.end(last, LET_GO_WITHIN), theirs.read_to_string(&mut heard));
        read.unwrap();
        assert_eq!(heard, "begun\nsigned out\n");
    }

    #[tokio::test]
    async fn one_that_does_not_read_is_let_go_all_the_same() {
        let (ours, mut theirs) = tokio::io::duplex(3);
        let mut outbox = Outbox::new(ours);
        outbox.put(vec![Out::Line("more than there is room for\n".into())]);
        outbox.end(vec![Out::Line("the end\n".into())], Duration::from_millis(10)).await;
        let mut heard = String::new();
        theirs.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "mor", "the socket is closed");
    }
}
