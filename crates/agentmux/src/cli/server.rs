//! `agentmux server`: run, start, stop, restart, status; and, hidden, the server process itself.

use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use amux_client::Client;
use amux_proto::Code;
use amux_proto::exit::Exit;
use amux_sys::process::{self, ProcessId};
use amux_sys::{lock, poll};
use serde_json::{Value, json};

use crate::context::{Context, value};
use crate::output::{age, word};
use crate::report::Failure;

#[derive(clap::Subcommand)]
pub(crate) enum Server {
    /// Stay in the foreground and supervise the server; Ctrl-C stops everything
    #[command(after_help = "Example: agentmux server run")]
    Run {
        /// Started by a command that does not wait for the end
        #[arg(long, hide = true)]
        detached: bool,
    },
    /// Start the server in the background
    #[command(after_help = "Example: agentmux server start")]
    Start,
    /// Stop the agents, then the server
    #[command(after_help = "Example: agentmux server stop")]
    Stop,
    /// Start the program that is on disk now; agents go on
    #[command(after_help = "Example: agentmux server restart")]
    Restart,
    /// What runs, where, since when
    #[command(after_help = "Example: agentmux server status --json")]
    Status,
    /// The server process, without a launcher
    #[command(hide = true)]
    Srv,
}

/// Beyond the grace that agents get: the server's own end; then something is wrong.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
const RESTART_TIMEOUT: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

impl Server {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        match self {
            Self::Run { detached } => Ok(launch(context, *detached)),
            Self::Srv => Ok(serve(context)),
            Self::Start => {
                let was_running = context.running().is_ok();
                let mut client = context.started()?;
                let mut status = status_of(&mut client)?;
                status["was_running"] = was_running.into();
                Ok(context.out.done(&status, || match was_running {
                    true => format!("the server runs already (pid {})", word(&status["pid"])),
                    false => format!("the server runs (pid {})", word(&status["pid"])),
                }))
            }
            Self::Stop => stop(context),
            Self::Restart => restart(context),
            Self::Status => {
                let status = status_of(&mut context.running()?)?;
                Ok(context.out.done(&status, || {
                    let started = age(status["started"].as_str().unwrap_or_default());
                    let rows = [
                        ("profile", word(&status["profile"])),
                        ("server", format!("pid {}, up {started}, {}", word(&status["pid"]), word(&status["mode"]))),
                        ("launcher", format!("pid {}", word(&status["launcher_pid"]))),
                        ("version", word(&status["version"])),
                        ("agents", word(&status["agents"])),
                        ("events", word(&status["head_seq"])),
                        ("socket", word(&status["socket"])),
                        ("web", word(&status["web_url"])),
                        ("state", word(&status["state_dir"])),
                    ];
                    rows.map(|(name, value)| format!("{name:<9} {value}")).join("\n")
                }))
            }
        }
    }
}

fn launch(context: &Context, detached: bool) -> ExitCode {
    let words = ["--profile", &context.profile].map(Into::into).to_vec();
    let mut srv_args: Vec<std::ffi::OsString> = words;
    srv_args.extend(["--state-dir".into(), context.layout.state_dir.clone().into()]);
    srv_args.extend(["--config-dir".into(), context.layout.config_dir.clone().into()]);
    srv_args.extend(["server".into(), "srv".into()]);
    let outcome = amux_launcher::run(amux_launcher::Config {
        layout: context.layout.clone(),
        profile: context.profile.clone(),
        srv_args,
        foreground: !detached,
        policy: amux_launcher::Policy::default(),
        window: None,
    });
    if let Some(sentence) = outcome.sentence() {
        eprintln!("agentmux: {sentence}");
    }
    ExitCode::from(outcome.code())
}

fn serve(context: &Context) -> ExitCode {
    let config = amux_server::Config::from_env(context.layout.clone(), context.profile.clone());
    ExitCode::from(amux_server::run(config) as u8)
}

fn status_of(client: &mut Client) -> Result<Value, Failure> {
    value(&client.get("status", &json!({}))?)
}

