//! What a terminal shows: the emulator behind every PTY agent. It answers the programs' questions (device status,
//! modes) and gives its rows as text; it never talks to a process itself.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use alacritty_terminal::Term;
use alacritty_terminal::event::{Event, EventListener};
use alacritty_terminal::grid::Dimensions;
use alacritty_terminal::index::{Column, Line};
use alacritty_terminal::term::cell::{Cell, Flags};
use alacritty_terminal::term::{Config, TermMode};
use alacritty_terminal::vte::ansi::{Color, NamedColor, Processor};
use amux_proto::entity::Size;
use amux_proto::view::Cursor;

/// A live screen keeps what it shows. The emulator takes memory for a thousand full-width rows as soon as it keeps one
/// line more, so history is read from the tape, by whoever wants it.
const LIVE_HISTORY_LINES: usize = 0;

/// Lines of a screen that is made from the tape to be looked at once.
const REPLAYED_HISTORY_LINES: usize = 10_000;

pub struct Screen {
    term: Term<Listener>,
    parser: Processor,
    said: Listener,
}

#[derive(Clone, Default)]
struct Listener(Arc<Mutex<Said>>);

#[derive(Default)]
struct Said {
    answers: Vec<u8>,
    title: Option<String>,
}

/// A program that asks without reading the answers must not grow our memory.
const ANSWERS_BYTES_MAX: usize = 64 * 1024;

const TITLE_CHARS_MAX: usize = 200;

impl EventListener for Listener {
    fn send_event(&self, event: Event) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::PtyWrite(text) if said.answers.len() + text.len() <= ANSWERS_BYTES_MAX => {
                said.answers.extend_from_slice(text.as_bytes());
            }
            Event::Title(title) => said.title = Some(title.chars().take(TITLE_CHARS_MAX).collect()),
            Event::ResetTitle => said.title = None,
            _ => {}
        }
    }
}

struct Rows(Size);

impl Dimensions for Rows {
    fn total_lines(&self) -> usize {
        self.screen_lines()
    }
    fn screen_lines(&self) -> usize {
        usize::from(self.0.rows.max(1))
    }
    fn columns(&self) -> usize {
        // The emulator needs two columns to place a wide character.
        usize::from(self.0.cols.max(2))
    }
}

impl Screen {
    pub(crate) fn live(size: Size) -> Self {
        Self::new(size, LIVE_HISTORY_LINES)
    }

    pub(crate) fn of_tape(size: Size) -> Self {
        Self::new(size, REPLAYED_HISTORY_LINES)
    }

    fn new(size: Size, history: usize) -> Self {
        let said = Listener::default();
        let config = Config { scrolling_history: history, ..Config::default() };
        Self { term: Term::new(config, &Rows(size), said.clone()), parser: Processor::new(), said }
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        self.parser.advance(&mut self.term, bytes);
    }

    /// What the program asked for, to be written to it.
    pub fn take_answers(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.said.0.lock().unwrap_or_else(PoisonError::into_inner).answers)
    }

    pub fn resize(&mut self, size: Size) {
        self.term.resize(Rows(size));
    }

    pub fn title(&self) -> Option<String> {
        self.said.0.lock().unwrap_or_else(PoisonError::into_inner).title.clone()
    }

    pub fn application_cursor(&self) -> bool {
        self.term.mode().contains(TermMode::APP_CURSOR)
    }

    pub fn size(&self) -> Size {
        let clamp = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
        Size { rows: clamp(self.term.screen_lines()), cols: clamp(self.term.columns()) }
    }

    pub fn cursor(&self) -> Option<Cursor> {
        let point = self.term.grid().cursor.point;
        let row = u16::try_from(point.line.0).ok()?;
        self.term
            .mode()
            .contains(TermMode::SHOW_CURSOR)
            .then(|| Cursor { row, col: u16::try_from(point.column.0).unwrap_or(u16::MAX) })
    }

    /// The screen, or the last `lines` of screen and scrollback. `ansi` keeps colours and attributes.
    pub fn rows(&mut self, lines: Option<usize>, ansi: bool) -> Vec<String> {
        // A program in the middle of a synchronised update shows what it has drawn so far.
        self.parser.stop_sync(&mut self.term);
        let bottom = self.term.screen_lines() as i32;
        let top = -(self.term.grid().history_size() as i32);
        let mut rows: Vec<String> =
            (if lines.is_some() { top } else { 0 }..bottom).map(|line| self.row(Line(line), ansi)).collect();
        if let Some(lines) = lines {
            while rows.last().is_some_and(|row| row.is_empty()) {
                rows.pop();
            }
            rows.drain(..rows.len().saturating_sub(lines));
        }
        rows
    }

    fn row(&self, line: Line, ansi: bool) -> String {
        let row = &self.term.grid()[line];
        let mut text = String::new();
        let mut look = Look::default();
        let mut written = 0;
        for column in 0..self.term.columns() {
            let cell = &row[Column(column)];
            if cell.flags.intersects(Flags::WIDE_CHAR_SPACER | Flags::LEADING_WIDE_CHAR_SPACER) {
                continue;
            }
            if ansi {
                let wanted = Look::of(cell);
                if wanted != look {
                    look = wanted;
                    look.write(&mut text);
                }
            }
            text.push(cell.c);
            text.extend(cell.zerowidth().into_iter().flatten());
            if cell.c != ' ' || (ansi && look != Look::default()) {
                written = text.len();
            }
        }
        text.truncate(written);
        if ansi && text.contains('\x1b') {
            text.push_str("\x1b[0m");
        }
        text
    }
}

