//! Receipts: what a command came to. A retry finds it and gets the same answer.

use amux_proto::{CmdId, Command, Principal, Rev, Seq, Time};
use rusqlite::{Connection, OptionalExtension as _};

use super::Error;

/// What a command said, in 32 bytes: the same id with other words is a mistake, not a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Digest([u8; 32]);

impl Digest {
    pub(crate) fn of(command: &Command, expect: Option<Rev>) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(command.name().as_bytes());
        hasher.update(&[0]);
        if let Ok(body) = command.encode() {
            hasher.update(body.get().as_bytes());
        }
        if let Some(Rev(rev)) = expect {
            hasher.update(&rev.to_le_bytes());
        }
        Self(*hasher.finalize().as_bytes())
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) actor: String,
    pub(crate) digest: Digest,
    pub(crate) outcome: String,
    pub(crate) seq: Seq,
}

pub(crate) fn find(conn: &Connection, cmd_id: CmdId) -> Result<Option<Stored>, Error> {
    let mut statement = conn.prepare_cached("SELECT actor, digest, outcome, seq FROM receipt WHERE cmd_id = ?1")?;
    let found = statement.query_row([cmd_id.0.as_bytes()], |row| {
        Ok(Stored { actor: row.get(0)?, digest: Digest(row.get(1)?), outcome: row.get(2)?, seq: Seq(row.get(3)?) })
    });
    Ok(found.optional()?)
}

pub(crate) fn insert(
    conn: &Connection,
    cmd_id: CmdId,
    actor: &Principal,
    digest: Digest,
    outcome: &str,
    seq: Seq,
    at: Time,
) -> Result<(), Error> {
    let mut statement = conn
        .prepare_cached("INSERT INTO receipt (cmd_id, actor, digest, outcome, seq, at) VALUES (?1,?2,?3,?4,?5,?6)")?;
    statement.execute((cmd_id.0.as_bytes(), actor.to_string(), digest.0, outcome, seq.0, at.0))?;
    Ok(())
}
