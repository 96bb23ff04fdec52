//! What attachments hold, on the disk: each content once, under its digest, whole and durable before a message can name
//! it. Who may have one is the policy's to say; this module knows only who brought what.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use amux_engine::ask;
use amux_proto::command::message;
use amux_proto::entity::{Attachment, Message};
use amux_proto::query::{self, act};
use amux_proto::view::{AttachmentPart, Stored};
use amux_proto::{AgentId, Code, Command, Digest, PART_BYTES_MAX, Principal, Rejection};
use amux_sys::{clock, disk};
use axum::body::{Body, Bytes};
use axum::extract::{Extension, Path as Named, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::{StreamExt as _, stream};
use serde_json::json;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex as AsyncMutex;

use crate::acts::Answer;
use crate::daemon::Daemon;
use crate::http::answered;

/// What no message names is kept for so long: whoever brings a file sends it at once, and a script that was stopped may
/// go on tomorrow.
const UNNAMED_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// What one agent can bring without sending it: a few messages full.
const UNSENT_MAX: usize = 32;

/// Where they are. Beside the contents: `by/` with who brought what, `kept/` and `mail/` with links that keep one.
pub(crate) struct Attachments {
    dir: PathBuf,
    /// Held while it is looked whether something is there to be named, and while what nobody names is removed.
    looking: Mutex<()>,
}

/// A file on its way. What is dropped before it is whole was never there.
pub(crate) struct Upload {
    file: File,
    temporary: PathBuf,
    hash: Sha256,
    bytes: u64,
}

impl Drop for Upload {
    fn drop(&mut self) {
        // It has its name, or shall have none.
        let _ = std::fs::remove_file(&self.temporary);
    }
}

impl Upload {
    fn write(&mut self, part: &[u8]) -> io::Result<()> {
        self.file.write_all(part)?;
        self.hash.update(part);
        self.bytes += part.len() as u64;
        Ok(())
    }
}

const COMING: &str = ".coming.";

impl Attachments {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir, looking: Mutex::default() }
    }

    fn begin(&self) -> io::Result<Upload> {
        make_dir(&self.dir)?;
        let name = format!("{COMING}{:016x}", u64::from_le_bytes(clock::random_bytes::<8>()));
        let temporary = self.dir.join(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        Ok(Upload { file, temporary, hash: Sha256::new(), bytes: 0 })
    }

    /// Whole, under its digest, whatever happens to the machine from here on.
    fn finish(&self, upload: &Upload, by: Option<AgentId>) -> io::Result<Stored> {
        let digest = Digest::of(upload.hash.clone().finalize().into());
        let path = self.content(&digest);
        // Links to it are handed to agents: what is changed through one of them is changed for all.
        upload.file.set_permissions(Permissions::from_mode(0o400))?;
        upload.file.sync_all()?;
        {
            let _looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
            let is_there = std::fs::metadata(&path).is_ok_and(|meta| meta.len() == upload.bytes);
            if is_there { stay(&path)? } else { std::fs::rename(&upload.temporary, &path)? }
        }
        disk::fsync_dir(&self.dir)?;
        if let Some(agent) = by {
            let dir = self.brought(agent);
            make_dir(&dir)?;
            let mark = dir.join(digest.as_str());
            OpenOptions::new().create(true).append(true).mode(0o600).open(&mark)?.set_modified(SystemTime::now())?;
            disk::fsync_dir(&dir)?;
        }
        Ok(Stored { bytes: upload.bytes, digest })
    }

    /// Whether it is there to be named; from then on it stays for long enough that a message can do so.
    fn is_there(&self, digest: &Digest, bytes: u64) -> io::Result<bool> {
        let _looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.content(digest);
        match std::fs::metadata(&path) {
            Ok(meta) if meta.len() == bytes => stay(&path).map(|()| true),
            Ok(_) => Ok(false),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn has_brought(&self, agent: AgentId, digest: &Digest) -> bool {
        self.brought(agent).join(digest.as_str()).exists()
    }

    /// What an agent has brought and not sent.
    fn unsent(&self, agent: AgentId, is_sent: impl Fn(&Digest) -> bool) -> io::Result<usize> {
        let mut count = 0;
        for entry in entries(&self.brought(agent))? {
            let digest = entry.file_name().to_str().and_then(|name| Digest::new(name).ok());
            if digest.is_some_and(|digest| is_sent(&digest)) {
                std::fs::remove_file(entry.path())?;
            } else {
                count += 1;
            }
        }
        Ok(count)
    }

    /// Removes what no message names and nobody has come back to for a day.
    pub(crate) fn prune(&self, named: impl FnOnce() -> BTreeSet<Digest>, now: SystemTime) -> io::Result<()> {
        let _looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        let named = named();
        let is_old = |meta: &std::fs::Metadata| {
            let age = meta.modified().ok().and_then(|at| now.duration_since(at).ok());
            age.is_some_and(|age| age >= UNNAMED_KEPT)
        };
        for entry in entries(&self.dir)? {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let meta = entry.metadata()?;
            let Ok(digest) = Digest::new(&name) else {
                if name.starts_with(COMING) && is_old(&meta) {
                    std::fs::remove_file(entry.path())?;
                }
                continue;
            };
            // A second link says that a message has named it: that holds wherever the message itself is kept later.
            if meta.nlink() > 1 {
                continue;
            }
            if named.contains(&digest) {
                let kept = self.dir.join("kept");
                make_dir(&kept)?;
                std::fs::hard_link(entry.path(), kept.join(digest.as_str()))?;
            } else if is_old(&meta) {
                std::fs::remove_file(entry.path())?;
            }
        }
        for agent in entries(&self.dir.join("by"))? {
            for mark in entries(&agent.path())?.filter(|mark| mark.metadata().is_ok_and(|meta| is_old(&meta))) {
                std::fs::remove_file(mark.path())?;
            }
        }
        Ok(())
    }

    fn content(&self, digest: &Digest) -> PathBuf {
        self.dir.join(digest.as_str())
    }

    fn brought(&self, agent: AgentId) -> PathBuf {
        self.dir.join("by").join(agent.to_string())
    }
}

fn make_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Of a directory that may not be there.
fn entries(dir: &Path) -> io::Result<impl Iterator<Item = std::fs::DirEntry>> {
    let read = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        read => Some(read?),
    };
    Ok(read.into_iter().flatten().filter_map(Result::ok))
}

/// Its time begins again.
fn stay(path: &Path) -> io::Result<()> {
    File::open(path)?.set_modified(SystemTime::now())
}

/// The file that one connection brings; one at a time.
pub(crate) type Coming = Arc<AsyncMutex<Option<Upload>>>;

/// A part of a file over a connection.
pub(crate) async fn put(daemon: Arc<Daemon>, principal: Principal, coming: Coming, part: act::Put) -> Answer {
    let published = daemon.engine.published();
    published.may_use(&principal, "attachment.put")?;
    let head = published.read(|_, head| head);
    let mut coming = coming.lock_owned().await;
    let answer = blocking(move || {
        let answer = take(&daemon, &principal, &mut coming, &part);
        if answer.is_err() {
            *coming = None;
        }
        answer
    })
    .await?;
    Ok((answer, head))
}

fn take(
    daemon: &Daemon,
    principal: &Principal,
    coming: &mut Option<Upload>,
    part: &act::Put,
) -> Result<Box<RawValue>, Rejection> {
    let bad = |why: String| Rejection::new(Code::BadArgs, why);
    let bytes = BASE64.decode(&part.data).map_err(|error| bad(format!("the data is no base64: {error}")))?;
    if part.offset == 0 {
        *coming = Some(begin(daemon, principal)?);
    }
    let Some(upload) = coming.as_mut().filter(|upload| upload.bytes == part.offset) else {
        let at = coming.as_ref().map_or(0, |upload| upload.bytes);
        let message = format!("this is not the next part of the file: {} is wanted, not {}", at, part.offset);
        return Err(Rejection::new(Code::Conflict, message).hint("begin again at 0"));
    };
    write(daemon, upload, &bytes)?;
    if !part.last {
        return ask::raw(&json!({ "next": upload.bytes }));
    }
    let stored = finish(daemon, principal, upload)?;
    *coming = None;
    ask::raw(&stored)
}

fn begin(daemon: &Daemon, principal: &Principal) -> Result<Upload, Rejection> {
    if let Principal::Agent { agent, .. } = principal {
        let published = daemon.engine.published();
        let is_sent = |digest: &Digest| published.held_attachment(principal, &[], digest).is_some();
        if daemon.attachments.unsent(*agent, is_sent).map_err(unkept)? >= UNSENT_MAX {
            let message = format!("an agent brings at most {UNSENT_MAX} files that it does not send");
            return Err(Rejection::new(Code::Limit, message));
        }
    }
    daemon.attachments.begin().map_err(unkept)
}

fn write(daemon: &Daemon, upload: &mut Upload, part: &[u8]) -> Result<(), Rejection> {
    daemon.engine.published().check_attachment_size(upload.bytes + part.len() as u64)?;
    upload.write(part).map_err(unkept)
}

fn finish(daemon: &Daemon, principal: &Principal, upload: &Upload) -> Result<Stored, Rejection> {
    let by = match principal {
        Principal::Agent { agent, .. } => Some(*agent),
        Principal::Operator | Principal::Peer(_) | Principal::System => None,
    };
    daemon.attachments.finish(upload, by).map_err(unkept)
}

fn unkept(error: io::Error) -> Rejection {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            Rejection::new(Code::ReadOnly, "the disk is full: the attachment is not kept").hint("free some space")
        }
        _ => Rejection::new(Code::Unavailable, format!("the attachment cannot be kept: {error}")),
    }
}

