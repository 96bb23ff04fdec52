//! An agent in a terminal of ours: what is typed into it, in the order it came, its size, and who has its keyboard.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;

use amux_proto::entity::{Activity, Phase, Size};
use amux_proto::transcript::InputStage;
use amux_proto::{Code, Rejection};
use amux_sys::pour::Channel;
use amux_sys::process::Rest;
use amux_sys::{process, pty};
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::display::{Display, View, at, neutral, one_line};
use crate::front::{LOOK_AFTER, NOT_ENTERED, Watch};
use crate::lines::writable;
use crate::tape::{Poured, Tape};
use crate::{keys, polled};

/// Whoever waits for an answer waits at most this long for a program that takes nothing of what is typed.
const KEYS_TIMEOUT: Duration = Duration::from_secs(2);

/// Several of the largest pastes; who types more into a program that does not read is refused.
const OUTBOX_BYTES_MAX: usize = 1024 * 1024;

/// Output and keys that follow one another this closely are one thing; then it is looked who has the keyboard of a
/// shell, and after `LOOK_AFTER` whether they have ended or not.
const SETTLED_AFTER: Duration = Duration::from_millis(150);

const ENTERED: &str = "it was entered at the prompt";

pub(crate) struct Terminal {
    pub(crate) display: Display,
    pty: AsyncFd<OwnedFd>,
    channel: Channel,
    outbox: Outbox,
    /// The terminal says nothing more; only the end of the process is awaited.
    hung_up: bool,
    /// Who may say how large it is: whoever attached or typed last.
    owner: Option<u64>,
    leader: u32,
    /// Whether the leader is a shell, of which can be seen whether it is at its prompt.
    is_shell: bool,
    /// Entered at the prompt of a shell that has not come back to it yet.
    entered: Option<Vec<String>>,
    look_at: Option<Instant>,
    /// When it printed or was typed into first since it was last looked who has the keyboard.
    unsettled_since: Option<Instant>,
    /// When it took something last. A shell may be about to run that until it was seen at its prompt again.
    took: Option<Instant>,
    /// What the shell had done when it was last seen with the keyboard, and whether it was busy then.
    rest: Option<Rest>,
    was_busy: bool,
    /// Of a program that is no shell, whether it is still the one who reads.
    watch: Option<Watch>,
}

/// What is on its way to the program, in the order it came: keys, what viewers type and messages, each followed by its
/// Enter.
struct Outbox {
    typed: VecDeque<Typed>,
    bytes: usize,
    /// When the program last took something, or somebody began to wait.
    moved: Instant,
}

struct Typed {
    /// What is left of it.
    bytes: VecDeque<u8>,
    awaits: Awaits,
}

/// What its last byte is awaited for.
enum Awaits {
    /// It waits for as long as the program does not read, as in any terminal.
    Nothing,
    /// What the program has asked us. It may need it before it shows what was pasted.
    Answered,
    Reply(oneshot::Sender<Result<(), Rejection>>),
    Paste,
    Enter,
}

impl Awaits {
    /// Whether anybody is told when it was taken, and waits for that only so long.
    fn is_told(&self) -> bool {
        match self {
            Self::Nothing | Self::Answered => false,
            Self::Reply(_) | Self::Paste | Self::Enter => true,
        }
    }
}

impl Outbox {
    fn put(&mut self, bytes: &[u8], awaits: Awaits) {
        self.begins_to_wait(&awaits);
        self.bytes += bytes.len();
        match (self.typed.back_mut(), &awaits) {
            (Some(last @ Typed { awaits: Awaits::Nothing, .. }), Awaits::Nothing) => last.bytes.extend(bytes),
            _ => self.typed.push_back(Typed { bytes: bytes.iter().copied().collect(), awaits }),
        }
    }

    fn begins_to_wait(&mut self, awaits: &Awaits) {
        if awaits.is_told() && self.gives_up_at().is_none() {
            self.moved = Instant::now();
        }
    }

    /// Before whatever came while its message was looked for on the screen.
    fn put_enter(&mut self) {
        self.begins_to_wait(&Awaits::Enter);
        self.bytes += 1;
        self.typed.insert(self.after_answers(0), Typed { bytes: [b'\r'].into(), awaits: Awaits::Enter });
    }

