//! What a program prints, without what would make the terminal of a person answer. The program has been answered
//! already by the terminal it runs in, which is the server's; a second answer would reach it as keys nobody pressed.
//! With the questions goes what would make this terminal write its keys in a way that one never agreed to, and what
//! would move or resize a person's window.
//!
//! Terminals differ in where a broken sequence ends, so a question could hide in what only some of them take for text.
//! Therefore sequences go out whole and well formed or not at all, and only those that are known to show something.

/// Keeps its place between pieces: a sequence may be cut anywhere.
#[derive(Debug, Default)]
pub(super) struct Mute {
    place: Place,
    /// The sequence so far, while it is not known what it will be.
    held: Vec<u8>,
    /// The first byte of a character that may be a control.
    lead: bool,
    alternate: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    Text,
    Escape,
    /// `CSI`, up to its last byte.
    Control,
    /// `OSC` or `DCS` whose nature is not known yet.
    Command,
    Device,
    /// A string that passes, or is swallowed, up to its end; with the byte that began it.
    Passing(u8),
    Swallowing(u8),
}

/// What is longer than this is shown only where its beginning tells that it asks nothing. A palette of all its colours
/// in one sequence is not much longer.
const HELD_BYTES_MAX: usize = 8 * 1024;

const ENQUIRY: u8 = 0x05;
const BELL: u8 = 0x07;
const ESCAPE: u8 = 0x1b;

/// Controls of eight bits, U+0080 to U+009F, begin with this byte.
const LEAD: u8 = 0xc2;

/// What a string ends with.
const END: &[u8] = b"\x1b\\";

