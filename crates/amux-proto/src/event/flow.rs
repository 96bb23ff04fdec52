//! Steps of long pieces of work.

use crate::entity::FlowState;
use crate::ids::FlowId;
use crate::principal::Principal;

events! {
    "flow.started" "FlowStarted" Started { flow: FlowId, cause: Principal, state: FlowState }
    "flow.advanced" "FlowAdvanced" Advanced { flow: FlowId, state: FlowState }
    "flow.finished" "FlowFinished" Finished { flow: FlowId }
}
