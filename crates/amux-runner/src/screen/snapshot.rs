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
pub const CLEAN: &str = concat!(
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
        // With history the rows still move while they are painted, so there it is made to wait afterwards.
        let later = waits && grid.history_size() > 0;
        if *saved != Cursor::default() && !waits {
            self.go(saved.point, 0);
            self.save(saved);
            self.out.push_str("\x1b[H");
        }
        let mut wrapped = false;
        for line in (grid.topmost_line().0..=grid.bottommost_line().0).map(Line) {
            let wraps = wraps(grid, line);
            let saves = waits && !later && line == saved.point.line;
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
        if later {
            self.place(grid, saved, 0);
            self.save(saved);
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

#[cfg(test)]
mod tests {
    use super::*;
    use amux_proto::entity::Size;

    /// All that can be seen of a screen or felt by the next byte.
    #[derive(Debug, PartialEq)]
    struct Picture {
        primary: Page,
        alternate: Option<Page>,
        mode: TermMode,
        margins: String,
        tabs: Vec<usize>,
        shifts_out: bool,
        style: String,
        colors: String,
        title: Option<String>,
        pending: Vec<u8>,
    }

    #[derive(Debug, PartialEq)]
    struct Page {
        rows: Vec<String>,
        cursor: String,
        saved: String,
    }

    fn picture(screen: &mut Screen) -> Picture {
        let alternate = screen.alternate().then(|| page(screen.term.grid(), None));
        let primary = screen.on_primary(|grid| page(grid, alternate.is_some().then(|| grid.cursor.clone())));
        let (mut margins, mut style, mut colors) = (String::new(), String::new(), String::new());
        screen.write_margins(&mut margins);
        screen.write_cursor_style(&mut style);
        screen.write_colors(&mut colors);
        Picture {
            primary,
            alternate,
            mode: *screen.term.mode(),
            margins,
            tabs: screen.tab_stops(),
            shifts_out: screen.shifts_out(),
            style,
            colors,
            title: screen.title(),
            pending: screen.scanner.pending().to_vec(),
        }
    }

    /// The primary cursor under an alternate screen is the saved one as well.
    fn page(grid: &Grid<Cell>, saved: Option<Cursor<Cell>>) -> Page {
        let waits = |cursor: &Cursor<Cell>| {
            cursor.input_needs_wrap
                && cursor.point.column == grid.last_column()
                && glyph(grid, cursor.point.line, cursor.point.column.0) != Glyph::Lead
        };
        let told = |cursor: &Cursor<Cell>| {
            let template = &cursor.template;
            let sets: String = drawing(cursor).collect();
            let pen = (Pen::of(template), waits(cursor));
            format!("{},{} {sets} {pen:?}", cursor.point.line.0, cursor.point.column.0)
        };
        let rows = (grid.topmost_line().0..=grid.bottommost_line().0).map(Line).map(|line| {
            let mut row = String::new();
            for column in 0..grid.columns() {
                let cell = &grid[line][Column(column)];
                let _ = match glyph(grid, line, column) {
                    Glyph::Narrow(c) => write!(row, "{c}{:?}{}", marks(cell), Pen::of(cell).short()),
                    Glyph::Wide(c) => {
                        write!(row, "{c}{:?}{}", cell.zerowidth().unwrap_or_default(), Pen::of(cell).short())
                    }
                    Glyph::Second => write!(row, "<"),
                    Glyph::Lead => write!(row, ">"),
                };
            }
            // The character in the last column, written again to make the cursor wait, does not wrap yet.
            let rewritten = |cursor: &Cursor<Cell>| cursor.point.line == line && waits(cursor);
            let rewritten = rewritten(&grid.cursor) || grid.history_size() > 0 && rewritten(&grid.saved_cursor);
            let wraps = wraps(grid, line) && !rewritten;
            row + if wraps { "\\" } else { "|" }
        });
        Page {
            rows: rows.collect(),
            cursor: told(&grid.cursor),
            saved: told(saved.as_ref().unwrap_or(&grid.saved_cursor)),
        }
    }

    #[derive(Debug, PartialEq)]
    struct Pen(String, Option<Hyperlink>);

    impl Pen {
        fn of(cell: &Cell) -> Self {
            let mut look = String::new();
            Look::of(cell).write(&mut look);
            Self(look, cell.hyperlink())
        }

        fn short(&self) -> String {
            if self.0 == "\x1b[0m" && self.1.is_none() { String::new() } else { format!("{self:?}") }
        }
    }

    fn assert_same(mut ours: Screen, history: usize, what: &str) {
        let snapshot = ours.snapshot();
        let expected = picture(&mut ours);
        let mut fresh = Screen::with_history(ours.size(), history);
        fresh.feed(&snapshot);
        assert_eq!(picture(&mut fresh), expected, "{what}\n{:?}", String::from_utf8_lossy(&snapshot));
        // Whoever has seen something else before sees the same.
        let mut used = Screen::live(ours.size());
        used.feed("\x1b(0\x0e\x1b[2;3r\x1b[?6;1049;1003;1h\x1b[4;20h\x1b[41;4:3;58:5:3mé日\x1b]8;;x\x07y\x1b[5 q\x1b]4;1;#123456\x07\x1bH\x1b7\x1b]0;cut".as_bytes());
        used.feed(&snapshot);
        let mut used = picture(&mut used);
        used.title.clone_from(&expected.title);
        if history == 0 {
            assert_eq!(used, expected, "{what}, into a used one");
        }
    }

    fn screen(rows: u16, cols: u16, history: usize, text: &str) -> Screen {
        let mut screen = Screen::with_history(Size { rows, cols }, history);
        screen.feed(text.as_bytes());
        screen
    }

    const CORPUS: &[&str] = &[
        "",
        "plain\r\ntext",
        "\x1b[31;44mred on blue \x1b[38;5;200;48;2;1;2;3mmore\x1b[K\r\n\x1b[97;103mbright\x1b[m",
        "\x1b[1mb\x1b[2md\x1b[3mi\x1b[4mu\x1b[7mv\x1b[8mh\x1b[9ms\x1b[m-\x1b[4:2md\x1b[4:3mc\x1b[4:4mo\x1b[4:5ma\x1b[58:2::9:8:7mx\x1b[58;5;4my",
        "a line that is longer than the screen is wide and wraps over two rows",
        "日本語の文字が折り返す一二三四五六七八九",
        "x日本語の文字が折り返す一二三四五六七八九",
        "e\u{301}\u{302} \u{1f468}\u{200d}\u{1f469} a\u{308}日\u{3099}\r\n\u{301}first",
        "\x1b]8;;http://a/b;c\x07link\x1b]8;id=x;http://d\x1b\\other\x1b]8;;\x07 no\x1b]8;;http://open\x07",
        "below\x1b[?1049hvi\x1b[3;5H\x1b[?25l\x1b[32mx",
        "\x1b[41mred\x1b[?1049h\x1b[42mgreen\x1b[?1049l back",
        "\x1b[2;4r\x1b[?6h\x1b[2;3Hin\x1b[4h\x1b[?7l\x1b[?1h\x1b=\x1b[?2004h\x1b[?1002;1006;1004h",
        "\x1b[100;200r below",
        "\x1b[3gab\x1bH\x1b[9Cx\x1bH",
        "\x1b[5 q\x1b]0;a title; with more\x07",
        "\x1b[?12h\x1b[20h",
        "\x1b(0lqk\x1b(B x\x1b)0\x0eqq",
        "\x1b[2;20HX\x1b7\x1b[Hmore\x1b[3;1H",
        "12345678901234567890",
        "12345678901234567890\x1b7wrapped\x1b[5;1H",
        "123456789012345678日",
        "1234567890123456789日",
        "ab\x1b[3D\x1b[@\x1b[5;5Hc\tq\tz",
        "日本\x1b[2D\x1b[@\x1b[1;1H\x1b[P",
        "\x1b]4;3;#ff0000;17;#00ff00\x07\x1b]10;#111111\x07\x1b]11;#222222\x07\x1b]12;#333333\x07",
        "half\x1b[3",
        "half\x1b]0;ti",
        "\x1b[44m\x1b[2J\x1b[5;1Hend\r\nscrolled",
        "\x1b#8\x1b[2;2H\x1b[3X",
        "\x1b[?2026hshown anyway",
        "\x1b[41m1234567890123456789012\x1b[m\r\n\x1b[5;1H\x1b[44m1234567890123456789012",
    ];

    #[test]
    fn a_snapshot_shows_the_screen_it_was_taken_of() {
        for text in CORPUS {
            assert_same(screen(5, 20, 0, text), 0, text);
            assert_same(screen(5, 20, 50, &format!("{text}\r\n{}", "more\r\n".repeat(3))), 50, text);
        }
    }

    #[test]
    fn a_snapshot_of_a_snapshot_is_the_same() {
        for text in CORPUS {
            let mut first = screen(5, 20, 0, text);
            let bytes = first.snapshot();
            let mut second = Screen::live(first.size());
            second.feed(&bytes);
            assert_eq!(String::from_utf8_lossy(&second.snapshot()), String::from_utf8_lossy(&bytes), "{text:?}");
        }
    }

    #[test]
    fn a_snapshot_changes_nothing() {
        for text in CORPUS {
            // A link without a name would get another one in each.
            let text = &text.replace("]8;;http", "]8;id=1;http");
            let mut asked = screen(5, 20, 0, text);
            let mut left_alone = screen(5, 20, 0, text);
            left_alone.parser.stop_sync(&mut left_alone.term);
            asked.snapshot();
            for screen in [&mut asked, &mut left_alone] {
                screen.feed(b"go\ton\x1b8x\x1b[?1049l\x1b8y");
            }
            assert_eq!(picture(&mut asked), picture(&mut left_alone), "{text:?}");
        }
    }

    #[test]
    fn what_follows_a_snapshot_looks_the_same_on_both_sides() {
        let text = "日本\x1b[31mx\x1b]0;title\x1b\\\x1b[3;4Hé\x1bPq1\x1b\\end\x1b[1;5;38;2;1;2;3mz";
        for cut in 0..text.len() {
            let (before, after) = text.as_bytes().split_at(cut);
            let mut ours = Screen::live(Size { rows: 5, cols: 20 });
            ours.feed(before);
            let mut theirs = Screen::live(ours.size());
            theirs.feed(&ours.snapshot());
            ours.feed(after);
            theirs.feed(after);
            assert_eq!(picture(&mut theirs), picture(&mut ours), "cut at {cut}");
        }
    }

    #[test]
    fn a_wrapped_line_is_one_line_after_a_resize() {
        let mut ours = screen(5, 20, 0, "a line that is longer than the screen is wide");
        let mut theirs = Screen::live(ours.size());
        theirs.feed(&ours.snapshot());
        for screen in [&mut ours, &mut theirs] {
            screen.resize(Size { rows: 5, cols: 60 });
        }
        assert_eq!(theirs.rows(None, false)[0], "a line that is longer than the screen is wide");
        assert_eq!(ours.rows(None, false), theirs.rows(None, false));
    }

    /// Small and the same everywhere; quality does not matter here.
    struct Chance(u64);

    impl Chance {
        fn below(&mut self, end: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((self.0 >> 33) as usize) % end
        }

        fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
            choices[self.below(choices.len())]
        }
    }

    /// A stream of what terminals are told, with everything in it that programs do and some that they do not.
    fn stream(chance: &mut Chance, steps: usize) -> Vec<u8> {
        const WORDS: &[&str] =
            &["a", "hello ", "日", "本語", "é", "e\u{301}", "\u{200d}", "👩‍👩‍👧", "    ", "~~qqxx", "\u{308}"];
        const PLAIN: &[&str] = &[
            "\r\n",
            "\n",
            "\r",
            "\t",
            "\x08",
            "\x07",
            "\x0e",
            "\x0f",
            "\x1b7",
            "\x1b8",
            "\x1bM",
            "\x1bD",
            "\x1bE",
            "\x1bH",
            "\x1b(0",
            "\x1b(B",
            "\x1b)0",
            "\x1b)B",
            "\x1b=",
            "\x1b>",
            "\x1b#8",
            "\x1bc",
            "\x1b[3g",
            "\x1b[g",
            "\x1b[s",
            "\x1b[u",
            "\x1b]0;title\x07",
            "\x1b]8;;http://x\x07",
            "\x1b]8;id=7;http://y\x1b\\",
            "\x1b]8;;\x07",
            "\x1b]4;5;#abcdef\x07",
            "\x1b]104\x07",
            "\x1b[0 q",
            "\x1b[3 q",
            "\x1b[6 q",
            "\x1b[?12h",
            "\x1b[?12l",
            "\x1b[?2026h",
            "\x1b[?2026l",
            "\x1b[2J",
            "\x1b[22t",
            "\x1b[23t",
            "\x1bPq1;2\x1b\\",
            "\x1b_x\x1b\\",
            "\x1b]7;file:///x\x07",
            "\u{fffd}",
            "\x1b[",
            "\x1b",
            "\x1b]2;",
        ];
        const PENS: &[&str] = &[
            "",
            "0",
            "1",
            "2",
            "3",
            "4",
            "4:2",
            "4:3",
            "4:5",
            "7",
            "8",
            "9",
            "22",
            "24",
            "27",
            "31",
            "92",
            "38;5;9",
            "38;2;1;2;3",
            "44",
            "105",
            "48;5;77",
            "39",
            "49",
            "58:5:3",
            "58:2::1:2:3",
            "59",
        ];
        const MODES: &[&str] = &[
            "?1", "?6", "?7", "?25", "?1000", "?1002", "?1003", "?1004", "?1005", "?1006", "?1007", "?1049", "?2004",
            "4", "20", "?3",
        ];
        let mut out = Vec::new();
        for _ in 0..steps {
            let text = match chance.below(12) {
                0..=3 => chance.of(WORDS).repeat(1 + chance.below(4)),
                4 => chance.of(PLAIN).to_owned(),
                5 => format!("\x1b[{}m", chance.of(PENS)),
                6 => format!("\x1b[{};{}H", chance.below(9), chance.below(24)),
                7 | 8 => format!(
                    "\x1b[{}{}",
                    chance.below(5),
                    chance.of(&[
                        "A", "B", "C", "D", "E", "F", "G", "@", "P", "X", "L", "M", "S", "T", "J", "K", "I", "Z", "b",
                        "d"
                    ])
                ),
                9 => format!("\x1b[{}{}", chance.of(MODES), chance.of(&["h", "l"])),
                10 if chance.below(3) == 0 => format!("\x1b[{};{}r", chance.below(6), chance.below(9)),
                10 => chance.of(&["\r\n", "\n", "x"]).to_owned(),
                _ => {
                    out.push(chance.below(256) as u8);
                    continue;
                }
            };
            out.extend_from_slice(text.as_bytes());
        }
        out
    }

    #[test]
    fn a_snapshot_of_anything_shows_it() {
        for seed in 0..3000 {
            let chance = &mut Chance(seed);
            let size =
                |chance: &mut Chance| Size { rows: 2 + chance.below(6) as u16, cols: 4 + chance.below(18) as u16 };
            let history = [0, 0, 30][chance.below(3)];
            let mut screen = Screen::with_history(size(chance), history);
            for _ in 0..1 + chance.below(3) {
                let steps = 1 + chance.below(40);
                screen.feed(&stream(chance, steps));
                if chance.below(4) == 0 {
                    screen.resize(size(chance));
                }
            }
            assert_same(screen, history, &format!("seed {seed}"));
        }
    }
}
