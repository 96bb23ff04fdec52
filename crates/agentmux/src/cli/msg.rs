//! What became of messages, and what is done about them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::process::ExitCode;

use amux_proto::exit::Exit;
use serde_json::{Value, json};

use super::agent::each_of;
use super::letter::{self, Letter, Save};
use super::message::{Words, each, gist, quoted, stands};
use super::request::short;
use crate::context::Context;
use crate::output::{Output, age, table, word};
use crate::report::Failure;
use crate::text::plain;

#[derive(clap::Subcommand)]
pub(crate) enum Msg {
    /// One message, with how far each copy of it has come and what proves it
    #[command(after_help = "Example: agentmux msg show 3f9a21c0")]
    Show(One),
    /// A file that is attached to a message; nothing is overwritten
    #[command(after_help = "Example: agentmux msg save 3f9a21c0 report.pdf -o /tmp")]
    Save(Save),
    /// Take back what was not given yet
    #[command(after_help = "Example: agentmux msg cancel 3f9a21c0 --to api")]
    Cancel(Copies),
    /// Give it again what was not given, or not provably
    #[command(after_help = "Example: agentmux msg retry 3f9a21c0")]
    Retry(Copies),
    /// Give it now, whatever it waits for that a person may overrule
    #[command(after_help = "Example: agentmux msg release 3f9a21c0")]
    Release(Copies),
    /// Other words, while nobody was given the old ones
    #[command(after_help = "Example: agentmux msg edit 3f9a21c0 -m 'run the tests of the store'")]
    Edit(Edit),
    /// Another place among what waits for an agent: before another message, or last
    #[command(after_help = "Example: agentmux msg move 3f9a21c0 --to api --before 77c0ffee")]
    Move(Move),
    /// Everything known of a message in the order of time: causes, copies, answers, what it led to, the whole thread
    #[command(after_help = "Example: agentmux msg trace 3f9a21c0")]
    Trace(One),
}

#[derive(clap::Args)]
pub(crate) struct One {
    #[arg(value_name = "ID")]
    message: String,
}

#[derive(clap::Args)]
pub(crate) struct Copies {
    #[arg(value_name = "ID")]
    message: String,
    /// Only the copy of this recipient
    #[arg(long, value_name = "AGENT")]
    to: Option<String>,
}

#[derive(clap::Args)]
pub(crate) struct Edit {
    #[arg(value_name = "ID")]
    message: String,
    #[command(flatten)]
    words: Words,
}

#[derive(clap::Args)]
pub(crate) struct Move {
    #[arg(value_name = "ID")]
    message: String,
    /// For whom it waits
    #[arg(long, value_name = "AGENT")]
    to: String,
    #[arg(long, value_name = "ID")]
    before: Option<String>,
}

impl Msg {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        match self {
            Self::Show(one) => show(context, one),
            Self::Save(save) => save.run(context),
            Self::Cancel(copies) => copies.run(context, "cancel", "cancelled"),
            Self::Retry(copies) => copies.run(context, "retry", "retried"),
            Self::Release(copies) => copies.run(context, "release", "released"),
            Self::Edit(edit) => {
                let args = json!({ "message": edit.message, "body": edit.words.body()? });
                let answer = context.order("message.edit", &args)?;
                Ok(context.out.done(&answer, || format!("{} has these words now", short(&answer["id"]))))
            }
            Self::Move(order) => {
                let args = json!({ "message": order.message, "to": order.to, "before": order.before });
                let answer = context.order("message.move", &args)?;
                let queue = context.out.dim(&format!("agentmux queue {}", plain(&order.to)));
                Ok(context.out.done(&answer, || format!("{} has another place\n  {queue}", short(&answer["id"]))))
            }
            Self::Trace(one) => trace(context, one),
        }
    }
}

impl Copies {
    /// The answer names under `done` whose copies it was done to.
    fn run(&self, context: &Context, verb: &str, done: &str) -> Result<ExitCode, Failure> {
        let args = json!({ "message": self.message, "to": self.to });
        let answer = context.order(&format!("message.{verb}"), &args)?;
        Ok(context.out.done(&answer, || {
            let names: Vec<_> = each(&answer[done]).map(word).collect();
            let id = short(&answer["id"]);
            if names.is_empty() {
                format!("{id} was {done} already")
            } else {
                plain(&format!("{id} {done}: {}", names.join(", ")))
            }
        }))
    }
}

fn show(context: &Context, one: &One) -> Result<ExitCode, Failure> {
    let message = context.ask("message", &json!({ "message": one.message }))?;
    Ok(context.out.done(&message, || words(&message, context.out)))
}

