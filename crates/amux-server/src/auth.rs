//! Who is there. A local peer is known by the kernel, an HTTP client by what it carries; nobody is believed because
//! of what a request says about itself.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use amux_engine::Published;
use amux_proto::entity::RunState;
use amux_proto::{AgentId, Code, Principal, Rejection, RunNo, env};
use amux_sys::process::{Kin, Lineage, ProcessId, Root};
use amux_sys::{cgroup, clock, peer, process};

pub(crate) struct Keys {
    /// Of this start: the launcher's, for a window. Never in a child's environment, a log or an answer.
    instance: Option<String>,
    /// Of this store: under it agents' tokens and browsers' sessions are made, so they outlive a restart.
    store: [u8; 32],
    codes: Mutex<HashMap<String, i64>>,
}

/// A sign-in link is opened at once or not at all.
const CODE_LIFE_MS: i64 = 60_000;
const CODES_MAX: usize = 32;

const SESSION_LIFE_MS: i64 = 7 * 24 * 60 * 60 * 1000;

impl Keys {
    pub(crate) fn new(instance: Option<String>, store: [u8; 32]) -> Self {
        Self { instance, store, codes: Mutex::default() }
    }

    /// Scoped to one agent and one run; worthless when that run has ended.
    pub(crate) fn agent_token(&self, agent: AgentId, run: RunNo) -> String {
        let name = format!("{}.{run}", agent.0.simple());
        format!("amx.{name}.{}", self.mac("agent", &name))
    }

    /// What a bearer token stands for.
    pub(crate) fn bearer(&self, token: &str, published: &Published) -> Result<Principal, Rejection> {
        if self.instance.as_ref().is_some_and(|key| same(key.as_bytes(), token.as_bytes())) {
            return Ok(Principal::Operator);
        }
        let bad = || Rejection::new(Code::Denied, "not a token of this server");
        let mut parts = token.strip_prefix("amx.").ok_or_else(bad)?.splitn(3, '.');
        let (agent, run, mac) = (parts.next(), parts.next(), parts.next());
        let (Some(agent), Some(run), Some(mac)) = (agent, run, mac) else { return Err(bad()) };
        if !same(self.mac("agent", &format!("{agent}.{run}")).as_bytes(), mac.as_bytes()) {
            return Err(bad());
        }
        let agent = AgentId(uuid::Uuid::parse_str(agent).map_err(|_| bad())?);
        let run = RunNo(run.parse().map_err(|_| bad())?);
        if !published.is_live(agent, run) {
            return Err(Rejection::new(Code::Denied, "the run this token was made for has ended"));
        }
        Ok(Principal::Agent { agent, run })
    }

    /// A code with which one browser signs in once.
    pub(crate) fn new_code(&self) -> String {
        let code: String = clock::random_bytes::<16>().iter().map(|byte| format!("{byte:02x}")).collect();
        let now = clock::now_ms();
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        codes.retain(|_, until| *until > now);
        if codes.len() >= CODES_MAX {
            codes.clear();
        }
        codes.insert(code.clone(), now + CODE_LIFE_MS);
        code
    }

    /// The session a code is worth, once.
    pub(crate) fn redeem(&self, code: &str) -> Option<String> {
        let now = clock::now_ms();
        let until = self.codes.lock().unwrap_or_else(PoisonError::into_inner).remove(code)?;
        (until > now).then(|| {
            let name = (now + SESSION_LIFE_MS).to_string();
            let mac = self.mac("session", &name);
            format!("{name}.{mac}")
        })
    }

    pub(crate) fn session(&self, cookie: &str) -> Option<Principal> {
        let (until, mac) = cookie.split_once('.')?;
        let good = same(self.mac("session", until).as_bytes(), mac.as_bytes());
        (good && until.parse::<i64>().ok()? > clock::now_ms()).then_some(Principal::Operator)
    }

    pub(crate) fn session_life_s() -> i64 {
        SESSION_LIFE_MS / 1000
    }

    fn mac(&self, kind: &str, name: &str) -> String {
        blake3::keyed_hash(&self.store, format!("{kind}\0{name}").as_bytes()).to_hex().to_string()
    }
}

/// In a time that does not depend on where they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    // Hashes compare in constant time, and hashing hides the length.
    blake3::hash(a) == blake3::hash(b)
}

/// What the kernel says of somebody who came by the local socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Admission {
    Known(Principal),
    /// Somebody of this user who is an agent's or may be: nobody, unless a token says which agent's.
    Stray(Rejection),
}

/// Whose processes are whose, as far as the server knows.
pub(crate) struct Family<'a> {
    pub(crate) published: &'a Published,
    /// Processes of ours: whoever comes from them without an agent between was left behind by one.
    pub(crate) ours: Vec<u32>,
    /// The control group of our service, where a service manager and not a launcher keeps us: what agents leave
    /// behind is then adopted by that manager, but stays in this group.
    pub(crate) service: Option<PathBuf>,
}

