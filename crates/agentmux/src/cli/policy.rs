//! `agentmux policy`: what agents may do, and what is wrong with the file that says so.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;
use std::process::ExitCode;

use amux_core::policy;
use amux_proto::entity::{May, Right, Rule, RuleAnswer};
use amux_team::parse::nearest;
use serde_json::{Value, json};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::context::Context;
use crate::output::{table, word};
use crate::report::Failure;

#[derive(clap::Subcommand)]
pub(crate) enum Policy {
    /// What each agent may do to whom, and the rule that says so
    #[command(after_help = "Example: agentmux policy show --agent lead")]
    Show(Show),
}

#[derive(clap::Args)]
pub(crate) struct Show {
    /// Only this one
    #[arg(long, value_name = "AGENT")]
    agent: Option<String>,
}

impl Policy {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        let Self::Show(show) = self;
        let rights = context.ask("rights", &json!({ "agent": show.agent }))?;
        Ok(context.out.done(&rights, || {
            let agents = rights.as_array().map(Vec::as_slice).unwrap_or_default();
            if agents.is_empty() {
                return "no agents".into();
            }
            let row = |agent: &Value, may: &Value| {
                vec![word(&agent["agent"]), word(&may["do"]), word(&may["to"]), word(&may["rule"])]
            };
            let may = |agent: &Value| agent["may"].as_array().cloned().unwrap_or_default();
            let rows: Vec<_> =
                agents.iter().flat_map(|agent| may(agent).into_iter().map(|may| row(agent, &may))).collect();
            table(&["agent", "do", "to", "rule"], &rows, |_, text| text.to_owned(), context.out)
        }))
    }
}

/// How much the file says, or everything that is wrong with it, each with its line.
pub(crate) fn check(path: &Path) -> Result<(usize, usize), Vec<String>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((0, 0)),
        Err(error) => return Err(vec![format!("{}: {error}", path.display())]),
    };
    read(&text).map_err(|mut problems| {
        problems.sort();
        problems.into_iter().map(|(line, words)| format!("{}:{line}: {words}", path.display())).collect()
    })
}

const FILE_KEYS: [&str; 2] = ["may", "rule"];
const RULE_KEYS: [&str; 4] = ["agent", "answer", "subject", "tool"];
const MAY_KEYS: [&str; 3] = ["do", "to", "who"];
const ANSWERS: [&str; 3] = ["allow", "ask", "deny"];

fn read(text: &str) -> Result<(usize, usize), Vec<(usize, String)>> {
    let mut page = Page { text, problems: Vec::new() };
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        page.problem(&error.span().unwrap_or(0..0), error.message().trim().replace('\n', ", "));
    }
    if !errors.is_empty() {
        // What a broken text means would be a guess.
        return Err(page.problems);
    }
    let (mut rules, mut may) = (0, 0);
    for (key, value) in root.get_ref() {
        match key.get_ref().as_ref() {
            "rule" => rules = page.each("rule", value, Page::rule),
            "may" => may = page.each("may", value, Page::may),
            _ => page.unknown("key", key.get_ref(), &key.span(), &FILE_KEYS),
        }
    }
    if page.problems.is_empty() { Ok((rules, may)) } else { Err(page.problems) }
}

struct Page<'a> {
    text: &'a str,
    problems: Vec<(usize, String)>,
}

type Key<'a> = Spanned<Cow<'a, str>>;

