//! `cargo xtask web` and `browser`: the web interface, built by what its lock file names, and its promises kept in a real
//! browser. Without Node everything else still builds; what is missing is said in one line.

use std::path::{Path, PathBuf};
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

/// What a person would look at before a commit; and built, so that the programs of the next steps have it in them.
pub(crate) fn check() -> anyhow::Result<()> {
    if let Some(missing) = missing() {
        println!("SKIPPED, the web interface is not checked: {missing}");
        return Ok(());
    }
    install()?;
    npm(&["run", "check"])?;
    npm(&["run", "test"])?;
    web_if_possible()
}

/// The promises against the program itself, with the pages that are in it; then every view as a picture, looked at by
/// axe. `words` choose promises, and then no pictures are made.
pub(crate) fn browser(words: &[String]) -> anyhow::Result<()> {
    const SKIPPED: &str = "SKIPPED, the promises of the web interface are not kept here:";
    if let Some(missing) = missing() {
        println!("{SKIPPED} {missing}");
        return Ok(());
    }
    let chromium = match chromium() {
        Ok(chromium) => chromium,
        Err(missing) => {
            println!("{SKIPPED} {missing}");
            return Ok(());
        }
    };
    install()?;
    web_if_possible()?;
    crate::cargo(&["build", "-p", "agentmux", "-p", "amux-testkit", "--bins"], &[])?;
    let screens = screens()?;
    println!("pictures, and the consoles of broken promises, go to {}", screens.display());
    let npm = |args: &[&str]| {
        let mut command = Command::new("npm");
        command.args(args).current_dir(WEB);
        command.env("WEB_EMBEDDED", "1").env("CHROMIUM", &chromium).env("SCREENS", &screens);
        let status = command.status().context("npm cannot be run")?;
        if status.success() { Ok(()) } else { bail!("npm {} failed; see {}", args.join(" "), screens.display()) }
    };
    let words = words.iter().map(String::as_str);
    let promises: Vec<&str> = ["run", "e2e", "--"].into_iter().chain(words).collect();
    npm(&promises)?;
    if promises.len() > 3 { Ok(()) } else { npm(&["run", "shots"]) }
}

/// The one that is named, or that is there, or that can be had.
fn chromium() -> anyhow::Result<PathBuf> {
    const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    if let Some(named) = std::env::var_os("CHROMIUM").filter(|named| !named.is_empty()).map(PathBuf::from) {
        return if named.is_file() { Ok(named) } else { bail!("CHROMIUM names {}, which is no file", named.display()) };
    }
    let found = || NAMES.into_iter().find_map(crate::steps::find);
    if let Some(found) = found() {
        return Ok(found);
    }
    crate::steps::need(NAMES[0], "the web interface is tried in it", NAMES[0])?;
    found().context("chromium was installed and is not found")
}

/// Where CI keeps what a run leaves, else beside what was built. What an earlier run broke is not in it.
fn screens() -> anyhow::Result<PathBuf> {
    let kept = std::env::var_os("CI_ARTIFACTS").filter(|kept| !kept.is_empty()).map(PathBuf::from);
    let screens = std::path::absolute(kept.unwrap_or_else(|| PathBuf::from("target")))?.join("screens");
    match std::fs::remove_dir_all(&screens) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| screens.display().to_string());
        }
        _ => {}
    }
    std::fs::create_dir_all(&screens).with_context(|| screens.display().to_string())?;
    Ok(screens)
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
