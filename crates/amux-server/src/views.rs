//! Terminals that one client follows. A view is a place on a tape: nothing is queued for it, and one that has fallen
//! far behind is given the screen as it is instead of all that led there. One that is shown by a browser travels in
//! binary messages with credit, since a browser's socket takes more than its page can show.

use std::sync::Arc;

use amux_proto::entity::{Right, Size};
use amux_proto::frame::{
    Binary, CREDIT_BYTES, Credit, FrameId, OutputFrame, Resized, ScreenFrame, ServerFrame, Typed, ViewTerminal,
};
use amux_proto::{AgentId, Code, Principal, Rejection, RunNo};
use amux_runner::{Ask, View, tape};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::future::select_all;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use crate::acts::ask_live;
use crate::daemon::Daemon;

/// A page shows eighteen terminals at once; with room for pages that are large, and for those that are being closed.
const VIEWS_MAX: usize = 64;

/// Written in one frame.
const OUTPUT_BYTES: usize = 64 * 1024;

/// Whoever is further behind than this would rather see what is there now.
const BEHIND_BYTES_MAX: u64 = 1024 * 1024;

/// A paste; more is sent in pieces.
const TYPED_BYTES_MAX: usize = 256 * 1024;

/// So little at once is the echo of what somebody types, or as welcome.
const ECHO_BYTES: u64 = 4 * 1024;

/// So much of what comes after a key is its answer, a screen that is drawn anew among them, and goes before what others
/// print. Of a program that prints without end, or has much to say from before, it is as much for each key and no more.
const ANSWER_BYTES: u64 = 64 * 1024;

#[derive(Default)]
pub(crate) struct Views {
    all: Vec<Viewed>,
    /// Who is asked first, so that one that prints without end does not keep the others from being shown.
    first: usize,
}

/// What is sent to a client.
#[derive(Debug)]
pub(crate) enum Out {
    Frame(Box<ServerFrame>),
    /// A frame that is written already.
    Line(String),
    Bytes(Vec<u8>),
}

impl From<ServerFrame> for Out {
    fn from(frame: ServerFrame) -> Self {
        Self::Frame(Box::new(frame))
    }
}

/// Whether its screen is to be shown, which is done where there is something to say and not where it is asked for: what
/// stands above it takes a while to read, and meanwhile the client is heard.
enum Due {
    /// It was shown.
    Not,
    /// As it is then.
    Anew,
    /// What stands above it is being read. One at a time: a size that changes meanwhile is seen afterwards.
    Reading(oneshot::Receiver<Vec<u8>>),
    /// With this above it.
    Read(Vec<u8>),
}

/// How urgent it is what a terminal says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    Echo,
    Bulk,
}

struct Viewed {
    id: FrameId,
    agent: AgentId,
    run: RunNo,
    view: View,
    /// Sent up to here.
    at: u64,
    /// So much of what comes next is taken for what answers a key.
    answer_left: u64,
    due: Due,
    /// Lines of what scrolled away that its screen comes with.
    history: Option<u16>,
    /// Set where it travels in binary messages.
    credit: Option<Spent>,
}

#[derive(Default)]
struct Spent {
    /// Sent, and not shown as far as the client says.
    bytes: u64,
    /// All of it was spent; nothing is sent before half of it came back.
    is_stalled: bool,
}

impl Spent {
    /// Terminals that print at the same time share what may be under way to a page: on a slow line all of it is before
    /// the echo of a key. Never less than a frame, or nothing would be sent.
    fn share(&self, under_way: usize) -> u64 {
        let count = under_way + usize::from(self.bytes == 0);
        (CREDIT_BYTES / count.max(1) as u64).max(OUTPUT_BYTES as u64)
    }
}

