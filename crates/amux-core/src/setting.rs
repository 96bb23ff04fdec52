//! Settings: which there are, what they may be, and what they are now. The file `settings.jsonc` wins over commands,
//! because a person wrote it; a command sets what the file does not speak of.

use amux_proto::command::setting::{Command, Load, Set, Unset};
use amux_proto::entity::{Setting, SettingSource};
use amux_proto::event::setting::{Changed, Cleared, Event};
use amux_proto::{Code, Rejection, Rev};
use serde_json::{Value, json};

use crate::case::Case;
use crate::near::nearest;
use crate::state::{Revised as _, State};

/// One key whose value is a whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    pub key: &'static str,
    pub min: u64,
    pub max: u64,
    pub default: u64,
    /// What it is, in a sentence.
    pub about: &'static str,
}

/// One key whose value is a list of words; a list of one may be that word alone.
#[derive(Debug, Clone, Copy)]
pub struct KnownWords {
    pub key: &'static str,
    /// So many at most.
    pub max: usize,
    /// Of each.
    pub bytes_max: usize,
    pub takes: Takes,
    pub default: &'static [&'static str],
    /// What it is, in a sentence.
    pub about: &'static str,
}

/// What each word of a list may be.
#[derive(Debug, Clone, Copy)]
pub enum Takes {
    Any,
    Among(&'static [&'static str]),
    /// As browsers write it.
    Origin,
}

const NOTIFY_COMMAND: KnownWords = KnownWords {
    key: "notify.command",
    max: COMMAND_WORDS_MAX,
    bytes_max: WORD_BYTES_MAX,
    takes: Takes::Any,
    default: &[],
    about: "A program and its arguments that shows what waits for you, told in AGENTMUX_NOTICE…; none: nothing is shown.",
};
const NOTIFY_ON: KnownWords = KnownWords {
    key: "notify.on",
    max: crate::notice::KINDS.len(),
    bytes_max: WORD_BYTES_MAX,
    takes: Takes::Among(crate::notice::KINDS),
    default: crate::notice::KINDS_DEFAULT,
    about: "What is shown by notify.command.",
};

const HTTP_ALLOWED_ORIGINS: KnownWords = KnownWords {
    key: "http.allowed_origins",
    max: 16,
    bytes_max: WORD_BYTES_MAX,
    takes: Takes::Origin,
    default: &[],
    about: "Under which addresses, beside 127.0.0.1, a browser may reach the server: those of your reverse proxy.",
};

/// More agents than this nobody puts into an order by hand.
const WEB_AGENTS_MAX: usize = 512;

/// A time, an id and the names of an agent and its team. Every change writes the whole list.
const WEB_WORD_BYTES_MAX: usize = 256;

/// Whether a setting is what one person keeps about the board beside it; it is nothing to agents.
pub(crate) fn is_a_persons(key: &str) -> bool {
    key.starts_with("web.")
}

const WEB_MUTED: KnownWords = KnownWords {
    key: "web.muted",
    max: WEB_AGENTS_MAX,
    bytes_max: WEB_WORD_BYTES_MAX,
    takes: Takes::Any,
    default: &[],
    about: "Agents that are heard in the web interface only when they need a person, by id.",
};
const WEB_ORDER: KnownWords = KnownWords {
    key: "web.order",
    max: WEB_AGENTS_MAX,
    bytes_max: WEB_WORD_BYTES_MAX,
    takes: Takes::Any,
    default: &[],
    about: "Agents in the order in which the web interface lists them inside of their team, by id.",
};
const WEB_PUT_OFF: KnownWords = KnownWords {
    key: "web.put_off",
    max: WEB_AGENTS_MAX,
    bytes_max: WEB_WORD_BYTES_MAX,
    takes: Takes::Any,
    default: &[],
    about: "What is put off in the inbox of the web interface: until when, in milliseconds, and what.",
};
const WEB_SEEN: KnownWords = KnownWords {
    key: "web.seen",
    max: WEB_AGENTS_MAX,
    bytes_max: WEB_WORD_BYTES_MAX,
    takes: Takes::Any,
    default: &[],
    about: "What was dismissed in the inbox of the web interface: an agent and since when it was as it was.",
};

