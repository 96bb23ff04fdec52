//! Steps of long pieces of work.

use crate::entity::FlowState;
use crate::ids::FlowId;

events! {
    "flow.started" "FlowStarted" Started { flow: FlowId, state: FlowState }
    "flow.advanced" "FlowAdvanced" Advanced { flow: FlowId, state: FlowState }
    "flow.finished" "FlowFinished" Finished { flow: FlowId }
}
