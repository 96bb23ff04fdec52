//! A screen as bytes: written to a terminal of the same size they make it show what ours shows and be in the state ours
//! is in. What the emulator keeps to itself is found by asking it: margins by where "home" is, tabs by walking them.
//!
//! Not in it: the inactive screen of a program that left the alternate one (entering clears it), the stack of titles,
//! and the alternate scroll and urgency modes, which are on unless a program switched them off.

use std::fmt::Write as _;
use std::mem;

use alacritty_terminal::grid::{Cursor, Dimensions, Grid};
use alacritty_terminal::index::{Column, Line, Point};
use alacritty_terminal::term::TermMode;
use alacritty_terminal::term::cell::{Cell, Flags, Hyperlink};
use alacritty_terminal::vte::ansi::{
    CharsetIndex, CursorShape, Handler as _, NamedColor, NamedPrivateMode, PrivateMode, StandardCharset,
};

use super::{CURSOR_UNCHOSEN, Look, Screen, stand_in};

/// Makes any terminal a fresh one without the flash of a full reset: breaks off what it was reading, shows the primary
/// screen, and undoes modes, margins, character sets, colours, pen and link.
const CLEAN: &str = concat!(
    "\x18\x1b[?2026l\x1b[?1049l\x1b[!p",
    "\x1b[?1;6;12;1000;1002;1003;1004;1005;1006;2004l\x1b[?7;25h\x1b[4;20l\x1b>",
    "\x1b[r\x1b[0 q\x1b(B\x1b)B\x1b*B\x1b+B\x0f",
    "\x1b]104\x1b\\\x1b]110\x1b\\\x1b]111\x1b\\\x1b]112\x1b\\\x1b]8;;\x1b\\\x1b[m",
);

/// Modes that are off in a clean terminal. Origin is not here: it moves the cursor.
const OFF: [(TermMode, &str); 11] = [
    (TermMode::APP_CURSOR, "\x1b[?1h"),
    (TermMode::APP_KEYPAD, "\x1b="),
    (TermMode::MOUSE_REPORT_CLICK, "\x1b[?1000h"),
    (TermMode::MOUSE_DRAG, "\x1b[?1002h"),
    (TermMode::MOUSE_MOTION, "\x1b[?1003h"),
    (TermMode::FOCUS_IN_OUT, "\x1b[?1004h"),
    (TermMode::UTF8_MOUSE, "\x1b[?1005h"),
    (TermMode::SGR_MOUSE, "\x1b[?1006h"),
    (TermMode::BRACKETED_PASTE, "\x1b[?2004h"),
    (TermMode::INSERT, "\x1b[4h"),
    (TermMode::LINE_FEED_NEW_LINE, "\x1b[20h"),
];

/// Modes that are on in a clean terminal.
const ON: [(TermMode, &str); 4] = [
    (TermMode::LINE_WRAP, "\x1b[?7l"),
    (TermMode::SHOW_CURSOR, "\x1b[?25l"),
    (TermMode::ALTERNATE_SCROLL, "\x1b[?1007l"),
    (TermMode::URGENCY_HINTS, "\x1b[?1042l"),
];

