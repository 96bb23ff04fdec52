//! Random commands over the whole vocabulary. Most of them mean something in the state they are made for, some are
//! near misses, some are garbage; which, is the seed's choice alone, so that a failure can be repeated by its number.

use std::collections::BTreeMap;

use amux_core::State;
use amux_core::setting::REGISTRY;
use amux_proto::command::run::Fact;
use amux_proto::command::{
    agent, host, kind, layout, message, pane, policy, request, run, setting, tab, team, workspace,
};
use amux_proto::entity::{
    self, Activity, Answer, Attachment, Class, ClosedWhat, Content, Dialect, Exit, ExitWhy, Front, KindName, May,
    Phase, Priority, Process, Recipient, RequestKind, RequestOption, RequestOptionKind, Right, Rule, RuleAnswer, Size,
    WhileWorking, Work,
};
use amux_proto::layout::{Node, Place, Side};
use amux_proto::transcript::{Ask, InputStage, Opened, SessionOpened, Trigger, TurnEnd};
use amux_proto::{
    AgentId, ClosedId, Command, Digest, MessageId, Name, NodeId, PaneId, Principal, RequestId, RunNo, TabId, TeamId,
    ThreadId, Time, WorkspaceId,
};
use serde_json::{Value, json};
use uuid::Uuid;

/// SplitMix64: small, good enough to spread, and the same everywhere.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    #[expect(clippy::should_implement_trait, reason = "a source that never ends has no use for an Option")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to below `end`; 0 when there is none.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// True once in so many times.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub fn pick<T>(&mut self, from: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>) -> Option<T> {
        let mut from = from.into_iter();
        let at = self.below(from.len() as u64);
        from.nth(usize::try_from(at).unwrap_or(0))
    }

    pub fn uuid(&mut self) -> Uuid {
        Uuid::from_u128(u128::from(self.next()) << 64 | u128::from(self.next()))
    }
}

/// Somebody says something.
pub fn random_command(state: &State, rng: &mut Rng) -> (Principal, Command) {
    let mut lot = rng.below(VERBS.iter().map(|(weight, _)| u64::from(*weight)).sum());
    let make = VERBS.iter().find_map(|(weight, make)| match lot.checked_sub(u64::from(*weight)) {
        Some(rest) => {
            lot = rest;
            None
        }
        None => Some(make),
    });
    let make = *make.expect("a lot below the sum of the weights falls on one of them");
    let mut say = Say { state, rng };
    // With nothing there, most of the vocabulary can only be refused.
    let missing = say.missing().filter(|_| say.rng.one_in(2));
    let command = missing.unwrap_or(make)(&mut say);
    (say.actor(&command), command)
}

/// Every verb, by how often it is said. What makes things and what takes them away are in balance, so that a long
/// run neither dies out nor grows without end.
const VERBS: &[(u32, Verb)] = &[
    (2, team_create),
    (1, team_rename),
    (1, team_remove),
    (6, agent_create),
    (2, agent_rename),
    (2, agent_remove),
    (4, agent_start),
    (4, agent_stop),
    (3, agent_restart),
    (2, agent_define),
    (2, agent_describe),
    (2, agent_mail),
    (2, agent_draft),
    (10, run_started),
    (2, run_failed),
    (8, run_exited),
    (1, run_lost),
    (2, workspace_create),
    (1, workspace_rename),
    (1, workspace_move),
    (1, workspace_close),
    (2, workspace_restore),
    (6, tab_create),
    (1, tab_rename),
    (3, tab_move),
    (2, tab_pin),
    (1, tab_activate),
    (3, tab_close),
    (2, tab_tear_off),
    (16, pane_open),
    (8, pane_move),
    (5, pane_close),
    (3, pane_activate),
    (2, pane_rename),
    (3, pane_show),
    (2, pane_tear_off),
    (4, layout_resize),
    (6, layout_reopen),
    (9, run_seen),
    (1, kind_load),
    (2, policy_load),
    (3, request_decide),
    (8, message_send),
    (4, message_ack),
    (2, message_cancel),
    (3, message_seen),
    (3, message_retry),
    (3, message_release),
    (3, message_move),
    (4, message_edit),
    (6, message_expire),
    (4, message_file),
    (2, setting_set),
    (1, setting_unset),
    (1, setting_load),
    (1, host_boot),
];

/// Few, so that they meet; some read like the ends of ids.
const NAMES: &[&str] = &["scout", "lead", "api", "web", "db", "beef", "cafe01", "default", "x-1", "r_2"];

type Verb = fn(&mut Say<'_>) -> Command;

struct Say<'a> {
    state: &'a State,
    rng: &'a mut Rng,
}

