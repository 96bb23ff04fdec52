//! Where an agent finds what a message carries: a link with the name its sender gave it, to the one file that holds it.

use std::fs::DirBuilder;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use amux_proto::entity::Attachment;

/// `root/mail/<short id>/<name>`, made when it is not there. The same each time it is asked for, so that an agent that
/// is given a message again is told the same.
pub(crate) fn path(root: &Path, message: &str, attachment: &Attachment) -> PathBuf {
    let content = root.join(attachment.digest.as_str());
    let path = root.join("mail").join(message).join(&attachment.name);
    match link(&content, &path) {
        Ok(()) => path,
        // Without its name, but all of it.
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "An attachment is handed over without its name.");
            content
        }
    }
}

fn link(content: &Path, path: &Path) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    match std::fs::hard_link(content, path) {
        // By us, earlier; or another message has the same short id.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && is_same(content, path)? => Ok(()),
        linked => linked,
    }
}

fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    let (one, other) = (std::fs::symlink_metadata(one)?, std::fs::symlink_metadata(other)?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

#[cfg(test)]
mod tests {
    use amux_proto::Digest;

    use super::*;

    #[test]
    fn a_file_has_its_name_and_what_is_there_already_is_not_taken_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let attachment = |byte: u8| {
            let attachment = Attachment { name: "a b.txt".into(), bytes: 1, digest: Digest::of([byte; 32]) };
            std::fs::write(dir.path().join(attachment.digest.as_str()), [byte]).unwrap();
            attachment
        };
        let (one, other) = (attachment(1), attachment(2));
        let named = dir.path().join("mail/abcd1234/a b.txt");
        assert_eq!(path(dir.path(), "abcd1234", &one), named);
        assert_eq!(path(dir.path(), "abcd1234", &one), named);
        assert_eq!(path(dir.path(), "abcd1234", &other), dir.path().join(other.digest.as_str()));
        assert_eq!(std::fs::read(named).unwrap(), [1]);
    }
}
