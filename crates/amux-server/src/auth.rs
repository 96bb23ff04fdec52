//! Who is there. A local peer is known by the kernel, an HTTP client by what it carries; nobody is believed because
//! of what a request says about itself.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use amux_engine::Published;
use amux_engine::ask::Origin;
use amux_proto::{AgentId, Code, Principal, Rejection, RunNo, Time, env, view};
use amux_sys::process::{Kin, Lineage, ProcessId, Root};
use amux_sys::{cgroup, clock, disk, peer, process};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::places::Guest;

pub(crate) struct Keys {
    /// Of this start: the launcher's, for a window. Never in a child's environment, a log or an answer.
    instance: Option<String>,
    path: PathBuf,
    issued: Mutex<Issued>,
    codes: Mutex<HashMap<String, i64>>,
    /// Moves when a browser was signed out.
    signed_out: watch::Sender<u64>,
}

/// What was given out and outlives a restart. Hashes only: whoever reads them can show nothing that they are of.
#[derive(Default, Serialize, Deserialize)]
struct Issued {
    /// Of browsers.
    #[serde(default)]
    browsers: BTreeMap<String, Browser>,
    /// Of agents: for their newest run.
    #[serde(default)]
    tokens: BTreeMap<AgentId, Token>,
}

/// Times in milliseconds.
#[derive(Clone, Serialize, Deserialize)]
struct Browser {
    made: i64,
    until: i64,
    /// As of the newest change of the file.
    used: i64,
    /// What it says it is, in a few words.
    agent: String,
}

#[derive(Serialize, Deserialize)]
struct Token {
    run: RunNo,
    hash: String,
}

/// A sign-in link is opened at once or not at all.
const CODE_LIFE_MS: i64 = 60_000;
const CODES_MAX: usize = 32;

const SESSION_LIFE_MS: i64 = 7 * 24 * 60 * 60 * 1000;
/// A person's browsers; beyond them the oldest session ends.
const SESSIONS_MAX: usize = 64;

impl Keys {
    /// What cannot be read lets nobody in: browsers sign in again, and agents are known by their processes.
    pub(crate) fn open(instance: Option<String>, path: PathBuf) -> (Self, io::Result<()>) {
        let (issued, outcome) = match std::fs::read(&path) {
            Ok(text) => match serde_json::from_slice(&text) {
                Ok(issued) => (issued, Ok(())),
                Err(error) => (Issued::default(), Err(io::Error::other(format!("{}: {error}", path.display())))),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Issued::default(), Ok(())),
            Err(error) => (Issued::default(), Err(error)),
        };
        let (issued, codes) = (Mutex::new(issued), Mutex::default());
        (Self { instance, path, issued, codes, signed_out: watch::Sender::new(0) }, outcome)
    }

    /// Scoped to one agent and one run; worthless when that run has ended. Blocks.
    pub(crate) fn new_token(&self, agent: AgentId, run: RunNo) -> String {
        let token = format!("amx.{}.{run}.{}", agent.0.simple(), secret());
        let known = Token { run, hash: hash(&token) };
        let written = self.change(|issued| drop(issued.tokens.insert(agent, known)));
        if let Err(error) = written {
            tracing::warn!(%agent, %run, %error, "The token of a run is worth nothing after a restart.");
        }
        token
    }

    /// What a bearer token stands for.
    pub(crate) fn bearer(&self, token: &str, published: &Published) -> Result<Principal, Rejection> {
        if self.instance.as_ref().is_some_and(|key| same(key.as_bytes(), token.as_bytes())) {
            return Ok(Principal::Operator);
        }
        let hash = hash(token);
        let issued = self.issued();
        let named = token.strip_prefix("amx.").and_then(|rest| rest.split('.').next()?.parse().ok());
        let known = named.and_then(|agent: AgentId| Some((agent, issued.tokens.get(&agent)?)));
        let Some((agent, known)) = known.filter(|(_, known)| same(known.hash.as_bytes(), hash.as_bytes())) else {
            return Err(Rejection::new(Code::Denied, "not a token of this server"));
        };
        if !published.is_live(agent, known.run) {
            return Err(Rejection::new(Code::Denied, "the run this token was made for has ended"));
        }
        Ok(Principal::Agent { agent, run: known.run })
    }

