//! The frames of `gemini --output-format stream-json`: a message streams in parts and is never repeated whole.

use amux_proto::transcript::{Item, Usage};
use serde_json::Value;

use super::{Claim, Fact, Reading, Verdict, tool};
use crate::{Out, failure};

pub(super) fn read(frame: &Value, reading: &mut Reading, out: &mut Out, facts: &mut Vec<Fact>) {
    let text = |key: &str| frame[key].as_str().unwrap_or_default();
    match text("type") {
        "init" => {
            if let Some(id) = frame["session_id"].as_str() {
                let model = frame["model"].as_str().map(str::to_owned);
                facts.push(Fact::Session(Claim { id: id.to_owned(), model, mode: None, cwd: None }));
            }
        }
        "message" if text("role") == "assistant" => {
            facts.push(Fact::Proof);
            if reading.message.is_empty() {
                reading.message = reading.next_message();
            }
            reading.text.push_str(text("content"));
            if frame["delta"] == true {
                let id = reading.message.clone();
                out.say(Item::MessageDelta { id, text: text("content").to_owned(), parent: None });
            } else {
                reading.flush(out);
            }
        }
        "message" => {}
        "tool_use" => {
            facts.push(Fact::Proof);
            reading.flush(out);
            let tool = tool(text("tool_id").to_owned(), text("tool_name"), &frame["parameters"], None);
            reading.tool_started(tool, out);
        }
        "tool_result" => {
            let is_error = text("status") == "error";
            let output = match frame["error"]["message"].as_str() {
                Some(message) if text("output").is_empty() => message,
                _ => text("output"),
            };
            reading.tool_done(text("tool_id"), output.to_owned(), is_error, None, out);
        }
        "error" => {
            let message = text("message").to_owned();
            if text("severity") != "warning" {
                reading.error = Some(message.clone());
            }
            out.say(Item::Notice { text: message });
        }
        "result" => {
            reading.flush(out);
            let told = |key: &str| frame["stats"][key].as_u64();
            // Where nothing was asked of a model, nothing was used.
            if told("input_tokens").unwrap_or(0) + told("output_tokens").unwrap_or(0) > 0 {
                out.say(Item::Usage {
                    usage: Usage {
                        input_tokens: told("input_tokens"),
                        cached_tokens: told("cached"),
                        output_tokens: told("output_tokens"),
                        ..Usage::default()
                    },
                });
            }
            facts.push(Fact::End(if text("status") == "success" {
                Verdict::Done
            } else {
                let told = frame["error"]["message"].as_str().map(str::to_owned);
                let text = told.or(reading.error.take()).unwrap_or_else(|| "the turn failed".to_owned());
                Verdict::Error { class: failure::of_text(&text), text }
            }));
        }
        kind => facts.push(Fact::Unknown(kind.to_owned())),
    }
}
