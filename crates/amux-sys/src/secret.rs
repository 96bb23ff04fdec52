//! Secrets that arrive by environment leave it at once.

use crate::os;

/// Takes a variable out of the environment, and overwrites its value where the process was given it, so that
/// `/proc/PID/environ` does not show it any more. A value that is not UTF-8 goes as well and is answered by `None`.
///
/// # Panics
/// If other threads have been started: the environment of a process is not protected against them.
pub fn take_env(name: &str) -> Option<String> {
    assert!(os::is_single_threaded(), "secrets are taken before threads are started");
    let value = std::env::var_os(name)?;
    let key = std::ffi::CString::new(name).ok()?;
    // SAFETY: there is one thread, so nobody changes the environment meanwhile; what getenv gives is NUL-terminated
    // writable memory of ours.
    unsafe {
        let held = libc::getenv(key.as_ptr());
        if !held.is_null() {
            held.write_bytes(b'x', libc::strlen(held));
        }
    }
    // SAFETY: there is one thread.
    unsafe { std::env::remove_var(name) };
    value.into_string().ok()
}
