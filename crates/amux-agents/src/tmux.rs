//! A pane of somebody else's tmux, heard and written to over one control-mode client that lives as long as we are
//! interested: no process per message, no polling. Lines of `tmux -C` go in; what happened to our pane, and lines to be
//! written, come out. Needs tmux 3.2.
//!
//! The pane, its window and its session are the user's. We give them no size, choose no window, change no environment,
//! stop no program, and leave by detaching. What leaves no trace in control mode is the end of a program whose pane is
//! kept open (`remain-on-exit`): whoever adopts watches the pid of [`Told::Ready`] and then asks for a [`Control::look`].
//!
//! A client that does not end by itself is ended by SIGTERM and not by closing its pipes: tmux keeps what it could not
//! write for such a one for ever, and a server with one left does not end.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// The control client's view of one pane, from before it is found until it is gone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Control {
    target: String,
    pause_after_s: u32,
    pane: Option<u32>,
    facts: Option<Facts>,
    /// The session our client is attached to; `None` until it is.
    session: Option<u32>,
    stage: Stage,
    /// What is to be answered, in the order of the answers.
    asked: VecDeque<Asked>,
    lines: u64,
    block: Option<Block>,
    look: Look,
    hearing: Hearing,
    is_late: bool,
    switching: bool,
    switches_failed: u8,
    /// Other panes whose output we have asked not to get.
    hushed: BTreeSet<u32>,
    last_error: Option<String>,
    unknown: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// A line for the client's standard input, without its newline.
    Write(String),
    /// Once, before everything else about the pane. The pid is the program the pane was opened with.
    Ready {
        pane: u32,
        rows: u16,
        cols: u16,
        title: String,
        pid: Option<u32>,
    },
    /// The pane was given another program.
    Program {
        pid: Option<u32>,
    },
    /// Makes a terminal of the pane's size show what the pane shows, whatever it showed before. The first is followed
    /// by every byte the pane prints from then on; another comes when some could not be heard.
    Screen(Vec<u8>),
    Output(Vec<u8>),
    Resized {
        rows: u16,
        cols: u16,
    },
    /// We read too slowly, and output was thrown away. A [`Told::Screen`] follows.
    Paused,
    /// The bytes of the command are with the pane's terminal.
    Done {
        command: u64,
    },
    Failed {
        command: u64,
        text: String,
    },
    /// The last word. The client may still run.
    Gone(Why),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// There is no such pane, or it is not the pane of a tmux at all.
    NotFound(String),
    /// The pane was closed, or its program has ended.
    Closed,
    /// We wanted to leave.
    Left,
    /// The client ended: somebody detached it, its session is closed, or the server has ended.
    Lost(String),
}

/// Something for the pane. The line is written whole and in the order of the numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    pub number: u64,
    /// Without its newline, and never empty: to tmux an empty line means to detach.
    pub line: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the pane is not found yet")]
    NotReady,
    #[error("the pane is gone")]
    Gone,
    #[error("there is nothing to write")]
    Empty,
    #[error("{bytes} bytes are too many at once, at most {BYTES_MAX}")]
    TooLarge { bytes: usize },
    #[error("tmux has {ASKED_MAX} commands to answer already")]
    Full,
    #[error("the size of an adopted pane is its user's")]
    NotOurs,
}

/// More is a file. As a line of tmux's language a byte may take four.
pub const BYTES_MAX: usize = 1 << 20;

/// Whoever types faster than tmux answers is told so.
const ASKED_MAX: usize = 1024;

/// What is kept of an answer that is not a screen.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A screen of thousand by thousand with a colour in every cell is cut.
const SCREEN_BYTES_MAX: usize = 16 << 20;

/// More panes than this are heard and not listened to.
const HUSHED_MAX: usize = 1024;

const SWITCHES_FAILED_MAX: u8 = 3;

/// A restart of ours is shorter. Until then tmux keeps what we do not read.
const PAUSE_AFTER_SECONDS: u32 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Stage {
    Finding,
    Ready,
    Leaving,
    Gone,
}

/// Looks are one at a time, however much happens in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Look {
    No,
    Asked,
    /// Something happened since it was asked.
    Again,
}

