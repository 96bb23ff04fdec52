//! A pane of a real tmux is adopted: nothing is lost, and its user notices nothing.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use amux_agents::tmux::{Command, Control, Paste, Told, Why};
use amux_sys::poll;
use amux_sys::signals::{self, Signal};
use amux_sys::spawn::{self, Child, Session, SpawnSpec, Stdio};
use tempfile::TempDir;

/// A server of its own, which ends with the test.
struct Tmux {
    dir: TempDir,
}

/// `None` where there is no tmux to test against.
fn tmux() -> Option<Tmux> {
    let tmux = Tmux { dir: tempfile::tempdir().unwrap() };
    match spawn::spawn(&tmux.spec(&["-V"], Stdio::Null)) {
        Ok(mut child) => child.wait().unwrap(),
        Err(spawn::Error::NotFound(_)) => {
            eprintln!("There is no tmux here, so nothing is tested.");
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    Some(tmux)
}

impl Tmux {
    fn spec(&self, args: &[&str], stdio: Stdio) -> SpawnSpec {
        let socket = self.path("s");
        let args = ["-S", &socket, "-f", "/dev/null"].into_iter().chain(args.iter().copied());
        SpawnSpec {
            program: "tmux".into(),
            args: args.map(Into::into).collect(),
            cwd: self.dir.path().into(),
            env: [
                ("PATH", "/usr/local/bin:/usr/bin:/bin"),
                ("HOME", self.dir.path().to_str().unwrap()),
                ("TERM", "xterm-256color"),
                ("LC_ALL", "C.UTF-8"),
                ("SHELL", "/bin/sh"),
                ("DISPLAY", ":99"),
            ]
            .map(|(name, value)| (name.into(), value.into()))
            .into(),
            stdio,
            session: Session::Own,
            pass_fds: Vec::new(),
            nofile: None,
        }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn run(&self, args: &[&str]) -> String {
        loop {
            match self.try_run(args) {
                Ok(text) => return text,
                // A client without a session starts a server that ends at once; who meets it in between starts another.
                Err(text) if text.contains("server exited unexpectedly") => {}
                Err(text) => panic!("{args:?}: {text}"),
            }
        }
    }

    fn try_run(&self, args: &[&str]) -> Result<String, String> {
        let mut child = spawn::spawn(&self.spec(args, Stdio::Pipes)).unwrap();
        let mut text = String::new();
        File::from(child.stdout.take().unwrap()).read_to_string(&mut text).unwrap();
        File::from(child.stderr.take().unwrap()).read_to_string(&mut text).unwrap();
        let text = text.trim_end().to_owned();
        if child.wait().unwrap().success() { Ok(text) } else { Err(text) }
    }

    /// A session named `work` whose first pane runs this.
    fn work(&self, script: &str) {
        self.run(&["new-session", "-d", "-s", "work", "-x", "100", "-y", "30", script]);
    }

    fn ask(&self, target: &str, format: &str) -> String {
        self.run(&["display-message", "-p", "-t", target, format])
    }

    /// Somebody attached to `work`, with a terminal of 90x26.
    fn user(&self) -> Child {
        let terminal = Stdio::Pty { rows: 26, cols: 90 };
        let user = spawn::spawn(&self.spec(&["attach-session", "-t", "work"], terminal)).unwrap();
        until("the user is there", || (self.ask("work:", "#{window_width}x#{window_height}") == "90x25").then_some(()));
        user
    }

    fn adopt(&self, target: &str) -> Adopted {
        // Nobody wants to wait for longer.
        let mut control = Control::new(target).pause_after(1);
        let argv = control.argv();
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        let mut child = spawn::spawn(&self.spec(&argv, Stdio::Pipes)).unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap().into(), child.stdout.take().unwrap());
        let begin = control.begin();
        let mut adopted =
            Adopted { control, child, stdin, stdout, read: Vec::new(), foreign: 0, told: VecDeque::new() };
        for line in begin {
            adopted.write(&line);
        }
        adopted
    }

    /// Adopted, and its first screen seen.
    fn adopt_ready(&self, target: &str) -> Adopted {
        let mut adopted = self.adopt(target);
        adopted.until("a screen", |told| matches!(told, Told::Screen(_)));
        adopted
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        if let Ok(mut child) = spawn::spawn(&self.spec(&["kill-server"], Stdio::Null)) {
            let _ = child.wait();
        }
    }
}

struct Adopted {
    control: Control,
    child: Child,
    stdin: File,
    stdout: OwnedFd,
    read: Vec<u8>,
    /// Lines of other panes' output.
    foreign: u32,
    told: VecDeque<Told>,
}

impl Adopted {
    fn write(&mut self, line: &str) {
        // A client that has ended reads nothing more; that is told by its output.
        let _ = self.stdin.write_all(format!("{line}\n").as_bytes());
    }

    fn command(&mut self, command: Command) -> u64 {
        self.write(&command.line);
        command.number
    }

    fn done(&mut self, command: Command) {
        let number = self.command(command);
        self.until("the command is done", |told| match told {
            Told::Failed { command, text } if *command == number => panic!("{text}"),
            Told::Done { command } => *command == number,
            _ => false,
        });
    }

    /// What is told up to and with the first of these.
    fn until(&mut self, what: &str, mut is_it: impl FnMut(&Told) -> bool) -> Vec<Told> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut seen = Vec::new();
        loop {
            while let Some(told) = self.told.pop_front() {
                let found = is_it(&told);
                seen.push(told);
                if found {
                    return seen;
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "never: {what}, but {seen:?}");
            if poll::wait(&[self.stdout.as_fd()], Some(left)).unwrap() == [true] {
                self.hear();
            }
        }
    }

    fn hear(&mut self) {
        let mut buffer = vec![0; 64 * 1024];
        let count = (&File::from(self.stdout.try_clone().unwrap())).read(&mut buffer).unwrap();
        if count == 0 {
            self.told.extend(self.control.ended());
            return;
        }
        self.read.extend(&buffer[..count]);
        while let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.read.drain(..=end).collect();
            self.foreign += u32::from(line.starts_with(b"%extended-output %1 "));
            for told in self.control.hear(&line[..end]) {
                match told {
                    Told::Write(line) => self.write(&line),
                    told => self.told.push_back(told),
                }
            }
        }
    }

    /// All the pane prints until it has printed this.
    fn output_until(&mut self, end: &[u8]) -> Vec<u8> {
        let mut all = Vec::new();
        self.until(&String::from_utf8_lossy(end), |told| {
            if let Told::Output(bytes) = told {
                all.extend(bytes);
            }
            all.windows(end.len()).any(|at| at == end)
        });
        all
    }

    fn gone(&mut self) -> Why {
        let seen = self.until("it is gone", |told| matches!(told, Told::Gone(_)));
        let Some(Told::Gone(why)) = seen.into_iter().last() else { unreachable!() };
        why
    }
}

impl Drop for Adopted {
    fn drop(&mut self) {
        // One that was asked to end would first write all it still has, to a test that reads no more.
        let _ = signals::send_to(&self.child.id, Signal::Kill);
        let _ = self.child.wait();
    }
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn shows(tmux: &Tmux, target: &str, text: &str) {
    until(text, || tmux.run(&["capture-pane", "-p", "-t", target]).contains(text).then_some(()));
}

/// A program that takes every byte as it is and keeps it.
fn raw_reader(tmux: &Tmux, modes: &str) -> String {
    let kept = tmux.path("kept");
    tmux.work(&format!("stty raw -echo; printf '{modes}GO'; exec cat > {kept}"));
    shows(tmux, "work:", "GO");
    kept
}

fn kept(path: &str, bytes: usize) -> Vec<u8> {
    until("all is read", || std::fs::read(path).ok().filter(|kept| kept.len() >= bytes))
}

fn every_byte(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at + at / 256 * 7) as u8).collect()
}

