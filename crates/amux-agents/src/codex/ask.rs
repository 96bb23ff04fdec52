//! What the app-server asks a human, and how an answer is said to it.

use amux_proto::entity::{Answer, RequestKind, RequestOption, RequestOptionKind};
use amux_proto::transcript::Ask;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::item::OpenTool;
use crate::{Refused, cut};

/// A question that waits for its answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Asking {
    /// Its id in the transcript.
    pub ask: String,
    /// The id of the request: a number (0 is one) or a string.
    pub request: Value,
    /// Over when this turn is.
    pub turn: Option<String>,
    /// What each option's id answers with.
    results: Vec<(String, Value)>,
    text: Text,
}

/// What words of a human's own become.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Text {
    No,
    /// Of these questions, a line for each.
    Lines {
        questions: Vec<String>,
    },
    /// The only field of a form.
    Field {
        name: String,
    },
    /// Forms with several fields are filled in as JSON.
    Form,
}

impl Asking {
    pub(super) fn result(&self, answer: &Answer) -> Result<Value, Refused> {
        let bad = |why: &str| Err(Refused::BadAnswer(why.to_owned()));
        match answer {
            Answer::Option { option, .. } => match self.results.iter().find(|(id, _)| id == option) {
                Some((_, result)) => Ok(result.clone()),
                None => Err(Refused::BadAnswer(format!("there is no option {option:?}"))),
            },
            Answer::Text { text } => match &self.text {
                Text::No => bad("one of its options is wanted"),
                Text::Lines { questions } => {
                    let lines: Vec<&str> = match questions.len() {
                        1 => vec![text.trim()],
                        _ => text.lines().map(str::trim).filter(|line| !line.is_empty()).collect(),
                    };
                    if lines.len() != questions.len() {
                        return bad("one line for each question is wanted");
                    }
                    let answers = questions.iter().cloned().zip(lines.iter().map(|line| json!({ "answers": [line] })));
                    Ok(json!({ "answers": answers.collect::<serde_json::Map<_, _>>() }))
                }
                Text::Field { name } => Ok(elicited(&json!({ name.as_str(): text }))),
                Text::Form => match serde_json::from_str::<Value>(text) {
                    Ok(content) if content.is_object() => Ok(elicited(&content)),
                    _ => bad("a JSON object with its fields is wanted"),
                },
            },
        }
    }
}

/// A request of the server that is for a human; `None`: it is not.
pub(super) fn asked(
    ask: String,
    request: &Value,
    method: &str,
    params: &Value,
    tools: &[OpenTool],
) -> Option<(Ask, Asking)> {
    let text = |key: &str| params[key].as_str().filter(|text| !text.is_empty());
    let item = text("itemId").and_then(|id| tools.iter().find(|tool| tool.id == id));
    let reason = text("reason").unwrap_or_default();
    let mut words = Words::default();
    match method {
        "item/commandExecution/requestApproval" => {
            let command = super::item::command_line(params);
            words.title = format!("Run {}", cut(&command, 200));
            words.detail = lines(&[reason, &command, text("cwd").unwrap_or_default()]);
            words.tool = Some("commandExecution");
            words.subject = Some(command);
            command_options(&mut words, &params["availableDecisions"]);
        }
        "item/fileChange/requestApproval" => {
            let title = item.map_or("files", |tool| tool.title.as_str());
            words.title = format!("Change {}", cut(title, 200));
            words.detail = lines(&[reason, text("grantRoot").unwrap_or_default()]);
            words.tool = Some("fileChange");
            words.subject = item.and_then(|tool| tool.subject.clone());
            for decision in ["accept", "acceptForSession", "decline", "cancel"] {
                words.decision(decision, &json!(decision));
            }
        }
        "item/permissions/requestApproval" => {
            let mut wanted = params["permissions"].clone();
            if let Some(wanted) = wanted.as_object_mut() {
                wanted.retain(|_, value| !value.is_null());
            }
            words.title = "Grant more permissions".to_owned();
            words.detail = lines(&[reason, &wanted.to_string()]);
            words.tool = Some("permissions");
            words.option("accept", "Grant for this turn", RequestOptionKind::AllowOnce, granted(&wanted, "turn"));
            let session = granted(&wanted, "session");
            words.option("acceptForSession", "Grant for the session", RequestOptionKind::AllowAlways, session);
            words.option("decline", "Decline", RequestOptionKind::RejectOnce, granted(&json!({}), "turn"));
        }
        "item/tool/requestUserInput" => questions(&mut words, &params["questions"])?,
        "mcpServer/elicitation/request" => elicitation(&mut words, params),
        _ => return None,
    }
    let options = words.options.iter().map(|(option, _)| option.clone()).collect();
    let results = words.options.into_iter().map(|(option, result)| (option.id, result)).collect();
    let turn = text("turnId").map(str::to_owned);
    let told = Ask {
        id: ask.clone(),
        kind: words.kind,
        title: words.title,
        detail: words.detail,
        options,
        tool: words.tool.map(str::to_owned),
        subject: words.subject,
    };
    Some((told, Asking { ask, request: request.clone(), turn, results, text: words.text }))
}

