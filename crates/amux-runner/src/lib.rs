//! Carries out what the log intends: one task per live agent, started and told by the open wishes, reporting what it
//! observes back as commands. It decides nothing about the domain and keeps nothing that a restart would need.
//!
//! [`Runner::start`] adopts what the launcher kept, settles what nobody kept, and then follows the wishes. Doors ask
//! a live agent through [`Runner::ask`].

mod agent;
mod attached;
mod bells;
mod book;
mod display;
mod envelope;
pub mod frames;
mod front;
pub mod journal;
mod kept;
mod keys;
mod launch;
pub mod lease;
mod lines;
mod listing;
mod osc;
mod pane;
pub mod plain;
pub mod polled;
mod report;
pub mod screen;
pub mod tape;
mod terminal;
mod tidy;
pub mod worktree;

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use amux_engine::Handle;
use amux_proto::entity::{RunState, Size};
use amux_proto::{AgentId, Code, Effect, Rejection, RunNo};
use amux_sys::notify::Notifier;
use amux_sys::process::ProcessId;
use amux_sys::stop;
use tokio::sync::{mpsc, watch};

pub use agent::Ask;
pub use amux_agents::{Order, kinds};
pub use bells::{Listener, Streamed, Told};
pub use display::View;
pub use kept::Kept;
pub use launch::Preview;
pub use listing::Listing;
pub use report::Carried;

/// What a runner needs of the world.
pub struct World {
    pub engine: Handle,
    pub tapes: PathBuf,
    pub notifier: Arc<Notifier>,
    /// Descriptors a launcher kept for us, by name.
    pub kept: Vec<(String, OwnedFd)>,
    /// The environment agents start from, without a word of ours in it.
    pub base_env: Vec<(OsString, OsString)>,
    pub shell: PathBuf,
    /// Makes the token an agent's processes carry in one run.
    pub token: Arc<dyn Fn(AgentId, RunNo) -> String + Send + Sync>,
    pub socket: PathBuf,
    pub local_url: String,
    /// This program, for the processes of ours that stand between us and a CLI.
    pub exe: PathBuf,
    pub profile: String,
    /// Of every profile of this user on this machine.
    pub leases: PathBuf,
    /// Where agents that want one get a worktree.
    pub worktrees: PathBuf,
    /// Where what messages carry is kept, each under its digest.
    pub attachments: PathBuf,
}

/// How an adopted process, which is not our child, ended; told by the launcher, which reaped it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrphanExit {
    pub pid: u32,
    pub start_ticks: u64,
    pub code: Option<i32>,
    pub signal: Option<i32>,
}

/// Level-triggered: whatever a wake-up missed is found at the latest then.
const SLOW_TICK: Duration = Duration::from_secs(30);

/// Statuses of orphans nobody asked for yet.
const ORPHAN_EXITS_MAX: usize = 4096;

/// What is fed to a screen that is made to be looked at once: ten thousand lines of ordinary length.
const REPLAY_BYTES: u64 = 1024 * 1024;

/// Above a screen that is sent. It leaves room for what is printed next within what may be under way to a viewer.
const HISTORY_BYTES_MAX: usize = 512 * 1024;

/// Questions waiting for one agent.
const ASKS_MAX: usize = 64;

#[derive(Clone)]
pub struct Runner {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) world: World,
    live: Mutex<HashMap<AgentId, Live>>,
    orphans: Mutex<HashMap<(u32, u64), OrphanExit>>,
    looks: listing::Looks,
    pub(crate) bells: bells::Bells,
    pub(crate) orphans_moved: watch::Sender<u64>,
    /// What leads a pane was learned, and is in the log.
    pub(crate) panes_moved: watch::Sender<u64>,
    /// Set when the server ends and the agents are to go on without it.
    pub(crate) detach: watch::Sender<bool>,
}

struct Live {
    run: Option<RunNo>,
    asks: mpsc::Sender<Ask>,
}

impl Runner {
    /// Takes over the agents that live, and begins to follow the wishes.
    pub async fn start(mut world: World) -> Self {
        let (kept, surplus) = kept::sort(std::mem::take(&mut world.kept));
        for name in surplus {
            world.notifier.remove_fds(&name).ok();
        }
        let runner = Self {
            shared: Arc::new(Shared {
                world,
                live: Mutex::default(),
                orphans: Mutex::default(),
                looks: listing::Looks::default(),
                bells: bells::Bells::default(),
                orphans_moved: watch::Sender::new(0),
                panes_moved: watch::Sender::new(0),
                detach: watch::Sender::new(false),
            }),
        };
        runner.take_over(kept).await;
        tokio::spawn(follow(runner.clone()));
        tokio::spawn(expire(Arc::clone(&runner.shared)));
        runner.tidy();
        runner
    }

    /// The words that would be run; none where a command is missing.
    pub fn preview(&self, of: &Preview<'_>) -> Vec<String> {
        launch::preview(&self.shared.world.shell, of)
    }

