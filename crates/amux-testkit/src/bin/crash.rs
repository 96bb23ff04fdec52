//! `cargo xtask crash [--kills N] [--seed S]`: the crash matrix, then the same with the power lost each time.

use std::process::ExitCode;

use amux_testkit::crash::{self, Plan};
use amux_testkit::server::built_binary;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.get(at + 1)?.parse::<u64>().ok()
    };
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
