//! Where things are, and that the directories are ours alone.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::process;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("not a name for a profile: {0:?} (letters, digits, - and _; at most 31)")]
    Profile(String),
    #[error("neither a state directory nor HOME is known")]
    NoHome,
    #[error("not a directory of its own: {0} (it is a symbolic link or a file)")]
    NotADirectory(PathBuf),
    #[error("not ours: {path} belongs to uid {owner}, we are uid {me}")]
    Foreign { path: PathBuf, owner: u32, me: u32 },
    #[error("open to others and cannot be closed: {path} (mode {mode:o})")]
    Loose { path: PathBuf, mode: u32 },
    #[error("open to others and not for us alone, it is left as it is: {path} (mode {mode:o})")]
    Strange { path: PathBuf, mode: u32 },
    #[error("cannot be used: {path}")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// The files of one profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    pub state_dir: PathBuf,
    pub config_dir: PathBuf,
    sockets: PathBuf,
}

/// `sockaddr_un` holds 108 bytes with the final zero; some systems have 104.
const SOCKET_PATH_MAX: usize = 103;

/// A link in the run directory to where the sockets are, if not there.
const SETTLED_SOCKETS: &str = "sockets";

/// Room for the temporary name a socket is bound under before it is renamed into place.
const SOCKET_NAME_ROOM: usize = "/launcher.sock.1234567".len();

