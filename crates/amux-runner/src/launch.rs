//! From the definition of an agent to a process of it: what is checked before anything is shared or started, the
//! command line of its kind, its environment, its machine.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use amux_agents::once::{Format, Once};
use amux_agents::tmux::Control;
use amux_agents::{Begin, Machine, McpServer, Order, Session as Conversation};
use amux_engine::ask::Plan;
use amux_proto::entity::{Definition, Dialect, Kind, KindName, Size};
use amux_proto::{AgentId, RunNo, env};
use amux_sys::process;
use amux_sys::spawn::{self, Session, SpawnSpec, Stdio};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{Shared, lease, report, worktree};

/// Without so much memory a CLI is killed by the kernel in the middle of its work, or another one is.
const CLI_MEMORY_MIN_BYTES: u64 = 192 * 1024 * 1024;
const PROGRAM_MEMORY_MIN_BYTES: u64 = 24 * 1024 * 1024;

/// A start takes about ten descriptors here, and others must not find themselves without any.
const DESCRIPTORS_SPARE: usize = 64;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Kind(String),
    #[error("program not found: {program}; to get it: {install}")]
    NotInstalled { program: String, install: String },
    #[error(transparent)]
    Spawn(#[from] spawn::Error),
    #[error("{0}")]
    Lease(#[source] lease::Error),
    #[error("it waits for memory: {free} MB are free, {needed} MB are needed")]
    Memory { free: u64, needed: u64 },
    #[error("it waits for descriptors: {open} of {limit} are open")]
    Descriptors { open: usize, limit: u64 },
    #[error("its working directory cannot be made: {0}")]
    Directory(#[source] io::Error),
    #[error("its worktree cannot be made: {0}")]
    Worktree(#[source] Box<worktree::Error>),
    #[error("its tape cannot be opened: {0}")]
    Tape(#[source] io::Error),
    #[error("its streams cannot be watched: {0}")]
    Watch(#[source] io::Error),
}

impl Error {
    /// Whether trying again by itself cannot help.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::Kind(_)
            | Self::NotInstalled { .. }
            | Self::Lease(lease::Error::Held(_))
            | Self::Directory(_)
            | Self::Worktree(_) => true,
            Self::Spawn(error) => error.is_final(),
            Self::Lease(lease::Error::Io(_))
            | Self::Memory { .. }
            | Self::Descriptors { .. }
            | Self::Tape(_)
            | Self::Watch(_) => false,
        }
    }
}

/// Everything that is known of a run before it starts.
pub(crate) struct Launch {
    pub(crate) kind: Kind,
    pub(crate) spec: SpawnSpec,
    pub(crate) begin: Begin,
    pub(crate) size: Size,
    pub(crate) leads: Leads,
}

/// What a run is begun with, as a terminal of ours or of tmux has to know it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(crate) enum Leads {
    Shell,
    Program { words: Vec<String> },
    Pane { target: String },
}

impl Leads {
    pub(crate) fn of(kind: Option<&Kind>, definition: &Definition) -> Self {
        if kind.is_some_and(|kind| kind.dialect == Dialect::Tmux) {
            return Self::Pane { target: target(definition).to_owned() };
        }
        if kind.is_some_and(|kind| is_shell(kind, &definition.kind)) {
            return Self::Shell;
        }
        let program = kind.and_then(|kind| kind.program.clone());
        Self::Program { words: program.into_iter().chain(definition.argv.iter().cloned()).collect() }
    }

    pub(crate) fn pane(&self) -> Option<&str> {
        match self {
            Self::Pane { target } => Some(target),
            Self::Shell | Self::Program { .. } => None,
        }
    }
}

/// The pane of an agent that is one.
pub(crate) fn target(definition: &Definition) -> &str {
    definition.argv.first().map_or("", String::as_str)
}

/// Whether the machine has room for one more; asked before the first thing is written.
pub(crate) fn admit(dialect: Dialect) -> Result<(), Error> {
    let needed = match dialect {
        Dialect::Pty | Dialect::Tmux => PROGRAM_MEMORY_MIN_BYTES,
        Dialect::Claude
        | Dialect::Codex
        | Dialect::Acp
        | Dialect::CodexExec
        | Dialect::ClaudeOnce
        | Dialect::GeminiOnce => CLI_MEMORY_MIN_BYTES,
    };
    if let Some(free) = process::memory_available_bytes().filter(|free| *free < needed) {
        return Err(Error::Memory { free: free / 1_000_000, needed: needed / 1_000_000 });
    }
    let (open, limit) = (process::fd_count(), process::raise_nofile_limit(0));
    if open > 0 && open as u64 + DESCRIPTORS_SPARE as u64 > limit {
        return Err(Error::Descriptors { open, limit });
    }
    Ok(())
}

/// Works out how a run is started. Makes the working directory and the worktree; everything else is only said.
pub(crate) fn plan(shared: &Shared, agent: AgentId, run: RunNo, plan: &Plan) -> Result<Launch, Error> {
    let definition = &plan.definition;
    let kind = plan.kind.clone().map_err(|refusal| Error::Kind(refusal.message))?;
    let leads = Leads::of(Some(&kind), definition);
    let conversation = match &plan.session {
        Some(id) => Conversation::Resume { id: id.clone() },
        None => Conversation::New { id: new_session(agent, run) },
    };
    let server = plan.mcp.then(|| mcp_server(shared, plan));
    let config = server.as_ref().map(mcp_config);
    let words = Words {
        kind: &kind,
        name: &definition.kind,
        argv: &definition.argv,
        conversation: &conversation,
        model: definition.model.as_deref(),
        mode: definition.mode.as_deref(),
        mcp: config.as_deref(),
    };
    let words = words.line(&shared.world.shell).ok_or_else(|| no_command(&definition.kind))?;
    let cwd = directory(shared, agent, plan)?;
    let environment = environment(shared, agent, run, plan, &kind);
    let words = process_words(shared, &kind, words);
    let program = PathBuf::from(&words[0]);
    let stdio = match kind.dialect {
        Dialect::Pty => Stdio::Pty { rows: definition.size.rows, cols: definition.size.cols },
        _ => Stdio::Pipes,
    };
    Ok(Launch {
        begin: Begin {
            cwd: cwd.display().to_string(),
            session: conversation,
            lost: plan.lost.clone(),
            model: definition.model.clone(),
            mode: definition.mode.clone(),
            mcp: server,
        },
        spec: SpawnSpec {
            program,
            args: words[1..].iter().map(Into::into).collect(),
            cwd,
            env: environment,
            stdio,
            session: Session::Own,
            pass_fds: Vec::new(),
            nofile: None,
        },
        size: definition.size,
        leads,
        kind,
    })
}

fn is_shell(kind: &Kind, name: &KindName) -> bool {
    kind.program.is_none() && name.is_shell()
}

fn no_command(kind: &KindName) -> Error {
    Error::Kind(format!("a command is needed: {kind}"))
}

/// What a command line is made of.
struct Words<'a> {
    kind: &'a Kind,
    name: &'a KindName,
    argv: &'a [String],
    conversation: &'a Conversation,
    model: Option<&'a str>,
    mode: Option<&'a str>,
    /// Our tools, as a configuration file of the CLI has them.
    mcp: Option<&'a str>,
}

impl Words<'_> {
    /// `None`: the kind has no program and nobody named one.
    fn line(&self, shell: &Path) -> Option<Vec<String>> {
        let kind = self.kind;
        let (program, rest) = match (&kind.program, is_shell(kind, self.name), self.argv.split_first()) {
            (Some(program), _, _) => (program.clone(), self.argv),
            (None, true, _) => (shell.to_string_lossy().into_owned(), self.argv),
            (None, false, Some((program, rest))) => (program.clone(), rest),
            (None, false, None) => return None,
        };
        let (session, session_args) = match self.conversation {
            Conversation::New { id } => (id, &kind.new_args),
            Conversation::Resume { id } => (id, &kind.resume_args),
        };
        let mut words = vec![program];
        words.extend(kind.args.iter().cloned());
        if !is_once(kind.dialect) {
            words.extend(session_args.iter().map(|word| word.replace("{session}", session)));
        }
        let mut fill = |args: &[String], hole: &str, with: Option<&str>| {
            words.extend(with.iter().flat_map(|with| args.iter().map(|word| word.replace(hole, with))));
        };
        fill(&kind.model_args, "{model}", self.model);
        fill(&kind.mode_args, "{mode}", self.mode);
        fill(&kind.mcp_args, "{mcp}", self.mcp);
        words.extend(rest.iter().cloned());
        Some(words)
    }
}

