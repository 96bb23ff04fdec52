//! The crash matrix: the real server under load from several clients, struck down at every commit boundary and at
//! random, and an oracle that knows every acknowledged command.
//!
//! The oracle reads the order of events as any subscriber would: without a gap across all the deaths, with every
//! acknowledged command in it once and at the place its answer named, and with no command in it twice.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::commands::Rng;
use crate::powerloss::Shim;
use crate::server::Home;
use crate::wire::Wire;

pub struct Plan {
    pub kills: u32,
    pub seed: u64,
    pub clients: u32,
    /// Also lose what was not synced.
    pub power_loss: bool,
}

#[derive(Debug, Default)]
pub struct Outcome {
    pub kills: u32,
    pub acknowledged: usize,
    pub events: usize,
}

const BOUNDARIES: [&str; 5] = ["received", "decided", "committed", "published", "answered"];

/// A server that does not come back within this is a failure of its own.
const PATIENCE: Duration = Duration::from_secs(60);

struct Shared {
    home: Home,
    done: AtomicBool,
    acknowledged: Mutex<HashMap<String, u64>>,
    failures: Mutex<Vec<String>>,
}

impl Shared {
    fn fail(&self, why: String) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(why);
        self.done.store(true, Ordering::SeqCst);
    }

    fn is_done(&self) -> bool {
        self.done.load(Ordering::SeqCst)
    }
}

/// Runs the plan in `dir`; the error names the first promise that broke.
pub fn run(plan: &Plan, dir: &Path, binary: &Path) -> Result<Outcome, String> {
    let shim =
        if plan.power_loss { Some(Shim::build(dir).map_err(|error| format!("the shim: {error}"))?) } else { None };
    let shared = Arc::new(Shared {
        home: Home::new(dir, binary),
        done: AtomicBool::new(false),
        acknowledged: Mutex::default(),
        failures: Mutex::default(),
    });
    let mut threads = Vec::new();
    for client in 0..plan.clients {
        let shared = Arc::clone(&shared);
        let rng = Rng::new(plan.seed.wrapping_add(u64::from(client) * 7919 + 1));
        threads.push(std::thread::spawn(move || load(&shared, client, rng)));
    }
    let killed = strike(plan, &shared, shim.as_ref());
    // One last start: whatever is still unanswered gets its answer, and the oracle reads to the end.
    let extra = environment(shim.as_ref(), None);
    let extra: Vec<_> = extra.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let last = shared.home.start(&extra).map_err(|error| error.to_string())?;
    shared.done.store(true, Ordering::SeqCst);
    for thread in threads {
        thread.join().map_err(|_| "a client broke".to_owned())?;
    }
    let outcome = killed.and_then(|kills| judge(&shared, kills));
    drop(last);
    let failures = std::mem::take(&mut *shared.failures.lock().unwrap_or_else(PoisonError::into_inner));
    match failures.into_iter().next() {
        Some(failure) => Err(failure),
        None => outcome,
    }
}

fn environment(shim: Option<&Shim>, failpoint: Option<String>) -> Vec<(String, String)> {
    let mut extra = shim.map(Shim::environment).unwrap_or_default();
    extra.extend(failpoint.map(|failpoint| ("AGENTMUX_FAILPOINT".to_owned(), failpoint)));
    extra
}

