//! What is seen of a pane of somebody else's: the tape, the screen that follows it, those who look on, what the
//! program tells of itself, and a message that waits to be seen before Enter. A terminal of ours keeps more of each.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use amux_proto::command::run::Fact;
use amux_proto::entity::{Activity, Phase, Size};
use amux_proto::transcript::InputStage;
use amux_proto::view::Look;
use amux_proto::{AgentId, MessageId, RunNo};
use amux_sys::disk;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::lines::now;
use crate::osc::Sign;
use crate::screen::Screen;
use crate::tape::{self, Tape};

/// After so much output the screen is written down, so that the next server need not read far back, and never needs a
/// part of the tape that is gone.
const SCREEN_EVERY_BYTES: u64 = 128 * 1024;

/// A program gets so long to show what was pasted before Enter is pressed all the same.
const PASTE_SHOWN_WITHIN: Duration = Duration::from_secs(2);

const SCREEN: &str = "screen";

pub(crate) struct Display {
    pub(crate) tape: Tape,
    pub(crate) screen: Screen,
    /// The screen has taken in the tape up to here.
    fed: u64,
    block: Box<[u8]>,
    /// Where the written-down screen is of.
    screen_at: u64,
    grown: watch::Sender<u64>,
    resized: watch::Sender<Size>,
    viewers: u64,
    activity: Activity,
    reported: Activity,
    pub(crate) facts: Vec<Fact>,
    paste: Option<Paste>,
}

/// A message on its way into the composer.
struct Paste {
    message: MessageId,
    /// What must be seen of it before Enter.
    sign: String,
    until: Instant,
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
        Ok(Self {
            fed: tape.end(),
            screen_at: tape.end(),
            grown: watch::Sender::new(tape.end()),
            resized: watch::Sender::new(size),
            tape,
            screen: Screen::live(size),
            block: vec![0; 64 * 1024].into_boxed_slice(),
            viewers: 0,
            reported: known.clone(),
            activity: known,
            facts: Vec::new(),
            paste: None,
        })
    }

    /// Brings the screen to where the tape is, from what an earlier server wrote down.
    pub(crate) fn take_up(&mut self) {
        let (first, end) = tape::extent(self.tape.dir(), tape::OUT).unwrap_or((0, 0));
        let written = std::fs::read(self.tape.dir().join(SCREEN)).ok().and_then(|bytes| {
            let (at, screen) = bytes.split_first_chunk::<8>()?;
            Some((u64::from_le_bytes(*at), screen.to_vec()))
        });
        match written.filter(|(at, _)| (first..=end).contains(at)) {
            Some((at, screen)) => {
                self.screen.feed(&screen);
                self.fed = at;
            }
            None => self.fed = first.max(end.saturating_sub(2 * SCREEN_EVERY_BYTES)),
        }
        self.screen_at = self.fed;
        self.feed();
        // What the program said of itself was dealt with then.
        self.screen.take_signs();
    }

    /// Shows what the tape has. What the program told of itself is left in the screen, and what it is to be answered
    /// comes back.
    pub(crate) fn feed(&mut self) -> Vec<u8> {
        while self.fed < self.tape.end() {
            let count = match self.tape.read(self.fed, &mut self.block) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => {
                    tracing::error!(tape = %self.tape.dir().display(), %error, "A tape cannot be read.");
                    self.fed = self.tape.end();
                    break;
                }
            };
            self.screen.feed(&self.block[..count]);
            self.fed += count as u64;
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
        self.resized.send_replace(size);
    }

    /// Notes what the program told of itself.
    pub(crate) fn heed_signs(&mut self) {
        for sign in self.screen.take_signs() {
            match sign {
                Sign::Cwd(cwd) => self.activity.cwd = Some(cwd),
                Sign::Prompt | Sign::Input => self.enters(Phase::Idle, "it is at its prompt"),
                Sign::Command => self.enters(Phase::Working { doing: None }, "it runs a command"),
                Sign::Done { code } => {
                    let how = code
                        .map_or_else(|| "its command has ended".into(), |code| format!("its command ended: {code}"));
                    self.enters(Phase::Idle, &how);
                }
                Sign::Progress { .. } | Sign::Notice(_) | Sign::Bell | Sign::Title(_) => {}
            }
        }
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

    /// Nothing tells what it does any more, and why.
    pub(crate) fn is_untold(&mut self, evidence: &str) {
        self.activity.phase = Phase::Untold;
        self.activity.since = now();
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

    pub(crate) fn note(&mut self, message: MessageId, stage: InputStage, evidence: &str) {
        self.facts.push(Fact::Input { message, stage, evidence: evidence.to_owned() });
    }

    /// A message whose every byte is with the terminal: Enter follows when it is seen.
    pub(crate) fn pasted(&mut self, message: MessageId, text: &str) {
        self.note(message, InputStage::Handed, "every byte of it was taken by the terminal");
        let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        // The end of the last line, as far as one row of a narrow composer shows it.
        let from = last.char_indices().rev().nth(19).map_or(0, |(at, _)| at);
        let sign = last[from..].trim().to_owned();
        self.paste = Some(Paste { message, sign, until: Instant::now() + PASTE_SHOWN_WITHIN });
    }

    pub(crate) fn is_pasting(&self) -> bool {
        self.paste.is_some()
    }

    pub(crate) fn paste_is_shown(&mut self) -> bool {
        self.paste.as_ref().is_some_and(|paste| self.screen.shows(&paste.sign))
    }

    /// When Enter is pressed although it was not seen.
    pub(crate) fn paste_until(&self) -> Option<Instant> {
        self.paste.as_ref().map(|paste| paste.until)
    }

    /// The message that is to be entered.
    pub(crate) fn take_paste(&mut self) -> Option<MessageId> {
        let paste = self.paste.take()?;
        if self.screen.shows(&paste.sign) {
            self.note(paste.message, InputStage::Shown, "it is on the screen");
        }
        Some(paste.message)
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
    use super::neutral;

    #[test]
    fn a_message_cannot_leave_its_paste() {
        assert_eq!(neutral("a\x1b[201~rm -rf /\r\nb\x07\u{9b}c\td"), "a[201~rm -rf /\nbc\td");
    }
}
