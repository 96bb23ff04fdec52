//! The relay with small scripts in the place of a CLI.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use amux_sys::process;
use serde_json::{Value, json};

use crate::harness::{BINARY, until};

struct Relay {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    dir: tempfile::TempDir,
}

impl Relay {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(BINARY)
            .args(["internal", "relay"])
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (say, lines) = sync_channel(100_000);
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| say.send(line)));
        Self { stdin: child.stdin.take(), child, lines, dir }
    }

    fn order(&mut self, order: &Value) {
        writeln!(self.stdin.as_mut().unwrap(), "{order}").unwrap();
    }

    fn turn(&mut self, id: &str, script: &str) {
        self.turn_with(id, script, "hello");
    }

    fn turn_with(&mut self, id: &str, script: &str, stdin: &str) {
        self.order(&json!({ "turn": { "id": id, "argv": ["sh", "-c", script], "stdin": stdin } }));
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(Duration::from_secs(60)).expect("a line comes")
    }

    fn until_line(&self, wanted: &str) {
        while self.line() != wanted {}
    }

    /// One of the relay's own lines.
    fn own(&self) -> Value {
        let line = self.line();
        let own: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not its own: {line}"));
        own["agentmux"].clone()
    }

    fn began(&self, id: &str) -> u32 {
        let began = self.own();
        assert_eq!(began["turn"], id, "{began}");
        u32::try_from(began["pid"].as_u64().unwrap()).unwrap()
    }

    /// The rest of what a turn prints, and how it ended.
    fn rest(&self) -> (Vec<String>, Value) {
        let mut lines = Vec::new();
        loop {
            let line = self.line();
            match serde_json::from_str::<Value>(&line) {
                Ok(own) if own["agentmux"].get("stderr").is_some() => return (lines, own["agentmux"].clone()),
                _ => lines.push(line),
            }
        }
    }

    /// A number that a script has written into a file.
    fn pid_in(&self, name: &str) -> u32 {
        let path = self.dir.path().join(name);
        until("a pid is written", || std::fs::read_to_string(&path).ok()?.strip_suffix('\n')?.parse().ok())
    }

    fn finish(&mut self) {
        self.stdin = None;
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.child.wait();
    }
}

fn is_gone(pid: u32) {
    until("it has ended", || process::identity(pid).is_none_or(|id| !process::alive(&id)).then_some(()));
}

#[test]
fn what_a_turn_prints_is_between_its_beginning_and_its_end() {
    let mut relay = Relay::new();
    relay.turn("t1", "cat; echo '{\"type\":\"x\"}'; echo oops >&2; printf 'no newline'; exit 3");
    assert_ne!(relay.began("t1"), std::process::id());
    let (lines, end) = relay.rest();
    assert_eq!(lines, ["hello", "{\"type\":\"x\"}", "no newline"]);
    assert_eq!(end, json!({ "turn": "t1", "code": 3, "signal": null, "stderr": "oops" }));
    relay.turn("t2", "kill -TERM $$");
    relay.began("t2");
    assert_eq!(relay.rest().1, json!({ "turn": "t2", "code": null, "signal": 15, "stderr": "" }));
    relay.finish();
}

#[test]
fn turns_are_one_at_a_time_and_in_order() {
    let mut relay = Relay::new();
    assert!(Command::new("mkfifo").arg(relay.dir.path().join("fifo")).status().unwrap().success());
    relay.turn("first", "read -r go < fifo; echo first");
    relay.began("first");
    for at in 0..65 {
        relay.turn(&format!("t{at}"), &format!("echo {at}"));
    }
    let refused = relay.own();
    assert_eq!(refused["turn"], "t64");
    assert!(refused["error"].is_string(), "{refused}");
    relay.order(&json!({ "interrupt": "t1" }));
    let (_, end) = relay.rest();
    assert!(end["turn"] == "t1" && end["error"].is_string(), "{end}");
    std::fs::write(relay.dir.path().join("fifo"), "go\n").unwrap();
    assert_eq!(relay.rest().0, ["first"]);
    for at in (0..64).filter(|at| *at != 1) {
        relay.began(&format!("t{at}"));
        assert_eq!(relay.rest().0, [at.to_string()]);
    }
    relay.finish();
}

#[test]
fn a_large_prompt_does_not_wait_for_a_slow_reader_nor_for_one_who_reads_nothing() {
    let mut relay = Relay::new();
    let prompt = "word ".repeat(400_000);
    // It prints more than a pipe holds before it reads, and again after.
    relay.turn_with("slow", "head -c 300000 /dev/zero | tr '\\0' x; echo; wc -c", &prompt);
    relay.began("slow");
    let (lines, end) = relay.rest();
    assert_eq!((lines[0].len(), lines[1].trim(), &end["code"]), (300_000, "2000001", &json!(0)));
    relay.turn_with("deaf", "exec <&-; echo done", &prompt);
    relay.began("deaf");
    assert_eq!(relay.rest().0, ["done"]);
    relay.finish();
}

