//! Agents: durable identities, what is wanted of them, and their going. Their processes are in [`crate::run`].

use std::collections::BTreeSet;

use amux_proto::command::agent::{
    Command, Create, Define, Describe, Draft, Mail, Remove, Rename, Restart, Start, Stop,
};
use amux_proto::entity::{
    Agent, Content, Definition, Desired, Dialect, Kind, MailRules, Recipient, Run, RunState, Size, Stage, Work,
};
use amux_proto::event::agent::{
    Created, Defined, Described, Drafted, Event, MailChanged, Removed, Removing, Renamed, StartDropped, StartWanted,
    StopWanted,
};
use amux_proto::event::message::{self, Staged};
use amux_proto::event::pane::{self, Shown};
use amux_proto::event::request::{self, Withdrawn};
use amux_proto::event::session::{self, Chosen};
use amux_proto::{AgentId, Code, Name, Principal, Rejection, RunNo, TeamId, Time, env};
use serde_json::{Value, json};

use crate::bounds::{self, AGENTS_MAX, bad};
use crate::case::Case;
use crate::run::machine::Step;
use crate::state::{FIRST_REV, State, change};
use crate::{kind, policy, resolve, run, setting, team, view};

pub(crate) fn decide(case: &mut Case<'_>, command: &Command) -> Result<Value, Rejection> {
    match command {
        Command::Create(order) => create(case, order),
        Command::Rename(order) => rename(case, order),
        Command::Remove(order) => remove_asked(case, order),
        Command::Start(order) => start(case, order),
        Command::Stop(order) => stop(case, order),
        Command::Restart(order) => restart(case, order),
        Command::Define(order) => define(case, order),
        Command::Describe(order) => describe(case, order),
        Command::Mail(order) => mail(case, order),
        Command::Draft(order) => draft(case, order),
    }
}

fn create(case: &mut Case<'_>, order: &Create) -> Result<Value, Rejection> {
    let state = case.state;
    if state.agents.len() >= AGENTS_MAX {
        return Err(bounds::limit("agents", AGENTS_MAX));
    }
    let definition = definition(state, order)?;
    let team = match &order.team {
        Some(reference) => Some(resolve::team(state, reference)?),
        None => match case.ctx.actor {
            Principal::Agent { agent, .. } => state.agents.get(&agent).and_then(|maker| state.teams.get(&maker.team)),
            Principal::Operator | Principal::Peer(_) | Principal::System => state.team_named(&team::default_name()),
        },
    };
    if let Some(team) = team.filter(|team| team.removing) {
        return Err(Rejection::new(Code::Conflict, format!("the team is being removed: {}", team.name)));
    }
    if let Some(namesake) = team.and_then(|team| in_team(state, team.id, &order.name)) {
        return Err(taken(state, namesake));
    }
    let id = match order.id {
        Some(id) if state.agents.contains_key(&id) => {
            return Err(Rejection::new(Code::Exists, format!("an agent has this id already: {id}")));
        }
        Some(id) => id,
        None => AgentId(case.make_id()),
    };
    let (team_id, team_name) = match team {
        Some(team) => (team.id, team.name.clone()),
        None => (team::create_default(case)?, team::default_name()),
    };
    case.emit(Event::Created(Created { agent: id, name: order.name.clone(), team: team_id, definition }));
    if let Some(session) = &order.resume {
        case.emit(session::Event::Chosen(Chosen { agent: id, session: session.clone() }));
    }
    let run = order.start.then_some(RunNo(1));
    if let Some(run) = run {
        case.emit(Event::StartWanted(StartWanted { agent: id, run }));
    }
    let label = format!("{}@{team_name}", order.name);
    Ok(json!({ "uid": id, "name": order.name, "team": team_name, "agent": label, "run": run }))
}

