//! Starting a program that is to outlive us and is no child of ours: a client starts the launcher so. It is in nobody's
//! tree, so stopping the agent in which somebody typed the command does not stop the server, and nobody has to reap it.

use std::os::fd::OwnedFd;

use crate::process::{self, ProcessId};
use crate::spawn::{self, Error, SpawnSpec};

/// A program on its own. Its exit status is not ours to know; that it ended is.
#[derive(Debug)]
pub struct Detached {
    pub id: ProcessId,
    /// Readable when it has ended.
    pub pidfd: Option<OwnedFd>,
}

impl Detached {
    pub fn has_ended(&self) -> bool {
        !process::alive(&self.id)
    }
}

/// Starts it in a session of its own, whatever `spec.session` says, as a child of init or of the nearest subreaper.
/// When this returns `Ok` it has been executed. Only `Stdio` variants that leave nothing with us make sense:
/// `Null`, `LogFile`, `Inherit`; of others our side is closed.
pub fn start(spec: &SpawnSpec) -> Result<Detached, Error> {
    let started = spawn::start(spec, spawn::Kin::Stranger, None)?;
    Ok(Detached { id: started.id, pidfd: started.pidfd })
}
