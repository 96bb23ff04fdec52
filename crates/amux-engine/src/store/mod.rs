//! The store: one SQLite file in WAL mode with `synchronous=FULL`. It is opened by one server at a time, refuses a
//! newer schema before any write, is backed up before it is migrated, and is never taken for empty when it cannot be
//! read.

mod compact;
pub(crate) mod filed;
mod log;
mod migrate;
mod outbox;
mod projection;
mod receipt;

use std::path::{Path, PathBuf};
use std::time::Duration;

use amux_core::State;
use amux_proto::{Epoch, Seq};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _};
use uuid::Uuid;

pub use compact::Keep;
pub use log::Upcasters;
pub use migrate::{MIGRATIONS, Migration};
pub(crate) use receipt::{Digest, Stored};

/// How a store is opened. The defaults are those of the server; tests bring other migrations.
#[derive(Clone)]
pub struct Options<'a> {
    pub migrations: &'a [Migration],
    pub upcasters: &'a Upcasters,
    /// Told before the first migration runs, with the number of them.
    pub on_migrating: &'a dyn Fn(u32),
    /// Copies of the file made before migrations are kept here.
    pub backups: PathBuf,
    pub now_ms: i64,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the store was written by a newer agentmux (schema {found}, this one knows {known})")]
    NewerSchema { found: i64, known: i64 },
    #[error("the store cannot be read: {path}")]
    Unreadable {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
    #[error("the store holds a row that cannot be understood: {what}")]
    Corrupt { what: String },
    #[error("migration {id} failed: {why}")]
    Migration { id: i64, why: String },
    #[error("the store was taken over by another server")]
    Fenced,
    #[error("the disk is full")]
    Full,
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// SQLite's own retry when a reader or a checkpoint is in the way.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Pages SQLite may keep, in KiB: the hot end of the log and the projections of a few hundred agents fit.
const WRITER_CACHE_KIB: i64 = 4096;
const READER_CACHE_KIB: i64 = 1024;

/// The log file is cut back to this after a checkpoint.
const WAL_BYTES_KEPT: i64 = 16 * 1024 * 1024;

/// The writing connection, with what it needs to know between transactions.
pub struct Store {
    pub(crate) conn: Connection,
    pub(crate) path: PathBuf,
    pub(crate) upcasters: Upcasters,
    owner: String,
    /// What is still to be written of our taking over; the next transaction writes it.
    pub(crate) claim: Option<Claim>,
}

/// That this server owns the store from here on, and which history it is.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    owner: String,
    opened_at: i64,
    file: String,
    epoch: String,
}

/// A store just opened.
pub struct Opened {
    pub store: Store,
    pub state: State,
    pub epoch: Epoch,
    pub head: Seq,
    /// Events up to here are only in `base`.
    pub floor: Seq,
    pub wishes: Vec<crate::writer::Wish>,
    pub migrated: u32,
    /// There was no room to write that we own it; it can be read.
    pub is_full: bool,
}

impl Store {
    /// Opens or makes the store. The caller holds the lock on the data directory.
    pub fn open(path: &Path, options: &Options<'_>) -> Result<Opened, Error> {
        let is_new = match std::fs::metadata(path) {
            Ok(_) => false,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
            Err(error) => return Err(error.into()),
        };
        let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
        let mut conn = Connection::open(path).map_err(unreadable)?;
        conn.busy_timeout(BUSY_TIMEOUT)?;
        // The guard comes before the first pragma that writes.
        migrate::refuse_newer(&conn, options.migrations).map_err(|error| match error {
            Error::Sql(source) => unreadable(source),
            other => other,
        })?;
        conn.pragma_update(None, "journal_mode", "wal").map_err(unreadable)?;
        conn.pragma_update(None, "synchronous", "full")?;
        conn.pragma_update(None, "foreign_keys", true)?;
        conn.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
        conn.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
        conn.set_prepared_statement_cache_capacity(64);
        // The files beside the store stay: on a full disk there would be no room to make them again.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        let migrated = migrate::run(&mut conn, path, is_new, options)?;

        let owner = Uuid::from_bytes(amux_sys::clock::random_bytes::<16>()).simple().to_string();
        let mut store = Self { conn, path: path.to_owned(), upcasters: options.upcasters.clone(), owner, claim: None };
        let epoch = store.take_over(options.now_ms)?;
        let is_full = store.claim.is_some();
        let state = projection::load(&store.conn, projection::Source::Tables)?;
        let (head, floor) = (store.head()?, Seq(store.meta_number("floor")?));
        let wishes = outbox::open(&store.conn)?;
        Ok(Opened { store, state, epoch, head, floor, wishes, migrated, is_full })
    }