impl Page<'_> {
    fn problem(&mut self, at: &Range<usize>, words: String) {
        let line = self.text.as_bytes()[..at.start.min(self.text.len())].iter().filter(|byte| **byte == b'\n').count();
        self.problems.push((line + 1, words));
    }

    fn unknown(&mut self, what: &str, word: &str, at: &Range<usize>, known: &[&str]) {
        let hint = match nearest(word, known.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("one of {}", known.join(", ")),
        };
        self.problem(at, format!("unknown {what}: {word} ({hint})"));
    }

    fn each(
        &mut self,
        name: &str,
        value: &Spanned<DeValue<'_>>,
        one: impl Fn(&mut Self, &DeTable<'_>, &Range<usize>),
    ) -> usize {
        let Some(entries) = value.get_ref().as_array() else {
            self.problem(&value.span(), format!("it is written as [[{name}]]"));
            return 0;
        };
        for entry in entries {
            match entry.get_ref().as_table() {
                Some(table) => one(self, table, &entry.span()),
                None => self.problem(&entry.span(), format!("it is written as [[{name}]]")),
            }
        }
        entries.len()
    }

    fn text(&mut self, key: &Key<'_>, value: &Spanned<DeValue<'_>>) -> Option<String> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            let is = value.get_ref().type_str();
            self.problem(&value.span(), format!("{} is a string, not {is}", key.get_ref()));
        }
        text.map(str::to_owned)
    }

    fn rule(&mut self, table: &DeTable<'_>, at: &Range<usize>) {
        let mut rule = Rule { agent: None, tool: None, subject: None, answer: RuleAnswer::Ask };
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "agent" => rule.agent = self.text(key, value),
                "tool" => rule.tool = self.text(key, value),
                "subject" => rule.subject = self.text(key, value),
                "answer" => match self.text(key, value) {
                    Some(answer) if !ANSWERS.contains(&answer.as_str()) => {
                        self.unknown("answer", &answer, &value.span(), &ANSWERS);
                    }
                    Some(_) | None => {}
                },
                unknown => self.unknown("key", unknown, &key.span(), &RULE_KEYS),
            }
        }
        if !table.contains_key("answer") {
            self.problem(at, "the rule has no answer: answer = \"allow\", \"ask\" or \"deny\"".into());
        }
        if let Err(words) = policy::check_rule(&rule) {
            self.problem(at, words);
        }
    }

    fn may(&mut self, table: &DeTable<'_>, at: &Range<usize>) {
        let before = self.problems.len();
        let mut may = May { who: "agents".into(), rights: Vec::new(), to: String::new() };
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "who" => may.who = self.text(key, value).unwrap_or_default(),
                "to" => may.to = self.text(key, value).unwrap_or_default(),
                "do" => may.rights = self.rights(key, value),
                unknown => self.unknown("key", unknown, &key.span(), &MAY_KEYS),
            }
        }
        for (key, example) in [("do", "[\"look\"]"), ("to", "\"team\"")] {
            if !table.contains_key(key) {
                self.problem(at, format!("`{key}` is missing: {key} = {example}"));
            }
        }
        // What is wrong was said, and better, above.
        if self.problems.len() == before
            && let Err(words) = policy::check(&may)
        {
            let key = ["who", "to", "do"].into_iter().find(|key| words.starts_with(&format!("`{key}`")));
            let span = key.and_then(|key| table.get(key)).map_or_else(|| at.clone(), Spanned::span);
            self.problem(&span, words);
        }
    }

    fn rights(&mut self, key: &Key<'_>, value: &Spanned<DeValue<'_>>) -> Vec<Right> {
        let Some(words) = value.get_ref().as_array() else {
            let is = value.get_ref().type_str();
            self.problem(&value.span(), format!("do is an array of words, not {is}"));
            return Vec::new();
        };
        let mut rights = Vec::new();
        for value in words {
            let Some(word) = self.text(key, value) else { continue };
            match Right::ALL.into_iter().find(|right| right.word() == word) {
                Some(right) => rights.push(right),
                None => self.unknown("right", &word, &value.span(), &Right::ALL.map(Right::word)),
            }
        }
        rights
    }
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn a_file_is_good_or_every_problem_is_told_with_its_line() {
        let good = "[[rule]]\ntool = \"Read\"\nanswer = \"allow\"\n[[may]]\nwho = \"lead@shop\"\ndo = [\"look\"]\n\
                    to = \"all\"\n[[may]]\ndo = [\"keys\", \"stop\"]\nto = \"team:shop\"\n";
        assert_eq!((read(good), read("")), (Ok((1, 2)), Ok((0, 0))));
        for (text, line, words) in [
            ("[[mai]]\n", 1, "unknown key: mai (did you mean may?)"),
            ("[[may]]\nwhom = \"agents\"\ndo = [\"look\"]\nto = \"all\"\n", 2, "unknown key: whom (did you mean who?)"),
            ("[[may]]\ndo = [\n\"look\",\n\"loook\"]\nto = \"all\"\n", 4, "unknown right: loook (did you mean look?)"),
            ("[[may]]\ndo = \"look\"\nto = \"all\"\n", 2, "do is an array of words, not string"),
            ("[[may]]\ndo = [\"look\"]\nto = \"teem\"\n", 3, "did you mean team?"),
            ("[[may]]\nwho = \"lead\"\ndo = [\"look\"]\nto = \"all\"\n", 2, "`who` means nobody: lead"),
            ("\n[[may]]\nto = \"all\"\n", 2, "`do` is missing"),
            ("[[may]]\ndo = []\nto = \"all\"\n", 2, "`do` is empty"),
            ("[[may]]\ndo = [\"look\"]\n", 1, "`to` is missing"),
            ("may = 1\n", 1, "[[may]]"),
            ("[[rule]]\nanswer = \"alow\"\n", 2, "unknown answer: alow (did you mean allow?)"),
            ("[[rule]]\nanwser = \"allow\"\nanswer = \"ask\"\n", 2, "did you mean answer?"),
            ("[[rule]]\ntool = \"Read\"\n", 1, "the rule has no answer"),
            ("[[rule]]\ntool = \"\"\nanswer = \"ask\"\n", 1, "an empty word"),
            ("[[rule]\n", 1, ""),
        ] {
            let problems = read(text).unwrap_err();
            let is_it = |(at, said): &(usize, String)| *at == line && said.contains(words);
            assert!(problems.iter().any(is_it), "{text:?}: {problems:?}");
        }
    }
}
