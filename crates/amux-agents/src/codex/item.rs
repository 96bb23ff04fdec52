//! The items of a thread: messages, thoughts, commands, edits, calls of tools, sub-agents.

use amux_proto::transcript::{DiffChange, Item, Task, TaskStatus, Tool, ToolKind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Out, cut};

const TITLE_CHARS_MAX: usize = 200;

/// A tool that has started and is not done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct OpenTool {
    pub id: String,
    pub title: String,
    /// The first path of an edit.
    pub subject: Option<String>,
    pub turn: String,
}

/// `None`: a type of item this build does not know.
pub(super) fn started(
    item: &Value,
    parent: Option<&str>,
    turn: &str,
    open: &mut Vec<OpenTool>,
    out: &mut Out,
) -> Option<()> {
    match kind(item) {
        "userMessage" | "agentMessage" | "reasoning" | "plan" | "hookPrompt" | "subAgentActivity"
        | "functionCallOutput" | "enteredReviewMode" | "exitedReviewMode" => Some(()),
        "contextCompaction" => {
            out.say(Item::Compaction { done: false, trigger: None });
            Some(())
        }
        _ => start(item, parent, turn, open, out),
    }
}

pub(super) fn completed(
    item: &Value,
    parent: Option<&str>,
    turn: &str,
    open: &mut Vec<OpenTool>,
    out: &mut Out,
) -> Option<()> {
    let id = id(item);
    let text = |key: &str| item[key].as_str().unwrap_or_default();
    let parent_owned = || parent.map(str::to_owned);
    match kind(item) {
        "userMessage" | "hookPrompt" | "functionCallOutput" => {}
        "agentMessage" | "plan" => {
            if !text("text").is_empty() {
                out.say(Item::Message { id, text: text("text").to_owned(), parent: parent_owned() });
            }
        }
        "reasoning" => {
            let parts = match joined(&item["summary"]) {
                parts if parts.is_empty() => joined(&item["content"]),
                parts => parts,
            };
            if !parts.is_empty() {
                out.say(Item::Thinking { id, text: parts, parent: parent_owned() });
            }
        }
        "contextCompaction" => out.say(Item::Compaction { done: true, trigger: None }),
        "enteredReviewMode" | "exitedReviewMode" => out.say(Item::Notice { text: text("review").to_owned() }),
        "subAgentActivity" => {
            let status = match text("kind") {
                "completed" => TaskStatus::Completed,
                "interrupted" => TaskStatus::Stopped,
                _ => TaskStatus::Running,
            };
            let title = text("agentPath").to_owned();
            let task = Task { id: text("agentThreadId").to_owned(), tool: None, title, status, background: true };
            out.say(Item::Task { task });
        }
        _ => {
            if !open.iter().any(|tool| tool.id == id) {
                start(item, parent, turn, open, out)?;
            }
            done(item, &id, out);
            open.retain(|tool| tool.id != id);
        }
    }
    Some(())
}

fn start(item: &Value, parent: Option<&str>, turn: &str, open: &mut Vec<OpenTool>, out: &mut Out) -> Option<()> {
    let text = |key: &str| item[key].as_str().unwrap_or_default();
    let mut subject = None;
    let (name, kind, title, input) = match kind(item) {
        name @ "commandExecution" => {
            let input = json!({ "command": item["command"], "cwd": item["cwd"] });
            (name.to_owned(), command_kind(&item["commandActions"]), command_line(item), input)
        }
        name @ "fileChange" => {
            let paths: Vec<&str> = changes(item).map(|change| change["path"].as_str().unwrap_or_default()).collect();
            subject = paths.first().map(|path| (*path).to_owned());
            (name.to_owned(), ToolKind::Edit, paths.join(", "), json!({ "paths": paths }))
        }
        "mcpToolCall" => {
            let name = format!("{}.{}", text("server"), text("tool"));
            (name.clone(), ToolKind::Mcp, name, item["arguments"].clone())
        }
        "dynamicToolCall" => {
            (text("tool").to_owned(), ToolKind::Other, text("tool").to_owned(), item["arguments"].clone())
        }
        "collabAgentToolCall" => {
            let title = match text("prompt") {
                "" => text("tool"),
                prompt => prompt,
            };
            let input = json!({ "prompt": item["prompt"], "agents": item["receiverThreadIds"] });
            (text("tool").to_owned(), ToolKind::Delegate, title.to_owned(), input)
        }
        name @ "webSearch" => {
            let action = &item["action"];
            let url = action["url"].as_str();
            let kind = if url.is_some() { ToolKind::Fetch } else { ToolKind::Search };
            (
                name.to_owned(),
                kind,
                url.unwrap_or(text("query")).to_owned(),
                json!({ "query": item["query"], "action": action }),
            )
        }
        name @ "imageView" => {
            (name.to_owned(), ToolKind::Read, text("path").to_owned(), json!({ "path": item["path"] }))
        }
        name @ ("imageGeneration" | "sleep") => (name.to_owned(), ToolKind::Other, name.to_owned(), json!({})),
        _ => return None,
    };
    let id = id(item);
    let title = cut(&title, TITLE_CHARS_MAX);
    open.retain(|tool| tool.id != id);
    open.push(OpenTool { id: id.clone(), title: title.clone(), subject, turn: turn.to_owned() });
    out.say(Item::ToolStarted { tool: Tool { id, name, kind, title, input, parent: parent.map(str::to_owned) } });
    Some(())
}