fn definition(state: &State, order: &Create) -> Result<Definition, Rejection> {
    let Create { kind: name, argv, cwd, env, size, .. } = order;
    let kind = kind::find(state, name)?;
    let needs_command = kind.program.is_none() && !name.is_shell();
    if needs_command && argv.first().is_none_or(String::is_empty) {
        return Err(match kind.dialect {
            Dialect::Tmux => bad("a pane is needed: tmux")
                .hint(format!("agentmux new {} --agent tmux:SESSION:WINDOW.PANE", order.name)),
            _ => bad(format!("a command is needed: {name}"))
                .hint(format!("agentmux new {} --agent {name} -- COMMAND", order.name)),
        });
    }
    for (what, word) in [("the model", &order.model), ("the mode", &order.mode), ("the session", &order.resume)] {
        let Some(word) = word else { continue };
        bounds::label(what, word)?;
        // It becomes a word of a command line.
        if word.starts_with('-') {
            return Err(bad(format!("this cannot be {what}: {word}")));
        }
    }
    if order.model.is_some() && kind.model_args.is_empty() && !takes_model(kind.dialect) {
        return Err(bad(format!("this kind takes no model: {name}")));
    }
    if order.resume.is_some() && !resumes(&kind) {
        return Err(bad(format!("this kind cannot go on with a conversation: {name}")));
    }
    if argv.len() > bounds::ARGV_MAX {
        return Err(bounds::limit("arguments", bounds::ARGV_MAX));
    }
    if env.len() > bounds::ENV_MAX {
        return Err(bounds::limit("environment variables", bounds::ENV_MAX));
    }
    for argument in argv {
        bounds::at_most("an argument", argument.len(), bounds::ARG_BYTES_MAX)?;
        bounds::no_nul("an argument", argument)?;
    }
    for (name, value) in env {
        bounds::at_most("an environment variable", name.len() + value.len(), bounds::ARG_BYTES_MAX)?;
        bounds::no_nul(name, value)?;
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(bad(format!("not a name of an environment variable: {name:?}")));
        }
        if env::is_ours(name) {
            return Err(bad(format!("agentmux itself sets this variable: {name}")));
        }
    }
    bounds::at_most("the working directory", cwd.len(), bounds::PATH_BYTES_MAX)?;
    bounds::no_nul("the working directory", cwd)?;
    if !is_absolute(cwd) {
        return Err(bad(format!("the working directory is not absolute: {cwd:?}")));
    }
    let bytes = cwd.len()
        + argv.iter().map(String::len).sum::<usize>()
        + env.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    bounds::at_most("the definition", bytes, bounds::DEFINITION_BYTES_MAX)?;
    let size = size.unwrap_or(Size { rows: setting::terminal_rows(state), cols: setting::terminal_cols(state) });
    if ![size.rows, size.cols].iter().all(|cells| (1..=bounds::CELLS_MAX).contains(cells)) {
        return Err(bad(format!(
            "a terminal has 1 to {} rows and columns: {}x{}",
            bounds::CELLS_MAX,
            size.rows,
            size.cols
        )));
    }
    Ok(Definition {
        kind: name.clone(),
        argv: argv.clone(),
        cwd: cwd.clone(),
        env: env.clone(),
        size,
        model: order.model.clone(),
        mode: order.mode.clone(),
        worktree: order.worktree,
    })
}

/// Whether the protocol itself can choose the model.
fn takes_model(dialect: Dialect) -> bool {
    matches!(dialect, Dialect::Claude | Dialect::Codex | Dialect::Acp)
}

fn resumes(kind: &Kind) -> bool {
    match kind.dialect {
        Dialect::Pty | Dialect::Tmux => false,
        Dialect::Codex | Dialect::Acp => true,
        Dialect::Claude | Dialect::CodexExec | Dialect::ClaudeOnce | Dialect::GeminiOnce => {
            !kind.resume_args.is_empty()
        }
    }
}

/// By the rules of every system, since the core knows none: `/x`, `C:\x`, `C:/x`, `\\host\share`.
fn is_absolute(path: &str) -> bool {
    match path.as_bytes() {
        [b'/', ..] | [b'\\', b'\\', ..] => true,
        [drive, b':', b'\\' | b'/', ..] => drive.is_ascii_alphabetic(),
        _ => false,
    }
}

fn rename(case: &mut Case<'_>, order: &Rename) -> Result<Value, Rejection> {
    let state = case.state;
    let agent = resolve::agent(state, &order.agent)?;
    case.expect(agent.rev)?;
    if agent.name != order.name {
        if let Some(namesake) = in_team(state, agent.team, &order.name) {
            return Err(taken(state, namesake));
        }
        case.emit(Event::Renamed(Renamed { agent: agent.id, name: order.name.clone() }));
    }
    let team = state.teams.get(&agent.team).map(|team| &team.name);
    let label = team.map_or_else(|| order.name.to_string(), |team| format!("{}@{team}", order.name));
    Ok(json!({ "uid": agent.id, "name": order.name, "team": team, "agent": label }))
}

