//! The task of one live agent: it owns the process, the streams and all that is known of one run at a time, and
//! nobody else touches them. Generations fence everything: what belongs to an older run is finished before the next
//! one begins.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use amux_agents::part::{self, Part};
use amux_agents::{Begin, How, Order};
use amux_proto::command::run::Fact;
use amux_proto::entity::{Activity, Dialect, Exit, ExitWhy, Kind, Message, Phase, Priority, Process, Size};
use amux_proto::view::{Look, SlashCommand};
use amux_proto::{AgentId, Code, Effect, MessageId, Rejection, RequestId, RunNo, effect};
use amux_sys::cgroup::Leaf;
use amux_sys::pour::Channel;
use amux_sys::process::ProcessId;
use amux_sys::spawn::{self, Child};
use amux_sys::{clock, stop};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::book::{Book, Past, Untaken};
use crate::display::View;
use crate::frames::Place;
use crate::front::Watch;
use crate::kept::{self, Kept, Role};
use crate::launch::{self, Launch, Leads};
use crate::lines::{Lines, Pipes, now, until};
use crate::pane::Pane;
use crate::report::Carried;
use crate::terminal::Terminal;
use crate::{Shared, envelope, lease, polled, report, tape};

/// A question to a live agent.
pub enum Ask {
    Look {
        lines: Option<u32>,
        ansi: bool,
        reply: oneshot::Sender<Result<Look, Rejection>>,
    },
    Keys {
        keys: Vec<String>,
        reply: oneshot::Sender<Result<(), Rejection>>,
    },
    /// From a viewer of the terminal, as it comes; taken or refused at once.
    Type {
        viewer: u64,
        bytes: Vec<u8>,
        reply: oneshot::Sender<Result<(), Rejection>>,
    },
    Resize {
        viewer: Option<u64>,
        size: Size,
        reply: oneshot::Sender<Result<(), Rejection>>,
    },
    /// With a size from who says how large it is, until somebody else does.
    View {
        size: Option<Size>,
        reply: oneshot::Sender<Result<View, Rejection>>,
    },
    /// The screen as it is now, for somebody who views it already.
    ViewAgain {
        viewer: u64,
        reply: oneshot::Sender<Result<View, Rejection>>,
    },
    Order {
        order: Order,
        reply: oneshot::Sender<Result<(), Rejection>>,
    },
    /// What its CLI takes as `/name`.
    Commands {
        reply: oneshot::Sender<Vec<SlashCommand>>,
    },
    /// Where what crossed its pipes ends; `None` where that is no lines.
    Place {
        reply: oneshot::Sender<Option<Place>>,
    },
}

/// Output that is still in the pipes when the process has ended. The bound keeps a background child that holds them
/// open from holding us.
const DRAIN_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long the launcher may take to tell us how an adopted process ended.
const ORPHAN_STATUS_TIMEOUT: Duration = Duration::from_secs(2);

/// What a run leaves behind when it ends by itself gets this long to end too.
const LEFTOVER_GRACE: Duration = Duration::from_millis(300);

/// Inputs that were written to an agent and that the log does not know to be yet. More of them only make it harder to
/// say what became of each when the agent ends.
const GIVEN_MAX: usize = 64;

/// How long what could not be written down waits before it is tried again.
const NOT_NOTED_PAUSE: Duration = Duration::from_secs(1);

/// After a failed start the next one waits, longer each time.
const START_RETRY_FIRST_MS: i64 = 1_000;
const START_RETRY_MAX_MS: i64 = 60_000;

/// Follows one agent's wishes until none is open and nothing lives.
pub(crate) async fn task(
    shared: Arc<Shared>,
    agent: AgentId,
    kept: Option<(RunNo, Kept)>,
    mut asks: mpsc::Receiver<Ask>,
) {
    let mut live = match kept {
        Some((run, kept)) => adopt(&shared, agent, run, kept).await,
        None => None,
    };
    let mut moved = shared.world.engine.published().watch_agent(agent);
    let mut detach = shared.detach.subscribe();
    loop {
        moved.borrow_and_update();
        let wishes = Wishes::of(&shared, agent);
        live = match (live, wishes.stop, wishes.start) {
            (Some(run), Some((no, grace_ms)), _) if no == run.no => {
                run.stop(Duration::from_millis(grace_ms)).await;
                None
            }
            (None, Some((no, _)), _) => {
                // The stop overtook the start, or the process ended while nobody looked.
                report::end_leftovers(&shared, agent, no).await;
                let exit = Exit { code: None, signal: None, why: ExitWhy::Stopped, survivors: Vec::new() };
                report::exited(&shared, agent, no, exit).await;
                None
            }
            (None, None, Some(start)) => {
                if let Some(wait) = start.wait() {
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        _ = moved.changed() => {}
                        _ = detach.changed() => return,
                    }
                    None
                } else {
                    begin(&shared, agent, &start).await
                }
            }
            (None, None, None) => return,
            (Some(mut run), _, _) => {
                run.attend(&wishes.answers);
                let ended = loop {
                    tokio::select! {
                        _ = moved.changed() => break None,
                        _ = detach.changed() => return run.let_go(),
                        Some(ask) = asks.recv() => run.reply(ask).await,
                        ended = run.step() => if ended.is_some() { break ended },
                    }
                    if run.has_room() {
                        break None;
                    }
                };
                match ended {
                    None => Some(run),
                    Some(Ended) => {
                        run.finish(ExitWhy::Itself, Vec::new()).await;
                        None
                    }
                }
            }
        };
    }
}

struct Start {
    run: RunNo,
    key: effect::Key,
    attempts: u32,
    not_before_ms: i64,
}

impl Start {
    fn wait(&self) -> Option<Duration> {
        u64::try_from(self.not_before_ms - clock::now_ms()).ok().filter(|ms| *ms > 0).map(Duration::from_millis)
    }
}

/// What is open for one agent.
#[derive(Default)]
struct Wishes {
    stop: Option<(RunNo, u64)>,
    start: Option<Start>,
    /// Oldest first.
    answers: Vec<RequestId>,
}

