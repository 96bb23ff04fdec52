//! Workspaces.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::context::Context;
use crate::output::{table, word};
use crate::report::Failure;

#[derive(clap::Subcommand)]
pub(crate) enum Workspace {
    /// Make a workspace
    #[command(after_help = "Example: agentmux workspace create review")]
    Create { name: String },
    /// List workspaces, in order
    #[command(after_help = "Example: agentmux workspace ls")]
    Ls,
    #[command(after_help = "Example: agentmux workspace rename review release")]
    Rename { workspace: String, name: String },
    /// To another place in the order, counted from 0
    #[command(after_help = "Example: agentmux workspace move review 0")]
    Move { workspace: String, index: u32 },
    /// With everything in it; `agentmux layout reopen` brings it back
    #[command(after_help = "Example: agentmux workspace close review")]
    Close { workspace: String },
    /// Bring a torn-off workspace back to where it came from
    #[command(after_help = "Example: agentmux workspace restore torn")]
    Restore { workspace: String },
}

impl Workspace {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        let (verb, args) = match self {
            Self::Ls => return list(context),
            Self::Create { name } => ("workspace.create", json!({ "name": name })),
            Self::Rename { workspace, name } => ("workspace.rename", json!({ "workspace": workspace, "name": name })),
            Self::Move { workspace, index } => ("workspace.move", json!({ "workspace": workspace, "index": index })),
            Self::Close { workspace } => ("workspace.close", json!({ "workspace": workspace })),
            Self::Restore { workspace } => ("workspace.restore", json!({ "workspace": workspace })),
        };
        placed(context, verb, &args)
    }
}

/// An order about the layout; says what was made, or that nothing changed.
pub(crate) fn placed(context: &Context, verb: &str, args: &Value) -> Result<ExitCode, Failure> {
    let answer = context.order(verb, args)?;
    Ok(context.out.done(&answer, || {
        if answer["changed"] == false {
            return "nothing to change".into();
        }
        let made: Vec<_> = ["workspace", "tab", "pane", "closed"]
            .iter()
            .filter_map(|name| Some(format!("{name} {}", answer[*name].as_str()?)))
            .collect();
        if made.is_empty() { "done".into() } else { made.join(", ") }
    }))
}

fn list(context: &Context) -> Result<ExitCode, Failure> {
    let snapshot = context.ask("snapshot", &json!({}))?;
    let workspaces = snapshot["workspaces"].clone();
    Ok(context.out.done(&workspaces, || {
        let rows = workspaces.as_array().into_iter().flatten();
        let rows: Vec<_> = rows
            .map(|workspace| {
                let tabs = workspace["tabs"].as_array().map_or(0, Vec::len);
                let torn = if workspace["torn_from"].is_null() { "" } else { "torn off" };
                vec![word(&workspace["name"]), tabs.to_string(), torn.to_owned(), word(&workspace["id"])]
            })
            .collect();
        if rows.is_empty() {
            return "no workspaces".into();
        }
        table(&["name", "tabs", "", "id"], &rows, |_, text| text.to_owned(), context.out)
    }))
}
