//! The files of a run, read a window at a time. Nothing here is as large as a tape may be.

use std::io;
use std::ops::Range;
use std::path::PathBuf;

use amux_proto::Time;
use amux_proto::view::Frame;
use serde::Deserialize;

use super::{Fate, Mark, More, Piece, Place, Room, SHOWN_BYTES_MAX, Step, What, Window, backward, forward};
use crate::book::LINE_BYTES_MAX;
use crate::{journal, tape};

/// What is read of each file at once: a page of ordinary frames needs one or two windows.
const WINDOW_BYTES: u64 = 512 * 1024;

/// The fate of a line follows it at once, unless its reader does not read.
const FATES_BYTES: u64 = 256 * 1024;

/// So many windows are read for one page; whoever gets it asks on from there.
const WINDOWS_MAX: usize = 16;

/// The end of an ended run is looked for in so many behind the last entry of its transcript.
const END_WINDOWS_MAX: usize = 256;

/// The last entry of a transcript may be torn, and so may be one or two before it.
const TORN_MAX: usize = 16;

pub struct Files {
    dir: PathBuf,
    /// Up to where the run that goes on has come. What is on the tape behind it was not heard yet, and has no number.
    end: Option<Place>,
    /// The last line of its tape may still grow.
    is_live: bool,
    window_bytes: u64,
}

#[derive(Debug)]
pub struct Page {
    pub frames: Vec<Frame>,
    /// `None` where nothing is before them.
    pub from: Option<Place>,
    pub next: Place,
}

impl Files {
    pub fn of(dir: PathBuf, end: Option<Place>, is_live: bool) -> Self {
        Self { dir, end, is_live, window_bytes: WINDOW_BYTES }
    }

    #[cfg(test)]
    pub(super) fn with_windows_of(self, window_bytes: u64) -> Self {
        Self { window_bytes, ..self }
    }

    pub fn newest(&self, room: Room) -> io::Result<Page> {
        self.before(self.end()?, room)
    }

    pub fn before(&self, next: Place, mut room: Room) -> io::Result<Page> {
        let mut frames: Vec<Frame> = Vec::new();
        let mut from = next;
        // Where there is room and no way on, nothing is before, whatever the places say: files may be gone.
        let mut is_through = false;
        for _ in 0..WINDOWS_MAX {
            let walk = backward(from, &self.behind(from)?, room);
            let stays = walk.place == from;
            walk.frames.iter().for_each(|frame| room.take(frame));
            frames.splice(0..0, walk.frames);
            from = walk.place;
            is_through = stays && !room.is_full();
            if stays || room.is_full() {
                break;
            }
        }
        let first = tape::parts(&self.dir, tape::OUT)?.first().map_or(0, |part| part.start);
        let is_all = is_through || (from.journal == 0 && from.heard <= first);
        Ok(Page { frames, from: (!is_all).then_some(from), next })
    }

    pub fn after(&self, from: Place, mut room: Room) -> io::Result<Page> {
        let mut frames: Vec<Frame> = Vec::new();
        let mut next = from;
        for _ in 0..WINDOWS_MAX {
            let walk = forward(next, &self.ahead(next)?, room);
            let stays = walk.place == next;
            walk.frames.iter().for_each(|frame| room.take(frame));
            frames.extend(walk.frames);
            next = walk.place;
            if stays || room.is_full() {
                break;
            }
        }
        Ok(Page { frames, from: Some(from), next })
    }

    /// Behind the newest frame. Without somebody who knows, that is found from the last entry of the transcript on.
    fn end(&self) -> io::Result<Place> {
        if let Some(end) = self.end {
            return Ok(end);
        }
        let marks = self.marks_before(u64::MAX, TORN_MAX)?.0;
        let place = marks.last().map_or(Ok(Place::default()), |mark| self.place_of(mark, u64::MAX))?;
        self.go_on(place, u64::MAX, END_WINDOWS_MAX)
    }

