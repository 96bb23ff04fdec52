//! The frames of `claude -p --output-format stream-json`, which Qwen prints as well.

use amux_proto::transcript::{FailureClass, Item, PlanEntry, PlanStatus, Task, TaskStatus, Usage};
use serde_json::Value;

use super::{Claim, Fact, Reading, TITLE_CHARS_MAX, Verdict, tool};
use crate::{Out, cut, failure};

pub(super) fn read(frame: &Value, reading: &mut Reading, out: &mut Out, facts: &mut Vec<Fact>) {
    let parent = frame["parent_tool_use_id"].as_str().map(str::to_owned);
    match frame["type"].as_str().unwrap_or_default() {
        "system" => system(frame, out, facts),
        "assistant" => {
            // The words of an error come again with the result, which decides.
            if frame["message"]["model"] == "<synthetic>" || frame["error"].is_string() {
                return;
            }
            facts.push(Fact::Proof);
            for block in blocks(frame) {
                said(block, &frame["message"]["id"], parent.as_deref(), reading, out);
            }
        }
        "user" => {
            for block in blocks(frame).filter(|block| block["type"] == "tool_result") {
                let id = block["tool_use_id"].as_str().unwrap_or_default();
                reading.tool_done(id, content_text(&block["content"]), block["is_error"] == true, None, out);
            }
        }
        "stream_event" => {
            let event = &frame["event"];
            if event["type"] == "message_start" {
                event["message"]["id"].as_str().unwrap_or_default().clone_into(&mut reading.message);
            }
            let id = || reading.message.clone();
            if let Some(text) = event["delta"]["text"].as_str() {
                out.say(Item::MessageDelta { id: id(), text: text.to_owned(), parent });
            } else if let Some(text) = event["delta"]["thinking"].as_str() {
                out.say(Item::ThinkingDelta { id: id(), text: text.to_owned(), parent });
            }
        }
        "result" => result(frame, out, facts),
        "rate_limit_event" | "tool_progress" => {}
        kind => facts.push(Fact::Unknown(kind.to_owned())),
    }
}

fn system(frame: &Value, out: &mut Out, facts: &mut Vec<Fact>) {
    let text = |key: &str| frame[key].as_str().map(str::to_owned);
    match frame["subtype"].as_str().unwrap_or_default() {
        "init" => {
            if let Some(id) = text("session_id") {
                let (model, mode) = (text("model"), text("permissionMode").or_else(|| text("permission_mode")));
                facts.push(Fact::Session(Claim { id, model, mode, cwd: text("cwd") }));
            }
        }
        "api_retry" => {
            let count = |key: &str| frame[key].as_u64().and_then(|count| u32::try_from(count).ok());
            let attempt = count("attempt").unwrap_or(1);
            let reason = text("error").unwrap_or_default();
            out.say(Item::Retry { attempt, max: count("max_retries"), until: None, reason });
        }
        "status" => {
            if frame["status"] == "compacting" {
                out.say(Item::Compaction { done: false, trigger: None });
            }
        }
        "compact_boundary" => {
            let trigger = frame["compact_metadata"]["trigger"].as_str().map(str::to_owned);
            out.say(Item::Compaction { done: true, trigger });
        }
        subtype @ ("task_started" | "task_notification" | "task_updated") => {
            let status = match (subtype, frame["status"].as_str()) {
                (_, Some("completed")) => TaskStatus::Completed,
                (_, Some("failed")) => TaskStatus::Failed,
                (_, Some("stopped" | "killed")) => TaskStatus::Stopped,
                ("task_updated", None) => return,
                _ => TaskStatus::Running,
            };
            let title = text("description").or_else(|| text("summary")).unwrap_or_default();
            let (id, tool) = (text("task_id").unwrap_or_default(), text("tool_use_id"));
            let title = cut(&title, TITLE_CHARS_MAX);
            out.say(Item::Task { task: Task { id, tool, title, status, background: true } });
        }
        "task_progress" | "hook_started" | "hook_response" | "thinking_tokens" | "session_start" => {}
        subtype => facts.push(Fact::Unknown(format!("system/{subtype}"))),
    }
}

