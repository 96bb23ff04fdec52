//! What is checked in is what the vocabulary says.

use std::path::Path;

#[test]
fn generated_files_are_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (path, expected) in amux_proto::schema::files() {
        let found = std::fs::read_to_string(root.join(path)).unwrap_or_default();
        assert!(found == expected, "{path} is stale; run `cargo xtask gen`");
    }
}