    /// The launcher reaped a process that is not our child.
    pub fn orphan_exited(&self, exit: OrphanExit) {
        let mut orphans = self.shared.orphans.lock().unwrap_or_else(PoisonError::into_inner);
        if orphans.len() < ORPHAN_EXITS_MAX {
            orphans.insert((exit.pid, exit.start_ticks), exit);
        }
        drop(orphans);
        self.shared.orphans_moved.send_modify(|count| *count += 1);
    }

    /// Moves when the agent of a terminal that was not ours is known by it, from the log.
    pub fn panes_moved(&self) -> watch::Receiver<u64> {
        self.shared.panes_moved.subscribe()
    }

    /// Asks the task of a live agent.
    pub async fn ask(&self, agent: AgentId, ask: Ask) -> Result<(), Rejection> {
        let asks = {
            let live = self.shared.live.lock().unwrap_or_else(PoisonError::into_inner);
            live.get(&agent).filter(|live| live.run.is_some()).map(|live| live.asks.clone())
        };
        let not_running = || Rejection::new(Code::Conflict, "the agent is not running");
        asks.ok_or_else(not_running)?.send(ask).await.map_err(|_| not_running())
    }

    /// Agents with a process, for `diag runs`.
    pub fn live(&self) -> Vec<(AgentId, RunNo)> {
        let live = self.shared.live.lock().unwrap_or_else(PoisonError::into_inner);
        let mut runs: Vec<_> = live.iter().filter_map(|(agent, live)| Some((*agent, live.run?))).collect();
        runs.sort();
        runs
    }

    /// What everybody of a run carries.
    pub fn carried(&self, agent: AgentId, run: RunNo) -> Carried {
        Carried::of(&self.shared, agent, run)
    }

    /// The server ends, the agents go on: their tasks let go without touching them.
    pub fn detach(&self) {
        self.shared.detach.send_replace(true);
    }

    /// Ends every run without the log, which takes no wish; its task sees it end as if by itself.
    pub async fn stop_all(&self, grace: Duration) {
        let runs = self.shared.world.engine.published().live_runs().into_iter();
        let stops = runs.filter_map(|(agent, run, state)| {
            let (RunState::Running { process } | RunState::Stopping { process: Some(process), .. }) = state else {
                return None;
            };
            let leader = ProcessId { pid: process.pid, start_ticks: process.start_ticks };
            let carried = Carried::of(&self.shared, agent, run);
            Some(tokio::task::spawn_blocking(move || stop::stop_tree(&leader, &carried.tags(), grace)))
        });
        for ended in futures_util::future::join_all(stops).await {
            if let Err(error) = ended {
                tracing::error!(%error, "Ending a run broke.");
            }
        }
    }

    /// What a run printed last, from its tape: what scrolled away, and all there is of an ended run.
    pub fn replay(&self, agent: AgentId, run: RunNo, size: Size) -> std::io::Result<screen::Screen> {
        let mut screen = screen::Screen::of_tape(size);
        let dir = tape::dir(&self.shared.world.tapes, agent, run);
        screen.feed(&tape::tail(&dir, tape::OUT, REPLAY_BYTES)?.1);
        Ok(screen)
    }

    /// What scrolled off the screen of a run, for a terminal that is shown it as it was at `offset`, in `size`, by this
    /// snapshot. Blocks.
    pub fn history(
        &self,
        agent: AgentId,
        run: RunNo,
        (size, offset, snapshot): (Size, u64, &[u8]),
        lines: usize,
    ) -> std::io::Result<Vec<u8>> {
        let dir = tape::dir(&self.shared.world.tapes, agent, run);
        let (from, mut bytes) = tape::tail(&dir, tape::OUT, REPLAY_BYTES)?;
        bytes.truncate(usize::try_from(offset.saturating_sub(from)).unwrap_or(usize::MAX));
        let (mut replayed, mut shown) = (screen::Screen::of_tape(size), screen::Screen::live(size));
        replayed.feed(&bytes);
        shown.feed(snapshot);
        let above = replayed.rows_above(&mut shown);
        Ok(replayed.scrolled_off(above, lines, HISTORY_BYTES_MAX))
    }

