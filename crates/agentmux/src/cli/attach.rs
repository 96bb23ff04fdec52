//! `agentmux attach`: an agent's terminal, full-screen in this one.
//!
//! One loop over four descriptors, and nothing in it waits for any of them alone: keys go out while output comes in,
//! and a terminal that does not read holds up neither. While this terminal has the agent's size it is given the
//! program's own bytes; otherwise it is painted from an emulator, which shows the part that fits.

mod keys;
mod mute;

use std::fmt::Write as _;
use std::io::{self, PipeReader};
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use amux_client::{Client, Error as ClientError, Seen, Viewer};
use amux_proto::entity::Size;
use amux_proto::exit::Exit;
use amux_proto::{Code, RunNo, env};
use amux_runner::screen::{CLEAN, Screen};
use amux_sys::poll::{self, Wants};
use amux_sys::signals::{Signal, Signals};
use amux_sys::tty::{self, Tty};
use serde_json::{Value, json};

use self::keys::{Keys, Leave};
use self::mute::Mute;
use crate::context::{self, Context};
use crate::output::word;
use crate::report::{Failure, say};
use crate::text::plain;

#[derive(clap::Args)]
pub(crate) struct Attach {
    agent: String,
    /// The two keys that leave it: a prefix, and d unless another is given
    #[arg(long, value_name = "KEY", default_value = "C-\\", value_parser = keys::parse)]
    detach_key: Leave,
    /// Look on: no key reaches the agent, and its terminal keeps its size
    #[arg(long)]
    read_only: bool,
}

/// A server that was restarted, or crashed, is back long before.
const BACK_WITHIN: Duration = Duration::from_secs(60);

const TRY_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Read and not yet shown. What the server has beyond that stays with the server.
const SHOW_BYTES_MAX: usize = 1024 * 1024;

/// Typed while the server was away.
const TYPED_BYTES_MAX: usize = 64 * 1024;

/// A terminal that takes nothing for so long is left as it is.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

impl Attach {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        if !tty::is_ours() {
            let hint = format!("agentmux look {}", self.agent);
            return Err(Failure::usage("attach needs a terminal: stdin and stdout are not one").hint(hint));
        }
        let no_terminal = |error| Failure::failed(format!("this terminal cannot be used: {error}"));
        let tty = Tty::open().map_err(no_terminal)?;
        let ours = size_of(&tty);
        let mut client = context.client()?;
        let detail = detail(&mut client, &self.agent)?;
        let (uid, label) = (word(&detail["agent"]["uid"]), label(&detail));
        if std::env::var(env::AGENT_UID).is_ok_and(|mine| mine == uid) {
            let message = format!("this is the terminal of {label} itself: it cannot show itself");
            return Err(Failure::new(Exit::Failed, Code::Conflict, message));
        }
        let agent = Agent { context: context.without_start(), uid, size: (!self.read_only).then_some(ours) };
        let (viewer, first) = Viewer::open(client, &agent.uid, agent.size)?;
        let signals = [Signal::Winch, Signal::Term, Signal::Hup, Signal::Int, Signal::Cont];
        let signals = Signals::new(&signals).map_err(no_terminal)?;
        let shown = Shown::new(tty, ours).map_err(no_terminal)?;
        let mut attached = Attached {
            shown,
            signals,
            link: Link::Up(Box::new(viewer)),
            keys: Keys::new(self.detach_key),
            agent,
            label,
            run: RunNo(0),
            size: ours,
            owns: false,
            asked: !self.read_only,
            kept: None,
            waiting: Vec::new(),
        };
        let ended = match attached.see(first) {
            Ok(()) => attached.go_on(),
            Err(failure) => Err(failure),
        };
        let label = plain(&attached.label);
        // The terminal is a person's again before anything is said.
        drop(attached);
        match ended? {
            End::Detached => Ok(finish(context, &format!("detached from {label}"))),
            End::Over(how) => Ok(finish(context, &format!("{label} {}", plain(&how)))),
            End::Signal(number) => Ok(ExitCode::from(128 + number)),
        }
    }
}

fn finish(context: &Context, line: &str) -> ExitCode {
    if !context.out.is_quiet() {
        say(line);
    }
    ExitCode::SUCCESS
}

enum End {
    Detached,
    /// The agent ended, and how.
    Over(String),
    Signal(u8),
}

