//! Tabs.

use std::process::ExitCode;

use serde_json::json;

use super::workspace::placed;
use crate::context::Context;
use crate::output::{table, word};
use crate::report::Failure;

#[derive(clap::Subcommand)]
pub(crate) enum Tab {
    /// Make a tab, empty or with an agent in it
    #[command(after_help = "Example: agentmux tab create review --name logs --agent api")]
    Create {
        workspace: String,
        #[arg(long)]
        name: Option<String>,
        #[arg(long)]
        index: Option<u32>,
        /// Show this agent in it
        #[arg(long)]
        agent: Option<String>,
    },
    /// List tabs
    #[command(after_help = "Example: agentmux tab ls")]
    Ls,
    #[command(after_help = "Example: agentmux tab rename logs builds")]
    Rename { tab: String, name: String },
    /// Within its workspace, or to another one
    #[command(after_help = "Example: agentmux tab move logs 0 --workspace release")]
    Move {
        tab: String,
        index: u32,
        #[arg(long)]
        workspace: Option<String>,
    },
    /// Before the others, and kept there
    #[command(after_help = "Example: agentmux tab pin logs")]
    Pin { tab: String },
    #[command(after_help = "Example: agentmux tab unpin logs")]
    Unpin { tab: String },
    /// To the front
    #[command(after_help = "Example: agentmux tab activate logs")]
    Activate { tab: String },
    /// With everything in it; `agentmux layout reopen` brings it back
    #[command(after_help = "Example: agentmux tab close logs")]
    Close { tab: String },
    /// To a workspace of its own
    #[command(after_help = "Example: agentmux tab tear-off logs --name watch")]
    TearOff {
        tab: String,
        #[arg(long)]
        name: Option<String>,
    },
}

impl Tab {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        let (verb, args) = match self {
            Self::Ls => return list(context),
            Self::Create { workspace, name, index, agent } => {
                let content = agent.as_ref().map(|agent| super::pane::showing(context, agent)).transpose()?;
                ("tab.create", json!({ "workspace": workspace, "name": name, "index": index, "content": content }))
            }
            Self::Rename { tab, name } => ("tab.rename", json!({ "tab": tab, "name": name })),
            Self::Move { tab, index, workspace } => {
                ("tab.move", json!({ "tab": tab, "index": index, "workspace": workspace }))
            }
            Self::Pin { tab } => ("tab.pin", json!({ "tab": tab, "pinned": true })),
            Self::Unpin { tab } => ("tab.pin", json!({ "tab": tab, "pinned": false })),
            Self::Activate { tab } => ("tab.activate", json!({ "tab": tab })),
            Self::Close { tab } => ("tab.close", json!({ "tab": tab })),
            Self::TearOff { tab, name } => ("tab.tear_off", json!({ "tab": tab, "name": name })),
        };
        placed(context, verb, &args)
    }
}

fn list(context: &Context) -> Result<ExitCode, Failure> {
    let snapshot = context.ask("snapshot", &json!({}))?;
    let tabs = snapshot["tabs"].clone();
    Ok(context.out.done(&tabs, || {
        let name_of = |id: &serde_json::Value| {
            let all = snapshot["workspaces"].as_array().into_iter().flatten();
            all.into_iter()
                .find(|workspace| workspace["id"] == *id)
                .map_or_else(String::new, |found| word(&found["name"]))
        };
        let rows = tabs.as_array().into_iter().flatten();
        let rows: Vec<_> = rows
            .map(|tab| {
                let pinned = if tab["pinned"] == true { "pinned" } else { "" };
                vec![word(&tab["name"]), name_of(&tab["workspace"]), pinned.to_owned(), word(&tab["id"])]
            })
            .collect();
        if rows.is_empty() {
            return "no tabs".into();
        }
        table(&["name", "workspace", "", "id"], &rows, |_, text| text.to_owned(), context.out)
    }))
}
