//! Frames: one set, two carriers. A line on the local socket, a text message on the WebSocket.
//!
//! `{"hello":…}` first; then commands, questions and subscriptions with an id of the client's choosing. Answers carry
//! that id and go to the asker alone; only events are in the order.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ts_rs::TS;

use crate::event;
use crate::ids::{CmdId, Epoch, Rev, Seq};
use crate::rejection::{Code, Rejection};
use crate::view::Snapshot;

/// The id a client gives a frame, echoed in the answer.
pub type FrameId = u64;

/// Exactly one of hello, cmd, get, sub, unsub, view, typed, resized and bye is present; [`Client::parse`] says which.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, TS)]
#[serde(deny_unknown_fields)]
#[ts(optional_fields)]
pub struct ClientFrame {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<FrameId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hello: Option<Hello>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub get: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<Sub>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsub: Option<FrameId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bye: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(type = "unknown")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub args: Option<Box<RawValue>>,
    /// The command's identity; a retry carries the same one. Made by the server when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd_id: Option<CmdId>,
    /// The revision this was decided on, of the thing the command names first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Rev>,
    /// Follow a terminal: its screen first, then its output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<ViewTerminal>,
    /// Keys for a terminal that is viewed; answered only when they are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typed: Option<Typed>,
    /// The size of the viewer's window; heard while the viewer is the one who attached or typed last. The answer is the
    /// screen, of whatever size it is then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resized: Option<Resized>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(deny_unknown_fields)]
#[ts(optional_fields)]
pub struct ViewTerminal {
    pub agent: String,
    /// Absent: whatever size it has.
    #[serde(default)]
    pub rows: Option<u16>,
    #[serde(default)]
    pub cols: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(deny_unknown_fields)]
pub struct Typed {
    pub view: FrameId,
    /// Base64.
    pub bytes: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(deny_unknown_fields)]
pub struct Resized {
    pub view: FrameId,
    pub rows: u16,
    pub cols: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[ts(optional_fields)]
pub struct Hello {
    pub protocol: u32,
    #[serde(default)]
    pub client: String,
    #[serde(default)]
    pub version: String,
    #[serde(default)]
    pub token: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(deny_unknown_fields)]
#[ts(optional_fields)]
pub struct Sub {
    /// Nouns; empty means all.
    #[serde(default)]
    pub topics: Vec<String>,
    /// Absent: from now, after a snapshot.
    #[serde(default)]
    pub from: Option<CursorAt>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(deny_unknown_fields)]
pub struct CursorAt {
    pub epoch: Epoch,
    pub seq: Seq,
}

/// A client's frame, sorted.
#[derive(Debug, Clone)]
pub enum Client {
    Hello(Hello),
    Cmd { id: FrameId, name: String, args: String, cmd_id: Option<CmdId>, expect: Option<Rev> },
    Get { id: FrameId, name: String, args: String },
    Sub { id: FrameId, sub: Sub },
    Unsub { id: FrameId, sub: FrameId },
    View { id: FrameId, view: ViewTerminal },
    Typed(Typed),
    Resized(Resized),
    Bye,
}

const WORDS: &str = "a frame is one of hello, cmd, get, sub, unsub, view, typed, resized, bye";

impl Client {
    /// A refusal carries the frame's id when one could be read.
    pub fn parse(text: &str) -> Result<Self, (Option<FrameId>, Rejection)> {
        let frame: ClientFrame = serde_json::from_str(text)
            .map_err(|error| (None, Rejection::new(Code::BadFrame, format!("not a frame: {error}"))))?;
        let id = frame.id;
        let need_id =
            || id.ok_or_else(|| (None, Rejection::new(Code::BadFrame, "a frame that wants an answer has an id")));
        let args = frame.args.map_or_else(|| "{}".to_owned(), |args| Box::<str>::from(args).into());
        let terminal = (frame.view, frame.typed, frame.resized);
        let is_one = || (id, Rejection::new(Code::BadFrame, WORDS));
        if let (None, None, None) = terminal {
        } else if [&frame.cmd, &frame.get].iter().any(|word| word.is_some())
            || frame.hello.is_some()
            || frame.sub.is_some()
            || frame.unsub.is_some()
            || frame.bye.is_some()
        {
            return Err(is_one());
        } else {
            return match terminal {
                (Some(view), None, None) => Ok(Self::View { id: need_id()?, view }),
                (None, Some(typed), None) => Ok(Self::Typed(typed)),
                (None, None, Some(resized)) => Ok(Self::Resized(resized)),
                _ => Err(is_one()),
            };
        }
        match (frame.hello, frame.cmd, frame.get, frame.sub, frame.unsub, frame.bye) {
            (Some(hello), None, None, None, None, None) => Ok(Self::Hello(hello)),
            (None, Some(name), None, None, None, None) => {
                Ok(Self::Cmd { id: need_id()?, name, args, cmd_id: frame.cmd_id, expect: frame.expect })
            }
            (None, None, Some(name), None, None, None) => Ok(Self::Get { id: need_id()?, name, args }),
            (None, None, None, Some(sub), None, None) => Ok(Self::Sub { id: need_id()?, sub }),
            (None, None, None, None, Some(sub), None) => Ok(Self::Unsub { id: need_id()?, sub }),
            (None, None, None, None, None, Some(_)) => Ok(Self::Bye),
            _ => Err(is_one()),
        }
    }
}

/// What the server says. Exactly one of welcome, ok, error, resumed, reset, event, `caught_up`, screen, output, ended,
/// closing is present.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, TS)]
#[ts(optional_fields)]
pub struct ServerFrame {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<FrameId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub welcome: Option<Welcome>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(type = "unknown")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub ok: Option<Box<RawValue>>,
    /// With `ok`: the head of the order when this was answered; of a command, the place of its last event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<Seq>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Rejection>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset: Option<Reset>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<event::Line>,
    /// With `event` and `caught_up`: the id of the subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<FrameId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caught_up: Option<CaughtUp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closing: Option<Closing>,
    /// With the id of a view: the terminal as it is. Comes first, and again whenever the viewer has fallen behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub screen: Option<ScreenFrame>,
    /// With the id of a view: what the program printed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<OutputFrame>,
    /// With the id of a view: the terminal is gone, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
}

/// Bytes that bring a fresh terminal of this size to what is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct ScreenFrame {
    pub agent: String,
    pub run: crate::ids::RunNo,
    pub rows: u16,
    pub cols: u16,
    /// Of the program's output so far.
    pub offset: u64,
    /// Base64.
    pub bytes: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct OutputFrame {
    /// Of the first byte.
    pub offset: u64,
    /// Base64.
    pub bytes: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Welcome {
    pub protocol: u32,
    /// Who the server says you are: `operator` or `agent:name@team`.
    pub principal: String,
    pub epoch: Epoch,
    pub head: Seq,
    pub version: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Reset {
    pub epoch: Epoch,
    pub seq: Seq,
    pub snapshot: Snapshot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct CaughtUp {
    pub seq: Seq,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Closing {
    pub reason: String,
}

impl ServerFrame {
    pub fn ok(id: FrameId, body: Box<RawValue>, seq: Seq) -> Self {
        Self { id: Some(id), ok: Some(body), seq: Some(seq), ..Self::default() }
    }

    pub fn error(id: Option<FrameId>, error: Rejection) -> Self {
        Self { id, error: Some(error), ..Self::default() }
    }

    pub fn closing(reason: impl Into<String>) -> Self {
        Self { closing: Some(Closing { reason: reason.into() }), ..Self::default() }
    }
}