/// Once bytes of the pane are missing, what it prints counts again when its screen has been captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Hearing {
    /// A screen that was asked for before is too old.
    Nothing,
    ScreenAsked,
    All,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Asked {
    /// The commands of a line are answered one by one until the first that fails.
    line: u64,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum What {
    /// That there is what the rest of the line is about.
    Check,
    Find,
    Facts,
    Capture,
    Switch,
    Nothing,
    Part,
    Last,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Block {
    /// Time, number and flags, which its end repeats.
    mark: Vec<u8>,
    is_ours: bool,
    lines: Vec<Vec<u8>>,
    bytes: usize,
    /// So many lines are text whatever they say: a screen may show what looks like the end of the block.
    verbatim: usize,
}

impl Control {
    /// A target as tmux has it: a pane id, or a session, window or pane by name. Ids are not mistaken for another.
    pub fn new(target: impl Into<String>) -> Self {
        Self {
            target: target.into(),
            pause_after_s: PAUSE_AFTER_SECONDS,
            pane: None,
            facts: None,
            session: None,
            stage: Stage::Finding,
            asked: VecDeque::new(),
            lines: 0,
            block: None,
            look: Look::No,
            hearing: Hearing::Nothing,
            is_late: false,
            switching: false,
            switches_failed: 0,
            hushed: BTreeSet::new(),
            last_error: None,
            unknown: 0,
        }
    }

    /// How far behind a reader may be who is given the bytes; one further behind is given the screen.
    pub fn pause_after(self, seconds: u32) -> Self {
        Self { pause_after_s: seconds, ..self }
    }

    /// What the client is started with, after `tmux` and the words that name a server. A target that names a window
    /// would be made the user's current one, so the client is given a session at most.
    pub fn argv(&self) -> Vec<String> {
        let flags = format!("ignore-size,pause-after={}", self.pause_after_s);
        // -E: the session's environment is not to become ours. No size is ever given, so that we never count.
        let mut argv: Vec<String> = ["-C", "attach-session", "-E", "-f", &flags].map(str::to_owned).into();
        if let Some(session) = session_of(&self.target) {
            argv.extend(["-t".to_owned(), session.to_owned()]);
        }
        argv
    }

    /// What is written first, as soon as there is a client.
    pub fn begin(&mut self) -> Vec<String> {
        let mut target = self.target.clone();
        // A bare name would be looked for among the windows first.
        if session_of(&target) == Some(target.as_str()) {
            target.push(':');
        }
        let target = quoted(target.as_bytes());
        // For a target that does not exist, display-message speaks of another pane; a capture fails.
        let line = format!("capture-pane -p -q -S 0 -E 0 -t {target} ; display-message -p -t {target} '#{{pane_id}}'");
        vec![self.ask(&[What::Check, What::Find], line)]
    }

    /// A line the client printed, without its newline.
    pub fn hear(&mut self, line: &[u8]) -> Vec<Told> {
        let mut told = Vec::new();
        if self.stage == Stage::Gone {
            return told;
        }
        match self.block.take() {
            Some(block) => self.hear_inside(block, line, &mut told),
            None => self.hear_notice(line, &mut told),
        }
        told
    }

    /// The client printed its last line.
    pub fn ended(&mut self) -> Option<Told> {
        (self.stage != Stage::Gone).then(|| self.lost("its output ended"))
    }

    /// Makes sure of where the pane is, and whether it is.
    pub fn look(&mut self) -> Vec<Told> {
        let mut told = Vec::new();
        self.want_look(&mut told);
        told
    }

    /// What is written when nothing was heard for a second. A pause may be due then, of which tmux 3.3 sometimes keeps
    /// the news until it is asked something; without this we would wait for each other. `None` when there is no reason.
    pub fn nudge(&mut self) -> Option<String> {
        let is_due = std::mem::take(&mut self.is_late) && self.stage != Stage::Gone && self.asked.len() < ASKED_MAX;
        is_due.then(|| self.ask(&[What::Nothing], "display-message -p ''".to_owned()))
    }

    /// Bytes for the program as they are. They go by way of a buffer, because keys that are sent to a pane whose user
    /// scrolls in it are taken by the scrolling, and those sent to a synchronized pane reach its neighbours. A zero byte
    /// has no other way than as a key.
    pub fn keys(&mut self, bytes: &[u8]) -> Result<Command, Refused> {
        self.write(bytes, "-r")
    }

    pub fn enter(&mut self) -> Result<Command, Refused> {
        self.keys(b"\r")
    }

    /// As a terminal pastes: a newline becomes a return, and the text is marked if the program has asked for marks. A
    /// mark in the text would end the paste early and make keys of the rest; its escape is replaced. What no terminal
    /// pastes, the zero byte, is left out.
    pub fn paste(&mut self, text: &[u8], how: Paste) -> Result<Command, Refused> {
        let kept: Vec<u8> = text.iter().copied().filter(|byte| *byte != 0).collect();
        match how {
            Paste::Plain => self.write(&kept, ""),
            Paste::Bracketed => self.write(&defused(&kept), "-p"),
        }
    }

    /// An adopted pane is not resized.
    pub fn resize(&self, _rows: u16, _cols: u16) -> Refused {
        Refused::NotOurs
    }

    /// Says good-bye; the pane stays.
    pub fn leave(&mut self) -> String {
        if self.stage != Stage::Gone {
            self.stage = Stage::Leaving;
        }
        self.ask(&[What::Nothing], "detach-client".to_owned())
    }

    pub fn pane(&self) -> Option<u32> {
        self.pane
    }

    /// Lines of a kind this build does not know.
    pub fn unknown(&self) -> u64 {
        self.unknown
    }

    fn write(&mut self, bytes: &[u8], how: &str) -> Result<Command, Refused> {
        let pane = match (self.stage, self.pane) {
            (Stage::Ready, Some(pane)) => pane,
            (Stage::Finding, _) | (Stage::Ready, None) => return Err(Refused::NotReady),
            (Stage::Leaving | Stage::Gone, _) => return Err(Refused::Gone),
        };
        if bytes.is_empty() {
            return Err(Refused::Empty);
        }
        if bytes.len() > BYTES_MAX {
            return Err(Refused::TooLarge { bytes: bytes.len() });
        }
        let buffer = format!("agentmux-{pane}-{}", self.lines);
        let mut parts = Vec::new();
        for run in bytes.chunk_by(|a, b| (*a == 0) == (*b == 0)) {
            if run[0] == 0 {
                // A word of a command cannot hold it.
                parts.extend(run.chunks(KEYS_IN_A_COMMAND_MAX).map(|zeroes| {
                    let keys = vec!["00"; zeroes.len()].join(" ");
                    format!("send-keys -H -t %{pane} {keys}")
                }));
                continue;
            }
            parts.push(format!("set-buffer -b {buffer} -- {}", quoted(run)));
            parts.push(format!("paste-buffer {how} -d -b {buffer} -t %{pane}"));
        }
        if self.asked.len() + parts.len() > ASKED_MAX {
            return Err(Refused::Full);
        }
        let mut whats = vec![What::Part; parts.len() - 1];
        whats.push(What::Last);
        let number = self.lines;
        let line = self.ask(&whats, parts.join(" ; "));
        Ok(Command { number, line })
    }

    /// Each part of a line is answered by a block of its own.
    fn ask(&mut self, whats: &[What], line: String) -> String {
        self.asked.extend(whats.iter().map(|what| Asked { line: self.lines, what: *what }));
        self.lines += 1;
        line
    }

    fn hear_inside(&mut self, mut block: Block, line: &[u8], told: &mut Vec<Told>) {
        if block.verbatim == 0 {
            let ending = |word: &[u8]| line.strip_prefix(word).is_some_and(|mark| mark == block.mark);
            if ending(b"%end ") {
                return self.answered(block, true, told);
            }
            if ending(b"%error ") {
                return self.answered(block, false, told);
            }
        }
        let is_screen = block.verbatim > 0;
        block.verbatim = block.verbatim.saturating_sub(1);
        block.bytes += line.len();
        if block.bytes <= if is_screen { SCREEN_BYTES_MAX } else { ANSWER_BYTES_MAX } {
            block.lines.push(line.to_vec());
        }
        self.block = Some(block);
    }

    fn hear_notice(&mut self, line: &[u8], told: &mut Vec<Told>) {
        let at = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
        let rest = line.get(at + 1..).unwrap_or_default();
        match &line[..at] {
            b"%begin" => {
                // Whatever was not asked over this client, its own attaching or a hook of the user's, has even flags.
                let flags = words(rest).nth(2).and_then(number);
                let is_ours = flags.is_some_and(|flags| flags % 2 == 1);
                let verbatim = match self.asked.front().filter(|_| is_ours).map(|asked| asked.what) {
                    Some(What::Capture) => self.facts.as_ref().map_or(0, |facts| usize::from(facts.rows)),
                    Some(What::Check) => 1,
                    _ => 0,
                };
                self.block = Some(Block { mark: rest.to_vec(), is_ours, lines: Vec::new(), bytes: 0, verbatim });
            }
            b"%output" => {
                let (pane, data) = split(rest, b" ");
                self.printed(pane, data, told);
            }
            b"%extended-output" => {
                let (pane, rest) = split(rest, b" ");
                let age_ms = words(rest).next().and_then(number).unwrap_or_default();
                self.is_late = age_ms >= u64::from(self.pause_after_s) * 500;
                self.printed(pane, split(rest, b" : ").1, told);
            }
            b"%pause" => {
                if id(rest, b'%').is_some_and(|pane| Some(pane) == self.pane) {
                    self.hearing = Hearing::Nothing;
                    told.push(Told::Paused);
                    let pane = self.pane.unwrap_or_default();
                    told.push(Told::Write(self.ask(&[What::Nothing], format!("refresh-client -A '%{pane}:continue'"))));
                    self.want_look(told);
                }
            }
            b"%session-changed" => {
                let session = words(rest).next().and_then(|word| id(word, b'$'));
                if session.is_some() && session != self.session {
                    self.session = session;
                    // Of a window that is in no session of ours we hear nothing.
                    self.hearing = Hearing::Nothing;
                }
                self.want_look(told);
            }
            b"%layout-change"
            | b"%window-add"
            | b"%window-close"
            | b"%unlinked-window-add"
            | b"%unlinked-window-close"
            | b"%sessions-changed" => self.want_look(told),
            b"%exit" => {
                let reason = String::from_utf8_lossy(rest).into_owned();
                let gone = self.lost(&reason);
                told.push(gone);
            }
            b"%client-detached"
            | b"%client-session-changed"
            | b"%config-error"
            | b"%continue"
            | b"%message"
            | b"%pane-mode-changed"
            | b"%paste-buffer-changed"
            | b"%paste-buffer-deleted"
            | b"%session-renamed"
            | b"%session-window-changed"
            | b"%subscription-changed"
            | b"%unlinked-window-renamed"
            | b"%window-pane-changed"
            | b"%window-renamed" => {}
            _ => self.unknown += 1,
        }
    }

    fn printed(&mut self, pane: &[u8], data: &[u8], told: &mut Vec<Told>) {
        let Some(pane) = id(pane, b'%') else {
            self.unknown += 1;
            return;
        };
        if Some(pane) != self.pane {
            // A pane that is paused for us costs nobody anything and runs on. One that is turned off would be stopped
            // when nobody else looks.
            if self.pane.is_some() && self.hushed.len() < HUSHED_MAX && self.hushed.insert(pane) {
                told.push(Told::Write(self.ask(&[What::Nothing], format!("refresh-client -A '%{pane}:pause'"))));
            }
        } else if self.stage == Stage::Ready && self.hearing == Hearing::All {
            told.push(Told::Output(unescaped(data)));
        }
    }

    fn answered(&mut self, block: Block, is_good: bool, told: &mut Vec<Told>) {
        let text = || String::from_utf8_lossy(&block.lines.join(&b'\n')).into_owned();
        if !block.is_ours {
            if !is_good && self.session.is_none() {
                self.last_error = Some(text());
            }
            return;
        }
        let Some(asked) = self.asked.pop_front() else {
            self.unknown += 1;
            return;
        };
        if !is_good {
            while self.asked.pop_front_if(|next| next.line == asked.line).is_some() {}
        }
        match asked.what {
            What::Check if is_good => {}
            What::Check => self.gone(Why::NotFound(text()), told),
            What::Find => match block.lines.first().and_then(|line| id(line, b'%')) {
                Some(pane) if is_good => {
                    self.pane = Some(pane);
                    self.want_look(told);
                }
                _ => {
                    let text = if is_good { format!("no such pane: {}", self.target) } else { text() };
                    self.gone(Why::NotFound(text), told);
                }
            },
            What::Facts if is_good => self.placed(&block.lines, told),
            What::Facts => self.gone(Why::Lost(text()), told),
            What::Capture => {
                if is_good && self.hearing == Hearing::ScreenAsked {
                    self.captured(&block.lines, told);
                }
                self.looked(told);
            }
            What::Switch => {
                self.switching = false;
                self.switches_failed = if is_good { 0 } else { self.switches_failed + 1 };
                if self.switches_failed > SWITCHES_FAILED_MAX {
                    self.gone(Why::Lost(text()), told);
                } else {
                    self.want_look(told);
                }
            }
            What::Nothing => {}
            What::Part | What::Last if !is_good => told.push(Told::Failed { command: asked.line, text: text() }),
            What::Part => {}
            What::Last => told.push(Told::Done { command: asked.line }),
        }
    }

    fn want_look(&mut self, told: &mut Vec<Told>) {
        let (Some(pane), Some(_), Stage::Finding | Stage::Ready) = (self.pane, self.session, self.stage) else {
            return;
        };
        if self.look != Look::No {
            self.look = Look::Again;
            return;
        }
        self.look = Look::Asked;
        let mut whats = vec![What::Facts];
        // Every session that has the pane's window answers with a line; without one the pane is gone.
        let mut line = format!("list-panes -a -f '#{{==:#{{pane_id}},%{pane}}}' -F '{FACTS}'");
        if self.hearing != Hearing::All && !self.switching {
            self.hearing = Hearing::ScreenAsked;
            // In one line, so that the pane prints nothing between the facts and the screen.
            whats.push(What::Capture);
            let _ = write!(line, " ; capture-pane -p -e -N -q -t %{pane}");
        }
        told.push(Told::Write(self.ask(&whats, line)));
    }

    fn looked(&mut self, told: &mut Vec<Told>) {
        if std::mem::replace(&mut self.look, Look::No) == Look::Again {
            self.want_look(told);
        }
    }

    /// What a look has found, before the screen that may come with it.
    fn placed(&mut self, lines: &[Vec<u8>], told: &mut Vec<Told>) {
        let all: Vec<Facts> = lines.iter().filter_map(|line| Facts::read(line)).collect();
        let has_screen = self.asked.front().is_some_and(|next| next.what == What::Capture);
        let here = all.iter().find(|facts| Some(facts.session) == self.session);
        let Some(first) = here.or(all.first()) else {
            return self.gone(Why::Closed, told);
        };
        if first.is_dead {
            return self.gone(Why::Closed, told);
        }
        let before = self.facts.replace(first.clone());
        let is_ready = self.stage == Stage::Ready;
        let respawned = before.as_ref().filter(|before| is_ready && before.pid != first.pid).map(|_| first.pid);
        if here.is_none() && !self.switching {
            self.switching = true;
            self.hearing = Hearing::Nothing;
            let line = format!("switch-client -E -t '${}'", first.session);
            told.push(Told::Write(self.ask(&[What::Switch], line)));
        }
        if self.stage == Stage::Ready
            && let Some(before) = before
            && (before.rows, before.cols) != (first.rows, first.cols)
        {
            told.push(Told::Resized { rows: first.rows, cols: first.cols });
        }
        if let Some(pid) = respawned {
            told.push(Told::Program { pid });
        }
        if !has_screen {
            self.looked(told);
        }
    }

    fn captured(&mut self, rows: &[Vec<u8>], told: &mut Vec<Told>) {
        let (Some(facts), Some(pane)) = (&self.facts, self.pane) else { return };
        if self.stage == Stage::Finding {
            self.stage = Stage::Ready;
            let (rows, cols, pid) = (facts.rows, facts.cols, facts.pid);
            told.push(Told::Ready { pane, rows, cols, title: facts.title.clone(), pid });
        }
        self.hearing = Hearing::All;
        told.push(Told::Screen(facts.screen(rows)));
    }

    fn gone(&mut self, why: Why, told: &mut Vec<Told>) {
        self.stage = Stage::Gone;
        told.push(Told::Gone(why));
    }

    fn lost(&mut self, reason: &str) -> Told {
        let why = match (self.stage, self.last_error.take()) {
            (Stage::Leaving, _) => Why::Left,
            (Stage::Finding, Some(error)) => Why::NotFound(error),
            (_, Some(error)) if reason.is_empty() => Why::Lost(error),
            _ if reason.is_empty() => Why::Lost("the tmux client has ended".to_owned()),
            _ => Why::Lost(format!("the tmux client has ended: {reason}")),
        };
        self.stage = Stage::Gone;
        Told::Gone(why)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paste {
    /// For programs that are to take it for typing.
    Plain,
    /// With the marks of a paste, if the program wants them.
    Bracketed,
}

/// Zero bytes are rare; a command is kept short all the same.
const KEYS_IN_A_COMMAND_MAX: usize = 256;

/// Where the pane is and what a capture does not tell of its screen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Facts {
    session: u32,
    is_dead: bool,
    rows: u16,
    cols: u16,
    pid: Option<u32>,
    cursor: (u16, u16),
    region: (u16, u16),
    is_alternate: bool,
    is_origin: bool,
    is_keypad: bool,
    /// Modes by their sequences, without the last letter.
    modes: Vec<(String, bool)>,
    title: String,
}

/// What the pane says of itself, each in its place; the title is last as it may hold anything.
const FACTS: &str = "amux,#{session_id},#{pane_dead},#{pane_height},#{pane_width},#{pane_pid},#{cursor_x},#{cursor_y},\
#{scroll_region_upper},#{scroll_region_lower},#{alternate_on},#{origin_flag},#{keypad_flag},#{cursor_flag},\
#{insert_flag},#{keypad_cursor_flag},#{wrap_flag},#{mouse_standard_flag},#{mouse_button_flag},#{mouse_all_flag},\
#{mouse_utf8_flag},#{mouse_sgr_flag},#{bracket_paste_flag},#{pane_title}";

/// The modes at the end of [`FACTS`].
const MODES: [&str; 10] = ["?25", "4", "?1", "?7", "?1000", "?1002", "?1003", "?1005", "?1006", "?2004"];

impl Facts {
    fn read(line: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(line);
        let mut fields = text.strip_prefix("amux,")?.splitn(13 + MODES.len(), ',');
        let session = fields.next()?.strip_prefix('$')?.parse().ok()?;
        let is_dead = fields.next()? == "1";
        let mut small = || fields.next()?.parse::<u32>().ok();
        let (rows, cols, pid) = (small()?, small()?, small());
        let mut at = || Some(u16::try_from(small()?).unwrap_or(u16::MAX));
        let (cursor, region) = ((at()?, at()?), (at()?, at()?));
        let mut is_on = || fields.next().map(|field| field == "1");
        let (is_alternate, is_origin, is_keypad) = (is_on()?, is_on()?, is_on()?);
        let mut modes = Vec::new();
        for mode in MODES {
            // One that this tmux does not know is an empty word.
            let field = fields.next()?;
            if !field.is_empty() {
                modes.push((mode.to_owned(), field == "1"));
            }
        }
        let title = fields.next()?.to_owned();
        let (rows, cols) = (u16::try_from(rows).ok()?, u16::try_from(cols).ok()?);
        Some(Self {
            session,
            is_dead,
            rows,
            cols,
            pid,
            cursor,
            region,
            is_alternate,
            is_origin,
            is_keypad,
            modes,
            title,
        })
    }

    fn screen(&self, rows: &[Vec<u8>]) -> Vec<u8> {
        // All new, and line drawing in the place where a capture looks for it.
        let mut bytes = b"\x1bc\x1b)0".to_vec();
        if self.is_alternate {
            bytes.extend(b"\x1b[?1049h");
        }
        for (row, line) in (1..=self.rows).zip(rows) {
            bytes.extend(format!("\x1b[{row};1H").bytes());
            bytes.extend(line);
        }
        bytes.extend(b"\x1b[0m\x0f");
        let (upper, lower) = self.region;
        if (upper, lower) != (0, self.rows.saturating_sub(1)) {
            bytes.extend(format!("\x1b[{};{}r", upper.saturating_add(1), lower.saturating_add(1)).bytes());
        }
        for (mode, is_on) in &self.modes {
            bytes.extend(format!("\x1b[{mode}{}", if *is_on { 'h' } else { 'l' }).bytes());
        }
        if self.is_keypad {
            bytes.extend(b"\x1b=");
        }
        let (x, mut y) = self.cursor;
        if self.is_origin {
            bytes.extend(b"\x1b[?6h");
            y = y.saturating_sub(upper);
        }
        bytes.extend(format!("\x1b[{};{}H", y.saturating_add(1), x.saturating_add(1)).bytes());
        bytes
    }
}

/// The session a target names, if it does: ids of panes and windows do not, nor does a window without one.
fn session_of(target: &str) -> Option<&str> {
    let session = match target.split_once(':') {
        Some((session, _)) => session,
        None if target.contains('.') => return None,
        None => target,
    };
    (!session.is_empty() && !session.starts_with(['%', '@'])).then_some(session)
}

/// One word of tmux's language, whatever is in it but a zero byte.
fn quoted(bytes: &[u8]) -> String {
    let mut word = String::with_capacity(bytes.len() + 2);
    word.push('"');
    for byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b' ' | b'.' | b',' | b'-' | b'_' | b'/' | b':' | b'=' | b'+' => {
                word.push(char::from(*byte));
            }
            _ => {
                let _ = write!(word, "\\{byte:03o}");
            }
        }
    }
    word.push('"');
    word
}

/// The end mark's escape becomes its picture.
fn defused(text: &[u8]) -> Vec<u8> {
    let mut safe = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, next)) = rest.split_first() {
        if rest.starts_with(b"\x1b[201~") {
            safe.extend("\u{241b}".bytes());
        } else {
            safe.push(*byte);
        }
        rest = next;
    }
    safe
}

