//! What crossed the pipes between us and a CLI, both ways in one order: the lines of the tape and the lines of the
//! journal, merged by the numbers of a run's inputs. Heard lines and journaled inputs share one count, and a line we
//! told says how many inputs were before it; so the order is read and not guessed.
//!
//! A [`Place`] is a point of that order with its offset in every file, and a page is a walk from one, forward or back,
//! over a [`Window`] of each file. The walks are pure; [`Files`] reads the windows.

mod files;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use amux_proto::Time;
use amux_proto::view::{Doubt, Frame, Way};

pub use files::{Files, Page};

/// Of a longer line the beginning is shown: what a person reads of one, and a page of them still fits one answer.
pub const SHOWN_BYTES_MAX: usize = 64 * 1024;

/// Between two frames of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// Inputs so far.
    pub n: u64,
    /// Of the tape.
    pub heard: u64,
    pub journal: u64,
    pub transcript: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}.{}", self.n, self.heard, self.journal, self.transcript)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("no such place: {0}")]
pub struct NoPlace(String);

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let numbers: Result<Vec<u64>, _> = text.split('.').map(str::parse).collect();
        match numbers.as_deref() {
            Ok(&[n, heard, journal, transcript]) => Ok(Self { n, heard, journal, transcript }),
            _ => Err(NoPlace(text.chars().take(100).collect())),
        }
    }
}

/// How much one answer holds; a single frame always fits.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    pub frames: usize,
    pub bytes: usize,
}

impl Room {
    fn is_full(&self) -> bool {
        self.frames == 0 || self.bytes == 0
    }

    fn take(&mut self, frame: &Frame) {
        self.frames -= 1;
        self.bytes = self.bytes.saturating_sub(frame.text.len());
    }
}

/// A part of each file of a run beside a place, as far as it was read.
#[derive(Debug, Default)]
struct Window {
    bytes: Vec<u8>,
    /// Oldest first, as all here.
    pieces: Vec<Piece>,
    steps: Vec<Step>,
    marks: Vec<Mark>,
    /// Where the transcript is read from, by whoever finds none of the marks of an earlier input.
    marks_from: u64,
    /// The inputs up to here, or from here on, have all their marks.
    marked: u64,
    /// Where the steps end that were read, in the direction of the walk.
    steps_to: u64,
    /// What became of the lines that were told, as far as the journal was read.
    fates: BTreeMap<u64, Fate>,
    /// Whether there is more of each file in the direction of the walk.
    more: More,
    /// Where a walk back goes on when it is through: in front of a part of the tape that is gone.
    floor: Option<Place>,
}

#[derive(Debug, Default)]
struct More {
    pieces: bool,
    steps: bool,
    marks: bool,
}

/// A line of the tape.
#[derive(Debug)]
struct Piece {
    from: u64,
    end: u64,
    /// In the bytes of the window.
    shown: Range<usize>,
    /// Of all of it, without its end.
    len: u64,
    /// Whether it was an input. What is too long to be heard was none, nor was the rest of a line behind a gap.
    counts: bool,
    /// Bytes in front of it that are gone.
    gone: u64,
}

/// A line of the journal that is a frame or an input.
#[derive(Debug)]
struct Step {
    from: u64,
    end: u64,
    what: What,
}

#[derive(Debug)]
enum What {
    Told { after: u64, k: u64, line: String, at: Option<Time> },
    Input { n: u64 },
}

impl Step {
    /// The inputs before it.
    fn after(&self) -> u64 {
        match self.what {
            What::Told { after, .. } => after,
            What::Input { n } => n.saturating_sub(1),
        }
    }

