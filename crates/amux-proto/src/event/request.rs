//! What became of requests.

use crate::entity::{Answer, Request};
use crate::ids::RequestId;
use crate::principal::Principal;

events! {
    "request.opened" "RequestOpened" Opened { request: Request }
    "request.decided" "RequestDecided" Decided { request: RequestId, answer: Answer, by: Principal }
    "request.withdrawn" "RequestWithdrawn" Withdrawn { request: RequestId, why: String }
}
