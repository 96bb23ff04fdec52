//! One client: hello, then commands, questions and subscriptions, on whichever carrier it came by.
//!
//! The session is one task. Commands enter the writer's inbox in the order they came and are answered when they are
//! committed; events, rows, entries and output are pulled by cursor when the client has room. A client that does not
//! read holds up only itself: its frames wait in the kernel's buffers, and its cursors simply stay where they are. What
//! it types is heard all the same, while there is room for answers and fewer than [`IN_FLIGHT_MAX`] are under way; what
//! it orders is begun before the next frame is heard.
//!
//! Of what there is to say the most urgent goes first: answers and the echo of keys, rows, entries, then output and
//! events by the pageful; every so often another begins, so that none waits for ever.
//!
//! One that says no more has its answers, and nothing else, within [`LET_GO_WITHIN`].

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use amux_engine::{Cursor, Page, Submission};
use amux_proto::command::agent;
use amux_proto::event;
use amux_proto::frame::{Binary, CaughtUp, Client, FrameId, Hello, Reset, ServerFrame, Sub, Welcome};
use amux_proto::query::{self, Act, Query};
use amux_proto::{CmdId, Code, Command, Epoch, PROTOCOL, Principal, Rejection, Rev, Seq, Time};
use amux_sys::clock;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, FuturesUnordered};

use tokio::sync::watch;
use tokio::time::Sleep;

use crate::auth::{Admission, SignedIn};
use crate::board::Watching;
use crate::daemon::{Daemon, End};
use crate::follow::Follows;
use crate::outbox::{LET_GO_WITHIN, Outbox, push};
use crate::turns::Turns;
use crate::views::{Out, Urgency, Views};
use crate::{acts, answers, attachments, auth};

/// Where frames come from.
pub(crate) trait Source: Send {
    /// The next frame; `Ok(None)` when the client is gone. Dropped while it waits, it has lost nothing.
    fn next(&mut self) -> impl Future<Output = Result<Option<Incoming>, Rejection>> + Send;
}

/// Where they go to.
pub(crate) trait Sink: Send + 'static {
    /// Whether it can carry binary messages.
    const TAKES_BYTES: bool;
    /// Several frames, each a line.
    fn send(&mut self, lines: &str) -> impl Future<Output = std::io::Result<()>> + Send;
    /// One binary message.
    fn send_bytes(&mut self, bytes: Vec<u8>) -> impl Future<Output = std::io::Result<()>> + Send;
}

/// What a client says.
pub(crate) enum Incoming {
    Text(String),
    Bytes(Vec<u8>),
}

/// Commands and questions of one client under way; the next frame is heard when one of them is answered.
const IN_FLIGHT_MAX: usize = 64;

/// The question whose answer may take a disk's seconds while somebody types; what he sends meanwhile is answered first.
const FILES: &str = "files";

/// A client says hello at once or is not one.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

const SUBSCRIPTIONS_MAX: usize = 16;

/// Events written in one go: enough to be quick, few enough that an answer does not wait behind them.
const PAGE_EVENTS: usize = 256;

/// Serves a client until it leaves, breaks the rules, or the server ends.
/// `signed_in`: the browser's session that it ends with.
pub(crate) async fn serve(
    daemon: Arc<Daemon>,
    (mut source, sink): (impl Source, impl Sink),
    admission: Admission,
    signed_in: Option<SignedIn>,
) {
    let mut outbox = Outbox::new(sink);
    let outcome = match Session::open(&daemon, &mut source, &mut outbox, admission, signed_in).await {
        Ok(Some(session)) => session.run(&mut source, &mut outbox).await.map_err(|refusal| (None, refusal)),
        Ok(None) => return,
        Err(refusal) => Err(refusal),
    };
    let last = match outcome {
        Ok(Left::Gone) => return,
        Ok(Left::Told(why)) => vec![ServerFrame::closing(why)],
        Ok(Left::SignedOut) => {
            outbox.forget();
            vec![ServerFrame::closing("signed out")]
        }
        Err((id, refusal)) => vec![ServerFrame::error(id, refusal.clone()), ServerFrame::closing(refusal.message)],
    };
    outbox.end(last.into_iter().map(Out::from).collect(), LET_GO_WITHIN).await;
}

