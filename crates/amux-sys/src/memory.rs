//! Memory that was freed and that the allocator keeps.

use crate::os;

/// Gives whole pages that nothing uses back to the system. It walks the heap: some milliseconds for a large one.
pub fn give_back() {
    os::give_back();
}
