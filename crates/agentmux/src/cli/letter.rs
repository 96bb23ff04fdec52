//! What is said, with the files that go along; and such a file on its way out again.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use amux_core::attachment::file_name;
use amux_proto::entity::Attachment;
use amux_proto::view::Stored;
use amux_proto::{BODY_BYTES_MAX, Code, Rejection};
use amux_sys::clock;
use serde_json::{Value, json};

use super::message::{Words, each};
use super::request::short;
use crate::context::Context;
use crate::output::word;
use crate::report::Failure;
use crate::text::plain;

#[derive(clap::Args)]
pub(crate) struct Letter {
    #[command(flatten)]
    words: Words,
    /// A file that goes along; may be said several times
    #[arg(long = "attach", value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Letter {
    pub(crate) fn is_without_words(&self) -> bool {
        self.words.is_missing()
    }

    /// What a message says and carries. What it carries is with the server then.
    pub(crate) fn bring(&self, context: &Context) -> Result<(String, Vec<Attachment>), Failure> {
        // Which files, where nothing else is said.
        let text = match self.is_without_words() && !self.files.is_empty() {
            true => None,
            false => Some(self.words.body()?),
        };
        self.bring_with(context, text)
    }

    pub(crate) fn bring_with(
        &self,
        context: &Context,
        text: Option<String>,
    ) -> Result<(String, Vec<Attachment>), Failure> {
        // Before the first of them is brought.
        let files: Vec<_> =
            self.files.iter().map(|path| opened(path).map(|file| (name_of(path), file))).collect::<Result<_, _>>()?;
        let mut attachments = Vec::new();
        for (name, mut file) in files {
            attachments.push(brought(context, name, &mut file)?);
        }
        let Some(text) = text else {
            let names: Vec<_> = attachments.iter().map(|attachment| attachment.name.as_str()).collect();
            return Ok((format!("attached: {}", names.join(", ")), attachments));
        };
        if text.len() <= BODY_BYTES_MAX {
            return Ok((text, attachments));
        }
        let name = self.words.file().map_or_else(|| "message.txt".to_owned(), name_of);
        let short = beginning(&text, &name);
        if !context.out.is_quiet() && !context.out.is_json() {
            let max = BODY_BYTES_MAX / 1024;
            eprintln!(
                "agentmux: a text has at most {max} KiB: its beginning is sent, and all of it attached as {name}"
            );
        }
        attachments.push(brought(context, name, &mut io::Cursor::new(text))?);
        Ok((short, attachments))
    }
}

/// Enough of a long text to know what it is about.
fn beginning(text: &str, name: &str) -> String {
    const LINES: usize = 20;
    const CHARS: usize = 2_000;
    let lines: Vec<&str> = text.lines().take(LINES).collect();
    let cut: String = lines.join("\n").chars().take(CHARS).collect();
    format!("{}\n… all {} bytes of this are attached: {name}", cut.trim_end(), text.len())
}

fn brought(context: &Context, name: String, from: &mut (impl Read + Seek)) -> Result<Attachment, Failure> {
    let Stored { bytes, digest } = context.upload(from).map_err(|mut failure| {
        failure.rejection.message = format!("{}: {name}", failure.rejection.message);
        failure
    })?;
    Ok(Attachment { name, bytes, digest })
}

fn name_of(path: impl AsRef<Path>) -> String {
    file_name(&path.as_ref().file_name().unwrap_or_default().to_string_lossy())
}

fn opened(path: &Path) -> Result<File, Failure> {
    let unreadable = |why: String| Failure::failed(format!("the file cannot be read: {}: {why}", path.display()));
    // A pipe or a device has no end that one could wait for.
    let meta = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
    if !meta.is_file() {
        return Err(unreadable("it is no ordinary file".to_owned()));
    }
    File::open(path).map_err(|error| unreadable(error.to_string()))
}

/// A file that an agent names to its tools.
pub(crate) fn opened_with_name(path: &str) -> Result<(String, File), Rejection> {
    let file = opened(Path::new(path)).map_err(|failure| Rejection::new(Code::BadArgs, failure.rejection.message))?;
    Ok((name_of(path), file))
}

/// What is attached to a message, for a person.
pub(super) fn lines(message: &Value) -> impl Iterator<Item = String> {
    let id = short(&message["id"]);
    each(&message["attachments"]).map(move |file| {
        let name = word(&file["name"]);
        plain(&format!("  attached: {name}, {} bytes; agentmux msg save {id} {}", file["bytes"], shell_word(&name)))
    })
}

