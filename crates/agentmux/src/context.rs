//! What every command starts from: where things are, who may start a server, how to speak.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::time::Duration;

use amux_client::{Answer, Bootstrap, Client, Error as ClientError, Start, ensure, new_cmd_id, persist};
use amux_launcher::lookup;
use amux_proto::exit::Exit;
use amux_proto::view::Stored;
use amux_proto::{Code, Rejection, Rev, env};
use amux_sys::paths::Layout;
use serde_json::Value;

use crate::cli::Global;
use crate::output::Output;
use crate::report::{Failure, with_causes};

#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) layout: Layout,
    pub(crate) profile: String,
    pub(crate) out: Output,
    start: Start,
    expect: Option<Rev>,
}

/// A restart of the server is a pause of this length at most.
const PATIENCE: Duration = Duration::from_secs(10);

impl Context {
    pub(crate) fn new(global: &Global) -> Result<Self, Failure> {
        let profile = match (&global.profile, filled(env::PROFILE)) {
            (Some(named), _) => named.clone(),
            (None, Some(set)) => set.to_string_lossy().into_owned(),
            (None, None) => "default".into(),
        };
        let dir = |named: &Option<PathBuf>, variable| named.clone().or_else(|| filled(variable).map(PathBuf::from));
        let (state_dir, config_dir) =
            (dir(&global.state_dir, env::STATE_DIR), dir(&global.config_dir, env::CONFIG_DIR));
        let layout =
            Layout::resolve(&profile, state_dir, config_dir, &|name| std::env::var_os(name)).map_err(|error| {
                let (exit, code) = match error {
                    amux_sys::paths::Error::Profile(_) => (Exit::Usage, Code::BadArgs),
                    _ => (Exit::Failed, Code::Unavailable),
                };
                Failure::new(exit, code, with_causes(&error))
            })?;
        let start = if global.no_start { Start::Never } else { Start::IfNone };
        let expect = global.expect.map(Rev);
        Ok(Self { layout, profile: profile.to_ascii_lowercase(), out: Output::new(global), start, expect })
    }

    /// The same, for a command that has found a server and must not start another one on the way.
    pub(crate) fn without_start(&self) -> Self {
        Self { start: Start::Never, ..self.clone() }
    }

    /// A server, started if need be and allowed.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        Ok(ensure(&self.bootstrap(self.start))?)
    }

    /// A server that runs already.
    pub(crate) fn running(&self) -> Result<Client, Failure> {
        Ok(ensure(&self.bootstrap(Start::Never))?)
    }

    /// Starts one, whatever the flags say.
    pub(crate) fn started(&self) -> Result<Client, Failure> {
        Ok(ensure(&self.bootstrap(Start::IfNone))?)
    }

    fn bootstrap(&self, start: Start) -> Bootstrap {
        let program = program().map_err(|error| error.to_string());
        Bootstrap { layout: self.layout.clone(), profile: self.profile.clone(), start, program }
    }

    /// An order; sent again, with the same identity, when the server goes away before it answers.
    pub(crate) fn order(&self, name: &str, args: &Value) -> Result<Value, Failure> {
        let (cmd_id, expect) = (new_cmd_id(), self.expect);
        self.persist(|client| client.cmd_as(name, args, cmd_id, expect), ClientError::is_passing)
    }

    /// An act has no receipt: it is repeated only when it is known not to have happened.
    pub(crate) fn act(&self, name: &str, args: &Value) -> Result<Value, Failure> {
        self.persist(|client| client.cmd(name, args), |error| error.is_passing() && !error.is_lost())
    }

    /// A question: answered also by a server that is about to end, so that a part of it that is not available is
    /// told at once.
    pub(crate) fn ask(&self, name: &str, args: &Value) -> Result<Value, Failure> {
        self.persist(|client| client.get(name, args), ClientError::is_lost)
    }

    /// Brings a file: as a whole again when the server goes away in between, as it is named by what it holds.
    pub(crate) fn upload(&self, from: &mut (impl Read + Seek)) -> Result<Stored, Failure> {
        let stored = self.persist(
            |client| {
                from.rewind().map_err(unusable)?;
                client.upload(from)
            },
            ClientError::is_passing,
        )?;
        serde_json::from_value(stored).map_err(|error| Failure::failed(format!("the answer is none: {error}")))
    }

    /// Fills a file with what is attached to a message.
    pub(crate) fn download(&self, message: &str, name: &str, mut to: &File) -> Result<Value, Failure> {
        self.persist(
            |client| {
                to.set_len(0).and_then(|()| to.rewind()).map_err(unusable)?;
                client.download(message, Some(name), &mut to)
            },
            ClientError::is_lost,
        )
    }

    fn persist(
        &self,
        attempt: impl FnMut(&mut Client) -> Result<Answer, ClientError>,
        again: impl Fn(&ClientError) -> bool,
    ) -> Result<Value, Failure> {
        value(&persist(&self.bootstrap(self.start), PATIENCE, attempt, again)?)
    }
}

fn unusable(error: std::io::Error) -> ClientError {
    Rejection::new(Code::Internal, format!("the file cannot be used: {error}")).into()
}

/// An empty variable says nothing.
fn filled(variable: &str) -> Option<OsString> {
    std::env::var_os(variable).filter(|value| !value.is_empty())
}

pub(crate) fn value(answer: &Answer) -> Result<Value, Failure> {
    serde_json::from_str(answer.body.get()).map_err(|error| Failure::failed(format!("the answer is no JSON: {error}")))
}

/// Who is started as the launcher, in the contract's order.
fn program() -> Result<PathBuf, lookup::Error> {
    let running = std::env::current_exe().ok();
    let cwd = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let set = |name: &str| -> Option<OsString> {
        [env::COMMAND, env::RELAY_COMMAND, "PATH"].contains(&name).then(|| std::env::var_os(name)).flatten()
    };
    lookup::program(&lookup::World { env: &set, running: running.as_deref(), cwd: &cwd, can_run: &can_run })
}

fn can_run(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