struct Attached {
    shown: Shown,
    signals: Signals,
    link: Link,
    keys: Keys,
    agent: Agent,
    label: String,
    run: RunNo,
    /// Of the agent's terminal.
    size: Size,
    /// The agent's terminal has our size, as far as is known.
    owns: bool,
    /// We said our size, and the screen that answers is still to come.
    asked: bool,
    /// The size it keeps whatever we say: a pane of somebody else's.
    kept: Option<Size>,
    /// Typed while nobody could take it.
    waiting: Vec<u8>,
}

enum Link {
    Up(Box<Viewer>),
    Away(Away),
}

impl Attached {
    fn go_on(&mut self) -> Result<End, Failure> {
        let mut keys = [0; 16 * 1024];
        loop {
            self.shown.paint();
            let link = match &self.link {
                Link::Up(viewer) => {
                    Wants { fd: viewer.as_fd(), read: self.shown.has_room(), write: viewer.has_to_send() }
                }
                Link::Away(away) => Wants { fd: away.back.as_fd(), read: true, write: false },
            };
            let takes_keys = match &self.link {
                Link::Up(viewer) => viewer.takes_more(),
                Link::Away(_) => true,
            };
            let (input, output) = (self.shown.tty.input(), self.shown.tty.output());
            let wanted = [
                Wants { fd: input, read: takes_keys, write: false },
                Wants { fd: self.signals.as_fd(), read: true, write: false },
                link,
                Wants { fd: output, read: false, write: self.shown.has_to_show() },
            ];
            let failed = |error: io::Error| Failure::failed(format!("waiting failed: {error}"));
            let [typed, signal, link, show] = poll::ready(&wanted, None).map_err(failed)?[..] else {
                return Err(Failure::failed("waiting failed"));
            };
            if signal.read
                && let Some(end) = self.heed()
            {
                return Ok(end);
            }
            // Keys before all else: whoever types waits for nothing.
            if typed.read {
                match self.shown.tty.read(&mut keys) {
                    Ok(0) | Err(_) => return Ok(End::Signal(1)),
                    Ok(count) => {
                        let (typed, leaves) = self.keys.take(&keys[..count]);
                        self.typed(&typed);
                        if leaves {
                            self.send_last();
                            return Ok(End::Detached);
                        }
                    }
                }
            }
            if show.write && self.shown.show().is_err() {
                return Ok(End::Signal(1));
            }
            if let Some(end) = self.attend(link)? {
                return Ok(end);
            }
        }
    }

    /// The connection, or the waiting for another one.
    fn attend(&mut self, ready: poll::Ready) -> Result<Option<End>, Failure> {
        match &mut self.link {
            Link::Up(viewer) => {
                let heard = match ready.read {
                    true => take_in(viewer, &mut self.shown),
                    false => Ok(Vec::new()),
                };
                let sent = viewer.flush();
                match heard.and_then(|heard| sent.map(|()| heard)) {
                    Ok(heard) => {
                        for seen in heard {
                            self.see(seen)?;
                        }
                    }
                    Err(ClientError::Refused(refusal)) if refusal.code != Code::Conflict => return Err(refusal.into()),
                    Err(ClientError::Garbled(what)) => return Err(ClientError::Garbled(what).into()),
                    // It may have ended, or the server is about to.
                    Err(ClientError::Refused(_)) => self.lose()?,
                    Err(_) => {
                        self.shown.say_reconnecting(&self.label);
                        self.lose()?;
                    }
                }
                Ok(None)
            }
            Link::Away(away) if ready.read => match away.take()? {
                Back::Over(how) => {
                    self.shown.show_rest();
                    Ok(Some(End::Over(how)))
                }
                Back::Again(again) => {
                    let (viewer, seen) = *again;
                    self.link = Link::Up(Box::new(viewer));
                    self.asked = self.agent.size.is_some();
                    self.see(seen)?;
                    let waiting = std::mem::take(&mut self.waiting);
                    self.typed(&waiting);
                    Ok(None)
                }
            },
            Link::Away(_) => Ok(None),
        }
    }

    fn lose(&mut self) -> Result<(), Failure> {
        if let Link::Up(_) = self.link {
            let failed = |error| Failure::failed(format!("the server cannot be looked for: {error}"));
            self.link = Link::Away(Away::go(&self.agent, self.run).map_err(failed)?);
        }
        Ok(())
    }

