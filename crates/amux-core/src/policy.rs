//! Who may do what. One table over every verb there is (commands, acts, questions) refuses what it does not name; what an
//! agent may do to agents is then judged by the rights its verb needs ([`crate::right`]), before anything is decided.
//! What is narrowed and not refused is in [`crate::sight`]; rules that depend on the thing itself (somebody else's
//! message) are in the decisions.

use amux_proto::command::{agent, message};
use amux_proto::entity::{Agent, Dialect, RequestKind, Right};
use amux_proto::query::{Act, Query};
use amux_proto::{AgentId, Code, Command, Name, Principal, Rejection};
use serde_json::json;

use crate::bounds::MADE_BY_AGENTS_MAX;
use crate::right::Verdict;
use crate::state::State;
use crate::{kind as kinds, resolve, right, rule, team, view};

/// Whether this principal may order this of the writer.
pub fn may_order(state: &State, actor: &Principal, command: &Command) -> Result<(), Rejection> {
    allows(actor, command.name())?;
    is_current(state, actor)?;
    let Some(me) = agent_of(state, actor) else { return Ok(()) };
    settle(state, actor, me, command.name(), need_of_command(command))?;
    match command {
        Command::Agent(agent::Command::Create(order)) => may_make(state, actor, me, order),
        Command::Agent(agent::Command::Describe(order)) => may_describe(state, actor, me, order),
        _ => Ok(()),
    }
}

/// Whether it may happen now.
pub fn may_act(state: &State, actor: &Principal, act: &Act) -> Result<(), Rejection> {
    allows(actor, act.name())?;
    let Some(me) = agent_of(state, actor) else { return Ok(()) };
    settle(state, actor, me, act.name(), need_of_act(act))
}

/// Whether it may be asked; what is answered is narrowed to what may be seen.
pub fn may_ask(state: &State, actor: &Principal, query: &Query) -> Result<(), Rejection> {
    allows(actor, query.name())?;
    let Some(me) = agent_of(state, actor) else { return Ok(()) };
    settle(state, actor, me, query.name(), need_of_query(query))
}

/// Whether it may do this to this agent.
pub fn may(state: &State, actor: &Principal, right: Right, target: AgentId) -> Result<(), Rejection> {
    let Some(me) = agent_of(state, actor) else { return Ok(()) };
    match state.agents.get(&target) {
        Some(target) => judged(state, me, right, &Whom::Agent(target)),
        None => Err(Rejection::new(Code::NotFound, format!("no such agent: {target}"))),
    }
}

/// What each of these agents may do, by name.
pub fn rights(state: &State, reference: Option<&str>) -> Result<Vec<amux_proto::view::Rights>, Rejection> {
    let mut rights: Vec<_> = match reference {
        Some(reference) => vec![right::show(state, resolve::agent(state, reference)?)],
        None => state.agents.values().map(|agent| right::show(state, agent)).collect(),
    };
    rights.sort_by(|a, b| a.agent.cmp(&b.agent));
    Ok(rights)
}

/// What is wrong with an entry of `policy.toml`.
pub fn check(may: &amux_proto::entity::May) -> Result<(), String> {
    right::check(may)
}

/// What is wrong with a rule for permissions.
pub fn check_rule(rule: &amux_proto::entity::Rule) -> Result<(), String> {
    rule::check(rule).map_err(|refusal| refusal.message)
}

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
        (Principal::Agent { .. }, Kind::Arrange | Kind::Run | Kind::Decide) if can_be_given(verb) => Ok(()),
        (Principal::Operator | Principal::Agent { .. }, Kind::Observe) => {
            Err(denied("system_only", actor, verb).hint("only the server itself has seen what this says"))
        }
        (Principal::Agent { .. }, Kind::SignIn | Kind::Arrange | Kind::Run | Kind::Serve | Kind::Decide)
        | (Principal::System, Kind::SignIn | Kind::Arrange | Kind::Talk | Kind::Decide) => {
            Err(denied("operator_only", actor, verb).hint(OPERATOR_ONLY))
        }
        (Principal::Peer(_), _) => Err(denied("no_peers", actor, verb)),
    }
}

const OPERATOR_ONLY: &str = "only a person may do this; nothing in policy.toml gives it";

/// What a denial looks like, whichever rule it comes from.
pub(crate) fn denied(rule: &str, actor: &Principal, verb: &str) -> Rejection {
    Rejection::new(Code::Denied, format!("{} may not do this: {verb}", who(actor))).details(json!({ "rule": rule }))
}