/// As a shell would have it.
fn shell_word(name: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "._-+,=@%".contains(c);
    if name.chars().all(is_plain) && !name.starts_with('-') {
        return name.to_owned();
    }
    format!("'{}'", name.replace('\'', "'\\''"))
}

#[derive(clap::Args)]
pub(crate) struct Save {
    #[arg(value_name = "ID")]
    message: String,
    /// Which, where several are attached
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// A file or a directory; by default a file of that name here
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Whatever is there is replaced
    #[arg(long)]
    force: bool,
}

impl Save {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        let message = context.ask("message", &json!({ "message": self.message }))?;
        let id = word(&message["id"]);
        let name = match (&self.name, &each(&message["attachments"]).collect::<Vec<_>>()[..]) {
            (Some(name), _) => name.clone(),
            (None, [only]) => word(&only["name"]),
            (None, []) => {
                let what = format!("nothing is attached to it: {}", short(&message["id"]));
                return Err(Rejection::new(Code::NotFound, what).into());
            }
            (None, several) => {
                let names: Vec<_> = several.iter().map(|file| word(&file["name"])).collect();
                let what = format!("several files are attached to it: {}", plain(&names.join(", ")));
                let rejection = Rejection::new(Code::Ambiguous, what).details(json!({ "names": names }));
                return Err(rejection.hint(format!("agentmux msg save {} NAME", short(&message["id"]))).into());
            }
        };
        // Whatever a server of whatever build lets through: it is a name and no path.
        let own = file_name(&name);
        let path = match &self.output {
            Some(dir) if dir.is_dir() => dir.join(own),
            Some(file) => file.clone(),
            None => PathBuf::from(own),
        };
        if !self.force && path.symlink_metadata().is_ok() {
            return Err(taken(&path));
        }
        let new = New::beside(&path).map_err(|error| unwritten(&path, &error))?;
        let saved = context.download(&id, &name, &new.file)?;
        new.name(&path, self.force).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => taken(&path),
            _ => unwritten(&path, &error),
        })?;
        let data = json!({ "id": id, "attachment": saved, "path": path });
        Ok(context.out.done(&data, || format!("{}, {} bytes", plain(&path.display().to_string()), saved["bytes"])))
    }
}

fn taken(path: &Path) -> Failure {
    let what = format!("there is something already: {}", path.display());
    Failure::from(Rejection::new(Code::Exists, what).hint("-o PATH for another place, --force to replace it"))
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("the file cannot be written: {}: {error}", path.display()))
}

/// A file that has no name of its own until it is whole.
struct New {
    file: File,
    path: PathBuf,
}

impl New {
    fn beside(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(ErrorKind::InvalidInput)?.to_string_lossy();
        let cut: String = name.chars().take(32).collect();
        let path = path.with_file_name(format!(".{cut}.{:016x}", u64::from_le_bytes(clock::random_bytes::<8>())));
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        Ok(Self { file, path })
    }

    fn name(self, path: &Path, force: bool) -> io::Result<()> {
        self.file.sync_all()?;
        if force {
            return std::fs::rename(&self.path, path);
        }
        match std::fs::hard_link(&self.path, path) {
            // Not every file system has links; nothing was there a moment ago.
            Err(error) if error.kind() != ErrorKind::AlreadyExists && path.symlink_metadata().is_err() => {
                std::fs::rename(&self.path, path)
            }
            linked => linked,
        }
    }
}

impl Drop for New {
    fn drop(&mut self) {
        // It has another name, or shall have none.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_says_what_it_is_and_where_the_rest_is() {
        let short = beginning(&"line\n".repeat(100_000), "log.txt");
        assert_eq!(short.lines().count(), 21);
        assert!(short.ends_with("line\n… all 500000 bytes of this are attached: log.txt"), "{short}");
        assert!(beginning(&"é".repeat(1_000_000), "x").chars().count() < 2_100);
    }

    #[test]
    fn a_name_in_a_hint_is_one_word() {
        for (name, word) in [("a.txt", "a.txt"), ("a b", "'a b'"), ("-rf", "'-rf'"), ("it's", "'it'\\''s'")] {
            assert_eq!(shell_word(name), word);
        }
    }
}
