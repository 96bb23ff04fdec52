//! Talks to a real agent through the machine and writes down what was heard and ordered, as a sample for the tests:
//!
//!     record DIALECT SAMPLE CWD PROGRAM [ARGUMENT…] < SCRIPT
//!
//! A sample has a line for each input: `< ` and what was heard, or `> ` and the order. Its paths are made neutral
//! (`/home/u/proj`) and its long lists short before it is kept.
//!
//! A dialect is `acp`, `claude` or `codex`. A script has a step a line: `begin [ID]`, `resume ID`, `input TEXT`,
//! `steer TEXT`, `interrupt`, `mode ID`, `model ID`, `answer KIND [TEXT]` (of the newest question, by the kind of the
//! option), `pick OPTION` and `say TEXT` (of the oldest open question), `wait ITEM`, which reads on until an item of that
//! type has come since the step before, `end`, which reads all that comes until the program ends by itself, `kill`, and
//! `count N`, after which inputs are numbered on from there: a CLI may know an input again by its id.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use amux_agents::{Begin, How, Machine, Order, Out, Session, claude::Claude, codex::Codex};
use amux_proto::Time;
use amux_proto::entity::Answer;
use amux_proto::transcript::{Ask, Item};
use anyhow::{Context as _, bail};

/// An agent that says nothing for so long is stuck.
const SILENCE: Duration = Duration::from_secs(60);

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let machine = match arguments.next().as_deref() {
        Some("acp") => Machine::Acp(Box::default()),
        Some("claude") => Machine::Claude(Claude::default()),
        Some("codex") => Machine::Codex(Codex::default()),
        other => bail!("no dialect: {other:?}"),
    };
    let (sample, cwd) = (arguments.next().context("a sample")?, arguments.next().context("a directory")?);
    let mut child = Command::new(arguments.next().context("a program")?)
        .args(arguments)
        .current_dir(&cwd)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = BufReader::new(child.stdout.take().context("a pipe")?);
    let (lines, heard) = mpsc::sync_channel(64);
    std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
    let stdin = child.stdin.take().context("a pipe")?;
    let mut peer = Peer { machine, stdin, heard, sample: String::new(), fresh: Vec::new(), asks: Vec::new() };
    let mut inputs: u64 = 0;
    for step in std::io::stdin().lines() {
        let step = step?;
        let (word, rest) = step.split_once(' ').unwrap_or((&step, ""));
        let rest = rest.to_owned();
        let mut input = |how| {
            inputs += 1;
            // A CLI may insist on a UUID.
            Order::Input {
                parts: Vec::new(),
                input: format!("00000000-0000-4000-8000-{inputs:012}"),
                text: rest.clone(),
                how,
            }
        };
        let order = match word {
            "begin" if rest.is_empty() => begin(&cwd, Session::New { id: "unused".to_owned() }),
            "begin" => begin(&cwd, Session::New { id: rest }),
            "resume" => begin(&cwd, Session::Resume { id: rest }),
            "input" => input(How::Next),
            "steer" => input(How::Steer),
            "interrupt" => Order::Interrupt,
            "mode" => Order::Set { model: None, mode: Some(rest) },
            "model" => Order::Set { model: Some(rest), mode: None },
            "answer" => peer.answer(&rest)?,
            "pick" => peer.oldest(Answer::Option { option: rest, text: None })?,
            "count" => {
                inputs = rest.parse()?;
                continue;
            }
            "say" => peer.oldest(Answer::Text { text: rest })?,
            "end" => {
                while let Ok(line) = peer.heard.recv_timeout(SILENCE) {
                    peer.hear(&line)?;
                }
                continue;
            }
            "kill" => {
                child.kill()?;
                continue;
            }
            "wait" => {
                peer.wait(&rest)?;
                continue;
            }
            _ => bail!("no step: {step}"),
        };
        peer.order(&order)?;
    }
    let Peer { stdin, heard, sample: mut text, .. } = peer;
    drop(stdin);
    for line in heard {
        writeln!(text, "< {line}")?;
    }
    println!("{}", child.wait()?);
    Ok(std::fs::write(sample, text)?)
}

struct Peer {
    machine: Machine,
    stdin: std::process::ChildStdin,
    heard: mpsc::Receiver<String>,
    sample: String,
    /// Types of the items since the newest step.
    fresh: Vec<String>,
    /// Open, oldest first.
    asks: Vec<Ask>,
}

impl Peer {
    fn order(&mut self, order: &Order) -> anyhow::Result<()> {
        writeln!(self.sample, "> {}", serde_json::to_string(order)?)?;
        let mut out = Out::default();
        self.fresh.clear();
        self.machine.order(order, Time(0), &mut out)?;
        self.take(out)
    }

    fn wait(&mut self, kind: &str) -> anyhow::Result<()> {
        loop {
            if let Some(at) = self.fresh.iter().position(|fresh| fresh == kind) {
                self.fresh.drain(..=at);
                return Ok(());
            }
            let line = self.heard.recv_timeout(SILENCE).with_context(|| format!("waiting for {kind}"))?;
            self.hear(&line)?;
        }
    }

    fn hear(&mut self, line: &str) -> anyhow::Result<()> {
        writeln!(self.sample, "< {line}")?;
        let mut out = Out::default();
        self.machine.hear(line, Time(0), &mut out);
        self.take(out)
    }

    fn answer(&self, words: &str) -> anyhow::Result<Order> {
        let (kind, text) = words.split_once(' ').map_or((words, None), |(kind, text)| (kind, Some(text.to_owned())));
        let ask = self.asks.last().context("nothing is asked")?;
        let is_meant =
            |kind_of: &amux_proto::entity::RequestOptionKind| serde_json::to_value(kind_of).is_ok_and(|of| of == kind);
        let option = ask.options.iter().find(|option| is_meant(&option.kind)).context("no such option")?;
        Ok(Order::Answer { ask: ask.id.clone(), answer: Answer::Option { option: option.id.clone(), text } })
    }

    fn oldest(&self, answer: Answer) -> anyhow::Result<Order> {
        let ask = self.asks.first().context("nothing is asked")?;
        Ok(Order::Answer { ask: ask.id.clone(), answer })
    }

    fn take(&mut self, out: Out) -> anyhow::Result<()> {
        for item in out.items {
            let value = serde_json::to_value(&item)?;
            println!("{value}");
            self.fresh.extend(value["type"].as_str().map(str::to_owned));
            match item {
                Item::Asked { ask } => self.asks.push(ask),
                Item::AskClosed { ask, .. } => self.asks.retain(|open| open.id != ask),
                _ => {}
            }
        }
        for write in out.writes {
            writeln!(self.stdin, "{}", write.line)?;
        }
        Ok(())
    }
}

fn begin(cwd: &str, session: Session) -> Order {
    Order::Begin(Begin { cwd: cwd.to_owned(), session, lost: None, model: None, mode: None, mcp: None })
}
