//! Which program is the server. Looked up anew for every start, so that a new binary is used at the next one. Pure:
//! the environment and the question whether something can be run come in.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use amux_proto::env;

/// No program. Says every place that was looked at.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no program to run as the server: {}", .searched.join(", "))]
pub struct Error {
    pub searched: Vec<String>,
}

/// What the lookup needs of the world.
pub struct World<'a> {
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
    /// The running executable, as it was found when the launcher started: the same path names the new binary after
    /// an upgrade.
    pub running: Option<&'a Path>,
    pub cwd: &'a Path,
    pub can_run: &'a dyn Fn(&Path) -> bool,
}

/// The first variable that says something decides: a setting that cannot be honoured is an error and not a wish.
pub fn program(world: &World<'_>) -> Result<PathBuf, Error> {
    let mut searched = Vec::new();
    for variable in [env::COMMAND, env::RELAY_COMMAND] {
        let Some(value) = (world.env)(variable).as_deref().and_then(trimmed) else {
            searched.push(format!("{variable} (not set)"));
            continue;
        };
        let candidates = candidates(&value, world);
        if let Some(found) = candidates.iter().find(|path| (world.can_run)(path)) {
            return Ok(found.clone());
        }
        searched.extend(candidates.iter().map(|path| format!("{} ({variable})", path.display())));
        if candidates.is_empty() {
            searched.push(format!("{} ({variable}, without a PATH)", value.display()));
        }
        return Err(Error { searched });
    }
    match world.running {
        Some(path) if (world.can_run)(path) => Ok(path.to_owned()),
        Some(path) => {
            searched.push(format!("{} (the running executable)", path.display()));
            Err(Error { searched })
        }
        None => {
            searched.push("the running executable (unknown)".to_owned());
            Err(Error { searched })
        }
    }
}

fn trimmed(value: &OsStr) -> Option<OsString> {
    // A name that is not UTF-8 has no blanks that anybody typed by mistake.
    let value = value.to_str().map_or_else(|| value.to_owned(), |text| text.trim().into());
    (!value.is_empty()).then_some(value)
}

/// A name is looked for in `PATH`, anything with a slash is a place.
fn candidates(value: &OsStr, world: &World<'_>) -> Vec<PathBuf> {
    if Path::new(value).components().count() > 1 || Path::new(value).is_absolute() {
        return vec![world.cwd.join(value)];
    }
    let path = (world.env)("PATH").unwrap_or_default();
    std::env::split_paths(&path).filter(|dir| dir.is_absolute()).map(|dir| dir.join(value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(env: &[(&str, &str)], there: &[&str]) -> Result<PathBuf, Error> {
        program(&World {
            env: &|name| env.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()),
            running: Some(Path::new("/run/agentmux")),
            cwd: Path::new("/cwd"),
            can_run: &|path| there.iter().any(|there| Path::new(there) == path),
        })
    }

    #[test]
    fn the_order_is_command_then_relay_command_then_the_running_executable() {
        let there = ["/a", "/b", "/run/agentmux", "/usr/bin/am", "/cwd/bin/am"];
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[("AGENTMUX_COMMAND", "/a"), ("AGENTMUX_RELAY_COMMAND", "/b")], "/a"),
            (&[("AGENTMUX_COMMAND", "  "), ("AGENTMUX_RELAY_COMMAND", " /b\n")], "/b"),
            (&[("AGENTMUX_COMMAND", "")], "/run/agentmux"),
            (&[], "/run/agentmux"),
            (&[("AGENTMUX_COMMAND", "am"), ("PATH", "relative:/bin:/usr/bin")], "/usr/bin/am"),
            (&[("AGENTMUX_COMMAND", "bin/am"), ("PATH", "/usr/bin")], "/cwd/bin/am"),
        ];
        for (env, program) in cases {
            assert_eq!(find(env, &there), Ok(PathBuf::from(program)), "{env:?}");
        }
    }

    #[test]
    fn an_error_says_every_place() {
        let error = find(&[], &[]).unwrap_err().to_string();
        assert_eq!(
            error,
            "no program to run as the server: AGENTMUX_COMMAND (not set), AGENTMUX_RELAY_COMMAND (not set), \
             /run/agentmux (the running executable)"
        );
        let env = [("AGENTMUX_RELAY_COMMAND", "am"), ("PATH", "/bin:/usr/bin")];
        let error = find(&env, &["/run/agentmux"]).unwrap_err();
        assert_eq!(
            error.searched,
            ["AGENTMUX_COMMAND (not set)", "/bin/am (AGENTMUX_RELAY_COMMAND)", "/usr/bin/am (AGENTMUX_RELAY_COMMAND)"]
        );
    }
}