impl Wishes {
    fn of(shared: &Shared, of: AgentId) -> Self {
        let mut wishes = Self::default();
        for wish in shared.world.engine.published().wishes_of(of) {
            match wish.effect {
                Effect::EnsureStopped { run, grace_ms, .. } => wishes.stop = Some((run, grace_ms)),
                Effect::EnsureRunning { run, .. } => {
                    let (key, attempts, not_before_ms) = (wish.effect.key(), wish.attempts, wish.not_before_ms);
                    wishes.start = Some(Start { run, key, attempts, not_before_ms });
                }
                // What of its mail is given when is not said by the wishes alone.
                Effect::Deliver { .. } => {}
                Effect::Answer { request } => wishes.answers.push(request),
            }
        }
        wishes
    }
}

/// The process of a run ended by itself.
struct Ended;

struct Live {
    shared: Arc<Shared>,
    agent: AgentId,
    label: String,
    no: RunNo,
    process: ProcessId,
    /// `None` for a process an earlier server started: the launcher reaps it.
    child: Option<Child>,
    pidfd: Option<AsyncFd<OwnedFd>>,
    leaf: Option<Leaf>,
    name: String,
    body: Body,
    /// On its way to the log; the next report waits for it.
    reporting: Option<BoxFuture<'static, bool>>,
    /// The log has taken every report so far.
    is_heard: bool,
    /// A limit was reached; the wish to stop is on its way to the log.
    stopping: Option<BoxFuture<'static, ()>>,
    leases: Vec<String>,
    limits: Limits,
    /// Something is due that its body does not take yet, in this way.
    more: Option<How>,
    /// Names of the parts of inputs that were given, so that they are not given again before the log knows; of a terminal
    /// all of its run.
    given: HashSet<String>,
    answered: HashSet<RequestId>,
    /// When something is over that mail waits for.
    look_at: Option<Instant>,
    /// That time has come.
    is_due: bool,
}

enum Body {
    Terminal(Box<Terminal>),
    Lines(Box<Lines>),
    Pane(Box<Pane>),
}

/// Off unless the settings say otherwise; a limit that is reached stops the agent and says so.
struct Limits {
    runtime_at: Option<Instant>,
    silence: Option<Duration>,
    /// How much was printed when it was last looked at, and when to look again.
    printed: u64,
    silence_at: Option<Instant>,
}

impl Limits {
    fn new(max_runtime_ms: u64, idle_output_ms: u64, running_for: Duration) -> Self {
        let some = |ms: u64| (ms > 0).then(|| Duration::from_millis(ms));
        let silence = some(idle_output_ms);
        Self {
            runtime_at: some(max_runtime_ms).map(|max| Instant::now() + max.saturating_sub(running_for)),
            silence,
            printed: 0,
            silence_at: silence.map(|silence| Instant::now() + silence),
        }
    }

    async fn reached(&self) {
        match (self.runtime_at, self.silence_at) {
            (Some(a), Some(b)) => tokio::time::sleep_until(a.min(b)).await,
            (Some(at), None) | (None, Some(at)) => tokio::time::sleep_until(at).await,
            (None, None) => std::future::pending().await,
        }
    }
}

async fn begin(shared: &Arc<Shared>, agent: AgentId, start: &Start) -> Option<Live> {
    let published = shared.world.engine.published();
    let plan = published.plan(agent)?;
    let known = published.activity(agent, start.run).unwrap_or_default();
    let attempt = {
        let (shared, plan, run) = (Arc::clone(shared), plan.clone(), start.run);
        // Worktrees and leases touch the disk.
        tokio::task::spawn_blocking(move || start_run(&shared, agent, run, &plan)).await
    };
    let attempt = attempt.unwrap_or_else(|error| Err(launch::Error::Watch(io::Error::other(error))));
    let started = match attempt {
        Ok(started) => enliven(shared, agent, start.run, &plan, started, known.clone()).await,
        Err(error) => Err(error),
    };
    match started {
        Ok((mut live, order)) => {
            let process = Process { pid: live.process.pid, start_ticks: live.process.start_ticks };
            shared.set_run(agent, Some(start.run));
            tracing::info!(agent = %live.label, run = %live.no, pid = process.pid, "A run begins.");
            // Nobody may take it for one that is open in between.
            if let Body::Lines(lines) = &mut live.body
                && let Some((activity, facts)) = lines.report()
            {
                report::seen(Arc::clone(shared), agent, start.run, activity, facts).await;
            }
            report::started(shared, agent, start.run, process).await;
            if let (Body::Lines(lines), Some(order)) = (&mut live.body, order) {
                let _ = lines.order(&order);
            }
            live.tell();
            Some(live)
        }
        Err(error) if error.is_final() => {
            tracing::warn!(agent = %plan.label, run = %start.run, %error, "An agent cannot be started.");
            report::failed(shared, agent, start.run, error.to_string()).await;
            None
        }
        Err(error) => {
            // A shortage of the machine passes; the wish stays open, and why it waits is seen.
            tracing::warn!(agent = %plan.label, run = %start.run, %error, "An agent could not be started; it is tried again.");
            let seen = known.seen + 1;
            let waits = Activity { seen, phase: Phase::Opening, evidence: error.to_string(), since: now(), ..known };
            report::seen(Arc::clone(shared), agent, start.run, waits, Vec::new()).await;
            let pause = (START_RETRY_FIRST_MS << start.attempts.min(10)).min(START_RETRY_MAX_MS);
            shared.world.engine.attempted(start.key, clock::now_ms() + pause).await;
            None
        }
    }
}

/// A process with nobody yet to listen to it.
struct Started {
    child: Child,
    launch: Launch,
    channel: Channel,
    leaf: Option<Leaf>,
    leases: Vec<String>,
    name: String,
}

