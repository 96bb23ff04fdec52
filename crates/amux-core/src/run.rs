//! Observations of processes. Only the newest run can change anything; what is reported of another one is answered
//! as stale and leaves no event. When a run ends, what hung on it ends too: its requests, a removal that waited.

pub mod machine;

use amux_proto::command::run::{self as order, Command, Fact};
use amux_proto::entity::{Activity, Agent, Desired, ExitWhy, Message, Recipient, RequestKind, Run, RunState, Session};
use amux_proto::event::agent::{self as agent_event, StartWanted};
use amux_proto::event::request::{self as request_event, Withdrawn};
use amux_proto::event::run::{Active, Event, Exited, Failed, Lost, Started};
use amux_proto::event::{session, turn};
use amux_proto::transcript::{Opened, TurnEnd};
use amux_proto::{AgentId, Code, Rejection, RunNo, Time};
use serde_json::{Value, json};

use crate::bounds::{DEAD_SESSIONS_MAX, cut};
use crate::case::Case;
use crate::run::machine::Step;
use crate::state::{State, change};
use crate::{agent, message, request, team};

pub(crate) fn decide(case: &mut Case<'_>, command: &Command) -> Result<Value, Rejection> {
    match command {
        Command::Started(order) => started(case, order),
        Command::Seen(order) => Ok(seen(case, order)),
        Command::Failed(order::Failed { agent, run, error }) => {
            let error = cut(error);
            let step = Step::Failed { error: error.clone() };
            ended(case, *agent, *run, step, Event::Failed(Failed { agent: *agent, run: *run, error }))
        }
        Command::Exited(order::Exited { agent, run, exit }) => {
            let step = Step::Exited { exit: exit.clone() };
            ended(case, *agent, *run, step, Event::Exited(Exited { agent: *agent, run: *run, exit: exit.clone() }))
        }
        Command::Lost(order::Lost { agent, run, why }) => {
            let why = cut(why);
            let step = Step::Lost { why: why.clone() };
            ended(case, *agent, *run, step, Event::Lost(Lost { agent: *agent, run: *run, why }))
        }
    }
}

fn started(case: &mut Case<'_>, order: &order::Started) -> Result<Value, Rejection> {
    let order::Started { agent, run, process } = *order;
    let Some((_, live)) = live(case.state, agent, run) else { return Ok(stale()) };
    // A report repeated after a crash says nothing new.
    if live.process() != Some(process) {
        legal(live, Step::Started { process })?;
        case.emit(Event::Started(Started { agent, run, process }));
    }
    Ok(fresh())
}

/// The dialects' view of a run. Inputs are counted from 1; a report that goes no further than what is known is a
/// repetition and changes nothing.
fn seen(case: &mut Case<'_>, order: &order::Seen) -> Value {
    let order::Seen { agent: id, run, activity, facts } = order;
    let Some((agent, live)) = live(case.state, *id, *run) else { return stale() };
    if activity.seen <= live.activity.seen {
        return stale();
    }
    // One report may ask and close, hand over and show: each fact is judged by what those before it came to.
    let mut scene = if facts.is_empty() { State::default() } else { scene(case.state, agent, facts) };
    for fact in facts {
        let mut one = Case::new(&scene, case.ctx);
        note(&mut one, *id, *run, fact);
        for event in one.into_events() {
            crate::apply(&mut scene, case.ctx.now, &event);
            case.emit(event);
        }
    }
    let mut activity = activity.clone();
    activity.evidence = cut(&activity.evidence);
    case.emit(Event::Active(Active { agent: *id, run: *run, activity }));
    fresh()
}

/// As much of the state as facts about one agent can touch or are judged by.
fn scene(state: &State, agent: &Agent, facts: &[Fact]) -> State {
    let mut scene = State::default();
    scene.put_agent(agent.clone());
    state.teams.get(&agent.team).into_iter().for_each(|team| scene.put_team(team.clone()));
    for fact in facts {
        match fact {
            Fact::Asked { request, .. } | Fact::AskClosed { request, .. } => {
                scene.requests.extend(state.requests.get_key_value(request).map(|(id, known)| (*id, known.clone())));
            }
            Fact::Input { message, .. } => {
                state.messages.get(message).into_iter().for_each(|known| scene.put_message(own_copy(known, agent.id)));
            }
            Fact::Session { .. } | Fact::SessionLost { .. } | Fact::TurnStarted { .. } | Fact::TurnEnded { .. } => {}
        }
    }
    if facts.iter().any(|fact| matches!(fact, Fact::Asked { .. })) {
        let own = state.requests.iter().filter(|(_, request)| request.agent == agent.id);
        scene.requests.extend(own.map(|(id, request)| (*id, request.clone())));
        scene.rules.clone_from(&state.rules);
    }
    scene
}

