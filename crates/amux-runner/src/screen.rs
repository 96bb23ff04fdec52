//! What a terminal shows: the emulator behind every PTY agent. It answers the programs' questions (device status,
//! modes), gives its rows as text and all of itself as a snapshot, and collects what programs tell about themselves; it
//! never talks to a process itself.
//!
//! Whatever is fed, memory is bounded by the size of the screen.

mod snapshot;

pub use snapshot::CLEAN;

use std::fmt::Write as _;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use alacritty_terminal::Term;
use alacritty_terminal::event::{Event, EventListener};
use alacritty_terminal::grid::{Dimensions, Grid};
use alacritty_terminal::index::{Column, Line};
use alacritty_terminal::term::cell::{Cell, Flags};
use alacritty_terminal::term::{Config, Osc52, TermMode};
use alacritty_terminal::vte::ansi::{Color, CursorShape, CursorStyle, NamedColor, Processor};
use amux_proto::entity::Size;
use amux_proto::view::Cursor;

use crate::osc::Scanner;
pub use crate::osc::{Progress, Sign};

/// A live screen keeps what it shows. The emulator takes memory for a thousand full-width rows as soon as it keeps one
/// line more, so history is read from the tape, by whoever wants it.
const LIVE_HISTORY_LINES: usize = 0;

/// Lines of a screen that is made from the tape to be looked at once.
const REPLAYED_HISTORY_LINES: usize = 10_000;

pub struct Screen {
    term: Term<Listener>,
    parser: Processor,
    scanner: Scanner,
    said: Listener,
    /// What was told of the title and the bell.
    told: (Option<String>, u64),
    /// How many marks cells may have got since they were last counted.
    marks: usize,
}

#[derive(Clone, Default)]
struct Listener(Arc<Mutex<Said>>);

#[derive(Default)]
struct Said {
    answers: Vec<u8>,
    title: Option<String>,
    bells: u64,
}

/// A program that asks without reading the answers must not grow our memory.
const ANSWERS_BYTES_MAX: usize = 64 * 1024;

const TITLE_CHARS_MAX: usize = 200;

/// Marks on one character. The emulator has no bound of its own; no script needs as many.
const MARKS_MAX: usize = 32;

/// How much is fed before marks are counted again.
const MARKS_UNCOUNTED_MAX: usize = 64 * 1024;

/// Stands for "the program did not choose a cursor": no program can choose this one.
const CURSOR_UNCHOSEN: CursorStyle = CursorStyle { shape: CursorShape::HollowBlock, blinking: false };

impl EventListener for Listener {
    fn send_event(&self, event: Event) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::PtyWrite(text) if said.answers.len() + text.len() <= ANSWERS_BYTES_MAX => {
                said.answers.extend_from_slice(text.as_bytes());
            }
            Event::Title(title) => said.title = Some(crate::osc::plain(&title, TITLE_CHARS_MAX)),
            Event::ResetTitle => said.title = None,
            Event::Bell => said.bells += 1,
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
    pub fn live(size: Size) -> Self {
        Self::with_history(size, LIVE_HISTORY_LINES)
    }

    pub fn of_tape(size: Size) -> Self {
        Self::with_history(size, REPLAYED_HISTORY_LINES)
    }

    /// A screen that keeps `lines` of what scrolled off it.
    pub fn with_history(size: Size, lines: usize) -> Self {
        let said = Listener::default();
        let config = Config {
            scrolling_history: lines,
            default_cursor_style: CURSOR_UNCHOSEN,
            // The clipboard of a server is nobody's.
            osc52: Osc52::Disabled,
            // Clients encode keys for us and speak the common encoding only.
            kitty_keyboard: false,
            ..Config::default()
        };
        Self {
            term: Term::new(config, &Rows(size), said.clone()),
            parser: Processor::new(),
            scanner: Scanner::default(),
            said,
            told: (None, 0),
            marks: 0,
        }
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(MARKS_UNCOUNTED_MAX) {
            let (term, parser) = (&mut self.term, &mut self.parser);
            self.scanner.scan(chunk, term.columns(), |piece| parser.advance(term, piece));
            self.marks += self.scanner.take_repeated();
            if !chunk.is_ascii() {
                self.marks += chunk.len();
            }
            if self.marks > MARKS_UNCOUNTED_MAX {
                self.cut_marks();
            }
        }
    }