fn start_run(
    shared: &Shared,
    agent: AgentId,
    run: RunNo,
    plan: &amux_engine::ask::Plan,
) -> Result<Started, launch::Error> {
    let dialect = plan.kind.as_ref().map_or(Dialect::Pty, |kind| kind.dialect);
    launch::admit(dialect)?;
    // Before the first shared write: neither a worktree nor a process of somebody else's conversation.
    let leases = claim_all(shared, agent, run, plan, own_process())?;
    let given_up = |error: launch::Error| {
        leases.iter().for_each(|what| release(shared, agent, what));
        error
    };
    let launch = launch::plan(shared, agent, run, plan).map_err(given_up)?;
    let dir = tape::dir(&shared.world.tapes, agent, run);
    launch::record(&dir, &launch).map_err(launch::Error::Tape).map_err(given_up)?;
    let channel = Channel::new().map_err(launch::Error::Watch).map_err(given_up)?;
    let leaf = Leaf::create(&leaf_name(agent, run));
    let spawned = match &leaf {
        Some(leaf) => spawn::spawn_in(&launch.spec, leaf),
        None => spawn::spawn(&launch.spec),
    };
    let child = match spawned {
        Ok(child) => child,
        Err(error) => {
            leaf.map(|leaf| leaf.remove());
            return Err(given_up(launch::explain(error, &launch.kind)));
        }
    };
    // The process itself holds them from here on: they end with it and not with this server.
    if let Err(error) = claim_all(shared, agent, run, plan, child.id) {
        tracing::warn!(%agent, %error, "A lease could not be handed to the process.");
    }
    let roles = roles(&child, &channel);
    let name = kept::name(agent, run, &child.id, &roles);
    if let Err(error) = shared.world.notifier.store_fds(&name, &kept::fds(&roles)) {
        tracing::warn!(%agent, %run, %error, "Streams could not be given to the launcher; a restart would lose them.");
    }
    drop(roles);
    Ok(Started { child, launch, channel, leaf, leases, name })
}

fn roles<'a>(child: &'a Child, channel: &'a Channel) -> Vec<(Role, BorrowedFd<'a>)> {
    let fds = [
        (Role::Terminal, child.pty.as_ref()),
        (Role::ChannelOut, Some(&channel.out)),
        (Role::ChannelInto, Some(&channel.into)),
        (Role::Stdin, child.stdin.as_ref()),
        (Role::Stdout, child.stdout.as_ref()),
        (Role::Stderr, child.stderr.as_ref()),
        (Role::Pidfd, child.pidfd.as_ref()),
    ];
    fds.into_iter().filter_map(|(role, fd)| Some((role, fd?.as_fd()))).collect()
}

fn leaf_name(agent: AgentId, run: RunNo) -> String {
    format!("agentmux-{}-{run}", agent.0.simple())
}

fn own_process() -> ProcessId {
    let pid = std::process::id();
    amux_sys::process::identity(pid).unwrap_or(ProcessId { pid, start_ticks: 0 })
}

fn claim_all(
    shared: &Shared,
    agent: AgentId,
    run: RunNo,
    plan: &amux_engine::ask::Plan,
    process: ProcessId,
) -> Result<Vec<String>, launch::Error> {
    let mut claimed = Vec::new();
    let wanted = [Some(format!("agent-{agent}")), plan.session.as_ref().map(|session| format!("session-{session}"))];
    for what in wanted.into_iter().flatten() {
        let holder = holder(shared, agent, run, &plan.label, process);
        match lease::claim(&shared.world.leases, &what, &holder) {
            Ok(()) => claimed.push(what),
            Err(error) => {
                claimed.iter().for_each(|what| release(shared, agent, what));
                return Err(launch::Error::Lease(error));
            }
        }
    }
    Ok(claimed)
}

fn holder(shared: &Shared, agent: AgentId, run: RunNo, label: &str, process: ProcessId) -> lease::Holder {
    lease::Holder {
        pid: process.pid,
        start_ticks: process.start_ticks,
        agent: label.to_owned(),
        uid: agent.to_string(),
        profile: shared.world.profile.clone(),
        socket: shared.world.socket.clone(),
        tag: report::tag(agent, run),
    }
}

fn release(shared: &Shared, agent: AgentId, what: &str) {
    lease::release(&shared.world.leases, what, &agent.to_string(), &shared.world.socket);
}

/// Gives a process its task's half: watched streams, a screen or a machine. One that cannot be watched is ended.
async fn enliven(
    shared: &Arc<Shared>,
    agent: AgentId,
    run: RunNo,
    plan: &amux_engine::ask::Plan,
    started: Started,
    known: Activity,
) -> Result<(Live, Option<Order>), launch::Error> {
    let Started { mut child, launch, channel, leaf, leases, name } = started;
    let dir = tape::dir(&shared.world.tapes, agent, run);
    let make = || -> io::Result<(Body, Option<AsyncFd<OwnedFd>>, Option<Order>)> {
        let pidfd = child.pidfd.take().map(polled::readable).transpose()?;
        if let Some(terminal) = child.pty.take() {
            let led = (child.id.pid, &launch.leads);
            let known = Activity { cwd: Some(launch.begin.cwd.clone()), ..untold(known) };
            let terminal = led_terminal(shared, &dir, (terminal, channel), launch.size, led, known)?;
            return Ok((Body::Terminal(Box::new(terminal)), pidfd, None));
        }
        let missing = || io::Error::other("a pipe is missing");
        if launch.kind.dialect == Dialect::Tmux {
            let pipes = Pipes {
                stdin: child.stdin.take(),
                channel: None,
                stdout: child.stdout.take().ok_or_else(missing)?,
                stderr: child.stderr.take().ok_or_else(missing)?,
            };
            let to = (launch.leads.pane().unwrap_or_default(), pipes);
            let watch = Watch::new(clis(shared));
            let mut pane = Pane::new(&dir, shared.tape_bytes_max(), to, launch.size, untold(known), watch)?;
            pane.open();
            return Ok((Body::Pane(Box::new(pane)), pidfd, None));
        }
        let machine =
            launch::machine(&launch.kind, plan).ok_or_else(|| io::Error::other("this dialect is not spoken"))?;
        let mut book = Book::new(agent, run, &dir, machine, Some(launch.begin.cwd.clone()), now())?;
        book.rings(&shared.bells);
        let pipes = Pipes {
            stdin: child.stdin.take(),
            channel: Some(channel),
            stdout: child.stdout.take().ok_or_else(missing)?,
            stderr: child.stderr.take().ok_or_else(missing)?,
        };
        let lines = Lines::new(book, &dir, pipes)?;
        Ok((Body::Lines(Box::new(lines)), pidfd, Some(launch::first_order(&launch.begin))))
    };
    let (body, pidfd, order) = match make() {
        Ok(parts) => parts,
        Err(error) => {
            let carried = Carried::of(shared, agent, run);
            let ended = tokio::task::spawn_blocking(move || {
                let (tags, grace) = (&carried.tags(), Duration::ZERO);
                let report = stop::Ladder { leader: child.id, tags, leaf: leaf.as_ref(), grace }.run();
                if !report.survivors.is_empty() {
                    tracing::error!(%agent, %run, survivors = ?report.survivors, "What cannot be watched does not end.");
                }
                // Not a wait: who is in the kernel's hands does not end.
                let _ = child.try_wait();
                leaf.map(|leaf| leaf.remove());
            });
            let _ = ended.await;
            shared.world.notifier.remove_fds(&name).ok();
            leases.iter().for_each(|what| release(shared, agent, what));
            return Err(launch::Error::Watch(error));
        }
    };
    let live = Live {
        shared: Arc::clone(shared),
        agent,
        label: plan.label.clone(),
        no: run,
        process: child.id,
        child: Some(child),
        pidfd,
        leaf,
        name,
        body,
        reporting: None,
        is_heard: true,
        stopping: None,
        leases,
        limits: Limits::new(plan.max_runtime_ms, plan.idle_output_ms, Duration::ZERO),
        more: None,
        given: HashSet::new(),
        answered: HashSet::new(),
        look_at: None,
        is_due: false,
    };
    Ok((live, order))
}

