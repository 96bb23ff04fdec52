//! What the rest of the house relies on: complete environments, closed descriptors, ended trees, passed descriptors.

use std::ffi::OsString;
use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use amux_sys::spawn::{self, Session, SpawnSpec, Stdio};
use amux_sys::{fdpass, notify, process, pty, socket, stop};

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

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn all(fd: OwnedFd) -> String {
    let mut text = String::new();
    std::fs::File::from(fd).read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_child_has_its_own_environment_and_no_foreign_descriptor() {
    // Held open without close-on-exec, as a careless library would.
    let leaked = rustix::io::dup(std::io::stdin()).unwrap();
    let mut child = spawn::spawn(&spec("sh", &["-c", "env | sort; ls /proc/self/fd"], Stdio::Pipes)).unwrap();
    let text = all(child.stdout.take().unwrap());
    assert!(child.wait().unwrap().success());
    drop(leaked);
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("PWD=") && !line.starts_with('_')).collect();
    let (variables, fds): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| line.contains('='));
    assert!(variables.contains(&"ONLY=this"), "{variables:?}");
    assert!(variables.iter().all(|line| !line.starts_with("HOME=")), "{variables:?}");
    // 3 is the directory `ls` itself reads.
    assert_eq!(fds, ["0", "1", "2", "3"]);
}

#[test]
fn two_thousand_descriptors_arrive_in_order() {
    assert!(process::raise_nofile_limit(16_384) >= 4_096, "the limit of open files is too low to try");
    let dir = tempfile::tempdir().unwrap();
    let fds: Vec<OwnedFd> = (0..2000)
        .map(|n| {
            let path = dir.path().join(n.to_string());
            std::fs::write(&path, n.to_string()).unwrap();
            std::fs::File::open(path).unwrap().into()
        })
        .collect();
    let script = "i=0; while [ $i -lt 2000 ]; do read -r n < /proc/self/fd/$((i+3)) || [ -n \"$n\" ]; \
                  [ \"$n\" = $i ] || echo \"$i is $n\"; i=$((i+1)); done; echo done";
    let mut spec = spec("sh", &["-c", script], Stdio::Pipes);
    spec.pass_fds = fds;
    spec.nofile = Some(16_384);
    let mut child = spawn::spawn(&spec).unwrap();
    assert_eq!(all(child.stdout.take().unwrap()), "done\n");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_thousand_failed_starts_leak_nothing() {
    let before = process::fd_count();
    for _ in 0..1000 {
        let error = spawn::spawn(&spec("/no/such/program", &[], Stdio::Pty { rows: 24, cols: 80 })).unwrap_err();
        assert!(matches!(error, spawn::Error::NotFound(_)) && error.is_final());
    }
    let mut odd = spec("/bin/sh", &[], Stdio::Pipes);
    odd.cwd = "/no/such/dir".into();
    assert!(matches!(spawn::spawn(&odd), Err(spawn::Error::NoDirectory(_))));
    assert!(matches!(spawn::spawn(&spec("/etc/passwd", &[], Stdio::Null)), Err(spawn::Error::NotExecutable(_))));
    assert!(matches!(spawn::spawn(&spec("a\0b", &[], Stdio::Null)), Err(spawn::Error::BadWord)));
    // Other tests of this process open and close descriptors of their own.
    until("the descriptors are back", || (process::fd_count() <= before + 32).then_some(()));
}

#[test]
fn a_terminal_has_its_size_and_ends() {
    let script = "stty size; tty > /dev/null && echo controlled < /dev/tty; read -r line; echo got $line; exit 3";
    let mut child = spawn::spawn(&spec("sh", &["-c", script], Stdio::Pty { rows: 33, cols: 77 })).unwrap();
    let terminal = child.pty.take().unwrap();
    let mut seen = String::new();
    let mut read_until = |wanted: &str| {
        until(wanted, || {
            let mut buffer = [0; 4096];
            if let Ok(count) = pty::read(terminal.as_fd(), &mut buffer) {
                seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
            seen.contains(wanted).then_some(())
        });
    };
    read_until("33 77");
    read_until("controlled");
    pty::write(terminal.as_fd(), b"hello\n").unwrap();
    read_until("got hello");
    assert_eq!(child.wait().unwrap().code(), Some(3));
    let mut buffer = [0; 16];
    until("the end is an end and not an error", || (pty::read(terminal.as_fd(), &mut buffer).ok()? == 0).then_some(()));
}

#[test]
fn a_stopped_tree_is_gone_also_where_it_left_the_session_and_ignores_us() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "trap '' TERM HUP; setsid sh -c 'trap \"\" TERM HUP; echo $$ > {0}/escaped; while :; do sleep 1; done' & \
         (trap '' TERM HUP; while :; do sleep 1; done) & echo ready > {0}/ready; while :; do sleep 1; done",
        dir.path().display()
    );
    let mut spec = spec("sh", &["-c", &script], Stdio::Null);
    let tag = format!("tree-{}", std::process::id());
    spec.env.push(("TEST_TAG".into(), OsString::from(&tag)));
    let mut child = spawn::spawn(&spec).unwrap();
    let escaped = until("the escapee runs", || {
        std::fs::read_to_string(dir.path().join("escaped")).ok()?.trim().parse::<u32>().ok()
    });
    let leader = child.id;
    let reaper = std::thread::spawn(move || child.wait().unwrap());
    let report = stop::stop_tree(&leader, Some(("TEST_TAG", &tag)), Duration::from_millis(200));
    reaper.join().unwrap();
    assert_eq!(report, stop::StopReport { survivors: Vec::new(), escalated: true });
    assert!(process::tagged("TEST_TAG", &tag).is_empty());
    assert!(process::identity(escaped).is_none_or(|found| !process::alive(&found)));
}

