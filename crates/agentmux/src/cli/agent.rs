//! Agents: create, show, start, stop, look, press keys.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use amux_proto::Code;
use amux_proto::exit::Exit;
use amux_sys::process;
use serde_json::{Value, json};

use super::wait::{duration_ms, until};
use crate::context::Context;
use crate::output::{age, word};
use crate::report::Failure;
use crate::text::{coloured, plain};

#[derive(clap::Args)]
pub(crate) struct New {
    name: String,
    /// What it is: claude, codex, gemini, qwen, opencode, shell, cmd (a program after --), acp or ndjson (the same,
    /// in those protocols), tmux:TARGET (a pane that is there), or a kind of agents.toml
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
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// The CLI's permission mode, in its own word
    #[arg(long, value_name = "MODE")]
    mode: Option<String>,
    /// Go on with a conversation, by the CLI's id of it
    #[arg(long, value_name = "ID")]
    resume: Option<String>,
    /// Give it a git worktree and a branch of its own
    #[arg(long)]
    worktree: bool,
    /// Create it without starting it
    #[arg(long)]
    no_start_agent: bool,
    /// The program and its arguments, or arguments for the shell
    #[arg(last = true)]
    args: Vec<String>,
}

impl New {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        if ["cmd", "acp", "ndjson"].contains(&self.kind.as_str()) && self.args.is_empty() {
            let hint = format!("agentmux new {} --agent {} -- COMMAND", self.name, self.kind);
            return Err(Failure::usage(format!("a command is needed: {}", self.kind)).hint(hint));
        }
        let mut argv = self.args.clone();
        // The pane is the first word of what is run.
        let kind = match self.kind.split_once(':') {
            Some(("tmux", target)) => {
                // The one that `tmux` means here, unless it is said which; our server may have begun elsewhere.
                let is_said = !argv.is_empty() || self.env.iter().any(|pair| pair.starts_with("TMUX"));
                if !is_said {
                    argv = vec!["-S".to_owned(), tmux_socket()];
                }
                argv.insert(0, target.to_owned());
                "tmux"
            }
            _ => &self.kind,
        };
        let cwd = self.cwd.clone().map_or_else(std::env::current_dir, std::path::absolute);
        let cwd = cwd.map_err(|error| Failure::failed(format!("the working directory is not known: {error}")))?;
        let mut env = BTreeMap::new();
        for pair in &self.env {
            let (key, value) = pair.split_once('=').ok_or_else(|| Failure::usage(format!("not K=V: {pair}")))?;
            env.insert(key, value);
        }
        let args = json!({
            "name": self.name, "kind": kind, "team": self.team, "cwd": cwd, "env": env,
            "argv": argv, "start": !self.no_start_agent, "model": self.model, "mode": self.mode,
            "resume": self.resume, "worktree": self.worktree,
        });
        let answer = context.order("agent.create", &args)?;
        if self.no_start_agent {
            return Ok(context.out.done(&answer, || format!("{} created", word(&answer["agent"]))));
        }
        let (answer, words) = begun(context, answer)?;
        let look = format!("agentmux look {}", word(&answer["agent"]));
        Ok(context.out.done(&answer, || format!("{words}\n  {}", context.out.dim(&look))))
    }
}

/// Where tmux looks when it is run here.
fn tmux_socket() -> String {
    let told = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let inside = told("TMUX").and_then(|of| of.split(',').next().map(str::to_owned)).filter(|path| !path.is_empty());
    let default = || format!("{}/tmux-{}/default", told("TMUX_TMPDIR").as_deref().unwrap_or("/tmp"), process::uid());
    inside.unwrap_or_else(default)
}

#[derive(clap::Args)]
pub(crate) struct Named {
    #[arg(required = true, value_name = "AGENT")]
    agents: Vec<String>,
}

#[derive(clap::Args)]
pub(crate) struct Start {
    #[arg(required = true, value_name = "AGENT")]
    agents: Vec<String>,
    /// End whoever drives its conversation elsewhere on this machine
    #[arg(long)]
    take_over: bool,
}

pub(crate) fn interrupt(context: &Context, named: &Named) -> Result<ExitCode, Failure> {
    each(context, &named.agents, |agent| {
        let answer = context.act("agent.interrupt", &json!({ "agent": agent }))?;
        let words = format!("{} was interrupted", word(&answer["agent"]));
        Ok((answer, words))
    })
}

