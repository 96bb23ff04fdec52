//! Telling the desktop, by a command of the user's, what waits for a person: each thing once, several in one, and again
//! when it is settled, wherever that was done.
//!
//! What was told is not written down. What waits when the server starts, and has done so since before, was told by the
//! server before it: it counts as told. So nothing is told twice, and what came within the pause before a crash may not
//! be told at all; it is in the inbox.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use amux_engine::Waiting;
use amux_proto::{Time, env};
use amux_sys::clock;
use amux_sys::output::{self, Limit};
use amux_sys::spawn::{Session, SpawnSpec, Stdio};
use serde_json::json;

use crate::daemon::Daemon;

/// How often it is looked at most while much happens: nobody reads faster.
const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// A command that shows something has done so by then.
const COMMAND_TIME: Duration = Duration::from_secs(10);

/// So many are named in one notification; of the others it is said how many they are.
const NAMED_MAX: usize = 20;

/// Reads the state whenever something has happened, for as long as the server serves.
pub(crate) async fn keep(daemon: Arc<Daemon>, env: Vec<(OsString, OsString)>) {
    let published = daemon.engine.published();
    let mut head = published.watch_head();
    let began = Instant::now();
    let mut desk = None;
    let mut old = daemon.started;
    loop {
        head.borrow_and_update();
        let (command, pause_ms) = published.notify();
        let at_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut next_ms = None;
        if command.is_empty() {
            // Nobody is told, and nothing is looked at; who turns it on wants to hear what comes from then on.
            desk = None;
            old = Time(clock::now_ms());
        } else {
            let now = waiting(&daemon);
            let looked = desk.get_or_insert_with(|| Desk::begin(&now, old)).look(now, at_ms, pause_ms);
            next_ms = looked.next_ms;
            for wish in looked.wishes {
                // One after the other: a command that hangs holds up its own kind only, and not for long.
                carry_out(&command, &env, wish).await;
            }
        }
        if desk.is_some() {
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        let left = next_ms.map(|next: u64| Duration::from_millis(next.saturating_sub(at_ms)));
        tokio::select! {
            changed = head.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(left.unwrap_or(Duration::MAX)), if left.is_some() => {}
        }
    }
}

fn waiting(daemon: &Daemon) -> Vec<Waiting> {
    daemon.engine.published().waiting(Time(clock::now_ms()))
}

/// What was told and is not settled.
#[derive(Default)]
struct Desk {
    told: BTreeMap<String, Waiting>,
    /// When something was told last.
    last_ms: Option<u64>,
}

#[derive(Debug, PartialEq, Eq)]
enum Wish {
    Tell(Vec<Waiting>),
    Retract(Vec<Waiting>),
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Looked {
    wishes: Vec<Wish>,
    /// When to look again though nothing happens.
    next_ms: Option<u64>,
}

impl Desk {
    /// What has waited since before then is no news.
    fn begin(now: &[Waiting], before: Time) -> Self {
        let old = now.iter().filter(|thing| thing.since < before);
        Self { told: old.map(|thing| (thing.key.clone(), thing.clone())).collect(), last_ms: None }
    }

    /// What is to be said of what waits now. What has come and gone since the last time is not spoken of.
    fn look(&mut self, now: Vec<Waiting>, at_ms: u64, pause_ms: u64) -> Looked {
        let mut looked = Looked::default();
        let is_there = |key: &str| now.iter().any(|thing| thing.key == key);
        let gone: Vec<String> = self.told.keys().filter(|key| !is_there(key)).cloned().collect();
        let gone: Vec<Waiting> = gone.iter().filter_map(|key| self.told.remove(key)).collect();
        if !gone.is_empty() {
            looked.wishes.push(Wish::Retract(gone));
        }
        let news: Vec<Waiting> = now.into_iter().filter(|thing| !self.told.contains_key(&thing.key)).collect();
        if news.is_empty() {
            return looked;
        }
        let after = self.last_ms.map_or(0, |last| last.saturating_add(pause_ms));
        if at_ms < after {
            looked.next_ms = Some(after);
            return looked;
        }
        self.last_ms = Some(at_ms);
        self.told.extend(news.iter().map(|thing| (thing.key.clone(), thing.clone())));
        looked.wishes.push(Wish::Tell(news));
        looked
    }
}

async fn carry_out(command: &[String], env: &[(OsString, OsString)], wish: Wish) {
    let Some(spec) = spec(command, env, &wish) else { return };
    let ran = tokio::task::spawn_blocking(move || output::output(&spec, Limit { time: COMMAND_TIME, stdout_bytes: 0 }));
    let error = match ran.await {
        Ok(Ok(ended)) if ended.status.success() => return,
        Ok(Ok(ended)) => format!("{}: {}", ended.status, String::from_utf8_lossy(&ended.stderr_tail).trim()),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    tracing::warn!(%error, "The command of notify.command did not do what it is for.");
}

fn spec(command: &[String], env: &[(OsString, OsString)], wish: &Wish) -> Option<SpawnSpec> {
    let (program, args) = command.split_first()?;
    let (what, things) = match wish {
        Wish::Tell(things) => ("tell", things),
        Wish::Retract(things) => ("resolved", things),
    };
    let (title, text) = words(things);
    let each: Vec<_> = things
        .iter()
        .take(NAMED_MAX)
        .map(|thing| {
            let Waiting { key, kind, title, text, since } = thing;
            json!({ "key": key, "kind": kind, "title": title, "text": text, "since": since })
        })
        .collect();
    let data = json!({ "notice": what, "count": things.len(), "things": each });
    let mut env = env.to_vec();
    for (name, value) in [
        (env::NOTICE, what.to_owned()),
        (env::NOTICE_TITLE, title),
        (env::NOTICE_TEXT, text),
        (env::NOTICE_JSON, data.to_string()),
    ] {
        env.push((name.into(), value.into()));
    }
    Some(SpawnSpec {
        program: PathBuf::from(program),
        args: args.iter().map(OsString::from).collect(),
        cwd: "/".into(),
        env,
        stdio: Stdio::Pipes,
        session: Session::Own,
        pass_fds: Vec::new(),
        nofile: None,
    })
}

/// One is what it is; several are so many, and what they are.
fn words(things: &[Waiting]) -> (String, String) {
    if let [thing] = things {
        return (thing.title.clone(), thing.text.clone());
    }
    let mut lines: Vec<String> = things.iter().take(NAMED_MAX).map(|thing| thing.title.clone()).collect();
    if things.len() > NAMED_MAX {
        lines.push(format!("and {} more", things.len() - NAMED_MAX));
    }
    (format!("{} things wait", things.len()), lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thing(key: &str) -> Waiting {
        Waiting { key: key.into(), kind: "message", title: key.into(), text: String::new(), since: Time(10) }
    }

    fn things(keys: &[&str]) -> Vec<Waiting> {
        keys.iter().map(|key| thing(key)).collect()
    }

    const PAUSE: u64 = 5_000;

    #[test]
    fn a_thing_is_told_once_and_retracted_once() {
        let mut desk = Desk::default();
        let tell = |keys| vec![Wish::Tell(things(keys))];
        assert_eq!(desk.look(things(&["a"]), 0, PAUSE).wishes, tell(&["a"]));
        assert_eq!(desk.look(things(&["a"]), 9_000, PAUSE), Looked::default());
        assert_eq!(desk.look(things(&[]), 9_000, PAUSE).wishes, [Wish::Retract(things(&["a"]))]);
        assert_eq!(desk.look(things(&[]), 20_000, PAUSE), Looked::default());
    }

    #[test]
    fn what_comes_within_the_pause_is_told_together_and_what_has_gone_by_then_never() {
        let mut desk = Desk::default();
        desk.look(things(&["a"]), 100, PAUSE);
        let waits = Looked { wishes: Vec::new(), next_ms: Some(5_100) };
        assert_eq!(desk.look(things(&["a", "b"]), 200, PAUSE), waits);
        assert_eq!(desk.look(things(&["a", "b", "c", "d"]), 300, PAUSE), waits);
        assert_eq!(desk.look(things(&["a", "c", "d"]), 5_100, PAUSE).wishes, [Wish::Tell(things(&["c", "d"]))]);
        // To be rid of something waits for nothing.
        assert_eq!(desk.look(things(&["a", "c"]), 5_101, PAUSE).wishes, [Wish::Retract(things(&["d"]))]);
    }

    #[test]
    fn what_has_waited_since_before_is_not_told_but_retracted() {
        let now = [things(&["old"]), vec![Waiting { since: Time(20), ..thing("new") }]].concat();
        let mut desk = Desk::begin(&now, Time(20));
        assert!(matches!(&desk.look(now, 0, PAUSE).wishes[..], [Wish::Tell(news)] if news[0].key == "new"));
        assert!(matches!(&desk.look(things(&[]), 0, PAUSE).wishes[..], [Wish::Retract(gone)] if gone.len() == 2));
    }

    #[test]
    fn many_are_a_number_and_the_first_of_them() {
        assert_eq!(words(&things(&["a", "b"])), ("2 things wait".into(), "a\nb".into()));
        let keys: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
        let (title, text) = words(&keys.iter().map(|key| thing(key)).collect::<Vec<_>>());
        assert_eq!((title.as_str(), text.lines().count()), ("1000 things wait", NAMED_MAX + 1));
        assert!(text.ends_with("and 980 more"));
    }
}