fn words(message: &Value, out: Output) -> String {
    let mut lines = vec![head(message, out)];
    lines.push(quoted(&word(&message["body"])));
    lines.extend(letter::lines(message));
    if let Some(late) = message["too_late"].as_str() {
        lines.push("  an edit came too late; nobody was given these words:".to_owned());
        lines.push(quoted(late));
    }
    for delivery in each(&message["deliveries"]) {
        let times = match delivery["attempts"].as_u64() {
            Some(attempts) if attempts > 1 => format!(", given {attempts} times"),
            _ => String::new(),
        };
        lines.push(plain(&format!("  to {}: {}{times}", word(&delivery["to"]), stands(delivery))));
        if let Some(other) = each(&message["other"]).find(|other| other["edition"] == delivery["edition"]) {
            lines.push("    an edit came too late for it; it was given these words:".to_owned());
            lines.push(quoted(&word(&other["body"])));
        }
        lines.extend(
            each(&delivery["history"]).map(|passed| plain(&format!("    {}  {}", word(&passed["at"]), step(passed)))),
        );
    }
    lines.join("\n")
}

/// Who said it when, and what it belongs to.
fn head(message: &Value, out: Output) -> String {
    let mut facts = vec![
        format!("{} ago", age(message["created"].as_str().unwrap_or_default())),
        format!("{} {}", word(&message["priority"]), word(&message["class"])),
    ];
    facts.extend(belongs(message));
    if let Some(left) = super::message::left(&message["expires"]) {
        facts.push(format!("expires in {left}"));
    }
    let from = plain(&word(&message["from"]));
    format!("{} from {from}, {}", out.bold(&short(&message["id"])), facts.join(", "))
}

/// What it answers, and what its sender was working on.
fn belongs(message: &Value) -> Vec<String> {
    let of = |field: &str, word: &str| {
        let id = &message[field];
        (!id.is_null()).then(|| format!("{word} {}", short(id)))
    };
    [of("reply_to", "answers"), of("cause", "because of")].into_iter().flatten().collect()
}

fn step(passed: &Value) -> String {
    let evidence = passed["evidence"].as_str().map_or_else(String::new, |evidence| format!(": {evidence}"));
    format!("{}{evidence}", word(&passed["stage"]))
}

/// A chain of causes that is longer tells nobody more.
const CAUSES_MAX: usize = 100;

fn trace(context: &Context, one: &One) -> Result<ExitCode, Failure> {
    let message = context.ask("message", &json!({ "message": one.message }))?;
    let mut causes: Vec<Value> = Vec::new();
    let mut cause = message["cause"].clone();
    while !cause.is_null() && causes.len() < CAUSES_MAX {
        match context.ask("message", &json!({ "message": cause })) {
            Ok(found) => {
                cause = found["cause"].clone();
                causes.push(found);
            }
            // The chain is known as far as its messages are kept.
            Err(failure) if failure.exit == Exit::NotFound => break,
            Err(failure) => return Err(failure),
        }
    }
    causes.reverse();
    let led_to = led_to(context, &message["id"])?;
    let thread = context.ask("thread", &json!({ "thread": message["id"] }))?;
    let all: BTreeMap<String, &Value> = causes
        .iter()
        .chain(each(&thread))
        .chain(&led_to)
        .chain([&message])
        .map(|message| (word(&message["id"]), message))
        .collect();
    let mut timeline: Vec<Value> = all.values().flat_map(|message| steps(message)).collect();
    // Times have one form, and are ordered as text; what happened in one moment stays in its order.
    timeline.sort_by_key(|step| word(&step["at"]));
    let replies: Vec<_> =
        each(&thread).filter(|other| other["reply_to"] == message["id"]).map(|other| &other["id"]).collect();
    let data = json!({
        "id": message["id"], "causes": causes, "thread": thread, "replies": replies, "led_to": led_to,
        "timeline": timeline,
    });
    Ok(context.out.done(&data, || {
        let line = |step: &Value| {
            let id = short(&step["message"]);
            let id = if step["message"] == message["id"] { context.out.bold(&id) } else { id };
            let told = match all.get(&word(&step["message"])) {
                Some(message) if step["stage"] == "sent" => sent(message),
                _ => format!("{} {}", word(&step["to"]), self::step(step)),
            };
            format!("{}  {id}  {}", context.out.dim(&word(&step["at"])), plain(&told))
        };
        timeline.iter().map(line).collect::<Vec<_>>().join("\n")
    }))
}

/// What one message led to is told so far.
const LED_TO_MAX: usize = 100;

