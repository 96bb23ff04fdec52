//! `agentmux internal relay`: the process that lives as long as an agent whose CLI makes one process per turn. Orders
//! are JSON lines on stdin; stdout is what the CLIs print, line by line, and between their lines our own, which begin
//! with `{"agentmux":`. The end of stdin is the order to finish.
//!
//! It knows no dialect and keeps nothing. Threads and no runtime: it is mostly asleep, and there may be hundreds.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, PipeReader, PipeWriter, Read as _, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use amux_sys::process::ProcessId;
use amux_sys::signals::{self, Signal};
use amux_sys::spawn::{self, Child, Session, SpawnSpec, Stdio};
use amux_sys::{poll, process};
use serde::Deserialize;
use serde_json::{Value, json};

/// Turns are given one by one; who has given so many has not listened.
const QUEUE_MAX: usize = 64;

/// A prompt with pictures in it, in JSON.
const ORDER_BYTES_MAX: u64 = 64 << 20;

/// Between asking a turn to end and asking it again with more force.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a program has printed is in the pipes when it ends; who holds them open after that is somebody else.
const DRAIN_GRACE: Duration = Duration::from_millis(500);

/// As much as a pipe can hold: what is read beyond it after the end of a program is not the program's.
const PIPE_BYTES_MAX: usize = 1 << 20;

/// A longer line is passed on in pieces.
const PIECE_BYTES_MAX: usize = 64 * 1024;

const TAIL_BYTES_MAX: usize = 16 * 1024;
const TAIL_LINES_MAX: usize = 40;

