//! `agentmux doctor` and `diag`: what is well, what is not, and what to do. Works without a server.

use std::os::unix::fs::FileTypeExt as _;
use std::process::ExitCode;

use amux_client::bootstrap::is_served;
use amux_proto::exit::Exit;
use amux_proto::view::{Finding, Level};
use amux_sys::paths::Layout;
use amux_sys::{lock, process};
use serde_json::{Value, json};

use crate::context::{Context, value};
use crate::report::{Failure, with_causes};
use crate::text::plain;

pub(crate) fn run(context: &Context) -> Result<ExitCode, Failure> {
    let layout = &context.layout;
    let mut findings = vec![directories(layout), settings(layout)];
    findings.extend(socket(layout));
    match context.running() {
        Ok(mut client) => {
            findings.push(finding("server", Level::Ok, format!("serves at {}", layout.srv_socket().display()), None));
            let theirs = value(&client.get("doctor", &json!({}))?)?;
            findings.extend(serde_json::from_value::<Vec<Finding>>(theirs).unwrap_or_default());
        }
        Err(failure) => {
            findings.push(no_server(layout, &failure));
            if layout.db().exists() && !is_served(layout) {
                findings.extend(amux_engine::doctor::check(&layout.db()));
            }
            findings.extend(last_exit(layout));
        }
    }
    let worst = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
    let data = serde_json::to_value(&findings).unwrap_or_default();
    let code = context.out.done(&data, || findings.iter().map(line).collect::<Vec<_>>().join("\n"));
    Ok(if worst == Level::Failure { ExitCode::from(Exit::Failed as u8) } else { code })
}

fn line(finding: &Finding) -> String {
    let mark = match finding.level {
        Level::Ok => "ok     ",
        Level::Unknown => "unknown",
        Level::Warning => "warning",
        Level::Failure => "FAILURE",
    };
    let mut text = format!("{mark}  {}: {}", finding.check, plain(&finding.message));
    for difference in finding.details.as_ref().and_then(Value::as_array).into_iter().flatten() {
        text.push_str(&format!("\n           {}", plain(difference.as_str().unwrap_or_default())));
    }
    if let Some(hint) = &finding.hint {
        text.push_str(&format!("\n           hint: {}", plain(hint)));
    }
    text
}

fn finding(check: &str, level: Level, message: String, hint: Option<String>) -> Finding {
    Finding { check: check.into(), level, message, hint, details: None }
}

fn directories(layout: &Layout) -> Finding {
    match layout.check() {
        Ok(()) if layout.state_dir.exists() => {
            finding("directories", Level::Ok, format!("{} is ours alone", layout.state_dir.display()), None)
        }
        Ok(()) => finding("directories", Level::Ok, format!("{} will be made", layout.state_dir.display()), None),
        Err(error) => {
            let hint = "remove it, or name another with --state-dir".to_owned();
            finding("directories", Level::Failure, with_causes(&error), Some(hint))
        }
    }
}

/// Something at the socket's name that no server put there.
fn socket(layout: &Layout) -> Option<Finding> {
    let path = layout.srv_socket();
    let kind = std::fs::symlink_metadata(&path).ok()?.file_type();
    if kind.is_socket() {
        return None;
    }
    let what = if kind.is_symlink() { "a link" } else { "something else" };
    let message = format!("{what} stands where the socket should be: {}", path.display());
    Some(finding("socket", Level::Failure, message, Some(format!("move it away: {}", path.display()))))
}

fn settings(layout: &Layout) -> Finding {
    match super::config::check(layout) {
        Ok(checked) => {
            let message = format!("{} keys are set in the file", checked.values.len());
            finding("settings", Level::Ok, message, None)
        }
        Err(problems) => {
            let message = problems.into_iter().next().unwrap_or_default();
            finding("settings", Level::Warning, message, Some("agentmux config check".into()))
        }
    }
}

fn no_server(layout: &Layout, failure: &Failure) -> Finding {
    if is_served(layout) {
        let pid = lock::holder(&layout.srv_lock()).filter(|pid| process::identity(*pid).is_some());
        let who = pid.map_or("a process".to_owned(), |pid| format!("pid {pid}"));
        let message = format!("{who} holds the state directory and does not answer: {}", failure.rejection.message);
        return finding("server", Level::Failure, message, Some("agentmux server stop, or kill that process".into()));
    }
    if failure.exit == Exit::Unreachable {
        return finding("server", Level::Ok, "none is running".into(), Some("agentmux server start".into()));
    }
    finding("server", Level::Failure, failure.rejection.message.clone(), failure.rejection.hint.clone())
}

/// How the last server ended, from the launcher's journal.
fn last_exit(layout: &Layout) -> Option<Finding> {
    let text = std::fs::read_to_string(layout.logs().join("exits.jsonl")).ok()?;
    let last: Value = serde_json::from_str(text.lines().rev().find(|line| line.contains("\"class\""))?).ok()?;
    let class = last["class"].as_str()?;
    let level = if matches!(class, "clean" | "restart_asked" | "killed_by_us") { Level::Ok } else { Level::Warning };
    let reason = last["reason"].as_str().unwrap_or("no reason was given");
    let hint = (level == Level::Warning).then(|| format!("see {}", layout.logs().join("srv-stderr.log").display()));
    Some(finding("last exit", level, format!("{class}: {reason}"), hint))
}

#[derive(clap::Args)]
pub(crate) struct Diag {
    /// boot, store, outbox, flows, connections, runs, logs
    topic: String,
}

impl Diag {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        let body = context.ask("diag", &json!({ "topic": self.topic }))?;
        Ok(context.out.done(&body, || {
            if self.topic == "boot" {
                let stages = body["stages"].as_array().into_iter().flatten();
                let mut lines: Vec<_> = stages
                    .map(|stage| {
                        let ms = stage["duration_us"].as_f64().unwrap_or_default() / 1000.0;
                        let error = stage["error"].as_str().map(|error| format!("  {error}")).unwrap_or_default();
                        format!(
                            "{ms:>9.2} ms  {:<14} {}{error}",
                            stage["name"].as_str().unwrap_or_default(),
                            stage["policy"].as_str().unwrap_or_default()
                        )
                    })
                    .collect();
                lines.push(format!("{:>9.2} ms  in all", body["total_us"].as_f64().unwrap_or_default() / 1000.0));
                return lines.iter().map(|line| plain(line)).collect::<Vec<_>>().join("\n");
            }
            format!("{body:#}").lines().map(plain).collect::<Vec<_>>().join("\n")
        }))
    }
}