    /// The inputs up to it.
    fn through(&self) -> u64 {
        match self.what {
            What::Told { after, .. } => after,
            What::Input { n } => n,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Fate {
    at: Time,
    is_taken: bool,
}

/// An entry of the transcript: when an input was, and where the tape stood behind it.
#[derive(Debug, Clone, Copy)]
struct Mark {
    n: u64,
    offset: u64,
    at: Time,
    end: u64,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Walk {
    /// Oldest first.
    frames: Vec<Frame>,
    place: Place,
}

/// The frames behind a place, up to where one of the files was not read further.
fn forward(from: Place, window: &Window, mut room: Room) -> Walk {
    // A mark of an input of the journal that was not read would pass for one of the line before it.
    let read_to = if window.more.steps { window.steps.last().map_or(0, Step::through) } else { u64::MAX };
    let heard_at = window.heard_at(read_to);
    let (mut steps, mut pieces) = (window.steps.iter().peekable(), window.pieces.iter().peekable());
    let mut walk = Walk { frames: Vec::new(), place: from };
    while !room.is_full() {
        let piece = pieces.peek();
        let Place { n, .. } = walk.place;
        let n = piece.filter(|piece| piece.gone > 0).map_or(n, |piece| window.number_before(piece, &heard_at).max(n));
        // Without another line on the tape, those that came before this step are lost.
        let is_due = |step: &&Step| step.after() <= n || (piece.is_none() && !window.more.pieces);
        if let Some(step) = steps.next_if(is_due) {
            walk.place.n = n.max(step.through());
            walk.place.journal = step.end;
            walk.place.transcript = window.transcript_at(walk.place.n);
            let frame = window.told(step, walk.place);
            walk.frames.extend(frame.inspect(|frame| room.take(frame)));
            continue;
        }
        if steps.peek().is_none() && window.more.steps {
            walk.place.journal = window.steps_to;
            break;
        }
        if window.more.marks && n >= window.marked {
            walk.place.transcript = window.transcript_at(n);
            break;
        }
        let Some(piece) = pieces.next() else { break };
        let mark = heard_at.get(&piece.end);
        walk.place.n = mark.map_or(n + u64::from(piece.counts), |mark| mark.n);
        walk.place.heard = piece.end;
        walk.place.transcript = window.transcript_at(walk.place.n);
        let frame = window.said(piece, mark, walk.place);
        room.take(&frame);
        walk.frames.push(frame);
    }
    walk
}

/// The frames before a place, down to where one of the files was not read further.
fn backward(from: Place, window: &Window, mut room: Room) -> Walk {
    let heard_at = window.heard_at(u64::MAX);
    let (mut steps, mut pieces) = (window.steps.iter().rev().peekable(), window.pieces.iter().rev().peekable());
    let mut walk = Walk { frames: Vec::new(), place: from };
    while !room.is_full() {
        let n = walk.place.n;
        let piece = pieces.peek();
        let is_lonely = piece.is_none() && !window.more.pieces;
        // What has no number comes behind all that could have been before it, as it does on the way forward.
        let is_numbered = piece.is_none_or(|piece| piece.counts || heard_at.contains_key(&piece.end));
        let is_due = |step: &&Step| (step.through() >= n && is_numbered) || is_lonely;
        if let Some(step) = steps.next_if(is_due) {
            let frame = window.told(step, Place { journal: step.end, ..walk.place });
            walk.frames.extend(frame.inspect(|frame| room.take(frame)));
            walk.place.n = n.min(step.after());
            walk.place.journal = step.from;
        } else if steps.peek().is_none() && window.more.steps {
            walk.place.journal = window.steps_to;
            break;
        } else if window.more.marks && n < window.marked {
            walk.place.transcript = window.marks_from;
            break;
        } else if let Some(piece) = pieces.next() {
            let mark = heard_at.get(&piece.end);
            walk.place.n = mark.map_or(n, |mark| mark.n);
            let frame = window.said(piece, mark, walk.place);
            room.take(&frame);
            walk.frames.push(frame);
            walk.place.n = walk.place.n.saturating_sub(u64::from(piece.counts || mark.is_some()));
            walk.place.heard = piece.from;
        } else {
            if let Some(floor) = window.floor {
                walk.place = floor;
            } else if !window.more.pieces {
                // What is left of the journal was no frame.
                walk.place = Place { journal: 0, ..walk.place };
            }
            break;
        }
        walk.place.transcript = window.transcript_at(walk.place.n);
    }
    walk.frames.reverse();
    walk
}

impl Window {
    /// The marks that lines left, up to an input, by where those end.
    fn heard_at(&self, to: u64) -> BTreeMap<u64, Mark> {
        let inputs = |step: &Step| matches!(step.what, What::Input { .. }).then(|| step.through());
        let journaled: HashSet<u64> = self.steps.iter().filter_map(inputs).collect();
        let of_lines = self.marks.iter().filter(|mark| mark.n <= to && !journaled.contains(&mark.n));
        let mut heard_at = BTreeMap::new();
        for mark in of_lines {
            heard_at.entry(mark.offset).or_insert(*mark);
        }
        heard_at
    }

    /// Inputs before a line that follows a gap, by the first line behind it that left a mark.
    fn number_before(&self, piece: &Piece, heard_at: &BTreeMap<u64, Mark>) -> u64 {
        let read_to = self.pieces.last().map_or(0, |last| last.end);
        let Some((offset, mark)) = heard_at.range(piece.end..).next().filter(|(offset, _)| **offset <= read_to) else {
            return 0;
        };
        let is_between = |other: &&Piece| other.counts && other.from >= piece.from && other.end < *offset;
        let lines = self.pieces.iter().filter(is_between).count() as u64;
        let mut n = mark.n.saturating_sub(lines + 1);
        for step in self.steps.iter().rev().filter(|step| matches!(step.what, What::Input { .. })) {
            if step.through() <= mark.n && step.through() > n {
                n = n.saturating_sub(1);
            }
        }
        n
    }

    /// Where the transcript goes on behind an input.
    fn transcript_at(&self, n: u64) -> u64 {
        let behind = self.marks.partition_point(|mark| mark.n <= n);
        behind.checked_sub(1).map_or(self.marks_from, |last| self.marks[last].end)
    }

    fn told(&self, step: &Step, place: Place) -> Option<Frame> {
        let What::Told { k, line, at, .. } = &step.what else { return None };
        let fate = self.fates.get(k);
        let doubt = match fate {
            Some(fate) if fate.is_taken => None,
            Some(_) => Some(Doubt::Unproven),
            None => Some(Doubt::Begun),
        };
        let (text, bytes) = shown(line.as_bytes(), line.len() as u64);
        let at = at.or(fate.filter(|fate| fate.is_taken).map(|fate| fate.at));
        let (end, place) = (step.end, place.to_string());
        Some(Frame { way: Way::Told, at, text, bytes, gone: None, doubt, end, place })
    }

    fn said(&self, piece: &Piece, mark: Option<&Mark>, place: Place) -> Frame {
        let (text, bytes) = shown(&self.bytes[piece.shown.clone()], piece.len);
        let (at, gone) = (mark.map(|mark| mark.at), (piece.gone > 0).then_some(piece.gone));
        let (end, place) = (piece.end, place.to_string());
        Frame { way: Way::Said, at, text, bytes, gone, doubt: None, end, place }
    }
}

/// The beginning of a line, and how long it is where that is not all of it.
fn shown(line: &[u8], len: u64) -> (String, Option<u64>) {
    if len <= SHOWN_BYTES_MAX as u64 {
        return (String::from_utf8_lossy(line).into_owned(), None);
    }
    let mut end = line.len().min(SHOWN_BYTES_MAX);
    // Not in the middle of a character.
    while end > 0 && line.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
        end -= 1;
    }
    (String::from_utf8_lossy(&line[..end]).into_owned(), Some(len))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::Path;

    use amux_agents::Order;
    use amux_proto::transcript::{Entry, Item};

    use super::*;
    use crate::journal::{self, Lines, Record};
    use crate::tape::{self, Tape};

    const ALL: Room = Room { frames: 10_000, bytes: usize::MAX };
    const FEW: Room = Room { frames: 3, bytes: usize::MAX };

    /// A run that is told and says things, as its book writes them down; and what really happened.
    struct Run {
        dir: tempfile::TempDir,
        tape: Tape,
        journal: Lines,
        transcript: Lines,
        n: u64,
        k: u64,
        heard: u64,
        happened: Vec<(Way, String, Option<Time>)>,
    }

    impl Run {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let tape = Tape::open(dir.path().to_owned(), tape::OUT, None).unwrap();
            let journal = Lines::open(&journal::journal(dir.path())).unwrap();
            let transcript = Lines::open(&journal::transcript(dir.path())).unwrap();
            Self { dir, tape, journal, transcript, n: 0, k: 0, heard: 0, happened: Vec::new() }
        }

        fn now(&self) -> Time {
            Time(i64::try_from(1000 + self.n).unwrap())
        }

        fn says(&mut self, line: &str) {
            self.prints(&format!("{line}\n"));
            self.n += 1;
            self.happened.push((Way::Said, line.to_owned(), None));
        }

        fn prints(&mut self, bytes: &str) {
            self.tape.append(bytes.as_bytes());
            self.heard += bytes.len() as u64;
        }

        /// The newest input is in the transcript.
        fn is_noted(&mut self) {
            let item = Item::Notice { text: "x".repeat(usize::try_from(self.n % 50).unwrap()) };
            let (n, offset, at) = (self.n, self.heard, self.now());
            self.transcript.append(&Entry { n, i: 0, offset, at, item }).unwrap();
        }

        fn says_what_is_noted(&mut self, line: &str) {
            self.says(line);
            self.happened.last_mut().unwrap().2 = Some(self.now());
            self.is_noted();
        }

        fn is_ordered(&mut self) {
            self.n += 1;
            let (n, at) = (self.n, self.now());
            self.journal.append(&Record::Order { n, at, order: Box::new(Order::Interrupt) }).unwrap();
        }

        fn is_told(&mut self, line: &str) {
            self.k += 1;
            let (k, at) = (self.k, self.now());
            let write = Record::Write { k, line: line.to_owned(), after: Some(self.n), at: Some(at) };
            self.journal.append(&write).unwrap();
            self.journal.append(&Record::Put { k }).unwrap();
            self.happened.push((Way::Told, line.to_owned(), Some(at)));
        }

        fn has_taken(&mut self) {
            self.n += 1;
            let (n, at, k) = (self.n, self.now(), self.k);
            self.journal.append(&Record::In { k, to: 1 }).unwrap();
            self.journal.append(&Record::Written { n, at, k }).unwrap();
        }

        fn place(&self) -> Place {
            let (journal, transcript) = (self.journal.end(), self.transcript.end());
            Place { n: self.n, heard: self.heard, journal, transcript }
        }

        fn path(&self) -> &Path {
            self.dir.path()
        }

        fn ended(&self) -> Files {
            Files::of(self.path().to_owned(), None, false)
        }

        fn live(&self) -> Files {
            Files::of(self.path().to_owned(), Some(self.place()), true)
        }

        fn texts(&self) -> Vec<String> {
            self.happened.iter().map(|(_, text, _)| text.clone()).collect()
        }
    }

    fn happened(frames: &[Frame]) -> Vec<(Way, String, Option<Time>)> {
        frames.iter().map(|frame| (frame.way, frame.text.clone(), frame.at)).collect()
    }

    fn texts(frames: &[Frame]) -> Vec<&str> {
        frames.iter().map(|frame| frame.text.as_str()).collect()
    }

    /// Everything, page by page from the newest back.
    fn back(files: &Files, room: Room) -> Vec<Frame> {
        let mut page = files.newest(room).unwrap();
        let mut frames = page.frames;
        while let Some(from) = page.from {
            page = files.before(from, room).unwrap();
            assert!(page.frames.len() <= room.frames);
            assert!(page.from != Some(from), "{from}");
            frames.splice(0..0, page.frames);
        }
        frames
    }

    /// Everything, page by page from a place on.
    fn on(files: &Files, from: Place, room: Room) -> Vec<Frame> {
        let (mut frames, mut from) = (Vec::new(), from);
        loop {
            let page = files.after(from, room).unwrap();
            if page.frames.is_empty() {
                return frames;
            }
            frames.extend(page.frames);
            from = page.next;
        }
    }

    /// What agents do, in an order that a seed says.
    fn some_run(seed: u64) -> Run {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut below = |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % bound
        };
        let mut run = Run::new();
        let mut is_under_way = false;
        for step in 0..150 {
            let text = format!("{step} {}", "z".repeat(usize::try_from(below(90)).unwrap()));
            match below(8) {
                0 | 1 => run.says_what_is_noted(&text),
                2 | 3 => run.says(&text),
                4 => run.is_ordered(),
                5 => {
                    run.is_ordered();
                    run.is_noted();
                }
                6 if !is_under_way => {
                    run.is_told(&text);
                    is_under_way = true;
                }
                _ if is_under_way => {
                    run.has_taken();
                    is_under_way = false;
                }
                _ => {}
            }
        }
        run
    }

    #[test]
    fn both_ways_come_in_the_order_they_had_wherever_pages_and_windows_end() {
        for seed in 0..4 {
            let run = some_run(seed);
            for window in [30, 250, 1 << 20] {
                for files in [run.live(), run.ended()] {
                    let files = files.with_windows_of(window);
                    for room in [FEW, ALL] {
                        assert_eq!(happened(&back(&files, room)), run.happened, "back, {seed} {window}");
                        assert_eq!(happened(&on(&files, Place::default(), room)), run.happened, "on, {seed} {window}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_place_stays_what_it_was_while_the_run_goes_on() {
        let mut run = some_run(7);
        let page = run.live().newest(FEW).unwrap();
        let before = run.happened.len();
        run.has_taken();
        run.says("more");
        run.is_told("and this");
        let files = run.live();
        assert_eq!(happened(&on(&files, page.next, FEW)), run.happened[before..]);
        let again = files.after(page.from.unwrap(), FEW).unwrap();
        let ends = |frames: &[Frame]| frames.iter().map(|frame| (frame.way, frame.end)).collect::<Vec<_>>();
        assert_eq!(ends(&again.frames), ends(&page.frames));
        for (at, frame) in back(&files, ALL).iter().enumerate() {
            let behind = on(&files, frame.place.parse().unwrap(), ALL);
            assert_eq!(happened(&behind), run.happened[at + 1..]);
        }
    }

    #[test]
    fn what_was_not_heard_yet_comes_when_it_was() {
        let mut run = Run::new();
        run.is_ordered();
        run.says("one");
        let live = run.live();
        run.says("two");
        run.is_told("three");
        assert_eq!(texts(&live.newest(ALL).unwrap().frames), ["one"]);
        let next = live.newest(ALL).unwrap().next;
        assert_eq!(texts(&on(&run.live(), next, ALL)), ["two", "three"]);
    }

    #[test]
    fn a_line_without_its_end_is_a_frame_when_nothing_can_follow() {
        let mut run = Run::new();
        run.says("whole");
        run.prints("torn");
        let live = Files::of(run.path().to_owned(), None, true);
        assert_eq!(texts(&back(&live, ALL)), ["whole"]);
        assert_eq!(texts(&on(&live, Place::default(), ALL)), ["whole"]);
        for window in [3, 1000] {
            let files = run.ended().with_windows_of(window);
            assert_eq!(texts(&back(&files, FEW)), ["whole", "torn"]);
            assert_eq!(texts(&on(&files, Place::default(), FEW)), ["whole", "torn"]);
        }
        // The book heard it as a line.
        run.n += 1;
        run.heard += 1;
        run.is_noted();
        assert_eq!(back(&run.ended(), ALL).pop().unwrap().at, Some(run.now()));
        // Half a record of the journal was never begun.
        let mut journal = std::fs::OpenOptions::new().append(true).open(journal::journal(run.path())).unwrap();
        journal.write_all(b"{\"r\":\"write\",\"k\":1").unwrap();
        assert_eq!(texts(&back(&run.ended(), ALL)), ["whole", "torn"]);
    }

    #[test]
    fn around_a_gap_in_the_tape_the_order_is_that_of_the_journal() {
        let mut run = Run::new();
        run.says("one");
        run.says_what_is_noted("two");
        run.is_told("told before");
        run.has_taken();
        run.says("three");
        // What is lost had numbers, and the run was told something meanwhile.
        run.n += 40;
        run.is_told("told meanwhile");
        run.has_taken();
        run.n += 40;
        run.heard += 5000;
        run.tape.skip_to(run.heard).unwrap();
        run.prints("of a line\n");
        run.says("four");
        run.is_told("told behind");
        run.has_taken();
        run.says_what_is_noted("five");
        run.is_told("last");
        run.has_taken();
        let all = [
            "one",
            "two",
            "told before",
            "three",
            "told meanwhile",
            "of a line",
            "four",
            "told behind",
            "five",
            "last",
        ];
        for window in [20, 150, 1 << 20] {
            for files in [run.live(), run.ended()] {
                let files = files.with_windows_of(window);
                let frames = back(&files, FEW);
                assert_eq!(texts(&frames), all, "back, {window}");
                let gone: Vec<_> = frames.iter().map(|frame| frame.gone).collect();
                assert_eq!(gone.iter().flatten().collect::<Vec<_>>(), [&5000]);
                assert_eq!(gone[5], Some(5000));
            }
        }
        assert_eq!(texts(&on(&run.live(), Place::default(), FEW)), all);
    }

    #[test]
    fn of_a_long_line_the_beginning_is_shown_and_how_long_it_is() {
        let mut run = Run::new();
        run.says("short");
        let large = format!("{}ä{}", "x".repeat(SHOWN_BYTES_MAX - 1), "y".repeat(100_000));
        run.says(&large);
        run.is_told(&large);
        run.has_taken();
        // Nobody hears a line of such a size, and it has no number.
        let huge = crate::book::LINE_BYTES_MAX + 5;
        run.prints(&format!("{}\n", "z".repeat(huge)));
        run.says_what_is_noted("end");
        for files in [run.live(), run.ended()] {
            let files = files.with_windows_of(1000);
            for frames in [back(&files, ALL), on(&files, Place::default(), ALL)] {
                let lens: Vec<_> = frames.iter().map(|frame| (frame.text.len(), frame.bytes)).collect();
                let (shown, bytes) = (SHOWN_BYTES_MAX - 1, Some(large.len() as u64));
                assert_eq!(
                    lens,
                    [(5, None), (shown, bytes), (shown, bytes), (SHOWN_BYTES_MAX, Some(huge as u64)), (3, None)]
                );
                assert_eq!(frames[4].at, Some(run.now()));
            }
        }
        let room = Room { frames: 100, bytes: SHOWN_BYTES_MAX };
        let page = run.live().newest(room).unwrap();
        assert_eq!(page.frames.len(), 2, "one that is too large for what is left is the last");
    }

    #[test]
    fn what_is_not_known_to_be_taken_says_so() {
        let mut run = Run::new();
        run.is_ordered();
        run.is_told("one");
        run.n += 1;
        let (n, at, k) = (run.n, run.now(), run.k);
        run.journal.append(&Record::Unproven { n, at, k }).unwrap();
        run.is_told("two");
        run.has_taken();
        run.is_told("three");
        let doubts: Vec<_> = back(&run.live(), FEW).iter().map(|frame| frame.doubt).collect();
        assert_eq!(doubts, [Some(Doubt::Unproven), None, Some(Doubt::Begun)]);
        run.has_taken();
        assert_eq!(back(&run.live(), FEW)[2].doubt, None);
    }

    #[test]
    fn a_journal_that_does_not_say_when_a_line_was_told_is_read_too() {
        let mut run = Run::new();
        run.is_ordered();
        run.says("asks");
        run.says("asks again");
        let old = serde_json::json!({ "r": "write", "k": 1, "line": "answer" });
        run.journal.append(&old).unwrap();
        run.k = 1;
        run.has_taken();
        let taken = run.now();
        run.says("thanks");
        for frames in [back(&run.ended(), FEW), on(&run.ended(), Place::default(), FEW)] {
            assert_eq!(texts(&frames), ["asks", "asks again", "answer", "thanks"]);
            assert_eq!(frames[2].at, Some(taken));
        }
    }

    #[test]
    fn what_a_relay_says_of_itself_is_among_the_lines_of_its_cli() {
        let mut run = Run::new();
        run.is_ordered();
        run.is_told(r#"{"run":{"program":"codex"}}"#);
        run.has_taken();
        run.says(r#"{"agentmux":"began"}"#);
        run.says_what_is_noted(r#"{"type":"turn.completed"}"#);
        run.says_what_is_noted(r#"{"agentmux":"ended"}"#);
        assert_eq!(back(&run.ended(), FEW).len(), 4);
        assert_eq!(texts(&back(&run.ended(), FEW)), run.texts());
    }

    #[test]
    fn a_run_of_which_nothing_is_there_has_an_empty_page() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::of(dir.path().join("none"), None, false);
        let page = files.newest(ALL).unwrap();
        assert_eq!((page.frames, page.from, page.next), (Vec::new(), None, Place::default()));
        // Places of another run, or of nobody's.
        let far = Place { n: 9, heard: 9, journal: 9, transcript: 9 };
        assert!(files.before(far, ALL).unwrap().frames.is_empty());
        assert!(files.after(far, ALL).unwrap().frames.is_empty());
        assert!("1.2.3".parse::<Place>().is_err() && "a.b.c.d".parse::<Place>().is_err());
        assert_eq!(far.to_string().parse::<Place>().unwrap(), far);
    }
}