    fn see(&mut self, seen: Seen) -> Result<(), Failure> {
        match seen {
            Seen::Screen { agent, run, size, bytes } => {
                (self.label, self.run) = (agent, run);
                self.owns = self.agent.size.is_some_and(|ours| ours == size);
                if std::mem::take(&mut self.asked) {
                    self.kept = (!self.owns).then_some(size);
                }
                self.size = size;
                self.shown.screen(&self.label, size, &bytes);
            }
            Seen::Output(bytes) => self.shown.output(&bytes),
            // Whether the agent has ended or the server lets go of it is seen by asking.
            Seen::Ended(_) => self.lose()?,
        }
        Ok(())
    }

    fn typed(&mut self, bytes: &[u8]) {
        let Some(ours) = self.agent.size.filter(|_| !bytes.is_empty()) else { return };
        match &mut self.link {
            Link::Up(viewer) => {
                viewer.type_bytes(bytes);
                // Whoever types says how large it is.
                if !self.owns && !self.asked && self.kept != Some(self.size) {
                    viewer.resize(ours);
                    self.asked = true;
                }
                // What cannot be sent at once is sent when it can; an error is met there.
                let _ = viewer.flush();
            }
            Link::Away(_) => {
                let room = TYPED_BYTES_MAX.saturating_sub(self.waiting.len());
                self.waiting.extend(&bytes[..bytes.len().min(room)]);
            }
        }
    }

    /// What was typed before leaving is typed.
    fn send_last(&mut self) {
        let Link::Up(viewer) = &mut self.link else { return };
        let deadline = Instant::now() + LEAVE_WITHIN;
        while viewer.flush().is_ok() && viewer.has_to_send() {
            let left = deadline.saturating_duration_since(Instant::now());
            let wanted = [Wants { fd: viewer.as_fd(), read: false, write: true }];
            if left.is_zero() || poll::ready(&wanted, Some(left)).is_err() {
                break;
            }
        }
    }

    fn heed(&mut self) -> Option<End> {
        for signal in self.signals.read() {
            match signal {
                Signal::Winch => self.resized(),
                Signal::Cont => {
                    // Whoever had the terminal meanwhile left it as they liked.
                    let _ = self.shown.tty.make_raw();
                    self.look_again();
                }
                Signal::Term => return Some(End::Signal(15)),
                Signal::Hup => return Some(End::Signal(1)),
                Signal::Int => return Some(End::Signal(2)),
                _ => {}
            }
        }
        None
    }

    fn resized(&mut self) {
        let ours = size_of(&self.shown.tty);
        if std::mem::replace(&mut self.shown.ours, ours) == ours {
            return;
        }
        if let Some(size) = &mut self.agent.size {
            *size = ours;
        }
        if self.agent.size.is_none() {
            self.look_again();
        } else if let Link::Up(viewer) = &mut self.link {
            // Heard only from whoever says how large it is; the screen comes in any case.
            viewer.resize(ours);
            self.asked = false;
            self.kept = None;
        }
    }

    fn look_again(&mut self) {
        if let Link::Up(viewer) = &mut self.link {
            self.asked = self.owns;
            viewer.again(self.agent.size.filter(|_| self.owns));
        }
    }
}

