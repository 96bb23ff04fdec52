//! One connection to a server.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use amux_proto::frame::{ClientFrame, Hello, ServerFrame, Sub, Welcome};
use amux_proto::{CmdId, Code, FRAME_BYTES_MAX, PROTOCOL, Rejection, Rev, Seq, Time, env};
use amux_sys::{clock, peer, socket};
use serde_json::value::RawValue;

/// A server that lives answers a hello at once. A machine that stands still for some seconds is no reason for the send
/// of a night's script to fail, and whoever waits for a server that is stopped wants to be told.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// A command waits for its commit and whatever the disk is doing.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Snapshots are the largest answers; beyond this the other side is not a server of ours.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no server answers at {socket}")]
    NoServer {
        socket: String,
        #[source]
        source: io::Error,
    },
    /// It took the connection and says nothing.
    #[error("{} does not answer; it may be stopped or overloaded: {socket}", server(*.pid))]
    Silent { pid: Option<u32>, socket: String },
    /// The connection ended before the answer.
    #[error("the connection to the server was lost")]
    Lost(#[source] io::Error),
    #[error("the server closed the connection: {0}")]
    Closed(String),
    #[error(transparent)]
    Refused(#[from] Rejection),
    #[error("the server said something that cannot be understood: {0}")]
    Garbled(String),
}

/// What a call came to.
#[derive(Debug, Clone)]
pub struct Answer {
    pub body: Box<RawValue>,
    pub seq: Seq,
}

/// Said hello, and was welcomed.
pub struct Client {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
    /// The beginning of a frame whose end has not come yet.
    partial: Vec<u8>,
    next_id: u64,
    socket: String,
    pub welcome: Welcome,
    /// As the kernel tells it.
    pub server_pid: Option<u32>,
}

impl Client {
    /// Connects as whoever we are; an agent's token narrows, as it should.
    pub fn connect(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let stream = socket::connect_stream(path, HELLO_TIMEOUT).map_err(|source| match is_timeout(&source) {
            true => Error::Silent { pid: None, socket: name.clone() },
            false => Error::NoServer { socket: name.clone(), source },
        })?;
        let server_pid = peer::identify(&stream).ok().and_then(|peer| peer.pid);
        stream.set_read_timeout(Some(HELLO_TIMEOUT)).map_err(Error::Lost)?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT)).map_err(Error::Lost)?;
        let reader = BufReader::new(stream.try_clone().map_err(Error::Lost)?);
        let mut client = Self {
            reader,
            writer: stream,
            partial: Vec::new(),
            next_id: 0,
            socket: name,
            welcome: nobody(),
            server_pid,
        };
        let token = std::env::var(env::TOKEN).ok();
        let hello = Hello {
            protocol: PROTOCOL,
            client: "cli".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            token: token.filter(|token| !token.is_empty()),
        };
        client.send(&ClientFrame { hello: Some(hello), ..ClientFrame::default() })?;
        let frame = match client.read() {
            Err(Error::Lost(error)) if is_timeout(&error) => return Err(client.silent()),
            // A listener whose process is going away; to a caller that is no server.
            Err(Error::Lost(source)) => return Err(Error::NoServer { socket: client.socket, source }),
            frame => frame?,
        };
        client.welcome = match frame {
            ServerFrame { welcome: Some(welcome), .. } => welcome,
            ServerFrame { error: Some(rejection), .. } => return Err(rejection.into()),
            ServerFrame { closing: Some(closing), .. } => return Err(Error::Closed(closing.reason)),
            _ => return Err(Error::Garbled("no welcome".into())),
        };
        client.writer.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(Error::Lost)?;
        Ok(client)
    }

    pub fn cmd(&mut self, name: &str, args: &impl serde::Serialize) -> Result<Answer, Error> {
        self.cmd_as(name, args, new_cmd_id(), None)
    }

    /// With an identity of the caller's choosing: the same one again is a retry.
    pub fn cmd_as(
        &mut self,
        name: &str,
        args: &impl serde::Serialize,
        cmd_id: CmdId,
        expect: Option<Rev>,
    ) -> Result<Answer, Error> {
        let id = self.begin_cmd(name, args, cmd_id, expect)?;
        self.wait_for(id)
    }

    pub fn get(&mut self, name: &str, args: &impl serde::Serialize) -> Result<Answer, Error> {
        let id = self.begin_get(name, args)?;
        self.wait_for(id)
    }

    /// Its answer is had with [`Client::answer`].
    pub fn begin_cmd(
        &mut self,
        name: &str,
        args: &impl serde::Serialize,
        cmd_id: CmdId,
        expect: Option<Rev>,
    ) -> Result<u64, Error> {
        let (cmd, args, cmd_id) = (Some(name.to_owned()), Some(raw(args)?), Some(cmd_id));
        self.begin(ClientFrame { cmd, args, cmd_id, expect, ..ClientFrame::default() })
    }

    /// Its answer is had with [`Client::answer`].
    pub fn begin_get(&mut self, name: &str, args: &impl serde::Serialize) -> Result<u64, Error> {
        self.begin(ClientFrame { get: Some(name.to_owned()), args: Some(raw(args)?), ..ClientFrame::default() })
    }

    /// The frames that follow are read with [`Client::read`]. The first says `resumed` or `reset`.
    pub fn subscribe(&mut self, sub: Sub) -> Result<(), Error> {
        let id = self.id();
        self.send(&ClientFrame { id: Some(id), sub: Some(sub), ..ClientFrame::default() })
    }

    /// How long a read may wait; `None` for as long as it takes.
    pub fn wait_at_most(&mut self, limit: Option<Duration>) -> Result<(), Error> {
        self.writer.set_read_timeout(limit.map(|limit| limit.max(Duration::from_millis(1)))).map_err(Error::Lost)
    }

    /// The next frame. Nothing of it is lost when the time is over in its middle.
    pub fn read(&mut self) -> Result<ServerFrame, Error> {
        loop {
            let chunk = match self.reader.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::Lost(error)),
            };
            if chunk.is_empty() {
                return Err(Error::Lost(io::ErrorKind::UnexpectedEof.into()));
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(chunk.len(), |at| at + 1);
            self.partial.extend_from_slice(&chunk[..taken]);
            self.reader.consume(taken);
            if self.partial.len() > ANSWER_BYTES_MAX {
                return Err(Error::Garbled("an answer without end".into()));
            }
            if end.is_some() {
                let line = std::mem::take(&mut self.partial);
                return serde_json::from_slice(&line).map_err(|error| Error::Garbled(error.to_string()));
            }
        }
    }

    fn begin(&mut self, mut frame: ClientFrame) -> Result<u64, Error> {
        let id = self.id();
        frame.id = Some(id);
        self.send(&frame)?;
        Ok(id)
    }

    fn wait_for(&mut self, id: u64) -> Result<Answer, Error> {
        self.answer(id)?.ok_or_else(|| self.silent())
    }

    /// The answer with this id, once it has come; `None` when a read has waited as long as it may.
    pub fn answer(&mut self, id: u64) -> Result<Option<Answer>, Error> {
        loop {
            let frame = match self.read() {
                Err(Error::Lost(error)) if is_timeout(&error) => return Ok(None),
                frame => frame?,
            };
            match frame {
                ServerFrame { id: Some(of), ok: Some(body), seq, .. } if of == id => {
                    return Ok(Some(Answer { body, seq: seq.unwrap_or_default() }));
                }
                ServerFrame { id: of, error: Some(rejection), .. } if of.is_none_or(|of| of == id) => {
                    return Err(rejection.into());
                }
                ServerFrame { closing: Some(closing), .. } => return Err(Error::Closed(closing.reason)),
                _ => {}
            }
        }
    }

    pub(crate) fn send(&mut self, frame: &ClientFrame) -> Result<(), Error> {
        let text = serde_json::to_string(frame).map_err(|error| Error::Garbled(error.to_string()))?;
        if text.len() > FRAME_BYTES_MAX {
            let message = format!("what is sent at once has at most {FRAME_BYTES_MAX} bytes, this has {}", text.len());
            return Err(Rejection::new(Code::TooLarge, message).into());
        }
        self.writer.write_all(format!("{text}\n").as_bytes()).map_err(Error::Lost)
    }

    /// What is said of a server that does not answer in time.
    pub fn silent(&self) -> Error {
        Error::Silent { pid: self.server_pid, socket: self.socket.clone() }
    }

    /// From here on neither reading nor writing waits: there is [`amux_sys::poll`] for that.
    pub fn never_wait(&mut self) -> Result<(), Error> {
        self.writer.set_nonblocking(true).map_err(Error::Lost)
    }

    /// As much as the server takes now.
    pub(crate) fn write_some(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        match self.writer.write(bytes) {
            Err(error) if is_timeout(&error) || error.kind() == io::ErrorKind::Interrupted => Ok(0),
            written => written.map_err(Error::Lost),
        }
    }

    pub(crate) fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.writer.as_fd()
    }
}

impl Error {
    /// The server went away, or was not there.
    pub fn is_lost(&self) -> bool {
        match self {
            Self::NoServer { .. } | Self::Lost(_) | Self::Closed(_) => true,
            Self::Refused(_) | Self::Silent { .. } | Self::Garbled(_) => false,
        }
    }

    /// The same, or it is about to go away and takes no orders.
    pub fn is_passing(&self) -> bool {
        self.is_lost() || matches!(self, Self::Refused(rejection) if rejection.code == Code::Unavailable)
    }
}

fn server(pid: Option<u32>) -> String {
    pid.map_or("the server".to_owned(), |pid| format!("the server (pid {pid})"))
}

pub fn new_cmd_id() -> CmdId {
    CmdId::new(Time(clock::now_ms()), clock::random_bytes())
}

pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

pub(crate) fn raw(args: &impl serde::Serialize) -> Result<Box<RawValue>, Error> {
    serde_json::value::to_raw_value(args).map_err(|error| Error::Garbled(error.to_string()))
}

fn nobody() -> Welcome {
    Welcome {
        protocol: 0,
        principal: String::new(),
        epoch: amux_proto::Epoch(uuid::Uuid::nil()),
        head: Seq(0),
        version: String::new(),
    }
}