fn said(block: &Value, message: &Value, parent: Option<&str>, reading: &mut Reading, out: &mut Out) {
    let id = || message.as_str().unwrap_or_default().to_owned();
    let parent = || parent.map(str::to_owned);
    let text = |key: &str| block[key].as_str().unwrap_or_default();
    match text("type") {
        "text" if !text("text").is_empty() => {
            out.say(Item::Message { id: id(), text: text("text").to_owned(), parent: parent() });
        }
        "thinking" if !text("thinking").is_empty() => {
            out.say(Item::Thinking { id: id(), text: text("thinking").to_owned(), parent: parent() });
        }
        "tool_use" => {
            let input = &block["input"];
            reading.tool_started(tool(text("id").to_owned(), text("name"), input, parent()), out);
            if matches!(text("name"), "TodoWrite" | "todo_write") {
                let entry = |todo: &Value| PlanEntry {
                    text: todo["content"].as_str().unwrap_or_default().to_owned(),
                    status: match todo["status"].as_str() {
                        Some("completed") => PlanStatus::Completed,
                        Some("in_progress") => PlanStatus::InProgress,
                        _ => PlanStatus::Pending,
                    },
                };
                out.say(Item::Plan { entries: input["todos"].as_array().into_iter().flatten().map(entry).collect() });
            }
        }
        _ => {}
    }
}

/// It may call itself a success and be an error: only `is_error` and the status are to be trusted.
fn result(frame: &Value, out: &mut Out, facts: &mut Vec<Fact>) {
    let told = |key: &str| frame["usage"][key].as_u64();
    let cached = told("cache_read_input_tokens");
    let window = frame["modelUsage"].as_object().into_iter().flatten();
    let window = window.filter_map(|(_, model)| model["contextWindow"].as_u64()).max();
    // Where nothing was asked of a model, nothing was used.
    if told("input_tokens").unwrap_or(0) + told("output_tokens").unwrap_or(0) > 0 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cost is small and not negative")]
        let micro = |usd: f64| (usd.max(0.0) * 1e6).round() as u64;
        out.say(Item::Usage {
            usage: Usage {
                input_tokens: told("input_tokens"),
                cached_tokens: cached,
                output_tokens: told("output_tokens"),
                cost_micro_usd: frame["total_cost_usd"].as_f64().map(micro),
                context_used: None,
                context_size: window,
            },
        });
    }
    let subtype = frame["subtype"].as_str().unwrap_or_default();
    facts.push(Fact::End(if frame["is_error"] == true || subtype.starts_with("error") {
        let listed = frame["errors"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let listed = listed.collect::<Vec<_>>().join("\n");
        let text = match (frame["result"].as_str(), frame["error"]["message"].as_str()) {
            (Some(text), _) | (None, Some(text)) if !text.is_empty() => text.to_owned(),
            _ if !listed.is_empty() => listed,
            _ => subtype.to_owned(),
        };
        let by_status = frame["api_error_status"].as_u64().map_or(FailureClass::Unknown, FailureClass::of_http);
        let class = match subtype {
            "error_max_turns" => FailureClass::MaxTurns,
            _ if by_status != FailureClass::Unknown => by_status,
            _ => failure::of_text(&text),
        };
        Verdict::Error { class, text }
    } else {
        Verdict::Done
    }));
}

fn blocks(frame: &Value) -> impl Iterator<Item = &Value> {
    frame["message"]["content"].as_array().into_iter().flatten()
}

fn content_text(content: &Value) -> String {
    if let Some(text) = content.as_str() {
        return text.to_owned();
    }
    let texts = content.as_array().into_iter().flatten().filter_map(|part| part["text"].as_str());
    texts.collect::<Vec<_>>().join("\n")
}
