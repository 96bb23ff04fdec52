//! The crash matrix with agents: the real launcher, the real server struck down at random, and fake agents of every
//! dialect that stream, ask and are told things meanwhile. What they printed and read is in their own files, and in
//! the end everything the server knows is held against those.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use amux_agents::{Machine, Out};
use amux_proto::Time;
use amux_proto::transcript::{Entry, Item};
use amux_runner::journal::{self, Record};
use amux_runner::tape;
use amux_sys::paths::Layout;
use amux_sys::signals::{self, Signal};
use serde_json::{Value, json};

use crate::commands::Rng;
use crate::server::Home;
use crate::wire::Wire;

pub struct Plan {
    pub kills: u32,
    pub seed: u64,
    /// Of each: in a terminal, claude, codex, acp.
    pub agents: [u32; 4],
}

#[derive(Debug, Default)]
pub struct Outcome {
    pub kills: u32,
    pub messages: usize,
    pub answers: usize,
    pub bytes: u64,
    /// Messages of which it is said that nobody knows.
    pub unproven: usize,
}

const PATIENCE: Duration = Duration::from_secs(120);

/// What a fake prints at once at most, beside what it was told to: so much may be written down and not printed.
const PRINTED_AT_ONCE: u64 = 4096;

/// The launcher of this matrix: the real one, which forgives every death at once.
pub fn launcher(dir: &Path) -> ExitCode {
    let home = Home::new(dir, Path::new("agentmux"));
    let (state, config) = (home.state(), dir.join("config"));
    let layout = Layout::resolve("default", Some(state.clone()), Some(config.clone()), &|_| None)
        .expect("directories were given");
    let mut policy = amux_launcher::Policy::default();
    (policy.crash.deaths_max, policy.crash.free) = (None, 1_000_000);
    let mut srv_args = ["--profile", "default", "--state-dir"].map(Into::into).to_vec();
    srv_args.extend([state.into(), "--config-dir".into(), config.into(), "server".into(), "srv".into()]);
    let config =
        amux_launcher::Config { layout, profile: "default".into(), srv_args, foreground: false, policy, window: None };
    ExitCode::from(amux_launcher::run(config).code())
}

/// The kinds of the fakes.
pub fn kinds(fake: &Path) -> String {
    let fake = fake.display();
    let kind = |name: &str, dialect: &str, more: &str| {
        format!("[kind.fake-{name}]\ndialect = \"{dialect}\"\nprogram = \"{fake}\"\nargs = [\"{name}\"]\n{more}\n")
    };
    let sessions = "new_args = [\"--session-id\", \"{session}\"]\nresume_args = [\"--resume\", \"{session}\"]\n";
    [
        kind("claude", "claude", sessions),
        kind("codex", "codex", ""),
        kind("acp", "acp", ""),
        kind("pty", "pty", ""),
        kind("tui", "pty", ""),
    ]
    .concat()
}

struct Fake {
    name: String,
    mode: &'static str,
    oracle: PathBuf,
}

impl Fake {
    fn file(&self, what: &str) -> Vec<u8> {
        fs::read(self.oracle.with_extension(what)).unwrap_or_default()
    }

    fn text(&self, what: &str) -> String {
        String::from_utf8_lossy(&self.file(what)).into_owned()
    }

    fn is_pty(&self) -> bool {
        self.mode == "tui" || self.mode == "pty"
    }

    /// The ids of what it asked, and of what was answered, as often as it was.
    fn asks(&self) -> (BTreeSet<String>, Vec<String>) {
        let frames = |what: &str| -> Vec<Value> {
            self.text(what).lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
        };
        let asked = frames("out").into_iter().filter_map(|frame| match self.mode {
            "claude" => {
                (frame["type"] == "control_request").then(|| frame["request_id"].as_str().map(str::to_owned))?
            }
            _ => (!frame["method"].is_null() && !frame["id"].is_null()).then(|| frame["id"].to_string()),
        });
        let answered = frames("in").into_iter().filter_map(|frame| match self.mode {
            "claude" => (frame["type"] == "control_response")
                .then(|| frame["response"]["request_id"].as_str().map(str::to_owned))?,
            _ => (frame["method"].is_null() && !frame["id"].is_null()).then(|| frame["id"].to_string()),
        });
        (asked.collect(), answered.collect())
    }
}

