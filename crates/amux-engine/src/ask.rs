//! Questions about the domain, answered from the committed state. What only the daemon knows (its health, the
//! screens) is answered by the doors.

use amux_core::sight::Sight;
use amux_core::{attachment, kind, mail, notice, policy, resolve, setting, view};
use amux_proto::entity::{
    Activity, Agent, Attachment, Definition, Dialect, Kind, KindName, Message, Process, Recipient, Request, Right, Run,
    RunState, Team,
};
use amux_proto::query::{Act, Query};
use amux_proto::view::{AgentDetail, MessageDetail, Snapshot};
use amux_proto::{AgentId, Code, Digest, MessageId, Name, Principal, Rejection, RequestId, RunNo, Time};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::feed::Published;
use crate::store::Keep;

/// Everything that decides how an agent is started.
#[derive(Debug, Clone)]
pub struct Plan {
    /// `name@team`
    pub label: String,
    pub definition: Definition,
    /// The kind it is of may be gone from the table since the agent was made.
    pub kind: Result<Kind, Rejection>,
    /// The conversation to go on with.
    pub session: Option<String>,
    /// The one that went on until it was lost, while no other is open.
    pub lost: Option<String>,
    /// 0: it may run for ever.
    pub max_runtime_ms: u64,
    /// 0: it may be silent for ever.
    pub idle_output_ms: u64,
    /// Whether it is handed our tools.
    pub mcp: bool,
}

/// A process that an agent is known by.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    pub process: Process,
    pub agent: AgentId,
    pub run: RunNo,
    pub lives: bool,
    /// It leads a pane that was taken: the agent did not start it.
    pub is_pane: bool,
}

impl Published {
    /// Whether this principal may do this now, and still is who it was.
    pub fn may_act(&self, actor: &Principal, act: &Act) -> Result<(), Rejection> {
        self.is_current(actor)?;
        self.read(|state, _| policy::may_act(state, actor, act))
    }

    /// Whether this principal may ask this, and still is who it was.
    pub fn may_ask(&self, actor: &Principal, query: &Query) -> Result<(), Rejection> {
        self.is_current(actor)?;
        self.read(|state, _| policy::may_ask(state, actor, query))
    }

    /// Whether this principal may use a verb that is about nobody else, and still is who it was.
    pub fn may_use(&self, actor: &Principal, verb: &str) -> Result<(), Rejection> {
        self.is_current(actor)?;
        policy::allows(actor, verb)
    }

    /// Whether this principal may do this to an agent, and still is who it was.
    pub fn may(&self, actor: &Principal, right: Right, agent: AgentId) -> Result<(), Rejection> {
        if *actor == Principal::Operator {
            return Ok(());
        }
        self.is_current(actor)?;
        self.read(|state, _| policy::may(state, actor, right, agent))
    }

    /// An agent speaks for one run, and only while that run lives.
    pub fn is_current(&self, actor: &Principal) -> Result<(), Rejection> {
        match actor {
            Principal::Agent { agent, run } if !self.is_live(*agent, *run) => {
                let message = format!("this run has ended: {}, run {run}", self.label(*agent));
                Err(Rejection::new(Code::Denied, message).details(serde_json::json!({ "rule": "current_run" })))
            }
            _ => Ok(()),
        }
    }

