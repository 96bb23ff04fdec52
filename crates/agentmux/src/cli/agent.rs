//! Agents: create, show, start, stop, look, press keys.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use amux_proto::Code;
use amux_proto::exit::Exit;
use serde_json::{Value, json};

use super::wait::duration_ms;
use crate::context::Context;
use crate::output::{age, word};
use crate::report::Failure;
use crate::text::{coloured, plain};

#[derive(clap::Args)]
pub(crate) struct New {
    name: String,
    /// What it is: shell, or cmd (a program after --)
    #[arg(long = "agent", value_name = "KIND")]
    kind: String,
    #[arg(long, value_name = "TEAM")]
    team: Option<String>,
    /// Where it works; here unless given
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// A variable of its environment; not for secrets, definitions are part of the log
    #[arg(long, value_name = "K=V")]
    env: Vec<String>,
    /// Create it without starting it
    #[arg(long)]
    no_start_agent: bool,
    /// The program and its arguments, or arguments for the shell
    #[arg(last = true)]
    args: Vec<String>,
}

/// Kinds of the contract that this build does not run.
const LATER: [&str; 8] = ["claude", "codex", "gemini", "qwen", "opencode", "acp", "ndjson", "tmux"];

impl New {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        if LATER.contains(&self.kind.split(':').next().unwrap_or_default()) {
            let message = format!("this build runs shell and cmd agents only, not: {}", self.kind);
            let hint = format!("agentmux new {} --agent cmd -- {}", self.name, self.kind);
            return Err(Failure::new(Exit::Usage, Code::Unsupported, message).hint(hint));
        }
        if !["shell", "cmd"].contains(&self.kind.as_str()) {
            return Err(Failure::usage(format!("no such kind of agent: {}", self.kind)).hint("agentmux new --help"));
        }
        if self.kind == "cmd" && self.args.is_empty() {
            let hint = format!("agentmux new {} --agent cmd -- PROGRAM", self.name);
            return Err(Failure::usage("a cmd agent needs a program after --").hint(hint));
        }
        let cwd = self.cwd.clone().map_or_else(std::env::current_dir, std::path::absolute);
        let cwd = cwd.map_err(|error| Failure::failed(format!("the working directory is not known: {error}")))?;
        let mut env = BTreeMap::new();
        for pair in &self.env {
            let (key, value) = pair.split_once('=').ok_or_else(|| Failure::usage(format!("not K=V: {pair}")))?;
            env.insert(key, value);
        }
        let args = json!({
            "name": self.name, "kind": self.kind, "team": self.team, "cwd": cwd, "env": env,
            "argv": self.args, "start": !self.no_start_agent,
        });
        let answer = context.order("agent.create", &args)?;
        let agent = word(&answer["agent"]);
        Ok(context.out.done(&answer, || match self.no_start_agent {
            true => format!("{agent} created"),
            false => format!("{agent} created and starting\n  agentmux look {agent}"),
        }))
    }
}

#[derive(clap::Args)]
pub(crate) struct Named {
    #[arg(required = true, value_name = "AGENT")]
    agents: Vec<String>,
}

pub(crate) fn start(context: &Context, named: &Named) -> Result<ExitCode, Failure> {
    each(context, &named.agents, "agent.start", |agent| json!({ "agent": agent }), "starting", "runs already")
}

#[derive(clap::Args)]
pub(crate) struct Stop {
    #[arg(required = true, value_name = "AGENT")]
    agents: Vec<String>,
    /// How long it may take before it is killed
    #[arg(long, value_name = "DUR", value_parser = duration_ms)]
    grace: Option<u64>,
}

pub(crate) fn stop(context: &Context, stop: &Stop) -> Result<ExitCode, Failure> {
    let args = |agent: &str| json!({ "agent": agent, "grace_ms": stop.grace });
    each(context, &stop.agents, "agent.stop", args, "stopping", "was stopped already")
}

pub(crate) fn restart(context: &Context, stop: &Stop) -> Result<ExitCode, Failure> {
    let args = |agent: &str| json!({ "agent": agent, "grace_ms": stop.grace });
    each(context, &stop.agents, "agent.restart", args, "restarting", "is restarting already")
}

#[derive(clap::Args)]
pub(crate) struct Rm {
    #[arg(required = true, value_name = "AGENT")]
    agents: Vec<String>,
    /// Stop it first when it runs
    #[arg(long)]
    stop: bool,
}

impl Rm {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        let args = |agent: &str| json!({ "agent": agent, "stop": self.stop });
        each(context, &self.agents, "agent.remove", args, "removed", "is being removed already")
    }
}