fn stop(context: &Context) -> Result<ExitCode, Failure> {
    let mut client = context.running()?;
    let status = status_of(&mut client)?;
    let pids = ["pid", "launcher_pid"].map(|name| status[name].as_u64().and_then(|pid| u32::try_from(pid).ok()));
    // Held from before the order, so that a pid that is given anew is not waited for.
    let processes: Vec<_> = pids.into_iter().flatten().filter_map(process::identity).collect();
    let answer = match client.cmd("server.stop", &json!({})) {
        Ok(answer) => value(&answer)?,
        // Somebody else's order was first; it ends all the same.
        Err(error) if error.is_passing() => json!({ "pid": status["pid"], "agents": status["agents"] }),
        Err(error) => return Err(error.into()),
    };
    let grace = Duration::from_millis(answer["grace_ms"].as_u64().unwrap_or_default());
    let deadline = Instant::now() + grace + STOP_TIMEOUT;
    if let Some(left) = processes.iter().find(|process| !ends_by(process, deadline)) {
        let message = format!("it did not end in time: pid {}", left.pid);
        return Err(Failure::new(Exit::TimedOut, Code::TimedOut, message).hint("agentmux doctor"));
    }
    Ok(context.out.done(&answer, || match answer["agents"].as_u64().unwrap_or_default() {
        0 => "the server is stopped; no agent was running".into(),
        1 => "the server is stopped, and 1 agent with it".into(),
        agents => format!("the server is stopped, and {agents} agents with it"),
    }))
}

fn ends_by(process: &ProcessId, deadline: Instant) -> bool {
    let pidfd = process::pidfd_open(process.pid);
    while process::alive(process) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        match &pidfd {
            Some(pidfd) if poll::wait(&[pidfd.as_fd()], Some(left)).is_ok() => {}
            _ => std::thread::sleep(LOOK_AGAIN),
        }
    }
    true
}

fn restart(context: &Context) -> Result<ExitCode, Failure> {
    let mut client = context.running()?;
    let before = status_of(&mut client)?;
    if before["launcher_pid"].is_null() {
        return Err(Failure::failed("the server has no launcher that would start it again")
            .hint("agentmux server stop, then agentmux server start"));
    }
    let began = Instant::now();
    let agents = value(&client.cmd("server.restart", &json!({}))?)?["agents"].as_u64().unwrap_or_default();
    drop(client);
    loop {
        if let Ok(mut client) = Client::connect(&context.layout.srv_socket())
            && let Ok(after) = status_of(&mut client)
            && after["pid"] != before["pid"]
        {
            let gap_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            let mut data = after.clone();
            data["gap_ms"] = gap_ms.into();
            return Ok(context.out.done(&data, || {
                let went_on = match agents {
                    0 => String::new(),
                    1 => "; 1 agent went on".into(),
                    agents => format!("; {agents} agents went on"),
                };
                format!("the server is back after {gap_ms} ms (pid {}){went_on}", word(&after["pid"]))
            }));
        }
        if lock::is_held(&context.layout.launcher_lock()) == Some(false) {
            return Err(Failure::new(Exit::Failed, Code::Unavailable, "the server did not come back, nor will it")
                .hint("agentmux doctor"));
        }
        if began.elapsed() > RESTART_TIMEOUT {
            return Err(Failure::new(Exit::TimedOut, Code::TimedOut, "the server did not come back in time")
                .hint("agentmux doctor"));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

pub(crate) fn version(context: &Context) -> Result<ExitCode, Failure> {
    let ours = env!("CARGO_PKG_VERSION");
    let server = context.running().ok().map(|client| client.welcome.version.clone());
    let data = json!({ "version": ours, "server": server, "protocol": amux_proto::PROTOCOL });
    Ok(context.out.done(&data, || match &server {
        Some(theirs) if theirs != ours => format!("agentmux {ours} (the running server is {theirs})"),
        _ => format!("agentmux {ours}"),
    }))
}
