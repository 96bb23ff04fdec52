//! The one place where an error becomes words, a hint and an exit code.

use std::io::Write as _;
use std::process::ExitCode;

use amux_client::{Error as ClientError, bootstrap};
use amux_proto::exit::Exit;
use amux_proto::{Code, Rejection};
use clap::CommandFactory as _;
use serde_json::json;

use crate::cli::Cli;
use crate::text::plain;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) rejection: Rejection,
}

impl Failure {
    pub(crate) fn new(exit: Exit, code: Code, message: impl Into<String>) -> Self {
        Self { exit, rejection: Rejection::new(code, message) }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, Code::BadArgs, message)
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, Code::Internal, message)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.rejection = self.rejection.hint(hint);
        self
    }
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        Self { exit: rejection.code.into(), rejection }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused(rejection) => rejection.into(),
            ClientError::Garbled(_) => Self::failed(with_causes(&error)),
            ClientError::Silent { .. } => {
                Self::new(Exit::Unreachable, Code::Unreachable, error.to_string()).hint("agentmux doctor")
            }
            ClientError::NoServer { .. } | ClientError::Lost(_) | ClientError::Closed(_) => {
                Self::new(Exit::Unreachable, Code::Unreachable, with_causes(&error)).hint("agentmux server status")
            }
        }
    }
}

impl From<bootstrap::Error> for Failure {
    fn from(error: bootstrap::Error) -> Self {
        match error {
            bootstrap::Error::Client(error) => error.into(),
            bootstrap::Error::NotRunning { .. } => {
                Self::new(Exit::Unreachable, Code::Unreachable, error.to_string()).hint("agentmux server start")
            }
            bootstrap::Error::Failed { .. } | bootstrap::Error::NotReady { .. } => {
                Self::new(Exit::Unreachable, Code::Unreachable, error.to_string()).hint("agentmux doctor")
            }
            bootstrap::Error::NoProgram(_) => Self::new(Exit::Unreachable, Code::Unreachable, error.to_string())
                .hint("unset AGENTMUX_COMMAND and AGENTMUX_RELAY_COMMAND, or name a program that exists"),
            bootstrap::Error::Paths(_)
            | bootstrap::Error::Lock(_)
            | bootstrap::Error::Spawn(_)
            | bootstrap::Error::Io(_) => Self::new(Exit::Failed, Code::Unavailable, with_causes(&error)),
        }
    }
}

pub(crate) fn failure(failure: &Failure, json: bool) -> ExitCode {
    let Rejection { code: _, message, hint, details } = &failure.rejection;
    if json {
        say(&json!({ "ok": false, "error": failure.rejection }).to_string());
    } else {
        eprintln!("agentmux: {}", plain(message));
        for list in ["candidates", "problems"] {
            let lines = details.as_ref().and_then(|details| details[list].as_array());
            for line in lines.into_iter().flatten().filter_map(|line| line.as_str()) {
                eprintln!("  {}", plain(line));
            }
        }
        if let Some(hint) = hint {
            eprintln!("hint: {}", plain(hint));
        }
    }
    ExitCode::from(failure.exit as u8)
}

/// What clap says: help and versions are answers, the rest is a mistake of the caller's.
pub(crate) fn usage(error: &clap::Error, json: bool) -> ExitCode {
    use clap::error::ErrorKind;
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            say(error.to_string().trim_end());
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand if !json => {
            eprint!("{error}");
            ExitCode::from(Exit::Usage as u8)
        }
        _ => failure(&misunderstood(error), json),
    }
}

/// The first sentence of what clap says, what it is about, and the help to read.
fn misunderstood(error: &clap::Error) -> Failure {
    let text = error.to_string();
    let mut lines = text.lines().map(str::trim).take_while(|line| !line.is_empty() && !line.starts_with("Usage:"));
    let first = lines.next().unwrap_or_default().trim_start_matches("error: ").trim_end_matches(':').to_owned();
    let about: Vec<_> = lines.filter(|line| !line.starts_with('[')).collect();
    let message = match error.kind() {
        clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "what to do is missing".to_owned(),
        _ if about.is_empty() => first,
        _ => format!("{first}: {}", about.join(", ")),
    };
    let tip = text.lines().find_map(|line| line.trim().strip_prefix("tip: "));
    let command = spoken(std::env::args().skip(1));
    let meant = match error.get(clap::error::ContextKind::SuggestedSubcommand) {
        Some(clap::error::ContextValue::Strings(names)) => names.first(),
        _ => None,
    };
    Failure::usage(message).hint(match (meant, tip) {
        (Some(meant), _) => format!("{command} {meant}"),
        (None, Some(tip)) => tip.to_owned(),
        (None, None) => format!("{command} --help"),
    })
}

/// The command that was meant, as far as it can be told: `agentmux team create`.
fn spoken(args: impl Iterator<Item = String>) -> String {
    let all = Cli::command();
    let mut command = &all;
    let mut words = vec!["agentmux"];
    for arg in args.take_while(|arg| arg != "--") {
        if let Some(found) = command.find_subcommand(&arg) {
            words.push(found.get_name());
            command = found;
        }
    }
    words.join(" ")
}

/// A line for whoever reads our output; that nobody does is no failure.
pub(crate) fn say(line: &str) -> bool {
    writeln!(std::io::stdout(), "{line}").is_ok()
}

pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
