//! A process of its own for the tests of this crate: what a process does to itself (taking secrets and descriptors,
//! reaping, limits, signals) cannot be tried in the process that runs the tests. The first word says what to do, what
//! it prints is what the test looks at.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use amux_sys::process::{self, ProcessId};
use amux_sys::signals::{Signal, Signals};
use amux_sys::spawn::{self, Session, SpawnSpec, Stdio};
use amux_sys::{detach, fdpass, lock, notify, parent, poll, secret, stop};

fn main() {
    let mut args = std::env::args().skip(1);
    let mut next = || args.next().unwrap_or_default();
    match next().as_str() {
        "secret" => secret(&next()),
        "descriptors" => descriptors(),
        "orphans" => orphans(),
        "failed-starts" => failed_starts(),
        "no-descriptors-left" => no_descriptors_left(),
        "cut-off" => cut_off(),
        "signals" => signals(),
        "watch-parent" => watch_parent(next().parse().expect("a pid")),
        "start-watcher" => start_watcher(),
        "hold-lock" => hold_lock(&next()),
        "stop-foreign" => stop_foreign(next().parse().expect("a pid")),
        "stop-own-tree" => stop_own_tree(),
        "stop-unseen" => stop_unseen(next().parse().expect("a pid")),
        "detached-child" => detached_child(),
        other => panic!("no such role: {other}"),
    }
}

fn say(text: impl std::fmt::Display) {
    println!("{text}");
    std::io::stdout().flush().expect("stdout takes it");
}

fn secret(name: &str) {
    say(secret::take_env(name).unwrap_or_default());
    let environ = std::fs::read("/proc/self/environ").expect("own environment");
    say(String::from_utf8_lossy(&environ).replace('\0', "\n"));
    say(format!("left: {:?}", std::env::var_os(name)));
}

fn descriptors() {
    let var = |name: &str| std::env::var(name).ok();
    let take = || {
        notify::listen_fds(var("LISTEN_FDS").as_deref(), var("LISTEN_FDNAMES").as_deref(), var("LISTEN_PID").as_deref())
    };
    let taken = take();
    // Taken twice they would be closed under whoever has them.
    say(format!("again: {}", take().len()));
    for (name, fd) in taken {
        let flags = rustix::io::fcntl_getfd(&fd).expect("open");
        let mut text = String::new();
        std::fs::File::from(fd).read_to_string(&mut text).expect("readable");
        say(format!("{name}={text} closed on exec: {}", flags.contains(rustix::io::FdFlags::CLOEXEC)));
    }
}

fn sh(script: &str, stdio: Stdio) -> SpawnSpec {
    SpawnSpec {
        program: "/bin/sh".into(),
        args: vec!["-c".into(), script.into()],
        cwd: "/".into(),
        env: vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())],
        stdio,
        session: Session::Own,
        pass_fds: Vec::new(),
        nofile: None,
    }
}

fn orphans() {
    assert!(process::set_subreaper());
    let spec = sh("sh -c 'echo $$; read -r _; exit 7' <&0 & exit 3", Stdio::Pipes);
    let mut child = spawn::spawn(&spec).expect("started");
    let stdin = child.stdin.take();
    let reap = || loop {
        match process::reap_any() {
            Some(reaped) => return reaped,
            None => std::thread::yield_now(),
        }
    };
    let first = reap();
    say(format!("child {} {:?}", first.process == child.id, first.status.code()));
    let mut pid = [0; 16];
    let count = rustix::io::read(child.stdout.as_ref().expect("captured"), &mut pid).expect("read");
    let pid = std::str::from_utf8(&pid[..count]).expect("text").trim().parse().expect("a pid");
    let orphan = process::identity(pid).expect("it waits for its line");
    say(format!("parent of the orphan is us: {}", process::ancestry(pid).first() == Some(&std::process::id())));
    drop(stdin);
    let second = reap();
    say(format!("orphan {} {:?}", second.process == orphan, second.status.code()));
    say(format!("then {}", process::reap_any().is_none()));
}