/// Returns when stdin has ended and no turn runs.
pub(crate) fn run() -> ExitCode {
    let (Ok(stdin), Ok(stdout)) = (io::stdin().as_fd().try_clone_to_owned(), io::stdout().as_fd().try_clone_to_owned())
    else {
        return ExitCode::FAILURE;
    };
    let (events, inbox) = sync_channel(QUEUE_MAX);
    let orders = events.clone();
    thread::spawn(move || read_orders(BufReader::new(File::from(stdin)), &orders));
    let out = Arc::new(Mutex::new(Out::new(File::from(stdout))));
    Relay { out, events, queue: VecDeque::new(), running: None, is_finishing: false }.run(&inbox);
    ExitCode::SUCCESS
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Order {
    Turn(Turn),
    Interrupt(String),
}

#[derive(Debug, Deserialize)]
struct Turn {
    id: String,
    argv: Vec<String>,
    stdin: String,
}

enum Event {
    Order(Order),
    /// An order that is none, and why.
    Garbled(String),
    NoMoreOrders,
    /// The leader of the turn ended. It is not reaped, so that its group keeps its number.
    Ended,
    /// Nothing more comes of one of its two streams.
    Drained,
}

struct Relay {
    out: Arc<Mutex<Out<File>>>,
    events: SyncSender<Event>,
    queue: VecDeque<Turn>,
    running: Option<Running>,
    is_finishing: bool,
}

/// The process of a turn.
struct Running {
    id: String,
    child: Child,
    /// Dropped, it tells the readers that the program has ended.
    lives: Option<PipeWriter>,
    /// Of its end and the ends of its two streams, those that are to come.
    awaited: u8,
    tail: Arc<Mutex<Tail>>,
    /// What it was asked with last, and when it is asked with more.
    asked: Option<(Signal, Instant)>,
}

impl Relay {
    fn run(mut self, inbox: &Receiver<Event>) {
        while !(self.is_finishing && self.running.is_none()) {
            match self.next(inbox) {
                None => self.press(),
                Some(Event::Order(Order::Turn(turn))) => self.take(turn),
                Some(Event::Order(Order::Interrupt(id))) => self.interrupt(&id),
                Some(Event::Garbled(error)) => self.say(&json!({ "error": error })),
                Some(Event::NoMoreOrders) => self.finish(),
                Some(Event::Ended) => self.ended(),
                Some(Event::Drained) => self.settle(),
            }
        }
    }

    /// `None` when it is time to ask the running turn with more force.
    fn next(&self, inbox: &Receiver<Event>) -> Option<Event> {
        let deadline = self.running.as_ref().and_then(|running| running.asked).map(|(_, deadline)| deadline);
        let event = match deadline {
            Some(deadline) => inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())),
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match event {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => unreachable!("we hold a sender ourselves"),
        }
    }

    fn take(&mut self, turn: Turn) {
        if self.running.is_none() {
            return self.begin(turn);
        }
        if self.queue.len() >= QUEUE_MAX {
            return self.say_not_run(&turn.id, &format!("{QUEUE_MAX} turns wait already"));
        }
        self.queue.push_back(turn);
    }

    /// Begins this turn or, where it cannot be, the next.
    fn begin(&mut self, turn: Turn) {
        let mut next = Some(turn);
        while let Some(turn) = next {
            let id = turn.id.clone();
            match self.start(turn) {
                Ok(running) => {
                    self.running = Some(running);
                    return;
                }
                Err(error) => self.say_not_run(&id, &error),
            }
            next = self.queue.pop_front();
        }
    }

    fn start(&self, turn: Turn) -> Result<Running, String> {
        let spec = spec(&turn.argv)?;
        let ears = || -> io::Result<_> {
            let (ends, lives) = io::pipe()?;
            Ok((ends.try_clone()?, ends, lives))
        };
        let (stdout_ends, stderr_ends, lives) = ears().map_err(|error| format!("no pipe is to be had: {error}"))?;
        let mut child = spawn::spawn(&spec).map_err(|error| crate::report::with_causes(&error))?;
        self.say(&json!({ "turn": turn.id, "pid": child.id.pid }));
        let ours = [child.stdin.take(), child.stdout.take(), child.stderr.take()];
        let [Some(stdin), Some(stdout), Some(stderr)] = ours else { unreachable!("pipes were asked for") };
        let tail = Arc::new(Mutex::new(Tail::default()));
        thread::spawn(move || {
            // A program that does not want all of it closes its end.
            let mut stdin = File::from(stdin);
            let _ = stdin.write_all(turn.stdin.as_bytes()).and_then(|()| stdin.write_all(b"\n"));
        });
        let (out, events) = (Arc::clone(&self.out), self.events.clone());
        thread::spawn(move || {
            let mut lines = Lines::default();
            let left = drain(stdout, &stdout_ends, |bytes| lines.feed(bytes, &mut locked(&out)));
            lines.finish(&mut locked(&out));
            let _ = events.send(Event::Drained);
            discard(left);
        });
        let (kept, events) = (Arc::clone(&tail), self.events.clone());
        thread::spawn(move || {
            let left = drain(stderr, &stderr_ends, |bytes| {
                let _ = io::stderr().write_all(bytes);
                locked(&kept).feed(bytes);
            });
            let _ = events.send(Event::Drained);
            discard(left);
        });
        let (id, pidfd, events) = (child.id, child.pidfd.take(), self.events.clone());
        thread::spawn(move || {
            wait_unreaped(&id, pidfd.as_ref());
            let _ = events.send(Event::Ended);
        });
        Ok(Running { id: turn.id, child, lives: Some(lives), awaited: 3, tail, asked: None })
    }

    fn interrupt(&mut self, id: &str) {
        if let Some(at) = self.queue.iter().position(|turn| turn.id == id) {
            self.queue.remove(at);
            return self.say_not_run(id, "interrupted before it began");
        }
        // One that has ended needs no interrupt, and one that is being interrupted is not asked twice.
        if let Some(running) = self.running.as_mut().filter(|running| running.id == id)
            && running.lives.is_some()
            && running.asked.is_none()
        {
            running.ask(Signal::Int);
        }
    }

    fn press(&mut self) {
        if let Some(running) = &mut self.running {
            match running.asked {
                Some((Signal::Int, _)) => running.ask(Signal::Term),
                _ => running.ask(Signal::Kill),
            }
        }
    }

    fn finish(&mut self) {
        self.is_finishing = true;
        for turn in std::mem::take(&mut self.queue) {
            self.say_not_run(&turn.id, "the relay was told to finish before it began");
        }
        if let Some(running) = &mut self.running
            && running.lives.is_some()
            && !matches!(running.asked, Some((Signal::Term | Signal::Kill, _)))
        {
            running.ask(Signal::Term);
        }
    }

    fn ended(&mut self) {
        if let Some(running) = &mut self.running {
            running.lives = None;
            running.asked = None;
        }
        self.settle();
    }

    fn settle(&mut self) {
        let Some(running) = &mut self.running else { return };
        running.awaited -= 1;
        let Some(mut running) = self.running.take_if(|running| running.awaited == 0) else { return };
        if self.is_finishing {
            // What it left behind as well.
            let _ = signals::send_group(running.child.id.pid, Signal::Kill);
        }
        let status = running.child.wait();
        let tail = locked(&running.tail).text();
        self.say(&ended(&running.id, status.ok(), &tail));
        if let Some(next) = self.queue.pop_front() {
            self.begin(next);
        }
    }

    fn say_not_run(&self, id: &str, error: &str) {
        let mut line = ended(id, None, "");
        line["error"] = error.into();
        self.say(&line);
    }

    fn say(&self, line: &Value) {
        locked(&self.out).say(&json!({ "agentmux": line }).to_string());
    }
}

