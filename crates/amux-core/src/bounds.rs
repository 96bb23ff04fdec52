//! How much of each thing there may be, and the checks that say so. Every bound is named and has its reason; none is
//! about taste, all are about what one state in memory and one frame on the wire can carry.

use amux_proto::{Code, Rejection};
use serde_json::json;

/// Each has a row, a tape and maybe processes; a machine does not hold more.
pub(crate) const AGENTS_MAX: usize = 1000;
/// More teams than this are not teams of the same thousand agents.
pub(crate) const TEAMS_MAX: usize = 200;
/// Each may be a window.
pub(crate) const WORKSPACES_MAX: usize = 100;
/// A workspace's tabs travel whole in one event.
pub(crate) const TABS_MAX: usize = 200;
/// A tab's tree travels whole in every change of it, and no screen shows more.
pub(crate) const PANES_MAX: usize = 64;

/// Beyond this the system's own limit for a command line is near.
pub(crate) const ARGV_MAX: usize = 1024;
/// An argument on Linux is at most this long (`MAX_ARG_STRLEN`).
pub(crate) const ARG_BYTES_MAX: usize = 128 * 1024;
/// Definitions are part of the log and of every snapshot.
pub(crate) const DEFINITION_BYTES_MAX: usize = 256 * 1024;
pub(crate) const ENV_MAX: usize = 256;
/// `PATH_MAX`.
pub(crate) const PATH_BYTES_MAX: usize = 4096;
/// A terminal of more cells costs more memory than it shows.
pub(crate) const CELLS_MAX: u16 = 1000;
/// Longer than anyone waits for a stop; what is longer is a mistake in units.
pub(crate) const GRACE_MS_MAX: u64 = 10 * 60 * 1000;

/// Names of workspaces and tabs, titles of panes.
pub(crate) const LABEL_BYTES_MAX: usize = 200;
/// They are addresses, not labels.
pub(crate) const GROUPS_MAX: usize = 32;
/// Names in one `to`; groups stand for more.
pub(crate) const RECIPIENTS_MAX: usize = 200;
/// A sender's idempotency key is an identifier, not a text.
pub(crate) const KEY_BYTES_MAX: usize = 200;
/// What one agent can ask at once before a person has to look at the agent itself.
pub(crate) const REQUESTS_OF_AGENT_MAX: usize = 100;
/// Each is a program somebody installed.
pub(crate) const KINDS_MAX: usize = 200;
/// They are compared one by one with everything that is asked.
pub(crate) const RULES_MAX: usize = 1000;
/// All of them are read for every agent that one agent might see.
pub(crate) const MAY_MAX: usize = 200;
/// A team in which agents make agents does not grow beyond what a person can still look over.
pub(crate) const MADE_BY_AGENTS_MAX: usize = 32;
/// Conversations an agent has lost; older ones cannot come back by accident.
pub(crate) const DEAD_SESSIONS_MAX: usize = 16;
pub(crate) const OPTIONS_MAX: usize = 32;
/// The detail of a request may be a diff.
pub(crate) const DETAIL_BYTES_MAX: usize = 64 * 1024;
/// Errors and reasons are sentences; what is longer is cut, because an observation is never refused for its length.
/// Every pause in typing writes it into the log, so it is smaller than what can be sent.
pub(crate) const DRAFT_BYTES_MAX: usize = 32 * 1024;
pub(crate) const REASON_BYTES_MAX: usize = 4096;

pub(crate) fn limit(what: &str, max: usize) -> Rejection {
    Rejection::new(Code::Limit, format!("the limit is reached: {what}, at most {max}")).details(json!({ "max": max }))
}

pub(crate) fn bad(what: impl Into<String>) -> Rejection {
    Rejection::new(Code::BadArgs, what)
}

pub(crate) fn at_most(what: &str, bytes: usize, max: usize) -> Result<(), Rejection> {
    if bytes <= max {
        return Ok(());
    }
    Err(Rejection::new(Code::TooLarge, format!("too long: {what} has {bytes} bytes, at most {max}"))
        .details(json!({ "bytes": bytes, "max": max })))
}

/// A name for people: something to see, on one line.
pub(crate) fn label(what: &str, text: &str) -> Result<(), Rejection> {
    at_most(what, text.len(), LABEL_BYTES_MAX)?;
    if text.trim().is_empty() {
        return Err(bad(format!("there is nothing in it: {what}")));
    }
    if text.chars().any(char::is_control) {
        return Err(bad(format!("control characters are not allowed: {what}")));
    }
    Ok(())
}

/// What the operating system will be given as a C string.
pub(crate) fn no_nul(what: &str, text: &str) -> Result<(), Rejection> {
    if text.contains('\0') { Err(bad(format!("a NUL character is not allowed: {what}"))) } else { Ok(()) }
}

/// As much of a reason as is kept.
pub(crate) fn cut(text: &str) -> String {
    cut_at(text, REASON_BYTES_MAX).to_owned()
}

/// At most so many bytes of a text, whole characters.
pub(crate) fn cut_at(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
