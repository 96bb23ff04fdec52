//! One client: hello, then commands, questions and subscriptions, on whichever carrier it came by.
//!
//! The session is one task. Commands enter the writer's inbox in the order they came and are answered when they are
//! committed; events are pulled by cursor when the client has room. A client that does not read holds up only
//! itself: its frames wait in the kernel's buffers, and its cursor simply stays where it is.

use std::sync::Arc;
use std::time::Duration;

use amux_engine::{Cursor, Page, Submission};
use amux_proto::command::agent;
use amux_proto::event;
use amux_proto::frame::{CaughtUp, Client, FrameId, Hello, Reset, ServerFrame, Sub, Welcome};
use amux_proto::query::{self, Act, Query};
use amux_proto::{CmdId, Code, Command, Epoch, FRAME_BYTES_MAX, PROTOCOL, Principal, Rejection, Rev, Seq};
use amux_sys::clock;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;

use tokio::sync::watch;

use crate::auth::Admission;
use crate::daemon::{Daemon, End};
use crate::views::Views;
use crate::{acts, answers, attachments, auth};

/// Where frames come from and go to.
pub(crate) trait Carrier: Send {
    /// The next frame; `Ok(None)` when the client is gone.
    fn next(&mut self) -> impl Future<Output = Result<Option<String>, Rejection>> + Send;
    /// Several frames, each a line.
    fn send(&mut self, lines: &str) -> impl Future<Output = std::io::Result<()>> + Send;
}

/// Commands of one client under way; the next is read when one of them is answered.
const IN_FLIGHT_MAX: usize = 64;

/// A client says hello at once or is not one.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

const SUBSCRIPTIONS_MAX: usize = 16;

/// Events written in one go: enough to be quick, few enough that an answer does not wait behind them.
const PAGE_EVENTS: usize = 256;

/// Serves a client until it leaves, breaks the rules, or the server ends.
pub(crate) async fn serve(daemon: Arc<Daemon>, mut carrier: impl Carrier, admission: Admission) {
    let outcome = Session::open(&daemon, &mut carrier, admission).await;
    let (id, refusal) = match outcome {
        Ok(Some(session)) => match session.run(&mut carrier).await {
            Ok(()) => return,
            Err(refusal) => (None, refusal),
        },
        Ok(None) => return,
        Err(refusal) => refusal,
    };
    // The client may be gone; what it did wrong is then nobody's to read.
    let _ =
        write(&mut carrier, &[ServerFrame::error(id, refusal.clone()), ServerFrame::closing(refusal.message)]).await;
}

struct Session {
    daemon: Arc<Daemon>,
    principal: Principal,
    subscriptions: Vec<Subscription>,
    in_flight: FuturesOrdered<BoxFuture<'static, ServerFrame>>,
    views: Views,
    /// Ends with the connection.
    coming: attachments::Coming,
}

struct Subscription {
    id: FrameId,
    topics: Vec<String>,
    seq: Seq,
    caught_up: bool,
}

impl Session {
    async fn open(
        daemon: &Arc<Daemon>,
        carrier: &mut impl Carrier,
        admission: Admission,
    ) -> Result<Option<Self>, (Option<FrameId>, Rejection)> {
        let none = |rejection| (None, rejection);
        let need_hello = || Rejection::new(Code::HelloRequired, "the first frame is {\"hello\":{\"protocol\":1}}");
        let Ok(frame) = tokio::time::timeout(HELLO_TIMEOUT, carrier.next()).await else {
            return Err(none(need_hello()));
        };
        let Some(text) = frame.map_err(none)? else { return Ok(None) };
        let hello = match Client::parse(&text)? {
            Client::Hello(hello) => hello,
            Client::Bye => return Ok(None),
            Client::Cmd { id, .. }
            | Client::Get { id, .. }
            | Client::Sub { id, .. }
            | Client::Unsub { id, .. }
            | Client::View { id, .. } => return Err((Some(id), need_hello())),
            Client::Typed(_) | Client::Resized(_) => return Err(none(need_hello())),
        };
        let principal = greet(daemon, &hello, admission).map_err(none)?;
        let published = daemon.engine.published();
        let welcome = Welcome {
            protocol: PROTOCOL,
            principal: published.principal_name(&principal),
            epoch: published.epoch(),
            head: published.read(|_, head| head),
            version: env!("CARGO_PKG_VERSION").into(),
        };
        let frame = ServerFrame { welcome: Some(welcome), ..ServerFrame::default() };
        if write(carrier, &[frame]).await.is_err() {
            return Ok(None);
        }
        let (subscriptions, in_flight, views) = (Vec::new(), FuturesOrdered::new(), Views::default());
        let coming = attachments::Coming::default();
        Ok(Some(Self { daemon: Arc::clone(daemon), principal, subscriptions, in_flight, views, coming }))
    }