fn failed_starts() {
    let dir = std::env::temp_dir().join(format!("amux-sys-role-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("made");
    let script = dir.join("script");
    std::fs::write(&script, "#!/no/such/interpreter\n").expect("written");
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
    let before = process::fd_count();
    let stdios = [Stdio::Pipes, Stdio::Lifeline, Stdio::Pty { rows: 2, cols: 2 }, Stdio::LogFile(dir.join("log"))];
    for stdio in stdios.iter().cycle().take(1000) {
        let mut spec = sh("", stdio.clone());
        spec.program = script.clone();
        assert!(matches!(spawn::spawn(&spec), Err(spawn::Error::NoInterpreter(_))));
    }
    assert!(matches!(
        detach::start(&SpawnSpec { program: script, ..sh("", Stdio::Null) }),
        Err(spawn::Error::NoInterpreter(_))
    ));
    let left = process::fd_count() - before;
    say(format!("descriptors: {left}, children: {}", process::descendants(std::process::id()).len()));
    say(format!("to reap: {}", process::reap_any().is_some()));
    let _ = std::fs::remove_dir_all(dir);
}

fn limit_descriptors(more: u64) {
    let limit = process::fd_count() as u64 + more;
    let rlimit = rustix::process::Rlimit { current: Some(limit), maximum: Some(limit) };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, rlimit).expect("lowered");
}

fn no_descriptors_left() {
    limit_descriptors(4);
    let error = spawn::spawn(&sh("", Stdio::Pipes)).expect_err("it needs eight");
    say(format!("{error} final: {}", error.is_final()));
}

fn cut_off() {
    let (ours, theirs) = UnixDatagram::pair().expect("a pair");
    let file = std::fs::File::open("/dev/null").expect("there");
    fdpass::send_with_fds(&ours, b"ten", &[file.as_fd(); 10]).expect("sent");
    limit_descriptors(3);
    let before = process::fd_count();
    let error = fdpass::recv_with_fds(&theirs, &mut [0; 16]).expect_err("there is room for three");
    say(format!("{error}, kept: {}", process::fd_count() - before));
}

fn signals() {
    let signals = Signals::new(&[Signal::Term, Signal::Hup]).expect("taken");
    assert!(Signals::new(&[Signal::Term]).is_err(), "a signal has one reader");
    say("ready");
    loop {
        poll::wait(&[signals.as_fd()], None).expect("waited");
        for signal in signals.read() {
            say(format!("{signal:?}"));
            if signal == Signal::Term {
                // Given back, the next one has its default.
                drop(signals);
                say("given back");
                std::thread::sleep(Duration::from_secs(60));
                return;
            }
        }
    }
}

fn watch_parent(pid: u32) {
    let watch = parent::watch(pid).expect("watched");
    say(format!("watching {}", poll::wait(&[watch.as_fd()], Some(Duration::ZERO)).expect("looked")[0]));
    poll::wait(&[watch.as_fd()], None).expect("waited");
    say("gone");
}

fn start_watcher() {
    let spec = SpawnSpec {
        program: std::env::current_exe().expect("we run"),
        args: ["watch-parent".into(), OsString::from(std::process::id().to_string())].into(),
        ..sh("", Stdio::Inherit)
    };
    let _watcher = spawn::spawn(&spec).expect("started");
    std::thread::sleep(Duration::from_secs(60));
}

fn hold_lock(path: &str) {
    let held = lock::Lock::try_acquire(path.as_ref()).expect("lockable");
    // A child that outlives us must not keep it.
    let child = spawn::spawn(&sh("sleep 60", Stdio::Null)).expect("started");
    say(format!("{} {} {}", held.is_some(), child.id.pid, child.id.start_ticks));
    std::thread::sleep(Duration::from_secs(60));
}

fn stop_foreign(pid: u32) {
    let foreign = process::identity(pid).expect("it runs");
    // SAFETY: a plain system call in a process with one thread.
    assert_eq!(unsafe { libc::setuid(65534) }, 0);
    let report = stop::stop_tree(&foreign, &[], Duration::ZERO);
    say(format!("survivors: {:?}", report.survivors == [foreign]));
}

/// With no descriptor left to look with.
fn stop_unseen(pid: u32) {
    let unseen = process::identity(pid).expect("it runs");
    limit_descriptors(64);
    let all = || std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect::<Vec<_>>();
    let held = all();
    let report = stop::stop_tree(&unseen, &[], Duration::from_millis(20));
    say(format!("survivors: {:?}", report.survivors == [unseen]));
    let again = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        drop(held);
    });
    say(format!("{:?}", stop::stop_tree(&unseen, &[], Duration::from_secs(30))));
    again.join().expect("it let them go");
}

/// We are in the tree that is to be stopped, and so is what we started.
fn stop_own_tree() {
    let spec = sh("sleep 60", Stdio::Null);
    let mut ours = spawn::spawn(&spec).expect("started");
    let sibling =
        spawn::spawn(&SpawnSpec { session: Session::Inherit, ..sh("sleep 60", Stdio::Null) }).expect("started");
    let leader = process::identity(process::parent_pid().expect("started by a test")).expect("it runs");
    let report = stop::stop_tree(&leader, &[("ROLE_TAG", "own".as_ref())], Duration::from_millis(100));
    let alive = |id: &ProcessId| process::alive(id);
    say(format!("{report:?} ours: {} sibling: {}", alive(&ours.id), alive(&sibling.id)));
    ours.kill().expect("killed");
    signals_kill(&sibling.id);
}

fn signals_kill(id: &ProcessId) {
    let _ = amux_sys::signals::send_to(id, Signal::Kill);
}

fn detached_child() {
    let started = detach::start(&sh("exec sleep 60", Stdio::Null)).expect("started");
    let chain = process::ancestry(started.id.pid);
    say(format!(
        "{} {} ours: {} ended: {} to reap: {}",
        started.id.pid,
        started.id.start_ticks,
        chain.contains(&std::process::id()),
        started.has_ended(),
        process::reap_any().is_some(),
    ));
}
