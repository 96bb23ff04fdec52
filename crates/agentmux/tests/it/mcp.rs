//! The tools of an agent, as its MCP host calls them: the real binary as a child that speaks lines, and the server's own
//! door over HTTP. What is an agent here is a process in an agent's tree; nothing else could be.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use amux_sys::signals::{self, Signal};
use amux_testkit::server::{Home, Srv};
use amux_testkit::wire::Wire;
use serde_json::{Value, json};

use crate::doors::http;
use crate::harness::{BINARY, World, until};

const TOOLS: [&str; 11] = ["team", "send", "ask", "inbox", "ack", "reply", "look", "wait", "spawn", "stop", "requests"];

/// A host: what it writes, what it hears, and what it started.
struct Host {
    write: Box<dyn Write>,
    lines: Receiver<String>,
    next: u64,
    _child: Option<Killed>,
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Host {
    fn over(write: impl Write + 'static, read: impl Read + Send + 'static, child: Option<Killed>) -> Self {
        let (say, lines) = sync_channel(10_000);
        std::thread::spawn(move || BufReader::new(read).lines().map_while(Result::ok).try_for_each(|l| say.send(l)));
        Self { write: Box::new(write), lines, next: 0, _child: child }
    }

    /// The operator's: a child of the test.
    fn operator(home: &Home) -> Self {
        let mut command = home.command();
        let mut child = command.arg("mcp").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self::over(stdin, stdout, Some(Killed(child))).greeted("2025-06-18")
    }

    fn greeted(mut self, version: &str) -> Self {
        self.initialize(version);
        self
    }

    fn initialize(&mut self, version: &str) -> Value {
        let client = json!({ "name": "test", "version": "0" });
        let params = json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": client });
        let answer = self.request("initialize", params);
        self.notify("notifications/initialized", json!({}));
        answer["result"].clone()
    }

    fn say(&mut self, line: &str) {
        writeln!(self.write, "{line}").unwrap();
        self.write.flush().unwrap();
    }

    fn notify(&mut self, method: &str, params: Value) {
        self.say(&json!({ "jsonrpc": "2.0", "method": method, "params": params }).to_string());
    }

    fn begin(&mut self, method: &str, params: Value) -> u64 {
        self.next += 1;
        let id = self.next;
        self.say(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string());
        id
    }

    fn begin_tool(&mut self, name: &str, args: Value) -> u64 {
        self.begin("tools/call", json!({ "name": name, "arguments": args }))
    }

    /// Whatever comes next: a line that is no message of the protocol is a failure.
    fn hear(&self, patience: Duration) -> Option<Value> {
        match self.lines.recv_timeout(patience) {
            Ok(line) => {
                let message: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not the protocol: {line}"));
                assert_eq!(message["jsonrpc"], "2.0", "{line}");
                Some(message)
            }
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("it has ended"),
        }
    }

    fn answer(&self, id: u64) -> Value {
        loop {
            let heard = self.hear(Duration::from_secs(60)).expect("an answer comes");
            if heard["id"] == id {
                return heard;
            }
        }
    }

    fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.begin(method, params);
        self.answer(id)
    }

    fn call(&mut self, name: &str, args: Value) -> Value {
        let id = self.begin_tool(name, args);
        self.answer(id)["result"].clone()
    }

    /// What a tool gives that must not refuse.
    fn tool(&mut self, name: &str, args: Value) -> Value {
        let result = self.call(name, args);
        given(name, &result)
    }