    /// `None` for a question that is not about the domain. `old`: [`crate::Feed::old_mail`].
    pub fn answer(
        &self,
        actor: &Principal,
        query: &Query,
        old: &[Message],
        now: Time,
    ) -> Option<Result<Box<RawValue>, Rejection>> {
        let epoch = self.epoch();
        self.read(|state, head| {
            let sight = || Sight::of(state, actor);
            Some(match query {
                Query::Snapshot(query) => {
                    let of = if query.without_messages { view::snapshot_without_messages } else { view::snapshot };
                    raw(&sight().snapshot(of(state, epoch, head)))
                }
                Query::Agents(query) => view::agents(state, query).and_then(|agents| raw(&sight().agents(agents))),
                Query::Agent(query) => {
                    view::detail(state, &query.agent).and_then(|detail| raw(&sight().detail(detail)))
                }
                Query::Teams(_) => raw(&state.teams.values().collect::<Vec<_>>()),
                Query::Requests(_) => raw(&sight().requests()),
                Query::Settings(_) => raw(&sight().settings()),
                Query::Message(query) => view::message(state, old, actor, &query.message, now).and_then(|message| {
                    let led_to = query.led_to.then(|| view::led_to(state, actor, message.id));
                    raw(&MessageDetail { message, led_to })
                }),
                Query::Inbox(query) => view::inbox(state, old, actor, query, now).and_then(|mail| raw(&mail)),
                Query::Queue(query) => view::queue(state, query, now).and_then(|mail| raw(&mail)),
                Query::Thread(query) => view::thread(state, old, actor, query, now).and_then(|messages| raw(&messages)),
                Query::Kinds(_) => raw(&sight().kinds()),
                Query::Rights(query) => policy::rights(state, query.agent.as_deref()).and_then(|rights| raw(&rights)),
                Query::Status(_)
                | Query::Diag(_)
                | Query::Doctor(_)
                | Query::Look(_)
                | Query::Processes(_)
                | Query::Commands(_)
                | Query::Files(_)
                | Query::Transcript(_)
                | Query::Frames(_)
                | Query::Attachment(_)
                | Query::Events(_)
                | Query::Sessions(_)
                | Query::TeamFile(_)
                | Query::Preview(_)
                | Query::LoginCode(_) => return None,
            })
        })
    }

    /// As much of everything as this principal sees.
    pub fn snapshot(&self, actor: &Principal) -> Snapshot {
        let epoch = self.epoch();
        self.read(|state, head| Sight::of(state, actor).snapshot(view::snapshot(state, epoch, head)))
    }

    /// The agent a reference means.
    pub fn agent(&self, reference: &str) -> Result<AgentDetail, Rejection> {
        self.read(|state, _| view::detail(state, reference))
    }

    /// `name@team`
    pub fn label(&self, agent: AgentId) -> String {
        self.read(|state, _| view::label(state, agent))
    }

    pub fn principal_name(&self, principal: &Principal) -> String {
        match principal {
            Principal::Agent { agent, .. } => format!("agent:{}", self.label(*agent)),
            Principal::Operator | Principal::Peer(_) | Principal::System => principal.to_string(),
        }
    }

    /// A team with its agents, as of one moment.
    pub fn team(&self, name: &Name) -> (Option<Team>, Vec<Agent>) {
        self.read(|state, _| {
            let team = state.teams.values().find(|team| team.name == *name).cloned();
            let is_of = |agent: &&Agent| team.as_ref().is_some_and(|team| team.id == agent.team);
            let agents = state.agents.values().filter(is_of).cloned().collect();
            (team, agents)
        })
    }

    /// Whether agents are handed our tools.
    pub fn hands_out_tools(&self) -> bool {
        self.read(|state, _| setting::agent_mcp(state))
    }

    pub fn kind(&self, name: &KindName) -> Option<Kind> {
        self.read(|state, _| state.kinds.get(name).cloned())
    }

    /// What is to be run, how, and as whom.
    pub fn plan(&self, agent: AgentId) -> Option<Plan> {
        self.read(|state, _| {
            let found = state.agents.get(&agent)?;
            Some(Plan {
                label: view::label(state, agent),
                definition: found.definition.clone(),
                kind: kind::find(state, &found.definition.kind),
                session: found.session.as_ref().and_then(|session| session.id.clone()),
                lost: found
                    .session
                    .as_ref()
                    .filter(|session| session.id.is_none())
                    .and_then(|session| session.dead.last().cloned()),
                max_runtime_ms: setting::agent_max_runtime_ms(state),
                idle_output_ms: setting::agent_idle_output_ms(state),
                mcp: setting::agent_mcp(state),
            })
        })
    }

    /// How far the newest run of an agent was seen, if it is this one.
    pub fn activity(&self, agent: AgentId, run: RunNo) -> Option<Activity> {
        self.read(|state, _| {
            let current = state.agents.get(&agent)?.run.as_ref()?;
            (current.no == run).then(|| current.activity.clone())
        })
    }