struct Sent {
    to: usize,
    token: String,
    id: String,
}

struct World {
    home: Home,
    fakes: Vec<Fake>,
    done: AtomicBool,
    sent: Mutex<Vec<Sent>>,
    decided: Mutex<BTreeSet<String>>,
    failures: Mutex<Vec<String>>,
}

impl World {
    fn fail(&self, why: String) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(why);
        self.done.store(true, Ordering::SeqCst);
    }

    fn is_done(&self) -> bool {
        self.done.load(Ordering::SeqCst)
    }

    /// Until it is answered, through any number of deaths.
    fn call(&self, wire: &mut Option<Wire>, frame: &Value) -> Result<Value, String> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            if let Some(connected) = wire {
                match connected.call(frame.clone()) {
                    Ok(answer) if answer["error"]["code"] == "unavailable" => *wire = None,
                    Ok(answer) if answer["error"].is_null() => return Ok(answer["ok"].clone()),
                    Ok(answer) => return Err(format!("{frame} was refused: {answer}")),
                    Err(_) => *wire = None,
                }
            }
            match Wire::connect(&self.home.socket()) {
                Ok(connected) => *wire = Some(connected),
                Err(error) if Instant::now() >= give_up => return Err(format!("no server: {error}")),
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    fn get(&self, name: &str, args: Value) -> Result<Value, String> {
        self.call(&mut None, &json!({ "get": name, "args": args }))
    }

    fn dir(&self, uid: &str) -> PathBuf {
        self.home.state().join("tapes").join(uid).join("1")
    }
}

fn command(cmd: &str, args: Value) -> Value {
    let id = uuid::Builder::from_random_bytes(amux_sys::clock::random_bytes::<16>()).into_uuid().to_string();
    json!({ "cmd": cmd, "args": args, "cmd_id": id })
}

/// Ends what it started when it is dropped.
struct Launcher(Child);

impl Drop for Launcher {
    fn drop(&mut self) {
        // It and with it everything that runs.
        let _ = signals::send(self.0.id(), Signal::Term);
        let _ = self.0.wait();
    }
}

/// Runs the plan in `dir` with the `agentmux` and the `fake-agent` given; `me` runs [`launcher`]. The error names the
/// first promise that broke.
pub fn run(plan: &Plan, dir: &Path, binary: &Path, fake: &Path, me: &Path) -> Result<Outcome, String> {
    let text = |error: std::io::Error| error.to_string();
    fs::create_dir_all(dir.join("config")).map_err(text)?;
    fs::create_dir_all(dir.join("oracles")).map_err(text)?;
    fs::write(dir.join("config/agents.toml"), kinds(fake)).map_err(text)?;
    let home = Home::new(dir, me);
    let mut start = home.command();
    start.arg("launcher").arg(dir).env("AGENTMUX_COMMAND", binary).stdin(Stdio::null()).stdout(Stdio::null());
    let log = fs::File::create(dir.join("launcher-stderr.log")).map_err(text)?;
    let _launcher = Launcher(start.stderr(log).spawn().map_err(text)?);
    let modes = ["tui", "claude", "codex", "acp"];
    let fakes = modes.into_iter().zip(plan.agents).flat_map(|(mode, count)| (0..count).map(move |n| (mode, n)));
    let fakes: Vec<Fake> = fakes
        .map(|(mode, n)| {
            // Of those in terminals every second one has no composer.
            let mode = if mode == "tui" && n % 2 == 1 { "pty" } else { mode };
            Fake { name: format!("{mode}-{n}"), mode, oracle: dir.join(format!("oracles/{mode}-{n}.x")) }
        })
        .collect();
    let world = Arc::new(World {
        home,
        fakes,
        done: AtomicBool::new(false),
        sent: Mutex::default(),
        decided: Mutex::default(),
        failures: Mutex::default(),
    });
    world.home.connect().map_err(|error| format!("no server: {error}"))?;
    for fake in &world.fakes {
        let rate = if fake.is_pty() { "60" } else { "40" };
        let oracle = fake.oracle.with_extension("").display().to_string();
        let argv = ["--oracle", &oracle, "--rate", rate];
        let args = json!({ "name": fake.name, "kind": format!("fake-{}", fake.mode), "cwd": "/", "argv": argv });
        world.call(&mut None, &command("agent.create", args))?;
    }
    let before = until("every agent runs", || {
        let agents = agents(&world)?;
        let all = agents.len() == world.fakes.len() && agents.values().all(|agent| agent["pid"].is_u64());
        Ok(all.then_some(agents))
    })?;
    let mut threads = Vec::new();
    for thread in 0..3_u64 {
        let (world, rng) = (Arc::clone(&world), Rng::new(plan.seed.wrapping_add(thread * 7919 + 1)));
        threads.push(std::thread::spawn(move || if thread < 2 { talk(&world, rng) } else { answer(&world, rng) }));
    }
    let killed = strike(plan, &world);
    world.done.store(true, Ordering::SeqCst);
    for thread in threads {
        thread.join().map_err(|_| "a client broke".to_owned())?;
    }
    if let Some(failure) = world.failures.lock().unwrap_or_else(PoisonError::into_inner).pop() {
        return Err(failure);
    }
    judge(&world, killed?, &before)
}