fn done(item: &Value, id: &str, out: &mut Out) {
    let status = item["status"].as_str().unwrap_or_default();
    let output = match kind(item) {
        "commandExecution" => item["aggregatedOutput"].as_str().unwrap_or_default().to_owned(),
        "mcpToolCall" => match item["error"]["message"].as_str() {
            Some(error) => error.to_owned(),
            None => content_text(&item["result"]["content"]),
        },
        "dynamicToolCall" => content_text(&item["contentItems"]),
        _ => String::new(),
    };
    if kind(item) == "fileChange" && status == "completed" {
        for change in changes(item) {
            let path = change["path"].as_str().unwrap_or_default().to_owned();
            let diff = change["diff"].as_str().unwrap_or_default().to_owned();
            // Of a whole file the text is told, and no difference.
            let change = match change["kind"]["type"].as_str() {
                Some("add") => DiffChange::Texts { old: None, new: diff },
                Some("delete") => DiffChange::Texts { old: Some(diff), new: String::new() },
                _ => DiffChange::Unified { diff },
            };
            out.say(Item::Diff { tool: Some(id.to_owned()), path, change });
        }
    }
    if kind(item) == "collabAgentToolCall" {
        for (thread, state) in item["agentsStates"].as_object().into_iter().flatten() {
            let status = match state["status"].as_str().unwrap_or_default() {
                "completed" => TaskStatus::Completed,
                "errored" | "notFound" => TaskStatus::Failed,
                "interrupted" | "shutdown" => TaskStatus::Stopped,
                _ => TaskStatus::Running,
            };
            let title = cut(item["prompt"].as_str().unwrap_or(thread), TITLE_CHARS_MAX);
            let task = Task { id: thread.clone(), tool: Some(id.to_owned()), title, status, background: true };
            out.say(Item::Task { task });
        }
    }
    let output = if output.is_empty() && status == "declined" { "declined".to_owned() } else { output };
    let is_error = matches!(status, "failed" | "declined" | "interrupted");
    let exit_code = item["exitCode"].as_i64().and_then(|code| i32::try_from(code).ok());
    out.say(Item::ToolDone { id: id.to_owned(), output, is_error, exit_code });
}

pub(super) fn kind(item: &Value) -> &str {
    item["type"].as_str().unwrap_or_default()
}

fn id(item: &Value) -> String {
    item["id"].as_str().unwrap_or_default().to_owned()
}

/// Without the shell it is wrapped into, where the server tells both.
pub(super) fn command_line(params: &Value) -> String {
    let actions = params["commandActions"].as_array().map_or(&[][..], Vec::as_slice);
    match actions {
        [one] => one["command"].as_str().or(params["command"].as_str()),
        _ => params["command"].as_str(),
    }
    .unwrap_or_default()
    .to_owned()
}

fn command_kind(actions: &Value) -> ToolKind {
    let kinds: Vec<&str> =
        actions.as_array().into_iter().flatten().filter_map(|action| action["type"].as_str()).collect();
    match kinds.as_slice() {
        [] => ToolKind::Execute,
        all if all.iter().all(|kind| *kind == "read") => ToolKind::Read,
        all if all.iter().all(|kind| matches!(*kind, "read" | "search" | "listFiles")) => ToolKind::Search,
        _ => ToolKind::Execute,
    }
}

fn changes(item: &Value) -> impl Iterator<Item = &Value> {
    item["changes"].as_array().into_iter().flatten()
}

fn joined(parts: &Value) -> String {
    parts.as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join("\n\n")
}

fn content_text(content: &Value) -> String {
    let texts = content.as_array().into_iter().flatten().filter_map(|part| part["text"].as_str());
    texts.collect::<Vec<_>>().join("\n")
}
