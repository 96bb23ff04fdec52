//! Who may say what: one table over every verb there is (commands, acts, questions), refusing what it does not name.
//! Rules that depend on the thing itself (an agent's own request, somebody else's message) are in the decisions.

use amux_proto::{Code, Principal, Rejection};
use serde_json::json;

use crate::state::State;

/// Whether this principal may use this verb at all. Denials name the rule.
pub fn allows(actor: &Principal, verb: &str) -> Result<(), Rejection> {
    let Some(kind) = kind(verb) else {
        return Err(Rejection::new(
            Code::UnknownVerb,
            format!("no such verb: {}", verb.chars().take(64).collect::<String>()),
        ));
    };
    match (actor, kind) {
        (
            Principal::Operator,
            Kind::Read | Kind::SignIn | Kind::Arrange | Kind::Run | Kind::Serve | Kind::Talk | Kind::Decide,
        )
        | (Principal::Agent { .. }, Kind::Read | Kind::Talk)
        | (Principal::System, Kind::Read | Kind::Run | Kind::Serve | Kind::Observe) => Ok(()),
        (Principal::Operator | Principal::Agent { .. }, Kind::Observe) => Err(denied("system_only", actor, verb)),
        (Principal::Agent { .. }, Kind::SignIn | Kind::Arrange | Kind::Run | Kind::Serve | Kind::Decide)
        | (Principal::System, Kind::SignIn | Kind::Arrange | Kind::Talk | Kind::Decide) => {
            Err(denied("operator_only", actor, verb))
        }
        (Principal::Peer(_), _) => Err(denied("no_peers", actor, verb)),
    }
}

/// What a denial looks like, whichever rule it comes from.
pub(crate) fn denied(rule: &str, actor: &Principal, verb: &str) -> Rejection {
    Rejection::new(Code::Denied, format!("{} may not do this: {verb}", who(actor))).details(json!({ "rule": rule }))
}

/// Generations fence: what was started in an older run, or by an agent that is gone, speaks for nobody.
pub(crate) fn is_current(state: &State, actor: &Principal) -> Result<(), Rejection> {
    let Principal::Agent { agent, run } = actor else { return Ok(()) };
    let current = state.agents.get(agent).and_then(|agent| agent.run.as_ref());
    if current.is_some_and(|current| current.no == *run) {
        return Ok(());
    }
    Err(Rejection::new(Code::Denied, format!("this run is not the agent's current one: {agent}:{run}"))
        .details(json!({ "rule": "current_run" })))
}

fn who(actor: &Principal) -> &'static str {
    match actor {
        Principal::Operator => "the operator",
        Principal::Agent { .. } => "an agent",
        Principal::Peer(_) => "another host",
        Principal::System => "the server",
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Changes nothing.
    Read,
    /// Lets somebody in.
    SignIn,
    /// What exists and where it stands.
    Arrange,
    /// Processes: that they run, and what is typed into them.
    Run,
    /// The server itself.
    Serve,
    Talk,
    Decide,
    /// What only the server can have seen.
    Observe,
}

fn kind(verb: &str) -> Option<Kind> {
    Some(match verb {
        "snapshot" | "agents" | "agent" | "teams" | "requests" | "message" | "inbox" | "queue" | "thread"
        | "settings" | "kinds" | "status" | "diag" | "doctor" | "look" | "events" | "processes" | "transcript" => {
            Kind::Read
        }
        "login_code" | "sessions" | "session.revoke" => Kind::SignIn,
        "team.create" | "team.rename" | "team.remove" => Kind::Arrange,
        "agent.create" | "agent.rename" | "agent.remove" | "agent.define" | "agent.describe" | "agent.mail"
        | "agent.draft" => Kind::Arrange,
        "agent.start" | "agent.stop" | "agent.restart" => Kind::Run,
        "agent.keys" | "agent.resize" | "agent.interrupt" | "agent.set" | "agent.take_over" => Kind::Run,
        "run.started" | "run.failed" | "run.exited" | "run.lost" | "run.seen" => Kind::Observe,
        "workspace.create" | "workspace.rename" | "workspace.move" | "workspace.close" | "workspace.restore" => {
            Kind::Arrange
        }
        "tab.create" | "tab.rename" | "tab.move" | "tab.pin" | "tab.activate" | "tab.close" | "tab.tear_off" => {
            Kind::Arrange
        }
        "pane.open" | "pane.move" | "pane.close" | "pane.activate" | "pane.rename" | "pane.show" | "pane.tear_off" => {
            Kind::Arrange
        }
        "layout.resize" | "layout.reopen" => Kind::Arrange,
        "request.decide" => Kind::Decide,
        "policy.add" => Kind::Arrange,
        "message.send" | "message.ack" | "message.seen" | "message.cancel" | "message.retry" => Kind::Talk,
        "message.release" | "message.move" | "message.edit" => Kind::Arrange,
        "message.expire" | "message.file" => Kind::Observe,
        "setting.set" | "setting.unset" => Kind::Arrange,
        "setting.load" | "host.boot" | "kind.load" | "policy.load" => Kind::Observe,
        "server.stop" | "server.restart" | "server.reload" => Kind::Serve,
        _ => return None,
    })
}