    /// Behind the answers that begin here.
    fn after_answers(&self, from: usize) -> usize {
        from + self.typed.iter().skip(from).take_while(|typed| matches!(typed.awaits, Awaits::Answered)).count()
    }

    /// Not into the middle of a paste, and not behind the keys that wait for its Enter.
    fn put_answer(&mut self, bytes: &[u8], is_pasted: bool) {
        let paste = self.typed.iter().position(|typed| matches!(typed.awaits, Awaits::Paste));
        let at = match paste {
            Some(at) => self.after_answers(at + 1),
            None if is_pasted => self.after_answers(0),
            None => self.typed.len(),
        };
        self.bytes += bytes.len();
        self.typed.insert(at, Typed { bytes: bytes.iter().copied().collect(), awaits: Awaits::Answered });
    }

    fn has_room(&self, bytes: usize) -> Result<(), Rejection> {
        if self.bytes + bytes <= OUTBOX_BYTES_MAX {
            return Ok(());
        }
        Err(Rejection::new(Code::Busy, "the program does not read its keys, and nothing more fits in before them"))
    }

    /// When the wait of those who wait is over.
    fn gives_up_at(&self) -> Option<Instant> {
        let is_awaited = self.typed.iter().any(|typed| typed.awaits.is_told());
        is_awaited.then(|| self.moved + KEYS_TIMEOUT)
    }

    /// Takes out those that somebody waits for; what viewers typed stays.
    fn take_awaited(&mut self) -> Vec<Awaits> {
        let (awaited, left) = self.typed.drain(..).partition::<Vec<_>, _>(|typed| typed.awaits.is_told());
        self.typed = left.into();
        self.bytes = self.typed.iter().map(|typed| typed.bytes.len()).sum();
        awaited.into_iter().map(|typed| typed.awaits).collect()
    }
}

impl Terminal {
    pub(crate) fn new(
        dir: &Path,
        bytes_max: u64,
        (terminal, channel): (OwnedFd, Channel),
        size: Size,
        (leader, is_shell): (u32, bool),
        known: Activity,
    ) -> io::Result<Self> {
        pty::set_nonblocking(terminal.as_fd())?;
        let mut this = Self {
            display: Display::new(dir, bytes_max, size, known)?,
            pty: polled::both(terminal)?,
            channel,
            outbox: Outbox { typed: VecDeque::new(), bytes: 0, moved: Instant::now() },
            hung_up: false,
            owner: None,
            leader,
            is_shell,
            entered: None,
            look_at: None,
            unsettled_since: None,
            took: None,
            rest: None,
            was_busy: false,
            watch: None,
        };
        if is_shell {
            this.display.led_by_shell();
        }
        this.look_soon();
        Ok(this)
    }

    /// A program that was begun with these words, and not a shell.
    pub(crate) fn watch(&mut self, clis: Vec<String>, words: &[String]) {
        let (watch, front) = Watch::begun(clis, words, self.leader);
        let known = self.display.front();
        if known.is_untold() {
            self.display.expects(front);
        } else if known.program.is_none() && known.instead.is_none() {
            // That is how it is with a shell, which this never was.
            self.display.has_front(front);
        }
        self.watch = Some(watch);
        self.look_soon();
    }

    /// Goes on where an earlier server was, also with the message that was on its way. The messages it had in its
    /// hands.
    pub(crate) fn take_up(&mut self) -> HashSet<String> {
        self.display.take_up();
        // What the earlier server had taken from the terminal and not put on the tape was seen by nobody.
        if let Ok(Poured::Bytes(_)) = self.display.tape.drain(&self.channel) {
            tracing::info!(tape = %self.display.tape.dir().display(), "Output was on its way when the server ended.");
        }
        self.feed();
        let taken_up = self.display.take_up_input();
        if let Some(parts) = taken_up.entered {
            self.is_entered(parts);
        }
        taken_up.given
    }

