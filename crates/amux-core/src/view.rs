//! What clients are shown, read off the state. An agent's shown state is the first of the contract's list that holds,
//! with its evidence; what nobody observed is `unknown`.

use std::collections::BTreeMap;

use amux_proto::entity::{
    self, Desired, Dialect, ExitWhy, KindName, Message, Phase, Recipient, RequestKind, RunState, Stage,
};
use amux_proto::query;
use amux_proto::view::{self as proto_view, AgentDetail, AgentState, Evidence, Request, Snapshot};
use amux_proto::{AgentId, Epoch, MessageId, Principal, Rejection, Seq, Time};

use crate::sight::Sight;
use crate::state::State;
use crate::{kind, mail, policy, resolve};

pub use amux_proto::view::Agent;

/// Everything a client needs to follow the events after `seq`.
pub fn snapshot(state: &State, epoch: Epoch, seq: Seq) -> Snapshot {
    Snapshot { messages: state.messages.values().cloned().collect(), ..snapshot_without_messages(state, epoch, seq) }
}

/// The same of everything whose size has a bound.
pub fn snapshot_without_messages(state: &State, epoch: Epoch, seq: Seq) -> Snapshot {
    Snapshot {
        epoch,
        seq,
        teams: state.teams.values().cloned().collect(),
        agents: state.agents.values().cloned().collect(),
        workspaces: state.order.workspaces.iter().filter_map(|id| state.workspaces.get(id)).cloned().collect(),
        tabs: state.tabs.values().cloned().collect(),
        panes: state.panes.values().cloned().collect(),
        closed: state.order.closed.iter().filter_map(|id| state.closed.get(id)).cloned().collect(),
        requests: state.requests.values().cloned().collect(),
        messages: Vec::new(),
        settings: state.settings.values().cloned().collect(),
        flows: state.flows.values().cloned().collect(),
        host: state.host.clone(),
        kinds: state.kinds.iter().map(|(name, kind)| (name.0.clone(), kind.clone())).collect(),
        rules: state.rules.clone(),
        may: state.may.clone(),
    }
}

/// Those that run or wait for something, by team and name; with `all` those at rest too.
pub fn agents(state: &State, query: &query::Agents) -> Result<Vec<Agent>, Rejection> {
    let team = query.team.as_deref().map(|team| resolve::team(state, team)).transpose()?.map(|team| team.id);
    let asks = asks(state);
    let mut agents: Vec<Agent> = state
        .agents
        .values()
        .filter(|agent| team.is_none_or(|team| agent.team == team))
        .map(|agent| shown(state, agent, asks.get(&agent.id).copied()))
        // One whose program has left its terminal is not at rest.
        .filter(|agent| query.all || agent.state != AgentState::Offline || agent.pid.is_some())
        .collect();
    agents.sort_by(|a, b| (&a.team, &a.name).cmp(&(&b.team, &b.name)));
    Ok(agents)
}

pub fn agent(state: &State, agent: &entity::Agent) -> Agent {
    let ask = asking(state).filter(|request| request.agent == agent.id).min_by_key(|r| (urgency(r.kind), r.id));
    shown(state, agent, ask)
}

/// One agent with the evidence for its state.
pub fn detail(state: &State, reference: &str) -> Result<AgentDetail, Rejection> {
    let found = resolve::agent(state, reference)?;
    Ok(AgentDetail {
        agent: agent(state, found),
        definition: found.definition.clone(),
        desired: found.desired,
        current_run: found.run.clone(),
        created: found.created,
        session: found.session.clone(),
        requests: undecided(state)
            .filter(|request| request.agent == found.id)
            .map(|request| shown_request(state, request))
            .collect(),
        evidence: evidence(state, found),
        role: found.role.clone(),
        groups: found.groups.clone(),
        mail: found.mail,
        rev: found.rev,
    })
}

/// What waits for a human, oldest first.
pub fn requests(state: &State) -> Vec<Request> {
    requests_where(state, |_| true)
}

