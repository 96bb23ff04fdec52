//! The doors under pressure: who may come in by which, and what a hostile, slow or broken client can do. The real
//! server, over its real sockets.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use amux_server::http::{Access, ROUTES};
use amux_testkit::server::{Home, Srv};
use amux_testkit::wire::Wire;
use serde_json::{Value, json};

use crate::harness::until;

const KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

struct World {
    _dir: tempfile::TempDir,
    home: Home,
    srv: Srv,
}

impl World {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path(), Path::new(env!("CARGO_BIN_EXE_agentmux")));
        let srv = home.start(&[("AGENTMUX_AUTH_KEY", KEY)]).unwrap();
        Self { _dir: dir, home, srv }
    }

    fn connect(&self) -> Wire {
        self.home.connect().unwrap_or_else(|error| panic!("{error}: {}", self.home.stderr()))
    }

    fn rss(&self) -> u64 {
        amux_sys::process::rss_bytes(self.srv.pid()).unwrap()
    }

    fn port(&self) -> u16 {
        let status = self.connect().get("status", json!({}));
        status["web_url"].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap()
    }
}

#[test]
fn a_gigabyte_without_a_newline_costs_nothing() {
    let world = World::start();
    drop(world.connect());
    let before = world.rss();
    let mut wire = world.connect();
    let chunk = vec![b'x'; 1024 * 1024];
    let mut sent = 0u64;
    while sent < 1 << 30 && wire.write(&chunk).is_ok() {
        sent += chunk.len() as u64;
    }
    let frame = wire.frame();
    if let Ok(frame) = frame {
        assert_eq!(frame["error"]["code"], "too_large", "{frame}");
    }
    let grown = world.rss().saturating_sub(before);
    assert!(grown < 10 * 1024 * 1024, "the server grew by {grown} bytes");
    assert!(world.connect().get("status", json!({}))["pid"].is_u64());
}

#[test]
fn nothing_is_said_before_a_good_hello() {
    let world = World::start();
    drop(world.connect());
    let cases: [(&str, &str); 6] = [
        ("garbage\n", "bad_frame"),
        ("{\"id\":1,\"get\":\"status\"}\n", "hello_required"),
        ("{\"id\":1,\"cmd\":\"team.create\",\"args\":{\"name\":\"x\"}}\n", "hello_required"),
        ("{\"hello\":{\"protocol\":99}}\n", "protocol_mismatch"),
        ("{\"hello\":{\"protocol\":1,\"token\":\"amx.forged\"}}\n", "denied"),
        ("\u{fffd}\n", "bad_frame"),
    ];
    for (text, code) in cases {
        let mut wire = Wire::raw(&world.home.socket()).unwrap();
        wire.write(text.as_bytes()).unwrap();
        let frame = wire.frame().unwrap();
        assert_eq!(frame["error"]["code"], code, "{text}: {frame}");
        assert!(wire.frame().unwrap()["closing"].is_object());
        assert!(wire.frame().is_err(), "the connection is closed");
    }
    // Half a frame and away.
    let mut wire = Wire::raw(&world.home.socket()).unwrap();
    wire.write(b"{\"hello\":{\"pro").unwrap();
    drop(wire);
    let mut wire = Wire::raw(&world.home.socket()).unwrap();
    wire.write(b"\xff\xfe\n").unwrap();
    assert_eq!(wire.frame().unwrap()["error"]["code"], "bad_frame");
    let teams = world.connect().get("teams", json!({}));
    assert_eq!(teams, json!([]), "nothing of it was done");
}

#[test]
fn a_bad_frame_is_answered_and_the_conversation_goes_on() {
    let world = World::start();
    let mut wire = world.connect();
    for (frame, code) in [
        (json!({ "id": 1, "cmd": "no.such", "args": {} }), "unknown_verb"),
        (json!({ "id": 2, "cmd": "team.create", "args": { "name": "x", "nmae": "y" } }), "bad_args"),
        (json!({ "id": 3, "cmd": "team.create", "args": { "name": "not a name" } }), "bad_args"),
        (json!({ "id": 4, "get": "no.such" }), "unknown_verb"),
        (
            json!({ "id": 5, "cmd": "run.started", "args": { "agent": "00000000-0000-0000-0000-000000000001", "run": 1,
            "process": { "pid": 1, "start_ticks": 1 } } }),
            "denied",
        ),
        (json!({ "id": 6, "sub": { "topics": ["nonsense"] } }), "not_found"),
        (json!({ "id": 7, "actor": "system", "cmd": "team.create", "args": { "name": "x" } }), "bad_frame"),
    ] {
        wire.send(&frame).unwrap();
        assert_eq!(wire.frame().unwrap()["error"]["code"], code, "{frame}");
    }
    wire.must("team.create", json!({ "name": "good" }));
}