/// Colours and attributes of a cell.
#[derive(PartialEq, Clone, Copy)]
struct Look {
    fg: Color,
    bg: Color,
    flags: Flags,
}

impl Default for Look {
    fn default() -> Self {
        Self {
            fg: Color::Named(NamedColor::Foreground),
            bg: Color::Named(NamedColor::Background),
            flags: Flags::empty(),
        }
    }
}

const SHOWN: [(Flags, &str); 7] = [
    (Flags::BOLD, ";1"),
    (Flags::DIM, ";2"),
    (Flags::ITALIC, ";3"),
    (Flags::UNDERLINE, ";4"),
    (Flags::INVERSE, ";7"),
    (Flags::HIDDEN, ";8"),
    (Flags::STRIKEOUT, ";9"),
];

impl Look {
    fn of(cell: &Cell) -> Self {
        let shown = SHOWN.iter().fold(Flags::empty(), |all, (flag, _)| all | *flag);
        Self { fg: cell.fg, bg: cell.bg, flags: cell.flags & shown }
    }

    fn write(&self, to: &mut String) {
        to.push_str("\x1b[0");
        for (flag, code) in SHOWN {
            if self.flags.contains(flag) {
                to.push_str(code);
            }
        }
        write_color(to, self.fg, 30);
        write_color(to, self.bg, 40);
        to.push('m');
    }
}

/// `base` is 30 for the foreground and 40 for the background.
fn write_color(to: &mut String, color: Color, base: u16) {
    // Writing to a String cannot fail.
    let _ = match color {
        Color::Spec(rgb) => write!(to, ";{};2;{};{};{}", base + 8, rgb.r, rgb.g, rgb.b),
        Color::Indexed(index) => write!(to, ";{};5;{index}", base + 8),
        Color::Named(name) => match name as usize {
            plain @ 0..=7 => write!(to, ";{}", base as usize + plain),
            bright @ 8..=15 => write!(to, ";{}", base as usize + 60 + bright - 8),
            _ => Ok(()),
        },
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(text: &str) -> Screen {
        let mut screen = Screen::live(Size { rows: 3, cols: 10 });
        screen.feed(text.as_bytes());
        screen
    }

    #[test]
    fn rows_are_what_is_seen() {
        assert_eq!(screen("one\r\ntwo 日本").rows(None, false), ["one", "two 日本", ""]);
        assert_eq!(screen("1\r\n2\r\n3\r\n4\r\n5").rows(None, false), ["3", "4", "5"]);
        assert_eq!(screen("1\r\n2\r\n3\r\n4\r\n5").rows(Some(2), false), ["4", "5"]);
        assert_eq!(screen("\x1b[1;31mred\x1b[0m x").rows(Some(1), true), ["\x1b[0;1;31mred\x1b[0m x\x1b[0m"]);
    }

    #[test]
    fn a_tape_shows_more_than_a_screen() {
        let mut screen = Screen::of_tape(Size { rows: 3, cols: 10 });
        screen.feed(b"1\r\n2\r\n3\r\n4\r\n5");
        assert_eq!(screen.rows(Some(4), false), ["2", "3", "4", "5"]);
    }

    #[test]
    fn questions_are_answered() {
        let mut screen = screen("\x1b[6n");
        assert_eq!(screen.take_answers(), b"\x1b[1;1R");
        assert!(screen.take_answers().is_empty());
    }
}
