//! What became of messages.

use crate::entity::{Message, Recipient, Stage};
use crate::ids::MessageId;

events! {
    "message.sent" "MessageSent" Sent { message: Message }
    "message.staged" "MessageStaged" Staged {
        message: MessageId,
        to: Recipient,
        stage: Stage,
        evidence: Option<String>,
        /// The words that were given, where they were changed and somebody told which it was; else the newest are meant.
        #[serde(default, skip_serializing_if = "Option::is_none")] #[ts(optional)] edition: Option<u32>,
    }
    /// A person said: now.
    "message.released" "MessageReleased" Released {
        message: MessageId,
        to: Recipient,
        /// A shell would run it, and whoever said it could see that.
        #[serde(default)] into_shell: bool,
    }
    "message.moved" "MessageMoved" Moved { message: MessageId, to: Recipient, place: i64 }
    "message.edited" "MessageEdited" Edited {
        message: MessageId,
        body: String,
        /// Of these words. Without it nothing is said of those before, and they are not kept.
        #[serde(default, skip_serializing_if = "Option::is_none")] #[ts(optional)] edition: Option<u32>,
    }
    /// They are settled and were put where the old mail is; nothing of them is lost.
    "message.filed" "MessageFiled" Filed { messages: Vec<MessageId> }
    /// Somebody speaks of it again: it was fetched from the old mail, as it was.
    "message.recalled" "MessageRecalled" Recalled { message: Message }
}