fn remove_asked(case: &mut Case<'_>, order: &Remove) -> Result<Value, Rejection> {
    let agent = resolve::agent(case.state, &order.agent)?;
    case.expect(agent.rev)?;
    let label = view::label(case.state, agent.id);
    let live = is_live(agent);
    if !live {
        remove(case, agent, "it was removed");
    } else if !agent.removing {
        if !order.stop {
            return Err(Rejection::new(Code::Conflict, format!("the agent is running: {label}"))
                .hint(format!("agentmux rm {label} --stop")));
        }
        begin_removal(case, agent);
    }
    Ok(json!({ "uid": agent.id, "agent": label, "removed": !live }))
}

fn start(case: &mut Case<'_>, order: &Start) -> Result<Value, Rejection> {
    let agent = resolve::agent(case.state, &order.agent)?;
    case.expect(agent.rev)?;
    refuse_if_removing(case.state, agent)?;
    let run = match agent.desired {
        Desired::Running { run } => run,
        Desired::Stopped => want_next(case, agent),
    };
    Ok(answer(case.state, agent, Some(run)))
}

fn stop(case: &mut Case<'_>, order: &Stop) -> Result<Value, Rejection> {
    let agent = resolve::agent(case.state, &order.agent)?;
    case.expect(agent.rev)?;
    let grace_ms = grace(case.state, order.grace_ms)?;
    drop_pending(case, agent);
    want_end(case, agent, grace_ms, order.grace_ms.is_some(), order.reason.as_deref());
    Ok(answer(case.state, agent, agent.run.as_ref().map(|run| run.no)))
}

fn restart(case: &mut Case<'_>, order: &Restart) -> Result<Value, Rejection> {
    let agent = resolve::agent(case.state, &order.agent)?;
    case.expect(agent.rev)?;
    refuse_if_removing(case.state, agent)?;
    let grace_ms = grace(case.state, order.grace_ms)?;
    if let Some(work) = &order.define {
        // Who may restart an agent is a rule's to say; how one is run is for people, as in a definition by itself.
        if let actor @ Principal::Agent { .. } = &case.ctx.actor {
            return Err(policy::denied("operator_only", actor, "agent.define")
                .hint("only a person defines agents; nothing in policy.toml gives it"));
        }
        redefine(case, agent, work.clone())?;
    }
    want_end(case, agent, grace_ms, order.grace_ms.is_some(), None);
    let run = pending(agent).unwrap_or_else(|| want_next(case, agent));
    Ok(answer(case.state, agent, Some(run)))
}

/// What runs now goes on as it is; the next run is another.
fn define(case: &mut Case<'_>, order: &Define) -> Result<Value, Rejection> {
    let agent = resolve::agent(case.state, &order.agent)?;
    case.expect(agent.rev)?;
    refuse_if_removing(case.state, agent)?;
    let Define { kind, argv, cwd, env, size, model, mode, worktree, .. } = order.clone();
    redefine(case, agent, Work { kind, argv, cwd, env, size, model, mode, worktree })?;
    Ok(answer(case.state, agent, agent.run.as_ref().map(|run| run.no)))
}

fn redefine(case: &mut Case<'_>, agent: &Agent, work: Work) -> Result<(), Rejection> {
    let Work { kind, argv, cwd, env, size, model, mode, worktree } = work;
    let as_new = Create {
        id: None,
        name: agent.name.clone(),
        team: None,
        kind,
        argv,
        cwd,
        env,
        // A window that a person has chosen is not taken back by somebody who speaks of none.
        size: size.or(Some(agent.definition.size)),
        model,
        mode,
        resume: None,
        worktree,
        start: false,
    };
    let definition = definition(case.state, &as_new)?;
    if definition != agent.definition {
        case.emit(Event::Defined(Defined { agent: agent.id, definition }));
    }
    Ok(())
}

fn describe(case: &mut Case<'_>, order: &Describe) -> Result<Value, Rejection> {
    let agent = resolve::agent(case.state, &order.agent)?;
    case.expect(agent.rev)?;
    let Describe { role, groups, .. } = order;
    if let Some(role) = role {
        bounds::at_most("the role", role.len(), bounds::REASON_BYTES_MAX)?;
        bounds::no_nul("the role", role)?;
    }
    if groups.len() > bounds::GROUPS_MAX {
        return Err(bounds::limit("groups of an agent", bounds::GROUPS_MAX));
    }
    if agent.role != *role || agent.groups != *groups {
        let (role, groups) = (role.clone(), groups.clone());
        case.emit(Event::Described(Described { agent: agent.id, role, groups }));
    }
    Ok(answer(case.state, agent, agent.run.as_ref().map(|run| run.no)))
}

