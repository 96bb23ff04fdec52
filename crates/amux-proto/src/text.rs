//! Which characters of a text are seen. What others wrote is read by people and by models, and both must read the same:
//! what orders text about, or stands there without being seen, is found here. What becomes of it (a mark, nothing, a
//! refusal) is for whoever shows the text.

/// Each character, and whether it is seen. Line ends and tabs are controls like the others: who wants them, lets them
/// pass.
pub fn each(text: &str) -> impl Iterator<Item = (char, bool)> + '_ {
    let mut chars = text.chars().peekable();
    // What a joiner or a selector would belong to.
    let mut before = None;
    std::iter::from_fn(move || {
        let c = chars.next()?;
        let after = chars.peek().copied();
        let is_seen = match c {
            // Families of people are written with it.
            JOINER => before.is_some_and(is_emoji) && after.is_some_and(is_emoji),
            AS_EMOJI => before.is_some_and(|c| is_emoji(c) || (is_on_a_key(c) && after == Some(KEY))),
            _ => !is_unseen(c),
        };
        before = match c {
            AS_EMOJI if is_seen && after == Some(JOINER) => before,
            _ => Some(c),
        };
        Some((c, is_seen))
    })
}

/// Whether all of it is seen.
pub fn is_seen(text: &str) -> bool {
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    is_plain || each(text).all(|(_, is_seen)| is_seen)
}

const JOINER: char = '\u{200d}';

/// Asks for the coloured form of the character before it.
const AS_EMOJI: char = '\u{fe0f}';

/// Puts the character before it on a key.
const KEY: char = '\u{20e3}';

fn is_on_a_key(c: char) -> bool {
    matches!(c, '0'..='9' | '#' | '*')
}

/// As far as sequences are made of them; letters and digits are none.
fn is_emoji(c: char) -> bool {
    matches!(c,
        '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}' | '\u{2122}' | '\u{2139}' | '\u{2190}'..='\u{21ff}'
        | '\u{2300}'..='\u{23ff}' | '\u{24c2}' | '\u{25a0}'..='\u{27bf}' | '\u{2934}' | '\u{2935}'
        | '\u{2b00}'..='\u{2bff}' | '\u{3030}' | '\u{303d}' | '\u{3297}' | '\u{3299}' | '\u{1f000}'..='\u{1faff}')
}

fn is_unseen(c: char) -> bool {
    c.is_control() || turns(c) || is_empty(c)
}

/// Turns the direction, or ends a line where none is seen to end.
fn turns(c: char) -> bool {
    matches!(c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Takes no room, or room with nothing in it: soft hyphens, joiners, fillers, selectors, tags, marks of other layers.
fn is_empty(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With a dot for what is not seen.
    fn shown(text: &str) -> String {
        each(text).map(|(c, is_seen)| if is_seen { c } else { '·' }).collect()
    }

    #[test]
    fn what_is_not_seen_is_found_and_nothing_else() {
        let cases = [
            // Controls, and what turns text about.
            ("a\u{1b}b\tc\nd\u{9b}", "a·b·c·d·"),
            ("ls -l ~", "ls -l ~"),
            ("a\u{1b}[31mb\u{7f}", "a·[31mb·"),
            ("a\u{202e}b\u{2066}c\u{200f}d\u{61c}e\u{2028}f", "a·b·c·d·e·f"),
            // Each kind of nothing.
            ("a\u{ad}b\u{34f}c\u{115f}d\u{1160}e\u{3164}f\u{2800}g\u{180e}h\u{ffa0}", "a·b·c·d·e·f·g·h·"),
            ("a\u{200b}b\u{200c}c\u{2060}d\u{2064}e\u{feff}f\u{fffa}g\u{206a}h\u{17b4}", "a·b·c·d·e·f·g·h·"),
            ("a\u{e0041}\u{e007f}b\u{e0100}c\u{1d173}", "a··b·c·"),
            // Selectors and joiners, where they make an emoji and where they hide.
            ("x\u{fe0f}y\u{fe0e}z\u{fe00}", "x·y·z·"),
            ("❤\u{fe0f}❤\u{fe0f}\u{fe0f}", "❤\u{fe0f}❤\u{fe0f}·"),
            ("1\u{fe0f}\u{20e3} 1\u{fe0f}", "1\u{fe0f}\u{20e3} 1·"),
            ("👩\u{200d}💻 👩🏽\u{200d}💻 🏳\u{fe0f}\u{200d}🌈", "👩\u{200d}💻 👩🏽\u{200d}💻 🏳\u{fe0f}\u{200d}🌈"),
            ("[\u{200d}message", "[·message"),
            ("👩\u{200d}x \u{200d}💻 👩\u{200d}", "👩·x ·💻 👩·"),
            // Words of all kinds.
            ("日本 é e\u{301} ñ नमस्ते فارسی ／［］ “x” –", "日本 é e\u{301} ñ नमस्ते فارسی ／［］ “x” –"),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected, "{text:?}");
            assert_eq!(is_seen(text), text == expected, "{text:?}");
        }
    }
}