pub(crate) fn start(context: &Context, start: &Start) -> Result<ExitCode, Failure> {
    each(context, &start.agents, |agent| {
        if start.take_over {
            context.act("agent.take_over", &json!({ "agent": agent }))?;
        }
        let answer = context.order("agent.start", &json!({ "agent": agent }))?;
        if answer["changed"] == false {
            let words = format!("{} runs already", word(&answer["agent"]));
            return Ok((answer, words));
        }
        begun(context, answer)
    })
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
    each(context, &stop.agents, |agent| {
        let answer = context.order("agent.stop", &json!({ "agent": agent, "grace_ms": stop.grace }))?;
        ended(context, answer, stop.grace)
    })
}

pub(crate) fn restart(context: &Context, stop: &Stop) -> Result<ExitCode, Failure> {
    each(context, &stop.agents, |agent| {
        begun(context, context.order("agent.restart", &json!({ "agent": agent, "grace_ms": stop.grace }))?)
    })
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
        each(context, &self.agents, |agent| {
            let mut answer = context.order("agent.remove", &json!({ "agent": agent, "stop": self.stop }))?;
            let label = word(&answer["agent"]);
            let gone = until(context, Some(Instant::now() + END_PATIENCE), |context| {
                match context.ask("agent", &json!({ "agent": answer["uid"] })) {
                    Err(failure) if failure.exit == Exit::NotFound => Ok(Some(())),
                    other => other.map(|_| None),
                }
            })?;
            answer["removed"] = gone.is_some().into();
            let words = if gone.is_some() { "removed" } else { "goes when it has stopped" };
            Ok((answer, format!("{label} {words}")))
        })
    }
}

/// From a wish to a process; beyond that it is said that it is still starting.
const BEGIN_PATIENCE: Duration = Duration::from_secs(10);

/// Beyond the grace a stop was given: the kill, and seeing that nothing is left.
const END_PATIENCE: Duration = Duration::from_secs(15);

/// The order was taken; whether the run it asked for came about.
fn begun(context: &Context, mut answer: Value) -> Result<(Value, String), Failure> {
    let label = word(&answer["agent"]);
    let found = until(context, Some(Instant::now() + BEGIN_PATIENCE), |context| {
        let detail = context.ask("agent", &json!({ "agent": answer["uid"] }))?;
        let run = &detail["current_run"];
        let is_it = run["no"].as_u64() >= answer["run"].as_u64() && run["state"]["type"] != "starting";
        Ok((is_it && !(is_pane(&detail) && is_looked_for(run))).then_some(detail))
    })?;
    let Some(detail) = found else { return Ok((answer, format!("{label} is starting"))) };
    let state = &detail["current_run"]["state"];
    answer["state"] = detail["agent"]["state"].clone();
    answer["pid"] = detail["agent"]["pid"].clone();
    let reason = word(&detail["agent"]["reason"]);
    match state["type"].as_str() {
        Some("running") => Ok((answer, format!("{label} runs (pid {})", word(&state["process"]["pid"])))),
        Some("failed") => {
            let message = format!("{label} could not be started: {}", word(&state["error"]));
            let hint = match word(&state["error"]).contains("is driven by") {
                true => format!("agentmux start {label} --take-over"),
                false => format!("agentmux show {label}"),
            };
            let mut failure = Failure::failed(message).hint(hint);
            failure.rejection = failure.rejection.details(answer);
            Err(failure)
        }
        _ if is_pane(&detail) && answer["state"] == "failed" => {
            let hint = format!("agentmux rm {label}; the panes there are: tmux list-panes -a");
            let mut failure = Failure::failed(format!("{label} has no pane: {reason}")).hint(hint);
            failure.rejection = failure.rejection.details(answer);
            Err(failure)
        }
        _ => Ok((answer, format!("{label} ran and ended: {reason}"))),
    }
}

fn is_pane(detail: &Value) -> bool {
    detail["agent"]["kind"] == "tmux"
}

/// What runs is a client of tmux, which is there before it is known whether the pane is.
fn is_looked_for(run: &Value) -> bool {
    let activity = &run["activity"];
    let is_known = activity["seen"].as_u64() > Some(0)
        && !["opening", "silent"].contains(&activity["phase"]["is"].as_str().unwrap_or(""));
    run["state"]["type"] == "running" && !is_known
}