    /// A connection that only reads; it sees what is committed.
    pub fn reader(path: &Path) -> Result<Connection, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags)?;
        conn.busy_timeout(BUSY_TIMEOUT)?;
        conn.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
        Ok(conn)
    }

    /// Names this server as the owner. Every transaction of an earlier owner fails from here on. Without room it stays
    /// to be done: the caller's lock keeps others away until then.
    ///
    /// The epoch is renewed when the file is not the one the store was made in: somebody restored or copied it, and
    /// cursors taken from the other history must not be continued in this one.
    fn take_over(&mut self, now_ms: i64) -> Result<Epoch, Error> {
        let file = file_identity(&self.path)?;
        let epoch = match self.meta("file")? {
            Some(known) if known == file => {
                self.meta("epoch")?.ok_or_else(|| Error::Corrupt { what: "meta has no epoch".into() })?
            }
            _ => uuid::Builder::from_random_bytes(amux_sys::clock::random_bytes::<16>()).into_uuid().to_string(),
        };
        let parsed = epoch.parse().map_err(|_| Error::Corrupt { what: format!("epoch {epoch:?}") })?;
        self.claim = Some(Claim { owner: self.owner.clone(), opened_at: now_ms, file, epoch });
        match self.touch() {
            Ok(()) | Err(Error::Full) => Ok(parsed),
            Err(error) => Err(error),
        }
    }

    /// Writes something: proof that there is room.
    pub(crate) fn touch(&mut self) -> Result<(), Error> {
        let mut write = || {
            let tx = self.conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            Self::own(&tx, &self.owner, self.claim.as_ref())?;
            set_meta(&tx, "touched", &hex(&amux_sys::clock::random_bytes::<8>()))?;
            Ok(tx.commit()?)
        };
        write().map_err(|error| self.why(error))?;
        self.claim = None;
        Ok(())
    }

    /// To be asked first in every transaction: whether we own the store, or from this transaction on do.
    pub(crate) fn own(tx: &Connection, owner: &str, claim: Option<&Claim>) -> Result<(), Error> {
        let Some(claim) = claim else { return Self::check_owner(tx, owner) };
        set_meta(tx, "owner", &claim.owner)?;
        set_meta(tx, "opened_at", &claim.opened_at.to_string())?;
        set_meta(tx, "file", &claim.file)?;
        set_meta(tx, "epoch", &claim.epoch)?;
        // The store is copied and backed up: nothing in it lets anybody in.
        tx.execute("DELETE FROM meta WHERE key = 'token_key'", [])?;
        Ok(())
    }

    /// A failed write for want of room is one that is waited out; any other is the end.
    pub(crate) fn why(&self, error: Error) -> Error {
        match error {
            Error::Sql(error) if is_full(&error, || self.try_room()) => Error::Full,
            other => other,
        }
    }

    fn try_room(&self) -> std::io::Result<()> {
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |meta| meta.len());
        let at = size(&self.path).max(size(&self.path.with_extension("db-wal")));
        amux_sys::disk::try_room(self.path.parent().unwrap_or(&self.path), at)
    }

    /// Pages the file has.
    pub fn pages(&self) -> Result<i64, Error> {
        Ok(self.conn.pragma_query_value(None, "page_count", |row| row.get(0))?)
    }

    /// The file does not grow beyond this; then it is full.
    pub fn limit_pages(&self, pages: i64) -> Result<(), Error> {
        self.conn.pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0))?;
        Ok(())
    }

    pub(crate) fn check_owner(tx: &Connection, owner: &str) -> Result<(), Error> {
        match get_meta(tx, "owner")? {
            Some(now) if now == owner => Ok(()),
            _ => Err(Error::Fenced),
        }
    }

    pub(crate) fn owner(&self) -> &str {
        &self.owner
    }

    fn head(&self) -> Result<Seq, Error> {
        let last: Option<u64> = self.conn.query_row("SELECT max(seq) FROM event", [], |row| row.get(0))?;
        Ok(Seq(last.unwrap_or(0).max(self.meta_number("floor")?)))
    }

    fn meta(&self, key: &str) -> Result<Option<String>, Error> {
        get_meta(&self.conn, key)
    }

    fn meta_number(&self, key: &str) -> Result<u64, Error> {
        meta_number(&self.conn, key)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // The file alone is then the whole store, for whoever copies it. A log that could not be emptied is read again.
        let _ = self.conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
    }
}

