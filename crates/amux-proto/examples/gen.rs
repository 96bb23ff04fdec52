//! Writes, or with `--check` compares, the files generated from the vocabulary. Run by `cargo xtask gen`.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let check = std::env::args().any(|arg| arg == "--check");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut stale = Vec::new();
    for (path, content) in amux_proto::schema::files() {
        let file = root.join(path);
        if std::fs::read_to_string(&file).is_ok_and(|now| now == content) {
            continue;
        }
        if check {
            stale.push(path);
            continue;
        }
        if let Some(dir) = file.parent() {
            std::fs::create_dir_all(dir).expect("the repository is writable");
        }
        std::fs::write(&file, content).expect("the repository is writable");
        println!("wrote {path}");
    }
    if stale.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("stale: {}\nhint: cargo xtask gen", stale.join(", "));
    ExitCode::FAILURE
}