/// Every key of that kind, by name.
pub const WORDS: &[KnownWords] =
    &[HTTP_ALLOWED_ORIGINS, NOTIFY_COMMAND, NOTIFY_ON, WEB_MUTED, WEB_ORDER, WEB_PUT_OFF, WEB_SEEN];

/// A command line of a person.
const COMMAND_WORDS_MAX: usize = 64;
const WORD_BYTES_MAX: usize = 4096;

impl Takes {
    /// Those there are; empty: they are not to be listed.
    pub fn among(self) -> &'static [&'static str] {
        match self {
            Self::Among(words) => words,
            Self::Any | Self::Origin => &[],
        }
    }

    /// What is needed, for whoever wrote something else.
    fn sentence(self) -> String {
        match self {
            Self::Any => "a list of words is needed".into(),
            Self::Among(words) => format!("a list of these is needed: {}", words.join(", ")),
            Self::Origin => "a list of origins is needed, each like https://mux.example.org or http://host:port".into(),
        }
    }

    fn takes(self, word: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Among(words) => words.contains(&word),
            Self::Origin => is_origin(word),
        }
    }
}

/// Scheme, host in lower case, a port that is not the scheme's, and nothing behind it.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let of_host = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._:[]".contains(c);
    ["http", "https"].contains(&scheme) && !host.is_empty() && host.len() <= 255 && host.chars().all(of_host)
}

const NOTIFY_PAUSE_MS: Known = Known {
    key: "notify.pause_ms",
    min: 0,
    max: 3_600_000,
    default: 5_000,
    about: "After something was shown by notify.command, what comes in so many milliseconds is shown in one.",
};
const STOP_GRACE_MS: Known = Known {
    key: "agent.stop_grace_ms",
    min: 0,
    max: 60_000,
    default: 5_000,
    about: "How long an agent may take to stop before it is killed, in milliseconds.",
};
const IDLE_OUTPUT_MS: Known = Known {
    key: "agent.idle_output_ms",
    min: 0,
    max: 30 * 24 * 3_600_000,
    default: 0,
    about: "An agent that prints nothing for so many milliseconds is stopped; 0: never.",
};
const MCP: Known = Known {
    key: "agent.mcp",
    min: 0,
    max: 1,
    default: 1,
    about: "1: an agent that can take an MCP server is handed ours, to talk to its team; 0: it is not.",
};
const MAX_RUNTIME_MS: Known = Known {
    key: "agent.max_runtime_ms",
    min: 0,
    max: 365 * 24 * 3_600_000,
    default: 0,
    about: "An agent that has run for so many milliseconds is stopped; 0: never.",
};
const ARCHIVE_IDLE_DAYS: Known = Known {
    key: "archive.idle_days",
    min: 1,
    max: 3650,
    default: 7,
    about: "Tapes of ended runs that nobody touched for so many days are archived.",
};
const ARCHIVE_MAX_MB: Known = Known {
    key: "archive.max_mb",
    min: 1,
    max: 10_000_000,
    default: 2048,
    about: "What the archives may take, in megabytes; the oldest go first.",
};
const TAPE_MAX_MB: Known = Known {
    key: "tape.max_mb",
    min: 4,
    max: 100_000,
    default: 64,
    about: "What the tape of one terminal may take, in megabytes; its oldest output goes first.",
};
/// A drawing, a log, a diff. What is larger is better left where it is and named: every attachment is kept for as long
/// as its message, and a model reads none of that size.
const ATTACHMENT_MAX_MB: Known = Known {
    key: "message.attachment_max_mb",
    min: 1,
    max: 1_000,
    default: 10,
    about: "What one file that goes with a message may have, in megabytes.",
};
const EVENTS_KEEP_DAYS: Known = Known {
    key: "events.keep_days",
    min: 1,
    max: 3650,
    default: 30,
    about: "Events younger than this many days stay in the log.",
};
const EVENTS_KEEP_ROWS: Known = Known {
    key: "events.keep_rows",
    min: 1_000,
    max: 100_000_000,
    default: 200_000,
    about: "The newest events, this many, stay in the log however old they are.",
};
const HTTP_PORT: Known = Known {
    key: "http.port",
    min: 0,
    max: 65_535,
    default: 0,
    about: "The port of the web interface from the next start on; 0: the one it had, or one that is free.",
};
const LOG_KEEP_DAYS: Known = Known {
    key: "log.keep_days",
    min: 1,
    max: 365,
    default: 7,
    about: "How many days of the server's own log files are kept.",
};
const SHELF_KEEP: Known = Known {
    key: "shelf.keep",
    min: 1,
    max: 256,
    default: 32,
    about: "How many closed panes, tabs and workspaces can be reopened.",
};
const TERMINAL_COLS: Known = Known {
    key: "terminal.cols",
    min: 2,
    max: crate::bounds::CELLS_MAX as u64,
    default: 80,
    about: "Columns of a new agent's terminal until somebody looks at it.",
};
const TERMINAL_ROWS: Known = Known {
    key: "terminal.rows",
    min: 2,
    max: crate::bounds::CELLS_MAX as u64,
    default: 24,
    about: "Rows of a new agent's terminal until somebody looks at it.",
};

