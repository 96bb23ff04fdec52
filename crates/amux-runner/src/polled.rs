//! Descriptors in the runtime's poll set. The one place where they get there.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use amux_sys::pty;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, Interest, ReadBuf};

/// Wakes when the descriptor can be read.
pub fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    watch(fd, Interest::READABLE)
}

/// Wakes when the descriptor can be written.
pub fn writable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    watch(fd, Interest::WRITABLE)
}

/// Wakes for both directions.
pub fn both(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    watch(fd, Interest::READABLE | Interest::WRITABLE)
}

#[expect(deprecated, reason = "it is unsound for types whose descriptor may change; an OwnedFd's never does")]
fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, interest)
}

/// A pipe or a socket that does not block, read without a thread. What the other end takes wakes nobody, as it would
/// with a stream of the runtime's own, which is watched in both directions.
pub struct Reader(Arc<AsyncFd<OwnedFd>>);

impl Reader {
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self(Arc::new(readable(fd)?)))
    }

    /// For whoever writes to it.
    pub fn shared(&self) -> Arc<AsyncFd<OwnedFd>> {
        Arc::clone(&self.0)
    }
}

impl AsyncRead for Reader {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(cx))?;
            match ready.try_io(|fd| pty::read(fd.get_ref().as_fd(), buf.initialize_unfilled())) {
                Ok(count) => {
                    buf.advance(count?);
                    return Poll::Ready(Ok(()));
                }
                Err(_would_block) => {}
            }
        }
    }
}
