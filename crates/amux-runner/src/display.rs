//! What is seen of a terminal, ours or a pane of somebody else's: the tape, the screen that follows it, those who look
//! on, what the program tells of itself, and the message on its way into the composer. How bytes get there and back is
//! the matter of whoever holds it.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use amux_agents::part::{self, Part};
use amux_proto::command::run::Fact;
use amux_proto::entity::{Activity, Front, Phase, Process, Size};
use amux_proto::transcript::InputStage;
use amux_proto::view::Look;
use amux_proto::{AgentId, RunNo, Time};
use amux_sys::disk;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::lines::now;
use crate::osc::Sign;
use crate::screen::Screen;
use crate::tape::{self, Tape};
use crate::{journal, keys};

/// After so much output the screen is written down, so that the next server need not read far back, and never needs a
/// part of the tape that is gone.
const SCREEN_EVERY_BYTES: u64 = 128 * 1024;

/// A program gets so long to show what was pasted before Enter is pressed all the same.
const PASTE_SHOWN_WITHIN: Duration = Duration::from_secs(2);

/// Keys act within 50 ms: those that come while a message stands in the composer wait this long for its Enter at most.
const KEYS_WAIT_AT_MOST: Duration = Duration::from_millis(40);

const SCREEN: &str = "screen";

const TAKEN: &str = "every byte of it was taken by the terminal";
const HALF: &str = "it was not taken in time: a part of it may have arrived";

pub(crate) struct Display {
    pub(crate) tape: Tape,
    pub(crate) screen: Screen,
    /// The screen has taken in the tape up to here.
    fed: u64,
    block: Box<[u8]>,
    /// Where the written-down screen is of.
    screen_at: u64,
    grown: watch::Sender<u64>,
    /// As the screen is, which may be larger than what was asked for.
    resized: watch::Sender<Size>,
    viewers: u64,
    activity: Activity,
    reported: Activity,
    facts: Vec<Fact>,
    input: Option<Input>,
    /// What was known of it, and by what, before nobody answered for it any more.
    before_silence: Option<(Phase, String, Time)>,
    /// Who had the keyboard instead of the agent when that was put in, which a person had let through.
    put_in_for: Option<String>,
    steps: journal::Lines,
}

/// The message that is being put in; there is one at a time.
struct Input {
    parts: Vec<String>,
    /// What must be seen of it before Enter.
    sign: String,
    stage: Stage,
    /// Somebody's keys wait for its Enter.
    is_hurried: bool,
}

enum Stage {
    /// Its bytes are on their way.
    Pasting,
    /// It is looked for on the screen. Unless every byte of it is known to have been taken, only the screen can prove
    /// that it is there.
    Awaited { until: Instant, is_whole: bool },
    /// Enter is on its way.
    Entering,
}

/// What is done with a message, each before or after it is done: whoever follows a server that was killed does nothing
/// twice. A file of these is in the directory of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "r", rename_all = "snake_case")]
enum Step {
    Paste {
        parts: Vec<String>,
        sign: String,
        /// The same was to be seen before, so that seeing it proves nothing.
        #[serde(default)]
        was_shown: bool,
    },
    Pasted {
        parts: Vec<String>,
    },
    /// Nobody knows how much of it was taken.
    GivenUp {
        parts: Vec<String>,
    },
    Enter {
        parts: Vec<String>,
    },
    Entered {
        parts: Vec<String>,
    },
}

/// What an earlier server had done.
#[derive(Default)]
pub(crate) struct TakenUp {
    /// The parts of inputs it had in its hands. Nobody gives them again.
    pub(crate) given: HashSet<String>,
    /// The newest, if it was entered.
    pub(crate) entered: Option<Vec<String>>,
}

/// A place to follow the output from: the screen as it was at an offset of the tape.
pub struct View {
    pub viewer: u64,
    pub dir: PathBuf,
    pub offset: u64,
    pub snapshot: Vec<u8>,
    pub size: Size,
    pub grown: watch::Receiver<u64>,
    pub resized: watch::Receiver<Size>,
}