/// What a message names is here, and is its sender's to send: it brought it, or has it from a message of its own.
/// Knowing a digest is no right to what is behind it.
pub(crate) fn check(daemon: &Daemon, principal: &Principal, command: &Command) -> Result<(), Rejection> {
    let Command::Message(message::Command::Send(send)) = command else { return Ok(()) };
    for attachment in &send.attachments {
        let digest = &attachment.digest;
        let may_name = match principal {
            Principal::Agent { agent, .. } => {
                daemon.attachments.has_brought(*agent, digest)
                    || daemon.engine.published().held_attachment(principal, &[], digest).is_some()
            }
            Principal::Operator | Principal::Peer(_) | Principal::System => true,
        };
        if !may_name || !daemon.attachments.is_there(digest, attachment.bytes).map_err(unkept)? {
            let shown: String = attachment.name.chars().filter(|c| !c.is_control()).take(100).collect();
            let message = format!("nobody has brought what this attachment is to hold: {shown}");
            return Err(Rejection::new(Code::NotFound, message).hint("agentmux send --attach FILE"));
        }
    }
    Ok(())
}

/// A part of what is attached to a message.
pub(crate) async fn part(
    daemon: &Daemon,
    principal: &Principal,
    old: &[Message],
    asked: &query::Attachment,
) -> Result<AttachmentPart, Rejection> {
    let attachment = daemon.engine.published().attachment(principal, old, &asked.message, asked.name.as_deref())?;
    let (path, offset) = (daemon.attachments.content(&attachment.digest), asked.offset);
    let bytes = blocking(move || read(&File::open(path).map_err(unread)?, offset)).await?;
    let next = offset + bytes.len() as u64;
    Ok(AttachmentPart { attachment, data: BASE64.encode(bytes), next })
}

