//! Frames: one set, two carriers. A line on the local socket, a text message on the WebSocket.
//!
//! `{"hello":…}` first; then commands, questions and subscriptions with an id of the client's choosing. Answers carry
//! that id and go to the asker alone; only events are in the order.
//!
//! A terminal that is viewed with `binary` travels in binary messages, integers in network byte order: from the server
//! `[kind u8][view u32][offset u64][bytes]`, to the server `[kind u8][view u32][bytes]`; see [`Binary`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ts_rs::TS;

use crate::board::{Entries, Rows};
use crate::event;
use crate::ids::{CmdId, Epoch, Rev, Seq};
use crate::rejection::{Code, Rejection};
use crate::view::Snapshot;

/// The id a client gives a frame, echoed in the answer.
pub type FrameId = u64;

/// Exactly one of hello, cmd, get, sub, watch, follow, unsub, view, typed, resized, credit and bye is present; [`Client::parse`] says which.
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
    /// So much of a binary view was shown; answered only when there is no such view.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credit: Option<Credit>,
    /// Every row of the board, and from then on each that changes. `unsub` ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<Watch>,
    /// A transcript, and from then on what is appended to it. `unsub` ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow: Option<Follow>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(deny_unknown_fields)]
#[ts(type = "Record<string, never>")]
pub struct Watch {}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(deny_unknown_fields)]
#[ts(optional_fields)]
pub struct Follow {
    pub agent: String,
    /// Absent: the newest, and those that come after it.
    #[serde(default)]
    pub run: Option<u32>,
    /// From this place on; absent: the newest `tail` entries first.
    #[serde(default)]
    pub after: Option<u64>,
    #[serde(default)]
    pub tail: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(deny_unknown_fields)]
pub struct Credit {
    pub view: FrameId,
    pub bytes: u64,
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
    /// In binary messages and with credit, on a WebSocket: at most [`CREDIT_BYTES`] are under way that the client has
    /// not said it has shown. The id of such a view is below 2^32.
    #[serde(default)]
    #[ts(as = "Option<bool>")]
    pub binary: bool,
    /// So many lines that scrolled away stand above the first screen, as many as are still known. Of a binary view.
    #[serde(default)]
    pub history: Option<u16>,
}

/// So much of a terminal's output may be under way to a viewer that has not shown it.
pub const CREDIT_BYTES: u64 = 1024 * 1024;

/// The kinds of binary messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Binary {
    /// Brings a fresh terminal to what is shown; follows the `screen` frame that says its size.
    Screen = 1,
    Output = 2,
    Typed = 3,
}

impl Binary {
    /// From the server.
    pub fn frame(self, view: u32, offset: u64, bytes: &[u8]) -> Vec<u8> {
        let mut frame = Vec::with_capacity(13 + bytes.len());
        frame.push(self as u8);
        frame.extend_from_slice(&view.to_be_bytes());
        frame.extend_from_slice(&offset.to_be_bytes());
        frame.extend_from_slice(bytes);
        frame
    }

    /// What a client types: the view, and the keys.
    pub fn typed(frame: &[u8]) -> Option<(FrameId, &[u8])> {
        let (kind, rest) = frame.split_first()?;
        let (view, bytes) = rest.split_first_chunk::<4>()?;
        (*kind == Self::Typed as u8).then(|| (FrameId::from(u32::from_be_bytes(*view)), bytes))
    }
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
    Credit(Credit),
    Watch { id: FrameId },
    Follow { id: FrameId, follow: Follow },
    Bye,
}

const WORDS: &str = "a frame is one of hello, cmd, get, sub, watch, follow, unsub, view, typed, resized, credit, bye";

impl Client {
    /// A refusal carries the frame's id when one could be read.
    pub fn parse(text: &str) -> Result<Self, (Option<FrameId>, Rejection)> {
        let frame: ClientFrame = serde_json::from_str(text)
            .map_err(|error| (None, Rejection::new(Code::BadFrame, format!("not a frame: {error}"))))?;
        let id = frame.id;
        let need_id =
            || id.ok_or_else(|| (None, Rejection::new(Code::BadFrame, "a frame that wants an answer has an id")));
        let args = frame.args.map_or_else(|| "{}".to_owned(), |args| Box::<str>::from(args).into());
        let is_one = || (id, Rejection::new(Code::BadFrame, WORDS));
        let (cmd_id, expect) = (frame.cmd_id, frame.expect);
        let mut found = None;
        let mut one = |client: Option<Self>| match client {
            Some(_) if found.is_some() => Err(is_one()),
            Some(client) => {
                found = Some(client);
                Ok(())
            }
            None => Ok(()),
        };
        one(frame.hello.map(Self::Hello))?;
        if let Some(name) = frame.cmd {
            one(Some(Self::Cmd { id: need_id()?, name, args: args.clone(), cmd_id, expect }))?;
        }
        if let Some(name) = frame.get {
            one(Some(Self::Get { id: need_id()?, name, args }))?;
        }
        if let Some(sub) = frame.sub {
            one(Some(Self::Sub { id: need_id()?, sub }))?;
        }
        if let Some(Watch {}) = frame.watch {
            one(Some(Self::Watch { id: need_id()? }))?;
        }
        if let Some(follow) = frame.follow {
            one(Some(Self::Follow { id: need_id()?, follow }))?;
        }
        if let Some(sub) = frame.unsub {
            one(Some(Self::Unsub { id: need_id()?, sub }))?;
        }
        if let Some(view) = frame.view {
            one(Some(Self::View { id: need_id()?, view }))?;
        }
        one(frame.typed.map(Self::Typed))?;
        one(frame.resized.map(Self::Resized))?;
        one(frame.credit.map(Self::Credit))?;
        one(frame.bye.map(|_| Self::Bye))?;
        found.ok_or_else(is_one)
    }
}

/// What the server says. Exactly one of welcome, ok, error, resumed, reset, event, `caught_up`, rows, entries, screen,
/// output, ended, closing is present.
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
    /// With the id of a watch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Rows>,
    /// With the id of a follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<Entries>,
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
    /// Base64; empty in a binary view, where they follow in a message of their own.
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