/// Who a local peer is. A process in an agent's tree is that agent, whatever it says; another user is nobody; the
/// operator is who is proven to be in no agent's tree, and everybody else gets nothing.
pub(crate) fn local(socket: &impl AsFd, family: &Family<'_>) -> Result<Admission, Rejection> {
    let peer = peer::identify(socket)
        .map_err(|error| Rejection::new(Code::Denied, format!("the peer cannot be known: {error}")))?;
    let me = process::uid();
    if peer.uid != me {
        let message = format!("this server belongs to uid {me}, you are uid {}", peer.uid);
        return Err(Rejection::new(Code::Denied, message));
    }
    let Some(pid) = peer.pid else {
        if peer::KNOWS_PIDS {
            return Ok(stray("your process cannot be seen from here: it is in another PID namespace"));
        }
        return Ok(Admission::Known(Principal::Operator));
    };
    let mut traits = family.look(pid);
    // Last, so that all of it is of the process that connected and not of a later one of that pid.
    if peer::is_there(socket) == Some(false) || process::identity(pid) != traits.first() {
        traits.root = Root::Lost;
    }
    judge(&traits)
}

/// What was found of a process and those it comes from.
#[derive(Debug, Clone)]
struct Traits {
    line: Vec<Kin>,
    root: Root,
    /// The nearest agent in the line, before any process of ours.
    agent: Option<(AgentId, RunNo)>,
    /// The line led to a process of ours.
    is_from_us: bool,
    /// The nearest tag: what a tree inherits, and what anybody can write.
    tag: Option<Name>,
    /// What the control group is called.
    leaf: Option<Name>,
    is_in_service: bool,
}

/// An agent and run that something names.
#[derive(Debug, Clone, Copy)]
struct Name {
    agent: AgentId,
    run: RunNo,
    lives: bool,
}

impl Traits {
    fn first(&self) -> Option<ProcessId> {
        self.line.first().map(|kin| kin.id)
    }
}

impl Family<'_> {
    fn look(&self, pid: u32) -> Traits {
        let Lineage { line, root } = process::lineage(pid);
        let agents = self.processes();
        let is_ours = |kin: &Kin| self.ours.contains(&kin.id.pid);
        let is_agent = |kin: &Kin| agents.get(&kin.id.pid).filter(|(ticks, ..)| *ticks == kin.id.start_ticks);
        // A session keeps the pid of its leader from being given to anybody else.
        let is_in_session = |kin: &Kin| agents.get(&kin.session);
        let before_us = || line.iter().take_while(|kin| !is_ours(kin) || is_agent(kin).is_some());
        let found = before_us().find_map(|kin| is_agent(kin).or_else(|| is_in_session(kin)));
        let tag = before_us().find_map(|kin| {
            let tag = process::env_var(kin.id.pid, env::TAG)?.into_string().ok()?;
            let (agent, run) = tag.rsplit_once(':')?;
            self.name(agent, run)
        });
        let group = cgroup::of(pid);
        let leaf = group.as_ref().and_then(|group| {
            let (agent, run) = group.file_name()?.to_str()?.strip_prefix("agentmux-")?.rsplit_once('-')?;
            self.name(agent, run)
        });
        let is_in_service = matches!((&group, &self.service), (Some(group), Some(ours)) if group.starts_with(ours));
        let agent = found.map(|(_, agent, run)| (*agent, *run));
        let is_from_us = line.iter().any(is_ours);
        Traits { agent, is_from_us, tag, leaf, is_in_service, line, root }
    }

    fn name(&self, agent: &str, run: &str) -> Option<Name> {
        let (agent, run) = self.published.ours(agent, run)?;
        Some(Name { agent, run, lives: self.published.is_live(agent, run) })
    }

    /// By pid: when it was started, and whose it is.
    fn processes(&self) -> HashMap<u32, (u64, AgentId, RunNo)> {
        let live = self.published.live_runs().into_iter();
        live.filter_map(|(agent, run, state)| {
            let (RunState::Running { process } | RunState::Stopping { process: Some(process), .. }) = state else {
                return None;
            };
            Some((process.pid, (process.start_ticks, agent, run)))
        })
        .collect()
    }
}

/// A tag says nothing for anybody, as anybody can write it; it only speaks against whoever carries it.
fn judge(traits: &Traits) -> Result<Admission, Rejection> {
    // What was found may be of a later process of that pid.
    if traits.root == Root::Lost {
        return Ok(stray("the process that connected has ended, so nobody knows who you are"));
    }
    let by_leaf = traits.leaf.filter(|leaf| leaf.lives).map(|leaf| (leaf.agent, leaf.run));
    if let Some((agent, run)) = traits.agent.or(by_leaf) {
        let says_other = |name: Option<Name>| name.is_some_and(|name| name.lives && name.agent != agent);
        if says_other(traits.tag) || says_other(traits.leaf) {
            let message = "this process comes from one agent and says that it is another's";
            return Err(Rejection::new(Code::Denied, message));
        }
        return Ok(Admission::Known(Principal::Agent { agent, run }));
    }
    Ok(match traits.root {
        Root::Lost | Root::Cut => stray("this process has too many ancestors to be known"),
        Root::Top | Root::Hidden
            if traits.is_from_us || traits.is_in_service || traits.tag.is_some() || traits.leaf.is_some() =>
        {
            stray("this process was left behind by an agent and does not say which")
        }
        Root::Top | Root::Hidden => Admission::Known(Principal::Operator),
    })
}