impl Layout {
    /// `env` is asked for `HOME`, `XDG_*`; explicit directories win.
    pub fn resolve(
        profile: &str,
        state_dir: Option<PathBuf>,
        config_dir: Option<PathBuf>,
        env: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Self, Error> {
        let absolute = |name: &str| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let profile = profile_name(profile)?;
        let home = || absolute("HOME").ok_or(Error::NoHome);
        let state_dir = match state_dir {
            Some(dir) => dir,
            None => match absolute("XDG_STATE_HOME") {
                Some(base) => base.join("agentmux").join(profile),
                None => home()?.join(".local/state/agentmux").join(profile),
            },
        };
        let config_dir = match config_dir {
            Some(dir) => dir,
            None => match absolute("XDG_CONFIG_HOME") {
                Some(base) => base.join("agentmux"),
                None => home()?.join(".config/agentmux"),
            },
        };
        let state_dir = one_spelling(&state_dir)?;
        let config_dir = one_spelling(&config_dir)?;
        let run_dir = state_dir.join("run");
        // A client may have another XDG_RUNTIME_DIR than the server, or none; what was settled first holds for both.
        let settled = || std::fs::read_link(run_dir.join(SETTLED_SOCKETS)).ok().filter(|dir| check_dir(dir).is_ok());
        let sockets = if run_dir.as_os_str().len() + SOCKET_NAME_ROOM <= SOCKET_PATH_MAX {
            run_dir
        } else if let Some(dir) = settled() {
            dir
        } else {
            let base = match absolute("XDG_RUNTIME_DIR") {
                Some(dir) if dir.as_os_str().len() + 40 + SOCKET_NAME_ROOM <= SOCKET_PATH_MAX => dir.join("agentmux"),
                _ => PathBuf::from(format!("/tmp/agentmux-{}", process::uid())),
            };
            base.join(format!("{:016x}", stable_hash(state_dir.as_os_str().as_bytes())))
        };
        Ok(Self { state_dir, config_dir, sockets })
    }

    /// Makes the directories and checks that they are ours.
    pub fn prepare(&self) -> Result<(), Error> {
        let parent = self.state_dir.parent().unwrap_or(&self.state_dir);
        make_parents(parent)?;
        make_dir(&self.state_dir)?;
        check_state_dir(&self.state_dir)?;
        for dir in [self.run_dir(), self.tapes(), self.archive(), self.logs()] {
            safe_dir(&dir)?;
        }
        self.prepare_sockets()
    }

    /// The socket directory alone, for clients.
    pub fn prepare_sockets(&self) -> Result<(), Error> {
        if self.sockets != self.run_dir() {
            if let Some(parent) = self.sockets.parent() {
                make_parents(parent.parent().unwrap_or(parent))?;
                safe_dir(parent)?;
            }
            safe_dir(&self.sockets)?;
            self.settle_sockets()?;
        }
        Ok(())
    }

    fn settle_sockets(&self) -> Result<(), Error> {
        let settled = self.run_dir().join(SETTLED_SOCKETS);
        if !self.run_dir().is_dir() || std::fs::read_link(&settled).is_ok_and(|dir| dir == self.sockets) {
            return Ok(());
        }
        let fail = |source| Error::Io { path: settled.clone(), source };
        let temporary = settled.with_extension(std::process::id().to_string());
        let _ = std::fs::remove_file(&temporary);
        std::os::unix::fs::symlink(&self.sockets, &temporary).map_err(fail)?;
        std::fs::rename(&temporary, &settled).map_err(fail)
    }

    /// Checks what is there, without making anything: what a client does before it trusts a socket.
    pub fn check(&self) -> Result<(), Error> {
        for dir in [&self.state_dir, &self.run_dir(), &self.sockets] {
            match std::fs::symlink_metadata(dir) {
                Ok(_) if *dir == self.state_dir => check_state_dir(dir)?,
                Ok(_) => check_dir(dir)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(Error::Io { path: dir.clone(), source }),
            }
        }
        Ok(())
    }

    pub fn db(&self) -> PathBuf {
        self.state_dir.join("agentmux.db")
    }
    /// Hashes of what lets agents and browsers in; beside the store and never in a copy of it.
    pub fn credentials(&self) -> PathBuf {
        self.state_dir.join("credentials.json")
    }
    pub fn tapes(&self) -> PathBuf {
        self.state_dir.join("tapes")
    }
    pub fn archive(&self) -> PathBuf {
        self.state_dir.join("archive")
    }
    /// Tapes of runs that nobody touches.
    pub fn archived_tapes(&self) -> PathBuf {
        self.archive().join("tapes")
    }
    pub fn logs(&self) -> PathBuf {
        self.state_dir.join("logs")
    }
    pub fn run_dir(&self) -> PathBuf {
        self.state_dir.join("run")
    }
    pub fn srv_lock(&self) -> PathBuf {
        self.run_dir().join("srv.lock")
    }
    pub fn spawn_lock(&self) -> PathBuf {
        self.run_dir().join("spawn.lock")
    }
    pub fn launcher_lock(&self) -> PathBuf {
        self.run_dir().join("launcher.lock")
    }
    pub fn endpoint(&self) -> PathBuf {
        self.run_dir().join("endpoint.json")
    }
    /// Where the web interface was, for the next server.
    pub fn port(&self) -> PathBuf {
        self.run_dir().join("port")
    }
    pub fn socket_dir(&self) -> &Path {
        &self.sockets
    }
    pub fn srv_socket(&self) -> PathBuf {
        self.sockets.join("srv.sock")
    }
    pub fn launcher_socket(&self) -> PathBuf {
        self.sockets.join("launcher.sock")
    }
    /// Kinds of agents, beside the built-in ones.
    pub fn kinds(&self) -> PathBuf {
        self.config_dir.join("agents.toml")
    }
    pub fn policy(&self) -> PathBuf {
        self.config_dir.join("policy.toml")
    }
    /// Worktrees of agents that have one.
    pub fn worktrees(&self) -> PathBuf {
        self.state_dir.join("worktrees")
    }
    /// What messages carry; see the server for what is in it.
    pub fn attachments(&self) -> PathBuf {
        self.state_dir.join("attachments")
    }
    pub fn settings(&self) -> PathBuf {
        self.config_dir.join("settings.jsonc")
    }
}

/// Makes `path` a directory that only we can enter, or says why it cannot be one.
pub fn safe_dir(path: &Path) -> Result<(), Error> {
    make_dir(path)?;
    check_dir(path)
}

fn make_dir(path: &Path) -> Result<(), Error> {
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(Error::Io { path: path.to_owned(), source }),
    }
}

/// The one directory that somebody may have named by mistake: `/tmp`, `/etc`, one that is shared. Such a one is not
/// closed to others.
fn check_state_dir(path: &Path) -> Result<(), Error> {
    let has_ours = || ["agentmux.db", "run"].iter().any(|name| path.join(name).symlink_metadata().is_ok());
    let is_private = |mode: u32| {
        let is_shared = mode & 0o022 != 0 || path.parent().is_none_or(|parent| parent == Path::new("/"));
        let me = process::uid();
        let is_mine = |entry: io::Result<std::fs::DirEntry>| {
            entry.and_then(|entry| entry.metadata()).is_ok_and(|meta| meta.uid() == me)
        };
        !is_shared && std::fs::read_dir(path).is_ok_and(|mut entries| entries.all(is_mine))
    };
    let is_empty = || std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    check(path, |mode| has_ours() || is_empty() || is_private(mode))
}

fn check_dir(path: &Path) -> Result<(), Error> {
    check(path, |_| true)
}

