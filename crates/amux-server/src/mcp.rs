//! The tools of an agent over HTTP, in the server's own process. Whose credential comes with a request acts in it; that
//! it may come in at all was decided before it got here.

use std::sync::Arc;

use amux_mcp::World;
use amux_proto::entity::Attachment;
use amux_proto::{Code, Principal, Rejection, Seq};
use axum::extract::{ConnectInfo, Extension, Request, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::answers;
use crate::daemon::Daemon;
use crate::http::{Heard, answered};
use crate::places::Guest;
use crate::session::{self, Order};

/// A call may wait as long as a stream lives, so it takes a place as one does. An agent's connection ends with its
/// call: one that was let stay must not be kept for nothing.
pub(crate) async fn serve(
    State(daemon): State<Arc<Daemon>>,
    Extension(principal): Extension<Principal>,
    ConnectInfo(heard): ConnectInfo<Heard>,
    request: Request,
) -> Response {
    let guest = Guest::of(&principal);
    let _place = match daemon.stream_places.take(guest) {
        Ok(place) => place,
        Err(refusal) => {
            daemon.counters.refused();
            return answered(Err(refusal));
        }
    };
    heard.set();
    let mut response = amux_mcp::http(Inside { daemon, principal }).handle(request).await.into_response();
    if guest != Guest::Operator {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

struct Inside {
    daemon: Arc<Daemon>,
    principal: Principal,
}

impl World for Inside {
    async fn me(&self) -> Result<String, Rejection> {
        Ok(self.daemon.engine.published().principal_name(&self.principal))
    }

    async fn order(&self, name: &'static str, args: Value) -> Result<Box<RawValue>, Rejection> {
        if self.daemon.asked.borrow().is_some() {
            return Err(Rejection::new(Code::Unavailable, "the server is ending"));
        }
        let Order::Command(command) = session::order(name, &args.to_string())? else {
            return Err(Rejection::new(Code::Internal, format!("a tool acts by commands only: {name}")));
        };
        let submission = session::admitted(&self.daemon, *command, self.principal.clone(), None, None)?;
        self.daemon.engine.submit(submission).await.map(|committed| committed.answer)
    }

    async fn ask(&self, name: &'static str, args: Value) -> Result<Box<RawValue>, Rejection> {
        answers::answer(&self.daemon, &self.principal, name, &args.to_string()).await.map(|(body, _)| body)
    }

    async fn upload(&self, _: String) -> Result<Attachment, Rejection> {
        let message = "a path is a file of whoever calls, and cannot be read from here";
        Err(Rejection::new(Code::Unsupported, message).hint("in a shell: agentmux send TARGET -m TEXT --attach FILE"))
    }

    async fn bell(&self) -> Result<watch::Receiver<Seq>, Rejection> {
        Ok(self.daemon.engine.published().watch_head())
    }
}
