//! How processes are born: with what they are given and nothing else, or not at all.

use std::ffi::OsString;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;

use amux_sys::signals::{self, Signal};
use amux_sys::spawn::{self, Session, SpawnSpec, Stdio};
use amux_sys::{detach, parent, process, pty, stop};

use super::{all, lines_of, output_of, parse_id, role, spec, until};

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
    // Opened backwards, so that each lies in the place of another.
    let mut fds: Vec<OwnedFd> = (0..2000)
        .rev()
        .map(|n| {
            let path = dir.path().join(n.to_string());
            std::fs::write(&path, n.to_string()).unwrap();
            std::fs::File::open(path).unwrap().into()
        })
        .collect();
    fds.reverse();
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
fn the_other_end_of_the_life_line_is_noticed() {
    let mut child = spawn::spawn(&spec("sh", &["-c", "cat; echo over"], Stdio::Lifeline)).unwrap();
    drop(child.stdin.take());
    assert_eq!(all(child.stdout.take().unwrap()), "over\n");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_thousand_failed_executions_leave_neither_descriptor_nor_child() {
    assert_eq!(output_of(&role(&["failed-starts"])), "descriptors: 0, children: 0\nto reap: false\n");
}

#[test]
fn a_start_that_fails_says_what_was_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let script = |name: &str, text: &str, mode: u32| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let error = |spec: &SpawnSpec| spawn::spawn(spec).unwrap_err();
    let of = |program: &str| error(&spec(program, &[], Stdio::Null)).to_string();
    let orphan = script("orphan", "#!/no/such/interpreter\n", 0o755);
    let plain = script("plain", "text without a first line", 0o755);
    let sealed = script("sealed", "#!/bin/sh\n", 0o644);
    assert_eq!(of("no-such-program"), "program not found: no-such-program");
    assert_eq!(of(&orphan), format!("its interpreter is missing: {orphan}"));
    assert_eq!(of(&plain), format!("not executable: {plain}"));
    assert_eq!(of(&sealed), format!("not executable: {sealed}"));
    assert_eq!(of("/etc"), "not executable: /etc");
    let moved = SpawnSpec { cwd: "/no/such".into(), ..spec("sh", &[], Stdio::Null) };
    assert_eq!(error(&moved).to_string(), "no such directory: /no/such");
    let named = SpawnSpec { env: vec![("A=B".into(), "C".into())], ..spec("/bin/sh", &[], Stdio::Null) };
    assert!(matches!(error(&named), spawn::Error::BadWord));
    let long = SpawnSpec { args: vec![OsString::from("x".repeat(4 << 20))], ..spec("sh", &[], Stdio::Null) };
    assert!(matches!(error(&long), spawn::Error::Limit { .. }) && error(&long).is_final());
    let log = spec("sh", &[], Stdio::LogFile("/no/such/log".into()));
    assert!(matches!(error(&log), spawn::Error::Os { source, .. } if source.to_string().contains("/no/such/log")));
    assert_eq!(output_of(&role(&["no-descriptors-left"])), "no room to start it: /bin/sh final: false\n");
}

#[test]
fn a_failed_execution_is_noticed_and_written_nowhere_whatever_is_passed() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("script");
    std::fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let (mut read, write) = std::io::pipe().unwrap();
    let mut spec = spec(script.to_str().unwrap(), &[], Stdio::Pipes);
    spec.pass_fds = (0..100).map(|_| write.try_clone().unwrap().into()).collect();
    drop(write);
    assert!(matches!(spawn::spawn(&spec), Err(spawn::Error::NoInterpreter(_))));
    drop(spec);
    let mut text = String::new();
    std::io::Read::read_to_string(&mut read, &mut text).unwrap();
    assert_eq!(text, "");
}

