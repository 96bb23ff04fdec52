//! What happened to teams.

use crate::ids::{Name, TeamId};

events! {
    "team.created" "TeamCreated" Created { team: TeamId, name: Name }
    "team.renamed" "TeamRenamed" Renamed { team: TeamId, name: Name }
    /// Its agents are being stopped; it goes with the last of them.
    "team.removing" "TeamRemoving" Removing { team: TeamId }
    "team.removed" "TeamRemoved" Removed { team: TeamId }
}
