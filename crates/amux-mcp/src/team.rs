//! The team: who is here, what they do, and waiting for them.

use amux_proto::view::{self, AgentDetail, AgentState};
use amux_proto::{Code, Rejection};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::World;
use crate::tool::{Outcome, read};
use crate::waiting::{Next, Waiting, unless_away};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Team {
    you: String,
    agents: Vec<Member>,
}

#[derive(Serialize, JsonSchema)]
struct Member {
    name: String,
    state: AgentState,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
}

pub(crate) async fn team(world: &impl World) -> Result<Team, Rejection> {
    let agents: Vec<view::Agent> = read(&world.ask("agents", json!({ "all": true })).await?)?;
    let me = world.me().await?;
    let you = me.strip_prefix("agent:").unwrap_or(&me).to_owned();
    let each = agents.into_iter().map(|agent| {
        let since = Some(agent.since.to_string());
        Member { since, ..member(agent) }
    });
    Ok(Team { you, agents: each.collect() })
}

fn member(agent: view::Agent) -> Member {
    let name = format!("{}@{}", agent.name, agent.team);
    Member { name, state: agent.state, reason: agent.reason, role: agent.role, since: None }
}

impl Member {
    fn words(&self) -> String {
        let role = self.role.as_ref().map_or_else(String::new, |role| format!(", {role}"));
        let reason = self.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
        format!("{}{role}: {}{reason}", self.name, word(self.state))
    }
}

fn word(state: AgentState) -> String {
    let word = serde_json::to_value(state).ok();
    word.as_ref().and_then(|word| word.as_str()).unwrap_or_default().to_owned()
}

fn lines(members: &[Member]) -> String {
    members.iter().map(Member::words).collect::<Vec<_>>().join("\n")
}

impl Outcome for Team {
    fn words(&self) -> String {
        format!("You are {}.\n{}", self.you, lines(&self.agents))
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Look {
    agent: String,
    lines: Option<u32>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Looked {
    agent: String,
    run: u32,
    lines: Vec<String>,
}

/// Beyond this a transcript is read elsewhere.
const LINES_MAX: u32 = 1_000;

pub(crate) async fn look(world: &impl World, args: Look) -> Result<Looked, Rejection> {
    let lines = args.lines.map(|lines| lines.min(LINES_MAX));
    let seen: view::Look = read(&world.ask("look", json!({ "agent": args.agent, "lines": lines })).await?)?;
    Ok(Looked { agent: seen.agent, run: seen.run.0, lines: seen.lines })
}

impl Outcome for Looked {
    fn words(&self) -> String {
        self.lines.join("\n")
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wait {
    agents: Vec<String>,
    r#for: Vec<AgentState>,
    /// Default 5 minutes, at most 60
    timeout_ms: Option<u64>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Waited {
    reached: bool,
    agents: Vec<Member>,
}

/// A team, and not everybody's processes one by one.
const AGENTS_MAX: usize = 64;

pub(crate) async fn wait(world: &impl World, args: Wait) -> Result<Waited, Rejection> {
    if args.agents.is_empty() || args.r#for.is_empty() {
        return Err(Rejection::new(Code::BadArgs, "whom to wait for, and for which state: agents, for"));
    }
    if args.agents.len() > AGENTS_MAX {
        return Err(Rejection::new(Code::Limit, format!("at most {AGENTS_MAX} agents are waited for at once")));
    }
    let mut waiting = Waiting::begin(world, args.timeout_ms).await?;
    let mut seen = Vec::new();
    loop {
        if let Some(members) = unless_away(members(world, &args.agents).await.map(Some))? {
            let reached = members.iter().all(|member| args.r#for.contains(&member.state));
            if reached {
                return Ok(Waited { reached, agents: members });
            }
            seen = members;
        }
        if waiting.next(world).await? == Next::TimeOver {
            return Ok(Waited { reached: false, agents: seen });
        }
    }
}

async fn members(world: &impl World, names: &[String]) -> Result<Vec<Member>, Rejection> {
    let mut members = Vec::with_capacity(names.len());
    for name in names {
        let detail: AgentDetail = read(&world.ask("agent", json!({ "agent": name })).await?)?;
        members.push(member(detail.agent));
    }
    Ok(members)
}

impl Outcome for Waited {
    fn words(&self) -> String {
        let late = if self.reached { "" } else { "Not in time.\n" };
        format!("{late}{}", lines(&self.agents))
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spawn {
    name: String,
    /// claude, codex, gemini, qwen, opencode, shell, cmd …
    kind: String,
    /// Absolute; else your own
    cwd: Option<String>,
    #[serde(default)]
    args: Vec<String>,
    role: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Changed {
    agent: String,
    run: Option<u32>,
}

pub(crate) async fn spawn(world: &impl World, args: Spawn) -> Result<Changed, Rejection> {
    let cwd = match args.cwd {
        Some(cwd) => cwd,
        None => own_cwd(world).await?,
    };
    let order = json!({ "name": args.name, "kind": args.kind, "argv": args.args, "cwd": cwd });
    let made = changed(&world.order("agent.create", order).await?)?;
    if args.role.is_some() {
        world.order("agent.describe", json!({ "agent": made.agent, "role": args.role })).await?;
    }
    Ok(made)
}

async fn own_cwd(world: &impl World) -> Result<String, Rejection> {
    let me = world.me().await?;
    let Some(agent) = me.strip_prefix("agent:") else {
        return Err(Rejection::new(Code::BadArgs, "where it is to work is not known: cwd").hint("an absolute path"));
    };
    let detail: AgentDetail = read(&world.ask("agent", json!({ "agent": agent })).await?)?;
    Ok(detail.agent.cwd)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stop {
    agent: String,
}

pub(crate) async fn stop(world: &impl World, args: Stop) -> Result<Changed, Rejection> {
    changed(&world.order("agent.stop", json!({ "agent": args.agent })).await?)
}

fn changed(answer: &serde_json::value::RawValue) -> Result<Changed, Rejection> {
    #[derive(Deserialize)]
    struct Answer {
        agent: String,
        run: Option<u32>,
    }
    let Answer { agent, run } = read(answer)?;
    Ok(Changed { agent, run })
}

impl Outcome for Changed {
    fn words(&self) -> String {
        self.run.map_or_else(|| self.agent.clone(), |run| format!("{}, run {run}", self.agent))
    }
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Requests {
    requests: Vec<Open>,
}

#[derive(Serialize, JsonSchema)]
struct Open {
    id: String,
    kind: String,
    agent: String,
    title: String,
    detail: String,
    options: Vec<String>,
    created: String,
}

pub(crate) async fn requests(world: &impl World) -> Result<Requests, Rejection> {
    let open: Vec<view::Request> = read(&world.ask("requests", json!({})).await?)?;
    let each = open.into_iter().map(|request| Open {
        id: request.id.to_string(),
        kind: serde_json::to_value(request.kind)
            .ok()
            .and_then(|kind| Some(kind.as_str()?.to_owned()))
            .unwrap_or_default(),
        agent: request.agent,
        title: request.title,
        detail: request.detail,
        options: request.options.into_iter().map(|option| option.label).collect(),
        created: request.created.to_string(),
    });
    Ok(Requests { requests: each.collect() })
}

impl Outcome for Requests {
    fn words(&self) -> String {
        if self.requests.is_empty() {
            return "Nothing waits for a person.".to_owned();
        }
        let each =
            self.requests.iter().map(|open| format!("{} {} of {}: {}", open.id, open.kind, open.agent, open.title));
        each.collect::<Vec<_>>().join("\n")
    }
}
