//! What a program prints, without what would make the terminal of a person answer. The program has been answered
//! already by the terminal it runs in, which is the server's; a second answer would reach it as keys nobody pressed.
//! With the questions goes what would make this terminal write its keys in a way that one never agreed to, and what
//! would move or resize a person's window.

/// Keeps its place between pieces: a sequence may be cut anywhere.
#[derive(Debug, Default)]
pub(super) struct Mute {
    place: Place,
    /// The sequence so far, while it is not known what it will be.
    held: Vec<u8>,
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
    String,
    /// One that passes, or is swallowed, up to its end; with whether the byte before was an escape.
    Passing(bool),
    Swallowing(bool),
}

/// A string that is longer than this is no question.
const HELD_BYTES_MAX: usize = 256;

const ESCAPE: u8 = 0x1b;
const BELL: u8 = 0x07;

impl Mute {
    pub(super) fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for byte in bytes {
            self.take(*byte, out);
        }
    }

    /// Whether the program has left the primary screen.
    pub(super) fn alternate(&self) -> bool {
        self.alternate
    }

    fn take(&mut self, byte: u8, out: &mut Vec<u8>) {
        match (self.place, byte) {
            // Both break off whatever was begun.
            (_, 0x18 | 0x1a) => {
                self.release(out);
                out.push(byte);
            }
            (Place::Text, ESCAPE) => {
                self.place = Place::Escape;
                self.held.push(byte);
            }
            // Asks for an answerback.
            (Place::Text, 0x05) => {}
            (Place::Text, byte) => out.push(byte),
            (Place::Escape | Place::Control, ESCAPE) => {
                self.release(out);
                self.take(byte, out);
            }
            (Place::Escape, b'[') => self.hold(byte, Place::Control),
            (Place::Escape, b']' | b'P') => self.hold(byte, Place::String),
            // Pictures of a kind that is confirmed.
            (Place::Escape, b'_') => {
                self.held.clear();
                self.place = Place::Swallowing(false);
            }
            // The oldest way to ask what it is.
            (Place::Escape, b'Z') => self.forget(),
            (Place::Escape, 0x20..=0x2f) => self.held.push(byte),
            (Place::Escape, byte) => {
                self.held.push(byte);
                self.release(out);
            }
            (Place::Control, 0x40..=0x7e) => {
                self.held.push(byte);
                self.alternate = switches(&self.held[2..]).unwrap_or(self.alternate);
                match asks_by_control(&self.held[2..]) {
                    true => self.forget(),
                    false => self.release(out),
                }
            }
            (Place::Control, byte) => {
                self.held.push(byte);
                if self.held.len() > HELD_BYTES_MAX {
                    self.release(out);
                }
            }
            (Place::String, byte) => self.hold_string(byte, out),
            (Place::Passing(escaped), byte) => {
                out.push(byte);
                self.place = after(byte, escaped, Place::Passing);
            }
            (Place::Swallowing(escaped), byte) => self.place = after(byte, escaped, Place::Swallowing),
        }
    }

    fn hold(&mut self, byte: u8, place: Place) {
        self.held.push(byte);
        self.place = place;
    }

    fn hold_string(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.held.push(byte);
        let is_settings = self.held[1] == b'P';
        let body = &self.held[2..];
        let is_over = byte == BELL || body.ends_with(b"\x1b\\");
        if is_settings && (body == b"$q" || body == b"+q") {
            self.held.clear();
            self.place = Place::Swallowing(false);
        } else if !is_settings && is_over {
            let end = if byte == BELL { 1 } else { 2 };
            match asks_by_string(&body[..body.len() - end]) {
                true => self.forget(),
                false => self.release(out),
            }
        } else if is_over {
            self.release(out);
        } else if (is_settings && body.len() >= 2) || self.held.len() > HELD_BYTES_MAX {
            out.append(&mut self.held);
            self.place = Place::Passing(byte == ESCAPE);
        }
    }

    fn release(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
        self.place = Place::Text;
    }

    fn forget(&mut self) {
        self.held.clear();
        self.place = Place::Text;
    }
}

fn after(byte: u8, escaped: bool, place: fn(bool) -> Place) -> Place {
    if byte == BELL || (escaped && byte == b'\\') { Place::Text } else { place(byte == ESCAPE) }
}

/// To the alternate screen, or back.
fn switches(body: &[u8]) -> Option<bool> {
    let (last, modes) = body.strip_prefix(b"?")?.split_last()?;
    let is_switch = modes.split(|byte| *byte == b';').any(|mode| [&b"1049"[..], b"1047", b"47"].contains(&mode));
    (is_switch && matches!(last, b'h' | b'l')).then_some(*last == b'h')
}

/// All that follows `CSI`.
fn asks_by_control(body: &[u8]) -> bool {
    let Some((last, rest)) = body.split_last() else { return false };
    let marked = rest.first().copied().filter(|byte| matches!(byte, b'<'..=b'?'));
    let between = rest.last().copied().filter(|byte| matches!(byte, 0x20..=0x2f));
    match (last, marked, between) {
        // What it is, how it is, what it is called, and its modes.
        (b'c' | b'n' | b'x', _, None) | (b'q', Some(b'>'), _) | (b'p' | b'w', _, Some(b'$')) => true,
        (b'u', _, Some(b'&')) | (b'y', _, Some(b'*')) | (b'S', Some(b'?'), _) => true,
        // Keys written in other ways.
        (b'u', Some(_), None) | (b'm', Some(b'>' | b'?'), _) => true,
        // The window: its place, size and title.
        (b't', _, None) => true,
        // Reports of sizes and colours, from now on.
        (b'h', Some(b'?'), None) => {
            let modes = rest[1..].split(|byte| *byte == b';');
            modes.into_iter().any(|mode| [&b"2031"[..], b"2048"].contains(&mode))
        }
        _ => false,
    }
}

/// All of an `OSC`.
fn asks_by_string(body: &[u8]) -> bool {
    let mut words = body.split(|byte| *byte == b';');
    let number = words.next().unwrap_or_default();
    let is_about_colours = matches!(number, b"4" | b"5" | b"21" | b"22" | b"50" | b"52")
        || matches!(number, [b'1', b'0'..=b'9'])
        || number == b"60"
        || number == b"61";
    match is_about_colours {
        true => number == b"60" || number == b"61" || words.any(|word| word.ends_with(b"?")),
        false => number == b"1337" && words.next().is_some_and(|word| word.starts_with(b"Re")),
    }
}

#[cfg(test)]
mod tests {
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
            "\x1b[3\x18x",
            "\x1b\x1b[m",
        ] {
            assert_eq!(passed(text.as_bytes()), text.as_bytes(), "{text:?}");
        }
        let long = format!("\x1b]52;c;{}\x07x", "A".repeat(5000));
        assert_eq!(passed(long.as_bytes()), long.as_bytes());
    }
}
