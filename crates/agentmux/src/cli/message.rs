//! Durable text to agents.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use amux_proto::Code;
use amux_proto::exit::Exit;
use serde_json::{Value, json};

use super::wait::{duration_ms, until};
use crate::context::Context;
use crate::output::word;
use crate::report::Failure;
use crate::text::plain;

#[derive(clap::Args)]
pub(crate) struct Send {
    /// Agents, team:NAME, all, or operator
    #[arg(required = true, value_name = "TARGET")]
    to: Vec<String>,
    #[arg(short = 'm', long = "message", value_name = "TEXT")]
    text: Option<String>,
    /// The text of a file; - for standard input
    #[arg(short = 'f', long, value_name = "FILE", conflicts_with = "text", required_unless_present = "text")]
    file: Option<PathBuf>,
    /// Return when every copy is so far: handed, shown, begun, acked, answered
    #[arg(long, value_name = "STAGE")]
    wait: Option<String>,
    /// Exit 6 when waiting takes longer
    #[arg(long, value_name = "DUR", value_parser = duration_ms)]
    timeout: Option<u64>,
    /// The same key of the same sender is the same message
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    #[arg(long, value_name = "ID")]
    reply_to: Option<String>,
    #[arg(long, value_name = "ID")]
    thread: Option<String>,
}

/// The ladder, as far as one can wait for it.
const LADDER: [&str; 7] = ["accepted", "routed", "handed", "shown", "begun", "acked", "answered"];

impl Send {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        let wanted = match &self.wait {
            Some(stage) => Some(LADDER.iter().position(|known| known == stage).ok_or_else(|| {
                Failure::usage(format!("no such stage: {stage}")).hint(format!("one of {}", LADDER.join(", ")))
            })?),
            None => None,
        };
        let args = json!({
            "to": self.to, "body": self.body()?, "key": self.key,
            "reply_to": self.reply_to, "thread": self.thread,
        });
        let mut sent = context.order("message.send", &args)?;
        let deadline = self.timeout.map(|ms| Instant::now() + Duration::from_millis(ms));
        let mut in_time = true;
        if let Some(wanted) = wanted {
            let reached = until(context, deadline, |context| {
                let message = context.ask("message", &json!({ "message": sent["id"] }))?;
                let deliveries = message["deliveries"].clone();
                let all = deliveries.as_array().into_iter().flatten().all(|delivery| is_there(delivery, wanted));
                Ok(all.then_some(deliveries))
            })?;
            match reached {
                Some(deliveries) => sent["deliveries"] = deliveries,
                None => {
                    in_time = false;
                    let message = context.ask("message", &json!({ "message": sent["id"] }))?;
                    sent["deliveries"] = message["deliveries"].clone();
                }
            }
        }
        let each: Vec<_> = sent["deliveries"].as_array().into_iter().flatten().map(line).collect();
        if !in_time {
            let message = format!("not in time: {}", each.join("; "));
            let mut failure = Failure::new(Exit::TimedOut, Code::TimedOut, message);
            failure.rejection = failure.rejection.details(sent);
            return Err(failure);
        }
        Ok(context.out.done(&sent, || plain(&each.join("\n"))))
    }

    fn body(&self) -> Result<String, Failure> {
        if let Some(text) = &self.text {
            return Ok(text.clone());
        }
        let Some(file) = &self.file else { return Err(Failure::usage("a text is needed: -m TEXT, or -f FILE")) };
        let mut text = String::new();
        let read = if file.as_os_str() == "-" {
            std::io::stdin().lock().read_to_string(&mut text).map(|_| ())
        } else {
            std::fs::read_to_string(file).map(|read| text = read)
        };
        read.map_err(|error| Failure::failed(format!("the text cannot be read: {}: {error}", file.display())))?;
        Ok(text)
    }
}

/// At this stage, at a later one, or at an end from which nothing comes any more.
fn is_there(delivery: &Value, wanted: usize) -> bool {
    let stage = word(&delivery["stage"]);
    match LADDER.iter().position(|known| *known == stage) {
        Some(at) => at >= wanted,
        None => stage != "held",
    }
}

fn line(delivery: &Value) -> String {
    let reason = delivery["reason"].as_str().map_or_else(String::new, |reason| format!(": {reason}"));
    format!("{} {}{reason}", word(&delivery["to"]), word(&delivery["stage"]))
}
