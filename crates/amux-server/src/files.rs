//! The user's other files: `agents.toml` with kinds of agents, `policy.toml` with rules. Like the settings they are a
//! person's, and the server tells the log what they say.

use std::collections::BTreeMap;
use std::path::Path;

use amux_proto::entity::{Kind, Rule};
use amux_proto::{Code, Rejection};
use serde::{Deserialize, Serialize};

/// More than this is not written by hand.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Policy {
    #[serde(default, rename = "rule")]
    rules: Vec<Rule>,
}

pub(crate) fn kinds(path: &Path) -> Result<BTreeMap<String, Kind>, Rejection> {
    let text = read(path)?;
    amux_runner::kinds::with(text.as_deref()).map_err(|error| bad(&error.to_string()))
}

pub(crate) fn rules(path: &Path) -> Result<Vec<Rule>, Rejection> {
    let Some(text) = read(path)? else { return Ok(Vec::new()) };
    let policy: Policy = toml::from_str(&text).map_err(|error| bad(&format!("policy.toml: {error}")))?;
    Ok(policy.rules)
}

/// Puts a rule behind those there are; what a person wrote stays as it is.
pub(crate) fn add_rule(path: &Path, rule: &Rule) -> Result<(), Rejection> {
    let before = rules(path)?;
    if before.contains(rule) {
        return Ok(());
    }
    let text = toml::to_string(&Policy { rules: vec![rule.clone()] })
        .map_err(|error| Rejection::new(Code::Internal, format!("the rule cannot be written: {error}")))?;
    let written = read(path)?.unwrap_or_default();
    let all = if written.is_empty() { text } else { format!("{}\n\n{text}", written.trim_end()) };
    // A form of the file that nothing can be put behind is left alone.
    toml::from_str::<Policy>(&all).map_err(|error| bad(&format!("policy.toml: {error}")))?;
    let write = || {
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        amux_sys::disk::write_atomic(path, all.as_bytes(), 0o600)
    };
    write().map_err(|error| Rejection::new(Code::Conflict, format!("{}: {error}", path.display())))
}

/// `None` for a file that is not there.
fn read(path: &Path) -> Result<Option<String>, Rejection> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(bad(&format!("{}: {error}", path.display()))),
        Ok(meta) if meta.len() > FILE_BYTES_MAX => {
            return Err(bad(&format!("{}: too large", path.display())));
        }
        Ok(_) => {}
    }
    std::fs::read_to_string(path).map(Some).map_err(|error| bad(&format!("{}: {error}", path.display())))
}

fn bad(why: &str) -> Rejection {
    // A parser's report has several lines; the first says where.
    Rejection::new(Code::BadArgs, why.trim().to_owned()).hint("agentmux config check")
}

#[cfg(test)]
mod tests {
    use amux_proto::entity::RuleAnswer;

    use super::*;

    #[test]
    fn a_rule_is_added_behind_what_a_person_wrote() {
        let dir = std::env::temp_dir().join(format!("amux-files-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("policy.toml");
        std::fs::write(&path, "# mine\n[[rule]]\ntool = \"Read\"\nanswer = \"allow\"\n").unwrap();
        let rule = Rule {
            agent: Some("a@b".into()),
            tool: Some("Bash".into()),
            subject: Some("echo \"x\"\n#".into()),
            answer: RuleAnswer::Deny,
        };
        add_rule(&path, &rule).unwrap();
        add_rule(&path, &rule).unwrap();
        let all = rules(&path).unwrap();
        assert_eq!((all.len(), all.last()), (2, Some(&rule)));
        assert!(std::fs::read_to_string(&path).unwrap().starts_with("# mine"));
        std::fs::write(&path, "[[rule]]\nanwser = \"allow\"\n").unwrap();
        assert!(rules(&path).unwrap_err().message.contains("anwser"));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
