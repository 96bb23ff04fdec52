//! Text from others on its way to a terminal: data, never instructions.

/// Without control characters, direction overrides and invisible joiners; each becomes a visible mark.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if is_harmless(c) { c } else { '\u{fffd}' }).collect()
}

/// The same, but colours and attributes pass: `ESC [ digits and semicolons m` and nothing else.
pub(crate) fn coloured(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\x1b') {
        out.push_str(&plain(&rest[..at]));
        let tail = &rest[at + 1..];
        let parameters = tail.strip_prefix('[').map(|tail| {
            let length = tail.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b';').count();
            (length, tail.as_bytes().get(length) == Some(&b'm'))
        });
        match parameters {
            Some((length, true)) => {
                out.push_str(&rest[at..at + length + 3]);
                rest = &rest[at + length + 3..];
            }
            _ => {
                out.push('\u{fffd}');
                rest = tail;
            }
        }
    }
    out.push_str(&plain(rest));
    out
}

fn is_harmless(c: char) -> bool {
    !(c.is_control() || is_invisible(c))
}

/// Takes no room, or turns the direction: what is read is not what is there.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_others_reaches_the_terminal_but_text() {
        assert_eq!(plain("a\x1b]52;c;eA==\x07b"), "a\u{fffd}]52;c;eA==\u{fffd}b");
        assert_eq!(plain("x\u{202e}y\u{200b}z\n"), "x\u{fffd}y\u{fffd}z\u{fffd}");
        assert_eq!(plain("日本 é"), "日本 é");
        assert_eq!(coloured("\x1b[0;31mred\x1b[0m"), "\x1b[0;31mred\x1b[0m");
        assert_eq!(coloured("\x1b[2J\x1b[31\x1b"), "\u{fffd}[2J\u{fffd}[31\u{fffd}");
    }
}
