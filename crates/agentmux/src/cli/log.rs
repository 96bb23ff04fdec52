//! `agentmux log`: what an agent said and did.

use std::process::ExitCode;

use amux_proto::exit::Exit;
use amux_proto::{Code, Time};
use serde_json::{Value, json};

use super::wait::until;
use crate::context::Context;
use crate::output::word;
use crate::report::{Failure, say};
use crate::text::plain;

#[derive(clap::Args)]
pub(crate) struct Log {
    agent: String,
    /// Go on with what comes
    #[arg(short, long)]
    follow: bool,
    /// Entries as JSON, one a line
    #[arg(long)]
    raw: bool,
    /// Only what is younger: 10m, 2h, or a time
    #[arg(long, value_name = "T")]
    since: Option<String>,
    /// The newest N entries; all of them unless given
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<u32>,
    /// An earlier run
    #[arg(long, value_name = "N")]
    run: Option<u32>,
}

const PAGE: u32 = 500;

impl Log {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        let since = self.since.as_deref().map(since).transpose()?;
        let detail = context.ask("agent", &json!({ "agent": self.agent }))?;
        let uid = detail["agent"]["uid"].clone();
        let mut run = self.run.map(Value::from).unwrap_or(detail["agent"]["run"].clone());
        let mut next = match self.lines {
            Some(lines) => {
                let page = self.page(context, &uid, &run, None, lines)?;
                self.print(context, &page, since);
                page["next"].clone()
            }
            None => json!(0),
        };
        loop {
            let page = self.page(context, &uid, &run, Some(&next), PAGE)?;
            self.print(context, &page, since);
            next = page["next"].clone();
            if page["entries"].as_array().is_some_and(|entries| !entries.is_empty()) {
                continue;
            }
            if !self.follow {
                return Ok(ExitCode::SUCCESS);
            }
            // Something happens to the agent, or there is more to read; both are heard as events.
            let quiet = context.without_start();
            let newest = until(context, None, |_| {
                let more = self.page(&quiet, &uid, &run, Some(&next), 1)?;
                let has_more = more["entries"].as_array().is_some_and(|entries| !entries.is_empty());
                let detail = quiet.ask("agent", &json!({ "agent": uid }))?;
                let newer = self.run.is_none() && detail["agent"]["run"] != run;
                let over = newer.then(|| detail["agent"]["run"].clone());
                Ok((has_more || newer).then_some(over.filter(|_| !has_more)))
            });
            match newest {
                Ok(Some(Some(newer))) => (run, next) = (newer, json!(0)),
                Ok(_) => {}
                Err(failure) if failure.exit == Exit::NotFound => return Ok(ExitCode::SUCCESS),
                Err(failure) => return Err(failure),
            }
        }
    }

    fn page(
        &self,
        context: &Context,
        uid: &Value,
        run: &Value,
        after: Option<&Value>,
        limit: u32,
    ) -> Result<Value, Failure> {
        context.ask("transcript", &json!({ "agent": uid, "run": run, "after": after, "limit": limit }))
    }

    fn print(&self, context: &Context, page: &Value, since: Option<Time>) {
        for entry in page["entries"].as_array().into_iter().flatten() {
            let at: Option<Time> = word(&entry["at"]).parse().ok();
            if since.is_some_and(|since| at.is_some_and(|at| at < since)) {
                continue;
            }
            if self.raw || context.out.is_json() {
                say(&entry.to_string());
            } else if let Some(line) = amux_runner::plain::line(&entry.to_string()) {
                let text: Vec<_> = line.lines().map(plain).collect();
                say(&text.join("\n"));
            }
        }
    }
}

/// A time, or how long ago.
fn since(text: &str) -> Result<Time, Failure> {
    if let Ok(ms) = super::wait::duration_ms(text) {
        let ms = i64::try_from(ms).unwrap_or(i64::MAX);
        return Ok(Time(amux_sys::clock::now_ms().saturating_sub(ms)));
    }
    text.parse().map_err(|_| {
        Failure::new(Exit::Usage, Code::BadArgs, format!("not a time: {text}")).hint("10m, 2h or 2026-01-31T12:00:00Z")
    })
}
