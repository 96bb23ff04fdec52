//! Parts of an input: a message, and which time it is given. An input is one thing to the CLI and may be several
//! messages to people.

use amux_proto::MessageId;

/// `ID`, and from the second time on `ID.N`.
pub fn name(message: MessageId, attempt: u32) -> String {
    if attempt == 0 { message.to_string() } else { format!("{message}.{attempt}") }
}

/// The message, and how often it was given before; `None` for an input that is no message.
pub fn parse(part: &str) -> Option<(MessageId, u32)> {
    let (message, attempt) = part.split_once('.').unwrap_or((part, "0"));
    Some((message.parse().ok()?, attempt.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_says_which_message_it_is() {
        let id: MessageId = "0192aa00-0000-7000-8000-000000000002".parse().unwrap();
        assert_eq!((name(id, 0), name(id, 2)), (id.to_string(), format!("{id}.2")));
        assert_eq!((parse(&name(id, 0)), parse(&name(id, 7)), parse("hello")), (Some((id, 0)), Some((id, 7)), None));
    }
}