fn strike(plan: &Plan, shared: &Shared, shim: Option<&Shim>) -> Result<u32, String> {
    let mut rng = Rng::new(plan.seed);
    let mut kills = 0;
    while kills < plan.kills && !shared.is_done() {
        // Every boundary in turn, and every third time a moment of chance.
        let at_boundary = kills % 3 != 2;
        let failpoint = at_boundary.then(|| {
            let boundary = BOUNDARIES[(kills / 3 * 2 + kills % 3) as usize % BOUNDARIES.len()];
            format!("{boundary}:{}", 3 + rng.below(40))
        });
        let extra = environment(shim, failpoint);
        let extra: Vec<_> = extra.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let mut srv = shared.home.start(&extra).map_err(|error| error.to_string())?;
        if at_boundary {
            let deadline = Instant::now() + PATIENCE;
            while !srv.has_ended() {
                if Instant::now() >= deadline {
                    return Err(format!("the server reached no boundary: {}", shared.home.stderr()));
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        } else {
            drop(shared.home.connect().map_err(|error| format!("no server: {error}: {}", shared.home.stderr()))?);
            std::thread::sleep(Duration::from_micros(rng.below(40_000)));
        }
        srv.kill();
        kills += 1;
        if let Some(shim) = shim {
            shim.lose_power(&shared.home).map_err(|error| error.to_string())?;
        }
    }
    Ok(kills)
}

/// One client: makes teams and removes them, each command until it is answered, through any number of deaths.
fn load(shared: &Shared, client: u32, mut rng: Rng) {
    /// Below the bound of teams, for all clients together.
    const STANDING_MAX: usize = 12;
    let mut wire = None;
    let mut standing = Vec::new();
    let mut count = 0u64;
    while !shared.is_done() {
        let remove = !standing.is_empty() && (standing.len() >= STANDING_MAX || rng.below(2) == 0);
        let (cmd, args, name) = if remove {
            let name: String = standing.swap_remove(rng.below(standing.len() as u64) as usize);
            ("team.remove", json!({ "team": name }), name)
        } else {
            count += 1;
            let name = format!("c{client}-{count}");
            ("team.create", json!({ "name": name }), name)
        };
        let cmd_id = uuid::Builder::from_random_bytes(amux_sys::clock::random_bytes::<16>()).into_uuid().to_string();
        let frame = json!({ "cmd": cmd, "args": args, "cmd_id": cmd_id });
        match until_answered(shared, &mut wire, &frame) {
            None => return,
            Some(answer) if answer["error"].is_null() => {
                let seq = answer["seq"].as_u64().unwrap_or_default();
                shared.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).insert(cmd_id, seq);
                if !remove {
                    standing.push(name);
                }
            }
            Some(answer) => return shared.fail(format!("{frame} was refused: {answer}")),
        }
    }
}

fn until_answered(shared: &Shared, wire: &mut Option<Wire>, frame: &Value) -> Option<Value> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(connected) = wire {
            match connected.call(frame.clone()) {
                Ok(answer) if answer["error"]["code"] == "unavailable" => *wire = None,
                Ok(answer) => return Some(answer),
                Err(_) => *wire = None,
            }
        }
        match Wire::connect(&shared.home.socket()) {
            Ok(connected) => *wire = Some(connected),
            Err(_) => {
                // The last server runs while the clients finish, so giving up is only for a run that failed.
                if Instant::now() >= give_up {
                    shared.fail("a client found no server".into());
                    return None;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

fn judge(shared: &Shared, kills: u32) -> Result<Outcome, String> {
    let text = |error: io::Error| error.to_string();
    let mut wire = shared.home.connect().map_err(text)?;
    let (epoch, head) = (wire.welcome["epoch"].clone(), wire.welcome["head"].as_u64().unwrap_or_default());
    wire.start(json!({ "sub": { "topics": [], "from": { "epoch": epoch, "seq": 0 } } })).map_err(text)?;
    let mut seen: HashMap<String, Vec<u64>> = HashMap::new();
    let mut at = 0;
    while at < head {
        let frame = wire.frame().map_err(text)?;
        if !frame["reset"].is_null() {
            return Err("the order does not reach back to its beginning".into());
        }
        let event = &frame["event"];
        if event.is_null() {
            continue;
        }
        let seq = event["seq"].as_u64().unwrap_or_default();
        if seq != at + 1 {
            return Err(format!("event {seq} follows {at}"));
        }
        at = seq;
        seen.entry(event["cmd_id"].as_str().unwrap_or_default().to_owned()).or_default().push(seq);
    }
    let acknowledged = shared.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
    for (cmd_id, seq) in acknowledged.iter() {
        match seen.get(cmd_id).map(Vec::as_slice) {
            Some([once]) if once == seq => {}
            other => return Err(format!("{cmd_id} was acknowledged at {seq} and is in the order at {other:?}")),
        }
    }
    let doctor = wire.get("doctor", json!({}));
    let store = doctor.as_array().and_then(|findings| findings.iter().find(|finding| finding["check"] == "store"));
    if store.is_none_or(|finding| finding["level"] != "ok") {
        return Err(format!("doctor: {doctor}"));
    }
    if acknowledged.is_empty() {
        return Err("nothing was ever acknowledged".into());
    }
    Ok(Outcome { kills, acknowledged: acknowledged.len(), events: at as usize })
}

/// Where a run of the matrix keeps its files, removed when it passed.
pub fn scratch() -> io::Result<(tempfile::TempDir, PathBuf)> {
    let dir = tempfile::Builder::new().prefix("amux-crash").tempdir()?;
    let path = dir.path().to_owned();
    Ok((dir, path))
}
