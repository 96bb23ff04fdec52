//! `agentmux events`: the order, a JSON object a line.

use std::io::Write as _;
use std::process::ExitCode;

use amux_client::follow::{Flow, Heard, follow};
use amux_proto::Seq;
use amux_proto::frame::CursorAt;
use serde_json::json;

use crate::context::{Context, value};
use crate::report::Failure;

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
        if self.follow { self.run_on(context) } else { self.page_through(context) }
    }

    fn page_through(&self, context: &Context) -> Result<ExitCode, Failure> {
        let mut client = context.client()?;
        let head = client.welcome.head;
        let mut from = self.from.map(Seq);
        loop {
            // Topics are chosen here, so that an empty page means the end and not a page of other nouns.
            let page = value(&client.get("events", &json!({ "from": from, "limit": PAGE }))?)?;
            let lines = page.as_array().map(Vec::as_slice).unwrap_or_default();
            for line in lines {
                if self.wants(line["topic"].as_str().unwrap_or_default()) && !print(line) {
                    return Ok(ExitCode::SUCCESS);
                }
            }
            let last = lines.last().and_then(|line| line["seq"].as_u64()).map(Seq);
            match last {
                Some(last) if self.from.is_some() && last < head => from = Some(last),
                _ => return Ok(ExitCode::SUCCESS),
            }
        }
    }

    fn run_on(&self, context: &Context) -> Result<ExitCode, Failure> {
        let client = context.client()?;
        let (epoch, head) = (client.welcome.epoch, client.welcome.head);
        let from = Some(CursorAt { epoch, seq: self.from.map_or(head, Seq) });
        let socket = context.layout.srv_socket();
        follow(&socket, client, &self.topics, from, None, |heard| match heard {
            Heard::Event(line) => {
                let line = serde_json::to_value(&*line).unwrap_or_default();
                if print(&line) { Flow::GoOn } else { Flow::Enough }
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

/// `false` when nobody reads any more. The stream is JSON lines with and without `--json`.
fn print(line: &serde_json::Value) -> bool {
    writeln!(std::io::stdout(), "{line}").is_ok()
}
