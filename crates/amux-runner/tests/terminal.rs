//! Our terminal beside another one: what tmux shows of a stream is what we show, but for what is listed with a reason.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use amux_proto::entity::Size;
use amux_runner::screen::Screen;
use amux_sys::spawn::{Error, Session, SpawnSpec, Stdio, spawn};

const SIZE: Size = Size { rows: 8, cols: 20 };

/// Long enough for a slow machine, short enough to be noticed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Name, stream. Compared are text, colours and cursor.
const SAME: &[(&str, &str)] = &[
    ("lines", "one\r\ntwo\r\n\r\nfour"),
    ("scrolling", "1\r\n2\r\n3\r\n4\r\n5\r\n6\r\n7\r\n8\r\n9\r\n10"),
    ("colours", "\x1b[31mred\x1b[42mgreen\x1b[0m \x1b[38;5;200mindexed\x1b[38;2;1;2;3mrgb\x1b[97;104mb\x1b[0m."),
    ("attributes", "\x1b[1mb\x1b[0;2md\x1b[0;3mi\x1b[0;4mu\x1b[0;7mv\x1b[0;8mh\x1b[0;9ms\x1b[0m."),
    ("underlines", "\x1b[4:2ma\x1b[4:3mb\x1b[4:4mc\x1b[4:5md\x1b[4:0me\x1b[24mf"),
    (
        "attributes end one by one",
        "\x1b[1;3;4;7;9;31;42ma\x1b[22mb\x1b[23mc\x1b[24md\x1b[27me\x1b[29mf\x1b[39mg\x1b[49mh",
    ),
    ("autowrap", "123456789012345678901234567890"),
    ("a full row waits", "12345678901234567890"),
    ("a full row and a return", "12345678901234567890\rx"),
    ("a full row and a new line", "12345678901234567890\r\nx"),
    ("no autowrap", "\x1b[?7l1234567890123456789012345\x1b[?7h"),
    ("wide", "日本語 한국어 ＡＢ"),
    ("wide at the end of a row", "1234567890123456789日本"),
    ("wide fits the end of a row", "123456789012345678日本"),
    ("marks", "e\u{301}a\u{308}o\u{302}\u{323} x"),
    ("cursor addressing", "\x1b[3;5Ha\x1b[Hb\x1b[8;20Hc\x1b[99;99Hd\x1b[4Ge\x1b[2df"),
    ("cursor steps", "\x1b[4;10H\x1b[2AA\x1b[3BB\x1b[4CC\x1b[6DD\x1b[2EE\x1b[FF"),
    ("cursor stops at the edges", "\x1b[99A\x1b[99Dx\x1b[99B\x1b[99Cy"),
    ("save and restore", "ab\x1b[31m\x1b7\x1b[0m\x1b[5;5Hx\x1b8red"),
    ("save and restore by CSI", "ab\x1b[s\x1b[5;5Hx\x1b[uy"),
    ("alternate screen", "before\x1b[?1049h\x1b[2;2Hinside\x1b[?1049lafter"),
    ("in the alternate screen", "before\x1b[?1049h\x1b[H\x1b[2;2Hinside"),
    ("index at the bottom margin", "\x1b[2;4r\x1b[2;1Ha\r\nb\r\nc\r\nd\x1b[1;1Htop\x1b[8;1Hend"),
    ("reverse index", "a\r\nb\x1b[H\x1bMtop"),
    ("reverse index at a margin", "1\r\n2\r\n3\r\n4\r\n5\x1b[2;4r\x1b[2;1H\x1bMx"),
    ("next line", "a\x1bEb\x1bDc"),
    ("insert lines", "1\r\n2\r\n3\r\n4\x1b[2;1H\x1b[2Lx"),
    ("delete lines", "1\r\n2\r\n3\r\n4\r\n5\x1b[2;1H\x1b[2Mx"),
    ("insert lines between margins", "1\r\n2\r\n3\r\n4\r\n5\x1b[2;4r\x1b[3;1H\x1b[1Lx"),
    ("delete lines between margins", "1\r\n2\r\n3\r\n4\r\n5\x1b[2;4r\x1b[2;1H\x1b[1Mx"),
    ("scroll up and down", "1\r\n2\r\n3\r\n4\x1b[2S\x1b[1Tx"),
    ("insert characters", "abcdef\x1b[1;3H\x1b[2@x"),
    ("delete characters", "abcdef\x1b[1;3H\x1b[2Px"),
    ("erase characters", "abcdef\x1b[1;3H\x1b[2Xx"),
    ("insert mode", "abcdef\x1b[1;3H\x1b[4hXY\x1b[4lZ"),
    ("tabs", "a\tb\tc"),
    ("a tab after a full row", "12345678901234567890\tx"),
    ("own tab stops", "\x1b[3g\x1b[1;4H\x1bH\x1b[1;9H\x1bH\r\ta\tb\tc"),
    ("a tab stop is taken away", "\x1b[1;9H\x1b[g\r\tx"),
    ("tabs backwards", "\x1b[1;19Ha\x1b[2Zb"),
    ("erase to the right", "abcdef\x1b[1;3H\x1b[K"),
    ("erase to the left", "abcdef\x1b[1;3H\x1b[1K"),
    ("erase a row", "abcdef\x1b[1;3H\x1b[2K"),
    ("erase below", "1\r\n2\r\n3xx\r\n4\x1b[3;2H\x1b[J"),
    ("erase above", "1\r\n2\r\n3xx\r\n4\x1b[3;2H\x1b[1J"),
    ("erase all", "1\r\n2\r\n3\x1b[2Jx"),
    ("origin mode", "\x1b[3;6r\x1b[?6h\x1b[1;1Htop\x1b[99;1Hend\x1b[?6l\x1b[1;1Hhome"),
    ("lines are drawn", "\x1b(0lqqk\r\nx~~x\r\nmqqj\x1b(B x"),
    ("lines are drawn by shifting out", "\x1b)0\x0elqk\x0fq"),
    ("repeat", "ab\x1b[5bc"),
    ("alignment", "\x1b#8\x1b[2;2Hx"),
    ("synchronised update", "a\x1b[?2026hb\x1b[2;2Hc\x1b[?2026ld"),
    ("a full reset", "junk\x1b[31m\x1b[2;4r\x1bcclean"),
    ("unknown sequences", "a\x1b[?9999hb\x1b[99zc\x1b]777;x\x07d\x1bPq#1\x1b\\ef"),
    ("a sequence is taken back", "a\x1b[31\x18b"),
    ("control characters in a sequence", "a\x1b[3\r1mb\x1b[0m"),
    ("a link", "\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\ no"),
    ("many attributes", "\x1b[0;1;0;1;0;1;0;1;0;31mx\x1b[0m"),
    ("a bell", "a\x07b"),
    ("bracketed paste and mouse", "\x1b[?2004;1000;1006;1004hx"),
];