/// What a fact about one agent can touch of a message: neither its words nor the copies of a thousand others.
fn own_copy(message: &Message, agent: AgentId) -> Message {
    let to = Recipient::Agent { agent };
    Message {
        id: message.id,
        from: message.from.clone(),
        body: String::new(),
        edition: message.edition,
        earlier: Vec::new(),
        attachments: Vec::new(),
        thread: message.thread,
        reply_to: message.reply_to,
        key: None,
        priority: message.priority,
        class: message.class,
        expires: message.expires,
        wants_answer: message.wants_answer,
        cause: message.cause,
        created: message.created,
        deliveries: message.deliveries.iter().filter(|copy| copy.to == to).cloned().collect(),
        rev: message.rev,
    }
}

fn note(case: &mut Case<'_>, id: AgentId, run: RunNo, fact: &Fact) {
    let Some((agent, live)) = live(case.state, id, run) else { return };
    let is_dead = |session| agent.session.as_ref().is_some_and(|known| known.dead.contains(session));
    match fact {
        Fact::Session { session } if !is_dead(&session.id) => {
            let session = session.clone();
            case.emit(session::Event::Opened(session::Opened { agent: id, run, session }));
        }
        Fact::SessionLost { session, why } if !is_dead(session) => {
            let (session, why) = (session.clone(), cut(why));
            case.emit(session::Event::Lost(session::Lost { agent: id, run, session, why }));
        }
        Fact::TurnStarted { turn, trigger } if *turn > live.activity.turn => {
            let (turn, trigger) = (*turn, *trigger);
            case.emit(turn::Event::Started(turn::Started { agent: id, run, turn, trigger }));
        }
        Fact::TurnEnded { turn, end } if live.activity.turn_open && *turn == live.activity.turn => {
            let end = end.clone();
            case.emit(turn::Event::Ended(turn::Ended { agent: id, run, turn: *turn, end }));
        }
        // Known already, or of something that is over.
        Fact::Session { .. } | Fact::SessionLost { .. } | Fact::TurnStarted { .. } | Fact::TurnEnded { .. } => {}
        Fact::Asked { request, ask } => request::open(case, id, run, *request, ask),
        Fact::AskClosed { request, how } => request::close(case, (id, run), *request, how),
        Fact::Input { message, stage, evidence, edition } => {
            let input = message::Input { message: *message, stage: *stage, evidence, edition: *edition };
            message::seen(case, (id, run), &input);
        }
    }
}

fn ended(case: &mut Case<'_>, id: AgentId, run: RunNo, step: Step, event: Event) -> Result<Value, Rejection> {
    let Some((agent, live)) = live(case.state, id, run) else { return Ok(stale()) };
    legal(live, step)?;
    if live.activity.turn_open {
        let (turn, end) = (live.activity.turn, TurnEnd::Exited);
        case.emit(turn::Event::Ended(turn::Ended { agent: id, run, turn, end }));
    }
    let lost = matches!(&event, Event::Lost(_));
    let by_itself = matches!(&event, Event::Exited(Exited { exit, .. }) if exit.why == ExitWhy::Itself);
    case.emit(event);
    if agent.removing {
        agent::remove(case, agent, "it was removed");
        team::has_lost(case, agent);
        return Ok(fresh());
    }
    let state = case.state;
    let own = state.requests.values().filter(|request| request.agent == id && request.run == run);
    // Whether a message is let through is asked of a person by us, and not by this run.
    let asked = own.filter(|request| request.kind != RequestKind::HeldMessage);
    for request in asked {
        let why = match request.decided {
            Some(_) => "the run ended before the decision reached it",
            None => "the run has ended",
        };
        case.emit(request_event::Event::Withdrawn(Withdrawn { request: request.id, why: why.to_owned() }));
    }
    message::run_ended(case, (id, run), live.lost_session);
    // It went with the machine or with everything of ours, not by itself, and there is a conversation to go on with.
    let can_go_on = agent.session.as_ref().is_some_and(|session| session.id.is_some());
    if lost && can_go_on && agent.desired == (Desired::Running { run }) {
        case.emit(agent_event::Event::StartWanted(StartWanted { agent: id, run: run.next() }));
    }
    // Once: the next run opens a conversation of its own, which cannot be lost before it began.
    if live.lost_session && by_itself && agent.desired == (Desired::Running { run }) {
        case.emit(agent_event::Event::StartWanted(StartWanted { agent: id, run: run.next() }));
    }
    Ok(fresh())
}

/// The run an observation is of, while it lives.
pub(crate) fn live(state: &State, agent: AgentId, run: RunNo) -> Option<(&Agent, &Run)> {
    let agent = state.agents.get(&agent)?;
    let live = agent.run.as_ref().filter(|current| current.no == run && current.is_live())?;
    Some((agent, live))
}

fn legal(run: &Run, step: Step) -> Result<RunState, Rejection> {
    machine::next(&run.state, step).map_err(|illegal| Rejection::new(Code::Conflict, illegal.to_string()))
}