impl Mute {
    pub(super) fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for byte in bytes {
            if std::mem::take(&mut self.lead) {
                match byte {
                    // The terminal the program runs in is deaf to these, so nobody hears them.
                    0x80..=0x9f => continue,
                    0xa0..=0xbf => self.take(LEAD, out),
                    // Left alone it could find its second byte behind something that is swallowed.
                    _ => "\u{fffd}".bytes().for_each(|byte| self.take(byte, out)),
                }
            }
            match *byte {
                LEAD => self.lead = true,
                byte => self.take(byte, out),
            }
        }
    }

    /// Whether the program has left the primary screen.
    pub(super) fn alternate(&self) -> bool {
        self.alternate
    }

    fn take(&mut self, byte: u8, out: &mut Vec<u8>) {
        match (self.place, byte) {
            // These break off whatever was begun. To some terminals they are a part of a string.
            (Place::Passing(_), 0x18 | 0x1a) => {
                out.push(byte);
                self.end(out);
            }
            (_, 0x18 | 0x1a) => {
                self.forget();
                out.push(byte);
            }
            // Ends a string, whatever follows.
            (_, ESCAPE) => {
                self.end(out);
                self.hold(byte, Place::Escape);
            }
            // Asks for an answerback.
            (Place::Text | Place::Escape | Place::Control, ENQUIRY) => {}
            (Place::Text, byte) => out.push(byte),
            // Obeyed at once, in the middle of a sequence.
            (Place::Escape | Place::Control, 0x00..=0x1f) => out.push(byte),
            (Place::Escape, 0x20..=0x2f) => self.hold(byte, Place::Escape),
            (Place::Escape, b'[') if self.held.len() == 1 => self.hold(byte, Place::Control),
            (Place::Escape, b']') if self.held.len() == 1 => self.hold(byte, Place::Command),
            (Place::Escape, b'P') if self.held.len() == 1 => self.hold(byte, Place::Device),
            // Pictures of a kind that is confirmed, and what no terminal shows.
            (Place::Escape, b'_' | b'^' | b'X') if self.held.len() == 1 => self.swallow(byte),
            (Place::Escape, 0x30..=0x7e) => {
                let is_shown = is_shown_by_escape(&self.held[1..], byte);
                self.close(byte, is_shown, out);
            }
            (Place::Control, 0x20..=0x3f) => self.hold(byte, Place::Control),
            (Place::Control, 0x40..=0x7e) => {
                let body = &self.held[2..];
                let is_shown = is_shown_by_control(body, byte);
                self.alternate = switches(body, byte).unwrap_or(self.alternate);
                self.close(byte, is_shown, out);
            }
            // No part of any sequence.
            (Place::Escape | Place::Control, 0x7f..) => {}
            (Place::Command | Place::Passing(b']') | Place::Swallowing(b']'), BELL) => self.end_with(&[BELL], out),
            // Terminals leave controls out of strings, or differ in what they do.
            (Place::Command | Place::Device | Place::Passing(_), 0x00..=0x1f | 0x7f) => {}
            (Place::Command, byte) => {
                self.hold(byte, Place::Command);
                if self.is_full() && is_shown_by_command(&self.held[2..], false) {
                    out.append(&mut self.held);
                    self.place = Place::Passing(b']');
                } else if self.is_full() {
                    self.swallow(b']');
                }
            }
            (Place::Device, 0x20..=0x3f) => self.hold(byte, Place::Device),
            // Of these only pictures are shown: the others ask, or write keys, or give orders.
            (Place::Device, b'q') if !self.is_full() && self.held[2..].iter().all(|byte| is_parameter(*byte)) => {
                out.append(&mut self.held);
                out.push(byte);
                self.place = Place::Passing(b'P');
            }
            (Place::Device, 0x40..=0x7e) => self.swallow(b'P'),
            (Place::Device | Place::Passing(b'P'), 0x80..) => {}
            (Place::Passing(_), byte) => out.push(byte),
            (Place::Swallowing(_), _) => {}
        }
    }

    /// No more than can have a meaning.
    fn hold(&mut self, byte: u8, place: Place) {
        if !self.is_full() {
            self.held.push(byte);
        }
        self.place = place;
    }

    fn is_full(&self) -> bool {
        self.held.len() == HELD_BYTES_MAX
    }

    /// The last byte of a sequence that is no string.
    fn close(&mut self, byte: u8, is_shown: bool, out: &mut Vec<u8>) {
        if is_shown && !self.is_full() {
            out.append(&mut self.held);
            out.push(byte);
        }
        self.forget();
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.end_with(END, out);
    }

    /// Of what is not a string, or not yet known to pass, nothing is left.
    fn end_with(&mut self, end: &[u8], out: &mut Vec<u8>) {
        match self.place {
            Place::Command if is_shown_by_command(&self.held[2..], true) => {
                out.append(&mut self.held);
                out.extend(end);
            }
            Place::Passing(_) => out.extend(end),
            _ => {}
        }
        self.forget();
    }

    fn swallow(&mut self, begun_by: u8) {
        self.held.clear();
        self.place = Place::Swallowing(begun_by);
    }

    fn forget(&mut self) {
        self.held.clear();
        self.place = Place::Text;
    }
}

/// To the alternate screen, or back.
fn switches(body: &[u8], last: u8) -> Option<bool> {
    let modes = body.strip_prefix(b"?")?;
    let is_switch = modes.split(|byte| *byte == b';').any(|mode| [&b"1049"[..], b"1047", b"47"].contains(&mode));
    (is_switch && matches!(last, b'h' | b'l')).then_some(last == b'h')
}

/// What follows `ESC`.
fn is_shown_by_escape(between: &[u8], last: u8) -> bool {
    match (between, last) {
        // The oldest way to ask what it is, and the end of a string that ended already.
        ([], b'Z' | b'\\') => false,
        ([], _) => true,
        // How it writes its keys, and how it reads what follows.
        ([b' ' | b'%', ..], _) => false,
        // For terminals that do not look between, the beginning of another.
        (_, last) => !matches!(last, b'[' | b']' | b'P' | b'X' | b'^' | b'_'),
    }
}

/// Modes in which it reports sizes, colours and pastes, writes keys in other ways, or is another terminal.
const MODES_OF_ITS_OWN: [u16; 5] = [2, 2031, 2048, 5522, 9001];

