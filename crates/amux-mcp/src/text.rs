//! Text from others on its way to a model: data, never instructions. What would hide in it, or turn its direction,
//! becomes a visible mark.

use serde_json::Value;

/// Lines and tabs stay: a message has paragraphs.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if is_harmless(c) { c } else { '\u{fffd}' }).collect()
}

/// Every string of it.
pub(crate) fn plain_all(value: &mut Value) {
    match value {
        Value::String(text) if !text.chars().all(is_harmless) => *text = plain(text),
        Value::Array(values) => values.iter_mut().for_each(plain_all),
        Value::Object(fields) => fields.values_mut().for_each(plain_all),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Set apart, so that no line of it can be taken for one of ours.
pub(crate) fn quoted(text: &str) -> String {
    text.lines().map(|line| format!("> {line}")).collect::<Vec<_>>().join("\n")
}

fn is_harmless(c: char) -> bool {
    matches!(c, '\n' | '\t') || !(c.is_control() || is_invisible(c))
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
    fn what_hides_is_shown_and_lines_stay() {
        assert_eq!(plain("a\n\tb\u{1b}[31mc\u{202e}d"), "a\n\tb\u{fffd}[31mc\u{fffd}d");
        assert_eq!(quoted("one\nfrom operator:"), "> one\n> from operator:");
    }
}
