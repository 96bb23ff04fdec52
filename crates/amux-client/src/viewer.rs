//! A terminal that is followed: its screen, then what is printed; keys and window sizes the other way. Once it is
//! open nothing here waits: what the server does not take yet stays in the outbox, and its caller polls.

use std::os::fd::{AsFd, BorrowedFd};

use amux_proto::RunNo;
use amux_proto::entity::Size;
use amux_proto::frame::{ClientFrame, FrameId, Resized, ServerFrame, Typed, ViewTerminal};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::client::{Client, Error, is_timeout};

/// Keys that the server has not taken. Whoever has more waits before it reads more.
const OUTBOX_BYTES_MAX: usize = 256 * 1024;

pub struct Viewer {
    client: Client,
    agent: String,
    id: FrameId,
    outbox: Vec<u8>,
}

#[derive(Debug)]
pub enum Seen {
    /// Bytes that bring a terminal of this size to what is shown, whatever it showed before.
    Screen {
        agent: String,
        run: RunNo,
        size: Size,
        bytes: Vec<u8>,
    },
    Output(Vec<u8>),
    /// There is nothing more to be seen, and why.
    Ended(String),
}

impl Viewer {
    /// Begins to follow. With a size it is made the terminal's, until somebody else attaches or types. The first thing
    /// it says is in the answer.
    pub fn open(client: Client, agent: &str, size: Option<Size>) -> Result<(Self, Seen), Error> {
        let mut this = Self { client, agent: agent.to_owned(), id: 0, outbox: Vec::new() };
        let frame = this.wanted(size);
        this.client.send(&frame)?;
        let first = loop {
            let frame = this.client.read()?;
            if let Some(seen) = this.sort(frame)? {
                break seen;
            }
        };
        this.client.never_wait()?;
        Ok((this, first))
    }

    /// Asks for the screen as it is now; the size as with [`Viewer::open`].
    pub fn again(&mut self, size: Option<Size>) {
        let (id, unsub) = (Some(self.client.id()), Some(self.id));
        self.push(&ClientFrame { id, unsub, ..ClientFrame::default() });
        let frame = self.wanted(size);
        self.push(&frame);
    }

    pub fn type_bytes(&mut self, bytes: &[u8]) {
        let typed = Typed { view: self.id, bytes: BASE64.encode(bytes) };
        self.push(&ClientFrame { typed: Some(typed), ..ClientFrame::default() });
    }

    pub fn resize(&mut self, size: Size) {
        let resized = Resized { view: self.id, rows: size.rows, cols: size.cols };
        self.push(&ClientFrame { resized: Some(resized), ..ClientFrame::default() });
    }

    /// What was seen next, if anything was.
    pub fn see(&mut self) -> Result<Option<Seen>, Error> {
        loop {
            let frame = match self.client.read() {
                Err(Error::Lost(error)) if is_timeout(&error) => return Ok(None),
                frame => frame?,
            };
            if let Some(seen) = self.sort(frame)? {
                return Ok(Some(seen));
            }
        }
    }

    /// Sends what the server takes.
    pub fn flush(&mut self) -> Result<(), Error> {
        while !self.outbox.is_empty() {
            match self.client.write_some(&self.outbox)? {
                0 => break,
                count => drop(self.outbox.drain(..count)),
            }
        }
        Ok(())
    }

    pub fn has_to_send(&self) -> bool {
        !self.outbox.is_empty()
    }

    pub fn takes_more(&self) -> bool {
        self.outbox.len() < OUTBOX_BYTES_MAX
    }

    fn wanted(&mut self, size: Option<Size>) -> ClientFrame {
        self.id = self.client.id();
        let (rows, cols) = (size.map(|size| size.rows), size.map(|size| size.cols));
        let view = ViewTerminal { agent: self.agent.clone(), rows, cols, binary: false, history: None };
        ClientFrame { id: Some(self.id), view: Some(view), ..ClientFrame::default() }
    }

    fn push(&mut self, frame: &ClientFrame) {
        let text = serde_json::to_string(frame).expect("a frame of ours is JSON");
        self.outbox.extend_from_slice(text.as_bytes());
        self.outbox.push(b'\n');
    }

    /// `None` for what is no news of the view: an answer to somebody else, or a view that was given up.
    fn sort(&self, frame: ServerFrame) -> Result<Option<Seen>, Error> {
        let decode = |text: &str| BASE64.decode(text).map_err(|error| Error::Garbled(error.to_string()));
        match frame {
            ServerFrame { closing: Some(closing), .. } => Err(Error::Closed(closing.reason)),
            ServerFrame { id: Some(id), .. } if id != self.id => Ok(None),
            ServerFrame { error: Some(rejection), .. } => Err(rejection.into()),
            ServerFrame { screen: Some(screen), .. } => {
                let size = Size { rows: screen.rows, cols: screen.cols };
                let bytes = decode(&screen.bytes)?;
                Ok(Some(Seen::Screen { agent: screen.agent, run: screen.run, size, bytes }))
            }
            ServerFrame { output: Some(output), .. } => Ok(Some(Seen::Output(decode(&output.bytes)?))),
            ServerFrame { ended: Some(why), .. } => Ok(Some(Seen::Ended(why))),
            _ => Ok(None),
        }
    }
}

impl AsFd for Viewer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.client.as_fd()
    }
}
