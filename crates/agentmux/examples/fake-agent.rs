//! The fake agent of the testkit, beside the tests of this package: cargo builds examples with them. As
//! `fake-agent launcher DIR` it is a launcher that forgives every death of its server at once.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.as_slice() {
        [word, dir] if word == "launcher" => amux_testkit::crash_agents::launcher(dir.as_ref()),
        _ => amux_testkit::fake::main(),
    }
}