    /// What the program told about itself since this was last asked.
    pub fn take_signs(&mut self) -> Vec<Sign> {
        let mut signs = self.scanner.take_signs();
        let (title, bells) = {
            let said = self.said();
            (said.title.clone(), said.bells)
        };
        if self.told.0 != title {
            signs.push(Sign::Title(title.clone()));
        }
        if self.told.1 != bells {
            signs.push(Sign::Bell);
        }
        self.told = (title, bells);
        signs
    }

    /// How often it rang.
    pub fn bells(&self) -> u64 {
        self.said().bells
    }

    /// What the program asked for, to be written to it.
    pub fn take_answers(&mut self) -> Vec<u8> {
        mem::take(&mut self.said().answers)
    }

    pub fn resize(&mut self, size: Size) {
        self.term.resize(Rows(size));
    }

    pub fn title(&self) -> Option<String> {
        self.said().title.clone()
    }

    fn said(&self) -> std::sync::MutexGuard<'_, Said> {
        self.said.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a full-screen program has the alternate screen.
    pub fn alternate(&self) -> bool {
        self.term.mode().contains(TermMode::ALT_SCREEN)
    }

    pub fn bracketed_paste(&self) -> bool {
        self.term.mode().contains(TermMode::BRACKETED_PASTE)
    }

