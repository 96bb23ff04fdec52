//! The service manager's protocol, from the side of the service: state goes out as datagrams, descriptors are kept
//! by the other side and come back with the next start. Without a manager every call does nothing.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::net::{SocketAddrUnix, SocketType, sockopt};

use crate::{fdpass, os, spawn};

#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<OwnedFd>,
}

/// The queue of a manager that has been stopped fills up. Whoever would wait for it longer than this hangs with it.
const SEND_TIMEOUT: Duration = Duration::from_secs(2);

impl Notifier {
    /// From the value of `NOTIFY_SOCKET`: a path, or `@name` in the abstract space.
    pub fn from_env_value(value: Option<&OsStr>) -> io::Result<Self> {
        let Some(value) = value.filter(|value| !value.is_empty()) else { return Ok(Self::default()) };
        let address = match value.as_bytes() {
            [b'@', name @ ..] => os::abstract_address(name)?,
            path => SocketAddrUnix::new(path)?,
        };
        let socket = os::unix_socket(SocketType::DGRAM)?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(SEND_TIMEOUT))?;
        rustix::net::connect(&socket, &address)?;
        Ok(Self { socket: Some(socket) })
    }

    pub fn is_connected(&self) -> bool {
        self.socket.is_some()
    }

    pub fn send(&self, words: &[(&str, &str)]) -> io::Result<()> {
        self.send_with(words, &[])
    }

    /// Hands copies over, to be given back under this name. They stay until [`Notifier::remove_fds`], also when their
    /// other end is gone. More than fit one message travel in several, in order.
    pub fn store_fds(&self, name: &str, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        fds.chunks(fdpass::FDS_PER_MESSAGE_MAX)
            .try_for_each(|some| self.send_with(&[("FDSTORE", "1"), ("FDNAME", name), ("FDPOLL", "0")], some))
    }

    pub fn remove_fds(&self, name: &str) -> io::Result<()> {
        self.send(&[("FDSTOREREMOVE", "1"), ("FDNAME", name)])
    }

    fn send_with(&self, words: &[(&str, &str)], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let Some(socket) = &self.socket else { return Ok(()) };
        let lines: Vec<_> = words.iter().map(|(key, value)| format!("{key}={}", value.replace('\n', " "))).collect();
        fdpass::send_with_fds(socket, lines.join("\n").as_bytes(), fds)
    }
}

/// Takes the descriptors a manager handed over: their number, their names, and for whom they are.
///
/// To be called before anything else opens descriptors; only the first call that finds some gets them.
pub fn listen_fds(count: Option<&str>, names: Option<&str>, pid: Option<&str>) -> Vec<(String, OwnedFd)> {
    /// Beyond this the number is a mistake, not a store.
    const LISTEN_FDS_MAX: usize = 65_536;
    if pid.is_some_and(|pid| pid.parse() != Ok(std::process::id())) {
        return Vec::new();
    }
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let count = count.and_then(|count| count.parse::<usize>().ok()).unwrap_or(0);
    if count == 0 || TAKEN.swap(true, Ordering::SeqCst) {
        return Vec::new();
    }
    let mut names = names.unwrap_or_default().split(':').map(str::to_owned);
    let mut taken = Vec::new();
    for fd in (3..).take(count.min(LISTEN_FDS_MAX)) {
        let name = names.next().filter(|name| !name.is_empty()).unwrap_or_else(|| "unknown".into());
        // SAFETY: the manager put it there for us, and this is the one place that takes it.
        if let Some(fd) = unsafe { spawn::inherited(fd) } {
            taken.push((name, fd));
        }
    }
    taken
}
