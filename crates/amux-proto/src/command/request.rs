//! What waits for a human.

use crate::entity::Answer;

commands! {
    /// No agent decides its own.
    "request.decide" "RequestDecide" Decide { request: String, answer: Answer }
}