    fn go_on(&self, mut place: Place, to: u64, windows_max: usize) -> io::Result<Place> {
        let room = Room { frames: usize::MAX, bytes: usize::MAX };
        for _ in 0..windows_max {
            let before = place;
            if place.heard < to {
                place = forward(place, &self.ahead(place)?, room).place;
            }
            if place == before {
                break;
            }
        }
        Ok(place)
    }

    /// The place behind an entry, whose journal is looked for before another place in it.
    fn place_of(&self, mark: &Mark, mut before: u64) -> io::Result<Place> {
        let Mark { n, offset: heard, end: transcript, .. } = *mark;
        loop {
            let steps = self.steps_before(before)?;
            let is_before = |step: &&Step| matches!(step.what, What::Input { n } if n <= mark.n);
            if let Some(step) = steps.steps.iter().rfind(is_before) {
                return Ok(Place { n, heard, journal: step.end, transcript });
            }
            if steps.from == 0 {
                return Ok(Place { n, heard, journal: 0, transcript });
            }
            before = steps.from;
        }
    }

    fn ahead(&self, place: Place) -> io::Result<Window> {
        // The journal first: what was heard before it was written is on the tape by then.
        let Steps { steps, steps_to, fates, more: more_steps, .. } = self.steps_after(place.journal)?;
        let (mut marks, more_marks) = self.marks_after(place.transcript)?;
        let marked = marks.last().map_or(0, |mark| mark.n);
        let known = marks.partition_point(|mark| mark.n <= place.n);
        let marks_from = marks.drain(..known).next_back().map_or(place.transcript, |mark| mark.end);
        let (bytes, pieces, more_pieces) = self.pieces_after(place.heard)?;
        let more = More { pieces: more_pieces, steps: more_steps, marks: more_marks };
        let floor = None;
        Ok(Window { bytes, pieces, steps, marks, marks_from, marked, steps_to, fates, more, floor })
    }

    fn behind(&self, place: Place) -> io::Result<Window> {
        let Steps { from, mut steps, fates, .. } = self.steps_before(place.journal)?;
        let (mut marks, marks_from) = self.marks_before(place.transcript, usize::MAX)?;
        let marked = marks.first().map_or(u64::MAX, |mark| mark.n);
        marks.retain(|mark| mark.n <= place.n);
        let mut more = More { pieces: false, steps: from > 0, marks: marks_from > 0 };
        let parts = tape::parts(&self.dir, tape::OUT)?;
        let (mut bytes, mut pieces, mut floor) = (Vec::new(), Vec::new(), None);
        match parts.iter().rposition(|part| part.start < place.heard) {
            None => {}
            // In front of it is a gap, and in front of that is another part. What was told meanwhile comes first.
            Some(before) if before + 1 < parts.len() && place.heard > parts[before].end => {
                let settled = self.end_of(parts[before].end, place)?;
                steps.retain(|step| step.from >= settled.journal);
                more.steps = from > settled.journal;
                floor = Some(settled);
            }
            Some(at) => {
                (bytes, pieces) = self.pieces_before(&parts, at, place.heard)?;
                more.pieces = at > 0 || pieces.first().is_some_and(|piece| piece.from > parts[at].start);
            }
        }
        let steps_to = from;
        Ok(Window { bytes, pieces, steps, marks, marks_from, marked, steps_to, fates, more, floor })
    }

    /// The place at the end of a part of the tape, from the last entry that was written before it.
    fn end_of(&self, end: u64, before: Place) -> io::Result<Place> {
        let mut transcript = before.transcript;
        let mark = loop {
            let (marks, from) = self.marks_before(transcript, usize::MAX)?;
            match marks.iter().rfind(|mark| mark.offset <= end) {
                Some(mark) => break Some(*mark),
                None if from == 0 => break None,
                None => transcript = from,
            }
        };
        let place = mark.map_or(Ok(Place::default()), |mark| self.place_of(&mark, before.journal))?;
        let place = self.go_on(place, end, END_WINDOWS_MAX)?;
        Ok(Place { heard: end, journal: place.journal.min(before.journal), ..place })
    }
}