pub(crate) fn requests_where(state: &State, is_wanted: impl Fn(&entity::Request) -> bool) -> Vec<Request> {
    let mut requests: Vec<_> = undecided(state).filter(|request| is_wanted(request)).collect();
    requests.sort_by_key(|request| (request.created, request.id));
    requests.into_iter().map(|request| shown_request(state, request)).collect()
}

fn undecided(state: &State) -> impl Iterator<Item = &entity::Request> {
    state.requests.values().filter(|request| request.decided.is_none())
}

/// Those that an agent itself waits for.
fn asking(state: &State) -> impl Iterator<Item = &entity::Request> {
    undecided(state).filter(|request| request.kind != RequestKind::HeldMessage)
}

/// One message, by its id or the end of it; `old`: what was put away that this may mean.
pub fn message(
    state: &State,
    old: &[Message],
    actor: &Principal,
    reference: &str,
    now: Time,
) -> Result<proto_view::Message, Rejection> {
    resolve::message_or_old(state, old, actor, reference).map(|found| crate::message::shown(state, found, now))
}

/// Nobody follows more from one message.
const LED_TO_MAX: usize = 100;

/// What answers a message, and what those sent who were working on it; the oldest. As much of it as may be read.
pub fn led_to(state: &State, actor: &Principal, of: MessageId) -> Vec<MessageId> {
    let sight = Sight::of(state, actor);
    let is_of = |message: &&Message| message.cause == Some(of) || message.reply_to == Some(of);
    let mut led_to: Vec<_> = state
        .messages
        .values()
        .filter(is_of)
        .filter(|message| sight.reads(message))
        .map(|message| (message.created, message.id))
        .collect();
    led_to.sort_unstable();
    led_to.into_iter().map(|(_, id)| id).take(LED_TO_MAX).collect()
}

/// A page of an inbox when nobody says how much.
const INBOX_DEFAULT: u32 = 50;
const INBOX_MAX: u32 = 1_000;

/// What came for somebody, oldest first; the newest where there is more. An agent reads its own.
pub fn inbox(
    state: &State,
    old: &[Message],
    actor: &Principal,
    query: &query::Inbox,
    now: Time,
) -> Result<Vec<proto_view::Mail>, Rejection> {
    let of = whose(state, actor, query)?;
    if let Principal::Agent { agent, .. } = actor
        && of != (Recipient::Agent { agent: *agent })
    {
        return Err(
            policy::denied("own_inbox", actor, "inbox").hint("agentmux inbox; nothing in policy.toml gives another's")
        );
    }
    let is_agent = matches!(actor, Principal::Agent { .. });
    let is_wanted = |message: &&Message| {
        let copy = message.deliveries.iter().find(|copy| copy.to == of);
        // What was stopped is not to be had by another way.
        let copy = copy.filter(|copy| !is_agent || !matches!(copy.stage, Stage::Held { request: Some(_), .. }));
        copy.is_some_and(|copy| match (query.all, query.unread) {
            (true, false) => true,
            (_, true) => crate::message::is_unread(copy),
            (false, false) => !copy.stage.is_settled(),
        })
    };
    let limit = inbox_limit(query);
    let wanted = if query.all {
        let of_today = state.mail_of(of).rev().filter(is_wanted).take(limit);
        newest(old.iter().filter(is_wanted), of_today, limit)
    } else {
        newest(std::iter::empty(), state.open_for(of).filter(is_wanted), limit)
    };
    Ok(wanted.into_iter().filter_map(|message| crate::message::mail_of(state, message, of, now)).collect())
}

/// Whose inbox is asked for.
pub fn whose(state: &State, actor: &Principal, query: &query::Inbox) -> Result<Recipient, Rejection> {
    Ok(match &query.agent {
        Some(reference) if reference != "operator" => Recipient::Agent { agent: resolve::agent(state, reference)?.id },
        Some(_) => Recipient::Operator,
        None => match actor {
            Principal::Agent { agent, .. } => Recipient::Agent { agent: *agent },
            Principal::Operator | Principal::Peer(_) | Principal::System => Recipient::Operator,
        },
    })
}

