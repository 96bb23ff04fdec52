//! `cargo xtask`: everything a person or CI does with this repository, by two commands and a few parts of them.

mod real;
mod run;
mod steps;
mod tidy;
mod web;

use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};

const HELP: &str = "\
cargo xtask run                        build agentmux and start it in a profile of its own
cargo xtask web                        build the web interface (needs Node); the next build takes it in
cargo xtask browser [WORD…]            the promises of the web interface in Chromium, and pictures of every view
cargo xtask test [--quick]             everything CI runs; --quick without browser, simulation and crash matrix
                 [--real-agents]       with the real CLIs, which are installed once, outside the tree
cargo xtask bench [NAME…]              measure the budgets; prints a table
cargo xtask sim [--seeds N] [--seed S] the simulation, many seeds or one again
cargo xtask crash [--kills N]          kill the real server, many times, and check every acknowledged command
cargo xtask crash --agents [--kills N] the same with agents of every dialect that stream, ask and are told things
cargo xtask gen [--check]              TypeScript types and JSON schemas from the vocabulary
cargo xtask tidy                       the house rules that a script can see
";

fn main() -> ExitCode {
    match act() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn act() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (task, rest) = args.split_first().map_or(("help", &[][..]), |(task, rest)| (task.as_str(), rest));
    std::env::set_current_dir(root())?;
    match task {
        "run" => run::run(),
        "test" => {
            if rest.iter().any(|arg| arg == "--real-agents") {
                real::install()?;
            }
            steps::test(rest.iter().any(|arg| arg == "--quick"))
        }
        "web" => web::web(),
        "browser" => web::browser(rest),
        "bench" => {
            web::web_if_possible()?;
            cargo(&["build", "--release", "-p", "agentmux", "-p", "amux-testkit", "--bins"], &[])?;
            exec("target/release/bench", rest)
        }
        "sim" => {
            // Optimised: a seed is thousands of decisions and commits.
            cargo(&["build", "--profile", "sim", "-p", "amux-testkit", "--bin", "sim"], &[])?;
            exec("target/sim/sim", rest)
        }
        "crash" => {
            // Unoptimised: only such a server dies on request at a chosen boundary.
            cargo(&["build", "-p", "agentmux", "-p", "amux-testkit", "--bins"], &[])?;
            exec("target/debug/crash", rest)
        }
        "gen" => cargo(&["run", "-q", "-p", "amux-proto", "--example", "gen", "--"], rest),
        "tidy" => tidy::tidy(),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => bail!("no such task: {other}\n{HELP}"),
    }
}

fn root() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Runs cargo, and fails when it does.
pub(crate) fn cargo(args: &[&str], more: &[String]) -> anyhow::Result<()> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let status = Command::new(cargo).args(args).args(more).status().context("cargo cannot be run")?;
    if status.success() { Ok(()) } else { bail!("cargo {} failed", args.join(" ")) }
}

fn exec(program: &str, args: &[String]) -> anyhow::Result<()> {
    let status = Command::new(program).args(args).status().with_context(|| format!("{program} cannot be run"))?;
    if status.success() { Ok(()) } else { bail!("{program} failed") }
}
