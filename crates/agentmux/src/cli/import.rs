//! `agentmux import`: team files from what another tool was configured with. What does not map is said; what is there
//! is never written over.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use amux_proto::entity::{Kind, KindName};
use amux_proto::exit::Exit;
use amux_proto::{Code, Name};
use serde_json::json;
use toml::{Table, Value};

use crate::context::Context;
use crate::report::Failure;
use crate::text::plain;
use amux_team::FILE_NAME;

#[derive(clap::Subcommand)]
pub(crate) enum Import {
    /// The coders and bundles of agentmux-relay
    #[command(after_help = "Example: agentmux import relay ~/.config/agentmux --out .")]
    Relay {
        /// Where coders.toml and bundles/ are
        dir: PathBuf,
        /// Where the files are written; here unless given
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

impl Import {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        let Self::Relay { dir, out } = self;
        let out = out.clone().unwrap_or_else(|| ".".into());
        let relay = Relay::read(dir)?;
        let kinds = amux_runner::kinds::with(None).map_err(|error| Failure::failed(error.to_string()))?;
        let Written { files, left } = relay.written(&kinds);
        distinct(&files)?;
        let paths: Vec<PathBuf> = files.iter().map(|(name, _)| out.join(name)).collect();
        // Nothing is written before it is known that everything can be.
        if let Some(there) = paths.iter().find(|path| path.symlink_metadata().is_ok()) {
            let message = format!("it is there already and is not written over: {}", there.display());
            return Err(Failure::new(Exit::Failed, Code::Exists, message).hint("agentmux import relay DIR --out DIR"));
        }
        std::fs::create_dir_all(&out).map_err(|error| failed(&out, &error))?;
        for (path, (_, text)) in paths.iter().zip(&files) {
            let file = OpenOptions::new().write(true).create_new(true).open(path);
            file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| failed(path, &error))?;
        }
        Ok(context.out.done(&json!({ "written": paths, "left": left }), || {
            let mut words: Vec<String> = paths.iter().map(|path| format!("written: {}", path.display())).collect();
            words.extend(left.iter().map(|left| format!("left out: {}", plain(left))));
            if files.iter().any(|(name, _)| name == KINDS_FILE) {
                let place = context.layout.kinds();
                words.push(format!(
                    "put the kinds of {KINDS_FILE} into {}, then: agentmux config reload",
                    place.display()
                ));
            }
            words.join("\n")
        }))
    }
}

/// A bundle may be called as the file of the kinds is, or as another one in other letters, which is one file on some
/// systems.
fn distinct(files: &[(String, String)]) -> Result<(), Failure> {
    let mut names = BTreeMap::new();
    for (name, _) in files {
        if let Some(other) = names.insert(name.to_lowercase(), name) {
            let message = format!("two files would have one name: {} and {}", plain(other), plain(name));
            return Err(
                Failure::new(Exit::Failed, Code::Exists, message).hint("give the file in bundles/ another name")
            );
        }
    }
    Ok(())
}

const KINDS_FILE: &str = "agents.toml";

/// Signs that mean something to the shell that ran these commands.
const SHELL_SIGNS: &[char] =
    &['$', '`', '|', '&', ';', '<', '>', '(', ')', '*', '?', '[', ']', '~', '#', '\'', '"', '\\', '\n'];

/// The ancestor's files, as they are.
struct Relay {
    coders: Table,
    bundles: BTreeMap<String, Table>,
    policies: Option<Table>,
}

/// Files by name, and what is in none of them.
struct Written {
    files: Vec<(String, String)>,
    left: Vec<String>,
}

