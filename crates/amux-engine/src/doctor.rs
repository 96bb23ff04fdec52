//! What can be checked of a store: that it can be read, that folding the log gives the tables, that the wishes are
//! those the state implies. Works beside a running server and without one; reads only.

use std::path::Path;

use amux_core::{row, wish};
use amux_proto::view::{Finding, Level};
use rusqlite::Connection;

use crate::store::{self, Error, Store, Upcasters};

/// More differences than this say no more than the first ones.
const DIFFERENCES_SHOWN: usize = 10;

/// Below this much free space the store is about to become read-only.
const FREE_BYTES_LOW: u64 = 256 * 1024 * 1024;

pub fn check(path: &Path) -> Vec<Finding> {
    let mut findings = vec![match Store::reader(path).map_err(Problem::from).and_then(|conn| compare(&conn)) {
        Ok(()) => finding("store", Level::Ok, "folding the log gives the tables", None),
        Err(Problem::Differs(differences)) => Finding {
            details: Some(differences.into()),
            ..finding("store", Level::Failure, "the tables are not what the log says", Some("agentmux diag store"))
        },
        Err(Problem::Unreadable(error)) => {
            finding("store", Level::Failure, &format!("the store cannot be read: {error}"), None)
        }
    }];
    findings.push(free_space(path));
    findings
}

enum Problem {
    Differs(Vec<String>),
    Unreadable(Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Unreadable(error)
    }
}

impl From<rusqlite::Error> for Problem {
    fn from(error: rusqlite::Error) -> Self {
        Self::Unreadable(error.into())
    }
}

fn compare(conn: &Connection) -> Result<(), Problem> {
    // One transaction: everything below is of one moment, however much is written meanwhile.
    let tx = conn.unchecked_transaction()?;
    let (folded, _head) = store::fold(&tx, &Upcasters::current())?;
    let tables = store::projection_load(&tx, store::Source::Tables)?;
    let mut differences = Vec::new();
    let mut stored: std::collections::BTreeMap<_, _> =
        row::all(&tables).into_iter().map(|row| ((row.table.name(), row.id), row.body)).collect();
    for row in row::all(&folded) {
        let key = (row.table.name(), row.id);
        match stored.remove(&key) {
            Some(body) if body == row.body => {}
            Some(_) => differences.push(format!("{} {} differs", key.0, key.1)),
            None => differences.push(format!("{} {} is missing", key.0, key.1)),
        }
    }
    differences.extend(stored.into_keys().map(|(table, id)| format!("{table} {id} is not in the log")));
    let mut wished: Vec<_> = store::outbox_open(&tx)?.into_iter().map(|wish| wish.effect).collect();
    let mut implied = wish::open(&tables);
    wished.sort();
    implied.sort();
    if wished != implied {
        differences.push(format!("open wishes are {wished:?}, the state implies {implied:?}"));
    }
    differences.truncate(DIFFERENCES_SHOWN);
    if differences.is_empty() { Ok(()) } else { Err(Problem::Differs(differences)) }
}

fn free_space(path: &Path) -> Finding {
    match amux_sys::disk::free_bytes(path.parent().unwrap_or(path)) {
        Ok(free) if free < FREE_BYTES_LOW => finding(
            "disk",
            Level::Warning,
            &format!("only {} MiB are free where the store is", free / 1024 / 1024),
            Some("free some space"),
        ),
        Ok(free) => {
            finding("disk", Level::Ok, &format!("{} MiB are free where the store is", free / 1024 / 1024), None)
        }
        Err(error) => finding("disk", Level::Unknown, &format!("free space is not known: {error}"), None),
    }
}

fn finding(check: &str, level: Level, message: &str, hint: Option<&str>) -> Finding {
    Finding { check: check.into(), level, message: message.into(), hint: hint.map(Into::into), details: None }
}
