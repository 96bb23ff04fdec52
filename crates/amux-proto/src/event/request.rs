//! What became of requests.

use crate::entity::{Answer, Request};
use crate::ids::RequestId;
use crate::principal::Principal;

events! {
    "request.opened" "RequestOpened" Opened { request: Request }
    "request.decided" "RequestDecided" Decided {
        request: RequestId,
        answer: Answer,
        by: Principal,
        /// The rule that decided, where it was no person.
        #[serde(default)] rule: Option<String>,
    }
    "request.withdrawn" "RequestWithdrawn" Withdrawn { request: RequestId, why: String }
    /// The decision has reached the agent.
    "request.settled" "RequestSettled" Settled { request: RequestId }
}
