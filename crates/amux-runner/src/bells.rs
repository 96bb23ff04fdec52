//! Who reads along while a transcript is written. A bell is rung after an entry is in the file and says how far that
//! goes; whoever hears it reads the file, so that nothing is queued here and no reader holds up a run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use amux_proto::{AgentId, RunNo};
use tokio::sync::watch;

/// Of one server. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Bells(Arc<Mutex<BTreeMap<AgentId, watch::Sender<Told>>>>);

/// How far the newest transcript of an agent goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    pub run: RunNo,
    pub end: u64,
}

impl Bells {
    pub(crate) fn listen(&self, agent: AgentId) -> watch::Receiver<Told> {
        let mut bells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bells.retain(|_, bell| bell.receiver_count() > 0);
        bells.entry(agent).or_default().subscribe()
    }

    pub(crate) fn ring(&self, agent: AgentId, told: Told) {
        let bells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bell) = bells.get(&agent) {
            bell.send_replace(told);
        }
    }
}