    /// One piece of what happens. It may be dropped at any time: every wait is in the select, nothing is taken before
    /// one ends, and whatever follows from it is done without another.
    pub(crate) async fn step(&mut self) {
        let due = [self.look_at, self.display.awaits_until(), self.outbox.gives_up_at()].into_iter().flatten().min();
        tokio::select! {
            biased;
            poured = pour(&self.pty, &self.channel, &mut self.display.tape), if !self.hung_up => self.heard(poured),
            () = writable(Some(&self.pty)), if self.has_to_write() => {}
            () = at(due) => {}
        }
        // All of it after each of them, so that a program that never pauses delays nothing.
        self.write();
        if self.look_at.is_some_and(|at| at <= Instant::now()) {
            self.look_who_has_the_keyboard();
        }
        if self.display.is_to_enter() {
            self.look_who_is_there();
        }
        if self.display.will_enter() {
            self.outbox.put_enter();
            self.write();
        }
        if self.outbox.gives_up_at().is_some_and(|at| at <= Instant::now()) {
            let late = "the program does not read its keys: some may have arrived";
            self.give_up(&Rejection::new(Code::TimedOut, late));
            self.write();
        }
    }

    /// Before anything is put in or entered: what a message is typed into is the program it is for.
    pub(crate) fn look_who_is_there(&mut self) {
        if self.is_shell && !self.hung_up && *self.display.phase() == Phase::Idle && !self.has_keyboard() {
            // It left its prompt without a sign.
            self.look_soon();
        }
        let Some(watch) = self.watch.as_mut().filter(|_| !self.hung_up) else { return };
        let front = watch.look(self.display.front(), pty::foreground_group(self.pty.get_ref().as_fd()));
        self.display.has_front(front);
        if self.display.is_left() && self.display.is_to_enter() {
            self.display.give_up(NOT_ENTERED);
            self.write();
        }
    }

    fn heard(&mut self, poured: io::Result<Poured>) {
        match poured {
            Ok(Poured::Bytes(_)) => self.feed(),
            Ok(Poured::Lost(_) | Poured::Full) => {}
            Ok(Poured::End) => self.hung_up = true,
            Err(error) => {
                tracing::error!(tape = %self.display.tape.dir().display(), %error, "A terminal cannot be read any more.");
                self.hung_up = true;
            }
        }
    }

    fn feed(&mut self) {
        let answers = self.display.feed();
        if !answers.is_empty() && self.outbox.typed.is_empty() {
            // A program that does not read its answers loses them, as with any terminal whose buffer is full.
            let _ = pty::write(self.pty.get_ref().as_fd(), &answers);
        } else if self.outbox.has_room(answers.len()).is_ok() && !answers.is_empty() {
            self.outbox.put_answer(&answers, self.display.awaits_until().is_some());
        }
        self.look_soon();
    }

    /// Keys would be entered with the message that stands in the composer, and wait for its Enter.
    fn has_to_write(&self) -> bool {
        let is_pasted = self.display.awaits_until().is_some();
        self.outbox.typed.front().is_some_and(|first| !is_pasted || matches!(first.awaits, Awaits::Answered))
    }

    /// As much of what is on its way as the program has room for.
    fn write(&mut self) {
        while self.has_to_write() {
            let Some(first) = self.outbox.typed.front_mut() else { return };
            if first.bytes.is_empty() {
                if let Some(Typed { awaits, .. }) = self.outbox.typed.pop_front() {
                    self.taken(awaits);
                }
                continue;
            }
            match pty::write(self.pty.get_ref().as_fd(), first.bytes.as_slices().0) {
                Ok(0) => return,
                Ok(count) => {
                    first.bytes.drain(..count);
                    self.outbox.bytes -= count;
                    self.outbox.moved = Instant::now();
                    self.took = Some(self.outbox.moved);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    self.give_up(&Rejection::new(Code::Conflict, format!("the terminal takes no keys: {error}")));
                    self.outbox.typed.clear();
                    self.outbox.bytes = 0;
                    return;
                }
            }
        }
    }

    fn taken(&mut self, awaits: Awaits) {
        match awaits {
            Awaits::Nothing | Awaits::Answered => {}
            Awaits::Reply(reply) => drop(reply.send(Ok(()))),
            Awaits::Paste => self.display.pasted(),
            Awaits::Enter => {
                if let Some(parts) = self.display.entered() {
                    self.is_entered(parts);
                }
            }
        }
        self.look_soon();
    }