#[test]
fn commands_on_one_connection_are_answered_in_order_and_retried_for_free() {
    let world = World::start();
    let mut wire = world.connect();
    let ids: Vec<_> = (0..100)
        .map(|n| {
            let cmd_id = format!("00000000-0000-4000-8000-{n:012}");
            wire.start(json!({ "cmd": "team.create", "args": { "name": format!("t{n}") }, "cmd_id": cmd_id })).unwrap()
        })
        .collect();
    let mut first = HashMap::new();
    for id in ids {
        let answer = wire.frame().unwrap();
        assert_eq!(answer["id"], id);
        first.insert(answer["seq"].as_u64().unwrap(), answer["ok"].clone());
    }
    assert_eq!(first.len(), 100, "each has a place of its own");
    drop(wire);
    let again =
        json!({ "cmd": "team.create", "args": { "name": "t7" }, "cmd_id": "00000000-0000-4000-8000-000000000007" });
    let answer = world.connect().call(again).unwrap();
    assert_eq!(first[&answer["seq"].as_u64().unwrap()], answer["ok"]);
}

#[test]
fn one_that_says_no_more_has_its_answers_and_then_the_end() {
    let world = World::start();
    let mut sh = world.connect();
    let cwd = tempfile::tempdir().unwrap();
    sh.must("agent.create", json!({ "name": "sh", "kind": "shell", "cwd": cwd.path() }));
    until("it has a terminal", || {
        let look = sh.call(json!({ "get": "look", "args": { "agent": "sh" } })).unwrap();
        look["ok"].is_object().then_some(())
    });
    let orders = [
        json!({ "id": 1, "cmd": "team.create", "args": { "name": "quiet" } }),
        json!({ "id": 2, "get": "teams" }),
        json!({ "id": 3, "get": "files", "args": { "agent": "sh" } }),
        json!({ "id": 4, "view": { "agent": "sh" } }),
        // It is told what there is, and nobody waits for more.
        json!({ "id": 5, "sub": {} }),
    ];
    let said: Vec<_> = orders.iter().map(|order| format!("{order}\n")).collect();
    for is_with_bye in [false, true] {
        let mut socket = UnixStream::connect(world.home.socket()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let bye = if is_with_bye { "{\"bye\":true}\n" } else { "" };
        let hello = "{\"hello\":{\"protocol\":1}}\n";
        socket.write_all([hello, &said.concat(), bye].concat().as_bytes()).unwrap();
        if !is_with_bye {
            socket.shutdown(Shutdown::Write).unwrap();
        }
        let mut heard = String::new();
        socket.read_to_string(&mut heard).unwrap();
        let frames: Vec<Value> = heard.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for id in 1..=5 {
            assert!(frames.iter().any(|frame| frame["id"] == id), "{id} has its answer: {heard}");
        }
    }
    assert!(world.connect().get("teams", json!({})).to_string().contains("\"quiet\""));
}

#[test]
fn who_types_without_a_pause_hears_of_what_happens_meanwhile() {
    let world = World::start();
    let mut wire = world.connect();
    wire.must("agent.create", json!({ "name": "sh", "kind": "shell", "cwd": "/" }));
    until("it has a terminal", || {
        let look = wire.call(json!({ "get": "look", "args": { "agent": "sh" } })).unwrap();
        look["ok"].is_object().then_some(())
    });
    let mut writer = UnixStream::connect(world.home.socket()).unwrap();
    let reader = writer.try_clone().unwrap();
    reader.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let hello = json!({ "hello": { "protocol": 1 } });
    let (view, sub) = (json!({ "id": 1, "view": { "agent": "sh" } }), json!({ "id": 2, "sub": {} }));
    writer.write_all(format!("{hello}\n{view}\n{sub}\n").as_bytes()).unwrap();
    let lines = BufReader::new(reader).lines().map_while(Result::ok);
    let mut lines = lines.map(|line| serde_json::from_str::<Value>(&line).unwrap());
    assert!(lines.by_ref().any(|frame| !frame["caught_up"].is_null()));
    let is_heard = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let nothing = format!("{}\n", json!({ "typed": { "view": 1, "bytes": "" } })).repeat(1000);
            while !is_heard.load(Ordering::Relaxed) {
                writer.write_all(nothing.as_bytes()).unwrap();
            }
        });
        scope.spawn(|| wire.must("team.create", json!({ "name": "news" })));
        let heard = lines.find(|frame| frame["event"].to_string().contains("news"));
        is_heard.store(true, Ordering::Relaxed);
        assert!(heard.is_some());
    });
}

