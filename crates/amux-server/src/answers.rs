//! Questions: those about the domain go to the published state, the rest is what only the daemon knows.

use amux_engine::{Cursor, Page, ask, doctor};
use amux_proto::entity::{Message, Size};
use amux_proto::query::{self, Query};
use amux_proto::view::{Finding, Level, Look, Mode, Status};
use amux_proto::{Code, Principal, Rejection, Seq, Time, event};
use amux_runner::Ask;
use serde_json::json;
use serde_json::value::RawValue;

use crate::acts::{Answer, ask_live};
use crate::daemon::Daemon;
use crate::{attachments, composing, logs, teams, transcripts};

/// Rows of a page of the log, and the most one answer holds.
const EVENTS_DEFAULT: u32 = 100;
const EVENTS_MAX: u32 = 1000;

pub(crate) async fn answer(daemon: &Daemon, principal: &Principal, name: &str, args: &str) -> Answer {
    let query = Query::decode(name, args)
        .ok_or_else(|| Rejection::new(Code::UnknownVerb, format!("no such question: {name}")))?
        .map_err(|error| Rejection::new(Code::BadArgs, format!("{name}: {error}")))?;
    let published = daemon.engine.published();
    published.may_ask(principal, &query)?;
    let head = published.read(|_, head| head);
    let old = old_mail(daemon, principal, &query).await?;
    if let Some(body) = published.answer(principal, &query, &old, Time(amux_sys::clock::now_ms())) {
        return Ok((body?, head));
    }
    let body = match &query {
        Query::Status(_) => ask::raw(&status(daemon))?,
        Query::Diag(diag) => diagnose(daemon, &diag.topic)?,
        Query::Doctor(_) => ask::raw(&examine(daemon).await?)?,
        Query::Look(look) => ask::raw(&look_at(daemon, look).await?)?,
        Query::Processes(processes) => ask::raw(&transcripts::processes(daemon, &processes.agent).await?)?,
        Query::Commands(asked) => ask::raw(&composing::commands(daemon, &asked.agent).await?)?,
        Query::Files(asked) => ask::raw(&composing::files(daemon, asked).await?)?,
        Query::Transcript(asked) => ask::raw(&transcripts::page(daemon, asked).await?)?,
        Query::Frames(asked) => ask::raw(&transcripts::frames(daemon, asked).await?)?,
        Query::Attachment(asked) => ask::raw(&attachments::part(daemon, principal, &old, asked).await?)?,
        Query::Events(events) => page(daemon, principal, events).await?,
        Query::LoginCode(_) => ask::raw(&json!({ "code": daemon.keys.new_code(), "web_url": daemon.web_url }))?,
        Query::TeamFile(asked) => ask::raw(&teams::read(daemon, asked).await?)?,
        Query::Preview(asked) => ask::raw(&teams::preview(daemon, asked)?)?,
        Query::Sessions(_) => ask::raw(&daemon.keys.sessions())?,
        Query::Snapshot(_)
        | Query::Agents(_)
        | Query::Agent(_)
        | Query::Teams(_)
        | Query::Requests(_)
        | Query::Message(_)
        | Query::Inbox(_)
        | Query::Queue(_)
        | Query::Thread(_)
        | Query::Settings(_)
        | Query::Kinds(_)
        | Query::Rights(_) => return Err(Rejection::new(Code::Internal, format!("nobody answers: {name}"))),
    };
    Ok((body, head))
}

async fn old_mail(daemon: &Daemon, principal: &Principal, query: &Query) -> Result<Vec<Message>, Rejection> {
    let feed = daemon.engine.feed().clone();
    if !feed.asks_for_old_mail(principal, query) {
        return Ok(Vec::new());
    }
    let (principal, query) = (principal.clone(), query.clone());
    let unreadable = |why: String| Rejection::new(Code::Unavailable, format!("old mail cannot be read: {why}"));
    tokio::task::spawn_blocking(move || feed.old_mail(&principal, &query))
        .await
        .map_err(|error| unreadable(error.to_string()))?
        .map_err(|error| unreadable(error.to_string()))
}