#[test]
fn what_the_pane_prints_arrives_byte_for_byte() {
    let Some(tmux) = tmux() else { return };
    let mut file = every_byte(150_000);
    file.extend(b"%end 1 2 3\n%exit\n\\033 \\ %output %0 x\n");
    std::fs::write(tmux.path("f"), &file).unwrap();
    tmux.work(&format!(
        "stty raw -echo; printf GO; dd bs=1 count=1 2>/dev/null; cat {}; printf '<END>'; cat",
        tmux.path("f")
    ));
    shows(&tmux, "work:", "GO");
    let mut adopted = tmux.adopt_ready("work");
    let enter = adopted.control.enter().unwrap();
    adopted.command(enter);
    let mut output = adopted.output_until(b"<END>");
    assert_eq!(output.remove(0), b'\r');
    output.truncate(output.len() - b"<END>".len());
    assert!(output == file, "{} of {} bytes, or others", output.len(), file.len());
    assert_eq!(adopted.control.unknown(), 0);
}

#[test]
fn a_screen_shows_what_the_pane_shows() {
    let Some(tmux) = tmux() else { return };
    tmux.work(
        "stty raw -echo; printf '\\033[?1049h\\033[2;5Hred \\033[41mé日\\033[0m \\033(0qx\\033(B\
         \\033[3;10r\\033[?25l\\033[?1h\\033[7;9H'; printf '%%end 1 2 3'; printf '\\033]2;a, title\\007'; cat",
    );
    shows(&tmux, "work:", "%end");
    let mut adopted = tmux.adopt("work");
    let seen = adopted.until("a screen", |told| matches!(told, Told::Screen(_)));
    let [Told::Ready { pane: 0, rows: 30, cols: 100, title, pid: Some(_) }, Told::Screen(screen)] = &seen[..] else {
        panic!("{seen:?}")
    };
    assert_eq!(title, "a, title");
    let screen = String::from_utf8_lossy(screen);
    for part in ["\x1b[?1049h", "red ", "é日", "        %end 1 2 3\x1b[8;1H", "\x1b[3;10r", "\x1b[?25l", "\x1b[?1h"] {
        assert!(screen.contains(part), "{part:?} in {screen:?}");
    }
    assert!(screen.ends_with("\x1b[7;19H"), "{screen:?}");
    // Fed to a pane of another tmux it shows the same.
    std::fs::write(tmux.path("screen"), screen.as_bytes()).unwrap();
    let copy = format!("stty raw -echo; cat {}; cat", tmux.path("screen"));
    tmux.run(&["new-session", "-d", "-s", "copy", "-x", "100", "-y", "30", &copy]);
    shows(&tmux, "copy:", "%end");
    let look = |target: &str| {
        let facts =
            "#{alternate_on} #{cursor_x} #{cursor_y} #{cursor_flag} #{scroll_region_upper} #{keypad_cursor_flag}";
        (tmux.run(&["capture-pane", "-p", "-e", "-N", "-t", target]), tmux.ask(target, facts))
    };
    assert_eq!(look("copy:"), look("work:"));
}