/// How much of an inbox is wanted at once.
pub fn inbox_limit(query: &query::Inbox) -> usize {
    query.limit.unwrap_or(INBOX_DEFAULT).min(INBOX_MAX) as usize
}

/// The newest of today's and of old mail, oldest first; each once, as it is today.
fn newest<'a>(
    old: impl Iterator<Item = &'a Message>,
    of_today: impl Iterator<Item = &'a Message>,
    limit: usize,
) -> Vec<&'a Message> {
    let by_age: BTreeMap<_, &Message> =
        old.chain(of_today).map(|message| ((message.created, message.id), message)).collect();
    let mut newest: Vec<_> = by_age.into_values().rev().take(limit).collect();
    newest.reverse();
    newest
}

/// What waits for an agent, in the order it will be given.
pub fn queue(state: &State, query: &query::Queue, now: Time) -> Result<Vec<proto_view::Mail>, Rejection> {
    let agent = resolve::agent(state, &query.agent)?.id;
    let to = Recipient::Agent { agent };
    let waiting = state.waiting_for(agent).take(INBOX_MAX as usize);
    Ok(waiting.filter_map(|message| crate::message::mail_of(state, message, to, now)).collect())
}

/// A conversation, oldest first; the newest of a long one. As much of it as may be read.
pub fn thread(
    state: &State,
    old: &[Message],
    actor: &Principal,
    query: &query::Thread,
    now: Time,
) -> Result<Vec<proto_view::Message>, Rejection> {
    // Whatever of a thread is named, the thread is meant: it has the id of its first message.
    let thread = resolve::message_or_old(state, old, actor, &query.thread)?.thread;
    let sight = Sight::of(state, actor);
    let is_read = |message: &&Message| sight.reads(message);
    let newest = newest(old.iter().filter(is_read), state.thread(thread).filter(is_read), THREAD_MAX);
    Ok(newest.into_iter().map(|message| crate::message::shown(state, message, now)).collect())
}

/// Nobody reads more of a conversation at once.
pub const THREAD_MAX: usize = 1_000;

/// The kinds of agents there are, by name.
pub fn kinds(state: &State) -> BTreeMap<&str, &entity::Kind> {
    state.kinds.iter().map(|(name, kind)| (name.0.as_str(), kind)).collect()
}

/// `name@team`; of an agent that is gone, its id.
pub fn label(state: &State, agent: AgentId) -> String {
    let Some(agent) = state.agents.get(&agent) else { return agent.to_string() };
    match state.teams.get(&agent.team) {
        Some(team) => format!("{}@{}", agent.name, team.name),
        None => agent.name.to_string(),
    }
}

/// The word for a stage on every wire.
pub fn stage_name(stage: &Stage) -> &'static str {
    match stage {
        Stage::Accepted => "accepted",
        Stage::Routed { .. } => "routed",
        Stage::Handed => "handed",
        Stage::Shown => "shown",
        Stage::Begun => "begun",
        Stage::Acked => "acked",
        Stage::Answered { .. } => "answered",
        Stage::Held { .. } => "held",
        Stage::Unproven { .. } => "unproven",
        Stage::Expired => "expired",
        Stage::Cancelled { .. } => "cancelled",
        Stage::Refused { .. } => "refused",
        Stage::Failed { .. } => "failed",
    }
}

pub(crate) fn stage_reason(stage: &Stage) -> Option<&str> {
    match stage {
        Stage::Held { reason, .. }
        | Stage::Unproven { reason }
        | Stage::Refused { reason }
        | Stage::Failed { reason, .. } => Some(reason),
        Stage::Accepted
        | Stage::Routed { .. }
        | Stage::Handed
        | Stage::Shown
        | Stage::Begun
        | Stage::Acked
        | Stage::Answered { .. }
        | Stage::Expired
        | Stage::Cancelled { .. } => None,
    }
}

