//! The one place where an error becomes words, a hint and an exit code.

use std::process::ExitCode;

use amux_client::{Error as ClientError, bootstrap};
use amux_proto::exit::Exit;
use amux_proto::{Code, Rejection};
use serde_json::json;

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
        println!("{}", json!({ "ok": false, "error": failure.rejection }));
    } else {
        eprintln!("agentmux: {}", plain(message));
        if let Some(candidates) = details.as_ref().and_then(|details| details["candidates"].as_array()) {
            let names: Vec<_> = candidates.iter().filter_map(|name| name.as_str()).map(plain).collect();
            eprintln!("  {}", names.join("\n  "));
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
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        print!("{error}");
        return ExitCode::SUCCESS;
    }
    if json {
        let text = error.to_string();
        let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        return failure(&Failure::usage(message), true);
    }
    eprint!("{error}");
    ExitCode::from(Exit::Usage as u8)
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
