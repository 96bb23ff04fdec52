//! Observations of one run. Only the server itself says these; those of an older run change nothing.

use crate::entity::{Exit, Process};
use crate::ids::{AgentId, RunNo};

commands! {
    "run.started" "RunStartedObserved" Started { agent: AgentId, run: RunNo, process: Process }
    "run.failed" "RunFailedObserved" Failed { agent: AgentId, run: RunNo, error: String }
    "run.exited" "RunExitedObserved" Exited { agent: AgentId, run: RunNo, exit: Exit }
    /// It is gone and nobody saw how.
    "run.lost" "RunLostObserved" Lost { agent: AgentId, run: RunNo, why: String }
}
