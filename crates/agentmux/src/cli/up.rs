//! `agentmux up`: the team as a file wants it. What will be done is shown before anything is; what runs is restarted
//! only when it is to run something else, and only when somebody said yes to that.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use amux_proto::entity::Agent;
use amux_proto::exit::Exit;
use amux_proto::view::AgentState;
use amux_proto::{Code, Name};
use amux_team::parse::{Mail, Work};
use amux_team::plan::{Act, Extra, Plan, plan};
use serde_json::{Value, json};

use crate::context::Context;
use crate::output::{Output, table};
use crate::report::{Failure, say};
use crate::teamfile::apply::{Now, Outcome, apply, observe};
use crate::teamfile::find::{Found, LEAD, load};

#[derive(clap::Args)]
pub(crate) struct Up {
    /// The team file; else the nearest agentmux.toml upward, else a team of this directory
    file: Option<PathBuf>,
    /// Restart and remove what runs without asking
    #[arg(short, long)]
    yes: bool,
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Remove the agents of the team that the file does not name
    #[arg(long)]
    prune: bool,
}

impl Up {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        let found = load(context, self.file.as_deref())?;
        if self.prune && found.file.is_none() {
            return Err(Failure::usage("without a team file nothing can be removed for not being in it: --prune"));
        }
        let (found, plan) = self.planned(context, found)?;
        let idle = plan.steps.iter().all(|step| !step.does_something()) && !plan.make_team;
        let mut data = json!({
            "team": plan.team, "file": found.file, "changed": !idle && !self.dry_run, "dry_run": self.dry_run,
            "plan": plan.steps.iter().map(|step| step.told()).collect::<Vec<_>>(), "agents": [],
        });
        if idle {
            return Ok(context.out.done(&data, || nothing_to_do(&plan, found.file.as_deref())));
        }
        if self.dry_run {
            return Ok(context.out.done(&data, || format!("{}\nnothing was done", planned(&plan, context.out))));
        }
        if !context.out.is_json() && !context.out.is_quiet() {
            say(&planned(&plan, context.out));
        }
        let ending: Vec<&str> =
            plan.steps.iter().filter(|step| step.ends_a_run()).map(|step| step.agent.as_str()).collect();
        if !ending.is_empty() && !self.yes {
            let words =
                format!("{} of {} would be ended to go on: {}", runs(ending.len()), plan.team, ending.join(", "));
            confirm(context, &words, &self.with_yes())?;
        }
        let outcomes = apply(context, &plan)?;
        data["agents"] = outcomes.iter().map(|outcome| told(&plan.team, outcome)).collect();
        let code = context.out.done(&data, || became(&plan, &outcomes, context.out));
        let failed: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.result.is_err()).collect();
        if failed.is_empty() {
            return Ok(code);
        }
        if !context.out.is_json() {
            let names: Vec<_> = failed.iter().map(|outcome| outcome.agent.as_str()).collect();
            eprintln!("agentmux: {} of {} did not work: {}", failed.len(), outcomes.len(), names.join(", "));
        }
        Ok(ExitCode::from(Exit::Partly as u8))
    }

    fn planned(&self, context: &Context, mut found: Found) -> Result<(Found, Plan), Failure> {
        let (teams, mut agents) = observe(context)?;
        let team = teams.into_iter().find(|team| team.name == found.wanted.team);
        if let Some(team) = team.as_ref().filter(|team| team.removing) {
            return Err(Failure::new(
                Exit::Failed,
                Code::Conflict,
                format!("the team is being removed: {}", team.name),
            ));
        }
        agents.retain(|agent| team.as_ref().is_some_and(|team| team.id == agent.team));
        if found.file.is_none() {
            as_it_is(&mut found, &agents)?;
        }
        let extra = if self.prune { Extra::Remove } else { Extra::Leave };
        let plan = plan(&found.wanted, team.map(|_| agents.as_slice()), extra);
        Ok((found, plan))
    }

    /// The same command with the question answered.
    fn with_yes(&self) -> String {
        let file = self.file.as_ref().map(|file| format!(" {}", file.display())).unwrap_or_default();
        format!("agentmux up{file}{} --yes", if self.prune { " --prune" } else { "" })
    }
}

