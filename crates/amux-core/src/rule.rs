//! The rules of `policy.toml`: what is allowed or denied without asking a person. What no rule speaks of is asked, and
//! no time-out ever answers. Who may do what is in [`crate::right`]; the file is loaded here.

use amux_proto::command::policy::{Command, Load};
use amux_proto::entity::{Answer, RequestOption, RequestOptionKind, Rule, RuleAnswer};
use amux_proto::event::policy::{Changed, Event};
use amux_proto::transcript::Ask;
use amux_proto::{AgentId, Rejection};
use serde_json::{Value, json};

use crate::bounds::{self, MAY_MAX, RULES_MAX, bad};
use crate::case::Case;
use crate::state::State;
use crate::{right, view};

/// What lets one command line hold two. A pattern that ends with `*` allows nothing that has one of these behind its
/// beginning: allowing `git *` does not allow what somebody writes behind a semicolon. Denying is not held back by it.
const SHELL_GLUE: &[char] = &[';', '|', '&', '$', '`', '<', '>', '(', ')', '\n', '\r'];

pub(crate) fn decide(case: &mut Case<'_>, command: &Command) -> Result<Value, Rejection> {
    match command {
        Command::Load(Load { rules, may }) => {
            if rules.len() > RULES_MAX {
                return Err(bounds::limit("rules", RULES_MAX));
            }
            if may.len() > MAY_MAX {
                return Err(bounds::limit("entries of who may do what", MAY_MAX));
            }
            for rule in rules {
                check(rule)?;
            }
            for may in may {
                right::check(may).map_err(bad)?;
            }
            if case.state.rules != *rules || case.state.may != *may {
                case.emit(Event::Changed(Changed { rules: rules.clone(), may: may.clone() }));
            }
            Ok(json!({ "rules": rules.len(), "may": may.len() }))
        }
    }
}

pub(crate) fn check(rule: &Rule) -> Result<(), Rejection> {
    for text in [&rule.agent, &rule.tool, &rule.subject].into_iter().flatten() {
        bounds::at_most("a word of a rule", text.len(), bounds::REASON_BYTES_MAX)?;
        bounds::no_nul("a word of a rule", text)?;
        if text.is_empty() {
            return Err(bad("an empty word in a rule matches nothing: leave it out to match everything"));
        }
    }
    Ok(())
}

/// The answer a rule gives to what an agent asks, and the rule that gave it, for people. `None`: a person decides.
pub(crate) fn answer(state: &State, agent: AgentId, ask: &Ask) -> Option<(Answer, String)> {
    let label = view::label(state, agent);
    let (at, rule) = state.rules.iter().enumerate().find(|(_, rule)| matches(rule, &label, ask))?;
    let wanted = match rule.answer {
        RuleAnswer::Allow => RequestOptionKind::AllowOnce,
        RuleAnswer::Deny => RequestOptionKind::RejectOnce,
        RuleAnswer::Ask => return None,
    };
    let RequestOption { id, .. } = ask.options.iter().find(|option| option.kind == wanted)?;
    Some((Answer::Option { option: id.clone(), text: None }, format!("rule {} of policy.toml", at + 1)))
}

fn matches(rule: &Rule, agent: &str, ask: &Ask) -> bool {
    let is_tool = rule.tool.as_ref().is_none_or(|tool| ask.tool.as_ref() == Some(tool));
    let is_agent = rule.agent.as_ref().is_none_or(|of| of == agent);
    let is_subject = match (&rule.subject, &ask.subject) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(pattern), Some(subject)) => match pattern.strip_suffix('*') {
            Some(start) => subject.strip_prefix(start).is_some_and(|rest| {
                let is_plain = !rest.contains(SHELL_GLUE);
                is_plain || rule.answer != RuleAnswer::Allow
            }),
            None => pattern == subject,
        },
    };
    is_tool && is_agent && is_subject
}

pub(crate) fn apply(state: &mut State, event: &Event) {
    match event {
        Event::Changed(Changed { rules, may }) => {
            state.rules.clone_from(rules);
            state.may.clone_from(may);
        }
    }
}

#[cfg(test)]
mod tests {
    use amux_proto::entity::RequestKind;

    use super::*;

    #[test]
    fn a_pattern_allows_no_second_command() {
        let ask = |subject: &str| Ask {
            id: "1".into(),
            kind: RequestKind::Permission,
            title: String::new(),
            detail: String::new(),
            options: Vec::new(),
            tool: Some("Bash".into()),
            subject: Some(subject.into()),
        };
        let rule = Rule {
            agent: None,
            tool: Some("Bash".into()),
            subject: Some("git status*".into()),
            answer: RuleAnswer::Allow,
        };
        assert!(matches(&rule, "a@b", &ask("git status -s")));
        for hostile in ["git status; rm -rf /", "git status && x", "git status $(x)", "git status\nx", "git push"] {
            assert!(!matches(&rule, "a@b", &ask(hostile)), "{hostile}");
        }
        let deny = Rule { answer: RuleAnswer::Deny, ..rule.clone() };
        assert!(matches(&deny, "a@b", &ask("git status; rm -rf /")), "a semicolon does not get around a denial");
        let other_tool = Rule { tool: Some("Write".into()), ..rule };
        assert!(!matches(&other_tool, "a@b", &ask("git status")));
    }
}