#[test]
fn a_reader_that_sleeps_holds_up_nobody_and_misses_nothing() {
    let world = World::start();
    let mut slow = world.connect();
    let epoch = slow.welcome["epoch"].clone();
    slow.start(json!({ "sub": { "from": { "epoch": epoch, "seq": 0 } } })).unwrap();
    let mut quick = world.connect();
    let started = Instant::now();
    for n in 0..1500 {
        quick.must("team.create", json!({ "name": format!("team-with-a-long-name-{n}") }));
        quick.must("team.remove", json!({ "team": format!("team-with-a-long-name-{n}") }));
    }
    let head = quick.get("status", json!({}))["head_seq"].as_u64().unwrap();
    assert!(head > 3000 && started.elapsed() < Duration::from_secs(60));
    let mut at = 0;
    while at < head {
        let frame = slow.frame().unwrap();
        if let Some(seq) = frame["event"]["seq"].as_u64() {
            assert_eq!(seq, at + 1);
            at = seq;
        }
    }
}

#[test]
fn ten_thousand_callers_do_not_keep_the_next_one_out() {
    let world = World::start();
    drop(world.connect());
    let before = world.rss();
    let mut held = Vec::new();
    let mut refused = 0;
    for _ in 0..10_000 {
        let Ok(mut wire) = Wire::raw(&world.home.socket()) else {
            refused += 1;
            continue;
        };
        wire.set_timeout(Duration::from_secs(60));
        if wire.write(b"{\"hello\":{\"protocol\":1}}\n").is_err() {
            refused += 1;
            continue;
        }
        // Nobody reads the welcomes: the server must not care.
        held.push(wire);
        if held.len() > 700 {
            held.drain(..350);
        }
    }
    assert!(refused < 10_000);
    let grown = world.rss().saturating_sub(before);
    assert!(grown < 64 * 1024 * 1024, "the server grew by {grown} bytes");
    drop(held);
    until("a place is free again", || Wire::connect(&world.home.socket()).ok());
}

/// Status, headers in lower case, body.
pub(crate) fn http(port: u16, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| *name == "Host") {
        request.push_str(&format!("Host: 127.0.0.1:{port}\r\n"));
    }
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{request}\r\n{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), body.to_owned())
}

fn agent_token(world: &World) -> String {
    let mut wire = world.connect();
    let out = world.home.dir.join("token");
    let script = format!("printf %s \"$AGENTMUX_TOKEN\" > {0}.new && mv {0}.new {0}; exec sleep 1000", out.display());
    let argv = ["/bin/sh", "-c", &script];
    wire.must("agent.create", json!({ "name": "worker", "kind": "cmd", "argv": argv, "cwd": "/" }));
    until("the agent has its token", || std::fs::read_to_string(&out).ok())
}

#[test]
fn every_route_takes_its_credential_and_no_other() {
    let world = World::start();
    let port = world.port();
    let token = agent_token(&world);
    let (operator, agent) = (format!("Bearer {KEY}"), format!("Bearer {token}"));
    let stranger = format!("Bearer {}", KEY.replace('0', "1"));
    for (method, pattern, access) in ROUTES {
        let path = pattern
            .replace("{name}", "team.create")
            .replace("{id}", "000000000000")
            .replace("{file}", "icon.svg")
            .replace("{digest}", &"0".repeat(64));
        let status = |headers: &[(&str, &str)]| http(port, method, &path, headers, "").0;
        let all = |extra: (&str, &str)| {
            let (name, value) = extra;
            http(port, method, &path, &[("Authorization", &operator), (name, value)], "").0
        };
        assert_eq!(all(("Host", "evil.example")), 403, "{path}: foreign host");
        assert_eq!(all(("Host", &format!("evil.example:{port}"))), 403, "{path}: rebound host");
        assert_eq!(all(("Origin", "http://evil.example")), 403, "{path}: foreign origin");
        assert_eq!(all(("Origin", "null")), 403, "{path}: opaque origin");
        assert_ne!(all(("Origin", &format!("http://localhost:{port}"))), 403, "{path}: own origin");
        let anonymous = [status(&[]), status(&[("Cookie", "agentmux_session=9999999999999.forged")])];
        let forged = [status(&[("Authorization", &stranger)]), status(&[("Authorization", "Basic eA==")])];
        match access {
            Access::Open => assert!(!anonymous.contains(&403), "{path}"),
            Access::Known | Access::Operator => {
                assert_eq!(anonymous, [401, 401], "{path}: nobody");
                assert_eq!(forged, [401, 401], "{path}: somebody else");
            }
        }
        match access {
            Access::Operator => assert_eq!(status(&[("Authorization", &agent)]), 403, "{path}: an agent"),
            Access::Known => assert_ne!(status(&[("Authorization", &agent)]), 401, "{path}: an agent"),
            Access::Open => {}
        }
        assert!(
            ![401, 403].contains(&status(&[("Authorization", &operator)])) || path == "/v1/login",
            "{path}: the operator"
        );
    }
    assert_eq!(http(port, "GET", "/no/such", &[("Authorization", &operator)], "").0, 404);
    assert_eq!(http(port, "DELETE", "/v1/snapshot", &[("Authorization", &operator)], "").0, 404);
    let (_, head, _) = http(port, "GET", "/", &[], "");
    assert!(head.contains("content-security-policy: default-src 'none'"), "{head}");
}