/// Lines of the tape.
impl Files {
    fn pieces_after(&self, heard: u64) -> io::Result<(Vec<u8>, Vec<Piece>, bool)> {
        let parts = tape::parts(&self.dir, tape::OUT)?;
        let Some(at) = parts.iter().position(|part| heard < part.end) else {
            return Ok((Vec::new(), Vec::new(), false));
        };
        let part = &parts[at];
        let (from, is_last) = (heard.max(part.start), at + 1 == parts.len());
        let end = part.end.min(self.end.map_or(u64::MAX, |end| end.heard));
        let mut bytes = Vec::new();
        let mut size = self.window_bytes;
        let lines_end = loop {
            self.read(&mut bytes, from..end.min(from.saturating_add(size)))?;
            match bytes.iter().rposition(|byte| *byte == b'\n') {
                Some(newline) => break newline + 1,
                None if from + bytes.len() as u64 >= end => break 0,
                None if size > LINE_BYTES_MAX as u64 => {
                    bytes.truncate(SHOWN_BYTES_MAX + 1);
                    let newline = self.find(from + size, end)?;
                    let is_whole = newline.is_some() || !is_last || !self.is_live;
                    let newline = newline.unwrap_or(end);
                    let piece = is_whole.then(|| self.long(&parts, at, from, newline + 1, bytes.len()));
                    return Ok((bytes, piece.into_iter().collect(), newline + 1 < end || !is_last));
                }
                None => size *= 4,
            }
        };
        let is_through = from + bytes.len() as u64 >= end;
        if !is_through || (is_last && self.is_live) {
            bytes.truncate(lines_end);
        }
        let pieces = self.split(&bytes, from, &parts, at);
        Ok((bytes, pieces, !is_through || !is_last))
    }

