//! `agentmux ls`: the agents, one a line.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::context::Context;
use crate::output::{Output, age, table, word};
use crate::report::Failure;

#[derive(clap::Args)]
pub(crate) struct Ls {
    /// Agents at rest too
    #[arg(long)]
    all: bool,
    #[arg(long, value_name = "TEAM")]
    team: Option<String>,
}

impl Ls {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        let agents = context.ask("agents", &json!({ "all": self.all, "team": self.team }))?;
        Ok(context.out.done(&agents, || {
            let none = agents.as_array().is_some_and(Vec::is_empty);
            if none && !self.all {
                "no agent runs or waits for something (agentmux ls --all shows those at rest)".into()
            } else {
                words(&agents, context.out)
            }
        }))
    }
}

pub(crate) fn words(agents: &Value, out: Output) -> String {
    let agents = agents.as_array().map(Vec::as_slice).unwrap_or_default();
    if agents.is_empty() {
        return "no agents".into();
    }
    let rows: Vec<Vec<String>> = agents
        .iter()
        .map(|agent| {
            let reason = agent["reason"].as_str().unwrap_or_default().to_owned();
            let since = age(agent["since"].as_str().unwrap_or_default());
            vec![
                word(&agent["name"]),
                word(&agent["team"]),
                word(&agent["kind"]),
                word(&agent["state"]),
                since,
                word(&agent["unread"]),
                word(&agent["cwd"]),
                reason,
            ]
        })
        .collect();
    let head = ["name", "team", "kind", "state", "since", "unread", "cwd", "reason"];
    let style = |at: usize, text: &str| match at {
        0 => out.bold(text),
        3 => out.state(text),
        _ => text.to_owned(),
    };
    table(&head, &rows, style, out)
}