#[test]
fn http_says_the_same_as_the_socket() {
    let world = World::start();
    let port = world.port();
    let key = format!("Bearer {KEY}");
    let auth = [("Authorization", key.as_str())];
    let post = |name: &str, body: Value| http(port, "POST", &format!("/v1/cmd/{name}"), &auth, &body.to_string());
    let (status, _, body) = post("team.create", json!({ "args": { "name": "web" } }));
    assert_eq!(status, 200, "{body}");
    let (status, _, body) = post("team.create", json!({ "args": { "name": "web" } }));
    assert_eq!(
        (status, serde_json::from_str::<Value>(&body).unwrap()["error"]["code"].clone()),
        (409, "exists".into())
    );
    assert_eq!(post("team.remove", json!({ "args": { "team": "none" } })).0, 404);
    assert_eq!(post("no.such", json!({})).0, 404);
    assert_eq!(post("team.create", json!({ "args": {}, "actor": "system" })).0, 400);
    assert_eq!(http(port, "POST", "/v1/cmd/team.create", &auth, &"x".repeat(1024 * 1024 + 1)).0, 413);
    let (_, _, body) = http(port, "GET", "/v1/snapshot", &auth, "");
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["ok"]["teams"][0]["name"], "web");
    let (status, _, body) = http(port, "GET", "/metrics", &auth, "");
    assert!(status == 200 && body.contains("agentmux_head_seq "), "{body}");
    assert_eq!(http(port, "GET", "/healthz", &[], "").0, 200);
    let (_, _, body) = http(port, "GET", "/v1/openapi.json", &auth, "");
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["openapi"], "3.1.0");
}

#[test]
fn a_file_over_http_is_for_those_of_its_message_and_never_shown() {
    let world = World::start();
    let port = world.port();
    let token = agent_token(&world);
    let (operator, agent) = (format!("Bearer {KEY}"), format!("Bearer {token}"));
    let call = |who: &str, method: &str, path: &str, body: &str| {
        let (status, head, body) = http(port, method, path, &[("Authorization", who)], body);
        let answer = serde_json::from_str::<Value>(&body).unwrap_or(Value::Null);
        (status, head, body, answer)
    };
    let bring = |who: &str, body: &str| {
        let (status, .., answer) = call(who, "POST", "/v1/attachments", body);
        assert_eq!(status, 200, "{answer}");
        answer["ok"].clone()
    };
    let send = |who: &str, stored: &Value, name: &str| {
        let file = json!({ "name": name, "bytes": stored["bytes"], "digest": stored["digest"] });
        let args = json!({ "args": { "to": ["operator"], "body": "x", "attachments": [file] } });
        call(who, "POST", "/v1/cmd/message.send", &args.to_string()).0
    };
    let place = |stored: &Value| format!("/v1/attachments/{}", stored["digest"].as_str().unwrap());
    let secret = bring(&operator, "<script>alert(1)</script>");
    assert_eq!(call(&operator, "GET", &place(&secret), "").0, 404, "no message names it");
    // To know what it is called is no right to what it holds.
    assert_eq!(send(&agent, &secret, "mine.html"), 404);
    assert_eq!(send(&operator, &secret, "a \"b\".html"), 200);
    assert_eq!(send(&agent, &secret, "mine.html"), 404);
    assert_eq!(call(&agent, "GET", &place(&secret), "").0, 404);
    let (status, head, body, _) = call(&operator, "GET", &place(&secret), "");
    assert_eq!((status, body.as_str()), (200, "<script>alert(1)</script>"));
    for line in [
        "content-type: application/octet-stream",
        "content-disposition: attachment; filename*=utf-8''a%20%22b%22.html",
        "x-content-type-options: nosniff",
        "content-length: 25",
    ] {
        assert!(head.contains(line), "{line}: {head}");
    }
    // Its own it may send, also when somebody else has brought the same.
    assert_eq!(bring(&agent, "<script>alert(1)</script>"), secret);
    assert_eq!(send(&agent, &secret, "mine.html"), 200);
    assert_eq!(call(&agent, "GET", &place(&secret), "").0, 200);
    world.connect().must("setting.set", json!({ "key": "message.attachment_max_mb", "value": 1 }));
    assert_eq!(call(&operator, "POST", "/v1/attachments", &"x".repeat(1_000_001)).0, 413);
    // More than a frame is what it is for.
    world.connect().must("setting.set", json!({ "key": "message.attachment_max_mb", "value": 3 }));
    assert_eq!(bring(&operator, &"x".repeat(2_500_000))["bytes"], 2_500_000);
    let part = json!({ "args": { "offset": 0, "data": "" } }).to_string();
    assert_eq!(call(&operator, "POST", "/v1/cmd/attachment.put", &part).0, 501);
    for n in 0..32 {
        bring(&agent, &format!("{n}"));
    }
    assert_eq!(call(&agent, "POST", "/v1/attachments", "one more").0, 429);
}