    /// Nobody waits any longer, and nothing of what was waited for is typed after they were told so.
    fn give_up(&mut self, refusal: &Rejection) {
        for awaits in self.outbox.take_awaited() {
            match awaits {
                Awaits::Nothing | Awaits::Answered => {}
                Awaits::Reply(reply) => drop(reply.send(Err(refusal.clone()))),
                Awaits::Paste | Awaits::Enter => self.display.give_up(&refusal.message),
            }
        }
        self.look_soon();
    }

    fn is_entered(&mut self, parts: Vec<String>) {
        if self.is_shell {
            // A shell at its prompt has read what is entered there.
            self.display.say(&parts, InputStage::Begun, ENTERED);
            self.entered = Some(parts);
        }
    }

    /// Who has the keyboard of a shell says whether it waits for a command, unless the shell itself is busy: it may not
    /// have begun what it was told, or run it without another process.
    fn look_who_has_the_keyboard(&mut self) {
        let now = Instant::now();
        let is_settled = self.look_at.zip(self.unsettled_since).is_none_or(|(at, since)| at < since + LOOK_AFTER);
        (self.look_at, self.unsettled_since) = (None, None);
        self.look_who_is_there();
        if !self.is_shell || self.hung_up {
            return;
        }
        match pty::foreground_group(self.pty.get_ref().as_fd()) {
            Some(group) if group == self.leader => {
                let rest = process::rest(self.leader);
                // Where nothing is told of that, the keyboard is all there is to go by.
                let has_rested = std::mem::replace(&mut self.rest, rest) == rest;
                let is_asleep = rest.is_none_or(|rest| rest.is_asleep);
                let was_busy = std::mem::take(&mut self.was_busy);
                if self.took.is_some_and(|at| now < at + SETTLED_AFTER) {
                    self.look_soon();
                } else if is_asleep && (is_settled || has_rested) {
                    self.took = None;
                    self.display.enters(Phase::Idle, "the shell has the keyboard");
                    if let Some(parts) = self.entered.take() {
                        self.display.say(&parts, InputStage::Ended, "the shell has the keyboard again");
                    }
                } else {
                    // One that draws its prompt anew is busy for a moment.
                    if (was_busy || !is_asleep) && !matches!(self.display.phase(), Phase::Working { .. }) {
                        self.display.enters(Phase::Working { doing: None }, "the shell itself is busy");
                    }
                    self.was_busy = true;
                    self.look_soon();
                }
            }
            Some(group) => {
                let doing = process::command_line(group).map(|line| line.chars().take(120).collect());
                self.display.enters(Phase::Working { doing }, &format!("process {group} has the keyboard"));
            }
            None => {}
        }
    }

    fn has_keyboard(&self) -> bool {
        pty::foreground_group(self.pty.get_ref().as_fd()) == Some(self.leader)
    }

    fn look_soon(&mut self) {
        if self.is_shell {
            let now = Instant::now();
            let since = *self.unsettled_since.get_or_insert(now);
            self.look_at = Some((now + SETTLED_AFTER).min(since + LOOK_AFTER));
        } else if self.watch.is_some() {
            self.look_at.get_or_insert_with(|| Instant::now() + LOOK_AFTER);
        }
    }

    /// For a new viewer, who says how large it is if it comes with a size.
    pub(crate) fn view(&mut self, size: Option<Size>) -> Result<View, Rejection> {
        let viewer = self.display.new_viewer();
        if let Some(size) = size {
            self.owner = Some(viewer);
            self.resize(Some(viewer), size)?;
        }
        Ok(self.display.view(viewer))
    }

    /// From whoever owns the size; others are not heard. `None` is a caller that views nothing and may always.
    pub(crate) fn resize(&mut self, viewer: Option<u64>, size: Size) -> Result<(), Rejection> {
        if viewer.is_some() && viewer != self.owner {
            return Ok(());
        }
        pty::resize(self.pty.get_ref().as_fd(), size.rows, size.cols)
            .map_err(|error| Rejection::new(Code::Conflict, format!("cannot resize: {error}")))?;
        self.display.resize(size);
        Ok(())
    }

