//! Reads along with the emulator: hands it every byte it may see, and takes out of the stream what the emulator has no
//! ear for (directory, prompt marks, progress, notices). It draws nothing and knows no screen.
//!
//! An escape sequence goes to the emulator when it is complete and not before, so what a chunk cut in two is known and
//! can be given to whoever joins in the middle. A sequence that never ends costs [`SEQUENCE_BYTES_MAX`] and no more.

use memchr::{memchr, memchr3};

/// What a program tells about itself besides its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sign {
    /// The directory it works in: an absolute path.
    Cwd(String),
    /// A prompt begins.
    Prompt,
    /// The prompt ends; what follows is typed.
    Input,
    /// A command was sent off; what follows is its output.
    Command,
    /// The command ended.
    Done {
        code: Option<i32>,
    },
    Progress {
        state: Progress,
        percent: Option<u8>,
    },
    /// Something a person should read.
    Notice(String),
    /// It rang, once or often.
    Bell,
    Title(Option<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Off,
    Running,
    Error,
    /// Running, and nobody knows how long.
    Busy,
    Paused,
}

/// Longer sequences are dropped whole: a path is 4 KiB at most, and so is a link worth keeping.
pub(crate) const SEQUENCE_BYTES_MAX: usize = 4096;

/// Signs nobody took yet. The oldest go first: a status is made of the latest.
const SIGNS_MAX: usize = 64;

const NOTICE_CHARS_MAX: usize = 500;

#[derive(Default)]
pub(crate) struct Scanner {
    state: State,
    /// An unfinished sequence from its ESC on. The emulator has not seen it.
    held: Vec<u8>,
    /// An unfinished character at the end of the text. The emulator has seen it.
    letter: Vec<u8>,
    signs: Vec<Sign>,
    /// Cells that repeat sequences may have filled since somebody asked.
    repeated: usize,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    Escape,
    /// ESC and something between a space and a slash: one more byte decides.
    EscapeMore,
    Csi,
    Osc,
    /// ESC in an OSC: its end, or half of it.
    OscEnd,
    /// DCS, SOS, PM, APC: the emulator keeps nothing of them.
    Long,
}

const BEL: u8 = 0x07;
const CAN: u8 = 0x18;
const SUB: u8 = 0x1a;
const ESC: u8 = 0x1b;

