//! The user's other files: `agents.toml` with kinds of agents, `policy.toml` with rules and rights. Like the settings they are a
//! person's, and the server tells the log what they say.

use std::collections::BTreeMap;
use std::fs::{OpenOptions, create_dir_all};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use amux_proto::entity::{Kind, May, Rule};
use amux_proto::{Code, Rejection};
use serde::{Deserialize, Serialize};

/// More than this is not written by hand.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Policy {
    #[serde(default, rename = "rule", skip_serializing_if = "Vec::is_empty")]
    pub(crate) rules: Vec<Rule>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) may: Vec<May>,
}

pub(crate) fn kinds(path: &Path) -> Result<BTreeMap<String, Kind>, Rejection> {
    let text = read(path)?;
    amux_runner::kinds::with(text.as_deref()).map_err(|error| bad(&error.to_string()))
}

pub(crate) fn policy(path: &Path) -> Result<Policy, Rejection> {
    let Some(text) = read(path)? else { return Ok(Policy::default()) };
    toml::from_str(&text).map_err(|error| bad(&format!("policy.toml: {error}")))
}

/// Held from the reading of a file to its writing: of two rules added at once neither is lost.
static ADDING: Mutex<()> = Mutex::new(());

/// Puts a rule behind those there are; what a person wrote stays as it is.
pub(crate) fn add_rule(path: &Path, rule: &Rule) -> Result<(), Rejection> {
    let _adding = ADDING.lock().unwrap_or_else(PoisonError::into_inner);
    let before = policy(path)?;
    if before.rules.contains(rule) {
        return Ok(());
    }
    let text = toml::to_string(&Policy { rules: vec![rule.clone()], may: Vec::new() })
        .map_err(|error| Rejection::new(Code::Internal, format!("the rule cannot be written: {error}")))?;
    let written = read(path)?.unwrap_or_default();
    let all = if written.is_empty() { text } else { format!("{}\n\n{text}", written.trim_end()) };
    // A form of the file that nothing can be put behind is left alone.
    toml::from_str::<Policy>(&all).map_err(|error| bad(&format!("policy.toml: {error}")))?;
    write(path, &all).map_err(|error| Rejection::new(Code::Conflict, format!("{}: {error}", path.display())))
}

/// Where a person put the file somewhere else and left a link, it stays there; and whoever could read it still can.
fn write(path: &Path, text: &str) -> io::Result<()> {
    path.parent().map_or(Ok(()), create_dir_all)?;
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    let mode = file.metadata()?.permissions().mode() & 0o7777;
    amux_sys::disk::write_atomic(&path.canonicalize()?, text.as_bytes(), mode)
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

    fn rule(subject: &str) -> Rule {
        Rule { agent: None, tool: Some("Bash".into()), subject: Some(subject.into()), answer: RuleAnswer::Allow }
    }

    #[test]
    fn rules_that_are_added_at_once_are_all_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy.toml");
        std::thread::scope(|scope| {
            for n in 0..16 {
                let path = &path;
                scope.spawn(move || add_rule(path, &rule(&n.to_string())).unwrap());
            }
        });
        assert_eq!(policy(&path).unwrap().rules.len(), 16);
    }

    #[test]
    fn a_linked_file_stays_where_it_is_and_who_could_read_it_still_can() {
        let dir = tempfile::tempdir().unwrap();
        let (path, real) = (dir.path().join("policy.toml"), dir.path().join("dotfiles.toml"));
        std::os::unix::fs::symlink(&real, &path).unwrap();
        // Even before there is one.
        add_rule(&path, &rule("one")).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&real), 0o600);
        std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o664)).unwrap();
        add_rule(&path, &rule("two")).unwrap();
        assert!(path.is_symlink());
        assert_eq!((policy(&real).unwrap().rules.len(), mode(&real)), (2, 0o664));
    }

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
        let all = policy(&path).unwrap().rules;
        assert_eq!((all.len(), all.last()), (2, Some(&rule)));
        assert!(std::fs::read_to_string(&path).unwrap().starts_with("# mine"));
        std::fs::write(&path, "[[rule]]\nanwser = \"allow\"\n").unwrap();
        assert!(policy(&path).unwrap_err().message.contains("anwser"));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