impl Display {
    pub(crate) fn new(dir: &Path, bytes_max: u64, size: Size, known: Activity) -> io::Result<Self> {
        let tape = Tape::open(dir.to_owned(), tape::OUT, Some(bytes_max))?;
        let screen = Screen::live(size);
        Ok(Self {
            fed: tape.end(),
            screen_at: tape.end(),
            grown: watch::Sender::new(tape.end()),
            resized: watch::Sender::new(screen.size()),
            tape,
            screen,
            block: vec![0; 64 * 1024].into_boxed_slice(),
            viewers: 0,
            reported: known.clone(),
            activity: known,
            facts: Vec::new(),
            input: None,
            before_silence: None,
            put_in_for: None,
            steps: journal::Lines::open(&journal::journal(dir))?,
        })
    }

    /// Brings the screen to where the tape is, from what an earlier server wrote down.
    pub(crate) fn take_up(&mut self) {
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
    }

    /// Goes on with the message that was on its way, with the screen as it is now for evidence.
    pub(crate) fn take_up_input(&mut self) -> TakenUp {
        let steps: Vec<Step> = journal::read(&journal::journal(self.tape.dir()), 0).unwrap_or_else(|error| {
            tracing::warn!(tape = %self.tape.dir().display(), %error, "What was put into a terminal cannot be read.");
            Vec::new()
        });
        let mut taken_up = TakenUp::default();
        let mut newest = String::new();
        for step in &steps {
            if let Step::Paste { parts, sign, .. } = step {
                taken_up.given.extend(parts.iter().map(|part| part::name_of(part).to_owned()));
                newest.clone_from(sign);
            }
        }
        // The log may not have heard of the newest one yet; what it knows it does not take again.
        match steps.last() {
            None => {}
            Some(Step::Paste { parts, was_shown: true, .. }) => {
                self.note(&Step::GivenUp { parts: parts.clone() });
                self.say(parts, InputStage::Unproven, "the server was killed while it was put in");
            }
            Some(Step::Paste { parts, .. }) => self.await_shown(parts.clone(), newest, false),
            Some(Step::Pasted { parts }) => {
                self.say(parts, InputStage::Handed, TAKEN);
                self.await_shown(parts.clone(), newest, true);
            }
            Some(Step::GivenUp { parts }) => self.say(parts, InputStage::Unproven, HALF),
            Some(Step::Enter { parts }) => {
                self.say(parts, InputStage::Unproven, "the server was killed while it pressed Enter");
            }
            Some(Step::Entered { parts }) => {
                self.say(parts, InputStage::Handed, TAKEN);
                taken_up.entered = Some(parts.clone());
            }
        }
        taken_up
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

    /// Shows what the tape has and notes what the program told of itself. What the program is to be answered comes
    /// back.
    pub(crate) fn feed(&mut self) -> Vec<u8> {
        self.take_in();
        for sign in self.screen.take_signs() {
            self.signed(sign);
        }
        if self.fed - self.screen_at >= SCREEN_EVERY_BYTES {
            self.write_screen();
        }
        self.grown.send_if_modified(|known| std::mem::replace(known, self.fed) != self.fed);
        self.screen.take_answers()
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

    pub(crate) fn resize(&mut self, size: Size) {
        self.screen.resize(size);
        let size = self.screen.size();
        self.resized.send_if_modified(|known| std::mem::replace(known, size) != size);
    }

    fn signed(&mut self, sign: Sign) {
        match sign {
            Sign::Cwd(cwd) => self.activity.cwd = Some(cwd),
            Sign::Prompt | Sign::Input => {
                // A new line is an empty one.
                self.activity.draft &= self.activity.phase == Phase::Idle;
                self.enters(Phase::Idle, "it is at its prompt");
            }
            Sign::Command => self.enters(Phase::Working { doing: None }, "it runs a command"),
            Sign::Done { code } => {
                let how =
                    code.map_or_else(|| "its command has ended".into(), |code| format!("its command ended: {code}"));
                self.enters(Phase::Idle, &how);
            }
            Sign::Progress { .. } | Sign::Notice(_) | Sign::Bell | Sign::Title(_) => {}
        }
    }

    /// A person's keys, which may leave something in the composer.
    pub(crate) fn typed(&mut self, keys: &[u8]) {
        self.activity.draft = keys::leave_draft(self.activity.draft, keys);
    }

    pub(crate) fn phase(&self) -> &Phase {
        &self.activity.phase
    }

    pub(crate) fn enters(&mut self, phase: Phase, evidence: &str) {
        if self.activity.phase == phase {
            return;
        }
        if std::mem::discriminant(&self.activity.phase) != std::mem::discriminant(&phase) {
            self.activity.since = now();
        }
        self.activity.phase = phase;
        evidence.clone_into(&mut self.activity.evidence);
    }

    /// Whatever it was before, and also where only the evidence is another.
    pub(crate) fn put(&mut self, phase: Phase, evidence: &str) {
        self.activity.phase = phase;
        self.activity.since = now();
        evidence.clone_into(&mut self.activity.evidence);
    }

    /// Whoever answers for it says nothing, which may pass.
    pub(crate) fn falls_silent(&mut self, reason: &str) {
        let Activity { phase, evidence, since, .. } = self.activity.clone();
        self.before_silence = Some((phase, evidence, since));
        self.enters(Phase::Silent { reason: reason.to_owned() }, reason);
    }

    /// As it was last reported.
    pub(crate) fn leader(&self) -> Option<Process> {
        self.reported.leader
    }

    pub(crate) fn is_led_by(&self, pid: u32) -> bool {
        self.activity.leader.is_some_and(|leader| leader.pid == pid)
    }

    pub(crate) fn put_leader(&mut self, leader: Process) {
        self.activity.leader = Some(leader);
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.before_silence.is_some()
    }

    /// It is again what it was.
    pub(crate) fn is_heard(&mut self) {
        let Some((phase, evidence, since)) = self.before_silence.take() else { return };
        (self.activity.phase, self.activity.evidence, self.activity.since) = (phase, evidence, since);
    }

    pub(crate) fn front(&self) -> &Front {
        &self.activity.front
    }

    /// What it is sent is run, whatever the agent is defined to be while it runs.
    pub(crate) fn led_by_shell(&mut self) {
        self.activity.front = Front { is_shell: true, ..Front::default() };
    }

    /// As it is known without anybody having looked: nothing to report.
    pub(crate) fn expects(&mut self, front: Front) {
        (self.reported.front, self.activity.front) = (front.clone(), front);
    }

    /// Who has the keyboard.
    pub(crate) fn has_front(&mut self, front: Front) {
        if self.activity.front == front {
            return;
        }
        // What stood in its composer went with it.
        self.activity.draft &= !front.is_away();
        self.activity.since = now();
        self.activity.front = front;
    }

    /// What would be put in is for the program that is gone, and would be run. Into another program it may be put in: what
    /// is due while one is there a person has let through.
    pub(crate) fn is_left_to_a_shell(&self) -> bool {
        self.front().is_away() && self.front().is_shell
    }

    /// What was put in is not with whom it was put in for.
    pub(crate) fn is_left(&self) -> bool {
        self.is_left_to_a_shell() || (self.front().is_away() && self.front().instead != self.put_in_for)
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

    pub(crate) fn new_viewer(&mut self) -> u64 {
        self.viewers += 1;
        self.viewers
    }

    /// As it is now.
    pub(crate) fn view(&mut self, viewer: u64) -> View {
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

    pub(crate) fn say(&mut self, parts: &[String], stage: InputStage, evidence: &str) {
        let messages = parts.iter().filter_map(|part| part::parse(part));
        self.facts.extend(messages.map(|Part { message, edition, .. }| Fact::Input {
            message,
            stage,
            evidence: evidence.to_owned(),
            edition,
        }));
    }

    /// Before the first byte of it goes anywhere.
    pub(crate) fn will_paste(&mut self, parts: Vec<String>, text: &str) -> io::Result<()> {
        let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        // The end of the last line, as far as one row of a narrow composer shows it.
        let from = last.char_indices().rev().nth(19).map_or(0, |(at, _)| at);
        let sign = last[from..].trim().to_owned();
        let was_shown = self.screen.shows(&sign);
        self.steps.append(&Step::Paste { parts: parts.clone(), sign: sign.clone(), was_shown })?;
        self.put_in_for.clone_from(&self.activity.front.instead);
        self.input = Some(Input { parts, sign, stage: Stage::Pasting, is_hurried: false });
        Ok(())
    }

    /// Every byte of it is with the terminal: Enter follows when it is seen.
    pub(crate) fn pasted(&mut self) {
        let Some(Input { parts, sign, is_hurried, .. }) = self.input.take() else { return };
        self.note(&Step::Pasted { parts: parts.clone() });
        self.say(&parts, InputStage::Handed, TAKEN);
        self.await_shown(parts, sign, true);
        if is_hurried {
            self.hurry();
        }
    }

    fn await_shown(&mut self, parts: Vec<String>, sign: String, is_whole: bool) {
        let until = Instant::now() + PASTE_SHOWN_WITHIN;
        self.input = Some(Input { parts, sign, stage: Stage::Awaited { until, is_whole }, is_hurried: false });
    }

    /// The program could not show it before now.
    pub(crate) fn await_anew(&mut self) {
        if let Some(Input { stage: Stage::Awaited { until, .. }, is_hurried, .. }) = &mut self.input {
            *until = Instant::now() + PASTE_SHOWN_WITHIN;
            if *is_hurried {
                self.hurry();
            }
        }
    }

    /// Whether what is typed now would stand in the composer beside a message, and be entered with it.
    pub(crate) fn is_composing(&self) -> bool {
        self.input.as_ref().is_some_and(|input| !matches!(input.stage, Stage::Entering))
    }

    /// Somebody's keys wait for the Enter of the message. What is known to be there in part only is not entered for that.
    pub(crate) fn hurry(&mut self) {
        let Some(input) = &mut self.input else { return };
        input.is_hurried = true;
        if let Stage::Awaited { until, is_whole: true } = &mut input.stage {
            *until = (*until).min(Instant::now() + KEYS_WAIT_AT_MOST);
        }
    }

    /// When it is decided about a message that is not seen.
    pub(crate) fn awaits_until(&self) -> Option<Instant> {
        match &self.input {
            Some(Input { stage: Stage::Awaited { until, .. }, .. }) => Some(*until),
            Some(Input { stage: Stage::Pasting | Stage::Entering, .. }) | None => None,
        }
    }

    /// Whether it is decided now about a message that waits for its Enter.
    pub(crate) fn is_to_enter(&mut self) -> bool {
        let Some(Input { sign, stage: Stage::Awaited { until, .. }, .. }) = &self.input else { return false };
        self.screen.shows(sign) || Instant::now() >= *until
    }

    /// Whether Enter is to be pressed now; it counts as pressed from here on. A message that was not seen in time is
    /// entered if it was taken whole; of another nothing is known.
    pub(crate) fn will_enter(&mut self) -> bool {
        let Some(Input { parts, sign, stage: Stage::Awaited { until, is_whole }, .. }) = &self.input else {
            return false;
        };
        let (parts, until, is_whole) = (parts.clone(), *until, *is_whole);
        let is_shown = self.screen.shows(sign);
        if !is_shown && Instant::now() < until {
            return false;
        }
        if !is_shown && !is_whole {
            self.give_up("the server was killed while it was put in, and nothing shows it");
            return false;
        }
        if !is_whole {
            self.say(&parts, InputStage::Handed, "the end of it is on the screen");
        }
        if is_shown {
            self.say(&parts, InputStage::Shown, "it is on the screen");
        }
        self.note(&Step::Enter { parts });
        if let Some(input) = &mut self.input {
            input.stage = Stage::Entering;
        }
        true
    }

    /// The message that was entered, now that the terminal has the Enter.
    pub(crate) fn entered(&mut self) -> Option<Vec<String>> {
        let Input { parts, .. } = self.input.take()?;
        self.note(&Step::Entered { parts: parts.clone() });
        Some(parts)
    }

    /// How much of it has arrived is not known, and it is not repeated.
    pub(crate) fn give_up(&mut self, why: &str) {
        let Some(Input { parts, .. }) = self.input.take() else { return };
        self.note(&Step::GivenUp { parts: parts.clone() });
        self.say(&parts, InputStage::Unproven, why);
    }

    /// Whether a message is being put in.
    pub(crate) fn has_input(&self) -> bool {
        self.input.is_some()
    }

    fn note(&mut self, step: &Step) {
        if let Err(error) = self.steps.append(step) {
            tracing::warn!(tape = %self.tape.dir().display(), %error, "What is put into a terminal cannot be noted.");
        }
    }
}

/// Text of somebody else on its way into a terminal: no control characters, and nothing that ends a paste.
pub(crate) fn neutral(text: &str) -> String {
    let kept = |c: &char| !c.is_control() || matches!(c, '\n' | '\t');
    text.replace("\r\n", "\n").chars().filter(kept).collect()
}

/// For a program that does not take pastes: without their marks every line of it would be entered by itself.
pub(crate) fn one_line(text: &str) -> String {
    text.replace(['\n', '\t'], " ")
}

pub(crate) async fn at(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_leave_its_paste() {
        assert_eq!(neutral("a\x1b[201~rm -rf /\r\nb\x07\u{9b}c\td"), "a[201~rm -rf /\nbc\td");
    }

    const MESSAGE: &str = "00000000-0000-7000-8000-000000000001";

    fn display(dir: &Path) -> Display {
        Display::new(dir, 1 << 20, Size { rows: 5, cols: 1 }, Activity::default()).unwrap()
    }

    fn stages(display: &mut Display) -> Vec<InputStage> {
        let facts = display.report().map(|(_, facts)| facts).unwrap_or_default();
        facts.iter().filter_map(|fact| if let Fact::Input { stage, .. } = fact { Some(*stage) } else { None }).collect()
    }

    #[test]
    fn a_view_has_the_size_it_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut display = display(dir.path());
        for cols in [1, 2, 1, 3] {
            let view = display.view(1);
            assert_eq!(*view.resized.borrow(), view.size);
            display.resize(Size { rows: 5, cols });
        }
    }

    #[test]
    fn what_a_dead_server_did_with_a_message_is_done_once() {
        use InputStage::{Handed, Shown, Unproven};
        /// What the dead one had done, what is on the screen then, what is said of it, and whether Enter follows.
        type Case = (fn(&mut Display), &'static str, &'static [InputStage], bool);
        let cases: [Case; 6] = [
            (|_| {}, "", &[], false),
            (|_| {}, "hello", &[Handed, Shown], true),
            (Display::pasted, "", &[Handed], false),
            (Display::pasted, "hello", &[Handed, Shown], true),
            (|display| display.give_up("it was late"), "hello", &[Unproven], false),
            (
                |display| {
                    display.pasted();
                    display.tape.append(b"hello");
                    display.feed();
                    assert!(display.will_enter());
                },
                "",
                &[Unproven],
                false,
            ),
        ];
        for (n, (done, shown, said, enters)) in cases.into_iter().enumerate() {
            let dir = tempfile::tempdir().unwrap();
            let mut dead = display(dir.path());
            dead.will_paste(vec![MESSAGE.to_owned()], "hello").unwrap();
            done(&mut dead);
            dead.tape.append(shown.as_bytes());
            let mut display = display(dir.path());
            display.take_up();
            assert!(display.take_up_input().given.contains(MESSAGE), "{n}: nobody gives it again");
            assert_eq!(display.will_enter(), enters, "{n}");
            assert_eq!(stages(&mut display), said, "{n}");
        }
    }

    #[test]
    fn what_was_on_the_screen_before_proves_no_paste() {
        let dir = tempfile::tempdir().unwrap();
        let mut dead = display(dir.path());
        dead.tape.append(b"hello");
        dead.feed();
        dead.will_paste(vec![MESSAGE.to_owned()], "hello").unwrap();
        let mut next = display(dir.path());
        next.take_up();
        assert!(next.take_up_input().given.contains(MESSAGE));
        assert!(!next.will_enter() && !next.has_input());
        assert_eq!(stages(&mut next), [InputStage::Unproven]);
    }
}
