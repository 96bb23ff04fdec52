//! Teams: named groups of agents.

use crate::ids::{Name, TeamId};

commands! {
    /// Make a team.
    "team.create" "TeamCreate" Create {
        #[serde(default)] id: Option<TeamId>,
        name: Name,
    }
    /// Give a team another name; its agents keep their identity.
    "team.rename" "TeamRename" Rename { team: String, name: Name }
    /// Remove a team. Its agents go with it only when that is said; running ones are stopped first.
    "team.remove" "TeamRemove" Remove {
        team: String,
        #[serde(default)] with_agents: bool,
    }
}
