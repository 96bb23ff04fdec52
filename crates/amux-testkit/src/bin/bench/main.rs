//! `cargo xtask bench`: the budgets, measured, beside a peer or a raw floor in the same run. Prints a table.
//!
//! Figures are medians unless they say otherwise; machines are shared and noisy, so the ratios say more than the
//! numbers.

mod agents;
mod mail;
mod watch;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use amux_engine::store::{MIGRATIONS, Upcasters};
use amux_engine::{Options, Store, Submission, Writer};
use amux_proto::{CmdId, Principal, Time, command};
use amux_sys::process;
use amux_testkit::server::{Home, Srv, built_binary};
use amux_testkit::wire::Wire;
use serde_json::{Value, json};

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str()));
    let benches: [(&str, Bench); 18] = [
        ("ready", ready),
        ("memory", memory),
        ("idle", idle),
        ("ls", list),
        ("commands", commands),
        ("fan-out", fan_out),
        ("restart", restart),
        ("big-store", big_store),
        ("flood", agents::flood),
        ("echo", agents::echo),
        ("spawn", agents::spawn),
        ("decode", agents::decode),
        ("send", mail::send),
        ("sends", mail::many),
        ("mcp", mail::mcp),
        ("messages", mail::rate),
        ("adopted", mail::adopted),
        ("watch", watch::watch),
    ];
    println!("| what | measured | budget | beside it |");
    println!("|---|---|---|---|");
    for (name, bench) in benches {
        if wants(name) {
            for Row { what, measured, budget, beside } in bench() {
                println!("| {what} | {measured} | {budget} | {beside} |");
            }
        }
    }
}

type Bench = fn() -> Vec<Row>;

struct Row {
    what: String,
    measured: String,
    budget: &'static str,
    beside: String,
}

fn row(what: &str, measured: String, budget: &'static str, beside: String) -> Row {
    Row { what: what.into(), measured, budget, beside }
}

struct World {
    _dir: tempfile::TempDir,
    home: Home,
}

fn world() -> World {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let home = Home::new(dir.path(), &built_binary());
    World { _dir: dir, home }
}

