//! Which team is meant here: that of a file that is named, of the nearest `agentmux.toml` upward, or of the directory.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use amux_proto::entity::{Kind, KindName};
use amux_proto::exit::Exit;
use amux_proto::ids::NAME_CHARS_MAX;
use amux_proto::{Code, Name};
use amux_team::FILE_NAME;
use amux_team::parse::{Mail, Place, Problem, TeamFile, Wanted, Work, parse, team_name};
use serde_json::json;

use crate::context::Context;
use crate::report::Failure;

/// The one agent of a team that nobody wrote down.
pub(crate) const LEAD: &str = "lead";

/// What the agent of such a team is, the first that is installed.
const LEAD_KINDS: [&str; 5] = ["claude", "codex", "gemini", "opencode", "qwen"];

/// A team, as somebody wants it.
pub(crate) struct Found {
    pub(crate) wanted: TeamFile,
    /// `None` where the directory is all there is.
    pub(crate) file: Option<PathBuf>,
}

pub(crate) fn load(context: &Context, named: Option<&Path>) -> Result<Found, Failure> {
    let kinds = kinds(context)?;
    let cwd = here()?;
    let Some(file) = named.map(in_directory).or_else(|| nearest(&cwd)) else {
        return Ok(Found { wanted: of_directory(&cwd, &kinds), file: None });
    };
    let text = read(&file)?;
    // The same file by another way is the same file: nothing would restart for that.
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let dir = dir.canonicalize().map_err(|error| cannot_read(&file, &error))?;
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    let place = Place { dir: &dir, home: home.as_deref(), kinds: &kinds };
    let wanted = parse(&text, &place).map_err(|problems| wrong(&file, &problems))?;
    Ok(Found { wanted, file: Some(file) })
}

/// The name of the team that `load` would find, also where its file is wrong otherwise.
pub(crate) fn name() -> Result<Name, Failure> {
    let cwd = here()?;
    let Some(file) = nearest(&cwd) else { return Ok(slug(&cwd)) };
    team_name(&read(&file)?).ok_or_else(|| {
        Failure::usage(format!("no name of a team can be read: {}", file.display())).hint("agentmux down TEAM")
    })
}

fn here() -> Result<PathBuf, Failure> {
    std::env::current_dir().map_err(|error| Failure::failed(format!("the working directory is not known: {error}")))
}

fn in_directory(named: &Path) -> PathBuf {
    if named.is_dir() { named.join(FILE_NAME) } else { named.to_owned() }
}

fn nearest(from: &Path) -> Option<PathBuf> {
    from.ancestors().map(|dir| dir.join(FILE_NAME)).find(|file| file.is_file())
}

fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| cannot_read(file, &error))
}

fn cannot_read(file: &Path, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::NotFound => {
            Failure::new(Exit::NotFound, Code::NotFound, format!("no such team file: {}", file.display()))
        }
        _ => Failure::failed(format!("the team file cannot be read: {}: {error}", file.display())),
    }
}

fn wrong(file: &Path, problems: &[Problem]) -> Failure {
    let told = |Problem { line, words }: &Problem| format!("{}:{line}: {words}", file.display());
    match problems.iter().map(told).collect::<Vec<_>>().as_slice() {
        [one] => Failure::usage(one),
        many => {
            let mut failure = Failure::usage(format!("{} things are wrong: {}", many.len(), file.display()));
            failure.rejection = failure.rejection.details(json!({ "problems": many }));
            failure
        }
    }
}

/// Those that are built in and those of `agents.toml`, as the server reads them.
fn kinds(context: &Context) -> Result<BTreeMap<String, Kind>, Failure> {
    let path = context.layout.kinds();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(Failure::failed(format!("{}: {error}", path.display()))),
    };
    amux_runner::kinds::with(text.as_deref()).map_err(|error| Failure::failed(error.to_string().trim().to_owned()))
}

fn of_directory(dir: &Path, kinds: &BTreeMap<String, Kind>) -> TeamFile {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed =
        |kind: &&str| kinds.get(*kind).and_then(|kind| kind.program.as_deref()).is_some_and(|p| can_run(p, &path));
    let kind = LEAD_KINDS.into_iter().find(|kind| installed(kind)).unwrap_or(KindName::SHELL);
    let work = Work {
        kind: KindName(kind.to_owned()),
        argv: Vec::new(),
        cwd: dir.to_string_lossy().into_owned(),
        env: BTreeMap::new(),
        model: None,
        mode: None,
        worktree: false,
    };
    let lead = Wanted {
        name: plain(LEAD),
        work,
        role: None,
        groups: BTreeSet::new(),
        mail: Mail::default(),
        start: true,
        start_after: Vec::new(),
    };
    TeamFile { team: slug(dir), agents: vec![lead] }
}

fn can_run(program: &str, path: &OsStr) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    let is_program = |path: PathBuf| {
        std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    // A path of its own is not looked for; joined to a directory, an absolute one stays what it is.
    std::env::split_paths(path).filter(|dir| dir.is_absolute()).any(|dir| is_program(dir.join(program)))
}

/// The directory's name as the name of a team.
fn slug(dir: &Path) -> Name {
    let text = dir.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let mut slug = String::new();
    for c in text.chars() {
        match c {
            'a'..='z' | '0'..='9' | '_' => slug.push(c),
            _ if slug.ends_with('-') => {}
            _ => slug.push('-'),
        }
    }
    let slug: String = slug.trim_start_matches(['-', '_']).chars().take(NAME_CHARS_MAX).collect();
    Name::new(slug.trim_end_matches(['-', '_'])).unwrap_or_else(|_| plain("team"))
}

fn plain(name: &str) -> Name {
    Name::new(name).expect("a word of letters is a name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_a_name_that_a_team_can_have() {
        for (dir, name) in [
            ("/srv/shop", "shop"),
            ("/srv/My Shop (2)", "my-shop-2"),
            ("/srv/.config", "config"),
            ("/srv/日本", "team"),
            ("/", "team"),
            ("/srv/a_b--c", "a_b-c"),
            ("/srv/0123456789012345678901234567890123", "0123456789012345678901234567890"),
        ] {
            assert_eq!(slug(Path::new(dir)).as_str(), name, "{dir}");
        }
    }
}