    /// Whether an agent speaks in lines and shows no screen.
    pub fn has_no_terminal(&self, agent: AgentId) -> bool {
        self.read(|state, _| {
            let found = state.agents.get(&agent).and_then(|agent| kind::find(state, &agent.definition.kind).ok());
            found.is_some_and(|kind| !matches!(kind.dialect, Dialect::Pty | Dialect::Tmux))
        })
    }

    pub fn request(&self, request: RequestId) -> Option<Request> {
        self.read(|state, _| state.requests.get(&request).cloned())
    }

    pub fn message(&self, message: MessageId) -> Option<Message> {
        self.read(|state, _| state.messages.get(&message).cloned())
    }

    /// What waits for a person, of the kinds the settings name.
    pub fn waiting(&self, now: Time) -> Vec<notice::Waiting> {
        self.read(|state, _| notice::waiting(state, now))
    }

    /// The command that shows it, empty when there is none, and the pause between two of them.
    pub fn notify(&self) -> (Vec<String>, u64) {
        self.read(|state, _| (setting::notify_command(state), setting::notify_pause_ms(state)))
    }

    /// What somebody may have of a message.
    pub fn attachment(
        &self,
        actor: &Principal,
        old: &[Message],
        message: &str,
        name: Option<&str>,
    ) -> Result<Attachment, Rejection> {
        self.read(|state, _| attachment::find(state, old, actor, message, name).cloned())
    }

    /// The same, by what it holds; `None` where nothing of that kind is for them.
    pub fn held_attachment(&self, actor: &Principal, old: &[Message], digest: &Digest) -> Option<Attachment> {
        self.read(|state, _| attachment::held(state, old, actor, digest).cloned())
    }

    /// What messages hold on to.
    pub fn named_attachments(&self) -> std::collections::BTreeSet<Digest> {
        self.read(|state, _| attachment::named(state))
    }

    /// Whether a file that goes with a message may be so large.
    pub fn check_attachment_size(&self, bytes: u64) -> Result<(), Rejection> {
        self.read(|state, _| attachment::check_size(state, bytes))
    }

    /// What an agent is to be given now.
    pub fn due(&self, agent: AgentId, now: Time, is_given: impl Fn(MessageId, u32) -> bool) -> mail::Due {
        self.read(|state, _| mail::due(state, agent, now, is_given))
    }

    /// What an agent was asked and has not answered.
    pub fn owed(&self, agent: AgentId) -> Vec<MessageId> {
        self.read(|state, _| mail::owed(state, agent))
    }

    /// Whether a part of an input still waits for its agent, as far as the log knows.
    pub fn is_waiting(&self, agent: AgentId, message: MessageId, attempt: u32) -> bool {
        self.read(|state, _| {
            let to = Recipient::Agent { agent };
            let copy = state.messages.get(&message)?.deliveries.iter().find(|copy| copy.to == to)?;
            Some(copy.stage.is_waiting() && mail::attempts(copy) == attempt)
        })
        .unwrap_or(false)
    }

    /// Whoever a message is from, as its reader knows it.
    pub fn sender(&self, message: &Message) -> String {
        match &message.from {
            Principal::Agent { agent, .. } => self.label(*agent),
            other => self.principal_name(other),
        }
    }

    /// Runs that may have a process.
    pub fn live_runs(&self) -> Vec<(AgentId, RunNo, RunState)> {
        self.read(|state, _| {
            let runs = state.agents.values().filter_map(|agent| Some((agent.id, agent.run.as_ref()?)));
            runs.filter(|(_, run)| run.is_live()).map(|(agent, run)| (agent, run.no, run.state.clone())).collect()
        })
    }