fn agents(world: &World) -> Result<BTreeMap<String, Value>, String> {
    let list = world.get("agents", json!({ "all": true }))?;
    let named = |agent: &Value| (agent["name"].as_str().unwrap_or_default().to_owned(), agent.clone());
    Ok(list.as_array().into_iter().flatten().map(named).collect())
}

fn until<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>, String>) -> Result<T, String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            return Err(format!("never: {what}"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn strike(plan: &Plan, world: &World) -> Result<u32, String> {
    let mut rng = Rng::new(plan.seed);
    for kill in 0..plan.kills {
        if world.is_done() {
            return Ok(kill);
        }
        let status = world.get("status", json!({}))?;
        let pid = status["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).ok_or("the server has no pid")?;
        // Sometimes in the middle of taking over, sometimes in the middle of work.
        let pause = if rng.below(4) == 0 { rng.below(20_000) } else { rng.below(600_000) };
        std::thread::sleep(Duration::from_micros(pause));
        signals::send(pid, Signal::Kill).map_err(|error| error.to_string())?;
        until("the server is gone", || Ok(amux_sys::process::identity(pid).is_none().then_some(())))?;
    }
    Ok(plan.kills)
}

/// One who sends messages, each until it is accepted.
fn talk(world: &World, mut rng: Rng) {
    let mut wire = None;
    while !world.is_done() {
        let to = rng.below(world.fakes.len() as u64) as usize;
        let token = format!("m-{:016x}-e", rng.below(u64::MAX));
        let acts = ["say:20", "ask", "sleep:30", "ask say:9000", "say:200 sleep:5"][rng.below(5) as usize];
        // Some do not fit one page, and some not the pipe as it is.
        let more = if rng.below(6) == 0 { "y".repeat(20_000) } else { String::new() };
        let body = if world.fakes[to].is_pty() { token.clone() } else { format!("{token} {acts} {more}") };
        let args = json!({ "to": [world.fakes[to].name], "body": body, "key": token });
        match world.call(&mut wire, &command("message.send", args)) {
            Ok(receipt) => {
                let id = receipt["id"].as_str().unwrap_or_default().to_owned();
                world.sent.lock().unwrap_or_else(PoisonError::into_inner).push(Sent { to, token, id });
            }
            Err(why) => return world.fail(why),
        }
        std::thread::sleep(Duration::from_millis(20 + rng.below(60)));
    }
}

/// One who decides, though not everything.
fn answer(world: &World, mut rng: Rng) {
    while !world.is_done() {
        let open = match world.get("requests", json!({})) {
            Ok(open) => open,
            Err(why) => return world.fail(why),
        };
        for request in open.as_array().into_iter().flatten().filter(|_| rng.below(3) > 0) {
            // Withdrawn or decided meanwhile is no failure; the files of the fakes are the judge.
            let _ = decide(world, request);
        }
        std::thread::sleep(Duration::from_millis(30));
    }
}

fn decide(world: &World, request: &Value) -> Result<(), String> {
    let id = request["id"].as_str().unwrap_or_default().to_owned();
    let option = &request["options"][0]["id"];
    let args = json!({ "request": id, "answer": { "type": "option", "option": option } });
    world.call(&mut None, &command("request.decide", args))?;
    world.decided.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    Ok(())
}

fn judge(world: &World, kills: u32, before: &BTreeMap<String, Value>) -> Result<Outcome, String> {
    let sent = world.sent.lock().unwrap_or_else(PoisonError::into_inner);
    no_ask_is_lost(world)?;
    // What still waits is decided; then every message comes to its end.
    let unproven = until("every message has come to its end", || {
        for request in world.get("requests", json!({}))?.as_array().into_iter().flatten() {
            let _ = decide(world, request);
        }
        let mut unproven = BTreeMap::new();
        for Sent { to, id, .. } in sent.iter() {
            let message = world.get("message", json!({ "message": id }))?;
            let stage = message["deliveries"][0]["stage"].as_str().unwrap_or_default().to_owned();
            match stage.as_str() {
                "acked" => {}
                "handed" | "shown" | "begun" if world.fakes[*to].is_pty() => {}
                // Only a terminal leaves it open whether something was taken.
                "unproven" if world.fakes[*to].is_pty() => {
                    unproven.insert(id.clone(), message["deliveries"][0]["reason"].to_string());
                }
                _ => return Ok(None),
            }
        }
        Ok(Some(unproven))
    })
    .map_err(|never| format!("{never}: {}", stuck(world, &sent)))?;
    let after = agents(world)?;
    for fake in &world.fakes {
        let (was, is) = (&before[&fake.name], &after[&fake.name]);
        if (&was["pid"], &was["run"], is["run"].as_u64()) != (&is["pid"], &is["run"], Some(1)) {
            return Err(format!("{} did not live on: {was} became {is}", fake.name));
        }
    }
    for Sent { to, token, id } in sent.iter() {
        let fake = &world.fakes[*to];
        // What is in a terminal is entered at the latest after the patience for its being shown.
        let is_whole = || fake.text("turns").lines().any(|line| *line == format!("submitted {token}"));
        if fake.mode == "tui" && !unproven.contains_key(id) {
            until(&format!("{} submits {token}", fake.name), || Ok(is_whole().then_some(())))?;
        }
        let count = fake.text("in").matches(token.as_str()).count();
        if count != 1 && !(count == 0 && unproven.contains_key(id)) {
            return Err(format!("{token} arrived {count} times at {}", fake.name));
        }
    }
    let mut bytes = 0;
    for fake in &world.fakes {
        let pid = after[&fake.name]["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).ok_or("no pid")?;
        signals::send(pid, Signal::Stop).map_err(|error| error.to_string())?;
        let judged = judge_fake(world, fake, after[&fake.name]["uid"].as_str().unwrap_or_default());
        // Also when it was found wanting: it is to end like the others.
        signals::send(pid, Signal::Cont).map_err(|error| error.to_string())?;
        bytes += judged.map_err(|why| format!("{}: {why}", fake.name))?;
    }
    turns_are_whole(world)?;
    let answers = world.decided.lock().unwrap_or_else(PoisonError::into_inner).len();
    Ok(Outcome { kills, messages: sent.len(), answers, bytes, unproven: unproven.len() })
}

fn stuck(world: &World, sent: &[Sent]) -> String {
    let each = sent.iter().filter_map(|Sent { to, token, id }| {
        let message = world.get("message", json!({ "message": id })).ok()?;
        let delivery = &message["deliveries"][0];
        let is_over = matches!(delivery["stage"].as_str(), Some("acked"));
        let is_entered = world.fakes[*to].is_pty() && delivery["stage"] != "accepted";
        (!is_over && !is_entered).then(|| format!("{token} to {}: {}", world.fakes[*to].name, delivery["stage"]))
    });
    each.take(5).collect::<Vec<_>>().join("; ")
}

/// Who waits for an answer is seen to wait, and nobody else.
fn no_ask_is_lost(world: &World) -> Result<(), String> {
    until("what is asked is what the fakes ask", || {
        let open = world.get("requests", json!({}))?;
        let of = |fake: &Fake| {
            let of_it = |request: &&Value| {
                request["agent"].as_str().is_some_and(|of| of.starts_with(&format!("{}@", fake.name)))
            };
            open.as_array().into_iter().flatten().filter(of_it).count()
        };
        let waiting = |fake: &Fake| {
            let (asked, answered) = fake.asks();
            asked.iter().filter(|ask| !answered.contains(ask)).count()
        };
        Ok(world.fakes.iter().all(|fake| fake.is_pty() || of(fake) == waiting(fake)).then_some(()))
    })
}

fn judge_fake(world: &World, fake: &Fake, uid: &str) -> Result<u64, String> {
    let dir = world.dir(uid);
    let printed = fake.file("out");
    let taped = until("its tape has all it printed", || {
        let (from, taped) = tape::tail(&dir, tape::OUT, u64::MAX).map_err(|error| error.to_string())?;
        if from != 0 {
            return Err(format!("the tape begins at {from}"));
        }
        let is_all = printed.len() as u64 <= taped.len() as u64 + PRINTED_AT_ONCE;
        Ok(is_all.then_some(taped))
    })?;
    if let Some(at) = taped.iter().zip(&printed).position(|(a, b)| a != b) {
        let near = |bytes: &[u8]| {
            String::from_utf8_lossy(&bytes[at.saturating_sub(40)..bytes.len().min(at + 40)]).into_owned()
        };
        return Err(format!("the tape differs at {at}: {:?} and not {:?}", near(&taped), near(&printed)));
    }
    if taped.len() > printed.len() {
        return Err(format!("the tape has {} bytes, {} were printed", taped.len(), printed.len()));
    }
    if let Some(bad) = fake.text("turns").lines().find(|line| line.starts_with("garbage") || line.starts_with("typed"))
    {
        return Err(format!("it read what nobody wrote: {bad}"));
    }
    if fake.is_pty() {
        return Ok(taped.len() as u64);
    }
    let (asked, mut answered) = fake.asks();
    answered.sort();
    if answered.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(format!("a question was answered twice: {answered:?}"));
    }
    if asked != answered.iter().cloned().collect() {
        return Err(format!("it asked {asked:?}, and was answered {answered:?}"));
    }
    until("its transcript is all there is", || {
        let told: Vec<Entry> = journal::read(&journal::transcript(&dir), 0).map_err(|error| error.to_string())?;
        if let Some(pair) = told.windows(2).find(|pair| (pair[0].n, pair[0].i) >= (pair[1].n, pair[1].i)) {
            return Err(format!("the transcript goes back: {:?} after {:?}", pair[1], pair[0]));
        }
        let told: Vec<_> = told.into_iter().map(|entry| (entry.n, entry.i, entry.item)).collect();
        let again = again(&dir, fake.mode, &taped)?;
        if let Some((is, should)) = told.iter().zip(&again).find(|(is, should)| is != should) {
            return Err(format!("the transcript has {is:?} and should have {should:?}"));
        }
        Ok((told.len() == again.len()).then_some(()))
    })?;
    Ok(taped.len() as u64)
}

/// What a new machine makes of the tape and the journal.
fn again(dir: &Path, mode: &str, taped: &[u8]) -> Result<Vec<(u64, u32, Item)>, String> {
    let mut machine = match mode {
        "claude" => Machine::Claude(amux_agents::claude::Claude::default()),
        "codex" => Machine::Codex(amux_agents::codex::Codex::default()),
        _ => Machine::Acp(Box::default()),
    };
    let records: Vec<Record> = journal::read(&journal::journal(dir), 0).map_err(|error| error.to_string())?;
    let whole = taped.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let mut lines =
        taped[..whole].split(|byte| *byte == b'\n').take(taped[..whole].iter().filter(|b| **b == b'\n').count());
    let (mut n, mut told) = (0, Vec::new());
    let mut streams = amux_agents::streams::Streams::default();
    let mut take = |n: u64, out: Out| {
        let items = (0..).zip(streams.pass(out.items)).filter(|(_, item)| !item.is_passing());
        told.extend(items.map(|(i, item)| (n, i, item)));
    };
    let mut hear_up_to = |n: &mut u64, max: u64, machine: &mut Machine, take: &mut dyn FnMut(u64, Out)| {
        while *n < max {
            let Some(line) = lines.next() else { return };
            let mut out = Out::default();
            *n += 1;
            machine.hear(&String::from_utf8_lossy(line), Time(0), &mut out);
            take(*n, out);
        }
    };
    for record in records {
        let at = match &record {
            Record::Order { n, .. }
            | Record::Written { n, .. }
            | Record::Unproven { n, .. }
            | Record::Mark { n, .. } => *n,
            _ => continue,
        };
        hear_up_to(&mut n, at - 1, &mut machine, &mut take);
        if n != at - 1 {
            return Err(format!("{record:?} is after {n} inputs"));
        }
        n = at;
        if let Record::Order { order, .. } = &record {
            let mut out = Out::default();
            let _ = machine.order(order, Time(0), &mut out);
            take(n, out);
        }
    }
    hear_up_to(&mut n, u64::MAX, &mut machine, &mut take);
    Ok(told)
}

/// In the order of events every turn is opened and closed once, and every question too.
fn turns_are_whole(world: &World) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let mut wire = world.home.connect().map_err(text)?;
    let (epoch, head) = (wire.welcome["epoch"].clone(), wire.welcome["head"].as_u64().unwrap_or_default());
    wire.start(json!({ "sub": { "topics": [], "from": { "epoch": epoch, "seq": 0 } } })).map_err(text)?;
    let (mut at, mut turns, mut asked) = (0, BTreeMap::new(), BTreeSet::new());
    while at < head {
        let frame = wire.frame().map_err(text)?;
        let event = &frame["event"];
        if event.is_null() {
            continue;
        }
        let seq = event["seq"].as_u64().unwrap_or_default();
        if seq != at + 1 {
            return Err(format!("event {seq} follows {at}"));
        }
        at = seq;
        let data = &event["data"];
        let agent = data["agent"].to_string();
        match event["type"].as_str().unwrap_or_default() {
            "turn.started" => {
                let newest = turns.entry(agent.clone()).or_insert((0, false));
                if newest.1 || data["turn"].as_u64() != Some(newest.0 + 1) {
                    return Err(format!("{agent}: a turn begins after {newest:?}: {event}"));
                }
                *newest = (newest.0 + 1, true);
            }
            "turn.ended" => {
                let newest = turns.entry(agent.clone()).or_insert((0, false));
                if *newest != (data["turn"].as_u64().unwrap_or_default(), true) {
                    return Err(format!("{agent}: a turn ends after {newest:?}: {event}"));
                }
                newest.1 = false;
            }
            "request.opened" if !asked.insert(data["request"]["id"].to_string()) => {
                return Err(format!("asked twice: {event}"));
            }
            _ => {}
        }
    }
    if turns.is_empty() || asked.is_empty() {
        return Err("nobody ever worked, or asked".into());
    }
    match turns.iter().find(|(_, (_, open))| *open) {
        Some((agent, newest)) => Err(format!("{agent}: a turn was never closed: {newest:?}")),
        None => Ok(()),
    }
}
