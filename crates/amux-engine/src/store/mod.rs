//! The store: one SQLite file in WAL mode with `synchronous=FULL`. It is opened by one server at a time, refuses a
//! newer schema before any write, is backed up before it is migrated, and is never taken for empty when it cannot be
//! read.

mod compact;
mod log;
mod migrate;
mod outbox;
mod projection;
mod receipt;

use std::path::{Path, PathBuf};
use std::time::Duration;

use amux_core::State;
use amux_proto::{Epoch, Seq};
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
        let migrated = migrate::run(&mut conn, path, is_new, options)?;

        let owner = Uuid::from_bytes(amux_sys::clock::random_bytes::<16>()).simple().to_string();
        let mut store = Self { conn, path: path.to_owned(), upcasters: options.upcasters.clone(), owner };
        let epoch = store.take_over(options.now_ms)?;
        let state = projection::load(&store.conn, projection::Source::Tables)?;
        let (head, floor) = (store.head()?, Seq(store.meta_number("floor")?));
        let wishes = outbox::open(&store.conn)?;
        Ok(Opened { store, state, epoch, head, floor, wishes, migrated })
    }

    /// A connection that only reads; it sees what is committed.
    pub fn reader(path: &Path) -> Result<Connection, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags)?;
        conn.busy_timeout(BUSY_TIMEOUT)?;
        conn.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
        Ok(conn)
    }

    /// Names this server as the owner. Every transaction of an earlier owner fails from here on.
    ///
    /// The epoch is renewed when the file is not the one the store was made in: somebody restored or copied it, and
    /// cursors taken from the other history must not be continued in this one.
    fn take_over(&mut self, now_ms: i64) -> Result<Epoch, Error> {
        let file = file_identity(&self.path)?;
        let known = self.meta("file")?;
        let tx = self.conn.transaction()?;
        set_meta(&tx, "owner", &self.owner)?;
        set_meta(&tx, "opened_at", &now_ms.to_string())?;
        if known.as_deref() != Some(file.as_str()) {
            set_meta(&tx, "file", &file)?;
            let fresh = Uuid::from_bytes(amux_sys::clock::random_bytes::<16>());
            set_meta(&tx, "epoch", &uuid::Builder::from_random_bytes(fresh.into_bytes()).into_uuid().to_string())?;
        }
        // The store is copied and backed up: nothing in it lets anybody in.
        tx.execute("DELETE FROM meta WHERE key = 'token_key'", [])?;
        tx.commit()?;
        let epoch = self.meta("epoch")?.ok_or_else(|| Error::Corrupt { what: "meta has no epoch".into() })?;
        epoch.parse().map_err(|_| Error::Corrupt { what: format!("epoch {epoch:?}") })
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

/// Whether an error says that there is no room, rather than that something is broken.
pub(crate) fn is_full(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull))
        // Some file systems answer a write without room with EDQUOT or EFBIG, which SQLite reports as a failed write.
        || error.sqlite_error().is_some_and(|e| e.extended_code == rusqlite::ffi::SQLITE_IOERR_WRITE)
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

pub(crate) use compact::{compact, fold};
pub use log::after as log_after;
pub(crate) use log::insert as log_insert;
pub(crate) use outbox::{attempted, insert as outbox_insert, open as outbox_open, settle as outbox_settle};
pub(crate) use projection::{Source, load as projection_load, write as projection_write};
pub(crate) use receipt::{find as receipt_find, insert as receipt_insert};
