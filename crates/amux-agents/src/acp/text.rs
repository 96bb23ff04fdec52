//! Chunks of text, put together to messages: by the id of the message where the agent gives one, else until
//! something else intervenes.

use amux_proto::transcript::Item;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Out;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Texts {
    open: Option<Open>,
    /// Messages without an id have been given this many.
    named: u32,
    /// What was flushed in this turn, with the number of its newest part: a message may go on after a tool.
    parts: Vec<(Stream, u32)>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Open {
    stream: Stream,
    id: String,
    text: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Stream {
    is_thought: bool,
    /// As the agent gave it.
    message: Option<String>,
    parent: Option<String>,
}

impl Texts {
    /// Empty chunks are printed by agents to begin a message or to carry figures; they begin nothing here.
    pub(super) fn chunk(&mut self, update: &Value, is_thought: bool, out: &mut Out) {
        let Some(text) = of_block(&update["content"]).filter(|text| !text.is_empty()) else { return };
        let message = update["messageId"].as_str().map(str::to_owned);
        let stream = Stream { is_thought, message, parent: parent(update) };
        if self.open.as_ref().is_none_or(|open| open.stream != stream) {
            self.flush(out);
            let id = self.name(&stream);
            self.open = Some(Open { stream, id, text: String::new() });
        }
        let open = self.open.as_mut().expect("it was opened above");
        open.text.push_str(&text);
        let (id, parent) = (open.id.clone(), open.stream.parent.clone());
        out.say(if is_thought {
            Item::ThinkingDelta { id, text, parent }
        } else {
            Item::MessageDelta { id, text, parent }
        });
    }

    /// What is open is whole.
    pub(super) fn flush(&mut self, out: &mut Out) {
        let Some(Open { stream, id, text }) = self.open.take() else { return };
        let parent = stream.parent;
        out.say(if stream.is_thought {
            Item::Thinking { id, text, parent }
        } else {
            Item::Message { id, text, parent }
        });
    }

    /// Ids of the turns to come are new ones.
    pub(super) fn forget(&mut self) {
        self.parts.clear();
    }

    fn name(&mut self, stream: &Stream) -> String {
        let Some(message) = &stream.message else {
            self.named += 1;
            return format!("m{}", self.named);
        };
        match self.parts.iter_mut().find(|(known, _)| known == stream) {
            Some((_, part)) => {
                *part += 1;
                format!("{message}#{part}")
            }
            None => {
                self.parts.push((stream.clone(), 1));
                message.clone()
            }
        }
    }
}

/// The tool call of the sub-agent that speaks.
pub(super) fn parent(update: &Value) -> Option<String> {
    update["_meta"]["claudeCode"]["parentToolUseId"].as_str().map(str::to_owned)
}

/// A content block as text; `None` is no block.
pub(super) fn of_block(block: &Value) -> Option<String> {
    let text = match block["type"].as_str()? {
        "text" => block["text"].as_str()?.to_owned(),
        "resource_link" => format!("[{}]", block["uri"].as_str()?),
        "resource" => match block["resource"]["text"].as_str() {
            Some(text) => text.to_owned(),
            None => format!("[{}]", block["resource"]["uri"].as_str()?),
        },
        other => format!("[{}]", crate::cut(other, 40)),
    };
    Some(text)
}
