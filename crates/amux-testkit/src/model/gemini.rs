//! Google's generateContent.

use std::io;

use serde_json::{Value, json};

use super::http::Events;
use super::turn::{Asked, Last, Reply, Tool, joined, settle};

pub(super) fn read(path: &str, body: &Value) -> Asked {
    let (model, verb) = path.rsplit('/').next().and_then(|last| last.split_once(':')).unwrap_or_default();
    let contents = body["contents"].as_array().map(Vec::as_slice).unwrap_or_default();
    let declared =
        body["tools"].as_array().into_iter().flatten().flat_map(|tool| tool["functionDeclarations"].as_array());
    let tools = declared.flatten().map(|tool| Tool {
        name: tool["name"].as_str().unwrap_or_default().to_owned(),
        schema: tool.get("parametersJsonSchema").unwrap_or(&tool["parameters"]).clone(),
        ..Tool::default()
    });
    let config = &body["generationConfig"];
    let wants_json = config["responseMimeType"] == "application/json";
    let schema = config.get("responseJsonSchema").or(config.get("responseSchema")).cloned();
    let mut asked = Asked {
        model: model.to_owned(),
        messages: contents.len(),
        tools: tools.collect(),
        schema: schema.or_else(|| wants_json.then(|| json!({}))),
        streams: verb == "streamGenerateContent",
        ..Asked::default()
    };
    let parts =
        contents.iter().filter(|content| content["role"] != "model").flat_map(|content| content["parts"].as_array());
    settle(
        &mut asked,
        parts.flatten().filter_map(|part| match part.get("functionResponse") {
            Some(response) => {
                let response = &response["response"];
                Some(Last::ToolOutput(joined(response.get("output").or(response.get("error")).unwrap_or(response))))
            }
            None => Some(Last::Text(part["text"].as_str()?.to_owned())),
        }),
    );
    asked
}

pub(super) fn whole(id: u64, asked: &Asked, reply: &Reply) -> Value {
    let parts = match reply {
        Reply::Text(text) => {
            let thinking = text.thinking.iter().map(|thinking| thought(thinking));
            thinking.chain([json!({ "text": text.chunks.concat() })]).collect()
        }
        Reply::Call(call) => json!([{ "functionCall": { "name": call.tool, "args": call.arguments } }]),
        Reply::Fail { .. } => json!([]),
    };
    let mut last = chunk(id, asked, parts);
    finish(&mut last, asked, reply);
    last
}

pub(super) fn stream(mut to: Events<'_>, id: u64, asked: &Asked, reply: &Reply) -> io::Result<()> {
    let Reply::Text(text) = reply else {
        to.data(&whole(id, asked, reply))?;
        return to.end();
    };
    if let Some(thinking) = &text.thinking {
        to.data(&chunk(id, asked, json!([thought(thinking)])))?;
    }
    for (at, part) in text.chunks.iter().enumerate() {
        to.pause(text.pause);
        let mut data = chunk(id, asked, json!([{ "text": part }]));
        if at + 1 == text.chunks.len() {
            finish(&mut data, asked, reply);
        }
        to.data(&data)?;
    }
    to.end()
}

pub(super) fn failure(status: u16) -> Value {
    let kind = match status {
        401 => "UNAUTHENTICATED",
        429 => "RESOURCE_EXHAUSTED",
        529 => "UNAVAILABLE",
        _ => "INTERNAL",
    };
    json!({ "error": { "code": status, "message": format!("The fake fails with {status}."), "status": kind } })
}

fn chunk(id: u64, asked: &Asked, parts: Value) -> Value {
    json!({
        "candidates": [{ "index": 0, "content": { "role": "model", "parts": parts } }],
        "modelVersion": asked.model, "responseId": format!("fake{id}"),
    })
}

fn finish(chunk: &mut Value, asked: &Asked, reply: &Reply) {
    chunk["candidates"][0]["finishReason"] = "STOP".into();
    chunk["usageMetadata"] = json!({
        "promptTokenCount": asked.input_tokens(), "cachedContentTokenCount": asked.cached_tokens(),
        "candidatesTokenCount": reply.output_tokens(), "totalTokenCount": asked.input_tokens() + reply.output_tokens(),
    });
}

fn thought(thinking: &str) -> Value {
    json!({ "text": thinking, "thought": true })
}