struct Words {
    kind: RequestKind,
    title: String,
    detail: String,
    tool: Option<&'static str>,
    subject: Option<String>,
    options: Vec<(RequestOption, Value)>,
    text: Text,
}

impl Default for Words {
    fn default() -> Self {
        Self {
            kind: RequestKind::Permission,
            title: String::new(),
            detail: String::new(),
            tool: None,
            subject: None,
            options: Vec::new(),
            text: Text::No,
        }
    }
}

impl Words {
    fn option(&mut self, id: &str, label: &str, kind: RequestOptionKind, result: Value) {
        self.options.push((RequestOption { id: id.to_owned(), label: label.to_owned(), kind }, result));
    }

    fn decision(&mut self, word: &str, decision: &Value) {
        if self.options.iter().any(|(option, _)| option.id == word) {
            return;
        }
        let (label, kind) = match word {
            "accept" => ("Allow", RequestOptionKind::AllowOnce),
            "acceptForSession" => ("Allow for the session", RequestOptionKind::AllowAlways),
            "acceptWithExecpolicyAmendment" => ("Allow, and commands like it", RequestOptionKind::AllowAlways),
            "decline" => ("Decline", RequestOptionKind::RejectOnce),
            "cancel" => ("Cancel the turn", RequestOptionKind::RejectAlways),
            _ => (word, RequestOptionKind::Choice),
        };
        self.option(word, label, kind, json!({ "decision": decision }));
    }
}

fn command_options(words: &mut Words, available: &Value) {
    for decision in available.as_array().into_iter().flatten() {
        if let Some(word) = decision.as_str() {
            words.decision(word, decision);
        } else if let Some((word, inner)) = decision.as_object().and_then(|object| object.iter().next()) {
            let network = &inner["network_policy_amendment"];
            if let Some(action) = network["action"].as_str() {
                let host = network["host"].as_str().unwrap_or("this host");
                let (verb, kind) = match action {
                    "allow" => ("Always allow", RequestOptionKind::AllowAlways),
                    _ => ("Always deny", RequestOptionKind::RejectAlways),
                };
                let result = json!({ "decision": decision });
                words.option(&format!("{word}:{action}:{host}"), &format!("{verb} {host}"), kind, result);
            } else {
                words.decision(word, decision);
            }
        }
    }
    if words.options.is_empty() {
        words.decision("accept", &json!("accept"));
        words.decision("acceptForSession", &json!("acceptForSession"));
    }
    // Declining is understood even where it is not listed, and lets the turn go on.
    words.decision("decline", &json!("decline"));
    words.decision("cancel", &json!("cancel"));
    words.options.sort_by_key(|(option, _)| match option.kind {
        RequestOptionKind::AllowOnce => 0,
        RequestOptionKind::AllowAlways => 1,
        RequestOptionKind::Choice => 2,
        RequestOptionKind::RejectOnce => 3,
        RequestOptionKind::RejectAlways => 4,
    });
}