#[test]
fn a_browser_signs_in_once_with_a_code() {
    let world = World::start();
    let port = world.port();
    let code = world.connect().get("login_code", json!({}))["code"].as_str().unwrap().to_owned();
    let login = |code: &str| http(port, "POST", "/v1/login", &[], &json!({ "code": code }).to_string());
    assert_eq!(login("wrong").0, 401);
    let (status, head, _) = login(&code);
    assert_eq!(status, 200);
    let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    assert!(cookie.contains("httponly") && cookie.contains("samesite=strict"), "{cookie}");
    let session = cookie.split(';').next().unwrap();
    assert_eq!(http(port, "GET", "/v1/snapshot", &[("Cookie", session)], "").0, 200);
    assert_eq!(login(&code).0, 401, "a code is worth one session");
}

#[test]
fn a_session_ends_with_the_logout_and_cannot_be_made_from_what_is_on_the_disk() {
    let mut world = World::start();
    let sign_in = |world: &World| {
        let code = world.connect().get("login_code", json!({}))["code"].as_str().unwrap().to_owned();
        let (_, head, _) = http(world.port(), "POST", "/v1/login", &[], &json!({ "code": code }).to_string());
        let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
        cookie.split(';').next().unwrap().to_owned()
    };
    let (first, second) = (sign_in(&world), sign_in(&world));
    let status = |world: &World, session: &str| http(world.port(), "GET", "/v1/snapshot", &[("Cookie", session)], "").0;
    assert_eq!((status(&world, &first), status(&world, &second)), (200, 200));
    let (name, secret) = first.split_once('=').unwrap();
    assert_ne!(name, "agentmux_session", "cookies are shared by all ports of a host");
    for entry in std::fs::read_dir(world.home.state()).unwrap().flatten().filter(|entry| entry.path().is_file()) {
        let bytes = std::fs::read(entry.path()).unwrap();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{:?}", entry.path());
        assert!(!bytes.windows(9).any(|window| window == b"token_key"), "{:?}", entry.path());
    }
    assert_eq!(http(world.port(), "POST", "/v1/logout", &[("Cookie", &first)], "").0, 200);
    assert_eq!((status(&world, &first), status(&world, &second)), (401, 200), "only the one that was ended");
    world.srv.kill();
    world.srv = world.home.start(&[("AGENTMUX_AUTH_KEY", KEY)]).unwrap();
    assert_eq!((status(&world, &first), status(&world, &second)), (401, 200), "and so it stays");
}

#[test]
fn an_agent_is_itself_and_may_little() {
    let world = World::start();
    let token = agent_token(&world);
    // The operator's own connection, narrowed by the agent's token.
    let mut wire = Wire::raw(&world.home.socket()).unwrap();
    wire.send(&json!({ "hello": { "protocol": 1, "token": token } })).unwrap();
    assert_eq!(wire.frame().unwrap()["welcome"]["principal"], "agent:worker@default");
    let denied = wire.call(json!({ "cmd": "team.create", "args": { "name": "mine" } })).unwrap();
    assert_eq!(denied["error"]["code"], "denied");
    assert!(denied["error"]["details"]["rule"].is_string(), "{denied}");
    assert_eq!(wire.call(json!({ "get": "login_code" })).unwrap()["error"]["code"], "denied");
    assert!(wire.call(json!({ "get": "agents" })).unwrap()["ok"].is_array());
    // When its run has ended, its token is worth nothing.
    let mut operator = world.connect();
    operator.must("agent.stop", json!({ "agent": "worker", "grace_ms": 100 }));
    until("it has stopped", || (operator.get("agents", json!({ "all": true }))[0]["pid"].is_null()).then_some(()));
    let mut wire = Wire::raw(&world.home.socket()).unwrap();
    wire.send(&json!({ "hello": { "protocol": 1, "token": token } })).unwrap();
    assert_eq!(wire.frame().unwrap()["error"]["code"], "denied");
}