/// Of `\ooo` the byte; anything else is itself.
fn unescaped(data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(data.len());
    let mut rest = data;
    while let Some((byte, next)) = rest.split_first() {
        match (byte, next) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => {
                bytes.push(*byte);
                rest = next;
            }
        }
    }
    bytes
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b' ')
}

/// Before and after the first of these; all of it before when there is none.
fn split<'a>(line: &'a [u8], by: &[u8]) -> (&'a [u8], &'a [u8]) {
    match line.windows(by.len()).position(|window| window == by) {
        Some(at) => (&line[..at], &line[at + by.len()..]),
        None => (line, &[]),
    }
}

fn number(word: &[u8]) -> Option<u64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

fn id(word: &[u8], sigil: u8) -> Option<u32> {
    let (first, digits) = word.split_first()?;
    u32::try_from(number(digits)?).ok().filter(|_| *first == sigil)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOKS: &[u8] = b"amux,$0,0,3,20,77,2,1,0,2,0,0,0,1,0,0,1,0,0,0,0,0,,a, title";

    /// Found, attached and looked at.
    fn ready() -> Control {
        let mut control = Control::new("work");
        control.begin();
        hear(&mut control, &["%begin 1 0 1", "%end 1 0 1", "%end 1 0 1", "%begin 1 1 1", "%5", "%end 1 1 1"]);
        hear(&mut control, &["%begin 1 2 0", "%end 1 2 0"]);
        let told = hear(&mut control, &["%session-changed $0 work"]);
        assert!(matches!(&told[..], [Told::Write(line)] if line.contains("capture-pane")), "{told:?}");
        let told = looks(&mut control, 3, &["one", "two", ""]);
        assert!(matches!(&told[..], [Told::Ready { pane: 5, .. }, Told::Screen(_)]), "{told:?}");
        control
    }

    fn hear(control: &mut Control, lines: &[&str]) -> Vec<Told> {
        lines.iter().flat_map(|line| control.hear(line.as_bytes())).collect()
    }

    fn looks(control: &mut Control, number: u32, rows: &[&str]) -> Vec<Told> {
        hear(control, &[&format!("%begin 9 {number} 1")]);
        control.hear(LOOKS);
        let mut told = hear(control, &[&format!("%end 9 {number} 1"), &format!("%begin 9 {} 1", number + 1)]);
        told.extend(hear(control, rows));
        told.extend(hear(control, &[&format!("%end 9 {} 1", number + 1)]));
        told
    }

    #[test]
    fn a_screen_that_shows_the_end_of_its_own_answer_is_a_screen() {
        let mut control = ready();
        control.hear(b"%pause %5");
        hear(&mut control, &["%begin 2 7 1", "%end 2 7 1"]);
        let told = looks(&mut control, 8, &["%end 9 9 1", "%exit", "%window-close @0"]);
        let [Told::Screen(screen)] = &told[..] else { panic!("{told:?}") };
        assert!(screen.windows(10).any(|at| at == b"%end 9 9 1") && screen.windows(5).any(|at| at == b"%exit"));
        assert_eq!(hear(&mut control, &["%output %5 x"]), [Told::Output(b"x".to_vec())]);
    }

    #[test]
    fn a_screen_older_than_a_pause_is_not_taken_for_the_end_of_it() {
        let mut control = ready();
        let told = hear(&mut control, &["%pause %5"]);
        assert!(
            matches!(&told[..], [Told::Paused, Told::Write(go_on), Told::Write(_)] if go_on.ends_with("continue'"))
        );
        hear(&mut control, &["%begin 2 7 1", "%end 2 7 1"]);
        // Paused again before the answer: what it prints until it goes on is in no screen but the next.
        assert_eq!(hear(&mut control, &["%pause %5", "%output %5 lost"]).len(), 2);
        let told = looks(&mut control, 8, &["", "", ""]);
        assert!(matches!(&told[..], [Told::Write(line)] if line.contains("capture-pane")), "{told:?}");
        hear(&mut control, &["%begin 2 20 1", "%end 2 20 1"]);
        assert!(matches!(&looks(&mut control, 21, &["", "", ""])[..], [Told::Screen(_)]));
    }

    #[test]
    fn whatever_happens_meanwhile_one_look_is_under_way() {
        let mut control = ready();
        let storm = vec!["%layout-change @0 x x *"; 50];
        assert_eq!(hear(&mut control, &storm).len(), 1);
        control.hear(b"%begin 3 30 1");
        control.hear(LOOKS);
        assert_eq!(hear(&mut control, &["%end 3 30 1"]).len(), 1);
        control.hear(b"%begin 3 31 1");
        control.hear(LOOKS);
        assert_eq!(hear(&mut control, &["%end 3 31 1"]), []);
    }

    #[test]
    fn the_first_part_that_fails_answers_for_its_line() {
        let mut control = ready();
        let first = control.paste(b"a", Paste::Bracketed).unwrap();
        let second = control.enter().unwrap();
        let told = hear(&mut control, &["%begin 4 40 1", "no space", "%error 4 40 1", "%begin 4 41 1", "%end 4 41 1"]);
        assert_eq!(told, [Told::Failed { command: first.number, text: "no space".into() }]);
        assert_eq!(hear(&mut control, &["%begin 4 42 1", "%end 4 42 1"]), [Told::Done { command: second.number }]);
    }

    #[test]
    fn a_mark_in_a_paste_cannot_end_it() {
        assert_eq!(defused(b"a\x1b[201~b\x1b[200~"), "a\u{241b}[201~b\x1b[200~".as_bytes());
        assert_eq!(defused(b"\x1b\x1b[201~[201~"), "\x1b\u{241b}[201~[201~".as_bytes());
    }

    #[test]
    fn what_is_too_much_or_too_early_is_refused() {
        let mut control = Control::new("work");
        assert_eq!(control.keys(b"x"), Err(Refused::NotReady));
        let mut control = ready();
        assert_eq!(control.keys(b""), Err(Refused::Empty));
        assert_eq!(control.keys(&vec![b'x'; BYTES_MAX + 1]), Err(Refused::TooLarge { bytes: BYTES_MAX + 1 }));
        assert_eq!(std::iter::repeat_with(|| control.enter()).find_map(Result::err), Some(Refused::Full));
        control.hear(b"%exit");
        assert_eq!(control.enter(), Err(Refused::Gone));
    }

    #[test]
    fn targets_are_taken_apart_as_tmux_does() {
        let cases = [("work", Some("work")), ("work:2.1", Some("work")), ("=a:", Some("=a")), ("$3", Some("$3"))];
        for (target, session) in cases.into_iter().chain([("%3", None), ("@1", None), (":1", None), ("1.2", None)]) {
            assert_eq!(session_of(target), session, "{target}");
        }
    }

    #[test]
    fn garbage_is_survived() {
        let words: [&[u8]; 22] = [
            b"%begin",
            b"%end",
            b"%error",
            b"%output",
            b"%extended-output",
            b"%pause",
            b"%session-changed",
            b"%layout-change",
            b" ",
            b"1",
            b"2",
            b"%5",
            b"%99999999999",
            b"$0",
            b"$",
            b"%",
            b"\\777",
            b"\\0",
            b" : ",
            b"\xff",
            LOOKS,
            b"",
        ];
        // A simple generator: the same garbage on every run.
        let mut seed = 1_u64;
        let mut next = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % below
        };
        for _ in 0..300 {
            let mut control = if next(2) == 0 { ready() } else { Control::new("work") };
            control.begin();
            for _ in 0..60 {
                let line: Vec<u8> = (0..next(7)).flat_map(|_| words[next(words.len())].to_vec()).collect();
                let _ = control.hear(&line);
                if next(9) == 0 {
                    let _ = control.paste(&line, Paste::Bracketed);
                }
            }
            assert!(control.asked.len() <= ASKED_MAX + 64);
        }
    }

    #[test]
    fn a_machine_that_was_put_away_goes_on() {
        let mut control = ready();
        control.hear(b"%begin 5 50 1");
        let text = serde_json::to_string(&control).unwrap();
        let mut control: Control = serde_json::from_str(&text).unwrap();
        assert_eq!(hear(&mut control, &["%end 5 50 1", "%output %5 \\033x"]), [Told::Output(b"\x1bx".to_vec())]);
    }
}
