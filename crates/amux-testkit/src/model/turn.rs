//! What every vendor's request comes down to, and what the fake says to it. The wire formats are next door.

use std::time::Duration;

use serde_json::{Value, json};

/// One request of an agent, without the vendor's clothes.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub model: String,
    /// The last words of the user; what agents put in on their own is not theirs.
    pub user_text: String,
    /// The output of a tool when it is the newest thing in the conversation.
    pub tool_output: Option<String>,
    /// Messages of the conversation, as the vendor counts them.
    pub messages: usize,
    pub tools: Vec<Tool>,
    /// A wish for JSON of this shape. The conversation itself never has it.
    pub schema: Option<Value>,
    pub streams: bool,
}

impl Asked {
    /// Agents ask for titles, routes and memories beside the conversation, and offer no tools when they do.
    pub fn is_aside(&self) -> bool {
        self.tools.is_empty() || self.schema.is_some()
    }

    pub(super) fn input_tokens(&self) -> u64 {
        TOKENS_A_MESSAGE * self.messages as u64
    }

    /// All but the newest message comes out of the cache.
    pub(super) fn cached_tokens(&self) -> u64 {
        self.input_tokens().saturating_sub(TOKENS_A_MESSAGE)
    }
}

const TOKENS_A_MESSAGE: u64 = 10;

#[derive(Clone, Debug, Default)]
pub struct Tool {
    pub name: String,
    /// Some agents group the tools of an MCP server; a call names both.
    pub namespace: Option<String>,
    pub schema: Value,
    /// Takes text and no JSON.
    pub is_freeform: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Text(Text),
    Call(Call),
    Fail { status: u16 },
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Text {
    pub thinking: Option<String>,
    /// One delta each.
    pub chunks: Vec<String>,
    /// Before each chunk.
    pub pause: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub tool: String,
    pub namespace: Option<String>,
    pub arguments: Value,
    pub is_freeform: bool,
}

impl Reply {
    /// Text in two deltas, so that whoever joins them is seen.
    pub fn text(text: impl Into<String>) -> Reply {
        let text = text.into();
        let at = text.find(' ').map_or(text.len(), |at| at + 1);
        let chunks = [&text[..at], &text[at..]].into_iter().filter(|chunk| !chunk.is_empty()).map(str::to_owned);
        Reply::Text(Text { chunks: chunks.collect(), ..Text::default() })
    }

    /// A call of the tool that does this, with those arguments its schema knows.
    pub fn call(asked: &Asked, does: Does, arguments: &Value) -> Reply {
        let offered = does.names().iter().find_map(|name| asked.tools.iter().find(|tool| tool.name == *name));
        match offered {
            Some(tool) => call(tool, arguments),
            None => Reply::text(format!("FAKE-NO-TOOL: {does:?}")),
        }
    }

    pub(super) fn output_tokens(&self) -> u64 {
        let bytes = match self {
            Reply::Text(text) => text.chunks.iter().map(String::len).sum(),
            Reply::Call(call) => call.arguments.to_string().len(),
            Reply::Fail { .. } => 0,
        };
        bytes as u64 / 4 + 1
    }
}

fn call(tool: &Tool, arguments: &Value) -> Reply {
    Reply::Call(Call {
        tool: tool.name.clone(),
        namespace: tool.namespace.clone(),
        arguments: if tool.is_freeform { arguments["freeform"].clone() } else { fit(arguments, &tool.schema) },
        is_freeform: tool.is_freeform,
    })
}

/// What a tool is for. Every agent has its own name for it, and its own names for the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    Shell,
    Write,
    Ask,
    Delegate,
}

impl Does {
    fn names(self) -> &'static [&'static str] {
        match self {
            Does::Shell => &["Bash", "bash", "exec_command", "shell_command", "shell", "run_shell_command"],
            Does::Write => &["Write", "write", "write_file", "apply_patch"],
            Does::Ask => &["AskUserQuestion", "question", "ask_user_question", "ask_user", "request_user_input"],
            Does::Delegate => &["Agent", "Task", "task", "agent"],
        }
    }
}

