//! Agents that pretend: whatever a process of an agent does to its ancestry, its environment or its socket, it is that
//! agent or nobody. And what is nobody's stays the operator's.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use amux_sys::signals::{self, Signal};
use serde_json::Value;

use crate::harness::{BINARY, World, until};

/// Connects by a child that has ended before the server looks; prints the first frame it is given.
const BORROWED: &str = "import os, socket, sys, time
path, go, done = sys.argv[1:4]
while not os.path.exists(go): time.sleep(0.01)
s = socket.socket(socket.AF_UNIX)
pid = os.fork()
if pid == 0:
    s.connect(path)
    os._exit(0)
if len(sys.argv) > 4: os.waitpid(pid, 0)
else: os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
open(done, 'w').close()
s.sendall(b'{\"hello\":{\"protocol\":1}}\\n')
sys.stdout.write(s.makefile().readline())
";

struct Masked {
    world: World,
    am: String,
}

impl Masked {
    fn new() -> Self {
        let world = World::new();
        world.shell("worker");
        let state = world.home.state();
        let am = format!("{BINARY} --state-dir {0} --config-dir {0} --no-start", state.display());
        Self { world, am }
    }

    /// What a script says that an agent runs.
    fn as_agent(&self, name: &str, script: &str) -> String {
        self.read(self.begin_as_agent(name, script))
    }

    /// Where the script's words are found when it is done.
    fn begin_as_agent(&self, name: &str, script: &str) -> PathBuf {
        let (file, out) = (self.world.home.dir.join(format!("{name}.sh")), self.world.home.dir.join(name));
        std::fs::write(&file, script).unwrap();
        let line = format!("sh {} > {1}.new 2>&1; mv {1}.new {1}", file.display(), out.display());
        self.world.json(&["keys", "worker", &line, "Enter"]);
        out
    }

    fn read(&self, out: PathBuf) -> String {
        until("it was answered", || std::fs::read_to_string(&out).ok())
    }

    fn assert_nothing_was_done(&self) {
        let teams = self.world.json(&["team", "ls"]);
        assert!(!teams.to_string().contains("mine"), "{teams}");
    }
}

#[test]
fn an_agent_as_deep_as_it_likes_is_that_agent() {
    let masked = Masked::new();
    let mut command = format!("{} team create mine --json", masked.am);
    let dir = &masked.world.home.dir;
    for depth in 0..80 {
        // A command after it, or the shell would become what it starts.
        let file = dir.join(format!("level-{depth}"));
        std::fs::write(&file, format!("{command}\n:\n")).unwrap();
        command = format!("env -i PATH=\"$PATH\" sh {}", file.display());
    }
    let said = masked.as_agent("deep", &command);
    assert!(said.contains("\"denied\"") && said.contains("an agent may not"), "{said}");
    masked.assert_nothing_was_done();
}

#[test]
fn a_socket_that_somebody_else_connected_is_nobodys() {
    let masked = Masked::new();
    if !Command::new("python3").arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no python3");
        return;
    }
    let script = masked.world.home.dir.join("borrowed.py");
    std::fs::write(&script, BORROWED).unwrap();
    let socket = masked.world.home.socket();
    let server = masked.world.pid("pid");
    for reap in ["", "reap"] {
        let [go, done] = ["go", "done"].map(|what| masked.world.home.dir.join(format!("{what}{reap}")));
        let words = [&script, &socket, &go, &done].map(|path| path.display().to_string()).join(" ");
        let out =
            masked.begin_as_agent(&format!("borrowed{reap}"), &format!("env -i PATH=\"$PATH\" python3 {words} {reap}"));
        signals::send(server, Signal::Stop).unwrap();
        std::fs::write(&go, "").unwrap();
        until("somebody else has connected and ended", || done.exists().then_some(()));
        signals::send(server, Signal::Cont).unwrap();
        let said = masked.read(out);
        let frame: Value = serde_json::from_str(said.trim()).unwrap_or_else(|_| panic!("{said}"));
        assert_eq!(frame["error"]["code"], "denied", "{frame}");
    }
}

