//! Team files for whoever has no file system here: a page. What a file says and comes to is `amux_team`'s to say; what is
//! written is a person's, and never over words that the person has not seen.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use amux_engine::Handle;
use amux_proto::entity::{Agent, Kind};
use amux_proto::query::act::WriteTeam;
use amux_proto::query::{self, TeamFile};
use amux_proto::{Code, Rejection};
use amux_runner::{Preview, Runner};
use amux_team::FILE_NAME;
use amux_team::field::{self, Field};
use amux_team::order::{self, Order};
use amux_team::parse::{Place, Problem, Work, parse};
use amux_team::plan::{Act, Extra, Step, plan};
use serde::Serialize;
use serde_json::{Value, json};

use crate::daemon::Daemon;

/// A thousand agents fit; more is not written by hand.
const FILE_BYTES_MAX: u64 = 512 * 1024;

/// Of a file that is made here; what is there keeps its own.
const MODE: u32 = 0o644;

#[derive(Serialize)]
pub(crate) struct Read {
    path: PathBuf,
    /// What is there; `null`: no file is.
    there: Option<String>,
    problems: Vec<Problem>,
    /// Where nothing is wrong.
    plan: Option<Planned>,
    /// What a file can say.
    fields: Fields,
}

#[derive(Serialize)]
struct Fields {
    agent: &'static [Field],
    mail: &'static [Field],
}

const FIELDS: Fields = Fields { agent: field::AGENT, mail: field::MAIL };

#[derive(Serialize)]
struct Planned {
    team: String,
    /// To be given before all others, where there is no such team.
    make_team: Option<Order>,
    steps: Vec<Told>,
}

#[derive(Serialize)]
struct Told {
    agent: String,
    what: &'static str,
    why: Vec<String>,
    after: Vec<String>,
    does_something: bool,
    ends_a_run: bool,
    /// How it will be run from then on; `null` where that stays as it is.
    run: Option<Run>,
    prepare: Vec<Order>,
    start: Option<Order>,
}

/// What will be run. Of the environment the names: what it holds may not be for every eye.
#[derive(Serialize)]
struct Run {
    argv: Vec<String>,
    cwd: String,
    env: Vec<String>,
    worktree: bool,
}

/// What the disk and a plan need of the daemon, away from its threads.
struct World {
    engine: Handle,
    runner: Runner,
    kinds: PathBuf,
}

pub(crate) async fn read(daemon: &Daemon, asked: &TeamFile) -> Result<Read, Rejection> {
    let world = World { engine: daemon.engine.clone(), runner: daemon.runner.clone(), kinds: daemon.layout.kinds() };
    let asked = asked.clone();
    tokio::task::spawn_blocking(move || look(&world, &asked))
        .await
        .map_err(|error| Rejection::new(Code::Internal, error.to_string()))?
}

fn look(world: &World, asked: &TeamFile) -> Result<Read, Rejection> {
    let path = file(&asked.path)?;
    check_size(asked.text.as_deref())?;
    let (there, kinds) = (there(&path)?, crate::files::kinds(&world.kinds)?);
    let Some(text) = asked.text.as_deref().or(there.as_deref()) else {
        return Ok(Read { path, there, problems: Vec::new(), plan: None, fields: FIELDS });
    };
    // The same file by another way is the same file: nothing would restart for that.
    let dir = path.parent().unwrap_or(Path::new("/"));
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let home = home();
    let place = Place { dir: &dir, home: home.as_deref(), kinds: &kinds };
    let wanted = match parse(text, &place) {
        Ok(wanted) => wanted,
        Err(problems) => return Ok(Read { path, there, problems, plan: None, fields: FIELDS }),
    };
    let published = world.engine.published();
    let (team, agents) = published.team(&wanted.team);
    let mcp = published.hands_out_tools();
    if team.as_ref().is_some_and(|team| team.removing) {
        return Err(Rejection::new(Code::Conflict, format!("the team is being removed: {}", wanted.team)));
    }
    let extra = if asked.prune { Extra::Remove } else { Extra::Leave };
    let plan = plan(&wanted, team.map(|_| agents.as_slice()), extra);
    let steps = plan.steps.iter().map(|step| Told {
        agent: step.agent.to_string(),
        what: step.what(),
        why: step.why.clone(),
        after: step.after.iter().map(ToString::to_string).collect(),
        does_something: step.does_something(),
        ends_a_run: step.ends_a_run(),
        run: work(step).map(|work| {
            let agent = agents.iter().find(|agent| agent.name == step.agent);
            run(&world.runner, &kinds, work, resumed(work, agent), mcp)
        }),
        prepare: order::prepare(&plan, step),
        start: order::start(&plan, step),
    });
    let planned = Planned { team: plan.team.to_string(), make_team: order::team(&plan), steps: steps.collect() };
    Ok(Read { path, there, problems: Vec::new(), plan: Some(planned), fields: FIELDS })
}

