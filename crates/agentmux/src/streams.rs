//! Standard streams as a runtime can wait for them.
//!
//! A host gives pipes or sockets, which the runtime reads and writes by itself. A terminal or a file is left to threads
//! that block; for a host those would be two more threads that every call goes through.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream as BlockingStream;

use amux_sys::pty;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

pub(crate) struct Streams {
    pub(crate) reader: Box<dyn AsyncRead + Send + Unpin>,
    pub(crate) writer: Box<dyn AsyncWrite + Send + Unpin>,
    pub(crate) lent: Vec<Lent>,
}

/// Whoever has the same stream after us finds it as it was.
pub(crate) struct Lent(File);

impl Drop for Lent {
    fn drop(&mut self) {
        let _ = pty::set_blocking(self.0.as_fd());
    }
}

/// Within a runtime. What is lent is kept for as long as the streams are used.
pub(crate) fn open() -> Streams {
    let mut streams =
        Streams { reader: Box::new(tokio::io::stdin()), writer: Box::new(tokio::io::stdout()), lent: Vec::new() };
    let reader = polled(io::stdin().as_fd(), |file, is_socket| {
        Ok(if is_socket { Box::new(socket(file)?) as _ } else { Box::new(pipe::Receiver::from_file(file)?) as _ })
    });
    let writer = polled(io::stdout().as_fd(), |file, is_socket| {
        Ok(if is_socket { Box::new(socket(file)?) as _ } else { Box::new(pipe::Sender::from_file(file)?) as _ })
    });
    if let Some((reader, lent)) = reader {
        streams.reader = reader;
        streams.lent.push(lent);
    }
    if let Some((writer, lent)) = writer {
        streams.writer = writer;
        streams.lent.push(lent);
    }
    streams
}

fn polled<S>(stream: BorrowedFd<'_>, open: impl FnOnce(File, bool) -> io::Result<S>) -> Option<(S, Lent)> {
    let own = || Some(File::from(stream.try_clone_to_owned().ok()?));
    let (file, lent) = (own()?, Lent(own()?));
    let meta = file.metadata().ok()?;
    // What is said on stderr must be able to wait for its reader.
    let errors = File::from(io::stderr().as_fd().try_clone_to_owned().ok()?).metadata().ok()?;
    if (meta.dev(), meta.ino()) == (errors.dev(), errors.ino()) {
        return None;
    }
    let opened = open(file, meta.file_type().is_socket()).ok()?;
    Some((opened, lent))
}

fn socket(file: File) -> io::Result<UnixStream> {
    let socket = BlockingStream::from(OwnedFd::from(file));
    socket.set_nonblocking(true)?;
    UnixStream::from_std(socket)
}
