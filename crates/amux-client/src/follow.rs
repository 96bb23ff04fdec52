//! Follows the order of events, or a transcript, for ever: by cursor or place, across restarts of the server and lost
//! connections.

use std::path::Path;
use std::time::{Duration, Instant};

use amux_proto::board::Entries;
use amux_proto::event::Line;
use amux_proto::frame::{ClientFrame, CursorAt, Follow, ServerFrame, Sub};
use amux_proto::view::Snapshot;

use crate::client::{Client, Error, is_timeout};

/// What a follower hears.
#[derive(Debug)]
pub enum Heard {
    /// The order continues where the cursor was.
    Resumed,
    /// It does not: this is what is, and events follow from here.
    Reset(Box<Snapshot>),
    Event(Box<Line>),
    CaughtUp,
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    GoOn,
    Enough,
}

const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Tells `hear` every page of a transcript from the place in `wanted` on, and of the runs behind it, until it has
/// enough. What streams between the entries is told as well.
pub fn transcript(
    path: &Path,
    first: Client,
    mut wanted: Follow,
    mut hear: impl FnMut(Entries) -> Flow,
) -> Result<(), Error> {
    let mut client = Some(first);
    let mut pause = PAUSE_FIRST;
    loop {
        let connected = match client.take() {
            Some(client) => Ok(client),
            None => Client::connect(path),
        };
        match connected.and_then(|client| read_on(client, &mut wanted, &mut hear)) {
            Ok(Flow::Enough) => return Ok(()),
            Ok(Flow::GoOn) => pause = PAUSE_FIRST,
            Err(error) if !error.is_passing() => return Err(error),
            Err(_) => {}
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// `GoOn` when the connection ended.
fn read_on(mut client: Client, wanted: &mut Follow, hear: &mut impl FnMut(Entries) -> Flow) -> Result<Flow, Error> {
    let id = client.id();
    client.send(&ClientFrame { id: Some(id), follow: Some(wanted.clone()), ..ClientFrame::default() })?;
    client.wait_at_most(None)?;
    loop {
        let frame = match client.read() {
            Ok(frame) => frame,
            Err(error) if error.is_passing() => return Ok(Flow::GoOn),
            Err(error) => return Err(error),
        };
        match frame {
            ServerFrame { entries: Some(entries), .. } => {
                (wanted.run, wanted.after) = (Some(entries.run.0), Some(entries.next));
                if hear(entries) == Flow::Enough {
                    return Ok(Flow::Enough);
                }
            }
            ServerFrame { error: Some(rejection), .. } => return Err(rejection.into()),
            ServerFrame { closing: Some(_), .. } => return Ok(Flow::GoOn),
            _ => {}
        }
    }
}

/// Tells `hear` everything after `from`, until it has enough or the time is over (`Ok(false)`). A lost connection is
/// made again as long as `may_return` says so.
pub fn follow(
    path: &Path,
    first: Client,
    topics: &[String],
    mut from: Option<CursorAt>,
    deadline: Option<Instant>,
    mut hear: impl FnMut(Heard) -> Flow,
) -> Result<bool, Error> {
    let mut client = Some(first);
    let mut pause = PAUSE_FIRST;
    loop {
        let connected = match client.take() {
            Some(client) => Ok(client),
            None => Client::connect(path),
        };
        match connected.and_then(|client| listen(client, topics, &mut from, deadline, &mut hear)) {
            Ok(Some(Flow::Enough)) => return Ok(true),
            Ok(Some(Flow::GoOn)) => pause = PAUSE_FIRST,
            Ok(None) => return Ok(false),
            Err(error) if !error.is_passing() => return Err(error),
            Err(_) => {}
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(false);
        }
        std::thread::sleep(left.map_or(pause, |left| pause.min(left)));
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// `None` when the time is over; `GoOn` when the connection ended after something was heard.
fn listen(
    mut client: Client,
    topics: &[String],
    from: &mut Option<CursorAt>,
    deadline: Option<Instant>,
    hear: &mut impl FnMut(Heard) -> Flow,
) -> Result<Option<Flow>, Error> {
    client.subscribe(Sub { topics: topics.to_vec(), from: *from })?;
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(None);
        }
        client.wait_at_most(left)?;
        let frame = match client.read() {
            Ok(frame) => frame,
            Err(Error::Lost(error)) if is_timeout(&error) => return Ok(None),
            Err(error) if error.is_passing() => return Ok(Some(Flow::GoOn)),
            Err(error) => return Err(error),
        };
        let heard = match frame {
            ServerFrame { resumed: Some(_), .. } => Heard::Resumed,
            ServerFrame { reset: Some(reset), .. } => {
                *from = Some(CursorAt { epoch: reset.epoch, seq: reset.seq });
                Heard::Reset(Box::new(reset.snapshot))
            }
            ServerFrame { event: Some(line), .. } => {
                *from = Some(CursorAt { epoch: line.epoch, seq: line.seq });
                Heard::Event(Box::new(line))
            }
            ServerFrame { caught_up: Some(_), .. } => Heard::CaughtUp,
            ServerFrame { error: Some(rejection), .. } => return Err(rejection.into()),
            ServerFrame { closing: Some(_), .. } => return Ok(Some(Flow::GoOn)),
            _ => continue,
        };
        if hear(heard) == Flow::Enough {
            return Ok(Some(Flow::Enough));
        }
    }
}
