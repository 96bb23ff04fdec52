//! `agentmux attach` in a terminal of its own, as a person uses it.

use std::ffi::OsString;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use amux_proto::entity::Size;
use amux_runner::screen::Screen;
use amux_sys::signals::{self, Signal};
use amux_sys::spawn::{self, Child, Session, SpawnSpec, Stdio};
use amux_sys::{poll, process, pty};
use serde_json::json;

use crate::harness::{BINARY, World, until};

/// A person's terminal with a program in it.
pub(crate) struct Person {
    child: Child,
    screen: Screen,
}

impl Person {
    pub(crate) fn new(world: &World, size: Size, program: &str, args: &[&str]) -> Self {
        let command = world.home.command();
        let mut env: Vec<(OsString, OsString)> =
            command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
        env.push(("TERM".into(), "xterm-256color".into()));
        let spec = SpawnSpec {
            program: program.into(),
            args: args.iter().map(Into::into).collect(),
            cwd: world.home.dir.clone(),
            env,
            stdio: Stdio::Pty { rows: size.rows, cols: size.cols },
            session: Session::Own,
            pass_fds: Vec::new(),
            nofile: None,
        };
        Self { child: spawn::spawn(&spec).unwrap(), screen: Screen::live(size) }
    }

    pub(crate) fn attach(world: &World, size: Size, args: &[&str]) -> Self {
        Self::new(world, size, BINARY, &[&["attach"], args].concat())
    }

