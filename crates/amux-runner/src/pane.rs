//! An agent in a pane of somebody else's tmux, by way of one control-mode client that lives as long as the run. The
//! client is the process of the run: ending it ends our part and never the pane.
//!
//! What the pane prints goes to the tape as it would from a terminal of ours, and so does each screen that makes good
//! what could not be heard. A server that takes the client over from another does not know what that one had asked. It
//! asks something nobody else could, and listens from that answer on.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;

use amux_agents::tmux::{Command, Control, Paste, Refused, Told, Why};
use amux_proto::entity::{Activity, Phase, Process, Size};
use amux_proto::{Code, Rejection};
use amux_sys::{clock, process, pty};
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::display::{Display, View, at, neutral, one_line};
use crate::front::{LOOK_AFTER, NOT_ENTERED, Watch};
use crate::lines::{Pipes, STDERR_BYTES_MAX, poured, writable};
use crate::tape::{self, Poured, Tape};
use crate::{keys, polled};

/// A line of the protocol carries one piece of output; what is longer is none.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Lines that tmux has not read. Whoever has more is told so.
const OUTBOX_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What is typed while the pane is looked for or a message is put in, which takes a tmux that answers some milliseconds:
/// several of the largest pastes.
const HELD_BYTES_MAX: usize = 1024 * 1024;

/// Whoever waits for what he typed waits at most this long for a pane that is not found.
const HELD_AT_MOST: Duration = Duration::from_secs(2);

/// A tmux that is asked something answers in milliseconds, and a very busy one in a second. Of one that stays silent longer
/// nobody knows whether it lives.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

const SILENT: &str = "tmux does not answer";

/// A busy tmux learns of the end of a program later than we do. One that stays silent about it for a minute has started
/// another program in the pane.
const LOOK_FIRST: Duration = Duration::from_millis(50);
const LOOK_LAST: Duration = Duration::from_secs(30);

pub(crate) struct Pane {
    pub(crate) display: Display,
    control: Control,
    target: String,
    hearing: Hearing,
    stdin: Option<AsyncFd<OwnedFd>>,
    stdout: Option<AsyncFd<OwnedFd>>,
    stderr: Option<AsyncFd<OwnedFd>>,
    complaints: Tape,
    /// On its way to the client.
    outbox: VecDeque<u8>,
    /// A line without its end.
    carry: Vec<u8>,
    block: Box<[u8]>,
    asked: BTreeMap<u64, Asked>,
    /// When tmux said anything last.
    heard: Instant,
    held: Held,
    /// The program of the pane: its end leaves no trace in control mode when the pane is kept open.
    program: Option<AsyncFd<OwnedFd>>,
    /// Who of the pane's terminal reads, found by the program the pane was opened with.
    watch: Watch,
    leader: Option<u32>,
    /// The last that was told to whoever lets clients in.
    led_by: Option<Process>,
    look_at: Option<Instant>,
    /// The program has ended, and tmux is asked until it knows that too: when, and how long after that again.
    looks: Option<(Instant, Duration)>,
    is_ready: bool,
    is_gone: bool,
}

enum Hearing {
    /// The answer to this word is waited for; whatever else is said is for an earlier server.
    Word(String),
    /// The rest of that answer.
    EndOfWord { session: String },
    All {
        /// The pane may have been paused while nobody listened.
        is_taken_up: bool,
    },
}

/// Typed before the pane was found, or found again, and while a message stood in its composer.
#[derive(Default)]
struct Held {
    typed: Vec<(Vec<u8>, Option<Reply>)>,
    /// When the first came whose typist waits.
    awaited_since: Option<Instant>,
}

impl Held {
    fn put(&mut self, bytes: &[u8], reply: Option<Reply>) {
        if reply.is_some() {
            self.awaited_since.get_or_insert_with(Instant::now);
        }
        match (self.typed.last_mut(), &reply) {
            (Some((before, None)), None) => before.extend_from_slice(bytes),
            _ => self.typed.push((bytes.to_vec(), reply)),
        }
    }

    fn has_room_for(&self, bytes: &[u8]) -> Result<(), Rejection> {
        let held: usize = self.typed.iter().map(|(bytes, _)| bytes.len()).sum();
        if held + bytes.len() > HELD_BYTES_MAX {
            return Err(Rejection::new(Code::Busy, "tmux does not take it yet, and more was typed than is kept"));
        }
        Ok(())
    }

