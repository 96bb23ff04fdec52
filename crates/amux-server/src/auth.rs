//! Who is there. A local peer is known by the kernel, an HTTP client by what it carries; nobody is believed because
//! of what a request says about itself.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use amux_engine::Published;
use amux_proto::{AgentId, Code, Principal, Rejection, RunNo, env};
use amux_sys::peer::Peer;
use amux_sys::{clock, process};

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

/// Who a local peer is. A process in an agent's tree is that agent, whatever it says; another user is nobody.
///
/// A process that cleared its environment and left its parents is adopted by the launcher, whose only other
/// descendants are ours: it is an agent that does not say which, and gets nothing.
pub(crate) fn local(peer: Peer, launcher_pid: Option<u32>, published: &Published) -> Result<Principal, Rejection> {
    let me = process::uid();
    if peer.uid != me {
        let message = format!("this server belongs to uid {me}, you are uid {}", peer.uid);
        return Err(Rejection::new(Code::Denied, message));
    }
    let Some(pid) = peer.pid else { return Ok(Principal::Operator) };
    // The tag is what the tree inherits; a process that cleared it is still known by who its ancestors are.
    let tag_of = |pid: u32| process::env_var(pid, env::TAG).and_then(|tag| tag.into_string().ok());
    let agents = agent_pids(published);
    let ours = [Some(std::process::id()), launcher_pid];
    for pid in std::iter::once(pid).chain(process::ancestry(pid)) {
        if let Some(principal) = agents.get(&pid) {
            return Ok(principal.clone());
        }
        if let Some(principal) = tag_of(pid).and_then(|tag| published.tagged(&tag)) {
            return Ok(principal);
        }
        if ours.contains(&Some(pid)) {
            return Err(Rejection::new(
                Code::Denied,
                "this process was left behind by an agent and does not say which",
            ));
        }
    }
    Ok(Principal::Operator)
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

fn agent_pids(published: &Published) -> HashMap<u32, Principal> {
    let live = published.live_runs().into_iter();
    live.filter_map(|(agent, run, state)| {
        let run_of = amux_proto::entity::Run {
            no: run,
            state,
            since: amux_proto::Time(0),
            activity: Default::default(),
            lost_session: false,
        };
        Some((run_of.process()?.pid, Principal::Agent { agent, run }))
    })
    .collect()
}
