//! `agentmux` alone: on a terminal the list of agents and what a newcomer needs; elsewhere the help.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use amux_proto::exit::Exit;
use clap::CommandFactory as _;
use serde_json::json;

use super::{Cli, ls};
use crate::context::Context;
use crate::report::{Failure, say};

pub(crate) fn run(context: &Context) -> Result<ExitCode, Failure> {
    if context.out.is_json() || !std::io::stdout().is_terminal() {
        if context.out.is_json() {
            return Err(Failure::usage("no command was given").hint("agentmux --help"));
        }
        eprint!("{}", Cli::command().render_help());
        return Ok(ExitCode::from(Exit::Usage as u8));
    }
    let agents = context.ask("agents", &json!({ "all": true }))?;
    say(&format!("{}\n", ls::words(&agents, context.out)));
    for (command, what) in [
        ("agentmux new NAME --agent shell", "start an agent (a shell, or any program: --agent cmd -- PROGRAM)"),
        ("agentmux look NAME", "see its screen"),
        ("agentmux --help", "everything else"),
    ] {
        say(&format!("  {}  {}", context.out.bold(&format!("{command:<32}")), context.out.dim(what)));
    }
    Ok(ExitCode::SUCCESS)
}