    fn pieces_before(&self, parts: &[Range<u64>], at: usize, heard: u64) -> io::Result<(Vec<u8>, Vec<Piece>)> {
        let part = &parts[at];
        let end = heard.min(part.end);
        let mut bytes = Vec::new();
        let mut size = self.window_bytes;
        loop {
            let from = end.saturating_sub(size).max(part.start);
            self.read(&mut bytes, from..end)?;
            if from == part.start {
                let pieces = self.split(&bytes, from, parts, at);
                return Ok((bytes, pieces));
            }
            // The first may be the end of a line that begins earlier.
            let first = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |newline| newline + 1);
            if first < bytes.len() {
                bytes.drain(..first);
                let pieces = self.split(&bytes, from + first as u64, parts, at);
                return Ok((bytes, pieces));
            }
            if size > LINE_BYTES_MAX as u64 {
                let from = self.find_back(part.start, end - 1)?;
                self.read(&mut bytes, from..from + SHOWN_BYTES_MAX as u64 + 1)?;
                let piece = self.long(parts, at, from, end, bytes.len());
                return Ok((bytes, vec![piece]));
            }
            size *= 4;
        }
    }

    fn split(&self, bytes: &[u8], from: u64, parts: &[Range<u64>], at: usize) -> Vec<Piece> {
        let is_last = at + 1 == parts.len();
        let mut pieces = Vec::new();
        let mut begin = 0;
        while begin < bytes.len() {
            let newline = bytes[begin..].iter().position(|byte| *byte == b'\n').map(|newline| begin + newline);
            let line_end = newline.unwrap_or(bytes.len());
            let (len, start) = ((line_end - begin) as u64, from + begin as u64);
            let gone = gone_before(parts, at, start);
            // The last line of a process is heard without its end, as if it had one.
            let is_heard = newline.is_some() || (is_last && !self.is_live);
            let end = from + line_end as u64 + u64::from(is_heard);
            let counts = is_heard && gone == 0 && len <= LINE_BYTES_MAX as u64;
            if is_heard || !is_last {
                pieces.push(Piece { from: start, end, shown: begin..line_end, len, counts, gone });
            }
            begin = line_end + 1;
        }
        pieces
    }

    /// A line that is too long for any window.
    fn long(&self, parts: &[Range<u64>], at: usize, from: u64, end: u64, shown: usize) -> Piece {
        Piece { from, end, shown: 0..shown, len: end - 1 - from, counts: false, gone: gone_before(parts, at, from) }
    }

    fn find(&self, mut from: u64, end: u64) -> io::Result<Option<u64>> {
        let mut bytes = Vec::new();
        while from < end {
            self.read(&mut bytes, from..end.min(from + WINDOW_BYTES))?;
            if let Some(newline) = bytes.iter().position(|byte| *byte == b'\n') {
                return Ok(Some(from + newline as u64));
            }
            from += WINDOW_BYTES;
        }
        Ok(None)
    }

    /// Where the line begins that these bytes end.
    fn find_back(&self, start: u64, mut end: u64) -> io::Result<u64> {
        let mut bytes = Vec::new();
        while end > start {
            let from = end.saturating_sub(WINDOW_BYTES).max(start);
            self.read(&mut bytes, from..end)?;
            if let Some(newline) = bytes.iter().rposition(|byte| *byte == b'\n') {
                return Ok(from + newline as u64 + 1);
            }
            end = from;
        }
        Ok(start)
    }

    fn read(&self, bytes: &mut Vec<u8>, range: Range<u64>) -> io::Result<()> {
        let len = range.end.saturating_sub(range.start);
        bytes.resize(usize::try_from(len).map_err(io::Error::other)?, 0);
        let mut have = 0;
        while have < bytes.len() {
            match tape::read(&self.dir, tape::OUT, range.start + have as u64, &mut bytes[have..])? {
                0 => break,
                count => have += count,
            }
        }
        bytes.truncate(have);
        Ok(())
    }
}

fn gone_before(parts: &[Range<u64>], at: usize, place: u64) -> u64 {
    if place > parts[at].start {
        return 0;
    }
    place - at.checked_sub(1).map_or(0, |before| parts[before].end)
}

/// Records of the journal.
#[derive(Default)]
struct Steps {
    from: u64,
    steps: Vec<Step>,
    steps_to: u64,
    fates: std::collections::BTreeMap<u64, Fate>,
    fates_are_all: bool,
    more: bool,
}

#[derive(Deserialize)]
#[serde(tag = "r", rename_all = "snake_case")]
enum Record {
    Order {
        n: u64,
    },
    Mark {
        n: u64,
    },
    Write {
        k: u64,
        line: String,
        #[serde(default)]
        after: Option<u64>,
        #[serde(default)]
        at: Option<Time>,
    },
    Written {
        n: u64,
        at: Time,
        k: u64,
    },
    Unproven {
        n: u64,
        at: Time,
        k: u64,
    },
    #[serde(other)]
    Other,
}

impl Steps {
    /// What cannot be read is no frame; whoever takes the run over says that it is lost.
    fn take(&mut self, from: u64, end: u64, line: &[u8]) {
        let Ok(record) = serde_json::from_slice(line) else { return };
        let what = match record {
            Record::Order { n } | Record::Mark { n } => What::Input { n },
            Record::Write { k, line, after, at } => What::Told { after: after.unwrap_or(u64::MAX), k, line, at },
            Record::Written { n, at, k } => {
                self.fates.insert(k, Fate { at, is_taken: true });
                What::Input { n }
            }
            Record::Unproven { n, at, k } => {
                self.fates.insert(k, Fate { at, is_taken: false });
                What::Input { n }
            }
            Record::Other => return,
        };
        self.steps.push(Step { from, end, what });
    }