impl Say<'_> {
    /// Words that a message has, or had when somebody looked.
    fn edition(&mut self, message: MessageId) -> u32 {
        let newest = self.state.messages.get(&message).map_or(0, |known| known.edition);
        let back = if self.rng.one_in(2) { 0 } else { self.rng.below(u64::from(newest) + 1) };
        newest - u32::try_from(back).expect("no more than there are")
    }

    /// What makes the first of what there is none of.
    fn missing(&self) -> Option<Verb> {
        if self.state.agents.len() < 3 {
            Some(agent_create)
        } else if self.state.workspaces.is_empty() {
            Some(workspace_create)
        } else if self.state.tabs.len() < 2 {
            Some(tab_create)
        } else if self.state.panes.len() < 4 {
            Some(pane_open)
        } else {
            None
        }
    }

    /// Mostly the one who may.
    fn actor(&mut self, command: &Command) -> Principal {
        let observed = matches!(
            command.name(),
            "run.started"
                | "run.failed"
                | "run.exited"
                | "run.lost"
                | "run.seen"
                | "kind.load"
                | "policy.load"
                | "setting.load"
                | "host.boot"
        );
        let talks = command.name().starts_with("message.") || command.name() == "request.decide";
        match self.rng.below(30) {
            0 => Principal::Peer("elsewhere".into()),
            1 => Principal::System,
            2 => Principal::Operator,
            3 => self.an_agent(),
            4..=12 if talks => self.an_agent(),
            _ if observed => Principal::System,
            _ => Principal::Operator,
        }
    }

    fn an_agent(&mut self) -> Principal {
        let Some(agent) = self.rng.pick(self.state.agents.values()) else { return Principal::Operator };
        let run = agent.run.as_ref().map_or(RunNo(1), |run| run.no);
        let run = if self.rng.one_in(10) { RunNo(run.0.saturating_sub(1)) } else { run };
        Principal::Agent { agent: agent.id, run }
    }

    fn name(&mut self) -> Name {
        let name = self.rng.pick(NAMES).copied().unwrap_or("scout");
        Name::new(name).expect("the names here are names")
    }

    fn text(&mut self) -> String {
        match self.rng.below(40) {
            0 => String::new(),
            1 => " ".into(),
            2 => "two\nlines".into(),
            3 => "x".repeat(300),
            4 => "\u{202e}drawkcab".into(),
            at => format!("text {at}"),
        }
    }

    /// A reference as people write it: the id, its end, something that is not there.
    fn reference(&mut self, id: Option<Uuid>) -> String {
        let Some(id) = id else { return self.nothing() };
        match self.rng.below(20) {
            0 => self.nothing(),
            1..=5 => id.simple().to_string()[20..].to_owned(),
            6 => id.to_string()[24..].to_uppercase(),
            7 => id.simple().to_string()[31..].to_owned(),
            _ => id.to_string(),
        }
    }

    fn nothing(&mut self) -> String {
        match self.rng.below(6) {
            0 => String::new(),
            1 => "nobody@nowhere".into(),
            2 => "no such thing".into(),
            3 => "ffff".into(),
            4 => "@".into(),
            _ => self.rng.uuid().to_string(),
        }
    }

    fn team(&mut self) -> String {
        let Some(team) = self.rng.pick(self.state.teams.values()) else { return self.nothing() };
        if self.rng.one_in(3) { self.reference(Some(team.id.0)) } else { team.name.to_string() }
    }

    fn agent(&mut self) -> String {
        let Some(agent) = self.rng.pick(self.state.agents.values()) else { return self.nothing() };
        let team = self.state.teams.get(&agent.team).map(|team| team.name.to_string()).unwrap_or_default();
        match self.rng.below(4) {
            0 => self.reference(Some(agent.id.0)),
            1 => agent.name.to_string(),
            2 => format!("{}@{team}", agent.name).to_uppercase(),
            _ => format!("{}@{team}", agent.name),
        }
    }

    fn agent_id(&mut self) -> AgentId {
        let known = self.rng.pick(self.state.agents.keys()).copied();
        known.filter(|_| !self.rng.one_in(20)).unwrap_or_else(|| AgentId(self.rng.uuid()))
    }

    fn workspace(&mut self) -> String {
        let id = self.rng.pick(self.state.workspaces.keys()).map(|id| id.0);
        self.reference(id)
    }

    fn tab_id(&mut self) -> Option<TabId> {
        self.rng.pick(self.state.tabs.keys()).copied()
    }

    fn tab(&mut self) -> String {
        let id = self.tab_id().map(|id| id.0);
        self.reference(id)
    }

    fn pane_id(&mut self) -> Option<PaneId> {
        self.rng.pick(self.state.panes.keys()).copied()
    }

    /// Another text, or what it is already: asking for that must change nothing.
    fn text_or(&mut self, current: Option<String>) -> String {
        let text = self.text();
        current.filter(|_| self.rng.one_in(4)).unwrap_or(text)
    }

    fn pane(&mut self) -> String {
        let id = self.pane_id().map(|id| id.0);
        self.reference(id)
    }

    /// An id to bring along: none, a new one, or one that is taken.
    fn own_id<T>(&mut self, taken: Option<T>, make: fn(Uuid) -> T) -> Option<T> {
        match self.rng.below(10) {
            0 => taken,
            1..=3 => Some(make(self.rng.uuid())),
            _ => None,
        }
    }

    fn index(&mut self) -> u32 {
        match self.rng.below(10) {
            0 => u32::MAX,
            other => u32::try_from(other % 5).unwrap_or(0),
        }
    }

    fn content(&mut self) -> Content {
        match self.rng.below(4) {
            0 => Content::Empty,
            1 => Content::View { view: self.rng.pick(["events", "inbox", "No view"]).unwrap_or("events").into() },
            _ => Content::Agent { agent: self.agent_id() },
        }
    }

    fn side(&mut self) -> Side {
        self.rng.pick([Side::Left, Side::Right, Side::Up, Side::Down]).unwrap_or(Side::Left)
    }

    fn place(&mut self) -> Place {
        let tab = self.tab_id().unwrap_or_else(|| TabId(self.rng.uuid()));
        let pane = self.pane_id().unwrap_or_else(|| PaneId(self.rng.uuid()));
        match self.rng.below(6) {
            0 => Place::Tab { tab },
            1 => Place::Edge { tab, side: self.side() },
            2 | 3 => Place::Beside { pane, side: self.side() },
            _ => Place::Stack { pane, index: (!self.rng.one_in(3)).then(|| self.index()) },
        }
    }

    /// The newest run of an agent, sometimes one before or after it.
    fn observed(&mut self) -> (AgentId, RunNo, Option<Process>) {
        let live = |agent: &&entity::Agent| agent.run.as_ref().is_some_and(entity::Run::is_live);
        let live: Vec<AgentId> = self.state.agents.values().filter(live).map(|agent| agent.id).collect();
        let live = self.rng.pick(live).filter(|_| !self.rng.one_in(4));
        let agent = live.unwrap_or_else(|| self.agent_id());
        let run = self.state.agents.get(&agent).and_then(|agent| agent.run.clone());
        let no = run.as_ref().map_or(1, |run| run.no.0);
        let no = match self.rng.below(20) {
            0 => no.saturating_sub(1),
            1 => no + 1,
            _ => no,
        };
        (agent, RunNo(no), run.and_then(|run| run.process()))
    }

    fn value(&mut self, key: &str) -> Value {
        let known = REGISTRY.iter().find(|known| known.key == key);
        match (self.rng.below(8), known) {
            (0, _) => json!("many"),
            (1, _) => json!(-1),
            (2, Some(known)) => json!(known.max + 1),
            (3, Some(known)) => json!(known.min),
            // A small shelf, so that things fall off it.
            (4 | 5, Some(known)) if known.key == "shelf.keep" => json!(1 + self.rng.below(4)),
            (_, Some(known)) => json!(known.default + self.rng.below(3)),
            (_, None) => json!(7),
        }
    }

    fn key(&mut self) -> String {
        let known = self.rng.pick(REGISTRY).map(|known| known.key.to_owned());
        known.filter(|_| !self.rng.one_in(10)).unwrap_or_else(|| "shelf.kep".into())
    }
}

