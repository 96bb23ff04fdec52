//! The one migration mechanism: numbered steps, each in a transaction with its post-condition, `user_version` as the
//! record of what was done. Runs under the data directory's lock, after a backup, before anybody serves.

use std::path::Path;

use amux_core::row::{self, Table};
use amux_proto::Effect;
use rusqlite::{Connection, Transaction};

use super::{Error, Options};

/// One step. Its number is its place in the list, from 1.
pub struct Migration {
    pub name: &'static str,
    pub run: fn(&Transaction<'_>) -> rusqlite::Result<()>,
    /// Fails the step, and with it the start, when what it was for is not true afterwards.
    pub verify: fn(&Transaction<'_>) -> Result<(), String>,
}

pub const MIGRATIONS: &[Migration] = &[
    Migration { name: "first shape", run: first_shape, verify: every_table_is_there },
    Migration { name: "wishes have subjects", run: wishes_have_subjects, verify: every_table_is_there },
    Migration { name: "messages have histories", run: messages_have_histories, verify: every_table_is_there },
    Migration { name: "old mail has a place", run: old_mail_has_a_place, verify: every_table_is_there },
    Migration { name: "words have rows of their own", run: words_have_rows, verify: every_message_has_words },
    Migration { name: "receipts lie by age", run: receipts_lie_by_age, verify: a_receipt_is_found_by_its_command },
];

/// Copies from before migrations that are kept; the newest ones.
const BACKUPS_KEPT: usize = 5;

pub(super) fn refuse_newer(conn: &Connection, migrations: &[Migration]) -> Result<(), Error> {
    let found: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = migrations.len() as i64;
    if found > known { Err(Error::NewerSchema { found, known }) } else { Ok(()) }
}

/// Brings the store to the newest shape; the number of steps taken.
pub(super) fn run(conn: &mut Connection, path: &Path, is_new: bool, options: &Options<'_>) -> Result<u32, Error> {
    let done: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let holds_data: i64 = conn.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
    if done == 0 && holds_data > 0 {
        return Err(Error::Corrupt { what: format!("{} is a database, but not ours", path.display()) });
    }
    let pending = &options.migrations[usize::try_from(done).expect("refuse_newer has checked the range")..];
    if pending.is_empty() {
        return Ok(0);
    }
    if !is_new && done > 0 {
        (options.on_migrating)(pending.len() as u32);
        back_up(conn, path, done, options)?;
    }
    for (migration, id) in pending.iter().zip(done + 1..) {
        let failed = |why: String| Error::Migration { id, why: format!("{}: {why}", migration.name) };
        let tx = conn.transaction()?;
        (migration.run)(&tx).map_err(|error| failed(error.to_string()))?;
        (migration.verify)(&tx).map_err(failed)?;
        tx.pragma_update(None, "user_version", id)?;
        tx.commit()?;
    }
    Ok(pending.len() as u32)
}

fn back_up(conn: &Connection, path: &Path, version: i64, options: &Options<'_>) -> Result<(), Error> {
    std::fs::create_dir_all(&options.backups)?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let target = options.backups.join(format!("{stem}-v{version}-{}.db", options.now_ms));
    let mut copy = Connection::open(&target)?;
    rusqlite::backup::Backup::new(conn, &mut copy)?.run_to_completion(1024, std::time::Duration::ZERO, None)?;
    copy.close().map_err(|(_, error)| error)?;
    let file = std::fs::File::open(&target)?;
    file.sync_all()?;
    prune_backups(&options.backups)?;
    Ok(())
}

fn prune_backups(dir: &Path) -> Result<(), Error> {
    let mut copies: Vec<_> = std::fs::read_dir(dir)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "db"))
        .map(|path| (std::fs::metadata(&path).and_then(|meta| meta.modified()).ok(), path))
        .collect();
    copies.sort();
    let surplus = copies.len().saturating_sub(BACKUPS_KEPT);
    for (_, path) in copies.into_iter().take(surplus) {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

fn first_shape(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    tx.execute_batch(include_str!("schema.sql"))?;
    create_tables(tx)
}

/// Answers and deliveries are wishes too, several of a kind for one agent; and kinds and rules have tables.
fn wishes_have_subjects(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    tx.execute_batch(
        "DROP INDEX outbox_open; ALTER TABLE outbox ADD COLUMN subject TEXT NOT NULL DEFAULT ''; \
         CREATE UNIQUE INDEX outbox_open ON outbox (kind, agent, run, subject) WHERE state = 'open';",
    )?;
    create_tables(tx)?;
    let broken = |error: Error| rusqlite::Error::ToSqlConversionFailure(error.to_string().into());
    tx.execute("UPDATE outbox SET subject = ?1", [uuid::Uuid::nil().to_string()])?;
    let state = super::projection::load(tx, super::projection::Source::Tables).map_err(broken)?;
    // Those of runs are there, with the tries that were made.
    let added = |wish: &Effect| matches!(wish, Effect::Answer { .. } | Effect::Deliver { .. });
    for wish in amux_core::wish::open(&state).into_iter().filter(added) {
        super::outbox::insert(tx, &wish, amux_proto::Seq(0)).map_err(broken)?;
    }
    Ok(())
}

/// How a message came to its stage is told by the log, as far as it reaches.
fn messages_have_histories(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    let broken = |error: Error| rusqlite::Error::ToSqlConversionFailure(error.to_string().into());
    let (state, head) = super::compact::fold(tx, &super::Upcasters::current()).map_err(broken)?;
    create_tables(tx)?;
    let is_mail = |row: &row::Row| matches!(row.table, Table::Message | Table::Words);
    let rows: Vec<_> = row::all(&state).into_iter().filter(is_mail).collect();
    super::projection::write(tx, super::projection::Source::Tables, &rows, head).map_err(broken)
}

fn old_mail_has_a_place(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    create_tables(tx)?;
    tx.execute_batch(
        "CREATE TABLE filed (id TEXT PRIMARY KEY, tail TEXT NOT NULL, created INTEGER NOT NULL, thread TEXT NOT NULL, \
         sender TEXT NOT NULL, key TEXT, body TEXT NOT NULL) WITHOUT ROWID; \
         CREATE INDEX filed_tail ON filed (tail); \
         CREATE INDEX filed_thread ON filed (thread, created, id); \
         CREATE INDEX filed_key ON filed (sender, key) WHERE key IS NOT NULL; \
         CREATE TABLE filed_copy (recipient TEXT NOT NULL, created INTEGER NOT NULL, id TEXT NOT NULL, \
         PRIMARY KEY (recipient, created, id)) WITHOUT ROWID;",
    )
}

/// What a message says is written once and not with every step of its copies.
fn words_have_rows(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    create_tables(tx)?;
    // As they stand, escapes and all; a step before may have parted some already.
    const SAID: &str = "json_object('body', body -> '$.body', 'earlier', coalesce(body -> '$.earlier', json('[]')))";
    const REST: &str = "json_remove(json_set(body, '$.body', ''), '$.earlier')";
    tx.execute_batch(&format!(
        "INSERT OR IGNORE INTO words (id, rev, updated_seq, body) SELECT id, 0, updated_seq, {SAID} FROM message; \
         UPDATE message SET body = {REST}; \
         INSERT OR IGNORE INTO base (tbl, id, rev, body) SELECT 'words', id, 0, {SAID} FROM base WHERE tbl = 'message'; \
         UPDATE base SET body = {REST} WHERE tbl = 'message';"
    ))
}

fn every_message_has_words(tx: &Transaction<'_>) -> Result<(), String> {
    every_table_is_there(tx)?;
    // What is no text, or is not there, says as little as an empty one.
    const SILENT: &str = "(coalesce(json_type(body, '$.body'), '') <> 'text' OR body ->> '$.body' = '')";
    let silent = format!(
        "SELECT (SELECT count(*) FROM message WHERE id NOT IN (SELECT id FROM words)) \
         + (SELECT count(*) FROM words WHERE {SILENT}) \
         + (SELECT count(*) FROM base WHERE tbl = 'message' AND id NOT IN (SELECT id FROM base WHERE tbl = 'words')) \
         + (SELECT count(*) FROM base WHERE tbl = 'words' AND {SILENT})"
    );
    match tx.query_row(&silent, [], |row| row.get::<_, i64>(0)).map_err(|error| error.to_string())? {
        0 => Ok(()),
        some => Err(format!("{some} messages would say nothing")),
    }
}

/// A command writes its receipt at the end of the table, and the old ones leave from its beginning. By their ids they
/// lay anywhere, and by age in an index of their own.
fn receipts_lie_by_age(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    tx.execute_batch(
        "CREATE TABLE by_age (id INTEGER PRIMARY KEY, cmd_id BLOB NOT NULL, actor TEXT NOT NULL, \
         digest BLOB NOT NULL, outcome TEXT NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL); \
         INSERT INTO by_age (cmd_id, actor, digest, outcome, seq, at) \
         SELECT cmd_id, actor, digest, outcome, seq, at FROM receipt ORDER BY at, seq; \
         DROP TABLE receipt; ALTER TABLE by_age RENAME TO receipt; \
         CREATE UNIQUE INDEX receipt_by_command ON receipt (cmd_id);",
    )
}

fn a_receipt_is_found_by_its_command(tx: &Transaction<'_>) -> Result<(), String> {
    every_table_is_there(tx)?;
    let columns = "SELECT group_concat(name) FROM pragma_index_info('receipt_by_command')";
    match tx.query_row(columns, [], |row| row.get::<_, Option<String>>(0)).map_err(|error| error.to_string())? {
        Some(columns) if columns == "cmd_id" => Ok(()),
        _ => Err("receipts are not found by their commands".into()),
    }
}

/// Those there are already stay as they are.
fn create_tables(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    Table::ALL.iter().try_for_each(|table| {
        tx.execute_batch(&format!(
            "CREATE TABLE IF NOT EXISTS \"{}\" (id TEXT PRIMARY KEY, rev INTEGER NOT NULL, \
             updated_seq INTEGER NOT NULL, body TEXT NOT NULL) WITHOUT ROWID",
            table.name()
        ))
    })
}

fn every_table_is_there(tx: &Transaction<'_>) -> Result<(), String> {
    for table in Table::ALL {
        tx.query_row("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1", [table.name()], |_| Ok(()))
            .map_err(|error| format!("table {}: {error}", table.name()))?;
    }
    Ok(())
}
