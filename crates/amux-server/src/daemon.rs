//! The server process: its start in named stages, its wiring, and its end.
//!
//! It opens the store, starts the writer, takes over the agents, opens the doors, and says that it is ready; then it
//! waits for one of the things that end it, and lets go of everything in the other order.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use amux_engine::store::{MIGRATIONS, Upcasters};
use amux_engine::{Boundary, Handle, Mode, Options, Store, Writer, store};
use amux_proto::command::{agent, host, kind, policy, setting};
use amux_proto::endpoint::Endpoint;
use amux_proto::entity::RunState;
use amux_proto::exit::SrvExit;
use amux_proto::ready::{GOAL_KEY, Line, REAPED_KEY, Ready};
use amux_proto::view::{BootPolicy, BootStage};
use amux_proto::{AgentId, Code, Command, Principal, Rejection, RunNo, Time, env};
use amux_runner::{OrphanExit, Runner, World, polled};
use amux_sys::lock::Lock;
use amux_sys::notify::Notifier;
use amux_sys::paths::Layout;
use amux_sys::socket::{self, SocketGuard};
use amux_sys::{cgroup, clock, disk, parent, process, signals};
use serde::Deserialize;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;

use crate::attachments::Attachments;
use crate::auth::{Family, Keys};
use crate::board::Board;
use crate::boot::Boot;
use crate::metrics::Counters;
use crate::places::Places;
use crate::tasks::Tasks;
use crate::{board, files, http, keeping, local, logs, notice, session, settings};

/// What the process was given by whoever started it.
pub struct Config {
    pub layout: Layout,
    pub profile: String,
    /// Of the launcher, for a window; already out of the environment.
    pub auth_key: Option<String>,
    pub instance: String,
    pub notify_socket: Option<OsString>,
    pub kept: Vec<(String, OwnedFd)>,
    pub watchdog: Option<Duration>,
    /// A pipe or socket whose other end is held by whoever started us.
    pub lifeline: Option<OwnedFd>,
    /// Ends with it; `None` when nobody in particular started us.
    pub launcher_pid: Option<u32>,
    pub log: Option<String>,
    pub base_env: Vec<(OsString, OsString)>,
    pub shell: PathBuf,
    /// Dies at the n-th time this boundary is reached.
    pub failpoint: Option<(Boundary, u64)>,
}

/// Why the server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Stop,
    Restart,
    Signal,
    LauncherGone,
    StateGone,
}

impl End {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Stop => "the server was asked to stop",
            Self::Restart => "the server restarts",
            Self::Signal => "the server was told to end",
            Self::LauncherGone => "the launcher is gone",
            Self::StateGone => "the state directory is gone",
        }
    }
}

/// What the doors share.
pub(crate) struct Daemon {
    pub(crate) layout: Layout,
    pub(crate) profile: String,
    pub(crate) launcher_pid: Option<u32>,
    /// The control group of our service, where a service manager keeps us and no launcher.
    pub(crate) service: Option<PathBuf>,
    pub(crate) started: Time,
    pub(crate) engine: Handle,
    pub(crate) runner: Runner,
    pub(crate) keys: Arc<Keys>,
    pub(crate) attachments: Attachments,
    pub(crate) web_url: String,
    pub(crate) hosts: Vec<String>,
    /// Browsers keep cookies by host and not by port: two servers must not have one of the same name.
    pub(crate) cookie: String,
    pub(crate) boot: Vec<BootStage>,
    pub(crate) board: Board,
    pub(crate) counters: Counters,
    pub(crate) tasks: Arc<Tasks>,
    /// Somebody wants the server to end; new orders are refused.
    pub(crate) asked: watch::Sender<Option<End>>,
    /// The doors close.
    pub(crate) ending: watch::Sender<Option<End>>,
    pub(crate) local_places: Arc<Places>,
    pub(crate) stream_places: Arc<Places>,
    /// Held by the one check of the store that is under way: it reads all of it.
    pub(crate) examining: tokio::sync::Mutex<()>,
    /// Held by whoever compares a team file and writes another in its place.
    pub(crate) writing_teams: Arc<std::sync::Mutex<()>>,
}

