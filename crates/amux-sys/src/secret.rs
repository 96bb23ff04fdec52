//! Secrets that arrive by environment leave it at once.

/// Takes a variable out of the environment, and out of what `/proc` shows of it.
///
/// # Panics
/// When the process has more than one thread: the environment must not change under a reader.
pub fn take_env(name: &str) -> Option<String> {
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, |tasks| tasks.count());
    assert_eq!(threads, 1, "a secret is taken before any thread is started");
    let value = std::env::var(name).ok();
    if let Ok(c_name) = std::ffi::CString::new(name) {
        // SAFETY: getenv's result points into the environment block this process was started with; with one thread
        // nobody reads it while it is overwritten in place, which is what removes it from /proc/<pid>/environ.
        unsafe {
            let found = libc::getenv(c_name.as_ptr());
            if !found.is_null() {
                std::ptr::write_bytes(found, b'x', libc::strlen(found));
            }
        }
    }
    // SAFETY: there is one thread, as asserted above.
    unsafe { std::env::remove_var(name) };
    value
}
