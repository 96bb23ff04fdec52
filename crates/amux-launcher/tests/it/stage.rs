//! One launcher with one state directory, and questions about it that wait for their answer.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use amux_sys::process::{self, ProcessId};
use amux_sys::signals::{self, Signal};
use amux_sys::spawn::{Child, Session, SpawnSpec, Stdio, spawn};
use serde_json::Value;

/// Much longer than anything takes, so that only a broken promise meets it.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Stage {
    dir: tempfile::TempDir,
    launcher: Child,
}

pub(crate) struct Setting<'a> {
    pub(crate) mode: &'a str,
    pub(crate) policy: &'a str,
    pub(crate) env: &'a [(&'a str, &'a str)],
}

impl Default for Setting<'_> {
    fn default() -> Self {
        Self { mode: "detached", policy: "", env: &[] }
    }
}

/// Waits for a fact.
pub(crate) fn until<T>(what: &str, mut fact: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = fact() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

impl Stage {
    pub(crate) fn play(plan: &str) -> Self {
        Self::set(Setting::default(), plan)
    }

    pub(crate) fn set(setting: Setting<'_>, plan: &str) -> Self {
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        let dir = tempfile::Builder::new().permissions(private).tempdir().unwrap();
        let launcher = launch(dir.path(), &setting, plan);
        Self { dir, launcher }
    }

    /// A second launcher on the same directory.
    pub(crate) fn launch_again(&self, plan: &str) -> Child {
        launch(self.path(), &Setting { mode: "second", ..Setting::default() }, plan)
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn launcher(&self) -> u32 {
        self.launcher.id.pid
    }

    pub(crate) fn signal(&self, signal: Signal) {
        signals::send(self.launcher(), signal).unwrap();
    }

    /// What a process of the play left there.
    pub(crate) fn read(&self, file: &str) -> String {
        until(file, || std::fs::read_to_string(self.path().join(file)).ok())
    }

    pub(crate) fn has(&self, file: &str) -> bool {
        self.path().join(file).exists()
    }

    pub(crate) fn make(&self, file: &str) {
        std::fs::write(self.path().join(file), "").unwrap();
    }

    /// The server of the n-th start.
    pub(crate) fn pid(&self, start: u32) -> u32 {
        self.read(&format!("pid.{start}")).parse().unwrap()
    }

    pub(crate) fn agent(&self, name: &str, start: u32) -> ProcessId {
        let pid = self.read(&format!("agent.{name}.{start}")).parse().unwrap();
        process::identity(pid).unwrap()
    }

    /// A variable of the server of the n-th start.
    pub(crate) fn variable(&self, start: u32, name: &str) -> Option<String> {
        let env = self.read(&format!("env.{start}"));
        env.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("logs/srv-stderr.log")).unwrap_or_default()
    }

    pub(crate) fn until_log(&self, part: &str) {
        until(part, || self.log().contains(part).then_some(()));
    }

    pub(crate) fn journal(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path().join("logs/exits.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The classes in the journal, in order.
    pub(crate) fn classes(&self) -> Vec<String> {
        self.journal().iter().map(|line| line["class"].as_str().unwrap().to_owned()).collect()
    }

    /// What the launcher itself wrote on stderr.
    pub(crate) fn stderr(&self) -> String {
        std::fs::read_to_string(self.path().join("launcher.detached")).unwrap_or_default()
    }

    pub(crate) fn launcher_runs(&self) -> bool {
        process::alive(&self.launcher.id)
    }

    /// The launcher ended, and with what.
    pub(crate) fn end(&mut self) -> i32 {
        end(&mut self.launcher)
    }
}

pub(crate) fn end(launcher: &mut Child) -> i32 {
    let status = until("the end of the launcher", || launcher.try_wait().unwrap());
    status.code().unwrap_or_else(|| -status.signal().unwrap())
}

impl Drop for Stage {
    fn drop(&mut self) {
        let mut all = process::descendants(self.launcher());
        all.extend(process::tagged(&[("AGENTMUX_SOCKET", self.path().join("run/srv.sock").as_os_str())]));
        let _ = self.launcher.kill();
        let _ = self.launcher.wait();
        for left in all.iter().filter(|left| process::alive(left)) {
            let _ = signals::send(left.pid, Signal::Kill);
        }
        if std::thread::panicking() {
            eprintln!("--- log\n{}\n--- stderr\n{}", self.log(), self.stderr());
            eprintln!("--- journal\n{:#?}", self.journal());
        }
    }
}

fn launch(dir: &Path, setting: &Setting<'_>, plan: &str) -> Child {
    let mut env = vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())];
    env.extend(setting.env.iter().map(|(name, value)| (name.into(), value.into())));
    let words = ["launcher", dir.to_str().unwrap(), setting.mode, setting.policy, plan];
    spawn(&SpawnSpec {
        program: rehearsal(),
        args: words.map(Into::into).to_vec(),
        cwd: dir.to_owned(),
        env,
        stdio: Stdio::LogFile(dir.join(format!("launcher.{}", setting.mode))),
        session: Session::Own,
        pass_fds: Vec::new(),
        nofile: None,
    })
    .unwrap()
}

/// Cargo builds examples with the tests, beside them.
pub(crate) fn rehearsal() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let path = this.parent().and_then(Path::parent).unwrap().join("examples/rehearsal");
    assert!(path.exists(), "{} is not built: test the whole package", path.display());
    path
}