/// One order for each; one that is refused does not stop the others.
fn each(
    context: &Context,
    agents: &[String],
    verb: &str,
    args: impl Fn(&str) -> Value,
    done: &str,
    nothing: &str,
) -> Result<ExitCode, Failure> {
    let mut answers = Vec::new();
    let mut failures: Vec<(String, Failure)> = Vec::new();
    for agent in agents {
        match context.order(verb, &args(agent)) {
            Ok(answer) => answers.push((agent, answer)),
            Err(failure) => failures.push((agent.clone(), failure)),
        }
    }
    let first = failures.pop();
    if let (Some((_, failure)), true) = (first, answers.is_empty()) {
        return Err(failure);
    }
    let partly = answers.len() < agents.len();
    let data: Vec<_> = answers.iter().map(|(_, answer)| answer.clone()).collect();
    let data = if agents.len() == 1 { data.into_iter().next().unwrap_or_default() } else { data.into() };
    let code = context.out.done(&data, || {
        let lines = answers.iter().map(|(agent, answer)| {
            let what = if answer["changed"] == false { nothing } else { done };
            format!("{} {what}", plain(answer["agent"].as_str().unwrap_or(agent)))
        });
        lines.collect::<Vec<_>>().join("\n")
    });
    for (agent, failure) in &failures {
        eprintln!("agentmux: {agent}: {}", plain(&failure.rejection.message));
    }
    Ok(if partly { ExitCode::from(Exit::Partly as u8) } else { code })
}

#[derive(clap::Args)]
pub(crate) struct Rename {
    agent: String,
    name: String,
}

impl Rename {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        let answer = context.order("agent.rename", &json!({ "agent": self.agent, "name": self.name }))?;
        Ok(context.out.done(&answer, || match answer["changed"] == false {
            true => format!("{} has that name already", self.name),
            false => format!("{} is now {}", self.agent, self.name),
        }))
    }
}

#[derive(clap::Args)]
pub(crate) struct Show {
    agent: String,
}

impl Show {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        let detail = context.ask("agent", &json!({ "agent": self.agent }))?;
        Ok(context.out.done(&detail, || {
            let agent = &detail["agent"];
            let argv: Vec<_> = detail["definition"]["argv"].as_array().into_iter().flatten().map(word).collect();
            let mut lines = vec![
                format!("{}@{}", word(&agent["name"]), word(&agent["team"])),
                format!(
                    "  state    {} for {}",
                    word(&agent["state"]),
                    age(agent["since"].as_str().unwrap_or_default())
                ),
                format!("  kind     {} {}", word(&agent["kind"]), argv.join(" ")),
                format!("  cwd      {}", word(&agent["cwd"])),
                format!("  run      {} (pid {})", word(&agent["run"]), word(&agent["pid"])),
                format!("  uid      {}", word(&agent["uid"])),
            ];
            for evidence in detail["evidence"].as_array().into_iter().flatten() {
                let (fact, source) = (word(&evidence["fact"]), word(&evidence["source"]));
                let at = age(evidence["at"].as_str().unwrap_or_default());
                lines.push(format!("  because  {fact} ({source}, {at} ago)"));
            }
            lines.iter().map(|line| plain(line)).collect::<Vec<_>>().join("\n")
        }))
    }
}

#[derive(clap::Args)]
pub(crate) struct Look {
    agent: String,
    /// The last N lines of screen and scrollback
    #[arg(long, value_name = "N")]
    lines: Option<u32>,
    /// Keep colours
    #[arg(long)]
    ansi: bool,
}

impl Look {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        let args = json!({ "agent": self.agent, "lines": self.lines, "ansi": self.ansi });
        let look = context.ask("look", &args)?;
        Ok(context.out.done(&look, || {
            let clean = |line: &Value| {
                let text = line.as_str().unwrap_or_default();
                if self.ansi { coloured(text) } else { plain(text) }
            };
            let lines: Vec<_> = look["lines"].as_array().into_iter().flatten().map(clean).collect();
            let shown = lines.iter().rposition(|line| !line.is_empty()).map_or(0, |at| at + 1);
            if shown == 0 { "(the screen is empty)".into() } else { lines[..shown].join("\n") }
        }))
    }
}

#[derive(clap::Args)]
pub(crate) struct Keys {
    agent: String,
    /// Names (Enter, Escape, C-c, Up …) or text; after -- text may begin with a dash
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,
}

impl Keys {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        let answer = context.act("agent.keys", &json!({ "agent": self.agent, "keys": self.keys }))?;
        Ok(context.out.done(&answer, || format!("{} got {} keys", word(&answer["agent"]), self.keys.len())))
    }
}
