//! Taking over a conversation that another profile or installation drives. An act of its own, never a side effect: the
//! other process ends, with everything it started, before ours may begin.

use std::time::Duration;

use amux_proto::{AgentId, Code, Rejection, env};
use amux_runner::lease;
use amux_sys::process::{self, ProcessId};
use amux_sys::stop;

use crate::daemon::Daemon;

const GRACE: Duration = Duration::from_secs(5);

/// Ends whoever drives this agent or its conversation elsewhere; what they were.
pub(crate) async fn take_over(daemon: &Daemon, agent: AgentId) -> Result<Vec<String>, Rejection> {
    let published = daemon.engine.published();
    let session = published.plan(agent).and_then(|plan| plan.session);
    let mut held = vec![format!("agent-{agent}")];
    held.extend(session.map(|session| format!("session-{session}")));
    let own = agent.to_string();
    let mut ended = Vec::new();
    for what in held {
        let Some(holder) = lease::holder(daemon.runner.leases(), &what) else { continue };
        if holder.is_same(&own, daemon.runner.socket()) {
            continue;
        }
        if process::env_var(holder.pid, env::TAG).is_none_or(|tag| tag != holder.tag.as_str()) {
            // The server itself has it until there is a process.
            let busy = format!("{} of profile {} is just being started", holder.agent, holder.profile);
            return Err(Rejection::new(Code::Conflict, busy).hint("try again"));
        }
        let (name, process) = (
            format!("{} of profile {}", holder.agent, holder.profile),
            ProcessId { pid: holder.pid, start_ticks: holder.start_ticks },
        );
        let stopped = tokio::task::spawn_blocking(move || {
            let tags = [(env::TAG, holder.tag.as_ref()), (env::SOCKET, holder.socket.as_os_str())];
            // A lease may be older than its word about the socket.
            let known = if holder.socket.as_os_str().is_empty() { 1 } else { 2 };
            stop::stop_tree(&process, &tags[..known], GRACE)
        });
        let report = stopped.await.map_err(|error| Rejection::new(Code::Internal, error.to_string()))?;
        if !report.survivors.is_empty() {
            return Err(Rejection::new(Code::Conflict, format!("it could not be ended: {name}")));
        }
        tracing::warn!(%agent, from = %name, "A conversation was taken over.");
        ended.push(name);
    }
    Ok(ended)
}