impl Running {
    fn ask(&mut self, signal: Signal) {
        let _ = signals::send_group(self.child.id.pid, signal);
        self.asked = Some((signal, Instant::now() + PATIENCE));
    }
}

fn spec(argv: &[String]) -> Result<SpawnSpec, String> {
    let (program, args) = argv.split_first().ok_or("the turn names no program")?;
    Ok(SpawnSpec {
        program: PathBuf::from(program),
        args: args.iter().map(OsString::from).collect(),
        cwd: std::env::current_dir().map_err(|error| format!("the working directory is gone: {error}"))?,
        env: std::env::vars_os().collect(),
        stdio: Stdio::Pipes,
        session: Session::Group,
        pass_fds: Vec::new(),
        nofile: None,
    })
}

fn ended(id: &str, status: Option<ExitStatus>, stderr: &str) -> Value {
    let (code, signal) = (status.and_then(|status| status.code()), status.and_then(|status| status.signal()));
    json!({ "turn": id, "code": code, "signal": signal, "stderr": stderr })
}

fn read_orders(mut orders: impl BufRead, events: &SyncSender<Event>) {
    let mut line = Vec::new();
    loop {
        line.clear();
        let event = match orders.by_ref().take(ORDER_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => break,
            Ok(_) if line.last() != Some(&b'\n') && line.len() as u64 == ORDER_BYTES_MAX => {
                let _ = orders.skip_until(b'\n');
                Event::Garbled(format!("an order has at most {ORDER_BYTES_MAX} bytes"))
            }
            Ok(_) if line.trim_ascii().is_empty() => continue,
            Ok(_) => match serde_json::from_slice(&line) {
                Ok(order) => Event::Order(order),
                Err(error) => Event::Garbled(format!("this is no order: {error}")),
            },
        };
        if events.send(event).is_err() {
            return;
        }
    }
    let _ = events.send(Event::NoMoreOrders);
}

