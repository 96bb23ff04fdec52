//! Observations of processes. Only the newest run can change anything; what is reported of another one is answered
//! as stale and leaves no event. When a run ends, what hung on it ends too: its requests, a removal that waited.

pub mod machine;

use amux_proto::command::run::{self as order, Command, Fact};
use amux_proto::entity::{Activity, Agent, Desired, ExitWhy, Run, RunState, Session};
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
    let (mut asks, mut stages) = (request::Told::new(), message::Told::new());
    for fact in facts {
        match fact {
            Fact::Session { session } => {
                let is_dead = agent.session.as_ref().is_some_and(|known| known.dead.contains(&session.id));
                if !is_dead {
                    let session = session.clone();
                    case.emit(session::Event::Opened(session::Opened { agent: *id, run: *run, session }));
                }
            }
            Fact::SessionLost { session, why } => case.emit(session::Event::Lost(session::Lost {
                agent: *id,
                run: *run,
                session: session.clone(),
                why: cut(why),
            })),
            Fact::TurnStarted { turn, trigger } => {
                let (turn, trigger) = (*turn, *trigger);
                case.emit(turn::Event::Started(turn::Started { agent: *id, run: *run, turn, trigger }));
            }
            Fact::TurnEnded { turn, end } => {
                let end = end.clone();
                case.emit(turn::Event::Ended(turn::Ended { agent: *id, run: *run, turn: *turn, end }));
            }
            Fact::Asked { request, ask } => request::open(case, &mut asks, (*id, *run), *request, ask),
            Fact::AskClosed { request, how } => request::close(case, &mut asks, *request, how),
            Fact::Input { message, stage, evidence } => {
                message::seen(case, &mut stages, (*id, *run), *message, (*stage, evidence));
            }
        }
    }
    let mut activity = activity.clone();
    activity.evidence = cut(&activity.evidence);
    case.emit(Event::Active(Active { agent: *id, run: *run, activity }));
    fresh()
}

fn ended(case: &mut Case<'_>, id: AgentId, run: RunNo, step: Step, event: Event) -> Result<Value, Rejection> {
    let Some((agent, live)) = live(case.state, id, run) else { return Ok(stale()) };
    legal(live, step)?;
    if live.activity.turn_open {
        let (turn, end) = (live.activity.turn, TurnEnd::Exited);
        case.emit(turn::Event::Ended(turn::Ended { agent: id, run, turn, end }));
    }
    let by_itself = matches!(&event, Event::Exited(Exited { exit, .. }) if exit.why == ExitWhy::Itself);
    case.emit(event);
    if agent.removing {
        agent::remove(case, agent, "it was removed");
        team::has_lost(case, agent);
        return Ok(fresh());
    }
    let state = case.state;
    let asked = state.requests.values().filter(|request| request.agent == id && request.run == run);
    for request in asked {
        let why = match request.decided {
            Some(_) => "the run ended before the decision reached it",
            None => "the run has ended",
        };
        case.emit(request_event::Event::Withdrawn(Withdrawn { request: request.id, why: why.to_owned() }));
    }
    message::run_ended(case, (id, run), live.lost_session);
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
            if let Opened::Fresh { attempted, .. } = &session.how {
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

pub(crate) fn begun(no: RunNo, at: Time) -> Run {
    Run { no, state: RunState::Starting, since: at, activity: Activity::default(), lost_session: false }
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
        Desired::Running { run } if run > no => agent.run = Some(begun(run, at)),
        Desired::Running { .. } | Desired::Stopped => agent.desired = Desired::Stopped,
    }
}

#[cfg(test)]
mod tests {
    use amux_proto::entity::Stage;
    use amux_proto::{Command, Principal};
    use serde_json::{Value, json};

    use crate::{Ctx, State, apply};

    fn says(state: &mut State, actor: Principal, command: Value) -> Value {
        let name = command["cmd"].as_str().unwrap();
        let command = Command::decode(name, &command["args"].to_string()).unwrap().unwrap();
        let ctx = Ctx { now: super::Time(1_000), actor, expect: None, seed: state.messages.len() as u128 + 1 };
        let decided = crate::decide(state, &command, &ctx).unwrap();
        decided.events.iter().for_each(|event| apply(state, ctx.now, event));
        decided.answer
    }

    #[test]
    fn facts_of_one_report_stand_on_one_another() {
        let mut state = State::default();
        let create = json!({ "name": "scout", "kind": "shell", "cwd": "/" });
        let created = says(&mut state, Principal::Operator, json!({ "cmd": "agent.create", "args": create }));
        let process = json!({ "pid": 7, "start_ticks": 7 });
        let started = json!({ "agent": created["uid"], "run": 1, "process": process });
        says(&mut state, Principal::System, json!({ "cmd": "run.started", "args": started }));
        let send = json!({ "to": ["scout"], "body": "hello" });
        let sent = says(&mut state, Principal::Operator, json!({ "cmd": "message.send", "args": send }));
        // As it is told after a crash: what was heard first, and then that it was written.
        let input = |stage: &str| json!({ "type": "input", "message": sent["id"], "stage": stage, "evidence": "seen" });
        let request = uuid::Uuid::from_u128(9);
        let ask = json!({ "id": "1", "kind": "permission", "title": "", "detail": "", "options": [] });
        let asked = json!({ "type": "asked", "request": request, "ask": ask });
        let closed = json!({ "type": "ask_closed", "request": request, "how": "withdrawn" });
        let facts = [input("begun"), input("ended"), input("handed"), asked, closed];
        let activity = json!({
            "seen": 1, "phase": { "is": "idle" }, "since": "1970-01-01T00:00:00.000Z", "evidence": "", "turn": 0,
            "turn_open": false, "tasks": 0, "usage": {},
        });
        let seen = json!({ "agent": created["uid"], "run": 1, "activity": activity, "facts": facts });
        says(&mut state, Principal::System, json!({ "cmd": "run.seen", "args": seen }));
        let message = state.messages.values().next().unwrap();
        assert_eq!(message.deliveries[0].stage, Stage::Acked);
        assert!(state.requests.is_empty(), "nobody waits for an answer");
    }
}
