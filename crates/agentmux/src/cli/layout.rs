//! The layout as a whole.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::pane::shown_as;
use super::workspace::placed;
use crate::context::Context;
use crate::output::word;
use crate::report::Failure;
use crate::text::plain;

#[derive(clap::Subcommand)]
pub(crate) enum Layout {
    /// Workspaces, tabs and panes as a tree
    #[command(after_help = "Example: agentmux layout show")]
    Show,
    /// The sizes of one split, as shares
    #[command(after_help = "Example: agentmux layout resize logs 7d01 60 40")]
    Resize {
        tab: String,
        split: String,
        #[arg(required = true)]
        sizes: Vec<u32>,
    },
    /// Undo a close: the newest, or the one named
    #[command(after_help = "Example: agentmux layout reopen")]
    Reopen { closed: Option<String> },
}

impl Layout {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        match self {
            Self::Show => show(context),
            Self::Resize { tab, split, sizes } => {
                placed(context, "layout.resize", &json!({ "tab": tab, "split": split, "sizes": sizes }))
            }
            Self::Reopen { closed } => placed(context, "layout.reopen", &json!({ "closed": closed })),
        }
    }
}

fn show(context: &Context) -> Result<ExitCode, Failure> {
    let snapshot = context.ask("snapshot", &json!({}))?;
    let data = json!({ "workspaces": snapshot["workspaces"], "tabs": snapshot["tabs"], "panes": snapshot["panes"], "closed": snapshot["closed"] });
    Ok(context.out.done(&data, || {
        let mut lines = Vec::new();
        for workspace in snapshot["workspaces"].as_array().into_iter().flatten() {
            lines.push(word(&workspace["name"]));
            for id in workspace["tabs"].as_array().into_iter().flatten() {
                let mut tabs = snapshot["tabs"].as_array().into_iter().flatten();
                let Some(tab) = tabs.find(|tab| tab["id"] == *id) else { continue };
                let mark = if workspace["active"] == *id { "*" } else { "-" };
                lines.push(format!("  {mark} {}", word(&tab["name"])));
                draw(&snapshot, &tab["root"], tab, 3, &mut lines);
            }
        }
        if lines.is_empty() {
            return "no workspaces".into();
        }
        lines.iter().map(|line| plain(line)).collect::<Vec<_>>().join("\n")
    }))
}

fn draw(snapshot: &Value, node: &Value, tab: &Value, depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    match node["type"].as_str() {
        Some("leaf") => {
            for id in node["panes"].as_array().into_iter().flatten() {
                let mut panes = snapshot["panes"].as_array().into_iter().flatten();
                let Some(pane) = panes.find(|pane| pane["id"] == *id) else { continue };
                let front = if node["active"] == *id { "" } else { " (behind)" };
                let focus = if tab["focus"] == *id { " <" } else { "" };
                lines.push(format!("{indent}{} {}{front}{focus}", shown_as(snapshot, pane), word(id)));
            }
        }
        Some("split") => {
            lines.push(format!("{indent}{} {}", word(&node["direction"]), word(&node["id"])));
            for child in node["children"].as_array().into_iter().flatten() {
                let percent = child["size"].as_f64().unwrap_or_default() / 100.0;
                lines.push(format!("{indent}  {percent:.0} %"));
                draw(snapshot, &child["node"], tab, depth + 2, lines);
            }
        }
        _ => lines.push(format!("{indent}(empty)")),
    }
}