impl Views {
    pub(crate) async fn open(
        &mut self,
        daemon: &Daemon,
        principal: &Principal,
        id: FrameId,
        wanted: &ViewTerminal,
        takes_bytes: bool,
    ) -> Result<(), Rejection> {
        let published = daemon.engine.published();
        if self.all.len() >= VIEWS_MAX {
            return Err(Rejection::new(Code::Limit, format!("at most {VIEWS_MAX} terminals on one connection")));
        }
        if self.all.iter().any(|known| known.id == id) {
            return Err(Rejection::new(Code::Exists, format!("there is a view with this id: {id}")));
        }
        if wanted.binary && (!takes_bytes || u32::try_from(id).is_err()) {
            let message = "a binary view is for a WebSocket, and its id is below 2^32";
            return Err(Rejection::new(Code::BadArgs, message));
        }
        published.is_current(principal)?;
        let agent = published.resolve_agent(&wanted.agent)?;
        published.may(principal, Right::Look, agent)?;
        let may_type = published.may(principal, Right::Keys, agent).is_ok();
        let size = match (wanted.rows, wanted.cols, may_type) {
            (Some(rows), Some(cols), true) => Some(Size { rows: rows.clamp(1, 1000), cols: cols.clamp(2, 1000) }),
            _ => None,
        };
        let view = ask_live(daemon, agent, |reply| Ask::View { size, reply }).await??;
        let run = published.agent(&agent.to_string())?.agent.run.unwrap_or(RunNo(0));
        let credit = wanted.binary.then(Spent::default);
        let history = wanted.history.filter(|_| wanted.binary);
        let mut viewed =
            Viewed { id, agent, run, at: view.offset, answer_left: 0, due: Due::Not, history, view, credit };
        viewed.recall(daemon);
        self.all.push(viewed);
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Of those that only wait for what they asked for.
    pub(crate) fn keep_due(&mut self) {
        self.all.retain(|viewed| !matches!(viewed.due, Due::Not));
    }

    pub(crate) fn close(&mut self, id: FrameId) -> bool {
        let before = self.all.len();
        self.all.retain(|viewed| viewed.id != id);
        self.all.len() < before
    }

    pub(crate) async fn typed(
        &mut self,
        daemon: &Daemon,
        principal: &Principal,
        typed: &Typed,
    ) -> Result<(), Rejection> {
        let bytes = BASE64
            .decode(&typed.bytes)
            .map_err(|error| Rejection::new(Code::BadArgs, format!("the keys are no base64: {error}")))?;
        self.typed_bytes(daemon, principal, typed.view, bytes).await
    }

    pub(crate) async fn typed_bytes(
        &mut self,
        daemon: &Daemon,
        principal: &Principal,
        view: FrameId,
        bytes: Vec<u8>,
    ) -> Result<(), Rejection> {
        let viewed = self.find(view)?;
        daemon.engine.published().may(principal, Right::Keys, viewed.agent)?;
        if bytes.len() > TYPED_BYTES_MAX {
            let message = format!("too many keys at once: {} bytes, at most {TYPED_BYTES_MAX}", bytes.len());
            return Err(Rejection::new(Code::TooLarge, message));
        }
        let (viewer, agent) = (viewed.types(), viewed.agent);
        ask_live(daemon, agent, |reply| Ask::Type { viewer, bytes, reply }).await?
    }

    /// The answer is the screen, whoever says how large it is.
    pub(crate) async fn resized(
        &mut self,
        daemon: &Daemon,
        principal: &Principal,
        resized: Resized,
    ) -> Result<(), Rejection> {
        let viewed = self.find(resized.view)?;
        daemon.engine.published().may(principal, Right::Keys, viewed.agent)?;
        let size = Size { rows: resized.rows.clamp(1, 1000), cols: resized.cols.clamp(2, 1000) };
        let (viewer, agent) = (Some(viewed.view.viewer), viewed.agent);
        ask_live(daemon, agent, |reply| Ask::Resize { viewer, size, reply }).await??;
        if matches!(viewed.due, Due::Not) {
            viewed.due = Due::Anew;
        }
        Ok(())
    }

    /// The client has shown so much of it.
    pub(crate) fn credit(&mut self, credit: Credit) -> Result<(), Rejection> {
        let viewed = self.find(credit.view)?;
        let Some(spent) = &mut viewed.credit else {
            return Err(Rejection::new(Code::BadArgs, "this view takes no credit: it is not binary"));
        };
        spent.bytes = spent.bytes.saturating_sub(credit.bytes);
        Ok(())
    }

    fn find(&mut self, id: FrameId) -> Result<&mut Viewed, Rejection> {
        let found = self.all.iter_mut().find(|viewed| viewed.id == id);
        found.ok_or_else(|| Rejection::new(Code::NotFound, format!("no such view: {id}")))
    }

    /// One that has something of this urgency to say.
    pub(crate) fn ready(&mut self, urgency: Urgency) -> Option<usize> {
        let (count, turn, under_way) = (self.all.len(), self.first, self.under_way());
        (0..count).map(|at| (turn + at) % count).find(|at| {
            let viewed = &mut self.all[*at];
            viewed.news(under_way).is_some_and(|news| viewed.urgency(news) == urgency)
        })
    }

    /// How many have something under way that was not shown yet.
    fn under_way(&self) -> usize {
        self.all.iter().filter(|viewed| viewed.credit.as_ref().is_some_and(|spent| spent.bytes > 0)).count()
    }

    /// Waits until one of them may have something to say.
    pub(crate) async fn changed(&mut self) {
        let able = self.all.iter_mut().filter(|viewed| !viewed.is_stalled());
        let changed: Vec<_> = able.map(|viewed| Box::pin(viewed.changed())).collect();
        if changed.is_empty() {
            return std::future::pending().await;
        }
        select_all(changed).await;
    }

    /// What it says.
    pub(crate) async fn step(&mut self, daemon: &Arc<Daemon>, principal: &Principal, at: usize) -> Vec<Out> {
        let under_way = self.under_way();
        self.first = at + 1;
        let viewed = &mut self.all[at];
        // Whoever may not look any more is shown nothing more.
        if let Err(refusal) = daemon.engine.published().may(principal, Right::Look, viewed.agent) {
            let viewed = self.all.remove(at);
            return vec![ServerFrame::error(Some(viewed.id), refusal).into()];
        }
        let said = match viewed.news(under_way) {
            None => return Vec::new(),
            Some(News::Output) => viewed.output(daemon, under_way).await,
            Some(News::Anew) => viewed.again(daemon).await.ok_or_else(|| ENDED.to_owned()),
            Some(News::Screen) => Ok(viewed.screen(daemon)),
            Some(News::End) => Err(ENDED.to_owned()),
        };
        match said {
            Ok(out) => out,
            Err(why) => {
                let viewed = self.all.remove(at);
                vec![ServerFrame { id: Some(viewed.id), ended: Some(why), ..ServerFrame::default() }.into()]
            }
        }
    }
}

const ENDED: &str = "the agent ended";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    Output,
    /// It is to be shown as it is now.
    Anew,
    /// It can be shown.
    Screen,
    End,
}