    fn refused(&mut self, name: &str, args: Value) -> Value {
        let result = self.call(name, args);
        assert_eq!(result["isError"], true, "{name}: {result}");
        assert!(result["structuredContent"]["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{name}: {result}");
        result["structuredContent"].clone()
    }

    fn messages(&mut self, args: Value) -> Vec<Value> {
        self.tool("inbox", args)["messages"].as_array().unwrap().clone()
    }
}

fn given(name: &str, result: &Value) -> Value {
    assert_eq!(result["isError"], false, "{name}: {result}");
    assert!(result["content"][0]["text"].is_string(), "{name}: {result}");
    assert!(result["structuredContent"].is_object(), "{name}: {result}");
    result["structuredContent"].clone()
}

/// An agent that is nothing but hosts, so many of them, and is given no mail by itself.
fn agent(world: &World, name: &str, hosts: usize) -> Vec<Host> {
    let dir = world.home.dir.join(format!("hosts-{name}"));
    std::fs::create_dir(&dir).unwrap();
    let mut script = String::new();
    for n in 0..hosts {
        for end in ["in", "out"] {
            assert!(Command::new("mkfifo").arg(dir.join(format!("{end}{n}"))).status().unwrap().success());
        }
        let d = dir.display();
        script.push_str(&format!("{BINARY} mcp <{d}/in{n} >{d}/out{n} 2>{d}/err{n} & "));
    }
    script.push_str("wait");
    world.json(&["new", name, "--agent", "cmd", "--cwd", "/", "--", "/bin/sh", "-c", &script]);
    wire(world).must("agent.mail", json!({ "agent": name, "paused": true }));
    let open = |n| {
        // Each opening waits for the other side.
        let write = OpenOptions::new().write(true).open(dir.join(format!("in{n}"))).unwrap();
        Host::over(write, File::open(dir.join(format!("out{n}"))).unwrap(), None).greeted("2025-06-18")
    };
    (0..hosts).map(open).collect()
}

fn wire(world: &World) -> Wire {
    world.home.connect().unwrap()
}

#[test]
fn a_host_of_any_age_finds_the_tools() {
    let world = World::new();
    for version in ["2024-11-05", "2025-03-26", "2025-06-18"] {
        let mut command = world.home.command();
        let mut child = command.arg("mcp").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut host = Host::over(stdin, stdout, Some(Killed(child)));
        let hello = host.initialize(version);
        assert_eq!((&hello["protocolVersion"], &hello["serverInfo"]["name"]), (&version.into(), &"agentmux".into()));
        assert_eq!(hello["instructions"].as_str().unwrap().lines().count(), 10);
        let list = host.request("tools/list", json!({}))["result"].clone();
        assert!(list.to_string().len() <= 6_000, "{} bytes", list.to_string().len());
        let names: Vec<&str> = list["tools"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
        assert_eq!(names, TOOLS);
        let is_whole = |tool: &Value| {
            ["inputSchema", "outputSchema", "annotations", "description"].iter().all(|part| !tool[part].is_null())
        };
        assert!(list["tools"].as_array().unwrap().iter().all(is_whole), "{list}");
        assert!(host.request("ping", json!({}))["result"].is_object());
        // Nothing so far has needed a server, and none was started.
        assert!(!world.home.socket().exists());
    }
    let mut host = Host::operator(&world.home);
    assert_eq!(host.tool("team", json!({}))["you"], "operator");
    let unknown = host.request("tools/call", json!({ "name": "no_such", "arguments": {} }));
    assert_eq!(unknown["error"]["code"], -32602, "{unknown}");
    let shapeless = host.request("tools/call", json!({ "name": "team", "arguments": "x" }));
    assert!(shapeless["error"]["code"].is_i64(), "{shapeless}");
    for (tool, args) in [
        ("send", json!({ "to": { "agent": "operator" }, "text": "x" })),
        ("send", json!({ "to": ["operator"], "text": "x", "from": "agent:api" })),
        ("ask", json!({ "text": "x" })),
        ("ask", json!({ "to": "operator", "text": "x", "timeout_ms": 3_600_001 })),
        ("wait", json!({ "agents": ["x"], "for": ["asleep"] })),
        ("team", json!({ "actor": "system" })),
    ] {
        assert_eq!(host.refused(tool, args.clone())["code"], "bad_args", "{tool} {args}");
    }
    host.say("this is no JSON");
    assert_eq!(host.tool("team", json!({}))["you"], "operator", "and it goes on");
    let resources = host.request("resources/list", json!({}))["result"]["resources"].clone();
    assert_eq!((&resources[0]["uri"], &resources[1]["uri"]), (&"agentmux://inbox".into(), &"agentmux://team".into()));
    for (uri, field) in [("agentmux://inbox", "messages"), ("agentmux://team", "agents")] {
        let read = host.request("resources/read", json!({ "uri": uri }))["result"]["contents"][0].clone();
        let text: Value = serde_json::from_str(read["text"].as_str().unwrap()).unwrap();
        assert!(text[field].is_array(), "{uri}: {text}");
    }
    assert!(host.request("resources/read", json!({ "uri": "agentmux://x" }))["error"].is_object());
}

#[test]
fn a_host_may_give_a_socket_or_pipes_and_has_them_back_as_they_were() {
    let world = World::new();
    let spawned = |stdin: &OwnedFd, stdout: &OwnedFd, stderr: Stdio| {
        let (stdin, stdout) = (stdin.try_clone().unwrap(), stdout.try_clone().unwrap());
        world.home.command().arg("mcp").stdin(stdin).stdout(stdout).stderr(stderr).spawn().unwrap()
    };

    let (ours, theirs) = UnixStream::pair().unwrap();
    let theirs = OwnedFd::from(theirs);
    let mut child = spawned(&theirs, &theirs, Stdio::null());
    let hang_up = ours.try_clone().unwrap();
    Host::over(ours.try_clone().unwrap(), ours, None).greeted("2025-06-18").tool("team", json!({}));
    hang_up.shutdown(Shutdown::Write).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(waits(&theirs));

    let ((theirs, questions), (answers, to_us)) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
    let (theirs, to_us) = (OwnedFd::from(theirs), OwnedFd::from(to_us));
    let mut child = spawned(&theirs, &to_us, Stdio::from(to_us.try_clone().unwrap()));
    let mut host = Host::over(questions, answers, None).greeted("2025-06-18");
    host.tool("team", json!({}));
    assert!(!waits(&theirs) && waits(&to_us), "what it says on stderr, which is the same pipe, must be able to wait");
    drop(host);
    assert!(child.wait().unwrap().success());
    assert!(waits(&theirs) && waits(&to_us));
}

/// Whether who reads or writes it is made to wait, whoever else has it.
fn waits(stream: &OwnedFd) -> bool {
    const NONBLOCK: u32 = 0o4000;
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", stream.as_raw_fd())).unwrap();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
    u32::from_str_radix(flags.trim(), 8).unwrap() & NONBLOCK == 0
}

#[test]
fn agents_talk_and_may_no_more_than_that() {
    let world = World::new();
    let [mut lead, mut second, mut third, mut fourth] = <[Host; 4]>::try_from(agent(&world, "lead", 4)).ok().unwrap();
    let mut api = agent(&world, "api", 1).remove(0);
    wire(&world).must("agent.describe", json!({ "agent": "api", "role": "writes the interface" }));
    let team = lead.tool("team", json!({}));
    assert_eq!(team["you"], "lead@default");
    let of_api = team["agents"].as_array().unwrap().iter().find(|agent| agent["name"] == "api@default").unwrap();
    assert_eq!((&of_api["role"], &of_api["state"]), (&"writes the interface".into(), &"unknown".into()));
    // All hosts of one agent work at once, each with more calls than it has connections.
    let calls: Vec<u64> =
        (0..20).flat_map(|_| [&mut third, &mut fourth].map(|h| h.begin_tool("team", json!({})))).collect();
    let asked = lead.begin_tool("ask", json!({ "to": "api", "text": "which port?\u{202e}\u{1b}[31m" }));
    for (host, parity) in [(&mut third, 0), (&mut fourth, 1)] {
        let mut left: Vec<u64> = calls.iter().copied().skip(parity).step_by(2).collect();
        while !left.is_empty() {
            let heard = host.hear(Duration::from_secs(60)).expect("an answer comes");
            assert_eq!(given("team", &heard["result"])["you"], "lead@default");
            left.retain(|id| heard["id"] != *id);
        }
    }
    let sent = second.tool("send", json!({ "to": ["api"], "text": "fyi", "class": "info", "key": "k1" }));
    let again = second.tool("send", json!({ "to": "api", "text": "fyi", "class": "info", "key": "k1" }));
    assert_eq!(sent["id"], again["id"]);
    assert_eq!(sent["deliveries"][0]["to"], "api@default");
    until("both are there", || (api.messages(json!({ "all": true })).len() == 2).then_some(()));
    assert!(api.messages(json!({ "unread": true })).is_empty(), "what was listed was seen");
    let mail = api.messages(json!({}));
    let question = mail.iter().find(|mail| mail["class"] == "request").unwrap();
    assert_eq!(question["from"], "lead@default");
    assert_eq!(question["text"], "which port?\u{fffd}\u{fffd}[31m", "what would hide is shown");
    let acked = api.tool("ack", json!({ "ids": [sent["id"], "nonsense"] }));
    assert_eq!((&acked["acked"][0], acked["refused"].as_object().unwrap().len()), (&sent["id"], 1));
    let mut operator = Host::operator(&world.home);
    operator.tool("send", json!({ "to": ["lead"], "text": "no port", "reply_to": question["id"] }));
    api.tool("reply", json!({ "id": question["id"], "text": "8080" }));
    let answer = given("ask", &lead.answer(asked)["result"]);
    assert_eq!(
        (&answer["answered"], &answer["text"], &answer["stage"]),
        (&true.into(), &"8080".into(), &"answered".into())
    );
    let mail = lead.messages(json!({ "all": true }));
    assert_eq!(mail.iter().find(|mail| mail["text"] == "8080").unwrap()["stage"], "acked", "it is with its asker");
    let waiting = second.begin_tool("send", json!({ "to": ["api"], "text": "read this", "wait": "shown" }));
    until("it is there", || api.messages(json!({})).iter().any(|mail| mail["text"] == "read this").then_some(()));
    let sent = given("send", &second.answer(waiting)["result"]);
    assert_eq!((&sent["reached"], &sent["deliveries"][0]["stage"]), (&true.into(), &"shown".into()));
    assert_eq!(lead.tool("requests", json!({}))["requests"], json!([]));
    assert_eq!(lead.tool("look", json!({ "agent": "api", "lines": 5 }))["agent"], "api@default");
    let wait = |timeout_ms: u64, state: &str| json!({ "agents": ["api"], "for": [state], "timeout_ms": timeout_ms });
    assert_eq!(lead.tool("wait", wait(60_000, "unknown"))["reached"], true);
    assert_eq!(lead.tool("wait", wait(100, "offline"))["reached"], false);
    let late = lead.tool("ask", json!({ "to": "api", "text": "still?", "timeout_ms": 50 }));
    assert_eq!((&late["answered"], &late["stage"]), (&false.into(), &"held".into()));
    let report = world.home.dir.join("report.txt");
    std::fs::write(&report, "all is well").unwrap();
    let sent = lead.tool("send", json!({ "to": ["api", "operator"], "text": "read it", "attach": [report] }));
    assert_eq!(api.messages(json!({})).pop().unwrap()["attached"], json!(["report.txt"]));
    let out = world.home.dir.join("saved.txt");
    world.json(&["msg", "save", sent["id"].as_str().unwrap(), "-o", out.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(out).unwrap(), "all is well");
    let none = lead.refused("send", json!({ "to": ["api"], "text": "x", "attach": ["/no/such/file"] }));
    assert_eq!(none["code"], "bad_args", "{none}");
    // The tools are there, and the server says no.
    let stop = json!({ "agent": "api" });
    for (tool, args, rule) in
        [("stop", stop, "default stop"), ("spawn", json!({ "name": "x", "kind": "shell" }), "default create")]
    {
        let refusal = lead.refused(tool, args);
        assert_eq!((&refusal["code"], &refusal["rule"]), (&"denied".into(), &rule.into()));
    }
    assert_eq!(lead.refused("send", json!({ "to": ["apj"], "text": "x" }))["code"], "not_found");
    assert_eq!(lead.refused("reply", json!({ "id": "nonsense", "text": "x" }))["code"], "not_found");
    assert_ne!(world.agent("api")["state"], "offline");
    // What an agent may not, the operator may.
    let spawned = operator.tool(
        "spawn",
        json!({ "name": "made", "kind": "cmd", "cwd": "/", "args": ["sleep", "1000"], "role": "sleeps" }),
    );
    assert_eq!(spawned["agent"], "made@default");
    let waiting = lead.begin_tool("wait", json!({ "agents": ["made"], "for": ["offline"] }));
    operator.tool("stop", json!({ "agent": "made" }));
    assert_eq!(given("wait", &lead.answer(waiting)["result"])["reached"], true);
    // Until a person gives it to them.
    let may = "[[may]]\nwho = \"lead@default\"\ndo = [\"create\", \"stop\"]\nto = \"team\"\n";
    std::fs::create_dir_all(world.home.dir.join("config")).unwrap();
    std::fs::write(world.home.dir.join("config/policy.toml"), may).unwrap();
    world.json(&["config", "reload"]);
    let spawned = lead.tool("spawn", json!({ "name": "its-own", "kind": "shell", "role": "helps" }));
    assert_eq!(spawned["agent"], "its-own@default");
    lead.tool("stop", json!({ "agent": "its-own" }));
    assert_eq!(lead.tool("wait", json!({ "agents": ["its-own"], "for": ["offline"] }))["reached"], true);
    assert_eq!(lead.refused("stop", json!({ "agent": "lead" }))["rule"], "may 1 of policy.toml");
}

#[test]
fn a_question_that_is_given_up_stays_a_message() {
    let world = World::new();
    let mut lead = agent(&world, "lead", 1).remove(0);
    let mut api = agent(&world, "api", 1).remove(0);
    let id = lead.begin_tool("ask", json!({ "to": "api", "text": "anybody there?" }));
    let mail = until("it is there", || api.messages(json!({})).pop());
    lead.notify("notifications/cancelled", json!({ "requestId": id, "reason": "enough" }));
    assert!(lead.request("ping", json!({}))["result"].is_object());
    api.tool("reply", json!({ "id": mail["id"], "text": "yes" }));
    let answer = until("the answer comes as mail", || lead.messages(json!({})).pop());
    assert_eq!((&answer["text"], &answer["reply_to"]), (&"yes".into(), &mail["id"]));
    while let Some(heard) = lead.hear(Duration::from_millis(100)) {
        assert_ne!(heard["id"], id, "nobody waits for this any more: {heard}");
    }
}

#[test]
fn a_killed_server_is_a_pause() {
    let world = World::new();
    let mut lead = agent(&world, "lead", 1).remove(0);
    let mut api = agent(&world, "api", 1).remove(0);
    world.json(&["new", "end", "--agent", "cmd", "--cwd", "/", "--", "sleep", "1000"]);
    let mut operator = Host::operator(&world.home);
    operator.tool("team", json!({}));
    let asked = lead.begin_tool("ask", json!({ "to": "api", "text": "are you well?" }));
    let question = until("it is there", || api.messages(json!({})).pop());
    let waiting = lead.begin_tool("wait", json!({ "agents": ["end"], "for": ["offline"] }));
    for n in 0..3 {
        let pid = world.pid("pid");
        signals::send(pid, Signal::Kill).unwrap();
        lead.tool("send", json!({ "to": ["api"], "text": format!("after {n}") }));
        assert_eq!(operator.tool("team", json!({}))["you"], "operator");
        assert_ne!(world.pid("pid"), pid);
    }
    let said = api.messages(json!({}));
    let after: Vec<&str> =
        said.iter().filter_map(|mail| mail["text"].as_str()).filter(|t| t.starts_with("after")).collect();
    assert_eq!(after, ["after 0", "after 1", "after 2"], "each once");
    // What was waited for before is waited for still.
    api.tool("reply", json!({ "id": question["id"], "text": "well" }));
    operator.tool("stop", json!({ "agent": "end" }));
    let (mut answers, mut left) = (Vec::new(), vec![asked, waiting]);
    while !left.is_empty() {
        let heard = lead.hear(Duration::from_secs(60)).expect("an answer comes");
        left.retain(|id| heard["id"] != *id);
        answers.push(heard["result"]["structuredContent"].clone());
    }
    assert!(answers.iter().any(|answer| answer["text"] == "well"), "{answers:?}");
    assert!(answers.iter().any(|answer| answer["reached"] == true), "{answers:?}");
}

#[test]
fn a_name_narrows_and_never_widens() {
    let world = World::new();
    world.shell("api");
    let out = world.run(&["mcp", "--agent", "api"]);
    assert_eq!(out.status.code(), Some(4), "the operator is no agent");
    assert!(out.stdout.is_empty() && String::from_utf8_lossy(&out.stderr).contains("operator"));
    let out = world.home.dir.join("codes");
    let d = out.display();
    let script = format!(
        "{BINARY} mcp --agent other </dev/null >/dev/null 2>&1; printf %s $? >{d}.1; \
         {BINARY} mcp --agent self </dev/null >{d}.out 2>&1; printf %s $? >{d}.2; sleep 1000"
    );
    world.json(&["new", "self", "--agent", "cmd", "--cwd", "/", "--", "/bin/sh", "-c", &script]);
    let read = |n: u32| std::fs::read_to_string(format!("{d}.{n}")).ok().filter(|code| !code.is_empty());
    assert_eq!(until("it has ended", || read(1)), "4");
    assert_eq!(until("it has ended", || read(2)), "0");
    assert_eq!(std::fs::read_to_string(format!("{d}.out")).unwrap(), "");
}

const KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A server with a key that the test knows, and the token of an agent.
struct Door {
    _dir: tempfile::TempDir,
    home: Home,
    _srv: Srv,
    port: u16,
    token: String,
}

impl Door {
    fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path(), Path::new(BINARY));
        let srv = home.start(&[("AGENTMUX_AUTH_KEY", KEY)]).unwrap();
        let mut wire = home.connect().unwrap();
        let status = wire.get("status", json!({}));
        let port = status["web_url"].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap();
        let out = home.dir.join("token");
        let script =
            format!("printf %s \"$AGENTMUX_TOKEN\" > {0}.new && mv {0}.new {0}; exec sleep 1000", out.display());
        for (name, argv) in [("worker", ["/bin/sh", "-c", &script]), ("other", ["/bin/sh", "-c", "sleep 1000"])] {
            wire.must("agent.create", json!({ "name": name, "kind": "cmd", "argv": argv, "cwd": "/" }));
            wire.must("agent.mail", json!({ "agent": name, "paused": true }));
        }
        let token = until("the agent has its token", || std::fs::read_to_string(&out).ok());
        Self { _dir: dir, home, _srv: srv, port, token }
    }

    fn post(&self, token: &str, more: &[(&str, &str)], body: &Value) -> (u16, String, Value) {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![
            ("Authorization", bearer.as_str()),
            ("Content-Type", "application/json"),
            ("Accept", "application/json, text/event-stream"),
        ];
        headers.extend(more);
        let (status, head, body) = http(self.port, "POST", "/mcp", &headers, &body.to_string());
        (status, head, serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    fn call(&self, token: &str, name: &str, args: Value) -> Value {
        let params = json!({ "name": name, "arguments": args });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        let (status, _, answer) = self.post(token, &[("MCP-Protocol-Version", "2025-06-18")], &body);
        assert_eq!(status, 200, "{answer}");
        answer["result"].clone()
    }
}

#[test]
fn the_same_tools_over_http_for_whoever_the_credential_is_of() {
    let door = Door::open();
    for version in ["2024-11-05", "2025-03-26", "2025-06-18"] {
        let params =
            json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": { "name": "t", "version": "0" } });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params });
        let (status, _, answer) = door.post(&door.token, &[], &body);
        assert_eq!((status, &answer["result"]["protocolVersion"]), (200, &version.into()), "{answer}");
        assert_eq!(answer["result"]["serverInfo"]["name"], "agentmux");
    }
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
    let (_, _, answer) = door.post(&door.token, &[], &list);
    assert_eq!(answer["result"]["tools"].as_array().unwrap().len(), TOOLS.len());
    assert_eq!(given("team", &door.call(&door.token, "team", json!({})))["you"], "worker@default");
    assert_eq!(given("team", &door.call(KEY, "team", json!({})))["you"], "operator");
    // A path of a caller is nothing here, whatever file of ours has the same.
    let reads = json!({ "to": ["operator"], "text": "x", "attach": ["/etc/hostname"] });
    let refused = door.call(&door.token, "send", reads);
    assert_eq!(refused["structuredContent"]["code"], "unsupported", "{refused}");
    // An agent is itself and may little.
    let sent = given("send", &door.call(&door.token, "send", json!({ "to": ["operator"], "text": "done" })));
    assert_eq!(door.home.connect().unwrap().get("message", json!({ "message": sent["id"] }))["from"], "worker@default");
    let refused = door.call(&door.token, "stop", json!({ "agent": "other" }));
    assert_eq!((&refused["isError"], &refused["structuredContent"]["code"]), (&true.into(), &"denied".into()));
    assert_eq!(door.call(KEY, "inbox", json!({}))["structuredContent"]["messages"][0]["text"], "done");
    let asked = door.call(&door.token, "ask", json!({ "to": "other", "text": "there?", "timeout_ms": 12_000 }));
    assert_eq!(given("ask", &asked)["answered"], false, "longer than a silent connection may stay");
    // Who may not come in.
    assert_eq!(door.post("wrong", &[], &list).0, 401);
    assert_eq!(http(door.port, "POST", "/mcp", &[], &list.to_string()).0, 401);
    assert_eq!(door.post(&door.token, &[("Origin", "http://evil.example")], &list).0, 403);
    assert_eq!(door.post(&door.token, &[("Origin", "null")], &list).0, 403);
    assert_eq!(door.post(&door.token, &[("Host", "evil.example")], &list).0, 403);
    let own = format!("http://localhost:{}", door.port);
    assert_eq!(door.post(&door.token, &[("Origin", &own)], &list).0, 200);
    let huge = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "x": "x".repeat(1024 * 1024) });
    assert_eq!(door.post(&door.token, &[], &huge).0, 413);
    let bearer = format!("Bearer {}", door.token);
    let stream = [("Authorization", bearer.as_str()), ("Accept", "text/event-stream")];
    for method in ["GET", "DELETE"] {
        assert_eq!(http(door.port, method, "/mcp", &stream, "").0, 405, "{method}: there are no sessions");
    }
    let (_, head, _) = door.post(&door.token, &[], &list);
    assert!(head.contains("connection: close"), "an agent keeps no connection: {head}");
}

/// What the official client makes of both doors: it checks every answer against the schema it was promised.
const CLIENT: &str = r#"
const [sdk, binary, url, token] = process.argv.slice(2);
const { Client } = await import(`${sdk}/client/index.js`);
const { StdioClientTransport } = await import(`${sdk}/client/stdio.js`);
const { StreamableHTTPClientTransport } = await import(`${sdk}/client/streamableHttp.js`);
const headers = { Authorization: `Bearer ${token}` };
const doors = {
  stdio: new StdioClientTransport({ command: binary, args: ["mcp"], env: process.env }),
  http: new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }),
};
const said = {};
for (const [door, transport] of Object.entries(doors)) {
  const client = new Client({ name: "test", version: "0" });
  await client.connect(transport);
  const call = (name, args = {}, options) => client.callTool({ name, arguments: args }, undefined, options);
  const { tools } = await client.listTools();
  const sent = await call("send", { to: ["operator", "other"], text: `by ${door}` });
  const results = {
    team: await call("team"),
    send: sent,
    ask: await call("ask", { to: "other", text: "there?", timeout_ms: 50 }),
    inbox: await call("inbox", { all: true }),
    ack: await call("ack", { ids: [sent.structuredContent.id] }),
    reply: await call("reply", { id: sent.structuredContent.id, text: "to myself" }),
    look: await call("look", { agent: "other" }),
    wait: await call("wait", { agents: ["other"], for: ["idle"], timeout_ms: 50 }),
    spawn: await call("spawn", { name: "Not a name", kind: "shell", cwd: "/" }),
    stop: await call("stop", { agent: "nobody" }),
    requests: await call("requests"),
  };
  const stop = new AbortController();
  const waiting = call("ask", { to: "other", text: "too long" }, { signal: stop.signal });
  setTimeout(() => stop.abort("enough"), 50);
  const cancelled = await waiting.then(() => false, () => true);
  const { resources } = await client.listResources();
  const read = await client.readResource({ uri: "agentmux://team" });
  said[door] = {
    server: client.getServerVersion().name, tools: tools.map((tool) => tool.name), results, cancelled,
    resources: resources.length, read: JSON.parse(read.contents[0].text).you,
  };
  await client.close();
}
console.log(JSON.stringify(said));
"#;

