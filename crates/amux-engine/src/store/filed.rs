//! Old mail: messages that are settled and were put away. Nothing changes here; a message that somebody speaks of again
//! is taken out and is of today.

use amux_core::{mail, resolve};
use amux_proto::entity::{Message, Recipient};
use amux_proto::{Digest, ThreadId};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::Error;

/// One more than this meant by the end of an id says no more than that it is not clear.
const MEANT_MAX: usize = 2;

pub(crate) fn put(conn: &Connection, message: &Message) -> Result<(), Error> {
    let id = message.id.to_string();
    let body = serde_json::to_string(message).map_err(|error| Error::Corrupt { what: error.to_string() })?;
    conn.prepare_cached(
        "INSERT OR REPLACE INTO filed (id, tail, created, thread, sender, key, body) VALUES (?1,?2,?3,?4,?5,?6,?7)",
    )?
    .execute(params![
        id,
        tail(&message.id.0.simple().to_string()),
        message.created.0,
        message.thread.to_string(),
        mail::sender(&message.from),
        message.key,
        body
    ])?;
    for copy in &message.deliveries {
        conn.prepare_cached("INSERT OR REPLACE INTO filed_copy (recipient, created, id) VALUES (?1,?2,?3)")?
            .execute(params![recipient(copy.to), message.created.0, id])?;
    }
    Ok(())
}

pub(crate) fn take(conn: &Connection, message: &Message) -> Result<(), Error> {
    let id = message.id.to_string();
    conn.prepare_cached("DELETE FROM filed WHERE id = ?1")?.execute([&id])?;
    for copy in &message.deliveries {
        conn.prepare_cached("DELETE FROM filed_copy WHERE recipient = ?1 AND created = ?2 AND id = ?3")?
            .execute(params![recipient(copy.to), message.created.0, id])?;
    }
    Ok(())
}

/// Messages an id, or the end of one, may mean.
pub(crate) fn named(conn: &Connection, reference: &str) -> Result<Vec<Message>, Error> {
    let Some(suffix) = resolve::suffix(reference) else { return Ok(Vec::new()) };
    let from = tail(&suffix);
    // Behind every hexadecimal digit.
    let to = format!("{from}g");
    many(conn, "SELECT body FROM filed WHERE tail >= ?1 AND tail < ?2 LIMIT ?3", params![from, to, MEANT_MAX])
}

pub(crate) fn keyed(conn: &Connection, sender: &str, key: &str) -> Result<Option<Message>, Error> {
    let mut statement = conn.prepare_cached("SELECT body FROM filed WHERE sender = ?1 AND key = ?2")?;
    let body: Option<String> = statement.query_row([sender, key], |row| row.get(0)).optional()?;
    body.map(|body| parse(&body)).transpose()
}

/// The newest of a thread, newest first.
pub(crate) fn thread(conn: &Connection, thread: ThreadId, limit: usize) -> Result<Vec<Message>, Error> {
    let sql = "SELECT body FROM filed WHERE thread = ?1 ORDER BY created DESC, id DESC LIMIT ?2";
    many(conn, sql, params![thread.to_string(), limit])
}

/// The newest of somebody's mail, newest first.
pub(crate) fn mail_of(conn: &Connection, to: Recipient, limit: usize) -> Result<Vec<Message>, Error> {
    let sql = "SELECT filed.body FROM filed_copy JOIN filed USING (id) WHERE recipient = ?1 \
               ORDER BY filed_copy.created DESC, id DESC LIMIT ?2";
    many(conn, sql, params![recipient(to), limit])
}

/// Messages that hold on to a file; as many as may matter to whoever was sent one of them.
pub(crate) fn holding(conn: &Connection, digest: &Digest) -> Result<Vec<Message>, Error> {
    const HOLDING_MAX: usize = 100;
    let sql = "SELECT body FROM filed WHERE instr(body, ?1) > 0 ORDER BY created DESC LIMIT ?2";
    many(conn, sql, params![digest.as_str(), HOLDING_MAX])
}

fn many(conn: &Connection, sql: &str, params: impl rusqlite::Params) -> Result<Vec<Message>, Error> {
    let mut statement = conn.prepare_cached(sql)?;
    let bodies = statement.query_map(params, |row: &Row<'_>| row.get::<_, String>(0))?;
    bodies.map(|body| parse(&body?)).collect()
}

fn parse(body: &str) -> Result<Message, Error> {
    serde_json::from_str(body).map_err(|error| Error::Corrupt { what: format!("an old message: {error}") })
}

/// The hex digits of an id from its end, so that an end of it is the beginning of this.
fn tail(hex: &str) -> String {
    hex.chars().rev().collect()
}

fn recipient(to: Recipient) -> String {
    match to {
        Recipient::Operator => "operator".to_owned(),
        Recipient::Agent { agent } => agent.to_string(),
    }
}