fn mail(case: &mut Case<'_>, order: &Mail) -> Result<Value, Rejection> {
    let agent = resolve::agent(case.state, &order.agent)?;
    case.expect(agent.rev)?;
    let known = agent.mail;
    let mail = MailRules {
        paused: order.paused.unwrap_or(known.paused),
        while_working: order.while_working.unwrap_or(known.while_working),
        boundary_ms: order.boundary_ms.unwrap_or(known.boundary_ms),
        wakes_per_hour: order.wakes_per_hour.unwrap_or(known.wakes_per_hour),
    };
    if mail.boundary_ms > bounds::GRACE_MS_MAX {
        return Err(bad(format!("no boundary is waited for so long: {} ms", mail.boundary_ms)));
    }
    if mail != known {
        case.emit(Event::MailChanged(MailChanged { agent: agent.id, mail }));
    }
    let mut answer = answer(case.state, agent, agent.run.as_ref().map(|run| run.no));
    answer["mail"] = json!(mail);
    Ok(answer)
}

/// Kept whatever becomes of the window it was typed into. Nothing is sent by it.
fn draft(case: &mut Case<'_>, order: &Draft) -> Result<Value, Rejection> {
    let agent = resolve::agent(case.state, &order.agent)?;
    case.expect(agent.rev)?;
    bounds::at_most("the draft", order.text.len(), bounds::DRAFT_BYTES_MAX)?;
    bounds::no_nul("the draft", &order.text)?;
    let text = (!order.text.is_empty()).then(|| order.text.clone());
    if agent.draft != text {
        case.emit(Event::Drafted(Drafted { agent: agent.id, text }));
    }
    Ok(answer(case.state, agent, agent.run.as_ref().map(|run| run.no)))
}

fn answer(state: &State, agent: &Agent, run: Option<RunNo>) -> Value {
    json!({ "uid": agent.id, "agent": view::label(state, agent.id), "run": run })
}

fn grace(state: &State, asked: Option<u64>) -> Result<u64, Rejection> {
    match asked {
        Some(ms) if ms > bounds::GRACE_MS_MAX => {
            Err(bad(format!("nobody waits so long for a stop: {ms} ms, at most {} ms", bounds::GRACE_MS_MAX)))
        }
        Some(ms) => Ok(ms),
        None => Ok(setting::agent_stop_grace_ms(state)),
    }
}

/// The number after that of the newest run. One that was dropped before it began never was a run and is given again.
fn want_next(case: &mut Case<'_>, agent: &Agent) -> RunNo {
    let run = agent.run.as_ref().map_or(RunNo(0), |run| run.no).next();
    case.emit(Event::StartWanted(StartWanted { agent: agent.id, run }));
    run
}

/// Ends the live run. One that is ending already is only hurried, and only when that was asked for.
fn want_end(case: &mut Case<'_>, agent: &Agent, grace_ms: u64, hurry: bool, reason: Option<&str>) {
    let Some(run) = agent.run.as_ref().filter(|run| run.is_live()) else { return };
    let wanted = match run.state {
        RunState::Stopping { grace_ms: given, .. } => hurry && grace_ms < given,
        RunState::Starting | RunState::Running { .. } => true,
        RunState::Exited { .. } | RunState::Failed { .. } | RunState::Lost { .. } => false,
    };
    if wanted {
        case.emit(Event::StopWanted(StopWanted {
            agent: agent.id,
            run: run.no,
            grace_ms,
            reason: reason.map(bounds::cut),
        }));
    }
}

/// The run that waits for the end of the live one.
fn pending(agent: &Agent) -> Option<RunNo> {
    match agent.desired {
        Desired::Running { run } => agent.run.as_ref().is_none_or(|current| current.no != run).then_some(run),
        Desired::Stopped => None,
    }
}

fn drop_pending(case: &mut Case<'_>, agent: &Agent) {
    if let Some(run) = pending(agent) {
        case.emit(Event::StartDropped(StartDropped { agent: agent.id, run }));
    }
}

fn refuse_if_removing(state: &State, agent: &Agent) -> Result<(), Rejection> {
    if agent.removing {
        return Err(Rejection::new(
            Code::Conflict,
            format!("the agent is being removed: {}", view::label(state, agent.id)),
        ));
    }
    Ok(())
}

pub(crate) fn is_live(agent: &Agent) -> bool {
    agent.run.as_ref().is_some_and(Run::is_live)
}

