//! `agentmux inbox`: what came for somebody. For a person it is everything that waits for one: decisions and failures
//! before mail. With `-f` each thing is told once, as it comes.

use std::collections::BTreeSet;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::process::{Child, Command, ExitCode, Stdio};

use amux_client::follow::{Flow, Heard, follow};
use amux_proto::command::message::Seen;
use amux_proto::exit::Exit;
use amux_proto::frame::CursorAt;
use serde_json::{Value, json};

use super::message::{each, gist, quoted, stands};
use super::request::short;
use crate::context::Context;
use crate::output::{Output, age, word};
use crate::report::{Failure, say};
use crate::text::plain;

#[derive(clap::Args)]
pub(crate) struct Inbox {
    /// What came for this agent; it does not count as seen by it
    #[arg(long, value_name = "AGENT", conflicts_with = "follow")]
    agent: Option<String>,
    /// Only what was not seen yet
    #[arg(long)]
    unread: bool,
    /// What is acknowledged or over too
    #[arg(long, conflicts_with = "follow")]
    all: bool,
    /// The newest N messages
    #[arg(short = 'n', long, value_name = "N", conflicts_with = "follow")]
    limit: Option<u32>,
    /// Look without it counting as seen
    #[arg(long)]
    peek: bool,
    /// Go on with what comes; nothing of it counts as seen
    #[arg(short, long)]
    follow: bool,
    /// Ring the terminal for what comes
    #[arg(long, requires = "follow")]
    bell: bool,
    /// Show what comes on the desktop, by notify-send
    #[arg(long, requires = "follow")]
    notify: bool,
}

impl Inbox {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        let client = context.client()?;
        let me = client.welcome.principal.trim_start_matches("agent:").to_owned();
        if self.follow {
            return self.go_on(context, client, &me);
        }
        drop(client);
        let args = json!({ "agent": self.agent, "unread": self.unread, "all": self.all, "limit": self.limit });
        let mail = context.ask("inbox", &args)?;
        // For programs this is mail; requests and agents have commands of their own.
        let is_for_person = self.agent.is_none() && me == OPERATOR && !context.out.is_json();
        let mut things = if is_for_person { undecided(context)? } else { Vec::new() };
        things.extend(each(&mail).map(Thing::mail));
        let code = context.out.done(&mail, || match things.is_empty() {
            true if self.agent.is_none() && me == OPERATOR => "nothing waits for you".to_owned(),
            true => "no mail".to_owned(),
            false => things.iter().map(|thing| thing.block(context.out)).collect::<Vec<_>>().join("\n"),
        });
        let unread: Vec<_> =
            each(&mail).filter(|mail| mail["unread"] == true && (self.agent.is_none() || mail["to"] == *me)).collect();
        if !self.peek && !context.out.is_quiet() && !unread.is_empty() {
            // What cannot be marked is listed as unread again, and nothing is lost by that.
            let seen = Seen::of(unread.iter().map(|mail| {
                let edition = mail["edition"].as_u64().and_then(|edition| u32::try_from(edition).ok());
                (word(&mail["id"]), edition)
            }));
            let _ = context.without_start().order("message.seen", &json!(seen));
        }
        Ok(code)
    }

    fn go_on(&self, context: &Context, follower: amux_client::Client, me: &str) -> Result<ExitCode, Failure> {
        // Known before the first look, so that nothing happens between it and the first event unseen.
        let from = CursorAt { epoch: follower.welcome.epoch, seq: follower.welcome.head };
        let quiet = context.without_start();
        let mut desk =
            Desk { inbox: self, context: &quiet, me, told: BTreeSet::new(), showing: Vec::new(), cannot_show: false };
        if !desk.tell(false)? {
            return Ok(ExitCode::SUCCESS);
        }
        let topics = ["request", "message", "run"].map(str::to_owned);
        let mut failed = None;
        let mut caught_up = false;
        follow(&context.layout.srv_socket(), follower, &topics, Some(from), None, |heard| {
            let is_news = match heard {
                Heard::Resumed | Heard::Reset(_) => {
                    caught_up = false;
                    false
                }
                Heard::CaughtUp => {
                    caught_up = true;
                    true
                }
                Heard::Event(line) => NEWS.contains(&line.kind.as_str()),
            };
            if !caught_up || !is_news {
                return Flow::GoOn;
            }
            match desk.tell(true) {
                Ok(true) => Flow::GoOn,
                // Nobody reads what is told.
                Ok(false) => Flow::Enough,
                // The server went away; the connection will tell, and another one will be made.
                Err(failure) if failure.exit == Exit::Unreachable => Flow::GoOn,
                Err(failure) => {
                    failed = Some(failure);
                    Flow::Enough
                }
            }
        })?;
        failed.map_or(Ok(ExitCode::SUCCESS), Err)
    }
}

const OPERATOR: &str = "operator";

/// After these there may be something new.
const NEWS: [&str; 5] = ["request.opened", "message.sent", "run.failed", "run.exited", "run.lost"];

/// More than anybody leaves lying, so that what is old does not come into view again as something new.
const LYING_MAX: u32 = 1_000;

/// Follows for somebody.
struct Desk<'a> {
    inbox: &'a Inbox,
    context: &'a Context,
    me: &'a str,
    /// By key, and never forgotten: a thing is told once.
    told: BTreeSet<String>,
    /// Programs that show something on the desktop and have not ended.
    showing: Vec<Child>,
    /// There is none, which was said.
    cannot_show: bool,
}

