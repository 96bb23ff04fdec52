//! Standard streams as the runtime can wait for them.
//!
//! A host gives pipes or sockets, which the runtime reads and writes by itself. A terminal or a file is left to threads
//! that block; for a host those would be two more threads that every call goes through.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream as BlockingStream;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

pub(crate) type Reader = Box<dyn AsyncRead + Send + Unpin>;
pub(crate) type Writer = Box<dyn AsyncWrite + Send + Unpin>;

pub(crate) fn stdin() -> Reader {
    let polled = opened(io::stdin()).and_then(|file| -> io::Result<Reader> {
        Ok(match file.metadata()?.file_type().is_socket() {
            true => Box::new(socket(file)?),
            false => Box::new(pipe::Receiver::from_file(file)?),
        })
    });
    polled.unwrap_or_else(|_| Box::new(tokio::io::stdin()))
}

pub(crate) fn stdout() -> Writer {
    let polled = opened(io::stdout()).and_then(|file| -> io::Result<Writer> {
        Ok(match file.metadata()?.file_type().is_socket() {
            true => Box::new(socket(file)?),
            false => Box::new(pipe::Sender::from_file(file)?),
        })
    });
    polled.unwrap_or_else(|_| Box::new(tokio::io::stdout()))
}

fn opened(stream: impl AsFd) -> io::Result<File> {
    Ok(File::from(stream.as_fd().try_clone_to_owned()?))
}

fn socket(file: File) -> io::Result<UnixStream> {
    let socket = BlockingStream::from(std::os::fd::OwnedFd::from(file));
    socket.set_nonblocking(true)?;
    UnixStream::from_std(socket)
}