fn start(home: &Home) -> (Srv, Duration) {
    let began = Instant::now();
    let srv = home.start(&[]).expect("the server starts");
    loop {
        if Wire::connect(&home.socket()).is_ok() {
            return (srv, began.elapsed());
        }
        assert!(began.elapsed() < Duration::from_secs(60), "no server: {}", home.stderr());
        std::thread::sleep(Duration::from_micros(100));
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn percentile(values: &mut [f64], at: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * at) as usize]
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// tmux on a socket of its own; `None` when it is not installed.
struct Tmux(String);

impl Tmux {
    fn start(sessions: usize) -> Option<(Self, Duration)> {
        let name = format!("amux-bench-{}-{sessions}", std::process::id());
        let tmux = Self(name);
        let began = Instant::now();
        let made = tmux.run(&["-f", "/dev/null", "new-session", "-d", "-s", "s0", "/bin/sh"]).ok()?.success();
        let ready = began.elapsed();
        for n in 1..sessions {
            tmux.run(&["new-session", "-d", "-s", &format!("s{n}"), "/bin/sh"]).ok()?;
        }
        made.then_some((tmux, ready))
    }

    fn run(&self, args: &[&str]) -> std::io::Result<std::process::ExitStatus> {
        Command::new("tmux").args(["-L", &self.0]).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status()
    }

    fn name(&self) -> &str {
        &self.0
    }

    fn server_rss(&self) -> Option<u64> {
        let out = Command::new("tmux").args(["-L", &self.0, "display-message", "-p", "#{pid}"]).output().ok()?;
        process::rss_bytes(String::from_utf8_lossy(&out.stdout).trim().parse().ok()?)
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = self.run(&["kill-server"]);
    }
}

fn ready() -> Vec<Row> {
    let empty = median((0..15).map(|_| ms(start(&world().home).1)).collect());
    let tmux = (0..5).filter_map(|_| Tmux::start(1)).map(|(_, ready)| ms(ready)).collect::<Vec<_>>();
    let beside = if tmux.is_empty() { "tmux absent".into() } else { format!("tmux {:.1} ms", median(tmux)) };
    vec![row("server ready, empty store", format!("{empty:.1} ms"), "20 ms", beside)]
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1024.0 / 1024.0
}

fn shells(home: &Home, count: usize, script: &str) {
    let mut wire = home.connect().expect("the server answers");
    for n in 0..count {
        let argv = ["/bin/sh", "-c", script];
        wire.must("agent.create", json!({ "name": format!("a{n}"), "kind": "cmd", "argv": argv, "cwd": "/" }));
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let agents = wire.get("agents", json!({ "all": true }));
        let running = agents.as_array().map_or(0, |agents| agents.iter().filter(|agent| agent["pid"].is_u64()).count());
        if running == count {
            return;
        }
        assert!(Instant::now() < deadline, "{running} of {count} run");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn memory() -> Vec<Row> {
    let mut rows = Vec::new();
    let tmux = |sessions| {
        let rss = Tmux::start(sessions).and_then(|(tmux, _)| tmux.server_rss());
        rss.map_or("tmux absent".into(), |rss| format!("tmux {:.1} MB", mib(rss)))
    };
    let empty = world();
    let (srv, _) = start(&empty.home);
    rows.push(row(
        "RSS, empty",
        format!("{:.1} MB", mib(process::rss_bytes(srv.pid()).unwrap_or(0))),
        "16 MB",
        tmux(1),
    ));
    drop(srv);
    let idle = world();
    let (srv, _) = start(&idle.home);
    shells(&idle.home, 100, "exec sleep 100000");
    let rss = mib(process::rss_bytes(srv.pid()).unwrap_or(0));
    rows.push(row("RSS, 100 idle shells", format!("{rss:.1} MB"), "30 MB", tmux(100)));
    stop(&idle.home);
    drop(srv);
    let full = world();
    let (srv, _) = start(&full.home);
    let script = "i=0; while [ $i -lt 10000 ]; do echo \"$i a line of some eighty columns as a build or a test run prints them all day\"; \
                  i=$((i+1)); done; echo done; exec sleep 100000";
    shells(&full.home, 30, script);
    let mut wire = full.home.connect().expect("the server answers");
    let deadline = Instant::now() + Duration::from_secs(60);
    for n in 0..30 {
        while !wire.get("look", json!({ "agent": format!("a{n}") }))["lines"].to_string().contains("\"done\"") {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let rss = mib(process::rss_bytes(srv.pid()).unwrap_or(0));
    rows.push(row(
        "RSS, 30 shells of 10k lines each",
        format!("{rss:.1} MB"),
        "40 MB",
        "tmux 134 MB (its own default history)".into(),
    ));
    stop(&full.home);
    drop(srv);
    rows
}

fn stop(home: &Home) {
    if let Ok(mut wire) = home.connect() {
        let _ = wire.call(json!({ "cmd": "server.stop", "args": {} }));
        let deadline = Instant::now() + Duration::from_secs(20);
        while Wire::connect(&home.socket()).is_ok() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Times the threads of a process went to sleep by themselves: how often something woke them.
fn wakeups(pid: u32) -> u64 {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let count = |task: std::fs::DirEntry| {
        let status = std::fs::read_to_string(task.path().join("status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse::<u64>().ok())
    };
    tasks.filter_map(|task| count(task.ok()?)).sum()
}

fn idle() -> Vec<Row> {
    [30, 200].into_iter().map(idle_with).collect()
}

fn idle_with(agents: usize) -> Row {
    let world = world();
    let (_srv, _) = start(&world.home);
    shells(&world.home, agents, "exec sleep 100000");
    std::thread::sleep(Duration::from_secs(2));
    let measured = at_rest(&world.home);
    stop(&world.home);
    row(&format!("idle with {agents} agents, 20 s"), measured, "< 0.1 %", "tmux 0.00 %".into())
}

/// What all processes of the program use together while nothing happens: server, launcher and runners.
fn at_rest(home: &Home) -> String {
    const LOOK: Duration = Duration::from_secs(20);
    let ours = programs(home);
    let sum = |what: fn(u32) -> u64| ours.iter().map(|pid| what(*pid)).sum::<u64>();
    let cpu = |pid| process::cpu_ms(pid).unwrap_or(0);
    let before = (sum(cpu), sum(wakeups), sum(faults_of_children));
    std::thread::sleep(LOOK);
    let percent = sum(cpu).saturating_sub(before.0) as f64 / ms(LOOK) * 100.0;
    // A thread that ended meanwhile took its count along.
    let woken = sum(wakeups).saturating_sub(before.1) as f64 / LOOK.as_secs_f64();
    let forked = if sum(faults_of_children) == before.2 { "no child ended" } else { "children ended" };
    format!("{percent:.2} % of a core, {woken:.1} wake-ups/s, {forked}")
}

/// Whoever runs this program for this home.
fn programs(home: &Home) -> Vec<u32> {
    let place = home.state().as_os_str().as_encoded_bytes().to_vec();
    let ours = |pid: &u32| {
        let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        program.file_name().is_some_and(|name| name == "agentmux")
            && environ.windows(place.len()).any(|part| part == place)
    };
    let every = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    every.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(ours).collect()
}

/// Page faults of the children that a process has waited for: a child that ran, however briefly, had some.
fn faults_of_children(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after.split_whitespace().nth(8).and_then(|word| word.parse().ok()).unwrap_or(0)
}

fn timed(command: &mut Command, times: usize) -> (f64, f64, f64) {
    let cpu = || {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let words: Vec<_> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let ticks = |at: usize| words.get(at).and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0);
        (ticks(13) + ticks(14)) * 10.0
    };
    let before = cpu();
    let mut walls: Vec<f64> = (0..times)
        .map(|_| {
            let began = Instant::now();
            let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("it runs");
            assert!(status.success(), "{command:?}: {status}");
            ms(began.elapsed())
        })
        .collect();
    let cpu = (cpu() - before) / times as f64;
    let p90 = percentile(&mut walls, 0.9);
    (median(walls), p90, cpu)
}

fn list() -> Vec<Row> {
    let mut rows = Vec::new();
    for (count, budget) in [(50, "3 ms"), (500, "6 ms")] {
        let world = world();
        let (srv, _) = start(&world.home);
        let mut wire = world.home.connect().expect("the server answers");
        for n in 0..count {
            let args = json!({ "name": format!("a{n}"), "kind": "cmd", "argv": ["true"], "cwd": "/", "start": false });
            wire.must("agent.create", args);
        }
        let (wall, p90, cpu) = timed(world.home.command().args(["ls", "--all"]), 200);
        let tmux = Tmux::start(count).map(|(tmux, _)| {
            let mut command = Command::new("tmux");
            timed(command.args(["-L", &tmux.0, "ls"]), 200).0
        });
        let beside = tmux.map_or("tmux absent".into(), |wall| format!("tmux ls {wall:.1} ms"));
        let measured = format!("{wall:.1} ms (p90 {p90:.1}, CPU {cpu:.1})");
        rows.push(row(&format!("`agentmux ls`, {count} agents"), measured, budget, beside));
        drop(srv);
    }
    rows
}

fn commands() -> Vec<Row> {
    let mut rows = Vec::new();
    for connections in [1usize, 8, 64] {
        let world = world();
        let (srv, _) = start(&world.home);
        let rate = durable_rate(&world.home, connections);
        let raw = raw_rate(world.home.dir.as_path(), connections);
        let budget = if connections == 64 { "≥ 5,000/s and ≥ 50 % of raw" } else { "–" };
        let beside = format!("raw SQLite, groups of {connections}: {raw:.0} rows/s ({:.0} %)", rate / raw * 100.0);
        rows.push(row(
            &format!("durable commands/s, {connections} connections"),
            format!("{rate:.0}/s"),
            budget,
            beside,
        ));
        drop(srv);
    }
    rows.push(writer_alone());
    let world = world();
    let (srv, _) = start(&world.home);
    let mut wire = world.home.connect().expect("the server answers");
    let began = Instant::now();
    let mut ids = Vec::new();
    for n in 0..1000 {
        let (cmd, args) =
            if n % 2 == 0 { ("team.create", json!({ "name": "x" })) } else { ("team.remove", json!({ "team": "x" })) };
        ids.push(wire.start(json!({ "cmd": cmd, "args": args })).expect("it is sent"));
        if ids.len() == 50 {
            ids.drain(..).for_each(|id| assert!(wire.answer(id).expect("an answer")["error"].is_null()));
        }
    }
    let took = began.elapsed().as_secs_f64();
    rows.push(row("1,000 commands on one connection, 50 under way", format!("{took:.2} s"), "< 0.5 s", String::new()));
    drop(srv);
    rows
}

/// The write path without sockets and clients: what a command costs once it is in the inbox.
fn writer_alone() -> Row {
    const GROUP: u128 = 64;
    let world = world();
    let mut writer = open_store(&world.home);
    let raw = raw_rate(world.home.dir.as_path(), GROUP as usize);
    let (began, mut count) = (Instant::now(), 0u128);
    while began.elapsed() < Duration::from_secs(3) {
        let batch: Vec<_> = (0..GROUP)
            .map(|_| {
                count += 1;
                let (verb, args) = if count % 2 == 1 {
                    ("team.create", json!({ "name": "x" }))
                } else {
                    ("team.remove", json!({ "team": "x" }))
                };
                submission(count, verb, &args)
            })
            .collect();
        let mut entropy = || count << 64;
        let answers = writer.step(&batch, Time(amux_sys::clock::now_ms()), &mut entropy).expect("a commit");
        assert!(answers.iter().all(Result::is_ok));
    }
    let rate = count as f64 / began.elapsed().as_secs_f64();
    let beside = format!("raw SQLite, one row each: {raw:.0} rows/s ({:.0} %)", rate / raw * 100.0);
    row("the writer alone, groups of 64", format!("{rate:.0} commands/s"), "–", beside)
}

fn submission(id: u128, verb: &str, args: &Value) -> Submission {
    let command = command::Command::decode(verb, &args.to_string()).expect("a verb").expect("its arguments");
    let cmd_id = CmdId(uuid::Uuid::from_u128(id));
    Submission { cmd_id, actor: Principal::Operator, command, expect: None, cause: None }
}

fn open_store(home: &Home) -> Writer {
    std::fs::create_dir_all(home.state()).expect("a directory");
    let upcasters = Upcasters::current();
    let opened = Store::open(
        &home.state().join("agentmux.db"),
        &Options {
            migrations: MIGRATIONS,
            upcasters: &upcasters,
            on_migrating: &|_| {},
            backups: home.dir.clone(),
            now_ms: 0,
        },
    );
    Writer::new(opened.expect("a store"))
}

fn durable_rate(home: &Home, connections: usize) -> f64 {
    const LOOK: Duration = Duration::from_secs(3);
    let (stop, barrier) = (Arc::new(AtomicBool::new(false)), Arc::new(Barrier::new(connections + 1)));
    let threads: Vec<_> = (0..connections)
        .map(|client| {
            let (stop, barrier) = (Arc::clone(&stop), Arc::clone(&barrier));
            let mut wire = home.connect().expect("the server answers");
            std::thread::spawn(move || {
                barrier.wait();
                let mut count = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    let name = format!("c{client}");
                    let (cmd, args) = if count.is_multiple_of(2) {
                        ("team.create", json!({ "name": name }))
                    } else {
                        ("team.remove", json!({ "team": name }))
                    };
                    wire.must(cmd, args);
                    count += 1;
                }
                count
            })
        })
        .collect();
    barrier.wait();
    let began = Instant::now();
    std::thread::sleep(LOOK);
    stop.store(true, Ordering::Relaxed);
    let total: u64 = threads.into_iter().map(|thread| thread.join().expect("a client ends")).sum();
    total as f64 / began.elapsed().as_secs_f64()
}

/// The floor: what the same file system and the same SQLite do with rows of the same size and nothing else.
fn raw_rate(dir: &Path, group: usize) -> f64 {
    let mut conn = rusqlite::Connection::open(dir.join("raw.db")).expect("a file");
    conn.pragma_update(None, "journal_mode", "wal").expect("WAL");
    conn.pragma_update(None, "synchronous", "full").expect("FULL");
    conn.execute_batch("CREATE TABLE event (seq INTEGER PRIMARY KEY, body TEXT NOT NULL)").expect("a table");
    let body = "x".repeat(300);
    let began = Instant::now();
    let mut rows = 0;
    while began.elapsed() < Duration::from_secs(2) {
        let tx = conn.transaction().expect("a transaction");
        for _ in 0..group {
            tx.prepare_cached("INSERT INTO event (body) VALUES (?1)")
                .and_then(|mut insert| insert.execute([&body]))
                .expect("a row");
            rows += 1;
        }
        tx.commit().expect("a commit");
    }
    f64::from(rows) / began.elapsed().as_secs_f64()
}

fn fan_out() -> Vec<Row> {
    const SUBSCRIBERS: usize = 100;
    const EVENTS: usize = 400;
    let world = world();
    let (srv, _) = start(&world.home);
    let sent: Arc<Mutex<std::collections::HashMap<String, Instant>>> = Arc::default();
    let threads: Vec<_> = (0..SUBSCRIBERS)
        .map(|_| {
            let sent = Arc::clone(&sent);
            let mut wire = world.home.connect().expect("the server answers");
            let (epoch, head) = (wire.welcome["epoch"].clone(), wire.welcome["head"].clone());
            wire.start(json!({ "sub": { "topics": ["team"], "from": { "epoch": epoch, "seq": head } } }))
                .expect("it is sent");
            std::thread::spawn(move || {
                let mut heard: Vec<(String, Instant)> = Vec::with_capacity(EVENTS);
                while heard.len() < EVENTS {
                    let frame: Value = wire.frame().expect("an event");
                    if let Some(id) = frame["event"]["cmd_id"].as_str() {
                        heard.push((id.to_owned(), Instant::now()));
                    }
                }
                let sent = sent.lock().expect("no thread broke");
                heard.iter().map(|(id, at)| ms(at.duration_since(sent[id]))).collect::<Vec<_>>()
            })
        })
        .collect();
    let mut wire = world.home.connect().expect("the server answers");
    for n in 0..EVENTS {
        let cmd_id = uuid::Builder::from_random_bytes(amux_sys::clock::random_bytes::<16>()).into_uuid().to_string();
        let (cmd, args) =
            if n % 2 == 0 { ("team.create", json!({ "name": "x" })) } else { ("team.remove", json!({ "team": "x" })) };
        sent.lock().expect("no thread broke").insert(cmd_id.clone(), Instant::now());
        wire.call(json!({ "cmd": cmd, "args": args, "cmd_id": cmd_id })).expect("an answer");
        // An event every 20 ms: what is measured is one event's way, not a queue.
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut latencies: Vec<f64> =
        threads.into_iter().flat_map(|thread| thread.join().expect("a subscriber ends")).collect();
    let (p50, p99) = (percentile(&mut latencies, 0.5), percentile(&mut latencies, 0.99));
    drop(srv);
    let measured = format!("p50 {p50:.1} ms, p99 {p99:.1} ms (from the command's sending)");
    vec![row("event to 100 subscribers", measured, "p99 ≤ 20 ms", String::new())]
}

fn restart() -> Vec<Row> {
    let mut rows = Vec::new();
    for agents in [0usize, 30] {
        let world = world();
        let status = world.home.command().args(["server", "start"]).stdout(Stdio::null()).status().expect("it runs");
        assert!(status.success());
        if agents > 0 {
            shells(&world.home, agents, "while :; do echo a line of output; sleep 0.05; done");
        }
        let (asked, killed) = (
            gap(&world.home, |wire| {
                let _ = wire.call(json!({ "cmd": "server.restart", "args": {} }));
            }),
            gap(&world.home, |wire| {
                let pid = wire.get("status", json!({}))["pid"]
                    .as_u64()
                    .and_then(|pid| u32::try_from(pid).ok())
                    .expect("a pid");
                let _ = amux_sys::signals::send(pid, amux_sys::signals::Signal::Kill);
            }),
        );
        let live = world.home.connect().expect("the server answers").get("agents", json!({}));
        let runs: Vec<_> =
            live.as_array().map(|agents| agents.iter().map(|agent| agent["run"].clone()).collect()).unwrap_or_default();
        assert!(runs.len() == agents && runs.iter().all(|run| *run == 1), "agents were restarted: {runs:?}");
        stop(&world.home);
        let what = format!("restart gap, {agents} agents streaming");
        rows.push(row(
            &what,
            format!("asked {asked:.0} ms, killed {killed:.0} ms, 0 agents restarted"),
            "300 ms; killed 500 ms",
            "nobody does it".into(),
        ));
    }
    rows
}

/// From the blow to the first answer after it.
fn gap(home: &Home, blow: impl FnOnce(&mut Wire)) -> f64 {
    let mut wire = home.connect().expect("the server answers");
    let before = wire.get("status", json!({}))["pid"].clone();
    let began = Instant::now();
    blow(&mut wire);
    loop {
        if let Ok(mut wire) = Wire::connect(&home.socket())
            && let Ok(answer) = wire.call(json!({ "get": "status" }))
            && !answer["ok"]["pid"].is_null()
            && answer["ok"]["pid"] != before
        {
            return ms(began.elapsed());
        }
        assert!(began.elapsed() < Duration::from_secs(30), "it does not come back");
        std::thread::sleep(Duration::from_micros(500));
    }
}

/// A store as a busy year leaves it.
fn big_store() -> Vec<Row> {
    const AGENTS: u32 = 200;
    const EVENTS: u64 = 1_000_000;
    let world = world();
    let mut writer = open_store(&world.home);
    let mut seed = 1u128;
    let mut submit = |writer: &mut Writer, orders: Vec<(&str, Value)>| {
        let batch: Vec<_> = orders
            .into_iter()
            .map(|(verb, args)| {
                seed += 1;
                submission(seed, verb, &args)
            })
            .collect();
        let now = Time(amux_sys::clock::now_ms());
        let mut entropy = || seed << 64;
        let answers = writer.step(&batch, now, &mut entropy).expect("a commit");
        assert!(answers.iter().all(Result::is_ok), "{:?}", answers.iter().find(|answer| answer.is_err()));
    };
    for n in 0..AGENTS {
        let args = json!({ "name": format!("a{n}"), "kind": "cmd", "argv": ["true"], "cwd": "/", "start": false });
        submit(&mut writer, vec![("agent.create", args)]);
    }
    let mut round = 0u64;
    while writer.published().read(|_, head| head).0 < EVENTS {
        round += 1;
        let orders = (0..AGENTS).map(|n| {
            let (from, to) =
                if round % 2 == 1 { (format!("a{n}"), format!("b{n}")) } else { (format!("b{n}"), format!("a{n}")) };
            ("agent.rename", json!({ "agent": from, "name": to }))
        });
        submit(&mut writer, orders.collect());
    }
    drop(writer);
    let times = (0..7).map(|_| ms(start(&world.home).1)).collect();
    let (srv, _) = start(&world.home);
    let rss = mib(process::rss_bytes(srv.pid()).unwrap_or(0));
    let mut rows = vec![row(
        "server ready, 1 M events and 200 agents",
        format!("{:.1} ms", median(times)),
        "150 ms",
        String::new(),
    )];
    rows.push(row("RSS after that start", format!("{rss:.1} MB"), "–", String::new()));
    drop(srv);
    rows
}