/// The programs of the kinds there are: agents wherever they run.
fn clis(shared: &Shared) -> Vec<String> {
    shared
        .world
        .engine
        .published()
        .read(|state, _| state.kinds.values().filter_map(|kind| kind.program.clone()).collect())
}

/// A terminal of ours, with what it was opened for.
fn led_terminal(
    shared: &Shared,
    dir: &Path,
    terminal: (OwnedFd, Channel),
    size: Size,
    (leader, leads): (u32, &Leads),
    known: Activity,
) -> io::Result<Terminal> {
    let led = (leader, matches!(leads, Leads::Shell));
    let mut terminal = Terminal::new(dir, shared.tape_bytes_max(), terminal, size, led, known)?;
    match leads {
        Leads::Shell => {}
        Leads::Program { words } => terminal.watch(clis(shared), words),
        // By a record that does not say it, of an agent that is to be a pane from now on.
        Leads::Pane { .. } => terminal.watch(clis(shared), &[]),
    }
    Ok(terminal)
}

/// Nothing tells what a program in a terminal does before it says so.
fn untold(known: Activity) -> Activity {
    Activity { seen: known.seen, leader: known.leader, ..Activity::default() }
}

/// What of a run's own record an adoption needs.
#[derive(Deserialize)]
struct Recorded {
    kind: Kind,
    begin: Begin,
    #[serde(default)]
    leads: Option<Leads>,
}

/// Takes over a process that an earlier server started.
async fn adopt(shared: &Arc<Shared>, agent: AgentId, run: RunNo, kept: Kept) -> Option<Live> {
    let published = shared.world.engine.published();
    let known_process = published.read(|state, _| state.agents.get(&agent)?.run.as_ref()?.process());
    let (name, process) = (kept.name.clone(), kept.process);
    // A long past is read and heard again, and others must not wait for it.
    let taken = {
        let shared = Arc::clone(shared);
        tokio::task::spawn_blocking(move || take_up(&shared, agent, run, kept)).await
    };
    let mut live = match taken.unwrap_or_else(|error| Err(io::Error::other(error))) {
        Ok(live) => live,
        Err(error) => {
            tracing::error!(%agent, %run, %error, "Kept streams cannot be used.");
            report::end_leftovers(shared, agent, run).await;
            shared.world.notifier.remove_fds(&name).ok();
            report::lost(shared, agent, run, "its streams could not be taken over").await;
            return None;
        }
    };
    let process = Process { pid: process.pid, start_ticks: process.start_ticks };
    if known_process != Some(process) {
        // Its start was carried out but never committed.
        report::started(shared, agent, run, process).await;
    }
    tracing::info!(agent = %live.label, %run, pid = process.pid, "An agent was taken over.");
    live.tell();
    Some(live)
}

