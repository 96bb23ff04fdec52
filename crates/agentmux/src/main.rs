//! `agentmux`: one binary, several roles. What each command does is in `cli/`; the server, the launcher and the
//! client are crates of their own.

mod cli;
mod context;
mod output;
mod relay;
mod report;
mod teamfile;
mod text;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    // Also of a command line that cannot be understood; what follows `--` is for somebody else.
    let wants_json = std::env::args_os().take_while(|arg| arg != "--").any(|arg| arg == "--json");
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return report::usage(&error, wants_json),
    };
    let json = cli.global.json;
    match cli::run(cli) {
        Ok(code) => code,
        Err(failure) => report::failure(&failure, json),
    }
}
