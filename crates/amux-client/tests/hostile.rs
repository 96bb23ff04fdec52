//! The client against servers that are silent, endless, wrong or forgetful. A script plays the server.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use amux_client::follow::{Flow, Heard, follow};
use amux_client::{Client, Error};
use serde_json::{Value, json};

const EPOCH: &str = "01890000-0000-7000-8000-000000000001";

/// Plays a server: one closure a connection, in order.
struct Stage {
    _dir: tempfile::TempDir,
    socket: PathBuf,
    actors: Option<JoinHandle<()>>,
}

impl Stage {
    fn new(acts: Vec<Box<dyn FnOnce(Peer) + Send>>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let actors = std::thread::spawn(move || {
            for act in acts {
                act(Peer::new(listener.accept().unwrap().0));
            }
        });
        Self { _dir: dir, socket, actors: Some(actors) }
    }

    fn end(mut self) {
        self.actors.take().unwrap().join().unwrap();
    }
}

struct Peer {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
}

impl Peer {
    fn new(stream: UnixStream) -> Self {
        Self { reader: BufReader::new(stream.try_clone().unwrap()), writer: stream }
    }

    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn say(&mut self, frame: &Value) {
        let _ = self.writer.write_all(format!("{frame}\n").as_bytes());
    }

    fn greet(&mut self) {
        assert_eq!(self.hear()["hello"]["protocol"], 1);
        self.say(&json!({ "welcome": {
            "protocol": 1, "principal": "operator", "epoch": EPOCH, "head": 9, "version": "0"
        } }));
    }
}

fn event(seq: u64) -> Value {
    json!({ "event": {
        "epoch": EPOCH, "seq": seq, "at": "2026-01-01T00:00:00.000Z", "actor": "operator", "cause": null,
        "cmd_id": "01890000-0000-7000-8000-000000000002", "topic": "team", "type": "team.created", "data": {}
    } })
}

#[test]
fn a_server_that_says_nothing_is_named_within_a_bounded_wait() {
    let stage = Stage::new(vec![Box::new(|mut peer| {
        peer.hear();
        // Until the other side has had enough.
        let mut rest = String::new();
        let _ = peer.reader.read_line(&mut rest);
    })]);
    let error = Client::connect(&stage.socket).err().unwrap();
    assert!(matches!(error, Error::Silent { pid: Some(pid), .. } if pid == std::process::id()), "{error:?}");
    assert!(error.to_string().contains("does not answer; it may be stopped or overloaded"), "{error}");
    assert!(!error.is_lost(), "somebody is there: nobody else must be started");
    stage.end();
}

#[test]
fn an_answer_without_end_costs_a_bounded_buffer() {
    let stage = Stage::new(vec![Box::new(|mut peer| {
        peer.greet();
        peer.hear();
        let chunk = vec![b'x'; 1 << 20];
        while peer.writer.write_all(&chunk).is_ok() {}
    })]);
    let mut client = Client::connect(&stage.socket).unwrap();
    let error = client.get("status", &json!({})).unwrap_err();
    assert!(matches!(error, Error::Garbled(_)), "{error:?}");
    drop(client);
    stage.end();
}

#[test]
fn what_is_too_long_to_send_is_refused_here() {
    let stage = Stage::new(vec![Box::new(|mut peer| {
        peer.greet();
        assert_eq!(peer.hear()["get"], "status");
        peer.say(&json!({ "id": 2, "ok": { "fine": true }, "seq": 9 }));
    })]);
    let mut client = Client::connect(&stage.socket).unwrap();
    let error = client.cmd("team.create", &json!({ "name": "x".repeat(1 << 20) })).unwrap_err();
    assert!(matches!(&error, Error::Refused(refusal) if refusal.code == amux_proto::Code::TooLarge), "{error:?}");
    assert!(client.get("status", &json!({})).is_ok(), "the connection goes on");
    stage.end();
}

#[test]
fn a_connection_that_ends_before_the_answer_is_lost_and_not_refused() {
    let stage = Stage::new(vec![
        Box::new(|mut peer| {
            peer.greet();
            peer.hear();
        }),
        Box::new(|mut peer| {
            peer.greet();
            peer.hear();
            peer.say(&json!({ "closing": { "reason": "the server restarts" } }));
        }),
        Box::new(drop),
    ]);
    for _ in 0..2 {
        let error = Client::connect(&stage.socket).unwrap().cmd("team.create", &json!({})).unwrap_err();
        assert!(error.is_lost() && error.is_passing(), "{error:?}");
    }
    assert!(Client::connect(&stage.socket).err().unwrap().is_lost());
    stage.end();
}

#[test]
fn an_answer_to_somebody_else_is_not_ours() {
    let stage = Stage::new(vec![Box::new(|mut peer| {
        peer.greet();
        let id = peer.hear()["id"].as_u64().unwrap();
        peer.say(&json!({ "id": id + 1, "ok": { "whose": "another's" }, "seq": 1 }));
        peer.say(&event(10));
        peer.say(&json!({ "id": id, "ok": { "whose": "ours" }, "seq": 2 }));
    })]);
    let answer = Client::connect(&stage.socket).unwrap().get("status", &json!({})).unwrap();
    assert_eq!((answer.body.get(), answer.seq.0), (r#"{"whose":"ours"}"#, 2));
    stage.end();
}

#[test]
fn a_follower_goes_on_behind_the_last_event_it_heard() {
    let stage = Stage::new(vec![
        Box::new(|mut peer| {
            peer.greet();
            assert_eq!(peer.hear()["sub"]["topics"], json!(["team"]));
            peer.say(&json!({ "id": 1, "resumed": true }));
            peer.say(&event(10));
            peer.say(&event(12));
        }),
        // A server that is going away is asked again.
        Box::new(drop),
        Box::new(|mut peer| {
            peer.greet();
            assert_eq!(peer.hear()["sub"]["from"], json!({ "epoch": EPOCH, "seq": 12 }));
            peer.say(&json!({ "id": 1, "resumed": true }));
            peer.say(&event(13));
        }),
    ]);
    let client = Client::connect(&stage.socket).unwrap();
    let mut seqs = Vec::new();
    let deadline = Some(Instant::now() + Duration::from_secs(20));
    let enough = follow(&stage.socket, client, &["team".to_owned()], None, deadline, |heard| match heard {
        Heard::Event(line) => {
            seqs.push(line.seq.0);
            if line.seq.0 == 13 { Flow::Enough } else { Flow::GoOn }
        }
        _ => Flow::GoOn,
    });
    assert!(enough.unwrap());
    assert_eq!(seqs, [10, 12, 13]);
    stage.end();
}

#[test]
fn a_follower_with_a_deadline_keeps_it_though_nobody_serves() {
    let stage = Stage::new(vec![Box::new(|mut peer| peer.greet())]);
    let client = Client::connect(&stage.socket).unwrap();
    let socket = stage.socket.clone();
    stage.end();
    let began = Instant::now();
    let deadline = Some(began + Duration::from_millis(300));
    assert!(!follow(&socket, client, &[], None, deadline, |_| Flow::GoOn).unwrap());
    assert!(began.elapsed() < Duration::from_secs(20));
}