    /// What viewers typed stays.
    fn take_awaited(&mut self) -> Vec<Reply> {
        self.awaited_since = None;
        self.typed.extract_if(.., |(_, reply)| reply.is_some()).filter_map(|(_, reply)| reply).collect()
    }
}

type Reply = oneshot::Sender<Result<(), Rejection>>;

/// What hangs on a command.
struct Asked {
    since: Instant,
    what: What,
}

enum What {
    Keys(Reply),
    /// A viewer's keys, for which nobody waits.
    Typed,
    Paste,
    Enter,
}

impl Pane {
    pub(crate) fn new(
        dir: &Path,
        bytes_max: u64,
        (target, pipes): (&str, Pipes),
        size: Size,
        known: Activity,
        watch: Watch,
    ) -> io::Result<Self> {
        let watched = |fd: OwnedFd, writes: bool| {
            pty::set_nonblocking(fd.as_fd())?;
            if writes { polled::writable(fd) } else { polled::readable(fd) }
        };
        Ok(Self {
            display: Display::new(dir, bytes_max, size, known)?,
            control: Control::new(target),
            target: target.to_owned(),
            hearing: Hearing::All { is_taken_up: false },
            stdin: pipes.stdin.map(|fd| watched(fd, true)).transpose()?,
            stdout: Some(watched(pipes.stdout, false)?),
            stderr: Some(watched(pipes.stderr, false)?),
            complaints: Tape::open(dir.to_owned(), tape::ERR, Some(STDERR_BYTES_MAX))?,
            outbox: VecDeque::new(),
            carry: Vec::new(),
            block: vec![0; 64 * 1024].into_boxed_slice(),
            asked: BTreeMap::new(),
            heard: Instant::now(),
            held: Held::default(),
            program: None,
            watch,
            leader: None,
            led_by: None,
            look_at: None,
            looks: None,
            is_ready: false,
            is_gone: false,
        })
    }

    /// Whether something else leads it than was last asked here.
    pub(crate) fn is_led_anew(&mut self) -> bool {
        let leader = self.display.leader();
        std::mem::replace(&mut self.led_by, leader) != leader
    }

    /// Speaks to a client that was started for us.
    pub(crate) fn open(&mut self) {
        self.display.put(Phase::Opening, "its pane is looked for");
        self.begin();
    }

    fn begin(&mut self) {
        for line in self.control.begin() {
            self.send(&line);
        }
    }

    /// Speaks to a client that an earlier server spoke to, and goes on with the message that was on its way. The
    /// messages that one had in its hands.
    pub(crate) fn take_up(&mut self) -> HashSet<String> {
        self.display.take_up();
        // What the program said of itself was dealt with then.
        self.display.screen.take_signs();
        let word: String = clock::random_bytes::<16>().iter().map(|byte| format!("{byte:02x}")).collect();
        // The blank ends a line that was written in part. An empty one would mean to detach.
        self.send(" ");
        self.send(&format!("display-message -p '{word} #{{session_id}}'"));
        self.hearing = Hearing::Word(word);
        self.display.take_up_input().given
    }

