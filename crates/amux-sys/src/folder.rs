//! A directory held open, for work that deletes: every name is one name below it, and no symbolic link is followed,
//! whatever is swapped in meanwhile. Paths are given once, to [`Folder::open`].

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

#[derive(Debug)]
pub struct Folder(OwnedFd);

/// What a name stands for, without following it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: OsString,
    pub kind: Kind,
    pub bytes: u64,
    pub mtime_ns: i128,
    /// A file that was replaced by another of the same name, size and time is still another file.
    pub inode: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Folder,
    /// A link, a pipe, a socket, a device: nothing that can be kept.
    Other,
}

impl Entry {
    pub fn mtime_ms(&self) -> i64 {
        i64::try_from(self.mtime_ns.div_euclid(1_000_000)).unwrap_or(i64::MAX)
    }
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Folder {
    /// The last name of the path must be the directory itself and not a link to one.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(rustix::fs::openat(CWD, path, FOLDER, Mode::empty())?))
    }

    pub fn sub(&self, name: impl AsRef<OsStr>) -> io::Result<Self> {
        Ok(Self(rustix::fs::openat(&self.0, one(name.as_ref())?, FOLDER, Mode::empty())?))
    }

    /// A new folder that is ours alone.
    pub fn make(&self, name: impl AsRef<OsStr>) -> io::Result<Self> {
        let name = one(name.as_ref())?;
        rustix::fs::mkdirat(&self.0, name, Mode::RWXU)?;
        self.sub(name)
    }

    /// What is in it, by name. A name that vanishes meanwhile is left out.
    pub fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in Dir::read_from(&self.0)? {
            let name = OsString::from_vec(entry?.file_name().to_bytes().to_vec());
            if name != "." && name != ".." {
                entries.extend(self.find(name)?);
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    pub fn find(&self, name: impl AsRef<OsStr>) -> io::Result<Option<Entry>> {
        let name = one(name.as_ref())?;
        match rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(entry(name.to_owned(), &stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The folder itself: its time is that of the last name made or removed in it.
    pub fn itself(&self) -> io::Result<Entry> {
        Ok(entry(OsString::new(), &rustix::fs::fstat(&self.0)?))
    }

    /// Opens a regular file and says what was opened.
    pub fn read(&self, name: impl AsRef<OsStr>) -> io::Result<(File, Entry)> {
        let name = one(name.as_ref())?;
        // Opening a pipe without a writer would otherwise wait for one.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.0, name, flags, Mode::empty())?;
        let entry = entry(name.to_owned(), &rustix::fs::fstat(&file)?);
        match entry.kind {
            Kind::File => Ok((File::from(file), entry)),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
        }
    }

    /// A new file that is ours alone.
    pub fn create(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.0, one(name.as_ref())?, flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    /// A file in the place of `to` is replaced; a folder that holds something is not.
    pub fn rename(&self, from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.0, one(from.as_ref())?, &self.0, one(to.as_ref())?)?)
    }

    /// Removes a name, whatever it stands for unless it is a folder. That it is not there is no error.
    pub fn remove(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        self.unlink(name.as_ref(), AtFlags::empty())
    }

    /// Removes an empty folder. That it is not there is no error.
    pub fn remove_folder(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        self.unlink(name.as_ref(), AtFlags::REMOVEDIR)
    }

    fn unlink(&self, name: &OsStr, flags: AtFlags) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.0, one(name)?, flags) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the names in it durable.
    pub fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.0)?)
    }

    pub fn set_mtime_ms(&self, mtime_ms: i64) -> io::Result<()> {
        File::from(self.0.try_clone()?).set_modified(time(mtime_ms))
    }
}

/// The time as the file system takes it; before 1970 is a time too.
pub fn time(ms: i64) -> SystemTime {
    let distance = Duration::from_millis(ms.unsigned_abs());
    let moved = match ms {
        0.. => SystemTime::UNIX_EPOCH.checked_add(distance),
        _ => SystemTime::UNIX_EPOCH.checked_sub(distance),
    };
    moved.unwrap_or(SystemTime::UNIX_EPOCH)
}

fn entry(name: OsString, stat: &Stat) -> Entry {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Folder,
        _ => Kind::Other,
    };
    let bytes = u64::try_from(stat.st_size).unwrap_or(0);
    let mtime_ns = i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec);
    Entry { name, kind, bytes, mtime_ns, inode: stat.st_ino }
}

fn one(name: &OsStr) -> io::Result<&OsStr> {
    let is_one = !["", ".", ".."].iter().any(|other| name == *other) && !name.as_bytes().contains(&b'/');
    if is_one { Ok(name) } else { Err(io::Error::new(io::ErrorKind::InvalidInput, "not one name")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_the_folder_can_be_named_or_reached() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("letter"), "kept").unwrap();
        let inside = dir.path().join("inside");
        std::fs::create_dir(&inside).unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("to-folder")).unwrap();
        std::os::unix::fs::symlink(outside.join("letter"), inside.join("to-file")).unwrap();
        std::os::unix::fs::symlink(&inside, dir.path().join("alias")).unwrap();

        assert!(Folder::open(&dir.path().join("alias")).is_err());
        let folder = Folder::open(&inside).unwrap();
        for name in ["..", ".", "", "../outside/letter", "/etc"] {
            assert!(folder.sub(name).is_err() && folder.read(name).is_err() && folder.remove(name).is_err(), "{name}");
        }
        assert!(folder.sub("to-folder").is_err());
        assert!(folder.read("to-file").is_err());
        assert!(folder.create("to-file").is_err());
        assert!(folder.entries().unwrap().iter().all(|entry| entry.kind == Kind::Other));
        folder.remove("to-file").unwrap();
        folder.remove("to-folder").unwrap();
        assert_eq!(std::fs::read(outside.join("letter")).unwrap(), b"kept");
    }

    #[test]
    fn what_is_not_a_regular_file_is_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        folder.make("sub").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        for name in ["sub", "socket"] {
            assert!(folder.read(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_time_before_the_epoch_survives_the_file_system() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        for ms in [0, 1_700_000_000_123, -1_500] {
            folder.set_mtime_ms(ms).unwrap();
            assert_eq!(folder.itself().unwrap().mtime_ms(), ms);
        }
    }
}
