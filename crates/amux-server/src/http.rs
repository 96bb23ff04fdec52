//! HTTP and WebSocket on one loopback port. Every route is in [`ROUTES`] with the credential it takes; what is not
//! there does not exist. Host and Origin are checked before anything else, so that no page of another site can reach
//! us through a person's browser.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use amux_proto::frame::ServerFrame;
use amux_proto::query::Act;
use amux_proto::query::act::RevokeSession;
use amux_proto::{CmdId, Code, FRAME_BYTES_MAX, Principal, Rejection, Rev, schema};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::connect_info::Connected;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, DefaultBodyLimit, Extension, Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::serve::IncomingStream;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::auth::{Admission, Keys};
use crate::daemon::Daemon;
use crate::places::{Guest, Places};
use crate::session::{self, Incoming, Order, Sink, Source};
use crate::{acts, answers, attachments, mcp, metrics, web};

/// A browser with a few tabs, some scripts, and room.
const CONNECTIONS_MAX: usize = 256;
const STREAMS_RESERVED: usize = 64;

/// Nobody keeps a connection for longer than this before the operator has spoken on it, or it has become a stream.
const UNHEARD_MAX: Duration = Duration::from_secs(10);

pub(crate) fn places() -> Arc<Places> {
    Places::new(CONNECTIONS_MAX, STREAMS_RESERVED)
}

/// What a route wants to see before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody who can reach the port.
    Open,
    /// Somebody known; what they may do is then asked of the policy.
    Known,
    /// The operator alone.
    Operator,
}

pub const ROUTES: &[(&str, &str, Access)] = &[
    ("GET", "/", Access::Open),
    ("GET", "/healthz", Access::Open),
    ("GET", "/metrics", Access::Operator),
    ("GET", "/v1/openapi.json", Access::Known),
    ("GET", "/v1/snapshot", Access::Known),
    ("GET", "/v1/agents", Access::Known),
    ("GET", "/v1/stream", Access::Known),
    ("POST", "/v1/cmd/{name}", Access::Known),
    // The file itself is the body; and comes as one that is saved, not shown.
    ("POST", "/v1/attachments", Access::Known),
    ("GET", "/v1/attachments/{digest}", Access::Known),
    ("POST", "/mcp", Access::Known),
    // Here it is said that there is no stream to open and no session to end, in the way hosts understand.
    ("GET", "/mcp", Access::Known),
    ("DELETE", "/mcp", Access::Known),
    // The one-time code in the body is the credential.
    ("POST", "/v1/login", Access::Open),
    ("POST", "/v1/logout", Access::Operator),
    ("GET", "/v1/sessions", Access::Operator),
    ("DELETE", "/v1/sessions/{id}", Access::Operator),
    ("GET", "/assets/{name}", Access::Open),
    // What a browser wants at the root: icons, manifest, service worker. After every other path of that form.
    ("GET", "/{file}", Access::Open),
];

pub(crate) fn router(daemon: Arc<Daemon>) -> Router {
    let mut router = Router::new();
    for (method, path, _) in ROUTES {
        router = match (*method, *path) {
            ("GET", "/" | "/assets/{name}" | "/{file}") => router.route(path, get(web::serve)),
            ("GET", "/healthz") => router.route(path, get(|| async { "ok\n" })),
            ("GET", "/metrics") => router.route(path, get(show_metrics)),
            ("GET", "/v1/openapi.json") => router.route(path, get(|| async { json(&schema::openapi()) })),
            ("GET", "/v1/snapshot") => router.route(path, get(show_snapshot)),
            ("GET", "/v1/agents") => router.route(path, get(show_agents)),
            ("GET", "/v1/stream") => router.route(path, get(stream)),
            ("POST", "/v1/cmd/{name}") => router.route(path, post(command)),
            ("POST", "/v1/attachments") => router.route(path, post(attachments::post)),
            ("GET", "/v1/attachments/{digest}") => router.route(path, get(attachments::get)),
            ("POST", "/mcp") => router.route(path, post(mcp::serve)),
            ("GET", "/mcp") => router.route(path, get(mcp::serve)),
            ("DELETE", "/mcp") => router.route(path, delete(mcp::serve)),
            ("POST", "/v1/login") => router.route(path, post(login)),
            ("POST", "/v1/logout") => router.route(path, post(logout)),
            ("GET", "/v1/sessions") => router.route(path, get(show_sessions)),
            ("DELETE", "/v1/sessions/{id}") => router.route(path, delete(revoke_session)),
            (method, path) => unreachable!("the table has a route nobody serves: {method} {path}"),
        };
    }
    router
        .layer(DefaultBodyLimit::max(FRAME_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(&daemon), guard))
        .with_state(daemon)
}

