//! Keys by name, as bytes for a terminal. What is not a name is text.

use amux_proto::{Code, Rejection};

/// More than a person types at once is a paste, and a paste is a message.
const KEYS_BYTES_MAX: usize = 64 * 1024;

/// `application_cursor`: whether the program asked for the other arrow keys.
pub(crate) fn encode(keys: &[String], application_cursor: bool) -> Result<Vec<u8>, Rejection> {
    let mut bytes = Vec::new();
    for key in keys {
        match named(key, application_cursor) {
            Some(named) => bytes.extend_from_slice(&named),
            None => bytes.extend_from_slice(text(key).as_bytes()),
        }
    }
    if bytes.len() > KEYS_BYTES_MAX {
        let bytes = bytes.len();
        return Err(Rejection::new(
            Code::TooLarge,
            format!("too many keys at once: {bytes} bytes, at most {KEYS_BYTES_MAX}"),
        ));
    }
    Ok(bytes)
}

/// Quotes make text of what would be a name: `'Enter'` types five letters.
fn text(key: &str) -> &str {
    let unquoted = key.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    unquoted.or_else(|| key.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'))).unwrap_or(key)
}

fn named(key: &str, application_cursor: bool) -> Option<Vec<u8>> {
    let cursor = |letter: char| format!("\x1b{}{letter}", if application_cursor { 'O' } else { '[' }).into_bytes();
    Some(match key {
        "Enter" | "Return" => b"\r".to_vec(),
        "Escape" | "Esc" => b"\x1b".to_vec(),
        "Tab" => b"\t".to_vec(),
        "BTab" | "S-Tab" => b"\x1b[Z".to_vec(),
        "Space" => b" ".to_vec(),
        "Backspace" | "BSpace" => b"\x7f".to_vec(),
        "Delete" | "DC" => b"\x1b[3~".to_vec(),
        "Insert" | "IC" => b"\x1b[2~".to_vec(),
        "Up" => cursor('A'),
        "Down" => cursor('B'),
        "Right" => cursor('C'),
        "Left" => cursor('D'),
        "Home" => cursor('H'),
        "End" => cursor('F'),
        "PageUp" | "PPage" => b"\x1b[5~".to_vec(),
        "PageDown" | "NPage" => b"\x1b[6~".to_vec(),
        "F1" => b"\x1bOP".to_vec(),
        "F2" => b"\x1bOQ".to_vec(),
        "F3" => b"\x1bOR".to_vec(),
        "F4" => b"\x1bOS".to_vec(),
        "F5" => b"\x1b[15~".to_vec(),
        "F6" => b"\x1b[17~".to_vec(),
        "F7" => b"\x1b[18~".to_vec(),
        "F8" => b"\x1b[19~".to_vec(),
        "F9" => b"\x1b[20~".to_vec(),
        "F10" => b"\x1b[21~".to_vec(),
        "F11" => b"\x1b[23~".to_vec(),
        "F12" => b"\x1b[24~".to_vec(),
        _ => return modified(key, application_cursor),
    })
}

fn modified(key: &str, application_cursor: bool) -> Option<Vec<u8>> {
    if let Some(rest) = key.strip_prefix("C-") {
        let mut chars = rest.chars();
        let (letter, None) = (chars.next()?, chars.next()) else {
            return (rest == "Space").then(|| vec![0]);
        };
        return match letter.to_ascii_uppercase() {
            upper @ '@'..='_' => Some(vec![upper as u8 & 0x1f]),
            '?' => Some(vec![0x7f]),
            _ => None,
        };
    }
    let rest = key.strip_prefix("M-")?;
    let mut bytes = vec![0x1b];
    match named(rest, application_cursor) {
        Some(inner) => bytes.extend(inner),
        None if rest.chars().count() == 1 => bytes.extend(rest.bytes()),
        None => return None,
    }
    Some(bytes)
}

/// Whether somebody pressed any of them. A viewer's terminal also says where the mouse goes, and who looks at it.
pub(crate) fn are_pressed(mut keys: &[u8]) -> bool {
    while let Some(report) = keys.strip_prefix(b"\x1b[") {
        keys = match report {
            [b'I' | b'O', rest @ ..] => rest,
            [b'M', _, _, _, rest @ ..] => rest,
            [b'<', rest @ ..] => match rest.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b';')) {
                Some(end) if matches!(rest[end], b'M' | b'm') => &rest[end + 1..],
                _ => return true,
            },
            _ => return true,
        };
    }
    !keys.is_empty()
}