impl Viewed {
    /// Levels, not edges: whoever is interrupted between noticing and acting notices again.
    fn news(&mut self, under_way: usize) -> Option<News> {
        let end = *self.view.grown.borrow_and_update();
        let is_resized = *self.view.resized.borrow_and_update() != self.view.size;
        if let Due::Reading(above) = &mut self.due {
            match above.try_recv() {
                Ok(above) => self.due = Due::Read(above),
                Err(TryRecvError::Empty) => return None,
                // A screen without it is better than none.
                Err(TryRecvError::Closed) => self.due = Due::Read(Vec::new()),
            }
        }
        // However much credit there is: there was some when it was begun.
        if let Due::Read(_) = self.due {
            return Some(News::Screen);
        }
        if let Some(spent) = &mut self.credit {
            let share = spent.share(under_way);
            if spent.is_stalled && spent.bytes > share / 2 {
                return None;
            }
            let is_far_behind = end.saturating_sub(self.at) > CREDIT_BYTES / 4;
            if spent.is_stalled && is_far_behind {
                return Some(News::Anew);
            }
            spent.is_stalled = false;
            if spent.bytes >= share {
                spent.is_stalled = true;
                return None;
            }
        }
        if is_resized || matches!(self.due, Due::Anew) {
            return Some(News::Anew);
        }
        if end > self.at {
            return Some(News::Output);
        }
        // Its last words may have come together with its end.
        self.view.grown.has_changed().is_err().then_some(News::End)
    }