    /// One piece of what happens. It may be dropped at any time: every wait is in the select, nothing is taken before
    /// one ends, and whatever follows from it is done without another.
    pub(crate) async fn step(&mut self) {
        let due = [self.display.awaits_until(), self.look_at].into_iter().flatten().filter(|_| self.is_ready);
        let due = due.chain(self.gives_up_at()).chain(self.is_unanswered_at()).chain(self.is_silent_at()).min();
        tokio::select! {
            biased;
            heard = read(self.stdout.as_ref(), &mut self.block), if self.stdout.is_some() => self.read(heard),
            taken = poured(self.stderr.as_ref(), |fd| self.complaints.pour_or_lose(fd)), if self.stderr.is_some() => match taken {
                Ok(Poured::Bytes(_) | Poured::Lost(_) | Poured::Full) => {}
                Ok(Poured::End) | Err(_) => self.stderr = None,
            },
            () = writable(self.stdin.as_ref()), if self.stdin.is_some() && !self.outbox.is_empty() => {}
            () = ended(self.program.as_ref()), if self.program.is_some() => {
                self.program = None;
                self.looks = Some((Instant::now(), LOOK_FIRST));
            }
            () = at(self.looks.map(|(when, _)| when)) => {
                self.looks = self.looks.filter(|(_, pause)| *pause < LOOK_LAST).map(|(_, pause)| (Instant::now() + pause, pause * 2));
                let told = self.control.look();
                self.take(told);
            }
            () = at(due) => {}
        }
        // All of it after each of them, so that a pane that never pauses delays nothing.
        self.write();
        if self.is_silent_at().is_some_and(|at| at <= Instant::now()) {
            self.display.falls_silent(SILENT);
        }
        while let Some(reply) = self.take_unanswered() {
            let late = "tmux does not answer; whether this was typed is not known";
            let _ = reply.send(Err(Rejection::new(Code::TimedOut, late)));
        }
        if self.look_at.is_some_and(|at| at <= Instant::now()) || (self.is_ready && self.display.is_to_enter()) {
            self.look_who_is_there();
        }
        // Before the pane is found again nothing can be entered.
        if self.is_ready && self.display.will_enter() {
            match self.order(Control::enter) {
                Ok(command) => self.awaits(command, What::Enter),
                Err(refusal) => self.display.give_up(&refusal.message),
            }
        }
        self.release();
        if self.gives_up_at().is_some_and(|at| at <= Instant::now()) {
            let late = match self.is_ready {
                true => "tmux does not take the message before it; nothing was typed",
                false => "tmux does not say where the pane is; nothing was typed",
            };
            for reply in self.held.take_awaited() {
                let _ = reply.send(Err(Rejection::new(Code::TimedOut, late)));
            }
        }
    }

    /// When whoever waits for what is held has waited long enough.
    fn gives_up_at(&self) -> Option<Instant> {
        let patience = if self.is_ready { ANSWERED_WITHIN } else { HELD_AT_MOST };
        self.held.awaited_since.map(|since| since + patience)
    }

    /// Types what was held, once nothing holds it any more.
    fn release(&mut self) {
        if self.holds_keys() {
            return;
        }
        for (bytes, reply) in std::mem::take(&mut self.held).typed {
            match reply {
                Some(reply) => self.type_bytes(&bytes, reply),
                None => {
                    if let Err(refusal) = self.typed(&bytes) {
                        tracing::warn!(%refusal, "What was typed while it was held is lost.");
                    }
                }
            }
        }
    }

    /// Before anything is put in or entered: what a message is typed into is the program it is for.
    pub(crate) fn look_who_is_there(&mut self) {
        self.look_at = None;
        let Some(leader) = self.leader.filter(|_| self.is_ready && !self.is_gone) else { return };
        if !self.display.is_led_by(leader)
            && let Some(leader) = leads(leader)
        {
            self.display.put_leader(leader);
        }
        let front = self.watch.look(self.display.front(), process::foreground_group(leader));
        self.display.has_front(front);
        if self.display.is_left() && self.display.is_to_enter() {
            self.display.give_up(NOT_ENTERED);
            self.release();
        }
    }

