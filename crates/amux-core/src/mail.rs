//! When an agent is given its mail: now and how much at once, or why not yet and until when. Read off the state each
//! time anybody asks, so that no reason can be older than the facts it rests on.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use amux_proto::command::message;
use amux_proto::entity::{
    Activity, Agent, Class, Delivery, Dialect, Message, Phase, Priority, Recipient, RequestKind, Right, Run, RunState,
    Stage, WhileWorking,
};
use amux_proto::{AgentId, Code, Command, MessageId, Principal, Time};

use crate::state::{Sender, State};
use crate::{kind, resolve, right};

/// Why something waits, and when that is over by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    pub reason: String,
    pub until: Option<Time>,
}

/// What an agent is given now, in one piece.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    /// In their order; each with how often it was given before.
    pub batch: Vec<(MessageId, u32)>,
    /// When to ask again if nothing changes before.
    pub next: Option<Time>,
}

/// One turn of a model is not to be about more things than this.
const BATCH_MESSAGES_MAX: usize = 50;
const BATCH_BYTES_MAX: usize = 64 * 1024;

/// As many of the messages that wait are looked at; who has more has enough to do with these.
const LOOKED_AT_MAX: usize = 500;

/// And as many if all of those are held: behind the heartbeats of a day there may be a request.
const SEARCHED_MAX: usize = 20_000;

/// What is worth knowing is collected for so long.
const INFO_MS: i64 = 30_000;

/// Boundaries that do not come are not waited for longer.
const TURN_END_MS: i64 = 30 * 60_000;
const COMPACTING_MS: i64 = 10 * 60_000;

const HOUR_MS: i64 = 60 * 60_000;

/// One sender may wake one recipient so often in so long; what comes beyond that is collected.
const WAKES_BY_ONE: usize = 10;
const WAKES_BY_ONE_MS: i64 = 10 * 60_000;

/// A limit of which nobody knows the end is tried again after so long.
const LIMIT_MS: i64 = 10 * 60_000;

/// A second late rather than into the limit again.
const AFTER_LIMIT_MS: i64 = 1_000;

