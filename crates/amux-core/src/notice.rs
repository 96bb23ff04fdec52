//! What waits for a person, for the desktop to tell: read off the state, each thing under a key that is the same for as
//! long as it is the same thing. What of it was told is not known here.

use amux_proto::entity::RequestKind;
use amux_proto::view::AgentState;
use amux_proto::{Principal, Time, query};

use crate::setting;
use crate::state::State;
use crate::view;

/// Something that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub key: String,
    /// One of [`KINDS`].
    pub kind: &'static str,
    /// Who wants what, on one line.
    pub title: String,
    pub text: String,
    pub since: Time,
}

/// What somebody can be told of.
pub const KINDS: &[&str] = &[PERMISSION, ANSWER, LOGIN, FAILED, MESSAGE, FINISHED];

const PERMISSION: &str = "needs_permission";
const ANSWER: &str = "needs_answer";
const LOGIN: &str = "needs_login";
const FAILED: &str = "failed";
const MESSAGE: &str = "message";
const FINISHED: &str = "finished";

/// What waits for ever is little news; and an agent whose turn is over waits only for those who want to hear of it.
pub(crate) const KINDS_DEFAULT: &[&str] = &[PERMISSION, ANSWER, LOGIN, FAILED, MESSAGE];

/// More is not told one by one.
const MAIL_MAX: u32 = 100;

/// A notification is a line or two.
const TITLE_CHARS_MAX: usize = 200;
const TEXT_CHARS_MAX: usize = 500;

/// Everything of the kinds the settings name, in the order in which it came.
pub fn waiting(state: &State, now: Time) -> Vec<Waiting> {
    let on = setting::notify_on(state);
    let is_on = |kind: &str| on.iter().any(|wanted| wanted == kind);
    let mut all: Vec<Waiting> = decisions(state).chain(of_agents(state)).chain(mail(state, now)).collect();
    all.retain(|thing| is_on(thing.kind));
    all.sort_by(|a, b| (a.since, &a.key).cmp(&(b.since, &b.key)));
    all
}

fn decisions(state: &State) -> impl Iterator<Item = Waiting> {
    view::requests(state).into_iter().map(|request| Waiting {
        key: format!("request:{}", request.id),
        kind: match request.kind {
            RequestKind::Permission | RequestKind::HeldMessage => PERMISSION,
            RequestKind::Question => ANSWER,
            RequestKind::Login => LOGIN,
        },
        title: line(&format!("{} asks: {}", request.agent, request.title)),
        text: cut(&request.detail),
        since: request.created,
    })
}

fn of_agents(state: &State) -> impl Iterator<Item = Waiting> {
    let agents = view::agents(state, &query::Agents { all: true, team: None }).unwrap_or_default();
    // One that has asked is told of by its request.
    let asks: Vec<String> = view::requests(state).into_iter().map(|request| request.agent).collect();
    agents.into_iter().filter_map(move |agent| {
        let name = format!("{}@{}", agent.name, agent.team);
        let run = agent.run?;
        let (kind, key, what) = match agent.state {
            AgentState::Failed => (FAILED, format!("failed:{}:{run}", agent.uid), "failed"),
            AgentState::NeedsLogin if !asks.contains(&name) => {
                (LOGIN, format!("login:{}:{run}", agent.uid), "is not logged in")
            }
            AgentState::Idle if agent.turn > 0 => {
                (FINISHED, format!("finished:{}:{run}:{}", agent.uid, agent.turn), "has finished")
            }
            _ => return None,
        };
        let text = cut(agent.reason.as_deref().unwrap_or_default());
        Some(Waiting { key, kind, title: format!("{name} {what}"), text, since: agent.since })
    })
}

fn mail(state: &State, now: Time) -> impl Iterator<Item = Waiting> {
    let unread = query::Inbox { agent: None, unread: true, all: false, limit: Some(MAIL_MAX) };
    let mail = view::inbox(state, &[], &Principal::Operator, &unread, now).unwrap_or_default();
    mail.into_iter().map(|mail| Waiting {
        key: format!("message:{}", mail.id),
        kind: MESSAGE,
        title: line(&format!("message from {}", mail.from)),
        text: cut(&mail.body),
        since: mail.created,
    })
}

fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(TITLE_CHARS_MAX).collect()
}

fn cut(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).take(TEXT_CHARS_MAX).collect()
}