fn granted(permissions: &Value, scope: &str) -> Value {
    json!({ "permissions": permissions, "scope": scope })
}

fn questions(words: &mut Words, questions: &Value) -> Option<()> {
    let questions = questions.as_array().filter(|questions| !questions.is_empty())?;
    words.kind = RequestKind::Question;
    words.tool = Some("requestUserInput");
    let said = |question: &Value| question["question"].as_str().unwrap_or_default().to_owned();
    words.title = cut(&said(&questions[0]), 200);
    for question in questions {
        words.detail.push_str(&said(question));
        words.detail.push('\n');
        for option in question["options"].as_array().into_iter().flatten() {
            let label = option["label"].as_str().unwrap_or_default();
            let description = option["description"].as_str().unwrap_or_default();
            words.detail.push_str(&format!("- {label}: {description}\n"));
            if questions.len() == 1 {
                let id = question["id"].as_str().unwrap_or_default();
                let result = json!({ "answers": { id: { "answers": [label] } } });
                words.option(label, label, RequestOptionKind::Choice, result);
            }
        }
    }
    let ids = questions.iter().map(|question| question["id"].as_str().unwrap_or_default().to_owned());
    words.text = Text::Lines { questions: ids.collect() };
    Some(())
}

fn elicited(content: &Value) -> Value {
    json!({ "action": "accept", "content": content, "_meta": null })
}

fn elicitation(words: &mut Words, params: &Value) {
    let server = params["serverName"].as_str().unwrap_or_default();
    words.title = cut(params["message"].as_str().unwrap_or("An MCP server asks"), 200);
    let no = |action: &str| json!({ "action": action, "content": null, "_meta": null });
    let meta = &params["_meta"];
    let fields = params["requestedSchema"]["properties"].as_object().filter(|fields| !fields.is_empty());
    if let Some(tool) = meta["tool_name"].as_str() {
        words.tool = Some("mcpToolCall");
        words.subject = Some(format!("{server}.{tool}"));
        words.detail = meta["tool_params"].to_string();
    } else {
        words.kind = RequestKind::Question;
        words.detail = lines(&[server, params["url"].as_str().unwrap_or_default()]);
    }
    match fields {
        None => {
            words.option("accept", "Allow", RequestOptionKind::AllowOnce, elicited(&json!({})));
            for (scope, label) in [("session", "Allow for the session"), ("always", "Always allow")] {
                if meta["persist"].as_array().is_some_and(|scopes| scopes.iter().any(|known| known == scope)) {
                    let result = json!({ "action": "accept", "content": {}, "_meta": { "persist": scope } });
                    words.option(scope, label, RequestOptionKind::AllowAlways, result);
                }
            }
        }
        Some(fields) => {
            words.kind = RequestKind::Question;
            words.detail = lines(&[&words.detail, &params["requestedSchema"].to_string()]);
            words.text = Text::Form;
            if let Some((name, field)) = fields.iter().next().filter(|_| fields.len() == 1) {
                for choice in field["enum"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                    let result = elicited(&json!({ name.as_str(): choice }));
                    words.option(&format!("={choice}"), choice, RequestOptionKind::Choice, result);
                }
                if field["type"] == "string" && words.options.is_empty() {
                    words.text = Text::Field { name: name.clone() };
                }
            }
        }
    }
    words.option("decline", "Decline", RequestOptionKind::RejectOnce, no("decline"));
    words.option("cancel", "Cancel", RequestOptionKind::RejectAlways, no("cancel"));
}

fn lines(texts: &[&str]) -> String {
    texts.iter().copied().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
}
