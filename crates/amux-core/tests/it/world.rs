//! A state to say things to, and short words for saying them.

use std::collections::BTreeMap;

use amux_core::{Ctx, Decided, State, apply, decide, invariant};
use amux_proto::command::run::Fact;
use amux_proto::command::{agent, message, pane, request, run, tab, team, workspace};
use amux_proto::entity::{
    Activity, Agent, Answer, Class, Content, Exit, ExitWhy, KindName, Priority, Process, RequestKind, RequestOption,
    RequestOptionKind, Run, RunState,
};
use amux_proto::layout::{Node, Place};
use amux_proto::transcript::Ask;
use amux_proto::{
    AgentId, Code, Command, Event, Name, PaneId, Principal, Rejection, RequestId, Rev, RunNo, TabId, TeamId, Time,
    WorkspaceId,
};
use serde_json::Value;
use uuid::Uuid;

pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) now: Time,
    seed: u128,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { state: State::default(), now: Time(1_700_000_000_000), seed: 0 }
    }

    pub(crate) fn ctx(&mut self, actor: Principal, expect: Option<Rev>) -> Ctx {
        self.seed += 1;
        self.now = self.now.plus_ms(1000);
        Ctx { now: self.now, actor, expect, seed: self.seed, recalled: Vec::new() }
    }

    pub(crate) fn try_as(
        &mut self,
        actor: Principal,
        expect: Option<Rev>,
        command: impl Into<Command>,
    ) -> Result<Decided, Rejection> {
        let ctx = self.ctx(actor, expect);
        let decided = decide(&self.state, &command.into(), &ctx)?;
        for event in &decided.events {
            apply(&mut self.state, ctx.now, event);
        }
        assert_eq!(invariant::check(&self.state), Vec::<String>::new());
        Ok(decided)
    }

    /// What it comes to when the one who may says it.
    pub(crate) fn attempt(&mut self, command: impl Into<Command>) -> Result<Decided, Rejection> {
        let command = command.into();
        let observed = amux_core::policy::allows(&Principal::Operator, command.name()).is_err();
        self.try_as(if observed { Principal::System } else { Principal::Operator }, None, command)
    }

    #[track_caller]
    pub(crate) fn says(&mut self, command: impl Into<Command>) -> Decided {
        self.attempt(command).expect("this is allowed here")
    }

    /// The names of the events it comes to.
    #[track_caller]
    pub(crate) fn events(&mut self, command: impl Into<Command>) -> Vec<&'static str> {
        names(&self.says(command))
    }

    #[track_caller]
    pub(crate) fn refused(&mut self, command: impl Into<Command>) -> Rejection {
        let before = self.state.clone();
        let refusal = self.attempt(command).expect_err("this is refused here");
        assert_eq!(self.state, before);
        refusal
    }

    #[track_caller]
    pub(crate) fn refused_with(&mut self, code: Code, command: impl Into<Command>) {
        assert_eq!(self.refused(command).code, code);
    }

    // Things to speak of.

    pub(crate) fn agent(&mut self, name: &str) -> AgentId {
        let created = self.says(agent::Command::Create(create(name)));
        AgentId(id(&created.answer, "uid"))
    }

    /// Started, and seen to run.
    pub(crate) fn running(&mut self, name: &str) -> AgentId {
        let agent = self.agent(name);
        self.says(start(agent));
        self.says(started(agent, 1));
        agent
    }

    pub(crate) fn the(&self, agent: AgentId) -> &Agent {
        &self.state.agents[&agent]
    }

    pub(crate) fn run(&self, agent: AgentId) -> &Run {
        self.the(agent).run.as_ref().expect("it has begun")
    }

    /// Reports an agent's run one input further, with these facts; the names of the events it comes to.
    #[track_caller]
    pub(crate) fn sees(&mut self, agent: AgentId, facts: &[Fact]) -> Vec<&'static str> {
        let report = self.report(agent, facts);
        self.events(report)
    }

    /// A report that goes one input further than the last, at the level its facts come to.
    pub(crate) fn report(&self, agent: AgentId, facts: &[Fact]) -> run::Command {
        let Run { no, mut activity, .. } = self.run(agent).clone();
        activity.seen += 1;
        for fact in facts {
            match fact {
                Fact::TurnStarted { turn, .. } if *turn > activity.turn => {
                    (activity.turn, activity.turn_open) = (*turn, true)
                }
                Fact::TurnEnded { .. } => activity.turn_open = false,
                _ => {}
            }
        }
        seen(agent, no.0, activity, facts)
    }

    pub(crate) fn run_state(&self, agent: AgentId) -> Option<(u32, RunState)> {
        self.the(agent).run.as_ref().map(|run| (run.no.0, run.state.clone()))
    }

    pub(crate) fn team(&mut self, name: &str) -> TeamId {
        let created = self.says(team::Command::Create(team::Create { id: None, name: self::name(name) }));
        TeamId(id(&created.answer, "id"))
    }

    pub(crate) fn workspace(&mut self, name: &str) -> WorkspaceId {
        let created = workspace::Create { id: None, name: name.into() };
        let created = self.says(workspace::Command::Create(created));
        WorkspaceId(id(&created.answer, "workspace"))
    }

    pub(crate) fn tab(&mut self, workspace: WorkspaceId, name: &str) -> TabId {
        let created = self.says(tab::Command::Create(tab::Create {
            id: None,
            workspace: workspace.to_string(),
            name: Some(name.into()),
            index: None,
            pane: None,
            content: None,
        }));
        TabId(id(&created.answer, "tab"))
    }

    pub(crate) fn pane(&mut self, place: Place) -> PaneId {
        let opened = self.says(open(place, Content::Empty));
        PaneId(id(&opened.answer, "pane"))
    }

    pub(crate) fn root(&self, tab: TabId) -> Option<&Node> {
        self.state.tabs[&tab].root.as_ref()
    }

    pub(crate) fn focus(&self, tab: TabId) -> Option<PaneId> {
        self.state.tabs[&tab].focus
    }
}