/// Generations fence: what was started in an older run, or by an agent that is gone, speaks for nobody.
pub(crate) fn is_current(state: &State, actor: &Principal) -> Result<(), Rejection> {
    let Principal::Agent { agent, run } = actor else { return Ok(()) };
    let current = state.agents.get(agent).and_then(|agent| agent.run.as_ref());
    if current.is_some_and(|current| current.no == *run && current.is_live()) {
        return Ok(());
    }
    Err(Rejection::new(Code::Denied, format!("this run is not the agent's current one: {agent}:{run}"))
        .details(json!({ "rule": "current_run" })))
}

fn agent_of<'a>(state: &'a State, actor: &Principal) -> Option<&'a Agent> {
    match actor {
        // One that is gone is not current, and nobody comes so far in its name.
        Principal::Agent { agent, .. } => state.agents.get(agent),
        Principal::Operator | Principal::Peer(_) | Principal::System => None,
    }
}

fn who(actor: &Principal) -> &'static str {
    match actor {
        Principal::Operator => "the operator",
        Principal::Agent { .. } => "an agent",
        Principal::Peer(_) => "another host",
        Principal::System => "the server",
    }
}

/// What an agent needs for a verb.
enum Need<'a> {
    /// Nothing: it is about what is its own, or the answer is narrowed to what it may see.
    Own,
    /// What nothing can give.
    Never,
    All(&'static [Right], Target<'a>),
}

enum Target<'a> {
    Agent(&'a str),
    /// `None`: its own.
    Team(Option<&'a str>),
    Request(&'a str),
    Recipients(&'a [String]),
}

fn need_of_command(command: &Command) -> Need<'_> {
    use Need::{All, Never, Own};
    match command {
        Command::Agent(command) => match command {
            agent::Command::Create(order) => All(&[Right::Create], Target::Team(order.team.as_deref())),
            agent::Command::Describe(order) => All(&[Right::Create], Target::Agent(&order.agent)),
            agent::Command::Mail(order) => All(&[Right::Mail], Target::Agent(&order.agent)),
            agent::Command::Remove(order) if order.stop => {
                All(&[Right::Remove, Right::Stop], Target::Agent(&order.agent))
            }
            agent::Command::Remove(order) => All(&[Right::Remove], Target::Agent(&order.agent)),
            agent::Command::Start(order) => All(&[Right::Start], Target::Agent(&order.agent)),
            agent::Command::Stop(order) => All(&[Right::Stop], Target::Agent(&order.agent)),
            agent::Command::Restart(order) => All(&[Right::Stop, Right::Start], Target::Agent(&order.agent)),
            // Names carry rights, and a definition says what is not asked.
            agent::Command::Rename(_) | agent::Command::Define(_) => Never,
            // A person's words that are not said yet.
            agent::Command::Draft(_) => Never,
        },
        Command::Request(amux_proto::command::request::Command::Decide(order)) => {
            All(&[Right::Decide], Target::Request(&order.request))
        }
        Command::Message(command) => match command {
            message::Command::Send(order) => All(&[Right::Send], Target::Recipients(&order.to)),
            message::Command::Ack(_)
            | message::Command::Seen(_)
            | message::Command::Cancel(_)
            | message::Command::Retry(_) => Own,
            // They overrule what protects a recipient.
            message::Command::Release(_)
            | message::Command::Move(_)
            | message::Command::Edit(_)
            | message::Command::Expire(_)
            | message::Command::File(_) => Never,
        },
        Command::Team(_)
        | Command::Run(_)
        | Command::Workspace(_)
        | Command::Tab(_)
        | Command::Pane(_)
        | Command::Layout(_)
        | Command::Setting(_)
        | Command::Host(_)
        | Command::Kind(_)
        | Command::Policy(_) => Never,
    }
}

fn need_of_act(act: &Act) -> Need<'_> {
    match act {
        Act::Keys(act) => Need::All(&[Right::Keys], Target::Agent(&act.agent)),
        Act::Resize(act) => Need::All(&[Right::Keys], Target::Agent(&act.agent)),
        Act::Interrupt(act) => Need::All(&[Right::Interrupt], Target::Agent(&act.agent)),
        // What it brings is its own until it is sent.
        Act::Put(_) => Need::Own,
        // A permission mode is an answer to everything that would be asked.
        Act::Set(_)
        | Act::TakeOver(_)
        | Act::AddRule(_)
        | Act::WriteTeam(_)
        | Act::RevokeSession(_)
        | Act::Stop(_)
        | Act::Restart(_)
        | Act::Reload(_) => Need::Never,
    }
}

fn need_of_query(query: &Query) -> Need<'_> {
    let look = |agent| Need::All(&[Right::Look], Target::Agent(agent));
    match query {
        Query::Queue(query) => look(&query.agent),
        Query::Look(query) => look(&query.agent),
        Query::Transcript(query) => look(&query.agent),
        Query::Frames(query) => look(&query.agent),
        Query::Processes(query) => look(&query.agent),
        Query::Snapshot(_)
        | Query::Agents(_)
        | Query::Agent(_)
        | Query::Teams(_)
        | Query::Requests(_)
        | Query::Message(_)
        | Query::Attachment(_)
        | Query::Inbox(_)
        | Query::Thread(_)
        | Query::Settings(_)
        | Query::Kinds(_)
        | Query::Rights(_)
        | Query::Status(_)
        | Query::Diag(_)
        | Query::Events(_) => Need::Own,
        // What is in its directory is not said by whoever may look at what it says.
        Query::Commands(_) | Query::Files(_) => Need::Never,
        Query::Doctor(_) | Query::LoginCode(_) | Query::Sessions(_) | Query::TeamFile(_) | Query::Preview(_) => {
            Need::Never
        }
    }
}