/// The answer to a request, by the words in it.
pub(super) fn reply(asked: &Asked) -> Reply {
    if let Some(schema) = &asked.schema {
        return Reply::text(least(schema).to_string());
    }
    if asked.is_aside() {
        return Reply::text("Fake aside");
    }
    if let Some(output) = &asked.tool_output {
        return Reply::text(format!("FAKE-DONE: {}", output.chars().take(80).collect::<String>()));
    }
    let text = asked.user_text.as_str();
    // Words in what a task reports are not an order of the user.
    if text.starts_with("<task-notification>") {
        return Reply::text("FAKE-NOTED: a task ended");
    }
    let words = text.split_whitespace();
    let by_word = words.clone().enumerate().find_map(|(at, word)| scripted(asked, word, words.clone().nth(at + 1)));
    by_word.unwrap_or_else(|| Reply::text(format!("FAKE-REPLY: {text}")))
}

fn scripted(asked: &Asked, word: &str, next: Option<&str>) -> Option<Reply> {
    let number = |otherwise: u64| next.and_then(|next| next.parse().ok()).unwrap_or(otherwise);
    let (word, parameter) = word.split_once(':').unwrap_or((word, ""));
    let reply = match word {
        "USETOOL" => shell(asked, "echo fake-tool-ran", "run harmless", false),
        "RISKY" => shell(asked, "touch fake-risky-file && echo risky-ran", "run risky", false),
        "SLEEPTOOL" => shell(asked, &sleep(number(30)), "sleep", false),
        "LONGFG" => shell(asked, &sleep(number(60)), "sleep in front", false),
        "LONGBG" => shell(asked, &sleep(number(60)), "sleep behind", true),
        "BGBASH" => shell(asked, &sleep(number(2)), "sleep behind", true),
        "SPAWNSUB" => Reply::call(
            asked,
            Does::Delegate,
            &json!({
                "description": "fake sub", "prompt": "USETOOL as a helper", "subagent_type": "general-purpose",
            }),
        ),
        "WRITEFILE" => {
            let path = next.unwrap_or("fake-file.txt");
            let content = "written by the fake\n";
            Reply::call(
                asked,
                Does::Write,
                &json!({
                    "file_path": path, "filePath": path, "path": path, "content": content,
                    "freeform": format!("*** Begin Patch\n*** Add File: {path}\n+{content}*** End Patch\n"),
                }),
            )
        }
        "ASKQ" => Reply::call(
            asked,
            Does::Ask,
            &json!({
                "questions": [{
                    "id": "colour", "type": "choice", "header": "Colour", "question": "Which colour?",
                    "multiSelect": false, "multiple": false,
                    "options": [
                        { "label": "Red", "description": "as a rose" },
                        { "label": "Blue", "description": "as the sea" },
                    ],
                }],
            }),
        ),
        "SLOW" => {
            let pause_ms = parameter.parse().unwrap_or(250);
            Reply::Text(Text {
                chunks: (0..20).map(|at| format!("chunk-{at} ")).collect(),
                pause: Duration::from_millis(pause_ms),
                ..Text::default()
            })
        }
        "THINK" => Reply::Text(Text {
            thinking: Some("The fake thinks about it.".to_owned()),
            chunks: vec!["FAKE-THOUGHT: ".to_owned(), "done".to_owned()],
            ..Text::default()
        }),
        "LONGTEXT" => {
            let line = format!("{}\n", "long text ".repeat(103)); // 1 KiB and a little
            Reply::Text(Text {
                chunks: vec![line[line.len() - 1024..].to_owned(); number(64) as usize],
                ..Text::default()
            })
        }
        "ERR401" => Reply::Fail { status: 401 },
        "ERR429" => Reply::Fail { status: 429 },
        "ERR500" => Reply::Fail { status: 500 },
        "ERR529" => Reply::Fail { status: 529 },
        "MCP" => mcp(asked),
        _ => return None,
    };
    Some(reply)
}

fn shell(asked: &Asked, command: &str, description: &str, is_background: bool) -> Reply {
    Reply::call(
        asked,
        Does::Shell,
        &json!({
            "command": command, "cmd": command, "description": description,
            "run_in_background": is_background, "is_background": is_background,
        }),
    )
}