#[test]
fn an_agent_that_carries_the_name_of_another_is_neither() {
    let masked = Masked::new();
    masked.world.shell("other");
    let shown = masked.world.agent("other");
    let tag = format!("AGENTMUX_TAG={}:{}", shown["uid"].as_str().unwrap(), shown["run"]);
    let said = masked.as_agent("tagged", &format!("env -u AGENTMUX_TOKEN {tag} {} ls --json", masked.am));
    assert!(said.contains("\"denied\"") && said.contains("another's"), "{said}");
    // Away from the parents that say whose it is.
    let out = masked.world.home.dir.join("orphaned");
    let orphan = masked.world.home.dir.join("orphan.sh");
    std::fs::write(
        &orphan,
        format!("sleep 0.3; {} ls --json > {1}.new 2>&1; mv {1}.new {1}", masked.am, out.display()),
    )
    .unwrap();
    masked.as_agent("left", &format!("env -i PATH=\"$PATH\" {tag} setsid -f sh {}", orphan.display()));
    let said = masked.read(out);
    // Where there are control groups it is known by its own; nowhere is it the other.
    assert!(said.contains("\"denied\""), "{said}");
}

#[test]
fn an_orphan_with_its_token_is_its_agent() {
    let masked = Masked::new();
    let out = masked.world.home.dir.join("orphaned");
    let orphan = masked.world.home.dir.join("orphan.sh");
    let words = format!("sleep 0.3; {0} ls -q; echo reading-$?; {0} team create mine; echo code-$?", masked.am);
    std::fs::write(&orphan, format!("({words}) > {0}.new 2>&1; mv {0}.new {0}", out.display())).unwrap();
    masked.as_agent("left", &format!("setsid -f sh {}", orphan.display()));
    let said = masked.read(out);
    assert!(said.contains("reading-0") && said.contains("code-4"), "{said}");
    masked.assert_nothing_was_done();
}

#[test]
fn what_a_person_left_running_is_still_the_persons() {
    let masked = Masked::new();
    let (out, script) = (masked.world.home.dir.join("left"), masked.world.home.dir.join("left.sh"));
    let words = format!("sleep 0.3; {} team create mine --json", masked.am);
    std::fs::write(&script, format!("({words}) > {0}.new 2>&1; mv {0}.new {0}", out.display())).unwrap();
    let left = Command::new("setsid").arg("-f").arg("sh").arg(&script).stdin(Stdio::null()).status().unwrap();
    assert!(left.success());
    let said = masked.read(out);
    assert!(said.contains("\"ok\":true"), "{said}");
}

#[test]
fn a_token_outlives_the_server_and_not_the_run() {
    let masked = Masked::new();
    let token = masked.as_agent("token", "printf %s \"$AGENTMUX_TOKEN\"");
    masked.world.json(&["server", "restart"]);
    let mut wire = amux_testkit::wire::Wire::raw(&masked.world.home.socket()).unwrap();
    wire.send(&serde_json::json!({ "hello": { "protocol": 1, "token": token } })).unwrap();
    assert_eq!(wire.frame().unwrap()["welcome"]["principal"], "agent:worker@default");
    let mut reader = amux_testkit::wire::Wire::raw(&masked.world.home.socket()).unwrap();
    reader.send(&serde_json::json!({ "hello": { "protocol": 1, "token": token } })).unwrap();
    reader.frame().unwrap();
    reader.start(serde_json::json!({ "sub": {} })).unwrap();
    masked.world.json(&["stop", "worker", "--grace", "100ms"]);
    until("its end is known", || masked.world.agent("worker")["pid"].is_null().then_some(()));
    masked.world.json(&["team", "create", "secret"]);
    let answer = wire.call(serde_json::json!({ "get": "agents" })).unwrap();
    assert_eq!(answer["error"]["code"], "denied", "{answer}");
    let mut heard = String::new();
    while let Ok(frame) = reader.frame() {
        heard.push_str(&frame.to_string());
    }
    assert!(heard.contains("closing") && !heard.contains("secret"), "{heard}");
}
