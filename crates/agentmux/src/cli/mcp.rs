//! `agentmux mcp`: the tools of an agent for a host on standard streams. Whoever the server says this process is acts
//! in every call; nothing but the protocol is ever written to stdout.

use std::io::Seek as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use amux_client::follow::{Flow, Heard, follow};
use amux_client::{ANSWER_TIMEOUT, Answer, Client, Error as ClientError, new_cmd_id};
use amux_mcp::World;
use amux_proto::entity::Attachment;
use amux_proto::exit::Exit;
use amux_proto::frame::CursorAt;
use amux_proto::view::Stored;
use amux_proto::{CmdId, Code, Rejection, Seq, env};
use amux_runner::polled;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::io::unix::AsyncFd;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Sleep;

use crate::cli::Global;
use crate::cli::letter::opened_with_name;
use crate::context::Context;
use crate::report::Failure;
use crate::streams::{self, Streams};

#[derive(clap::Args)]
pub(crate) struct Mcp {
    /// Refuse to speak for anybody else
    #[arg(long, value_name = "AGENT")]
    agent: Option<String>,
}

impl Mcp {
    pub(crate) fn run(self, context: &Context, global: &Global) -> Result<ExitCode, Failure> {
        let host = Arc::new(Host {
            context: context.clone(),
            own: own_socket(global),
            only: self.agent.map(|agent| agent.to_lowercase()),
            found: Mutex::default(),
            bell: Mutex::default(),
        });
        // A server that is not there may come; one that says that this is somebody else will not change its mind.
        if host.only.is_some()
            && let Err(rejection) = host.connect()
            && rejection.code == Code::Denied
        {
            return Err(Failure { exit: Exit::Denied, rejection });
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::failed(format!("nothing can be served: {error}")))?;
        let door = Door { host, places: Arc::new(Semaphore::new(CALLS_MAX)) };
        let served = runtime.block_on(async {
            let Streams { reader, writer, lent } = streams::open();
            let served = amux_mcp::stdio(door, reader, writer).await;
            drop(lent);
            served
        });
        // The host has left; what still waits for the server, or for a line that will not come, waits for nobody.
        runtime.shutdown_background();
        served.map(|()| ExitCode::SUCCESS).map_err(Failure::failed)
    }
}

/// Calls at once, and how many connections are kept beside them: several hosts of one agent share what it may have.
const CALLS_MAX: usize = 3;
const IDLE_MAX: usize = 1;

/// A restart of the server is a pause of this length at most.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

struct Door {
    host: Arc<Host>,
    places: Arc<Semaphore>,
}

struct Host {
    context: Context,
    /// Of the server that runs the agent this process belongs to.
    own: Option<PathBuf>,
    /// The only agent to speak for: `name` or `name@team`.
    only: Option<String>,
    found: Mutex<Found>,
    bell: Mutex<Option<watch::Receiver<Seq>>>,
}

#[derive(Default)]
struct Found {
    /// Whether a server was found: from then on none is started, as somebody may have stopped it.
    once: bool,
    me: Option<String>,
    idle: Vec<Kept>,
}

/// A connection for one call after the other, whose answers the runtime waits for. It never waits itself.
struct Kept {
    client: Client,
    answered: AsyncFd<OwnedFd>,
    /// Of one call after the other. A timer that is only moved on does not wake the runtime, as a new one does.
    deadline: Pin<Box<Sleep>>,
}

impl Kept {
    /// Within a runtime.
    fn new(mut client: Client) -> Result<Self, ClientError> {
        client.never_wait()?;
        let socket = client.as_fd().try_clone_to_owned().map_err(ClientError::Lost)?;
        let answered = polled::readable(socket).map_err(ClientError::Lost)?;
        Ok(Self { client, answered, deadline: Box::pin(tokio::time::sleep(ANSWER_TIMEOUT)) })
    }

    /// No thread blocks for it, which each call would go through and back. What does not fit into the socket at once is
    /// lost with the connection, and left to the way that blocks.
    async fn call(
        &mut self,
        begin: impl FnOnce(&mut Client) -> Result<u64, ClientError>,
    ) -> Result<Answer, ClientError> {
        let id = begin(&mut self.client)?;
        self.deadline.as_mut().reset(tokio::time::Instant::now() + ANSWER_TIMEOUT);
        loop {
            let mut ready = tokio::select! {
                biased;
                ready = self.answered.readable() => ready.map_err(ClientError::Lost)?,
                () = &mut self.deadline => return Err(self.client.silent()),
            };
            // What comes from here on wakes again, and an end stays readable.
            ready.clear_ready();
            if let Some(answer) = self.client.answer(id)? {
                return Ok(answer);
            }
        }
    }
}

