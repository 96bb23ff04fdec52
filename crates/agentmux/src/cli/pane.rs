//! Panes.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::workspace::placed;
use crate::context::Context;
use crate::output::{table, word};
use crate::report::Failure;

#[derive(clap::Subcommand)]
pub(crate) enum Pane {
    /// Open a pane where it is wanted
    #[command(after_help = "Example: agentmux pane open --agent api --tab logs --side right")]
    Open {
        #[command(flatten)]
        shown: Shown,
        #[command(flatten)]
        place: Place,
        #[arg(long)]
        title: Option<String>,
    },
    /// List panes
    #[command(after_help = "Example: agentmux pane ls")]
    Ls,
    /// To another place, in this tab or any other
    #[command(after_help = "Example: agentmux pane move 4f2a --beside 91bc --side down")]
    Move {
        pane: String,
        #[command(flatten)]
        place: Place,
    },
    /// The agent in it lives on; `agentmux layout reopen` brings it back
    #[command(after_help = "Example: agentmux pane close 4f2a")]
    Close { pane: String },
    /// To the front of its stack, and focused
    #[command(after_help = "Example: agentmux pane activate 4f2a")]
    Activate { pane: String },
    /// Without a title: back to its own
    #[command(after_help = "Example: agentmux pane rename 4f2a 'the build'")]
    Rename { pane: String, title: Option<String> },
    /// Show something else in the same place
    #[command(after_help = "Example: agentmux pane show 4f2a --agent api")]
    Show {
        pane: String,
        #[command(flatten)]
        shown: Shown,
    },
    /// To a workspace of its own
    #[command(after_help = "Example: agentmux pane tear-off 4f2a --name watch")]
    TearOff {
        pane: String,
        #[arg(long)]
        name: Option<String>,
    },
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Shown {
    /// An agent
    #[arg(long)]
    agent: Option<String>,
    /// A view of the system
    #[arg(long)]
    view: Option<String>,
    /// Nothing yet
    #[arg(long)]
    empty: bool,
}

#[derive(clap::Args)]
pub(crate) struct Place {
    /// In this tab: alone when it is empty, else at its right edge or the --side
    #[arg(long, group = "place")]
    tab: Option<String>,
    /// Beside this pane, at the --side, taking half of its room
    #[arg(long, group = "place")]
    beside: Option<String>,
    /// In the stack of this pane
    #[arg(long, group = "place")]
    stack: Option<String>,
    /// left, right, up or down
    #[arg(long, value_parser = ["left", "right", "up", "down"])]
    side: Option<String>,
    /// In the stack: at this place, counted from 0
    #[arg(long)]
    index: Option<u32>,
}

impl Shown {
    fn content(&self, context: &Context) -> Result<Value, Failure> {
        match (&self.agent, &self.view) {
            (Some(agent), _) => showing(context, agent),
            (None, Some(view)) => Ok(json!({ "type": "view", "view": view })),
            (None, None) => Ok(json!({ "type": "empty" })),
        }
    }
}

/// The content that is this agent.
pub(crate) fn showing(context: &Context, agent: &str) -> Result<Value, Failure> {
    let detail = context.ask("agent", &json!({ "agent": agent }))?;
    Ok(json!({ "type": "agent", "agent": detail["agent"]["uid"] }))
}

impl Place {
    fn place(&self, context: &Context) -> Result<Value, Failure> {
        let side = self.side.as_deref();
        match (&self.tab, &self.beside, &self.stack) {
            (Some(tab), _, _) => {
                let tab = id_of(context, "tabs", tab)?;
                Ok(match side {
                    Some(side) => json!({ "type": "edge", "tab": tab, "side": side }),
                    None => json!({ "type": "tab", "tab": tab }),
                })
            }
            (_, Some(pane), _) => {
                let pane = id_of(context, "panes", pane)?;
                Ok(json!({ "type": "beside", "pane": pane, "side": side.unwrap_or("right") }))
            }
            (_, _, Some(pane)) => {
                let pane = id_of(context, "panes", pane)?;
                Ok(json!({ "type": "stack", "pane": pane, "index": self.index }))
            }
            (None, None, None) => {
                Err(Failure::usage("where? --tab, --beside or --stack").hint("agentmux pane open --help"))
            }
        }
    }
}

/// A full id for a name, an id or the end of an id.
fn id_of(context: &Context, table: &str, reference: &str) -> Result<Value, Failure> {
    let snapshot = context.ask("snapshot", &json!({}))?;
    let rows = snapshot[table].as_array().cloned().unwrap_or_default();
    let simple = reference.replace('-', "").to_ascii_lowercase();
    let matches = |row: &&Value| {
        let id = row["id"].as_str().unwrap_or_default();
        id == reference
            || row["name"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(reference))
            || (simple.len() >= 4 && id.replace('-', "").ends_with(&simple))
    };
    let found: Vec<_> = rows.iter().filter(matches).collect();
    let noun = table.trim_end_matches('s');
    match found.as_slice() {
        [one] => Ok(one["id"].clone()),
        [] => Err(Failure::new(
            amux_proto::exit::Exit::NotFound,
            amux_proto::Code::NotFound,
            format!("no such {noun}: {reference}"),
        )
        .hint(format!("agentmux {noun} ls"))),
        many => {
            let names: Vec<_> = many.iter().map(|row| word(&row["id"])).collect();
            let message = format!("several {table} match: {reference}");
            let mut failure = Failure::new(amux_proto::exit::Exit::NotFound, amux_proto::Code::Ambiguous, message);
            failure.rejection = failure.rejection.details(json!({ "candidates": names }));
            Err(failure)
        }
    }
}

impl Pane {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        let (verb, args) = match self {
            Self::Ls => return list(context),
            Self::Open { shown, place, title } => {
                let (content, place) = (shown.content(context)?, place.place(context)?);
                ("pane.open", json!({ "content": content, "place": place, "title": title }))
            }
            Self::Move { pane, place } => ("pane.move", json!({ "pane": pane, "place": place.place(context)? })),
            Self::Close { pane } => ("pane.close", json!({ "pane": pane })),
            Self::Activate { pane } => ("pane.activate", json!({ "pane": pane })),
            Self::Rename { pane, title } => ("pane.rename", json!({ "pane": pane, "title": title })),
            Self::Show { pane, shown } => ("pane.show", json!({ "pane": pane, "content": shown.content(context)? })),
            Self::TearOff { pane, name } => ("pane.tear_off", json!({ "pane": pane, "name": name })),
        };
        placed(context, verb, &args)
    }
}

fn list(context: &Context) -> Result<ExitCode, Failure> {
    let snapshot = context.ask("snapshot", &json!({}))?;
    let panes = snapshot["panes"].clone();
    Ok(context.out.done(&panes, || {
        let rows = panes.as_array().into_iter().flatten();
        let rows: Vec<_> = rows
            .map(|pane| vec![shown_as(&snapshot, pane), word(&pane["title"]), word(&pane["tab"]), word(&pane["id"])])
            .collect();
        if rows.is_empty() {
            return "no panes".into();
        }
        table(&["shows", "title", "tab", "id"], &rows, |_, text| text.to_owned(), context.out)
    }))
}

/// What a pane shows, in a word or two.
pub(crate) fn shown_as(snapshot: &Value, pane: &Value) -> String {
    let content = &pane["content"];
    match content["type"].as_str() {
        Some("agent") => {
            let mut agents = snapshot["agents"].as_array().into_iter().flatten();
            let name = agents.find(|agent| agent["id"] == content["agent"]).map(|agent| word(&agent["name"]));
            format!("agent {}", name.unwrap_or_else(|| "?".into()))
        }
        Some("view") => format!("view {}", word(&content["view"])),
        _ => "empty".into(),
    }
}
