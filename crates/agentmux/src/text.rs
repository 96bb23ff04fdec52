//! Text from others on its way to a terminal: data, never instructions.

use amux_proto::text;

/// Without control characters, direction overrides and invisible joiners; each becomes a visible mark.
pub(crate) fn plain(text: &str) -> String {
    text::each(text).map(|(c, is_seen)| if is_seen { c } else { '\u{fffd}' }).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_others_reaches_the_terminal_but_text() {
        assert_eq!(plain("a\x1b]52;c;eA==\x07b"), "a\u{fffd}]52;c;eA==\u{fffd}b");
        assert_eq!(plain("x\u{202e}y\u{200b}z\n"), "x\u{fffd}y\u{fffd}z\u{fffd}");
        assert_eq!(plain("日本 é 👩\u{200d}💻 ❤\u{fe0f}"), "日本 é 👩\u{200d}💻 ❤\u{fe0f}");
        assert_eq!(plain("a\u{2800}b\u{fe0f}"), "a\u{fffd}b\u{fffd}");
        assert_eq!(coloured("\x1b[0;31mred\x1b[0m"), "\x1b[0;31mred\x1b[0m");
        assert_eq!(coloured("\x1b[2J\x1b[31\x1b"), "\u{fffd}[2J\u{fffd}[31\u{fffd}");
    }
}
