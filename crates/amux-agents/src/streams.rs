//! What streamed and has not come whole yet. A transcript keeps what is whole, so a reader who comes later would not see
//! what a process was saying or printing when it was cut off. Here it is made whole when its turn ends, or its process.

use amux_proto::transcript::{Item, TurnEnd};
use serde::{Deserialize, Serialize};

/// Of one text or output. Of a longer output the end is kept, where errors are; of a longer text the beginning.
const STREAM_BYTES_MAX: usize = 64 * 1024;

/// At once; a CLI that leaves more open than this never says any of it whole.
const STREAMS_MAX: usize = 256;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Streams {
    /// Oldest first.
    open: Vec<Stream>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Stream {
    what: What,
    id: String,
    parent: Option<String>,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Message,
    Thinking,
    Output,
}

impl Streams {
    /// The same items, and before the end of a turn those that were cut off by it.
    pub fn pass(&mut self, items: Vec<Item>) -> Vec<Item> {
        let mut told = Vec::with_capacity(items.len());
        for mut item in items {
            match &mut item {
                Item::MessageDelta { id, text, parent } => self.grow(What::Message, id, parent.as_deref(), text),
                Item::ThinkingDelta { id, text, parent } => self.grow(What::Thinking, id, parent.as_deref(), text),
                Item::ToolOutput { id, text } => self.grow(What::Output, id, None, text),
                Item::Message { id, .. } => drop(self.close(What::Message, id)),
                Item::Thinking { id, .. } => drop(self.close(What::Thinking, id)),
                Item::ToolDone { id, output, .. } => {
                    let printed = self.close(What::Output, id);
                    if output.is_empty() {
                        *output = printed.unwrap_or_default();
                    }
                }
                // What the model had begun to say is thrown away by its CLI, and said anew.
                Item::Retry { .. } => self.open.retain(|stream| stream.what == What::Output || stream.parent.is_some()),
                Item::TurnEnded { end, .. } => self.cut_off(end, &mut told),
                _ => {}
            }
            told.push(item);
        }
        told
    }

    /// All that was being said and printed, when nothing can come any more.
    pub fn rest(&mut self) -> Vec<Item> {
        self.open.drain(..).map(Stream::whole).collect()
    }

    fn grow(&mut self, what: What, id: &str, parent: Option<&str>, text: &str) {
        let known = self.open.iter().position(|stream| stream.what == what && stream.id == id);
        let at = known.unwrap_or_else(|| {
            if self.open.len() == STREAMS_MAX {
                self.open.remove(0);
            }
            let parent = parent.map(str::to_owned);
            self.open.push(Stream { what, id: id.to_owned(), parent, text: String::new() });
            self.open.len() - 1
        });
        let kept = &mut self.open[at].text;
        if what == What::Output {
            kept.push_str(text);
            // Not at every line of a long one.
            if kept.len() > 2 * STREAM_BYTES_MAX {
                kept.drain(..kept.ceil_char_boundary(kept.len() - STREAM_BYTES_MAX));
            }
        } else {
            let room = STREAM_BYTES_MAX.saturating_sub(kept.len());
            kept.push_str(&text[..text.floor_char_boundary(room)]);
        }
    }

    fn close(&mut self, what: What, id: &str) -> Option<String> {
        let at = self.open.iter().position(|stream| stream.what == what && stream.id == id)?;
        Some(self.open.remove(at).text)
    }

    /// A sub-agent goes on when our turn is over, unless the process is.
    fn cut_off(&mut self, end: &TurnEnd, told: &mut Vec<Item>) {
        let all_end = *end == TurnEnd::Exited;
        let ends = |stream: &mut Stream| all_end || (stream.parent.is_none() && stream.what != What::Output);
        told.extend(self.open.extract_if(.., ends).map(Stream::whole));
    }
}

impl Stream {
    fn whole(self) -> Item {
        let Self { what, id, parent, text } = self;
        match what {
            What::Message => Item::Message { id, text, parent },
            What::Thinking => Item::Thinking { id, text, parent },
            What::Output => Item::ToolDone { id, output: text, is_error: true, exit_code: None },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delta(id: &str, text: &str) -> Item {
        Item::MessageDelta { id: id.into(), text: text.into(), parent: None }
    }

    fn ended(end: TurnEnd) -> Item {
        Item::TurnEnded { turn: 1, end }
    }

    #[test]
    fn what_was_being_said_and_printed_when_the_process_ended_is_kept() {
        let mut streams = Streams::default();
        streams.pass(vec![delta("m", "I th"), delta("m", "ink")]);
        streams.pass(vec![Item::ToolOutput { id: "t".into(), text: "half a li".into() }]);
        let told = streams.pass(vec![ended(TurnEnd::Exited)]);
        assert_eq!(
            told,
            [
                Item::Message { id: "m".into(), text: "I think".into(), parent: None },
                Item::ToolDone { id: "t".into(), output: "half a li".into(), is_error: true, exit_code: None },
                ended(TurnEnd::Exited),
            ]
        );
        assert_eq!(streams.pass(vec![ended(TurnEnd::Exited)]).len(), 1, "it is said once");
    }

    #[test]
    fn what_came_whole_is_not_said_again_and_what_was_begun_anew_is_not_said() {
        let mut streams = Streams::default();
        let whole = Item::Message { id: "m".into(), text: "whole".into(), parent: None };
        streams.pass(vec![delta("m", "who"), whole, delta("n", "lost"), delta("c", "of a child")]);
        streams.open.last_mut().unwrap().parent = Some("t".into());
        streams.pass(vec![Item::Retry { attempt: 1, max: None, until: None, reason: "cut".into() }]);
        assert_eq!(streams.pass(vec![ended(TurnEnd::Done)]), [ended(TurnEnd::Done)]);
        assert_eq!(streams.pass(vec![ended(TurnEnd::Exited)]).len(), 2, "a sub-agent ends with its process");
    }

    #[test]
    fn a_tool_that_tells_no_output_at_its_end_has_printed_what_streamed() {
        let mut streams = Streams::default();
        let line = "é".repeat(1000) + "\n";
        for _ in 0..100 {
            streams.pass(vec![Item::ToolOutput { id: "t".into(), text: line.clone() }]);
        }
        let done = Item::ToolDone { id: "t".into(), output: String::new(), is_error: false, exit_code: Some(0) };
        let told = streams.pass(vec![done]);
        let [Item::ToolDone { output, .. }] = &told[..] else { panic!("{told:?}") };
        assert!(output.ends_with(&line) && output.len() <= 2 * STREAM_BYTES_MAX, "{}", output.len());
    }
}
