//! Logs for the operator of this process: JSON by the day, a week of them, a pointer to the current one; and plain
//! lines on stderr. Domain events are the audit and are elsewhere.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

const KEEP_DAYS: usize = 7;
const PREFIX: &str = "srv";
const SUFFIX: &str = "jsonl";

/// Names the newest file, for `tail -F` and for people.
pub(crate) const POINTER: &str = "current";

/// `filter` is the value of `AGENTMUX_LOG`.
pub(crate) fn start(dir: &Path, filter: Option<&str>) -> Result<(), String> {
    let parse = |filter: &str| EnvFilter::try_new(filter).map_err(|error| error.to_string());
    let filter = parse(filter.unwrap_or("info"))?;
    let human = tracing_subscriber::fmt::layer().with_target(false).with_ansi(false).with_writer(std::io::stderr);
    let mut problem = String::new();
    let json = match file(dir) {
        Ok(writer) => Some(tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(writer).boxed()),
        Err(error) => {
            let _ = write!(problem, "no log file: {error}");
            None
        }
    };
    tracing_subscriber::registry().with(filter).with(human).with(json).try_init().map_err(|error| error.to_string())?;
    if problem.is_empty() { Ok(()) } else { Err(problem) }
}

fn file(dir: &Path) -> Result<BoxMakeWriter, String> {
    let appender = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix(PREFIX)
        .filename_suffix(SUFFIX)
        .max_log_files(KEEP_DAYS)
        .latest_symlink(POINTER)
        .build(dir)
        .map_err(|error| error.to_string())?;
    Ok(BoxMakeWriter::new(appender))
}

/// The file written now.
pub(crate) fn current(dir: &Path) -> PathBuf {
    dir.join(POINTER)
}
