//! The table of tools: what each is called, what it says of itself, what it takes and gives.

use amux_proto::{Code, Rejection};
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::{World, mail, schema, team, text};

/// What a tool gives.
pub(crate) trait Outcome: Serialize + JsonSchema {
    /// In a few words, for a host that shows no more to its model.
    fn words(&self) -> String;
}

/// A tool's answer, ready to be sent.
pub(crate) struct Done {
    pub(crate) data: Value,
    pub(crate) words: String,
}

#[derive(Clone, Copy)]
enum Effect {
    Reads,
    /// Adds something each time.
    Adds,
    /// Twice is once.
    Marks,
    Ends,
}

struct Row {
    name: &'static str,
    about: &'static str,
    effect: Effect,
    input: fn() -> JsonObject,
    output: fn() -> JsonObject,
}

const TABLE: &[Row] = &[
    row::<team::Nothing, team::Team>(
        "team",
        "Who you are and who else is here: name, state and why, role, since when.",
        Effect::Reads,
    ),
    row::<mail::Send, mail::Sent>(
        "send",
        "Send a durable message; returns at once unless `wait` names a stage. For an answer, use ask.",
        Effect::Adds,
    ),
    row::<mail::Ask, mail::Asked>(
        "ask",
        "Send a question and wait for the answer. When the time is over or the call is cancelled, it comes as mail.",
        Effect::Adds,
    ),
    row::<mail::List, mail::Inbox>(
        "inbox",
        "Your mail, oldest first: what is not acknowledged, or only `unread`, or `all`. Counts as seen.",
        Effect::Marks,
    ),
    row::<mail::Ack, mail::Acked>("ack", "You have taken messages; no answer is needed.", Effect::Marks),
    row::<mail::Reply, mail::Sent>("reply", "Answer a message; its sender gets it in the same thread.", Effect::Adds),
    row::<team::Look, team::Looked>(
        "look",
        "The screen of an agent of your team, or the end of its transcript.",
        Effect::Reads,
    ),
    row::<team::Wait, team::Waited>(
        "wait",
        "Wait until every one of `agents` is in one of the states `for`. Do not poll: use this.",
        Effect::Reads,
    ),
    row::<team::Spawn, team::Changed>("spawn", "Create and start an agent, where policy allows it.", Effect::Adds),
    row::<team::Stop, team::Changed>("stop", "Stop an agent, where policy allows it.", Effect::Ends),
    row::<team::Nothing, team::Requests>("requests", "What waits for a person to decide in your team.", Effect::Reads),
];

const fn row<I: JsonSchema, O: Outcome>(name: &'static str, about: &'static str, effect: Effect) -> Row {
    Row { name, about, effect, input: schema::input::<I>, output: schema::output::<O> }
}

pub(crate) fn tools() -> Vec<Tool> {
    TABLE.iter().map(Row::tool).collect()
}

pub(crate) fn tool(name: &str) -> Option<Tool> {
    TABLE.iter().find(|row| row.name == name).map(Row::tool)
}

impl Row {
    fn tool(&self) -> Tool {
        let hints = match self.effect {
            Effect::Reads => ToolAnnotations::new().read_only(true),
            Effect::Adds => ToolAnnotations::new().destructive(false),
            Effect::Marks => ToolAnnotations::new().destructive(false).idempotent(true),
            Effect::Ends => ToolAnnotations::new().destructive(true).idempotent(true),
        };
        Tool::new(self.name, self.about, (self.input)())
            .with_raw_output_schema((self.output)().into())
            .with_annotations(hints)
    }
}

/// `None` when there is no such tool.
pub(crate) async fn call(world: &impl World, name: &str, args: JsonObject) -> Result<Option<Done>, Rejection> {
    Ok(Some(match name {
        "team" => {
            let team::Nothing {} = taken(name, args)?;
            done(&team::team(world).await?)?
        }
        "send" => done(&mail::send(world, taken(name, args)?).await?)?,
        "ask" => done(&mail::ask(world, taken(name, args)?).await?)?,
        "inbox" => done(&mail::inbox(world, taken(name, args)?).await?)?,
        "ack" => done(&mail::ack(world, taken(name, args)?).await?)?,
        "reply" => done(&mail::reply(world, taken(name, args)?).await?)?,
        "look" => done(&team::look(world, taken(name, args)?).await?)?,
        "wait" => done(&team::wait(world, taken(name, args)?).await?)?,
        "spawn" => done(&team::spawn(world, taken(name, args)?).await?)?,
        "stop" => done(&team::stop(world, taken(name, args)?).await?)?,
        "requests" => {
            let team::Nothing {} = taken(name, args)?;
            done(&team::requests(world).await?)?
        }
        _ => return Ok(None),
    }))
}

/// The arguments as the tool wants them. Whoever got them wrong is a model: it is told what there is.
fn taken<T: DeserializeOwned>(name: &str, args: JsonObject) -> Result<T, Rejection> {
    serde_json::from_value(Value::Object(args)).map_err(|error| {
        let fields = TABLE.iter().find(|row| row.name == name).map(|row| (row.input)());
        let fields = fields.and_then(|schema| schema.get("properties").cloned()).unwrap_or_default();
        let names: Vec<&str> = fields.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let hint = if names.is_empty() { "it takes none".to_owned() } else { format!("it takes {}", names.join(", ")) };
        Rejection::new(Code::BadArgs, format!("{name}: {error}")).hint(hint)
    })
}

fn done(outcome: &impl Outcome) -> Result<Done, Rejection> {
    let mut data = serde_json::to_value(outcome).map_err(|error| Rejection::new(Code::Internal, error.to_string()))?;
    text::plain_all(&mut data);
    Ok(Done { data, words: text::plain(&outcome.words()) })
}

/// What the server answered, as much of it as is needed.
pub(crate) fn read<T: DeserializeOwned>(answer: &RawValue) -> Result<T, Rejection> {
    serde_json::from_str(answer.get())
        .map_err(|error| Rejection::new(Code::Internal, format!("the answer cannot be understood: {error}")))
}