#[test]
fn a_tree_that_ends_when_asked_is_not_killed() {
    let mut child = spawn::spawn(&spec("sh", &["-c", "sleep 1000"], Stdio::Null)).unwrap();
    let leader = child.id;
    let reaper = std::thread::spawn(move || child.wait().unwrap());
    let report = stop::stop_tree(&leader, None, Duration::from_secs(5));
    reaper.join().unwrap();
    assert_eq!(report, stop::StopReport { survivors: Vec::new(), escalated: false });
}

#[test]
fn the_other_end_of_the_life_line_is_noticed() {
    let mut child = spawn::spawn(&spec("sh", &["-c", "cat; echo over"], Stdio::Lifeline)).unwrap();
    drop(child.stdin.take());
    assert_eq!(all(child.stdout.take().unwrap()), "over\n");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_manager_gets_words_descriptors_and_the_sender() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify.sock");
    let (manager, _guard) = socket::bind_datagram(&path).unwrap();
    fdpass::want_credentials(&manager).unwrap();
    let notifier = notify::Notifier::from_env_value(Some(path.as_os_str())).unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    notifier.store_fds("a.1", &[file.as_fd(), file.as_fd()]).unwrap();
    let mut buffer = [0; 4096];
    let received = fdpass::recv_with_fds(&manager, &mut buffer).unwrap();
    assert_eq!(&buffer[..received.bytes], b"FDSTORE=1\nFDNAME=a.1\nFDPOLL=0");
    assert_eq!((received.fds.len(), received.pid), (2, Some(std::process::id())));
    notifier.send(&[("STATUS", "two\nlines")]).unwrap();
    let received = fdpass::recv_with_fds(&manager, &mut buffer).unwrap();
    assert_eq!(&buffer[..received.bytes], b"STATUS=two lines");
    assert!(!notify::Notifier::from_env_value(None).unwrap().is_connected());
}

#[test]
fn a_file_is_whole_or_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    amux_sys::disk::write_atomic(&path, b"one", 0o600).unwrap();
    assert!(amux_sys::disk::write_atomic(Path::new("/proc/none/f"), b"x", 0o600).is_err());
    amux_sys::disk::write_atomic(&path, b"two", 0o600).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"two");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}