    /// A line that does not say when it was told was told before the next input of the journal.
    fn settle(&mut self) {
        let mut next = u64::MAX;
        for step in self.steps.iter_mut().rev() {
            match &mut step.what {
                What::Input { n } => next = n.saturating_sub(1),
                What::Told { after, .. } if *after == u64::MAX => *after = next,
                What::Told { .. } => {}
            }
        }
    }
}

impl Files {
    fn steps_before(&self, before: u64) -> io::Result<Steps> {
        let path = journal::journal(&self.dir);
        let window = usize::try_from(self.window_bytes).unwrap_or(usize::MAX);
        let lines = journal::newest_before(&path, before, usize::MAX, window)?;
        let mut found = Steps { from: lines.from, ..Steps::default() };
        let mut from = lines.from;
        for line in &lines.lines {
            let end = from + line.len() as u64 + 1;
            found.take(from, end, line);
            from = end;
        }
        let behind = self.read_on(&mut found, lines.end, 0)?;
        found.settle();
        found.steps.truncate(behind);
        Ok(found)
    }

    fn steps_after(&self, from: u64) -> io::Result<Steps> {
        let mut found = Steps { from, ..Steps::default() };
        let behind = self.read_on(&mut found, from, self.window_bytes)?;
        found.settle();
        let limit = self.end.map_or(u64::MAX, |end| end.journal);
        let is_more = found.steps.get(behind).map_or(!found.fates_are_all, |step| step.end <= limit);
        found.more = is_more && found.steps_to < limit;
        found.steps.truncate(behind);
        Ok(found)
    }

    /// The records from a place on, so many bytes of them, and those behind them that say what became of them. Gives
    /// how many of all that were found are not behind.
    fn read_on(&self, found: &mut Steps, from: u64, bytes_max: u64) -> io::Result<usize> {
        let (mut at, mut read_to) = (from, None);
        let limit = self.end.map_or(u64::MAX, |end| end.journal);
        found.fates_are_all = true;
        journal::each(&journal::journal(&self.dir), from, |end, line| {
            let is_behind = at >= from.saturating_add(bytes_max) || end > limit;
            if is_behind && read_to.is_none() {
                read_to = Some((found.steps.len(), at));
            }
            if read_to.is_some_and(|(_, read_to)| end > read_to.saturating_add(FATES_BYTES)) {
                found.fates_are_all = false;
                return false;
            }
            found.take(at, end, line);
            at = end;
            true
        })?;
        found.steps_to = read_to.map_or(at, |(_, read_to)| read_to);
        Ok(read_to.map_or(found.steps.len(), |(steps, _)| steps))
    }

    fn marks_before(&self, before: u64, lines_max: usize) -> io::Result<(Vec<Mark>, u64)> {
        let window = usize::try_from(self.window_bytes).unwrap_or(usize::MAX);
        let lines = journal::newest_before(&journal::transcript(&self.dir), before, lines_max, window)?;
        let mut end = lines.from;
        let mut marks = Vec::new();
        for line in &lines.lines {
            end += line.len() as u64 + 1;
            marks.extend(mark(line, end));
        }
        Ok((marks, lines.from))
    }

    fn marks_after(&self, from: u64) -> io::Result<(Vec<Mark>, bool)> {
        let (mut marks, mut more) = (Vec::new(), false);
        let window = self.window_bytes;
        journal::each(&journal::transcript(&self.dir), from, |end, line| {
            more = end > from.saturating_add(window) && !marks.is_empty();
            if !more {
                marks.extend(mark(line, end));
            }
            !more
        })?;
        Ok((marks, more))
    }
}

fn mark(line: &[u8], end: u64) -> Option<Mark> {
    #[derive(Deserialize)]
    struct Entry {
        n: u64,
        offset: u64,
        at: Time,
    }
    serde_json::from_slice(line).ok().map(|Entry { n, offset, at }| Mark { n, offset, at, end })
}