pub(crate) fn status(daemon: &Daemon) -> Status {
    let published = daemon.engine.published();
    let mode = match (daemon.asked.borrow().is_some(), published.mode()) {
        (true, _) => Mode::Stopping,
        (false, amux_engine::Mode::ReadOnly) => Mode::ReadOnly,
        (false, amux_engine::Mode::ReadWrite) => Mode::ReadWrite,
    };
    Status {
        profile: daemon.profile.clone(),
        pid: std::process::id(),
        launcher_pid: daemon.launcher_pid,
        version: env!("CARGO_PKG_VERSION").into(),
        started: daemon.started,
        epoch: published.epoch(),
        head_seq: published.read(|_, head| head),
        agents: published.agent_count(),
        web_url: daemon.web_url.clone(),
        socket: daemon.layout.srv_socket().display().to_string(),
        state_dir: daemon.layout.state_dir.display().to_string(),
        mode,
    }
}

const TOPICS: [&str; 7] = ["boot", "store", "outbox", "flows", "connections", "runs", "logs"];

fn diagnose(daemon: &Daemon, topic: &str) -> Result<Box<RawValue>, Rejection> {
    let published = daemon.engine.published();
    match topic {
        "boot" => {
            let total_us: u64 = daemon.boot.iter().map(|stage| stage.duration_us).sum();
            ask::raw(&json!({ "stages": daemon.boot, "total_us": total_us }))
        }
        "store" => {
            let size = |path: std::path::PathBuf| std::fs::metadata(path).map(|meta| meta.len()).ok();
            let db = daemon.layout.db();
            ask::raw(&json!({
                "path": db,
                "bytes": size(db.clone()),
                "wal_bytes": size(db.with_extension("db-wal")),
                "free_bytes": amux_sys::disk::free_bytes(&daemon.layout.state_dir).ok(),
                "epoch": published.epoch(),
                "head_seq": published.read(|_, head| head),
                "floor_seq": published.floor(),
                "read_only": published.mode() == amux_engine::Mode::ReadOnly,
            }))
        }
        "outbox" => {
            let wishes = published.wishes();
            let rows: Vec<_> = wishes
                .iter()
                .map(|wish| json!({ "effect": wish.effect, "seq": wish.seq, "attempts": wish.attempts }))
                .collect();
            ask::raw(&rows)
        }
        "flows" => ask::raw(&published.flows()),
        "connections" => ask::raw(&json!({ "now": daemon.counters.connections(), "total": daemon.counters.total() })),
        "runs" => {
            let rows: Vec<_> = daemon
                .runner
                .live()
                .into_iter()
                .map(|(agent, run)| json!({ "agent": published.label(agent), "uid": agent, "run": run }))
                .collect();
            ask::raw(&rows)
        }
        "logs" => ask::raw(&json!({ "current": logs::current(&daemon.layout.logs()), "dir": daemon.layout.logs() })),
        _ => Err(Rejection::new(Code::NotFound, format!("no such topic: {topic}"))
            .hint(format!("agentmux diag {}", TOPICS.join("|")))
            .details(json!({ "topics": TOPICS }))),
    }
}

async fn examine(daemon: &Daemon) -> Result<Vec<Finding>, Rejection> {
    let _alone = daemon.examining.lock().await;
    let db = daemon.layout.db();
    let mut findings = tokio::task::spawn_blocking(move || doctor::check(&db))
        .await
        .map_err(|error| Rejection::new(Code::Internal, format!("the check broke: {error}")))?;
    findings.push(daemon.tasks.finding());
    findings.extend(daemon.boot.iter().filter_map(|stage| {
        let error = stage.error.as_ref()?;
        Some(Finding {
            check: format!("boot: {}", stage.name),
            level: Level::Warning,
            message: error.clone(),
            hint: Some("agentmux server restart".into()),
            details: None,
        })
    }));
    if let Some(why) = daemon.engine.published().uncompacted() {
        findings.push(Finding {
            check: "compaction".into(),
            level: Level::Failure,
            message: format!("old history is not forgotten any more: {why}"),
            hint: Some("agentmux diag store".into()),
            details: None,
        });
    }
    if daemon.engine.published().mode() == amux_engine::Mode::ReadOnly {
        findings.push(Finding {
            check: "writes".into(),
            level: Level::Failure,
            message: "the disk is full: agentmux reads only, agents go on".into(),
            hint: Some("free some space; writing resumes by itself".into()),
            details: None,
        });
    }
    Ok(findings)
}