/// What we and tmux show differently, with the reason.
const DIFFERENT: &[(&str, &str, &str)] = &[
    (
        "backspace after a full row",
        "12345678901234567890\x08x",
        "tmux counts the waiting as a column; xterm does as we do",
    ),
    ("half of a wide character is overwritten", "日本語\x1b[1;2Hx", "tmux keeps the other half; xterm does as we do"),
    ("erase above on the second row", "1\r\n2xx\x1b[2;2H\x1b[1J", "our emulator forgets the first row"),
    ("steps in origin mode", "\x1b[3;6r\x1b[?6h\x1b[3;1H\x1b[Aup", "our emulator counts steps from the margin"),
];

#[test]
fn tmux_shows_what_we_show() {
    let cases: Vec<Vec<u8>> = SAME.iter().map(|(_, text)| text.as_bytes().to_vec()).collect();
    assert_tmux_agrees(&cases);
}

#[test]
fn tmux_shows_a_snapshot_as_we_show_the_stream() {
    let snapshots: Vec<Vec<u8>> = SAME.iter().map(|(_, text)| screen(text.as_bytes()).snapshot()).collect();
    assert_tmux_agrees(&snapshots);
}

#[test]
fn what_is_listed_as_different_is_different() {
    let cases: Vec<Vec<u8>> = DIFFERENT.iter().map(|(_, text, _)| text.as_bytes().to_vec()).collect();
    let Some(theirs) = Tmux::shows(&cases) else { return };
    for ((name, text, _), theirs) in DIFFERENT.iter().zip(&theirs) {
        assert_ne!(View::of(&mut screen(text.as_bytes())), *theirs, "{name} is the same: it belongs to the others");
    }
}

