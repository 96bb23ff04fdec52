//! OpenAI: responses, and chat completions, which half the world speaks.

use std::io;

use serde_json::{Value, json};

use super::http::Events;
use super::turn::{Asked, Last, Reply, Tool, joined, settle};

pub(super) fn models() -> Value {
    json!({ "object": "list", "data": [{ "id": "fake-model", "object": "model", "created": 0, "owned_by": "fake" }] })
}

pub(super) fn failure(status: u16) -> Value {
    let (kind, code) = match status {
        401 => ("authentication_error", "invalid_api_key"),
        429 => ("rate_limit_error", "rate_limit_exceeded"),
        _ => ("server_error", "server_error"),
    };
    json!({ "error": { "message": format!("The fake fails with {status}."), "type": kind, "code": code, "param": null } })
}

pub(super) fn read_responses(body: &Value) -> Asked {
    let input = match &body["input"] {
        Value::Array(items) => items.clone(),
        text => vec![json!({ "type": "message", "role": "user", "content": text })],
    };
    let mut tools = Vec::new();
    for tool in body["tools"].as_array().into_iter().flatten() {
        if tool["type"] == "namespace" {
            let inner = tool["tools"].as_array().into_iter().flatten();
            tools.extend(inner.filter_map(|inner| response_tool(inner, tool["name"].as_str())));
        } else {
            tools.extend(response_tool(tool, None));
        }
    }
    let mut asked = Asked {
        model: body["model"].as_str().unwrap_or_default().to_owned(),
        messages: input.len(),
        tools,
        schema: body["text"]["format"].get("schema").cloned(),
        streams: body["stream"] == true,
        ..Asked::default()
    };
    settle(
        &mut asked,
        input.iter().flat_map(|item| match item["type"].as_str() {
            // Each part for itself: the words of the user stand beside what the agent put in.
            None | Some("message") if item["role"] == "user" => match &item["content"] {
                Value::Array(parts) => parts.iter().map(|part| Last::Text(joined(&part["text"]))).collect(),
                text => vec![Last::Text(joined(text))],
            },
            Some("function_call_output" | "custom_tool_call_output") => vec![Last::ToolOutput(joined(&item["output"]))],
            _ => Vec::new(),
        }),
    );
    asked
}

fn response_tool(tool: &Value, namespace: Option<&str>) -> Option<Tool> {
    Some(Tool {
        name: tool["name"].as_str()?.to_owned(),
        namespace: namespace.map(str::to_owned),
        schema: tool["parameters"].clone(),
        is_freeform: tool["type"] == "custom",
    })
}

pub(super) fn whole_response(id: u64, asked: &Asked, reply: &Reply) -> Value {
    let mut response = response(id, asked, "completed");
    response["output"] = items(id, reply).into();
    response["usage"] = json!({
        "input_tokens": asked.input_tokens(), "input_tokens_details": { "cached_tokens": asked.cached_tokens() },
        "output_tokens": reply.output_tokens(), "output_tokens_details": { "reasoning_tokens": 0 },
        "total_tokens": asked.input_tokens() + reply.output_tokens(),
    });
    response
}

pub(super) fn stream_response(mut to: Events<'_>, id: u64, asked: &Asked, reply: &Reply) -> io::Result<()> {
    let mut number = 0;
    let mut event = |to: &mut Events<'_>, mut data: Value| {
        data["sequence_number"] = number.into();
        number += 1;
        to.named(data["type"].as_str().unwrap_or_default(), &data)
    };
    event(&mut to, json!({ "type": "response.created", "response": response(id, asked, "in_progress") }))?;
    for (index, item) in items(id, reply).into_iter().enumerate() {
        let mut opened = item.clone();
        opened["status"] = "in_progress".into();
        for key in ["content", "summary"] {
            if opened.get(key).is_some() {
                opened[key] = json!([]);
            }
        }
        event(&mut to, json!({ "type": "response.output_item.added", "output_index": index, "item": opened }))?;
        match (item["type"].as_str(), reply) {
            (Some("reasoning"), _) => {
                let text = &item["summary"][0]["text"];
                let at = json!({ "item_id": item["id"], "output_index": index, "summary_index": 0 });
                let part = json!({ "type": "summary_text", "text": "" });
                let steps = [
                    ("reasoning_summary_part.added", "part", &part),
                    ("reasoning_summary_text.delta", "delta", text),
                    ("reasoning_summary_text.done", "text", text),
                    ("reasoning_summary_part.done", "part", &item["summary"][0]),
                ];
                for (kind, key, value) in steps {
                    let mut data = at.clone();
                    data["type"] = format!("response.{kind}").into();
                    data[key] = value.clone();
                    event(&mut to, data)?;
                }
            }
            (Some("message"), Reply::Text(text)) => {
                let at = json!({ "item_id": item["id"], "output_index": index, "content_index": 0 });
                for chunk in &text.chunks {
                    to.pause(text.pause);
                    let mut data = at.clone();
                    data["type"] = "response.output_text.delta".into();
                    data["delta"] = chunk.as_str().into();
                    event(&mut to, data)?;
                }
            }
            _ => {}
        }
        event(&mut to, json!({ "type": "response.output_item.done", "output_index": index, "item": item }))?;
    }
    event(&mut to, json!({ "type": "response.completed", "response": whole_response(id, asked, reply) }))?;
    to.end()
}