#[test]
fn a_paste_of_hostile_bytes_arrives_as_it_is_between_its_marks() {
    let Some(tmux) = tmux() else { return };
    let path = raw_reader(&tmux, "\\033[?2004h");
    let mut adopted = tmux.adopt_ready("work:0.0");
    let mut text = b"\"'`$HOME ${HOME} #{pane_id} #(date) ; kill-server \\; \\ ~ ~root { } % %0 -- -t \\n \\033 \xc3\xa9 \xff\xfe\n".to_vec();
    text.extend(every_byte(3000).iter().filter(|byte| **byte != b'\r'));
    text.extend("lines\n".repeat(200).bytes());
    let paste = adopted.control.paste(&text, Paste::Bracketed).unwrap();
    adopted.done(paste);
    let enter = adopted.control.enter().unwrap();
    adopted.done(enter);
    // Terminals paste a newline as a return; a zero byte cannot be pasted.
    let text: Vec<u8> =
        text.into_iter().filter(|byte| *byte != 0).map(|byte| if byte == b'\n' { b'\r' } else { byte }).collect();
    let wanted = [b"\x1b[200~", &text[..], b"\x1b[201~\r"].concat();
    let kept = kept(&path, wanted.len());
    assert!(kept == wanted, "{}", kept.escape_ascii());
    assert_eq!(tmux.run(&["list-buffers"]), "");
}

#[test]
fn a_paste_is_not_marked_for_a_program_that_did_not_ask() {
    let Some(tmux) = tmux() else { return };
    let path = raw_reader(&tmux, "");
    let mut adopted = tmux.adopt_ready("work");
    for (text, how) in [(&b"one"[..], Paste::Bracketed), (b"-two", Paste::Plain)] {
        let paste = adopted.control.paste(text, how).unwrap();
        adopted.done(paste);
    }
    assert_eq!(kept(&path, 7), b"one-two");
}

