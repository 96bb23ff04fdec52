//! What agents leave on the disk when they are removed: worktrees. They go by their own rules, which destroy nothing;
//! what cannot go now is found again at the next start.

use std::sync::Arc;
use std::time::Duration;

use amux_proto::AgentId;
use amux_sys::clock;

use crate::{Shared, worktree};

/// What was somebody's work stays in the trash this long.
const TRASH_KEEP: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A commit leaves git at work in the directory for a moment.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_secs(3);

/// Removes the worktrees of agents that are gone.
pub(crate) async fn worktrees(shared: &Arc<Shared>) {
    let root = shared.world.worktrees.clone();
    if !root.is_dir() {
        return;
    }
    for attempt in 1..=ATTEMPTS {
        let shared = Arc::clone(shared);
        let done = tokio::task::spawn_blocking(move || remove_all(&shared)).await.unwrap_or(true);
        if done || attempt == ATTEMPTS {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether nothing is left that may go later.
fn remove_all(shared: &Shared) -> bool {
    let root = &shared.world.worktrees;
    let trash = worktree::trash_dir(root);
    for expired in worktree::expire_trash(&trash, TRASH_KEEP, clock::now_ms()) {
        tracing::info!(entry = %expired.entry.display(), agent = %expired.agent, "A worktree left the trash.");
    }
    let git = worktree::Git::new(&shared.world.base_env);
    let mut done = true;
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        let Some(agent) = entry.file_name().to_str().and_then(|name| name.parse::<AgentId>().ok()) else { continue };
        let is_known = shared.world.engine.published().read(|state, _| state.agents.contains_key(&agent));
        if is_known || !entry.path().is_dir() {
            continue;
        }
        match worktree::remove(&git, &entry.path(), clock::now_ms()) {
            Ok(removed) => {
                tracing::info!(%agent, how = ?removed.how, branch = ?removed.branch, "A worktree was removed.")
            }
            Err(error) => {
                done &= !matches!(error, worktree::Error::InUse { .. });
                tracing::warn!(%agent, %error, hint = error.hint(), "A worktree is kept.");
            }
        }
    }
    done
}