    async fn run(mut self, carrier: &mut impl Carrier) -> Result<(), Rejection> {
        let mut head = self.daemon.engine.published().watch_head();
        let mut ending = self.daemon.ending.subscribe();
        loop {
            let at = *head.borrow_and_update();
            let behind = self.subscriptions.iter().any(|sub| sub.seq < at || !sub.caught_up);
            let frames = tokio::select! {
                Some(frame) = self.in_flight.next() => vec![frame],
                frame = carrier.next(), if self.in_flight.len() < IN_FLIGHT_MAX => {
                    let Some(text) = frame? else { return Ok(()) };
                    match self.take_in(&text).await? {
                        Some(frames) => frames,
                        None => return Ok(()),
                    }
                }
                () = std::future::ready(()), if behind => {
                    if self.pump(carrier, at).await?.is_err() {
                        return Ok(());
                    }
                    continue;
                }
                changed = head.changed(), if !behind && !self.subscriptions.is_empty() => {
                    if changed.is_err() { return Ok(()) }
                    continue;
                }
                frames = self.views.next(&self.daemon) => {
                    self.daemon.engine.published().is_current(&self.principal)?;
                    self.views.are_allowed(&self.daemon, &self.principal)?;
                    frames
                }
                reason = ended(&mut ending) => {
                    let _ = write(carrier, &[ServerFrame::closing(reason)]).await;
                    return Ok(());
                }
            };
            if write(carrier, &frames).await.is_err() {
                return Ok(());
            }
        }
    }

