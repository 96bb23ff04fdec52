//! What happened to conversations: never silently fresh.

use crate::ids::{AgentId, RunNo};
use crate::transcript::SessionOpened;

events! {
    "session.opened" "SessionOpenedEvent" Opened { agent: AgentId, run: RunNo, session: SessionOpened }
    /// It was to be resumed and is gone; it is not taken up again.
    "session.lost" "SessionLost" Lost { agent: AgentId, run: RunNo, session: String, why: String }
    /// The next run goes on with this one.
    "session.chosen" "SessionChosen" Chosen { agent: AgentId, session: String }
}