fn shown(state: &State, agent: &entity::Agent, ask: Option<&entity::Request>) -> Agent {
    let count = count(state, agent);
    let (shown, reason) = state_of(agent, &count, ask);
    let activity = agent.run.as_ref().map(|run| &run.activity);
    Agent {
        uid: agent.id,
        name: agent.name.clone(),
        // A fold that stopped between two events of one command may show an agent whose team is gone.
        team: state.teams.get(&agent.team).map_or_else(|| agent.name.clone(), |team| team.name.clone()),
        kind: agent.definition.kind.clone(),
        state: shown,
        reason,
        since: ask
            .filter(|_| matches!(shown, AgentState::NeedsPermission | AgentState::NeedsAnswer | AgentState::NeedsLogin))
            .map_or_else(|| since(agent), |ask| ask.created),
        run: agent.run.as_ref().map(|run| run.no),
        pid: agent.run.as_ref().and_then(entity::Run::process).map(|process| process.pid),
        cwd: activity.and_then(|now| now.cwd.clone()).unwrap_or_else(|| agent.definition.cwd.clone()),
        session_id: agent.session.as_ref().and_then(|session| session.id.clone()),
        unread: count.unread,
        queued: count.queued,
        role: agent.role.clone(),
        model: activity.and_then(|now| now.model.clone()).or_else(|| agent.definition.model.clone()),
        cost_micro_usd: activity.and_then(|now| now.usage.cost_micro_usd),
        context_used: activity.and_then(|now| now.usage.context_used),
        context_size: activity.and_then(|now| now.usage.context_size),
        turn: activity.map_or(0, |now| now.turn),
    }
}

/// Since when it is as it is shown.
fn since(agent: &entity::Agent) -> Time {
    let Some(run) = &agent.run else { return agent.created };
    match run.state {
        RunState::Running { .. } => run.since.max(run.activity.since),
        _ => run.since,
    }
}

fn state_of(agent: &entity::Agent, count: &Count<'_>, ask: Option<&entity::Request>) -> (AgentState, Option<String>) {
    let Some(run) = &agent.run else { return (AgentState::Offline, Some("never started".into())) };
    match &run.state {
        RunState::Exited { exit } => {
            let how = match (exit.code, exit.signal) {
                (Some(code), _) => format!("exit {code}"),
                (None, Some(signal)) => format!("signal {signal}"),
                (None, None) => "ended".into(),
            };
            let activity = &run.activity;
            let kind = agent.definition.kind.0.as_str();
            // Of a pane that was never found it is said why.
            let is_told =
                activity.phase == Phase::Untold || (activity.phase == Phase::Opening && kind == KindName::TMUX);
            let said = Some(&activity.evidence).filter(|said| is_told && !said.is_empty());
            match exit.why {
                ExitWhy::Stopped => (AgentState::Offline, Some("asked to stop".into())),
                ExitWhy::Killed => (AgentState::Offline, Some("killed, it did not stop when asked".into())),
                // The process is our client of tmux: how it ends says nothing about the pane, and that there is none it says.
                ExitWhy::Itself if kind == KindName::TMUX && activity.phase == Phase::Opening => {
                    (AgentState::Failed, said.cloned().or(Some(how)))
                }
                ExitWhy::Itself if kind == KindName::TMUX && exit.code == Some(0) => {
                    (AgentState::Offline, said.cloned().or(Some(how)))
                }
                // A shell ends with the status of its last command, which says nothing about the shell.
                ExitWhy::Itself if exit.code == Some(0) || kind == KindName::SHELL => (AgentState::Offline, Some(how)),
                ExitWhy::Itself => {
                    (AgentState::Failed, Some(said.map_or(how.clone(), |said| format!("{how}: {said}"))))
                }
            }
        }
        RunState::Failed { error } => (AgentState::Failed, Some(error.clone())),
        RunState::Lost { why } => (AgentState::Failed, Some(why.clone())),
        RunState::Stopping { .. } => (AgentState::Unknown, Some("asked to stop".into())),
        RunState::Running { .. } if run.activity.front.is_away() && run.activity.front.is_shell => {
            (AgentState::Offline, mail::away(&run.activity))
        }
        RunState::Starting | RunState::Running { .. } => match ask {
            Some(ask) => {
                let needs = match ask.kind {
                    RequestKind::Permission | RequestKind::HeldMessage => AgentState::NeedsPermission,
                    RequestKind::Question => AgentState::NeedsAnswer,
                    RequestKind::Login => AgentState::NeedsLogin,
                };
                (needs, Some(ask.title.clone()))
            }
            None => doing(run, count),
        },
    }
}