fn settle(state: &State, actor: &Principal, me: &Agent, verb: &str, need: Need<'_>) -> Result<(), Rejection> {
    let (rights, target) = match need {
        Need::Own => return Ok(()),
        Need::Never => return Err(denied("operator_only", actor, verb).hint(OPERATOR_ONLY)),
        Need::All(rights, target) => (rights, target),
    };
    if let Target::Request(reference) = target {
        refuse_own_request(state, actor, me, reference)?;
    }
    // Before anything is looked for: what is not there would tell what is. Everybody may write to and look at itself.
    for right in rights.iter().filter(|right| !matches!(right, Right::Send | Right::Look)) {
        judged(state, me, *right, &Whom::Anybody)?;
    }
    let targets = match target {
        Target::Agent(reference) => vec![Whom::Agent(resolve::agent(state, reference)?)],
        Target::Team(reference) => vec![Whom::Team(team_named(state, me, reference)?)],
        Target::Request(reference) => {
            let asks = resolve::request(state, reference)?.agent;
            state.agents.get(&asks).map(Whom::Agent).into_iter().collect()
        }
        // A name that means nobody is refused by the decision, with all the others that do.
        Target::Recipients(to) => {
            let meant = crate::message::recipients(state, actor, to).unwrap_or_default();
            meant.into_keys().filter_map(|to| state.agents.get(&to.agent()?)).map(Whom::Agent).collect()
        }
    };
    for whom in &targets {
        for right in rights {
            judged(state, me, *right, whom)?;
        }
    }
    Ok(())
}

/// No agent decides what it itself asks; and none whether agents that were stopped for talking without a person go on
/// without one.
fn refuse_own_request(state: &State, actor: &Principal, me: &Agent, reference: &str) -> Result<(), Rejection> {
    let Ok(request) = resolve::request(state, reference) else { return Ok(()) };
    if request.agent == me.id {
        return Err(denied("own_request", actor, "request.decide")
            .hint("no agent decides its own requests, whatever policy.toml says; a person does: agentmux requests"));
    }
    if request.kind == RequestKind::HeldMessage {
        return Err(denied("held_message", actor, "request.decide")
            .hint("a loop of agents waits for a person, whatever policy.toml says: agentmux requests"));
    }
    Ok(())
}

fn team_named(state: &State, me: &Agent, reference: Option<&str>) -> Result<Name, Rejection> {
    match reference {
        Some(reference) => Ok(resolve::team(state, reference)?.name.clone()),
        None => Ok(state.teams.get(&me.team).map_or_else(team::default_name, |team| team.name.clone())),
    }
}

enum Whom<'a> {
    Anybody,
    Agent(&'a Agent),
    Team(Name),
}