impl Scanner {
    /// Hands `bytes` to `pass`, in as few pieces as possible and without copying what is whole. A repetition fills at
    /// most `repeats_max` cells: a count of 65535 in eight bytes would keep the emulator busy for milliseconds each.
    pub(crate) fn scan(&mut self, bytes: &[u8], repeats_max: usize, mut pass: impl FnMut(&[u8])) {
        let mut chunk = Chunk { bytes, passed: 0, start: 0, repeats_max };
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            let next = match self.state {
                State::Text | State::Long => {
                    let found = match self.state {
                        State::Text => memchr(ESC, &bytes[at..]),
                        _ => memchr3(ESC, CAN, SUB, &bytes[at..]),
                    };
                    let Some(found) = found else { break };
                    at += found + 1;
                    self.state = State::Text;
                    if bytes[at - 1] == ESC {
                        chunk.start = at - 1;
                        self.state = State::Escape;
                    }
                    continue;
                }
                State::OscEnd if byte == b'\\' => State::Text,
                State::OscEnd => {
                    // The ESC before this byte ended the OSC and begins another sequence.
                    match at.checked_sub(1) {
                        Some(escape) => {
                            self.close(State::Osc, &mut chunk, escape, &mut pass);
                            chunk.start = escape;
                        }
                        None => {
                            self.held.pop();
                            self.close(State::Osc, &mut chunk, 0, &mut pass);
                            self.held.push(ESC);
                        }
                    }
                    self.state = State::Escape;
                    continue;
                }
                State::Osc => match byte {
                    BEL | CAN | SUB => State::Text,
                    ESC => State::OscEnd,
                    _ => State::Osc,
                },
                _ if byte == ESC => {
                    self.close(self.state, &mut chunk, at, &mut pass);
                    chunk.start = at;
                    State::Escape
                }
                _ if matches!(byte, CAN | SUB) => State::Text,
                State::Escape => match byte {
                    b'[' => State::Csi,
                    b']' => State::Osc,
                    b'P' | b'X' | b'^' | b'_' => State::Long,
                    0x20..=0x2f => State::EscapeMore,
                    0x30..=0x7e => State::Text,
                    _ => State::Escape,
                },
                State::EscapeMore if matches!(byte, 0x30..=0x7e) => State::Text,
                State::Csi if matches!(byte, 0x40..=0x7e) => State::Text,
                state => state,
            };
            at += 1;
            if matches!(next, State::Text | State::Long) {
                self.close(self.state, &mut chunk, at, &mut pass);
            }
            self.state = next;
        }
        if matches!(self.state, State::Text | State::Long) {
            give(&mut pass, &bytes[chunk.passed..]);
        } else {
            if chunk.start > chunk.passed {
                give(&mut pass, &bytes[chunk.passed..chunk.start]);
            }
            // One byte more than fits says that it was too long.
            let room = (SEQUENCE_BYTES_MAX + 1).saturating_sub(self.held.len());
            let rest = &bytes[chunk.start..];
            self.held.extend_from_slice(&rest[..rest.len().min(room)]);
        }
        self.note_letter(bytes);
    }

    /// What somebody who joins here must be fed first, so that the bytes to come make sense.
    pub(crate) fn pending(&self) -> &[u8] {
        match self.state {
            State::Text => &self.letter,
            // The kind of string that every terminal swallows.
            State::Long => b"\x1bX",
            _ if self.held.len() <= SEQUENCE_BYTES_MAX => &self.held,
            State::Osc | State::OscEnd => b"\x1b]9999;",
            // A digit after a space makes the rest of it void.
            State::Csi => b"\x1b[ 0",
            _ => b"\x1b ",
        }
    }

    pub(crate) fn take_signs(&mut self) -> Vec<Sign> {
        std::mem::take(&mut self.signs)
    }

    pub(crate) fn take_repeated(&mut self) -> usize {
        std::mem::take(&mut self.repeated)
    }

    /// A sequence of this kind ends before `end`.
    fn close(&mut self, kind: State, chunk: &mut Chunk<'_>, end: usize, pass: &mut impl FnMut(&[u8])) {
        let began_here = self.held.is_empty();
        let tail = &chunk.bytes[chunk.start..end];
        if self.held.len() + tail.len() > SEQUENCE_BYTES_MAX {
            give(pass, &chunk.bytes[chunk.passed..chunk.start]);
            chunk.passed = end;
            self.held = Vec::new();
            return;
        }
        let mut held = std::mem::take(&mut self.held);
        let sequence = if began_here {
            tail
        } else {
            held.extend_from_slice(tail);
            &held
        };
        let mut instead = None;
        match kind {
            State::Osc | State::OscEnd => self.read(sequence),
            State::Csi => instead = self.shorten(sequence, chunk.repeats_max),
            _ => {}
        }
        if let Some(instead) = instead {
            give(pass, &chunk.bytes[chunk.passed..chunk.start]);
            give(pass, instead.as_bytes());
            chunk.passed = end;
        } else if !began_here {
            give(pass, sequence);
            chunk.passed = end;
        }
        held.clear();
        self.held = held;
    }

    /// Repetitions and backward tabs do what their count says, however large; these are the ones to cut.
    fn shorten(&mut self, sequence: &[u8], max: usize) -> Option<String> {
        let (last @ (b'b' | b'Z'), params) = sequence.split_last()? else { return None };
        if params[2..].iter().any(|byte| matches!(byte, 0x20..=0x2f | 0x3c..=0x3f)) {
            return None;
        }
        let first = params[2..].iter().take_while(|byte| !matches!(byte, b';' | b':'));
        let count = first
            .filter(|byte| byte.is_ascii_digit())
            .fold(0_usize, |count, digit| count.saturating_mul(10).saturating_add(usize::from(digit - b'0')));
        self.repeated += count.clamp(1, max);
        (count > max).then(|| format!("\x1b[{max}{}", char::from(*last)))
    }

    fn read(&mut self, sequence: &[u8]) {
        let content = &sequence[2..];
        let content = match content {
            // Taken back.
            [.., CAN | SUB] => return,
            [content @ .., BEL] | [content @ .., ESC, b'\\'] => content,
            content => content,
        };
        if let Some(sign) = sign(&String::from_utf8_lossy(content)) {
            if self.signs.len() >= SIGNS_MAX {
                self.signs.remove(0);
            }
            self.signs.push(sign);
        }
    }

    fn note_letter(&mut self, bytes: &[u8]) {
        let mut last = std::mem::take(&mut self.letter);
        if self.state != State::Text || bytes.is_empty() {
            return;
        }
        if bytes.len() < 3 {
            last.extend_from_slice(bytes);
        } else {
            last.clear();
            last.extend_from_slice(&bytes[bytes.len() - 3..]);
        }
        let lead = last.iter().rposition(|byte| byte & 0xc0 != 0x80).unwrap_or(0);
        let unfinished = std::str::from_utf8(&last[lead..]).is_err_and(|error| error.error_len().is_none());
        if unfinished {
            last.drain(..lead);
            self.letter = last;
        }
    }
}

struct Chunk<'a> {
    bytes: &'a [u8],
    /// What is before went to the emulator, or was dropped.
    passed: usize,
    /// Where the sequence in work begins, or goes on.
    start: usize,
    repeats_max: usize,
}