fn check(path: &Path, may_close: impl Fn(u32) -> bool) -> Result<(), Error> {
    let fail = |source| Error::Io { path: path.to_owned(), source };
    // `symlink_metadata` and `O_NOFOLLOW`: what is checked is the name itself, not what it points at.
    let meta = std::fs::symlink_metadata(path).map_err(fail)?;
    if !meta.is_dir() {
        return Err(Error::NotADirectory(path.to_owned()));
    }
    let me = process::uid();
    let foreign = |owner| Err(Error::Foreign { path: path.to_owned(), owner, me });
    if meta.uid() != me {
        return foreign(meta.uid());
    }
    // What counts is what was opened: the name may lead elsewhere by now.
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let dir = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(fail)?;
    let meta = dir.metadata().map_err(fail)?;
    let mode = meta.mode() & 0o7777;
    if meta.uid() != me {
        return foreign(meta.uid());
    }
    if mode & 0o077 == 0 {
        return Ok(());
    }
    if !may_close(mode) {
        return Err(Error::Strange { path: path.to_owned(), mode });
    }
    let closed = std::fs::Permissions::from_mode(0o700);
    dir.set_permissions(closed).map_err(|_| Error::Loose { path: path.to_owned(), mode })
}

/// The contract's rule for names; one with a slash would leave the place for profiles.
fn profile_name(name: &str) -> Result<String, Error> {
    let lower = name.to_ascii_lowercase();
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let starts = lower.bytes().next().is_some_and(plain);
    let goes_on = lower.bytes().all(|byte| plain(byte) || matches!(byte, b'-' | b'_'));
    if starts && goes_on && lower.len() <= PROFILE_BYTES_MAX { Ok(lower) } else { Err(Error::Profile(name.to_owned())) }
}

const PROFILE_BYTES_MAX: usize = 31;

fn make_parents(path: &Path) -> Result<(), Error> {
    let fail = |source| Error::Io { path: path.to_owned(), source };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(fail)
}

