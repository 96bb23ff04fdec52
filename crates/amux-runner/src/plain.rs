//! Entries of a transcript as lines for people who look from outside: `look`, `log`.

use amux_proto::transcript::{Entry, InputStage, Item, Opened, TaskStatus, TurnEnd};

/// `None` for what is not worth a line.
pub fn line(entry: &str) -> Option<String> {
    let entry: Entry = serde_json::from_str(entry).ok()?;
    item(&entry.item)
}

pub fn item(item: &Item) -> Option<String> {
    Some(match item {
        Item::Session { session } => match &session.how {
            Opened::New => format!("── a new conversation: {}", session.id),
            Opened::Resumed => format!("── the conversation goes on: {}", session.id),
            Opened::Fresh { attempted, why } => {
                format!("── a fresh conversation: {} ({attempted} is lost: {why})", session.id)
            }
        },
        Item::TurnStarted { turn, trigger: _ } => format!("── turn {turn}"),
        Item::TurnEnded { turn, end } => match end {
            TurnEnd::Done => format!("── turn {turn} done"),
            TurnEnd::Interrupted => format!("── turn {turn} interrupted"),
            TurnEnd::Error { .. } => format!("── turn {turn} failed"),
            TurnEnd::Exited => format!("── turn {turn} ended with its process"),
        },
        Item::Input { text, .. } => format!("> {}", indented(text)),
        Item::InputStage { stage: InputStage::Refused | InputStage::Unproven, evidence, .. } => format!("! {evidence}"),
        Item::Message { text, parent, .. } => format!("{}{}", nested(parent), indented(text)),
        Item::Thinking { text, parent, .. } => format!("{}(thinks) {}", nested(parent), indented(text)),
        Item::ToolStarted { tool } => format!("{}* {}: {}", nested(&tool.parent), tool.name, one_line(&tool.title)),
        Item::ToolDone { output, is_error, .. } => {
            let mark = if *is_error { "  ✗ " } else { "  = " };
            format!("{mark}{}", shortened(output))
        }
        Item::Diff { path, .. } => format!("  ± {path}"),
        Item::Plan { entries } => {
            let each = entries.iter().map(|entry| format!("    [{}] {}", mark(entry.status), one_line(&entry.text)));
            std::iter::once("  plan".to_owned()).chain(each).collect::<Vec<_>>().join("\n")
        }
        Item::Asked { ask } => format!("? {}", one_line(&ask.title)),
        Item::AskClosed { how, .. } => format!("? {how}"),
        Item::Task { task } => match task.status {
            TaskStatus::Running => format!("& {} runs beside", one_line(&task.title)),
            TaskStatus::Completed => format!("& {} is done", one_line(&task.title)),
            TaskStatus::Failed => format!("& {} failed", one_line(&task.title)),
            TaskStatus::Stopped => format!("& {} was stopped", one_line(&task.title)),
        },
        Item::Retry { attempt, max, reason, .. } => {
            let of = max.map_or_else(String::new, |max| format!("/{max}"));
            format!("! retry {attempt}{of}: {reason}")
        }
        Item::Compaction { done: false, .. } => "! the conversation is being shortened".to_owned(),
        Item::Compaction { done: true, .. } => "! the conversation was shortened".to_owned(),
        Item::Error { error } => format!("! {}", one_line(&error.text)),
        Item::Notice { text } => format!("! {}", one_line(text)),
        Item::PassStarted { .. }
        | Item::InputStage { .. }
        | Item::MessageDelta { .. }
        | Item::ThinkingDelta { .. }
        | Item::ToolOutput { .. }
        | Item::Usage { .. }
        | Item::Mode { .. }
        | Item::Unknown { .. } => return None,
    })
}

const TOOL_LINES: usize = 6;

fn mark(status: amux_proto::transcript::PlanStatus) -> char {
    match status {
        amux_proto::transcript::PlanStatus::Pending => ' ',
        amux_proto::transcript::PlanStatus::InProgress => '>',
        amux_proto::transcript::PlanStatus::Completed => 'x',
    }
}

fn nested(parent: &Option<String>) -> &'static str {
    if parent.is_some() { "    " } else { "" }
}

fn indented(text: &str) -> String {
    text.trim_end().replace('\n', "\n  ")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn shortened(output: &str) -> String {
    let lines: Vec<_> = output.trim_end().lines().collect();
    let shown = lines.iter().take(TOOL_LINES).copied().collect::<Vec<_>>().join("\n    ");
    match lines.len().saturating_sub(TOOL_LINES) {
        0 => shown,
        more => format!("{shown}\n    … {more} more lines"),
    }
}