fn give(pass: &mut impl FnMut(&[u8]), bytes: &[u8]) {
    if !bytes.is_empty() {
        pass(bytes);
    }
}

fn sign(content: &str) -> Option<Sign> {
    let (number, rest) = content.split_once(';')?;
    match number {
        "7" => path(rest).map(Sign::Cwd),
        "9" => match rest.split_once(';') {
            Some(("4", progress)) => self::progress(progress),
            // Numbered orders to a Windows console: sleep, boxes, variables.
            Some((order, _)) if order.parse::<u8>().is_ok() => None,
            _ => notice(rest),
        },
        "133" => mark(rest),
        "777" => notice(&rest.strip_prefix("notify;")?.replacen(';', ": ", 1)),
        _ => None,
    }
}

/// `file://host/path` with percent signs. The host is not asked: agents run here.
fn path(url: &str) -> Option<String> {
    let rest = url.strip_prefix("file:")?;
    let path = match rest.strip_prefix("//") {
        Some(rest) => &rest[rest.find('/')?..],
        None => rest,
    };
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code =
            (*first == b'%').then(|| after.get(..2)).flatten().and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    let path = String::from_utf8(bytes).ok()?;
    // A path with a control character in it is a trick or a mistake, and cleaned it would name another directory.
    (path.starts_with('/') && !path.contains(char::is_control)).then_some(path)
}

fn mark(rest: &str) -> Option<Sign> {
    let mut words = rest.split(';');
    match words.next()? {
        "A" => Some(Sign::Prompt),
        "B" => Some(Sign::Input),
        "C" => Some(Sign::Command),
        "D" => Some(Sign::Done { code: words.next().and_then(|code| code.parse().ok()) }),
        _ => None,
    }
}

fn progress(rest: &str) -> Option<Sign> {
    let (state, percent) = rest.split_once(';').unwrap_or((rest, ""));
    let state = match state {
        "0" => Progress::Off,
        "1" => Progress::Running,
        "2" => Progress::Error,
        "3" => Progress::Busy,
        "4" => Progress::Paused,
        _ => return None,
    };
    let has_percent = matches!(state, Progress::Running | Progress::Error | Progress::Paused);
    let percent = percent.parse::<u16>().ok().filter(|_| has_percent);
    Some(Sign::Progress { state, percent: percent.map(|percent| percent.min(100) as u8) })
}

fn notice(text: &str) -> Option<Sign> {
    let text = plain(text, NOTICE_CHARS_MAX);
    (!text.is_empty()).then_some(Sign::Notice(text))
}