impl Daemon {
    pub(crate) fn end(&self, why: End) {
        self.asked.send_if_modified(|now| {
            let first = now.is_none();
            if first {
                *now = Some(why);
            }
            first
        });
    }

    pub(crate) fn family(&self) -> Family<'_> {
        let ours = [Some(std::process::id()), self.launcher_pid].into_iter().flatten().collect();
        Family { published: self.engine.published(), ours, service: self.service.clone() }
    }

    /// Whether a Host header names us: by an address of this machine, or by one that a person allowed.
    pub(crate) fn is_our_host(&self, host: &str) -> bool {
        self.hosts.iter().any(|ours| ours.eq_ignore_ascii_case(host))
            || self
                .engine
                .published()
                .http_allowed_origins()
                .iter()
                .any(|origin| origin.split_once("://").is_some_and(|(_, allowed)| allowed.eq_ignore_ascii_case(host)))
    }

    /// Whether a page of this origin is ours.
    pub(crate) fn is_our_origin(&self, origin: &str) -> bool {
        let local = origin.strip_prefix("http://");
        local.is_some_and(|host| self.hosts.iter().any(|ours| ours.eq_ignore_ascii_case(host)))
            || self.engine.published().http_allowed_origins().iter().any(|allowed| allowed == origin)
    }

    /// Reads `settings.jsonc` and tells the log; the number of settings that changed.
    pub(crate) async fn load_settings(&self) -> Result<u64, Rejection> {
        load_settings(&self.engine, &self.layout).await
    }

    pub(crate) async fn load_files(&self) -> Result<u64, Rejection> {
        load_files(&self.engine, &self.layout).await
    }
}

/// Agents get their own grace and this much more, before the server ends without waiting for them.
const STOP_PATIENCE: Duration = Duration::from_secs(8);

/// Beyond the longest grace the settings allow; the launcher waits a little longer still.
const STOP_LONGEST: Duration = Duration::from_secs(75);

/// Answers that are under way when the doors close.
const CLOSE_PATIENCE: Duration = Duration::from_millis(300);

/// A full disk says nothing when somebody makes room on it.
const LOOK_FOR_ROOM: Duration = Duration::from_secs(5);

/// Where the system does not tell us about a removed socket, we look this often.
const LOOK_AT_SOCKET: Duration = Duration::from_secs(1);

/// Descriptors for a few hundred agents, their clients and the store.
const DESCRIPTORS_WANTED: u64 = 16_384;

/// The whole life of a server process.
pub fn run(config: Config) -> SrvExit {
    let mut boot = Boot::default();
    process::raise_nofile_limit(DESCRIPTORS_WANTED);
    signals::ignore_file_size_signal();
    if let Err(error) = boot.fatal("directories", || config.layout.prepare()) {
        return fatal(&error);
    }
    let locks = match boot.fatal("lock", || take_locks(&config.layout)) {
        Ok(locks) => locks,
        Err(NotLocked::Held(by)) => {
            eprintln!("agentmux: another server holds this state directory: {by}");
            return SrvExit::Held;
        }
        Err(error @ NotLocked::Broken(_)) => return fatal(&error),
    };
    boot.degraded("logs", || logs::start(&config.layout.logs(), config.log.as_deref()));
    let notifier = boot.degraded("notify", || Notifier::from_env_value(config.notify_socket.as_deref()));
    let notifier = Arc::new(notifier.unwrap_or_default());
    let opened = match boot.fatal("store", || open_store(&config.layout, &notifier)) {
        Ok(opened) => opened,
        Err(error) => {
            if matches!(error, store::Error::Migration { .. }) {
                eprintln!("{}", Line::MigrationFailed { error: error.to_string() });
            }
            fatal(&error);
            return match error {
                store::Error::NewerSchema { .. } => SrvExit::NewerSchema,
                _ => SrvExit::Fatal,
            };
        }
    };
    let runtime = boot.fatal("runtime", || {
        // One: the writer and whatever blocks have threads of their own. With a second, each commit wakes both, and what
        // a client waits for goes from one to the other.
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("srv").enable_all().build()
    });
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fatal(&error),
    };
    let outcome = runtime.block_on(serve(config, locks, boot, opened, notifier));
    // Blocking work that does not end by itself must not keep the process.
    runtime.shutdown_timeout(Duration::from_millis(200));
    outcome.unwrap_or_else(|error| fatal(&error))
}