/// As much as there is from here on, and at most a part.
fn read(file: &File, offset: u64) -> Result<Vec<u8>, Rejection> {
    let mut bytes = vec![0; PART_BYTES_MAX];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(unread(error)),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

fn unread(error: io::Error) -> Rejection {
    Rejection::new(Code::Unavailable, format!("what is attached cannot be read: {error}")).hint("agentmux doctor")
}

/// A whole file over HTTP.
pub(crate) async fn post(
    State(daemon): State<Arc<Daemon>>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let head = daemon.engine.published().read(|_, head| head);
    let stored = receive(&daemon, &principal, &headers, body).await;
    answered(stored.and_then(|stored| Ok((ask::raw(&stored)?, head))))
}

async fn receive(
    daemon: &Arc<Daemon>,
    principal: &Principal,
    headers: &HeaderMap,
    body: Body,
) -> Result<Stored, Rejection> {
    let published = daemon.engine.published();
    published.may_use(principal, "attachment.put")?;
    if daemon.asked.borrow().is_some() {
        return Err(Rejection::new(Code::Unavailable, "the server is ending"));
    }
    let said = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    published.check_attachment_size(said.unwrap_or(0))?;
    let (of, by) = (Arc::clone(daemon), principal.clone());
    let mut upload = blocking(move || begin(&of, &by)).await?;
    let mut parts = body.into_data_stream();
    let mut is_more = true;
    while is_more {
        let mut part = Vec::new();
        while part.len() < PART_BYTES_MAX {
            let Some(next) = parts.next().await else {
                is_more = false;
                break;
            };
            let next: Bytes = next
                .map_err(|error| Rejection::new(Code::BadArgs, format!("the file did not come to its end: {error}")))?;
            part.extend_from_slice(&next);
        }
        let of = Arc::clone(daemon);
        upload = blocking(move || write(&of, &mut upload, &part).map(|()| upload)).await?;
    }
    let (of, by) = (Arc::clone(daemon), principal.clone());
    blocking(move || finish(&of, &by, &upload)).await
}

/// What a message of whoever asks holds. To a browser it is bytes to be saved, whatever they would mean to it.
pub(crate) async fn get(
    State(daemon): State<Arc<Daemon>>,
    Extension(principal): Extension<Principal>,
    Named(digest): Named<String>,
) -> Response {
    let published = daemon.engine.published();
    if let Err(refusal) = published.may_use(&principal, "attachment") {
        return answered(Err(refusal));
    }
    let Ok(digest) = Digest::new(&digest) else {
        return answered(Err(Rejection::new(Code::NotFound, "no such attachment")));
    };
    let attachment = match published.held_attachment(&principal, &[], &digest) {
        Some(attachment) => Ok(attachment),
        None => held_by_old_mail(&daemon, &principal, digest).await,
    };
    let attachment = match attachment {
        Ok(attachment) => attachment,
        Err(refusal) => return answered(Err(refusal)),
    };
    let path = daemon.attachments.content(&attachment.digest);
    let file = match blocking(move || File::open(path).map_err(unread)).await {
        Ok(file) => Arc::new(file),
        Err(refusal) => return answered(Err(refusal)),
    };
    let body = stream::try_unfold((file, 0), |(file, offset)| async move {
        let of = Arc::clone(&file);
        let part = blocking(move || read(&of, offset)).await.map_err(io::Error::other)?;
        let next = offset + part.len() as u64;
        Ok::<_, io::Error>((!part.is_empty()).then(|| (Bytes::from(part), (file, next))))
    });
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, attachment.bytes.to_string()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename*=UTF-8''{}", percent(&attachment.name))),
    ];
    (headers, Body::from_stream(body)).into_response()
}

