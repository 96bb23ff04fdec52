//! The descriptors kept for the server, in the order they came. They are given to every server that starts and stay
//! here until the server says that it needs them no more. What they are is nobody's business here.

use std::os::fd::OwnedFd;

#[derive(Debug)]
pub(crate) struct Store {
    names: Vec<String>,
    fds: Vec<OwnedFd>,
    fds_max: usize,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0} descriptors are kept already")]
    Full(usize),
    #[error("the names of what is kept would not fit an environment variable")]
    Names,
    #[error("a name must be 1 to {NAME_BYTES_MAX} visible ASCII characters without a colon")]
    BadName,
}

/// An agent takes up to six: its three pipes, the channel before its input, its pidfd. So these are three hundred of
/// them and more.
pub(crate) const FDS_MAX: usize = 2_000;

/// The kernel takes no variable of more than 128 KiB, and its name is part of it.
const NAMES_BYTES_MAX: usize = 128 * 1024 - 64;

const NAME_BYTES_MAX: usize = 255;

impl Store {
    /// `open_files_max` is what this process may have open.
    pub(crate) fn new(open_files_max: u64) -> Self {
        // While a server starts every descriptor is open twice, and we need some ourselves.
        let room = usize::try_from(open_files_max.saturating_sub(64) / 2).unwrap_or(usize::MAX);
        Self { names: Vec::new(), fds: Vec::new(), fds_max: room.min(FDS_MAX) }
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn room(&self) -> usize {
        self.fds_max
    }

    /// All of them or none; what is refused is closed.
    pub(crate) fn keep(&mut self, name: &str, fds: Vec<OwnedFd>) -> Result<(), Error> {
        let visible = name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
        if !visible || !(1..=NAME_BYTES_MAX).contains(&name.len()) {
            return Err(Error::BadName);
        }
        if self.names.len() + fds.len() > self.fds_max {
            return Err(Error::Full(self.names.len()));
        }
        if self.names_bytes() + fds.len() * (name.len() + 1) > NAMES_BYTES_MAX {
            return Err(Error::Names);
        }
        self.names.extend(fds.iter().map(|_| name.to_owned()));
        self.fds.extend(fds);
        Ok(())
    }

    /// How many there were of that name.
    pub(crate) fn remove(&mut self, name: &str) -> usize {
        let before = self.names.len();
        let mut keep = self.names.iter().map(|kept| kept != name).collect::<Vec<_>>().into_iter();
        self.fds.retain(|_| keep.next().unwrap_or(true));
        self.names.retain(|kept| kept != name);
        before - self.names.len()
    }

    pub(crate) fn names(&self) -> String {
        self.names.join(":")
    }

    /// Lends the descriptors out for the moment of a start, which copies them.
    pub(crate) fn lend(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.fds)
    }

    pub(crate) fn take_back(&mut self, fds: Vec<OwnedFd>) {
        self.fds = fds;
    }

    fn names_bytes(&self) -> usize {
        self.names.iter().map(|name| name.len() + 1).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read as _, Seek as _, Write as _};

    use super::*;

    fn file(text: &str) -> OwnedFd {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.into()
    }

    fn text(fd: OwnedFd) -> String {
        let (mut file, mut text) = (File::from(fd), String::new());
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn what_is_kept_stays_in_order_under_its_name() {
        let mut store = Store::new(10_000);
        store.keep("a", vec![file("a1"), file("a2")]).unwrap();
        store.keep("b", vec![file("b1")]).unwrap();
        store.keep("a", vec![file("a3")]).unwrap();
        store.keep("c", vec![file("c1")]).unwrap();
        assert_eq!(store.names(), "a:a:b:a:c");
        assert_eq!(store.remove("b"), 1);
        assert_eq!(store.remove("b"), 0);
        let lent = store.lend();
        store.take_back(lent.iter().map(|fd| fd.try_clone().unwrap()).collect());
        assert_eq!(lent.into_iter().map(text).collect::<Vec<_>>(), ["a1", "a2", "a3", "c1"]);
        assert_eq!(store.remove("a"), 3);
        assert_eq!(store.names(), "c");
        assert_eq!(store.lend().into_iter().map(text).collect::<Vec<_>>(), ["c1"]);
    }

    #[test]
    fn one_too_many_is_refused_whole_and_the_rest_stays() {
        let mut store = Store::new(64 + 2 * 3);
        store.keep("a", vec![file(""), file("")]).unwrap();
        assert_eq!(store.keep("b", vec![file(""), file("")]), Err(Error::Full(2)));
        store.keep("b", vec![file("")]).unwrap();
        assert_eq!(store.names(), "a:a:b");
    }

    #[test]
    fn names_that_could_not_be_handed_back_are_refused() {
        let mut store = Store::new(10_000);
        for name in ["", "a:b", "a b", "ä", &"x".repeat(256)] {
            assert_eq!(store.keep(name, vec![file("")]), Err(Error::BadName), "{name}");
        }
        let long = "x".repeat(255);
        while store.keep(&long, vec![file("")]).is_ok() {}
        assert!(store.len() < FDS_MAX);
        assert!(store.names().len() < 128 * 1024);
    }
}