/// All that follows `CSI`.
fn is_shown_by_control(body: &[u8], last: u8) -> bool {
    let marked = body.first().copied().filter(|byte| matches!(byte, b'<'..=b'?'));
    let rest = &body[usize::from(marked.is_some())..];
    let (parameters, between) = rest.split_at(rest.iter().take_while(|byte| is_parameter(**byte)).count());
    match (marked, between, last) {
        // What it is, how it is, its test, and the window: its place, size and title.
        (None, [], last) => !matches!(last, b'c' | b'n' | b't' | b'x' | b'y'),
        (Some(b'?'), [], b'h' | b'l') => {
            let mut modes = parameters.split(|byte| matches!(byte, b';' | b':'));
            modes.all(|mode| mode.is_empty() || number(mode).is_some_and(|mode| !MODES_OF_ITS_OWN.contains(&mode)))
        }
        (Some(b'?'), [], b'J' | b'K' | b'r' | b's') => true,
        // The cursor, the margins, a soft reset, and rectangles.
        (None, b" ", b'@' | b'A' | b'q' | b't' | b'u') | (None, b"!", b'p') | (None, b"\"", b'q') => true,
        (None, b"$", b'r' | b't' | b'v' | b'x' | b'z' | b'{') | (None, b"*", b'x') => true,
        (None, b"'", b'}' | b'~') | (None, b"#", b'{' | b'}' | b'p' | b'q' | b'P' | b'Q') => true,
        _ => false,
    }
}

/// An `OSC`, or the beginning of a long one.
fn is_shown_by_command(body: &[u8], is_whole: bool) -> bool {
    let mut parts = body.splitn(2, |byte| *byte == b';');
    let command = parts.next().and_then(number);
    let Some(text) = parts.next().or(is_whole.then_some(&[])) else { return false };
    match command {
        // Titles, places, links, notices and marks.
        Some(0..=2 | 7..=9 | 66 | 133 | 633 | 777) => true,
        Some(1337) => !text.starts_with(b"Re") && !text.starts_with(b"Cap"),
        // What was begun to be copied is no question any more.
        Some(52) if !is_whole => {
            !text.contains(&b'?') && text.splitn(2, |byte| *byte == b';').nth(1).is_some_and(|data| !data.is_empty())
        }
        // Colours, pointers, fonts and the clipboard can be asked for instead.
        Some(4..=6 | 10..=19 | 21 | 22 | 50 | 52 | 104..=119) => is_whole && !text.contains(&b'?'),
        _ => false,
    }
}

fn is_parameter(byte: u8) -> bool {
    matches!(byte, b'0'..=b';')
}

