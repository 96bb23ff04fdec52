//! Durable text to agents.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use amux_proto::exit::Exit;
use amux_proto::{Code, MessageId, Time};
use serde_json::{Value, json};

use super::letter::Letter;
use super::request::short;
use super::wait::{duration_ms, until};
use crate::context::Context;
use crate::output::word;
use crate::report::Failure;
use crate::text::plain;

#[derive(clap::Args)]
pub(crate) struct Send {
    /// Agents, team:NAME, group:NAME, role:WORDS, all, or operator; of several, shells only where there is nobody else; a
    /// last - is standard input
    #[arg(required = true, value_name = "TARGET")]
    to: Vec<String>,
    #[command(flatten)]
    letter: Letter,
    /// Return when every copy is so far: handed, shown, begun, acked, answered; or ended another way
    #[arg(long, value_name = "STAGE")]
    wait: Option<String>,
    /// Exit 6 when waiting takes longer
    #[arg(long, value_name = "DUR", value_parser = duration_ms)]
    timeout: Option<u64>,
    /// The same key of the same sender is the same message
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// The message this answers
    #[arg(long, value_name = "ID")]
    reply_to: Option<String>,
    /// Go on with the thread of this message
    #[arg(long, value_name = "ID")]
    thread: Option<String>,
    /// low waits for the end of a turn, urgent goes into it
    #[arg(long, default_value = "normal", value_parser = ["low", "normal", "urgent"])]
    priority: String,
    /// state wakes nobody, info is collected for a while, request wants something
    #[arg(long, default_value = "request", value_parser = ["state", "info", "request"])]
    class: String,
    /// What is not given in this time is not given any more
    #[arg(long, value_name = "DUR", value_parser = duration_ms)]
    ttl: Option<u64>,
}

/// What is said.
#[derive(clap::Args)]
pub(crate) struct Words {
    #[arg(short = 'm', long = "message", value_name = "TEXT")]
    text: Option<String>,
    /// The text of a file; - for standard input
    #[arg(short = 'f', long, value_name = "FILE", conflicts_with = "text")]
    file: Option<PathBuf>,
}

impl Words {
    pub(crate) fn body(&self) -> Result<String, Failure> {
        match (&self.text, &self.file) {
            (Some(text), _) => Ok(text.clone()),
            (None, Some(file)) if file.as_os_str() == STDIN => stdin(),
            (None, Some(file)) => std::fs::read_to_string(file).map_err(|error| unreadable(file, &error)),
            (None, None) => {
                Err(Failure::usage("a text is needed").hint("-m TEXT, -f FILE, or -f - for standard input"))
            }
        }
    }

    /// The file the text is in, if it is in one.
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_deref().filter(|file| file.as_os_str() != STDIN)
    }

    pub(super) fn is_missing(&self) -> bool {
        self.text.is_none() && self.file.is_none()
    }
}

const STDIN: &str = "-";

fn stdin() -> Result<String, Failure> {
    let mut text = String::new();
    match std::io::stdin().lock().read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(error) => Err(unreadable(Path::new(STDIN), &error)),
    }
}

fn unreadable(file: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("the text cannot be read: {}: {error}", file.display()))
}

/// The ladder, as far as one can wait for it.
const LADDER: [&str; 7] = ["accepted", "routed", "handed", "shown", "begun", "acked", "answered"];