impl Desk<'_> {
    /// Whatever is there and was not told; whether anybody hears it. What is there at the beginning is no news.
    fn tell(&mut self, is_news: bool) -> Result<bool, Failure> {
        let mut things = if self.me == OPERATOR { undecided(self.context)? } else { Vec::new() };
        let mail = self.context.ask("inbox", &json!({ "unread": self.inbox.unread, "limit": LYING_MAX }))?;
        things.extend(each(&mail).map(Thing::mail));
        for thing in things {
            if !self.told.insert(thing.key.clone()) {
                continue;
            }
            let out = self.context.out;
            let line = match out.is_json() {
                true => json!({ "ok": true, "data": { (thing.what): thing.data } }).to_string(),
                false => thing.block(out),
            };
            if !out.is_quiet() && !say(&line) {
                return Ok(false);
            }
            if is_news {
                self.ring();
                self.show(&thing);
            }
        }
        Ok(true)
    }

    fn ring(&self) {
        if !self.inbox.bell {
            return;
        }
        // Not into a file or a program that is given the output.
        let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
        let _ =
            if out.is_terminal() { out.write_all(b"\x07").and_then(|()| out.flush()) } else { err.write_all(b"\x07") };
    }

    fn show(&mut self, thing: &Thing) {
        if !self.inbox.notify || self.cannot_show {
            return;
        }
        self.showing.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        if self.showing.len() >= SHOWING_MAX {
            return;
        }
        let mut command = Command::new(NOTIFY_SEND);
        command.args(["--app-name=agentmux", "--", &plain(&thing.title), &escaped(&plain(&gist(&thing.text)))]);
        match command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            Ok(child) => self.showing.push(child),
            Err(error) => {
                self.cannot_show = true;
                let why = match error.kind() {
                    ErrorKind::NotFound => "it is not installed".to_owned(),
                    _ => error.to_string(),
                };
                eprintln!("agentmux: nothing can be shown on the desktop: {NOTIFY_SEND}: {why}");
            }
        }
    }
}

const NOTIFY_SEND: &str = "notify-send";

/// A desktop that takes no more than this at once is left alone; what is not shown there is told here.
const SHOWING_MAX: usize = 8;

/// Desktops read the text of a notification as markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Something that waits for somebody.
struct Thing {
    what: &'static str,
    /// The same for as long as it is the same.
    key: String,
    id: Option<String>,
    is_unread: bool,
    /// Who wants what.
    title: String,
    /// Beside the title.
    facts: String,
    text: String,
    /// What can be done about it.
    hint: Option<String>,
    data: Value,
}

impl Thing {
    fn mail(mail: &Value) -> Self {
        let mut facts = vec![ago(&mail["created"]), stands(mail)];
        facts.extend(
            [&mail["priority"], &mail["class"]].map(word).into_iter().filter(|it| it != "normal" && it != "request"),
        );
        if !mail["reply_to"].is_null() {
            facts.push(format!("answers {}", short(&mail["reply_to"])));
        }
        let attached = each(&mail["attachments"]).count();
        if attached > 0 {
            facts.push(format!("{attached} attached"));
        }
        Self {
            what: "mail",
            key: word(&mail["id"]),
            id: Some(short(&mail["id"])),
            is_unread: mail["unread"] == true,
            title: word(&mail["from"]),
            facts: facts.join(", "),
            text: word(&mail["body"]),
            hint: None,
            data: mail.clone(),
        }
    }

    fn request(request: &Value) -> Self {
        let id = short(&request["id"]);
        let options: Vec<_> = each(&request["options"]).map(|option| word(&option["id"])).collect();
        let (verb, choices) = match request["kind"].as_str() {
            Some("question" | "login") if options.is_empty() => ("answer", " -m TEXT".to_owned()),
            Some("question" | "login") => ("answer", format!(" {}", options.join("|"))),
            _ => ("approve", String::new()),
        };
        Self {
            what: "request",
            key: word(&request["id"]),
            hint: Some(format!("agentmux {verb} {id}{choices}")),
            id: Some(id),
            is_unread: true,
            title: format!("{} asks: {}", word(&request["agent"]), word(&request["title"])),
            facts: ago(&request["created"]),
            text: request["detail"].as_str().unwrap_or_default().to_owned(),
            data: request.clone(),
        }
    }

    fn failed(agent: &Value) -> Self {
        let name = format!("{}@{}", word(&agent["name"]), word(&agent["team"]));
        Self {
            what: "failed",
            // The next run may fail too, and is something new.
            key: format!("{}:{}", word(&agent["uid"]), word(&agent["run"])),
            id: None,
            is_unread: true,
            hint: Some(format!("agentmux show {name}")),
            title: format!("{name} failed"),
            facts: ago(&agent["since"]),
            text: agent["reason"].as_str().unwrap_or_default().to_owned(),
            data: agent.clone(),
        }
    }

    fn block(&self, out: Output) -> String {
        let id = self.id.as_deref().map(plain);
        let styled = |text: &str| if self.is_unread { out.bold(text) } else { text.to_owned() };
        let head = id.map(|id| format!("{}  ", styled(&id))).unwrap_or_default();
        let mut lines = vec![format!("{head}{}  {}", plain(&self.title), out.dim(&plain(&self.facts)))];
        if !self.text.trim().is_empty() {
            lines.push(quoted(&self.text));
        }
        lines.extend(self.hint.as_ref().map(|hint| format!("  {}", out.dim(&plain(hint)))));
        lines.join("\n")
    }
}

fn ago(at: &Value) -> String {
    age(at.as_str().unwrap_or_default())
}

/// Decisions first, then agents that need somebody to look.
fn undecided(context: &Context) -> Result<Vec<Thing>, Failure> {
    let requests = context.ask("requests", &json!({}))?;
    let agents = context.ask("agents", &json!({}))?;
    let failed = each(&agents).filter(|agent| agent["state"] == "failed");
    Ok(each(&requests).map(Thing::request).chain(failed.map(Thing::failed)).collect())
}
