//! The real server process, in a directory of its own, to be killed at will.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::wire::Wire;

/// How long a start may take on a machine that is busy with other tests.
const READY_PATIENCE: Duration = Duration::from_secs(30);

/// Where the server keeps everything.
pub struct Home {
    pub dir: PathBuf,
    pub binary: PathBuf,
}

impl Home {
    pub fn new(dir: &Path, binary: &Path) -> Self {
        Self { dir: dir.to_owned(), binary: binary.to_owned() }
    }

    pub fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    pub fn socket(&self) -> PathBuf {
        self.state().join("run/srv.sock")
    }

    /// `agentmux` with this home and nothing of the caller's.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", &self.dir);
        command.env("AGENTMUX_STATE_DIR", self.state()).env("AGENTMUX_CONFIG_DIR", self.dir.join("config"));
        command.env("SHELL", "/bin/sh").env("AGENTMUX_LOG", "warn").current_dir(&self.dir);
        command
    }

    /// The server alone, without a launcher.
    pub fn start(&self, extra: &[(&str, &str)]) -> io::Result<Srv> {
        let mut command = self.command();
        command.args(["server", "srv"]).envs(extra.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.dir.join("srv-stderr.log"))?;
        command.stderr(log);
        Ok(Srv { child: command.spawn()? })
    }

    /// Connects as soon as it serves.
    pub fn connect(&self) -> io::Result<Wire> {
        let deadline = Instant::now() + READY_PATIENCE;
        loop {
            match Wire::connect(&self.socket()) {
                Ok(wire) => return Ok(wire),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.dir.join("srv-stderr.log")).unwrap_or_default()
    }
}

/// A running server; killed when dropped.
pub struct Srv {
    pub child: Child,
}

impl Srv {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }
}

impl Drop for Srv {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The `agentmux` beside the running program, or the one `AGENTMUX_BIN` names.
pub fn built_binary() -> PathBuf {
    if let Some(named) = std::env::var_os("AGENTMUX_BIN") {
        return named.into();
    }
    let me = std::env::current_exe().expect("a running program has a path");
    let dir = me.parent().expect("a program is in a directory");
    let beside = dir.join("agentmux");
    if beside.exists() { beside } else { dir.parent().unwrap_or(dir).join("agentmux") }
}