/// Not only a sleep, because claude refuses to run that and nothing else in front.
fn sleep(seconds: u64) -> String {
    format!("echo sleeping && sleep {seconds} && echo slept")
}

/// `MCP <tool> <json>`: agents put the server's name before the tool's, each with its own glue. `@message` stands for
/// the id of the message that says it.
fn mcp(asked: &Asked) -> Reply {
    let rest = asked.user_text.split_once("MCP ").map_or("", |(_, rest)| rest.trim_start());
    let message = asked.user_text.split_once("[message ").and_then(|(_, rest)| rest.split_whitespace().next());
    let rest = &message.map_or(rest.to_owned(), |id| rest.replace("@message", id));
    let (name, arguments) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let arguments = serde_json::Deserializer::from_str(arguments).into_iter().next();
    let arguments: Value = arguments.and_then(Result::ok).unwrap_or_else(|| json!({}));
    let is_it = |tool: &&Tool| {
        tool.name.strip_suffix(name).is_some_and(|server| server.is_empty() || server.ends_with(['_', '.', '-', '/']))
    };
    match asked.tools.iter().find(|tool| tool.name == name).or_else(|| asked.tools.iter().find(is_it)) {
        Some(tool) => Reply::Call(Call {
            tool: tool.name.clone(),
            namespace: tool.namespace.clone(),
            arguments,
            is_freeform: false,
        }),
        None => Reply::text(format!("FAKE-NO-TOOL: {name}")),
    }
}

/// Of many arguments those a schema knows, in the type it wants.
fn fit(value: &Value, schema: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let Some(known) = schema["properties"].as_object() else { return value.clone() };
            let fields = fields.iter().filter_map(|(key, value)| Some((key.clone(), fit(value, known.get(key)?))));
            Value::Object(fields.collect())
        }
        Value::Array(items) => items.iter().map(|item| fit(item, &schema["items"])).collect(),
        // A command that is a list of arguments.
        Value::String(command) if is_type(schema, "array") => json!(["bash", "-lc", command]),
        _ => value.clone(),
    }
}

/// The smallest value a schema allows, near enough: what a router or a title wants to read.
fn least(schema: &Value) -> Value {
    if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
        return first.clone();
    }
    if let Some(known) = schema["properties"].as_object() {
        return Value::Object(known.iter().map(|(key, schema)| (key.clone(), least(schema))).collect());
    }
    match schema {
        _ if is_type(schema, "array") => json!([]),
        _ if is_type(schema, "string") => json!("fake"),
        _ if is_type(schema, "boolean") => json!(false),
        _ if is_type(schema, "integer") || is_type(schema, "number") => {
            schema.get("minimum").cloned().unwrap_or(json!(1))
        }
        _ => json!({}),
    }
}

/// Gemini shouts its types, others give a list of them.
fn is_type(schema: &Value, name: &str) -> bool {
    let is_it = |value: &Value| value.as_str().is_some_and(|value| value.eq_ignore_ascii_case(name));
    is_it(&schema["type"]) || schema["type"].as_array().is_some_and(|types| types.iter().any(is_it))
}

/// What may come last in a conversation.
pub(super) enum Last {
    Text(String),
    ToolOutput(String),
}

/// Puts the newest thing of a conversation, given oldest first, into place.
pub(super) fn settle(asked: &mut Asked, parts: impl IntoIterator<Item = Last>) {
    for part in parts {
        match part {
            Last::ToolOutput(output) => asked.tool_output = Some(said(&output)),
            Last::Text(text) => {
                if let Some(text) = users_own(&text) {
                    asked.user_text = text;
                    asked.tool_output = None;
                }
            }
        }
    }
}

/// Codex, gemini and qwen put a report before what a command said.
fn said(output: &str) -> String {
    let line = output.match_indices("Output:").find(|(at, _)| *at == 0 || output[..*at].ends_with('\n'));
    line.map_or(output, |(at, word)| output[at + word.len()..].trim()).to_owned()
}

