//! Power loss without pulling a plug: a small library in front of the C library keeps what each file of the store
//! held when it was last synced; after a kill those copies replace the files, and everything written since is gone.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::server::Home;

pub struct Shim {
    library: PathBuf,
    durable: PathBuf,
}

impl Shim {
    /// Needs a C compiler, which building the store needed too.
    pub fn build(dir: &Path) -> io::Result<Self> {
        let (source, library, durable) = (dir.join("powerloss.c"), dir.join("powerloss.so"), dir.join("durable"));
        std::fs::create_dir_all(&durable)?;
        std::fs::write(&source, include_str!("powerloss.c"))?;
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(&source)
            .arg("-ldl")
            .status()?;
        if built.success() { Ok(Self { library, durable }) } else { Err(io::Error::other("cc failed")) }
    }

    /// The environment a server is started with.
    pub fn environment(&self) -> Vec<(String, String)> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        vec![("LD_PRELOAD".into(), text(&self.library)), ("POWERLOSS_DIR".into(), text(&self.durable))]
    }

    /// The disk after the lights went out. The server is dead.
    pub fn lose_power(&self, home: &Home) -> io::Result<()> {
        for name in ["agentmux.db", "agentmux.db-wal", "agentmux.db-shm"] {
            let (file, kept) = (home.state().join(name), self.durable.join(name));
            if kept.exists() {
                // Written through, so that the inode, and with it the epoch, stays: it is the same disk.
                std::fs::write(&file, std::fs::read(&kept)?)?;
            } else if file.exists() {
                std::fs::remove_file(&file)?;
            }
        }
        Ok(())
    }
}
