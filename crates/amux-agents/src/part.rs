//! Parts of an input: a message, which time it is given, and which of its words. An input is one thing to the CLI and may
//! be several messages to people.

use amux_proto::MessageId;

/// What of a message is put into an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    pub message: MessageId,
    /// How often it was given before.
    pub attempt: u32,
    /// How often its words had been changed.
    pub edition: u32,
}

/// `ID`, and from the second time on `ID.N`.
pub fn name(message: MessageId, attempt: u32) -> String {
    if attempt == 0 { message.to_string() } else { format!("{message}.{attempt}") }
}

/// Its name, and behind that `@N` where its words are not the first.
pub fn with_words(part: Part) -> String {
    let Part { message, attempt, edition } = part;
    let name = name(message, attempt);
    if edition == 0 { name } else { format!("{name}@{edition}") }
}

/// Its name, whatever its words are.
pub fn name_of(part: &str) -> &str {
    part.split_once('@').map_or(part, |(name, _)| name)
}

/// `None` for an input that is no message.
pub fn parse(part: &str) -> Option<Part> {
    let (name, edition) = part.split_once('@').unwrap_or((part, "0"));
    let (message, attempt) = name.split_once('.').unwrap_or((name, "0"));
    Some(Part { message: message.parse().ok()?, attempt: attempt.parse().ok()?, edition: edition.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_says_which_message_it_is_which_time_it_is_given_and_which_words() {
        let message: MessageId = "0192aa00-0000-7000-8000-000000000002".parse().unwrap();
        for (attempt, edition, expected) in [
            (0, 0, message.to_string()),
            (2, 0, format!("{message}.2")),
            (0, 3, format!("{message}@3")),
            (2, 3, format!("{message}.2@3")),
        ] {
            let part = Part { message, attempt, edition };
            assert_eq!(with_words(part), expected);
            assert_eq!(parse(&expected), Some(part));
            assert_eq!(name_of(&expected), name(message, attempt));
        }
        assert_eq!(parse("hello"), None);
    }
}