fn team_create(s: &mut Say<'_>) -> Command {
    let taken = s.rng.pick(s.state.teams.keys()).copied();
    team::Command::Create(team::Create { id: s.own_id(taken, TeamId), name: s.name() }).into()
}

fn team_rename(s: &mut Say<'_>) -> Command {
    team::Command::Rename(team::Rename { team: s.team(), name: s.name() }).into()
}

fn team_remove(s: &mut Say<'_>) -> Command {
    team::Command::Remove(team::Remove { team: s.team(), with_agents: !s.rng.one_in(3) }).into()
}

fn agent_create(s: &mut Say<'_>) -> Command {
    let kind = match s.rng.below(6) {
        0 => KindName("claude".into()),
        1 => KindName("unheard-of".into()),
        2 | 3 => KindName::shell(),
        _ => KindName::cmd(),
    };
    let env = match s.rng.below(12) {
        0 => BTreeMap::from([("AGENTMUX_TOKEN".to_owned(), "mine".to_owned())]),
        1 => BTreeMap::from([("A=B".to_owned(), "1".to_owned())]),
        2..=4 => BTreeMap::from([("COLOR".to_owned(), "1".to_owned())]),
        _ => BTreeMap::new(),
    };
    let taken = s.rng.pick(s.state.agents.keys()).copied();
    agent::Command::Create(agent::Create {
        id: s.own_id(taken, AgentId),
        name: s.name(),
        team: if s.rng.one_in(3) { None } else { Some(s.team()) },
        kind,
        model: s.rng.one_in(6).then(|| "large".to_owned()),
        mode: None,
        resume: s.rng.one_in(6).then(|| "a-conversation".to_owned()),
        worktree: s.rng.one_in(8),
        argv: if s.rng.one_in(6) { Vec::new() } else { vec!["sleep".into(), "1000".into()] },
        cwd: if s.rng.one_in(15) { "here".into() } else { "/tmp".into() },
        env,
        size: s.rng.one_in(3).then(|| Size { rows: u16::try_from(s.rng.below(60)).unwrap_or(1), cols: 100 }),
        start: !s.rng.one_in(4),
    })
    .into()
}

