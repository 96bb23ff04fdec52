//! `cargo xtask sim [--seeds N] [--seed S] [--steps N]`: many seeds, or one again.

use std::process::ExitCode;

use amux_testkit::sim;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.get(at + 1)?.parse::<u64>().ok()
    };
    let steps = usize::try_from(value("--steps").unwrap_or(300)).unwrap_or(300);
    let seeds = match value("--seed") {
        Some(seed) => seed..seed + 1,
        None => 0..value("--seeds").unwrap_or(200),
    };
    let (mut passed, mut failed) = (0u64, 0u64);
    let mut total = sim::Summary::default();
    for seed in seeds {
        match sim::run(seed, steps) {
            Ok(summary) => {
                passed += 1;
                total.commands += summary.commands;
                total.events += summary.events;
                total.restarts += summary.restarts;
                total.crashes += summary.crashes;
            }
            Err(why) => {
                failed += 1;
                eprintln!("{why}\nagain: cargo xtask sim --seed {seed} --steps {steps}");
            }
        }
    }
    let sim::Summary { commands, events, restarts, crashes } = total;
    println!("simulation: {commands} commands, {events} events, {restarts} restarts, {crashes} crashes");
    println!("{passed} passed, {failed} failed");
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
