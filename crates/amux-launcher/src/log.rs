//! Files of lines that never grow beyond twice their bound: one rotation, and what the files cannot take is lost
//! rather than waited for. Supervision goes on with a full disk.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    bytes_max: u64,
    open: Option<(File, u64)>,
}

impl Log {
    pub(crate) fn new(path: PathBuf, bytes_max: u64) -> Self {
        Self { path, bytes_max, open: None }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn write(&mut self, line: &str) {
        let length = line.len() as u64 + 1;
        if self.open.as_ref().is_some_and(|(_, size)| *size > 0 && size + length > self.bytes_max) {
            self.open = None;
            let mut old = self.path.clone().into_os_string();
            old.push(".1");
            if std::fs::rename(&self.path, old).is_err() {
                let _ = std::fs::remove_file(&self.path);
            }
        }
        if self.open.is_none() {
            let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path);
            self.open = file.ok().map(|file| {
                let size = file.metadata().map_or(0, |meta| meta.len());
                (file, size)
            });
        }
        let Some((file, size)) = &mut self.open else { return };
        // One write a line: two writers, or a reader, never see halves.
        if file.write_all(format!("{line}\n").as_bytes()).is_ok() {
            *size += length;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_bounded_and_keeps_the_newest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        for round in 0..2 {
            // Opened again, it goes on where it was.
            let mut log = Log::new(path.clone(), 1_000);
            for n in 0..500 {
                log.write(&format!("round {round} line {n:04}"));
            }
        }
        let now = std::fs::read_to_string(&path).unwrap();
        let old = std::fs::read_to_string(dir.path().join("log.1")).unwrap();
        assert!(now.len() <= 1_000 && old.len() <= 1_000);
        assert!(format!("{old}{now}").ends_with("round 1 line 0498\nround 1 line 0499\n"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_log_that_cannot_be_written_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::new(dir.path().join("absent/log"), 1_000);
        log.write("lost");
        std::fs::create_dir(dir.path().join("absent")).unwrap();
        log.write("kept");
        assert_eq!(std::fs::read_to_string(log.path()).unwrap(), "kept\n");
    }
}
