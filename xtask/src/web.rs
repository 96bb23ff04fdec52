//! `cargo xtask web`: the web interface, built by what its lock file names. Without Node everything else still builds;
//! what is missing is said in one line.

use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context as _, bail};

const WEB: &str = "web";

/// What `npm ci` writes last.
const INSTALLED: &str = "web/node_modules/.package-lock.json";

/// Its interface is a part of the program; see there.
const EMBEDS: &str = "crates/amux-server/build.rs";

pub(crate) fn web() -> anyhow::Result<()> {
    if let Some(missing) = missing() {
        bail!("{missing}");
    }
    install()?;
    npm(&["run", "build"])?;
    // The program takes in what is there when it is built, and looks only when this file changes.
    let touched = std::fs::File::options().append(true).open(EMBEDS).context(EMBEDS)?;
    touched.set_modified(SystemTime::now()).context(EMBEDS)?;
    println!("the web interface is built; the next `cargo build` takes it in");
    Ok(())
}

/// For those who want the rest in any case.
pub(crate) fn web_if_possible() -> anyhow::Result<()> {
    match missing() {
        Some(missing) => {
            println!("without the web interface: {missing}");
            Ok(())
        }
        None if is_built() => Ok(()),
        None => web(),
    }
}

/// What a person would look at before a commit.
pub(crate) fn check() -> anyhow::Result<()> {
    if let Some(missing) = missing() {
        println!("SKIPPED, the web interface is not checked: {missing}");
        return Ok(());
    }
    install()?;
    npm(&["run", "check"])?;
    npm(&["run", "test"])
}

fn missing() -> Option<String> {
    if !Path::new(WEB).join("package.json").is_file() {
        return Some("web/package.json is not there".to_owned());
    }
    let absent = ["node", "npm"].into_iter().find(|program| !crate::steps::has(program))?;
    Some(format!("{absent} is missing (the interface is built with Node 20 or newer); install nodejs and npm"))
}

fn install() -> anyhow::Result<()> {
    let lock = modified(Path::new("web/package-lock.json")).context("web/package-lock.json is not there")?;
    if modified(Path::new(INSTALLED)).is_some_and(|installed| installed >= lock) {
        return Ok(());
    }
    npm(&["ci", "--no-audit", "--no-fund"])
}

fn npm(args: &[&str]) -> anyhow::Result<()> {
    let status = Command::new("npm").args(args).current_dir(WEB).status().context("npm cannot be run")?;
    if status.success() { Ok(()) } else { bail!("npm {} failed", args.join(" ")) }
}

/// Newer than everything it is made from.
fn is_built() -> bool {
    let Some(built) = modified(Path::new("web/dist/index.html")) else { return false };
    let parts = ["src", "public", "index.html", "package-lock.json", "vite.config.ts", "svelte.config.js"];
    parts.iter().filter_map(|part| newest(&Path::new(WEB).join(part))).all(|part| part <= built)
}

fn newest(path: &Path) -> Option<SystemTime> {
    let inside = std::fs::read_dir(path).into_iter().flatten().flatten().filter_map(|entry| newest(&entry.path()));
    inside.chain(modified(path)).max()
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|meta| meta.modified()).ok()
}