    fn urgency(&self, news: News) -> Urgency {
        let behind = self.view.grown.borrow().saturating_sub(self.at);
        let is_answer = behind <= ECHO_BYTES || self.answer_left > 0;
        if news == News::Output && !is_answer { Urgency::Bulk } else { Urgency::Echo }
    }

    /// Somebody does, and is this viewer.
    fn types(&mut self) -> u64 {
        self.answer_left = ANSWER_BYTES;
        self.view.viewer
    }

    fn was_sent(&mut self, bytes: u64) {
        self.at += bytes;
        self.answer_left = self.answer_left.saturating_sub(bytes);
    }

    fn is_stalled(&self) -> bool {
        self.credit.as_ref().is_some_and(|spent| spent.is_stalled)
    }

    async fn changed(&mut self) {
        if let Due::Reading(above) = &mut self.due {
            self.due = Due::Read(above.await.unwrap_or_default());
            return;
        }
        tokio::select! {
            _ = self.view.grown.changed() => {}
            _ = self.view.resized.changed() => {}
        }
    }

    /// Whole, however much credit there is: half a screen is none.
    fn screen(&mut self, daemon: &Daemon) -> Vec<Out> {
        let mut bytes = match std::mem::replace(&mut self.due, Due::Not) {
            Due::Read(above) => above,
            Due::Not | Due::Anew | Due::Reading(_) => Vec::new(),
        };
        bytes.append(&mut self.view.snapshot);
        let View { offset, size, .. } = self.view;
        let is_binary = self.credit.is_some();
        let screen = ScreenFrame {
            agent: daemon.engine.published().label(self.agent),
            run: self.run,
            rows: size.rows,
            cols: size.cols,
            offset,
            bytes: if is_binary { String::new() } else { BASE64.encode(&bytes) },
        };
        let frame = ServerFrame { id: Some(self.id), screen: Some(screen), ..ServerFrame::default() };
        if !is_binary {
            return vec![frame.into()];
        }
        let bytes = self.spend(Binary::Screen, offset, &bytes);
        vec![frame.into(), bytes]
    }

    /// Begins to read what scrolled away, where it is wanted above the screen.
    fn recall(&mut self, daemon: &Daemon) {
        let Some(lines) = self.history else {
            self.due = Due::Read(Vec::new());
            return;
        };
        let (runner, agent, run) = (daemon.runner.clone(), self.agent, self.run);
        let (size, offset, snapshot) = (self.view.size, self.view.offset, self.view.snapshot.clone());
        let (reply, above) = oneshot::channel();
        self.due = Due::Reading(above);
        let below = move || runner.history(agent, run, (size, offset, &snapshot), usize::from(lines));
        tokio::task::spawn_blocking(move || match below() {
            // The client may be gone.
            Ok(history) => drop(reply.send(history)),
            Err(error) => tracing::warn!(%error, %agent, "What scrolled off a terminal cannot be read."),
        });
    }

    fn spend(&mut self, kind: Binary, offset: u64, bytes: &[u8]) -> Out {
        if let Some(spent) = &mut self.credit {
            spent.bytes += bytes.len() as u64;
        }
        // That it fits was seen when the view was opened.
        Out::Bytes(kind.frame(u32::try_from(self.id).unwrap_or(u32::MAX), offset, bytes))
    }

