//! Puts the web interface into the program, if it was built: `web/dist` becomes a table of paths and bytes. Without it
//! the table is empty, and the server says so to whoever asks.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

fn main() {
    // Asked when it runs: a target directory that was copied holds the program of another checkout.
    let web = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo says where")).join("../../web/dist");
    println!("cargo::rerun-if-changed=build.rs");
    let mut files = Vec::new();
    // A path that is not there would count as changed in every build; `cargo xtask web` touches this file instead.
    if web.is_dir() {
        println!("cargo::rerun-if-changed={}", web.display());
        find(&web, &mut files);
    }
    files.sort();
    let mut table = String::from("pub(super) const FILES: &[File] = &[\n");
    for file in files.iter().filter(|file| !is_packed(file)) {
        let Ok(path) = file.strip_prefix(&web) else { continue };
        let bytes = std::fs::read(file).expect("a file of the web interface can be read");
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let beside = |extension: &str| {
            let mut name = file.clone().into_os_string();
            name.push(extension);
            match PathBuf::from(name) {
                packed if packed.is_file() => format!("Some(include_bytes!({packed:?}))"),
                _ => "None".to_owned(),
            }
        };
        let _ = writeln!(
            table,
            "    File {{ path: {:?}, etag: \"\\\"{:016x}\\\"\", plain: include_bytes!({file:?}), br: {}, gz: {} }},",
            format!("/{}", path.display()),
            hasher.finish(),
            beside(".br"),
            beside(".gz"),
        );
    }
    table.push_str("];\n");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo says where")).join("web.rs");
    std::fs::write(out, table).expect("cargo's directory is writable");
}

fn find(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => find(&path, files),
            path => files.push(path),
        }
    }
}

fn is_packed(file: &Path) -> bool {
    let extension = file.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("br" | "gz")) && file.with_extension("").is_file()
}
