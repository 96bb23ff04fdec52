//! What each real agent needs to run against the fake in a scratch home: environment, and files where it reads some.
//! Paths are of a home that belongs to the test alone.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;

pub type Env = Vec<(String, String)>;

/// Where the agents' programs are, if this machine has them: below `AGENTMUX_REAL_AGENTS`, else in the cache of the
/// user. `cargo xtask test --real-agents` puts them there.
pub fn real_agents_dir() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let root = set("AGENTMUX_REAL_AGENTS").or_else(|| {
        let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?;
        Some(cache.join("agentmux/real-agents"))
    })?;
    let dir = root.join("node_modules/.bin");
    dir.is_dir().then_some(dir)
}

/// The program of an agent. The packages of some keep the native program apart and put it in place by a script after
/// the installation, which package managers may be told not to run.
pub fn program(dir: &Path, name: &str) -> Option<PathBuf> {
    let modules = dir.parent()?;
    let native = match name {
        "claude" => Some(format!("@anthropic-ai/claude-code-{}/claude", platform())),
        "opencode" => Some(format!("opencode-{}/bin/opencode", platform())),
        _ => None,
    };
    let native = native.map(|native| modules.join(native)).filter(|native| native.is_file());
    native.or_else(|| Some(dir.join(name)).filter(|program| program.is_file()))
}

/// As npm names it.
fn platform() -> String {
    let system = if std::env::consts::OS == "macos" { "darwin" } else { std::env::consts::OS };
    let machine = if std::env::consts::ARCH == "aarch64" { "arm64" } else { "x64" };
    format!("{system}-{machine}")
}

pub fn claude(home: &Path, url: &str) -> Env {
    env(
        home,
        &[
            ("ANTHROPIC_BASE_URL", url),
            ("ANTHROPIC_API_KEY", "x"),
            ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
            ("DISABLE_AUTOUPDATER", "1"),
            // It refuses to bypass permissions for root otherwise, and tests may run as root.
            ("IS_SANDBOX", "1"),
        ],
    )
}

/// Its sessions are claude's, and so is what it needs.
pub fn claude_agent_acp(home: &Path, url: &str) -> Env {
    claude(home, url)
}

pub fn codex(home: &Path, url: &str) -> io::Result<Env> {
    let config = format!(
        r#"model = "fake-model"
model_provider = "fake"
check_for_update_on_startup = false

[model_providers.fake]
name = "Fake"
base_url = "{url}/v1"
env_key = "FAKE_KEY"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
"#
    );
    write(&home.join(".codex/config.toml"), &config)?;
    Ok(env(home, &[("FAKE_KEY", "x")]))
}

pub fn opencode(home: &Path, url: &str) -> io::Result<Env> {
    let config = json!({
        "model": "fake/fake-model", "small_model": "fake/fake-model", "autoupdate": false, "share": "disabled",
        "permission": { "bash": "ask", "edit": "ask" },
        "provider": { "fake": {
            "npm": "@ai-sdk/openai-compatible", "name": "Fake",
            "options": { "baseURL": format!("{url}/v1"), "apiKey": "x" },
            "models": { "fake-model": { "name": "Fake Model", "limit": { "context": 100_000, "output": 8_000 } } },
        } },
    });
    let file = home.join("opencode.json");
    write(&file, &config.to_string())?;
    Ok(env(
        home,
        &[
            ("OPENCODE_CONFIG", &file.to_string_lossy()),
            ("OPENCODE_DISABLE_AUTOUPDATE", "1"),
            ("OPENCODE_DISABLE_MODELS_FETCH", "1"),
            ("OPENCODE_DISABLE_LSP_DOWNLOAD", "1"),
        ],
    ))
}

/// Run it with `GEMINI_ARGS`: the model it chooses by itself is asked for by a request that wants a certain answer.
pub fn gemini(home: &Path, url: &str) -> io::Result<Env> {
    let settings = json!({
        "security": { "auth": { "selectedType": "gemini-api-key" } },
        "privacy": { "usageStatisticsEnabled": false },
        "general": { "enableAutoUpdate": false },
    });
    write(&home.join(".gemini/settings.json"), &settings.to_string())?;
    Ok(env(home, &[("GEMINI_API_KEY", "x"), ("GOOGLE_GEMINI_BASE_URL", url)]))
}

pub const GEMINI_ARGS: &[&str] = &["-m", "gemini-2.5-flash", "--skip-trust"];

pub fn qwen(home: &Path, url: &str) -> io::Result<Env> {
    let settings = json!({
        "security": { "auth": { "selectedType": "openai" } },
        "privacy": { "usageStatisticsEnabled": false },
        "general": { "disableAutoUpdate": true, "enableAutoUpdate": false },
    });
    write(&home.join(".qwen/settings.json"), &settings.to_string())?;
    let base = format!("{url}/v1");
    Ok(env(home, &[("OPENAI_API_KEY", "x"), ("OPENAI_BASE_URL", &base), ("OPENAI_MODEL", "fake-model")]))
}

fn env(home: &Path, pairs: &[(&str, &str)]) -> Env {
    let home = home.to_string_lossy();
    let all = [("HOME", home.as_ref())].into_iter().chain(pairs.iter().copied());
    all.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn write(file: &Path, text: &str) -> io::Result<()> {
    file.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    std::fs::write(file, text)
}