#[test]
fn the_instance_key_is_nowhere_to_be_found() {
    let world = World::start();
    let mut wire = world.connect();
    let out = world.home.dir.join("env");
    let script = format!("env > {0}.new; mv {0}.new {0}; exec sleep 1000", out.display());
    wire.must("agent.create", json!({ "name": "spy", "kind": "cmd", "argv": ["/bin/sh", "-c", script], "cwd": "/" }));
    let seen = until("the agent has looked around", || std::fs::read_to_string(&out).ok());
    assert!(!seen.contains(KEY) && !seen.contains("AGENTMUX_AUTH_KEY"), "{seen}");
    assert!(seen.contains("AGENTMUX_AGENT=spy@default") && seen.contains("AGENTMUX_TAG="), "{seen}");
    let environ = std::fs::read(format!("/proc/{}/environ", world.srv.pid())).unwrap();
    assert!(!environ.windows(KEY.len()).any(|window| window == KEY.as_bytes()), "in the server's own environment");
    for answer in [wire.get("status", json!({})), wire.get("snapshot", json!({})), wire.get("doctor", json!({}))] {
        assert!(!answer.to_string().contains(KEY));
    }
    for file in ["srv-stderr.log", "state/run/endpoint.json", "state/logs/current"] {
        let text = std::fs::read_to_string(world.home.dir.join(file)).unwrap_or_default();
        assert!(!text.contains(KEY), "{file}");
    }
}

#[test]
fn a_terminal_agent_starts_shows_takes_keys_and_stops() {
    let world = World::start();
    let mut wire = world.connect();
    wire.must(
        "agent.create",
        json!({ "name": "sh", "kind": "shell", "cwd": "/tmp", "size": { "rows": 10, "cols": 40 } }),
    );
    until("it runs", || wire.get("agents", json!({}))[0]["pid"].as_u64());
    wire.must("agent.keys", json!({ "agent": "sh", "keys": ["echo 1$((1+1))3 $AGENTMUX_RUN", "Enter"] }));
    let screen = |wire: &mut Wire| wire.get("look", json!({ "agent": "sh" }))["lines"].to_string();
    until("it answers", || screen(&mut wire).contains("123 1").then_some(()));
    wire.must("agent.resize", json!({ "agent": "sh", "rows": 20, "cols": 100 }));
    wire.must("agent.keys", json!({ "agent": "sh", "keys": ["stty size", "Enter"] }));
    until("it has the new size", || screen(&mut wire).contains("20 100").then_some(()));
    wire.must("agent.restart", json!({ "agent": "sh", "grace_ms": 2000 }));
    until("the second run runs", || {
        let agent = &wire.get("agents", json!({}))[0];
        (agent["run"] == 2 && agent["pid"].is_u64()).then_some(())
    });
    wire.must("agent.keys", json!({ "agent": "sh", "keys": ["exit 7", "Enter"] }));
    until("its end is known", || {
        let agent = wire.get("agent", json!({ "agent": "sh" }));
        (agent["current_run"]["state"]["exit"]["code"] == 7).then_some(())
    });
    let after = wire.call(json!({ "cmd": "agent.keys", "args": { "agent": "sh", "keys": ["x"] } })).unwrap();
    assert_eq!(after["error"]["code"], "conflict");
    assert!(wire.get("look", json!({ "agent": "sh" }))["lines"].to_string().contains("exit 7"), "its last words stay");
    let bad = json!({ "name": "bad", "kind": "cmd", "argv": ["/no/such/program"], "cwd": "/" });
    wire.must("agent.create", bad);
    until("a start that cannot work is said", || {
        let agent = wire.get("agent", json!({ "agent": "bad" }));
        agent["current_run"]["state"]["error"]
            .as_str()
            .filter(|why| why.contains("/no/such/program"))
            .map(str::to_owned)
    });
}