impl Relay {
    fn read(dir: &Path) -> Result<Self, Failure> {
        let coders = read(&dir.join("coders.toml"))?.unwrap_or_default();
        let policies = read(&dir.join("policies.toml"))?;
        let bundles_dir = dir.join("bundles");
        let entries = match std::fs::read_dir(&bundles_dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let message = format!("no bundles are here: {}", bundles_dir.display());
                return Err(Failure::new(Exit::NotFound, Code::NotFound, message));
            }
            Err(error) => return Err(failed(&bundles_dir, &error)),
        };
        let mut bundles = BTreeMap::new();
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let (Some("toml"), Some(id)) =
                (path.extension().and_then(|end| end.to_str()), path.file_stem().and_then(|stem| stem.to_str()))
            else {
                continue;
            };
            bundles.extend(read(&path)?.map(|bundle| (id.to_owned(), bundle)));
        }
        if bundles.is_empty() {
            let message = format!("no bundle is here: {}", bundles_dir.display());
            return Err(Failure::new(Exit::NotFound, Code::NotFound, message));
        }
        Ok(Self { coders, bundles, policies })
    }

    /// Pure from here on.
    fn written(&self, known: &BTreeMap<String, Kind>) -> Written {
        let mut left = Vec::new();
        let mut kinds = Table::new();
        let coders = coders(&self.coders, known, &mut left);
        let mut files = Vec::new();
        for (id, bundle) in &self.bundles {
            let mut part = Part { id, bundle, coders: &coders, kinds: &mut kinds, left: &mut left };
            if let Some(text) = part.written() {
                let name = if self.bundles.len() == 1 { FILE_NAME.to_owned() } else { format!("{id}.toml") };
                files.push((name, text));
            }
        }
        if let Some(policies) = &self.policies {
            let ids: Vec<_> = tables(policies, "policies").map(|policy| text(policy, "id")).collect();
            left.push(format!(
                "policies.toml: who may list, look and send ({}): what agents may do to each other is [[may]] in \
                 policy.toml",
                ids.join(", ")
            ));
        }
        if !kinds.is_empty() {
            let kinds = Table::from_iter([("kind".to_owned(), Value::Table(kinds))]);
            files.push((KINDS_FILE.to_owned(), kinds.to_string()));
        }
        Written { files, left }
    }
}

/// What a coder comes to.
struct Coder {
    env: Table,
    start: Launch,
}

enum Launch {
    /// A CLI that is a kind here.
    Known { kind: String, model: Option<String>, mode: Option<String>, args: Vec<String> },
    /// A kind of the user's own.
    Own { name: String, kind: Table },
    /// The command is another one for every agent.
    Template(String),
}

fn coders(file: &Table, known: &BTreeMap<String, Kind>, left: &mut Vec<String>) -> BTreeMap<String, Coder> {
    let mut coders = BTreeMap::new();
    for coder in tables(file, "coders") {
        let id = text(coder, "id");
        let part = ["tmux", "pty", "acp"].into_iter().find_map(|name| Some((name, coder.get(name)?.as_table()?)));
        let Some((transport, part)) = part else {
            left.push(format!("coders.toml: {id}: it has no command that is known here"));
            continue;
        };
        let command_key = if transport == "acp" { "command" } else { "initial-command" };
        let others: Vec<_> =
            part.keys().map(String::as_str).filter(|key| ![command_key, "channel"].contains(key)).collect();
        if !others.is_empty() {
            left.push(format!("coders.toml: {id}: {transport}.{}", others.join(&format!(", {transport}."))));
        }
        let command = text(part, command_key);
        if command.trim().is_empty() {
            left.push(format!("coders.toml: {id}: no {transport}.{command_key}, so nothing to run"));
            continue;
        }
        let start = launch(&id, transport, &command, known, left);
        coders.insert(id, Coder { env: environment(coder), start });
    }
    coders
}

fn launch(id: &str, transport: &str, command: &str, known: &BTreeMap<String, Kind>, left: &mut Vec<String>) -> Launch {
    if command.contains("{{") {
        return Launch::Template(command.to_owned());
    }
    let words = words(command);
    let program = Path::new(&words[0]).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let kind = known.get(&program).filter(|kind| kind.program.as_deref() == Some(program.as_str()));
    if let Some(kind) = kind {
        // What makes the CLI speak a protocol is the kind's own.
        let rest: Vec<String> = words[1..].iter().filter(|word| !kind.args.contains(word)).cloned().collect();
        let (model, mode, args) = options(&program, rest);
        // Words for a CLI's terminal are not all words for its protocol; Claude Code takes the same.
        let args = if program == "claude" || args.is_empty() {
            args
        } else {
            left.push(format!("coders.toml: {id}: {program} {}", args.join(" ")));
            Vec::new()
        };
        return Launch::Known { kind: program, model, mode, args };
    }
    let dialect = if transport == "acp" { "acp" } else { "pty" };
    let mut own = Table::new();
    own.insert("dialect".into(), dialect.into());
    own.insert("program".into(), words[0].clone().into());
    own.insert("args".into(), Value::Array(words[1..].iter().cloned().map(Value::String).collect()));
    own.insert("about".into(), format!("the coder {id} of agentmux-relay").into());
    // What is built in stays what it is for everybody else.
    let name = if known.contains_key(id) { format!("relay-{id}") } else { id.to_owned() };
    Launch::Own { name, kind: own }
}

