//! What waits for a human, and its decision.

use std::process::ExitCode;

use amux_proto::Code;
use amux_proto::exit::Exit;
use serde_json::{Value, json};

use crate::context::Context;
use crate::output::{age, table, word};
use crate::report::Failure;
use crate::text::plain;

pub(crate) fn list(context: &Context) -> Result<ExitCode, Failure> {
    let requests = context.ask("requests", &json!({}))?;
    Ok(context.out.done(&requests, || {
        let rows = requests.as_array().into_iter().flatten();
        let rows: Vec<_> = rows
            .map(|request| {
                let since = age(request["created"].as_str().unwrap_or_default());
                let options = request["options"].as_array().into_iter().flatten();
                let options: Vec<_> =
                    options.map(|option| format!("{}={}", word(&option["id"]), word(&option["label"]))).collect();
                vec![
                    short(&request["id"]),
                    word(&request["agent"]),
                    word(&request["kind"]),
                    since,
                    word(&request["title"]),
                    options.join(", "),
                ]
            })
            .collect();
        if rows.is_empty() {
            return "nothing waits for you".into();
        }
        table(&["id", "agent", "kind", "since", "title", "options"], &rows, |_, text| text.to_owned(), context.out)
    }))
}

/// Enough of an id to be typed: references take the end of one.
pub(crate) fn short(id: &Value) -> String {
    let id = word(id);
    id[id.len().saturating_sub(8)..].to_owned()
}

#[derive(clap::Args)]
pub(crate) struct Approve {
    #[arg(value_name = "ID")]
    request: String,
    /// The same from this agent is not asked again: a rule in policy.toml
    #[arg(long, conflicts_with = "always")]
    agent: bool,
    /// The same from any agent is not asked again: a rule in policy.toml
    #[arg(long)]
    always: bool,
}

impl Approve {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        let request = find(context, &self.request)?;
        let option = option_of(&request, &["allow_once", "allow_always"])?;
        let mut rule = None;
        if self.agent || self.always {
            rule = Some(rule_of(&request, self.agent)?);
            context.act("policy.add", &json!({ "rule": rule }))?;
        }
        let answer = json!({ "type": "option", "option": option });
        let mut decided = decide(context, &request, &answer)?;
        decided["rule"] = json!(rule);
        Ok(context.out.done(&decided, || {
            let title = plain(&word(&request["title"]));
            match rule {
                Some(_) => format!("allowed, and by a rule from now on: {title}"),
                None => format!("allowed once: {title}"),
            }
        }))
    }
}

#[derive(clap::Args)]
pub(crate) struct Deny {
    #[arg(value_name = "ID")]
    request: String,
    /// What the agent is told, where its protocol can carry it
    #[arg(short = 'm', long = "message", value_name = "WHY")]
    why: Option<String>,
}

impl Deny {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        let request = find(context, &self.request)?;
        let answer = if request["kind"] == "question" || request["kind"] == "login" {
            json!({ "type": "text", "text": self.why.clone().unwrap_or_else(|| "No answer is given.".into()) })
        } else {
            let option = option_of(&request, &["reject_once", "reject_always"])?;
            json!({ "type": "option", "option": option, "text": self.why })
        };
        let decided = decide(context, &request, &answer)?;
        Ok(context.out.done(&decided, || format!("denied: {}", plain(&word(&request["title"])))))
    }
}

#[derive(clap::Args)]
pub(crate) struct Answer {
    #[arg(value_name = "ID")]
    request: String,
    /// An option by its id or its label
    #[arg(value_name = "CHOICE", required_unless_present = "text")]
    choice: Option<String>,
    /// In words
    #[arg(short = 'm', long = "message", value_name = "TEXT", conflicts_with = "choice")]
    text: Option<String>,
}

impl Answer {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        let request = find(context, &self.request)?;
        let answer = match (&self.text, &self.choice) {
            (Some(text), _) => json!({ "type": "text", "text": text }),
            (None, choice) => {
                let choice = choice.as_deref().unwrap_or_default();
                let options = request["options"].as_array().into_iter().flatten();
                let is_it = |option: &&Value| option["id"] == choice || word(&option["label"]).eq_ignore_ascii_case(choice);
                // What is no option is refused by the server, which lists them.
                let option = { options }.find(is_it).map_or_else(|| choice.to_owned(), |option| word(&option["id"]));
                json!({ "type": "option", "option": option })
            }
        };
        let decided = decide(context, &request, &answer)?;
        Ok(context.out.done(&decided, || format!("answered: {}", plain(&word(&request["title"])))))
    }
}

fn decide(context: &Context, request: &Value, answer: &Value) -> Result<Value, Failure> {
    context.order("request.decide", &json!({ "request": request["id"], "answer": answer }))
}

/// By its id or the end of it.
fn find(context: &Context, reference: &str) -> Result<Value, Failure> {
    let requests = context.ask("requests", &json!({}))?;
    let wanted = reference.to_ascii_lowercase();
    let is_it = |request: &&Value| word(&request["id"]).ends_with(&wanted);
    let found: Vec<_> = requests.as_array().into_iter().flatten().filter(is_it).collect();
    match found.as_slice() {
        [request] if !wanted.is_empty() => Ok((*request).clone()),
        [] => {
            let message = format!("nobody asks this, or not any more: {reference}");
            Err(Failure::new(Exit::NotFound, Code::NotFound, message).hint("agentmux requests"))
        }
        _ => {
            let message = format!("several requests end like this: {reference}");
            Err(Failure::new(Exit::NotFound, Code::Ambiguous, message).hint("agentmux requests"))
        }
    }
}

fn option_of(request: &Value, kinds: &[&str]) -> Result<String, Failure> {
    let options = || request["options"].as_array().into_iter().flatten();
    let found = kinds.iter().find_map(|kind| options().find(|option| option["kind"] == *kind));
    found.map(|option| word(&option["id"])).ok_or_else(|| {
        let id = short(&request["id"]);
        let each: Vec<_> = options().map(|option| word(&option["id"])).collect();
        let hint = if each.is_empty() { format!("agentmux answer {id} -m TEXT") } else {
            format!("agentmux answer {id} {}", each.join("|"))
        };
        Failure::usage("this is not asked as a permission; it wants an answer").hint(hint)
    })
}

fn rule_of(request: &Value, of_agent: bool) -> Result<Value, Failure> {
    if request["tool"].is_null() {
        return Err(Failure::usage("a rule needs a tool, and the agent named none; approve it once"));
    }
    let mut rule = json!({ "tool": request["tool"], "answer": "allow" });
    if !request["subject"].is_null() {
        rule["subject"] = request["subject"].clone();
    }
    if of_agent {
        rule["agent"] = request["agent"].clone();
    }
    Ok(rule)
}