impl Host {
    /// A command keeps its identity through all attempts, so that it happens once.
    fn order(&self, name: &str, args: &Value, cmd_id: CmdId) -> Result<Box<RawValue>, Rejection> {
        self.persist(|client| client.cmd_as(name, args, cmd_id, None), ClientError::is_passing)
    }

    fn ask(&self, name: &str, args: &Value) -> Result<Box<RawValue>, Rejection> {
        self.persist(|client| client.get(name, args), ClientError::is_lost)
    }

    /// With the rights of this process, which are the agent's.
    fn upload(&self, path: &str) -> Result<Attachment, Rejection> {
        let (name, mut file) = opened_with_name(path)?;
        let unread = |error: std::io::Error| Rejection::new(Code::Internal, format!("{path}: {error}"));
        let stored = self.persist(
            |client| {
                file.rewind().map_err(unread)?;
                client.upload(&mut file)
            },
            ClientError::is_passing,
        )?;
        let Stored { bytes, digest } = serde_json::from_str(stored.get())
            .map_err(|error| Rejection::new(Code::Internal, format!("the answer is none: {error}")))?;
        Ok(Attachment { name, bytes, digest })
    }

    fn me(&self) -> Result<String, Rejection> {
        let client = self.reach(Instant::now() + PATIENCE)?;
        let me = client.welcome.principal.clone();
        self.keep_client(client);
        Ok(me)
    }

    fn persist(
        &self,
        mut attempt: impl FnMut(&mut Client) -> Result<Answer, ClientError>,
        again: impl Fn(&ClientError) -> bool,
    ) -> Result<Box<RawValue>, Rejection> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut client = self.reach(deadline)?;
            match attempt(&mut client) {
                Ok(answer) => {
                    self.keep_client(client);
                    return Ok(answer.body);
                }
                Err(error) if again(&error) && Instant::now() < deadline => {
                    // The others are of the same server.
                    self.found().idle.clear();
                    std::thread::sleep(PAUSE);
                }
                Err(ClientError::Refused(rejection)) => {
                    self.keep_client(client);
                    return Err(rejection);
                }
                Err(error) => return Err(Failure::from(error).rejection),
            }
        }
    }

    /// One that cannot be kept is as good as one for which there is no place.
    fn keep_client(&self, client: Client) {
        if let Ok(kept) = Kept::new(client) {
            self.keep(kept);
        }
    }

    fn keep(&self, kept: Kept) {
        let idle = &mut self.found().idle;
        if idle.len() < IDLE_MAX {
            idle.push(kept);
        }
    }

    fn reach(&self, deadline: Instant) -> Result<Client, Rejection> {
        loop {
            match self.connect() {
                // Another host of this agent has the places, or the server is on its way back.
                Err(rejection) if is_for_now(&rejection) && Instant::now() < deadline => std::thread::sleep(PAUSE),
                reached => return reached,
            }
        }
    }

    fn connect(&self) -> Result<Client, Rejection> {
        let once = self.found().once;
        let client = match &self.own {
            // An agent starts no server: its own comes back, or has ended with it.
            Some(socket) => Client::connect(socket).map_err(Failure::from),
            None if once => self.context.without_start().client(),
            None => self.context.client(),
        };
        let client = client.map_err(|failure| failure.rejection)?;
        let me = client.welcome.principal.clone();
        if let Some(only) = &self.only
            && !is_agent(&me, only)
        {
            let message = format!("this process is {me}, not the agent {only}");
            return Err(Rejection::new(Code::Denied, message).hint("agentmux mcp, without --agent"));
        }
        let mut found = self.found();
        found.once = true;
        found.me = Some(me);
        Ok(client)
    }

    /// One follower for all that wait, from the first of them on for as long as the host stays.
    fn bell(&self) -> Result<watch::Receiver<Seq>, Rejection> {
        let mut bell = self.bell.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bell) = bell.as_ref().filter(|bell| bell.has_changed().is_ok()) {
            let mut bell = bell.clone();
            bell.mark_unchanged();
            return Ok(bell);
        }
        let client = self.reach(Instant::now() + PATIENCE)?;
        let head = client.welcome.head;
        let from = CursorAt { epoch: client.welcome.epoch, seq: head };
        let (ring, heard) = watch::channel(head);
        let socket = self.own.clone().unwrap_or_else(|| self.context.layout.srv_socket());
        let topics = ["agent", "run", "request", "message", "turn", "session"].map(str::to_owned);
        let follower = std::thread::Builder::new().name("follower".into()).spawn(move || {
            // It ends when the server refuses it; then the bell is gone, and whoever needs one asks for another.
            let _ = follow(&socket, client, &topics, Some(from), None, |heard| {
                ring.send_modify(|at| match heard {
                    Heard::Event(line) => *at = line.seq,
                    Heard::Reset(snapshot) => *at = snapshot.seq,
                    Heard::Resumed | Heard::CaughtUp => {}
                });
                Flow::GoOn
            });
        });
        follower.map_err(|error| Rejection::new(Code::Internal, format!("nobody can be waited for: {error}")))?;
        *bell = Some(heard.clone());
        Ok(heard)
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An agent's processes are told where their server is, whichever profile it serves. Whoever names one means that.
fn own_socket(global: &Global) -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let is_named = global.profile.is_some()
        || global.state_dir.is_some()
        || [env::PROFILE, env::STATE_DIR].into_iter().any(|name| set(name).is_some());
    set(env::SOCKET).filter(|_| !is_named).map(PathBuf::from)
}

