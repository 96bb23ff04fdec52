//! Terminals that one client follows. A view is a place on a tape: nothing is queued for it, and one that has fallen
//! far behind is given the screen as it is instead of all that led there.

use std::sync::Arc;

use amux_proto::entity::{Right, Size};
use amux_proto::frame::{FrameId, OutputFrame, Resized, ScreenFrame, ServerFrame, Typed, ViewTerminal};
use amux_proto::{AgentId, Code, Principal, Rejection, RunNo};
use amux_runner::{Ask, View, tape};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::future::select_all;
use tokio::sync::oneshot;

use crate::acts::ask_live;
use crate::daemon::Daemon;

const VIEWS_MAX: usize = 16;

/// Written in one frame.
const OUTPUT_BYTES: usize = 64 * 1024;

/// Whoever is further behind than this would rather see what is there now.
const BEHIND_BYTES_MAX: u64 = 1024 * 1024;

/// A paste; more is sent in pieces.
const TYPED_BYTES_MAX: usize = 256 * 1024;

#[derive(Default)]
pub(crate) struct Views(Vec<Viewed>);

struct Viewed {
    id: FrameId,
    agent: AgentId,
    run: RunNo,
    view: View,
    /// Sent up to here.
    at: u64,
}

impl Views {
    pub(crate) async fn open(
        &mut self,
        daemon: &Daemon,
        principal: &Principal,
        id: FrameId,
        wanted: &ViewTerminal,
    ) -> Result<ServerFrame, Rejection> {
        let published = daemon.engine.published();
        if self.0.len() >= VIEWS_MAX {
            return Err(Rejection::new(Code::Limit, format!("at most {VIEWS_MAX} terminals on one connection")));
        }
        if self.0.iter().any(|known| known.id == id) {
            return Err(Rejection::new(Code::Exists, format!("there is a view with this id: {id}")));
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
        let viewed = Viewed { id, agent, run, at: view.offset, view };
        let frame = viewed.screen(daemon);
        self.0.push(viewed);
        Ok(frame)
    }

    /// Whoever may not look any more is shown nothing more.
    pub(crate) fn are_allowed(&self, daemon: &Daemon, principal: &Principal) -> Result<(), Rejection> {
        let published = daemon.engine.published();
        self.0.iter().try_for_each(|viewed| published.may(principal, Right::Look, viewed.agent))
    }

    pub(crate) fn close(&mut self, id: FrameId) -> bool {
        let before = self.0.len();
        self.0.retain(|viewed| viewed.id != id);
        self.0.len() < before
    }

    pub(crate) async fn typed(
        &mut self,
        daemon: &Daemon,
        principal: &Principal,
        typed: &Typed,
    ) -> Result<(), Rejection> {
        let viewed = self.find(typed.view)?;
        daemon.engine.published().may(principal, Right::Keys, viewed.agent)?;
        let bytes = BASE64
            .decode(&typed.bytes)
            .map_err(|error| Rejection::new(Code::BadArgs, format!("the keys are no base64: {error}")))?;
        if bytes.len() > TYPED_BYTES_MAX {
            let message = format!("too many keys at once: {} bytes, at most {TYPED_BYTES_MAX}", bytes.len());
            return Err(Rejection::new(Code::TooLarge, message));
        }
        let (viewer, agent) = (viewed.view.viewer, viewed.agent);
        ask_live(daemon, agent, |reply| Ask::Type { viewer, bytes, reply }).await?
    }

    /// The answer is the screen, whoever says how large it is: a window of another size shows it anew.
    pub(crate) async fn resized(
        &mut self,
        daemon: &Arc<Daemon>,
        principal: &Principal,
        resized: Resized,
    ) -> Result<ServerFrame, Rejection> {
        let viewed = self.find(resized.view)?;
        daemon.engine.published().may(principal, Right::Keys, viewed.agent)?;
        let size = Size { rows: resized.rows.clamp(1, 1000), cols: resized.cols.clamp(2, 1000) };
        let (viewer, agent) = (Some(viewed.view.viewer), viewed.agent);
        ask_live(daemon, agent, |reply| Ask::Resize { viewer, size, reply }).await??;
        let screen = viewed.again(daemon).await;
        screen.ok_or_else(|| Rejection::new(Code::Conflict, "the agent ended"))
    }

    fn find(&mut self, id: FrameId) -> Result<&mut Viewed, Rejection> {
        let found = self.0.iter_mut().find(|viewed| viewed.id == id);
        found.ok_or_else(|| Rejection::new(Code::NotFound, format!("no such view: {id}")))
    }

    /// The next frames, when a terminal has said something; for ever when none is viewed.
    pub(crate) async fn next(&mut self, daemon: &Arc<Daemon>) -> Vec<ServerFrame> {
        if self.0.is_empty() {
            return std::future::pending().await;
        }
        let moved = self.0.iter_mut().map(|viewed| Box::pin(viewed.moved()));
        let (moved, at, _) = select_all(moved).await;
        match moved {
            Moved::Grown => match self.0[at].output(daemon).await {
                Ok(frame) => vec![frame],
                Err(why) => vec![self.end(at, &why)],
            },
            Moved::Resized => {
                let viewed = &mut self.0[at];
                match viewed.again(daemon).await {
                    Some(frame) => vec![frame],
                    None => vec![self.end(at, "the agent ended")],
                }
            }
            Moved::Gone => vec![self.end(at, "the agent ended")],
        }
    }

    fn end(&mut self, at: usize, why: &str) -> ServerFrame {
        let viewed = self.0.remove(at);
        ServerFrame { id: Some(viewed.id), ended: Some(why.to_owned()), ..ServerFrame::default() }
    }
}

enum Moved {
    Grown,
    Resized,
    Gone,
}

impl Viewed {
    async fn moved(&mut self) -> Moved {
        loop {
            // Levels, not edges: whoever is interrupted between noticing and acting notices again.
            if *self.view.resized.borrow_and_update() != self.view.size {
                return Moved::Resized;
            }
            if *self.view.grown.borrow_and_update() > self.at {
                return Moved::Grown;
            }
            let changed = tokio::select! {
                changed = self.view.grown.changed() => changed,
                changed = self.view.resized.changed() => changed,
            };
            // Its last words may have come together with its end.
            if changed.is_err() && *self.view.grown.borrow() <= self.at {
                return Moved::Gone;
            }
        }
    }