impl Screen {
    /// What makes a terminal of the same size show this, history included if the screen keeps one. Bytes of a sequence
    /// the program has not finished are at the end, so that its next output can follow directly.
    pub fn snapshot(&mut self) -> Vec<u8> {
        // A program in the middle of a synchronised update shows what it has drawn so far.
        self.parser.stop_sync(&mut self.term);
        self.cut_marks();
        let mut out = Painter { out: String::with_capacity(16 * 1024), ..Painter::default() };
        out.out.push_str(CLEAN);
        self.write_tabs(&mut out.out);
        out.out.push_str("\x1b[H\x1b[J\x1b7");
        let alternate = self.alternate();
        self.on_primary(|grid| {
            if !alternate {
                return out.grid(grid, &grid.saved_cursor);
            }
            // Entering the alternate screen saves the cursor.
            out.grid(grid, &Cursor::default());
            out.place(grid, &grid.cursor, 0);
            out.charsets(&grid.cursor);
            out.out.push_str("\x1b[?1049h");
            out.no_charsets(&grid.cursor);
        });
        if alternate {
            out.clean_pen();
            out.out.push_str("\x1b[H\x1b[J\x1b7");
            out.grid(self.term.grid(), &self.term.grid().saved_cursor);
        }
        let top = self.write_margins(&mut out.out);
        let mode = *self.term.mode();
        if mode.contains(TermMode::ORIGIN) {
            out.out.push_str("\x1b[?6h");
        }
        let grid = self.term.grid();
        out.place(grid, &grid.cursor, if mode.contains(TermMode::ORIGIN) { top } else { 0 });
        out.charsets(&grid.cursor);
        let mut out = out.out;
        if self.shifts_out() {
            out.push('\x0e');
        }
        out.extend(OFF.iter().filter(|(flag, _)| mode.contains(*flag)).map(|(_, set)| *set));
        out.extend(ON.iter().filter(|(flag, _)| !mode.contains(*flag)).map(|(_, unset)| *unset));
        self.write_cursor_style(&mut out);
        self.write_colors(&mut out);
        if let Some(title) = self.title() {
            let _ = write!(out, "\x1b]2;{title}\x1b\\");
        }
        let mut out = out.into_bytes();
        out.extend_from_slice(self.scanner.pending());
        out
    }

    fn write_tabs(&mut self, to: &mut String) {
        to.push_str("\x1b[3g");
        for stop in self.tab_stops() {
            let _ = write!(to, "\x1b[{}G\x1bH", stop + 1);
        }
    }

    fn tab_stops(&mut self) -> Vec<usize> {
        let last = self.term.columns() - 1;
        let cursor = self.term.grid().cursor.clone();
        let mut stops = Vec::new();
        self.term.grid_mut().cursor.point.column = Column(1);
        self.term.move_backward_tabs(1);
        if self.term.grid().cursor.point.column == 0 {
            stops.push(0);
        }
        self.term.grid_mut().cursor.point.column = Column(0);
        loop {
            self.term.move_forward_tabs(1);
            let column = self.term.grid().cursor.point.column.0;
            if column >= last {
                break;
            }
            stops.push(column);
        }
        // A tab ends in the last column with and without a stop there.
        if last.is_multiple_of(8) {
            stops.push(last);
        }
        self.term.grid_mut().cursor = cursor;
        stops
    }

    /// Returns the row of the upper margin.
    fn write_margins(&mut self, to: &mut String) -> i32 {
        let cursor = self.term.grid().cursor.clone();
        let rows = self.term.screen_lines() as i32;
        let origin = PrivateMode::Named(NamedPrivateMode::Origin);
        let was_on = self.term.mode().contains(TermMode::ORIGIN);
        self.term.set_private_mode(origin);
        let top = self.term.grid().cursor.point.line.0;
        self.term.goto(rows, 0);
        let bottom = self.term.grid().cursor.point.line.0;
        if !was_on {
            self.term.unset_private_mode(origin);
        }
        self.term.grid_mut().cursor = cursor;
        if (top, bottom) != (0, rows - 1) {
            // No rows between the margins: both were set below the screen.
            let below = i32::from(top == bottom) * rows;
            let _ = write!(to, "\x1b[{};{}r", top + 1 + below, bottom + 1 + 2 * below);
        }
        top
    }

    /// Whether letters go through the second character set.
    fn shifts_out(&mut self) -> bool {
        let mut probe = stand_in();
        probe.cursor.charsets[CharsetIndex::G1] = StandardCharset::SpecialCharacterAndLineDrawing;
        let grid = mem::replace(self.term.grid_mut(), probe);
        self.term.input('q');
        mem::replace(self.term.grid_mut(), grid)[Line(0)][Column(0)].c != 'q'
    }

    fn write_cursor_style(&self, to: &mut String) {
        let style = self.term.cursor_style();
        let number = match style.shape {
            CursorShape::Block => 2,
            CursorShape::Underline => 4,
            CursorShape::Beam => 6,
            CursorShape::HollowBlock | CursorShape::Hidden => {
                if style.blinking != CURSOR_UNCHOSEN.blinking {
                    to.push_str("\x1b[?12h");
                }
                return;
            }
        };
        let _ = write!(to, "\x1b[{} q", number - i32::from(style.blinking));
    }