/// How a client left that broke no rules.
enum Left {
    Gone,
    /// We leave, and say why.
    Told(&'static str),
    /// It may hear nothing more but that.
    SignedOut,
}

struct Session {
    daemon: Arc<Daemon>,
    principal: Principal,
    subscriptions: Vec<Subscription>,
    in_flight: FuturesOrdered<BoxFuture<'static, ServerFrame>>,
    /// Answers for which no other waits.
    apart: FuturesUnordered<BoxFuture<'static, ServerFrame>>,
    views: Views,
    follows: Follows,
    watching: Option<Watching>,
    /// Ends with the connection.
    coming: attachments::Coming,
    signed_in: Option<SignedIn>,
    turns: Turns,
}

/// Something that can be said now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Job {
    View(usize),
    Rows,
    Entries(usize),
    Events,
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
        source: &mut impl Source,
        outbox: &mut Outbox<impl Sink>,
        admission: Admission,
        signed_in: Option<SignedIn>,
    ) -> Result<Option<Self>, (Option<FrameId>, Rejection)> {
        let none = |rejection| (None, rejection);
        let need_hello = || Rejection::new(Code::HelloRequired, "the first frame is {\"hello\":{\"protocol\":1}}");
        let Ok(frame) = tokio::time::timeout(HELLO_TIMEOUT, source.next()).await else {
            return Err(none(need_hello()));
        };
        let text = match frame.map_err(none)? {
            None => return Ok(None),
            Some(Incoming::Text(text)) => text,
            Some(Incoming::Bytes(_)) => return Err(none(need_hello())),
        };
        let hello = match Client::parse(&text)? {
            Client::Hello(hello) => hello,
            Client::Bye => return Ok(None),
            Client::Cmd { id, .. }
            | Client::Get { id, .. }
            | Client::Sub { id, .. }
            | Client::Unsub { id, .. }
            | Client::Watch { id }
            | Client::Follow { id, .. }
            | Client::View { id, .. } => return Err((Some(id), need_hello())),
            Client::Typed(_) | Client::Resized(_) | Client::Credit(_) => return Err(none(need_hello())),
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
        outbox.put(vec![frame.into()]);
        Ok(Some(Self {
            daemon: Arc::clone(daemon),
            principal,
            subscriptions: Vec::new(),
            in_flight: FuturesOrdered::new(),
            apart: FuturesUnordered::new(),
            views: Views::default(),
            follows: Follows::default(),
            watching: None,
            coming: attachments::Coming::default(),
            signed_in,
            turns: Turns::default(),
        }))
    }

    async fn run<S: Sink>(mut self, source: &mut impl Source, outbox: &mut Outbox<S>) -> Result<Left, Rejection> {
        let mut head = self.daemon.engine.published().watch_head();
        let mut ending = self.daemon.ending.subscribe();
        // Set when the client says no more.
        let mut leaving: Option<Pin<Box<Sleep>>> = None;
        loop {
            let at = *head.borrow_and_update();
            if leaving.is_some() {
                self.views.keep_due();
            }
            // One thing at a time: what is urgent by then goes next and does not wait behind what could have been said.
            let is_free = outbox.is_empty();
            let job = if is_free { self.job(at) } else { None };
            let is_idle = is_free && job.is_none();
            let under_way = self.in_flight.len() + self.apart.len();
            if leaving.is_some() && is_idle && under_way == 0 && self.views.is_empty() {
                return Ok(Left::Gone);
            }
            let has_room = outbox.has_room() && !(job.is_some() && self.turns.is_saying_due());
            let is_hearing = has_room && leaving.is_none() && under_way < IN_FLIGHT_MAX;
            let out = tokio::select! {
                biased;
                reason = ended(&mut ending) => return Ok(Left::Told(reason)),
                () = signed_out(&mut self.signed_in) => return Ok(Left::SignedOut),
                () = over(&mut leaving) => return Ok(Left::Gone),
                written = outbox.written(), if !is_free => match written {
                    Ok(()) => continue,
                    Err(_) => return Ok(Left::Gone),
                },
                // Before the next frame is heard, so that what was ordered before it is begun before it.
                Some(frame) = self.in_flight.next(), if has_room => {
                    self.turns.heard();
                    vec![frame.into()]
                }
                Some(frame) = self.apart.next(), if has_room => {
                    self.turns.heard();
                    vec![frame.into()]
                }
                frame = source.next(), if is_hearing => {
                    self.turns.heard();
                    let said = match frame? {
                        Some(frame) => self.take_in::<S>(frame).await?,
                        None => None,
                    };
                    if said.is_none() {
                        leaving = Some(Box::pin(tokio::time::sleep(LET_GO_WITHIN)));
                        self.follow_nothing();
                    }
                    said.unwrap_or_default()
                }
                () = std::future::ready(()), if job.is_some() => {
                    self.daemon.engine.published().is_current(&self.principal)?;
                    match job {
                        Some(job) => self.perform(job).await?,
                        None => continue,
                    }
                }
                // Something may have moved: what it is, is looked at above.
                () = self.views.changed(), if is_idle => continue,
                () = self.follows.changed(), if is_idle => continue,
                () = board_moved(&mut self.watching), if is_idle => continue,
                changed = head.changed(), if is_idle && !self.subscriptions.is_empty() => {
                    if changed.is_err() { return Ok(Left::Gone) }
                    continue;
                }
            };
            outbox.put(out);
        }
    }

    /// But the screens that it asked for.
    fn follow_nothing(&mut self) {
        self.subscriptions.clear();
        self.follows = Follows::default();
        self.watching = None;
    }

    /// What goes next of what can be said.
    fn job(&mut self, head: Seq) -> Option<Job> {
        let is_behind = self.subscriptions.iter().any(|sub| sub.seq < head || !sub.caught_up);
        self.turns.choose([
            self.views.ready(Urgency::Echo).map(Job::View),
            self.watching.as_mut().is_some_and(Watching::is_ready).then_some(Job::Rows),
            self.follows.ready(&self.daemon).map(Job::Entries),
            self.views.ready(Urgency::Bulk).map(Job::View),
            is_behind.then_some(Job::Events),
        ])
    }

    async fn perform(&mut self, job: Job) -> Result<Vec<Out>, Rejection> {
        self.turns.said();
        Ok(match job {
            Job::View(at) => self.views.step(&self.daemon, &self.principal, at).await,
            Job::Rows => self.watching.as_mut().map(|watching| Out::Line(watching.frame())).into_iter().collect(),
            Job::Entries(at) => {
                self.follows.step(&self.daemon, &self.principal, at).await.map(Out::from).into_iter().collect()
            }
            Job::Events => vec![Out::Line(self.pump().await?)],
        })
    }

    /// `None` when the client says goodbye. An error ends the connection; a refusal is an answer.
    async fn take_in<S: Sink>(&mut self, frame: Incoming) -> Result<Option<Vec<Out>>, Rejection> {
        let text = match frame {
            Incoming::Text(text) => text,
            Incoming::Bytes(bytes) => return self.typed_bytes(&bytes).await.map(Some),
        };
        let frame = match Client::parse(&text) {
            Ok(frame) => frame,
            Err((id, refusal)) => return Ok(Some(vec![ServerFrame::error(id, refusal).into()])),
        };
        let frames = match frame {
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
                let is_apart = name == FILES;
                let answer = Box::pin(async move {
                    match answers::answer(&daemon, &principal, &name, &args).await {
                        Ok((body, seq)) => ServerFrame::ok(id, body, seq),
                        Err(refusal) => ServerFrame::error(Some(id), refusal),
                    }
                });
                if is_apart {
                    self.apart.push(answer);
                } else {
                    self.in_flight.push_back(answer);
                }
                Vec::new()
            }
            Client::Sub { id, sub } => {
                vec![self.subscribe(id, sub).unwrap_or_else(|refusal| ServerFrame::error(Some(id), refusal))]
            }
            Client::View { id, view } => {
                let refused = self.views.open(&self.daemon, &self.principal, id, &view, S::TAKES_BYTES).await.err();
                refused.map(|refusal| ServerFrame::error(Some(id), refusal)).into_iter().collect()
            }
            Client::Typed(typed) => {
                let refused = self.views.typed(&self.daemon, &self.principal, &typed).await.err();
                refused.map(|refusal| ServerFrame::error(Some(typed.view), refusal)).into_iter().collect()
            }
            Client::Resized(resized) => {
                let refused = self.views.resized(&self.daemon, &self.principal, resized).await.err();
                refused.map(|refusal| ServerFrame::error(Some(resized.view), refusal)).into_iter().collect()
            }
            Client::Credit(credit) => {
                let refused = self.views.credit(credit).err();
                refused.map(|refusal| ServerFrame::error(Some(credit.view), refusal)).into_iter().collect()
            }
            Client::Watch { id } => {
                self.watch(id).err().map(|refusal| ServerFrame::error(Some(id), refusal)).into_iter().collect()
            }
            Client::Follow { id, follow } => {
                let refused = self.follows.open(&self.daemon, &self.principal, id, &follow).err();
                refused.map(|refusal| ServerFrame::error(Some(id), refusal)).into_iter().collect()
            }
            Client::Unsub { id, sub } if self.views.close(sub) || self.follows.close(sub) || self.unwatch(sub) => {
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
        };
        Ok(Some(frames.into_iter().map(Out::from).collect()))
    }

    async fn typed_bytes(&mut self, frame: &[u8]) -> Result<Vec<Out>, Rejection> {
        let Some((view, bytes)) = Binary::typed(frame) else {
            return Err(Rejection::new(Code::BadFrame, "a binary message is what is typed into a view"));
        };
        let refused = self.views.typed_bytes(&self.daemon, &self.principal, view, bytes.to_vec()).await.err();
        Ok(refused.map(|refusal| ServerFrame::error(Some(view), refusal).into()).into_iter().collect())
    }

    /// The board shows everything, so it is for whoever may do everything.
    fn watch(&mut self, id: FrameId) -> Result<(), Rejection> {
        if self.principal != Principal::Operator {
            let message = "the board is for the operator only";
            let rule = serde_json::json!({ "rule": "operator_only" });
            return Err(Rejection::new(Code::Denied, message)
                .hint("an agent asks: agents, inbox, events")
                .details(rule));
        }
        if self.watching.is_some() {
            return Err(Rejection::new(Code::Exists, "the board is watched on this connection already"));
        }
        self.watching = Some(Watching::new(&self.daemon, id));
        Ok(())
    }

    fn unwatch(&mut self, id: FrameId) -> bool {
        self.watching.take_if(|watching| watching.id == id).is_some()
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

    /// A page of every subscription that is behind.
    async fn pump(&mut self) -> Result<String, Rejection> {
        // Not what we were woken for: answers go before that, and who has one is not told that older things were all.
        let head = self.daemon.engine.published().read(|_, head| head);
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
        Ok(lines)
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

/// Waits until whoever says no more has had its time.
async fn over(leaving: &mut Option<Pin<Box<Sleep>>>) {
    match leaving {
        Some(leaving) => leaving.await,
        None => std::future::pending().await,
    }
}

/// Waits for the end of the browser's session, if it is one's.
async fn signed_out(signed_in: &mut Option<SignedIn>) {
    match signed_in {
        Some(signed_in) => signed_in.ended().await,
        None => std::future::pending().await,
    }
}

async fn board_moved(watching: &mut Option<Watching>) {
    match watching {
        Some(watching) => watching.changed().await,
        None => std::future::pending().await,
    }
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
    let cmd_id = cmd_id.unwrap_or_else(|| CmdId::new(Time(clock::now_ms()), clock::random_bytes()));
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
