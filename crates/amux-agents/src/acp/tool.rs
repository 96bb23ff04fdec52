//! Tool calls of the turn. Agents announce a call before they know what it will be and tell title and input later,
//! so a pending call is said with the next thing that is heard of it; a permission may be the first that is heard.

use amux_proto::transcript::{DiffChange, Item, PlanEntry, PlanStatus, Tool, ToolKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{items, text};
use crate::Out;

const DETAIL_CHARS: usize = 4_000;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Tools {
    calls: Vec<Call>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Call {
    id: String,
    name: Option<String>,
    kind: String,
    title: String,
    input: Value,
    parent: Option<String>,
    path: Option<String>,
    phase: Phase,
    is_running: bool,
    output: String,
    /// As they were told last: until it is done they are what it wants to do.
    diffs: Vec<Diff>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    #[default]
    Held,
    Said,
    Done,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Diff {
    path: String,
    old: Option<String>,
    new: String,
}

/// What a permission is about.
pub(super) struct Subject {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) detail: String,
    pub(super) subject: Option<String>,
}

impl Tools {
    /// A new turn: what is heard of the calls of the turn before is about nothing.
    pub(super) fn clear(&mut self, out: &mut Out) {
        self.leave(false, out);
        self.calls.clear();
    }

    /// `is_live` is whether a call that is not known may be a new one; behind a turn it is a late word.
    pub(super) fn update(&mut self, update: &Value, is_live: bool, out: &mut Out) {
        let Some((call, is_new)) = self.find(update, is_live) else { return };
        call.learn(update);
        let status = update["status"].as_str();
        call.is_running |= status == Some("in_progress");
        if !is_new || !matches!(status, None | Some("pending")) {
            call.say(out);
        }
        match status {
            Some("completed") => call.finish(update, false, out),
            Some("failed") => call.finish(update, true, out),
            // What comes with the first word describes the call.
            _ if call.is_running && !is_new => call.say_output(update, out),
            _ => {}
        }
    }

    /// A permission is asked for this call.
    pub(super) fn asked(&mut self, about: &Value, out: &mut Out) -> Subject {
        let Some((call, _)) = self.find(about, true) else {
            let mut call = Call::default();
            call.learn(about);
            return call.subject(about);
        };
        call.learn(about);
        call.say(out);
        call.subject(about)
    }

    /// The turn is over, and so is what was called in it.
    pub(super) fn leave(&mut self, is_error: bool, out: &mut Out) {
        for call in &mut self.calls {
            if call.phase == Phase::Done {
                continue;
            }
            call.say(out);
            let output = std::mem::take(&mut call.output);
            out.say(Item::ToolDone { id: call.id.clone(), output, is_error, exit_code: None });
            call.end();
        }
    }

    /// The call with that id which is not done, and whether this is the first word of it.
    fn find(&mut self, about: &Value, may_be_new: bool) -> Option<(&mut Call, bool)> {
        let id = about["toolCallId"].as_str()?;
        let at = self.calls.iter().position(|call| call.id == id);
        let (at, is_new) = match at {
            Some(at) if self.calls[at].phase == Phase::Done => return None,
            Some(at) => (at, false),
            None if may_be_new => {
                self.calls.push(Call { id: id.to_owned(), ..Call::default() });
                (self.calls.len() - 1, true)
            }
            None => return None,
        };
        Some((&mut self.calls[at], is_new))
    }
}

impl Call {
    fn learn(&mut self, update: &Value) {
        let title = update["title"].as_str().filter(|title| !title.is_empty());
        if let Some(name) = told_name(update) {
            self.name = Some(name.to_owned());
        } else if self.name.is_none()
            && let Some(title) = title.filter(|title| !title.contains(char::is_whitespace))
            && update["status"] == "pending"
        {
            // A first title of one word is the name; what it is about replaces it.
            self.name = Some(title.to_owned());
        }
        if let Some(title) = title {
            title.clone_into(&mut self.title);
        }
        if let Some(kind) = update["kind"].as_str() {
            kind.clone_into(&mut self.kind);
        }
        if update["rawInput"].as_object().is_some_and(|input| !input.is_empty()) {
            self.input = update["rawInput"].clone();
        }
        if let Some(path) = items(&update["locations"]).find_map(|location| location["path"].as_str()) {
            self.path = Some(path.to_owned());
        }
        self.parent = self.parent.take().or_else(|| text::parent(update));
        let diffs: Vec<_> = items(&update["content"]).filter_map(diff).collect();
        if !diffs.is_empty() {
            self.diffs = diffs;
        }
    }

    fn say(&mut self, out: &mut Out) {
        if self.phase != Phase::Held {
            return;
        }
        self.phase = Phase::Said;
        let name = self.name();
        let tool = Tool {
            id: self.id.clone(),
            kind: kind(&self.kind, &name),
            title: if self.title.is_empty() { name.clone() } else { self.title.clone() },
            name,
            input: self.input.clone(),
            parent: self.parent.clone(),
        };
        out.say(Item::ToolStarted { tool });
    }

    /// The content of an update is all there is so far.
    fn say_output(&mut self, update: &Value, out: &mut Out) {
        let all = content_text(update);
        if all.is_empty() || all == self.output {
            return;
        }
        let text = all.strip_prefix(&self.output).unwrap_or(&all).to_owned();
        self.output = all;
        out.say(Item::ToolOutput { id: self.id.clone(), text });
    }

    fn finish(&mut self, update: &Value, is_error: bool, out: &mut Out) {
        let raw = &update["rawOutput"];
        let of_raw = raw.as_str().or_else(|| raw["output"].as_str()).filter(|text| !text.is_empty());
        let of_content = || Some(content_text(update)).filter(|text| !text.is_empty());
        let output = of_raw
            .map(str::to_owned)
            .or_else(of_content)
            .or_else(|| raw.as_object().filter(|raw| !raw.is_empty()).map(|_| raw.to_string()))
            .unwrap_or_else(|| std::mem::take(&mut self.output));
        let exit_code = [&raw["metadata"]["exit"], &raw["exitCode"], &raw["exit_code"]]
            .into_iter()
            .find_map(Value::as_i64)
            .and_then(|code| i32::try_from(code).ok());
        if !is_error {
            for Diff { path, old, new } in self.diffs.drain(..) {
                let change = DiffChange::Texts { old, new };
                out.say(Item::Diff { tool: Some(self.id.clone()), path, change });
            }
        }
        out.say(Item::ToolDone { id: self.id.clone(), output, is_error, exit_code });
        self.end();
    }

    /// Only its id is of use from here on.
    fn end(&mut self) {
        *self = Self { id: std::mem::take(&mut self.id), phase: Phase::Done, ..Self::default() };
    }

    fn name(&self) -> String {
        let kind = if self.kind.is_empty() { "tool" } else { &self.kind };
        self.name.clone().unwrap_or_else(|| kind.to_owned())
    }

    fn subject(&self, about: &Value) -> Subject {
        const FIELDS: &[&str] = &["command", "file_path", "filePath", "filepath", "path", "url", "query", "pattern"];
        let of_input = FIELDS.iter().find_map(|field| self.input[field].as_str()).map(str::to_owned);
        let of_diff = || self.diffs.first().map(|diff| diff.path.clone());
        let of_title = || Some(self.title.clone()).filter(|_| self.kind == "execute");
        let subject = of_input.or_else(of_title).or_else(of_diff).or_else(|| self.path.clone());
        let content = content_text(about);
        let detail = match self.diffs.first() {
            _ if !content.is_empty() => content,
            Some(diff) => diff.new.clone(),
            None if self.input.is_null() => String::new(),
            None => serde_json::to_string_pretty(&self.input).unwrap_or_default(),
        };
        let name = self.name();
        let title = if self.title.is_empty() { name.clone() } else { self.title.clone() };
        Subject { name, title, detail: crate::cut(&detail, DETAIL_CHARS), subject }
    }
}

pub(super) fn plan_entry(entry: &Value) -> PlanEntry {
    PlanEntry {
        text: entry["content"].as_str().unwrap_or_default().to_owned(),
        status: match entry["status"].as_str() {
            Some("in_progress") => PlanStatus::InProgress,
            Some("completed") => PlanStatus::Completed,
            _ => PlanStatus::Pending,
        },
    }
}

/// The protocol has no field for it; these agents say it beside.
fn told_name(update: &Value) -> Option<&str> {
    let meta = &update["_meta"];
    meta["claudeCode"]["toolName"].as_str().or_else(|| meta["toolName"].as_str())
}

fn kind(kind: &str, name: &str) -> ToolKind {
    match name {
        "Task" | "Agent" | "task" => return ToolKind::Delegate,
        name if name.starts_with("mcp__") => return ToolKind::Mcp,
        _ => {}
    }
    match kind {
        "execute" => ToolKind::Execute,
        "read" => ToolKind::Read,
        "edit" | "delete" | "move" => ToolKind::Edit,
        "search" => ToolKind::Search,
        "fetch" => ToolKind::Fetch,
        "think" => ToolKind::Think,
        _ => ToolKind::Other,
    }
}

fn diff(content: &Value) -> Option<Diff> {
    if content["type"] != "diff" {
        return None;
    }
    Some(Diff {
        path: content["path"].as_str()?.to_owned(),
        old: content["oldText"].as_str().map(str::to_owned),
        new: content["newText"].as_str().unwrap_or_default().to_owned(),
    })
}

fn content_text(update: &Value) -> String {
    let texts: Vec<_> = items(&update["content"]).filter_map(|part| text::of_block(&part["content"])).collect();
    texts.join("\n")
}
