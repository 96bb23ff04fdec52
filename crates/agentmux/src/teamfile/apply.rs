//! A plan, carried out: what cannot be done for one agent is noted and does not stop the others.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use amux_proto::entity::{Agent, Team};
use amux_proto::exit::Exit;
use amux_proto::view::AgentState;
use amux_proto::{Code, Name};
use amux_team::order;
use amux_team::plan::{Act, Plan, Step};
use serde_json::{Value, json};

use super::starts::{START_PATIENCE, Seen, Stage, Starts};
use crate::cli::until;
use crate::context::Context;
use crate::report::Failure;
use crate::text::plain;

/// What became of one step.
pub(crate) struct Outcome {
    pub(crate) agent: Name,
    pub(crate) what: &'static str,
    pub(crate) result: Result<Now, String>,
}

/// How an agent is after its step.
pub(crate) enum Now {
    Runs(Seen),
    Ended(Seen),
    Changed,
    Gone,
    /// Its run was told to end, and it goes then.
    Goes,
}

/// Beyond the grace a stop is given: the kill, and seeing that nothing is left.
pub(crate) const END_PATIENCE: Duration = Duration::from_secs(30);

/// The teams there are, and their agents.
pub(crate) fn observe(context: &Context) -> Result<(Vec<Team>, Vec<Agent>), Failure> {
    // Whoever stops a sender that floods must not wait for all it has sent.
    let mut snapshot = context.ask("snapshot", &json!({ "without_messages": true }))?;
    let garbled = |error: serde_json::Error| Failure::failed(format!("the answer is not understood: {error}"));
    let teams = serde_json::from_value(snapshot["teams"].take()).map_err(garbled)?;
    let agents = serde_json::from_value(snapshot["agents"].take()).map_err(garbled)?;
    Ok((teams, agents))
}

/// An outcome for every step that does something, in their order.
pub(crate) fn apply(context: &Context, plan: &Plan) -> Result<Vec<Outcome>, Failure> {
    if let Some(order) = order::team(plan) {
        match context.order(order.cmd, &order.args) {
            // Somebody was faster; the team is there.
            Err(failure) if failure.rejection.code == Code::Exists => {}
            other => drop(other?),
        }
    }
    let mut failed = BTreeMap::new();
    for step in plan.steps.iter().filter(|step| step.does_something()) {
        if let Err(failure) = prepare(context, plan, step) {
            failed.insert(&step.agent, told(failure)?);
        }
    }
    let mut starts = Starts::default();
    let begun = Instant::now();
    for step in &plan.steps {
        match failed.get(&step.agent) {
            Some(why) => starts.put(&step.agent, Stage::Failed(why.clone())),
            None if step.starts() => starts.put(&step.agent, Stage::Waiting { after: step.after.clone() }),
            // It runs, and that is looked at only where somebody waits for it.
            None if plan.steps.iter().any(|other| other.starts() && other.after.contains(&step.agent)) => {
                starts.put(&step.agent, Stage::Begun { run: 0, until: begun + START_PATIENCE });
            }
            None => {}
        }
    }
    start(context, plan, &mut starts)?;
    let gone = see_off(context, plan)?;
    let outcomes = plan.steps.iter().filter(|step| step.does_something()).map(|step| {
        let result = match (failed.get(&step.agent), starts.stage(&step.agent)) {
            (Some(why), _) => Err(why.clone()),
            (None, Some(Stage::Failed(why))) if step.starts() => Err(why.clone()),
            (None, Some(Stage::Runs(seen))) if step.starts() => Ok(Now::Runs(seen.clone())),
            (None, Some(Stage::Ended(seen))) if step.starts() => Ok(Now::Ended(seen.clone())),
            (None, _) => Ok(match step.act {
                Act::Remove { .. } if gone.contains(&step.agent) => Now::Gone,
                Act::Remove { .. } => Now::Goes,
                _ => Now::Changed,
            }),
        };
        Outcome { agent: step.agent.clone(), what: step.what(), result }
    });
    Ok(outcomes.collect())
}

/// Everything but the start: an agent is what it is to be before it runs.
fn prepare(context: &Context, plan: &Plan, step: &Step) -> Result<(), Failure> {
    if step.act == Act::Going {
        let message = format!("it is being removed: {}@{}", step.agent, plan.team);
        return Err(Failure::new(Exit::Failed, Code::Conflict, message));
    }
    for order in order::prepare(plan, step) {
        context.order(order.cmd, &order.args)?;
    }
    Ok(())
}

/// Everybody whose turn it is at once, the rest when those they wait for run; until all run or have failed.
fn start(context: &Context, plan: &Plan, starts: &mut Starts) -> Result<(), Failure> {
    begin(context, plan, starts)?;
    let mut progress = Progress {
        team: &plan.team,
        is_silent: context.out.is_json() || context.out.is_quiet(),
        ask_at: Instant::now() + WONDER_AFTER,
        is_long: false,
    };
    while !starts.is_done() {
        let deadline = starts.deadline().unwrap_or_else(|| Instant::now() + START_PATIENCE);
        until(context, Some(deadline.min(progress.ask_at)), |quiet| {
            starts.see(&look(quiet, &plan.team)?, Instant::now());
            begin(quiet, plan, starts)?;
            progress.tell(starts);
            Ok(starts.is_done().then_some(()))
        })?;
        progress.ask(starts);
    }
    Ok(())
}