/// What `agent` is to be given now. `is_given`: on its way already, though the log does not know it yet.
pub fn due(state: &State, agent: AgentId, now: Time, is_given: impl Fn(MessageId, u32) -> bool) -> Due {
    let Some(agent) = state.agents.get(&agent) else { return Due::default() };
    let to = Recipient::Agent { agent: agent.id };
    let copy_of = |message: &'_ Message| message.deliveries.iter().position(|delivery| delivery.to == to);
    let is_released = |message: &Message| copy_of(message).is_some_and(|at| message.deliveries[at].released);
    let (is_idle, gate) = match gate(state, agent, now) {
        Ok(activity) => (!activity.turn_open, None),
        Err(gate) => (true, Some(gate)),
    };
    let mut next = gate.as_ref().and_then(|gate| gate.hold.until);
    let may_be_overruled = gate.as_ref().is_none_or(|gate| gate.may_be_overruled);
    let is_open = gate.is_none();
    // While it takes nothing there is only what a person let through.
    if !may_be_overruled || !(is_open || state.waiting_for(agent.id).take(LOOKED_AT_MAX).any(is_released)) {
        return Due { batch: Vec::new(), next };
    }
    // Looked up once for all of them.
    let mut wakes = None;
    let mut waiting = Vec::new();
    let mut is_found = false;
    for (at, message) in state.waiting_for(agent.id).enumerate().take(SEARCHED_MAX) {
        // What holds up those in front need not hold up who stands behind them.
        if at >= LOOKED_AT_MAX && (is_found || !is_open) {
            break;
        }
        let Some(copy) = copy_of(message).map(|at| &message.deliveries[at]) else { continue };
        let attempt = attempts(copy);
        if is_given(message.id, attempt)
            || is_stopped(copy)
            || is_over(message, now)
            || kept_from_a_shell(state, agent, message, copy).is_some()
        {
            continue;
        }
        let is_held = if is_open || copy.released {
            let hold = hold_of_one(state, agent, message, copy, now, &mut wakes);
            if let Some(until) = hold.as_ref().and_then(|hold| hold.until) {
                next = Some(next.map_or(until, |next| next.min(until)));
            }
            hold.is_some()
        } else {
            true
        };
        is_found |= !is_held;
        waiting.push((message, attempt, is_held));
    }
    // The order of one sender's messages is kept, so what one of them may do now, those before it may too.
    let Some(first) = waiting.iter().find(|(_, _, is_held)| !is_held).map(|(message, _, _)| *message) else {
        return Due { batch: Vec::new(), next };
    };
    let sender = Sender::from(&first.from);
    let last_before = first.id;
    let before = waiting.iter().position(|(message, _, _)| Sender::from(&message.from) == sender);
    let first = before.map_or(first, |at| waiting[at].0);
    if !is_of_agent(first) {
        let attempt =
            waiting.iter().find(|(message, _, _)| message.id == first.id).map_or(0, |(_, attempt, _)| *attempt);
        return Due { batch: vec![(first.id, attempt)], next };
    }
    // What agents say is collected: whoever is woken hears everything, and whoever works hears what may be heard now.
    let mut batch = Vec::new();
    let mut bytes = 0;
    let mut passed_over = BTreeSet::new();
    let mut is_before = true;
    for (message, attempt, is_held) in &waiting {
        let from = Sender::from(&message.from);
        let goes_along = is_open && is_idle;
        let may_go = is_of_agent(message) && (!is_held || goes_along || (is_before && from == sender));
        is_before &= message.id != last_before;
        if !may_go || passed_over.contains(&from) {
            passed_over.insert(from);
            continue;
        }
        bytes += message.body.len();
        if !batch.is_empty() && (bytes > BATCH_BYTES_MAX || batch.len() == BATCH_MESSAGES_MAX) {
            break;
        }
        batch.push((message.id, *attempt));
    }
    Due { batch, next }
}

/// Why a copy that waits is not given now; `None` when it is.
pub fn hold(state: &State, message: &Message, copy: &Delivery, now: Time) -> Option<Hold> {
    let Recipient::Agent { agent } = copy.to else { return None };
    if let Stage::Held { reason, request: Some(_) } = &copy.stage {
        return Some(Hold { reason: reason.clone(), until: None });
    }
    let agent = state.agents.get(&agent)?;
    match gate(state, agent, now) {
        Err(gate) if !(copy.released && gate.may_be_overruled) => Some(gate.hold),
        Err(_) | Ok(_) => match kept_from_a_shell(state, agent, message, copy) {
            Some(reason) => Some(Hold { reason: reason.to_owned(), until: None }),
            None => hold_of_one(state, agent, message, copy, now, &mut None),
        },
    }
}

/// More than this is not a reminder.
const OWED_MAX: usize = 10;

/// What the run of an agent was asked and has begun with, and nobody has an answer to. Oldest first.
pub fn owed(state: &State, agent: AgentId) -> Vec<MessageId> {
    let to = Recipient::Agent { agent };
    let run = state.agents.get(&agent).and_then(|agent| Some(agent.run.as_ref()?.no));
    let is_owed = |message: &&Message| {
        let Some(copy) = message.deliveries.iter().find(|copy| copy.to == to && copy.run == run) else { return false };
        let is_asked = is_of_agent(message) && message.class == Class::Request && message.reply_to.is_none();
        match copy.stage {
            Stage::Begun => message.wants_answer || is_asked,
            // The turn is over, and whoever waits for an answer still waits.
            Stage::Acked => message.wants_answer,
            _ => false,
        }
    };
    let newest = state.mail_of(to).rev().take(LOOKED_AT_MAX).filter(is_owed).take(OWED_MAX);
    let mut owed: Vec<MessageId> = newest.map(|message| message.id).collect();
    owed.reverse();
    owed
}