/// What a run that needs nobody does.
fn doing(run: &entity::Run, count: &Count<'_>) -> (AgentState, Option<String>) {
    let activity = &run.activity;
    let told = || Some(activity.evidence.clone()).filter(|evidence| !evidence.is_empty());
    match &activity.phase {
        Phase::LoggedOut { reason } => (AgentState::NeedsLogin, Some(reason.clone())),
        Phase::Silent { reason } => (AgentState::Unknown, Some(reason.clone())),
        Phase::Limited { reason, .. } => (AgentState::RateLimited, Some(reason.clone())),
        Phase::Retrying { attempt, max, until, reason } => {
            let of = max.map_or_else(String::new, |max| format!("/{max}"));
            let until = until.map_or_else(String::new, |until| format!(" at {until}"));
            (AgentState::RateLimited, Some(format!("retry {attempt}{of}{until}: {reason}")))
        }
        Phase::Compacting => (AgentState::Compacting, None),
        Phase::Working { doing } => (AgentState::Working, doing.clone().or_else(told)),
        Phase::Untold | Phase::Opening | Phase::Idle if count.queued > 0 => {
            let is_starting = run.state == RunState::Starting || activity.phase == Phase::Opening;
            let why = count.held.or(is_starting.then_some("it is starting"));
            let why = why.map_or_else(String::new, |why| format!(": {why}"));
            (AgentState::Queued, Some(format!("{} waiting{why}", count.queued)))
        }
        // It has it and does not say that it works: nobody should take it for being at rest.
        Phase::Idle if count.given > 0 => (AgentState::Queued, Some(format!("{} given and not begun", count.given))),
        Phase::Untold | Phase::Opening | Phase::Idle if activity.tasks > 0 => {
            let tasks = match activity.tasks {
                1 => "1 background task".to_owned(),
                tasks => format!("{tasks} background tasks"),
            };
            (AgentState::Background, Some(tasks))
        }
        Phase::Idle => (AgentState::Idle, told()),
        Phase::Opening => (AgentState::Starting, told()),
        Phase::Untold if run.state == RunState::Starting => (AgentState::Starting, None),
        Phase::Untold if activity.front.is_away() => (AgentState::Unknown, mail::away(activity)),
        Phase::Untold => (AgentState::Unknown, told().or(Some("running; nothing tells what it does".into()))),
    }
}

fn evidence(state: &State, agent: &entity::Agent) -> Vec<Evidence> {
    let mut evidence = Vec::new();
    let mut add = |fact: String, source: &str, at: Time| evidence.push(Evidence { fact, source: source.into(), at });
    let since = agent.run.as_ref().map_or(agent.created, |run| run.since);
    match agent.desired {
        Desired::Stopped => add("wanted: stopped".into(), "command", since),
        Desired::Running { run } => add(format!("wanted: run {run}"), "command", since),
    }
    if let Some(run) = &agent.run {
        let (fact, source) = match &run.state {
            RunState::Starting => ("starting".to_owned(), "command"),
            RunState::Running { process } => (format!("process {} runs", process.pid), "process"),
            RunState::Stopping { process: Some(process), .. } => {
                (format!("process {} was asked to stop", process.pid), "command")
            }
            RunState::Stopping { process: None, .. } => ("asked to stop before it had started".to_owned(), "command"),
            RunState::Exited { exit } => {
                let fact = match (exit.code, exit.signal) {
                    (Some(code), _) => format!("exited with {code}"),
                    (None, Some(signal)) => format!("ended by signal {signal}"),
                    (None, None) => "ended".to_owned(),
                };
                (fact, "process")
            }
            RunState::Failed { error } => (format!("could not be started: {error}"), "process"),
            RunState::Lost { why } => (format!("ended unobserved: {why}"), "process"),
        };
        add(format!("run {}: {fact}", run.no), source, run.since);
        let activity = &run.activity;
        if !activity.evidence.is_empty() {
            add(activity.evidence.clone(), "agent", activity.since);
        }
        if let Some(away) = mail::away(activity) {
            add(away, "terminal", activity.since);
        }
        if activity.tasks > 0 {
            add(format!("{} running in the background", activity.tasks), "agent", activity.since);
        }
    }
    for request in undecided(state).filter(|request| request.agent == agent.id) {
        add(format!("waits for a decision: {}", request.title), "request", request.created);
    }
    if agent.removing {
        add("is being removed".into(), "command", since);
    }
    evidence
}