/// Serves until the server ends.
pub(crate) async fn serve(daemon: Arc<Daemon>, listener: TcpListener) {
    let mut ending = daemon.ending.subscribe();
    let doors = Doors { listener, places: Arc::new(Semaphore::new(CONNECTIONS_MAX)) };
    let served = axum::serve(doors, router(daemon).into_make_service_with_connect_info::<Heard>());
    tokio::select! {
        outcome = served => if let Err(error) = outcome { tracing::error!(%error, "The HTTP door broke.") },
        _ = ending.wait_for(Option::is_some) => {}
    }
}

/// Host, Origin, credential: in this order, on every request, known route or not.
async fn guard(State(daemon): State<Arc<Daemon>>, mut request: Request, next: Next) -> Response {
    let mut response = match admit(&daemon, &request) {
        Ok(principal) => {
            if let Some(principal) = principal {
                if principal == Principal::Operator
                    && let Some(ConnectInfo(heard)) = request.extensions().get::<ConnectInfo<Heard>>()
                {
                    heard.set();
                }
                request.extensions_mut().insert(principal);
            }
            next.run(request).await
        }
        Err((status, rejection)) => refuse(status, &rejection),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

fn admit(daemon: &Daemon, request: &Request) -> Result<Option<Principal>, (StatusCode, Rejection)> {
    let headers = request.headers();
    let denied = |message: &str| (StatusCode::FORBIDDEN, Rejection::new(Code::Denied, message));
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    if !host.is_some_and(|host| daemon.is_our_host(host)) {
        return Err(denied("the Host header does not name this server"));
    }
    if let Some(origin) = headers.get(header::ORIGIN)
        && !origin.to_str().is_ok_and(|origin| daemon.is_our_origin(origin))
    {
        return Err(denied("the Origin header names another site"));
    }
    let Some(access) = access(request.method(), request.uri().path()) else {
        return Err((StatusCode::NOT_FOUND, Rejection::new(Code::NotFound, "no such route")));
    };
    let unknown = |rejection| (StatusCode::UNAUTHORIZED, rejection);
    match (access, authenticate(daemon, headers)) {
        // Nobody has to be known here; who is may stay.
        (Access::Open, known) => Ok(known.ok()),
        (Access::Known, Ok(principal)) | (Access::Operator, Ok(principal @ Principal::Operator)) => Ok(Some(principal)),
        (Access::Operator, Ok(_)) => Err(denied("for the operator only")),
        (Access::Known | Access::Operator, Err(rejection)) => Err(unknown(rejection)),
    }
}

fn access(method: &Method, path: &str) -> Option<Access> {
    let matches = |pattern: &str| match pattern.split_once('{') {
        Some((prefix, _)) => path.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && !rest.contains('/')),
        None => pattern == path,
    };
    ROUTES.iter().find(|(of, pattern, _)| *of == method.as_str() && matches(pattern)).map(|(.., access)| *access)
}

fn authenticate(daemon: &Daemon, headers: &HeaderMap) -> Result<Principal, Rejection> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let token = value.to_str().ok().and_then(|value| value.strip_prefix("Bearer "));
        let bad = || Rejection::new(Code::Denied, "the Authorization header is `Bearer <token>`");
        return daemon.keys.bearer(token.ok_or_else(bad)?.trim(), daemon.engine.published());
    }
    let session = session_of(daemon, headers).and_then(|session| daemon.keys.session(session));
    session.ok_or_else(|| Rejection::new(Code::Denied, "not signed in"))
}

fn session_of<'a>(daemon: &Daemon, headers: &'a HeaderMap) -> Option<&'a str> {
    headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).find_map(|cookies| {
        let mut pairs = cookies.split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, _)| *name == daemon.cookie).map(|(_, value)| value)
    })
}

async fn show_metrics(State(daemon): State<Arc<Daemon>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics::text(&daemon)).into_response()
}