/// How often a run was to be given it: each time has a name of its own on the way there.
pub fn attempts(copy: &Delivery) -> u32 {
    let routed = copy.history.iter().filter(|passed| matches!(passed.stage, Stage::Routed { .. }));
    u32::try_from(routed.count()).unwrap_or(u32::MAX)
}

/// Old mail that a command speaks of: to be fetched before it is decided, as [`crate::Ctx::recalled`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Absent<'a> {
    /// Ids, or ends of ids.
    pub references: Vec<Cow<'a, str>>,
    /// A key, and whose.
    pub key: Option<(String, &'a str)>,
}

/// What of the mail a command speaks of is not in the state.
pub fn absent<'a>(state: &State, actor: &Principal, command: &'a Command) -> Absent<'a> {
    let Command::Message(command) = command else { return Absent::default() };
    let mut absent = Absent::default();
    let mut refer = |reference: Cow<'a, str>| {
        if resolve::message(state, actor, &reference).is_err_and(|why| why.code == Code::NotFound) {
            absent.references.push(reference);
        }
    };
    match command {
        message::Command::Send(send) => {
            let named = [send.id, send.reply_to].into_iter().flatten();
            named.for_each(|id| refer(Cow::Owned(id.to_string())));
            let key = send.key.as_deref().filter(|key| state.message_keyed(actor, key).is_none());
            absent.key = key.map(|key| (sender(actor), key));
        }
        message::Command::Seen(seen) => seen.messages.iter().for_each(|message| refer(Cow::Borrowed(message))),
        message::Command::Ack(message::Ack { message })
        | message::Command::Cancel(message::Cancel { message, .. })
        | message::Command::Retry(message::Retry { message, .. })
        | message::Command::Release(message::Release { message, .. })
        | message::Command::Move(message::Move { message, .. })
        | message::Command::Edit(message::Edit { message, .. })
        | message::Command::Expire(message::Expire { message }) => refer(Cow::Borrowed(message)),
        message::Command::File(message::File {}) => {}
    }
    absent
}

/// Whose keys are whose: a sender stays the same through its runs.
pub fn sender(principal: &Principal) -> String {
    Sender::from(principal).to_string()
}

/// Whether there is so much settled mail that some of it should be put away now.
pub fn is_crowded(state: &State) -> bool {
    crate::message::is_crowded(state)
}

struct Gate {
    hold: Hold,
    /// By a person who says: now.
    may_be_overruled: bool,
}

/// Whether the agent takes anything at all.
fn gate<'a>(state: &State, agent: &'a Agent, now: Time) -> Result<&'a Activity, Gate> {
    let closed = |reason: String, until: Option<Time>, may_be_overruled: bool| {
        Err(Gate { hold: Hold { reason, until }, may_be_overruled })
    };
    let Some(run) = agent.run.as_ref().filter(|run| matches!(run.state, RunState::Starting | RunState::Running { .. }))
    else {
        return closed(NOT_RUNNING.to_owned(), None, false);
    };
    if run.state == RunState::Starting {
        return closed("it is starting".to_owned(), None, false);
    }
    // A shell would run it, and nobody overrules that. What other program has the keyboard a person knows better.
    if let Some(away) = away(&run.activity) {
        return closed(away, None, !run.activity.front.is_shell);
    }
    if agent.mail.paused {
        return closed(PAUSED.to_owned(), None, true);
    }
    if let Some(title) = asks(state, agent, run) {
        return closed(format!("it waits for a decision: {title}"), None, false);
    }
    let activity = &run.activity;
    if activity.draft {
        return closed("a person is typing to it".to_owned(), None, true);
    }
    match &activity.phase {
        Phase::Limited { reason, until: Some(until) } if until.0.saturating_add(AFTER_LIMIT_MS) > now.0 => {
            let after = Time(until.0.saturating_add(AFTER_LIMIT_MS));
            closed(format!("a limit is reached: {reason}"), Some(after), true)
        }
        Phase::Silent { reason } => closed(format!("{reason}; what is on its way may still arrive"), None, false),
        Phase::Limited { .. }
        | Phase::LoggedOut { .. }
        | Phase::Untold
        | Phase::Opening
        | Phase::Idle
        | Phase::Working { .. }
        | Phase::Retrying { .. }
        | Phase::Compacting => Ok(activity),
    }
}

