//! A home with fake agents in it, which a test can speak for: what the tests of the message system play with.

use std::fs;
use std::process::{Child, Stdio};

use amux_sys::process;
use amux_sys::signals::{self, Signal};
use amux_testkit::crash_agents;
use amux_testkit::wire::Wire;
use serde_json::{Value, json};

use crate::harness::{World, fake_agent, until};

pub(crate) struct Cast {
    pub(crate) world: World,
}

impl Cast {
    pub(crate) fn new() -> Self {
        let world = World::new();
        fs::create_dir_all(world.home.dir.join("config")).unwrap();
        fs::write(world.home.dir.join("config/agents.toml"), crash_agents::kinds(&fake_agent())).unwrap();
        world.json(&["ls"]);
        Self { world }
    }

    pub(crate) fn wire(&self) -> Wire {
        self.world.home.connect().unwrap()
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        self.world.json(args)
    }

    /// A fake that speaks this dialect and writes down what it reads.
    pub(crate) fn fake(&self, name: &str, mode: &str, flags: &[&str]) -> u32 {
        let oracle = self.world.home.dir.join(name).display().to_string();
        let argv = [&["--oracle", &oracle], flags].concat();
        self.agent(name, &format!("fake-{mode}"), &argv)
    }

    /// One that takes part and costs nothing: it is given no mail, and whatever it says the test says for it.
    pub(crate) fn extra(&self, name: &str) -> u32 {
        let pid = self.agent(name, "cmd", &["sleep", "1000"]);
        self.wire().must("agent.mail", json!({ "agent": name, "paused": true }));
        pid
    }

    pub(crate) fn agent(&self, name: &str, kind: &str, argv: &[&str]) -> u32 {
        self.wire().must("agent.create", json!({ "name": name, "kind": kind, "cwd": "/", "argv": argv }));
        self.pid(name)
    }

    pub(crate) fn pid(&self, name: &str) -> u32 {
        let mut wire = self.wire();
        let look = || wire.get("agent", json!({ "agent": name }))["agent"]["pid"].as_u64();
        u32::try_from(until("it runs", look)).unwrap()
    }

    /// A connection on which this agent speaks.
    pub(crate) fn speaks_as(&self, name: &str) -> Wire {
        drop(self.wire());
        let token = process::env_var(self.pid(name), "AGENTMUX_TOKEN").unwrap();
        let mut wire = Wire::raw(&self.world.home.socket()).unwrap();
        let hello = json!({ "protocol": 1, "client": "testkit", "version": "0", "token": token.to_str() });
        wire.send(&json!({ "hello": hello })).unwrap();
        let welcome = wire.frame().unwrap();
        assert_eq!(welcome["welcome"]["principal"], format!("agent:{name}@default"), "{welcome}");
        wire
    }

    pub(crate) fn send(&self, to: &str, body: &str) -> String {
        id_of(&self.wire().must("message.send", json!({ "to": [to], "body": body })))
    }

    pub(crate) fn delivery(&self, id: &str) -> Value {
        self.wire().get("message", json!({ "message": id }))["deliveries"][0].clone()
    }

    pub(crate) fn stage(&self, id: &str) -> String {
        self.delivery(id)["stage"].as_str().unwrap().to_owned()
    }

    pub(crate) fn reaches(&self, id: &str, stage: &str) {
        until(stage, || (self.stage(id) == stage).then_some(()));
    }

    pub(crate) fn reason(&self, id: &str) -> String {
        self.delivery(id)["reason"].as_str().unwrap_or_default().to_owned()
    }

    /// What a fake has read.
    pub(crate) fn read(&self, name: &str) -> String {
        let read = fs::read(self.world.home.dir.join(format!("{name}.in"))).unwrap_or_default();
        String::from_utf8_lossy(&read).into_owned()
    }

    /// A line for each of a fake's turns.
    pub(crate) fn turns(&self, name: &str) -> String {
        fs::read_to_string(self.world.home.dir.join(format!("{name}.turns"))).unwrap_or_default()
    }

    pub(crate) fn is_on_screen(&self, name: &str, wanted: &str) {
        until(wanted, || self.json(&["look", name])["lines"].to_string().contains(wanted).then_some(()));
    }

    pub(crate) fn begin(&self, args: &[&str]) -> Child {
        let mut command = self.world.home.command();
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// The server is killed, and another one serves.
    pub(crate) fn kill(&self) {
        let pid = self.world.pid("pid");
        let known = process::identity(pid);
        signals::send(pid, Signal::Kill).unwrap();
        until("the server is dead", || known.as_ref().is_none_or(|known| !process::alive(known)).then_some(()));
        drop(self.wire());
    }
}

pub(crate) fn id_of(value: &Value) -> String {
    value["id"].as_str().unwrap_or_else(|| panic!("an id: {value}")).to_owned()
}

/// The numbers that follow this word, in their order.
pub(crate) fn numbers_after(text: &str, word: &str) -> Vec<usize> {
    let digits = |rest: &str| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default().parse().ok();
    text.split(word).skip(1).filter_map(digits).collect()
}