/// Whether something stands in the composer after these keys: text that nothing sent or dropped. Keys that move about
/// change nothing.
pub(crate) fn leave_draft(mut draft: bool, keys: &[u8]) -> bool {
    let mut rest = keys;
    while let Some((key, after)) = rest.split_first() {
        rest = after;
        match key {
            // Enter, and what interrupts, ends or drops a line.
            b'\r' | 0x03 | 0x04 | 0x15 => draft = false,
            0x1b => match rest.split_first() {
                // With Escape before it Enter is a new line.
                Some((b'\r', after)) => rest = after,
                // The mouse as the oldest programs know it: what it did and where, as three bytes of any value.
                Some((b'[', [b'M', mouse @ ..])) => rest = mouse.get(3..).unwrap_or_default(),
                Some((b'[', after)) => {
                    let end = after.iter().position(|byte| (0x40..=0x7e).contains(byte));
                    rest = end.map_or(&[][..], |end| &after[end + 1..]);
                }
                Some((b'O', after)) => rest = after.get(1..).unwrap_or_default(),
                // A letter with Alt is a command, also one of several bytes.
                Some((0x20..=0x7f | 0x80.., after)) => {
                    let letter = after.iter().take_while(|byte| (0x80..=0xbf).contains(*byte)).count();
                    rest = &after[letter..];
                }
                // Escape by itself, and another key after it.
                Some(_) | None => {}
            },
            0x20..=0x7e | 0x80.. | b'\n' | b'\t' => draft = true,
            _ => {}
        }
    }
    draft
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_stands_until_it_is_sent_or_dropped() {
        let cases: [(&[u8], bool); 20] = [
            (b"hello", true),
            (b"hello\r", false),
            (b"hello\rmore", true),
            (b"hello\x03", false),
            (b"hello\x15", false),
            (b"\x1b[A\x1b[1;5C\x1bOB\x1b[3~", false),
            (b"hello\x1b[D\x1b[D", true),
            (b"hello\x1b\r", true),
            (b"\x1b[200~pasted\x1b[201~", true),
            ("日本".as_bytes(), true),
            (b"\x1bf\x1bb\x1bd\x1b\x7f", false),
            (b"hello\x1bb", true),
            ("\x1bé".as_bytes(), false),
            (b"\x1bfx", true),
            (b"\x1b\x1b[A", false),
            (b"hello\x1b\x03", false),
            (b"\x1b[M !!\x1b[M#!!", false),
            (b"\x1b[M \xc3\xff", false),
            (b"\x1b[M !!x", true),
            (b"\x1b[<0;3;4M\x1b[<0;3;4m", false),
        ];
        for (keys, draft) in cases {
            assert_eq!(leave_draft(false, keys), draft, "{keys:?}");
        }
        assert!(leave_draft(true, b"\x1b[A"));
    }

    #[test]
    fn the_mouse_and_who_looks_are_no_keys() {
        for report in [&b""[..], b"\x1b[I", b"\x1b[O", b"\x1b[M ab", b"\x1b[<35;3;4M\x1b[<0;3;4m\x1b[I"] {
            assert!(!are_pressed(report), "{report:?}");
        }
        for keys in [&b"x"[..], b"\r", b"\x1b", b"\x1b[A", b"\x1b[<0;3;4Mx", b"\x1b[<0;3", b"\x1bOI"] {
            assert!(are_pressed(keys), "{keys:?}");
        }
    }

    #[test]
    fn names_are_keys_and_the_rest_is_text() {
        let cases: &[(&[&str], &[u8])] = &[
            (&["echo hi", "Enter"], b"echo hi\r"),
            (&["'Enter'"], b"Enter"),
            (&["C-c"], b"\x03"),
            (&["C-\\"], b"\x1c"),
            (&["C-Space"], b"\0"),
            (&["M-x"], b"\x1bx"),
            (&["M-Enter"], b"\x1b\r"),
            (&["Up"], b"\x1b[A"),
            (&["C-hello"], b"C-hello"),
            (&["M-hello"], b"M-hello"),
            (&["F12"], b"\x1b[24~"),
        ];
        for (keys, bytes) in cases {
            let keys: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
            assert_eq!(encode(&keys, false).unwrap(), *bytes, "{keys:?}");
        }
        assert_eq!(encode(&["Up".into()], true).unwrap(), b"\x1bOA");
        assert_eq!(encode(&["x".repeat(KEYS_BYTES_MAX + 1)], false).unwrap_err().code, Code::TooLarge);
    }
}
