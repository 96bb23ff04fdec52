//! `cargo xtask run`: a newcomer's first minute, without touching anything of theirs.

use std::process::Command;

use anyhow::{Context as _, bail};
use serde_json::Value;

const TEAM: &str = "first";
const AGENT: &str = "shell";

pub(crate) fn run() -> anyhow::Result<()> {
    crate::steps::need("cc", "a C compiler builds SQLite", "gcc")?;
    crate::web::web_if_possible()?;
    crate::cargo(&["build", "-p", "agentmux"], &[])?;
    let home = std::env::current_dir()?.join("target/dev-profile");
    let binary = std::env::current_dir()?.join("target/debug/agentmux");
    let agentmux = |args: &[&str]| {
        let mut command = Command::new(&binary);
        command.args(["--profile", "dev", "--state-dir"]).arg(home.join("state"));
        command.arg("--config-dir").arg(home.join("config")).args(args);
        command
    };
    let json = |args: &[&str]| -> anyhow::Result<Value> {
        let out = agentmux(args).arg("--json").output().context("agentmux cannot be run")?;
        let text = String::from_utf8_lossy(&out.stdout);
        let answer: Value = serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))?;
        if answer["ok"] == true { Ok(answer["data"].clone()) } else { bail!("{}", answer["error"]["message"]) }
    };
    std::fs::create_dir_all(&home)?;
    // A server of an older build goes; its agents go on under the new one.
    let version = json(&["server", "start"])?;
    if version["pid"].is_u64() {
        let _ = agentmux(&["server", "restart", "-q"]).status();
    }
    let teams = json(&["team", "ls"])?;
    if !teams.as_array().is_some_and(|teams| teams.iter().any(|team| team["name"] == TEAM)) {
        json(&["team", "create", TEAM])?;
    }
    let agents = json(&["ls", "--all"])?;
    let ours = |agent: &Value| agent["name"] == AGENT && agent["team"] == TEAM;
    match agents.as_array().and_then(|agents| agents.iter().find(|agent| ours(agent))) {
        None => {
            json(&["new", AGENT, "--agent", "shell", "--team", TEAM])?;
        }
        Some(agent) if agent["pid"].is_null() => {
            json(&["start", &format!("{AGENT}@{TEAM}")])?;
        }
        Some(_) => {}
    }
    agentmux(&["ls", "--all"]).status()?;
    let words = format!(
        "alias am='{} --profile dev --state-dir {} --config-dir {}'",
        binary.display(),
        home.join("state").display(),
        home.join("config").display()
    );
    println!(
        "\nagentmux runs in a profile of its own. To use it from this shell:\n\n  {words}\n\n  \
         am keys {AGENT} 'echo hello' Enter    press keys in the agent's terminal\n  \
         am look {AGENT}                       see its screen\n  \
         am new build --agent cmd -- make      run any program as an agent\n  \
         am open                               use it in a browser\n  \
         am events -f                          watch everything that happens\n  \
         am server stop                        stop the agents and the server"
    );
    Ok(())
}