fn take_up(shared: &Arc<Shared>, agent: AgentId, run: RunNo, mut kept: Kept) -> io::Result<Live> {
    let published = shared.world.engine.published();
    let gone = || io::Error::other("the agent is not known");
    let plan = published.plan(agent).ok_or_else(gone)?;
    let known = published.activity(agent, run).unwrap_or_default();
    let since = published.read(|state, _| Some(state.agents.get(&agent)?.run.as_ref()?.since));
    let dir = tape::dir(&shared.world.tapes, agent, run);
    let pidfd = kept.take(Role::Pidfd).map(polled::readable).transpose()?;
    let channel = kept.take(Role::ChannelOut).zip(kept.take(Role::ChannelInto));
    let channel = channel.map(|(out, into)| Channel { out, into });
    // As it was when it was started, whatever has become of its definition and of the file of kinds.
    let recorded = std::fs::read(dir.join("spec.json")).map_err(|error| error.to_string());
    let recorded =
        recorded.and_then(|text| serde_json::from_slice::<Recorded>(&text).map_err(|error| error.to_string()));
    let recorded = recorded
        .inspect_err(|error| tracing::warn!(%agent, %run, error, "How a run was begun is not known any more."))
        .ok();
    let mut given = HashSet::new();
    let body = if let Some(terminal) = kept.take(Role::Terminal) {
        let channel = channel.map_or_else(Channel::new, Ok)?;
        let defined = || Leads::of(plan.kind.as_ref().ok(), &plan.definition);
        let leads = recorded.and_then(|recorded| recorded.leads).unwrap_or_else(defined);
        let size = amux_sys::pty::size(terminal.as_fd());
        let size = size.map_or(plan.definition.size, |(rows, cols)| Size { rows, cols });
        let led = (kept.process.pid, &leads);
        let mut terminal = led_terminal(shared, &dir, (terminal, channel), size, led, known)?;
        given = terminal.take_up();
        Body::Terminal(Box::new(terminal))
    } else {
        'body: {
            let kind = match &recorded {
                Some(recorded) => recorded.kind.clone(),
                None => plan.kind.clone().map_err(|refusal| io::Error::other(refusal.message))?,
            };
            let missing = || io::Error::other("a pipe is missing");
            if kind.dialect == Dialect::Tmux {
                let pipes = Pipes {
                    stdin: kept.take(Role::Stdin),
                    channel: None,
                    stdout: kept.take(Role::Stdout).ok_or_else(missing)?,
                    stderr: kept.take(Role::Stderr).ok_or_else(missing)?,
                };
                let led = recorded.as_ref().and_then(|recorded| recorded.leads.as_ref()?.pane());
                let target = led.unwrap_or_else(|| launch::target(&plan.definition));
                let (to, size) = ((target, pipes), plan.definition.size);
                let watch = Watch::new(clis(shared));
                let mut pane = Pane::new(&dir, shared.tape_bytes_max(), to, size, known, watch)?;
                given = pane.take_up();
                break 'body Body::Pane(Box::new(pane));
            }
            let machine =
                launch::machine(&kind, &plan).ok_or_else(|| io::Error::other("this dialect is not spoken"))?;
            let mut output = |at: u64, bytes: &mut [u8]| tape::read(&dir, tape::OUT, at, bytes);
            let after_gap = |at: u64| tape::after_gap(&dir, tape::OUT, at).ok().flatten();
            let held = channel.as_ref().map(Channel::held).transpose()?;
            let past = Past { output: &mut output, after_gap: &after_gap, held };
            let mut book = Book::again(agent, run, &dir, machine, known, past, now())?;
            book.rings(&shared.bells);
            let is_new = book.is_new();
            let pipes = Pipes {
                stdin: kept.take(Role::Stdin),
                channel,
                stdout: kept.take(Role::Stdout).ok_or_else(missing)?,
                stderr: kept.take(Role::Stderr).ok_or_else(missing)?,
            };
            let mut lines = Lines::new(book, &dir, pipes)?;
            if is_new {
                let recorded = recorded.ok_or_else(|| io::Error::other("how it was to begin is not known"))?;
                let _ = lines.order(&launch::first_order(&recorded.begin));
            }
            Body::Lines(Box::new(lines))
        }
    };
    let running_for = since.map_or(0, |since| now().ms_since(since).max(0));
    let running_for = Duration::from_millis(u64::try_from(running_for).unwrap_or(0));
    let mut leases = vec![format!("agent-{agent}")];
    leases.extend(plan.session.as_ref().map(|session| format!("session-{session}")));
    Ok(Live {
        shared: Arc::clone(shared),
        agent,
        label: plan.label.clone(),
        no: run,
        process: kept.process,
        child: None,
        pidfd,
        leaf: Leaf::create(&leaf_name(agent, run)),
        name: kept.name,
        body,
        reporting: None,
        is_heard: true,
        stopping: None,
        leases,
        limits: Limits::new(plan.max_runtime_ms, plan.idle_output_ms, running_for),
        more: None,
        given,
        answered: HashSet::new(),
        look_at: None,
        is_due: false,
    })
}

impl Live {
    /// One piece of what happens, or the end.
    async fn step(&mut self) -> Option<Ended> {
        let ended = tokio::select! {
            // Output before the end: what was printed before it belongs before it. And neither a report nor a limit
            // waits for an agent that never pauses.
            biased;
            taken = done(&mut self.reporting) => {
                self.is_heard &= taken;
                if let Body::Pane(pane) = &mut self.body
                    && pane.is_led_anew()
                {
                    self.shared.panes_moved.send_modify(|count| *count += 1);
                }
                None
            }
            () = until(self.look_at) => {
                (self.look_at, self.is_due) = (None, true);
                None
            }
            () = self.limits.reached() => {
                self.limit_reached();
                None
            }
            () = done(&mut self.stopping) => None,
            () = step_of(&mut self.body) => None,
            () = exited(self.pidfd.as_ref(), &self.process) => Some(Ended),
        };
        self.tell();
        if ended.is_none() {
            // What is always ready costs nothing of what the runtime grants a task at once: an agent that never pauses
            // would let nobody else have a turn.
            tokio::task::yield_now().await;
        }
        ended
    }

    /// Sends the next report when there is something to say and the one before has arrived.
    fn tell(&mut self) {
        if self.reporting.is_some() {
            return;
        }
        let report = match &mut self.body {
            Body::Terminal(terminal) => terminal.display.report(),
            Body::Lines(lines) => lines.report(),
            Body::Pane(pane) => pane.display.report(),
        };
        match report {
            Some((activity, facts)) => {
                self.claim_sessions(&facts);
                let (shared, agent, run) = (Arc::clone(&self.shared), self.agent, self.no);
                self.reporting = Some(report::seen(shared, agent, run, activity, facts).boxed());
            }
            None => {
                if let Body::Lines(lines) = &mut self.body
                    && self.is_heard
                {
                    lines.book.keep();
                }
            }
        }
    }

    /// A conversation whose id the CLI chose is held from the moment it is known.
    fn claim_sessions(&mut self, facts: &[Fact]) {
        for fact in facts {
            let Fact::Session { session } = fact else { continue };
            let what = format!("session-{}", session.id);
            let holder = holder(&self.shared, self.agent, self.no, &self.label, self.process);
            match lease::claim(&self.shared.world.leases, &what, &holder) {
                Ok(()) => self.leases.push(what),
                Err(error) => tracing::warn!(agent = %self.label, %error, "A conversation has two drivers."),
            }
        }
    }

    /// Whether something that had to wait can be given now.
    fn has_room(&self) -> bool {
        self.is_due || self.more.is_some_and(|how| self.takes_input(how))
    }

    /// Whether its body takes one more input now. What waits with us can still be called back.
    fn takes_input(&self, how: How) -> bool {
        match &self.body {
            Body::Terminal(terminal) => terminal.takes_input(),
            Body::Pane(pane) => pane.takes_input(),
            Body::Lines(lines) => self.given.len() < GIVEN_MAX && lines.takes_input(how),
        }
    }

