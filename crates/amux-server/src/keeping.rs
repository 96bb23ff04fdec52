//! How long things are kept: attachments without a message, slices of old history, log files, tapes of runs that nobody
//! touches. Once an hour, one thing after the other.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use amux_engine::archive::{Policy, Roots};
use amux_sys::clock;

use crate::daemon::Daemon;
use crate::logs;

const EVERY: Duration = Duration::from_secs(60 * 60);

pub(crate) async fn keep(daemon: Arc<Daemon>) {
    loop {
        // Before mail that names one can be put away.
        let of = Arc::clone(&daemon);
        let pruned = tokio::task::spawn_blocking(move || {
            of.attachments.prune(|| of.engine.published().named_attachments(), SystemTime::now())
        });
        if let Err(error) = pruned.await.map_err(std::io::Error::other).and_then(|pruned| pruned) {
            tracing::warn!(%error, "Attachments that no message names could not be removed.");
        }
        let keep = daemon.engine.published().keep();
        while daemon.engine.compact(keep).await {
            tokio::task::yield_now().await;
        }
        if let Err(error) = logs::prune(&daemon.layout.logs(), daemon.engine.published().log_keep_days()) {
            tracing::warn!(%error, "Old log files could not be removed.");
        }
        let of = Arc::clone(&daemon);
        if let Err(error) = tokio::task::spawn_blocking(move || archive(&of)).await {
            tracing::error!(%error, "Archiving broke.");
        }
        tokio::time::sleep(EVERY).await;
    }
}

fn archive(daemon: &Daemon) {
    let published = daemon.engine.published();
    let (idle_ms, cap_bytes) = published.archive_policy();
    let policy = Policy { idle_ms, cap_bytes, ..Policy::default() };
    let roots = Roots { tapes: daemon.layout.tapes(), archive: daemon.layout.archived_tapes() };
    let is_live = |agent, run| published.is_live(agent, run);
    let plan = match roots.plan(&is_live, &policy, clock::now_ms()) {
        Ok(plan) => plan,
        Err(error) => return tracing::warn!(%error, "What could be archived cannot be told."),
    };
    for odd in &plan.odd {
        tracing::warn!(path = %odd.path.display(), what = odd.what, "Something among the tapes is left alone.");
    }
    for step in &plan.steps {
        // The end of the server does not wait for an archive.
        let mut go_on = |_| match daemon.asked.borrow().is_some() {
            true => Err(std::io::ErrorKind::Interrupted.into()),
            false => Ok(()),
        };
        match roots.carry_out(step, clock::now_ms(), &mut go_on) {
            Ok(done) => tracing::info!(%step, ?done, "A tape was kept as it should."),
            Err(_) if daemon.asked.borrow().is_some() => return,
            Err(error) => tracing::warn!(%step, %error, "A tape could not be kept as it should; it stays."),
        }
    }
}
