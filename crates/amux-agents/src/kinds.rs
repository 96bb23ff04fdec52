//! The table of kinds: what is built in, and what a user's `agents.toml` adds or replaces.

use std::collections::BTreeMap;

use amux_proto::entity::Kind;
use serde::Deserialize;

const BUILT_IN: &str = include_str!("kinds.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    kind: BTreeMap<String, Kind>,
}

/// Why a file is not used: the parser's own words name the line and the key.
#[derive(Debug, thiserror::Error)]
#[error("agents.toml: {0}")]
pub struct Error(#[from] toml::de::Error);

/// Every kind, with those of a file where there is one.
pub fn with(file: Option<&str>) -> Result<BTreeMap<String, Kind>, Error> {
    let built_in: File = toml::from_str(BUILT_IN).map_err(Error)?;
    let mut kinds = built_in.kind;
    if let Some(text) = file {
        let own: File = toml::from_str(text)?;
        kinds.extend(own.kind);
    }
    Ok(kinds)
}

#[cfg(test)]
mod tests {
    use amux_proto::entity::Dialect;

    use super::with;

    #[test]
    fn a_file_adds_a_kind_and_replaces_one() {
        let built_in = with(None).unwrap();
        assert!(["claude", "codex", "gemini", "qwen", "opencode", "acp", "ndjson"].iter().all(|k| built_in.contains_key(*k)));
        let file = "[kind.mine]\ndialect = \"acp\"\nprogram = \"mine\"\n[kind.codex]\ndialect = \"pty\"\nprogram = \"codex\"\n";
        let kinds = with(Some(file)).unwrap();
        assert_eq!(kinds["mine"].program.as_deref(), Some("mine"));
        assert_eq!(kinds["codex"].dialect, Dialect::Pty);
        assert_eq!(kinds.len(), built_in.len() + 1);
        let error = with(Some("[kind.x]\ndialect = \"acp\"\nprogam = \"x\"\n")).unwrap_err().to_string();
        assert!(error.contains("progam") && error.contains("line 3"), "{error}");
    }
}