#[test]
fn the_official_client_finds_nothing_wrong() {
    let sdk = amux_testkit::model::cli::real_agents_dir()
        .map(|bin| bin.with_file_name("@modelcontextprotocol/sdk/dist/esm"))
        .filter(|sdk| sdk.join("client/index.js").exists());
    let Some(sdk) = sdk else {
        eprintln!("SKIPPED the official MCP client: not installed (cargo xtask test --real-agents)");
        return;
    };
    let door = Door::open();
    let script = door.home.dir.join("client.mjs");
    std::fs::write(&script, CLIENT).unwrap();
    let mut command = Command::new("node");
    // The operator's over stdio, the agent's over HTTP.
    let set: Vec<_> = door.home.command().get_envs().map(|(k, v)| (k.to_owned(), v.unwrap().to_owned())).collect();
    command.env_clear().envs(set).arg(&script).arg(&sdk).arg(BINARY);
    command.arg(format!("http://127.0.0.1:{}/mcp", door.port)).arg(&door.token).stdin(Stdio::null());
    let out = command.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let said: Value = serde_json::from_slice(&out.stdout).unwrap();
    for (way, you) in [("stdio", "operator"), ("http", "worker@default")] {
        let said = &said[way];
        assert_eq!((&said["server"], &said["tools"]), (&"agentmux".into(), &json!(TOOLS)), "{said}");
        assert_eq!((&said["cancelled"], &said["resources"], &said["read"]), (&true.into(), &2.into(), &you.into()));
        for tool in TOOLS {
            let result = &said["results"][tool];
            let own = way == "stdio" || !["ack", "inbox"].contains(&tool);
            let refused = ["spawn", "stop"].contains(&tool) || (tool == "ack" && !own);
            assert_eq!(result["isError"], refused, "{way} {tool}: {result}");
            assert!(result["structuredContent"].is_object(), "{way} {tool}: {result}");
        }
    }
}

#[test]
fn a_host_that_hangs_up_leaves_its_place_and_its_question() {
    let door = Door::open();
    let params = json!({ "name": "ask", "arguments": { "to": "other", "text": "there?" } });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nContent-Length: {}\r\n\r\n",
        door.port,
        door.token,
        body.len()
    );
    let mut wire = door.home.connect().unwrap();
    // More than an agent has places, so that each must have been given back.
    for n in 1..=40 {
        let mut stream = TcpStream::connect(("127.0.0.1", door.port)).unwrap();
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        until("the question is there", || {
            (wire.get("queue", json!({ "agent": "other" })).as_array().unwrap().len() >= n).then_some(())
        });
    }
    let waiting = wire.get("queue", json!({ "agent": "other" })).as_array().unwrap().len();
    assert_eq!(waiting, 40, "each is there once and stays");
}