/// Every key that takes a number, by name.
pub const REGISTRY: &[Known] = &[
    IDLE_OUTPUT_MS,
    MAX_RUNTIME_MS,
    MCP,
    STOP_GRACE_MS,
    ARCHIVE_IDLE_DAYS,
    ARCHIVE_MAX_MB,
    EVENTS_KEEP_DAYS,
    EVENTS_KEEP_ROWS,
    HTTP_PORT,
    LOG_KEEP_DAYS,
    ATTACHMENT_MAX_MB,
    NOTIFY_PAUSE_MS,
    SHELF_KEEP,
    TAPE_MAX_MB,
    TERMINAL_COLS,
    TERMINAL_ROWS,
];

pub fn agent_stop_grace_ms(state: &State) -> u64 {
    value(state, &STOP_GRACE_MS)
}

pub fn agent_mcp(state: &State) -> bool {
    value(state, &MCP) == 1
}

pub fn agent_idle_output_ms(state: &State) -> u64 {
    value(state, &IDLE_OUTPUT_MS)
}

pub fn agent_max_runtime_ms(state: &State) -> u64 {
    value(state, &MAX_RUNTIME_MS)
}

pub fn archive_idle_days(state: &State) -> u64 {
    value(state, &ARCHIVE_IDLE_DAYS)
}

pub fn archive_max_mb(state: &State) -> u64 {
    value(state, &ARCHIVE_MAX_MB)
}

/// The program that is told what waits for a person, with its arguments; empty when there is none.
pub fn notify_command(state: &State) -> Vec<String> {
    words(state, &NOTIFY_COMMAND)
}

pub fn notify_on(state: &State) -> Vec<String> {
    words(state, &NOTIFY_ON)
}

pub fn notify_pause_ms(state: &State) -> u64 {
    value(state, &NOTIFY_PAUSE_MS)
}

pub fn attachment_bytes_max(state: &State) -> u64 {
    value(state, &ATTACHMENT_MAX_MB) * 1_000_000
}

pub fn tape_max_mb(state: &State) -> u64 {
    value(state, &TAPE_MAX_MB)
}

pub fn events_keep_days(state: &State) -> u64 {
    value(state, &EVENTS_KEEP_DAYS)
}

