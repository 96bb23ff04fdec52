//! Secrets that arrive by environment leave it at once.

/// Takes a variable out of the environment.
///
/// # Safety
/// To be called while the process has one thread: changing the environment under a reader is undefined.
pub unsafe fn take_env(name: &str) -> Option<String> {
    let value = std::env::var(name).ok();
    if let Ok(c_name) = std::ffi::CString::new(name) {
        // SAFETY: getenv's result points into the environment block this process was started with. Overwriting the
        // value in place is what removes it from /proc/<pid>/environ; with one thread nobody reads it meanwhile.
        unsafe {
            let found = libc::getenv(c_name.as_ptr());
            if !found.is_null() {
                std::ptr::write_bytes(found, b'x', libc::strlen(found));
            }
        }
    }
    // SAFETY: the caller promises that there is one thread.
    unsafe { std::env::remove_var(name) };
    value
}