    /// Answered when the program's terminal has the last of them.
    pub(crate) fn type_keys(&mut self, keys: &[String], reply: oneshot::Sender<Result<(), Rejection>>) {
        match keys::encode(keys, self.display.screen.application_cursor()) {
            Ok(bytes) => self.type_bytes(&bytes, reply),
            Err(refusal) => drop(reply.send(Err(refusal))),
        }
    }

    pub(crate) fn type_bytes(&mut self, bytes: &[u8], reply: oneshot::Sender<Result<(), Rejection>>) {
        if let Err(refusal) = self.outbox.has_room(bytes.len()) {
            let _ = reply.send(Err(refusal));
            return;
        }
        self.typed(bytes);
        self.outbox.put(bytes, Awaits::Reply(reply));
        self.write();
    }

    fn typed(&mut self, bytes: &[u8]) {
        self.display.typed(bytes);
        if keys::are_pressed(bytes) {
            self.display.hurry();
        }
        self.look_soon();
    }

    /// What a viewer types is taken or refused at once; who has typed it is whose size counts.
    pub(crate) fn typed_by(&mut self, viewer: u64, bytes: &[u8]) -> Result<(), Rejection> {
        self.owner = Some(viewer);
        self.outbox.has_room(bytes.len())?;
        self.typed(bytes);
        self.outbox.put(bytes, Awaits::Nothing);
        self.write();
        Ok(())
    }

    /// Whether a message can be put in now: one at a time, not while a command runs in a shell, and not behind what
    /// the program does not read.
    pub(crate) fn takes_input(&self) -> bool {
        let is_free = !self.is_shell || self.is_at_prompt();
        is_free
            && !self.display.is_left_to_a_shell()
            && !self.display.has_input()
            && self.outbox.typed.is_empty()
            && !self.hung_up
    }

    /// As far as it was looked, and now.
    fn is_at_prompt(&self) -> bool {
        *self.display.phase() == Phase::Idle && self.entered.is_none() && self.took.is_none() && self.has_keyboard()
    }

    /// A message as a paste; Enter follows when it is seen on the screen. Nothing of it goes anywhere unless that can be
    /// noted.
    pub(crate) fn put_in(&mut self, parts: Vec<String>, text: &str) -> io::Result<()> {
        let text = neutral(text);
        let bytes = match self.display.screen.bracketed_paste() {
            true => format!("\x1b[200~{text}\x1b[201~"),
            false => one_line(&text),
        };
        self.display.will_paste(parts, &text)?;
        self.outbox.put(bytes.as_bytes(), Awaits::Paste);
        self.write();
        Ok(())
    }

    /// What the terminal still has when its process has ended.
    pub(crate) fn drain(&mut self, bytes_max: usize) {
        let mut taken = 0;
        while !self.hung_up && taken < bytes_max {
            match self.display.tape.pour_terminal(self.pty.get_ref().as_fd(), &self.channel) {
                Ok(Poured::Bytes(count) | Poured::Lost(count)) => taken += count,
                Ok(Poured::Full | Poured::End) | Err(_) => break,
            }
        }
        self.feed();
        self.display.write_screen();
    }
}

