//! Anthropic Messages.

use std::io;

use serde_json::{Value, json};

use super::http::Events;
use super::turn::{Asked, Last, Reply, Tool, joined, settle};

pub(super) fn read(body: &Value) -> Asked {
    let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let tools = body["tools"].as_array().into_iter().flatten().map(|tool| Tool {
        name: tool["name"].as_str().unwrap_or_default().to_owned(),
        schema: tool["input_schema"].clone(),
        ..Tool::default()
    });
    let mut asked = Asked {
        model: body["model"].as_str().unwrap_or_default().to_owned(),
        messages: messages.len(),
        tools: tools.collect(),
        schema: body["output_config"]["format"].get("schema").or(body["output_format"].get("schema")).cloned(),
        streams: body["stream"] == true,
        ..Asked::default()
    };
    let users = messages.iter().filter(|message| message["role"] == "user");
    settle(&mut asked, users.flat_map(|message| parts(&message["content"])));
    asked
}

fn parts(content: &Value) -> Vec<Last> {
    let Some(blocks) = content.as_array() else { return vec![Last::Text(joined(content))] };
    let part = |block: &Value| match block["type"].as_str()? {
        "text" => Some(Last::Text(joined(&block["text"]))),
        "tool_result" => Some(Last::ToolOutput(joined(&block["content"]))),
        _ => None,
    };
    blocks.iter().filter_map(part).collect()
}

pub(super) fn whole(id: u64, asked: &Asked, reply: &Reply) -> Value {
    let mut message = opening(id, asked);
    message["content"] = content(id, reply);
    message["stop_reason"] = stop_reason(reply).into();
    message["usage"]["output_tokens"] = reply.output_tokens().into();
    message
}

pub(super) fn stream(mut to: Events<'_>, id: u64, asked: &Asked, reply: &Reply) -> io::Result<()> {
    let event = |to: &mut Events<'_>, data: Value| to.named(data["type"].as_str().unwrap_or_default(), &data);
    event(&mut to, json!({ "type": "message_start", "message": opening(id, asked) }))?;
    event(&mut to, json!({ "type": "ping" }))?;
    for (index, block) in content(id, reply).as_array().into_iter().flatten().enumerate() {
        // A block begins empty and is filled by deltas.
        let mut empty = block.clone();
        for key in ["text", "thinking", "signature"] {
            if empty.get(key).is_some() {
                empty[key] = "".into();
            }
        }
        if empty.get("input").is_some() {
            empty["input"] = json!({});
        }
        event(&mut to, json!({ "type": "content_block_start", "index": index, "content_block": empty }))?;
        let delta = |to: &mut Events<'_>, delta: Value| {
            event(to, json!({ "type": "content_block_delta", "index": index, "delta": delta }))
        };
        match (block["type"].as_str(), reply) {
            (Some("thinking"), _) => {
                delta(&mut to, json!({ "type": "thinking_delta", "thinking": block["thinking"] }))?;
                delta(&mut to, json!({ "type": "signature_delta", "signature": block["signature"] }))?;
            }
            (Some("text"), Reply::Text(text)) => {
                for chunk in &text.chunks {
                    to.pause(text.pause);
                    delta(&mut to, json!({ "type": "text_delta", "text": chunk }))?;
                }
            }
            _ => {
                let input = block["input"].to_string();
                let half = (0..=input.len() / 2).rev().find(|at| input.is_char_boundary(*at)).unwrap_or(0);
                for part in [&input[..half], &input[half..]] {
                    delta(&mut to, json!({ "type": "input_json_delta", "partial_json": part }))?;
                }
            }
        }
        event(&mut to, json!({ "type": "content_block_stop", "index": index }))?;
    }
    event(
        &mut to,
        json!({
            "type": "message_delta",
            "delta": { "stop_reason": stop_reason(reply), "stop_sequence": null },
            "usage": { "output_tokens": reply.output_tokens() },
        }),
    )?;
    event(&mut to, json!({ "type": "message_stop" }))?;
    to.end()
}

pub(super) fn failure(status: u16) -> Value {
    let kind = match status {
        401 => "authentication_error",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        _ => "api_error",
    };
    json!({ "type": "error", "error": { "type": kind, "message": format!("The fake fails with {status}.") } })
}

fn opening(id: u64, asked: &Asked) -> Value {
    json!({
        "id": format!("msg_fake{id}"), "type": "message", "role": "assistant", "model": asked.model,
        "content": [], "stop_reason": null, "stop_sequence": null,
        "usage": {
            "input_tokens": asked.input_tokens() - asked.cached_tokens(), "output_tokens": 1,
            "cache_creation_input_tokens": 0, "cache_read_input_tokens": asked.cached_tokens(),
        },
    })
}

fn content(id: u64, reply: &Reply) -> Value {
    match reply {
        Reply::Text(text) => {
            let thinking = text.thinking.iter().map(
                |thinking| json!({ "type": "thinking", "thinking": thinking, "signature": "ZmFrZS1zaWduYXR1cmU=" }),
            );
            thinking.chain([json!({ "type": "text", "text": text.chunks.concat() })]).collect()
        }
        Reply::Call(call) => json!([
            { "type": "tool_use", "id": format!("toolu_fake{id}"), "name": call.tool, "input": call.arguments },
        ]),
        Reply::Fail { .. } => json!([]),
    }
}

fn stop_reason(reply: &Reply) -> &'static str {
    if matches!(reply, Reply::Call(_)) { "tool_use" } else { "end_turn" }
}