pub(crate) fn shown_request(state: &State, request: &entity::Request) -> Request {
    Request {
        id: request.id,
        kind: request.kind,
        agent: label(state, request.agent),
        run: request.run,
        title: request.title.clone(),
        detail: request.detail.clone(),
        options: request.options.clone(),
        created: request.created,
        expires: request.expires,
        tool: request.tool.clone(),
        subject: request.subject.clone(),
    }
}

/// The most urgent request of each agent.
fn asks(state: &State) -> BTreeMap<AgentId, &entity::Request> {
    let mut asks = BTreeMap::<AgentId, &entity::Request>::new();
    for request in asking(state) {
        let ask = asks.entry(request.agent).or_insert(request);
        if (urgency(request.kind), request.id) < (urgency(ask.kind), ask.id) {
            *ask = request;
        }
    }
    asks
}

/// The order of the contract's states.
fn urgency(kind: RequestKind) -> u8 {
    match kind {
        RequestKind::Permission => 0,
        RequestKind::HeldMessage => 1,
        RequestKind::Question => 2,
        RequestKind::Login => 3,
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Count<'a> {
    unread: u32,
    queued: u32,
    /// Why the first of them waits, where that is known.
    held: Option<&'a str>,
    /// What this run was given and has not begun.
    given: u32,
}

fn count<'a>(state: &'a State, agent: &entity::Agent) -> Count<'a> {
    let to = Recipient::Agent { agent: agent.id };
    let run = agent.run.as_ref().map(|run| run.no);
    let mut count = Count { held: agent.mail.paused.then_some(mail::PAUSED), ..Count::default() };
    for copy in state.open_for(to).filter_map(|message| message.deliveries.iter().find(|copy| copy.to == to)) {
        let (unread, queued, given) = match copy.stage {
            Stage::Accepted | Stage::Routed { .. } | Stage::Held { .. } => (1, 1, 0),
            Stage::Handed => (1, 0, u32::from(copy.run.is_some() && copy.run == run)),
            Stage::Shown
            | Stage::Begun
            | Stage::Unproven { .. }
            | Stage::Acked
            | Stage::Answered { .. }
            | Stage::Expired
            | Stage::Cancelled { .. }
            | Stage::Refused { .. }
            | Stage::Failed { .. } => (0, 0, 0),
        };
        if let Stage::Held { reason, .. } = &copy.stage {
            count.held = count.held.or(Some(reason));
        }
        count.unread += unread;
        count.queued += queued;
        count.given += given;
    }
    if count.given > 0 && !tells_beginnings(state, agent) {
        count.given = 0;
    }
    count
}

/// Whether it will be told that the agent begins with what it was given: by its protocol, or by a shell that is seen to
/// run it. Of another program in a terminal nobody learns that.
fn tells_beginnings(state: &State, agent: &entity::Agent) -> bool {
    let kind = &agent.definition.kind;
    kind.is_shell() || kind::find(state, kind).is_ok_and(|kind| !matches!(kind.dialect, Dialect::Pty | Dialect::Tmux))
}