/// Copies what comes until the stream ends or, a little after the program has, until nothing comes. The stream is
/// given back when somebody else still holds it.
fn drain(stream: OwnedFd, program: &PipeReader, mut copy: impl FnMut(&[u8])) -> Option<File> {
    let mut stream = File::from(stream);
    let mut buffer = vec![0; PIECE_BYTES_MAX];
    let mut deadline = None;
    let mut after_end = 0;
    loop {
        let is_readable = match deadline {
            None => {
                let ready = poll::wait(&[stream.as_fd(), program.as_fd()], None).unwrap_or_else(|_| vec![true, false]);
                if ready[1] {
                    deadline = Some(Instant::now() + DRAIN_GRACE);
                }
                ready[0]
            }
            Some(deadline) => {
                let left = Instant::now();
                let ready = poll::wait(&[stream.as_fd()], Some(deadline.saturating_duration_since(left)));
                if ready.is_ok_and(|ready| ready == [false]) || after_end > PIPE_BYTES_MAX {
                    return Some(stream);
                }
                true
            }
        };
        if !is_readable {
            continue;
        }
        match stream.read(&mut buffer) {
            Ok(0) => return None,
            Ok(count) => {
                copy(&buffer[..count]);
                after_end += if deadline.is_some() { count } else { 0 };
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

/// Whoever was left behind in the background does not end because nobody reads.
fn discard(stream: Option<File>) {
    if let Some(mut stream) = stream {
        let _ = io::copy(&mut stream, &mut io::sink());
    }
}

fn wait_unreaped(id: &ProcessId, pidfd: Option<&OwnedFd>) {
    if let Some(pidfd) = pidfd
        && poll::wait(&[pidfd.as_fd()], None).is_ok()
    {
        return;
    }
    // A system without such descriptors can only be asked.
    while process::alive(id) {
        thread::sleep(Duration::from_millis(20));
    }
}

/// A thread that panicked while it held one has left nothing half done that matters more than going on.
fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Our stdout: their lines and ours, none within another. That nobody reads it any more is told by the end of stdin.
struct Out<W> {
    out: W,
    /// The first pieces of a line are out.
    is_open: bool,
    /// Our own lines that wait for its end.
    held: VecDeque<String>,
}

impl<W: Write> Out<W> {
    fn new(out: W) -> Self {
        Self { out, is_open: false, held: VecDeque::new() }
    }

    fn copy(&mut self, bytes: &[u8]) {
        let Some(last) = bytes.last() else { return };
        let _ = self.out.write_all(bytes);
        self.is_open = *last != b'\n';
        while !self.is_open
            && let Some(line) = self.held.pop_front()
        {
            self.say(&line);
        }
    }

    /// While a line is open only refusals are said, and there is a bound to them as to what they refuse.
    fn say(&mut self, line: &str) {
        if !self.is_open {
            let _ = self.out.write_all(format!("{line}\n").as_bytes());
        } else if self.held.len() < QUEUE_MAX {
            self.held.push_back(line.to_owned());
        }
    }
}

/// Whole lines of what comes in pieces; of an endless one, pieces.
#[derive(Default)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    fn feed(&mut self, bytes: &[u8], out: &mut Out<impl Write>) {
        match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(last) => {
                self.begun.extend_from_slice(&bytes[..=last]);
                out.copy(&self.begun);
                self.begun.clear();
                self.begun.extend_from_slice(&bytes[last + 1..]);
            }
            None => self.begun.extend_from_slice(bytes),
        }
        if self.begun.len() >= PIECE_BYTES_MAX {
            out.copy(&self.begun);
            self.begun.clear();
        }
    }

    fn finish(&mut self, out: &mut Out<impl Write>) {
        if !self.begun.is_empty() || out.is_open {
            self.begun.push(b'\n');
            out.copy(&self.begun);
        }
    }
}

/// The last of what a program said on its stderr.
#[derive(Default)]
struct Tail {
    kept: VecDeque<u8>,
}

impl Tail {
    fn feed(&mut self, bytes: &[u8]) {
        self.kept.extend(&bytes[bytes.len().saturating_sub(TAIL_BYTES_MAX)..]);
        let over = self.kept.len().saturating_sub(TAIL_BYTES_MAX);
        self.kept.drain(..over);
    }

    fn text(&mut self) -> String {
        let text = String::from_utf8_lossy(self.kept.make_contiguous());
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES_MAX)..].join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_within_another() {
        let (mut out, mut lines) = (Out::new(Vec::new()), Lines::default());
        lines.feed(b"one\ntw", &mut out);
        out.say("ours");
        lines.feed(b"o\n", &mut out);
        let piece = vec![b'x'; PIECE_BYTES_MAX];
        lines.feed(&piece, &mut out);
        (0..2 * QUEUE_MAX).for_each(|_| out.say("held"));
        lines.feed(b"end", &mut out);
        lines.finish(&mut out);
        out.say("last");
        let held = "held\n".repeat(QUEUE_MAX);
        let wanted = [b"one\nours\ntwo\n", &piece[..], b"end\n", held.as_bytes(), b"last\n"].concat();
        assert!(out.out == wanted);
        assert!(lines.begun.capacity() <= 2 * PIECE_BYTES_MAX);
    }

    #[test]
    fn a_tail_is_the_last_lines_and_not_many_bytes() {
        let mut tail = Tail::default();
        (0..100).for_each(|line| tail.feed(format!("line {line}\n").as_bytes()));
        let text = tail.text();
        assert!(text.starts_with("line 60\n") && text.ends_with("line 99"), "{text}");
        tail.feed(&vec![b'x'; 1 << 20]);
        assert_eq!(tail.text().len(), TAIL_BYTES_MAX);
    }
}
