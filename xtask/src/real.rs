//! The real CLIs that the tests talk to: installed once, outside the tree, in the versions of a checked-in lock.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use serde_json::Value;

const PINNED: &str = "crates/amux-testkit/real-agents";

/// Installs them, unless the pinned versions are there. Scripts of packages are not run: the tests know where a package
/// keeps its native program.
pub(crate) fn install() -> anyhow::Result<()> {
    let root = root()?;
    if missing(&root)?.is_empty() {
        println!("the real CLIs are in {}", root.display());
        return Ok(());
    }
    for program in ["node", "npm"] {
        crate::steps::need(program, "the real CLIs are its packages", program)?;
    }
    std::fs::create_dir_all(&root).with_context(|| root.display().to_string())?;
    for file in ["package.json", "package-lock.json"] {
        std::fs::copy(Path::new(PINNED).join(file), root.join(file)).with_context(|| file.to_owned())?;
    }
    // Not `ci`: it wants the packages of every other system in the lock as well.
    println!("installing the real CLIs into {}", root.display());
    let npm = Command::new("npm")
        .args(["install", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(&root)
        .status();
    if !npm.context("npm cannot be run")?.success() {
        bail!("npm could not install the real CLIs");
    }
    let missing = missing(&root)?;
    if missing.is_empty() { Ok(()) } else { bail!("not installed: {}", missing.join(", ")) }
}

/// Says aloud which tests will find nothing to talk to.
pub(crate) fn tell() -> anyhow::Result<()> {
    for name in missing(&root()?)? {
        println!("SKIPPED real {name}: not installed (cargo xtask test --real-agents)");
    }
    Ok(())
}

/// As the tests look for it.
fn root() -> anyhow::Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    if let Some(root) = set("AGENTMUX_REAL_AGENTS") {
        return Ok(root);
    }
    let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    Ok(cache.context("neither AGENTMUX_REAL_AGENTS nor HOME is set")?.join("agentmux/real-agents"))
}

/// Packages that are absent or of another version.
fn missing(root: &Path) -> anyhow::Result<Vec<String>> {
    let pinned = read(&Path::new(PINNED).join("package.json"))?;
    let pinned = pinned["dependencies"].as_object().context("nothing is pinned")?;
    let is_there = |name: &str, version: &Value| {
        let found = read(&root.join("node_modules").join(name).join("package.json"));
        found.is_ok_and(|found| found["version"] == *version)
    };
    Ok(pinned.iter().filter(|(name, version)| !is_there(name, version)).map(|(name, _)| name.clone()).collect())
}

fn read(path: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read(path).with_context(|| path.display().to_string())?;
    serde_json::from_slice(&text).with_context(|| path.display().to_string())
}