    /// Looks at the screen until it is so.
    pub(crate) fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut Screen) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_so(&mut self.screen) {
            assert!(Instant::now() < deadline, "never: {what}: {:#?}", self.screen.rows(None, false));
            self.read(Duration::from_millis(20));
        }
    }

    pub(crate) fn sees(&mut self, text: &str) {
        self.until(text, |screen| screen.rows(None, false).join("\n").contains(text));
    }

    fn read(&mut self, patience: Duration) {
        let terminal = self.child.pty.as_ref().unwrap();
        if poll::wait(&[terminal.as_fd()], Some(patience)).unwrap()[0] {
            let mut bytes = [0; 64 * 1024];
            if let Ok(count) = pty::read(terminal.as_fd(), &mut bytes) {
                self.screen.feed(&bytes[..count]);
            }
        }
        // A terminal that asks nobody anything: whatever our program asked, it would get as keys.
        assert_eq!(self.screen.take_answers(), b"", "nobody here is to be asked");
    }

    pub(crate) fn types(&mut self, keys: &str) {
        let mut rest = keys.as_bytes();
        while !rest.is_empty() {
            match pty::write(self.child.pty.as_ref().unwrap().as_fd(), rest) {
                Ok(count) => rest = &rest[count..],
                Err(_) => self.read(Duration::from_millis(10)),
            }
        }
    }

    pub(crate) fn resize(&mut self, size: Size) {
        pty::resize(self.child.pty.as_ref().unwrap().as_fd(), size.rows, size.cols).unwrap();
        self.screen.resize(size);
    }

    pub(crate) fn ends(&mut self) -> i32 {
        let mut status = None;
        until("it ends", || {
            self.read(Duration::from_millis(1));
            status = self.child.try_wait().unwrap();
            status
        });
        self.read(Duration::from_millis(1));
        status.unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

const SIZE: Size = Size { rows: 12, cols: 60 };

/// What `look` shows, colours and all.
fn look(world: &World, agent: &str) -> Vec<String> {
    let look = world.json(&["look", agent, "--ansi"]);
    look["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

/// The two screens are one.
fn shows_the_same(world: &World, person: &mut Person, agent: &str) {
    person.until("both show the same", |screen| screen.rows(None, true) == look(world, agent));
}

#[test]
fn what_is_typed_arrives_what_is_printed_is_seen_and_leaving_leaves_it_running() {
    let world = World::new();
    let pid = world.shell("api");
    world.says("api", "printf '\\033[31mred\\033[0m 日本\\n'", "red 日本");
    // A shell of the person's, which is there before and after.
    let mut person = Person::new(&world, SIZE, "/bin/sh", &[]);
    person.types("echo what was there before; stty -g > new; mv new before\r");
    person.until("the shell has looked", |_| world.home.dir.join("before").exists());
    person.types(&format!("{BINARY} attach api; echo left=$?; stty -g > new; mv new after\r"));
    person.until("it is shown", |screen| screen.rows(None, true).join("").contains("\x1b[0;31mred"));
    shows_the_same(&world, &mut person, "api");
    person.types("echo 4$((1+1))\r");
    person.sees("42");
    person.types("stty size\r");
    person.sees("12 60");
    person.resize(Size { rows: 20, cols: 70 });
    until("the program has the new size", || {
        let look = world.json(&["look", "api"]);
        (look["rows"] == 20 && look["cols"] == 70).then_some(())
    });
    person.types("stty size\r");
    person.sees("20 70");
    shows_the_same(&world, &mut person, "api");
    // The prefix twice is the prefix, which ends a program that reads it.
    person.types("sh -c 'trap \"echo quit=caught; exit\" QUIT; echo wait; while :; do sleep 0.05; done'\r");
    person.sees("\nwait");
    person.types("\x1c\x1c");
    person.sees("quit=caught");
    person.types("\x1cd");
    person.sees("detached from api@default");
    person.sees("left=0");
    person.until("the shell has looked again", |_| world.home.dir.join("after").exists());
    let modes = |name: &str| std::fs::read_to_string(world.home.dir.join(name)).unwrap();
    assert_eq!(modes("before"), modes("after"), "the terminal is as it was");
    assert!(!person.screen.alternate() && !person.screen.bracketed_paste());
    assert_eq!(world.agent("api")["pid"], pid, "the agent does not notice");
}

#[test]
fn of_two_who_look_on_the_one_who_typed_last_says_how_large_it_is() {
    let world = World::new();
    world.shell("api");
    let small = Size { rows: 10, cols: 40 };
    let mut one = Person::attach(&world, SIZE, &["api"]);
    one.types("echo one=$(stty size)\r");
    one.sees("one=12 60");
    let mut two = Person::attach(&world, small, &["api"]);
    two.sees("one=12 60");
    two.types("echo two=$(stty size)\r");
    two.sees("two=10 40");
    one.until("the first is told that it sees another size", |screen| {
        screen.title().is_some_and(|title| title.contains("40x10 shown as 60x12"))
    });
    one.sees("two=10 40");
    one.types("echo again=$(stty size)\r");
    one.sees("again=");
    shows_the_same(&world, &mut one, "api");
    assert_eq!(world.json(&["look", "api"])["cols"], 60);
    // The smaller one sees the part that fits: the rows around the cursor, cut at its width.
    let line = "x".repeat(45);
    one.types(&format!("clear; printf '%s\\n' 1 2 3 4 5 6 7 8 9 {line}y z; exec cat\r"));
    one.sees(&format!("{line}y"));
    two.until("what fits", |screen| {
        let rows = screen.rows(None, false);
        rows.iter().any(|row| *row == "x".repeat(40)) && rows[9].is_empty() && rows[8] == "z" && rows[0] == "3"
    });
    let mut guest = Person::attach(&world, small, &["api", "--read-only"]);
    guest.sees(&"x".repeat(40));
    guest.types("no key of a guest arrives\r");
    guest.types("\x1cd");
    guest.sees("detached from api@default");
    assert_eq!(guest.ends(), 0);
    assert_eq!(world.json(&["look", "api"])["cols"], 60, "a guest changes no size");
    assert!(!look(&world, "api").join("\n").contains("guest"));
}

#[test]
fn a_server_that_dies_is_a_pause() {
    let world = World::new();
    world.shell("api");
    let mut person = Person::attach(&world, SIZE, &["api"]);
    person.types("PS1='% '; clear; i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo n=$i; sleep 0.01; done\r");
    person.sees("n=5");
    let before = world.pid("pid");
    signals::send(before, Signal::Kill).unwrap();
    person.sees("n=300");
    assert_ne!(world.pid("pid"), before);
    shows_the_same(&world, &mut person, "api");
    let lines = world.json(&["look", "api", "--lines", "350"])["lines"].to_string();
    assert!((5..=300).all(|n| lines.contains(&format!("\"n={n}\""))), "every line of it was kept: {lines}");
    world.json(&["server", "restart"]);
    person.types("echo back=$((6*7))\r");
    person.sees("back=42");
    shows_the_same(&world, &mut person, "api");
    // Also while nobody serves it can be left.
    person.types("\x1cd");
    person.sees("detached from api@default");
    assert_eq!(person.ends(), 0);
}

#[test]
fn an_end_is_said_with_how_it_came() {
    let world = World::new();
    world.shell("api");
    let mut person = Person::attach(&world, SIZE, &["api"]);
    person.types("echo last words; exit 7\r");
    person.sees("api@default ended: ");
    let rows = person.screen.rows(None, false);
    assert!(rows.join("\n").contains("last words"), "what it said stays to be read: {rows:#?}");
    assert_eq!(person.ends(), 0);
    // Whoever is ended from outside gives the terminal back as well.
    world.json(&["start", "api"]);
    until("it runs again", || world.agent("api")["pid"].as_u64());
    let mut person = Person::new(&world, SIZE, "/bin/sh", &[]);
    person.types(&format!("{BINARY} attach api; echo left=$?; stty -a | grep icanon\r"));
    let attached = until("it is attached", || {
        person.read(Duration::from_millis(10));
        let below = process::descendants(person.child.id.pid);
        below.iter().find(|it| process::command_line(it.pid).is_some_and(|line| line.contains("attach"))).copied()
    });
    until("the terminal is raw", || {
        person.read(Duration::from_millis(10));
        let out = std::process::Command::new("stty").arg("-F").arg(terminal_of(attached.pid)?).output().ok()?;
        String::from_utf8_lossy(&out.stdout).contains("-icanon").then_some(())
    });
    signals::send(attached.pid, Signal::Term).unwrap();
    person.sees("left=143");
    person.sees("isig icanon");
}

fn terminal_of(pid: u32) -> Option<std::path::PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/fd/0")).ok()
}

#[test]
fn whoever_cannot_attach_is_told_why() {
    let world = World::new();
    world.shell("api");
    let out = world.run(&["attach", "api"]);
    let words = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(2), "{words}");
    assert!(words.contains("attach needs a terminal") && words.contains("agentmux look api"), "{words}");
    world.json(&["new", "lines", "--agent", "ndjson", "--cwd", "/", "--", "/bin/cat"]);
    until("it runs", || world.agent("lines")["pid"].as_u64());
    let mut person = Person::attach(&world, SIZE, &["lines"]);
    person.sees("this agent has no terminal");
    person.sees("agentmux log -f lines@default");
    assert_eq!(person.ends(), 1);
    let mut person = Person::attach(&world, SIZE, &["nobody"]);
    assert_eq!(person.ends(), 7);
    let mut person = Person::attach(&world, SIZE, &["api", "--detach-key", "d"]);
    assert_eq!(person.ends(), 2);
    let mut person = Person::attach(&world, SIZE, &["api", "--detach-key", "C-a q"]);
    person.types("echo 1$((1+1))3\r");
    person.sees("123");
    person.types("\x01q");
    person.sees("detached from api@default");
    assert_eq!(person.ends(), 0);
}

#[test]
fn questions_of_the_program_are_not_answered_twice() {
    let world = World::new();
    world.shell("api");
    let mut person = Person::attach(&world, SIZE, &["api"]);
    // Exactly one answer, and our own terminal is asked nothing: that is asserted wherever it is read.
    person.types(
        "clear; stty raw -echo; printf '\\033[6n'; dd bs=1 count=6 2>/dev/null | od -c; stty sane; echo re''ady\r",
    );
    person.sees("033   [   1   ;   1   R");
    person.sees("ready");
    person.types("echo 4$((1+1))\r");
    person.sees("42");
}

#[test]
fn a_terminal_that_is_not_read_holds_up_nobody() {
    let world = World::new();
    world.shell("api");
    let mut person = Person::attach(&world, SIZE, &["api"]);
    person.types("echo 1$((1+1))3\r");
    person.sees("123");
    let server = world.pid("pid");
    let before = process::rss_bytes(server).unwrap();
    // From here on nobody reads the person's terminal.
    let began = Instant::now();
    for part in 0..4 {
        let prints = format!("yes 'a line of output that says nothing' | head -c 5000000; echo do''ne {part}");
        world.json(&["keys", "api", &prints, "Enter"]);
        until("the program is through", || {
            world.json(&["look", "api"])["lines"].to_string().contains(&format!("done {part}")).then_some(())
        });
    }
    let took = began.elapsed();
    let after = process::rss_bytes(server).unwrap();
    assert!(after < before + 16_000_000, "the server grew from {before} to {after}");
    assert!(process::rss_bytes(person.child.id.pid).unwrap() < 64_000_000, "so did the command");
    eprintln!("20 MB in {took:?}; the server went from {before} to {after} bytes");
    person.sees("done 3");
    shows_the_same(&world, &mut person, "api");
    assert_eq!(json!(world.agent("api")["run"]), 1);
}

#[test]
fn a_long_message_into_a_program_that_echoes_arrives_whole() {
    let world = World::new();
    world.json(&["ls"]);
    let mut wire = world.home.connect().unwrap();
    let got = world.home.dir.join("got");
    // What it reads it prints before it reads on: whoever only writes and does not listen waits for ever.
    let script = format!("stty raw -echo; printf 're''ady'; exec tee '{}'", got.display());
    let argv = ["/bin/sh", "-c", &script];
    wire.must("agent.create", json!({ "name": "echo", "kind": "cmd", "cwd": "/", "argv": argv }));
    until("it reads", || world.answer(&["look", "echo"]).to_string().contains("ready").then_some(()));
    let text = format!("from here{}to there", " and on".repeat(28_000));
    let sent = wire.must("message.send", json!({ "to": ["echo"], "body": text }))["id"].clone();
    let read = || std::fs::read_to_string(&got).unwrap_or_default();
    until("it is entered", || read().ends_with('\r').then_some(()));
    assert!(read() == format!("{text}\r"), "{} of {} bytes", read().len(), text.len());
    let stage = until("the log knows", || {
        let stage = wire.get("message", json!({ "message": sent }))["deliveries"][0]["stage"].clone();
        (stage != "accepted" && stage != "routed").then_some(stage)
    });
    assert!(stage == "handed" || stage == "shown", "{stage}");
}

#[test]
fn a_terminal_of_one_column_is_sent_once() {
    let world = World::new();
    world.json(&["ls"]);
    let mut wire = world.home.connect().unwrap();
    let size = json!({ "rows": 5, "cols": 1 });
    let argv = ["/bin/cat"];
    wire.must("agent.create", json!({ "name": "thin", "kind": "cmd", "cwd": "/", "argv": argv, "size": size }));
    until("it runs", || world.agent("thin")["pid"].as_u64());
    let view = wire.start(json!({ "view": { "agent": "thin" } })).unwrap();
    let mut screens = 0;
    for _ in 0..20 {
        let asked = wire.start(json!({ "get": "status", "args": {} })).unwrap();
        loop {
            let frame = wire.frame().unwrap();
            screens += usize::from(frame["id"] == view && !frame["screen"].is_null());
            if frame["id"] == asked {
                break;
            }
        }
    }
    assert_eq!(screens, 1);
}