fn response(id: u64, asked: &Asked, status: &str) -> Value {
    json!({
        "id": format!("resp_fake{id}"), "object": "response", "created_at": 0, "status": status,
        "model": asked.model, "output": [], "error": null,
    })
}

fn items(id: u64, reply: &Reply) -> Vec<Value> {
    match reply {
        Reply::Text(text) => {
            let thinking = text.thinking.iter().map(|thinking| {
                json!({
                    "type": "reasoning", "id": format!("rs_fake{id}"), "encrypted_content": "ZmFrZQ==",
                    "summary": [{ "type": "summary_text", "text": thinking }],
                })
            });
            let message = json!({
                "type": "message", "id": format!("msg_fake{id}"), "role": "assistant", "status": "completed",
                "content": [{ "type": "output_text", "text": text.chunks.concat(), "annotations": [] }],
            });
            thinking.chain([message]).collect()
        }
        Reply::Call(call) => {
            let mut item = json!({
                "id": format!("fc_fake{id}"), "call_id": format!("call_fake{id}"), "name": call.tool,
                "status": "completed",
            });
            if let Some(namespace) = &call.namespace {
                item["namespace"] = namespace.as_str().into();
            }
            if call.is_freeform {
                item["type"] = "custom_tool_call".into();
                item["input"] = call.arguments.clone();
            } else {
                item["type"] = "function_call".into();
                item["arguments"] = call.arguments.to_string().into();
            }
            vec![item]
        }
        Reply::Fail { .. } => Vec::new(),
    }
}

pub(super) fn read_chat(body: &Value) -> Asked {
    let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let tools = body["tools"].as_array().into_iter().flatten().map(|tool| Tool {
        name: tool["function"]["name"].as_str().unwrap_or_default().to_owned(),
        schema: tool["function"]["parameters"].clone(),
        ..Tool::default()
    });
    let mut asked = Asked {
        model: body["model"].as_str().unwrap_or_default().to_owned(),
        messages: messages.len(),
        tools: tools.collect(),
        schema: body["response_format"]["json_schema"].get("schema").cloned(),
        streams: body["stream"] == true,
        ..Asked::default()
    };
    settle(
        &mut asked,
        messages.iter().flat_map(|message| match (message["role"].as_str(), &message["content"]) {
            (Some("user"), Value::Array(parts)) => parts.iter().map(|part| Last::Text(joined(&part["text"]))).collect(),
            (Some("user"), text) => vec![Last::Text(joined(text))],
            (Some("tool"), output) => vec![Last::ToolOutput(joined(output))],
            _ => Vec::new(),
        }),
    );
    asked
}

pub(super) fn whole_chat(id: u64, asked: &Asked, reply: &Reply) -> Value {
    let mut message = json!({ "role": "assistant", "content": null });
    match reply {
        Reply::Text(text) => {
            message["content"] = text.chunks.concat().into();
            if let Some(thinking) = &text.thinking {
                message["reasoning_content"] = thinking.as_str().into();
            }
        }
        Reply::Call(_) => message["tool_calls"] = chat_calls(id, reply),
        Reply::Fail { .. } => {}
    }
    json!({
        "id": format!("chatcmpl-fake{id}"), "object": "chat.completion", "created": 0, "model": asked.model,
        "choices": [{ "index": 0, "message": message, "finish_reason": finish_reason(reply) }],
        "usage": chat_usage(asked, reply),
    })
}

pub(super) fn stream_chat(mut to: Events<'_>, id: u64, asked: &Asked, reply: &Reply) -> io::Result<()> {
    let chunk = |choices: Value, usage: Value| {
        json!({
            "id": format!("chatcmpl-fake{id}"), "object": "chat.completion.chunk", "created": 0,
            "model": asked.model, "choices": choices, "usage": usage,
        })
    };
    let delta = |delta: Value| chunk(json!([{ "index": 0, "delta": delta, "finish_reason": null }]), Value::Null);
    to.data(&delta(json!({ "role": "assistant", "content": "" })))?;
    match reply {
        Reply::Text(text) => {
            if let Some(thinking) = &text.thinking {
                to.data(&delta(json!({ "reasoning_content": thinking })))?;
            }
            for part in &text.chunks {
                to.pause(text.pause);
                to.data(&delta(json!({ "content": part })))?;
            }
        }
        Reply::Call(_) => to.data(&delta(json!({ "tool_calls": chat_calls(id, reply) })))?,
        Reply::Fail { .. } => {}
    }
    let finish = json!([{ "index": 0, "delta": {}, "finish_reason": finish_reason(reply) }]);
    to.data(&chunk(finish, Value::Null))?;
    to.data(&chunk(json!([]), chat_usage(asked, reply)))?;
    to.raw("[DONE]")?;
    to.end()
}

fn chat_calls(id: u64, reply: &Reply) -> Value {
    let Reply::Call(call) = reply else { return json!([]) };
    json!([{
        "index": 0, "id": format!("call_fake{id}"), "type": "function",
        "function": { "name": call.tool, "arguments": call.arguments.to_string() },
    }])
}

fn chat_usage(asked: &Asked, reply: &Reply) -> Value {
    json!({
        "prompt_tokens": asked.input_tokens(), "completion_tokens": reply.output_tokens(),
        "total_tokens": asked.input_tokens() + reply.output_tokens(),
        "prompt_tokens_details": { "cached_tokens": asked.cached_tokens() },
    })
}

fn finish_reason(reply: &Reply) -> &'static str {
    if matches!(reply, Reply::Call(_)) { "tool_calls" } else { "stop" }
}
