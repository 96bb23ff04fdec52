//! What became of messages.

use crate::entity::{Message, Recipient, Stage};
use crate::ids::MessageId;

events! {
    "message.sent" "MessageSent" Sent { message: Message }
    "message.staged" "MessageStaged" Staged { message: MessageId, to: Recipient, stage: Stage, evidence: Option<String> }
}
