//! Mail: send, ask, read, take, answer.

use std::collections::BTreeMap;

use amux_proto::command::message::Seen;
use amux_proto::entity::{Class, Priority};
use amux_proto::view::{self, Message};
use amux_proto::{Code, Rejection};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;

use crate::World;
use crate::text::quoted;
use crate::tool::{Outcome, read};
use crate::waiting::{Next, Waiting, unless_away};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Send {
    /// Agents, `team:NAME`, `group:NAME`, `role:WORDS`, `all` or `operator`
    #[serde(deserialize_with = "one_or_more")]
    #[schemars(with = "Vec<String>")]
    to: Vec<String>,
    text: String,
    priority: Option<Priority>,
    /// state wakes nobody, info is collected, request wakes
    class: Option<Class>,
    reply_to: Option<String>,
    thread: Option<String>,
    /// Same key, same message
    key: Option<String>,
    wait: Option<Stage>,
    /// Paths
    attach: Option<Vec<String>>,
}

/// A model that writes to one agent often names it without a list, as `ask` wants it.
fn one_or_more<'de, D: Deserializer<'de>>(names: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a name or a list of names")]
    enum Names {
        One(String),
        More(Vec<String>),
    }
    Ok(match Names::deserialize(names)? {
        Names::One(name) => vec![name],
        Names::More(names) => names,
    })
}

// How far a copy can come, as far as it is worth waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Stage {
    Handed,
    Shown,
    Begun,
    Acked,
    Answered,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Sent {
    id: String,
    thread: String,
    deliveries: Vec<Copy>,
    /// Of a stage that was waited for
    #[serde(skip_serializing_if = "Option::is_none")]
    reached: Option<bool>,
}