/// A person who has waited for so long wonders who is up and whom it waits for.
const WONDER_AFTER: Duration = Duration::from_secs(3);
const WONDER_AGAIN: Duration = Duration::from_secs(15);

/// What is told beside the work, once it takes long: the end tells all of it again.
struct Progress<'a> {
    team: &'a Name,
    is_silent: bool,
    ask_at: Instant,
    is_long: bool,
}

impl Progress<'_> {
    /// Who has come up or failed.
    fn tell(&self, starts: &mut Starts) {
        if !self.is_long || self.is_silent {
            return;
        }
        for (agent, stage) in starts.news() {
            let what = match stage {
                Stage::Runs(_) => "is up".to_owned(),
                Stage::Ended(_) => "ran and ended".to_owned(),
                Stage::Failed(why) => why,
                Stage::Waiting { .. } | Stage::Begun { .. } => continue,
            };
            eprintln!("agentmux: {agent}@{}: {}", self.team, plain(&what));
        }
    }

    /// Whom it waits for, when it is time to say that.
    fn ask(&mut self, starts: &mut Starts) {
        if Instant::now() < self.ask_at {
            return;
        }
        (self.is_long, self.ask_at) = (true, Instant::now() + WONDER_AGAIN);
        self.tell(starts);
        for (agent, why) in starts.slow().into_iter().filter(|_| !self.is_silent) {
            eprintln!("agentmux: waiting for {agent}@{}: {}", self.team, plain(why));
        }
    }
}

fn begin(context: &Context, plan: &Plan, starts: &mut Starts) -> Result<(), Failure> {
    loop {
        let due = starts.due();
        if due.is_empty() {
            return Ok(());
        }
        for step in plan.steps.iter().filter(|step| due.contains(&step.agent)) {
            let stage = match order(context, plan, step) {
                Ok(run) => Stage::Begun { run, until: Instant::now() + START_PATIENCE },
                Err(failure) => Stage::Failed(told(failure)?),
            };
            starts.put(&step.agent, stage);
        }
    }
}

/// The number of the run that was asked for.
fn order(context: &Context, plan: &Plan, step: &Step) -> Result<u64, Failure> {
    let Some(order) = order::start(plan, step) else { return Ok(0) };
    let answer = context.order(order.cmd, &order.args)?;
    Ok(answer["run"].as_u64().unwrap_or(0))
}

fn look(context: &Context, team: &Name) -> Result<BTreeMap<Name, Seen>, Failure> {
    let agents = context.ask("agents", &json!({ "all": true, "team": team }))?;
    let seen = agents.as_array().into_iter().flatten().filter_map(|agent| {
        // A state that this program does not know is one of a run.
        let state = serde_json::from_value(agent["state"].clone()).unwrap_or(AgentState::Unknown);
        let is_starting = match state {
            AgentState::Starting => true,
            // What waits for it stands before that it is starting.
            AgentState::Queued => !is_open(context, &agent["uid"]),
            _ => false,
        };
        let seen = Seen {
            state,
            is_starting,
            run: agent["run"].as_u64().unwrap_or(0),
            pid: agent["pid"].as_u64(),
            reason: agent["reason"].as_str().map(str::to_owned),
        };
        Some((Name::new(agent["name"].as_str()?).ok()?, seen))
    });
    Ok(seen.collect())
}

/// Whether an agent that runs can be spoken to; one of which that cannot be told can.
fn is_open(context: &Context, agent: &Value) -> bool {
    let Ok(detail) = context.ask("agent", &json!({ "agent": agent })) else { return true };
    let run = &detail["current_run"];
    run["state"]["type"] != "starting" && run["activity"]["phase"]["is"] != "opening"
}

/// Waits for the end of those that are removed; who is gone.
fn see_off(context: &Context, plan: &Plan) -> Result<Vec<Name>, Failure> {
    let leaving: Vec<_> = plan.steps.iter().filter(|step| matches!(step.act, Act::Remove { .. })).collect();
    if leaving.is_empty() {
        return Ok(Vec::new());
    }
    let mut gone = Vec::new();
    until(context, Some(Instant::now() + END_PATIENCE), |context| {
        let left = look(context, &plan.team)?;
        gone = leaving.iter().filter(|step| !left.contains_key(&step.agent)).map(|step| step.agent.clone()).collect();
        Ok((gone.len() == leaving.len()).then_some(()))
    })?;
    Ok(gone)
}

/// Why it did not work for one agent; without a server it works for none.
fn told(failure: Failure) -> Result<String, Failure> {
    if failure.exit == Exit::Unreachable {
        return Err(failure);
    }
    Ok(match failure.rejection.hint {
        Some(hint) => format!("{} ({hint})", failure.rejection.message),
        None => failure.rejection.message,
    })
}