/// The options that have a key of their own.
fn options(program: &str, words: Vec<String>) -> (Option<String>, Option<String>, Vec<String>) {
    let (mut model, mut mode, mut args) = (None, None, Vec::new());
    let mut words = words.into_iter().peekable();
    while let Some(word) = words.next() {
        let (key, value) = word.split_once('=').map_or((word.as_str(), None), |(key, value)| (key, Some(value)));
        let mut given = || value.map(str::to_owned).or_else(|| words.next_if(|next| !next.starts_with('-')));
        match (program, key) {
            (_, "--model" | "-m") => model = given(),
            ("claude", "--permission-mode") => mode = given(),
            ("claude", "--dangerously-skip-permissions") => mode = Some("bypassPermissions".into()),
            _ => args.push(word),
        }
    }
    (model, mode, args)
}

/// One bundle on its way to a team file.
struct Part<'a> {
    id: &'a str,
    bundle: &'a Table,
    coders: &'a BTreeMap<String, Coder>,
    kinds: &'a mut Table,
    left: &'a mut Vec<String>,
}

impl Part<'_> {
    fn written(&mut self) -> Option<String> {
        let team = self.name(self.id, "the team")?;
        let known = ["format-version", "environment", "sessions", "project-name-from"];
        for key in self.bundle.keys().filter(|key| !known.contains(&key.as_str())) {
            self.leave(&match key.as_str() {
                "autostart" => "autostart: a team starts with agentmux up".to_owned(),
                "groups" => "groups: a team is in no group, its agents are".to_owned(),
                other => other.to_owned(),
            });
        }
        let mut agents = Vec::new();
        let mut names = BTreeSet::new();
        for session in tables(self.bundle, "sessions") {
            let id = text(session, "id");
            let Some(name) = self.name(&id, "the agent") else { continue };
            if !names.insert(name.clone()) {
                self.leave(&format!("{id}: another agent is called {name}"));
                continue;
            }
            agents.extend(self.agent(&id, &name, session).map(Value::Table));
        }
        if agents.is_empty() {
            self.leave("the whole bundle: it has no agents");
            return None;
        }
        let mut text = format!("# From the bundle {} of agentmux-relay.\n", plain(self.id));
        let mut file = Table::new();
        file.insert("team".into(), Value::Table(Table::from_iter([("name".to_owned(), team.as_str().into())])));
        file.insert("agent".into(), Value::Array(agents));
        let _ = write!(text, "{file}");
        Some(text)
    }

    fn agent(&mut self, id: &str, name: &Name, session: &Table) -> Option<Table> {
        for key in session.keys() {
            let why = match key.as_str() {
                "id" | "directory" | "coder" | "environment" | "project-name" | "project-name-from" => continue,
                "ui" | "pubsub" => "it is no agent",
                "coder-session-id" => "its conversation: agentmux new NAME --agent KIND --resume ID takes one up",
                "policy" => "agents have one policy here, policy.toml",
                "name" => "agents have one name",
                _ => "not known here",
            };
            self.leave(&format!("{id}: {key}: {why}"));
        }
        let Some(coder) = session.get("coder").and_then(Value::as_str) else {
            self.leave(&format!("{id}: it has no coder"));
            return None;
        };
        let Some(found) = self.coders.get(coder) else {
            self.leave(&format!("{id}: its coder is not known: {coder}"));
            return None;
        };
        let mut agent = Table::new();
        agent.insert("name".into(), name.as_str().into());
        let mut env = Table::new();
        match &found.start {
            Launch::Known { kind, model, mode, args } => {
                agent.insert("kind".into(), kind.as_str().into());
                for (key, value) in [("model", model), ("mode", mode)] {
                    agent.extend(value.iter().map(|value| (key.to_owned(), value.as_str().into())));
                }
                if !args.is_empty() {
                    agent.insert("args".into(), array(args));
                }
                env.extend(found.env.clone());
            }
            Launch::Own { name, kind } => {
                let mut own = kind.clone();
                if !found.env.is_empty() {
                    own.insert("env".into(), Value::Table(found.env.clone()));
                }
                self.kinds.insert(name.clone(), Value::Table(own));
                agent.insert("kind".into(), name.as_str().into());
            }
            Launch::Template(command) => {
                let command = self.filled(command, id, session);
                if command.contains("{{") {
                    self.leave(&format!("{id}: nothing is known to fill in: {command}"));
                    return None;
                }
                agent.insert("kind".into(), KindName::CMD.into());
                agent.insert("command".into(), array(&words(&command)));
                env.extend(found.env.clone());
            }
        }
        match text(session, "directory") {
            directory if directory.is_empty() => {
                self.leave(&format!("{id}: it has no directory; it works where the file is"))
            }
            directory => drop(agent.insert("cwd".into(), directory.into())),
        }
        env.extend(environment(self.bundle));
        env.extend(environment(session));
        let ours: Vec<String> = env.keys().filter(|name| amux_proto::env::is_ours(name)).cloned().collect();
        for name in ours {
            env.remove(&name);
            self.leave(&format!("{id}: environment {name}: agentmux itself sets it"));
        }
        if !env.is_empty() {
            agent.insert("env".into(), Value::Table(env));
        }
        Some(agent)
    }

    /// A command with what its places stand for.
    fn filled(&self, command: &str, id: &str, session: &Table) -> String {
        let directory = text(session, "directory");
        let own = text(session, "project-name");
        let from = [session, self.bundle].into_iter().map(|table| text(table, "project-name-from"));
        let project = match from.into_iter().find(|from| !from.is_empty()).as_deref() {
            _ if !own.is_empty() => own,
            Some("bundle-name") => self.id.to_owned(),
            _ => Path::new(&directory).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        };
        let quoted = if directory.contains([' ', '\'']) || directory.contains(SHELL_SIGNS) {
            format!("'{}'", directory.replace('\'', r"'\''"))
        } else {
            directory.clone()
        };
        [
            ("bundle-session-id", id),
            ("bundle-name", self.id),
            ("session-directory", &quoted),
            ("project-name", &project),
        ]
        .into_iter()
        .fold(command.to_owned(), |command, (place, word)| command.replace(&format!("{{{{{place}}}}}"), word))
    }

    fn name(&mut self, text: &str, what: &str) -> Option<Name> {
        Name::new(text).map_err(|error| self.leave(&format!("{what} {text}: {error}"))).ok()
    }

    fn leave(&mut self, what: &str) {
        self.left.push(format!("bundles/{}.toml: {what}", self.id));
    }
}

