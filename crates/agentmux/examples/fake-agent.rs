//! The fake agent of the testkit, beside the tests of this package: cargo builds examples with them.

use std::process::ExitCode;

fn main() -> ExitCode {
    amux_testkit::fake::main()
}
