//! An agent in a terminal of ours: the emulator that knows its screen, the keys and pastes it is given, and what can
//! be seen of what it does.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;

use amux_proto::command::run::Fact;
use amux_proto::entity::{Activity, Phase, Size};
use amux_proto::transcript::InputStage;
use amux_proto::view::Look;
use amux_proto::{AgentId, Code, MessageId, Rejection, RunNo};
use amux_sys::pour::Channel;
use amux_sys::{disk, process, pty};
use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::display::{View, at, neutral, one_line};
use crate::lines::now;
use crate::osc::Sign;
use crate::screen::Screen;
use crate::tape::{self, Poured, Tape};
use crate::{journal, keys, polled};

/// Keys wait at most this long for a program that does not read.
const KEYS_TIMEOUT: Duration = Duration::from_secs(2);

/// After so much output the screen is written down, so that the next server need not read far back, and never needs a
/// part of the tape that is gone.
const SCREEN_EVERY_BYTES: u64 = 128 * 1024;

/// Output and keys that follow one another this closely are one thing; then it is looked who has the keyboard.
const SETTLED_AFTER: Duration = Duration::from_millis(150);

/// A program gets so long to show what was pasted before Enter is pressed all the same.
const PASTE_SHOWN_WITHIN: Duration = Duration::from_secs(2);

const SCREEN: &str = "screen";

const TAKEN: &str = "every byte of it was taken by the terminal";
const HALF: &str = "the program did not read it in time: a part of it may have arrived";
const ENTERED: &str = "it was entered at the prompt";

pub(crate) struct Terminal {
    pty: AsyncFd<OwnedFd>,
    channel: Channel,
    tape: Tape,
    screen: Screen,
    /// The screen has taken in the tape up to here.
    fed: u64,
    block: Box<[u8]>,
    /// The terminal says nothing more; only the end of the process is awaited.
    hung_up: bool,
    /// Where the written-down screen is of.
    screen_at: u64,
    grown: watch::Sender<u64>,
    resized: watch::Sender<Size>,
    /// Who may say how large it is: whoever attached or typed last.
    owner: Option<u64>,
    viewers: u64,
    leader: u32,
    /// Whether the leader is a shell, of which can be seen whether it is at its prompt.
    is_shell: bool,
    /// Entered at the prompt of a shell that has not come back to it yet.
    entered: Option<MessageId>,
    look_at: Option<Instant>,
    activity: Activity,
    reported: Activity,
    facts: Vec<Fact>,
    paste: Option<Paste>,
    steps: journal::Lines,
}

/// A message on its way into the composer.
struct Paste {
    message: MessageId,
    /// What must be seen of it before Enter.
    sign: String,
    until: Instant,
    /// Every byte of it was taken; otherwise only the screen can prove it.
    is_whole: bool,
}