    /// Processes that are agents', with all that comes from them. What leads a pane stays its agent's also while that does
    /// not run: whoever is in the pane could end the run, and be somebody else.
    pub fn origins(&self) -> Vec<Origin> {
        self.read(|state, _| {
            let runs = state.agents.values().filter_map(|agent| Some((agent.id, agent.run.as_ref()?)));
            let of = |agent, run: &Run| {
                let origin = |process, is_pane| Origin { process, agent, run: run.no, lives: run.is_live(), is_pane };
                let (process, leader) = (run.process(), run.activity.leader);
                process
                    .map(|process| origin(process, false))
                    .into_iter()
                    .chain(leader.map(|leader| origin(leader, true)))
            };
            runs.flat_map(|(agent, run)| of(agent, run).collect::<Vec<_>>()).collect()
        })
    }

    /// Whether this run of this agent is the one that lives.
    pub fn is_live(&self, agent: AgentId, run: RunNo) -> bool {
        self.read(|state, _| {
            let current = state.agents.get(&agent).and_then(|agent| agent.run.as_ref());
            current.is_some_and(|current| current.no == run && current.is_live())
        })
    }

    /// The agent and run a name stands for, if the agent is one of ours; whether that run lives is another question.
    pub fn ours(&self, agent: &str, run: &str) -> Option<(AgentId, RunNo)> {
        let (agent, run) = (agent.parse().ok()?, RunNo(run.parse().ok()?));
        self.read(|state, _| state.agents.contains_key(&agent)).then_some((agent, run))
    }

    /// How long a run rests before its tape is archived, and what the archives may take.
    pub fn archive_policy(&self) -> (i64, u64) {
        const DAY_MS: i64 = 24 * 60 * 60 * 1000;
        self.read(|state, _| {
            let days = i64::try_from(setting::archive_idle_days(state)).unwrap_or(i64::MAX / DAY_MS);
            (days * DAY_MS, setting::archive_max_mb(state) * 1_000_000)
        })
    }

    /// What the tape of a terminal may take.
    pub fn tape_bytes_max(&self) -> u64 {
        self.read(|state, _| setting::tape_max_mb(state)) * 1_000_000
    }

    pub fn agent_count(&self) -> u32 {
        self.read(|state, _| u32::try_from(state.agents.len()).unwrap_or(u32::MAX))
    }

    /// Flows under way, for `diag flows`.
    pub fn flows(&self) -> Vec<amux_proto::entity::Flow> {
        self.read(|state, _| state.flows.values().cloned().collect())
    }

    /// How much history is kept, by the settings.
    pub fn keep(&self) -> Keep {
        const DAY_MS: i64 = 24 * 60 * 60 * 1000;
        /// A retry comes within seconds; a week covers a laptop that slept.
        const RECEIPTS_DAYS: i64 = 7;
        self.read(|state, _| Keep {
            rows: setting::events_keep_rows(state),
            age_ms: i64::try_from(setting::events_keep_days(state)).unwrap_or(i64::MAX / DAY_MS) * DAY_MS,
            receipts_age_ms: RECEIPTS_DAYS * DAY_MS,
        })
    }

    /// What an agent that is stopped is given, unless somebody says otherwise.
    pub fn stop_grace_ms(&self) -> u64 {
        self.read(|state, _| setting::agent_stop_grace_ms(state))
    }

    /// Whom the browser may say it reaches, beside the addresses of this machine.
    pub fn http_allowed_origins(&self) -> Vec<String> {
        self.read(|state, _| setting::http_allowed_origins(state))
    }

    /// 0: any that is free.
    pub fn http_port(&self) -> u16 {
        self.read(|state, _| setting::http_port(state))
    }

    /// How many days of the server's own log files are kept.
    pub fn log_keep_days(&self) -> u64 {
        self.read(|state, _| setting::log_keep_days(state))
    }

    /// The agent's id, from any reference.
    pub fn resolve_agent(&self, reference: &str) -> Result<AgentId, Rejection> {
        self.read(|state, _| resolve::agent(state, reference).map(|agent| agent.id))
    }
}

/// JSON of an answer.
pub fn raw<T: Serialize + ?Sized>(answer: &T) -> Result<Box<RawValue>, Rejection> {
    serde_json::value::to_raw_value(answer)
        .map_err(|error| Rejection::new(Code::Internal, format!("the answer cannot be written: {error}")))
}
