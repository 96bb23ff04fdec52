//! What every command starts from: where things are, who may start a server, how to speak.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use amux_client::{Answer, Bootstrap, Client, Start, ensure, new_cmd_id, persist};
use amux_launcher::lookup;
use amux_proto::env;
use amux_proto::exit::Exit;
use amux_proto::{Code, Rev};
use amux_sys::paths::Layout;
use serde_json::Value;

use crate::cli::Global;
use crate::output::Output;
use crate::report::{Failure, with_causes};

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
        let profile = global.profile.clone().unwrap_or_else(|| "default".into());
        if amux_proto::Name::new(&profile).is_err() {
            return Err(Failure::usage(format!("not a name for a profile: {profile}")));
        }
        let layout = Layout::resolve(&profile, global.state_dir.clone(), global.config_dir.clone(), &|name| {
            std::env::var_os(name)
        })
        .map_err(|error| Failure::new(Exit::Failed, Code::Unavailable, with_causes(&error)))?;
        let start = if global.no_start { Start::Never } else { Start::IfNone };
        let expect = global.expect.map(Rev);
        Ok(Self { layout, profile: profile.to_ascii_lowercase(), out: Output::new(global), start, expect })
    }

    /// A server, started if need be and allowed.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        self.client_if(self.start)
    }

    /// A server that runs already.
    pub(crate) fn running(&self) -> Result<Client, Failure> {
        self.client_if(Start::Never)
    }

    /// Starts one, whatever the flags say.
    pub(crate) fn started(&self) -> Result<Client, Failure> {
        self.client_if(Start::IfNone)
    }

    fn client_if(&self, start: Start) -> Result<Client, Failure> {
        let bootstrap = Bootstrap {
            layout: self.layout.clone(),
            profile: self.profile.clone(),
            start,
            program: if start == Start::Never { PathBuf::new() } else { program()? },
        };
        Ok(ensure(&bootstrap)?)
    }

    /// An order; sent again, with the same identity, when the server goes away before it answers.
    pub(crate) fn order(&self, name: &str, args: &Value) -> Result<Value, Failure> {
        let (cmd_id, expect) = (new_cmd_id(), self.expect);
        let first = self.client()?;
        let answer = persist(
            &self.layout.srv_socket(),
            PATIENCE,
            |client| client.cmd_as(name, args, cmd_id, expect),
            Some(first),
        )?;
        value(&answer)
    }

    pub(crate) fn ask(&self, name: &str, args: &Value) -> Result<Value, Failure> {
        let first = self.client()?;
        let answer = persist(&self.layout.srv_socket(), PATIENCE, |client| client.get(name, args), Some(first))?;
        value(&answer)
    }
}

pub(crate) fn value(answer: &Answer) -> Result<Value, Failure> {
    serde_json::from_str(answer.body.get()).map_err(|error| Failure::failed(format!("the answer is no JSON: {error}")))
}

/// Who is started as the launcher, in the contract's order.
pub(crate) fn program() -> Result<PathBuf, Failure> {
    let running = std::env::current_exe().ok();
    let cwd = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let set = |name: &str| -> Option<OsString> {
        [env::COMMAND, env::RELAY_COMMAND, "PATH"].contains(&name).then(|| std::env::var_os(name)).flatten()
    };
    lookup::program(&lookup::World { env: &set, running: running.as_deref(), cwd: &cwd, can_run: &can_run })
        .map_err(|error| Failure::new(Exit::Failed, Code::NotFound, error.to_string()))
}

fn can_run(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
