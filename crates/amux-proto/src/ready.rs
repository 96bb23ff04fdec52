//! What the server and whoever started it say to each other beside the notification protocol: the lines on stderr
//! while it starts (one line each, prefix first, `key:value` words after it), and our own keys of that protocol.

use std::fmt;

/// On the notification socket: the server stops in order to be started again (`restart`).
pub const GOAL_KEY: &str = "X_AGENTMUX_GOAL";
/// On the notification socket: the server took note of the exit of an orphan, `<pid>:<start ticks>`.
pub const REAPED_KEY: &str = "X_AGENTMUX_REAPED";

/// What a starting server says to whoever started it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    Ready(Ready),
    Migrating { migrations: u32 },
    MigrationFailed { error: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    pub ws: String,
    pub web: String,
    pub version: String,
    pub buildtime: String,
    pub instance: String,
}

const READY: &str = "AGENTMUXSRV-ESTART";
const MIGRATING: &str = "AGENTMUXSRV-MIGRATING";
const MIGRATION_FAILED: &str = "AGENTMUXSRV-MIGRATION-FAILED";

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(Ready { ws, web, version, buildtime, instance }) => {
                write!(f, "{READY} ws:{ws} web:{web} version:{version} buildtime:{buildtime} instance:{instance}")
            }
            Self::Migrating { migrations } => write!(f, "{MIGRATING} migrations:{migrations}"),
            Self::MigrationFailed { error } => {
                write!(f, "{MIGRATION_FAILED} error:{}", error.replace(['\n', '\r'], " "))
            }
        }
    }
}

impl Line {
    /// `None` for a line that is only a log line. Unknown words are ignored.
    pub fn parse(line: &str) -> Option<Self> {
        let (prefix, rest) = line.trim_end().split_once(' ')?;
        let word = |key: &str| rest.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix(':'));
        match prefix {
            READY => Some(Self::Ready(Ready {
                ws: word("ws")?.to_owned(),
                web: word("web")?.to_owned(),
                version: word("version").unwrap_or_default().to_owned(),
                buildtime: word("buildtime").unwrap_or_default().to_owned(),
                instance: word("instance").unwrap_or_default().to_owned(),
            })),
            MIGRATING => Some(Self::Migrating { migrations: word("migrations")?.parse().ok()? }),
            MIGRATION_FAILED => Some(Self::MigrationFailed { error: rest.strip_prefix("error:")?.to_owned() }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for line in [
            Line::Ready(Ready {
                ws: "ws://127.0.0.1:1/v1/stream".into(),
                web: "http://127.0.0.1:1".into(),
                version: "0.1.0".into(),
                buildtime: "2026-01-01T00:00:00.000Z".into(),
                instance: "i".into(),
            }),
            Line::Migrating { migrations: 3 },
            Line::MigrationFailed { error: "no such table: x".into() },
        ] {
            assert_eq!(Line::parse(&line.to_string()), Some(line));
        }
        assert_eq!(Line::parse("INFO AGENTMUXSRV-ESTART"), None);
    }
}