pub fn events_keep_rows(state: &State) -> u64 {
    value(state, &EVENTS_KEEP_ROWS)
}

pub fn http_port(state: &State) -> u16 {
    u16::try_from(value(state, &HTTP_PORT)).unwrap_or(0)
}

pub fn http_allowed_origins(state: &State) -> Vec<String> {
    words(state, &HTTP_ALLOWED_ORIGINS)
}

pub fn log_keep_days(state: &State) -> u64 {
    value(state, &LOG_KEEP_DAYS)
}

pub fn shelf_keep(state: &State) -> usize {
    usize::try_from(value(state, &SHELF_KEEP)).unwrap_or(usize::MAX)
}

pub fn terminal_cols(state: &State) -> u16 {
    u16::try_from(value(state, &TERMINAL_COLS)).unwrap_or(u16::MAX)
}

pub fn terminal_rows(state: &State) -> u16 {
    u16::try_from(value(state, &TERMINAL_ROWS)).unwrap_or(u16::MAX)
}

/// Whether there is such a key and it may have this value; the rejection names the nearest key, or the bounds.
pub fn check(key: &str, value: &Value) -> Result<(), Rejection> {
    if let Some(known) = WORDS.iter().find(|known| known.key == key) {
        return if read_words(known, value).is_some() { Ok(()) } else { Err(bad_words(known)) };
    }
    let known = known(key)?;
    if value.as_u64().is_some_and(|number| (known.min..=known.max).contains(&number)) {
        return Ok(());
    }
    Err(Rejection::new(Code::BadArgs, format!("a whole number from {} to {} is needed: {key}", known.min, known.max))
        .details(json!({ "key": key, "min": known.min, "max": known.max, "default": known.default })))
}

fn bad_words(known: &KnownWords) -> Rejection {
    Rejection::new(Code::BadArgs, format!("{}: {}", known.takes.sentence(), known.key))
        .details(json!({ "key": known.key, "among": known.takes.among(), "max": known.max, "default": known.default }))
}

/// `None` when it is no list that may be.
fn read_words(known: &KnownWords, value: &Value) -> Option<Vec<String>> {
    let list = match value {
        Value::Array(list) => &list[..],
        Value::String(_) => std::slice::from_ref(value),
        _ => return None,
    };
    let is_good = |word: &str| {
        !word.is_empty() && word.len() <= known.bytes_max && !word.contains('\0') && known.takes.takes(word)
    };
    let word = |value: &Value| value.as_str().filter(|word| is_good(word)).map(str::to_owned);
    if list.len() > known.max { None } else { list.iter().map(word).collect() }
}

fn words(state: &State, known: &KnownWords) -> Vec<String> {
    let set = state.settings.get(known.key).and_then(|setting| read_words(known, &setting.value));
    set.unwrap_or_else(|| known.default.iter().map(|word| (*word).to_owned()).collect())
}

/// The key's description.
pub fn known(key: &str) -> Result<&'static Known, Rejection> {
    if let Some(known) = REGISTRY.iter().find(|known| known.key == key) {
        return Ok(known);
    }
    let shown: String = key.chars().take(100).collect();
    let near = nearest(key, REGISTRY.iter().map(|known| known.key).chain(WORDS.iter().map(|known| known.key)));
    let rejection = Rejection::new(Code::BadArgs, format!("no such setting: {shown}"));
    let rejection = match near.first() {
        Some(nearest) => rejection.hint(format!("did you mean {nearest}?")),
        None => rejection.hint("agentmux config show"),
    };
    Err(rejection.details(json!({ "key": shown, "near": near })))
}

/// A value that is out of bounds in an old log counts as the default.
fn value(state: &State, known: &Known) -> u64 {
    let set = state.settings.get(known.key).and_then(|setting| setting.value.as_u64());
    set.filter(|number| (known.min..=known.max).contains(number)).unwrap_or(known.default)
}

