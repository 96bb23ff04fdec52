//! The event log: append at the commit, read back by cursor. Stored shapes carry a version; older ones are lifted
//! here, one function a step, before anyone sees them.

use std::collections::BTreeMap;

use amux_proto::event::Record;
use amux_proto::{CmdId, Event, Seq, Time};
use rusqlite::Connection;
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::Error;

/// The shape new events are written in. A type whose shape changes gets a step in [`Upcasters`].
const SHAPE: u32 = 1;

/// From (type, version) to the next version's type and body.
#[derive(Clone, Default)]
pub struct Upcasters(BTreeMap<(&'static str, u32), Lift>);

/// Gives the type and the body of the next version.
type Lift = fn(Value) -> (&'static str, Value);

impl Upcasters {
    /// Every step there is.
    pub fn current() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn with(mut self, kind: &'static str, from: u32, step: Lift) -> Self {
        self.0.insert((kind, from), step);
        self
    }

    fn newest(&self, kind: &str) -> u32 {
        self.0.keys().filter(|(of, _)| *of == kind).map(|(_, from)| from + 1).max().unwrap_or(SHAPE)
    }

    /// The event as it would be written now.
    pub fn lift(&self, kind: &str, version: u32, body: &str) -> Result<Event, Error> {
        let corrupt = |why: String| Error::Corrupt { what: format!("event {kind} v{version}: {why}") };
        let mut kind_now = kind.to_owned();
        let mut version_now = version;
        let mut body_now = None::<Value>;
        while let Some(((kind_key, from), step)) = self.0.get_key_value(&(kind_now.as_str(), version_now)) {
            debug_assert_eq!((*kind_key, *from), (kind_now.as_str(), version_now));
            let value = match body_now.take() {
                Some(value) => value,
                None => serde_json::from_str(body).map_err(|error| corrupt(error.to_string()))?,
            };
            let (next_kind, next_body) = step(value);
            kind_now = next_kind.to_owned();
            version_now += 1;
            body_now = Some(next_body);
        }
        let decoded = match body_now {
            Some(value) => Event::decode(&kind_now, &value.to_string()),
            None => Event::decode(&kind_now, body),
        };
        decoded.ok_or_else(|| corrupt("unknown type".into()))?.map_err(|error| corrupt(error.to_string()))
    }
}

/// `body` is the event's, encoded.
pub(crate) fn insert(conn: &Connection, upcasters: &Upcasters, record: &Record, body: &RawValue) -> Result<(), Error> {
    let mut statement = conn.prepare_cached(
        "INSERT INTO event (seq, at, actor, actor_name, cause, cmd_id, topic, type, v, body) \
         VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)",
    )?;
    let kind = record.event.name();
    statement.execute((
        record.seq.0,
        record.at.0,
        record.actor.to_string(),
        &record.actor_name,
        record.cause.map(|seq| seq.0),
        record.cmd_id.0.as_bytes(),
        record.event.topic(),
        kind,
        upcasters.newest(kind),
        body.get(),
    ))?;
    Ok(())
}

/// How many events after `seq` come, without a break, before `last` is passed or one is as young as `young`; not more
/// than `limit`. None of them is decoded.
pub(crate) fn older(conn: &Connection, seq: Seq, last: Seq, young: Time, limit: usize) -> Result<usize, Error> {
    let mut statement = conn.prepare_cached("SELECT seq, at FROM event WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
    let mut rows = statement.query((seq.0, limit))?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        if row.get::<_, u64>(0)? > last.0 || row.get::<_, i64>(1)? >= young.0 {
            break;
        }
        count += 1;
    }
    Ok(count)
}

/// Up to `limit` events after `seq`, in order.
pub fn after(conn: &Connection, upcasters: &Upcasters, seq: Seq, limit: usize) -> Result<Vec<Record>, Error> {
    let mut statement = conn.prepare_cached(
        "SELECT seq, at, actor, cause, cmd_id, type, v, body, actor_name FROM event WHERE seq > ?1 ORDER BY seq LIMIT ?2",
    )?;
    let mut rows = statement.query((seq.0, limit))?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        let seq = Seq(row.get(0)?);
        let actor: String = row.get(2)?;
        let cmd_id: [u8; 16] = row.get(4)?;
        let (kind, version, body): (String, u32, String) = (row.get(5)?, row.get(6)?, row.get(7)?);
        let record = Record {
            seq,
            at: Time(row.get(1)?),
            actor: actor.parse().map_err(|error| Error::Corrupt { what: format!("event {seq}: {error}") })?,
            actor_name: row.get(8)?,
            cause: row.get::<_, Option<u64>>(3)?.map(Seq),
            cmd_id: CmdId(Uuid::from_bytes(cmd_id)),
            event: upcasters.lift(&kind, version, &body)?,
        };
        events.push(record);
    }
    Ok(events)
}