    /// The screen as it is now, for the same viewer. Nothing yet where what stands above it is read first: in another size
    /// it is other lines, and where it was asked for, what the client did not hear is among them. Of one that cannot
    /// follow, what it missed is not sent.
    async fn again(&mut self, daemon: &Daemon) -> Option<Vec<Out>> {
        let (size, at) = (self.view.size, self.at);
        let is_asked = matches!(self.due, Due::Anew);
        let (reply, answer) = oneshot::channel();
        let viewer = self.view.viewer;
        daemon.runner.ask(self.agent, Ask::ViewAgain { viewer, reply }).await.ok()?;
        self.view = answer.await.ok()?.ok()?;
        self.at = self.view.offset;
        if let Some(spent) = &mut self.credit {
            spent.is_stalled = false;
        }
        if self.view.size != size || (is_asked && self.at != at) {
            self.recall(daemon);
        } else {
            self.due = Due::Read(Vec::new());
        }
        Some(if let Due::Read(_) = self.due { self.screen(daemon) } else { Vec::new() })
    }

    async fn output(&mut self, daemon: &Arc<Daemon>, under_way: usize) -> Result<Vec<Out>, String> {
        let end = *self.view.grown.borrow();
        if end.saturating_sub(self.at) > BEHIND_BYTES_MAX
            && let Some(screen) = self.again(daemon).await
        {
            return Ok(screen);
        }
        let room = self.credit.as_ref().map_or(u64::MAX, |spent| spent.share(under_way).saturating_sub(spent.bytes));
        let mut bytes = vec![0; OUTPUT_BYTES.min(usize::try_from(room).unwrap_or(usize::MAX))];
        let offset = self.at;
        // Out of the page cache: it was written a moment ago.
        let count = tape::read(&self.view.dir, tape::OUT, offset, &mut bytes).map_err(|error| error.to_string())?;
        if count == 0 {
            return Err("its tape ends before its output does".to_owned());
        }
        self.was_sent(count as u64);
        if self.credit.is_some() {
            return Ok(vec![self.spend(Binary::Output, offset, &bytes[..count])]);
        }
        let output = OutputFrame { offset, bytes: BASE64.encode(&bytes[..count]) };
        Ok(vec![ServerFrame { id: Some(self.id), output: Some(output), ..ServerFrame::default() }.into()])
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;

    #[test]
    fn what_answers_a_key_goes_before_what_others_print_however_much_it_is() {
        let size = Size { rows: 24, cols: 80 };
        let (grown, resized) = (watch::Sender::new(0), watch::Sender::new(size));
        let view = View {
            viewer: 1,
            dir: std::path::PathBuf::new(),
            offset: 0,
            snapshot: Vec::new(),
            size,
            grown: grown.subscribe(),
            resized: resized.subscribe(),
        };
        let agent = AgentId(uuid::Uuid::nil());
        let (due, credit) = (Due::Not, None);
        let mut viewed =
            Viewed { id: 1, agent, run: RunNo(1), view, at: 0, answer_left: 0, due, history: None, credit };
        let urgency = |viewed: &Viewed| viewed.urgency(News::Output);
        grown.send_replace(ECHO_BYTES);
        assert_eq!(urgency(&viewed), Urgency::Echo, "so little is an echo or as welcome");
        grown.send_replace(10 * ANSWER_BYTES);
        assert_eq!(urgency(&viewed), Urgency::Bulk);
        assert_eq!(viewed.types(), 1);
        assert_eq!(urgency(&viewed), Urgency::Echo, "somebody typed");
        viewed.was_sent(ANSWER_BYTES - 1);
        assert_eq!(urgency(&viewed), Urgency::Echo);
        viewed.was_sent(1);
        assert_eq!(urgency(&viewed), Urgency::Bulk, "what it had to say before is no answer, however much it is");
        for _ in 0..9 {
            viewed.types();
        }
        viewed.was_sent(ANSWER_BYTES);
        assert_eq!(urgency(&viewed), Urgency::Bulk, "nor do keys add up");
    }

    #[test]
    fn terminals_that_print_at_once_share_what_is_under_way_and_each_has_a_frame() {
        let printing = Spent { bytes: 1, is_stalled: false };
        assert_eq!(printing.share(1), CREDIT_BYTES, "one alone has all of it");
        assert_eq!(printing.share(4), CREDIT_BYTES / 4);
        assert_eq!(Spent::default().share(3), CREDIT_BYTES / 4, "one that begins is one of them");
        assert_eq!(printing.share(64), OUTPUT_BYTES as u64);
    }
}
