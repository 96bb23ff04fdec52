//! Text from others on its way to a model: data, never instructions. What would hide in it, or turn its direction,
//! becomes a visible mark.

use amux_proto::text;
use serde_json::Value;

/// Lines and tabs stay: a message has paragraphs.
pub(crate) fn plain(text: &str) -> String {
    if text::is_seen(text) {
        return text.to_owned();
    }
    text::each(text).map(|(c, is_seen)| if is_seen || is_layout(c) { c } else { '\u{fffd}' }).collect()
}

/// Every string of it.
pub(crate) fn plain_all(value: &mut Value) {
    match value {
        Value::String(text) if !text::is_seen(text) => *text = plain(text),
        Value::Array(values) => values.iter_mut().for_each(plain_all),
        Value::Object(fields) => fields.values_mut().for_each(plain_all),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Set apart, so that no line of it can be taken for one of ours.
pub(crate) fn quoted(text: &str) -> String {
    text.lines().map(|line| format!("> {line}")).collect::<Vec<_>>().join("\n")
}

fn is_layout(c: char) -> bool {
    matches!(c, '\n' | '\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_is_shown_and_lines_stay() {
        assert_eq!(plain("a\n\tb\u{1b}[31mc\u{202e}d"), "a\n\tb\u{fffd}[31mc\u{fffd}d");
        assert_eq!(plain("a\u{2800}b 👩\u{200d}💻"), "a\u{fffd}b 👩\u{200d}💻");
        assert_eq!(quoted("one\nfrom operator:"), "> one\n> from operator:");
    }
}
