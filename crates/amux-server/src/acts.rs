//! Acts: what happens now or not at all, and leaves no trace in the order.

use amux_engine::ask;
use amux_proto::query::Act;
use amux_proto::{AgentId, Code, Principal, Rejection, Seq};
use amux_runner::{Ask, Order};
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use crate::daemon::{Daemon, End};
use crate::teams;

pub(crate) type Answer = Result<(Box<RawValue>, Seq), Rejection>;

pub(crate) async fn perform(daemon: &Daemon, principal: &Principal, act: &Act) -> Answer {
    let published = daemon.engine.published();
    published.may_act(principal, act)?;
    let body = match act {
        Act::Keys(keys) => {
            let agent = published.resolve_agent(&keys.agent)?;
            let bytes = keys.keys.iter().map(String::len).sum::<usize>();
            ask_live(daemon, agent, |reply| Ask::Keys { keys: keys.keys.clone(), reply }).await??;
            json!({ "agent": published.label(agent), "keys": keys.keys.len(), "bytes": bytes })
        }
        Act::Resize(resize) => {
            let agent = published.resolve_agent(&resize.agent)?;
            let size = amux_proto::entity::Size { rows: resize.rows.clamp(1, 1000), cols: resize.cols.clamp(2, 1000) };
            ask_live(daemon, agent, |reply| Ask::Resize { viewer: None, size, reply }).await??;
            json!({ "agent": published.label(agent), "rows": size.rows, "cols": size.cols })
        }
        Act::Interrupt(interrupt) => {
            let agent = published.resolve_agent(&interrupt.agent)?;
            ask_live(daemon, agent, |reply| Ask::Order { order: Order::Interrupt, reply }).await??;
            json!({ "agent": published.label(agent) })
        }
        Act::Set(set) => {
            let agent = published.resolve_agent(&set.agent)?;
            let order = Order::Set { model: set.model.clone(), mode: set.mode.clone() };
            ask_live(daemon, agent, |reply| Ask::Order { order, reply }).await??;
            json!({ "agent": published.label(agent), "model": set.model, "mode": set.mode })
        }
        Act::TakeOver(take_over) => {
            let agent = published.resolve_agent(&take_over.agent)?;
            let ended = crate::takeover::take_over(daemon, agent).await?;
            json!({ "agent": published.label(agent), "ended": ended })
        }
        Act::AddRule(add) => {
            let path = daemon.layout.policy();
            let rule = add.rule.clone();
            let added = tokio::task::spawn_blocking(move || crate::files::add_rule(&path, &rule)).await;
            added.map_err(|error| Rejection::new(Code::Internal, error.to_string()))??;
            daemon.load_files().await?;
            json!({ "rule": add.rule, "path": daemon.layout.policy() })
        }
        Act::WriteTeam(write) => teams::write(daemon, write.clone()).await?,
        Act::RevokeSession(revoke) => {
            let (keys, id) = (std::sync::Arc::clone(&daemon.keys), revoke.id.clone());
            let revoked = tokio::task::spawn_blocking(move || keys.revoke_by_id(id.as_deref())).await;
            let revoked = revoked.map_err(std::io::Error::other).and_then(|revoked| revoked).map_err(|error| {
                let message = format!("it is signed out, but a restart may bring it back: {error}");
                Rejection::new(Code::Internal, message)
            })?;
            if let (Some(id), 0) = (&revoke.id, revoked) {
                let rejection = Rejection::new(Code::NotFound, format!("no such session: {id}"));
                return Err(rejection.hint("agentmux sessions"));
            }
            json!({ "revoked": revoked })
        }
        Act::Stop(_) => {
            let agents = published.live_runs().len();
            daemon.end(End::Stop);
            json!({ "pid": std::process::id(), "agents": agents, "grace_ms": published.stop_grace_ms() })
        }
        Act::Restart(_) => {
            let agents = published.live_runs().len();
            daemon.end(End::Restart);
            json!({ "pid": std::process::id(), "agents": agents })
        }
        Act::Put(_) => {
            let message = "a file comes in parts over one connection; this request is all there is";
            return Err(Rejection::new(Code::Unsupported, message).hint("POST /v1/attachments"));
        }
        Act::Reload(_) => {
            let changed = daemon.load_settings().await? + daemon.load_files().await?;
            json!({ "changed": changed })
        }
    };
    Ok((ask::raw(&body)?, published.read(|_, head| head)))
}

/// Asks the task of an agent and waits for what it says.
pub(crate) async fn ask_live<T>(
    daemon: &Daemon,
    agent: AgentId,
    ask: impl FnOnce(oneshot::Sender<T>) -> Ask,
) -> Result<T, Rejection> {
    let (reply, answer) = oneshot::channel();
    let label = daemon.engine.published().label(agent);
    let not_running = || {
        Rejection::new(Code::Conflict, format!("the agent is not running: {label}"))
            .hint(format!("agentmux start {label}"))
    };
    daemon.runner.ask(agent, ask(reply)).await.map_err(|_| not_running())?;
    answer.await.map_err(|_| not_running())
}