/// What answers a message, what was sent because of it, and what came of those; the nearest first.
fn led_to(context: &Context, id: &Value) -> Result<Vec<Value>, Failure> {
    let asked = |id: &Value| context.ask("message", &json!({ "message": id, "led_to": true }));
    let (mut found, mut known) = (Vec::new(), BTreeSet::from([word(id)]));
    let mut next: VecDeque<Value> = each(&asked(id)?["led_to"]).cloned().collect();
    while let Some(id) = next.pop_front().filter(|_| found.len() < LED_TO_MAX) {
        if !known.insert(word(&id)) {
            continue;
        }
        let message = asked(&id)?;
        next.extend(each(&message["led_to"]).cloned());
        found.push(message);
    }
    Ok(found)
}

fn sent(message: &Value) -> String {
    let to: Vec<_> = each(&message["to"]).map(word).collect();
    let belongs: String = belongs(message).iter().map(|it| format!(" ({it})")).collect();
    format!("{} to {}{belongs}: {}", word(&message["from"]), to.join(", "), gist(&word(&message["body"])))
}

/// That it was sent, and how far each copy came.
fn steps(message: &Value) -> Vec<Value> {
    let id = &message["id"];
    let first = json!({ "at": message["created"], "message": id, "to": null, "stage": "sent", "evidence": null });
    let passed = each(&message["deliveries"]).flat_map(|delivery| {
        each(&delivery["history"]).map(|passed| {
            json!({
                "at": passed["at"], "message": id, "to": delivery["to"],
                "stage": passed["stage"], "evidence": passed["evidence"],
            })
        })
    });
    std::iter::once(first).chain(passed).collect()
}

#[derive(clap::Args)]
pub(crate) struct Ack {
    #[arg(required = true, value_name = "ID")]
    messages: Vec<String>,
}

impl Ack {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        each_of("message", context, &self.messages, |message| {
            let answer = context.order("message.ack", &json!({ "message": message }))?;
            let words = format!("{} is acknowledged", short(&answer["id"]));
            Ok((answer, words))
        })
    }
}

#[derive(clap::Args)]
pub(crate) struct Reply {
    #[arg(value_name = "ID")]
    message: String,
    #[command(flatten)]
    letter: Letter,
}

impl Reply {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        let message = context.ask("message", &json!({ "message": self.message }))?;
        let me = context.client()?.welcome.principal;
        // To go on with what one said oneself is for those who heard it.
        let to = match message["from"] == me.trim_start_matches("agent:") {
            true => message["to"].clone(),
            false => json!([message["from"]]),
        };
        let (body, attachments) = self.letter.bring(context)?;
        let args = json!({ "to": to, "body": body, "reply_to": message["id"], "attachments": attachments });
        let sent = context.order("message.send", &args)?;
        Ok(super::message::done(context, &sent))
    }
}

#[derive(clap::Args)]
pub(crate) struct Queue {
    /// All of them without one
    agent: Option<String>,
}

impl Queue {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        let waiting = match &self.agent {
            Some(agent) => context.ask("queue", &json!({ "agent": agent }))?,
            None => of_all(context)?,
        };
        Ok(context.out.done(&waiting, || {
            let row = |mail: &Value| {
                let mut cells = vec![
                    short(&mail["id"]),
                    word(&mail["from"]),
                    age(mail["created"].as_str().unwrap_or_default()),
                    word(&mail["priority"]),
                    word(&mail["class"]),
                    // What waits for nothing is given in this moment.
                    mail["reason"].as_str().unwrap_or("nothing").to_owned(),
                    super::message::left(&mail["until"]).unwrap_or_else(|| "-".into()),
                    gist(&word(&mail["body"])),
                ];
                if self.agent.is_none() {
                    cells.insert(1, word(&mail["to"]));
                }
                cells
            };
            let rows: Vec<_> = each(&waiting).map(row).collect();
            if rows.is_empty() {
                return format!("nothing waits for {}", self.agent.as_deref().map_or("anyone".into(), plain));
            }
            let mut head = vec!["id", "from", "age", "priority", "class", "waits for", "at most", "text"];
            if self.agent.is_none() {
                head.insert(1, "to");
            }
            table(&head, &rows, |_, text| text.to_owned(), context.out)
        }))
    }
}

/// What waits for whom, agent after agent.
fn of_all(context: &Context) -> Result<Value, Failure> {
    let agents = context.ask("agents", &json!({ "all": true }))?;
    let mut waiting = Vec::new();
    for agent in each(&agents).filter(|agent| agent["queued"].as_u64() > Some(0)) {
        let queue = context.ask("queue", &json!({ "agent": agent["uid"] }))?;
        waiting.extend(each(&queue).cloned());
    }
    Ok(Value::Array(waiting))
}