    /// A code with which one browser signs in once.
    pub(crate) fn new_code(&self) -> String {
        let code = secret();
        let now = clock::now_ms();
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        codes.retain(|_, until| *until > now);
        if codes.len() >= CODES_MAX {
            codes.clear();
        }
        codes.insert(code.clone(), now + CODE_LIFE_MS);
        code
    }

    /// The session a code is worth, once; for a browser that says it is `agent`. Blocks.
    pub(crate) fn redeem(&self, code: &str, agent: &str) -> Option<String> {
        let now = clock::now_ms();
        let until = self.codes.lock().unwrap_or_else(PoisonError::into_inner).remove(code)?;
        if until <= now {
            return None;
        }
        let session = secret();
        let written = self.change(|issued| {
            issued.browsers.retain(|_, browser| browser.until > now);
            while issued.browsers.len() >= SESSIONS_MAX {
                let oldest = issued.browsers.iter().min_by_key(|(_, browser)| browser.until);
                let Some(oldest) = oldest.map(|(id, _)| id.clone()) else { break };
                issued.browsers.remove(&oldest);
            }
            let browser = Browser { made: now, until: now + SESSION_LIFE_MS, used: now, agent: in_words(agent) };
            issued.browsers.insert(hash(&session), browser);
        });
        if let Err(error) = written {
            tracing::warn!(%error, "A browser will have to sign in again after a restart.");
        }
        Some(session)
    }

    pub(crate) fn session(&self, cookie: &str) -> Option<Principal> {
        let now = clock::now_ms();
        let mut issued = self.issued();
        let browser = issued.browsers.get_mut(&hash(cookie)).filter(|browser| browser.until > now)?;
        // Into the file with the next change: a write for each request would be more than it is worth.
        browser.used = now;
        Some(Principal::Operator)
    }

    /// Browsers that are signed in, the newest first.
    pub(crate) fn sessions(&self) -> Vec<view::Session> {
        let now = clock::now_ms();
        let issued = self.issued();
        let living = issued.browsers.iter().filter(|(_, browser)| browser.until > now);
        let mut sessions: Vec<_> = living
            .map(|(hash, browser)| view::Session {
                id: short(hash).to_owned(),
                made: Time(browser.made),
                used: Time(browser.used),
                until: Time(browser.until),
                agent: browser.agent.clone(),
            })
            .collect();
        sessions.sort_by_key(|session| std::cmp::Reverse(session.made));
        sessions
    }

    /// The session is worth nothing from here on. Blocks; an error means that a restart would bring it back.
    pub(crate) fn revoke(&self, cookie: &str) -> io::Result<()> {
        let hash = hash(cookie);
        self.end(|known| known == hash).map(|_| ())
    }

    /// The same of the one with this id, or of every one; how many there were. Blocks.
    pub(crate) fn revoke_by_id(&self, id: Option<&str>) -> io::Result<usize> {
        self.end(|known| id.is_none_or(|id| short(known) == id))
    }

    fn end(&self, is_meant: impl Fn(&str) -> bool) -> io::Result<usize> {
        let mut ended = 0;
        let written = self.change(|issued| {
            let before = issued.browsers.len();
            issued.browsers.retain(|hash, _| !is_meant(hash));
            ended = before - issued.browsers.len();
        });
        self.signed_out.send_modify(|count| *count += 1);
        written.map(|()| ended)
    }

    /// For what ends with the session.
    pub(crate) fn signed_in(self: &Arc<Self>, cookie: &str) -> SignedIn {
        SignedIn { hash: hash(cookie), signed_out: self.signed_out.subscribe(), keys: Arc::clone(self) }
    }

    pub(crate) fn session_life_s() -> i64 {
        SESSION_LIFE_MS / 1000
    }

    fn change(&self, change: impl FnOnce(&mut Issued)) -> io::Result<()> {
        let mut issued = self.issued();
        change(&mut issued);
        let text = serde_json::to_vec(&*issued).map_err(io::Error::other)?;
        disk::write_atomic(&self.path, &text, 0o600)
    }