/// The order was taken; whether the run it was about has ended.
fn ended(context: &Context, mut answer: Value, grace_ms: Option<u64>) -> Result<(Value, String), Failure> {
    let label = word(&answer["agent"]);
    let patience = Duration::from_millis(grace_ms.unwrap_or(0)) + END_PATIENCE;
    let found = until(context, Some(Instant::now() + patience), |context| {
        let detail = context.ask("agent", &json!({ "agent": answer["uid"] }))?;
        let run = &detail["current_run"];
        let lives = matches!(run["state"]["type"].as_str(), Some("starting" | "running" | "stopping"));
        Ok((run["no"] != answer["run"] || !lives).then_some(detail))
    })?;
    let Some(detail) = found else {
        let message = format!("it did not stop in time: {label}");
        return Err(Failure::new(Exit::TimedOut, Code::TimedOut, message).hint(format!("agentmux show {label}")));
    };
    answer["state"] = detail["agent"]["state"].clone();
    let words = if answer["changed"] == false { "was stopped already" } else { "stopped" };
    Ok((answer, format!("{label} {words}")))
}

/// One after the other; one that cannot be done does not stop the rest.
fn each(
    context: &Context,
    agents: &[String],
    act: impl Fn(&str) -> Result<(Value, String), Failure>,
) -> Result<ExitCode, Failure> {
    each_of("agent", context, agents, act)
}

/// The same for things of another noun.
pub(super) fn each_of(
    noun: &str,
    context: &Context,
    things: &[String],
    act: impl Fn(&str) -> Result<(Value, String), Failure>,
) -> Result<ExitCode, Failure> {
    if let [thing] = things {
        let (answer, words) = act(thing)?;
        return Ok(context.out.done(&answer, || plain(&words)));
    }
    let mut data = Vec::new();
    let mut lines = Vec::new();
    let mut failures = Vec::new();
    for thing in things {
        match act(thing) {
            Ok((answer, words)) => {
                data.push(answer);
                lines.push(plain(&words));
            }
            Err(failure) => {
                data.push(json!({ (noun): thing, "error": failure.rejection }));
                failures.push((thing, failure));
            }
        }
    }
    if failures.len() == things.len()
        && let Some((_, failure)) = failures.pop()
    {
        return Err(failure);
    }
    let code = context.out.done(&data.into(), || lines.join("\n"));
    if failures.is_empty() {
        return Ok(code);
    }
    if !context.out.is_json() {
        for (thing, failure) in &failures {
            eprintln!("agentmux: {}: {}", plain(thing), plain(&failure.rejection.message));
        }
    }
    Ok(ExitCode::from(Exit::Partly as u8))
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
            false => format!("{} is now {}", self.agent, word(&answer["agent"])),
        }))
    }
}

#[derive(clap::Args)]
pub(crate) struct Show {
    agent: String,
}

impl Show {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        let mut detail = context.ask("agent", &json!({ "agent": self.agent }))?;
        // Looked up for whoever asks; nobody keeps count in between.
        let processes = context.ask("processes", &json!({ "agent": self.agent }))?;
        detail["processes"] = processes["processes"].clone();
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
            lines.extend(told(agent));
            for request in detail["requests"].as_array().into_iter().flatten() {
                let id = super::request::short(&request["id"]);
                lines.push(format!("  asks     {} ({}: agentmux approve {id})", word(&request["title"]), id));
            }
            for process in processes["processes"].as_array().into_iter().flatten() {
                let (rss, cpu) = (process["rss_bytes"].as_u64().unwrap_or(0), process["cpu_ms"].as_u64().unwrap_or(0));
                let command: String = word(&process["command"]).chars().take(80).collect();
                let (mb, seconds) = (rss / 1_000_000, cpu as f64 / 1000.0);
                lines.push(format!("  process  {} {mb} MB {seconds:.1} s  {command}", word(&process["pid"])));
            }
            for evidence in detail["evidence"].as_array().into_iter().flatten() {
                let (fact, source) = (word(&evidence["fact"]), word(&evidence["source"]));
                let at = age(evidence["at"].as_str().unwrap_or_default());
                lines.push(format!("  because  {fact} ({source}, {at} ago)"));
            }
            lines.iter().map(|line| plain(line)).collect::<Vec<_>>().join("\n")
        }))
    }
}

/// What the CLI says of itself, where it says anything.
fn told(agent: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    if !agent["session_id"].is_null() {
        lines.push(format!("  session  {}", word(&agent["session_id"])));
    }
    if !agent["model"].is_null() {
        lines.push(format!("  model    {}", word(&agent["model"])));
    }
    if let Some(used) = agent["context_used"].as_u64() {
        let of = agent["context_size"].as_u64().map_or_else(String::new, |size| format!(" of {size}"));
        lines.push(format!("  context  {used}{of} tokens"));
    }
    if let Some(micro) = agent["cost_micro_usd"].as_u64() {
        lines.push(format!("  cost     ${:.4}", micro as f64 / 1e6));
    }
    lines
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