    /// Gives the agent what is due: decisions to what it asked, then its mail.
    fn attend(&mut self, answers: &[RequestId]) {
        (self.is_due, self.more, self.look_at) = (false, None, None);
        let published = Arc::clone(self.shared.world.engine.published());
        self.answered.retain(|answered| answers.contains(answered));
        let is_waiting = |part: Part| published.is_waiting(self.agent, part.message, part.attempt);
        // What is called back while a terminal takes it may be wanted again before it is known to have arrived.
        if let Body::Lines(_) = self.body {
            self.given.retain(|part| part::parse(part).is_some_and(is_waiting));
        }
        let mut is_noted = true;
        if let Body::Lines(lines) = &mut self.body {
            for request in answers {
                let Some(request) = published.request(*request).filter(|request| request.run == self.no) else {
                    continue;
                };
                let Some(answer) = request.decided.filter(|_| self.answered.insert(request.id)) else { continue };
                match lines.order(&Order::Answer { ask: request.ask, answer }) {
                    Ok(()) => {}
                    Err(Untaken::Refused(refused)) => lines.book.close(request.id, refused.to_string(), now()),
                    Err(Untaken::NotNoted(_)) => {
                        self.answered.remove(&request.id);
                        is_noted = false;
                    }
                }
            }
        }
        while is_noted {
            // What is due depends on who has the keyboard. What is seen here and not in the log yet was not judged by:
            // the report about it wakes us.
            if !self.is_front_known(&published) {
                break;
            }
            let due = published.due(self.agent, now(), |message, attempt| {
                let part = part::name(message, attempt);
                self.given.contains(&part) || matches!(&self.body, Body::Lines(lines) if lines.book.was_ordered(&part))
            });
            let left = due.next.map(|next| u64::try_from(next.ms_since(now())).unwrap_or(0));
            self.look_at = left.map(|left| Instant::now() + Duration::from_millis(left));
            if due.batch.is_empty() {
                break;
            }
            let message = |(id, attempt): &(MessageId, u32)| Some((published.message(*id)?, *attempt));
            let messages: Vec<(Message, u32)> = due.batch.iter().filter_map(message).collect();
            // Another report about them is on its way.
            if messages.is_empty() {
                break;
            }
            let is_urgent = messages.iter().any(|(message, _)| message.priority == Priority::Urgent);
            let how = if is_urgent { How::Steer } else { How::Next };
            if !self.takes_input(how) {
                self.more = Some(how);
                break;
            }
            is_noted = self.give(&published, &messages, how);
        }
        if !is_noted {
            self.look_at = Some(Instant::now() + NOT_NOTED_PAUSE);
        }
        self.tell();
    }

    /// Looks who has the keyboard; whether the log knows it to be so.
    fn is_front_known(&mut self, published: &amux_engine::Published) -> bool {
        let front = match &mut self.body {
            Body::Terminal(terminal) => {
                terminal.look_who_is_there();
                terminal.display.front()
            }
            Body::Pane(pane) => {
                pane.look_who_is_there();
                pane.display.front()
            }
            Body::Lines(_) => return true,
        };
        // Which program the agent is may be expected without having been reported: nothing is judged by that.
        let known = published.activity(self.agent, self.no).unwrap_or_default().front;
        (front.is_away(), front.is_shell, &front.instead) == (known.is_away(), known.is_shell, &known.instead)
    }

    /// One input, of one message or several. Nothing of it goes anywhere unless that can be noted; whether it was.
    fn give(&mut self, published: &amux_engine::Published, messages: &[(Message, u32)], how: How) -> bool {
        // What is seen of it later is said of these words, whatever has become of the message by then.
        let part = |(message, attempt): &(Message, u32)| Part {
            message: message.id,
            attempt: *attempt,
            edition: message.edition,
        };
        let parts: Vec<String> = messages.iter().map(|message| part::with_words(part(message))).collect();
        let mut text = envelope::letter(
            messages.iter().map(|(message, _)| (message, published.sender(message))),
            &self.shared.world.attachments,
        );
        if let Body::Lines(lines) = &self.body
            && lines.book.was_shortened()
        {
            let owed = published.owed(self.agent).into_iter().filter_map(|id| published.message(id));
            let owed: Vec<(String, Message)> = owed.map(|message| (published.sender(&message), message)).collect();
            text = envelope::reminder(self.agent, &owed) + &text;
        }
        let is_noted = match &mut self.body {
            Body::Terminal(terminal) => terminal.put_in(parts.clone(), &text).is_ok(),
            Body::Pane(pane) => pane.put_in(parts.clone(), &text).is_ok(),
            Body::Lines(lines) => {
                let order = Order::Input { input: input_name(&parts), parts: parts.clone(), text, how };
                // A refusal is a fact of its own in the book.
                !matches!(lines.order(&order), Err(Untaken::NotNoted(_)))
            }
        };
        if is_noted {
            self.given.extend(parts.iter().map(|part| part::name_of(part).to_owned()));
        }
        is_noted
    }