    fn issued(&self) -> MutexGuard<'_, Issued> {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A browser's session, seen from what it opened.
pub(crate) struct SignedIn {
    hash: String,
    signed_out: watch::Receiver<u64>,
    keys: Arc<Keys>,
}

impl SignedIn {
    /// When it was ended, or its time is over.
    pub(crate) async fn ended(&mut self) {
        loop {
            self.signed_out.borrow_and_update();
            let until = self.keys.issued().browsers.get(&self.hash).map(|browser| browser.until);
            let left = until.and_then(|until| u64::try_from(until - clock::now_ms()).ok()).filter(|left| *left > 0);
            let Some(left) = left else { return };
            tokio::select! {
                changed = self.signed_out.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(std::time::Duration::from_millis(left)) => {}
            }
        }
    }
}

/// Enough of a hash to tell one from another.
fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

/// What browsers say of themselves is long and mostly untrue; this is what a person tells them apart by.
fn in_words(agent: &str) -> String {
    const BROWSERS: [(&str, &str); 5] =
        [("Firefox/", "Firefox"), ("Edg/", "Edge"), ("OPR/", "Opera"), ("Chrome/", "Chrome"), ("Safari/", "Safari")];
    const SYSTEMS: [(&str, &str); 6] = [
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("Linux", "Linux"),
    ];
    let find = |words: &[(&str, &'static str)]| words.iter().find(|(word, _)| agent.contains(word)).map(|(_, is)| *is);
    match (find(&BROWSERS), find(&SYSTEMS)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser.to_owned(),
        (None, _) => agent.chars().filter(|c| !c.is_control()).take(40).collect(),
    }
}

/// Nobody guesses it.
fn secret() -> String {
    clock::random_bytes::<32>().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Of something that cannot be guessed, so that no salt and no work is needed.
fn hash(secret: &str) -> String {
    blake3::hash(secret.as_bytes()).to_hex().to_string()
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

impl Admission {
    pub(crate) fn guest(&self) -> Guest {
        match self {
            Self::Known(principal) => Guest::of(principal),
            Self::Stray(_) => Guest::Stray,
        }
    }
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
    agent: Option<Name>,
    /// That agent is known by a pane, which has from its tmux whatever that was started with.
    is_pane: bool,
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
        let is_agent =
            |kin: &Kin| agents.get(&kin.id.pid).filter(|origin| origin.process.start_ticks == kin.id.start_ticks);
        // A session keeps the pid of its leader from being given to anybody else, until the session has ended too.
        let is_in_session = |kin: &Kin| {
            let is_it = |origin: &&Origin| {
                process::identity(kin.session).is_none_or(|id| id.start_ticks == origin.process.start_ticks)
            };
            agents.get(&kin.session).filter(is_it)
        };
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
        let agent = found.map(|origin| Name { agent: origin.agent, run: origin.run, lives: origin.lives });
        let is_pane = found.is_some_and(|origin| origin.is_pane);
        let is_from_us = line.iter().any(is_ours);
        Traits { agent, is_pane, is_from_us, tag, leaf, is_in_service, line, root }
    }

    fn name(&self, agent: &str, run: &str) -> Option<Name> {
        let (agent, run) = self.published.ours(agent, run)?;
        Some(Name { agent, run, lives: self.published.is_live(agent, run) })
    }

    /// By pid. Where two agents were given one pane, it is the older one's.
    fn processes(&self) -> HashMap<u32, Origin> {
        let mut processes = HashMap::new();
        for origin in self.published.origins() {
            processes.entry(origin.process.pid).or_insert(origin);
        }
        processes
    }
}

/// A tag says nothing for anybody, as anybody can write it; it only speaks against whoever carries it.
fn judge(traits: &Traits) -> Result<Admission, Rejection> {
    // What was found may be of a later process of that pid.
    if traits.root == Root::Lost {
        return Ok(stray("the process that connected has ended, so nobody knows who you are"));
    }
    if traits.agent.is_some_and(|agent| !agent.lives) {
        let refusal = Rejection::new(Code::Denied, "this terminal was taken for an agent that does not run");
        return Ok(Admission::Stray(refusal.hint("agentmux rm NAME, in another terminal, gives it back")));
    }
    if let Some(Name { agent, run, .. }) = traits.agent.or(traits.leaf.filter(|leaf| leaf.lives)) {
        let says_other =
            |name: Option<Name>| !traits.is_pane && name.is_some_and(|name| name.lives && name.agent != agent);
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
        let (agent, is_pane) = (None, false);
        Traits { line, root, agent, is_pane, is_from_us: false, tag: None, leaf: None, is_in_service: false }
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
    fn what_lets_somebody_in_is_not_in_the_file_and_a_session_ends_for_good() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials.json");
        let open = || Keys::open(None, path.clone()).0;
        let keys = open();
        let (token, session) = (keys.new_token(A, RunNo(1)), keys.redeem(&keys.new_code(), "").unwrap());
        let other = keys.redeem(&keys.new_code(), "").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&session) && !text.contains(token.rsplit('.').next().unwrap()), "{text}");
        // Whoever reads the file has hashes, and a hash is not what it is of.
        for hash in [hash(&session), hash(&token)] {
            assert!(text.contains(&hash) && keys.session(&hash).is_none());
        }
        drop(keys);
        let keys = open();
        assert_eq!(keys.session(&session), Some(Principal::Operator), "a restart signs nobody out");
        keys.revoke(&session).unwrap();
        assert_eq!((keys.session(&session), keys.session(&other)), (None, Some(Principal::Operator)));
        assert_eq!(open().session(&session), None);
        for _ in 0..SESSIONS_MAX {
            keys.redeem(&keys.new_code(), "").unwrap();
        }
        assert_eq!(keys.issued().browsers.len(), SESSIONS_MAX);
    }

    #[test]
    fn a_browser_is_told_from_another_by_a_few_words() {
        let cases = [
            ("Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0", "Firefox on Linux"),
            (
                "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537 (KHTML, like Gecko) Chrome/1 Safari/1 Edg/1",
                "Edge on Windows",
            ),
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Safari/604.1", "Safari on iPhone"),
            ("curl/8.5.0", "curl/8.5.0"),
        ];
        for (said, shown) in cases {
            assert_eq!(in_words(said), shown);
        }
        assert_eq!(in_words(&"\u{1b}x".repeat(100)).len(), 40);
    }

    #[test]
    fn a_code_is_worth_one_session_and_not_for_long() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::open(None, dir.path().join("credentials.json")).0;
        let (first, second) = (keys.new_code(), keys.new_code());
        keys.codes.lock().unwrap().insert(second.clone(), clock::now_ms() - 1);
        assert!(keys.redeem(&first, "").is_some());
        assert_eq!((keys.redeem(&first, ""), keys.redeem(&second, ""), keys.redeem("", "")), (None, None, None));
    }

    #[test]
    fn a_session_is_ended_by_its_id_which_lets_nobody_in() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::open(None, dir.path().join("credentials.json")).0;
        let sessions = [(); 3].map(|()| keys.redeem(&keys.new_code(), "curl/1").unwrap());
        let listed = keys.sessions();
        assert_eq!(listed.len(), 3);
        let id = short(&hash(&sessions[0])).to_owned();
        assert!(listed.iter().any(|session| session.id == id) && keys.session(&id).is_none());
        assert_eq!(keys.revoke_by_id(Some(&id)).unwrap(), 1);
        assert_eq!(keys.revoke_by_id(Some(&id)).unwrap(), 0);
        assert!(keys.session(&sessions[0]).is_none() && keys.session(&sessions[1]).is_some());
        assert_eq!(keys.revoke_by_id(None).unwrap(), 2);
        assert!(keys.sessions().is_empty());
    }

    #[test]
    fn credentials_that_cannot_be_read_let_nobody_in() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials.json");
        std::fs::write(&path, "not ours").unwrap();
        let (keys, outcome) = Keys::open(None, path);
        assert!(outcome.is_err() && keys.session("").is_none());
        assert!(keys.redeem(&keys.new_code(), "").is_some(), "and the next sign-in makes them whole");
    }

    #[test]
    fn only_who_is_proven_to_be_nobodys_is_the_operator() {
        let agent = name(A, true);
        let pane = Traits { agent, is_pane: true, ..traits() };
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
            (
                "in a pane of a tmux that an agent started",
                Traits { tag: name(B, true), leaf: name(B, true), ..pane },
                "a",
            ),
            ("in a pane whose agent does not run", Traits { agent: name(A, false), ..traits() }, "stray"),
        ];
        for (what, traits, wanted) in cases {
            assert_eq!(is(&judge(&traits)), wanted, "{what}");
        }
    }
}