/// Zeros in front mean nothing. What is larger than all there are is none: some would count it from zero again.
fn number(word: &[u8]) -> Option<u16> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use alacritty_terminal::vte::{Params, Parser, Perform};
    use proptest::prelude::*;

    use super::*;

    fn passed(bytes: &[u8]) -> Vec<u8> {
        let mut whole = Vec::new();
        Mute::default().pass(bytes, &mut whole);
        // Cut anywhere it is the same.
        let mut mute = Mute::default();
        let mut parts = Vec::new();
        bytes.chunks(1).for_each(|part| mute.pass(part, &mut parts));
        assert_eq!(whole, parts);
        whole
    }

    /// What a terminal that reads this is asked.
    fn asked(bytes: &[u8]) -> Vec<String> {
        let mut asked = Asked::default();
        Parser::new().advance(&mut asked, bytes);
        asked.0
    }

    #[derive(Default)]
    struct Asked(Vec<String>);

    impl Perform for Asked {
        fn execute(&mut self, byte: u8) {
            if byte == ENQUIRY {
                self.0.push("ENQ".into());
            }
        }

        fn hook(&mut self, _: &Params, between: &[u8], _: bool, last: char) {
            if !between.is_empty() || last != 'q' {
                self.0.push(format!("DCS {} {last}", between.escape_ascii()));
            }
        }

        fn osc_dispatch(&mut self, words: &[&[u8]], _: bool) {
            let is_text = matches!(words[0], b"0" | b"1" | b"2" | b"7" | b"8" | b"9" | b"133");
            let is_asking = words[1..].contains(&&b"?"[..]) || matches!(words[0], b"60" | b"61");
            if !is_text && is_asking {
                self.0.push(format!("OSC {}", words.concat().escape_ascii()));
            }
        }

        fn csi_dispatch(&mut self, _: &Params, between: &[u8], _: bool, last: char) {
            let is_asking = match (between, last) {
                (_, 'c' | 'n' | 'y') | ([], 't' | 'x') | ([_, ..], 'u' | '|') => true,
                (b"?" | b">" | b"=" | b"<", 'q' | 'm' | 'S' | 'f' | 'g') => true,
                (_, 'p' | 'w') => between.contains(&b'$'),
                _ => false,
            };
            if is_asking {
                self.0.push(format!("CSI {} {last}", between.escape_ascii()));
            }
        }

        fn esc_dispatch(&mut self, between: &[u8], _: bool, byte: u8) {
            if between.is_empty() && byte == b'Z' {
                self.0.push("DECID".into());
            }
        }
    }

    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let known = [
            "\x1b", "[", "]", "P", "_", "X", "^", "Z", "\\", "\x1b[", "\x1b]", "\x1bP", "\x1b\\", "\x07", "\x18",
            "\x1a", "\x05", "\n", "\0", "\x7f", "6n", "c", ">q", "?u", "14t", "$p", "?2048h", "?25l", "1m", "0;",
            "11;", "011;", "4;1;", "52;c;", "60", "?", ";", "0", " ", "(", "%@", "$q", "+q", "q", "Ga=q;", "é",
            "\u{9b}", "\u{9c}", "\u{9d}", "\u{90}", "text",
        ];
        let long = |byte: u8| vec![byte; HELD_BYTES_MAX];
        let piece = prop_oneof![
            20 => proptest::sample::select(known.as_slice().to_vec()).prop_map(|piece| piece.as_bytes().to_vec()),
            4 => any::<u8>().prop_map(|byte| vec![byte]),
            2 => Just(vec![LEAD]),
            2 => (0x80..=0x9f_u8).prop_map(|byte| vec![byte]),
            1 => prop_oneof![Just(long(b'0')), Just(long(b'x')), Just(long(b' '))],
        ];
        proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn whatever_is_printed_no_terminal_is_asked(bytes in pieces()) {
            let out = passed(&bytes);
            prop_assert_eq!(asked(&out), Vec::<String>::new(), "{}", out.escape_ascii());
            // Nor is one that obeys controls of eight bits.
            let is_control = |pair: &[u8]| pair[0] == LEAD && (0x80..=0x9f).contains(&pair[1]);
            prop_assert!(!out.windows(2).any(is_control), "{}", out.escape_ascii());
        }
    }

    #[test]
    fn a_question_does_not_hide_in_what_is_broken_or_long() {
        let many = |text: &str| text.repeat(HELD_BYTES_MAX);
        for (hidden, out) in [
            (format!("\x1b[{}6nx", "0".repeat(300)), "x".to_owned()),
            (format!("\x1b[{}6nx", many("0")), "x".to_owned()),
            (format!("\x1b]{}11;?\x07x", many("0")), "x".to_owned()),
            (format!("\x1b]4{}1;?\x07x", many(";")), "x".to_owned()),
            (format!("\x1b]52;{};?\x07x", many("c")), "x".to_owned()),
            (format!("\x1bP{}$qm\x1b\\x", many("0")), "x".to_owned()),
            ("\x1b]0;x\x1b[6n\x07".to_owned(), "\x1b]0;x\x1b\\\x07".to_owned()),
            ("\x1b]11;\x1b[6n?\x07x".to_owned(), "\x1b]11;\x1b\\?\x07x".to_owned()),
            (format!("\x1b]0;{}\x1b[6nx", many("y")), format!("\x1b]0;{}\x1b\\x", many("y"))),
            (format!("\x1b]0;{}\x18\x1b[6nx", many("y")), format!("\x1b]0;{}\x18\x1b\\x", many("y"))),
            ("\x1b_G\x1b[6nx".to_owned(), "x".to_owned()),
            ("\x1b\x1b[6n[6n".to_owned(), "[6n".to_owned()),
            ("\x1b[\x1b[6n6n".to_owned(), "6n".to_owned()),
            ("\x1b\n[6nx".to_owned(), "\nx".to_owned()),
            ("\x1b[\0>qx".to_owned(), "\0x".to_owned()),
            ("\x1b]1\x001;?\x07x".to_owned(), "x".to_owned()),
            ("\x1b]11;?\x18x".to_owned(), "\x18x".to_owned()),
            ("\x1bP\x07$qm\x1b\\x".to_owned(), "x".to_owned()),
            ("\x1b[?02048hx".to_owned(), "x".to_owned()),
            ("\u{9b}6n".to_owned(), "6n".to_owned()),
            ("\u{9d}52;c;?\x07".to_owned(), "52;c;?\x07".to_owned()),
        ] {
            let got = passed(hidden.as_bytes());
            assert!(got == out.as_bytes(), "{hidden:.40?}: {:.80?}", String::from_utf8_lossy(&got));
        }
        // Nor in a character that something swallowed parted.
        assert_eq!(passed(b"\xc2\x1b[6n\x9b6n"), b"\xef\xbf\xbd\x9b6n");
        assert_eq!(passed(b"\xc2\xc2\x9b\x9b6n"), b"\xef\xbf\xbd\x9b6n");
    }

    #[test]
    fn questions_do_not_reach_the_terminal() {
        for question in [
            "\x1b[c",
            "\x1b[>0c",
            "\x1b[6n",
            "\x1b[?6n",
            "\x1b[?2026$p",
            "\x1b[>q",
            "\x1b[?u",
            "\x1b[>1u",
            "\x1b[>4;2m",
            "\x1b[14t",
            "\x1b[8;50;100t",
            "\x1b]11;?\x07",
            "\x1b]10;?\x1b\\",
            "\x1b]4;1;?\x07",
            "\x1b]52;c;?\x07",
            "\x1bP$qm\x1b\\",
            "\x1bP+q544e\x1b\\",
            "\x1b_Ga=q;AAAA\x1b\\",
            "\x1bZ",
            "\x05",
            "\x1b[?2048h",
            "\x1b[1'|",
            "\x1b[#R",
            "\x1b[3\"v",
            "\x1b]22;?__current__\x07",
            "\x1b]1337;Capabilities\x07",
            "\x1bP1000p\x1b\\",
        ] {
            let text = format!("a{question}b");
            assert_eq!(passed(text.as_bytes()), b"ab", "{question:?}");
        }
    }

    #[test]
    fn which_screen_it_is_on_is_known() {
        let mut mute = Mute::default();
        mute.pass(b"\x1b[?25;1049h", &mut Vec::new());
        assert!(mute.alternate());
        mute.pass(b"\x1b[?25h\x1b[1049h\x1b[?1049l", &mut Vec::new());
        assert!(!mute.alternate());
    }

    #[test]
    fn all_else_does() {
        for text in [
            "\x1b[1;31mred\x1b[m",
            "\x1b[?1049h\x1b[?2004;1006h",
            "\x1b[s\x1b[u",
            "\x1b[!p",
            "\x1b[2 q",
            "\x1b(B\x1b7\x1b8",
            "\x1b]0;why?\x07",
            "\x1b]2;what;?\x1b\\",
            "\x1b]8;;http://x/?a=?\x07",
            "\x1b]133;A\x07",
            "\x1b]52;c;eA==\x07",
            "\x1bP0;1q#0;2;0;0;0~\x1b\\",
            "日本 é",
            "\x1b[?25;2026h\x1b[?7l\x1b[?2J",
            "\x1b]104\x1b\\\x1b]4;1;#123456\x07",
        ] {
            assert_eq!(passed(text.as_bytes()), text.as_bytes(), "{text:?}");
        }
        let long = format!("\x1b]52;c;{}\x07x", "A".repeat(2 * HELD_BYTES_MAX));
        assert_eq!(passed(long.as_bytes()), long.as_bytes());
    }
}
