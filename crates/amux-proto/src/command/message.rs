//! Durable text between principals.

use crate::ids::{MessageId, ThreadId};

commands! {
    /// To agents, `team:NAME`, `all` or `operator`. The same key of the same sender is the same message.
    "message.send" "MessageSend" Send {
        #[serde(default)] id: Option<MessageId>,
        to: Vec<String>,
        body: String,
        #[serde(default)] reply_to: Option<MessageId>,
        #[serde(default)] thread: Option<ThreadId>,
        #[serde(default)] key: Option<String>,
    }
    /// A recipient says: seen and taken.
    "message.ack" "MessageAck" Ack { message: String }
    /// Only what is not handed over yet.
    "message.cancel" "MessageCancel" Cancel { message: String }
}