fn agent_rename(s: &mut Say<'_>) -> Command {
    agent::Command::Rename(agent::Rename { agent: s.agent(), name: s.name() }).into()
}

fn agent_remove(s: &mut Say<'_>) -> Command {
    agent::Command::Remove(agent::Remove { agent: s.agent(), stop: !s.rng.one_in(3) }).into()
}

fn agent_start(s: &mut Say<'_>) -> Command {
    agent::Command::Start(agent::Start { agent: s.agent() }).into()
}

fn grace(s: &mut Say<'_>) -> Option<u64> {
    match s.rng.below(8) {
        0 => Some(u64::MAX),
        1 => Some(0),
        2 => Some(s.rng.below(9000)),
        _ => None,
    }
}

fn agent_stop(s: &mut Say<'_>) -> Command {
    agent::Command::Stop(agent::Stop {
        agent: s.agent(),
        grace_ms: grace(s),
        reason: s.rng.one_in(4).then(|| s.text()),
    })
    .into()
}

fn agent_restart(s: &mut Say<'_>) -> Command {
    let define = s.rng.one_in(3).then(|| work(s));
    agent::Command::Restart(agent::Restart { agent: s.agent(), grace_ms: grace(s), define }).into()
}

fn work(s: &mut Say<'_>) -> Work {
    Work {
        kind: if s.rng.one_in(2) { KindName::cmd() } else { KindName::shell() },
        argv: if s.rng.one_in(6) { Vec::new() } else { vec!["sleep".into(), format!("{}", 1000 + s.rng.below(3))] },
        cwd: if s.rng.one_in(15) { "here".into() } else { "/tmp".into() },
        env: BTreeMap::new(),
        size: None,
        model: None,
        mode: None,
        worktree: s.rng.one_in(8),
    }
}

fn agent_define(s: &mut Say<'_>) -> Command {
    let Work { kind, argv, cwd, env, size, model, mode, worktree } = work(s);
    agent::Command::Define(agent::Define { agent: s.agent(), kind, argv, cwd, env, size, model, mode, worktree }).into()
}

fn agent_describe(s: &mut Say<'_>) -> Command {
    let groups = (0..s.rng.below(3)).map(|_| s.name()).collect();
    let role = s.rng.one_in(2).then(|| "reviews".to_owned());
    agent::Command::Describe(agent::Describe { agent: s.agent(), role, groups }).into()
}

fn agent_mail(s: &mut Say<'_>) -> Command {
    let while_working = match s.rng.below(4) {
        0 => Some(WhileWorking::Now),
        1 => Some(WhileWorking::Boundary),
        2 => Some(WhileWorking::TurnEnd),
        _ => None,
    };
    agent::Command::Mail(agent::Mail {
        agent: s.agent(),
        paused: s.rng.one_in(2).then(|| s.rng.one_in(3)),
        while_working,
        boundary_ms: s.rng.one_in(4).then(|| s.rng.below(20_000)),
        wakes_per_hour: s.rng.one_in(4).then(|| u32::try_from(s.rng.below(5)).unwrap_or(0)),
    })
    .into()
}

fn agent_draft(s: &mut Say<'_>) -> Command {
    let text = ["", "not sent yet", "words"][usize::try_from(s.rng.below(3)).unwrap_or(0)].to_owned();
    agent::Command::Draft(agent::Draft { agent: s.agent(), text }).into()
}

fn run_started(s: &mut Say<'_>) -> Command {
    let (agent, run, process) = s.observed();
    let fresh =
        Process { pid: 1000 + u32::try_from(s.rng.below(9000)).unwrap_or(0), start_ticks: s.rng.below(1 << 40) };
    let process = process.filter(|_| s.rng.one_in(2)).unwrap_or(fresh);
    run::Command::Started(run::Started { agent, run, process }).into()
}

fn run_failed(s: &mut Say<'_>) -> Command {
    let (agent, run, _) = s.observed();
    run::Command::Failed(run::Failed { agent, run, error: "no such program".into() }).into()
}

fn run_exited(s: &mut Say<'_>) -> Command {
    let (agent, run, _) = s.observed();
    let exit = match s.rng.below(4) {
        0 => Exit { code: None, signal: Some(9), why: ExitWhy::Killed, survivors: vec![77] },
        1 => Exit { code: Some(1), signal: None, why: ExitWhy::Itself, survivors: Vec::new() },
        2 => Exit { code: Some(0), signal: None, why: ExitWhy::Itself, survivors: Vec::new() },
        _ => Exit { code: None, signal: Some(15), why: ExitWhy::Stopped, survivors: Vec::new() },
    };
    run::Command::Exited(run::Exited { agent, run, exit }).into()
}

