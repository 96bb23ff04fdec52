//! Who reads along while a transcript is written. A bell is rung after an entry is in the file and says how far that
//! goes; whoever hears it reads the file. What only streams is in no file: the newest of it hangs at the bell for a
//! moment, once for all who read along, and whoever comes too late for it has the whole from the file. So nothing is
//! queued for anybody, and no reader holds up a run.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use amux_proto::transcript::Entry;
use amux_proto::{AgentId, RunNo};
use serde_json::value::RawValue;
use tokio::sync::watch;

/// What streamed and may still be fetched, of one agent: more than comes while a reader is busy for a moment, and
/// always fewer bytes than fit one frame.
const LIVE_BYTES_MAX: usize = 256 * 1024;
const LIVE_MAX: usize = 1024;

/// Of one server. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Bells(Arc<Mutex<BTreeMap<AgentId, Arc<Bell>>>>);

#[derive(Default)]
struct Bell {
    told: watch::Sender<Told>,
    live: Mutex<Live>,
}

/// How far the newest transcript of an agent goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    pub run: RunNo,
    pub end: u64,
    /// So many entries streamed, in whatever run.
    pub streamed: u64,
}

#[derive(Default)]
struct Live {
    /// Oldest first; the newest is the one with the number `streamed`.
    pieces: VecDeque<Piece>,
    bytes: usize,
    streamed: u64,
}

struct Piece {
    run: RunNo,
    /// Where the transcript ended then: entries up to here came before it.
    place: u64,
    entry: Box<RawValue>,
}

/// Hears the bell of one agent.
pub struct Listener {
    bell: Arc<Bell>,
    told: watch::Receiver<Told>,
    /// What streamed up to here was fetched.
    streamed: u64,
}

/// What streamed since it was fetched last, up to the next entry in the file.
#[derive(Debug, Default)]
pub struct Streamed {
    pub entries: Vec<Box<RawValue>>,
    /// Some of it came and went meanwhile.
    pub is_torn: bool,
    /// More streamed after the entries of the file up to here.
    pub after: Option<u64>,
}

impl Bells {
    pub(crate) fn listen(&self, agent: AgentId) -> Listener {
        let mut bells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bells.retain(|_, bell| bell.told.receiver_count() > 0);
        let bell = Arc::clone(bells.entry(agent).or_default());
        let told = bell.told.subscribe();
        let streamed = told.borrow().streamed;
        Listener { bell, told, streamed }
    }

    fn of(&self, agent: AgentId) -> Option<Arc<Bell>> {
        let bells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bells.get(&agent).filter(|bell| bell.told.receiver_count() > 0).cloned()
    }

    pub(crate) fn ring(&self, agent: AgentId, run: RunNo, end: u64) {
        if let Some(bell) = self.of(agent) {
            bell.told.send_modify(|told| (told.run, told.end) = (run, end));
        }
    }

    /// An entry that no file keeps, said when the transcript ended at `end`. Costs nothing where nobody reads along.
    pub(crate) fn stream(&self, agent: AgentId, run: RunNo, end: u64, entry: impl FnOnce() -> Entry) {
        let Some(bell) = self.of(agent) else { return };
        let Ok(entry) = serde_json::value::to_raw_value(&entry()) else { return };
        let streamed = {
            let mut live = bell.live.lock().unwrap_or_else(PoisonError::into_inner);
            live.push(Piece { run, place: end, entry });
            live.streamed
        };
        bell.told.send_replace(Told { run, end, streamed });
    }
}

impl Live {
    fn push(&mut self, piece: Piece) {
        self.streamed += 1;
        self.bytes += piece.entry.get().len();
        self.pieces.push_back(piece);
        while self.bytes > LIVE_BYTES_MAX || self.pieces.len() > LIVE_MAX {
            let Some(oldest) = self.pieces.pop_front() else { return };
            self.bytes -= oldest.entry.get().len();
        }
    }
}

impl Listener {
    /// What was told last; the next change is one after this.
    pub fn told(&mut self) -> Told {
        *self.told.borrow_and_update()
    }

    /// Whether something streamed that was not fetched.
    pub fn is_behind(&self, told: &Told) -> bool {
        told.streamed > self.streamed
    }

