//! Logs for the operator of this process: JSON by the day, as many days as the settings say, a pointer to the current
//! one; and plain lines on stderr. Domain events are the audit and are elsewhere.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

const PREFIX: &str = "srv";
const SUFFIX: &str = "jsonl";

/// Names the newest file, for `tail -F` and for people.
pub(crate) const POINTER: &str = "current";

/// `filter` is the value of `AGENTMUX_LOG`.
pub(crate) fn start(dir: &Path, filter: Option<&str>) -> Result<(), String> {
    let parse = |filter: &str| EnvFilter::try_new(filter).map_err(|error| error.to_string());
    // What is said by whoever speaks MCP is not the operator's to act on.
    let filter = parse(filter.unwrap_or("info,rmcp=error"))?;
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
        .latest_symlink(POINTER)
        .build(dir)
        .map_err(|error| error.to_string())?;
    Ok(BoxMakeWriter::new(appender))
}

/// Removes what is older than so many days.
pub(crate) fn prune(dir: &Path, keep_days: u64) -> std::io::Result<()> {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let keep = DAY.saturating_mul(u32::try_from(keep_days).unwrap_or(u32::MAX));
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_ours = name.starts_with(&format!("{PREFIX}.")) && name.ends_with(&format!(".{SUFFIX}"));
        if is_ours && entry.metadata()?.modified()?.elapsed().is_ok_and(|age| age > keep) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// The file written now.
pub(crate) fn current(dir: &Path) -> PathBuf {
    dir.join(POINTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_old_files_are_removed() {
        let dir = std::env::temp_dir().join(format!("amux-logs-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let old = std::time::SystemTime::now() - Duration::from_secs(8 * 24 * 60 * 60);
        for (name, age) in
            [("srv.2020-01-01.jsonl", Some(old)), ("srv.2020-01-02.jsonl", None), ("exits.jsonl", Some(old))]
        {
            let file = std::fs::File::create(dir.join(name)).unwrap();
            age.into_iter().for_each(|age| file.set_modified(age).unwrap());
        }
        prune(&dir, 7).unwrap();
        let mut left: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["exits.jsonl", "srv.2020-01-02.jsonl"]);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
