//! What whoever writes to an agent can name: the commands of its CLI and the files of its directory.

use std::path::PathBuf;

use amux_engine::mention;
use amux_proto::query;
use amux_proto::view::{AgentCommands, AgentFiles};
use amux_proto::{Code, Rejection};
use amux_runner::Ask;

use crate::acts::ask_live;
use crate::daemon::Daemon;

/// What a list below a text field shows, and the most anybody is answered.
const FILES_DEFAULT: u32 = 20;
const FILES_MAX: u32 = 200;

/// A name is shorter; what is longer is none.
const WORD_CHARS_MAX: usize = 200;

/// One that does not run has said nothing yet.
pub(crate) async fn commands(daemon: &Daemon, reference: &str) -> Result<AgentCommands, Rejection> {
    let published = daemon.engine.published();
    let agent = published.resolve_agent(reference)?;
    let commands = ask_live(daemon, agent, |reply| Ask::Commands { reply }).await.unwrap_or_default();
    Ok(AgentCommands { agent: published.label(agent), commands })
}

pub(crate) async fn files(daemon: &Daemon, asked: &query::Files) -> Result<AgentFiles, Rejection> {
    let published = daemon.engine.published();
    let shown = published.agent(&asked.agent)?.agent;
    if asked.word.chars().count() > WORD_CHARS_MAX {
        return Err(Rejection::new(Code::BadArgs, format!("a word of {WORD_CHARS_MAX} letters at most is looked for")));
    }
    let limit = asked.limit.unwrap_or(FILES_DEFAULT).min(FILES_MAX) as usize;
    let unreadable = |why: String| Rejection::new(Code::Unavailable, format!("its directory cannot be read: {why}"));
    let looked = daemon.runner.files(PathBuf::from(&shown.cwd)).await;
    let listing = looked.map_err(|error| unreadable(error.to_string()))?;
    let (word, complete) = (asked.word.clone(), listing.complete);
    let fitting = tokio::task::spawn_blocking(move || mention::fitting(&listing.paths, &word, limit));
    let paths = fitting.await.map_err(|error| unreadable(error.to_string()))?;
    Ok(AgentFiles { agent: published.label(shown.uid), cwd: shown.cwd, paths, complete })
}