    pub async fn changed(&mut self) {
        if self.told.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Fetches what streamed in this run, for a reader who has the transcript up to `at`.
    pub fn fetch(&mut self, run: RunNo, at: u64) -> Streamed {
        let live = self.bell.live.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = live.streamed - live.pieces.len() as u64;
        let mut fetched = Streamed { is_torn: self.streamed < oldest, ..Streamed::default() };
        self.streamed = self.streamed.max(oldest);
        let skip = usize::try_from(self.streamed - oldest).unwrap_or(usize::MAX);
        for piece in live.pieces.iter().skip(skip) {
            if piece.run == run && piece.place > at {
                fetched.after = Some(piece.place);
                break;
            }
            self.streamed += 1;
            // What is behind in the file may be the whole of it already.
            if piece.run == run && piece.place == at {
                fetched.entries.push(piece.entry.clone());
            }
        }
        fetched
    }
}

#[cfg(test)]
mod tests {
    use amux_proto::Time;
    use amux_proto::transcript::Item;

    use super::*;

    const AGENT: AgentId = AgentId(uuid::Uuid::nil());
    const RUN: RunNo = RunNo(1);

    fn say(bells: &Bells, run: RunNo, end: u64, text: &str) {
        let item = Item::MessageDelta { id: "m".into(), text: text.into(), parent: None };
        bells.stream(AGENT, run, end, || Entry { n: 1, i: 0, offset: 0, at: Time(0), item });
    }

    fn texts(fetched: &Streamed) -> Vec<String> {
        let text = |entry: &RawValue| match serde_json::from_str::<Entry>(entry.get()).unwrap().item {
            Item::MessageDelta { text, .. } => text,
            other => panic!("{other:?}"),
        };
        fetched.entries.iter().map(|entry| text(entry)).collect()
    }

    #[test]
    fn what_streams_is_heard_once_and_in_its_place_between_the_entries() {
        let bells = Bells::default();
        say(&bells, RUN, 0, "nobody is there");
        let mut listener = bells.listen(AGENT);
        assert!(bells.listen(AGENT).fetch(RUN, 0).entries.is_empty());
        for (end, text) in [(0, "a"), (0, "b"), (70, "c")] {
            say(&bells, RUN, end, text);
        }
        let told = listener.told();
        assert_eq!((told.end, listener.is_behind(&told)), (70, true));
        let first = listener.fetch(RUN, 0);
        assert_eq!((texts(&first), first.after), (vec!["a".to_owned(), "b".into()], Some(70)));
        let second = listener.fetch(RUN, 70);
        assert_eq!((texts(&second), second.after, second.is_torn), (vec!["c".to_owned()], None, false));
        assert!(!listener.is_behind(&told) && listener.fetch(RUN, 70).entries.is_empty());

        say(&bells, RUN, 70, "its whole was read");
        say(&bells, RunNo(2), 0, "of another run");
        assert!(listener.fetch(RUN, 90).entries.is_empty());
        let told = listener.told();
        assert!(!listener.is_behind(&told));
    }

    #[test]
    fn whoever_does_not_fetch_costs_no_more_and_hears_that_something_is_missing() {
        let bells = Bells::default();
        let mut listener = bells.listen(AGENT);
        let text = "x".repeat(1000);
        for _ in 0..10_000 {
            say(&bells, RUN, 0, &text);
        }
        let held = |listener: &Listener| {
            let live = listener.bell.live.lock().unwrap();
            (live.bytes, live.pieces.iter().map(|piece| piece.entry.get().len()).sum::<usize>())
        };
        let (bytes, sum) = held(&listener);
        assert!(bytes == sum && bytes <= LIVE_BYTES_MAX && bytes > LIVE_BYTES_MAX / 2, "{bytes} {sum}");
        let fetched = listener.fetch(RUN, 0);
        assert!(fetched.is_torn && fetched.entries.len() > 100);
        say(&bells, RUN, 0, "small");
        assert!(!listener.fetch(RUN, 0).is_torn);
        // One that is too large for all is missing too.
        say(&bells, RUN, 0, &"x".repeat(LIVE_BYTES_MAX));
        assert_eq!(held(&listener), (0, 0));
        assert!(listener.fetch(RUN, 0).is_torn);
        for _ in 0..10_000 {
            say(&bells, RUN, 0, "x");
        }
        assert_eq!(listener.bell.live.lock().unwrap().pieces.len(), LIVE_MAX);
    }
}