/// What a dialect reports: mostly the next input, sometimes one that was reported before.
fn run_seen(s: &mut Say<'_>) -> Command {
    let (agent, run, _) = s.observed();
    let known = s.state.agents.get(&agent).and_then(|agent| agent.run.as_ref()).map(|run| run.activity.clone());
    let mut activity = known.unwrap_or_default();
    activity.seen = if s.rng.one_in(10) { activity.seen } else { activity.seen + 1 + s.rng.below(3) };
    activity.phase = match s.rng.below(6) {
        0 => Phase::Idle,
        1 => Phase::Working { doing: Some(s.text()) },
        2 => Phase::Retrying { attempt: 1, max: Some(10), until: Some(Time(1_700_000_000_000)), reason: s.text() },
        3 => Phase::Compacting,
        4 => Phase::Silent { reason: "tmux does not answer".into() },
        _ => Phase::Limited { reason: s.text(), until: None },
    };
    let name = |s: &mut Say<'_>| s.rng.one_in(4).then(|| s.text());
    activity.front = Front { program: name(s), instead: name(s), is_shell: s.rng.one_in(4), group: None };
    activity.evidence = s.text();
    activity.tasks = u32::try_from(s.rng.below(3)).unwrap_or(0);
    let mut facts: Vec<Fact> = (0..s.rng.below(4)).map(|_| fact(s, &mut activity)).collect();
    // Some questions are closed in the report that opens them.
    let asked = facts.iter().find_map(|fact| match fact {
        Fact::Asked { request, .. } => Some(*request),
        _ => None,
    });
    facts.extend(asked.filter(|_| s.rng.one_in(6)).map(|request| Fact::AskClosed { request, how: s.text() }));
    run::Command::Seen(run::Seen { agent, run, activity: Box::new(activity), facts }).into()
}

fn fact(s: &mut Say<'_>, activity: &mut Activity) -> Fact {
    let session = |s: &mut Say<'_>| format!("session-{}", s.rng.below(6));
    match s.rng.below(10) {
        0 => {
            let how = match s.rng.below(3) {
                0 => Opened::New,
                1 => Opened::Resumed,
                _ => Opened::Fresh { attempted: session(s), why: s.text() },
            };
            Fact::Session { session: SessionOpened { id: session(s), how, model: None, mode: None, cwd: None } }
        }
        1 => Fact::SessionLost { session: session(s), why: s.text() },
        2 => {
            activity.turn += 1;
            activity.turn_open = true;
            Fact::TurnStarted { turn: activity.turn, trigger: Trigger::Input }
        }
        3 => {
            activity.turn_open = false;
            let end = if s.rng.one_in(3) { TurnEnd::Interrupted } else { TurnEnd::Done };
            Fact::TurnEnded { turn: activity.turn, end }
        }
        4..=6 => asked(s),
        7 => {
            let known = s.rng.pick(s.state.requests.keys()).copied();
            let request = known.filter(|_| !s.rng.one_in(8)).unwrap_or_else(|| RequestId(s.rng.uuid()));
            Fact::AskClosed { request, how: s.text() }
        }
        _ => {
            let known = s.rng.pick(s.state.messages.keys().rev().take(10).collect::<Vec<_>>()).copied();
            let message = known.unwrap_or_else(|| MessageId(s.rng.uuid()));
            let stages = [
                InputStage::Handed,
                InputStage::Shown,
                InputStage::Begun,
                InputStage::Ended,
                InputStage::Failed,
                InputStage::Refused,
                InputStage::Unproven,
            ];
            let stage = s.rng.pick(stages).unwrap_or(InputStage::Handed);
            let edition = s.edition(message);
            Fact::Input { message, stage, evidence: s.text(), edition }
        }
    }
}

fn asked(s: &mut Say<'_>) -> Fact {
    let kinds = [RequestKind::Permission, RequestKind::Question, RequestKind::Login, RequestKind::HeldMessage];
    let option = |id: &str, kind| RequestOption { id: id.into(), label: id.to_uppercase(), kind };
    let mut options = vec![option("yes", RequestOptionKind::AllowOnce), option("no", RequestOptionKind::RejectOnce)];
    if s.rng.one_in(10) {
        options.push(option("yes", RequestOptionKind::Choice));
    }
    let taken = s.rng.pick(s.state.requests.keys()).copied();
    let request = taken.filter(|_| s.rng.one_in(10)).unwrap_or_else(|| RequestId(s.rng.uuid()));
    let ask = Ask {
        id: s.text(),
        kind: s.rng.pick(kinds).unwrap_or(RequestKind::Question),
        title: s.text(),
        detail: s.text(),
        options,
        tool: s.rng.one_in(2).then(|| "Bash".to_owned()),
        subject: s.rng.one_in(2).then(|| format!("git {}", s.rng.below(4))),
    };
    Fact::Asked { request, ask: Box::new(ask) }
}

fn kind_load(s: &mut Say<'_>) -> Command {
    let kind = |program: &str, dialect| entity::Kind {
        dialect,
        program: Some(program.to_owned()),
        args: Vec::new(),
        new_args: Vec::new(),
        resume_args: vec!["--resume".to_owned(), "{session}".to_owned()],
        model_args: Vec::new(),
        mode_args: Vec::new(),
        mcp_args: Vec::new(),
        env: BTreeMap::new(),
        unset: Vec::new(),
        install: None,
        about: String::new(),
    };
    let mut kinds = BTreeMap::from([("claude".to_owned(), kind("claude", Dialect::Claude))]);
    if s.rng.one_in(2) {
        kinds.insert("other".to_owned(), kind("other", Dialect::Acp));
    }
    kind::Command::Load(kind::Load { kinds }).into()
}