#[test]
fn a_resize_rewraps_what_wrapped() {
    let mut screen = screen("a long line that wraps over two rows\r\n日本語日本語日本語日本語\r\nshort".as_bytes());
    screen.resize(Size { rows: 8, cols: 50 });
    let rows = screen.rows(None, false);
    assert_eq!(rows[..3], ["a long line that wraps over two rows", "日本語日本語日本語日本語", "short"]);
}

#[test]
fn hostile_output_costs_no_memory() {
    const REPEATED: &[&str] = &[
        "no newline ever ",
        "\x1b[1;2;3;4;5;6;7;8;9;10;11;12;13;14;15;16;17;18;19;20;21;22;23;24;25;26;27;28;29;30;31;32;33;34;35;36m",
        "\x1b[8;65535;65535t\x1b[18t\x1b[6n",
        "\x1b[65535b\x1b[65535Z\x1b[65535S\x1b[65535@",
        "e\u{301}\u{301}\u{301}\u{301}",
        "\u{301}",
        "\u{301}\x1b[20b",
        "\x1b[22t\x1b]0;title\x07",
        "\x1b]8;;http://example/with/a/link\x07x",
        "\x1b[?1049h\u{301}\x1b[?1049l\u{301}",
        "\x1b[?2026h",
        "\x1b[>31u",
        "\x1b]9;notice\x07\x07",
    ];
    let before = resident_bytes();
    for pattern in REPEATED {
        let mut screen = Screen::live(SIZE);
        let chunk = pattern.repeat((64 << 10) / pattern.len());
        for _ in 0..4 {
            screen.feed(chunk.as_bytes());
        }
        assert!(screen.take_signs().len() <= 66, "{pattern:?}");
        assert!(screen.take_answers().len() <= 64 << 10, "{pattern:?}");
        assert!(screen.snapshot().len() < 256 << 10, "{pattern:?}");
    }
    // One opening, and no end to what it opens: 64 MB in all.
    let mut screen = Screen::live(SIZE);
    let filler = vec![b'1'; 1 << 20];
    for opening in ["\x1b]0;", "\x1b]52;c;", "\x1b[", "\x1bPq", "\x1b_"] {
        screen.feed(opening.as_bytes());
        (0..12).for_each(|_| screen.feed(&filler));
        screen.feed(&[0xff, 0xfe, 0xc3, 0x28, 0xf0, 0x9f, 0x1b, b'\\']);
    }
    (0..4).for_each(|_| screen.feed(&filler));
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "{} MiB more than before", grown >> 20);
}

/// Zero where the system does not tell; then nothing has grown.
fn resident_bytes() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

fn screen(bytes: &[u8]) -> Screen {
    let mut screen = Screen::live(SIZE);
    screen.feed(bytes);
    screen
}