/// Whether an error says that there is no room, rather than that something is broken. A full disk SQLite knows; a quota
/// or a limit on files it reports as it does a broken disk, and only another write tells them apart.
fn is_full(error: &rusqlite::Error, try_room: impl FnOnce() -> std::io::Result<()>) -> bool {
    use rusqlite::ffi::{SQLITE_IOERR_SHMSIZE, SQLITE_IOERR_WRITE};
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
        return true;
    }
    let may_be = |code| code == SQLITE_IOERR_WRITE || code == SQLITE_IOERR_SHMSIZE;
    error.sqlite_error().is_some_and(|error| may_be(error.extended_code))
        && try_room().is_err_and(|error| matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge))
}

pub(crate) fn get_meta(conn: &Connection, key: &str) -> Result<Option<String>, Error> {
    let mut statement = conn.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    Ok(statement.query_row([key], |row| row.get(0)).optional()?)
}

pub(crate) fn set_meta(conn: &Connection, key: &str, value: &str) -> Result<(), Error> {
    let mut statement =
        conn.prepare_cached("INSERT INTO meta VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value")?;
    statement.execute([key, value])?;
    Ok(())
}

pub(crate) fn meta_number(conn: &Connection, key: &str) -> Result<u64, Error> {
    let Some(text) = get_meta(conn, key)? else { return Ok(0) };
    text.parse().map_err(|_| Error::Corrupt { what: format!("meta {key} is {text:?}") })
}

fn file_identity(path: &Path) -> Result<String, Error> {
    use std::os::unix::fs::MetadataExt as _;
    let meta = std::fs::metadata(path)?;
    Ok(format!("{}:{}", meta.dev(), meta.ino()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) use compact::{compact, fold};
pub use log::after as log_after;
pub(crate) use log::insert as log_insert;
pub(crate) use outbox::{attempted, insert as outbox_insert, open as outbox_open, settle as outbox_settle};
pub(crate) use projection::{Source, load as projection_load, write as projection_write};
pub(crate) use receipt::{find as receipt_find, insert as receipt_insert};

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn a_broken_disk_is_not_a_full_one() {
        let failed = |code| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
        let write = failed(rusqlite::ffi::SQLITE_IOERR_WRITE);
        assert!(is_full(&failed(rusqlite::ffi::SQLITE_FULL), || panic!("nobody needs to try")));
        assert!(is_full(&write, || Err(ErrorKind::QuotaExceeded.into())));
        assert!(is_full(&write, || Err(ErrorKind::FileTooLarge.into())));
        assert!(!is_full(&write, || Ok(())), "others can write");
        assert!(!is_full(&write, || Err(std::io::Error::from_raw_os_error(5))), "nobody can");
        assert!(!is_full(&failed(rusqlite::ffi::SQLITE_IOERR_FSYNC), || panic!("what was lost is not known")));
    }
}