#[test]
fn what_scrolled_away_is_read_from_the_tape() {
    let world = World::start();
    let mut wire = world.connect();
    let script = "i=1; while [ $i -le 2500 ]; do echo line-$i; i=$((i+1)); done; exec sleep 1000";
    wire.must("agent.create", json!({ "name": "long", "kind": "cmd", "argv": ["/bin/sh", "-c", script], "cwd": "/" }));
    until("it runs", || wire.get("agents", json!({}))[0]["pid"].as_u64());
    until("it is done", || {
        wire.get("look", json!({ "agent": "long" }))["lines"].to_string().contains("line-2500").then_some(())
    });
    let lines = wire.get("look", json!({ "agent": "long", "lines": 2000 }))["lines"].clone();
    let lines: Vec<_> = lines.as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect();
    assert_eq!((lines.len(), lines[0].as_str(), lines[1999].as_str()), (2000, "line-501", "line-2500"));
}

#[test]
fn a_full_disk_is_said_and_lived_through() {
    let dir = tempfile::tempdir().unwrap();
    let mount =
        |args: &[&str]| std::process::Command::new(args[0]).args(&args[1..]).status().is_ok_and(|s| s.success());
    let path = dir.path().to_str().unwrap();
    if !mount(&["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", path]) {
        eprintln!("skipped: a small file system cannot be mounted here");
        return;
    }
    let home = Home::new(dir.path(), Path::new(env!("CARGO_BIN_EXE_agentmux")));
    let srv = home.start(&[]).unwrap();
    let mut wire = home.connect().unwrap();
    wire.must("team.create", json!({ "name": "before" }));
    let filler = dir.path().join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    drop(file);
    let mut taken = vec!["before".to_owned()];
    let refusal = until("the disk is full", || {
        let name = format!("t{}", taken.len());
        let answer = wire.call(json!({ "cmd": "team.create", "args": { "name": name } })).unwrap();
        if answer["error"].is_null() {
            taken.push(name);
            wire.must("team.rename", json!({ "team": "before", "name": "renamed" }));
            wire.must("team.rename", json!({ "team": "renamed", "name": "before" }));
            return None;
        }
        Some(answer["error"].clone())
    });
    assert_eq!(refusal["code"], "read_only", "{refusal}");
    assert!(refusal["hint"].is_string());
    assert_eq!(wire.get("status", json!({}))["mode"], "read_only");
    std::fs::remove_file(&filler).unwrap();
    wire.must("team.create", json!({ "name": "after" }));
    taken.push("after".into());
    assert_eq!(wire.get("status", json!({}))["mode"], "read_write");
    drop(wire);
    drop(srv);
    let srv = home.start(&[]).unwrap();
    let teams = home.connect().unwrap().get("teams", json!({}));
    let mut names: Vec<_> =
        teams.as_array().unwrap().iter().map(|team| team["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    taken.sort();
    assert_eq!(names, taken, "what was acknowledged, all of it and nothing else");
    drop(srv);
    assert!(mount(&["umount", path]));
}

#[test]
fn an_agent_cannot_take_the_operators_place() {
    let world = World::start();
    let mut wire = world.connect();
    let (script, out) = (world.home.dir.join("crowd.py"), world.home.dir.join("crowd"));
    if !std::process::Command::new("python3").arg("--version").status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no python3");
        return;
    }
    let crowd = "import os, socket, sys, time
held = []
def come():
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    try:
        # Whoever is refused is not listened to.
        s.sendall(b'{\"hello\":{\"protocol\":1}}\\n')
        return s, s.makefile().readline()
    except OSError:
        return s, ''
# Whoever is quicker than the news of its start is not known yet.
held.append(come())
while 'welcome' not in held[0][1]: held = [come()]
held += [come() for _ in range(200)]
welcomed = sum('welcome' in line for _, line in held)
s = held[0][0]
s.sendall(b'{\"id\":1,\"get\":\"doctor\"}\\n')
doctor = 'denied' in s.makefile().readline()
open(sys.argv[2] + '.new', 'w').write('%d %s' % (welcomed, doctor))
os.rename(sys.argv[2] + '.new', sys.argv[2])
time.sleep(1000)
";
    std::fs::write(&script, crowd).unwrap();
    let argv = ["python3".into(), script.display().to_string(), world.home.socket().display().to_string()];
    let argv = [&argv[..], &[out.display().to_string()]].concat();
    wire.must("agent.create", json!({ "name": "crowd", "kind": "cmd", "argv": argv, "cwd": "/" }));
    let said = until("the crowd is there", || std::fs::read_to_string(&out).ok());
    assert_eq!(said, "16 True", "so many are enough, and the store is not checked for an agent");
    assert!(world.connect().get("status", json!({}))["pid"].is_u64());
}

#[test]
fn a_connection_on_which_nobody_speaks_is_closed_and_one_that_is_used_is_not() {
    let world = World::start();
    let port = world.port();
    let connect = |words: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(words.as_bytes()).unwrap();
        stream
    };
    let ask = |path: &str, key: &str| format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{key}\r\n");
    let key = format!("Authorization: Bearer {KEY}\r\n");
    // Also where nobody has to be known.
    let known = ["/v1/snapshot", "/healthz"].map(|path| ask(path, &key));
    let operators = known.map(|words| (connect(&words), words));
    // Half a request, a whole one of nobody, and a body that never comes.
    let login = format!("POST /v1/login HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 10\r\n\r\n");
    for mut silent in ["GET / HT", "", &ask("/v1/snapshot", ""), &login].map(connect) {
        let mut rest = Vec::new();
        let ended = silent.read_to_end(&mut rest).map_err(|error| error.kind());
        assert!(
            matches!(ended, Ok(_) | Err(std::io::ErrorKind::ConnectionReset)),
            "our patience ended first: {ended:?}"
        );
    }
    for (mut operator, words) in operators {
        operator.write_all(words.as_bytes()).unwrap();
        let mut answers = Vec::new();
        let mut buffer = [0; 4096];
        until("both are answered", || {
            let count = operator.read(&mut buffer).unwrap();
            assert!(count > 0, "the operator's connection stays: {words}");
            answers.extend_from_slice(&buffer[..count]);
            (String::from_utf8_lossy(&answers).matches("HTTP/1.1 200").count() == 2).then_some(())
        });
    }
}