/// Two spellings of a directory are one directory, also before it exists.
fn one_spelling(path: &Path) -> Result<PathBuf, Error> {
    let fail = |source| Error::Io { path: path.to_owned(), source };
    let absolute = std::path::absolute(path).map_err(fail)?;
    // The last name is not followed: a symbolic link in its place is to be noticed, not used.
    let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else { return Ok(absolute) };
    let mut missing = vec![name.to_owned()];
    let mut at = parent;
    loop {
        match at.canonicalize() {
            Ok(found) => return Ok(missing.into_iter().rev().fold(found, |path, name| path.join(name))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => match (at.parent(), at.file_name()) {
                (Some(up), Some(name)) => {
                    missing.push(name.to_owned());
                    at = up;
                }
                _ => return Ok(absolute.clone()),
            },
            Err(source) => return Err(fail(source)),
        }
    }
}

/// FNV-1a: the same on every machine and in every version, which `DefaultHasher` does not promise.
fn stable_hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(state: &Path) -> Layout {
        Layout::resolve("p", Some(state.to_owned()), Some("/c".into()), &|_| None).unwrap()
    }

    #[test]
    fn two_spellings_are_one_directory() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("real")).unwrap();
        std::os::unix::fs::symlink("real", dir.path().join("link")).unwrap();
        let plain = resolve(&dir.path().join("real/state"));
        assert_eq!(plain, resolve(&dir.path().join("link/state")));
        assert_eq!(plain, resolve(&dir.path().join("real/../real/./state")));
    }

    #[test]
    fn a_long_path_keeps_its_sockets_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let long = dir.path().join("x".repeat(120));
        let layout = resolve(&long);
        assert!(layout.srv_socket().as_os_str().len() <= SOCKET_PATH_MAX, "{layout:?}");
        assert_eq!(layout.srv_lock(), layout.state_dir.join("run/srv.lock"));
        assert_ne!(layout.srv_socket(), resolve(&dir.path().join("y".repeat(120))).srv_socket());
        layout.prepare().unwrap();
        std::fs::remove_dir_all(layout.socket_dir()).unwrap();
    }

    #[test]
    fn client_and_server_find_the_same_sockets_whatever_their_runtime_directories() {
        let dir = tempfile::tempdir().unwrap();
        let (state, runtime) = (dir.path().join("x".repeat(120)), dir.path().join("runtime"));
        let with = |runtime: Option<&Path>| {
            let env = |name: &str| runtime.filter(|_| name == "XDG_RUNTIME_DIR").map(|dir| dir.into());
            Layout::resolve("p", Some(state.clone()), Some("/c".into()), &env).unwrap()
        };
        let server = with(Some(&runtime));
        assert!(server.srv_socket().starts_with(&runtime), "{server:?}");
        server.prepare().unwrap();
        let client = with(None);
        assert_eq!(client.srv_socket(), server.srv_socket());
        // What was settled is gone with the directory, as after a restart of the machine.
        std::fs::remove_dir_all(&runtime).unwrap();
        assert!(with(None).srv_socket().starts_with("/tmp"));
    }

    #[test]
    fn a_directory_given_by_mistake_is_not_changed() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o7777;
        let open_dir = |name: &str, mode: u32| {
            let path = dir.path().join(name);
            std::fs::create_dir(&path).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let shared = open_dir("shared", 0o777);
        std::fs::write(shared.join("letter"), "").unwrap();
        assert!(matches!(resolve(&shared).prepare(), Err(Error::Strange { mode: 0o777, .. })));
        assert!(matches!(resolve(&shared).check(), Err(Error::Strange { .. })));
        assert_eq!((mode(&shared), std::fs::read_dir(&shared).unwrap().count()), (0o777, 1));
        if process::uid() == 0 {
            let visited = open_dir("visited", 0o755);
            std::fs::write(visited.join("letter"), "").unwrap();
            std::os::unix::fs::chown(visited.join("letter"), Some(12345), None).unwrap();
            assert!(matches!(resolve(&visited).prepare(), Err(Error::Strange { .. })));
        }
        let mine = open_dir("mine", 0o755);
        std::fs::write(mine.join("letter"), "").unwrap();
        resolve(&mine).prepare().unwrap();
        assert_eq!(mode(&mine), 0o700);

        let fresh = open_dir("fresh", 0o777);
        resolve(&fresh).prepare().unwrap();
        assert_eq!(mode(&fresh), 0o700);
        // One that is ours already is closed again.
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o750)).unwrap();
        resolve(&fresh).prepare().unwrap();
        assert_eq!(mode(&fresh), 0o700);
    }

    #[test]
    fn the_places_are_those_of_the_contract() {
        let variables = |pairs: &'static [(&str, &str)]| {
            move |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        };
        let of = |profile: &str, pairs| Layout::resolve(profile, None, None, &variables(pairs));
        let home = of("Dev", &[("HOME", "/no/home"), ("XDG_CONFIG_HOME", "relative")]).unwrap();
        assert_eq!(home.state_dir, Path::new("/no/home/.local/state/agentmux/dev"));
        assert_eq!(home.config_dir, Path::new("/no/home/.config/agentmux"));
        let xdg = of("default", &[("XDG_STATE_HOME", "/no/state"), ("XDG_CONFIG_HOME", "/no/config")]).unwrap();
        assert_eq!(xdg.db(), Path::new("/no/state/agentmux/default/agentmux.db"));
        assert_eq!(xdg.config_dir, Path::new("/no/config/agentmux"));
        assert!(matches!(of("default", &[]), Err(Error::NoHome)));
        for name in ["", "../other", "a/b", "-a", "a b", "sch\u{f6}n", "abcdefghijklmnopqrstuvwxyz0123456"] {
            assert!(matches!(of(name, &[("HOME", "/no/home")]), Err(Error::Profile(_))), "{name:?}");
        }
    }

    #[test]
    fn a_directory_that_is_not_ours_alone_is_closed_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        let loose = dir.path().join("loose");
        std::fs::create_dir(&loose).unwrap();
        std::fs::set_permissions(&loose, std::fs::Permissions::from_mode(0o777)).unwrap();
        safe_dir(&loose).unwrap();
        assert_eq!(std::fs::metadata(&loose).unwrap().mode() & 0o777, 0o700);

        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&loose, &link).unwrap();
        assert!(matches!(safe_dir(&link), Err(Error::NotADirectory(_))));
        let dangling = dir.path().join("dangling");
        std::os::unix::fs::symlink("nowhere", &dangling).unwrap();
        assert!(matches!(safe_dir(&dangling), Err(Error::NotADirectory(_))));
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(matches!(safe_dir(&file), Err(Error::NotADirectory(_))));

        if process::uid() == 0 {
            let foreign = dir.path().join("foreign");
            std::fs::create_dir(&foreign).unwrap();
            std::os::unix::fs::chown(&foreign, Some(12345), None).unwrap();
            let error = safe_dir(&foreign).unwrap_err();
            assert!(matches!(error, Error::Foreign { owner: 12345, me: 0, .. }), "{error}");
        }
    }
}