    fn screen(&self, daemon: &Daemon) -> ServerFrame {
        let View { offset, snapshot, size, .. } = &self.view;
        let screen = ScreenFrame {
            agent: daemon.engine.published().label(self.agent),
            run: self.run,
            rows: size.rows,
            cols: size.cols,
            offset: *offset,
            bytes: BASE64.encode(snapshot),
        };
        ServerFrame { id: Some(self.id), screen: Some(screen), ..ServerFrame::default() }
    }

    /// The screen as it is now, for the same viewer.
    async fn again(&mut self, daemon: &Arc<Daemon>) -> Option<ServerFrame> {
        let (reply, answer) = oneshot::channel();
        let viewer = self.view.viewer;
        daemon.runner.ask(self.agent, Ask::ViewAgain { viewer, reply }).await.ok()?;
        self.view = answer.await.ok()?.ok()?;
        self.at = self.view.offset;
        Some(self.screen(daemon))
    }

    async fn output(&mut self, daemon: &Arc<Daemon>) -> Result<ServerFrame, String> {
        let end = *self.view.grown.borrow();
        if end - self.at > BEHIND_BYTES_MAX
            && let Some(frame) = self.again(daemon).await
        {
            return Ok(frame);
        }
        let mut bytes = vec![0; OUTPUT_BYTES];
        let offset = self.at;
        // Out of the page cache: it was written a moment ago.
        let count = tape::read(&self.view.dir, tape::OUT, offset, &mut bytes).map_err(|error| error.to_string())?;
        if count == 0 {
            return Err("its tape ends before its output does".to_owned());
        }
        self.at += count as u64;
        let output = OutputFrame { offset, bytes: BASE64.encode(&bytes[..count]) };
        Ok(ServerFrame { id: Some(self.id), output: Some(output), ..ServerFrame::default() })
    }
}