/// How an agent would be started, before there is one.
#[derive(Debug, Clone, Copy)]
pub struct Preview<'a> {
    pub kind: &'a Kind,
    pub name: &'a KindName,
    pub argv: &'a [String],
    pub model: Option<&'a str>,
    pub mode: Option<&'a str>,
    pub resume: Option<&'a str>,
    /// Whether it is handed our tools.
    pub mcp: bool,
}

/// Stand for what is known only when it starts.
const NEW_SESSION: &str = "<new id>";
const OUR_TOOLS: &str = "<our tools>";

/// The words that would be run; none where a command is missing.
pub(crate) fn preview(shell: &Path, of: &Preview<'_>) -> Vec<String> {
    let conversation = match of.resume {
        Some(id) => Conversation::Resume { id: id.to_owned() },
        None => Conversation::New { id: NEW_SESSION.to_owned() },
    };
    let Preview { kind, name, argv, model, mode, mcp, .. } = *of;
    let words = Words { kind, name, argv, conversation: &conversation, model, mode, mcp: mcp.then_some(OUR_TOOLS) };
    let words = words.line(shell).unwrap_or_default();
    if kind.dialect == Dialect::Tmux { tmux_words(&words) } else { words }
}

/// Our tools for the agent. Who it is it need not say: a process in its tree is the agent. And nothing here is secret,
/// since it may stand in a command line.
fn mcp_server(shared: &Shared, plan: &Plan) -> McpServer {
    let variables = [(env::SOCKET, shared.world.socket.display().to_string()), (env::AGENT, plan.label.clone())];
    McpServer {
        name: "agentmux".to_owned(),
        command: shared.world.exe.display().to_string(),
        args: vec!["mcp".to_owned()],
        env: variables.map(|(name, value)| (name.to_owned(), value)).to_vec(),
    }
}