    fn write_colors(&self, to: &mut String) {
        let own = [(NamedColor::Foreground, 10), (NamedColor::Background, 11), (NamedColor::Cursor, 12)];
        let own = own.map(|(name, number)| (name as usize, format!("{number}")));
        for (index, name) in (0..256).map(|index| (index, format!("4;{index}"))).chain(own) {
            if let Some(rgb) = self.term.colors()[index] {
                let _ = write!(to, "\x1b]{name};rgb:{:02x}/{:02x}/{:02x}\x1b\\", rgb.r, rgb.g, rgb.b);
            }
        }
    }
}

/// What a cell shows, whatever overwriting and shifting has left in the grid: half of a wide character is a blank.
#[derive(PartialEq, Clone, Copy)]
enum Glyph {
    Narrow(char),
    Wide(char),
    /// The right half of a wide character.
    Second,
    /// The last column of a row that a wide character did not fit into any more.
    Lead,
}

fn glyph(grid: &Grid<Cell>, line: Line, column: usize) -> Glyph {
    let last = grid.columns() - 1;
    let row = &grid[line];
    let cell = &row[Column(column)];
    let has = |column: usize, flag: Flags| row[Column(column)].flags.contains(flag);
    if cell.flags.contains(Flags::WIDE_CHAR) {
        let whole = column < last && has(column + 1, Flags::WIDE_CHAR_SPACER);
        if whole { Glyph::Wide(cell.c) } else { Glyph::Narrow(' ') }
    } else if cell.flags.contains(Flags::WIDE_CHAR_SPACER) {
        let whole = column > 0 && has(column - 1, Flags::WIDE_CHAR);
        if whole { Glyph::Second } else { Glyph::Narrow(' ') }
    } else if cell.flags.contains(Flags::LEADING_WIDE_CHAR_SPACER) {
        let whole = column == last && wraps(grid, line) && matches!(glyph(grid, line + 1_i32, 0), Glyph::Wide(_));
        if whole { Glyph::Lead } else { Glyph::Narrow(' ') }
    } else {
        Glyph::Narrow(if cell.c == '\t' { ' ' } else { cell.c })
    }
}

/// Whether a row goes on in the next one.
fn wraps(grid: &Grid<Cell>, line: Line) -> bool {
    line < grid.bottommost_line() && grid[line][grid.last_column()].flags.contains(Flags::WRAPLINE)
}

fn marks(cell: &Cell) -> &[char] {
    const HALF: Flags = Flags::WIDE_CHAR.union(Flags::WIDE_CHAR_SPACER).union(Flags::LEADING_WIDE_CHAR_SPACER);
    // The marks of half a character went with it.
    if cell.flags.intersects(HALF) { &[] } else { cell.zerowidth().unwrap_or_default() }
}

fn is_plain(grid: &Grid<Cell>, line: Line, column: usize) -> bool {
    let cell = &grid[line][Column(column)];
    glyph(grid, line, column) == Glyph::Narrow(' ')
        && Look::of(cell) == Look::default()
        && marks(cell).is_empty()
        && cell.hyperlink().is_none()
}

/// Expects a clean terminal and knows the pen it left there.
#[derive(Default)]
struct Painter {
    out: String,
    look: Look,
    link: Option<Hyperlink>,
}