/// Of one recipient.
#[derive(Serialize, JsonSchema)]
struct Copy {
    to: String,
    stage: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

pub(crate) async fn send(world: &impl World, args: Send) -> Result<Sent, Rejection> {
    let Send { to, text, priority, class, reply_to, thread, key, wait, attach } = args;
    // Before it is sent, so that what cannot be waited for is not.
    let waiting = match wait {
        Some(stage) => Some((stage, Waiting::begin(world, None).await?)),
        None => None,
    };
    let reply_to = match reply_to {
        Some(id) => Some(message(world, &id).await?.id),
        None => None,
    };
    let thread = match thread {
        Some(id) => Some(message(world, &id).await?.thread),
        None => None,
    };
    let mut attachments = Vec::new();
    for path in attach.into_iter().flatten() {
        attachments.push(world.upload(path).await?);
    }
    let args = json!({
        "to": to, "body": text, "attachments": attachments, "priority": priority.unwrap_or_default(), "class": class.unwrap_or_default(),
        "reply_to": reply_to, "thread": thread, "key": key,
    });
    let mut sent = sent(world, args).await?;
    let Some((stage, mut waiting)) = waiting else { return Ok(sent) };
    loop {
        if let Some(message) = unless_away(message(world, &sent.id).await.map(Some))? {
            sent.deliveries = message.deliveries.iter().map(copy).collect();
            let stands: Vec<Stands> = sent.deliveries.iter().map(|copy| stands(copy, stage)).collect();
            sent.reached = Some(stands.iter().all(|stands| *stands == Stands::There));
            if !stands.contains(&Stands::Coming) {
                return Ok(sent);
            }
        }
        if waiting.next(world).await? == Next::TimeOver {
            return Ok(sent);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    /// At the stage that is wanted, or at a later one.
    There,
    /// It may still come there.
    Coming,
    /// At an end from which nothing comes any more.
    Over,
}

fn stands(copy: &self::Copy, wanted: Stage) -> Stands {
    const LADDER: [&str; 7] = ["accepted", "routed", "handed", "shown", "begun", "acked", "answered"];
    let wanted = match wanted {
        Stage::Handed => 2,
        Stage::Shown => 3,
        Stage::Begun => 4,
        Stage::Acked => 5,
        Stage::Answered => 6,
    };
    match LADDER.iter().position(|stage| *stage == copy.stage) {
        Some(at) if at >= wanted => Stands::There,
        // Whoever has it answers once or not at all.
        Some(_) => Stands::Coming,
        None if copy.stage == "held" => Stands::Coming,
        None => Stands::Over,
    }
}

async fn sent(world: &impl World, args: serde_json::Value) -> Result<Sent, Rejection> {
    let sent: view::Sent = read(&world.order("message.send", args).await?)?;
    let each = sent.deliveries.into_iter();
    let deliveries = each.map(|copy| Copy { to: copy.to, stage: copy.stage, reason: copy.reason }).collect();
    Ok(Sent { id: sent.id.to_string(), thread: sent.thread.to_string(), deliveries, reached: None })
}

fn copy(delivery: &view::Delivery) -> Copy {
    Copy { to: delivery.to.clone(), stage: delivery.stage.clone(), reason: delivery.reason.clone() }
}

async fn message(world: &impl World, id: &str) -> Result<Message, Rejection> {
    read(&world.ask("message", json!({ "message": id })).await?)
}

impl Outcome for Sent {
    fn words(&self) -> String {
        let each: Vec<_> = self.deliveries.iter().map(Copy::words).collect();
        let late = if self.reached == Some(false) { "not there; " } else { "" };
        format!("{late}{}: {}", self.id, each.join("; "))
    }
}

impl Copy {
    fn words(&self) -> String {
        let reason = self.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
        format!("{} {}{reason}", self.to, self.stage)
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ask {
    /// One agent, or `operator`
    to: String,
    text: String,
    /// Default 5 minutes, at most 60
    timeout_ms: Option<u64>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Asked {
    id: String,
    answered: bool,
    /// The answer's id and words
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// How far the question came
    stage: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

pub(crate) async fn ask(world: &impl World, args: Ask) -> Result<Asked, Rejection> {
    let is_many = args.to == "all" || args.to.contains(':');
    if is_many {
        let message = format!("one is asked, not many: {}", args.to);
        return Err(Rejection::new(Code::BadArgs, message).hint("send asks many; their answers come as mail"));
    }
    let mut waiting = Waiting::begin(world, args.timeout_ms).await?;
    let question = sent(world, json!({ "to": [args.to], "body": args.text, "wants_answer": true })).await?;
    let mut last = question.deliveries.into_iter().next();
    let (reply, ended) = loop {
        if let Some(copy) =
            unless_away(message(world, &question.id).await.map(|message| message.deliveries.into_iter().next()))?
        {
            let is_over = ["answered", "expired", "cancelled", "refused", "failed", "unproven"].contains(&&*copy.stage);
            last = Some(self::copy(&copy));
            if is_over {
                let reply = if copy.stage == "answered" { answer(world, &question.id, &copy.to).await? } else { None };
                break (reply, true);
            }
        }
        if waiting.next(world).await? == Next::TimeOver {
            break (None, false);
        }
    };
    if let Some(reply) = &reply {
        // It is before the asker's eyes now and need not be put there once more. The answer is there all the same.
        let _ = world.order("message.ack", json!({ "message": reply.id })).await;
    }
    let Copy { stage, reason, .. } =
        last.ok_or_else(|| Rejection::new(Code::Internal, "a message without a recipient"))?;
    let reason = reason.or_else(|| (!ended).then(|| "the time is over".to_owned()));
    Ok(Asked {
        id: question.id,
        answered: reply.is_some(),
        reply: reply.as_ref().map(|reply| reply.id.to_string()),
        text: reply.map(|reply| reply.body),
        stage,
        reason,
    })
}

/// Only whoever was asked answers: others can put their words into the thread as well.
async fn answer(world: &impl World, id: &str, of: &str) -> Result<Option<Message>, Rejection> {
    let thread: Vec<Message> = read(&world.ask("thread", json!({ "thread": id })).await?)?;
    let is_answer = |message: &Message| message.from == of && message.reply_to.is_some_and(|of| of.to_string() == id);
    Ok(thread.into_iter().find(is_answer))
}

impl Outcome for Asked {
    fn words(&self) -> String {
        match (&self.text, self.reason.as_deref()) {
            (Some(text), _) => text.clone(),
            (None, reason) => {
                let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
                format!("No answer: {}{reason}. The question {} stays; an answer comes as mail.", self.stage, self.id)
            }
        }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct List {
    #[serde(default)]
    unread: bool,
    #[serde(default)]
    all: bool,
    limit: Option<u32>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Inbox {
    messages: Vec<Mail>,
}

#[derive(Serialize, JsonSchema)]
struct Mail {
    id: String,
    from: String,
    text: String,
    thread: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<String>,
    priority: Priority,
    class: Class,
    created: String,
    stage: String,
    unread: bool,
    /// Which of its words these are; what is told to be seen are these. A server from before words could be changed says
    /// nothing of it.
    #[serde(skip)]
    edition: Option<u32>,
    /// agentmux msg save ID NAME
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attached: Vec<String>,
}

/// Ids of a page, as many as the server takes at once.
const LIST_MAX: u32 = 200;

pub(crate) async fn inbox(world: &impl World, args: List) -> Result<Inbox, Rejection> {
    let limit = args.limit.map(|limit| limit.min(LIST_MAX));
    let args = json!({ "unread": args.unread, "all": args.all, "limit": limit });
    let inbox = listed(world, args).await?;
    let unread = inbox.messages.iter().filter(|mail| mail.unread);
    let seen = Seen::of(unread.map(|mail| (mail.id.clone(), mail.edition)));
    if !seen.messages.is_empty() {
        world.order("message.seen", json!(seen)).await?;
    }
    Ok(inbox)
}

/// Own unread mail, without touching it.
pub(crate) async fn unread(world: &impl World) -> Result<Inbox, Rejection> {
    listed(world, json!({ "unread": true, "limit": LIST_MAX })).await
}

async fn listed(world: &impl World, args: serde_json::Value) -> Result<Inbox, Rejection> {
    let listed: Vec<view::Mail> = read(&world.ask("inbox", args).await?)?;
    let each = listed.into_iter().map(|mail| Mail {
        id: mail.id.to_string(),
        from: mail.from,
        text: mail.body,
        thread: mail.thread.to_string(),
        reply_to: mail.reply_to.map(|id| id.to_string()),
        priority: mail.priority,
        class: mail.class,
        created: mail.created.to_string(),
        stage: mail.stage,
        unread: mail.unread,
        edition: mail.edition,
        attached: mail.attachments.into_iter().map(|file| file.name).collect(),
    });
    Ok(Inbox { messages: each.collect() })
}

impl Outcome for Inbox {
    fn words(&self) -> String {
        if self.messages.is_empty() {
            return "No mail.".to_owned();
        }
        let each = self.messages.iter().map(|mail| {
            let wants = match mail.class {
                Class::Request => "request",
                Class::Info => "info",
                Class::State => "state",
            };
            let of = mail.reply_to.as_ref().map_or_else(String::new, |id| format!(", answers {id}"));
            let files = mail.attached.iter().map(|name| format!("\nattached: {name} (agentmux msg save {})", mail.id));
            let files: String = files.collect();
            format!("{} from {} ({wants}, {}{of}):{files}\n{}", mail.id, mail.from, mail.stage, quoted(&mail.text))
        });
        each.collect::<Vec<_>>().join("\n\n")
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ack {
    ids: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Acked {
    acked: Vec<String>,
    /// Why not, by id
    refused: BTreeMap<String, String>,
}

pub(crate) async fn ack(world: &impl World, args: Ack) -> Result<Acked, Rejection> {
    let mut acked = Acked { acked: Vec::new(), refused: BTreeMap::new() };
    let mut first = None;
    for id in args.ids {
        match world.order("message.ack", json!({ "message": id })).await {
            Ok(_) => acked.acked.push(id),
            Err(refusal) => {
                acked.refused.insert(id, refusal.message.clone());
                first.get_or_insert(refusal);
            }
        }
    }
    match first {
        Some(refusal) if acked.acked.is_empty() => Err(refusal),
        Some(_) | None => Ok(acked),
    }
}

impl Outcome for Acked {
    fn words(&self) -> String {
        let refused = self.refused.iter().map(|(id, why)| format!("; not {id}: {why}"));
        format!("{} acknowledged{}", self.acked.len(), refused.collect::<String>())
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reply {
    id: String,
    text: String,
}

pub(crate) async fn reply(world: &impl World, args: Reply) -> Result<Sent, Rejection> {
    let answered = message(world, &args.id).await?;
    let args = json!({ "to": [answered.from], "body": args.text, "reply_to": answered.id });
    sent(world, args).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_reached_by_it_and_by_later_ones_and_never_by_an_end() {
        let cases = [
            ("accepted", Stands::Coming),
            ("held", Stands::Coming),
            ("handed", Stands::Coming),
            ("begun", Stands::There),
            ("answered", Stands::There),
            ("failed", Stands::Over),
            ("expired", Stands::Over),
            ("refused", Stands::Over),
            ("cancelled", Stands::Over),
            ("unproven", Stands::Over),
        ];
        for (stage, expected) in cases {
            let copy = self::Copy { to: "api".to_owned(), stage: stage.to_owned(), reason: None };
            assert_eq!(stands(&copy, Stage::Begun), expected, "{stage}");
        }
    }
}
