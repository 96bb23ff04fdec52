//! Programs that are run for their answer.

use std::time::{Duration, Instant};

use amux_sys::output::{self, Error, Limit, STDERR_BYTES_MAX, output};
use amux_sys::process;
use amux_sys::spawn::{self, Stdio};

use super::{spec, until};

const LIMIT: Limit = Limit { time: Duration::from_secs(30), stdout_bytes: 1 << 20 };

fn run(script: &str, limit: Limit) -> Result<output::Output, output::Error> {
    output(&spec("sh", &["-c", script], Stdio::Pipes), limit)
}

#[test]
fn a_program_that_fills_both_pipes_is_heard_to_its_end() {
    let script = "i=0; while [ $i -lt 3000 ]; do printf %0100d $i; printf %0100d $i >&2; i=$((i+1)); done; exit 7";
    let output = run(script, LIMIT).unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert_eq!((output.stdout.len(), output.stdout_lost), (300_000, 0));
    assert_eq!(output.stderr_tail.len(), STDERR_BYTES_MAX);
    assert!(output.stderr_tail.ends_with(b"2999"));
}

#[test]
fn what_is_beyond_the_limit_is_counted_and_the_program_ends() {
    let limit = Limit { stdout_bytes: 10, ..LIMIT };
    let output = run("printf 0123456789; printf %0200000d 1", limit).unwrap();
    assert_eq!((output.stdout.as_slice(), output.stdout_lost), (&b"0123456789"[..], 200_000));
    assert!(output.status.success());
}

#[test]
fn a_process_left_behind_with_the_pipes_does_not_hold_us() {
    let begun = Instant::now();
    let output = run("sleep 300 & echo $!; echo said >&2", LIMIT).unwrap();
    assert!(begun.elapsed() < LIMIT.time);
    assert_eq!(output.stderr_tail, b"said\n");
    let left: u32 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    assert!(process::identity(left).is_some(), "it goes on");
    amux_sys::signals::send(left, amux_sys::signals::Signal::Kill).unwrap();
}

#[test]
fn who_is_late_is_stopped_with_all_he_started() {
    let dir = tempfile::tempdir().unwrap();
    let note = dir.path().join("pids");
    let script = format!("sleep 300 & echo $$ $! > '{}'; wait", note.display());
    let error = run(&script, Limit { time: Duration::from_millis(500), ..LIMIT }).unwrap_err();
    assert!(matches!(error, Error::TooLong { .. }), "{error}");
    for pid in std::fs::read_to_string(note).unwrap().split_ascii_whitespace() {
        let pid = pid.parse().unwrap();
        until("the process is gone", || process::identity(pid).is_none_or(|id| !process::alive(&id)).then_some(()));
    }
}

#[test]
fn what_cannot_be_started_is_said() {
    let error = output(&spec("no-such-program", &[], Stdio::Pipes), LIMIT).unwrap_err();
    assert!(matches!(error, Error::Start(spawn::Error::NotFound(_))), "{error}");
}

#[test]
fn a_process_is_found_by_where_it_works() {
    let dir = tempfile::tempdir().unwrap();
    let below = dir.path().join("a b/\u{fc}");
    std::fs::create_dir_all(&below).unwrap();
    let mut spec = spec("sleep", &["300"], Stdio::Null);
    spec.cwd = below;
    let mut child = spawn::spawn(&spec).unwrap();
    assert_eq!(process::working_in(dir.path()).unwrap(), [child.id]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(process::working_in(dir.path()).unwrap(), []);
}