/// Nobody wrote down what the agent of a directory is, so it stays what it is: a CLI that was installed since is no
/// reason for another one.
fn as_it_is(found: &mut Found, agents: &[Agent]) -> Result<(), Failure> {
    let Some(lead) = agents.iter().find(|agent| agent.name.as_str() == LEAD) else { return Ok(()) };
    let wanted = &mut found.wanted.agents[0];
    if lead.definition.cwd != wanted.work.cwd {
        let (team, dir) = (&found.wanted.team, &lead.definition.cwd);
        let message = format!("another directory has a team of this name: {team} ({dir})");
        return Err(
            Failure::new(Exit::Failed, Code::Conflict, message).hint("write an agentmux.toml with another name")
        );
    }
    let definition = lead.definition.clone();
    wanted.work = Work {
        kind: definition.kind,
        argv: definition.argv,
        cwd: definition.cwd,
        env: definition.env,
        model: definition.model,
        mode: definition.mode,
        worktree: definition.worktree,
    };
    (wanted.role, wanted.groups, wanted.mail) = (lead.role.clone(), lead.groups.clone(), Mail::default());
    Ok(())
}

/// Goes on when a person says yes. Where nobody can be asked, only a flag says it.
pub(crate) fn confirm(context: &Context, words: &str, with_yes: &str) -> Result<(), Failure> {
    if context.out.is_json() || !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Failure::usage(format!("{words}; nothing was done")).hint(with_yes));
    }
    eprint!("{words}. Go on? [y/N] ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    if read.is_ok() && ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
        return Ok(());
    }
    Err(Failure::failed("nothing was done: it was not agreed to"))
}

/// `1 running agent`, `3 running agents`.
pub(crate) fn runs(count: usize) -> String {
    format!("{count} running agent{}", if count == 1 { "" } else { "s" })
}

fn nothing_to_do(plan: &Plan, file: Option<&Path>) -> String {
    let of_team = plan.steps.iter().filter(|step| step.act == Act::Keep).count();
    let as_what = file.map_or_else(|| "there".to_owned(), |file| format!("as {} says", file.display()));
    let mut words = format!("team {} is {as_what}: {of_team} agents, nothing to do", plan.team);
    let spare: Vec<_> =
        plan.steps.iter().filter(|step| step.act == Act::Spare).map(|step| step.agent.as_str()).collect();
    if !spare.is_empty() {
        words.push_str(&format!("\nnot in the file: {} (--prune removes them)", spare.join(", ")));
    }
    words
}

fn planned(plan: &Plan, out: Output) -> String {
    let head = if plan.make_team { format!("team {} is new\n", plan.team) } else { String::new() };
    let rows: Vec<Vec<String>> = plan
        .steps
        .iter()
        .map(|step| {
            let mut why = step.why.join(", ");
            if step.starts() && !step.after.is_empty() {
                let after: Vec<_> = step.after.iter().map(Name::as_str).collect();
                why.push_str(&format!("; after {}", after.join(", ")));
            }
            vec![step.agent.to_string(), step.what().to_owned(), why]
        })
        .collect();
    let style = |at: usize, text: &str| if at == 0 { out.bold(text) } else { text.to_owned() };
    format!("{head}{}", table(&["agent", "what", "why"], &rows, style, out))
}

/// What happened, an agent a line.
fn became(plan: &Plan, outcomes: &[Outcome], out: Output) -> String {
    let rows: Vec<Vec<String>> = outcomes
        .iter()
        .map(|outcome| {
            let (state, words) = match &outcome.result {
                Ok(Now::Runs(seen)) => {
                    (state(seen.state), seen.pid.map_or_else(String::new, |pid| format!("pid {pid}")))
                }
                Ok(Now::Ended(seen)) => {
                    (state(seen.state), format!("ran and ended: {}", seen.reason.as_deref().unwrap_or("?")))
                }
                Ok(Now::Changed) => ("done".into(), String::new()),
                Ok(Now::Gone) => ("removed".into(), String::new()),
                Ok(Now::Goes) => ("leaving".into(), "goes when it has stopped".into()),
                Err(why) => ("failed".into(), why.clone()),
            };
            vec![format!("{}@{}", outcome.agent, plan.team), state, words]
        })
        .collect();
    let style = |at: usize, text: &str| match at {
        0 => out.bold(text),
        1 => out.state(text),
        _ => text.to_owned(),
    };
    format!("\n{}", table(&["agent", "is", ""], &rows, style, out))
}

fn told(team: &Name, outcome: &Outcome) -> Value {
    let mut told = json!({
        "agent": format!("{}@{team}", outcome.agent), "what": outcome.what, "ok": outcome.result.is_ok(),
        "state": null, "run": null, "pid": null, "error": null,
    });
    match &outcome.result {
        Ok(Now::Runs(seen) | Now::Ended(seen)) => {
            told["state"] = json!(seen.state);
            told["run"] = seen.run.into();
            told["pid"] = json!(seen.pid);
        }
        Ok(Now::Changed | Now::Gone | Now::Goes) => {}
        Err(why) => told["error"] = why.as_str().into(),
    }
    told
}

fn state(state: AgentState) -> String {
    crate::output::word(&json!(state))
}
