//! `agentmux`: one binary, several roles. What each command does is in `cli/`; the server, the launcher and the
//! client are crates of their own.

mod cli;
mod context;
mod output;
mod relay;
mod report;
mod streams;
mod teamfile;
mod text;

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Also of a command line that cannot be understood; what follows `--` is for somebody else.
    let said: Vec<OsString> = std::env::args_os().collect();
    let wants_json = said.iter().take_while(|arg| *arg != "--").any(|arg| arg == "--json");
    let cli = match cli::parse(&said) {
        Ok(cli) => cli,
        Err(error) => return report::usage(&error, wants_json),
    };
    let json = cli.global.json;
    match cli::run(cli) {
        Ok(code) => code,
        Err(failure) => report::failure(&failure, json),
    }
}
