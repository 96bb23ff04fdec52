//! The outbox: wishes as rows, opened and settled by the events of the same transaction.

use amux_proto::{Effect, Seq, effect};
use rusqlite::Connection;

use super::Error;
use crate::writer::Wish;

pub(crate) fn insert(conn: &Connection, wish: &Effect, seq: Seq) -> Result<(), Error> {
    let key = wish.key();
    let body = serde_json::to_string(wish).map_err(|error| Error::Corrupt { what: error.to_string() })?;
    let mut statement = conn.prepare_cached(
        "INSERT INTO outbox (seq, kind, agent, run, body, subject) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
         ON CONFLICT (kind, agent, run, subject) WHERE state = 'open' DO UPDATE \
         SET seq = excluded.seq, body = excluded.body, attempts = 0, lease_until = NULL",
    )?;
    statement.execute((seq.0, key.kind.as_str(), key.agent.to_string(), key.run.0, body, key.subject.to_string()))?;
    Ok(())
}

pub(crate) fn settle(conn: &Connection, key: &effect::Key) -> Result<(), Error> {
    let mut statement = conn.prepare_cached(
        "UPDATE outbox SET state = 'done', lease_until = NULL \
         WHERE state = 'open' AND kind = ?1 AND agent = ?2 AND run = ?3 AND subject = ?4",
    )?;
    statement.execute((key.kind.as_str(), key.agent.to_string(), key.run.0, key.subject.to_string()))?;
    Ok(())
}

/// One more try was made; the next not before `lease_until`.
pub(crate) fn attempted(conn: &Connection, key: &effect::Key, lease_until: i64) -> Result<(), Error> {
    let mut statement = conn.prepare_cached(
        "UPDATE outbox SET attempts = attempts + 1, lease_until = ?5 \
         WHERE state = 'open' AND kind = ?1 AND agent = ?2 AND run = ?3 AND subject = ?4",
    )?;
    statement.execute((key.kind.as_str(), key.agent.to_string(), key.run.0, key.subject.to_string(), lease_until))?;
    Ok(())
}

pub(crate) fn open(conn: &Connection) -> Result<Vec<Wish>, Error> {
    let mut statement =
        conn.prepare("SELECT seq, body, attempts, lease_until FROM outbox WHERE state = 'open' ORDER BY id")?;
    let mut rows = statement.query([])?;
    let mut wishes = Vec::new();
    while let Some(row) = rows.next()? {
        let body: String = row.get(1)?;
        let effect =
            serde_json::from_str(&body).map_err(|error| Error::Corrupt { what: format!("outbox: {error}") })?;
        wishes.push(Wish {
            effect,
            seq: Seq(row.get(0)?),
            attempts: row.get(2)?,
            not_before_ms: row.get::<_, Option<i64>>(3)?.unwrap_or(0),
        });
    }
    Ok(wishes)
}