/// As a configuration file of a CLI has it.
fn mcp_config(server: &McpServer) -> String {
    let variables: BTreeMap<&str, &str> =
        server.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let entry = json!({ "type": "stdio", "command": server.command, "args": server.args, "env": variables });
    json!({ "mcpServers": { server.name.as_str(): entry } }).to_string()
}

fn is_once(dialect: Dialect) -> bool {
    matches!(dialect, Dialect::CodexExec | Dialect::ClaudeOnce | Dialect::GeminiOnce)
}

/// What is executed: the words themselves, or the program of ours that stands between.
fn process_words(shared: &Shared, kind: &Kind, words: Vec<String>) -> Vec<String> {
    match kind.dialect {
        Dialect::CodexExec | Dialect::ClaudeOnce | Dialect::GeminiOnce => {
            vec![shared.world.exe.display().to_string(), "internal".into(), "relay".into()]
        }
        Dialect::Tmux => tmux_words(&words),
        Dialect::Pty | Dialect::Claude | Dialect::Codex | Dialect::Acp => words,
    }
}

fn tmux_words(words: &[String]) -> Vec<String> {
    // The target, and what chooses the server: `-L name`, `-S path`.
    let (target, server) = words.split_first().map_or(("", &[][..]), |(target, rest)| (target.as_str(), rest));
    // A server that does not run is not started, and the pane's text is not reduced to what our locale can say.
    let mut command = ["tmux", "-N", "-u"].map(str::to_owned).to_vec();
    command.extend(server.iter().cloned());
    command.extend(Control::new(target).argv());
    command
}

/// A new machine of the run, for a start or for hearing the past again; `None` for what speaks no lines.
pub(crate) fn machine(kind: &Kind, plan: &Plan) -> Option<Machine> {
    Some(match kind.dialect {
        Dialect::Claude => Machine::Claude(amux_agents::claude::Claude::default()),
        Dialect::Codex => Machine::Codex(amux_agents::codex::Codex::default()),
        Dialect::Acp => Machine::Acp(Box::default()),
        Dialect::CodexExec => Machine::Once(once(Format::Codex, kind, plan)),
        Dialect::ClaudeOnce => Machine::Once(once(Format::Claude, kind, plan)),
        Dialect::GeminiOnce => Machine::Once(once(Format::Gemini, kind, plan)),
        Dialect::Pty | Dialect::Tmux => return None,
    })
}

/// A process a turn: its machine fills in what differs from turn to turn.
fn once(format: Format, kind: &Kind, plan: &Plan) -> Once {
    let argv = &plan.definition.argv;
    let (program, rest) = match (&kind.program, argv.split_first()) {
        (Some(program), _) => (program.clone(), argv.as_slice()),
        (None, Some((program, rest))) => (program.clone(), rest),
        (None, None) => (String::new(), &[][..]),
    };
    let line = |args: &[String]| [std::slice::from_ref(&program), args, rest].concat();
    let resume = (!kind.resume_args.is_empty()).then(|| line(&kind.resume_args));
    Once::new(format, line(&kind.args), resume)
}

