//! `cargo xtask test`: the named steps of CI, each timed.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, bail};

use crate::{cargo, real, tidy, web};

type Step<'a> = (&'a str, Box<dyn Fn() -> anyhow::Result<()>>);

pub(crate) fn test(quick: bool) -> anyhow::Result<()> {
    need("cc", "a C compiler builds SQLite", "gcc")?;
    let nextest = has("cargo-nextest");
    if !nextest {
        println!("cargo-nextest is absent: `cargo test` runs the tests instead (cargo install cargo-nextest)");
    }
    let own =
        |args: &'static [&'static str]| -> Box<dyn Fn() -> anyhow::Result<()>> { Box::new(move || cargo(args, &[])) };
    let xtask = |args: &'static [&'static str]| -> Box<dyn Fn() -> anyhow::Result<()>> {
        Box::new(move || {
            let me = std::env::current_exe().context("this program has no path")?;
            let status = Command::new(me).args(args).status()?;
            if status.success() { Ok(()) } else { bail!("xtask {} failed", args.join(" ")) }
        })
    };
    let mut steps: Vec<Step<'_>> = vec![
        ("tidy", Box::new(tidy::tidy)),
        ("fmt", own(&["fmt", "--all", "--check"])),
        ("gen", xtask(&["gen", "--check"])),
        ("clippy", own(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])),
        ("unit file", Box::new(unit_file)),
        ("web check", Box::new(web::check)),
    ];
    if nextest {
        steps.push(("build tests", own(&["nextest", "run", "--workspace", "--no-run"])));
        steps.push(("tests", own(&["nextest", "run", "--workspace"])));
    } else {
        steps.push(("build tests", own(&["test", "--workspace", "--no-run"])));
        steps.push(("tests", own(&["test", "--workspace"])));
    }
    if !quick {
        steps.push(("browser", Box::new(|| web::browser(&[]))));
        steps.push(("simulation", xtask(&["sim", "--seeds", "200"])));
        steps.push(("crash matrix", xtask(&["crash", "--kills", "300"])));
        steps.push(("crash matrix with agents", xtask(&["crash", "--agents", "--kills", "8", "--each", "2"])));
    }
    let mut table = Vec::new();
    for (name, step) in &steps {
        println!("── {name}");
        let began = Instant::now();
        let outcome = step();
        table.push(format!(
            "{:>8.1} s  {name}{}",
            began.elapsed().as_secs_f64(),
            if outcome.is_ok() { "" } else { "  FAILED" }
        ));
        if let Err(error) = outcome {
            println!("{}", table.join("\n"));
            return Err(error.context(format!("step {name}")));
        }
    }
    println!("{}", table.join("\n"));
    real::tell()?;
    println!("{} passed, 0 failed", steps.len());
    Ok(())
}

/// Says in one line what is missing, after trying to get it where that is our right.
pub(crate) fn need(program: &str, why: &str, package: &str) -> anyhow::Result<()> {
    if has(program) {
        return Ok(());
    }
    let quiet = |command: &mut Command| command.stdin(Stdio::null()).status().is_ok_and(|status| status.success());
    if has("apt-get") {
        let _ = quiet(Command::new("apt-get").args(["update", "-qq"]));
        let _ = quiet(Command::new("apt-get").args(["install", "-y", "-qq", package]));
    }
    if has(program) { Ok(()) } else { bail!("{program} is missing ({why}); install the package {package}") }
}

pub(crate) fn has(program: &str) -> bool {
    find(program).is_some()
}

pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// The unit for those who have systemd supervise the server, as far as it can be checked here.
fn unit_file() -> anyhow::Result<()> {
    const UNIT: &str = "packaging/agentmux.service";
    let text = std::fs::read_to_string(UNIT).context(UNIT)?;
    for line in ["Type=notify", "FileDescriptorStoreMax=2000", "RestartForceExitStatus=64", "WatchdogSec="] {
        if !text.contains(line) {
            bail!("{UNIT} lacks {line}");
        }
    }
    if !has("systemd-analyze") {
        println!("systemd-analyze is absent: the unit file was only read");
        return Ok(());
    }
    // Its program is not installed here, so the check looks at a copy that names one that is.
    let copy = std::env::current_dir()?.join("target/agentmux.service");
    std::fs::write(&copy, text.replace("%h/.cargo/bin/agentmux", "/bin/true"))?;
    let out = Command::new("systemd-analyze").args(["verify", "--user"]).arg(&copy).output()?;
    let words = String::from_utf8_lossy(&out.stderr);
    let about_us: Vec<_> = words.lines().filter(|line| line.contains("agentmux.service")).collect();
    if about_us.is_empty() { Ok(()) } else { bail!("{}", about_us.join("\n")) }
}
