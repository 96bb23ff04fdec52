//! `agentmux log`: what an agent said and did.

use std::collections::VecDeque;
use std::process::ExitCode;

use amux_client::Error;
use amux_client::follow::{Flow, transcript};
use amux_proto::exit::Exit;
use amux_proto::frame::Follow;
use amux_proto::{Code, Time};
use amux_runner::frames::Place;
use serde_json::{Value, json};

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
    /// The lines that crossed the pipes of its CLI: `>` what it was told, `<` what it said
    #[arg(long, conflicts_with_all = ["follow", "raw", "since"])]
    frames: bool,
    /// Only what is younger: 10m, 2h, or a time
    #[arg(long, value_name = "T")]
    since: Option<String>,
    /// The newest N entries or frames; all of them unless given
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
        let run = self.run.map(Value::from).unwrap_or(detail["agent"]["run"].clone());
        if self.frames {
            return self.say_frames(context, &uid, &run);
        }
        let mut next = match self.lines {
            Some(lines) => {
                let page = self.page(context, &uid, &run, None, lines)?;
                self.print(context, &entries(&page), since);
                page["next"].clone()
            }
            None => json!(0),
        };
        loop {
            let page = self.page(context, &uid, &run, Some(&next), PAGE)?;
            self.print(context, &entries(&page), since);
            next = page["next"].clone();
            if entries(&page).is_empty() {
                break;
            }
        }
        match self.follow {
            true => self.go_on(context, &uid, &run, &next, since),
            false => Ok(ExitCode::SUCCESS),
        }
    }

    fn say_frames(&self, context: &Context, uid: &Value, run: &Value) -> Result<ExitCode, Failure> {
        let of_run = json!({ "agent": uid, "run": run });
        let ask = |key: &str, place: &Value, limit: usize| {
            let mut asked = of_run.clone();
            (asked[key], asked["limit"]) = (place.clone(), limit.into());
            context.ask("frames", &asked)
        };
        match self.lines {
            Some(lines) => newest(lines as usize, |before, left| ask("before", before, left))?
                .iter()
                .for_each(|frame| say_frame(context, frame)),
            None => {
                // Up to what is there now, however fast more comes.
                let end = place(&ask("before", &Value::Null, 1)?["next"]);
                let mut next = json!(Place::default().to_string());
                while place(&next) != end {
                    let page = ask("after", &next, PAGE as usize)?;
                    frames(&page).iter().for_each(|frame| say_frame(context, frame));
                    next = page["next"].clone();
                    let at = place(&next);
                    if frames(&page).is_empty() || (at.heard >= end.heard && at.journal >= end.journal) {
                        break;
                    }
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// From a place on, as it is written; with `--run`, for as long as there is no other run.
    fn go_on(
        &self,
        context: &Context,
        uid: &Value,
        run: &Value,
        next: &Value,
        since: Option<Time>,
    ) -> Result<ExitCode, Failure> {
        let run = run.as_u64().and_then(|run| u32::try_from(run).ok());
        let wanted = Follow { agent: word(uid), run, after: next.as_u64(), tail: None };
        let heard = transcript(&context.layout.srv_socket(), context.client()?, wanted, |page| {
            if self.run.is_some_and(|run| page.run.0 != run) {
                return Flow::Enough;
            }
            // What streams comes again, whole.
            if !page.live {
                let lines: Vec<_> = page.entries.iter().map(|entry| entry.get().to_owned()).collect();
                self.print(context, &lines, since);
            }
            Flow::GoOn
        });
        match heard {
            // The agent was removed, and its log ends.
            Err(Error::Refused(refused)) if refused.code == Code::NotFound => Ok(ExitCode::SUCCESS),
            heard => {
                heard?;
                Ok(ExitCode::SUCCESS)
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

    fn print(&self, context: &Context, lines: &[String], since: Option<Time>) {
        for line in lines {
            if let Some(since) = since {
                let at = serde_json::from_str::<Value>(line).ok().and_then(|entry| word(&entry["at"]).parse().ok());
                if at.is_some_and(|at: Time| at < since) {
                    continue;
                }
            }
            if self.raw || context.out.is_json() {
                say(line);
            } else if let Some(line) = amux_runner::plain::line(line) {
                let text: Vec<_> = line.lines().map(plain).collect();
                say(&text.join("\n"));
            }
        }
    }
}

/// So many of the newest frames, oldest first: one answer may hold fewer.
fn newest(lines: usize, ask: impl Fn(&Value, usize) -> Result<Value, Failure>) -> Result<VecDeque<Value>, Failure> {
    let mut found = VecDeque::new();
    let mut before = Value::Null;
    while found.len() < lines {
        let page = ask(&before, lines - found.len())?;
        frames(&page).iter().rev().for_each(|frame| found.push_front(frame.clone()));
        if page["from"].is_null() || page["from"] == before {
            break;
        }
        before = page["from"].clone();
    }
    Ok(found)
}

fn frames(page: &Value) -> &[Value] {
    page["frames"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn place(text: &Value) -> Place {
    word(text).parse().unwrap_or_default()
}

fn say_frame(context: &Context, frame: &Value) {
    if context.out.is_json() {
        say(&frame.to_string());
        return;
    }
    if let Some(gone) = frame["gone"].as_u64() {
        say(&format!("! {gone} bytes that it said here are gone"));
    }
    let sign = if frame["way"] == "told" { '>' } else { '<' };
    let cut = frame["bytes"].as_u64().map(|bytes| format!(" … of {bytes} bytes")).unwrap_or_default();
    let doubt = match frame["doubt"].as_str() {
        Some("unproven") => " (not known to have arrived)",
        Some(_) => " (not known to be taken)",
        None => "",
    };
    say(&format!("{sign} {}{cut}{doubt}", plain(&word(&frame["text"]))));
}

fn entries(page: &Value) -> Vec<String> {
    page["entries"].as_array().into_iter().flatten().map(Value::to_string).collect()
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