impl Send {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        let wanted = match &self.wait {
            Some(stage) => Some(LADDER.iter().position(|known| known == stage).ok_or_else(|| {
                Failure::usage(format!("no such stage: {stage}")).hint(format!("one of {}", LADDER.join(", ")))
            })?),
            None if self.timeout.is_some() => {
                let hint = "--wait STAGE --timeout DUR; --ttl DUR is how long it may wait to be given";
                return Err(Failure::usage("a timeout is for waiting, and nothing is waited for").hint(hint));
            }
            None => None,
        };
        let (to, (body, attachments)) = match self.to.split_last() {
            Some((last, to)) if last == STDIN && self.letter.is_without_words() => {
                (to, self.letter.bring_with(context, Some(stdin()?))?)
            }
            _ => (&self.to[..], self.letter.bring(context)?),
        };
        let reply_to = self.reply_to.as_deref().map(|id| full(context, id, "id")).transpose()?;
        let thread = self.thread.as_deref().map(|id| full(context, id, "thread")).transpose()?;
        let mut args = json!({
            "to": to, "body": body, "key": self.key, "reply_to": reply_to, "thread": thread,
            "priority": self.priority, "class": self.class, "ttl_ms": self.ttl, "attachments": attachments,
        });
        let deadline = self.timeout.map(|ms| Instant::now() + Duration::from_millis(ms));
        let mut sent = match context.order("message.send", &args) {
            Err(failure) => match without_unknown(&args["to"], &failure) {
                Some((known, refused)) => {
                    args["to"] = known;
                    let mut sent = context.order("message.send", &args)?;
                    sent["refused"] = refused;
                    sent
                }
                None => return Err(failure),
            },
            Ok(sent) => sent,
        };
        let Some(wanted) = wanted else { return Ok(done(context, &sent)) };
        let message = json!({ "message": sent["id"] });
        let reached = until(context, deadline, |context| {
            let deliveries = context.ask("message", &message)?["deliveries"].clone();
            let is_there = each(&deliveries).all(|it| has_reached(it, wanted) || ended_badly(it));
            Ok(is_there.then_some(deliveries))
        })?;
        let in_time = reached.is_some();
        sent["deliveries"] = match reached {
            Some(deliveries) => deliveries,
            None => context.ask("message", &message)?["deliveries"].clone(),
        };
        let missed = each(&sent["deliveries"]).filter(|delivery| !has_reached(delivery, wanted)).count();
        let (exit, code, what) = match (in_time, missed) {
            (true, 0) => return Ok(done(context, &sent)),
            (true, missed) if missed < each(&sent["deliveries"]).count() => {
                done(context, &sent);
                return Ok(ExitCode::from(Exit::Partly as u8));
            }
            (true, _) => (Exit::Failed, Code::Conflict, "not taken"),
            (false, _) => (Exit::TimedOut, Code::TimedOut, "not in time"),
        };
        let mut failure = Failure::new(exit, code, format!("{what}: {}", lines(&sent["deliveries"]).join("; ")));
        failure.rejection = failure.rejection.hint(show(&sent["id"])).details(sent);
        Err(failure)
    }
}

/// The recipients there are, when a name among several means nobody: one bad name stops no other. And those who are not.
fn without_unknown(to: &Value, failure: &Failure) -> Option<(Value, Value)> {
    let refused = &failure.rejection.details.as_ref()?["unknown"];
    let is_refused = |name: &&Value| each(refused).any(|unknown| unknown["to"] == **name);
    let known: Vec<_> = each(to).filter(|name| !is_refused(name)).cloned().collect();
    (!known.is_empty() && each(refused).next().is_some()).then(|| (known.into(), refused.clone()))
}

/// A message is on its way, as far as its recipients are known.
pub(super) fn done(context: &Context, sent: &Value) -> ExitCode {
    let code = context.out.done(sent, || {
        let lines = lines(&sent["deliveries"]).iter().map(|line| plain(line)).collect::<Vec<_>>().join("\n");
        format!("{lines}\n  {}", context.out.dim(&show(&sent["id"])))
    });
    let mut refused = each(&sent["refused"]).peekable();
    if refused.peek().is_none() {
        return code;
    }
    for unknown in refused {
        let near: Vec<_> = each(&unknown["details"]["near"]).map(word).collect();
        let near = if near.is_empty() { String::new() } else { format!(" (did you mean {}?)", near.join(", ")) };
        eprintln!("agentmux: not sent: {}", plain(&format!("{}{near}", word(&unknown["message"]))));
    }
    ExitCode::from(Exit::Partly as u8)
}

fn show(id: &Value) -> String {
    format!("agentmux msg show {}", short(id))
}

/// What the server takes only in full, from the end of it. What is full is passed on: a thread may begin with a
/// message that is not here.
fn full(context: &Context, reference: &str, field: &str) -> Result<Value, Failure> {
    match reference.parse::<MessageId>() {
        Ok(id) => Ok(json!(id)),
        Err(_) => Ok(context.ask("message", &json!({ "message": reference }))?[field].clone()),
    }
}