    /// Whether a text is to be seen, however it is wrapped and indented.
    pub fn shows(&mut self, text: &str) -> bool {
        let bare = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
        bare(&self.rows(None, false).concat()).contains(&bare(text))
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

    /// How many rows of this screen scrolled off the other one, which printed the same in less room: a screen that keeps no
    /// history has nothing to take back when it grows.
    pub fn rows_above(&mut self, other: &mut Self) -> usize {
        let written = |mut rows: Vec<String>| {
            rows.truncate(rows.iter().rposition(|row| !row.is_empty()).map_or(0, |last| last + 1));
            rows
        };
        let (all, shown) = (written(self.rows(None, false)), written(other.rows(None, false)));
        (0..all.len()).find(|above| all[*above..] == shown[..]).unwrap_or(0)
    }

    /// What scrolled off it last, with so many rows of its own, in at most so many lines and bytes, such that a fresh terminal
    /// of this size that is fed it has all of it above its screen.
    pub fn scrolled_off(&self, above: usize, lines: usize, bytes: usize) -> Vec<u8> {
        let mut room = bytes;
        let count = self.term.grid().history_size() + above;
        let newest = (1..=count.min(lines)).map(|back| self.row(Line(above as i32 - back as i32), true));
        let mut kept: Vec<String> = newest
            .take_while(|row| {
                let fits = row.len() + 2 <= room;
                room = room.saturating_sub(row.len() + 2);
                fits
            })
            .collect();
        kept.reverse();
        if kept.is_empty() {
            return Vec::new();
        }
        let rows = usize::from(self.size().rows);
        let mut text = kept.join("\r\n");
        // What of it is still on the screen goes up by line feeds at the last row.
        let _ = write!(text, "\x1b[{rows};1H");
        text.extend(std::iter::repeat_n('\n', kept.len().min(rows)));
        text.into_bytes()
    }

    /// What a smaller window has room for, with colours: from the left, and the rows down to the cursor. The cursor's
    /// place is in that window.
    pub fn cut(&mut self, window: Size) -> (Vec<String>, Option<Cursor>) {
        self.parser.stop_sync(&mut self.term);
        let Size { rows, cols } = self.size();
        let bottom = self.term.grid().cursor.point.line.0.max(0) as u16 + 1;
        let first = bottom.saturating_sub(window.rows);
        let last = rows.min(first + window.rows);
        let columns = usize::from(cols.min(window.cols));
        let lines = (first..last).map(|line| self.part(Line(i32::from(line)), true, columns)).collect();
        let cursor = self.cursor().filter(|cursor| cursor.col < window.cols);
        (lines, cursor.map(|cursor| Cursor { row: cursor.row.saturating_sub(first), ..cursor }))
    }

    fn row(&self, line: Line, ansi: bool) -> String {
        self.part(line, ansi, self.term.columns())
    }

    fn part(&self, line: Line, ansi: bool, columns: usize) -> String {
        let row = &self.term.grid()[line];
        let mut text = String::new();
        let mut look = Look::default();
        let mut written = 0;
        for column in 0..columns {
            let cell = &row[Column(column)];
            // Half of a character cannot be shown.
            if cell.flags.contains(Flags::WIDE_CHAR) && column + 1 == columns {
                break;
            }
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
            // The emulator notes a tab in the first cell it jumped over.
            text.push(if cell.c == '\t' { ' ' } else { cell.c });
            text.extend(cell.zerowidth().into_iter().flatten());
            if !matches!(cell.c, ' ' | '\t') || (ansi && look != Look::default()) {
                written = text.len();
            }
        }
        text.truncate(written);
        if ansi && text.contains('\x1b') {
            text.push_str("\x1b[0m");
        }
        text
    }

    /// The primary grid, also while the alternate one is shown.
    fn on_primary<R>(&mut self, look: impl FnOnce(&mut Grid<Cell>) -> R) -> R {
        if !self.alternate() {
            return look(self.term.grid_mut());
        }
        // Entering the alternate screen clears it and saves the cursor of the primary one. The first happens to a
        // stand-in, the second happened when the program entered.
        let alternate = mem::replace(self.term.grid_mut(), stand_in());
        self.term.swap_alt();
        let result = look(self.term.grid_mut());
        self.term.swap_alt();
        *self.term.grid_mut() = alternate;
        result
    }

    fn cut_marks(&mut self) {
        self.marks = 0;
        cut_marks(self.term.grid_mut());
        if self.alternate() {
            self.on_primary(cut_marks);
        }
    }
}

fn stand_in() -> Grid<Cell> {
    Grid::new(1, 2, 0)
}

fn cut_marks(grid: &mut Grid<Cell>) {
    for line in (0..grid.screen_lines()).map(|line| Line(line as i32)) {
        for column in (0..grid.columns()).map(Column) {
            if grid[line][column].zerowidth().is_some_and(|marks| marks.len() > MARKS_MAX) {
                let cell = &mut grid[line][column];
                let marks: Vec<char> = cell.zerowidth().unwrap_or_default()[..MARKS_MAX].to_vec();
                let (underline, link) = (cell.underline_color(), cell.hyperlink());
                cell.extra = None;
                cell.set_underline_color(underline);
                cell.set_hyperlink(link);
                marks.into_iter().for_each(|mark| cell.push_zerowidth(mark));
            }
        }
    }
}

/// Colours and attributes of a cell.
#[derive(PartialEq, Clone, Copy)]
struct Look {
    fg: Color,
    bg: Color,
    underline: Option<Color>,
    flags: Flags,
}

impl Default for Look {
    fn default() -> Self {
        Self {
            fg: Color::Named(NamedColor::Foreground),
            bg: Color::Named(NamedColor::Background),
            underline: None,
            flags: Flags::empty(),
        }
    }
}

const SHOWN: [(Flags, &str); 11] = [
    (Flags::BOLD, ";1"),
    (Flags::DIM, ";2"),
    (Flags::ITALIC, ";3"),
    (Flags::UNDERLINE, ";4"),
    (Flags::DOUBLE_UNDERLINE, ";4:2"),
    (Flags::UNDERCURL, ";4:3"),
    (Flags::DOTTED_UNDERLINE, ";4:4"),
    (Flags::DASHED_UNDERLINE, ";4:5"),
    (Flags::INVERSE, ";7"),
    (Flags::HIDDEN, ";8"),
    (Flags::STRIKEOUT, ";9"),
];

impl Look {
    fn of(cell: &Cell) -> Self {
        let shown = SHOWN.iter().fold(Flags::empty(), |all, (flag, _)| all | *flag);
        Self { fg: cell.fg, bg: cell.bg, underline: cell.underline_color(), flags: cell.flags & shown }
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
        // With colons, so that whoever does not know 58 does not take its colour for attributes.
        let _ = match self.underline {
            Some(Color::Spec(rgb)) => write!(to, ";58:2::{}:{}:{}", rgb.r, rgb.g, rgb.b),
            Some(Color::Indexed(index)) => write!(to, ";58:5:{index}"),
            Some(Color::Named(_)) | None => Ok(()),
        };
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
    fn a_smaller_window_shows_what_is_around_the_cursor() {
        let mut screen = screen("one\r\n\x1b[31mtwo 日本\r\nx");
        let (rows, cursor) = screen.cut(Size { rows: 2, cols: 5 });
        assert_eq!(rows, ["\x1b[0;31mtwo \x1b[0m", "\x1b[0;31mx\x1b[0m"]);
        assert_eq!(cursor.map(|cursor| (cursor.row, cursor.col)), Some((1, 1)));
        let (rows, _) = screen.cut(Size { rows: 50, cols: 500 });
        assert_eq!(rows.len(), 3);
    }

    #[test]
    fn nothing_is_lost_between_a_screen_of_any_size_and_what_scrolled_off_it() {
        let tape: String = (0..100).map(|n| format!("line {n}\r\n")).chain(["$ ".to_owned()]).collect();
        let whole: Vec<String> = (0..100).map(|n| format!("line {n}")).chain(["$".to_owned()]).collect();
        for (printed_in, shown_in) in [(5, 12), (12, 5), (7, 7), (3, 200)] {
            let (small, size) = (Size { rows: printed_in, cols: 20 }, Size { rows: shown_in, cols: 20 });
            let mut live = Screen::live(small);
            live.feed(tape.as_bytes());
            live.resize(size);
            let mut replayed = Screen::of_tape(size);
            replayed.feed(tape.as_bytes());
            let above = replayed.rows_above(&mut live);
            let mut client = Screen::of_tape(size);
            client.feed(&replayed.scrolled_off(above, 5_000, 512 * 1024));
            client.feed(&live.snapshot());
            assert_eq!(client.rows(Some(5_000), false), whole, "{printed_in} rows, then {shown_in}");
        }
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

    #[test]
    fn a_tab_is_the_space_it_takes() {
        assert_eq!(screen("a\tb").rows(None, false)[0], "a       b");
    }

    #[test]
    fn underlines_keep_their_kind_and_colour() {
        let row = &screen("\x1b[4:3;58:2::1:2:3mx").rows(Some(1), true)[0];
        assert_eq!(row, "\x1b[0;4:3;58:2::1:2:3mx\x1b[0m");
    }

    #[test]
    fn the_title_and_the_bell_are_signs_once() {
        let mut screen = screen("\x1b]0;a\x07\x07\x1b]2;b\x1b\\\x07\x1b]133;A\x07");
        assert_eq!(screen.take_signs(), [Sign::Prompt, Sign::Title(Some("b".into())), Sign::Bell]);
        assert_eq!(screen.bells(), 2);
        assert_eq!(screen.take_signs(), []);
        screen.feed(b"\x1b[?1049h\x1b[?2004h");
        assert!(screen.alternate() && screen.bracketed_paste());
    }
}