#[test]
fn what_was_answered_is_told_before_it_is_said_that_this_was_all() {
    let world = World::start();
    let mut wire = world.connect();
    let epoch = wire.welcome["epoch"].clone();
    wire.must("team.create", json!({ "name": "t0" }));
    for round in 0..500 {
        let (team, name) = (format!("t{round}"), format!("t{}", round + 1));
        let answer = wire.call(json!({ "cmd": "team.rename", "args": { "team": team, "name": name } })).unwrap();
        let seq = answer["seq"].as_u64().unwrap_or_else(|| panic!("{answer}"));
        let sub = wire.start(json!({ "sub": { "from": { "epoch": epoch, "seq": seq - 1 } } })).unwrap();
        let mut told = Vec::new();
        while told.last().is_none_or(|frame: &Value| frame["caught_up"].is_null()) {
            told.push(wire.frame().unwrap());
        }
        assert!(told.iter().any(|frame| frame["event"]["seq"] == seq), "{round}: {told:?}");
        wire.call(json!({ "unsub": sub })).unwrap();
    }
}

#[test]
fn a_web_socket_carries_the_same_frames() {
    use futures_util::{SinkExt as _, StreamExt as _};
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

    let world = World::start();
    let port = world.port();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let request = |token: &str, origin: Option<&str>| {
            let mut request = format!("ws://127.0.0.1:{port}/v1/stream").into_client_request().unwrap();
            let headers = request.headers_mut();
            headers.insert("Authorization", format!("Bearer {token}").parse().unwrap());
            origin.into_iter().for_each(|origin| drop(headers.insert("Origin", origin.parse().unwrap())));
            request
        };
        for refused in [request("wrong", None), request(KEY, Some("http://evil.example"))] {
            assert!(tokio_tungstenite::connect_async(refused).await.is_err());
        }
        let (mut socket, _) = tokio_tungstenite::connect_async(request(KEY, None)).await.unwrap();
        let mut talk = async |said: Option<Value>| -> Value {
            if let Some(frame) = said {
                socket.send(Message::text(frame.to_string())).await.unwrap();
            }
            let heard = tokio::time::timeout(Duration::from_secs(60), socket.next()).await.unwrap().unwrap().unwrap();
            serde_json::from_str(heard.to_text().unwrap()).unwrap()
        };
        let welcome = talk(Some(json!({ "hello": { "protocol": 1 } }))).await["welcome"].clone();
        assert_eq!(welcome["principal"], "operator");
        let made = json!({ "id": 1, "cmd": "team.create", "args": { "name": "web" } });
        assert_eq!(talk(Some(made)).await["id"], 1);
        let from = json!({ "epoch": welcome["epoch"], "seq": welcome["head"] });
        let since = json!({ "id": 2, "sub": { "topics": ["team"], "from": from } });
        assert_eq!(talk(Some(since)).await["resumed"], true);
        assert_eq!(talk(None).await["event"]["type"], "team.created");
        socket.send(Message::binary(vec![0; 16])).await.unwrap();
        let mut last = Value::Null;
        while let Some(Ok(message)) = socket.next().await {
            if let Ok(text) = message.to_text() {
                last = serde_json::from_str(text).unwrap_or(last);
            }
        }
        assert!(last["closing"].is_object(), "a binary message ends it, and is told why: {last}");
    });
}