    async fn reply(&mut self, ask: Ask) {
        let no_terminal = || Rejection::new(Code::Conflict, "this agent has no terminal");
        // Whoever asked may have gone meanwhile; that is theirs to know.
        match (ask, &mut self.body) {
            (Ask::Look { lines, ansi, reply }, Body::Terminal(terminal)) => {
                let _ = reply.send(Ok(terminal.display.look(self.agent, self.no, lines, ansi)));
            }
            (Ask::Look { lines, ansi, reply }, Body::Pane(pane)) => {
                let _ = reply.send(Ok(pane.display.look(self.agent, self.no, lines, ansi)));
            }
            (Ask::Look { reply, .. }, Body::Lines(_)) => {
                let _ = reply.send(Err(no_terminal()));
            }
            (Ask::Keys { keys, reply }, Body::Terminal(terminal)) => terminal.type_keys(&keys, reply),
            (Ask::Keys { keys, reply }, Body::Pane(pane)) => pane.type_keys(&keys, reply),
            (Ask::Keys { reply, .. }, Body::Lines(_)) => {
                let _ = reply.send(Err(no_terminal().hint("agentmux send")));
            }
            (Ask::Type { viewer, bytes, reply }, Body::Terminal(terminal)) => {
                let _ = reply.send(terminal.typed_by(viewer, &bytes));
            }
            (Ask::Type { bytes, reply, .. }, Body::Pane(pane)) => {
                let _ = reply.send(pane.typed(&bytes));
            }
            (Ask::Type { reply, .. }, Body::Lines(_)) => {
                let _ = reply.send(Err(no_terminal()));
            }
            (Ask::Resize { viewer, size, reply }, Body::Terminal(terminal)) => {
                let _ = reply.send(terminal.resize(viewer, size));
            }
            (Ask::Resize { viewer, reply, .. }, Body::Pane(pane)) => {
                let _ = reply.send(pane.asked_to_resize(viewer));
            }
            (Ask::Resize { reply, .. }, Body::Lines(_)) => {
                let _ = reply.send(Err(no_terminal()));
            }
            (Ask::View { size, reply }, Body::Terminal(terminal)) => {
                let _ = reply.send(terminal.view(size));
            }
            (Ask::ViewAgain { viewer, reply }, Body::Terminal(terminal)) => {
                let _ = reply.send(Ok(terminal.display.view(viewer)));
            }
            (Ask::View { reply, .. }, Body::Pane(pane)) => {
                let _ = reply.send(Ok(pane.view()));
            }
            (Ask::ViewAgain { viewer, reply }, Body::Pane(pane)) => {
                let _ = reply.send(Ok(pane.display.view(viewer)));
            }
            (Ask::View { reply, .. } | Ask::ViewAgain { reply, .. }, Body::Lines(_)) => {
                let _ = reply.send(Err(no_terminal().hint(format!("agentmux log -f {}", self.label))));
            }
            (Ask::Order { order: Order::Interrupt, reply }, Body::Terminal(terminal)) => {
                terminal.type_bytes(b"\x03", reply);
            }
            (Ask::Order { order: Order::Interrupt, reply }, Body::Pane(pane)) => {
                pane.type_bytes(b"\x03", reply);
            }
            (Ask::Order { reply, .. }, Body::Terminal(_) | Body::Pane(_)) => {
                let _ = reply.send(Err(Rejection::new(Code::Unsupported, "a terminal cannot be told this")));
            }
            (Ask::Order { order, reply }, Body::Lines(lines)) => {
                let _ = reply.send(lines.order(&order).map_err(refusal));
            }
            (Ask::Commands { reply }, Body::Terminal(_) | Body::Pane(_)) => {
                let _ = reply.send(Vec::new());
            }
            (Ask::Commands { reply }, Body::Lines(lines)) => {
                let _ = reply.send(lines.book.machine().commands().to_vec());
            }
            (Ask::Place { reply }, Body::Terminal(_) | Body::Pane(_)) => {
                let _ = reply.send(None);
            }
            (Ask::Place { reply }, Body::Lines(lines)) => {
                let _ = reply.send(Some(lines.book.place()));
            }
        }
        self.tell();
    }

    fn limit_reached(&mut self) {
        let now = Instant::now();
        let printed = match &self.body {
            Body::Terminal(terminal) => terminal.display.tape.end(),
            Body::Lines(lines) => lines.printed(),
            Body::Pane(pane) => pane.display.tape.end(),
        };
        let reason = if self.limits.runtime_at.is_some_and(|at| at <= now) {
            "it has run for as long as agent.max_runtime_ms allows"
        } else if printed != std::mem::replace(&mut self.limits.printed, printed) {
            self.limits.silence_at = self.limits.silence.map(|silence| now + silence);
            return;
        } else {
            "it has printed nothing for as long as agent.idle_output_ms allows"
        };
        (self.limits.runtime_at, self.limits.silence_at) = (None, None);
        self.stopping = Some(report::stop(Arc::clone(&self.shared), self.agent, reason).boxed());
    }

    /// The server ends and the agent goes on.
    fn let_go(mut self) {
        match &mut self.body {
            Body::Terminal(terminal) => terminal.display.write_screen(),
            Body::Pane(pane) => pane.display.write_screen(),
            Body::Lines(_) => {}
        }
    }

    /// Interrupt, end of input, a signal, and last the whole tree; each step gets its part of the grace, and the
    /// agent's last words are read meanwhile.
    async fn stop(mut self, grace: Duration) {
        let deadline = Instant::now() + grace;
        if let Body::Lines(lines) = &mut self.body {
            if !lines.book.machine().is_idle() && lines.order(&Order::Interrupt).is_ok() {
                self.go_on_until(deadline - grace * 2 / 3, |live| match &live.body {
                    Body::Lines(lines) => lines.book.machine().is_idle(),
                    Body::Terminal(_) | Body::Pane(_) => true,
                })
                .await;
            }
            self.close_input();
            if self.go_on_until(deadline - grace / 3, |_| false).await {
                // What it had started may still be there: a run's end takes everything along.
                return self.finish(ExitWhy::Stopped, Vec::new()).await;
            }
        }
        if let Body::Pane(pane) = &mut self.body {
            // The pane stays as it is; only our client ends.
            pane.leave();
            if self.go_on_until(deadline - grace / 3, |_| false).await {
                return self.finish(ExitWhy::Stopped, Vec::new()).await;
            }
        }
        let (process, leaf) = (self.process, self.leaf.clone());
        let carried = Carried::of(&self.shared, self.agent, self.no);
        let left = deadline.saturating_duration_since(Instant::now());
        let stopped = tokio::task::spawn_blocking(move || {
            stop::Ladder { leader: process, tags: &carried.tags(), leaf: leaf.as_ref(), grace: left }.run()
        });
        tokio::pin!(stopped);
        let ended = loop {
            // Full pipes must not keep it from ending.
            tokio::select! {
                report = &mut stopped => break report,
                () = step_of(&mut self.body) => {
                    self.tell();
                    tokio::task::yield_now().await;
                }
                taken = done(&mut self.reporting) => {
                    self.is_heard &= taken;
                    self.tell();
                }
            }
        };
        let why = match &ended {
            Ok(report) if report.escalated => ExitWhy::Killed,
            Ok(_) | Err(_) => ExitWhy::Stopped,
        };
        let survivors = match ended {
            Ok(report) => report.survivors.iter().map(|process| process.pid).collect(),
            Err(error) => {
                tracing::error!(agent = %self.label, %error, "Stopping an agent broke.");
                Vec::new()
            }
        };
        self.finish(why, survivors).await;
    }

    /// Goes on until something is so, the time is over, or the process has ended; whether it has.
    async fn go_on_until(&mut self, deadline: Instant, is_so: impl Fn(&Self) -> bool) -> bool {
        while !is_so(self) {
            tokio::select! {
                ended = self.step() => if ended.is_some() { return true },
                () = tokio::time::sleep_until(deadline) => return false,
            }
        }
        false
    }

