//! The real program in a home of its own, and waiting for facts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use amux_sys::process;
use amux_sys::signals::{self, Signal};
use amux_testkit::server::Home;
use serde_json::Value;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_agentmux");

/// The program in a home of its own; whatever it started is gone when this is dropped.
pub(crate) struct World {
    _dir: tempfile::TempDir,
    pub(crate) home: Home,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path(), Path::new(BINARY));
        Self { _dir: dir, home }
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.home.command().args(args).stdin(Stdio::null()).output().unwrap()
    }

    pub(crate) fn code(&self, args: &[&str]) -> i32 {
        self.run(args).status.code().unwrap_or(-1)
    }

    /// The data of a command that must work.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let answer = self.answer(args);
        assert_eq!(answer["ok"], true, "{args:?}: {answer}");
        answer["data"].clone()
    }

    pub(crate) fn answer(&self, args: &[&str]) -> Value {
        let out = self.run(&[&["--json"], args].concat());
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert_eq!(text.trim().lines().count(), 1, "one object: {text} {}", String::from_utf8_lossy(&out.stderr));
        serde_json::from_str(&text).unwrap()
    }

    pub(crate) fn status(&self) -> Value {
        self.json(&["server", "status"])
    }

    pub(crate) fn pid(&self, name: &str) -> u32 {
        u32::try_from(self.status()[name].as_u64().unwrap()).unwrap()
    }

    /// Everything that runs for this world: the servers, launchers and agents that carry its directory.
    pub(crate) fn processes(&self) -> BTreeSet<u32> {
        let state = self.home.state().canonicalize().unwrap_or(self.home.state());
        let state = state.to_string_lossy().into_owned();
        let mine = |pid: &u32| {
            let line = process::command_line(*pid).unwrap_or_default();
            let socket = process::env_var(*pid, "AGENTMUX_SOCKET").unwrap_or_default();
            (line.contains(&state) && line.contains("server")) || socket.to_string_lossy().starts_with(&state)
        };
        let pids =
            std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let lives = |pid: &u32| process::identity(*pid).is_some_and(|found| process::alive(&found));
        pids.filter(mine).filter(lives).collect()
    }

    pub(crate) fn agent(&self, name: &str) -> Value {
        self.json(&["show", name])["agent"].clone()
    }

    pub(crate) fn shell(&self, name: &str) -> u64 {
        self.json(&["new", name, "--agent", "shell", "--cwd", "/"]);
        until("the shell runs", || self.agent(name)["pid"].as_u64())
    }

    /// What a shell runs to say this to the server.
    pub(crate) fn spoken(&self, line: &str) -> String {
        format!("{BINARY} --state-dir {0} --config-dir {0} {line}", self.home.state().display())
    }

    /// A line in the shell of an agent, said by `agentmux`.
    pub(crate) fn as_agent(&self, shell: &str, line: &str) {
        let line = self.spoken(&format!("--no-start {line}"));
        let script = self.home.dir.join("said.sh");
        std::fs::write(&script, line).unwrap();
        self.json(&["keys", shell, &format!("sh {}", script.display()), "Enter"]);
    }

    pub(crate) fn says(&self, name: &str, keys: &str, wanted: &str) {
        self.json(&["keys", name, keys, "Enter"]);
        until(wanted, || self.json(&["look", name])["lines"].to_string().contains(wanted).then_some(()));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.home.state().exists() {
            self.run(&["server", "stop", "-q"]);
        }
        for pid in self.processes() {
            let _ = signals::send(pid, Signal::Kill);
        }
    }
}

/// The program that speaks every dialect as tests need it.
pub(crate) fn fake_agent() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let fake = this.parent().and_then(Path::parent).unwrap().join("examples/fake-agent");
    assert!(fake.exists(), "{} is not built: test the whole package", fake.display());
    fake
}

/// Waits for a fact, not for time.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
