//! Durable text between principals.

use crate::entity::{Attachment, Class, Priority};
use crate::ids::{MessageId, ThreadId};

commands! {
    /// To agents, `team:NAME`, `group:NAME`, `role:WORDS`, `all` or `operator`; of several, shells only where there
    /// is nobody else. The same key of the same sender is the same message.
    "message.send" "MessageSend" Send {
        #[serde(default)] id: Option<MessageId>,
        to: Vec<String>,
        body: String,
        #[serde(default)] reply_to: Option<MessageId>,
        #[serde(default)] thread: Option<ThreadId>,
        #[serde(default)] key: Option<String>,
        #[serde(default)] #[ts(as = "Option<Priority>")] priority: Priority,
        #[serde(default)] #[ts(as = "Option<Class>")] class: Class,
        /// What is not given in this time is not given any more.
        #[serde(default)] ttl_ms: Option<u64>,
        /// Its recipient is told how to answer.
        #[serde(default)] #[ts(as = "Option<bool>")] wants_answer: bool,
        /// Their content is with the server before: `attachment.put`, or `POST /v1/attachments`.
        #[serde(default)] #[ts(as = "Option<Vec<Attachment>>")] attachments: Vec<Attachment>,
    }
    /// A recipient says: seen and taken.
    "message.ack" "MessageAck" Ack { message: String }
    /// A recipient has them before its eyes. What is not for it is passed over.
    "message.seen" "MessageSeen" Seen {
        messages: Vec<String>,
        /// Which words of each; the newest where nothing is said.
        #[serde(default, skip_serializing_if = "Vec::is_empty")] #[ts(as = "Option<Vec<u32>>")] editions: Vec<u32>,
    }
    /// Only what is not handed over yet; all copies, or one.
    "message.cancel" "MessageCancel" Cancel {
        message: String,
        #[serde(default)] to: Option<String>,
    }
    /// Give it again what was not given, or not provably: all copies that ended so, or one.
    "message.retry" "MessageRetry" Retry {
        message: String,
        #[serde(default)] to: Option<String>,
    }
    /// Now, whatever it waits for that a person may overrule. Into a shell only where it is one copy that waits for that.
    "message.release" "MessageRelease" Release {
        message: String,
        #[serde(default)] to: Option<String>,
    }
    /// Another place among what waits for this recipient: before another message, or last.
    "message.move" "MessageMove" Move {
        message: String,
        to: String,
        #[serde(default)] before: Option<String>,
    }
    /// Other words, while nobody was given the old ones.
    "message.edit" "MessageEdit" Edit { message: String, body: String }
    /// Its time is over; only the server says this.
    "message.expire" "MessageExpire" Expire { message: String }
    /// Puts away what is settled and old, so that memory holds what is of today; only the server says this.
    "message.file" "MessageFile" File {}
}

impl Seen {
    /// Of mail as it was listed. A server from before words could be changed lists no editions, and refuses a command that
    /// speaks of them.
    pub fn of(listed: impl IntoIterator<Item = (String, Option<u32>)>) -> Self {
        let (messages, editions): (Vec<_>, Vec<_>) = listed.into_iter().unzip();
        Self { messages, editions: editions.into_iter().collect::<Option<_>>().unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{json, to_value};

    use super::*;

    #[test]
    fn a_server_that_lists_no_editions_hears_of_none() {
        let of = |listed: &[(&str, Option<u32>)]| {
            to_value(Seen::of(listed.iter().map(|(id, edition)| ((*id).to_owned(), *edition)))).unwrap()
        };
        let editions = json!({ "messages": ["a", "b"], "editions": [0, 2] });
        assert_eq!(of(&[("a", Some(0)), ("b", Some(2))]), editions, "what was listed first may be changed since");
        assert_eq!(of(&[("a", None)]), json!({ "messages": ["a"] }));
    }
}
