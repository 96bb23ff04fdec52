//! What a browser has of the server: the board, transcripts and terminals as they are pushed, and who may see them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use amux_proto::entity::Size;
use amux_runner::screen::Screen;
use amux_sys::process;
use amux_sys::signals::{self, Signal};
use amux_testkit::crash_agents;
use amux_testkit::wire::Wire;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::doors::http;
use crate::harness::{World, fake_agent, until};

/// Whoever says nothing for this long has said all it may.
const QUIET: Duration = Duration::from_secs(2);

/// A home with fakes in it.
fn world() -> World {
    let world = World::new();
    fs::create_dir_all(world.home.dir.join("config")).unwrap();
    fs::write(world.home.dir.join("config/agents.toml"), crash_agents::kinds(&fake_agent())).unwrap();
    world
}

fn port(world: &World) -> u16 {
    world.status()["web_url"].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap()
}

/// The cookie of a browser that signed in, as it sends it.
fn sign_in(world: &World) -> String {
    let url = world.json(&["open", "--print"])["url"].as_str().unwrap().to_owned();
    let (_, code) = url.split_once("/#code=").unwrap();
    let firefox = [("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/130.0")];
    let (status, head, _) = http(port(world), "POST", "/v1/login", &firefox, &json!({ "code": code }).to_string());
    assert_eq!(status, 200);
    let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

struct Browser {
    runtime: tokio::runtime::Runtime,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

#[derive(Debug)]
enum Heard {
    Frame(Value),
    Bytes(Vec<u8>),
    End,
}

impl Browser {
    fn open(world: &World) -> Self {
        Self::with(world, &[("Cookie", &sign_in(world))])
    }

    fn with(world: &World, headers: &[(&'static str, &str)]) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut request = format!("ws://127.0.0.1:{}/v1/stream", port(world)).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (socket, _) = runtime.block_on(tokio_tungstenite::connect_async(request)).unwrap();
        let mut this = Self { runtime, socket };
        this.say(&json!({ "hello": { "protocol": 1 } }));
        assert!(this.frame()["welcome"].is_object());
        this
    }

    fn say(&mut self, frame: &Value) {
        let message = Message::text(frame.to_string());
        self.runtime.block_on(self.socket.send(message)).unwrap();
    }

    fn say_bytes(&mut self, bytes: Vec<u8>) {
        self.runtime.block_on(self.socket.send(Message::binary(bytes))).unwrap();
    }

    /// Bytes that have come and were not read.
    fn waiting(&mut self) -> usize {
        // More than any socket holds.
        let mut bytes = vec![0; 32 << 20];
        match self.socket.get_ref() {
            MaybeTlsStream::Plain(stream) => self.runtime.block_on(stream.peek(&mut bytes)).unwrap(),
            _ => unreachable!("it is a plain one"),
        }
    }

    /// `None` when nothing comes in this time.
    fn hear_within(&mut self, limit: Duration) -> Option<Heard> {
        let next = async { tokio::time::timeout(limit, self.socket.next()).await };
        match self.runtime.block_on(next) {
            Err(_) => None,
            Ok(Some(Ok(Message::Text(text)))) => Some(Heard::Frame(serde_json::from_str(&text).unwrap())),
            Ok(Some(Ok(Message::Binary(bytes)))) => Some(Heard::Bytes(bytes.into())),
            Ok(_) => Some(Heard::End),
        }
    }

    fn hear(&mut self) -> Heard {
        self.hear_within(Duration::from_secs(60)).expect("the server says something")
    }

    fn frame(&mut self) -> Value {
        match self.hear() {
            Heard::Frame(frame) => frame,
            other => panic!("not a frame: {other:?}"),
        }
    }
}

/// The rows as a client keeps them.
#[derive(Default)]
struct Board {
    seq: Option<u64>,
    rows: BTreeMap<(String, String), Value>,
    /// Of the newest frame.
    changed: Vec<(String, String)>,
}

impl Board {
    fn take(&mut self, frame: &Value) {
        let rows = &frame["rows"];
        assert!(rows.is_object(), "{frame}");
        if rows["reset"] == true {
            self.rows.clear();
            assert!(rows["after"].is_null());
        } else {
            assert_eq!(rows["after"].as_u64(), self.seq, "no frame was missed");
        }
        self.seq = rows["seq"].as_u64();
        self.changed.clear();
        for row in rows["rows"].as_array().unwrap() {
            let key = (text(&row["table"]), text(&row["key"]));
            self.changed.push(key.clone());
            match row["row"].is_null() {
                true => drop(self.rows.remove(&key)),
                false => drop(self.rows.insert(key, row["row"].clone())),
            }
        }
    }

    fn find(&self, table: &str, is_it: impl Fn(&Value) -> bool) -> Option<&Value> {
        self.rows.iter().find(|((of, _), row)| of == table && is_it(row)).map(|(_, row)| row)
    }

    /// Takes frames until something is to be seen.
    fn until<T>(&mut self, browser: &mut Browser, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            let frame = browser.frame();
            self.take(&frame);
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn named(name: &str) -> impl Fn(&Value) -> bool {
    move |row| row["name"] == name
}

#[test]
fn the_board_comes_whole_and_then_only_what_changed() {
    let world = world();
    world.json(&["team", "create", "shop"]);
    world.json(&["new", "one", "--agent", "fake-claude", "--cwd", "/", "--team", "shop"]);
    world.json(&["new", "two", "--agent", "cmd", "--cwd", "/", "--", "sleep", "1000"]);
    world.json(&["workspace", "create", "review"]);
    let mut browser = Browser::open(&world);
    let mut board = Board::default();
    browser.say(&json!({ "id": 5, "watch": {} }));
    board.until(&mut browser, |board| {
        board.find("agent", |row| row["name"] == "one" && row["state"] == "idle")?;
        board.find("agent", |row| row["name"] == "two" && row["is_live"] == true && row["pid"].is_u64()).map(drop)
    });
    let one = board.find("agent", named("one")).unwrap().clone();
    assert_eq!(
        (&one["team"], &one["kind"], &one["is_terminal"]),
        (&"shop".into(), &"fake-claude".into(), &false.into())
    );
    assert_eq!(board.find("agent", named("two")).unwrap()["is_terminal"], true);
    let setting = board.rows[&("setting".into(), "shelf.keep".into())].clone();
    assert_eq!((&setting["value"], &setting["takes"]["type"]), (&32.into(), &"number".into()));
    assert!(board.find("workspace", named("review")).is_some() && board.find("team", named("shop")).is_some());
    assert!(board.rows.contains_key(&("kind".into(), "shell".into())));
    assert_eq!(board.find("server", |_| true).unwrap()["mode"], "read_write");

    // An order is answered, and what it changed comes by itself, without anything else.
    browser.say(&json!({ "id": 6, "cmd": "agent.draft", "args": { "agent": "one@shop", "text": "not sent" } }));
    let mut frames = [browser.frame(), browser.frame()];
    frames.sort_by_key(|frame| frame["rows"].is_object());
    assert_eq!((&frames[0]["id"], frames[0]["ok"].is_object()), (&6.into(), true));
    board.take(&frames[1]);
    assert_eq!(board.changed, [("agent".to_owned(), text(&one["uid"]))]);
    assert_eq!(board.find("agent", named("one")).unwrap()["draft"], "not sent");
    browser.say(&json!({ "id": 7, "cmd": "agent.draft", "args": { "agent": "one@shop", "text": "not sent" } }));
    assert_eq!(browser.frame()["id"], 7);
    assert!(browser.hear_within(Duration::from_millis(300)).is_none(), "nothing changed");

    // A message, with where it stands; an agent that goes takes its row along.
    let id = text(&world.json(&["send", "two", "-m", "hello"])["id"]);
    board.until(&mut browser, |board| {
        let message = board.rows.get(&("message".into(), id.clone()))?;
        let stage = text(&message["deliveries"][0]["stage"]);
        (!["accepted", "held"].contains(&stage.as_str())).then_some(())
    });
    world.json(&["rm", "two", "--stop"]);
    board.until(&mut browser, |board| board.find("agent", named("two")).is_none().then_some(()));
    world.json(&["team", "rename", "shop", "store"]);
    board.until(&mut browser, |board| board.find("agent", |row| row["team"] == "store").map(drop));

    // Who asks twice is refused, who ends it hears no more, and who begins again has the same.
    browser.say(&json!({ "id": 8, "watch": {} }));
    assert_eq!(browser.frame()["error"]["code"], "exists");
    browser.say(&json!({ "id": 9, "unsub": 5 }));
    until("the end is told", || (browser.frame()["id"] == 9).then_some(()));
    world.json(&["team", "create", "unheard"]);
    assert!(browser.hear_within(Duration::from_millis(200)).is_none());
    let mut again = Board::default();
    browser.say(&json!({ "id": 10, "watch": {} }));
    again.until(&mut browser, |again| again.find("team", named("unheard")).map(drop));
    board.rows.retain(|(table, _), _| table == "agent");
    again.rows.retain(|(table, _), _| table == "agent");
    assert_eq!(board.rows, again.rows, "what was told in pieces is what is told at once");
}

#[test]
fn a_row_names_the_branch_that_an_agent_works_on() {
    let world = World::new();
    let repo = world.home.dir.join("repo");
    fs::create_dir_all(&repo).unwrap();
    for args in [&["init", "-q"][..], &["commit", "-q", "--allow-empty", "-m", "begin"]] {
        let who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"];
        let git = std::process::Command::new("git").current_dir(&repo).args(who).args(args).status().unwrap();
        assert!(git.success(), "{args:?}");
    }
    let cwd = repo.to_str().unwrap();
    world.json(&["new", "own", "--agent", "cmd", "--worktree", "--cwd", cwd, "--", "sleep", "1000"]);
    world.json(&["new", "shared", "--agent", "cmd", "--cwd", cwd, "--", "sleep", "1000"]);
    let mut browser = Browser::open(&world);
    let mut board = Board::default();
    browser.say(&json!({ "id": 1, "watch": {} }));
    let branch = board.until(&mut browser, |board| {
        board.find("agent", named("own")).map(|row| row["branch"].clone()).filter(|branch| !branch.is_null())
    });
    assert_eq!(branch, "agentmux/own-at-default");
    assert!(board.find("agent", named("shared")).is_some_and(|row| row["branch"].is_null()));
}

#[test]
fn many_watchers_and_many_changes_come_to_the_same_board() {
    let world = World::new();
    world.json(&["server", "start"]);
    let mut browsers = [Browser::open(&world), Browser::open(&world)];
    for browser in &mut browsers {
        browser.say(&json!({ "id": 1, "watch": {} }));
    }
    let mut wire = Wire::connect(&world.home.socket()).unwrap();
    for n in 0..600 {
        let name = format!("t{}", n % 40);
        let order = if n / 40 % 2 == 0 { "team.create" } else { "team.remove" };
        let args = if n / 40 % 2 == 0 { json!({ "name": name }) } else { json!({ "team": name }) };
        wire.must(order, args);
    }
    wire.must("team.create", json!({ "name": "last" }));
    let boards = browsers.map(|mut browser| {
        let mut board = Board::default();
        let mut frames = 0;
        board.until(&mut browser, |board| {
            frames += 1;
            board.find("team", named("last")).map(drop)
        });
        assert!(frames < 300, "changes that are close together are one frame: {frames}");
        board.rows
    });
    assert_eq!(boards[0], boards[1]);
    assert_eq!(boards[0].keys().filter(|(table, _)| table == "team").count(), 41);
}

#[test]
fn the_board_is_for_the_operator_only() {
    let world = world();
    let out = world.home.dir.join("token");
    let script = format!("printf %s \"$AGENTMUX_TOKEN\" > {0}.new && mv {0}.new {0}; exec sleep 1000", out.display());
    world.json(&["new", "worker", "--agent", "cmd", "--cwd", "/", "--", "/bin/sh", "-c", &script]);
    let token = until("the agent has its token", || fs::read_to_string(&out).ok());
    let mut browser = Browser::with(&world, &[("Authorization", &format!("Bearer {token}"))]);
    browser.say(&json!({ "id": 1, "watch": {} }));
    let frame = browser.frame();
    assert_eq!(
        (&frame["error"]["code"], &frame["error"]["details"]["rule"]),
        (&"denied".into(), &"operator_only".into())
    );
    browser.say(&json!({ "id": 2, "cmd": "agent.draft", "args": { "agent": "worker", "text": "x" } }));
    assert_eq!(browser.frame()["error"]["code"], "denied");
    browser.say(&json!({ "id": 3, "get": "sessions" }));
    assert_eq!(browser.frame()["error"]["code"], "denied");
}

/// A transcript as a client keeps it.
#[derive(Default)]
struct Told {
    run: u64,
    next: u64,
    from: u64,
    entries: Vec<Value>,
    /// What streamed, in what was told after it; and so many bytes of frames.
    live: Vec<Value>,
    live_bytes: usize,
}

impl Told {
    fn take(&mut self, frame: &Value) {
        let page = &frame["entries"];
        assert!(page.is_object(), "{frame}");
        if page["reset"] == true {
            *self = Self { from: page["from"].as_u64().unwrap(), ..Self::default() };
        } else {
            assert_eq!((page["run"].as_u64(), page["from"].as_u64()), (Some(self.run), Some(self.next)));
        }
        if page["live"] == true {
            assert_eq!((&page["from"], page["reset"].as_bool()), (&page["next"], Some(false)), "no place of their own");
            self.live_bytes += frame.to_string().len();
            return self.live.extend(page["entries"].as_array().unwrap().iter().cloned());
        }
        self.run = page["run"].as_u64().unwrap();
        self.next = page["next"].as_u64().unwrap();
        self.entries.extend(page["entries"].as_array().unwrap().iter().cloned());
    }

    fn until(&mut self, wire: &mut Wire, words: &str) {
        while !serde_json::to_string(&self.entries).unwrap().contains(words) {
            let frame = wire.frame().unwrap_or_else(|error| panic!("never {words}: {error}"));
            self.take(&frame);
        }
    }
}

#[test]
fn a_transcript_is_pushed_through_a_new_run_and_a_restart_of_the_server() {
    let world = world();
    let oracle = world.home.dir.join("api").display().to_string();
    world.json(&["new", "api", "--agent", "fake-claude", "--cwd", "/", "--", "--oracle", &oracle]);
    until("it rests", || (world.agent("api")["state"] == "idle").then_some(()));
    let mut wire = Wire::connect(&world.home.socket()).unwrap();
    let mut told = Told::default();
    wire.send(&json!({ "id": 6, "follow": { "agent": "api", "tail": 200 } })).unwrap();
    told.take(&wire.frame().unwrap());
    for words in ["first words", "second words"] {
        world.json(&["send", "api", "-m", words, "--wait", "acked"]);
        told.until(&mut wire, words);
    }
    // Earlier pages are the same entries again.
    let page = wire_get(&world, json!({ "agent": "api", "before": told.next, "limit": 2 }));
    assert_eq!(page["entries"].as_array().unwrap()[..], told.entries[told.entries.len() - 2..]);
    let before = wire_get(&world, json!({ "agent": "api", "before": page["from"], "limit": 1000 }));
    assert_eq!(before["entries"].as_array().unwrap()[..], told.entries[..told.entries.len() - 2]);
    assert_eq!(before["next"], page["from"]);

    // The next server goes on where this one was; a client that knows where it was misses nothing.
    world.json(&["server", "restart"]);
    world.json(&["send", "api", "-m", "between the servers", "--wait", "acked"]);
    let mut wire = world.home.connect().unwrap();
    wire.send(&json!({ "id": 1, "follow": { "agent": "api", "run": told.run, "after": told.next } })).unwrap();
    told.until(&mut wire, "between the servers");
    assert_eq!(told.run, 1);
    let all = serde_json::to_string(&told.entries).unwrap();
    assert!(all.contains("first words") && all.contains("second words"));

    // A new run begins with a reset, in the same follow.
    world.json(&["restart", "api"]);
    until("the new run rests", || {
        (world.agent("api")["run"] == 2 && world.agent("api")["state"] == "idle").then_some(())
    });
    world.json(&["send", "api", "-m", "in the second run", "--wait", "acked"]);
    told.until(&mut wire, "in the second run");
    assert_eq!((told.run, told.from), (2, 0));
    // Who names a run has that run alone.
    let mut wire = world.home.connect().unwrap();
    wire.send(&json!({ "id": 1, "follow": { "agent": "api", "run": 1, "tail": 1000 } })).unwrap();
    let mut first = Told::default();
    first.until(&mut wire, "between the servers");
    assert_eq!(first.run, 1);
    wire.send(&json!({ "id": 2, "follow": { "agent": "nobody" } })).unwrap();
    assert_eq!(wire.frame().unwrap()["error"]["code"], "not_found");
}

/// The lengths of the pieces of text.
fn pieces(live: &[Value]) -> Vec<usize> {
    live.iter()
        .map(|entry| {
            assert_eq!(entry["item"]["type"], "message_delta", "{entry}");
            entry["item"]["text"].as_str().unwrap().len()
        })
        .collect()
}

#[test]
fn what_an_agent_says_is_heard_while_it_says_it() {
    let world = world();
    world.json(&["new", "api", "--agent", "fake-claude", "--cwd", "/"]);
    until("it rests", || (world.agent("api")["state"] == "idle").then_some(()));
    let mut wires = [(); 2].map(|()| Wire::connect(&world.home.socket()).unwrap());
    let mut told = [(); 2].map(|()| Told::default());
    for (wire, told) in wires.iter_mut().zip(&mut told) {
        wire.send(&json!({ "id": 6, "follow": { "agent": "api" } })).unwrap();
        told.take(&wire.frame().unwrap());
    }
    let words: String = (1..=50).map(|n| format!("say:{n} ")).collect();
    world.json(&["send", "api", "-m", &format!("{words} hold")]);
    for (wire, told) in wires.iter_mut().zip(&mut told) {
        while told.live.len() < 50 {
            let frame = wire.frame().unwrap();
            told.take(&frame);
        }
        assert_eq!(pieces(&told.live), (1..=50).collect::<Vec<_>>());
        let stored = serde_json::to_string(&told.entries).unwrap();
        assert!(stored.contains("say:50") && !stored.contains("done 1"), "{stored}");
    }
    world.json(&["interrupt", "api"]);
    for (wire, told) in wires.iter_mut().zip(&mut told) {
        told.until(wire, "done 1");
        assert_eq!(told.live.len(), 50, "each once");
        assert!(!serde_json::to_string(&told.entries).unwrap().contains("message_delta"));
    }
    // Whoever comes later has the whole, and of what streams next the whole of it too.
    let mut wire = Wire::connect(&world.home.socket()).unwrap();
    let mut later = Told::default();
    wire.send(&json!({ "id": 6, "follow": { "agent": "api" } })).unwrap();
    later.until(&mut wire, "done 1");
    world.json(&["send", "api", "-m", "say:3 ask say:4"]);
    let asked = |told: &Told| told.entries.iter().any(|entry| entry["item"]["type"] == "asked");
    while !asked(&later) {
        let frame = wire.frame().unwrap();
        later.take(&frame);
    }
    assert_eq!(pieces(&later.live), [3], "what came before an entry is told before it");
}

#[test]
fn whoever_does_not_listen_misses_what_streams_and_nothing_that_is_kept() {
    let world = world();
    world.json(&["new", "api", "--agent", "fake-claude", "--cwd", "/"]);
    until("it rests", || (world.agent("api")["state"] == "idle").then_some(()));
    let mut wire = Wire::connect(&world.home.socket()).unwrap();
    let mut told = Told::default();
    wire.send(&json!({ "id": 6, "follow": { "agent": "api" } })).unwrap();
    told.take(&wire.frame().unwrap());
    world.json(&["send", "api", "-m", &"say:30000 ".repeat(1000), "--wait", "acked"]);
    until("it is done", || (world.agent("api")["state"] == "idle").then_some(()));
    told.until(&mut wire, "turn_ended");
    let stored = serde_json::to_string(&told.entries).unwrap();
    assert!(stored.contains("turn_started") && stored.contains("done 1"));
    assert!(told.live_bytes < 4_000_000, "of thirty million bytes were kept for it: {}", told.live_bytes);
    assert!(pieces(&told.live).iter().all(|length| *length == 30_000));
}

fn wire_get(world: &World, args: Value) -> Value {
    world.home.connect().unwrap().get("transcript", args)
}

/// What a browser's terminal shows after what it was sent.
struct Shown {
    screen: Option<Screen>,
    size: Size,
    at: u64,
    /// Of the newest pause.
    received: u64,
    screens: usize,
}

impl Shown {
    fn take(&mut self, heard: Heard) {
        match heard {
            Heard::Frame(frame) if frame["screen"].is_object() => {
                let cells = |name: &str| u16::try_from(frame["screen"][name].as_u64().unwrap()).unwrap();
                assert_eq!(frame["screen"]["bytes"], "", "they come in a message of their own");
                self.size = Size { rows: cells("rows"), cols: cells("cols") };
            }
            Heard::Frame(frame) => panic!("{frame}"),
            Heard::Bytes(bytes) => {
                let is_screen = match bytes[0] {
                    1 => true,
                    2 => false,
                    other => panic!("no such kind of message: {other}"),
                };
                let view = u32::from_be_bytes(bytes[1..5].try_into().unwrap());
                let offset = u64::from_be_bytes(bytes[5..13].try_into().unwrap());
                assert_eq!(view, 7);
                let bytes = &bytes[13..];
                if is_screen {
                    let mut screen = Screen::of_tape(self.size);
                    screen.feed(bytes);
                    (self.screen, self.at) = (Some(screen), offset);
                    self.screens += 1;
                } else {
                    assert_eq!(offset, self.at, "no byte is missed between two screens");
                    self.screen.as_mut().unwrap().feed(bytes);
                    self.at += bytes.len() as u64;
                }
                self.received += bytes.len() as u64;
            }
            Heard::End => panic!("the connection ended"),
        }
    }

    fn rows(&mut self) -> Vec<String> {
        let lines = usize::from(self.size.rows);
        self.screen.as_mut().map(|screen| screen.rows(Some(lines), false)).unwrap_or_default()
    }
}

#[test]
fn a_terminal_that_is_not_shown_fast_enough_is_held_and_then_shown_as_it_is() {
    const CREDIT: u64 = 1024 * 1024;
    let world = World::new();
    let go = world.home.dir.join("go");
    let script = format!(
        "stty raw -echo; printf waiting; while [ ! -e {0} ]; do sleep 0.02; done; \
         for n in 1 2 3 4 5 6 7 8 9 10; do seq 1 50000; sleep 0.2; done; touch {0}.done; printf 'the \\033[1mend'; cat",
        go.display()
    );
    world.json(&["new", "loud", "--agent", "cmd", "--cwd", "/", "--", "/bin/sh", "-c", &script]);
    until("it waits", || world.json(&["look", "loud"])["lines"].to_string().contains("waiting").then_some(()));
    let mut browser = Browser::open(&world);
    browser.say(&json!({ "id": 7, "view": { "agent": "loud", "rows": 30, "cols": 100, "binary": true } }));
    let mut shown = Shown { screen: None, size: Size { rows: 0, cols: 0 }, at: 0, received: 0, screens: 0 };
    while shown.screen.is_none() {
        shown.take(browser.hear());
    }
    fs::write(&go, "").unwrap();
    let done = world.home.dir.join("go.done");
    until("all of it is printed", || done.exists().then_some(()));
    // Nothing was said to be shown, so no more than the credit came.
    while let Some(heard) = browser.hear_within(QUIET) {
        shown.take(heard);
    }
    assert!(shown.received <= CREDIT && shown.received > CREDIT / 2, "{} bytes", shown.received);
    let screens = shown.screens;
    // Keys and answers pass meanwhile.
    browser.say(&json!({ "id": 8, "get": "status" }));
    assert_eq!(browser.frame()["id"], 8);
    let mut unsaid = shown.received;
    loop {
        browser.say(&json!({ "credit": { "view": 7, "bytes": unsaid } }));
        let before = shown.received;
        if shown.rows().join("\n").contains("the end") {
            break;
        }
        shown.take(browser.hear());
        unsaid = shown.received - before;
    }
    assert!(shown.screens > screens, "what was missed is not sent, the screen is");
    let look = world.json(&["look", "loud"]);
    let lines: Vec<String> = look["lines"].as_array().unwrap().iter().map(text).collect();
    assert_eq!(shown.rows(), lines, "it shows what is there");
    // What is typed in a binary message arrives, and its echo comes back.
    browser.say_bytes([&[3][..], &7_u32.to_be_bytes(), b"typed words"].concat());
    while !shown.rows().join("\n").contains("typed words") {
        shown.take(browser.hear());
    }
    browser.say(&json!({ "credit": { "view": 9, "bytes": 1 } }));
    assert_eq!(browser.frame()["error"]["code"], "not_found");
    // A carrier of lines has no binary messages.
    let mut wire = Wire::connect(&world.home.socket()).unwrap();
    wire.send(&json!({ "id": 1, "view": { "agent": "loud", "binary": true } })).unwrap();
    assert_eq!(wire.frame().unwrap()["error"]["code"], "bad_args");
}

#[test]
fn a_terminal_that_is_opened_again_has_what_scrolled_away_above_it_also_after_a_kill() {
    let world = World::new();
    let script = "printf '\\033[31mred\\033[m\\r\\n'; seq 1 500; printf 'the end'; exec cat";
    world.json(&["new", "loud", "--agent", "cmd", "--cwd", "/", "--", "/bin/sh", "-c", script]);
    until("it has printed", || world.json(&["look", "loud"])["lines"].to_string().contains("the end").then_some(()));
    let opened = |world: &World, history: u16| {
        let mut browser = Browser::open(world);
        browser.say(&json!({ "id": 7, "view": { "agent": "loud", "binary": true, "history": history } }));
        let mut shown = Shown { screen: None, size: Size { rows: 0, cols: 0 }, at: 0, received: 0, screens: 0 };
        while shown.screen.is_none() {
            shown.take(browser.hear());
        }
        let mut screen = shown.screen.unwrap();
        let seen = screen.rows(None, false);
        (screen.rows(Some(1000), true), seen)
    };
    let numbers: Vec<String> = (1..=500).map(|number| number.to_string()).collect();
    for is_after_a_kill in [false, true] {
        if is_after_a_kill {
            signals::send(world.pid("pid"), Signal::Kill).unwrap();
            until("it serves again", || world.home.connect().ok());
        }
        let (all, seen) = opened(&world, 1000);
        assert!(all[0].contains("31mred"), "{:?}", &all[..3]);
        assert_eq!(all[1..=500], numbers, "each line once");
        assert_eq!(all.last().map(String::as_str), Some("the end"));
        let rows = seen.len();
        let (some, same) = opened(&world, 5);
        assert_eq!((some.len(), &same), (rows + 5, &seen), "the screen is what it is, however much stands above it");
        assert_eq!(opened(&world, 0).0.len(), rows);
    }
    // A window that finds its size when it is open already has it, too.
    let mut browser = Browser::open(&world);
    browser.say(
        &json!({ "id": 7, "view": { "agent": "loud", "rows": 41, "cols": 100, "binary": true, "history": 1000 } }),
    );
    let mut shown = Shown { screen: None, size: Size { rows: 0, cols: 0 }, at: 0, received: 0, screens: 0 };
    browser.say(&json!({ "resized": { "view": 7, "rows": 37, "cols": 100 } }));
    while shown.screens < 2 {
        shown.take(browser.hear());
    }
    let all = shown.screen.unwrap().rows(Some(1000), true);
    assert!(all[0].contains("31mred"), "{:?}", &all[..3]);
}

#[test]
fn a_terminal_of_another_size_has_what_scrolled_away_above_it_for_everybody_who_looks() {
    let world = World::new();
    let script = "stty -echo; printf 'red\r\n'; seq 1 500; printf 'the end'; exec cat";
    world.json(&["new", "sh", "--agent", "cmd", "--cwd", "/", "--", "/bin/sh", "-c", script]);
    until("it has printed", || world.json(&["look", "sh"])["lines"].to_string().contains("the end").then_some(()));
    let none = Size { rows: 0, cols: 0 };
    let open = || {
        let mut browser = Browser::open(&world);
        let view = json!({ "agent": "sh", "rows": 41, "cols": 100, "binary": true, "history": 1000 });
        browser.say(&json!({ "id": 7, "view": view }));
        let shown = Shown { screen: None, size: none, at: 0, received: 0, screens: 0 };
        (browser, shown)
    };
    let next = |(browser, shown): &mut (Browser, Shown)| {
        let before = shown.screens;
        while shown.screens == before {
            shown.take(browser.hear());
        }
        (shown.size.rows, shown.screen.as_mut().unwrap().rows(Some(1000), false))
    };
    let is_whole = |(rows, lines): (u16, Vec<String>), size: u16| {
        assert_eq!((rows, lines[0].as_str()), (size, "red"));
        assert_eq!((lines[1].as_str(), lines.last().map(String::as_str)), ("1", Some("the end")));
    };
    let (mut other, mut mine) = (open(), open());
    is_whole(next(&mut other), 41);
    is_whole(next(&mut mine), 41);
    // Whoever came last has the size.
    mine.0.say(&json!({ "resized": { "view": 7, "rows": 37, "cols": 100 } }));
    is_whole(next(&mut mine), 37);
    is_whole(next(&mut other), 37);
    // One whose size stays and who missed nothing has what is above it; who has not the size is answered, too.
    for (one, rows) in [(&mut mine, 37), (&mut other, 25)] {
        let at = one.1.at;
        one.0.say(&json!({ "resized": { "view": 7, "rows": rows, "cols": 100 } }));
        let (size, lines) = next(one);
        assert_eq!((size, lines.len() <= 37, one.1.at), (37, true, at), "the screen and nothing above it");
        assert_eq!(lines.last().map(String::as_str), Some("the end"));
    }
}

#[test]
fn terminals_that_print_at_once_share_what_is_under_way_to_a_page() {
    const CREDIT: u64 = 1024 * 1024;
    const FRAME: u64 = 64 * 1024;
    let world = World::new();
    let names = ["loud0", "loud1", "loud2", "loud3"];
    for name in names {
        let script = "printf waiting; read go; seq 1 400000; printf 'the end'; cat";
        world.json(&["new", name, "--agent", "cmd", "--cwd", "/", "--", "/bin/sh", "-c", script]);
        until("it waits", || world.json(&["look", name])["lines"].to_string().contains("waiting").then_some(()));
    }
    let mut browser = Browser::open(&world);
    let mut received = [0_u64; 4];
    let mut screens = [0; 4];
    let mut take = |heard: Heard| match heard {
        Heard::Bytes(bytes) => {
            let view = u32::from_be_bytes(bytes[1..5].try_into().unwrap());
            received[view as usize] += bytes.len() as u64 - 13;
        }
        Heard::Frame(frame) => {
            assert!(frame["screen"].is_object(), "{frame}");
            screens[usize::try_from(frame["id"].as_u64().unwrap()).unwrap()] += 1;
        }
        Heard::End => panic!("the connection ended"),
    };
    for (id, name) in names.iter().enumerate() {
        browser.say(&json!({ "id": id, "view": { "agent": name, "binary": true } }));
        take(browser.hear());
        take(browser.hear());
    }
    for name in names {
        world.json(&["keys", name, "Enter"]);
    }
    for name in names {
        until("it has printed", || world.json(&["look", name])["lines"].to_string().contains("the end").then_some(()));
    }
    while let Some(heard) = browser.hear_within(QUIET) {
        take(heard);
    }
    // One that was alone for a moment had all of it, the second half, and so on.
    assert!(received.iter().sum::<u64>() <= CREDIT * 9 / 4, "{received:?}");
    // What is too far ahead is shown as it is now, and what was on the way to it is left out.
    let is_shown = |view: usize| received[view] >= FRAME || screens[view] > 1;
    assert!((0..4).all(is_shown), "each is shown something: {received:?} {screens:?}");
}

#[test]
fn who_reads_nothing_is_still_heard_when_he_types() {
    let world = World::new();
    let typed = world.home.dir.join("typed");
    let script = format!("stty raw -echo; printf waiting; cat > {}", typed.display());
    world.json(&["new", "quiet", "--agent", "cmd", "--cwd", "/", "--", "/bin/sh", "-c", &script]);
    let script = "i=0; while :; do i=$((i+1)); seq -f \"round $i %010g\" 2000; done";
    world.json(&["new", "loud", "--agent", "cmd", "--cwd", "/", "--", "/bin/sh", "-c", script]);
    until("it waits", || world.json(&["look", "quiet"])["lines"].to_string().contains("waiting").then_some(()));
    let mut browser = Browser::open(&world);
    browser.say(&json!({ "id": 7, "view": { "agent": "quiet", "binary": true } }));
    assert!(browser.frame()["screen"].is_object());
    // Without credit nothing holds it back but the socket.
    browser.say(&json!({ "id": 8, "view": { "agent": "loud" } }));
    let round = || {
        let lines = world.json(&["look", "loud"])["lines"].to_string();
        lines.split("round ").nth(1)?.split(' ').next()?.parse::<u64>().ok()
    };
    let mut came = 0;
    // Until the socket is full.
    loop {
        let before = until("it prints", round);
        until("it prints on, by megabytes", || (round()? > before + 100).then_some(()));
        let known = std::mem::replace(&mut came, browser.waiting());
        if known == came {
            break;
        }
    }
    // However much he asks and in whichever way he types: the keys arrive in their order.
    for id in 100..200 {
        browser.say(&json!({ "id": id, "get": "status" }));
    }
    browser.say(&json!({ "id": 200, "cmd": "agent.keys", "args": { "agent": "quiet", "keys": ["typed "] } }));
    browser.say_bytes([&[3][..], &7_u32.to_be_bytes(), b"words"].concat());
    until("they arrive", || (fs::read(&typed).ok()? == b"typed words").then_some(()));
    browser.say(&json!({ "id": 9, "get": "status" }));
    until("it is answered behind all that was said before", || match browser.hear() {
        Heard::Frame(frame) if frame["id"] == 9 => frame["ok"].is_object().then_some(()),
        _ => None,
    });
}

#[test]
fn a_browser_is_listed_and_signed_out_with_what_it_has_open() {
    let world = World::new();
    world.json(&["server", "start"]);
    let (first, second) = (sign_in(&world), sign_in(&world));
    let port = port(&world);
    let status = |cookie: &str| http(port, "GET", "/v1/sessions", &[("Cookie", cookie)], "").0;
    assert_eq!((status(&first), status(&second)), (200, 200));
    let listed = world.json(&["sessions"]);
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(listed[0]["agent"], "Firefox on Linux");
    for cookie in [&first, &second] {
        let secret = cookie.split_once('=').unwrap().1;
        assert!(!listed.to_string().contains(secret), "a list lets nobody in");
    }
    let mut browser = Browser::with(&world, &[("Cookie", &first)]);
    let mut other = Browser::with(&world, &[("Cookie", &second)]);
    // The older one.
    let id = text(&listed[1]["id"]);
    let (code, _, body) = http(port, "DELETE", &format!("/v1/sessions/{id}"), &[("Cookie", &second)], "");
    assert_eq!(code, 200, "{body}");
    assert_eq!(browser.frame()["closing"]["reason"], "signed out");
    assert_eq!((status(&first), status(&second)), (401, 200));
    assert_eq!(world.answer(&["sessions", "revoke", &id])["error"]["code"], "not_found");
    assert_eq!(world.json(&["sessions", "revoke", "--all"])["revoked"], 1);
    assert_eq!(other.frame()["closing"]["reason"], "signed out");
    assert_eq!(world.json(&["sessions"]), json!([]));
}

#[test]
fn a_page_of_a_proxy_is_let_in_only_where_a_person_allowed_it() {
    let world = World::new();
    world.json(&["server", "start"]);
    let port = port(&world);
    let ask = |host: &str, origin: &str| http(port, "GET", "/healthz", &[("Host", host), ("Origin", origin)], "").0;
    let proxy = ("mux.example.org", "https://mux.example.org");
    assert_eq!(ask(proxy.0, proxy.1), 403);
    world.json(&["config", "set", "http.allowed_origins", "[\"https://mux.example.org\"]"]);
    assert_eq!(ask(proxy.0, proxy.1), 200);
    let local = format!("127.0.0.1:{port}");
    assert_eq!(ask(&local, proxy.1), 200, "a proxy may name us as it reaches us");
    for (host, origin) in [
        ("evil.example.org", proxy.1),
        (proxy.0, "http://mux.example.org"),
        (proxy.0, "https://mux.example.org.evil.example"),
        (proxy.0, "null"),
        (&local, "https://evil.example"),
    ] {
        assert_eq!(ask(host, origin), 403, "{host} {origin}");
    }
    let code = || {
        let url = text(&world.json(&["open", "--print"])["url"]);
        json!({ "code": url.split_once("#code=").unwrap().1 }).to_string()
    };
    let cookie = |headers: &[(&str, &str)]| {
        let (_, head, _) = http(port, "POST", "/v1/login", headers, &code());
        head.lines().find_map(|line| line.strip_prefix("set-cookie: ").map(str::to_owned)).unwrap()
    };
    let flags = ["httponly", "samesite=strict", "path=/"];
    let (near, far) = (cookie(&[]), cookie(&[("Host", proxy.0), ("Origin", proxy.1)]));
    assert!(flags.iter().all(|flag| near.contains(flag) && far.contains(flag)), "{near} {far}");
    assert!(!near.contains("secure") && far.contains("; secure"), "over TLS it is never sent without");
    world.json(&["config", "unset", "http.allowed_origins"]);
    assert_eq!(ask(proxy.0, proxy.1), 403);
    let refused = world.answer(&["config", "set", "http.allowed_origins", "[\"mux.example.org\"]"]);
    assert_eq!(refused["error"]["code"], "bad_args");
}

#[test]
fn the_page_may_load_nothing_but_its_own_and_the_stream_of_its_own_host() {
    let world = World::new();
    world.json(&["server", "start"]);
    let port = port(&world);
    let (status, head, body) = http(port, "GET", "/", &[], "");
    assert!(status == 200 && body.contains("agentmux"), "{body}");
    let policy = head.lines().find_map(|line| line.strip_prefix("content-security-policy: ")).unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"), "{policy}");
    assert!(policy.contains(&format!("ws://127.0.0.1:{port} ")) && !policy.contains("unsafe"), "{policy}");
    for header in ["cross-origin-opener-policy: same-origin", "cross-origin-resource-policy: same-origin"] {
        assert!(head.contains(header), "{head}");
    }
    assert_eq!(http(port, "GET", "/assets/no.js", &[], "").0, 404);
    assert_eq!(http(port, "GET", "/no.svg", &[], "").0, 404);
}

#[test]
fn a_page_finds_the_next_server_where_it_was_even_after_a_kill() {
    let world = World::new();
    world.json(&["server", "start"]);
    let url = world.status()["web_url"].clone();
    let mut browser = Browser::open(&world);
    let pid = world.pid("pid");
    let known = process::identity(pid);
    signals::send(pid, Signal::Kill).unwrap();
    until("the server is dead", || known.as_ref().is_none_or(|known| !process::alive(known)).then_some(()));
    assert!(matches!(browser.hear(), Heard::End));
    assert_eq!(world.status()["web_url"], url);
    world.json(&["server", "restart"]);
    assert_eq!(world.status()["web_url"], url);
    let mode = fs::metadata(world.home.state().join("run/port")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // Somebody else has it: any other is better than none, and that is the one from then on.
    let held = port(&world);
    world.json(&["server", "stop"]);
    let taken = std::net::TcpListener::bind(("127.0.0.1", held)).unwrap();
    world.json(&["server", "start"]);
    let other = port(&world);
    assert_ne!(other, held);
    drop(taken);
    world.json(&["server", "restart"]);
    assert_eq!(port(&world), other);
}

#[test]
fn a_page_has_eighteen_terminals_and_as_many_documents_and_room() {
    let world = world();
    world.shell("sh");
    world.json(&["new", "api", "--agent", "fake-claude", "--cwd", "/"]);
    until("it rests", || (world.agent("api")["state"] == "idle").then_some(()));
    let mut browser = Browser::open(&world);
    for n in 0..64 {
        browser.say(&json!({ "id": n, "view": { "agent": "sh", "binary": true } }));
        browser.say(&json!({ "id": 100 + n, "follow": { "agent": "api" } }));
    }
    let mut told = BTreeSet::new();
    while told.len() < 128 {
        if let Heard::Frame(frame) = browser.hear() {
            assert!(frame["error"].is_null(), "{frame}");
            told.insert(frame["id"].as_u64().unwrap());
        }
    }
    for (id, what) in [(300, json!({ "view": { "agent": "sh" } })), (301, json!({ "follow": { "agent": "api" } }))] {
        let mut frame = what;
        frame["id"] = id.into();
        browser.say(&frame);
        let refused = until("it is refused", || match browser.hear() {
            Heard::Frame(frame) if frame["id"] == id => Some(frame["error"]["code"].clone()),
            _ => None,
        });
        assert_eq!(refused, "limit");
    }
}

#[test]
fn the_port_is_the_one_that_is_wanted() {
    let world = World::new();
    world.json(&["server", "start"]);
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    world.json(&["config", "set", "http.port", &free.to_string()]);
    world.json(&["server", "restart"]);
    assert_eq!(port(&world), free);
    world.json(&["server", "restart"]);
    assert_eq!(port(&world), free, "and again, so that a bookmark is good for tomorrow");
}