/// What has come, as far as there is room for it.
fn take_in(viewer: &mut Viewer, shown: &mut Shown) -> Result<Vec<Seen>, ClientError> {
    let mut heard = Vec::new();
    let mut bytes = shown.to_show.len();
    while bytes < SHOW_BYTES_MAX {
        match viewer.see() {
            Ok(Some(seen)) => {
                bytes += match &seen {
                    Seen::Screen { bytes, .. } | Seen::Output(bytes) => bytes.len(),
                    Seen::Ended(_) => 0,
                };
                let is_over = matches!(seen, Seen::Ended(_));
                heard.push(seen);
                if is_over {
                    break;
                }
            }
            Ok(None) => break,
            // What came before the end is seen first; the end is met again.
            Err(_) if !heard.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    Ok(heard)
}

/// This terminal while it is the agent's.
struct Shown {
    tty: Tty,
    ours: Size,
    to_show: Vec<u8>,
    /// Shown already, of those.
    at: usize,
    mute: Mute,
    /// The agent's screen, while it is of another size.
    window: Option<Box<Screen>>,
    is_stale: bool,
}

impl Shown {
    fn new(tty: Tty, ours: Size) -> io::Result<Self> {
        tty.make_raw()?;
        let mut this =
            Self { tty, ours, to_show: Vec::new(), at: 0, mute: Mute::default(), window: None, is_stale: false };
        // The title is put aside, and what the screen shows scrolls up to where it can be read later.
        this.to_show.extend(b"\x1b[22;0t\x1b[m");
        this.to_show.extend(format!("\x1b[{};1H", ours.rows).bytes());
        this.to_show.extend(std::iter::repeat_n(b'\n', usize::from(ours.rows)));
        Ok(this)
    }

    fn screen(&mut self, label: &str, size: Size, bytes: &[u8]) {
        self.mute = Mute::default();
        if size == self.ours {
            self.window = None;
            self.mute.pass(bytes, &mut self.to_show);
            return;
        }
        let mut screen = Screen::live(size);
        screen.feed(bytes);
        self.window = Some(Box::new(screen));
        self.is_stale = true;
        let Size { rows, cols } = self.ours;
        let title = format!("{}: {}x{} shown as {cols}x{rows}", plain(label), size.cols, size.rows);
        self.to_show.extend(CLEAN.bytes());
        self.to_show.extend(format!("\x1b[H\x1b[J\x1b]2;{title}\x1b\\").bytes());
    }

    fn output(&mut self, bytes: &[u8]) {
        match &mut self.window {
            Some(screen) => {
                screen.feed(bytes);
                self.is_stale = true;
            }
            None => self.mute.pass(bytes, &mut self.to_show),
        }
    }

    /// The part that fits, once all that was painted before is there.
    fn paint(&mut self) {
        let Some(screen) = self.window.as_mut().filter(|_| self.is_stale && self.at == self.to_show.len()) else {
            return;
        };
        self.is_stale = false;
        // They were dealt with by the terminal the program runs in.
        screen.take_answers();
        screen.take_signs();
        let (rows, cursor) = screen.cut(self.ours);
        let mut text = String::from("\x1b[?2026h\x1b[?25l");
        for at in 0..usize::from(self.ours.rows) {
            let row = rows.get(at).map_or("", String::as_str);
            let _ = write!(text, "\x1b[{};1H\x1b[m\x1b[2K{row}", at + 1);
        }
        let mode = |on: bool, name: &str| format!("\x1b[?{name}{}", if on { 'h' } else { 'l' });
        text.push_str(&mode(screen.application_cursor(), "1"));
        text.push_str(&mode(screen.bracketed_paste(), "2004"));
        if let Some(cursor) = cursor {
            let _ = write!(text, "\x1b[{};{}H\x1b[?25h", cursor.row + 1, cursor.col + 1);
        }
        text.push_str("\x1b[?2026l");
        self.to_show.extend(text.bytes());
    }

    /// Whatever it shows meanwhile, the screen that follows makes good.
    fn say_reconnecting(&mut self, label: &str) {
        let words = format!(" {}: reconnecting … ", plain(label));
        let row = self.ours.rows;
        let text = format!("\x18\x1b]2;{words}\x1b\\\x1b7\x1b[?6l\x1b[{row};1H\x1b[m\x1b[7m{words}\x1b[m\x1b8");
        self.to_show.extend(text.bytes());
    }

    fn has_room(&self) -> bool {
        self.to_show.len() < SHOW_BYTES_MAX
    }

    fn has_to_show(&self) -> bool {
        self.at < self.to_show.len()
    }

    fn show(&mut self) -> io::Result<()> {
        while self.has_to_show() {
            match self.tty.write(&self.to_show[self.at..]) {
                Ok(count) => self.at += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.to_show.clear();
        self.at = 0;
        Ok(())
    }

    fn show_rest(&mut self) {
        self.paint();
        let _ = self.tty.write_within(&self.to_show[self.at..], LEAVE_WITHIN);
    }
}

/// Modes, margins, character sets, colours and pen as they are in a fresh terminal, and the cursor where it is.
const PLAIN: &str = concat!(
    "\x1b[!p\x1b7\x1b[?6l\x1b[r\x1b8",
    "\x1b[?1;12;1000;1002;1003;1004;1005;1006;2004l\x1b[?7;25h\x1b[4;20l\x1b>",
    "\x1b[0 q\x1b(B\x1b)B\x0f\x1b]104\x1b\\\x1b]110\x1b\\\x1b]111\x1b\\\x1b]112\x1b\\\x1b]8;;\x1b\\\x1b[m",
);

impl Drop for Shown {
    fn drop(&mut self) {
        // What is said next is below what the program has left on the screen, and the title is as it was.
        let primary = if self.mute.alternate() { "\x1b[?1049l" } else { "" };
        let below = self.window.as_ref().map_or(String::new(), |_| format!("\x1b[{};1H", self.ours.rows));
        let text = format!("\x18\x1b[?2026l{primary}{PLAIN}\x1b[23;0t{below}\r\n\x1b[J");
        let _ = self.tty.write_within(text.as_bytes(), LEAVE_WITHIN);
    }
}

fn size_of(tty: &Tty) -> Size {
    let (rows, cols) = tty.size().unwrap_or((24, 80));
    // Smaller than any terminal a program expects, and as small as the server takes.
    Size { rows, cols: cols.max(2) }
}

/// Whom we are attached to, and as what.
#[derive(Clone)]
struct Agent {
    context: Context,
    uid: String,
    /// Ours, unless we only look on.
    size: Option<Size>,
}

/// The server is gone, or the agent is: a thread finds out, and waits for whichever comes back.
struct Away {
    back: PipeReader,
    thread: Option<JoinHandle<Result<Back, Failure>>>,
}

enum Back {
    Again(Box<(Viewer, Seen)>),
    Over(String),
}

impl Away {
    fn go(agent: &Agent, run: RunNo) -> io::Result<Self> {
        let (back, done) = io::pipe()?;
        let agent = agent.clone();
        let find = move || {
            let found = agent.find(run);
            drop(done);
            found
        };
        let thread = Some(std::thread::Builder::new().name("reconnecting".into()).spawn(find)?);
        Ok(Self { back, thread })
    }

    fn take(&mut self) -> Result<Back, Failure> {
        let found = self.thread.take().map(JoinHandle::join);
        found.and_then(Result::ok).unwrap_or_else(|| Err(Failure::failed("the server could not be looked for")))
    }
}

impl Agent {
    /// The agent's terminal again, or how the run we saw has ended.
    fn find(&self, run: RunNo) -> Result<Back, Failure> {
        let deadline = Instant::now() + BACK_WITHIN;
        loop {
            match self.try_find(run) {
                Ok(Some(back)) => return Ok(back),
                Ok(None) => {}
                Err(failure) if failure.exit == Exit::NotFound => return Ok(Back::Over("was removed".into())),
                Err(failure) => match failure.rejection.code {
                    Code::Unreachable | Code::Unavailable | Code::Conflict | Code::Limit => {}
                    _ => return Err(failure),
                },
            }
            if Instant::now() >= deadline {
                let message = format!("the server was not back within {} s", BACK_WITHIN.as_secs());
                let failure = Failure::new(Exit::Unreachable, Code::Unreachable, message);
                return Err(failure.hint("agentmux server status"));
            }
            std::thread::sleep(TRY_AGAIN_AFTER);
        }
    }

    fn try_find(&self, run: RunNo) -> Result<Option<Back>, Failure> {
        let mut client = self.context.client()?;
        let detail = detail(&mut client, &self.uid)?;
        let current = &detail["current_run"];
        if current["no"] != json!(run) {
            return Ok(Some(Back::Over(format!("was started again: run {}", word(&current["no"])))));
        }
        match current["state"]["type"].as_str() {
            Some("starting" | "running") => {
                let (viewer, seen) = Viewer::open(client, &self.uid, self.size)?;
                Ok(Some(Back::Again(Box::new((viewer, seen)))))
            }
            // How it ends is known soon.
            Some("stopping") => Ok(None),
            _ => Ok(Some(Back::Over(format!("ended: {}", word(&detail["agent"]["reason"]))))),
        }
    }
}

fn detail(client: &mut Client, agent: &str) -> Result<Value, Failure> {
    context::value(&client.get("agent", &json!({ "agent": agent }))?)
}

fn label(detail: &Value) -> String {
    format!("{}@{}", word(&detail["agent"]["name"]), word(&detail["agent"]["team"]))
}
