//! The frames of `codex exec --json`.

use amux_proto::transcript::{Item, PlanEntry, PlanStatus, Tool, ToolKind, Usage};
use serde_json::{Value, json};

use super::{Claim, Fact, Reading, TITLE_CHARS_MAX, Verdict};
use crate::{Out, codex, cut, failure};

pub(super) fn read(frame: &Value, reading: &mut Reading, out: &mut Out, facts: &mut Vec<Fact>) {
    match frame["type"].as_str().unwrap_or_default() {
        "thread.started" => {
            if let Some(id) = frame["thread_id"].as_str() {
                facts.push(Fact::Session(Claim { id: id.to_owned(), model: None, mode: None, cwd: None }));
                // Of a thread that it cannot resume it prints nothing at all.
                facts.push(Fact::Proof);
            }
        }
        "turn.started" => {}
        "item.started" | "item.updated" => item(&frame["item"], false, reading, out, facts),
        "item.completed" => item(&frame["item"], true, reading, out, facts),
        "turn.completed" => {
            let told = |key: &str| frame["usage"][key].as_u64();
            out.say(Item::Usage {
                usage: Usage {
                    input_tokens: told("input_tokens"),
                    cached_tokens: told("cached_input_tokens"),
                    output_tokens: told("output_tokens"),
                    ..Usage::default()
                },
            });
            facts.push(Fact::End(Verdict::Done));
        }
        "turn.failed" => {
            let text = frame["error"]["message"].as_str().unwrap_or("the turn failed").to_owned();
            facts.push(Fact::End(Verdict::Error { class: failure::of_text(&text), text }));
        }
        "error" => {
            let text = frame["message"].as_str().unwrap_or_default();
            if text.starts_with("Reconnecting") {
                let (attempt, max) = codex::attempts(text);
                out.say(Item::Retry { attempt, max, until: None, reason: text.to_owned() });
            } else {
                let verdict = Verdict::Error { class: failure::of_text(text), text: text.to_owned() };
                facts.push(Fact::End(verdict));
            }
        }
        kind => facts.push(Fact::Unknown(kind.to_owned())),
    }
}

fn item(item: &Value, is_completed: bool, reading: &mut Reading, out: &mut Out, facts: &mut Vec<Fact>) {
    let id = reading.id(&item["id"]);
    let text = |key: &str| item[key].as_str().unwrap_or_default();
    let (kind, title, input, output) = match text("type") {
        "agent_message" if is_completed => {
            return out.say(Item::Message { id, text: text("text").to_owned(), parent: None });
        }
        "reasoning" if is_completed => {
            return out.say(Item::Thinking { id, text: text("text").to_owned(), parent: None });
        }
        // What does not end the turn is called an error here as well.
        "error" if is_completed => return out.say(Item::Notice { text: text("message").to_owned() }),
        "agent_message" | "reasoning" | "error" => return,
        "todo_list" => {
            let entry = |entry: &Value| PlanEntry {
                text: entry["text"].as_str().unwrap_or_default().to_owned(),
                status: if entry["completed"] == true { PlanStatus::Completed } else { PlanStatus::Pending },
            };
            let entries = item["items"].as_array().into_iter().flatten().map(entry).collect();
            return out.say(Item::Plan { entries });
        }
        "command_execution" => {
            let command = text("command").to_owned();
            (ToolKind::Execute, command.clone(), json!({ "command": command }), text("aggregated_output").to_owned())
        }
        "file_change" => {
            let changes = item["changes"].as_array().into_iter().flatten();
            let paths: Vec<&str> = changes.filter_map(|change| change["path"].as_str()).collect();
            (ToolKind::Edit, paths.join(", "), json!({ "changes": item["changes"] }), String::new())
        }
        "mcp_tool_call" => {
            let title = format!("{}.{}", text("server"), text("tool"));
            let parts = item["result"]["content"].as_array().into_iter().flatten();
            let told = parts.filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n");
            let output = item["error"]["message"].as_str().map_or(told, str::to_owned);
            (ToolKind::Mcp, title, item["arguments"].clone(), output)
        }
        "web_search" => (ToolKind::Search, text("query").to_owned(), json!({ "query": item["query"] }), String::new()),
        "collab_tool_call" => {
            (ToolKind::Delegate, text("tool").to_owned(), json!({ "prompt": item["prompt"] }), String::new())
        }
        kind => return facts.push(Fact::Unknown(format!("item/{kind}"))),
    };
    let name = text("type").to_owned();
    reading.tool_started(
        Tool { id: id.clone(), name, kind, title: cut(&title, TITLE_CHARS_MAX), input, parent: None },
        out,
    );
    if is_completed {
        let is_error = matches!(text("status"), "failed" | "declined");
        let code = item["exit_code"].as_i64().and_then(|code| i32::try_from(code).ok());
        reading.tool_done(&id, output, is_error, code, out);
    }
}
