//! What waits for a human.

use crate::entity::{Answer, RequestKind, RequestOption};
use crate::ids::{AgentId, RequestId, RunNo};
use crate::time::Time;

commands! {
    /// Observed at an agent; only the server says this.
    "request.open" "RequestOpen" Open {
        id: RequestId,
        agent: AgentId,
        run: RunNo,
        kind: RequestKind,
        title: String,
        #[serde(default)] detail: String,
        #[serde(default)] options: Vec<RequestOption>,
        #[serde(default)] expires: Option<Time>,
    }
    /// No agent decides its own.
    "request.decide" "RequestDecide" Decide { request: String, answer: Answer }
    /// The agent asks no more; only the server says this.
    "request.withdraw" "RequestWithdraw" Withdraw { request: RequestId, why: String }
}