pub(crate) const NOT_RUNNING: &str = "the agent is not running";
pub(crate) const PAUSED: &str = "its mail is paused";

/// Who is where the agent is meant to be, in words; `None` while it is there as far as anybody can see.
pub(crate) fn away(activity: &Activity) -> Option<String> {
    let front = &activity.front;
    let (program, instead) = front.program.as_ref().zip(front.instead.as_ref())?;
    Some(match front.is_shell {
        true => format!("{program} does not run in its terminal: {instead} is at its prompt"),
        false => format!("{program} is not in front in its terminal: {instead} has the keyboard"),
    })
}

/// A shell runs what it is sent, also one in a pane that somebody brought. What is said to agents is not given to it, and
/// of agents only those may write to it that may press its keys. A person who sees that may let one message through.
fn kept_from_a_shell(state: &State, agent: &Agent, message: &Message, copy: &Delivery) -> Option<&'static str> {
    if copy.into_shell || !is_shell(agent) {
        None
    } else if copy.among_agents {
        Some("a shell has its keyboard and runs what it is sent; this is said to agents")
    } else if is_of_agent(message) && !right::reaches(state, &message.from, Right::Keys, agent.id) {
        Some("a shell has its keyboard and runs what it is sent; its sender may not press its keys")
    } else {
        None
    }
}

/// Whether that is what people are told it waits for.
pub(crate) fn is_held_from_a_shell(state: &State, message: &Message, copy: &Delivery, now: Time) -> bool {
    let agent = copy.to.agent().and_then(|agent| state.agents.get(&agent));
    let kept = agent.and_then(|agent| kept_from_a_shell(state, agent, message, copy));
    kept.is_some_and(|kept| hold(state, message, copy, now).is_some_and(|hold| hold.reason == kept))
}

/// Whether what it is sent goes to a shell: by its kind, or because its terminal is at a prompt. A shell that its own
/// program has left it to is another matter: there nothing is let through.
fn is_shell(agent: &Agent) -> bool {
    let is_at_prompt = |run: &Run| {
        let front = &run.activity.front;
        run.is_live() && front.is_shell && !front.is_away()
    };
    agent.definition.kind.is_shell() || agent.run.as_ref().is_some_and(is_at_prompt)
}

/// Why a copy that nothing holds is not given at once. What is due is given in its order, as fast as it is taken.
pub fn queued(state: &State, message: &Message, copy: &Delivery, now: Time) -> Option<String> {
    let to = copy.to;
    let Recipient::Agent { agent } = to else { return None };
    let agent = state.agents.get(&agent)?;
    let activity = &agent.run.as_ref()?.activity;
    // What is held holds up nobody else.
    let is_next = |other: &&Message| {
        let copy = other.deliveries.iter().find(|copy| copy.to == to);
        copy.is_some_and(|copy| !is_over(other, now) && hold(state, other, copy, now).is_none())
    };
    let first = state.waiting_for(agent.id).take(LOOKED_AT_MAX).find(is_next);
    if first.is_some_and(|first| first.id != message.id) {
        return Some("others are given before it".to_owned());
    }
    Some(match &activity.phase {
        Phase::Opening => "its CLI has not said yet that it is ready".to_owned(),
        Phase::Working { doing: Some(doing) } if agent.definition.kind.is_shell() => {
            format!("its shell runs a command: {doing}")
        }
        _ if hears_between_turns(state, agent) => "it is given as soon as its CLI takes one more input".to_owned(),
        _ => "it is being given".to_owned(),
    })
}

fn asks<'a>(state: &'a State, agent: &Agent, run: &Run) -> Option<&'a str> {
    let own = state.requests.values().filter(|request| request.agent == agent.id && request.run == run.no);
    let open = own.filter(|request| request.decided.is_none());
    let mut of_agent = open.filter(|request| match request.kind {
        RequestKind::Permission | RequestKind::Question | RequestKind::Login => true,
        RequestKind::HeldMessage => false,
    });
    of_agent.next().map(|request| request.title.as_str())
}