#[test]
fn a_program_is_looked_for_where_the_child_would_look() {
    let dir = tempfile::tempdir().unwrap();
    let bin = dir.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::fs::write(bin.join("hello"), "#!/bin/sh\necho hello from $0").unwrap();
    std::fs::set_permissions(bin.join("hello"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut by_name = spec("hello", &[], Stdio::Pipes);
    by_name.env = vec![("PATH".into(), bin.clone().into())];
    assert_eq!(output_of(&by_name), format!("hello from {}\n", bin.join("hello").display()));
    let by_path = SpawnSpec { cwd: dir.path().into(), ..spec("bin/hello", &[], Stdio::Pipes) };
    assert!(output_of(&by_path).starts_with("hello from"));
    let elsewhere = spec("hello", &[], Stdio::Pipes);
    assert!(matches!(spawn::spawn(&elsewhere), Err(spawn::Error::NotFound(_))));
}

#[test]
fn a_child_blocks_and_ignores_no_signal_though_we_do() {
    signals::ignore(Signal::Hup);
    // SAFETY: the set is filled before it is used, and the mask is that of this test's thread.
    unsafe {
        let mut some: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&raw mut some, libc::SIGTERM);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const some, std::ptr::null_mut());
    }
    let status = output_of(&spec("grep", &["-E", "Sig(Blk|Ign)", "/proc/self/status"], Stdio::Pipes));
    assert_eq!(status, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    let ours = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    assert!(ours.contains("SigBlk:\t0000000000004000"), "our own mask is as it was: {ours}");
}

#[test]
fn a_child_has_the_limit_it_was_given() {
    let limited = SpawnSpec { nofile: Some(123), ..spec("sh", &["-c", "ulimit -Sn"], Stdio::Pipes) };
    assert_eq!(output_of(&limited), "123\n");
}

#[test]
fn sessions_and_groups_are_as_asked() {
    let of = |session: Session| {
        let script = "read -r _ _ _ _ group session _ < /proc/self/stat; echo $group $session; read -r _; :";
        let mut child = spawn::spawn(&SpawnSpec { session, ..spec("sh", &["-c", script], Stdio::Pipes) }).unwrap();
        let line = lines_of(&mut child).next().unwrap();
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
        let (group, session) = line.split_once(' ').unwrap();
        (group.parse::<u32>().unwrap(), session.parse::<u32>().unwrap(), child.id.pid)
    };
    let (group, session, pid) = of(Session::Own);
    assert_eq!((group, session), (pid, pid));
    let (group, inherited, pid) = of(Session::Group);
    assert_eq!(group, pid);
    assert_ne!(inherited, pid);
    let (group, session, pid) = of(Session::Inherit);
    assert_eq!(session, inherited);
    assert_ne!(group, pid);
}

#[test]
fn a_terminal_tells_its_new_size_and_who_has_the_keyboard() {
    let script =
        "trap 'stty size' WINCH; echo; stty -a | grep -o -- '-*iutf8'; echo ready; while :; do sleep 0.05; done";
    let mut child = spawn::spawn(&spec("sh", &["-c", script], Stdio::Pty { rows: 5, cols: 5 })).unwrap();
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
    read_until("\niutf8");
    read_until("ready");
    assert_eq!(pty::foreground_group(terminal.as_fd()), Some(child.id.pid));
    pty::resize(terminal.as_fd(), 41, 99).unwrap();
    read_until("41 99");
    stop::stop_tree(&child.id, &[], std::time::Duration::ZERO);
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

#[test]
fn a_log_file_gets_everything_at_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    std::fs::write(&log, "before\n").unwrap();
    let mut child =
        spawn::spawn(&spec("sh", &["-c", "cat; echo out; echo err >&2"], Stdio::LogFile(log.clone()))).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "before\nout\nerr\n");
}

#[test]
fn how_a_child_ended_can_be_asked_again() {
    let mut child = spawn::spawn(&spec("sleep", &["60"], Stdio::Null)).unwrap();
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert_eq!(child.try_wait().unwrap().unwrap().signal(), Some(9));
    child.kill().unwrap();
    assert!(!process::alive(&child.id));
}

#[test]
fn a_secret_is_taken_out_of_sight() {
    let mut taking = role(&["secret", "THE_KEY"]);
    taking.env.push(("THE_KEY".into(), "0123456789".into()));
    let output = output_of(&taking);
    let mut lines = output.lines();
    assert_eq!(lines.next(), Some("0123456789"));
    let rest: Vec<_> = lines.collect();
    assert!(!rest.iter().any(|line| line.contains("0123456789")), "{rest:?}");
    assert!(rest.contains(&"THE_KEY=xxxxxxxxxx") && rest.contains(&"left: None"), "{rest:?}");
}

#[test]
fn handed_descriptors_are_taken_once_with_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let file = |text: &str| -> OwnedFd {
        std::fs::write(dir.path().join(text), text).unwrap();
        std::fs::File::open(dir.path().join(text)).unwrap().into()
    };
    let with = |variables: &[(&str, &str)]| {
        let mut taking = role(&["descriptors"]);
        taking.pass_fds = vec![file("one"), file("two"), file("three")];
        taking.env.extend(variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))));
        output_of(&taking)
    };
    let taken = "again: 0\na=one closed on exec: true\nb=two closed on exec: true\na=three closed on exec: true\n";
    assert_eq!(with(&[("LISTEN_FDS", "3"), ("LISTEN_FDNAMES", "a:b:a")]), taken);
    assert_eq!(with(&[("LISTEN_FDS", "3"), ("LISTEN_FDNAMES", "a:b:a"), ("LISTEN_PID", "1")]), "again: 0\n");
    assert_eq!(with(&[("LISTEN_FDS", "nonsense")]), "again: 0\n");
}