/// The first half of a removal: the run is to end, and the agent goes with it.
pub(crate) fn begin_removal(case: &mut Case<'_>, agent: &Agent) {
    drop_pending(case, agent);
    want_end(case, agent, setting::agent_stop_grace_ms(case.state), false, None);
    case.emit(Event::Removing(Removing { agent: agent.id }));
}

/// The agent goes, and with it what only made sense with it: its requests, the mail nobody will read. Panes that
/// showed it stay where they are, empty.
pub(crate) fn remove(case: &mut Case<'_>, agent: &Agent, why: &str) {
    let state = case.state;
    let to = Recipient::Agent { agent: agent.id };
    for message in state.open_for(to) {
        let stage = Stage::Failed { reason: why.to_owned(), attempts: 0 };
        case.emit(message::Event::Staged(Staged { message: message.id, to, stage, evidence: None, edition: None }));
    }
    for request in state.requests.values().filter(|request| request.agent == agent.id) {
        case.emit(request::Event::Withdrawn(Withdrawn { request: request.id, why: why.to_owned() }));
    }
    let shows_it = Content::Agent { agent: agent.id };
    for pane in state.panes.values().filter(|pane| pane.content == shows_it) {
        case.emit(pane::Event::Shown(Shown { pane: pane.id, content: Content::Empty }));
    }
    case.emit(Event::Removed(Removed { agent: agent.id }));
}

fn in_team<'a>(state: &'a State, team: TeamId, name: &Name) -> Option<&'a Agent> {
    state.agents_named(name).find(|agent| agent.team == team)
}

fn taken(state: &State, namesake: &Agent) -> Rejection {
    let label = view::label(state, namesake.id);
    Rejection::new(Code::Exists, format!("an agent has this name already: {label}"))
        .details(json!({ "uid": namesake.id, "agent": label }))
}

pub(crate) fn apply(state: &mut State, at: Time, event: &Event) {
    match event {
        Event::Created(Created { agent, name, team, definition }) => state.put_agent(Agent {
            id: *agent,
            name: name.clone(),
            team: *team,
            created: at,
            definition: definition.clone(),
            desired: Desired::Stopped,
            run: None,
            session: None,
            role: None,
            groups: BTreeSet::new(),
            mail: MailRules::default(),
            draft: None,
            removing: false,
            rev: FIRST_REV,
        }),
        Event::Renamed(Renamed { agent, name }) => {
            if let Some(found) = state.agents.get(agent) {
                let renamed = Agent { name: name.clone(), rev: found.rev.next(), ..found.clone() };
                state.put_agent(renamed);
            }
        }
        Event::Defined(Defined { agent, definition }) => {
            change(&mut state.agents, agent, |agent| {
                if agent.definition.kind != definition.kind {
                    // Another CLI does not know the conversations of this one.
                    agent.session = None;
                }
                agent.definition.clone_from(definition);
            });
        }
        Event::Described(Described { agent, role, groups }) => change(&mut state.agents, agent, |agent| {
            agent.role.clone_from(role);
            agent.groups.clone_from(groups);
        }),
        Event::MailChanged(MailChanged { agent, mail }) => {
            change(&mut state.agents, agent, |agent| agent.mail = *mail);
        }
        Event::Drafted(Drafted { agent, text }) => {
            change(&mut state.agents, agent, |agent| agent.draft.clone_from(text));
        }
        Event::StartWanted(StartWanted { agent, run }) => change(&mut state.agents, agent, |agent| {
            agent.desired = Desired::Running { run: *run };
            if !is_live(agent) {
                agent.run = Some(run::begun(*run, at, agent.run.as_ref()));
            }
        }),
        Event::StopWanted(StopWanted { agent, run, grace_ms, .. }) => change(&mut state.agents, agent, |agent| {
            if agent.desired == (Desired::Running { run: *run }) {
                agent.desired = Desired::Stopped;
            }
            run::step(agent, *run, Step::StopWanted { grace_ms: *grace_ms }, at);
        }),
        Event::StartDropped(StartDropped { agent, run }) => change(&mut state.agents, agent, |agent| {
            if agent.desired == (Desired::Running { run: *run }) {
                agent.desired = Desired::Stopped;
            }
        }),
        Event::Removing(Removing { agent }) => change(&mut state.agents, agent, |agent| agent.removing = true),
        Event::Removed(Removed { agent }) => state.drop_agent(*agent),
    }
}
