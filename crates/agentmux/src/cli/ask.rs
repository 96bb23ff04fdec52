//! `agentmux ask`: a message, and what is answered to it.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use amux_proto::Code;
use amux_proto::exit::Exit;
use serde_json::{Value, json};

use super::letter::{self, Letter};
use super::message::{each, ended_badly, lines, said};
use super::request::short;
use super::wait::{duration_ms, until};
use crate::context::Context;
use crate::output::word;
use crate::report::Failure;
use crate::text::plain;

#[derive(clap::Args)]
pub(crate) struct Ask {
    /// Whoever can be sent to; of several, the first answer is taken
    #[arg(value_name = "TARGET")]
    to: String,
    #[command(flatten)]
    letter: Letter,
    /// Exit 6 when the answer takes longer
    #[arg(long, value_name = "DUR", value_parser = duration_ms)]
    timeout: Option<u64>,
}

enum Outcome {
    /// The answer, and of how many.
    Answered(Value, usize),
    /// Nothing comes any more, and how it came to that.
    Over(String),
}

impl Ask {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        let (body, attachments) = self.letter.bring(context)?;
        let deadline = self.timeout.map(|ms| Instant::now() + Duration::from_millis(ms));
        let args = json!({ "to": [self.to], "body": body, "wants_answer": true, "attachments": attachments });
        let sent = context.order("message.send", &args)?;
        let failed = |exit, code, message: String| {
            let mut failure = Failure::new(exit, code, message);
            let hint = format!("agentmux msg show {}", short(&sent["id"]));
            failure.rejection = failure.rejection.hint(hint).details(sent.clone());
            Err(failure)
        };
        match until(context, deadline, |context| outcome(context, &sent["id"]))? {
            Some(Outcome::Answered(answer, asked)) => {
                let code = context.out.done(&answer, || {
                    let who = (asked > 1).then(|| plain(&format!("{} answers:", word(&answer["from"]))));
                    let body = word(&answer["body"]);
                    let words = said(&body).chain(letter::lines(&answer));
                    who.into_iter().chain(words).collect::<Vec<_>>().join("\n")
                });
                // It was taken where it was asked for, and need not wait in an inbox too. If this is not noted, it
                // does, which does no harm.
                let _ = context.without_start().order("message.ack", &json!({ "message": answer["id"] }));
                Ok(code)
            }
            Some(Outcome::Over(why)) => failed(Exit::Failed, Code::Conflict, format!("no answer comes: {why}")),
            None => {
                let message = context.without_start().ask("message", &json!({ "message": sent["id"] }))?;
                failed(
                    Exit::TimedOut,
                    Code::TimedOut,
                    format!("no answer in time: {}", lines(&message["deliveries"]).join("; ")),
                )
            }
        }
    }
}

fn outcome(context: &Context, id: &Value) -> Result<Option<Outcome>, Failure> {
    // It began this thread, so that everything is in it.
    let thread = context.ask("thread", &json!({ "thread": id }))?;
    let Some(asked) = each(&thread).find(|message| message["id"] == *id) else {
        return Ok(Some(Outcome::Over("the message is gone".to_owned())));
    };
    // Others can put their words into the thread as well.
    let was_asked = |who: &Value| each(&asked["deliveries"]).any(|delivery| delivery["to"] == *who);
    let is_for_us = |message: &&Value| {
        message["reply_to"] == *id && was_asked(&message["from"]) && each(&message["to"]).any(|to| *to == asked["from"])
    };
    if let Some(answer) = each(&thread).find(is_for_us) {
        return Ok(Some(Outcome::Answered(answer.clone(), each(&asked["deliveries"]).count())));
    }
    // Whoever has answered, and not to us, has said what it had to say.
    let is_over = |delivery: &Value| ended_badly(delivery) || delivery["stage"] == "answered";
    let is_over = each(&asked["deliveries"]).all(is_over);
    Ok(is_over.then(|| Outcome::Over(lines(&asked["deliveries"]).join("; "))))
}
