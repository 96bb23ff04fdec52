//! Why a model did not answer, read from words: the last resort, for CLIs that tell no code and no status.

use amux_proto::transcript::{Failure, FailureClass, Item};

use crate::{Out, cut};

const TEXT_CHARS_MAX: usize = 2000;

pub(crate) fn failure(class: FailureClass, text: &str) -> Failure {
    Failure { class, text: cut(text.trim(), TEXT_CHARS_MAX), retryable: class.is_retryable(), until: None }
}

pub(crate) fn say(class: FailureClass, text: &str, out: &mut Out) {
    out.say(Item::Error { error: failure(class, text) });
}

/// A status that is told as one goes first, so that a path with "429" in it is no rate limit.
pub(crate) fn of_text(text: &str) -> FailureClass {
    if let Some(class) = status_in(text).map(FailureClass::of_http).filter(|class| *class != FailureClass::Unknown) {
        return class;
    }
    let text = text.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&["max turns", "maximum number of turns", "max_turns"]) {
        FailureClass::MaxTurns
    } else if says(&["rate limit", "rate_limit", "too many requests"]) {
        FailureClass::RateLimited
    } else if says(&["overloaded", "high demand", "server-side issue", "at capacity", "internal server error"]) {
        FailureClass::Overloaded
    } else if says(&["usage limit", "quota", "credit balance", "billing", "out of credits"]) {
        FailureClass::UsageLimit
    } else if says(&["unauthorized", "not logged in", "/login", "api key", "authentication", "auth method"]) {
        FailureClass::Auth
    } else if says(&["context window", "context length", "maximum context", "prompt is too long"]) {
        FailureClass::ContextExceeded
    } else if says(&["disconnected", "connection", "timed out", "timeout", "network", "econn", "dns"]) {
        FailureClass::Network
    } else {
        FailureClass::Unknown
    }
}

/// The first three digits that stand behind a word for a status.
fn status_in(text: &str) -> Option<u64> {
    let lower = text.to_lowercase();
    ["\"code\"", "status code", "last status", "unexpected status", "status", "http", "api error", "rejected"]
        .iter()
        .find_map(|word| {
            let rest = &lower[lower.find(word)? + word.len()..];
            let rest = rest.trim_start_matches([' ', ':', '=', '(', '"']);
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            (digits.len() == 3).then(|| digits.parse().ok()).flatten()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_classed_by_its_status_and_then_by_its_words() {
        for (text, class) in [
            ("unexpected status 401 Unauthorized: no, url: http://h/v1", FailureClass::Auth),
            ("exceeded retry limit, last status: 429 Too Many Requests", FailureClass::RateLimited),
            ("API Error: Request rejected (429) · later", FailureClass::RateLimited),
            ("API Error: 529 Overloaded", FailureClass::Overloaded),
            ("cannot read src/429.rs", FailureClass::Unknown),
            ("We’re currently experiencing high demand", FailureClass::Overloaded),
            ("stream disconnected before completion", FailureClass::Network),
            ("You've hit your usage limit", FailureClass::UsageLimit),
            ("Prompt is too long", FailureClass::ContextExceeded),
        ] {
            assert_eq!(of_text(text), class, "{text}");
        }
    }
}