fn policy_load(s: &mut Say<'_>) -> Command {
    let answers = [RuleAnswer::Allow, RuleAnswer::Deny, RuleAnswer::Ask];
    let rules = (0..s.rng.below(3)).map(|_| Rule {
        agent: None,
        tool: s.rng.one_in(2).then(|| if s.rng.one_in(8) { String::new() } else { "Bash".to_owned() }),
        subject: s.rng.one_in(2).then(|| format!("git {}*", s.rng.below(4))),
        answer: s.rng.pick(answers).unwrap_or(RuleAnswer::Ask),
    });
    let rules = rules.collect();
    let who = ["agents", "team:shop", "role:plans", "scout@default", "lead@shop"];
    let to = ["self", "team", "all", "nobody", "team:shop", "api@default"];
    let may = (0..s.rng.below(4)).map(|_| May {
        who: s.rng.pick(who).unwrap_or("agents").to_owned(),
        rights: Right::ALL.into_iter().filter(|_| s.rng.one_in(2)).collect(),
        to: s.rng.pick(to).unwrap_or("all").to_owned(),
    });
    let may = may.collect();
    policy::Command::Load(policy::Load { rules, may }).into()
}

fn run_lost(s: &mut Say<'_>) -> Command {
    let (agent, run, _) = s.observed();
    run::Command::Lost(run::Lost { agent, run, why: "nobody saw it end".into() }).into()
}

fn workspace_create(s: &mut Say<'_>) -> Command {
    let taken = s.rng.pick(s.state.workspaces.keys()).copied();
    workspace::Command::Create(workspace::Create { id: s.own_id(taken, WorkspaceId), name: s.text() }).into()
}

fn workspace_rename(s: &mut Say<'_>) -> Command {
    let found = s.rng.pick(s.state.workspaces.values());
    let name = s.text_or(found.map(|workspace| workspace.name.clone()));
    let workspace = s.reference(found.map(|workspace| workspace.id.0));
    workspace::Command::Rename(workspace::Rename { workspace, name }).into()
}

fn workspace_move(s: &mut Say<'_>) -> Command {
    workspace::Command::Move(workspace::Move { workspace: s.workspace(), index: s.index() }).into()
}

fn workspace_close(s: &mut Say<'_>) -> Command {
    workspace::Command::Close(workspace::Close { workspace: s.workspace() }).into()
}

fn workspace_restore(s: &mut Say<'_>) -> Command {
    let torn = s.state.workspaces.values().filter(|workspace| workspace.torn_from.is_some());
    let torn: Vec<Uuid> = torn.map(|workspace| workspace.id.0).collect();
    let id = s.rng.pick(torn);
    let workspace = if id.is_some() { s.reference(id) } else { s.workspace() };
    workspace::Command::Restore(workspace::Restore { workspace }).into()
}

fn tab_create(s: &mut Say<'_>) -> Command {
    let taken = s.tab_id();
    let standing = s.pane_id();
    tab::Command::Create(tab::Create {
        id: s.own_id(taken, TabId),
        workspace: s.workspace(),
        name: s.rng.one_in(2).then(|| s.text()),
        index: s.rng.one_in(2).then(|| s.index()),
        pane: s.own_id(standing, PaneId),
        content: s.rng.one_in(2).then(|| s.content()),
    })
    .into()
}

fn tab_rename(s: &mut Say<'_>) -> Command {
    let found = s.rng.pick(s.state.tabs.values());
    let name = s.text_or(found.map(|tab| tab.name.clone()));
    tab::Command::Rename(tab::Rename { tab: s.reference(found.map(|tab| tab.id.0)), name }).into()
}

fn tab_move(s: &mut Say<'_>) -> Command {
    let workspace = s.rng.one_in(2).then(|| s.workspace());
    tab::Command::Move(tab::Move { tab: s.tab(), workspace, index: s.index() }).into()
}

fn tab_pin(s: &mut Say<'_>) -> Command {
    tab::Command::Pin(tab::Pin { tab: s.tab(), pinned: s.rng.one_in(2) }).into()
}

fn tab_activate(s: &mut Say<'_>) -> Command {
    tab::Command::Activate(tab::Activate { tab: s.tab() }).into()
}

fn tab_close(s: &mut Say<'_>) -> Command {
    tab::Command::Close(tab::Close { tab: s.tab() }).into()
}

fn tab_tear_off(s: &mut Say<'_>) -> Command {
    let taken = s.rng.pick(s.state.workspaces.keys()).copied();
    let workspace = s.own_id(taken, WorkspaceId);
    tab::Command::TearOff(tab::TearOff { tab: s.tab(), workspace, name: s.rng.one_in(2).then(|| s.text()) }).into()
}