#[test]
fn a_flood_of_errors_is_passed_on_and_its_end_is_kept() {
    let mut relay = Relay::new();
    let mut stderr = relay.child.stderr.take().unwrap();
    let flood = std::thread::spawn(move || {
        let mut all = Vec::new();
        stderr.read_to_end(&mut all).unwrap();
        all.len()
    });
    relay.turn("t", "head -c 1000000 /dev/zero | tr '\\0' e >&2; echo >&2; seq 1 100 >&2; echo out");
    relay.began("t");
    let (lines, end) = relay.rest();
    assert_eq!(lines, ["out"]);
    let tail: Vec<_> = end["stderr"].as_str().unwrap().lines().collect();
    assert_eq!((tail.len(), tail[0], tail[39]), (40, "61", "100"));
    relay.finish();
    assert_eq!(flood.join().unwrap(), 1_000_000 + 1 + 292);
}

#[test]
fn an_endless_line_is_passed_on_while_it_comes() {
    let mut relay = Relay::new();
    relay.turn("t", "yes | tr -d '\\n' | head -c 20000000");
    relay.began("t");
    let (lines, end) = relay.rest();
    assert_eq!((lines.len(), lines[0].len(), &end["code"]), (1, 20_000_000, &json!(0)));
    relay.finish();
}

#[test]
fn who_is_left_in_the_background_holds_nothing_up_and_lives_on() {
    let mut relay = Relay::new();
    relay.turn("t", "(while :; do echo noise; sleep 0.1; done) & echo $! > pid; echo done");
    relay.began("t");
    let (lines, end) = relay.rest();
    assert!(lines.contains(&"done".to_owned()) && end["code"] == 0, "{lines:?} {end}");
    let left = process::identity(relay.pid_in("pid")).unwrap();
    // Its noise is in nobody's turn.
    relay.turn("next", "sleep 0.3; echo quiet");
    relay.began("next");
    assert_eq!(relay.rest().0, ["quiet"]);
    assert!(process::alive(&left));
    amux_sys::signals::send_to(&left, amux_sys::signals::Signal::Kill).unwrap();
    relay.finish();
}

#[test]
fn an_interrupt_is_heard_by_the_whole_turn() {
    let mut relay = Relay::new();
    relay.turn("t", "trap 'echo stopped; exit 7' INT; echo ready; while :; do sleep 0.05; done");
    relay.began("t");
    relay.until_line("ready");
    relay.order(&json!({ "interrupt": "other" }));
    relay.order(&json!({ "interrupt": "t" }));
    let (lines, end) = relay.rest();
    assert_eq!((lines, &end["code"]), (vec!["stopped".to_owned()], &json!(7)));
    // The relay goes on.
    relay.turn("next", "echo here");
    relay.began("next");
    assert_eq!(relay.rest().0, ["here"]);
    relay.finish();
}

#[test]
fn who_ignores_an_interrupt_is_asked_again_and_then_ended() {
    let mut relay = Relay::new();
    relay.turn("t", "trap '' INT; trap 'echo asked' TERM; echo ready; while :; do sleep 0.1; done");
    relay.began("t");
    relay.until_line("ready");
    relay.order(&json!({ "interrupt": "t" }));
    let (lines, end) = relay.rest();
    assert_eq!((lines, &end["signal"]), (vec!["asked".to_owned()], &json!(9)));
    relay.finish();
}

#[test]
fn the_end_of_stdin_leaves_nothing_running() {
    let mut relay = Relay::new();
    // Its child ignores what it is asked.
    relay.turn("t", "sh -c 'trap \"\" TERM HUP INT; echo $$ > child; while :; do sleep 0.1; done' & echo ready; wait");
    let leader = relay.began("t");
    relay.until_line("ready");
    let child = relay.pid_in("child");
    relay.turn("waits", "echo never");
    relay.finish();
    is_gone(leader);
    is_gone(child);
    let ends: Vec<_> = std::iter::from_fn(|| relay.lines.recv().ok()).collect();
    assert!(ends.len() == 2 && ends[0].contains("waits") && ends[1].contains("\"signal\":15"), "{ends:?}");
}

#[test]
fn what_cannot_be_run_is_said_and_the_next_turn_comes() {
    let mut relay = Relay::new();
    for argv in [json!(["/no/such/program"]), json!([])] {
        relay.order(&json!({ "turn": { "id": "t", "argv": argv, "stdin": "" } }));
        let end = relay.own();
        assert!(end["turn"] == "t" && end["code"].is_null() && end["error"].is_string(), "{end}");
    }
    writeln!(relay.stdin.as_mut().unwrap(), "\nnonsense").unwrap();
    assert!(relay.own()["error"].is_string());
    relay.turn("next", "echo here");
    relay.began("next");
    assert_eq!(relay.rest().0, ["here"]);
    relay.finish();
}