    fn read(&mut self, heard: io::Result<usize>) {
        match heard {
            Ok(count @ 1..) => {
                let bytes = self.block[..count].to_vec();
                self.hear(&bytes);
            }
            Ok(0) | Err(_) => {
                self.stdout = None;
                let told = self.control.ended();
                self.take(told.into_iter().collect());
            }
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        let mut lines = bytes.split(|byte| *byte == b'\n');
        let rest = lines.next_back().unwrap_or_default();
        for line in lines {
            self.carry.extend_from_slice(line);
            let line = std::mem::take(&mut self.carry);
            self.hear_line(&line);
        }
        if self.carry.len() + rest.len() > LINE_BYTES_MAX {
            self.carry.clear();
        }
        self.carry.extend_from_slice(rest);
        // tmux answers its programs itself.
        self.display.feed();
    }

    fn hear_line(&mut self, line: &[u8]) {
        match &self.hearing {
            Hearing::All { .. } => {
                self.heard = Instant::now();
                self.display.is_heard();
                let told = self.control.hear(line);
                self.take(told);
            }
            Hearing::Word(word) => {
                if let Some(session) = line.strip_prefix(word.as_bytes()) {
                    let session = String::from_utf8_lossy(session).trim().to_owned();
                    self.hearing = Hearing::EndOfWord { session };
                } else if line.starts_with(b"%exit") {
                    let told = self.control.hear(line);
                    self.take(told);
                }
            }
            Hearing::EndOfWord { session } => {
                if line.starts_with(b"%end ") {
                    // What the client was told when it attached.
                    let told = self.control.hear(format!("%session-changed {session} -").as_bytes());
                    self.hearing = Hearing::All { is_taken_up: true };
                    self.take(told);
                    self.begin();
                }
            }
        }
    }

    fn take(&mut self, told: Vec<Told>) {
        for told in told {
            match told {
                Told::Write(line) => self.send(&line),
                Told::Ready { pane, rows, cols, title: _, pid } => self.ready(pane, Size { rows, cols }, pid),
                Told::Screen(bytes) | Told::Output(bytes) => {
                    self.display.tape.append(&bytes);
                    self.look_at.get_or_insert_with(|| Instant::now() + LOOK_AFTER);
                }
                Told::Program { pid } => self.has_program(pid),
                Told::Resized { rows, cols } => self.resize(Size { rows, cols }),
                Told::Paused => tracing::info!(pane = %self.target, "Output of a pane was not heard in time."),
                Told::Done { command } => self.done(command),
                Told::Failed { command, text } => self.failed(command, &text),
                Told::Gone(why) => self.gone(&why),
            }
        }
    }

    fn ready(&mut self, pane: u32, size: Size, pid: Option<u32>) {
        self.is_ready = true;
        self.resize(size);
        self.display.put(Phase::Untold, &format!("it is pane %{pane} of tmux"));
        // Its screen follows.
        self.display.await_anew();
        self.has_program(pid);
        self.release();
        if let Hearing::All { is_taken_up } = &mut self.hearing
            && std::mem::take(is_taken_up)
        {
            let told = self.control.hear(format!("%pause %{pane}").as_bytes());
            self.take(told);
        }
    }

    fn has_program(&mut self, pid: Option<u32>) {
        self.leader = pid;
        self.program = pid.and_then(process::pidfd_open).and_then(|pidfd| polled::readable(pidfd).ok());
        if pid.is_some() && self.program.is_none() {
            self.looks = Some((Instant::now(), LOOK_FIRST));
        }
        self.look_who_is_there();
        if let Some(leader) = pid.filter(|pid| !self.display.is_led_by(*pid)) {
            tracing::warn!(pane = %self.target, leader, "What leads a pane leads no terminal here, so nobody is known by it.");
        }
    }

    fn resize(&mut self, size: Size) {
        // What was printed for the other size is shown in it.
        self.display.feed();
        self.display.resize(size);
    }

    fn gone(&mut self, why: &Why) {
        (self.is_gone, self.looks) = (true, None);
        let words = match why {
            Why::NotFound(text) => format!("there is no such pane: {} ({text})", self.target),
            Why::Closed => "the pane was closed, or its program has ended".to_owned(),
            Why::Left => "it was left".to_owned(),
            Why::Lost(text) => match self.complaint() {
                Some(complaint) if !self.is_ready => complaint,
                _ => text.clone(),
            },
        };
        self.display.feed();
        // One that was never found is not to look like one in which nothing happens.
        let is_found = *self.display.phase() != Phase::Opening;
        self.display.put(if is_found { Phase::Untold } else { Phase::Opening }, &words);
        let refusal = Rejection::new(Code::Conflict, words.clone());
        for asked in std::mem::take(&mut self.asked).into_values() {
            self.refuse(asked, &refusal);
        }
        for reply in std::mem::take(&mut self.held).take_awaited() {
            let _ = reply.send(Err(refusal.clone()));
        }
        self.display.give_up(&words);
        // A client may outlive the pane; nothing keeps it.
        let line = self.control.leave();
        self.send(&line);
    }

    fn complaint(&mut self) -> Option<String> {
        if let Some(stderr) = &self.stderr {
            let _ = self.complaints.pour_or_lose(stderr.get_ref().as_fd());
        }
        let tail = tape::tail(self.complaints.dir(), tape::ERR, 4096).ok()?.1;
        let text = String::from_utf8_lossy(&tail).into_owned();
        text.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
    }

    fn awaits(&mut self, command: u64, what: What) {
        self.asked.insert(command, Asked { since: Instant::now(), what });
    }

    fn done(&mut self, command: u64) {
        match self.asked.remove(&command).map(|asked| asked.what) {
            Some(What::Keys(reply)) => drop(reply.send(Ok(()))),
            Some(What::Paste) => self.display.pasted(),
            Some(What::Enter) => drop(self.display.entered()),
            Some(What::Typed) | None => {}
        }
    }

    fn failed(&mut self, command: u64, text: &str) {
        let Some(asked) = self.asked.remove(&command) else { return };
        self.refuse(asked, &Rejection::new(Code::Conflict, format!("tmux does not take it: {text}")));
    }

    fn refuse(&mut self, asked: Asked, refusal: &Rejection) {
        match asked.what {
            What::Keys(reply) => drop(reply.send(Err(refusal.clone()))),
            What::Typed => {}
            What::Paste | What::Enter => self.display.give_up(&refusal.message),
        }
    }

    /// Whoever waits longest for tmux to take his keys. A message waits until it is known what became of it: nothing is
    /// put in behind it meanwhile.
    fn longest_unanswered(&self) -> Option<(u64, Instant)> {
        let mut keys = self.asked.iter().filter(|(_, asked)| matches!(asked.what, What::Keys(_)));
        keys.next().map(|(command, asked)| (*command, asked.since))
    }

    fn is_unanswered_at(&self) -> Option<Instant> {
        self.longest_unanswered().map(|(_, since)| since + ANSWERED_WITHIN)
    }

    fn take_unanswered(&mut self) -> Option<Reply> {
        let (command, _) = self.longest_unanswered().filter(|(_, since)| *since + ANSWERED_WITHIN <= Instant::now())?;
        match self.asked.remove(&command)?.what {
            What::Keys(reply) => Some(reply),
            What::Typed | What::Paste | What::Enter => None,
        }
    }

    /// When it is said of a tmux that was asked something, if only for the pane, that it says nothing at all.
    fn is_silent_at(&self) -> Option<Instant> {
        let first = self.asked.first_key_value().map(|(_, asked)| asked.since);
        let first = first.or(self.is_sought().then_some(self.heard)).filter(|_| !self.display.is_silent())?;
        Some(first.max(self.heard) + ANSWERED_WITHIN)
    }

    /// The number of what is on its way to tmux from here on.
    fn order(&mut self, order: impl FnOnce(&mut Control) -> Result<Command, Refused>) -> Result<u64, Rejection> {
        if self.outbox.len() > OUTBOX_BYTES_MAX {
            return Err(Rejection::new(Code::Busy, "tmux does not read what it is told"));
        }
        match order(&mut self.control) {
            Ok(command) => {
                self.send(&command.line);
                Ok(command.number)
            }
            Err(refused) => {
                let code = match refused {
                    Refused::TooLarge { .. } => Code::TooLarge,
                    Refused::Full => Code::Busy,
                    Refused::NotOurs => Code::Unsupported,
                    Refused::NotReady | Refused::Gone | Refused::Empty => Code::Conflict,
                };
                Err(Rejection::new(code, refused.to_string()))
            }
        }
    }

    /// Answered when the bytes are with the pane's terminal. In the modes that its screen had last; one that was never
    /// seen has none.
    pub(crate) fn type_keys(&mut self, keys: &[String], reply: Reply) {
        match keys::encode(keys, self.display.screen.application_cursor()) {
            Ok(bytes) => self.type_bytes(&bytes, reply),
            Err(refusal) => drop(reply.send(Err(refusal))),
        }
    }

    pub(crate) fn type_bytes(&mut self, bytes: &[u8], reply: Reply) {
        if self.holds_keys() && !bytes.is_empty() {
            match self.held.has_room_for(bytes) {
                Ok(()) => self.hold(bytes, Some(reply)),
                Err(refusal) => drop(reply.send(Err(refusal))),
            }
            return;
        }
        match self.order(|control| control.keys(bytes)) {
            Ok(command) => {
                self.display.typed(bytes);
                self.awaits(command, What::Keys(reply));
            }
            Err(refusal) => drop(reply.send(Err(refusal))),
        }
    }

    /// What a viewer types is taken or refused at once.
    pub(crate) fn typed(&mut self, bytes: &[u8]) -> Result<(), Rejection> {
        if self.holds_keys() && !bytes.is_empty() {
            self.held.has_room_for(bytes)?;
            self.hold(bytes, None);
            return Ok(());
        }
        let command = self.order(|control| control.keys(bytes))?;
        self.awaits(command, What::Typed);
        self.display.typed(bytes);
        Ok(())
    }

    fn hold(&mut self, bytes: &[u8], reply: Option<Reply>) {
        self.held.put(bytes, reply);
        if keys::are_pressed(bytes) {
            self.display.hurry();
        }
    }

    /// Whether there is no pane yet to type into, or a message in its composer that they would be entered with.
    fn holds_keys(&self) -> bool {
        self.is_sought() || (self.display.is_composing() && !self.is_gone)
    }

    /// Whether tmux has not said yet where the pane is.
    fn is_sought(&self) -> bool {
        !self.is_ready && !self.is_gone
    }

    pub(crate) fn view(&mut self) -> View {
        let viewer = self.display.new_viewer();
        self.display.view(viewer)
    }

    /// A viewer looks on at whatever size it has; whoever orders one is told why not.
    pub(crate) fn asked_to_resize(&self, viewer: Option<u64>) -> Result<(), Rejection> {
        match viewer {
            Some(_) => Ok(()),
            None => Err(Rejection::new(Code::Unsupported, self.control.resize(0, 0).to_string())),
        }
    }

    pub(crate) fn takes_input(&self) -> bool {
        self.is_ready && !self.is_gone && !self.display.is_left_to_a_shell() && !self.display.has_input()
    }

    /// A message as a paste; Enter follows when it is seen on the screen. Nothing of it goes anywhere unless that can be
    /// noted.
    pub(crate) fn put_in(&mut self, parts: Vec<String>, text: &str) -> io::Result<()> {
        let text = neutral(text);
        self.display.will_paste(parts, &text)?;
        let ordered = match self.display.screen.bracketed_paste() {
            true => self.order(|control| control.paste(text.as_bytes(), Paste::Bracketed)),
            false => self.order(|control| control.paste(one_line(&text).as_bytes(), Paste::Plain)),
        };
        match ordered {
            Ok(command) => self.awaits(command, What::Paste),
            Err(refusal) => self.display.give_up(&refusal.message),
        }
        Ok(())
    }

    /// The pane stays as it is.
    pub(crate) fn leave(&mut self) {
        if !self.is_gone {
            let line = self.control.leave();
            self.send(&line);
        }
    }

    fn send(&mut self, line: &str) {
        self.outbox.extend(line.bytes());
        self.outbox.push_back(b'\n');
        self.write();
    }

    fn write(&mut self) {
        let Some(stdin) = &self.stdin else { return };
        while !self.outbox.is_empty() {
            match pty::write(stdin.get_ref().as_fd(), self.outbox.as_slices().0) {
                Ok(count) => drop(self.outbox.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The client has ended, which its output tells.
                Err(_) => {
                    self.stdin = None;
                    self.outbox.clear();
                    return;
                }
            }
        }
    }

    /// What the client still said before it ended.
    pub(crate) fn drain(&mut self, bytes_max: usize) {
        let mut taken = 0;
        while let Some(stdout) = self.stdout.as_ref().filter(|_| taken < bytes_max) {
            let read = pty::read(stdout.get_ref().as_fd(), &mut self.block);
            taken += self.block.len();
            self.read(read);
        }
        self.display.write_screen();
    }
}

async fn read(pipe: Option<&AsyncFd<OwnedFd>>, block: &mut [u8]) -> io::Result<usize> {
    let Some(pipe) = pipe else { return std::future::pending().await };
    loop {
        let mut ready = pipe.readable().await?;
        match ready.try_io(|fd| pty::read(fd.get_ref().as_fd(), block)) {
            Ok(read) => return read,
            Err(_would_block) => {}
        }
    }
}

async fn ended(program: Option<&AsyncFd<OwnedFd>>) {
    match program {
        Some(pidfd) => drop(pidfd.readable().await),
        None => std::future::pending().await,
    }
}

/// What leads the terminal of a pane, as tmux has it. Whatever comes from there will be the agent, so it must lead one: a tmux
/// that sees other processes than we do, as in a container, or that does not tell the truth, names what may be anything.
fn leads(pid: u32) -> Option<Process> {
    let leader = process::lineage(pid).line.first().copied()?;
    let is_it = leader.session == pid && process::foreground_group(pid).is_some();
    is_it.then_some(Process { pid, start_ticks: leader.id.start_ticks })
}