fn pane_open(s: &mut Say<'_>) -> Command {
    // One that was closed stays taken while it can come back.
    let closed = s.state.closed.values().find_map(|closed| match &closed.what {
        ClosedWhat::Pane { pane, .. } => Some(pane.id),
        ClosedWhat::Tab { .. } | ClosedWhat::Workspace { .. } => None,
    });
    let taken = if s.rng.one_in(2) { closed } else { s.pane_id() };
    pane::Command::Open(pane::Open {
        id: s.own_id(taken, PaneId),
        content: s.content(),
        place: s.place(),
        title: s.rng.one_in(3).then(|| s.text()),
    })
    .into()
}

fn pane_move(s: &mut Say<'_>) -> Command {
    pane::Command::Move(pane::Move { pane: s.pane(), place: s.place() }).into()
}

fn pane_close(s: &mut Say<'_>) -> Command {
    pane::Command::Close(pane::Close { pane: s.pane() }).into()
}

fn pane_activate(s: &mut Say<'_>) -> Command {
    pane::Command::Activate(pane::Activate { pane: s.pane() }).into()
}

fn pane_rename(s: &mut Say<'_>) -> Command {
    let found = s.rng.pick(s.state.panes.values());
    let title = s.rng.one_in(2).then(|| s.text_or(found.and_then(|pane| pane.title.clone())));
    pane::Command::Rename(pane::Rename { pane: s.reference(found.map(|pane| pane.id.0)), title }).into()
}

fn pane_show(s: &mut Say<'_>) -> Command {
    let found = s.rng.pick(s.state.panes.values());
    let content = found.map(|pane| pane.content.clone()).filter(|_| s.rng.one_in(4));
    let content = content.unwrap_or_else(|| s.content());
    pane::Command::Show(pane::Show { pane: s.reference(found.map(|pane| pane.id.0)), content }).into()
}

fn pane_tear_off(s: &mut Say<'_>) -> Command {
    let (workspace, tab) = (s.rng.pick(s.state.workspaces.keys()).copied(), s.tab_id());
    pane::Command::TearOff(pane::TearOff {
        pane: s.pane(),
        workspace: s.own_id(workspace, WorkspaceId),
        tab: s.own_id(tab, TabId),
        name: s.rng.one_in(2).then(|| s.text()),
    })
    .into()
}

fn layout_resize(s: &mut Say<'_>) -> Command {
    let split_tabs: Vec<_> = s.state.tabs.values().filter(|tab| matches!(tab.root, Some(Node::Split { .. }))).collect();
    let Some(tab) = s.rng.pick(split_tabs) else {
        let (tab, split) = (s.tab(), NodeId(s.rng.uuid()));
        return layout::Command::Resize(layout::Resize { tab, split, sizes: vec![1, 1] }).into();
    };
    let mut splits = Vec::new();
    tab.root.iter().for_each(|root| collect_splits(root, &mut splits));
    let (split, children) = s.rng.pick(splits).unwrap_or((NodeId(s.rng.uuid()), 2));
    let children = if s.rng.one_in(10) { children + 1 } else { children };
    let sizes = (0..children).map(|_| match s.rng.below(20) {
        0 => 0,
        1 => u32::MAX,
        other => u32::try_from(other).unwrap_or(1),
    });
    let sizes = sizes.collect();
    layout::Command::Resize(layout::Resize { tab: s.reference(Some(tab.id.0)), split, sizes }).into()
}

fn collect_splits(node: &Node, to: &mut Vec<(NodeId, usize)>) {
    if let Node::Split { id, children, .. } = node {
        to.push((*id, children.len()));
        children.iter().for_each(|child| collect_splits(&child.node, to));
    }
}

fn layout_reopen(s: &mut Say<'_>) -> Command {
    let closed = match s.rng.below(6) {
        0 => Some(ClosedId(s.rng.uuid())),
        1 | 2 => s.rng.pick(s.state.closed.keys()).copied(),
        _ => None,
    };
    layout::Command::Reopen(layout::Reopen { closed }).into()
}

fn request_decide(s: &mut Say<'_>) -> Command {
    let id = s.rng.pick(s.state.requests.keys()).map(|id| id.0);
    let answer = match s.rng.below(6) {
        0 => Answer::Text { text: s.text() },
        1 => Answer::Option { option: "perhaps".into(), text: None },
        2 => Answer::Option { option: "no".into(), text: None },
        _ => Answer::Option { option: "yes".into(), text: None },
    };
    request::Command::Decide(request::Decide { request: s.reference(id), answer }).into()
}

fn message_send(s: &mut Say<'_>) -> Command {
    let to = (0..=s.rng.below(3)).map(|_| match s.rng.below(10) {
        0 => "operator".to_owned(),
        1 => "all".to_owned(),
        2 => format!("team:{}", s.team()),
        3 => format!("group:{}", s.name()),
        4 => "role:reviews".to_owned(),
        _ => s.agent(),
    });
    let to = to.collect();
    let known = s.rng.pick(s.state.messages.keys()).copied();
    message::Command::Send(message::Send {
        id: s.own_id(known, MessageId),
        to,
        body: s.text(),
        reply_to: known.filter(|_| s.rng.one_in(2)),
        thread: s.rng.one_in(10).then(|| ThreadId(s.rng.uuid())),
        key: s.rng.one_in(4).then(|| format!("key-{}", s.rng.below(20))),
        priority: match s.rng.below(5) {
            0 => Priority::Low,
            1 => Priority::Urgent,
            _ => Priority::Normal,
        },
        class: match s.rng.below(5) {
            0 => Class::State,
            1 => Class::Info,
            _ => Class::Request,
        },
        ttl_ms: s.rng.one_in(4).then(|| s.rng.below(5_000)),
        wants_answer: s.rng.one_in(6),
        attachments: attachments(s),
    })
    .into()
}