    /// `None` when the client says goodbye. An error ends the connection; a refusal is an answer.
    async fn take_in(&mut self, text: &str) -> Result<Option<Vec<ServerFrame>>, Rejection> {
        let frame = match Client::parse(text) {
            Ok(frame) => frame,
            Err((id, refusal)) => return Ok(Some(vec![ServerFrame::error(id, refusal)])),
        };
        Ok(Some(match frame {
            Client::Bye => return Ok(None),
            Client::Hello(_) => {
                vec![ServerFrame::error(None, Rejection::new(Code::BadFrame, "hello was said already"))]
            }
            Client::Cmd { id, name, args, cmd_id, expect } => {
                match self.command(id, &name, &args, cmd_id, expect).await {
                    Ok(answer) => self.in_flight.push_back(answer),
                    Err(refusal) => {
                        // In its place behind the answers that are still to come.
                        let frame = ServerFrame::error(Some(id), refusal);
                        self.in_flight.push_back(Box::pin(std::future::ready(frame)));
                    }
                }
                Vec::new()
            }
            Client::Get { id, name, args } => {
                let (daemon, principal) = (Arc::clone(&self.daemon), self.principal.clone());
                self.in_flight.push_back(Box::pin(async move {
                    match answers::answer(&daemon, &principal, &name, &args).await {
                        Ok((body, seq)) => ServerFrame::ok(id, body, seq),
                        Err(refusal) => ServerFrame::error(Some(id), refusal),
                    }
                }));
                Vec::new()
            }
            Client::Sub { id, sub } => {
                vec![self.subscribe(id, sub).unwrap_or_else(|refusal| ServerFrame::error(Some(id), refusal))]
            }
            Client::View { id, view } => {
                let viewed = self.views.open(&self.daemon, &self.principal, id, &view).await;
                vec![viewed.unwrap_or_else(|refusal| ServerFrame::error(Some(id), refusal))]
            }
            Client::Typed(typed) => {
                let refused = self.views.typed(&self.daemon, &self.principal, &typed).await.err();
                refused.map(|refusal| ServerFrame::error(Some(typed.view), refusal)).into_iter().collect()
            }
            Client::Resized(resized) => {
                let screen = self.views.resized(&self.daemon, &self.principal, resized).await;
                vec![screen.unwrap_or_else(|refusal| ServerFrame::error(Some(resized.view), refusal))]
            }
            Client::Unsub { id, sub } if self.views.close(sub) => {
                let seq = self.daemon.engine.published().read(|_, head| head);
                vec![ServerFrame::ok(id, empty(), seq)]
            }
            Client::Unsub { id, sub } => {
                let before = self.subscriptions.len();
                self.subscriptions.retain(|subscription| subscription.id != sub);
                let seq = self.daemon.engine.published().read(|_, head| head);
                if self.subscriptions.len() == before {
                    vec![ServerFrame::error(
                        Some(id),
                        Rejection::new(Code::NotFound, format!("no such subscription: {sub}")),
                    )]
                } else {
                    vec![ServerFrame::ok(id, empty(), seq)]
                }
            }
        }))
    }

    async fn command(
        &mut self,
        id: FrameId,
        name: &str,
        args: &str,
        cmd_id: Option<CmdId>,
        expect: Option<Rev>,
    ) -> Result<BoxFuture<'static, ServerFrame>, Rejection> {
        if self.daemon.asked.borrow().is_some() {
            return Err(Rejection::new(Code::Unavailable, "the server is ending"));
        }
        match order(name, args)? {
            Order::Command(command) => {
                let removes = matches!(*command, Command::Agent(agent::Command::Remove(_)));
                let submission = admitted(&self.daemon, *command, self.principal.clone(), cmd_id, expect)?;
                let answer = self.daemon.engine.enqueue(submission).await?;
                let daemon = Arc::clone(&self.daemon);
                Ok(Box::pin(async move {
                    match answer.await {
                        Ok(Ok(committed)) => {
                            if removes {
                                daemon.runner.tidy();
                            }
                            ServerFrame::ok(id, committed.answer, committed.seq)
                        }
                        Ok(Err(refusal)) => ServerFrame::error(Some(id), refusal),
                        Err(_) => {
                            ServerFrame::error(Some(id), Rejection::new(Code::Unavailable, "the server is ending"))
                        }
                    }
                }))
            }
            Order::Act(Act::Put(part)) => {
                let (daemon, principal) = (Arc::clone(&self.daemon), self.principal.clone());
                let coming = Arc::clone(&self.coming);
                Ok(Box::pin(async move {
                    match attachments::put(daemon, principal, coming, part).await {
                        Ok((body, seq)) => ServerFrame::ok(id, body, seq),
                        Err(refusal) => ServerFrame::error(Some(id), refusal),
                    }
                }))
            }
            Order::Act(act) => {
                let (daemon, principal) = (Arc::clone(&self.daemon), self.principal.clone());
                Ok(Box::pin(async move {
                    match acts::perform(&daemon, &principal, &act).await {
                        Ok((body, seq)) => ServerFrame::ok(id, body, seq),
                        Err(refusal) => ServerFrame::error(Some(id), refusal),
                    }
                }))
            }
        }
    }

    fn subscribe(&mut self, id: FrameId, sub: Sub) -> Result<ServerFrame, Rejection> {
        let published = self.daemon.engine.published();
        published
            .may_ask(&self.principal, &Query::Events(query::Events { from: None, limit: None, topics: Vec::new() }))?;
        if self.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            let message = format!("at most {SUBSCRIPTIONS_MAX} subscriptions on one connection");
            return Err(Rejection::new(Code::Limit, message));
        }
        if self.subscriptions.iter().any(|known| known.id == id) {
            return Err(Rejection::new(Code::Exists, format!("there is a subscription with this id: {id}")));
        }
        if let Some(unknown) = sub.topics.iter().find(|topic| !is_topic(topic)) {
            let details = serde_json::json!({ "topics": topics() });
            return Err(Rejection::new(Code::NotFound, format!("no such topic: {unknown}")).details(details));
        }
        let reached = sub.from.filter(|from| {
            let cursor = Cursor { epoch: from.epoch, seq: from.seq };
            !matches!(self.daemon.engine.feed().after(cursor, 1), Page::Reset)
        });
        let (seq, frame) = match reached {
            Some(from) => (from.seq, ServerFrame { id: Some(id), resumed: Some(true), ..ServerFrame::default() }),
            None => reset_frame(&self.daemon, &self.principal, id),
        };
        self.subscriptions.push(Subscription { id, topics: sub.topics, seq, caught_up: false });
        Ok(frame)
    }

    /// Writes a page of every subscription that is behind. The outer error is ours, the inner the client's.
    async fn pump(&mut self, carrier: &mut impl Carrier, head: Seq) -> Result<std::io::Result<()>, Rejection> {
        self.daemon.engine.published().is_current(&self.principal)?;
        let epoch = self.daemon.engine.published().epoch();
        let mut lines = String::new();
        for subscription in &mut self.subscriptions {
            if subscription.seq < head {
                let page = page(&self.daemon, epoch, subscription.seq).await?;
                subscription.write(&self.daemon, &self.principal, page, &mut lines);
            }
            if !subscription.caught_up && subscription.seq >= head {
                subscription.caught_up = true;
                let caught_up = Some(CaughtUp { seq: subscription.seq });
                push(&mut lines, &ServerFrame { sub: Some(subscription.id), caught_up, ..ServerFrame::default() });
            }
        }
        Ok(carrier.send(&lines).await)
    }
}

