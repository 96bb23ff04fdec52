//! What the rest of the house relies on: complete environments, closed descriptors, ended trees, passed descriptors.

mod children;
mod outputs;
mod sockets;
mod trees;

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use amux_sys::process::ProcessId;
use amux_sys::spawn::{self, Child, Session, SpawnSpec, Stdio};

fn spec(program: &str, args: &[&str], stdio: Stdio) -> SpawnSpec {
    SpawnSpec {
        program: program.into(),
        args: args.iter().map(Into::into).collect(),
        cwd: "/".into(),
        env: vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()), ("ONLY".into(), "this".into())],
        stdio,
        session: Session::Own,
        pass_fds: Vec::new(),
        nofile: None,
    }
}

/// `examples/role.rs`, which cargo builds beside the tests.
fn role_program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().and_then(|deps| deps.parent()).unwrap().join("examples/role");
    assert!(program.exists(), "{} is built with the tests", program.display());
    program
}

fn role(args: &[&str]) -> SpawnSpec {
    spec(role_program().to_str().unwrap(), args, Stdio::Pipes)
}

/// Everything a role has to say.
fn output_of(spec: &SpawnSpec) -> String {
    let mut child = spawn::spawn(spec).unwrap();
    drop(child.stdin.take());
    let output = all(child.stdout.take().unwrap());
    let errors = all(child.stderr.take().unwrap());
    assert!(child.wait().unwrap().success(), "{output}{errors}");
    output
}

fn lines_of(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    BufReader::new(std::fs::File::from(child.stdout.take().unwrap())).lines().map(Result::unwrap)
}

fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_within(Duration::from_secs(60), look).unwrap_or_else(|| panic!("never: {what}"))
}

fn until_within<T>(at_most: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + at_most;
    loop {
        let found = look();
        if found.is_some() || Instant::now() >= deadline {
            return found;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn all(fd: OwnedFd) -> String {
    let mut text = String::new();
    std::fs::File::from(fd).read_to_string(&mut text).unwrap();
    text
}

fn parse_id(text: &str) -> ProcessId {
    let (pid, start_ticks) = text.trim().split_once(' ').unwrap();
    ProcessId { pid: pid.parse().unwrap(), start_ticks: start_ticks.parse().unwrap() }
}