/// `fed` is what tmux gets for each of [`SAME`].
fn assert_tmux_agrees(fed: &[Vec<u8>]) {
    let Some(theirs) = Tmux::shows(fed) else { return };
    let mut wrong = String::new();
    for (((name, text), fed), theirs) in SAME.iter().zip(fed).zip(&theirs) {
        let ours = View::of(&mut screen(text.as_bytes()));
        if ours != *theirs {
            wrong += &format!("{name}\n ours {ours:?}\n tmux {theirs:?}\n of {:?}\n", String::from_utf8_lossy(fed));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Text with colours, and the cursor.
#[derive(Debug, PartialEq)]
struct View {
    rows: Vec<String>,
    cursor: (u16, u16),
}

impl View {
    fn of(screen: &mut Screen) -> Self {
        let cursor = screen.cursor().map_or((0, 0), |cursor| (cursor.row, cursor.col));
        Self { rows: screen.rows(None, true), cursor }
    }
}

struct Tmux {
    socket: String,
}

impl Tmux {
    /// What tmux shows of each stream, in a window of its own; none if there is no tmux.
    fn shows(streams: &[Vec<u8>]) -> Option<Vec<View>> {
        let dir = tempfile::tempdir().expect("a directory");
        let text = |path: &Path| path.to_str().expect("a plain path").to_owned();
        let mut config = "set -g status off\nset -g allow-rename off\nset -g automatic-rename off\n".to_owned();
        for (at, bytes) in streams.iter().enumerate() {
            let file = dir.path().join(at.to_string());
            // The title says that everything before it was read.
            let told = format!("\x1b]2;read-{at}\x1b\\");
            fs::write(&file, [bytes, told.as_bytes()].concat()).expect("written");
            let run = format!("\"stty raw -echo; cat {}; exec sleep 1000\"", text(&file));
            let Size { rows, cols } = SIZE;
            config += &match at {
                0 => format!("new-session -d -x {cols} -y {rows} {run}\n"),
                _ => format!("new-window -d {run}\n"),
            };
        }
        let path = dir.path().join("tmux.conf");
        fs::write(&path, config).expect("written");
        let tmux = Self { socket: text(&dir.path().join("socket")) };
        tmux.run(&["-f", &text(&path), "start-server"])?;
        let cursors = tmux.read(streams.len());
        let view = |(at, cursor): (usize, &(u16, u16))| {
            let rows = tmux.run(&["capture-pane", "-p", "-e", "-t", &format!(":{at}")]).expect("tmux is there");
            // Drawn lines come as letters of the second character set.
            let rows = format!("\x1b)0{}", rows.trim_end_matches('\n').replace('\n', "\r\n"));
            let mut screen = screen(rows.as_bytes());
            View { rows: screen.rows(None, true), cursor: *cursor }
        };
        Some(cursors.iter().enumerate().map(view).collect())
    }

    /// The cursors of all windows, once all have read their stream.
    fn read(&self, windows: usize) -> Vec<(u16, u16)> {
        let format = "#{window_index} #{pane_title} #{cursor_y} #{cursor_x}";
        let since = Instant::now();
        loop {
            let list = self.run(&["list-panes", "-s", "-F", format]).expect("tmux is there");
            let cursors: Vec<_> = list.lines().filter_map(cursor_of_a_read_stream).collect();
            if cursors.len() == windows {
                return cursors;
            }
            assert!(since.elapsed() < PATIENCE, "tmux has not read everything:\n{list}");
        }
    }

    fn run(&self, words: &[&str]) -> Option<String> {
        let env =
            [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("LC_ALL", "C.UTF-8"), ("SHELL", "/bin/sh"), ("TERM", "xterm")];
        let spec = SpawnSpec {
            program: "tmux".into(),
            args: ["-u", "-S", &self.socket].iter().chain(words).map(Into::into).collect(),
            cwd: "/".into(),
            env: env.map(|(name, value)| (name.into(), value.into())).to_vec(),
            stdio: Stdio::Pipes,
            session: Session::Own,
            pass_fds: Vec::new(),
            nofile: None,
        };
        let mut child = match spawn(&spec) {
            Err(Error::NotFound(_)) => {
                eprintln!("SKIPPED: there is no tmux here to compare with.");
                return None;
            }
            child => child.expect("tmux starts"),
        };
        let mut said = [child.stdout.take(), child.stderr.take()].map(|pipe| {
            let mut text = String::new();
            fs::File::from(pipe.expect("a pipe")).read_to_string(&mut text).expect("text");
            text
        });
        assert!(child.wait().expect("it ends").success(), "{words:?}: {}", said[1]);
        Some(std::mem::take(&mut said[0]))
    }
}

fn cursor_of_a_read_stream(line: &str) -> Option<(u16, u16)> {
    let mut words = line.split(' ');
    let (at, title) = (words.next()?, words.next()?);
    let (row, column): (u16, u16) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    // A cursor that waits to wrap is behind the last column there.
    (title == format!("read-{at}")).then_some((row, column.min(SIZE.cols - 1)))
}

impl Drop for Tmux {
    fn drop(&mut self) {
        if Path::new(&self.socket).exists() {
            self.run(&["kill-server"]);
        }
    }
}
