//! Forgetting. Old events leave the log after `base` has taken them in, in slices short enough that no command waits
//! long behind one. Projections are never touched: truncation loses no state.

use amux_core::row;
use amux_proto::event::Record;
use amux_proto::{Seq, Time};
use rusqlite::{Connection, OptionalExtension as _};

use super::{Error, Source, Store, Upcasters, log, meta_number, projection, set_meta};

/// How much history stays. An event leaves when it is beyond the rows *and* older than the age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    pub rows: u64,
    pub age_ms: i64,
    pub receipts_age_ms: i64,
}

/// Events a slice takes in: some 20 ms of one transaction.
const SLICE_EVENTS: usize = 2000;

/// Receipts a slice forgets: some milliseconds, so that no command waits long behind them.
const SLICE_RECEIPTS: usize = 2000;

/// Settled wishes are kept this long for `diag outbox`.
const SETTLED_ROWS_KEPT: u64 = 1000;

/// What a slice came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slice {
    /// Where the log begins since then; `None` when it did not get shorter.
    pub(crate) floor: Option<Seq>,
    pub(crate) may_be_more: bool,
}

/// Forgets one slice. Only what is to leave is read: a row of today that cannot be understood is in nobody's way.
pub(crate) fn compact(store: &mut Store, keep: Keep, head: Seq, now: Time) -> Result<Slice, Error> {
    let owner = store.owner().to_owned();
    let upcasters = store.upcasters.clone();
    let tx = store.conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    Store::check_owner(&tx, &owner)?;
    let receipts = forget_receipts(&tx, keep, now)?;
    tx.execute(
        "DELETE FROM outbox WHERE state = 'done' AND id <= (SELECT coalesce(max(id), 0) FROM outbox) - ?1",
        [SETTLED_ROWS_KEPT],
    )?;
    let floor = Seq(meta_number(&tx, "floor")?);
    let last_droppable = Seq(head.0.saturating_sub(keep.rows));
    let leaving = log::older(&tx, floor, last_droppable, Time(now.0.saturating_sub(keep.age_ms)), SLICE_EVENTS)?;
    let slice = log::after(&tx, &upcasters, floor, leaving)?;
    let last = slice.last().map(|record| record.seq);
    if let Some(last) = last {
        take_in(&tx, &slice)?;
        tx.execute("DELETE FROM event WHERE seq <= ?1", [last.0])?;
        set_meta(&tx, "floor", &last.to_string())?;
    }
    tx.commit()?;
    Ok(Slice { floor: last, may_be_more: last.is_some() || receipts == SLICE_RECEIPTS })
}

/// The oldest, up to the first that is to stay. One from far in the future is a wrong clock's and would stand before the
/// others for ever, so it goes, too; where the newest is from there as well, it is now that the clock is wrong.
fn forget_receipts(tx: &Connection, keep: Keep, now: Time) -> Result<usize, Error> {
    let newest = tx
        .prepare_cached("SELECT at FROM receipt ORDER BY id DESC LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    let from = now.0.saturating_sub(keep.receipts_age_ms);
    let to = now.0.max(newest.unwrap_or(now.0)).saturating_add(keep.receipts_age_ms);
    let mut statement = tx.prepare_cached(
        "WITH slice (above) AS (SELECT min(id) + ?3 FROM receipt) \
         DELETE FROM receipt WHERE id < (SELECT coalesce(( \
         SELECT id FROM receipt WHERE id < above AND at BETWEEN ?1 AND ?2 ORDER BY id LIMIT 1), above) FROM slice)",
    )?;
    Ok(statement.execute((from, to, SLICE_RECEIPTS))?)
}

fn take_in(tx: &Connection, slice: &[Record]) -> Result<(), Error> {
    let mut state = projection::load(tx, Source::Base)?;
    for record in slice {
        amux_core::apply(&mut state, record.at, &record.event);
    }
    let rows = row::touched(&state, slice.iter().map(|record| &record.event));
    projection::write(tx, Source::Base, &rows, slice.last().map_or(Seq(0), |record| record.seq))
}

/// The state the log and its base say, and the head they reach.
pub(crate) fn fold(conn: &Connection, upcasters: &Upcasters) -> Result<(amux_core::State, Seq), Error> {
    let mut state = projection::load(conn, Source::Base)?;
    let mut at = Seq(meta_number(conn, "floor")?);
    loop {
        let records = log::after(conn, upcasters, at, SLICE_EVENTS)?;
        for record in &records {
            if record.seq != at.next() {
                return Err(Error::Corrupt { what: format!("event {} follows {at}", record.seq) });
            }
            amux_core::apply(&mut state, record.at, &record.event);
            at = record.seq;
        }
        if records.len() < SLICE_EVENTS {
            return Ok((state, at));
        }
    }
}