fn fatal(error: &dyn std::error::Error) -> SrvExit {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    tracing::error!(error = %text, "The server cannot start.");
    eprintln!("agentmux: the server cannot start: {text}");
    SrvExit::Fatal
}

/// Held for the life of the process.
struct Locks {
    state: Arc<Lock>,
    /// The lock people and scripts look at; the directory's is the one that cannot be deleted.
    _file: Lock,
}

#[derive(Debug, thiserror::Error)]
enum NotLocked {
    #[error("it is held by {0}")]
    Held(String),
    #[error(transparent)]
    Broken(#[from] amux_sys::lock::Error),
}

fn take_locks(layout: &Layout) -> Result<Locks, NotLocked> {
    let held = || {
        let pid =
            amux_sys::lock::holder(&layout.srv_lock()).map_or("another process".into(), |pid| format!("pid {pid}"));
        NotLocked::Held(pid)
    };
    let state = Lock::try_acquire_dir(&layout.state_dir)?.ok_or_else(held)?;
    let file = Lock::try_acquire(&layout.srv_lock())?.ok_or_else(held)?;
    Ok(Locks { state: Arc::new(state), _file: file })
}

fn open_store(layout: &Layout, notifier: &Notifier) -> Result<store::Opened, store::Error> {
    let migrating = |migrations| {
        eprintln!("{}", Line::Migrating { migrations });
        // The launcher waits longer for a server that says what it is doing.
        let _ = notifier.send(&[("STATUS", "migrating the store"), ("EXTEND_TIMEOUT_USEC", "600000000")]);
    };
    let upcasters = Upcasters::current();
    Store::open(
        &layout.db(),
        &Options {
            migrations: MIGRATIONS,
            upcasters: &upcasters,
            on_migrating: &migrating,
            backups: layout.archive(),
            now_ms: clock::now_ms(),
        },
    )
}

async fn serve(
    config: Config,
    locks: Locks,
    mut boot: Boot,
    opened: store::Opened,
    notifier: Arc<Notifier>,
) -> io::Result<SrvExit> {
    let started = Time(clock::now_ms());
    let mut at = Instant::now();
    let mut stage = |boot: &mut Boot, name: &str, policy, error: Option<String>| {
        boot.note(name, std::mem::replace(&mut at, Instant::now()), policy, error);
    };
    let is_service = config.notify_socket.is_some() && config.launcher_pid.is_none();
    let service = if is_service { cgroup::of(std::process::id()) } else { None };
    let (keys, opened_keys) = Keys::open(config.auth_key, config.layout.credentials());
    let keys = Arc::new(keys);
    stage(&mut boot, "credentials", BootPolicy::Degraded, opened_keys.err().map(|error| error.to_string()));
    let mut writer = Writer::new(opened);
    if let Some((boundary, times)) = config.failpoint {
        writer = writer.observed(die_at(boundary, times));
    }
    let writing = amux_engine::spawn(writer)?;
    let engine = writing.handle;
    stage(&mut boot, "writer", BootPolicy::Fatal, None);

    let booted = note_boot(&engine).await;
    let is_noted = booted.is_ok();
    stage(&mut boot, "host", BootPolicy::Degraded, booted.err().map(|error| error.message));
    let loaded = load_settings(&engine, &config.layout).await;
    stage(&mut boot, "settings", BootPolicy::Degraded, loaded.err().map(|error| error.message));

    let loaded = load_files(&engine, &config.layout).await;
    stage(&mut boot, "kinds and rules", BootPolicy::Degraded, loaded.err().map(|error| error.message));

    let (listener, web_url, hosts) = match open_http(engine.published().http_port(), &config.layout.port()).await {
        Ok((listener, port, elsewhere)) => {
            stage(&mut boot, "http", BootPolicy::Degraded, elsewhere);
            let hosts = ["127.0.0.1", "localhost", "[::1]"].map(|host| format!("{host}:{port}")).to_vec();
            (Some(listener), format!("http://127.0.0.1:{port}"), hosts)
        }
        Err(error) => {
            stage(&mut boot, "http", BootPolicy::Degraded, Some(error.to_string()));
            (None, String::new(), Vec::new())
        }
    };
    let token_keys = Arc::clone(&keys);
    let runner = Runner::start(World {
        engine: engine.clone(),
        tapes: config.layout.tapes(),
        notifier: Arc::clone(&notifier),
        kept: config.kept,
        leases: leases(&config.base_env, &config.layout.state_dir),
        worktrees: config.layout.worktrees(),
        attachments: config.layout.attachments(),
        exe: std::env::current_exe().unwrap_or_else(|_| "agentmux".into()),
        profile: config.profile.clone(),
        base_env: config.base_env.clone(),
        shell: config.shell,
        token: Arc::new(move |agent, run| token_keys.new_token(agent, run)),
        socket: config.layout.srv_socket(),
        local_url: web_url.clone(),
    })
    .await;
    stage(&mut boot, "runner", BootPolicy::Fatal, None);

    let (local_listener, guard) = socket::bind_stream(&config.layout.srv_socket())?;
    stage(&mut boot, "local socket", BootPolicy::Fatal, None);
    let ws_url = web_url.replacen("http", "ws", 1) + if web_url.is_empty() { "" } else { "/v1/stream" };
    let endpoint = Endpoint {
        pid: std::process::id(),
        launcher_pid: config.launcher_pid,
        epoch: engine.published().epoch(),
        version: env!("CARGO_PKG_VERSION").into(),
        socket: config.layout.srv_socket().display().to_string(),
        web_url: web_url.clone(),
        ws_url: ws_url.clone(),
    };
    let written = serde_json::to_vec_pretty(&endpoint)
        .map_err(io::Error::other)
        .and_then(|text| disk::write_atomic(&config.layout.endpoint(), &text, 0o600));
    stage(&mut boot, "endpoint file", BootPolicy::Degraded, written.err().map(|error| error.to_string()));

    let place = blake3::hash(config.layout.state_dir.as_os_str().as_encoded_bytes()).to_hex();
    let daemon = Arc::new(Daemon {
        cookie: format!("agentmux_session_{}", &place[..12]),
        attachments: Attachments::new(config.layout.attachments()),
        layout: config.layout,
        profile: config.profile,
        launcher_pid: config.launcher_pid,
        service,
        started,
        engine: engine.clone(),
        runner,
        keys,
        web_url: web_url.clone(),
        hosts,
        boot: boot.finish(),
        board: Board::default(),
        counters: Counters::default(),
        tasks: Arc::default(),
        asked: watch::Sender::new(None),
        ending: watch::Sender::new(None),
        local_places: local::places(),
        stream_places: http::places(),
        examining: tokio::sync::Mutex::default(),
        writing_teams: Arc::default(),
    });
    let tasks = &daemon.tasks;
    tasks.spawn("local door", keep_local_door(Arc::clone(&daemon), local_listener, guard, Arc::clone(&locks.state)));
    if let Some(listener) = listener {
        tasks.spawn("http door", http::serve(Arc::clone(&daemon), listener));
    }
    tasks.spawn("keeping", keeping::keep(Arc::clone(&daemon)));
    tasks.spawn("board", board::keep(Arc::clone(&daemon)));
    tasks.spawn("notices", notice::keep(Arc::clone(&daemon), config.base_env));
    tasks.spawn("room", wait_for_room(Arc::clone(&daemon), is_noted));
    tasks.spawn("signals", follow_signals(Arc::clone(&daemon)));
    if let Some(lifeline) = config.lifeline {
        tasks.spawn("life-line", follow_lifeline(Arc::clone(&daemon), lifeline, Arc::clone(&notifier)));
    }
    if let Some(pid) = config.launcher_pid {
        tasks.spawn("parent watch", follow_parent(Arc::clone(&daemon), pid));
    }
    if let Some(every) = config.watchdog {
        tasks.spawn("watchdog", feed_watchdog(Arc::clone(&daemon), Arc::clone(&notifier), every));
    }
    let ready = Ready {
        ws: ws_url,
        web: web_url,
        version: env!("CARGO_PKG_VERSION").into(),
        buildtime: option_env!("AGENTMUX_BUILD_TIME").unwrap_or("unknown").into(),
        instance: config.instance,
    };
    eprintln!("{}", Line::Ready(ready));
    let pid = std::process::id().to_string();
    let _ = notifier.send(&[("READY", "1"), ("STATUS", "serving"), ("MAINPID", &pid)]);
    tracing::info!(pid = std::process::id(), "The server serves.");

    let why = wait_for(&daemon.asked).await;
    tracing::info!(reason = why.reason(), "The server ends.");
    let goal = if why == End::Restart { "restart" } else { "end" };
    let _ = notifier.send(&[("STOPPING", "1"), ("STATUS", why.reason()), (GOAL_KEY, goal)]);
    match why {
        End::Restart => daemon.runner.detach(),
        End::Stop | End::Signal | End::LauncherGone | End::StateGone => stop_agents(&daemon, &notifier).await,
    }
    daemon.ending.send_replace(Some(why));
    let closing = Instant::now();
    while daemon.counters.connections() > 0 && closing.elapsed() < CLOSE_PATIENCE {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let _ = std::fs::remove_file(daemon.layout.endpoint());
    engine.end().await;
    // It ends when it has committed what it took in; joining proves it.
    let _ = tokio::task::spawn_blocking(move || writing.thread.join()).await;
    // Not before: another server must not open a store that this one still writes.
    drop(locks);
    Ok(match why {
        End::Restart => SrvExit::Restart,
        End::Stop | End::Signal | End::LauncherGone | End::StateGone => SrvExit::Clean,
    })
}

async fn wait_for(asked: &watch::Sender<Option<End>>) -> End {
    let mut asked = asked.subscribe();
    // The sender lives in the daemon, which outlives this.
    asked.wait_for(Option::is_some).await.ok().and_then(|end| *end).unwrap_or(End::Signal)
}

/// Every live run is asked to end, also one that begins meanwhile, for a reason the log keeps, and is waited for as
/// long as it was given.
async fn stop_agents(daemon: &Daemon, notifier: &Notifier) {
    let published = daemon.engine.published();
    let mut head = published.watch_head();
    let mut asked = BTreeSet::new();
    let last = Instant::now() + STOP_LONGEST;
    let mut until = Instant::now();
    loop {
        head.borrow_and_update();
        let fresh: Vec<_> = published
            .live_runs()
            .iter()
            .map(|(agent, run, _)| (*agent, *run))
            .filter(|run| asked.insert(*run))
            .collect();
        for (agent, _) in &fresh {
            let reason = Some("the server was stopped".to_owned());
            let stop = agent::Command::Stop(agent::Stop { agent: agent.to_string(), grace_ms: None, reason });
            let submission = session::submission(Command::Agent(stop), Principal::System, None, None);
            match daemon.engine.submit(submission).await {
                Ok(_) => {}
                Err(refusal) if refusal.code == Code::ReadOnly => return stop_unheard(daemon, notifier).await,
                Err(refusal) => tracing::warn!(%agent, %refusal, "An agent could not be asked to stop."),
            }
        }
        let live = published.live_runs();
        if live.is_empty() {
            return;
        }
        if !fresh.is_empty() {
            until = last.min(until.max(Instant::now() + longest_grace(&live) + STOP_PATIENCE));
            ask_for_time(notifier, until.saturating_duration_since(Instant::now()));
        }
        if tokio::time::timeout_at(until.into(), head.changed()).await.is_err() {
            tracing::error!(left = live.len(), "Some agents did not end in time.");
            return;
        }
    }
}

/// The log takes no wish, so the agents are ended without one; how they ended is found at the next start.
async fn stop_unheard(daemon: &Daemon, notifier: &Notifier) {
    let grace = Duration::from_millis(daemon.engine.published().stop_grace_ms());
    ask_for_time(notifier, grace + STOP_PATIENCE);
    if tokio::time::timeout(grace + STOP_PATIENCE, daemon.runner.stop_all(grace)).await.is_err() {
        tracing::error!("Some agents did not end in time.");
    }
}

fn longest_grace(live: &[(AgentId, RunNo, RunState)]) -> Duration {
    let graces = live.iter().map(|(.., state)| match state {
        RunState::Stopping { grace_ms, .. } => *grace_ms,
        _ => 0,
    });
    Duration::from_millis(graces.max().unwrap_or(0))
}

/// Whoever keeps us would otherwise end us at a time of their own.
fn ask_for_time(notifier: &Notifier, wanted: Duration) {
    let usec = (wanted + CLOSE_PATIENCE + STOP_PATIENCE).as_micros().to_string();
    let _ = notifier.send(&[("EXTEND_TIMEOUT_USEC", &usec)]);
}

async fn note_boot(engine: &Handle) -> Result<(), Rejection> {
    let boot = host::Boot {
        hostname: process::hostname(),
        boot_id: process::boot_id(),
        version: env!("CARGO_PKG_VERSION").into(),
    };
    let command = Command::Host(host::Command::Boot(boot));
    engine.submit(session::submission(command, Principal::System, None, None)).await.map(|_| ())
}

async fn load_settings(engine: &Handle, layout: &Layout) -> Result<u64, Rejection> {
    let values = settings::read(&layout.settings())
        .map_err(|error| Rejection::new(Code::BadArgs, error.to_string()).hint("agentmux config check"))?;
    let before = engine.published().read(|_, head| head);
    let command = Command::Setting(setting::Command::Load(setting::Load { values }));
    let committed = engine.submit(session::submission(command, Principal::System, None, None)).await?;
    Ok(committed.seq.0.saturating_sub(before.0))
}

/// Kinds of agents and rules. A file that cannot be used leaves what was known before.
async fn load_files(engine: &Handle, layout: &Layout) -> Result<u64, Rejection> {
    let before = engine.published().read(|_, head| head);
    let (kinds, policy) = (files::kinds(&layout.kinds()), files::policy(&layout.policy()));
    let mut after = before;
    let mut first_error = None;
    let commands = [
        kinds.map(|kinds| Command::Kind(kind::Command::Load(kind::Load { kinds }))),
        policy.map(|files::Policy { rules, may }| Command::Policy(policy::Command::Load(policy::Load { rules, may }))),
    ];
    for command in commands {
        let loaded = match command {
            Ok(command) => engine.submit(session::submission(command, Principal::System, None, None)).await,
            Err(refusal) => Err(refusal),
        };
        match loaded {
            Ok(committed) => after = after.max(committed.seq),
            Err(refusal) => first_error = first_error.or(Some(refusal)),
        }
    }
    match first_error {
        Some(refusal) => Err(refusal),
        None => Ok(after.0.saturating_sub(before.0)),
    }
}

/// Leases are of a user on a machine, whatever profile: in the default place for state, wherever ours is.
fn leases(base_env: &[(OsString, OsString)], state_dir: &Path) -> PathBuf {
    let find = |name: &str| base_env.iter().find(|(known, value)| known == name && !value.is_empty());
    let state = find("XDG_STATE_HOME").map(|(_, dir)| PathBuf::from(dir));
    let home = || find("HOME").map(|(_, home)| PathBuf::from(home).join(".local/state"));
    state.or_else(home).map_or_else(|| state_dir.join("leases"), |dir| dir.join("agentmux/leases"))
}

/// On the port that is wanted, or on the one of the server before, to which open pages come back; else on one that is
/// free. And why it is not the one that is wanted.
async fn open_http(wanted: u16, remembered: &Path) -> io::Result<(TcpListener, u16, Option<String>)> {
    let before = || std::fs::read_to_string(remembered).ok()?.trim().parse::<u16>().ok();
    let first = if wanted == 0 { before().unwrap_or(0) } else { wanted };
    let (listener, elsewhere) = match TcpListener::bind(("127.0.0.1", first)).await {
        Ok(listener) => (listener, None),
        Err(error) if first != 0 => {
            let which = if wanted == 0 { "the port of before" } else { "http.port" };
            (TcpListener::bind(("127.0.0.1", 0)).await?, Some(format!("{which}, {first}, cannot be had: {error}")))
        }
        Err(error) => return Err(error),
    };
    let port = listener.local_addr()?.port();
    if before() != Some(port)
        && let Err(error) = disk::write_atomic(remembered, format!("{port}\n").as_bytes(), 0o600)
    {
        tracing::warn!(port, %error, "The port cannot be noted; open pages will not find the next server.");
    }
    Ok((listener, port, elsewhere))
}

/// Accepts on the local socket, and puts it back when somebody removes it.
async fn keep_local_door(
    daemon: Arc<Daemon>,
    listener: std::os::unix::net::UnixListener,
    guard: SocketGuard,
    state: Arc<Lock>,
) {
    let path = daemon.layout.srv_socket();
    let watched = disk::watch_dir(daemon.layout.socket_dir());
    let mut watched = watched.and_then(|fd| polled::readable(fd).ok());
    let mut ending = daemon.ending.subscribe();
    let mut open = Some((listener, guard));
    let mut accepting: Option<(tokio::task::JoinHandle<()>, SocketGuard)> = None;
    loop {
        if let Some((listener, guard)) = open.take() {
            let listening = listener.set_nonblocking(true).and_then(|()| UnixListener::from_std(listener));
            match listening {
                Ok(listener) => {
                    let task = daemon.tasks.spawn("local listener", local::accept(Arc::clone(&daemon), listener));
                    if let Some((old, _)) = accepting.replace((task, guard)) {
                        old.abort();
                    }
                }
                Err(error) => tracing::error!(%error, "The local socket cannot be listened on."),
            }
        }
        tokio::select! {
            _ = ending.wait_for(Option::is_some) => {
                if let Some((task, _)) = accepting { task.abort() }
                return;
            }
            () = something_moved(watched.as_mut()) => {}
        }
        if !state.still_ours() {
            daemon.end(End::StateGone);
        } else if !accepting.as_ref().is_some_and(|(_, guard)| guard.still_bound()) {
            tracing::warn!(path = %path.display(), "The local socket was removed; it is put back.");
            let again = daemon.layout.prepare().map_err(io::Error::other).and_then(|()| socket::bind_stream(&path));
            match again {
                Ok(bound) => {
                    open = Some(bound);
                    // The directory may be a new one.
                    let fresh = disk::watch_dir(daemon.layout.socket_dir());
                    watched = fresh.and_then(|fd| polled::readable(fd).ok());
                }
                Err(error) => {
                    tracing::error!(%error, "The local socket cannot be put back.");
                    tokio::time::sleep(LOOK_AT_SOCKET).await;
                }
            }
        }
    }
}

async fn something_moved(watched: Option<&mut AsyncFd<OwnedFd>>) {
    match watched {
        Some(fd) => {
            if let Ok(mut ready) = fd.readable().await {
                disk::drain(ready.get_inner().as_fd());
                ready.clear_ready();
            }
        }
        None => tokio::time::sleep(LOOK_AT_SOCKET).await,
    }
}

/// While the store takes no writes, looks whether there is room again; what could not be told to the log is told then.
async fn wait_for_room(daemon: Arc<Daemon>, mut is_noted: bool) {
    let mut mode = daemon.engine.published().watch_mode();
    while mode.wait_for(|mode| *mode == Mode::ReadOnly).await.is_ok() {
        tracing::error!("The disk is full: the server reads only.");
        while daemon.engine.published().mode() == Mode::ReadOnly && !daemon.engine.probe().await {
            tokio::time::sleep(LOOK_FOR_ROOM).await;
        }
        tracing::warn!("The disk has room again.");
        is_noted = is_noted || note_boot(&daemon.engine).await.is_ok();
        for loaded in [daemon.load_settings().await, daemon.load_files().await] {
            if let Err(refusal) = loaded {
                tracing::warn!(%refusal, "What the files say could not be told to the log.");
            }
        }
    }
}

async fn follow_signals(daemon: Arc<Daemon>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::error!("Signals cannot be followed.");
        return;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    daemon.end(End::Signal);
}

/// What the launcher tells us on the life-line.
#[derive(Deserialize)]
struct Told {
    exited: Option<OrphanExited>,
}

#[derive(Deserialize)]
struct OrphanExited {
    pid: u32,
    start_ticks: u64,
    code: Option<i32>,
    signal: Option<i32>,
}

/// The launcher says little; a line longer than this is not from it.
const TOLD_BYTES_MAX: u64 = 64 * 1024;

async fn follow_lifeline(daemon: Arc<Daemon>, lifeline: OwnedFd, notifier: Arc<Notifier>) {
    use tokio::io::AsyncReadExt as _;
    let stream = std::os::unix::net::UnixStream::from(lifeline);
    let pipe = stream.set_nonblocking(true).and_then(|()| polled::Reader::new(stream.into()));
    let Ok(pipe) = pipe else {
        tracing::error!("The life-line cannot be watched.");
        return;
    };
    let mut reader = BufReader::new(pipe);
    loop {
        let mut line = String::new();
        match (&mut reader).take(TOLD_BYTES_MAX).read_line(&mut line).await {
            Ok(0) | Err(_) => return daemon.end(End::LauncherGone),
            Ok(_) => {}
        }
        if let Ok(Told { exited: Some(OrphanExited { pid, start_ticks, code, signal }) }) = serde_json::from_str(&line)
        {
            daemon.runner.orphan_exited(OrphanExit { pid, start_ticks, code, signal });
            let _ = notifier.send(&[(REAPED_KEY, &format!("{pid}:{start_ticks}"))]);
        }
    }
}

async fn follow_parent(daemon: Arc<Daemon>, pid: u32) {
    let watched = parent::watch(pid).and_then(polled::readable);
    match watched {
        Ok(fd) => {
            let _ = fd.readable().await;
            daemon.end(End::LauncherGone);
        }
        Err(error) => tracing::error!(%error, "The launcher cannot be watched."),
    }
}

/// Says that we live only when the writer does.
async fn feed_watchdog(daemon: Arc<Daemon>, notifier: Arc<Notifier>, limit: Duration) {
    loop {
        tokio::time::sleep(limit / 3).await;
        if daemon.engine.ping().await {
            let _ = notifier.send(&[("WATCHDOG", "1")]);
        }
    }
}

fn die_at(boundary: Boundary, times: u64) -> Box<dyn FnMut(Boundary) + Send> {
    let reached = AtomicU64::new(0);
    Box::new(move |at| {
        if at == boundary && reached.fetch_add(1, Ordering::Relaxed) + 1 == times {
            signals::kill_self();
        }
    })
}

impl Config {
    /// From what a launcher, or a service manager, puts into the environment. To be called before any thread starts.
    pub fn from_env(layout: Layout, profile: String) -> Self {
        let auth_key = amux_sys::secret::take_env(env::AUTH_KEY);
        let text = |name: &str| std::env::var(name).ok();
        let kept = amux_sys::notify::listen_fds(
            text(env::LISTEN_FDS).as_deref(),
            text(env::LISTEN_FDNAMES).as_deref(),
            text(env::LISTEN_PID).as_deref(),
        );
        let watchdog = text(env::WATCHDOG_USEC).and_then(|usec| usec.parse().ok()).map(Duration::from_micros);
        let stdin = std::io::stdin();
        let lifeline = socket::has_other_end(stdin.as_fd()).then(|| stdin.as_fd().try_clone_to_owned().ok()).flatten();
        let managed = text(env::NOTIFY_SOCKET).is_some() && auth_key.is_some();
        let ours = |name: &OsStr| name.to_str().is_some_and(env::is_ours);
        let shell = std::env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| "/bin/sh".into());
        Self {
            layout,
            profile,
            instance: text(env::INSTANCE_ID).unwrap_or_else(|| format!("v{}", env!("CARGO_PKG_VERSION"))),
            notify_socket: std::env::var_os(env::NOTIFY_SOCKET),
            kept,
            watchdog,
            lifeline,
            launcher_pid: managed.then(process::parent_pid).flatten(),
            auth_key,
            log: text(env::LOG).filter(|filter| !filter.is_empty()),
            base_env: std::env::vars_os().filter(|(name, _)| !ours(name)).collect(),
            shell: shell.into(),
            failpoint: failpoint(text("AGENTMUX_FAILPOINT").as_deref()),
        }
    }
}

/// `committed:17`: die the seventeenth time a commit is done. Not in a release.
fn failpoint(text: Option<&str>) -> Option<(Boundary, u64)> {
    if !cfg!(debug_assertions) {
        return None;
    }
    let (name, times) = text?.split_once(':')?;
    let boundary = match name {
        "received" => Boundary::Received,
        "decided" => Boundary::Decided,
        "committed" => Boundary::Committed,
        "published" => Boundary::Published,
        "answered" => Boundary::Answered,
        _ => return None,
    };
    Some((boundary, times.parse().ok()?))
}
