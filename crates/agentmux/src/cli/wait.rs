//! `agentmux wait`: follows the order until agents are in a state; nothing is polled.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use amux_client::follow::{Flow, follow};
use amux_proto::Code;
use amux_proto::exit::Exit;
use serde_json::{Value, json};

use crate::context::{Context, value};
use crate::output::word;
use crate::report::Failure;

#[derive(clap::Args)]
pub(crate) struct Wait {
    #[arg(required = true, value_name = "AGENT")]
    agents: Vec<String>,
    /// States, any of which will do
    #[arg(long = "for", value_name = "STATE,…", value_delimiter = ',', required = true)]
    states: Vec<String>,
    /// Exit 6 when it takes longer
    #[arg(long, value_name = "DUR", value_parser = duration_ms)]
    timeout: Option<u64>,
}

const STATES: [&str; 13] = [
    "offline",
    "failed",
    "needs_permission",
    "needs_answer",
    "needs_login",
    "rate_limited",
    "compacting",
    "working",
    "queued",
    "background",
    "idle",
    "starting",
    "unknown",
];

impl Wait {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        if let Some(unknown) = self.states.iter().find(|state| !STATES.contains(&state.as_str())) {
            let hint = format!("one of {}", STATES.join(", "));
            return Err(Failure::usage(format!("no such state: {unknown}")).hint(hint));
        }
        let deadline = self.timeout.map(|ms| Instant::now() + Duration::from_millis(ms));
        let mut missing = self.look(context)?;
        if !missing.is_empty() {
            let socket = context.layout.srv_socket();
            let topics = ["agent", "run", "request", "message"].map(str::to_owned);
            let mut failure = None;
            let heard = follow(&socket, context.client()?, &topics, None, deadline, |_| match self.look(context) {
                Ok(still) => {
                    missing = still;
                    if missing.is_empty() { Flow::Enough } else { Flow::GoOn }
                }
                Err(error) => {
                    failure = Some(error);
                    Flow::Enough
                }
            });
            if let Some(failure) = failure {
                return Err(failure);
            }
            if !heard? {
                let names: Vec<_> = missing.iter().map(|(name, state)| format!("{name} is {state}")).collect();
                let message = format!("not in time: {}", names.join(", "));
                return Err(Failure::new(Exit::TimedOut, Code::TimedOut, message));
            }
        }
        let agents: Vec<Value> = self
            .agents
            .iter()
            .map(|agent| Ok(context.ask("agent", &json!({ "agent": agent }))?["agent"].clone()))
            .collect::<Result<_, Failure>>()?;
        Ok(context.out.done(&agents.clone().into(), || {
            let lines = agents.iter().map(|agent| format!("{} is {}", word(&agent["name"]), word(&agent["state"])));
            lines.collect::<Vec<_>>().join("\n")
        }))
    }

    /// Those that are not there yet, with the state they are in.
    fn look(&self, context: &Context) -> Result<BTreeMap<String, String>, Failure> {
        let mut client = context.client()?;
        let mut missing = BTreeMap::new();
        for agent in &self.agents {
            let detail = value(&client.get("agent", &json!({ "agent": agent }))?)?;
            let state = word(&detail["agent"]["state"]);
            if !self.states.contains(&state) {
                missing.insert(agent.clone(), state);
            }
        }
        Ok(missing)
    }
}

/// `500ms`, `20s`, `5m`, `2h`.
pub(crate) fn duration_ms(text: &str) -> Result<u64, String> {
    let bad = || format!("not a duration: {text} (500ms, 20s, 5m, 2h)");
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| bad())?;
    let factor = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(bad()),
    };
    number.checked_mul(factor).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::duration_ms;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration_ms("500ms"), Ok(500));
        assert_eq!(duration_ms("2h"), Ok(7_200_000));
        for bad in ["5", "s", "-1s", "1.5s", "99999999999999999h", ""] {
            assert!(duration_ms(bad).is_err(), "{bad}");
        }
    }
}
