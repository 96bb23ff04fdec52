//! The projections: a table per aggregate, written from the same fold the memory uses.

use amux_core::State;
use amux_core::row::{self, Row, Table};
use amux_proto::Seq;
use rusqlite::Connection;

use super::Error;

/// Where a state is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The projections: now.
    Tables,
    /// The fold of everything compacted away: the moment the log begins.
    Base,
}

pub(crate) fn load(conn: &Connection, source: Source) -> Result<State, Error> {
    let mut rows = Vec::new();
    for &table in Table::ALL {
        let name = table.name();
        let sql = match source {
            Source::Tables => format!("SELECT id, body FROM \"{name}\""),
            Source::Base => format!("SELECT id, body FROM base WHERE tbl = '{name}'"),
        };
        let mut statement = conn.prepare(&sql)?;
        let found = statement.query_map([], |row| Ok((table, row.get(0)?, row.get(1)?)))?;
        for row in found {
            rows.push(row?);
        }
    }
    row::load(rows.into_iter()).map_err(|error| Error::Corrupt { what: error.to_string() })
}

pub(crate) fn write(conn: &Connection, source: Source, rows: &[Row], seq: Seq) -> Result<(), Error> {
    for Row { table, id, rev, body } in rows {
        let name = table.name();
        match (source, body) {
            (Source::Tables, Some(body)) => {
                let mut statement = conn.prepare_cached(&format!(
                    "INSERT INTO \"{name}\" (id, rev, updated_seq, body) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE \
                     SET rev = excluded.rev, updated_seq = excluded.updated_seq, body = excluded.body"
                ))?;
                statement.execute((id, rev.0, seq.0, body))?;
            }
            (Source::Tables, None) => {
                conn.prepare_cached(&format!("DELETE FROM \"{name}\" WHERE id = ?1"))?.execute([id])?;
            }
            (Source::Base, Some(body)) => {
                let mut statement = conn.prepare_cached(
                    "INSERT INTO base (tbl, id, rev, body) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE \
                     SET rev = excluded.rev, body = excluded.body",
                )?;
                statement.execute((name, id, rev.0, body))?;
            }
            (Source::Base, None) => {
                conn.prepare_cached("DELETE FROM base WHERE tbl = ?1 AND id = ?2")?.execute((name, id))?;
            }
        }
    }
    Ok(())
}
