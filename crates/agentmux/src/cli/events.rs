//! `agentmux events`: the order, a JSON object a line, with and without `--json`.

use std::collections::BTreeSet;
use std::process::ExitCode;

use amux_client::follow::{Flow, Heard, follow};
use amux_proto::event::topic_of;
use amux_proto::exit::Exit;
use amux_proto::frame::CursorAt;
use amux_proto::{Code, Event, Seq};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::context::Context;
use crate::report::{Failure, say};

#[derive(clap::Args)]
pub(crate) struct Events {
    /// Go on as they happen
    #[arg(short, long)]
    follow: bool,
    /// Those after this place; without it the newest, or with -f those from now on
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,
    /// Only these nouns: agent, team, run, tab …
    #[arg(long = "topic", value_name = "T")]
    topics: Vec<String>,
}

/// A page of the log.
const PAGE: u32 = 1000;

impl Events {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        let known: BTreeSet<_> = Event::names().map(topic_of).collect();
        if let Some(unknown) = self.topics.iter().find(|topic| !known.contains(topic.as_str())) {
            let known: Vec<_> = known.into_iter().collect();
            return Err(Failure::new(Exit::NotFound, Code::NotFound, format!("no such topic: {unknown}"))
                .hint(format!("one of {}", known.join(", "))));
        }
        if self.follow { self.run_on(context) } else { self.page_through(context) }
    }

    fn page_through(&self, context: &Context) -> Result<ExitCode, Failure> {
        let mut client = context.client()?;
        let head = client.welcome.head;
        let mut from = self.from.map(Seq);
        let mut is_empty = true;
        loop {
            // Topics are chosen here, so that an empty page means the end and not a page of other nouns.
            let page = client.get("events", &json!({ "from": from, "limit": PAGE }))?;
            let unreadable = |error| Failure::failed(format!("the answer is no page of events: {error}"));
            let lines: Vec<&RawValue> = serde_json::from_str(page.body.get()).map_err(unreadable)?;
            let mut last = None;
            for raw in lines {
                let line: Place = serde_json::from_str(raw.get()).map_err(unreadable)?;
                last = Some(line.seq);
                if self.wants(line.topic) {
                    is_empty = false;
                    if !say(raw.get()) {
                        return Ok(ExitCode::SUCCESS);
                    }
                }
            }
            match last {
                Some(last) if self.from.is_some() && last < head => from = Some(last),
                _ => break,
            }
        }
        if is_empty && !context.out.is_json() {
            eprintln!("agentmux: no such events are in the log");
        }
        Ok(ExitCode::SUCCESS)
    }

    fn run_on(&self, context: &Context) -> Result<ExitCode, Failure> {
        let client = context.client()?;
        let (epoch, head) = (client.welcome.epoch, client.welcome.head);
        let from = Some(CursorAt { epoch, seq: self.from.map_or(head, Seq) });
        let socket = context.layout.srv_socket();
        follow(&socket, client, &self.topics, from, None, |heard| match heard {
            Heard::Event(line) => {
                let line = serde_json::to_string(&*line).unwrap_or_default();
                if say(&line) { Flow::GoOn } else { Flow::Enough }
            }
            Heard::Reset(snapshot) => {
                eprintln!("agentmux: history before {} is gone; going on from there", snapshot.seq);
                Flow::GoOn
            }
            Heard::Resumed | Heard::CaughtUp => Flow::GoOn,
        })?;
        Ok(ExitCode::SUCCESS)
    }

    fn wants(&self, topic: &str) -> bool {
        self.topics.is_empty() || self.topics.iter().any(|of| of == topic)
    }
}

/// What is needed of a line to choose it and to go on behind it.
#[derive(Deserialize)]
struct Place<'a> {
    seq: Seq,
    topic: &'a str,
}
