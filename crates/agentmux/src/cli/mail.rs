//! `agentmux mail`: when an agent may be given its mail.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::wait::duration_ms;
use crate::context::Context;
use crate::output::word;
use crate::report::Failure;

#[derive(clap::Args)]
pub(crate) struct Mail {
    agent: String,
    /// Give it nothing until somebody says so
    #[arg(long)]
    pause: bool,
    /// Give it what waits, and what comes
    #[arg(long, conflicts_with = "pause")]
    resume: bool,
    /// What an ordinary message waits for while the agent works
    #[arg(long, value_name = "WHEN", value_parser = ["now", "boundary", "turn-end"])]
    while_working: Option<String>,
    /// How long a boundary is waited for at most
    #[arg(long, value_name = "DUR", value_parser = duration_ms)]
    boundary: Option<u64>,
    /// So often in an hour other agents may wake it; then their mail is collected
    #[arg(long, value_name = "N")]
    wakes_per_hour: Option<u32>,
}

impl Mail {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        let paused = match (self.pause, self.resume) {
            (true, _) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        };
        let while_working = self.while_working.as_deref().map(|when| when.replace('-', "_"));
        let says_something =
            paused.is_some() || while_working.is_some() || self.boundary.is_some() || self.wakes_per_hour.is_some();
        if !says_something {
            let shown = context.ask("agent", &json!({ "agent": self.agent }))?;
            let name = format!("{}@{}", word(&shown["agent"]["name"]), word(&shown["agent"]["team"]));
            let answer = json!({ "agent": name, "mail": shown["mail"] });
            return Ok(context.out.done(&answer, || words(&answer)));
        }
        // What is not said stays.
        let args = json!({
            "agent": self.agent, "paused": paused, "while_working": while_working,
            "boundary_ms": self.boundary, "wakes_per_hour": self.wakes_per_hour,
        });
        let answer = context.order("agent.mail", &args)?;
        Ok(context.out.done(&answer, || words(&answer)))
    }
}

fn words(answer: &Value) -> String {
    let rules = &answer["mail"];
    let mail = if rules["paused"] == true { "paused; nothing is given until it is resumed" } else { "given" };
    let boundary_s = rules["boundary_ms"].as_u64().unwrap_or_default() as f64 / 1000.0;
    let working = match rules["while_working"].as_str() {
        Some("now") => "now; the agent reads it when it likes".to_owned(),
        Some("boundary") => format!("at a boundary, waited for {boundary_s} s at most"),
        Some("turn_end") => "at the end of the turn".to_owned(),
        _ => word(&rules["while_working"]),
    };
    let wakes = word(&rules["wakes_per_hour"]);
    [
        word(&answer["agent"]),
        format!("  mail           {mail}"),
        format!("  while working  {working}"),
        format!("  woken          by other agents {wakes} times in an hour at most"),
    ]
    .join("\n")
}