    /// The launcher has a copy of its input as well; it lets go of it first, or the agent would not see the end.
    fn close_input(&mut self) {
        let Body::Lines(lines) = &mut self.body else { return };
        let mut roles = Vec::new();
        roles.extend(lines.out_fd().map(|fd| (Role::Stdout, fd)));
        roles.extend(lines.err_fd().map(|fd| (Role::Stderr, fd)));
        roles.extend(self.pidfd.as_ref().map(|fd| (Role::Pidfd, fd.get_ref().as_fd())));
        let name = kept::name(self.agent, self.no, &self.process, &roles);
        let notifier = &self.shared.world.notifier;
        let swapped = notifier.store_fds(&name, &kept::fds(&roles)).and_then(|()| notifier.remove_fds(&self.name));
        drop(roles);
        if let Err(error) = swapped {
            tracing::warn!(agent = %self.label, %error, "The launcher could not be told to let go of an input.");
        }
        self.name = name;
        lines.close_input();
    }

    /// Reads what is left, ends what the process left behind, lets go of everything, and reaps.
    async fn finish(mut self, why: ExitWhy, mut survivors: Vec<u32>) {
        match &mut self.body {
            Body::Terminal(terminal) => terminal.drain(DRAIN_BYTES_MAX),
            Body::Lines(lines) => lines.drain(DRAIN_BYTES_MAX),
            Body::Pane(pane) => pane.drain(DRAIN_BYTES_MAX),
        }
        let (code, signal) = match &self.child {
            Some(child) => child_status(child),
            None => orphan_status(&self.shared, &self.process).await,
        };
        if let Body::Lines(lines) = &mut self.body
            && why == ExitWhy::Itself
            && code != Some(0)
        {
            let complaint = lines.complaint(4096);
            if let Some(last) = complaint.lines().rev().find(|line| !line.trim().is_empty()) {
                lines.book.complained(last.trim(), now());
            }
        }
        // Everything it said is in the log before its end is.
        loop {
            self.tell();
            match self.reporting.take() {
                Some(report) => self.is_heard &= report.await,
                None => break,
            }
        }
        survivors.extend(self.end_leftovers().await);
        survivors.sort_unstable();
        survivors.dedup();
        self.leases.iter().for_each(|what| release(&self.shared, self.agent, what));
        tracing::info!(agent = %self.label, run = %self.no, pid = self.process.pid, ?code, ?signal, "A run ended.");
        self.shared.set_run(self.agent, None);
        report::exited(&self.shared, self.agent, self.no, Exit { code, signal, why, survivors }).await;
        // Not before: whoever finds the run alive and nothing kept of it can only say that it is lost, and of a process
        // that was reaped nobody else learns how it ended.
        self.shared.world.notifier.remove_fds(&self.name).ok();
        if let Some(child) = &mut self.child {
            let _ = child.try_wait();
        }
    }

    /// Tool shells and servers that outlived the process they belong to.
    async fn end_leftovers(&mut self) -> Vec<u32> {
        let (process, leaf) = (self.process, self.leaf.take());
        let carried = Carried::of(&self.shared, self.agent, self.no);
        let ended = tokio::task::spawn_blocking(move || {
            let tags = &carried.tags();
            let report = stop::Ladder { leader: process, tags, leaf: leaf.as_ref(), grace: LEFTOVER_GRACE }.run();
            if let Some(leaf) = leaf {
                // Somebody who cannot be ended keeps it; he is among the survivors.
                let _ = leaf.remove();
            }
            report.survivors.iter().map(|process| process.pid).collect()
        });
        ended.await.unwrap_or_else(|error| {
            tracing::error!(agent = %self.label, %error, "Ending what was left of a run broke.");
            Vec::new()
        })
    }
}

async fn step_of(body: &mut Body) {
    match body {
        Body::Terminal(terminal) => terminal.step().await,
        Body::Lines(lines) => lines.step().await,
        Body::Pane(pane) => pane.step().await,
    }
}

/// Comes back with what it came to when what is on its way has arrived.
async fn done<T>(on_its_way: &mut Option<BoxFuture<'static, T>>) -> T {
    let outcome = match on_its_way {
        Some(future) => future.await,
        None => std::future::pending().await,
    };
    *on_its_way = None;
    outcome
}

fn refusal(untaken: Untaken) -> Rejection {
    use amux_agents::Refused as R;
    let code = match &untaken {
        Untaken::Refused(R::NotRunning | R::NotAsked(_) | R::NotReady) => Code::Conflict,
        Untaken::Refused(R::BadAnswer(_)) => Code::BadArgs,
        Untaken::Refused(R::Unsupported(_)) => Code::Unsupported,
        Untaken::NotNoted(_) => Code::ReadOnly,
    };
    Rejection::new(code, untaken.to_string())
}

/// What a CLI knows an input by: the id of its message, or for several and for another time an id made of all.
fn input_name(parts: &[String]) -> String {
    if let [part] = parts
        && let Some(Part { message, attempt: 0, .. }) = part::parse(part)
    {
        return message.to_string();
    }
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part.as_bytes());
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    // CLIs check for a random UUID.
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

/// Where there is no pidfd the end is looked for; the interval is a last resort and does not scale with agents that
/// have one.
const LOOK_FOR_END: Duration = Duration::from_millis(500);

async fn exited(pidfd: Option<&AsyncFd<OwnedFd>>, process: &ProcessId) {
    match pidfd {
        Some(pidfd) => {
            // An error of the watch itself must not spin: the process is then looked for.
            if pidfd.readable().await.is_ok() {
                return;
            }
        }
        None => tokio::time::sleep(LOOK_FOR_END).await,
    }
    while amux_sys::process::alive(process) {
        tokio::time::sleep(LOOK_FOR_END).await;
    }
}

/// Never waits: a process that cannot be ended, which a stop names as a survivor, must not hold this thread.
fn child_status(child: &Child) -> (Option<i32>, Option<i32>) {
    use std::os::unix::process::ExitStatusExt as _;
    child.status().ok().flatten().map_or((None, None), |status| (status.code(), status.signal()))
}

async fn orphan_status(shared: &Shared, process: &ProcessId) -> (Option<i32>, Option<i32>) {
    let mut moved = shared.orphans_moved.subscribe();
    let told = async {
        loop {
            if let Some(exit) = shared.take_orphan(process.pid, process.start_ticks) {
                return (exit.code, exit.signal);
            }
            if moved.changed().await.is_err() {
                return (None, None);
            }
        }
    };
    tokio::time::timeout(ORPHAN_STATUS_TIMEOUT, told).await.unwrap_or((None, None))
}
