//! `agentmux down`: the agents of a team stop. How many run is said first, and nothing is started for it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use amux_proto::entity::{Agent, Desired, Run};
use amux_proto::exit::Exit;
use amux_proto::{AgentId, Code, Name};
use serde_json::{Value, json};

use super::up::{confirm, runs};
use super::wait::until;
use crate::context::Context;
use crate::report::Failure;
use crate::teamfile::apply::{END_PATIENCE, observe};
use crate::teamfile::find;
use crate::text::plain;

#[derive(clap::Args)]
pub(crate) struct Down {
    /// The team; else that of the nearest agentmux.toml upward, else that of this directory
    #[arg(conflicts_with = "all")]
    team: Option<String>,
    /// Every agent of every team
    #[arg(long)]
    all: bool,
    /// Stop them without asking
    #[arg(short, long)]
    yes: bool,
}

impl Down {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        let context = &context.without_start();
        let team = match (&self.team, self.all) {
            (_, true) => None,
            (Some(team), false) => Some(Name::new(team).map_err(|error| Failure::usage(error.to_string()))?),
            (None, false) => Some(find::name()?),
        };
        let (whose, running) = running(context, team.as_ref())?;
        if running.is_empty() {
            let data = json!({ "team": team, "running": 0, "agents": [] });
            return Ok(context.out.done(&data, || format!("nothing runs in {whose}")));
        }
        let labels: Vec<&str> = running.iter().map(|(_, label)| label.as_str()).collect();
        let words = format!("{} of {whose}: {}", runs(running.len()), labels.join(", "));
        if !self.yes {
            confirm(context, &format!("{words}: to be stopped"), &self.with_yes(team.as_ref()))?;
        } else if !context.out.is_json() && !context.out.is_quiet() {
            crate::report::say(&format!("stopping {}", plain(&words)));
        }
        let (told, failed) = stop(context, &running)?;
        let stopped = running.len() - failed.len();
        let data = json!({ "team": team, "running": running.len(), "agents": told });
        let code = context.out.done(&data, || format!("{stopped} stopped"));
        if failed.is_empty() {
            return Ok(code);
        }
        if !context.out.is_json() {
            eprintln!("agentmux: not stopped: {}", plain(&failed.join(", ")));
        }
        Ok(ExitCode::from(Exit::Partly as u8))
    }

    fn with_yes(&self, team: Option<&Name>) -> String {
        match team {
            Some(team) => format!("agentmux down {team} --yes"),
            None => "agentmux down --all --yes".into(),
        }
    }
}

/// Whose agents they are, in words, and those that run or are about to.
fn running(context: &Context, team: Option<&Name>) -> Result<(String, Vec<(AgentId, String)>), Failure> {
    let (teams, agents) = observe(context)?;
    let found = team.map(|name| teams.iter().find(|team| team.name == *name).ok_or(name)).transpose();
    let found = found.map_err(|name| {
        let near = amux_team::parse::nearest(name.as_str(), teams.iter().map(|team| team.name.as_str()));
        let hint = near.map_or_else(|| "agentmux team ls".into(), |near| format!("did you mean {near}?"));
        Failure::new(Exit::NotFound, Code::NotFound, format!("no such team: {name}")).hint(hint)
    })?;
    let is_up = |agent: &&Agent| {
        agent.run.as_ref().is_some_and(Run::is_live) || matches!(agent.desired, Desired::Running { .. })
    };
    let is_of = |agent: &&Agent| found.is_none_or(|team| team.id == agent.team);
    let label = |agent: &Agent| match teams.iter().find(|team| team.id == agent.team) {
        Some(team) => format!("{}@{}", agent.name, team.name),
        None => agent.name.to_string(),
    };
    let running = agents.iter().filter(is_of).filter(is_up).map(|agent| (agent.id, label(agent))).collect();
    let whose = found.map_or_else(|| "all teams".to_owned(), |team| format!("team {}", team.name));
    Ok((whose, running))
}

/// All are told at once; what is said of each, and who did not stop.
fn stop(context: &Context, running: &[(AgentId, String)]) -> Result<(Vec<Value>, Vec<String>), Failure> {
    let mut refused = BTreeMap::new();
    for (id, _) in running {
        match context.order("agent.stop", &json!({ "agent": id })) {
            Ok(_) => {}
            Err(failure) if failure.exit == Exit::Unreachable => return Err(failure),
            Err(failure) => drop(refused.insert(*id, failure.rejection.message)),
        }
    }
    let mut left: BTreeSet<AgentId> =
        running.iter().map(|(id, _)| *id).filter(|id| !refused.contains_key(id)).collect();
    let deadline = Instant::now() + Duration::from_millis(grace_ms(context)?) + END_PATIENCE;
    until(context, Some(deadline), |context| {
        let (_, agents) = observe(context)?;
        let lives =
            |id: &AgentId| agents.iter().any(|agent| agent.id == *id && agent.run.as_ref().is_some_and(Run::is_live));
        left.retain(lives);
        Ok(left.is_empty().then_some(()))
    })?;
    let mut failed = Vec::new();
    let told = running.iter().map(|(id, label)| {
        let why = refused.get(id).map(String::as_str).or_else(|| left.contains(id).then_some("not in time"));
        failed.extend(why.map(|why| format!("{label} ({why})")));
        json!({ "agent": label, "stopped": why.is_none(), "error": why })
    });
    Ok((told.collect(), failed))
}

/// How long a stop may take when nobody says otherwise.
fn grace_ms(context: &Context) -> Result<u64, Failure> {
    let settings = context.ask("settings", &json!({}))?;
    let set = settings.as_array().into_iter().flatten().find(|setting| setting["key"] == "agent.stop_grace_ms");
    Ok(set.and_then(|setting| setting["value"].as_u64()).unwrap_or(0))
}
