//! What was observed of one process generation.

use crate::entity::{Activity, Exit, Process};
use crate::ids::{AgentId, RunNo};

events! {
    "run.started" "RunStarted" Started { agent: AgentId, run: RunNo, process: Process }
    "run.failed" "RunFailed" Failed { agent: AgentId, run: RunNo, error: String }
    "run.exited" "RunExited" Exited { agent: AgentId, run: RunNo, exit: Exit }
    "run.lost" "RunLost" Lost { agent: AgentId, run: RunNo, why: String }
    /// What it does, as of now.
    "run.active" "RunActive" Active { agent: AgentId, run: RunNo, activity: Box<Activity> }
}
