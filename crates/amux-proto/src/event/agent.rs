//! What happened to agents as identities; their processes are runs.

use std::collections::BTreeSet;

use crate::entity::{Definition, MailRules};
use crate::ids::{AgentId, Name, RunNo, TeamId};

events! {
    "agent.created" "AgentCreated" Created { agent: AgentId, name: Name, team: TeamId, definition: Definition }
    "agent.renamed" "AgentRenamed" Renamed { agent: AgentId, name: Name }
    /// What the next run is started from.
    "agent.defined" "AgentDefined" Defined { agent: AgentId, definition: Definition }
    "agent.described" "AgentDescribed" Described { agent: AgentId, role: Option<String>, groups: BTreeSet<Name> }
    "agent.mail_changed" "AgentMailChanged" MailChanged { agent: AgentId, mail: MailRules }
    "agent.drafted" "AgentDrafted" Drafted { agent: AgentId, text: Option<String> }
    /// A new run is wanted. It begins when the one before it has ended.
    "agent.start_wanted" "AgentStartWanted" StartWanted { agent: AgentId, run: RunNo }
    /// The live run is to end.
    "agent.stop_wanted" "AgentStopWanted" StopWanted {
        agent: AgentId, run: RunNo, grace_ms: u64, #[serde(default)] reason: Option<String>,
    }
    /// A wish for a run that had not begun is withdrawn.
    "agent.start_dropped" "AgentStartDropped" StartDropped { agent: AgentId, run: RunNo }
    /// It goes when its run has ended.
    "agent.removing" "AgentRemoving" Removing { agent: AgentId }
    "agent.removed" "AgentRemoved" Removed { agent: AgentId }
}