/// The user's own words in a text that an agent sent as the user's.
fn users_own(text: &str) -> Option<String> {
    const INJECTED: &[&str] = &[
        "<environment_context>",
        "<user_instructions>",
        "<permissions instructions>",
        "<skills_instructions>",
        "<turn_aborted>",
        "<session_context>",
        "# AGENTS.md instructions",
        "This is the Gemini CLI",
        "This is the Qwen Code",
        "[Request interrupted by user",
    ];
    let mut own = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("<system-reminder>") {
        own.push_str(before);
        rest = after.split_once("</system-reminder>").map_or("", |(_, after)| after);
    }
    own.push_str(rest);
    let own = own.trim();
    (!own.is_empty() && !INJECTED.iter().any(|start| own.starts_with(start))).then(|| own.to_owned())
}

/// Text of a content that is a string, or parts with a text each.
pub(super) fn joined(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n"),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str, tools: &[(&str, Value)]) -> Asked {
        let tools = tools.iter().map(|(name, schema)| Tool {
            name: (*name).to_owned(),
            schema: schema.clone(),
            ..Tool::default()
        });
        Asked { user_text: text.to_owned(), tools: tools.collect(), messages: 1, ..Asked::default() }
    }

    #[test]
    fn a_command_takes_the_shape_of_the_offered_shell() {
        let cases = [
            ("Bash", json!({"properties": {"command": {"type": "string"}}}), json!({"command": "echo fake-tool-ran"})),
            ("exec_command", json!({"properties": {"cmd": {"type": "string"}}}), json!({"cmd": "echo fake-tool-ran"})),
            (
                "shell",
                json!({"properties": {"command": {"type": "array", "items": {"type": "string"}}}}),
                json!({"command": ["bash", "-lc", "echo fake-tool-ran"]}),
            ),
        ];
        for (name, schema, arguments) in cases {
            let Reply::Call(call) = reply(&asked("USETOOL please", &[(name, schema)])) else { panic!("{name}") };
            assert_eq!((call.tool.as_str(), &call.arguments), (name, &arguments));
        }
    }

    #[test]
    fn an_mcp_tool_is_found_behind_its_servers_name() {
        let text = r#"[from scout] MCP send {"to": "scout", "text": "a b"} thanks"#;
        let Reply::Call(call) = reply(&asked(text, &[("resend", json!({})), ("mcp__agentmux__send", json!({}))]))
        else {
            panic!("no call")
        };
        assert_eq!(call.tool, "mcp__agentmux__send");
        assert_eq!(call.arguments, json!({"to": "scout", "text": "a b"}));
        let text = r#"[message 12ab34cd from lead@web] MCP reply {"id": "@message"}"#;
        let Reply::Call(call) = reply(&asked(text, &[("mcp__agentmux__reply", json!({}))])) else { panic!("no call") };
        assert_eq!(call.arguments, json!({"id": "12ab34cd"}));
    }

    #[test]
    fn injected_words_are_not_the_users() {
        let cases = [
            ("<system-reminder>ERR500</system-reminder>\nhello", Some("hello")),
            ("<system-reminder>ERR500</system-reminder>", None),
            ("<environment_context>\n<cwd>SLOW</cwd>", None),
            (" hello ", Some("hello")),
        ];
        for (text, own) in cases {
            assert_eq!(users_own(text).as_deref(), own, "{text}");
        }
    }

    #[test]
    fn an_aside_is_answered_shortly_and_in_its_shape() {
        assert_eq!(reply(&asked("Title of: SLOW", &[])), Reply::text("Fake aside"));
        let schema = json!({"properties": {"choice": {"enum": ["flash", "pro"]}, "score": {"type": "INTEGER"}}});
        let aside = Asked { schema: Some(schema), ..asked("ERR500", &[("Bash", json!({}))]) };
        assert_eq!(reply(&aside), Reply::text(r#"{"choice":"flash","score":1}"#));
    }

    #[test]
    fn a_tools_output_ends_the_errand_until_the_user_speaks_again() {
        let mut conversation = asked("", &[("Bash", json!({}))]);
        settle(
            &mut conversation,
            [Last::Text("USETOOL".into()), Last::ToolOutput("Exit code 0\nOutput:\nout\n".into())],
        );
        assert_eq!(reply(&conversation), Reply::text("FAKE-DONE: out"));
        settle(&mut conversation, [Last::Text("hello".into())]);
        assert_eq!(reply(&conversation), Reply::text("FAKE-REPLY: hello"));
    }
}