fn is_for_now(rejection: &Rejection) -> bool {
    matches!(rejection.code, Code::Busy | Code::Unreachable | Code::Unavailable)
}

/// Whether a welcome names this agent, with its team or without.
fn is_agent(principal: &str, only: &str) -> bool {
    let Some(agent) = principal.strip_prefix("agent:") else { return false };
    agent == only || agent.split_once('@').is_some_and(|(name, _)| name == only)
}

impl Door {
    async fn place(&self) -> Result<OwnedSemaphorePermit, Rejection> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        place.map_err(|error| Rejection::new(Code::Internal, error.to_string()))
    }

    /// On the connection that is kept; `None` where there is none, or no server behind it any more.
    async fn at_once(
        &self,
        begin: impl FnOnce(&mut Client) -> Result<u64, ClientError>,
    ) -> Option<Result<Box<RawValue>, Rejection>> {
        let mut kept = self.host.found().idle.pop()?;
        let answer = match kept.call(begin).await {
            Ok(answer) => Ok(answer.body),
            Err(error) if error.is_passing() => return None,
            Err(ClientError::Refused(rejection)) => Err(rejection),
            Err(error) => return Some(Err(Failure::from(error).rejection)),
        };
        self.host.keep(kept);
        Some(answer)
    }

    /// To find a server and to wait for one blocks; the protocol does not.
    async fn blocking<T: Send + 'static>(
        &self,
        place: OwnedSemaphorePermit,
        call: impl FnOnce(&Host) -> Result<T, Rejection> + Send + 'static,
    ) -> Result<T, Rejection> {
        let host = Arc::clone(&self.host);
        let called = tokio::task::spawn_blocking(move || {
            let _place = place;
            call(&host)
        });
        called.await.map_err(|error| Rejection::new(Code::Internal, error.to_string()))?
    }
}

impl World for Door {
    async fn me(&self) -> Result<String, Rejection> {
        let known = self.host.found().me.clone();
        match known {
            Some(me) => Ok(me),
            None => self.blocking(self.place().await?, Host::me).await,
        }
    }

    async fn order(&self, name: &'static str, args: Value) -> Result<Box<RawValue>, Rejection> {
        let (place, cmd_id) = (self.place().await?, new_cmd_id());
        match self.at_once(|client| client.begin_cmd(name, &args, cmd_id, None)).await {
            Some(answer) => answer,
            None => self.blocking(place, move |host| host.order(name, &args, cmd_id)).await,
        }
    }

    async fn ask(&self, name: &'static str, args: Value) -> Result<Box<RawValue>, Rejection> {
        let place = self.place().await?;
        match self.at_once(|client| client.begin_get(name, &args)).await {
            Some(answer) => answer,
            None => self.blocking(place, move |host| host.ask(name, &args)).await,
        }
    }

    async fn upload(&self, path: String) -> Result<Attachment, Rejection> {
        self.blocking(self.place().await?, move |host| host.upload(&path)).await
    }

    async fn bell(&self) -> Result<watch::Receiver<Seq>, Rejection> {
        self.blocking(self.place().await?, Host::bell).await
    }
}

#[cfg(test)]
mod tests {
    use super::is_agent;

    #[test]
    fn an_agent_is_named_with_its_team_or_without() {
        assert!(is_agent("agent:api@shop", "api") && is_agent("agent:api@shop", "api@shop"));
        for other in ["ap", "api@", "shop", "api@other", "operator", ""] {
            assert!(!is_agent("agent:api@shop", other), "{other}");
        }
        assert!(!is_agent("operator", "operator"));
    }
}
