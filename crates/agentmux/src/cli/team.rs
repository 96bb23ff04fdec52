//! Teams.

use std::process::ExitCode;

use serde_json::json;

use crate::context::Context;
use crate::output::{age, table, word};
use crate::report::Failure;

#[derive(clap::Subcommand)]
pub(crate) enum Team {
    /// Make a team
    #[command(after_help = "Example: agentmux team create shop")]
    Create { name: String },
    /// List teams
    #[command(after_help = "Example: agentmux team ls")]
    Ls,
    /// Give a team another name
    #[command(after_help = "Example: agentmux team rename shop store")]
    Rename { team: String, name: String },
    /// Remove a team
    #[command(after_help = "Example: agentmux team rm shop --with-agents")]
    Rm {
        team: String,
        /// Its agents too, stopped first when they run
        #[arg(long)]
        with_agents: bool,
    },
}

impl Team {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        match self {
            Self::Create { name } => {
                let answer = context.order("team.create", &json!({ "name": name }))?;
                Ok(context.out.done(&answer, || format!("team {name} created")))
            }
            Self::Ls => {
                let teams = context.ask("teams", &json!({}))?;
                Ok(context.out.done(&teams, || {
                    let rows = teams.as_array().into_iter().flatten();
                    let rows: Vec<_> = rows
                        .map(|team| {
                            vec![
                                word(&team["name"]),
                                age(team["created"].as_str().unwrap_or_default()),
                                word(&team["id"]),
                            ]
                        })
                        .collect();
                    if rows.is_empty() {
                        return "no teams".into();
                    }
                    table(&["name", "age", "id"], &rows, |_, text| text.to_owned(), context.out)
                }))
            }
            Self::Rename { team, name } => {
                let answer = context.order("team.rename", &json!({ "team": team, "name": name }))?;
                Ok(context.out.done(&answer, || match answer["changed"] == false {
                    true => format!("team {name} has that name already"),
                    false => format!("team {team} is now {name}"),
                }))
            }
            Self::Rm { team, with_agents } => {
                let answer = context.order("team.remove", &json!({ "team": team, "with_agents": with_agents }))?;
                Ok(context.out.done(&answer, || match answer["waiting"].as_u64() {
                    Some(1) => format!("team {team} goes when its agent has stopped"),
                    Some(agents) if agents > 0 => format!("team {team} goes when its {agents} agents have stopped"),
                    _ => format!("team {team} removed"),
                }))
            }
        }
    }
}