async fn show_snapshot(State(daemon): State<Arc<Daemon>>, Extension(principal): Extension<Principal>) -> Response {
    answered(answers::answer(&daemon, &principal, "snapshot", "{}").await)
}

async fn show_agents(State(daemon): State<Arc<Daemon>>, Extension(principal): Extension<Principal>) -> Response {
    answered(answers::answer(&daemon, &principal, "agents", "{\"all\":true}").await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandBody {
    args: Option<Box<RawValue>>,
    cmd_id: Option<CmdId>,
    expect: Option<Rev>,
}

async fn command(
    State(daemon): State<Arc<Daemon>>,
    Extension(principal): Extension<Principal>,
    Path(name): Path<String>,
    body: Bytes,
) -> Response {
    let body = if body.is_empty() { &b"{}"[..] } else { &body };
    let body: CommandBody = match serde_json::from_slice(body) {
        Ok(body) => body,
        Err(error) => {
            let rejection = Rejection::new(Code::BadArgs, format!("{name}: {error}"));
            return refuse(StatusCode::BAD_REQUEST, &rejection);
        }
    };
    let args = body.args.as_ref().map_or("{}", |args| args.get());
    if daemon.asked.borrow().is_some() {
        return answered(Err(Rejection::new(Code::Unavailable, "the server is ending")));
    }
    answered(match session::order(&name, args) {
        Ok(Order::Command(command)) => {
            match session::admitted(&daemon, *command, principal, body.cmd_id, body.expect) {
                Ok(submission) => {
                    daemon.engine.submit(submission).await.map(|committed| (committed.answer, committed.seq))
                }
                Err(rejection) => Err(rejection),
            }
        }
        Ok(Order::Act(act)) => acts::perform(&daemon, &principal, &act).await,
        Err(rejection) => Err(rejection),
    })
}

#[derive(Deserialize)]
struct Login {
    code: String,
}

async fn login(State(daemon): State<Arc<Daemon>>, headers: HeaderMap, body: Bytes) -> Response {
    let code = serde_json::from_slice::<Login>(&body).ok();
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default().to_owned();
    let keys = Arc::clone(&daemon.keys);
    let session = tokio::task::spawn_blocking(move || keys.redeem(&code?.code, &agent)).await;
    let Some(session) = session.ok().flatten() else {
        let rejection = Rejection::new(Code::Denied, "the code is wrong, used or too old");
        return refuse(StatusCode::UNAUTHORIZED, &rejection);
    };
    signed(&daemon, &headers, &session, Keys::session_life_s())
}

/// The session ends here and not only in the browser.
async fn logout(State(daemon): State<Arc<Daemon>>, headers: HeaderMap) -> Response {
    if let Some(session) = session_of(&daemon, &headers).map(str::to_owned) {
        let keys = Arc::clone(&daemon.keys);
        let revoked = tokio::task::spawn_blocking(move || keys.revoke(&session)).await;
        if let Err(error) = revoked.map_err(std::io::Error::other).and_then(|revoked| revoked) {
            let message = format!("the session ends, but a restart may bring it back: {error}");
            return refuse(StatusCode::INTERNAL_SERVER_ERROR, &Rejection::new(Code::Internal, message));
        }
    }
    signed(&daemon, &headers, "", 0)
}

fn signed(daemon: &Daemon, headers: &HeaderMap, session: &str, life_s: i64) -> Response {
    let name = &daemon.cookie;
    // Behind a proxy that speaks TLS it never goes over a wire without.
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    let secure = if origin.is_some_and(|origin| origin.starts_with("https://")) { "; Secure" } else { "" };
    let cookie = format!("{name}={session}; HttpOnly; SameSite=Strict; Path=/; Max-Age={life_s}{secure}");
    ([(header::SET_COOKIE, cookie)], json(&serde_json::json!({ "ok": {} }))).into_response()
}

async fn show_sessions(State(daemon): State<Arc<Daemon>>, Extension(principal): Extension<Principal>) -> Response {
    answered(answers::answer(&daemon, &principal, "sessions", "{}").await)
}

async fn revoke_session(
    State(daemon): State<Arc<Daemon>>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Response {
    let act = Act::RevokeSession(RevokeSession { id: Some(id) });
    answered(acts::perform(&daemon, &principal, &act).await)
}

async fn stream(
    State(daemon): State<Arc<Daemon>>,
    Extension(principal): Extension<Principal>,
    ConnectInfo(heard): ConnectInfo<Heard>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let place = match daemon.stream_places.take(Guest::of(&principal)) {
        Ok(place) => place,
        Err(refusal) => {
            daemon.counters.refused();
            return answered(Err(refusal));
        }
    };
    heard.set();
    // Who came by a token and not by the cookie is not signed out with it.
    let cookie = session_of(&daemon, &headers).filter(|_| !headers.contains_key(header::AUTHORIZATION));
    let signed_in = cookie.map(|cookie| daemon.keys.signed_in(cookie));
    upgrade.max_message_size(FRAME_BYTES_MAX).max_frame_size(FRAME_BYTES_MAX).on_upgrade(move |socket| async move {
        let _place = place;
        let _counted = daemon.counters.connected();
        let (sink, source) = socket.split();
        let halves = (Incomings(source), Messages(sink));
        session::serve(Arc::clone(&daemon), halves, Admission::Known(principal), signed_in).await;
    })
}

struct Incomings(SplitStream<WebSocket>);

impl Source for Incomings {
    async fn next(&mut self) -> Result<Option<Incoming>, Rejection> {
        loop {
            return match self.0.next().await {
                Some(Ok(Message::Text(text))) => Ok(Some(Incoming::Text(text.to_string()))),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(Message::Binary(bytes))) => Ok(Some(Incoming::Bytes(bytes.into()))),
                Some(Ok(Message::Close(_))) | None => Ok(None),
                Some(Err(error)) => {
                    let message = format!("the message cannot be taken: {error}");
                    Err(Rejection::new(Code::TooLarge, message))
                }
            };
        }
    }
}

struct Messages(SplitSink<WebSocket, Message>);

impl Sink for Messages {
    const TAKES_BYTES: bool = true;

    async fn send(&mut self, lines: &str) -> std::io::Result<()> {
        for line in lines.lines() {
            self.0.send(Message::Text(line.into())).await.map_err(std::io::Error::other)?;
        }
        Ok(())
    }

    async fn send_bytes(&mut self, bytes: Vec<u8>) -> std::io::Result<()> {
        self.0.send(Message::Binary(bytes.into())).await.map_err(std::io::Error::other)
    }
}

pub(crate) fn answered(answer: acts::Answer) -> Response {
    match answer {
        Ok((body, seq)) => json(&ServerFrame { ok: Some(body), seq: Some(seq), ..ServerFrame::default() }),
        Err(rejection) => {
            let status =
                StatusCode::from_u16(rejection.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            refuse(status, &rejection)
        }
    }
}

fn refuse(status: StatusCode, rejection: &Rejection) -> Response {
    let mut response = json(&serde_json::json!({ "error": rejection }));
    *response.status_mut() = status;
    response
}

fn json<T: serde::Serialize>(body: &T) -> Response {
    let text = serde_json::to_string(body).unwrap_or_else(|_| "{}".into());
    ([(header::CONTENT_TYPE, "application/json")], Body::from(text)).into_response()
}

/// A listener with a bounded number of connections, each without Nagle's delay.
struct Doors {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl axum::serve::Listener for Doors {
    type Io = Placed;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Placed, Self::Addr) {
        loop {
            // Without a place the kernel's queue holds the rest: they are slow, not refused.
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { continue };
            match self.listener.accept().await {
                Ok((stream, from)) => {
                    // An answer in several writes would otherwise wait for acknowledgements.
                    let _ = stream.set_nodelay(true);
                    let deadline = Some(Box::pin(tokio::time::sleep(UNHEARD_MAX)));
                    return (Placed { stream, heard: Heard::default(), deadline, _place: place }, from);
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// Whether somebody who may stay has spoken on a connection.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<AtomicBool>);

impl Heard {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Connected<IncomingStream<'_, Doors>> for Heard {
    fn connect_info(stream: IncomingStream<'_, Doors>) -> Self {
        stream.io().heard.clone()
    }
}

struct Placed {
    stream: TcpStream,
    heard: Heard,
    /// `None` once it may stay.
    deadline: Option<Pin<Box<tokio::time::Sleep>>>,
    _place: OwnedSemaphorePermit,
}

impl AsyncRead for Placed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        if self.heard.0.load(Ordering::Relaxed) {
            self.deadline = None;
        }
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(std::io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Placed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