/// One line to be shown by anybody: nothing that moves a cursor or turns the direction of the text around.
pub(crate) fn plain(text: &str, chars_max: usize) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let shown: String =
        text.chars().filter(|c| !turns(*c)).map(|c| if c.is_control() { ' ' } else { c }).take(chars_max).collect();
    shown.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the emulator sees of these chunks, and the signs in them.
    fn scan(chunks: &[&[u8]]) -> (Vec<u8>, Vec<Sign>) {
        let mut scanner = Scanner::default();
        let mut seen = Vec::new();
        for chunk in chunks {
            scanner.scan(chunk, 80, |piece| seen.extend_from_slice(piece));
        }
        (seen, scanner.take_signs())
    }

    fn signs(text: &str) -> Vec<Sign> {
        scan(&[text.as_bytes()]).1
    }

    #[test]
    fn a_shell_tells_where_it_is_and_what_it_does() {
        assert_eq!(signs("\x1b]7;file://host/tmp/a%20b\x07"), [Sign::Cwd("/tmp/a b".into())]);
        assert_eq!(signs("\x1b]7;file:///caf%C3%A9\x1b\\"), [Sign::Cwd("/café".into())]);
        assert_eq!(
            signs("\x1b]133;A;aid=1\x07$ \x1b]133;B\x07ls\x1b]133;C\x07out\x1b]133;D;2;aid=1\x07\x1b]133;D\x07"),
            [Sign::Prompt, Sign::Input, Sign::Command, Sign::Done { code: Some(2) }, Sign::Done { code: None }]
        );
        assert_eq!(
            signs("\x1b]9;4;1;250\x07\x1b]9;4;3\x07\x1b]9;4;0;\x07"),
            [
                Sign::Progress { state: Progress::Running, percent: Some(100) },
                Sign::Progress { state: Progress::Busy, percent: None },
                Sign::Progress { state: Progress::Off, percent: None },
            ]
        );
        assert_eq!(
            signs("\x1b]9;needs you\x07\x1b]777;notify;agent;asks; now\x1b\\"),
            [Sign::Notice("needs you".into()), Sign::Notice("agent: asks; now".into())]
        );
    }

    #[test]
    fn what_is_shown_to_a_person_is_one_clean_line() {
        assert_eq!(signs("\x1b]9;a\u{9b}31mb\u{202e}c\x07"), [Sign::Notice("a 31mbc".into())]);
        let long = format!("\x1b]9;{}\x07", "x".repeat(3000));
        assert_eq!(signs(&long), [Sign::Notice("x".repeat(500))]);
        for bad in ["file://host/a%00b", "file://host", "http://host/a", "file:relative", "file:///%ff", "/plain"] {
            assert_eq!(signs(&format!("\x1b]7;{bad}\x07")), [], "{bad}");
        }
    }

    #[test]
    fn garbage_is_no_sign() {
        for bad in ["]7", "]133;", "]133;Z", "]9;4;9", "]9;2;box", "]9;", "]777;x;y", "];;;", "]"] {
            assert_eq!(signs(&format!("\x1b{bad}\x07")), [], "{bad}");
        }
        assert_eq!(signs("\x1b]9;taken back\x18 \x1b]9;x\x1b[m"), [Sign::Notice("x".into())]);
        assert_eq!(signs("\x1bP\x1b]9;a\x07 \x1bPq]9;b\x07"), [Sign::Notice("a".into())]);
    }

    #[test]
    fn a_cut_changes_nothing() {
        let text = "a\x1b[1;3mb\x1b]9;one\x1b\\é\x1b]133;D;1\x07\x1bPq#0;2\x1b\\日\x1b]8;;u\x1b[K\x1b(0q\x1b[30Z\x1b]7;file:///x\x07";
        let whole = scan(&[text.as_bytes()]);
        assert_eq!(whole.0, text.as_bytes());
        for cut in 0..text.len() {
            let (left, right) = text.as_bytes().split_at(cut);
            assert_eq!(scan(&[left, right]), whole, "cut at {cut}");
        }
        let single: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(scan(&single), whole);
    }

    #[test]
    fn what_a_cut_leaves_open_is_known() {
        for (fed, pending) in [
            ("a\x1b", "\x1b"),
            ("a\x1b[3", "\x1b[3"),
            ("a\x1b]0;t", "\x1b]0;t"),
            ("a\x1b]0;t\x1b", "\x1b]0;t\x1b"),
            ("a\x1bP1$", "\x1bX"),
            ("a\x1b[3m", ""),
        ] {
            let mut scanner = Scanner::default();
            scanner.scan(fed.as_bytes(), 80, |_| {});
            assert_eq!(scanner.pending(), pending.as_bytes(), "{fed:?}");
        }
        let mut scanner = Scanner::default();
        scanner.scan(b"abc\xf0\x9f", 80, |_| {});
        scanner.scan(b"\x98", 80, |_| {});
        assert_eq!(scanner.pending(), b"\xf0\x9f\x98");
        scanner.scan(b"\x80", 80, |_| {});
        assert_eq!(scanner.pending(), b"");
    }

    #[test]
    fn what_never_ends_is_dropped_and_costs_little() {
        for opening in ["\x1b]0;", "\x1b]9;", "\x1b[", "\x1b "] {
            let mut scanner = Scanner::default();
            let mut seen = Vec::new();
            scanner.scan(b"before", 80, |piece| seen.extend_from_slice(piece));
            scanner.scan(opening.as_bytes(), 80, |piece| seen.extend_from_slice(piece));
            let filler = if opening == "\x1b " { [b' '; 1000] } else { [b'1'; 1000] };
            for _ in 0..1000 {
                scanner.scan(&filler, 80, |piece| seen.extend_from_slice(piece));
                assert!(scanner.held.capacity() <= 4 * SEQUENCE_BYTES_MAX);
            }
            scanner.scan(if opening.contains(']') { b"\x07after" } else { b"mafter" }, 80, |piece| {
                seen.extend_from_slice(piece);
            });
            assert_eq!(seen, b"beforeafter", "{opening:?}");
            assert_eq!(scanner.take_signs(), []);
        }
    }

    #[test]
    fn a_repetition_fills_a_row_at_most() {
        assert_eq!(scan(&[b"x\x1b[65535b-"]).0, b"x\x1b[80b-");
        assert_eq!(scan(&[b"x\x1b[655", b"35b-"]).0, b"x\x1b[80b-");
        assert_eq!(scan(&[b"x\x1b[6\x005535Z-"]).0, b"x\x1b[80Z-");
        assert_eq!(scan(&[b"x\x1b[80b\x1b[?999b-"]).0, b"x\x1b[80b\x1b[?999b-");
    }

    #[test]
    fn many_signs_keep_the_latest() {
        let mut text = "\x1b]133;A\x07".repeat(1000);
        text.push_str("\x1b]133;D;7\x07");
        let signs = signs(&text);
        assert_eq!((signs.len(), signs.last()), (SIGNS_MAX, Some(&Sign::Done { code: Some(7) })));
    }
}
