//! Runs that were packed away: list, bring back, copy out. Files only; no server is needed.

use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;

use amux_engine::archive::{Form, Key, Restored, Roots, State};
use amux_proto::exit::Exit;
use amux_proto::{Code, RunNo, Time};
use amux_sys::clock;
use serde_json::json;

use crate::context::Context;
use crate::output::{table, word};
use crate::report::{Failure, with_causes};

#[derive(clap::Subcommand)]
pub(crate) enum Archive {
    /// List archived runs
    #[command(after_help = "Example: agentmux archive ls")]
    Ls,
    /// Bring a run's tape back, so that `log` and `look` show it
    #[command(after_help = "Example: agentmux archive restore api 3")]
    Restore { agent: String, run: u32 },
    /// Copy a run, archived or not, into a file: .tar, or .tar.zst
    #[command(after_help = "Example: agentmux archive export api 3 api-3.tar.zst")]
    Export { agent: String, run: u32, file: PathBuf },
}

impl Archive {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        let roots = Roots { tapes: context.layout.tapes(), archive: context.layout.archived_tapes() };
        match self {
            Self::Ls => list(context, &roots),
            Self::Restore { agent, run } => {
                let key = key(context, agent, *run)?;
                let restored = roots.restore(key, clock::now_ms()).map_err(failed)?;
                let answer = json!({ "agent": key.agent, "run": key.run, "restored": restored == Restored::Now });
                Ok(context.out.done(&answer, || match restored {
                    Restored::Now => format!("run {run} of {agent} is back"),
                    Restored::Already => format!("run {run} of {agent} was there already"),
                }))
            }
            Self::Export { agent, run, file } => {
                let key = key(context, agent, *run)?;
                let form = match file.extension().is_some_and(|extension| extension == "zst") {
                    true => Form::TarZst { level: 3 },
                    false => Form::Tar,
                };
                // What is there is somebody's.
                let mut to = File::create_new(file)
                    .map_err(|error| Failure::failed(format!("cannot be written: {}: {error}", file.display())))?;
                let manifest = roots.export(key, form, clock::now_ms(), &mut to).map_err(|error| {
                    let _ = std::fs::remove_file(file);
                    failed(error)
                })?;
                let answer = json!({ "agent": key.agent, "run": key.run, "file": file, "bytes": manifest.bytes() });
                Ok(context.out.done(&answer, || {
                    format!("{} files, {} bytes in {}", manifest.files.len(), manifest.bytes(), file.display())
                }))
            }
        }
    }
}

fn list(context: &Context, roots: &Roots) -> Result<ExitCode, Failure> {
    let (kept, _) = roots.list().map_err(failed)?;
    let rows: Vec<_> = kept
        .iter()
        .map(|kept| {
            let state = match kept.state {
                State::Packed => "packed".to_owned(),
                State::Dropped { at_ms } => format!("dropped {}", Time(at_ms)),
            };
            json!({ "agent": kept.manifest.key.agent, "run": kept.manifest.key.run, "state": state,
                "bytes": kept.bytes, "tape_bytes": kept.manifest.bytes(), "last": Time(kept.manifest.last_ms()) })
        })
        .collect();
    Ok(context.out.done(&rows.clone().into(), || {
        if rows.is_empty() {
            return "nothing is archived".into();
        }
        let columns = ["agent", "run", "state", "bytes", "tape_bytes", "last"];
        let lines: Vec<Vec<String>> =
            rows.iter().map(|row| columns.iter().map(|column| word(&row[*column])).collect()).collect();
        table(&columns, &lines, |_, text| text.to_owned(), context.out)
    }))
}

/// By id also of an agent that is gone; by name with the help of a server.
fn key(context: &Context, agent: &str, run: u32) -> Result<Key, Failure> {
    let uid = match agent.parse() {
        Ok(uid) => uid,
        Err(_) => {
            let detail = context.ask("agent", &json!({ "agent": agent }))?;
            word(&detail["agent"]["uid"]).parse().map_err(|_| Failure::failed("the agent has no id"))?
        }
    };
    Ok(Key { agent: uid, run: RunNo(run) })
}

fn failed(error: amux_engine::archive::Error) -> Failure {
    use amux_engine::archive::Error as E;
    match &error {
        E::Missing(_) | E::NoFile { .. } => {
            Failure::new(Exit::NotFound, Code::NotFound, error.to_string()).hint("agentmux archive ls")
        }
        _ => Failure::failed(with_causes(&error)),
    }
}