fn judged(state: &State, me: &Agent, right: Right, whom: &Whom<'_>) -> Result<(), Rejection> {
    let (verdict, target): (Verdict, _) = match whom {
        Whom::Anybody => (right::anybody(state, me, right), "anybody".to_owned()),
        Whom::Agent(target) => (right::on_agent(state, me, right, target), view::label(state, target.id)),
        Whom::Team(team) => (right::in_team(state, me, right, team), format!("team:{team}")),
    };
    let Err(rule) = verdict else { return Ok(()) };
    let (label, word) = (view::label(state, me.id), right.word());
    let to = match whom {
        Whom::Anybody => "…",
        Whom::Agent(_) | Whom::Team(_) => &target,
    };
    let hint = match rule.as_str() {
        "own_keys" => "no agent presses keys for itself, whatever policy.toml says".to_owned(),
        "own_request" => "no agent decides its own requests, whatever policy.toml says".to_owned(),
        _ => {
            format!("a person can put it into policy.toml: [[may]] who = \"{label}\", do = [\"{word}\"], to = \"{to}\"")
        }
    };
    let message = format!("{label} may not do this to {target}: {word}");
    Err(Rejection::new(Code::Denied, message).hint(hint).details(json!({ "rule": rule, "right": right })))
}

/// Whoever is made by an agent may no more than its maker, and asks for what its kind asks for.
fn may_make(state: &State, actor: &Principal, me: &Agent, order: &agent::Create) -> Result<(), Rejection> {
    let is_pane = kinds::find(state, &order.kind).is_ok_and(|kind| kind.dialect == Dialect::Tmux);
    if order.mode.is_some() || order.resume.is_some() || is_pane {
        return Err(denied("create_limits", actor, "agent.create")
            .hint("a person chooses permission modes, conversations to go on with and panes to take over"));
    }
    let team = team_named(state, me, order.team.as_deref())?;
    refuse_beyond(state, actor, me, "agent.create", right::beyond(state, me, &order.name, &team, None))?;
    let there = state.team_named(&team).map_or(0, |team| state.agents_of(team.id).count());
    if there >= MADE_BY_AGENTS_MAX {
        let message = format!("a team in which agents make agents has at most {MADE_BY_AGENTS_MAX}: {team}");
        return Err(Rejection::new(Code::Limit, message).hint("remove some, or let a person make it"));
    }
    Ok(())
}

/// A role may carry rights.
fn may_describe(state: &State, actor: &Principal, me: &Agent, order: &agent::Describe) -> Result<(), Rejection> {
    let target = resolve::agent(state, &order.agent)?;
    let team = team_named(state, target, None)?;
    // What it was before, it may stay.
    let role = order.role.as_deref().filter(|role| target.role.as_deref() != Some(*role));
    match role {
        Some(role) => {
            refuse_beyond(state, actor, me, "agent.describe", right::beyond(state, me, &target.name, &team, Some(role)))
        }
        None => Ok(()),
    }
}

fn refuse_beyond(
    state: &State,
    actor: &Principal,
    me: &Agent,
    verb: &str,
    beyond: Option<String>,
) -> Result<(), Rejection> {
    let Some(rule) = beyond else { return Ok(()) };
    let label = view::label(state, me.id);
    Err(denied(&rule, actor, verb).hint(format!("{rule} speaks of this name, team or role and not of {label}")))
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

/// Verbs an agent may be given by `policy.toml`.
fn can_be_given(verb: &str) -> bool {
    matches!(
        verb,
        "agent.create"
            | "agent.describe"
            | "agent.mail"
            | "agent.remove"
            | "agent.start"
            | "agent.stop"
            | "agent.restart"
            | "agent.keys"
            | "agent.resize"
            | "agent.interrupt"
            | "request.decide"
    )
}

fn kind(verb: &str) -> Option<Kind> {
    Some(match verb {
        "snapshot" | "agents" | "agent" | "teams" | "requests" | "message" | "attachment" | "inbox" | "queue"
        | "thread" | "settings" | "kinds" | "rights" | "status" | "diag" | "look" | "events" | "processes"
        | "transcript" | "frames" => Kind::Read,
        "login_code" | "sessions" | "session.revoke" => Kind::SignIn,
        // The whole store is read for it, which takes a while.
        "doctor" => Kind::Serve,
        // For whoever writes to it.
        "commands" | "files" => Kind::Serve,
        "team.create" | "team.rename" | "team.remove" | "team_file" | "team.write" | "preview" => Kind::Arrange,
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
        "attachment.put" => Kind::Talk,
        "message.release" | "message.move" | "message.edit" => Kind::Arrange,
        "message.expire" | "message.file" => Kind::Observe,
        "setting.set" | "setting.unset" => Kind::Arrange,
        "setting.load" | "host.boot" | "kind.load" | "policy.load" => Kind::Observe,
        "server.stop" | "server.restart" | "server.reload" => Kind::Serve,
        _ => return None,
    })
}