/// Why this one waits while its agent takes others.
fn hold_of_one(
    state: &State,
    agent: &Agent,
    message: &Message,
    copy: &Delivery,
    now: Time,
    wakes: &mut Option<Wakes>,
) -> Option<Hold> {
    if copy.released {
        return None;
    }
    let mut budget = || {
        let wakes = wakes.get_or_insert_with(|| Wakes::of(state, agent, now));
        if is_of_agent(message) { budget(agent, wakes, &Sender::from(&message.from), now) } else { None }
    };
    // It overtakes everything but what protects its recipient from those who send.
    if message.priority == Priority::Urgent {
        return budget();
    }
    let activity = &agent.run.as_ref()?.activity;
    let after = |from: Time, ms: i64| Time(from.0.saturating_add(ms));
    let until =
        |reason: &str, until: Time| (until > now).then(|| Hold { reason: reason.to_owned(), until: Some(until) });
    // What a person says may be the try that shows that it goes on.
    match &activity.phase {
        Phase::LoggedOut { reason } if is_of_agent(message) => {
            return Some(Hold { reason: format!("it is not logged in: {reason}"), until: None });
        }
        Phase::Limited { reason, until: None } if is_of_agent(message) => {
            return until(&format!("a limit is reached: {reason}"), after(activity.since, LIMIT_MS));
        }
        _ => {}
    }
    if activity.phase == Phase::Compacting {
        return until("it compacts its conversation", after(activity.since, COMPACTING_MS));
    }
    if message.class == Class::State {
        return Some(Hold { reason: "it wakes nobody and goes along with the next".to_owned(), until: None });
    }
    if activity.turn_open {
        if hears_between_turns(state, agent) {
            return Some(Hold { reason: "it is told when its turn is over".to_owned(), until: None });
        }
        if message.priority == Priority::Low || message.class == Class::Info {
            return until("it waits for the end of the turn", after(message.created, TURN_END_MS));
        }
        let boundary_ms = i64::try_from(agent.mail.boundary_ms).unwrap_or(i64::MAX);
        return match agent.mail.while_working {
            WhileWorking::Now => None,
            WhileWorking::Boundary => until("it waits for a boundary of the turn", after(activity.since, boundary_ms)),
            WhileWorking::TurnEnd => until("it waits for the end of the turn", after(message.created, TURN_END_MS)),
        };
    }
    let collected = after(message.created, INFO_MS);
    match message.class {
        Class::Info if collected > now => until("it is collected with others", collected),
        Class::Info | Class::Request | Class::State => budget(),
    }
}

/// Whether its CLI takes one input a turn. What it were given before would be its own queue, out of our hands.
fn hears_between_turns(state: &State, agent: &Agent) -> bool {
    match kind::find(state, &agent.definition.kind).map(|kind| kind.dialect) {
        Ok(Dialect::Acp | Dialect::Codex | Dialect::CodexExec | Dialect::ClaudeOnce | Dialect::GeminiOnce) => true,
        Ok(Dialect::Claude | Dialect::Pty | Dialect::Tmux) | Err(_) => false,
    }
}

/// When agents woke an agent, as far back as anybody may hold that against them.
struct Wakes {
    all: BTreeSet<Time>,
    by: BTreeMap<Sender, BTreeSet<Time>>,
}

impl Wakes {
    fn of(state: &State, agent: &Agent, now: Time) -> Self {
        let to = Recipient::Agent { agent: agent.id };
        let since = now.0.saturating_sub(HOUR_MS);
        let (mut all, mut by) = (BTreeSet::new(), BTreeMap::<_, BTreeSet<_>>::new());
        let of_the_hour = state.given_to(agent.id).take_while(|(at, _)| at.0 > since).map(|(_, known)| known);
        for known in of_the_hour.filter(|known| is_of_agent(known)).take(LOOKED_AT_MAX) {
            let Some(copy) = known.deliveries.iter().find(|copy| copy.to == to) else { continue };
            let given = copy.history.iter().filter(|passed| matches!(passed.stage, Stage::Routed { .. }));
            for at in given.map(|passed| passed.at).filter(|at| at.0 > since) {
                // What was given in one piece was one wake.
                all.insert(at);
                by.entry(Sender::from(&known.from)).or_default().insert(at);
            }
        }
        Self { all, by }
    }
}