impl Painter {
    /// Paints all rows from the upper left corner on, and saves the cursor that was saved.
    fn grid(&mut self, grid: &Grid<Cell>, saved: &Cursor<Cell>) {
        let last = grid.columns() - 1;
        // A cursor that waits for the next character to wrap can only be saved while it does.
        let waits =
            saved.input_needs_wrap && saved.point.column == last && glyph(grid, saved.point.line, last) != Glyph::Lead;
        if *saved != Cursor::default() && !waits {
            self.go(saved.point, 0);
            self.save(saved);
            self.out.push_str("\x1b[H");
        }
        let mut wrapped = false;
        for line in (grid.topmost_line().0..=grid.bottommost_line().0).map(Line) {
            let wraps = wraps(grid, line);
            let saves = waits && line == saved.point.line;
            let end = if wraps || saves {
                last + 1
            } else {
                (0..=last).rev().find(|column| !is_plain(grid, line, *column)).map_or(0, |column| column + 1)
            };
            // The first character is what makes the row before wrap.
            for column in 0..end.max(usize::from(wrapped)) {
                self.cell(grid, line, column);
            }
            if wrapped && end <= last {
                // Had the wrap scrolled, the new row would have the background of its first character.
                self.clean_pen();
                self.out.push_str("\x1b[K");
            }
            if saves {
                self.save(saved);
            }
            if !wraps && line < grid.bottommost_line() {
                // New rows have the background of the pen.
                self.clean_pen();
                self.out.push_str("\r\n");
            }
            wrapped = wraps;
        }
    }

    fn cell(&mut self, grid: &Grid<Cell>, line: Line, column: usize) {
        let cell = &grid[line][Column(column)];
        let (c, marks) = match glyph(grid, line, column) {
            Glyph::Second | Glyph::Lead => return,
            Glyph::Wide(c) => (c, cell.zerowidth().unwrap_or_default()),
            Glyph::Narrow(c) => (c, marks(cell)),
        };
        self.pen(cell);
        self.out.push(c);
        self.out.extend(marks);
    }

    /// Puts the cursor and its pen where and how they are; character sets are the last thing to set.
    fn place(&mut self, grid: &Grid<Cell>, cursor: &Cursor<Cell>, top: i32) {
        let last = grid.columns() - 1;
        let line = cursor.point.line;
        let at_end = if cursor.input_needs_wrap && cursor.point.column == last {
            match glyph(grid, line, last) {
                Glyph::Narrow(_) => Some(last),
                Glyph::Second => Some(last - 1),
                Glyph::Wide(_) | Glyph::Lead => None,
            }
        } else {
            None
        };
        match at_end {
            // Only the character in the last column makes the next one wrap.
            Some(column) => {
                self.go(Point::new(line, Column(column)), top);
                self.cell(grid, line, column);
            }
            None => self.go(cursor.point, top),
        }
        self.pen(&cursor.template);
    }

    fn save(&mut self, cursor: &Cursor<Cell>) {
        self.pen(&cursor.template);
        self.charsets(cursor);
        self.out.push_str("\x1b7");
        self.no_charsets(cursor);
    }

    fn go(&mut self, to: Point, top: i32) {
        let _ = write!(self.out, "\x1b[{};{}H", to.line.0 - top + 1, to.column.0 + 1);
    }

    fn pen(&mut self, of: &Cell) {
        let (look, link) = (Look::of(of), of.hyperlink());
        if look != self.look {
            look.write(&mut self.out);
            self.look = look;
        }
        if link != self.link {
            let _ = match &link {
                Some(link) => write!(self.out, "\x1b]8;id={};{}\x1b\\", link.id(), link.uri()),
                None => write!(self.out, "\x1b]8;;\x1b\\"),
            };
            self.link = link;
        }
    }

    fn clean_pen(&mut self) {
        self.pen(&Cell::default());
    }

    fn charsets(&mut self, of: &Cursor<Cell>) {
        drawing(of).for_each(|slot| self.out.extend(['\x1b', slot, '0']));
    }

    fn no_charsets(&mut self, of: &Cursor<Cell>) {
        drawing(of).for_each(|slot| self.out.extend(['\x1b', slot, 'B']));
    }
}

/// The character sets that draw lines.
fn drawing(cursor: &Cursor<Cell>) -> impl Iterator<Item = char> {
    [(CharsetIndex::G0, '('), (CharsetIndex::G1, ')'), (CharsetIndex::G2, '*'), (CharsetIndex::G3, '+')]
        .into_iter()
        .filter(|(index, _)| cursor.charsets[*index] != StandardCharset::Ascii)
        .map(|(_, slot)| slot)
}