/// The same for the same run: known before there is a process, so that a crash in the first second can be resumed.
fn new_session(agent: AgentId, run: RunNo) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"session").update(agent.0.as_bytes()).update(&run.0.to_le_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    // CLIs check for a random UUID.
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

fn directory(shared: &Shared, agent: AgentId, plan: &Plan) -> Result<PathBuf, Error> {
    let definition = &plan.definition;
    let wanted = PathBuf::from(&definition.cwd);
    if definition.worktree {
        let uid = agent.to_string();
        let branch = format!("agentmux/{}", plan.label.replace('@', "-at-"));
        let git = worktree::Git::new(&shared.world.base_env);
        let asked = worktree::Wanted { repo: &wanted, root: &shared.world.worktrees, branch: &branch, agent: &uid };
        let prepared = worktree::prepare(&git, &asked).map_err(|error| Error::Worktree(Box::new(error)))?;
        for warning in &prepared.warnings {
            tracing::warn!(agent = %plan.label, warning, "A worktree was made.");
        }
        // As a person would write it.
        return Ok(prepared.dir.components().collect());
    }
    std::fs::create_dir_all(&wanted).map_err(Error::Directory)?;
    Ok(wanted)
}

fn environment(shared: &Shared, agent: AgentId, run: RunNo, plan: &Plan, kind: &Kind) -> Vec<(OsString, OsString)> {
    let world = &shared.world;
    // The later word wins: a definition may set what it likes, but not who the agent is.
    let mut environment: BTreeMap<OsString, OsString> = world.base_env.iter().cloned().collect();
    for name in &kind.unset {
        environment.remove(&OsString::from(name));
    }
    if kind.dialect == Dialect::Pty {
        environment.insert("TERM".into(), "xterm-256color".into());
        environment.insert("COLORTERM".into(), "truecolor".into());
        environment.insert("TERM_PROGRAM".into(), "agentmux".into());
    }
    environment.extend(kind.env.iter().map(|(key, value)| (key.into(), value.into())));
    environment.extend(plan.definition.env.iter().map(|(key, value)| (key.into(), value.into())));
    let ours: [(&str, OsString); 7] = [
        (env::AGENT, plan.label.clone().into()),
        (env::AGENT_UID, agent.to_string().into()),
        (env::RUN, run.to_string().into()),
        (env::TAG, report::tag(agent, run).into()),
        (env::TOKEN, (world.token)(agent, run).into()),
        (env::SOCKET, world.socket.clone().into()),
        (env::LOCAL_URL, world.local_url.clone().into()),
    ];
    environment.extend(ours.map(|(key, value)| (key.into(), value)));
    environment.into_iter().collect()
}

/// What was started, for whoever takes it over and for people who ask later. Values of variables may be secrets and are
/// not in it.
#[derive(Serialize)]
struct Recorded<'a> {
    program: &'a Path,
    args: Vec<String>,
    cwd: &'a Path,
    variables: Vec<String>,
    kind: Kind,
    begin: &'a Begin,
    leads: &'a Leads,
}

pub(crate) fn record(dir: &Path, launch: &Launch) -> io::Result<()> {
    let Launch { spec, kind, begin, leads, .. } = launch;
    let text = |word: &OsString| word.to_string_lossy().into_owned();
    let recorded = Recorded {
        program: &spec.program,
        args: spec.args.iter().map(text).collect(),
        cwd: &spec.cwd,
        variables: spec.env.iter().map(|(name, _)| text(name)).collect(),
        kind: Kind { env: BTreeMap::new(), ..kind.clone() },
        begin,
        leads,
    };
    std::fs::create_dir_all(dir)?;
    amux_sys::disk::replace(&dir.join("spec.json"), &serde_json::to_vec_pretty(&recorded).map_err(io::Error::other)?)
}

/// The first order of a run.
pub(crate) fn first_order(begin: &Begin) -> Order {
    Order::Begin(begin.clone())
}

/// What is said when a program is not there: how to get it.
pub(crate) fn explain(error: spawn::Error, kind: &Kind) -> Error {
    match (&error, &kind.install) {
        (spawn::Error::NotFound(program), Some(install)) => {
            Error::NotInstalled { program: program.display().to_string(), install: install.clone() }
        }
        _ => Error::Spawn(error),
    }
}