/// Mostly none, and now and then one that may not be.
fn attachments(s: &mut Say<'_>) -> Vec<Attachment> {
    let count = if s.rng.one_in(8) { s.rng.below(3) } else { 0 };
    let one = |s: &mut Say<'_>| {
        let name = if s.rng.one_in(6) { "../x".to_owned() } else { format!("file-{}", s.rng.below(4)) };
        let digest = Digest::of([u8::try_from(s.rng.below(4)).unwrap_or(0); 32]);
        Attachment { name, bytes: s.rng.below(12_000_000), digest }
    };
    (0..count).map(|_| one(s)).collect()
}

/// Mostly the newest: old ones are long over.
fn message_reference(s: &mut Say<'_>) -> String {
    let newest: Vec<_> = s.state.messages.keys().rev().take(10).collect();
    let id = s.rng.pick(newest).map(|id| id.0);
    s.reference(id)
}

fn message_ack(s: &mut Say<'_>) -> Command {
    message::Command::Ack(message::Ack { message: message_reference(s) }).into()
}

fn message_cancel(s: &mut Say<'_>) -> Command {
    message::Command::Cancel(message::Cancel { message: message_reference(s), to: one_copy(s) }).into()
}

fn one_copy(s: &mut Say<'_>) -> Option<String> {
    match s.rng.below(6) {
        0 => Some("operator".to_owned()),
        1 | 2 => Some(s.agent()),
        _ => None,
    }
}

fn message_seen(s: &mut Say<'_>) -> Command {
    let messages: Vec<String> = (0..s.rng.below(4)).map(|_| message_reference(s)).collect();
    let said = if s.rng.one_in(3) { 0 } else { messages.len() };
    let editions = (0..said).map(|_| s.rng.below(3) as u32).collect();
    message::Command::Seen(message::Seen { messages, editions }).into()
}

fn message_retry(s: &mut Say<'_>) -> Command {
    message::Command::Retry(message::Retry { message: message_reference(s), to: one_copy(s) }).into()
}

fn message_release(s: &mut Say<'_>) -> Command {
    message::Command::Release(message::Release { message: message_reference(s), to: one_copy(s) }).into()
}

fn message_move(s: &mut Say<'_>) -> Command {
    let before = s.rng.one_in(2).then(|| message_reference(s));
    let copies =
        s.state.messages.values().flat_map(|message| message.deliveries.iter().map(move |copy| (message.id, copy)));
    let waiting = copies.filter_map(|(id, copy)| match copy.to {
        Recipient::Agent { agent } if copy.stage.is_waiting() => Some((id.to_string(), agent.to_string())),
        Recipient::Agent { .. } | Recipient::Operator => None,
    });
    let waiting: Vec<_> = waiting.collect();
    let known = s.rng.pick(&waiting).cloned().filter(|_| s.rng.one_in(2));
    let (message, to) = known.unwrap_or_else(|| (message_reference(s), s.agent()));
    message::Command::Move(message::Move { message, to, before }).into()
}

fn message_edit(s: &mut Say<'_>) -> Command {
    message::Command::Edit(message::Edit { message: message_reference(s), body: s.text() }).into()
}

fn message_expire(s: &mut Say<'_>) -> Command {
    let next = s.state.next_to_expire().map(|(_, message)| message.to_string());
    let message = next.filter(|_| !s.rng.one_in(4)).unwrap_or_else(|| message_reference(s));
    message::Command::Expire(message::Expire { message }).into()
}

fn message_file(_: &mut Say<'_>) -> Command {
    message::Command::File(message::File {}).into()
}

fn setting_set(s: &mut Say<'_>) -> Command {
    let key = s.key();
    let value = s.value(&key);
    setting::Command::Set(setting::Set { key, value }).into()
}

fn setting_unset(s: &mut Say<'_>) -> Command {
    setting::Command::Unset(setting::Unset { key: s.key() }).into()
}

fn setting_load(s: &mut Say<'_>) -> Command {
    let mut values = BTreeMap::new();
    for _ in 0..s.rng.below(3) {
        let key = s.key();
        let value = s.value(&key);
        values.insert(key, value);
    }
    setting::Command::Load(setting::Load { values }).into()
}

fn host_boot(s: &mut Say<'_>) -> Command {
    let boot_id = format!("boot-{}", s.rng.below(3));
    host::Command::Boot(host::Boot { hostname: "here".into(), boot_id, version: "0.1.0".into() }).into()
}
