//! `cargo xtask crash [--kills N] [--seed S]`: the crash matrix, then the same with the power lost each time.
//! `--agents [--each N]`: the matrix with agents of every dialect instead.

use std::process::ExitCode;

use amux_testkit::crash::{self, Plan};
use amux_testkit::crash_agents;
use amux_testkit::server::built_binary;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.get(at + 1)?.parse::<u64>().ok()
    };
    if let [word, dir] = args.as_slice()
        && word == "launcher"
    {
        return crash_agents::launcher(dir.as_ref());
    }
    if args.iter().any(|arg| arg == "--agents") {
        let number = |name: &str, or: u64| u32::try_from(value(name).unwrap_or(or)).unwrap_or(u32::MAX);
        let each = number("--each", 5);
        let agents = [each * 2, each * 2, each, each];
        return agents_too(&crash_agents::Plan { kills: number("--kills", 100), seed: value("--seed").unwrap_or(1), agents });
    }
    let kills = u32::try_from(value("--kills").unwrap_or(300)).unwrap_or(u32::MAX);
    let seed = value("--seed").unwrap_or(1);
    let binary = built_binary();
    let (mut passed, mut failed) = (0, 0);
    // A fifth of the deaths also take what was not synced.
    for (power_loss, kills) in [(false, kills - kills / 5), (true, kills / 5)] {
        let (kept, dir) = crash::scratch().expect("a temporary directory can be made");
        let plan = Plan { kills, seed, clients: 8, power_loss };
        let what = if power_loss { "power losses" } else { "kills" };
        match crash::run(&plan, &dir, &binary) {
            Ok(outcome) => {
                passed += 1;
                println!("{} {what}: {} acknowledged, {} events", outcome.kills, outcome.acknowledged, outcome.events);
            }
            Err(why) => {
                failed += 1;
                let kept = kept.keep();
                eprintln!("{what}: {why}\nkept: {}", kept.display());
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn agents_too(plan: &crash_agents::Plan) -> ExitCode {
    let (kept, dir) = crash::scratch().expect("a temporary directory can be made");
    let me = std::env::current_exe().expect("a running program has a path");
    match crash_agents::run(plan, &dir, &built_binary(), &me.with_file_name("fake-agent"), &me) {
        Ok(outcome) => {
            println!("{outcome:?}\n1 passed, 0 failed");
            ExitCode::SUCCESS
        }
        Err(why) => {
            let kept = kept.keep();
            eprintln!("agents, seed {}: {why}\nkept: {}", plan.seed, kept.display());
            ExitCode::FAILURE
        }
    }
}