async fn held_by_old_mail(daemon: &Daemon, principal: &Principal, digest: Digest) -> Result<Attachment, Rejection> {
    let feed = daemon.engine.feed().clone();
    let of = digest.clone();
    let old = blocking(move || feed.old_mail_with(&of).map_err(|error| unread(io::Error::other(error)))).await?;
    let held = daemon.engine.published().held_attachment(principal, &old, &digest);
    held.ok_or_else(|| Rejection::new(Code::NotFound, "no such attachment"))
}

/// Everything but what no header and no path gives a meaning to.
fn percent(name: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    name.bytes().map(one).collect()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Rejection> + Send + 'static,
) -> Result<T, Rejection> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Rejection::new(Code::Internal, error.to_string()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Shelf {
        dir: tempfile::TempDir,
        of: Attachments,
    }

    impl Shelf {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let of = Attachments::new(dir.path().join("attachments"));
            Self { dir, of }
        }

        fn put(&self, bytes: &[u8]) -> Digest {
            let mut upload = self.of.begin().unwrap();
            upload.write(bytes).unwrap();
            self.of.finish(&upload, None).unwrap().digest
        }

        fn prune(&self, named: &[&Digest], later: Duration) {
            let named = named.iter().map(|digest| (*digest).clone()).collect();
            self.of.prune(|| named, SystemTime::now() + later).unwrap();
        }

        fn files(&self) -> usize {
            entries(&self.of.dir).unwrap().filter(|entry| entry.metadata().unwrap().is_file()).count()
        }
    }

    const DAY: Duration = Duration::from_secs(25 * 60 * 60);

    #[test]
    fn what_is_the_same_is_kept_once_and_nobody_can_write_into_it() {
        let shelf = Shelf::new();
        let digest = shelf.put(b"abc");
        assert_eq!(digest.as_str(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!((shelf.put(b"abc"), shelf.files()), (digest.clone(), 1));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&shelf.of.content(&digest)), mode(&shelf.of.dir)), (0o400, 0o700));
    }

    #[test]
    fn what_did_not_come_to_its_end_was_never_there() {
        let shelf = Shelf::new();
        let mut upload = shelf.of.begin().unwrap();
        upload.write(b"half of").unwrap();
        assert_eq!(shelf.files(), 1);
        drop(upload);
        assert_eq!(shelf.files(), 0);
        // Nor what a killed server has left behind.
        std::fs::write(shelf.of.dir.join(format!("{COMING}0")), b"half of").unwrap();
        shelf.prune(&[], Duration::ZERO);
        assert_eq!(shelf.files(), 1);
        shelf.prune(&[], DAY);
        assert_eq!(shelf.files(), 0);
    }

    #[test]
    fn what_no_message_names_goes_after_a_day_and_what_one_has_named_stays_for_ever() {
        let shelf = Shelf::new();
        let (named, unnamed) = (shelf.put(b"named"), shelf.put(b"unnamed"));
        shelf.prune(&[&named], Duration::ZERO);
        assert_eq!(shelf.files(), 2, "a day is a day");
        // Even when the message itself is put somewhere else.
        shelf.prune(&[], DAY);
        assert!(shelf.of.is_there(&named, 5).unwrap() && !shelf.of.is_there(&unnamed, 7).unwrap());
        shelf.prune(&[], DAY);
        assert_eq!(shelf.files(), 1);
        assert!(shelf.dir.path().join("attachments/kept").join(named.as_str()).exists());
    }

    #[test]
    fn what_is_asked_for_stays_long_enough_to_be_sent() {
        let shelf = Shelf::new();
        let digest = shelf.put(b"x");
        let long_ago = SystemTime::now() - DAY;
        File::open(shelf.of.content(&digest)).unwrap().set_modified(long_ago).unwrap();
        assert!(!shelf.of.is_there(&digest, 2).unwrap(), "of another size it is not what is meant");
        assert!(shelf.of.is_there(&digest, 1).unwrap());
        shelf.prune(&[], Duration::ZERO);
        assert_eq!(shelf.files(), 1);
    }

    #[test]
    fn no_name_leaves_its_place_in_a_header() {
        assert_eq!(percent("a b\"\r\n;é.txt"), "a%20b%22%0D%0A%3B%C3%A9.txt");
    }
}