impl Subscription {
    fn write(&mut self, daemon: &Daemon, principal: &Principal, page: Page, lines: &mut String) {
        match page {
            Page::Events(entries) => {
                self.seq = entries.last().map_or(self.seq, |entry| entry.seq);
                for entry in daemon.engine.published().seen(principal, entries) {
                    if self.topics.is_empty() || self.topics.iter().any(|topic| topic == entry.topic) {
                        lines.push_str("{\"event\":");
                        lines.push_str(&entry.json);
                        lines.push_str(",\"sub\":");
                        lines.push_str(&self.id.to_string());
                        lines.push_str("}\n");
                    }
                }
            }
            // History was compacted away under a reader that slept: it starts over from what is.
            Page::Reset | Page::InLog => {
                let (seq, frame) = reset_frame(daemon, principal, self.id);
                self.seq = seq;
                self.caught_up = false;
                push(lines, &frame);
            }
        }
    }
}

async fn page(daemon: &Daemon, epoch: Epoch, seq: Seq) -> Result<Page, Rejection> {
    let cursor = Cursor { epoch, seq };
    match daemon.engine.feed().after(cursor, PAGE_EVENTS) {
        Page::InLog => {
            let feed = daemon.engine.feed().clone();
            let read = tokio::task::spawn_blocking(move || feed.from_log(cursor, PAGE_EVENTS)).await;
            let unreadable = |why: String| Rejection::new(Code::Unavailable, format!("the log cannot be read: {why}"));
            read.map_err(|error| unreadable(error.to_string()))?.map_err(|error| unreadable(error.to_string()))
        }
        page => Ok(page),
    }
}