pub(crate) fn stale() -> Value {
    json!({ "stale": true })
}

pub(crate) fn fresh() -> Value {
    json!({ "stale": false })
}

pub(crate) fn apply(state: &mut State, at: Time, event: &Event) {
    match event {
        Event::Started(Started { agent, run, process }) => {
            change(&mut state.agents, agent, |agent| step(agent, *run, Step::Started { process: *process }, at));
        }
        Event::Failed(Failed { agent, run, error }) => {
            change(&mut state.agents, agent, |agent| end(agent, *run, Step::Failed { error: error.clone() }, at));
        }
        Event::Exited(Exited { agent, run, exit }) => {
            change(&mut state.agents, agent, |agent| end(agent, *run, Step::Exited { exit: exit.clone() }, at));
        }
        Event::Lost(Lost { agent, run, why }) => {
            change(&mut state.agents, agent, |agent| end(agent, *run, Step::Lost { why: why.clone() }, at));
        }
        Event::Active(Active { agent, run, activity }) => change(&mut state.agents, agent, |agent| {
            of(agent, *run, |run| run.activity = (**activity).clone());
        }),
    }
}

pub(crate) fn apply_session(state: &mut State, at: Time, event: &session::Event) {
    match event {
        session::Event::Opened(session::Opened { agent, session, .. }) => change(&mut state.agents, agent, |agent| {
            let known = session_of(agent, at);
            if known.id.as_ref() != Some(&session.id) {
                *known = Session { id: Some(session.id.clone()), since: at, dead: std::mem::take(&mut known.dead) };
            }
            // A CLI may open an empty conversation under the id it was asked for; that one lives.
            if let Opened::Fresh { attempted, .. } = &session.how
                && *attempted != session.id
            {
                bury(known, attempted);
            }
        }),
        session::Event::Lost(session::Lost { agent, run, session, .. }) => {
            change(&mut state.agents, agent, |agent| {
                bury(session_of(agent, at), session);
                of(agent, *run, |run| run.lost_session = true);
            });
        }
        session::Event::Chosen(session::Chosen { agent, session }) => change(&mut state.agents, agent, |agent| {
            let known = session_of(agent, at);
            known.id = Some(session.clone());
            known.since = at;
        }),
    }
}

fn session_of(agent: &mut Agent, at: Time) -> &mut Session {
    agent.session.get_or_insert_with(|| Session { id: None, since: at, dead: Vec::new() })
}

/// A conversation that is gone is remembered, so that a late word of it is not believed.
fn bury(session: &mut Session, dead: &str) {
    if session.id.as_deref() == Some(dead) {
        session.id = None;
    }
    session.dead.retain(|known| known != dead);
    session.dead.push(dead.to_owned());
    let surplus = session.dead.len().saturating_sub(DEAD_SESSIONS_MAX);
    session.dead.drain(..surplus);
}

pub(crate) fn apply_turn(state: &mut State, event: &turn::Event) {
    match event {
        turn::Event::Started(turn::Started { agent, run, turn, .. }) => change(&mut state.agents, agent, |agent| {
            of(agent, *run, |run| (run.activity.turn, run.activity.turn_open) = (*turn, true));
        }),
        turn::Event::Ended(turn::Ended { agent, run, .. }) => change(&mut state.agents, agent, |agent| {
            of(agent, *run, |run| run.activity.turn_open = false);
        }),
    }
}

fn of(agent: &mut Agent, no: RunNo, change: impl FnOnce(&mut Run)) {
    if let Some(run) = agent.run.as_mut().filter(|run| run.no == no) {
        change(run);
    }
}

/// What leads a pane is the agent's from run to run: it is there before the next one has found it.
pub(crate) fn begun(no: RunNo, at: Time, before: Option<&Run>) -> Run {
    let activity = Activity { leader: before.and_then(|run| run.activity.leader), ..Activity::default() };
    Run { no, state: RunState::Starting, since: at, activity, lost_session: false }
}

/// One step of the newest run; an event about another run is counted and changes nothing.
pub(crate) fn step(agent: &mut Agent, no: RunNo, step: Step, at: Time) {
    let Some(run) = agent.run.as_mut().filter(|run| run.no == no) else { return };
    if let Ok(next) = machine::next(&run.state, step) {
        run.state = next;
        run.since = at;
    }
}

/// The run has ended; a newer one that was wanted meanwhile begins, and nothing begins by itself.
fn end(agent: &mut Agent, no: RunNo, last: Step, at: Time) {
    step(agent, no, last, at);
    match agent.desired {
        Desired::Running { run } if run > no => agent.run = Some(begun(run, at, agent.run.as_ref())),
        Desired::Running { .. } | Desired::Stopped => agent.desired = Desired::Stopped,
    }
}