/// How one agent would be run that is in no file.
pub(crate) fn preview(daemon: &Daemon, asked: &query::Preview) -> Result<Value, Rejection> {
    let query::Preview { kind: name, argv, model, mode, resume } = asked;
    let published = daemon.engine.published();
    let Some(kind) = published.kind(name) else {
        return Err(Rejection::new(Code::NotFound, format!("no such kind of agent: {}", name.0)));
    };
    let (model, mode, resume) = (model.as_deref(), mode.as_deref(), resume.as_deref());
    let mcp = published.hands_out_tools();
    let argv = daemon.runner.preview(&Preview { kind: &kind, name, argv, model, mode, resume, mcp });
    Ok(json!({ "argv": argv }))
}

/// Writes it, and says where.
pub(crate) async fn write(daemon: &Daemon, write: WriteTeam) -> Result<Value, Rejection> {
    let writing = Arc::clone(&daemon.writing_teams);
    tokio::task::spawn_blocking(move || put(&writing, &write))
        .await
        .map_err(|error| Rejection::new(Code::Internal, error.to_string()))?
}

fn check_size(text: Option<&str>) -> Result<(), Rejection> {
    if text.is_some_and(|text| text.len() as u64 > FILE_BYTES_MAX) {
        return Err(Rejection::new(Code::TooLarge, format!("a team file has {FILE_BYTES_MAX} bytes at most")));
    }
    Ok(())
}

/// `writing` makes one step of looking and writing for all who write by us. An editor may still come in between where a
/// file is there already: no system exchanges a file for another only if that is the one it was.
fn put(writing: &Mutex<()>, write: &WriteTeam) -> Result<Value, Rejection> {
    let path = file(&write.path)?;
    check_size(Some(&write.text))?;
    let _writing = writing.lock().unwrap_or_else(PoisonError::into_inner);
    let there = there(&path)?;
    if there.as_deref() == Some(&write.text) {
        return Ok(json!({ "path": path, "changed": false }));
    }
    let stale = || Rejection::new(Code::Stale, format!("somebody else wrote it meanwhile: {}", path.display()));
    if there != write.instead_of {
        return Err(stale());
    }
    let failed = |error: io::Error| Rejection::new(Code::Conflict, format!("{}: {error}", path.display()));
    let bytes = write.text.as_bytes();
    if there.is_some() {
        // Where a person put it somewhere else and left a link, it stays there; and whoever could read it still can.
        let real = path.canonicalize().map_err(failed)?;
        let mode = std::fs::metadata(&real).map_or(MODE, |meta| meta.permissions().mode() & 0o7777);
        amux_sys::disk::write_atomic(&real, bytes, mode).map_err(failed)?;
    } else {
        amux_sys::disk::write_new(&path, bytes, MODE).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => stale(),
            _ => failed(error),
        })?;
    }
    Ok(json!({ "path": path, "changed": true }))
}

/// The conversation that this work goes on with: as when it is started, one of the same CLI.
fn resumed<'a>(work: &Work, agent: Option<&'a Agent>) -> Option<&'a str> {
    let agent = agent.filter(|agent| agent.definition.kind == work.kind)?;
    agent.session.as_ref()?.id.as_deref()
}

fn run(runner: &Runner, kinds: &BTreeMap<String, Kind>, work: &Work, resume: Option<&str>, mcp: bool) -> Run {
    let Work { kind: name, argv, cwd, env, model, mode, worktree } = work;
    let argv = kinds.get(&name.0).map_or_else(Vec::new, |kind| {
        let (model, mode) = (model.as_deref(), mode.as_deref());
        runner.preview(&Preview { kind, name, argv, model, mode, resume, mcp })
    });
    Run { argv, cwd: cwd.clone(), env: env.keys().cloned().collect(), worktree: *worktree }
}

fn work(step: &Step) -> Option<&Work> {
    match &step.act {
        Act::Create { work, .. } | Act::Restart { work } | Act::Define { work } => Some(work),
        Act::Start { work } => work.as_ref(),
        Act::Keep | Act::Remove { .. } | Act::Spare | Act::Going => None,
    }
}

/// The file that is meant. Only what looks like a team file: nothing else is read or written by its name.
fn file(text: &str) -> Result<PathBuf, Rejection> {
    let bad = |why: &str| Rejection::new(Code::BadArgs, format!("{why}: {text}"));
    let path = match text.strip_prefix("~/") {
        Some(rest) => home().ok_or_else(|| bad("HOME is not set"))?.join(rest),
        None => PathBuf::from(text),
    };
    if !path.is_absolute() {
        return Err(bad("a whole path is needed, from /"));
    }
    let path = if path.is_dir() { path.join(FILE_NAME) } else { path };
    if path.extension().is_none_or(|extension| extension != "toml") {
        return Err(bad("neither a directory nor a .toml file"));
    }
    Ok(path)
}

fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute())
}

fn there(path: &Path) -> Result<Option<String>, Rejection> {
    let failed = |why: String| Rejection::new(Code::BadArgs, format!("{}: {why}", path.display()));
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error.to_string())),
        // A pipe would be waited for, and a device has no end.
        Ok(meta) if !meta.is_file() => return Err(failed("not a file".into())),
        Ok(meta) if meta.len() > FILE_BYTES_MAX => return Err(failed("too large".into())),
        Ok(_) => {}
    }
    std::fs::read_to_string(path).map(Some).map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use amux_proto::Time;
    use amux_proto::entity::{Definition, Desired, Size};

    use super::*;

    fn order(path: &Path, text: &str, instead_of: Option<&str>) -> WriteTeam {
        let instead_of = instead_of.map(str::to_owned);
        WriteTeam { path: path.display().to_string(), text: text.to_owned(), instead_of }
    }

    fn put(write: &WriteTeam) -> Result<Value, Rejection> {
        super::put(&Mutex::default(), write)
    }

    #[test]
    fn a_file_that_changed_meanwhile_is_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        assert_eq!(put(&order(dir.path(), "one", None)).unwrap()["changed"], true, "a directory means its file");
        assert_eq!(put(&order(&path, "two", None)).unwrap_err().code, Code::Stale);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        put(&order(&path, "two", Some("one"))).unwrap();
        assert_eq!(put(&order(&path, "two", Some("one"))).unwrap()["changed"], false, "a retry finds it done");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
    }

    #[test]
    fn of_two_who_write_at_once_one_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let (writing, path) = (Mutex::default(), dir.path().join(FILE_NAME));
        for before in [None, Some("one")] {
            let puts = |text: String| super::put(&writing, &order(&path, &text, before));
            let told: Vec<_> = std::thread::scope(|scope| {
                let writers: Vec<_> = (0..8).map(|at| scope.spawn(move || puts(format!("{before:?} {at}")))).collect();
                writers.into_iter().map(|writer| writer.join().unwrap()).collect()
            });
            let refused = told.iter().filter(|told| told.as_ref().is_err_and(|error| error.code == Code::Stale));
            assert_eq!((told.iter().filter(|told| told.is_ok()).count(), refused.count()), (1, 7), "{told:?}");
            std::fs::write(&path, "one").unwrap();
        }
    }

    #[test]
    fn what_is_in_the_place_of_a_new_file_is_left_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        std::os::unix::fs::symlink("elsewhere.toml", &path).unwrap();
        assert_eq!(put(&order(&path, "one", None)).unwrap_err().code, Code::Stale);
        assert_eq!(std::fs::read_link(&path).unwrap(), Path::new("elsewhere.toml"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn no_more_is_read_than_a_file_may_have() {
        let text = "#".repeat(FILE_BYTES_MAX as usize + 1);
        assert_eq!(check_size(Some(&text)).unwrap_err().code, Code::TooLarge);
        assert_eq!(check_size(Some(&text[1..])), Ok(()));
    }

    #[test]
    fn other_work_of_the_same_cli_goes_on_with_the_conversation() {
        let work = |kind: &str| {
            let kind = amux_proto::entity::KindName(kind.to_owned());
            let (argv, cwd, env) = (Vec::new(), String::new(), BTreeMap::new());
            Work { kind, argv, cwd, env, model: Some("opus".to_owned()), mode: None, worktree: false }
        };
        let Work { kind, argv, cwd, env, model, mode, worktree } = work("claude");
        let definition = Definition { kind, argv, cwd, env, size: Size::default(), model, mode, worktree };
        let agent: Agent = serde_json::from_value(json!({
            "id": "00000000-0000-7000-8000-000000000001", "team": "00000000-0000-7000-8000-000000000001",
            "name": "lead", "created": Time(0), "desired": Desired::Stopped, "run": null, "removing": false, "rev": 1,
            "definition": definition,
            "session": { "id": "abc", "since": Time(0) },
        }))
        .unwrap();
        assert_eq!(resumed(&work("claude"), Some(&agent)), Some("abc"));
        assert_eq!(resumed(&work("codex"), Some(&agent)), None, "another CLI does not know it");
        assert_eq!(resumed(&work("claude"), None), None);
    }

    #[test]
    fn only_team_files_are_read_and_written() {
        for bad in ["agentmux.toml", "/etc/passwd", "/dev/null", "/proc/self/mem"] {
            assert_eq!(file(bad).unwrap_err().code, Code::BadArgs, "{bad}");
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("a.toml")).unwrap();
        assert_eq!(there(&dir.path().join("a.toml")).unwrap_err().code, Code::BadArgs);
    }
}