pub(super) fn each(list: &Value) -> impl DoubleEndedIterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// Was at this stage or a later one since it was last begun with, whatever came after that.
fn has_reached(delivery: &Value, wanted: usize) -> bool {
    let history: Vec<_> = each(&delivery["history"]).collect();
    let begun = history.iter().rposition(|passed| passed["stage"] == LADDER[0]).unwrap_or(0);
    let rung = |passed: &Value| LADDER.iter().position(|known| passed["stage"] == *known);
    history[begun..].iter().any(|passed| rung(passed).is_some_and(|at| at >= wanted))
}

/// Off the ladder, and not to go on by itself.
pub(super) fn ended_badly(delivery: &Value) -> bool {
    delivery["stage"] != "held" && !LADDER.iter().any(|known| delivery["stage"] == *known)
}

/// How each copy stands.
pub(super) fn lines(deliveries: &Value) -> Vec<String> {
    each(deliveries).map(|delivery| format!("{} {}", word(&delivery["to"]), stands(delivery))).collect()
}

/// `held: its mail is paused`, and for how long at most, where that is known.
pub(super) fn stands(delivery: &Value) -> String {
    let reason = delivery["reason"].as_str().map_or_else(String::new, |reason| format!(": {reason}"));
    let until = left(&delivery["until"]).map_or_else(String::new, |left| format!(" ({left} at most)"));
    format!("{}{reason}{until}", word(&delivery["stage"]))
}

/// How long until then.
pub(super) fn left(until: &Value) -> Option<String> {
    let until: Time = until.as_str()?.parse().ok()?;
    let seconds = (until.ms_since(Time(amux_sys::clock::now_ms())).max(0) + 999) / 1000;
    Some(if seconds < 120 { format!("{seconds}s") } else { format!("{}m", seconds / 60) })
}

/// What somebody said, for a terminal: line by line, set in from what is said about it.
pub(super) fn quoted(body: &str) -> String {
    said(body).map(|line| format!("    {line}").trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// The same as it stands. A tabulator is a blank here, not the control it is.
pub(super) fn said(body: &str) -> impl Iterator<Item = String> {
    body.lines().map(|line| plain(&line.replace('\t', "    ")))
}

/// Enough of it to know it by.
pub(super) fn gist(body: &str) -> String {
    const CHARS_MAX: usize = 60;
    let line = body.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let cut: String = line.chars().take(CHARS_MAX).collect();
    let is_all = cut.len() == line.len() && body.trim().lines().count() < 2;
    if is_all { cut } else { format!("{cut}…") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_was_reached_whatever_came_after_it_but_not_before_it_was_begun_with_again() {
        let delivery = |stages: &[&str]| {
            let history: Vec<_> = stages.iter().map(|stage| json!({ "stage": stage })).collect();
            json!({ "stage": stages.last(), "history": history })
        };
        let at = |stage: &str| LADDER.iter().position(|known| *known == stage).unwrap();
        for (stages, wanted, is_reached, is_bad) in [
            (&["accepted"][..], "accepted", true, false),
            (&["accepted", "held"], "accepted", true, false),
            (&["accepted", "held"], "handed", false, false),
            (&["accepted", "routed", "handed", "begun", "acked"], "shown", true, false),
            (&["accepted", "routed", "handed", "unproven"], "handed", true, true),
            (&["accepted", "routed", "handed", "unproven"], "begun", false, true),
            (&["accepted", "routed", "handed", "unproven", "accepted"], "handed", false, false),
        ] {
            let delivery = delivery(stages);
            assert_eq!(has_reached(&delivery, at(wanted)), is_reached, "{stages:?} {wanted}");
            assert_eq!(ended_badly(&delivery), is_bad, "{stages:?}");
        }
    }

    #[test]
    fn what_was_said_is_shown_as_text() {
        assert_eq!(quoted("a\r\n\n\tb\u{1b}[2J"), "    a\n\n        b\u{fffd}[2J");
        assert_eq!(gist("\n  one  \n"), "one");
        assert_eq!(gist("one\ntwo"), "one…");
        assert_eq!(gist(&"é".repeat(100)), format!("{}…", "é".repeat(60)));
    }
}