fn reset_frame(daemon: &Daemon, principal: &Principal, id: FrameId) -> (Seq, ServerFrame) {
    let snapshot = daemon.engine.published().snapshot(principal);
    let (epoch, seq) = (snapshot.epoch, snapshot.seq);
    let reset = Some(Reset { epoch, seq, snapshot });
    (seq, ServerFrame { id: Some(id), reset, ..ServerFrame::default() })
}

fn greet(daemon: &Daemon, hello: &Hello, admission: Admission) -> Result<Principal, Rejection> {
    if hello.protocol != PROTOCOL {
        let message = format!("this server speaks protocol {PROTOCOL}, not {}", hello.protocol);
        return Err(Rejection::new(Code::ProtocolMismatch, message).hint("agentmux server restart"));
    }
    auth::admit(admission, hello.token.as_deref(), &daemon.keys, daemon.engine.published())
}

async fn ended(ending: &mut watch::Receiver<Option<End>>) -> &'static str {
    let end = ending.wait_for(Option::is_some).await;
    end.ok().and_then(|end| *end).map_or("the server ends", End::reason)
}

/// What a `cmd` frame orders.
pub(crate) enum Order {
    Command(Box<Command>),
    Act(Act),
}

pub(crate) fn order(name: &str, args: &str) -> Result<Order, Rejection> {
    let bad = |error: serde_json::Error| Rejection::new(Code::BadArgs, format!("{name}: {error}"));
    if let Some(command) = Command::decode(name, args) {
        return Ok(Order::Command(Box::new(command.map_err(bad)?)));
    }
    if let Some(act) = Act::decode(name, args) {
        return Ok(Order::Act(act.map_err(bad)?));
    }
    let verb = Rejection::new(Code::UnknownVerb, format!("no such command: {name}"));
    Err(if Query::NAMES.contains(&name) { verb.hint(format!("{{\"get\":\"{name}\"}}")) } else { verb })
}

/// A command that came in by a door: what it relies on outside the log is there.
pub(crate) fn admitted(
    daemon: &Daemon,
    command: Command,
    actor: Principal,
    cmd_id: Option<CmdId>,
    expect: Option<Rev>,
) -> Result<Submission, Rejection> {
    attachments::check(daemon, &actor, &command)?;
    Ok(submission(command, actor, cmd_id, expect))
}

pub(crate) fn submission(command: Command, actor: Principal, cmd_id: Option<CmdId>, expect: Option<Rev>) -> Submission {
    let cmd_id =
        cmd_id.unwrap_or_else(|| CmdId(uuid::Builder::from_random_bytes(clock::random_bytes::<16>()).into_uuid()));
    Submission { cmd_id, actor, command, expect, cause: None }
}

fn topics() -> Vec<&'static str> {
    let mut topics: Vec<_> = event::Event::names().map(event::topic_of).collect();
    topics.dedup();
    topics
}

fn is_topic(topic: &str) -> bool {
    event::Event::names().any(|name| event::topic_of(name) == topic)
}

pub(crate) fn empty() -> Box<serde_json::value::RawValue> {
    serde_json::value::RawValue::from_string("{}".into()).expect("an empty object is JSON")
}

async fn write(carrier: &mut impl Carrier, frames: &[ServerFrame]) -> std::io::Result<()> {
    let mut lines = String::new();
    for frame in frames {
        push(&mut lines, frame);
    }
    if lines.is_empty() { Ok(()) } else { carrier.send(&lines).await }
}

fn push(lines: &mut String, frame: &ServerFrame) {
    let before = lines.len();
    match serde_json::to_string(frame) {
        Ok(text) if text.len() <= FRAME_BYTES_MAX || frame.reset.is_some() || frame.ok.is_some() => {
            lines.push_str(&text)
        }
        Ok(_) | Err(_) => {
            lines.truncate(before);
            let refusal = Rejection::new(Code::TooLarge, "the answer is larger than a frame");
            let frame = ServerFrame::error(frame.id, refusal);
            lines.push_str(&serde_json::to_string(&frame).expect("a refusal can be written"));
        }
    }
    lines.push('\n');
}