pub(crate) fn names(decided: &Decided) -> Vec<&'static str> {
    decided.events.iter().map(Event::name).collect()
}

#[track_caller]
pub(crate) fn id(answer: &Value, field: &str) -> Uuid {
    answer[field].as_str().and_then(|text| text.parse().ok()).expect("the answer names an id")
}

pub(crate) fn name(name: &str) -> Name {
    Name::new(name).expect("the names in tests are names")
}

pub(crate) fn create(name: &str) -> agent::Create {
    agent::Create {
        id: None,
        name: self::name(name),
        team: None,
        kind: KindName::cmd(),
        argv: vec!["agent".into()],
        cwd: "/home/me".into(),
        env: BTreeMap::new(),
        size: None,
        model: None,
        mode: None,
        resume: None,
        worktree: false,
        start: false,
    }
}

/// An ordinary message.
pub(crate) fn letter(to: &str, body: &str) -> message::Send {
    message::Send {
        id: None,
        to: vec![to.to_owned()],
        body: body.to_owned(),
        reply_to: None,
        thread: None,
        key: None,
        priority: Priority::Normal,
        class: Class::Request,
        ttl_ms: None,
        wants_answer: false,
        attachments: Vec::new(),
    }
}

pub(crate) fn start(agent: AgentId) -> agent::Command {
    agent::Command::Start(agent::Start { agent: agent.to_string() })
}

pub(crate) fn stop(agent: AgentId) -> agent::Command {
    agent::Command::Stop(agent::Stop { agent: agent.to_string(), grace_ms: None, reason: None })
}

pub(crate) fn stop_within(agent: AgentId, grace_ms: u64) -> agent::Command {
    agent::Command::Stop(agent::Stop { agent: agent.to_string(), grace_ms: Some(grace_ms), reason: None })
}

pub(crate) fn restart(agent: AgentId) -> agent::Command {
    agent::Command::Restart(agent::Restart { agent: agent.to_string(), grace_ms: None, define: None })
}

pub(crate) fn remove(agent: AgentId, stop: bool) -> agent::Command {
    agent::Command::Remove(agent::Remove { agent: agent.to_string(), stop })
}

pub(crate) fn process(pid: u32) -> Process {
    Process { pid, start_ticks: 7 }
}

pub(crate) fn started(agent: AgentId, run: u32) -> run::Command {
    run::Command::Started(run::Started { agent, run: RunNo(run), process: process(100 + run) })
}

pub(crate) fn exit(code: i32, why: ExitWhy) -> Exit {
    Exit { code: Some(code), signal: None, why, survivors: Vec::new() }
}

pub(crate) fn exited(agent: AgentId, run: u32) -> run::Command {
    run::Command::Exited(run::Exited { agent, run: RunNo(run), exit: exit(0, ExitWhy::Itself) })
}

pub(crate) fn failed(agent: AgentId, run: u32) -> run::Command {
    run::Command::Failed(run::Failed { agent, run: RunNo(run), error: "no such program".into() })
}

pub(crate) fn lost(agent: AgentId, run: u32) -> run::Command {
    run::Command::Lost(run::Lost { agent, run: RunNo(run), why: "nobody saw it end".into() })
}

pub(crate) fn seen(agent: AgentId, run: u32, activity: Activity, facts: &[Fact]) -> run::Command {
    let activity = Box::new(activity);
    run::Command::Seen(run::Seen { agent, run: RunNo(run), activity, facts: facts.to_vec() })
}

pub(crate) fn request(number: u128) -> RequestId {
    RequestId(Uuid::from_u128(number))
}

/// `rm -rf build`, by the tool `Bash`: may it?
pub(crate) fn ask(kind: RequestKind) -> Ask {
    let option = |id: &str, kind| RequestOption { id: id.into(), label: id.into(), kind };
    Ask {
        id: "toolu_1".into(),
        kind,
        title: format!("{kind:?}?"),
        detail: "rm -rf build".into(),
        options: vec![option("yes", RequestOptionKind::AllowOnce), option("no", RequestOptionKind::RejectOnce)],
        tool: Some("Bash".into()),
        subject: Some("rm -rf build".into()),
    }
}

pub(crate) fn asked(number: u128, kind: RequestKind) -> Fact {
    Fact::Asked { request: request(number), ask: Box::new(ask(kind)) }
}

pub(crate) fn ask_closed(number: u128) -> Fact {
    Fact::AskClosed { request: request(number), how: "answered".into() }
}

pub(crate) fn decide_request(number: u128, answer: Answer) -> request::Command {
    request::Command::Decide(request::Decide { request: request(number).to_string(), answer })
}

pub(crate) fn option(option: &str) -> Answer {
    Answer::Option { option: option.into(), text: None }
}

pub(crate) fn text(text: &str) -> Answer {
    Answer::Text { text: text.into() }
}

pub(crate) fn open(place: Place, content: Content) -> pane::Command {
    pane::Command::Open(pane::Open { id: None, content, place, title: None })
}

pub(crate) fn move_pane(pane: PaneId, place: Place) -> pane::Command {
    pane::Command::Move(pane::Move { pane: pane.to_string(), place })
}

pub(crate) fn close_pane(pane: PaneId) -> pane::Command {
    pane::Command::Close(pane::Close { pane: pane.to_string() })
}