    /// What removed agents left on the disk goes, by and by.
    pub fn tidy(&self) {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move { tidy::worktrees(&shared).await });
    }

    /// Rings whenever something is appended to the transcript of this agent's run, or streams.
    pub fn follow_transcript(&self, agent: AgentId) -> Listener {
        self.shared.bells.listen(agent)
    }

    /// Where a run is kept.
    pub fn dir(&self, agent: AgentId, run: RunNo) -> PathBuf {
        tape::dir(&self.shared.world.tapes, agent, run)
    }

    /// Paths in a directory where an agent works.
    pub async fn files(&self, dir: PathBuf) -> Result<Arc<Listing>, Arc<std::io::Error>> {
        self.shared.looks.at(worktree::Git::new(&self.shared.world.base_env), dir).await
    }

    pub fn leases(&self) -> &std::path::Path {
        &self.shared.world.leases
    }

    pub fn socket(&self) -> &std::path::Path {
        &self.shared.world.socket
    }

    async fn take_over(&self, mut kept: HashMap<(AgentId, RunNo), Kept>) {
        let published = Arc::clone(self.shared.world.engine.published());
        for (agent, no, state) in published.live_runs() {
            match (kept.remove(&(agent, no)), &state) {
                (Some(kept), _) => self.run_task(agent, Some((no, kept))),
                // Nothing was started yet: the wish is still open and is simply followed.
                (None, RunState::Starting | RunState::Stopping { process: None, .. }) => {
                    report::end_leftovers(&self.shared, agent, no).await;
                }
                (None, _) => {
                    report::end_leftovers(&self.shared, agent, no).await;
                    let shared = Arc::clone(&self.shared);
                    let lost = async move {
                        report::lost(&shared, agent, no, "its terminal was lost together with the server").await;
                    };
                    // A log without room would hold up the start for as long.
                    if published.mode() == amux_engine::Mode::ReadOnly {
                        tokio::spawn(lost);
                    } else {
                        lost.await;
                    }
                }
            }
        }
        for ((agent, run), kept) in kept {
            tracing::warn!(%agent, %run, "A kept terminal belongs to no live run; it is closed.");
            report::end_leftovers(&self.shared, agent, run).await;
            self.shared.world.notifier.remove_fds(&kept.name).ok();
        }
    }

    /// Starts the task of an agent unless it has one.
    fn run_task(&self, agent: AgentId, kept: Option<(RunNo, Kept)>) {
        let mut live = self.shared.live.lock().unwrap_or_else(PoisonError::into_inner);
        if live.contains_key(&agent) {
            return;
        }
        let (asks, inbox) = mpsc::channel(ASKS_MAX);
        live.insert(agent, Live { run: kept.as_ref().map(|(run, _)| *run), asks });
        drop(live);
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            // A defect in one agent's task must not take the others along; the agent itself is not touched.
            let task = tokio::spawn(agent::task(Arc::clone(&shared), agent, kept, inbox));
            if let Err(error) = task.await {
                tracing::error!(%agent, %error, "The task of an agent broke.");
            }
            shared.live.lock().unwrap_or_else(PoisonError::into_inner).remove(&agent);
            if !shared.world.engine.published().read(|state, _| state.agents.contains_key(&agent)) {
                tidy::worktrees(&shared).await;
            }
            // A wish that arrived while the task was ending would otherwise wait for the slow tick.
            shared.orphans_moved.send_modify(|count| *count += 1);
        });
    }
}

impl Shared {
    pub(crate) fn set_run(&self, agent: AgentId, run: Option<RunNo>) {
        if let Some(live) = self.live.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&agent) {
            live.run = run;
        }
    }

    pub(crate) fn tape_bytes_max(&self) -> u64 {
        self.world.engine.published().tape_bytes_max()
    }

    pub(crate) fn take_orphan(&self, pid: u32, start_ticks: u64) -> Option<OrphanExit> {
        self.orphans.lock().unwrap_or_else(PoisonError::into_inner).remove(&(pid, start_ticks))
    }
}

/// Ends what was not given in its time. A clock that was set is noticed within a slow tick.
async fn expire(shared: Arc<Shared>) {
    let published = Arc::clone(shared.world.engine.published());
    let mut head = published.watch_head();
    let mut detach = shared.detach.subscribe();
    loop {
        head.borrow_and_update();
        let next = published.read(|state, _| state.next_to_expire());
        let left = next.map(|(at, _)| u64::try_from(at.0 - amux_sys::clock::now_ms()).unwrap_or(0));
        if let (Some((_, message)), Some(0)) = (next, left)
            && report::expired(&shared, message).await
        {
            continue;
        }
        let pause = left.map(|ms| if ms == 0 { SLOW_TICK } else { Duration::from_millis(ms).min(SLOW_TICK) });
        tokio::select! {
            changed = head.changed() => if changed.is_err() { return },
            _ = detach.changed() => return,
            () = tokio::time::sleep(pause.unwrap_or(SLOW_TICK)), if pause.is_some() => {}
        }
    }
}

/// Gives every agent with an open wish a task; the tasks follow their own wishes.
async fn follow(runner: Runner) {
    let published = Arc::clone(runner.shared.world.engine.published());
    let mut moved = published.watch_wishes();
    let mut ended = runner.shared.orphans_moved.subscribe();
    let mut detach = runner.shared.detach.subscribe();
    loop {
        for wish in published.run_wishes() {
            match wish.effect {
                Effect::EnsureRunning { agent, .. } | Effect::EnsureStopped { agent, .. } => {
                    runner.run_task(agent, None)
                }
                // Those wait for an agent that runs; its task follows them.
                Effect::Deliver { .. } | Effect::Answer { .. } => {}
            }
        }
        tokio::select! {
            changed = moved.changed() => if changed.is_err() { return },
            changed = ended.changed() => if changed.is_err() { return },
            _ = detach.changed() => return,
            () = tokio::time::sleep(SLOW_TICK) => {}
        }
    }
}