fn stray(why: &str) -> Admission {
    Admission::Stray(Rejection::new(Code::Denied, why).hint("an agent's process is known by its AGENTMUX_TOKEN"))
}

/// Who says hello: what the connection shows, narrowed by the token, if there is one.
pub(crate) fn admit(
    admission: Admission,
    token: Option<&str>,
    keys: &Keys,
    published: &Published,
) -> Result<Principal, Rejection> {
    match (admission, token) {
        (Admission::Known(who), token) => narrow(who, token, keys, published),
        (Admission::Stray(refusal), None) => Err(refusal),
        (Admission::Stray(refusal), Some(token)) => match keys.bearer(token, published)? {
            agent @ Principal::Agent { .. } => Ok(agent),
            _ => Err(refusal),
        },
    }
}

/// A token can only narrow what the connection already is.
pub(crate) fn narrow(
    who: Principal,
    token: Option<&str>,
    keys: &Keys,
    published: &Published,
) -> Result<Principal, Rejection> {
    let Some(token) = token else { return Ok(who) };
    match (who, keys.bearer(token, published)?) {
        (Principal::Operator, named) => Ok(named),
        (Principal::Agent { agent, run }, Principal::Agent { agent: named, run: named_run })
            if agent == named && run == named_run =>
        {
            Ok(Principal::Agent { agent, run })
        }
        _ => Err(Rejection::new(Code::Denied, "this token belongs to somebody else")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: AgentId = AgentId(uuid::Uuid::from_u128(0xa));
    const B: AgentId = AgentId(uuid::Uuid::from_u128(0xb));

    fn traits() -> Traits {
        let kin = Kin { id: ProcessId { pid: 7, start_ticks: 7 }, session: 7 };
        let (line, root) = (vec![kin], Root::Top);
        Traits { line, root, agent: None, is_from_us: false, tag: None, leaf: None, is_in_service: false }
    }

    fn name(agent: AgentId, lives: bool) -> Option<Name> {
        Some(Name { agent, run: RunNo(1), lives })
    }

    fn is(admission: &Result<Admission, Rejection>) -> &'static str {
        match admission {
            Ok(Admission::Known(Principal::Operator)) => "operator",
            Ok(Admission::Known(Principal::Agent { agent, .. })) if *agent == A => "a",
            Ok(Admission::Known(_)) => "somebody",
            Ok(Admission::Stray(_)) => "stray",
            Err(_) => "denied",
        }
    }

    #[test]
    fn only_who_is_proven_to_be_nobodys_is_the_operator() {
        let agent = Some((A, RunNo(1)));
        let cases = [
            ("a shell under init", traits(), "operator"),
            ("init is another user's and not shown", Traits { root: Root::Hidden, ..traits() }, "operator"),
            ("too deep", Traits { root: Root::Cut, ..traits() }, "stray"),
            ("gone", Traits { root: Root::Lost, ..traits() }, "stray"),
            ("gone from an agent's group", Traits { root: Root::Lost, leaf: name(A, true), ..traits() }, "stray"),
            ("an orphan of ours", Traits { is_from_us: true, ..traits() }, "stray"),
            ("an orphan in our service", Traits { is_in_service: true, ..traits() }, "stray"),
            ("an orphan with a tag", Traits { tag: name(A, true), ..traits() }, "stray"),
            ("an orphan of ours with a tag", Traits { tag: name(B, true), is_from_us: true, ..traits() }, "stray"),
            ("left by a run that ended", Traits { tag: name(A, false), ..traits() }, "stray"),
            ("in the group of a run that ended", Traits { leaf: name(A, false), ..traits() }, "stray"),
            ("an orphan in the agent's group", Traits { leaf: name(A, true), is_from_us: true, ..traits() }, "a"),
            ("an agent", Traits { agent, is_from_us: true, ..traits() }, "a"),
            ("an agent that is too deep", Traits { agent, root: Root::Cut, ..traits() }, "a"),
            ("an agent with its tag", Traits { agent, tag: name(A, true), ..traits() }, "a"),
            ("an agent with another's tag", Traits { agent, tag: name(B, true), ..traits() }, "denied"),
            ("an agent in another's group", Traits { agent, leaf: name(B, true), ..traits() }, "denied"),
        ];
        for (what, traits, wanted) in cases {
            assert_eq!(is(&judge(&traits)), wanted, "{what}");
        }
    }
}