#[test]
fn signals_are_read_once_each_and_given_back() {
    let mut child = spawn::spawn(&role(&["signals"])).unwrap();
    let mut lines = lines_of(&mut child);
    let mut expect = |line: &str| assert_eq!(lines.next().as_deref(), Some(line));
    expect("ready");
    assert!(signals::send(child.id.pid, Signal::Hup).unwrap());
    expect("Hup");
    assert!(signals::send_to(&child.id, Signal::Term).unwrap());
    expect("Term");
    expect("given back");
    assert!(signals::send_group(child.id.pid, Signal::Term).unwrap());
    assert_eq!(child.wait().unwrap().signal(), Some(15));
    assert!(!signals::send_to(&child.id, Signal::Term).unwrap());
    assert!(signals::send(0, Signal::Term).is_err() && signals::send_group(1, Signal::Term).is_err());
}

#[test]
fn the_death_of_a_parent_is_noticed() {
    let mut middle = spawn::spawn(&role(&["start-watcher"])).unwrap();
    let mut lines = lines_of(&mut middle);
    assert_eq!(lines.next().as_deref(), Some("watching false"));
    middle.kill().unwrap();
    assert_eq!(lines.next().as_deref(), Some("gone"));
    middle.wait().unwrap();
}

#[test]
fn a_parent_that_is_gone_before_the_watch_is_noticed_too() {
    let watch = parent::watch(std::process::id()).unwrap();
    assert_eq!(amux_sys::poll::wait(&[watch.as_fd()], None).unwrap(), [true]);
}

#[test]
fn a_detached_program_is_nobodys_child_and_outlives_who_started_it() {
    let line = output_of(&role(&["detached-child"]));
    let (id, rest) = line.split_once(" ours").unwrap();
    let id = parse_id(id);
    assert_eq!(rest, ": false ended: false to reap: false\n");
    assert!(process::alive(&id));
    assert_eq!(stop::stop_tree(&id, &[], std::time::Duration::from_secs(5)).survivors, []);

    let mut missing = spec("/bin/sh", &[], Stdio::Null);
    missing.cwd = "/no/such".into();
    assert!(matches!(detach::start(&missing), Err(spawn::Error::NoDirectory(_))));
}

#[test]
fn a_lock_ends_with_its_holder_and_is_not_its_childrens() {
    use amux_sys::lock::{self, Lock};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let mut holder = spawn::spawn(&role(&["hold-lock", path.to_str().unwrap()])).unwrap();
    let line = lines_of(&mut holder).next().unwrap();
    let child = parse_id(line.strip_prefix("true ").unwrap());
    assert!(Lock::try_acquire(&path).unwrap().is_none());
    assert_eq!((lock::holder(&path), lock::is_held(&path)), (Some(holder.id.pid), Some(true)));
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(process::alive(&child), "what the holder started lives on");
    assert_eq!(lock::is_held(&path), Some(false));
    assert!(Lock::try_acquire(&path).unwrap().is_some());
    stop::stop_tree(&child, &[], std::time::Duration::ZERO);
}

#[test]
fn a_lock_file_that_is_deleted_all_the_time_still_has_one_holder() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let (inside, entered) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while entered.load(Ordering::SeqCst) < 500 {
                    let Some(held) = amux_sys::lock::Lock::try_acquire(&path).unwrap() else { continue };
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two hold it");
                    entered.fetch_add(1, Ordering::SeqCst);
                    std::thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    // From here on others may hold the next file of that name.
                    std::fs::remove_file(&path).unwrap();
                    drop(held);
                }
            });
        }
    });
}

#[test]
fn two_writers_at_once_leave_one_whole_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::thread::scope(|scope| {
        for letter in [b'a', b'b', b'c'] {
            let path: &Path = &path;
            scope.spawn(move || {
                for _ in 0..20 {
                    amux_sys::disk::write_atomic(path, &[letter; 10_000], 0o640).unwrap();
                    let found = std::fs::read(path).unwrap();
                    assert!(found.len() == 10_000 && found.iter().all(|byte| *byte == found[0]));
                }
            });
        }
    });
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}
