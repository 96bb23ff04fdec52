//! Observations on their way to the log. An observation is never given up: while the store takes no writes it waits.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use amux_agents::part::{self, Part};
use amux_engine::Submission;
use amux_proto::command::run::{self, Fact};
use amux_proto::command::{agent, message};
use amux_proto::entity::{Activity, Exit, Process};
use amux_proto::transcript::InputStage;
use amux_proto::{AgentId, CmdId, Code, Command, MessageId, Principal, RunNo, Time, env};
use amux_sys::clock;

use crate::{Shared, journal, tape};

const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Leftovers of a run nobody watches get this long to end by themselves.
const LEFTOVER_GRACE: Duration = Duration::from_millis(500);

pub(crate) async fn started(shared: &Shared, agent: AgentId, run: RunNo, process: Process) {
    submit(shared, run::Command::Started(run::Started { agent, run, process })).await;
}

pub(crate) async fn failed(shared: &Shared, agent: AgentId, run: RunNo, error: String) {
    submit(shared, run::Command::Failed(run::Failed { agent, run, error })).await;
}

pub(crate) async fn exited(shared: &Shared, agent: AgentId, run: RunNo, exit: Exit) {
    submit(shared, run::Command::Exited(run::Exited { agent, run, exit })).await;
}

/// What was seen of a run, up to one input of its dialect. Whether the log has it.
pub(crate) async fn seen(
    shared: Arc<Shared>,
    agent: AgentId,
    run: RunNo,
    activity: Activity,
    facts: Vec<Fact>,
) -> bool {
    let activity = Box::new(activity);
    say(&shared, Command::Run(run::Command::Seen(run::Seen { agent, run, activity, facts }))).await
}

/// A run of which nothing can be taken over. What it was given before, and the log does not know to have arrived, was
/// perhaps read: that is said first, so that it is not given to the next run.
pub(crate) async fn lost(shared: &Arc<Shared>, agent: AgentId, run: RunNo, why: &str) {
    let published = shared.world.engine.published();
    let dir = tape::dir(&shared.world.tapes, agent, run);
    let given = tokio::task::spawn_blocking(move || journal::given(&dir)).await;
    let given = given.unwrap_or_else(|error| Err(io::Error::other(error))).unwrap_or_else(|error| {
        tracing::error!(%agent, %run, %error, "What a lost run was given cannot be read; it may be given twice.");
        Vec::new()
    });
    let waiting = given.iter().filter_map(|part| part::parse(part));
    let waiting: BTreeSet<_> = waiting.filter(|part| published.is_waiting(agent, part.message, part.attempt)).collect();
    if !waiting.is_empty() {
        let unproven = |Part { message, edition, .. }| Fact::Input {
            message,
            edition,
            stage: InputStage::Unproven,
            evidence: "the server ended while it was given".to_owned(),
        };
        let facts = waiting.into_iter().map(unproven).collect();
        let known = published.activity(agent, run).unwrap_or_default();
        let activity = Activity { seen: known.seen + 1, ..known };
        seen(Arc::clone(shared), agent, run, activity, facts).await;
    }
    submit(shared, run::Command::Lost(run::Lost { agent, run, why: why.into() })).await;
}

/// Ends whatever still carries the tag of a run whose terminal is gone, so that a new start does not run beside it.
pub(crate) async fn end_leftovers(shared: &Arc<Shared>, agent: AgentId, run: RunNo) {
    let carried = Carried::of(shared, agent, run);
    let ended = tokio::task::spawn_blocking(move || {
        for process in amux_sys::process::tagged(&carried.tags()) {
            amux_sys::stop::stop_tree(&process, &carried.tags(), LEFTOVER_GRACE);
        }
    });
    if let Err(error) = ended.await {
        tracing::error!(%agent, %run, %error, "Ending what was left of a run broke.");
    }
}

pub(crate) fn tag(agent: AgentId, run: RunNo) -> String {
    format!("{agent}:{run}")
}

/// What everybody of a run was started with. Another profile may hold a copy of this store; its processes carry another
/// socket.
pub struct Carried {
    tag: String,
    socket: PathBuf,
}

impl Carried {
    pub(crate) fn of(shared: &Shared, agent: AgentId, run: RunNo) -> Self {
        Self { tag: tag(agent, run), socket: shared.world.socket.clone() }
    }

    pub fn tags(&self) -> [(&str, &OsStr); 2] {
        [(env::TAG, self.tag.as_ref()), (env::SOCKET, self.socket.as_os_str())]
    }
}

/// The time of a message is over. Whether the log took it.
pub(crate) async fn expired(shared: &Shared, message: MessageId) -> bool {
    let expire = message::Expire { message: message.to_string() };
    say(shared, Command::Message(message::Command::Expire(expire))).await
}

/// A limit of the settings is reached.
pub(crate) async fn stop(shared: Arc<Shared>, agent: AgentId, reason: &'static str) {
    let stop = agent::Stop { agent: agent.to_string(), grace_ms: None, reason: Some(reason.to_owned()) };
    say(&shared, Command::Agent(agent::Command::Stop(stop))).await;
}

async fn submit(shared: &Shared, observation: run::Command) {
    say(shared, Command::Run(observation)).await;
}

async fn say(shared: &Shared, command: Command) -> bool {
    let cmd_id = CmdId::new(Time(clock::now_ms()), clock::random_bytes());
    let mut pause = RETRY_FIRST;
    loop {
        let submission =
            Submission { cmd_id, actor: Principal::System, command: command.clone(), expect: None, cause: None };
        match shared.world.engine.submit(submission).await {
            Ok(_) => return true,
            Err(refusal) if matches!(refusal.code, Code::ReadOnly | Code::Busy) => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY_MAX);
            }
            Err(refusal) => {
                tracing::warn!(command = command.name(), %refusal, "An observation was refused.");
                return false;
            }
        }
    }
}