#[test]
fn keys_arrive_even_while_the_user_scrolls() {
    let Some(tmux) = tmux() else { return };
    let path = raw_reader(&tmux, "");
    let mut adopted = tmux.adopt_ready("work");
    let keys = [&every_byte(600)[..], b"\0\0\x1b[A\n\r"].concat();
    let command = adopted.control.keys(&keys).unwrap();
    adopted.done(command);
    assert_eq!(kept(&path, keys.len()), keys);
    tmux.run(&["copy-mode", "-t", "work:"]);
    let large = "large ".repeat(20_000);
    let command = adopted.control.keys(large.as_bytes()).unwrap();
    adopted.done(command);
    assert!(kept(&path, keys.len() + large.len())[keys.len()..] == *large.as_bytes());
    assert_eq!(tmux.ask("work:", "#{pane_in_mode}"), "1");
}

#[test]
fn only_our_pane_is_heard_and_the_others_run_on() {
    let Some(tmux) = tmux() else { return };
    tmux.work("cat");
    let other = format!("i=0; while :; do echo noise $i; echo $i > {}; i=$((i+1)); sleep 0.01; done", tmux.path("i"));
    tmux.run(&["split-window", "-d", "-t", "work:", &other]);
    let mut adopted = tmux.adopt_ready("%0");
    let count = || std::fs::read_to_string(tmux.path("i")).ok()?.trim().parse::<u32>().ok();
    let before = until("it counts", count);
    let keys = adopted.control.keys(b"hello\r").unwrap();
    adopted.done(keys);
    until("it counts on", || {
        let keys = adopted.control.keys(b"on\r").unwrap();
        adopted.done(keys);
        count().filter(|now| *now > before + 50)
    });
    let keys = adopted.control.keys(b"bye\r").unwrap();
    adopted.command(keys);
    let output = adopted.output_until(b"bye");
    assert!(!String::from_utf8_lossy(&output).contains("noise"), "{output:?}");
    assert!((1..25).contains(&adopted.foreign), "{} lines of the other pane were sent to us", adopted.foreign);
    assert_eq!(adopted.control.unknown(), 0);
}

#[test]
fn it_stays_our_pane_wherever_the_user_takes_it() {
    let Some(tmux) = tmux() else { return };
    tmux.work("cat");
    tmux.run(&["new-window", "-d", "-t", "work:", "cat"]);
    let mut adopted = tmux.adopt_ready("work:0");
    let says = |adopted: &mut Adopted, word: &str| {
        let keys = adopted.control.keys(format!("{word}\r").as_bytes()).unwrap();
        adopted.command(keys);
        adopted.output_until(word.as_bytes());
    };
    tmux.run(&["rename-session", "-t", "work", "play"]);
    says(&mut adopted, "renamed");
    tmux.run(&["move-window", "-d", "-s", "play:0", "-t", "play:7"]);
    says(&mut adopted, "moved");
    tmux.run(&["join-pane", "-d", "-s", "play:7", "-t", "play:1"]);
    adopted.until("it is smaller", |told| matches!(told, Told::Resized { rows, cols: 100 } if *rows < 30));
    says(&mut adopted, "joined");
    tmux.run(&["break-pane", "-d", "-s", "%0", "-t", "play:9"]);
    adopted.until("it is larger", |told| matches!(told, Told::Resized { rows: 30, cols: 100 }));
    says(&mut adopted, "broken");
    tmux.run(&["new-session", "-d", "-s", "far", "cat"]);
    tmux.run(&["move-window", "-d", "-s", "play:9", "-t", "far:3"]);
    let seen = adopted.until("what it shows there", |told| matches!(told, Told::Screen(_)));
    let Some(Told::Screen(screen)) = seen.last() else { unreachable!() };
    assert!(String::from_utf8_lossy(screen).contains("broken"));
    says(&mut adopted, "abroad");
    assert_eq!(tmux.ask("far:", "#{window_index}"), "0", "the user's windows stay where they are");
    tmux.run(&["kill-session", "-t", "play"]);
    says(&mut adopted, "alone");
    assert_eq!(adopted.control.unknown(), 0);
}

