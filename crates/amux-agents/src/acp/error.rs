//! What an error of JSON-RPC means. Codes and statuses first, words last.

use amux_proto::transcript::{Failure, FailureClass};
use serde_json::Value;

const AUTH_REQUIRED: i64 = -32000;
const NOT_FOUND: i64 = -32002;
const TEXT_CHARS: usize = 2_000;

pub(super) fn is_auth_required(error: &Value) -> bool {
    error["code"].as_i64() == Some(AUTH_REQUIRED)
}

/// The request itself was not taken; anything else went wrong while it was worked on.
pub(super) fn is_refusal(error: &Value) -> bool {
    matches!(error["code"].as_i64(), Some(AUTH_REQUIRED | NOT_FOUND | -32602..=-32600))
}

pub(super) fn failure(error: &Value) -> Failure {
    let text = text(error);
    let class = class(error, &text);
    Failure { class, text, retryable: class.is_retryable(), until: None }
}

/// The message, with the details where they are words.
pub(super) fn text(error: &Value) -> String {
    let message = error["message"].as_str().unwrap_or("an error without a message");
    let data = &error["data"];
    let details = data.as_str().or_else(|| ["details", "message", "error"].iter().find_map(|key| data[key].as_str()));
    let text = match details.filter(|details| !message.contains(details)) {
        Some(details) => format!("{message}: {details}"),
        None => message.to_owned(),
    };
    crate::cut(&text, TEXT_CHARS)
}

fn class(error: &Value, text: &str) -> FailureClass {
    if is_auth_required(error) {
        return FailureClass::Auth;
    }
    let data = &error["data"];
    let statuses = [&error["code"], &data["status"], &data["statusCode"], &data["code"], &data["httpStatus"]];
    for status in statuses.into_iter().filter_map(Value::as_u64) {
        let class = FailureClass::of_http(status);
        if class != FailureClass::Unknown {
            return class;
        }
    }
    if let Some(kind) = data["errorKind"].as_str()
        && let Some(class) = of_words(kind)
    {
        return class;
    }
    if let Some(class) = of_words(text) {
        return class;
    }
    match error["code"].as_i64() {
        Some(-32700 | NOT_FOUND | -32602..=-32600) => FailureClass::Protocol,
        _ => FailureClass::Unknown,
    }
}

fn of_words(text: &str) -> Option<FailureClass> {
    const WORDS: &[(&str, FailureClass)] = &[
        ("rate limit", FailureClass::RateLimited),
        ("rate_limit", FailureClass::RateLimited),
        ("too many requests", FailureClass::RateLimited),
        ("overloaded", FailureClass::Overloaded),
        ("server_error", FailureClass::Overloaded),
        ("server-side issue", FailureClass::Overloaded),
        ("authenticat", FailureClass::Auth),
        ("unauthorized", FailureClass::Auth),
        ("api key", FailureClass::Auth),
        ("please run /login", FailureClass::Auth),
        ("context length", FailureClass::ContextExceeded),
        ("prompt is too long", FailureClass::ContextExceeded),
        ("usage limit", FailureClass::UsageLimit),
        ("billing", FailureClass::UsageLimit),
        ("quota", FailureClass::UsageLimit),
        ("econnrefused", FailureClass::Network),
        ("econnreset", FailureClass::Network),
        ("enotfound", FailureClass::Network),
        ("etimedout", FailureClass::Network),
        ("fetch failed", FailureClass::Network),
        ("connection error", FailureClass::Network),
    ];
    let text = text.to_lowercase();
    let words = WORDS.iter().find(|(words, _)| text.contains(words)).map(|(_, class)| *class);
    words.or_else(|| of_status(&text))
}

/// A status that is told as one, as in "API Error: 529" or "(429)"; a number in a path is none.
fn of_status(text: &str) -> Option<FailureClass> {
    const BEFORE: &[&str] = &["error: ", "error ", "status ", "status: ", "status code ", "http ", "("];
    BEFORE.iter().find_map(|before| {
        text.match_indices(before).find_map(|(at, _)| {
            let rest = &text[at + before.len()..];
            let digits: &str = &rest[..rest.bytes().take_while(u8::is_ascii_digit).count()];
            let class = FailureClass::of_http(digits.parse().ok().filter(|_| digits.len() == 3)?);
            (class != FailureClass::Unknown).then_some(class)
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_error_is_classed_by_its_code_then_its_status_then_its_words() {
        let cases = [
            (json!({"code": -32000, "message": "Authentication required"}), FailureClass::Auth),
            (json!({"code": 429, "message": "slow down"}), FailureClass::RateLimited),
            (json!({"code": -32603, "message": "Internal error", "data": {"status": 529}}), FailureClass::Overloaded),
            (json!({"code": -32603, "message": "Internal error: API Error: 500 fake"}), FailureClass::Overloaded),
            (json!({"code": -32603, "message": "x", "data": {"details": "rate limit"}}), FailureClass::RateLimited),
            (json!({"code": -32602, "message": "Invalid params"}), FailureClass::Protocol),
            (json!({"code": -32603, "message": "cannot read /srv/429/a"}), FailureClass::Unknown),
            (json!({}), FailureClass::Unknown),
            (json!(7), FailureClass::Unknown),
        ];
        for (error, class) in cases {
            assert_eq!(failure(&error).class, class, "{error}");
        }
    }
}
