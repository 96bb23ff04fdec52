//! `agentmux wait`: follows the order until agents are in a state; nothing is polled.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use amux_client::follow::{Flow, Heard, follow};
use amux_proto::Code;
use amux_proto::exit::Exit;
use amux_proto::frame::CursorAt;
pub(crate) use amux_team::parse::duration_ms;
use serde_json::{Value, json};

use crate::context::Context;
use crate::output::word;
use crate::report::Failure;
use crate::text::plain;

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
        let mut missing = Vec::new();
        let there = until(context, deadline, |context| {
            let agents = self.look(context)?;
            let is_there = |agent: &&Value| self.states.contains(&word(&agent["state"]));
            missing = agents.iter().filter(|agent| !is_there(agent)).map(is).collect();
            Ok(missing.is_empty().then_some(agents))
        })?;
        match there {
            Some(agents) => Ok(context.out.done(&agents.clone().into(), || {
                agents.iter().map(is).map(|line| plain(&line)).collect::<Vec<_>>().join("\n")
            })),
            None => {
                let message = format!("not in time: {}", missing.join(", "));
                Err(Failure::new(Exit::TimedOut, Code::TimedOut, message))
            }
        }
    }

    fn look(&self, context: &Context) -> Result<Vec<Value>, Failure> {
        let look = |agent| Ok(context.ask("agent", &json!({ "agent": agent }))?["agent"].clone());
        self.agents.iter().map(look).collect()
    }
}

fn is(agent: &Value) -> String {
    format!("{}@{} is {}", word(&agent["name"]), word(&agent["team"]), word(&agent["state"]))
}

/// Looks, and looks again after every event about agents, until `look` has found what it wants; `None` when the time
/// is over first.
pub(crate) fn until<T>(
    context: &Context,
    deadline: Option<Instant>,
    mut look: impl FnMut(&Context) -> Result<Option<T>, Failure>,
) -> Result<Option<T>, Failure> {
    let follower = context.client()?;
    // Known before the first look, so that nothing happens between it and the first event unseen.
    let from = CursorAt { epoch: follower.welcome.epoch, seq: follower.welcome.head };
    let quiet = context.without_start();
    if let Some(found) = look(&quiet)? {
        return Ok(Some(found));
    }
    let topics = ["agent", "run", "request", "message", "turn", "session"].map(str::to_owned);
    let mut outcome = None;
    let mut caught_up = false;
    follow(&context.layout.srv_socket(), follower, &topics, Some(from), deadline, |heard| {
        match heard {
            Heard::Resumed | Heard::Reset(_) => caught_up = false,
            Heard::CaughtUp => caught_up = true,
            Heard::Event(_) => {}
        }
        if !caught_up {
            return Flow::GoOn;
        }
        match look(&quiet) {
            Ok(None) => Flow::GoOn,
            // The server went away; the connection will tell, and another one will be made.
            Err(failure) if failure.exit == Exit::Unreachable => Flow::GoOn,
            Ok(Some(found)) => {
                outcome = Some(Ok(found));
                Flow::Enough
            }
            Err(failure) => {
                outcome = Some(Err(failure));
                Flow::Enough
            }
        }
    })?;
    outcome.transpose()
}
