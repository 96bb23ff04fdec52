//! The life of one run: absent → starting → running → stopping → exited, or failed, or lost. Every legal step is
//! written out; what is not is [`Illegal`].

use amux_proto::entity::{Exit, Process, RunState};

/// What can happen to a run that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Started { process: Process },
    StopWanted { grace_ms: u64 },
    Exited { exit: Exit },
    Failed { error: String },
    Lost { why: String },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this cannot follow: {step:?} after {state:?}")]
pub struct Illegal {
    pub state: RunState,
    pub step: Step,
}

pub fn next(state: &RunState, step: Step) -> Result<RunState, Illegal> {
    use RunState as S;
    match (state, step) {
        (S::Starting, Step::Started { process }) => Ok(S::Running { process }),
        // The stop overtook the start; the process that came of it is still to be stopped.
        (S::Stopping { process: None, grace_ms }, Step::Started { process }) => {
            Ok(S::Stopping { process: Some(process), grace_ms: *grace_ms })
        }
        (S::Starting, Step::StopWanted { grace_ms }) => Ok(S::Stopping { process: None, grace_ms }),
        (S::Running { process }, Step::StopWanted { grace_ms }) => {
            Ok(S::Stopping { process: Some(*process), grace_ms })
        }
        (S::Stopping { process, .. }, Step::StopWanted { grace_ms }) => Ok(S::Stopping { process: *process, grace_ms }),
        // A process can end before anyone reported its start.
        (S::Starting | S::Running { .. } | S::Stopping { .. }, Step::Exited { exit }) => Ok(S::Exited { exit }),
        (S::Starting | S::Running { .. } | S::Stopping { .. }, Step::Lost { why }) => Ok(S::Lost { why }),
        (S::Starting | S::Stopping { process: None, .. }, Step::Failed { error }) => Ok(S::Failed { error }),
        (state, step) => Err(Illegal { state: state.clone(), step }),
    }
}