async fn look_at(daemon: &Daemon, look: &query::Look) -> Result<Look, Rejection> {
    let published = daemon.engine.published();
    let detail = published.agent(&look.agent)?;
    let (agent, label) = (detail.agent.uid, published.label(detail.agent.uid));
    let (lines, ansi) = (look.lines, look.ansi);
    if published.has_no_terminal(agent) {
        let limit = Some(lines.unwrap_or(u32::from(detail.definition.size.rows)));
        let asked = query::Transcript { agent: look.agent.clone(), run: None, after: None, before: None, limit };
        let page = transcripts::page(daemon, &asked).await?;
        let rows = detail.definition.size;
        return Ok(Look {
            agent: label,
            run: page.run,
            rows: rows.rows,
            cols: rows.cols,
            lines: transcripts::as_lines(&page).iter().flat_map(|entry| entry.lines().map(str::to_owned)).collect(),
            cursor: None,
            title: None,
        });
    }
    let seen = match ask_live(daemon, agent, |reply| Ask::Look { lines, ansi, reply }).await {
        Ok(seen) => Look { agent: label, ..seen? },
        Err(refusal) => {
            // It ended: what it last printed is on its tape.
            let Some(run) = detail.current_run.filter(|run| !run.is_live()) else { return Err(refusal) };
            let Size { rows, cols } = detail.definition.size;
            Look { agent: label, run: run.no, rows, cols, lines: Vec::new(), cursor: None, title: None }
        }
    };
    let wanted = lines.map_or(usize::from(seen.rows), |lines| lines as usize);
    if !seen.lines.is_empty() && wanted <= usize::from(seen.rows) {
        return Ok(seen);
    }
    let (runner, run, size) = (daemon.runner.clone(), seen.run, Size { rows: seen.rows, cols: seen.cols });
    let replayed = tokio::task::spawn_blocking(move || {
        runner.replay(agent, run, size).map(|mut screen| screen.rows(Some(wanted), ansi))
    });
    let unreadable = |why: String| Rejection::new(Code::Unavailable, format!("its tape cannot be read: {why}"));
    let rows = replayed.await.map_err(|error| unreadable(error.to_string()))?;
    Ok(Look { lines: rows.map_err(|error| unreadable(error.to_string()))?, ..seen })
}

async fn page(daemon: &Daemon, principal: &Principal, events: &query::Events) -> Result<Box<RawValue>, Rejection> {
    let published = daemon.engine.published();
    let limit = events.limit.unwrap_or(EVENTS_DEFAULT).min(EVENTS_MAX) as usize;
    let (head, floor) = (published.read(|_, head| head), published.floor());
    let from = events.from.unwrap_or(Seq(head.0.saturating_sub(limit as u64))).max(floor);
    let cursor = Cursor { epoch: published.epoch(), seq: from };
    let feed = daemon.engine.feed().clone();
    let page = match feed.after(cursor, limit) {
        Page::InLog => {
            let read = tokio::task::spawn_blocking(move || feed.from_log(cursor, limit)).await;
            let unreadable = |why: String| Rejection::new(Code::Unavailable, format!("the log cannot be read: {why}"));
            read.map_err(|error| unreadable(error.to_string()))?.map_err(|error| unreadable(error.to_string()))?
        }
        page => page,
    };
    let entries = match page {
        Page::Events(entries) => published.seen(principal, entries),
        Page::InLog | Page::Reset => Vec::new(),
    };
    let wanted = |topic: &str| events.topics.is_empty() || events.topics.iter().any(|of| event::topic_of(of) == topic);
    let lines: Vec<&str> = entries.iter().filter(|entry| wanted(entry.topic)).map(|entry| &*entry.json).collect();
    RawValue::from_string(format!("[{}]", lines.join(",")))
        .map_err(|error| Rejection::new(Code::Internal, error.to_string()))
}