/// Agents may wake an agent only so often.
fn budget(agent: &Agent, wakes: &Wakes, sender: &Sender, now: Time) -> Option<Hold> {
    let by_one = wakes.by.get(sender).into_iter().flatten().copied();
    let recent: BTreeSet<Time> = by_one.filter(|at| at.0 > now.0.saturating_sub(WAKES_BY_ONE_MS)).collect();
    let oldest_of = |wakes: &BTreeSet<Time>, max: usize| wakes.iter().rev().nth(max.saturating_sub(1)).copied();
    let hour = usize::try_from(agent.mail.wakes_per_hour).unwrap_or(usize::MAX);
    let hold = |reason: String, until: i64| Some(Hold { reason, until: Some(Time(until)) });
    if hour == 0 {
        return Some(Hold { reason: "other agents may not wake it".to_owned(), until: None });
    }
    if let Some(oldest) = oldest_of(&wakes.all, hour) {
        return hold(format!("agents woke it {hour} times in an hour"), oldest.0.saturating_add(HOUR_MS));
    }
    // Who lets many wake it lets one do so as often as its share of the hour.
    let by_one = WAKES_BY_ONE.max(hour / 6);
    if let Some(oldest) = oldest_of(&recent, by_one) {
        let reason = format!("its sender woke it {by_one} times in ten minutes");
        return hold(reason, oldest.0.saturating_add(WAKES_BY_ONE_MS));
    }
    None
}

/// A person has to decide about it.
fn is_stopped(copy: &Delivery) -> bool {
    matches!(copy.stage, Stage::Held { request: Some(_), .. })
}

pub(crate) fn is_over(message: &Message, now: Time) -> bool {
    message.expires.is_some_and(|expires| expires <= now)
}

pub(crate) fn is_of_agent(message: &Message) -> bool {
    matches!(message.from, Principal::Agent { .. })
}

/// So many answers to answers in so long, without a person, are a loop.
const LOOP_STEPS: usize = 6;
const LOOP_MS: i64 = 5 * 60_000;

/// What the sender works on: the newest message its current run was given.
pub(crate) fn cause(state: &State, sender: &Principal) -> Option<MessageId> {
    let Principal::Agent { agent, run } = sender else { return None };
    let to = Recipient::Agent { agent: *agent };
    let is_of_run = |message: &Message| {
        let copy = message.deliveries.iter().find(|delivery| delivery.to == to);
        copy.is_some_and(|copy| copy.run == Some(*run) && !copy.stage.is_waiting())
    };
    let mut given = state.given_to(*agent).take(LOOKED_AT_MAX).filter(|(_, message)| is_of_run(message));
    given.next().map(|(_, message)| message.id)
}

/// Whether a message with this cause would go on with a conversation that only agents keep up and that comes back to
/// its sender again and again.
pub(crate) fn is_loop(state: &State, sender: &Principal, cause: Option<MessageId>, now: Time) -> bool {
    let since = Time(now.0.saturating_sub(LOOP_MS));
    let mut cause = cause;
    let (mut steps, mut own) = (0, 0);
    while let Some(message) = cause.and_then(|id| state.messages.get(&id)) {
        let was_let_through = message.deliveries.iter().any(|copy| copy.released);
        if !is_of_agent(message) || message.created < since || was_let_through {
            return false;
        }
        steps += 1;
        own += usize::from(Sender::from(&message.from) == Sender::from(sender));
        if steps >= LOOP_STEPS {
            return own >= 2;
        }
        cause = message.cause;
    }
    false
}
