//! `fake-agent MODE [FLAG…]`: see `amux_testkit::fake`.

use std::process::ExitCode;

fn main() -> ExitCode {
    amux_testkit::fake::main()
}