async fn pour(terminal: &AsyncFd<OwnedFd>, channel: &Channel, tape: &mut Tape) -> io::Result<Poured> {
    loop {
        let mut ready = terminal.readable().await?;
        match ready.try_io(|fd| tape.pour_terminal(fd.get_ref().as_fd(), channel)) {
            Ok(poured) => return poured,
            Err(_would_block) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use amux_sys::spawn::{self, Child, Session, SpawnSpec, Stdio};

    use super::*;

    const SIZE: Size = Size { rows: 5, cols: 40 };

    /// A terminal in which this script runs, in a directory of its own.
    fn terminal(script: &str) -> (Terminal, Child, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let spec = SpawnSpec {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), format!("stty raw -echo; printf ready; {script}").into()],
            cwd: dir.path().to_owned(),
            env: vec![("PATH".into(), std::env::var_os("PATH").unwrap())],
            stdio: Stdio::Pty { rows: SIZE.rows, cols: SIZE.cols },
            session: Session::Own,
            pass_fds: Vec::new(),
            nofile: None,
        };
        let mut child = spawn::spawn(&spec).unwrap();
        let pty = (child.pty.take().unwrap(), Channel::new().unwrap());
        let of = (child.id.pid, false);
        let terminal = Terminal::new(dir.path(), 1 << 20, pty, SIZE, of, Activity::default()).unwrap();
        (terminal, child, dir)
    }

    /// Nearly every step is dropped before anything has happened.
    async fn until(terminal: &mut Terminal, mut is_so: impl FnMut(&mut Terminal) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !is_so(terminal) {
            assert!(Instant::now() < deadline, "never: {:?}", terminal.display.screen.rows(None, false));
            let _ = tokio::time::timeout(Duration::from_millis(2), terminal.step()).await;
        }
    }

    fn is_ready(terminal: &mut Terminal) -> bool {
        terminal.display.screen.shows("ready")
    }

    #[tokio::test]
    async fn whatever_is_typed_arrives_in_its_order_however_often_a_step_is_dropped() {
        let (mut terminal, mut child, dir) = terminal("while [ ! -e go ]; do sleep 0.01; done; exec tee got");
        until(&mut terminal, is_ready).await;
        terminal.put_in(vec!["00000000-0000-7000-8000-000000000001".into()], "a message").unwrap();
        // More than the terminal has room for, and Enter does not wait behind it.
        let typed = "x".repeat(300_000);
        terminal.typed_by(1, typed.as_bytes()).unwrap();
        assert!(terminal.display.awaits_until().unwrap() <= Instant::now() + Duration::from_millis(50));
        until(&mut terminal, |terminal| !terminal.display.has_input()).await;
        let (reply, mut answer) = oneshot::channel();
        terminal.type_bytes(b"the end", reply);
        assert!(!terminal.takes_input() && answer.try_recv().is_err());
        std::fs::write(dir.path().join("go"), "").unwrap();
        until(&mut terminal, |_| answer.try_recv().is_ok_and(|answer| answer.is_ok())).await;
        let got = || std::fs::read_to_string(dir.path().join("got")).unwrap_or_default();
        until(&mut terminal, |_| got().ends_with("the end")).await;
        assert!(got() == format!("a message\r{typed}the end"));
        assert!(terminal.takes_input());
        child.kill().unwrap();
    }

    #[test]
    fn what_the_program_has_asked_waits_for_no_enter_and_goes_into_no_paste() {
        let mut outbox = Outbox { typed: VecDeque::new(), bytes: 0, moved: Instant::now() };
        let told = |outbox: &Outbox| {
            let bytes = outbox.typed.iter().flat_map(|typed| typed.bytes.iter().copied()).collect();
            String::from_utf8(bytes).unwrap()
        };
        outbox.put(b"[paste]", Awaits::Paste);
        outbox.put(b"keys", Awaits::Nothing);
        outbox.put_answer(b"1", false);
        outbox.put_answer(b"2", false);
        assert_eq!(told(&outbox), "[paste]12keys");
        outbox.typed.pop_front();
        outbox.put_answer(b"3", true);
        outbox.put_enter();
        assert_eq!(told(&outbox), "123\rkeys");
    }

    #[tokio::test]
    async fn who_types_into_a_program_that_does_not_read_is_refused_and_not_kept_waiting() {
        let (mut terminal, mut child, _dir) = terminal("exec sleep 1000");
        until(&mut terminal, is_ready).await;
        let most = vec![b'x'; OUTBOX_BYTES_MAX];
        terminal.typed_by(1, &most).unwrap();
        assert_eq!(terminal.typed_by(1, &most).unwrap_err().code, Code::Busy);
        let (reply, mut answer) = oneshot::channel();
        terminal.type_bytes(b"keys", reply);
        let mut told = None;
        until(&mut terminal, |_| {
            told = answer.try_recv().ok();
            told.is_some()
        })
        .await;
        assert_eq!(told.unwrap().unwrap_err().code, Code::TimedOut);
        // What was refused is not typed, and what was taken is not lost.
        assert!(terminal.outbox.typed.iter().flat_map(|typed| &typed.bytes).all(|byte| *byte == b'x'));
        assert!(terminal.outbox.bytes > OUTBOX_BYTES_MAX / 2);
        child.kill().unwrap();
    }
}