#[test]
fn the_user_notices_nothing() {
    let Some(tmux) = tmux() else { return };
    tmux.work("cat");
    tmux.run(&["new-window", "-t", "work:", "cat"]);
    tmux.run(&["split-window", "-t", "work:1", "cat"]);
    let mut user = tmux.user();
    let sizes = || {
        tmux.run(&[
            "list-windows",
            "-t",
            "work",
            "-F",
            "#{window_index} #{window_width}x#{window_height} #{window_active} #{window_layout}",
        ])
    };
    let everything = || (sizes(), tmux.ask("work:", "#{pane_id}"), tmux.run(&["show-environment", "-t", "work"]));
    let before = everything();
    // Its id names a window the user does not look at.
    let mut adopted = tmux.adopt_ready("%0");
    assert_eq!(everything(), before);
    let keys = adopted.control.keys(b"hello\r").unwrap();
    adopted.command(keys);
    adopted.output_until(b"hello");
    assert_eq!(everything(), before);
    let leave = adopted.control.leave();
    adopted.write(&leave);
    assert_eq!(adopted.gone(), Why::Left);
    assert_eq!(everything(), before);
    // And without a user the windows keep the size they have.
    user.kill().unwrap();
    user.wait().unwrap();
    until("the user has left", || (tmux.run(&["list-clients"]).is_empty()).then_some(()));
    let before = sizes();
    let adopted = tmux.adopt_ready("work");
    assert_eq!(sizes(), before);
    drop(adopted);
}

#[test]
fn a_reader_who_is_late_is_given_the_screen() {
    let Some(tmux) = tmux() else { return };
    tmux.work("stty -echo; head -n1 > /dev/null; line=$(head -c 4000 /dev/zero | tr '\\0' x); while :; do echo flood $line; done");
    let mut adopted = tmux.adopt_ready("work");
    let enter = adopted.control.enter().unwrap();
    adopted.done(enter);
    until("the pause", || {
        // Slower than any program prints.
        std::thread::sleep(Duration::from_millis(200));
        if poll::wait(&[adopted.stdout.as_fd()], Some(Duration::from_secs(1))).unwrap() == [true] {
            adopted.hear();
        } else if let Some(line) = adopted.control.nudge() {
            adopted.write(&line);
        }
        adopted.told.contains(&Told::Paused).then_some(())
    });
    adopted.until("a screen", |told| matches!(told, Told::Screen(screen) if screen.ends_with(b"H")));
    adopted.output_until(b"flood");
    assert_eq!(adopted.control.unknown(), 0);
}

#[test]
fn what_ends_is_gone() {
    let ends: [(&str, &[&str]); 4] = [
        ("the pane of two", &["kill-pane", "-t", "%0"]),
        ("the session", &["kill-session", "-t", "work"]),
        ("the server", &["kill-server"]),
        ("our client", &["detach-client", "-s", "work"]),
    ];
    for (what, end) in ends {
        let Some(tmux) = tmux() else { return };
        tmux.work("cat");
        tmux.run(&["split-window", "-d", "-t", "work:", "cat"]);
        let mut adopted = tmux.adopt_ready("%0");
        tmux.run(end);
        let why = adopted.gone();
        assert_eq!(matches!(why, Why::Closed), what == "the pane of two", "{what}: {why:?}");
        assert_eq!(adopted.control.ended(), None);
    }
}

#[test]
fn a_pane_kept_open_after_its_program_is_gone() {
    let Some(tmux) = tmux() else { return };
    tmux.work("cat");
    tmux.run(&["set-option", "-g", "remain-on-exit", "on"]);
    let mut adopted = tmux.adopt_ready("work");
    let end = adopted.control.keys(b"\x04").unwrap();
    adopted.done(end);
    until("it is dead", || (tmux.ask("%0", "#{pane_dead}") == "1").then_some(()));
    for told in adopted.control.look() {
        if let Told::Write(line) = told {
            adopted.write(&line);
        }
    }
    assert_eq!(adopted.gone(), Why::Closed);
}

#[test]
fn what_is_not_there_is_not_found() {
    let Some(tmux) = tmux() else { return };
    // Without any server.
    let why = tmux.adopt("work").gone();
    assert!(matches!(why, Why::NotFound(_) | Why::Lost(_)), "{why:?}");
    tmux.work("cat");
    for target in ["elsewhere", "%77", "work:9", "elsewhere:1.1"] {
        let why = tmux.adopt(target).gone();
        assert!(matches!(why, Why::NotFound(_)), "{target}: {why:?}");
    }
}