pub(crate) fn decide(case: &mut Case<'_>, command: &Command) -> Result<Value, Rejection> {
    match command {
        Command::Set(order) => set(case, order),
        Command::Unset(order) => unset(case, order),
        Command::Load(order) => load(case, order),
    }
}

fn set(case: &mut Case<'_>, order: &Set) -> Result<Value, Rejection> {
    check(&order.key, &order.value)?;
    let current = case.state.settings.get(&order.key);
    case.expect(current.map_or(Rev(0), |setting| setting.rev))?;
    refuse_if_in_file(current)?;
    if current.is_none_or(|setting| setting.value != order.value) {
        let (key, value) = (order.key.clone(), order.value.clone());
        case.emit(Event::Changed(Changed { key, value, source: SettingSource::Command }));
    }
    Ok(json!({ "key": order.key, "value": order.value }))
}

fn unset(case: &mut Case<'_>, order: &Unset) -> Result<Value, Rejection> {
    // What an older build knew, a newer one must still be able to forget.
    let current = case.state.settings.get(&order.key);
    let words = WORDS.iter().find(|known| known.key == order.key);
    let default = match (words, known(&order.key), current) {
        (Some(known), ..) => json!(known.default),
        (None, Ok(known), _) => json!(known.default),
        (None, Err(_), Some(_)) => Value::Null,
        (None, Err(unknown), None) => return Err(unknown),
    };
    case.expect(current.map_or(Rev(0), |setting| setting.rev))?;
    refuse_if_in_file(current)?;
    if current.is_some() {
        case.emit(Event::Cleared(Cleared { key: order.key.clone() }));
    }
    Ok(json!({ "key": order.key, "value": default }))
}

fn refuse_if_in_file(current: Option<&Setting>) -> Result<(), Rejection> {
    match current {
        Some(setting) if setting.source == SettingSource::File => {
            Err(Rejection::new(Code::Conflict, format!("the settings file says what it is: {}", setting.key))
                .hint("edit settings.jsonc (agentmux config path)"))
        }
        Some(_) | None => Ok(()),
    }
}

/// All or nothing: half a file would be a third configuration that nobody wrote.
fn load(case: &mut Case<'_>, order: &Load) -> Result<Value, Rejection> {
    let problems: Vec<_> =
        order.values.iter().filter_map(|(key, value)| check(key, value).err().map(|problem| (key, problem))).collect();
    if let Some((_, first)) = problems.first() {
        let all: Vec<_> = problems
            .iter()
            .map(|(key, problem)| json!({ "key": key, "message": problem.message, "hint": problem.hint }))
            .collect();
        let mut rejection = Rejection::new(Code::BadArgs, format!("settings.jsonc is not used: {}", first.message));
        rejection.hint = first.hint.clone();
        return Err(rejection.details(json!({ "problems": all })));
    }
    for (key, value) in &order.values {
        let same = |setting: &Setting| setting.value == *value && setting.source == SettingSource::File;
        if !case.state.settings.get(key).is_some_and(same) {
            case.emit(Event::Changed(Changed { key: key.clone(), value: value.clone(), source: SettingSource::File }));
        }
    }
    for setting in case.state.settings.values() {
        if setting.source == SettingSource::File && !order.values.contains_key(&setting.key) {
            case.emit(Event::Cleared(Cleared { key: setting.key.clone() }));
        }
    }
    Ok(json!({ "keys": order.values.len() }))
}

pub(crate) fn apply(state: &mut State, event: &Event) {
    match event {
        Event::Changed(Changed { key, value, source }) => {
            let fresh = || Setting { key: key.clone(), value: Value::Null, source: *source, rev: Rev(0) };
            let setting = state.settings.entry(key.clone()).or_insert_with(fresh);
            setting.value = value.clone();
            setting.source = *source;
            let rev = setting.rev_mut();
            *rev = rev.next();
        }
        Event::Cleared(Cleared { key }) => {
            state.settings.remove(key);
        }
    }
}
