//! The desktop of whoever sits in front of this machine.

use std::ffi::OsString;

use crate::detach;
use crate::spawn::{Session, SpawnSpec, Stdio};

/// Opens an address in the person's browser. `false` where there is none to be seen by whoever asked: without a
/// display, and over SSH.
pub fn open(url: &str) -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_remote = is_set("SSH_CONNECTION") || is_set("SSH_TTY");
    let (program, has_display) = if cfg!(target_os = "macos") {
        ("open", true)
    } else {
        ("xdg-open", is_set("DISPLAY") || is_set("WAYLAND_DISPLAY"))
    };
    if is_remote || !has_display {
        return false;
    }
    let spec = SpawnSpec {
        program: program.into(),
        args: vec![OsString::from(url)],
        cwd: "/".into(),
        env: std::env::vars_os().collect(),
        stdio: Stdio::Null,
        session: Session::Own,
        pass_fds: Vec::new(),
        nofile: None,
    };
    detach::start(&spec).is_ok()
}