/// As the shell that ran it would split it; where it takes a shell to understand it, one runs it.
fn words(command: &str) -> Vec<String> {
    if command.contains(SHELL_SIGNS) {
        return ["/bin/sh", "-c", command].map(str::to_owned).to_vec();
    }
    command.split_whitespace().map(str::to_owned).collect()
}

/// `environment = [{ name = "…", value = "…" }]`.
fn environment(table: &Table) -> Table {
    tables(table, "environment").map(|pair| (text(pair, "name"), text(pair, "value").into())).collect()
}

fn tables<'a>(table: &'a Table, key: &str) -> impl Iterator<Item = &'a Table> {
    table.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_table)
}

fn text(table: &Table, key: &str) -> String {
    table.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn array(words: &[String]) -> Value {
    Value::Array(words.iter().cloned().map(Value::String).collect())
}

/// `None` for a file that is not there.
fn read(path: &Path) -> Result<Option<Table>, Failure> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path, &error)),
    };
    toml::from_str(&text).map(Some).map_err(|error: toml::de::Error| {
        let before = error.span().map_or("", |span| &text[..span.start.min(text.len())]);
        let line = before.matches('\n').count() + 1;
        Failure::usage(format!("{}:{line}: {}", path.display(), error.message().trim().replace('\n', ", ")))
    })
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("{}: {error}", path.display()))
}
