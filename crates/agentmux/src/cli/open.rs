//! `agentmux open`: the web interface, signed in; `agentmux sessions`: the browsers that are.

use std::process::ExitCode;

use amux_proto::Code;
use amux_proto::exit::Exit;
use amux_sys::desktop;
use serde_json::{Value, json};

use crate::context::Context;
use crate::output::{age, table, word};
use crate::report::Failure;

#[derive(clap::Args)]
pub(crate) struct Open {
    /// Only print the address; it signs one browser in, once, within a minute
    #[arg(long)]
    print: bool,
}

impl Open {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        let answer = context.ask("login_code", &json!({}))?;
        let web = word(&answer["web_url"]);
        if web.is_empty() {
            let message = "the server has no web interface: its port could not be opened";
            return Err(Failure::new(Exit::Failed, Code::Unavailable, message).hint("agentmux diag boot"));
        }
        // Behind the #, so that it is in no log of a proxy and in no Referer.
        let url = format!("{web}/#code={}", word(&answer["code"]));
        let opened = !self.print && desktop::open(&url);
        let data = json!({ "url": url, "opened": opened });
        Ok(context.out.done(&data, || if opened { format!("opened {web} in your browser") } else { url.clone() }))
    }
}

#[derive(clap::Args)]
pub(crate) struct Sessions {
    #[command(subcommand)]
    verb: Option<SessionsVerb>,
}

#[derive(clap::Subcommand)]
enum SessionsVerb {
    /// List them
    #[command(after_help = "Example: agentmux sessions ls")]
    Ls,
    /// Sign a browser out
    #[command(after_help = "Example: agentmux sessions revoke 3f9a21c0b7d4")]
    Revoke {
        #[arg(required_unless_present = "all")]
        id: Option<String>,
        /// Every one
        #[arg(long, conflicts_with = "id")]
        all: bool,
    },
}

impl Sessions {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        match &self.verb {
            None | Some(SessionsVerb::Ls) => {
                let sessions = context.ask("sessions", &json!({}))?;
                Ok(context.out.done(&sessions, || {
                    let cells = |row: &Value| {
                        let ago = |name: &str| age(row[name].as_str().unwrap_or_default());
                        vec![word(&row["id"]), word(&row["agent"]), ago("made"), ago("used")]
                    };
                    let rows: Vec<_> = sessions.as_array().into_iter().flatten().map(cells).collect();
                    match rows.is_empty() {
                        true => "no browser is signed in (agentmux open)".to_owned(),
                        false => {
                            table(&["id", "browser", "made", "used"], &rows, |_, text| text.to_owned(), context.out)
                        }
                    }
                }))
            }
            Some(SessionsVerb::Revoke { id, .. }) => {
                let answer = context.act("session.revoke", &json!({ "id": id }))?;
                Ok(context.out.done(&answer, || match answer["revoked"].as_u64() {
                    Some(1) => "1 browser was signed out".to_owned(),
                    revoked => format!("{} browsers were signed out", revoked.unwrap_or(0)),
                }))
            }
        }
    }
}