/// What is done with a message, each before or after it is done: whoever follows a server that was killed does nothing
/// twice. A file of these is in the directory of the run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "r", rename_all = "snake_case")]
enum Step {
    Paste {
        message: MessageId,
        sign: String,
    },
    Pasted {
        message: MessageId,
    },
    /// Nobody knows how much of it was taken.
    GivenUp {
        message: MessageId,
    },
    Enter {
        message: MessageId,
    },
    Entered {
        message: MessageId,
    },
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
        let tape = Tape::open(dir.to_owned(), tape::OUT, Some(bytes_max))?;
        let mut this = Self {
            pty: polled::both(terminal)?,
            channel,
            fed: tape.end(),
            screen_at: tape.end(),
            grown: watch::Sender::new(tape.end()),
            resized: watch::Sender::new(size),
            tape,
            screen: Screen::live(size),
            block: vec![0; 64 * 1024].into_boxed_slice(),
            hung_up: false,
            owner: None,
            viewers: 0,
            leader,
            is_shell,
            entered: None,
            look_at: None,
            reported: known.clone(),
            activity: known,
            facts: Vec::new(),
            paste: None,
            steps: journal::Lines::open(&journal::journal(dir))?,
        };
        this.look_soon();
        Ok(this)
    }

    /// Brings the screen to where the tape is, from what an earlier server wrote down, and goes on with the message
    /// that was on its way. The messages it had in its hands.
    pub(crate) fn take_up(&mut self) -> HashSet<MessageId> {
        let dir = self.tape.dir().to_owned();
        let written = std::fs::read(dir.join(SCREEN)).ok().and_then(|bytes| {
            let (at, screen) = bytes.split_first_chunk::<8>()?;
            Some((u64::from_le_bytes(*at), screen.to_vec()))
        });
        if let Some((at, _)) = &written
            && let Err(error) = self.tape.skip_to(*at)
        {
            tracing::warn!(tape = %dir.display(), %error, "A tape cannot go on where it was.");
        }
        let (first, end) = tape::extent(&dir, tape::OUT).unwrap_or((0, 0));
        match written.filter(|(at, _)| (first..=end).contains(at)) {
            Some((at, screen)) => {
                self.screen.feed(&screen);
                self.fed = at;
            }
            None => {
                self.fed = first.max(end.saturating_sub(2 * SCREEN_EVERY_BYTES));
                if self.fed > 0 {
                    tracing::warn!(tape = %dir.display(), "The screen was not written down; it is what the end of the tape makes of it.");
                }
            }
        }
        self.screen_at = self.fed;
        self.take_in();
        // What the program asked was answered then; a second answer would be typed into it.
        self.screen.take_answers();
        // What the earlier server had taken from the terminal and not put on the tape was seen by nobody.
        if let Ok(Poured::Bytes(_)) = self.tape.drain(&self.channel) {
            tracing::info!(tape = %dir.display(), "Output was on its way when the server ended.");
        }
        self.feed();
        let steps: Vec<Step> = journal::read(&journal::journal(&dir), 0).unwrap_or_else(|error| {
            tracing::warn!(tape = %dir.display(), %error, "What was put into a terminal cannot be read.");
            Vec::new()
        });
        self.take_up_input(&steps)
    }

    fn take_up_input(&mut self, steps: &[Step]) -> HashSet<MessageId> {
        let mut known = HashSet::new();
        let mut sign = String::new();
        for step in steps {
            if let Step::Paste { message, sign: of } = step {
                known.insert(*message);
                of.clone_into(&mut sign);
            }
        }
        // The log may not have heard of the newest one yet; what it knows it does not take again.
        match steps.last() {
            None => {}
            Some(Step::Paste { message, .. }) => self.await_shown(*message, sign, false),
            Some(Step::Pasted { message }) => {
                self.say(*message, InputStage::Handed, TAKEN);
                self.await_shown(*message, sign, true);
            }
            Some(Step::GivenUp { message }) => self.say(*message, InputStage::Unproven, HALF),
            Some(Step::Enter { message }) => {
                self.say(*message, InputStage::Unproven, "the server was killed while it pressed Enter");
            }
            Some(Step::Entered { message }) => {
                self.say(*message, InputStage::Handed, TAKEN);
                if self.is_shell {
                    self.say(*message, InputStage::Begun, ENTERED);
                    self.entered = Some(*message);
                }
            }
        }
        known
    }

    fn await_shown(&mut self, message: MessageId, sign: String, is_whole: bool) {
        self.paste = Some(Paste { message, sign, until: Instant::now() + PASTE_SHOWN_WITHIN, is_whole });
    }

    fn note(&mut self, step: &Step) {
        if let Err(error) = self.steps.append(step) {
            tracing::warn!(tape = %self.tape.dir().display(), %error, "What is put into a terminal cannot be noted.");
        }
    }

    fn say(&mut self, message: MessageId, stage: InputStage, evidence: &str) {
        self.facts.push(Fact::Input { message, stage, evidence: evidence.to_owned() });
    }

    pub(crate) async fn step(&mut self) {
        tokio::select! {
            biased;
            poured = pour(&self.pty, &self.channel, &mut self.tape), if !self.hung_up => self.heard(poured),
            () = at(self.look_at) => self.look_who_has_the_keyboard(),
            () = at(self.paste.as_ref().map(|paste| paste.until)) => self.shown_in_vain().await,
            () = std::future::pending() => {}
        }
        if self.paste.as_ref().is_some_and(|paste| self.screen.shows(&paste.sign)) {
            self.enter("it is on the screen").await;
        }
    }

    fn heard(&mut self, poured: io::Result<Poured>) {
        match poured {
            Ok(Poured::Bytes(_)) => self.feed(),
            Ok(Poured::Lost(_) | Poured::Full) => {}
            Ok(Poured::End) | Err(_) => self.hung_up = true,
        }
    }

    /// A paste that was not seen in time: one that was taken whole is entered, of another nothing is known.
    async fn shown_in_vain(&mut self) {
        match self.paste.take_if(|paste| !paste.is_whole) {
            Some(Paste { message, .. }) => {
                self.note(&Step::GivenUp { message });
                self.say(
                    message,
                    InputStage::Unproven,
                    "the server was killed while it was put in, and nothing shows it",
                );
            }
            None => self.enter("it was not seen on the screen in time").await,
        }
    }

    /// The screen takes in what is on the tape.
    fn take_in(&mut self) {
        while self.fed < self.tape.end() {
            let count = match self.tape.read(self.fed, &mut self.block) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => {
                    let next = tape::after_gap(self.tape.dir(), tape::OUT, self.fed).ok().flatten();
                    let next = next.unwrap_or(self.tape.end());
                    tracing::error!(tape = %self.tape.dir().display(), from = self.fed, to = next, %error, "A part of a tape cannot be read.");
                    self.fed = next;
                    continue;
                }
            };
            self.screen.feed(&self.block[..count]);
            self.fed += count as u64;
        }
    }

    fn feed(&mut self) {
        self.take_in();
        let answers = self.screen.take_answers();
        if !answers.is_empty() {
            // A program that does not read its answers loses them, as with any terminal whose buffer is full.
            let _ = pty::write(self.pty.get_ref().as_fd(), &answers);
        }
        for sign in self.screen.take_signs() {
            self.signed(sign);
        }
        if self.fed - self.screen_at >= SCREEN_EVERY_BYTES {
            self.write_screen();
        }
        self.grown.send_if_modified(|known| std::mem::replace(known, self.fed) != self.fed);
        self.look_soon();
    }

    /// The screen as of now is what the next server begins with.
    pub(crate) fn write_screen(&mut self) {
        let mut bytes = self.fed.to_le_bytes().to_vec();
        bytes.extend(self.screen.snapshot());
        match disk::replace(&self.tape.dir().join(SCREEN), &bytes) {
            Ok(()) => self.screen_at = self.fed,
            Err(error) => {
                tracing::warn!(tape = %self.tape.dir().display(), %error, "A screen cannot be written down.");
            }
        }
    }

    fn signed(&mut self, sign: Sign) {
        match sign {
            Sign::Cwd(cwd) => self.activity.cwd = Some(cwd),
            Sign::Prompt | Sign::Input => self.enters(Phase::Idle, "it is at its prompt"),
            Sign::Command => self.enters(Phase::Working { doing: None }, "it runs a command"),
            Sign::Done { code } => {
                let how =
                    code.map_or_else(|| "its command has ended".into(), |code| format!("its command ended: {code}"));
                self.enters(Phase::Idle, &how);
            }
            Sign::Progress { .. } | Sign::Notice(_) | Sign::Bell | Sign::Title(_) => {}
        }
    }

    /// Who has the keyboard of a shell says whether it waits for a command.
    fn look_who_has_the_keyboard(&mut self) {
        self.look_at = None;
        if !self.is_shell || self.hung_up {
            return;
        }
        match pty::foreground_group(self.pty.get_ref().as_fd()) {
            Some(group) if group == self.leader => {
                self.enters(Phase::Idle, "the shell has the keyboard");
                if let Some(message) = self.entered.take() {
                    self.say(message, InputStage::Ended, "the shell has the keyboard again");
                }
            }
            Some(group) => {
                let doing = process::command_line(group).map(|line| line.chars().take(120).collect());
                self.enters(Phase::Working { doing }, &format!("process {group} has the keyboard"));
            }
            None => {}
        }
    }

    fn look_soon(&mut self) {
        if self.is_shell {
            self.look_at = Some(Instant::now() + SETTLED_AFTER);
        }
    }

    fn enters(&mut self, phase: Phase, evidence: &str) {
        if self.activity.phase == phase {
            return;
        }
        if std::mem::discriminant(&self.activity.phase) != std::mem::discriminant(&phase) {
            self.activity.since = now();
        }
        self.activity.phase = phase;
        evidence.clone_into(&mut self.activity.evidence);
    }

    pub(crate) fn report(&mut self) -> Option<(Activity, Vec<Fact>)> {
        let same = self.activity == self.reported;
        if same && self.facts.is_empty() {
            return None;
        }
        self.activity.seen += 1;
        self.reported = self.activity.clone();
        Some((self.reported.clone(), std::mem::take(&mut self.facts)))
    }

    pub(crate) fn look(&mut self, agent: AgentId, run: RunNo, lines: Option<u32>, ansi: bool) -> Look {
        let Size { rows, cols } = self.screen.size();
        let lines = self.screen.rows(lines.map(|lines| lines as usize), ansi);
        let (cursor, title) = (self.screen.cursor(), self.screen.title());
        Look { agent: agent.to_string(), run, rows, cols, lines, cursor, title }
    }

    /// For a new viewer, who says how large it is if it comes with a size.
    pub(crate) fn view(&mut self, size: Option<Size>) -> Result<View, Rejection> {
        self.viewers += 1;
        let viewer = self.viewers;
        if let Some(size) = size {
            self.owner = Some(viewer);
            self.resize(Some(viewer), size)?;
        }
        Ok(self.view_again(viewer))
    }

    /// As it is now, for one who views it already.
    pub(crate) fn view_again(&mut self, viewer: u64) -> View {
        View {
            viewer,
            dir: self.tape.dir().to_owned(),
            offset: self.fed,
            snapshot: self.screen.snapshot(),
            size: self.screen.size(),
            grown: self.grown.subscribe(),
            resized: self.resized.subscribe(),
        }
    }

    /// From whoever owns the size; others are not heard. `None` is a caller that views nothing and may always.
    pub(crate) fn resize(&mut self, viewer: Option<u64>, size: Size) -> Result<(), Rejection> {
        if viewer.is_some() && viewer != self.owner {
            return Ok(());
        }
        pty::resize(self.pty.get_ref().as_fd(), size.rows, size.cols)
            .map_err(|error| Rejection::new(Code::Conflict, format!("cannot resize: {error}")))?;
        self.screen.resize(size);
        self.resized.send_replace(size);
        Ok(())
    }

    pub(crate) async fn type_keys(&mut self, keys: &[String]) -> Result<(), Rejection> {
        let bytes = keys::encode(keys, self.screen.application_cursor())?;
        self.type_bytes(None, &bytes).await
    }

    pub(crate) async fn type_bytes(&mut self, viewer: Option<u64>, bytes: &[u8]) -> Result<(), Rejection> {
        if viewer.is_some() {
            self.owner = viewer;
        }
        let write = async {
            let mut rest = bytes;
            while !rest.is_empty() {
                let mut ready = self.pty.writable().await?;
                match ready.try_io(|fd| pty::write(fd.get_ref().as_fd(), rest)) {
                    Ok(written) => rest = &rest[written?..],
                    Err(_would_block) => {}
                }
            }
            io::Result::Ok(())
        };
        let typed = tokio::time::timeout(KEYS_TIMEOUT, write).await;
        self.look_soon();
        match typed {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Rejection::new(Code::Conflict, format!("the terminal takes no keys: {error}"))),
            Err(_) => Err(Rejection::new(Code::TimedOut, "the program does not read its keys: some may have arrived")),
        }
    }

    /// Whether a message can be put in now: one at a time, and not while a command runs in a shell.
    pub(crate) fn takes_input(&self) -> bool {
        let is_free = !self.is_shell || (self.activity.phase == Phase::Idle && self.entered.is_none());
        self.paste.is_none() && is_free && !self.hung_up
    }

    /// A message as a paste; Enter follows when it is seen on the screen.
    pub(crate) async fn put_in(&mut self, message: MessageId, text: &str) {
        let text = neutral(text);
        let bracketed = self.screen.bracketed_paste();
        let bytes = match bracketed {
            true => format!("\x1b[200~{text}\x1b[201~"),
            // Without brackets every line of it would be entered by itself.
            false => one_line(&text),
        };
        let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        // The end of the last line, as far as one row of a narrow composer shows it.
        let from = last.char_indices().rev().nth(19).map_or(0, |(at, _)| at);
        let sign = last[from..].trim().to_owned();
        self.note(&Step::Paste { message, sign: sign.clone() });
        match self.type_bytes(None, bytes.as_bytes()).await {
            Ok(()) => {
                self.note(&Step::Pasted { message });
                self.say(message, InputStage::Handed, TAKEN);
                self.await_shown(message, sign, true);
            }
            Err(refusal) => {
                self.note(&Step::GivenUp { message });
                self.say(message, InputStage::Unproven, &refusal.message);
            }
        }
    }

    async fn enter(&mut self, evidence: &str) {
        let Some(Paste { message, sign, is_whole, .. }) = self.paste.take() else { return };
        if !is_whole {
            self.say(message, InputStage::Handed, "the end of it is on the screen");
        }
        if self.screen.shows(&sign) {
            self.say(message, InputStage::Shown, evidence);
        }
        self.note(&Step::Enter { message });
        if let Err(refusal) = self.type_bytes(None, b"\r").await {
            self.note(&Step::GivenUp { message });
            self.say(message, InputStage::Unproven, &refusal.message);
            return;
        }
        self.note(&Step::Entered { message });
        if self.is_shell {
            // A shell at its prompt has read what is entered there.
            self.say(message, InputStage::Begun, ENTERED);
            self.entered = Some(message);
            self.look_soon();
        }
    }

    /// What the terminal still has when its process has ended.
    pub(crate) fn drain(&mut self, bytes_max: usize) {
        let mut taken = 0;
        while !self.hung_up && taken < bytes_max {
            match self.tape.pour_terminal(self.pty.get_ref().as_fd(), &self.channel) {
                Ok(Poured::Bytes(count) | Poured::Lost(count)) => taken += count,
                Ok(Poured::Full | Poured::End) | Err(_) => break,
            }
        }
        self.feed();
        self.write_screen();
    }

    pub(crate) fn printed(&self) -> u64 {
        self.tape.end()
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
