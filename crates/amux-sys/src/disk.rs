//! Files that must be whole, and the room for them.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use crate::{clock, os};

/// Bytes an ordinary user may still write where `path` is.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// More than any one write of those who ask.
const ROOM_TRIED_BYTES: usize = 64 * 1024;

/// Whether a file in this directory can still be written at this place: the error says why not.
pub fn try_room(dir: &Path, at: u64) -> io::Result<()> {
    use std::os::unix::fs::FileExt as _;
    let path = dir.join(format!(".room.{:016x}", u64::from_le_bytes(clock::random_bytes::<8>())));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    // Without a name it goes with us, however we go.
    std::fs::remove_file(&path)?;
    file.write_all_at(&[0; ROOM_TRIED_BYTES], at)?;
    file.sync_data()
}

/// Makes the names in a directory durable.
pub fn fsync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The file is afterwards either as before or whole, whatever happens meanwhile, and has exactly that mode.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    write_as(path, bytes, mode, |temporary| std::fs::rename(temporary, path))
}

/// Like [`write_atomic`], where nothing is yet: `AlreadyExists` if something is, a link that leads nowhere included.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    write_as(path, bytes, mode, |temporary| {
        std::fs::hard_link(temporary, path)?;
        std::fs::remove_file(temporary)
    })
}

fn write_as(path: &Path, bytes: &[u8], mode: u32, put: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    let dir = path.parent().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a file without a directory"))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Its own name for every write: two writers at once must not write into one file.
    let temporary = dir.join(format!(".{name}.{:016x}", u64::from_le_bytes(clock::random_bytes::<8>())));
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        put(&temporary)?;
        fsync_dir(dir)
    };
    write().inspect_err(|_| {
        let _ = std::fs::remove_file(&temporary);
    })
}

/// The file is afterwards either as before or whole, as long as the machine itself does not fail. For what can be
/// worked out again.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    std::fs::write(&temporary, bytes)?;
    std::fs::rename(&temporary, path)
}

/// Readable whenever something in a directory was removed or renamed. `None` where the system cannot say.
pub fn watch_dir(path: &Path) -> Option<std::os::fd::OwnedFd> {
    os::watch_dir(path)
}

/// Takes whatever a [`watch_dir`] descriptor has to say.
pub fn drain(fd: std::os::fd::BorrowedFd<'_>) {
    let mut buffer = [0; 4096];
    while matches!(rustix::io::read(fd, &mut buffer), Ok(count) if count > 0) {}
}
