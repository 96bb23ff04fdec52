//! A team file as somebody wrote it, or everything that is wrong with it, each with its line. Pure: the directory, the
//! home and the kinds there are come in.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use amux_proto::entity::{Dialect, Kind, KindName, WhileWorking};
use amux_proto::{Name, env};
use serde::Serialize;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::field::{self, Field};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeamFile {
    pub team: Name,
    /// In the order of the file.
    pub agents: Vec<Wanted>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub name: Name,
    pub work: Work,
    pub role: Option<String>,
    pub groups: BTreeSet<Name>,
    pub mail: Mail,
    /// Whether `up` starts it.
    pub start: bool,
    pub start_after: Vec<Name>,
}

/// What is run: a definition without the size of the window, which is not a file's to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    pub kind: KindName,
    pub argv: Vec<String>,
    /// Absolute.
    pub cwd: String,
    pub env: BTreeMap<String, String>,
    pub model: Option<String>,
    pub mode: Option<String>,
    pub worktree: bool,
}

/// The mail rules a file speaks of. Those it does not are a person's to change while the team runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mail {
    pub paused: Option<bool>,
    pub while_working: Option<WhileWorking>,
    pub boundary_ms: Option<u64>,
    pub wakes_per_hour: Option<u32>,
}

/// What a text is read against.
pub struct Place<'a> {
    /// Where the file is: its paths start here. Absolute.
    pub dir: &'a Path,
    pub home: Option<&'a Path>,
    pub kinds: &'a BTreeMap<String, Kind>,
}

const FILE_KEYS: [&str; 2] = ["agent", "team"];

/// Something that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// From 1.
    pub line: usize,
    pub words: String,
}

/// Who has so many to mend reads no further.
const PROBLEMS_MAX: usize = 100;

pub fn parse(text: &str, place: &Place<'_>) -> Result<TeamFile, Vec<Problem>> {
    let line_ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
    let mut page = Page { line_ends, place, problems: Vec::new() };
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        page.problem(&error.span().unwrap_or(0..0), error.message().trim().replace('\n', ", "));
    }
    if !errors.is_empty() {
        // What a broken text means would be a guess.
        return Err(page.told());
    }
    let root = root.into_inner();
    let mut team = None;
    let mut drafts = Vec::new();
    for (key, value) in &root {
        match key.get_ref().as_ref() {
            "team" => team = page.team(value),
            "agent" => drafts = page.agents(value),
            _ => page.unknown_key(key, &FILE_KEYS),
        }
    }
    if !root.contains_key("team") {
        page.problem(&(0..0), "the team has no name: [team] name = \"…\"".into());
    }
    if !root.contains_key("agent") {
        page.problem(&(0..0), "the team has no agents: [[agent]] name = \"…\" kind = \"…\"".into());
    }
    page.check_order(&drafts);
    match team {
        Some(team) if page.problems.is_empty() => {
            Ok(TeamFile { team, agents: drafts.into_iter().filter_map(|draft| draft.wanted).collect() })
        }
        _ => Err(page.told()),
    }
}

/// The team's name alone, of a file that may be wrong otherwise: who stops a team does not need the rest of it.
pub fn team_name(text: &str) -> Option<Name> {
    let root: toml::Table = toml::from_str(text).ok()?;
    Name::new(root.get("team")?.get("name")?.as_str()?).ok()
}

/// The known word a mistyped one probably meant.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let far = (word.chars().count() / 3).clamp(1, 3);
    let near = known.map(|known| match !word.is_empty() && known.starts_with(&word) {
        true => (1, known),
        false => (strsim::osa_distance(&word, known), known),
    });
    near.filter(|(distance, _)| *distance <= far).min().map(|(_, known)| known)
}

/// An agent as far as it could be read; enough to check what others say about it.
struct Draft {
    name: Option<Name>,
    start: bool,
    after: Vec<(Name, Range<usize>)>,
    /// `None` when something is wrong with it.
    wanted: Option<Wanted>,
}

struct Page<'a> {
    line_ends: Vec<usize>,
    place: &'a Place<'a>,
    problems: Vec<Problem>,
}

impl Page<'_> {
    fn problem(&mut self, at: &Range<usize>, words: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem { line: self.line(at), words });
        }
    }

    fn line(&self, at: &Range<usize>) -> usize {
        self.line_ends.partition_point(|end| *end < at.start) + 1
    }

    fn told(mut self) -> Vec<Problem> {
        self.problems.sort();
        self.problems
    }

    fn unknown_key(&mut self, key: &Spanned<std::borrow::Cow<'_, str>>, known: &[&str]) {
        let word = key.get_ref();
        let hint = match nearest(word, known.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("one of {}", known.join(", ")),
        };
        self.problem(&key.span(), format!("unknown key: {word} ({hint})"));
    }

    fn unknown_field(&mut self, key: &Spanned<std::borrow::Cow<'_, str>>, known: &[Field]) {
        self.unknown_key(key, &known.iter().map(|field| field.key).collect::<Vec<_>>());
    }

    fn wrong(&mut self, key: &str, wanted: &str, value: &Spanned<DeValue<'_>>) {
        self.problem(&value.span(), format!("{key} is {wanted}, not {}", value.get_ref().type_str()));
    }

    fn table<'v, 't>(&mut self, key: &str, value: &'v Spanned<DeValue<'t>>) -> Option<&'v DeTable<'t>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.wrong(key, "a table", value);
        }
        table
    }

    fn array<'v, 't>(&mut self, key: &str, value: &'v Spanned<DeValue<'t>>) -> Option<&'v DeArray<'t>> {
        let array = value.get_ref().as_array();
        if array.is_none() {
            self.wrong(key, "an array", value);
        }
        array
    }

    fn string(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<String> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wrong(key, "a string", value);
        }
        text.map(str::to_owned)
    }

    fn boolean(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<bool> {
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.wrong(key, "true or false", value);
        }
        flag
    }

    fn number(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<u32> {
        let number = value.get_ref().as_integer().and_then(|n| u32::from_str_radix(n.as_str(), n.radix()).ok());
        if number.is_none() {
            self.problem(&value.span(), format!("{key} is a whole number from 0 to {}", u32::MAX));
        }
        number
    }

    fn strings(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Vec<(String, Range<usize>)> {
        let items = self.array(key, value).map(|items| items.iter()).into_iter().flatten();
        items.filter_map(|item| Some((self.string(key, item)?, item.span()))).collect()
    }

    fn words(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Vec<String> {
        self.strings(key, value).into_iter().map(|(word, _)| word).collect()
    }

    fn name(&mut self, text: &str, at: &Range<usize>) -> Option<Name> {
        Name::new(text).map_err(|error| self.problem(at, error.to_string())).ok()
    }

    fn names(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Vec<(Name, Range<usize>)> {
        let texts = self.strings(key, value);
        texts.into_iter().filter_map(|(text, at)| Some((self.name(&text, &at)?, at))).collect()
    }

    fn team(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Name> {
        let mut name = None;
        let table = self.table("team", value)?;
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "name" => name = self.string("name", value).and_then(|text| self.name(&text, &value.span())),
                _ => self.unknown_field(key, field::TEAM),
            }
        }
        if !table.contains_key("name") {
            self.problem(&value.span(), "the team has no name: name = \"…\"".into());
        }
        name
    }

    fn agents(&mut self, value: &Spanned<DeValue<'_>>) -> Vec<Draft> {
        let Some(tables) = value.get_ref().as_array() else {
            self.problem(&value.span(), "an agent is written as [[agent]]".into());
            return Vec::new();
        };
        let mut drafts = Vec::new();
        let mut lines: BTreeMap<Name, usize> = BTreeMap::new();
        for table in tables.iter() {
            let Some(draft) = self.agent(table) else { continue };
            if let Some(name) = &draft.name {
                let line = self.line(&table.span());
                if let Some(first) = lines.insert(name.clone(), line) {
                    self.problem(&table.span(), format!("two agents have this name: {name} (line {first})"));
                }
            }
            drafts.push(draft);
        }
        drafts
    }

    fn agent(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Draft> {
        let table = self.table("agent", value)?;
        let before = self.problems.len();
        let (mut name, mut kind, mut role, mut model, mut mode) = (None, None, None, None, None);
        let (mut command, mut args, mut groups, mut after) = (None, Vec::new(), BTreeSet::new(), Vec::new());
        let (mut cwd, mut env, mut mail) = (self.place.dir.to_owned(), BTreeMap::new(), Mail::default());
        let (mut worktree, mut start) = (false, true);
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "name" => name = self.string("name", value).and_then(|text| self.name(&text, &value.span())),
                "kind" => kind = self.string("kind", value).map(|kind| (kind, value.span())),
                "command" => command = Some((self.words("command", value), key.span())),
                "args" => args = self.words("args", value),
                "cwd" => {
                    cwd = self.string("cwd", value).and_then(|text| self.path(&text, &value.span())).unwrap_or(cwd)
                }
                "env" => env = self.env(value),
                "role" => role = self.string("role", value),
                "groups" => groups = self.names("groups", value).into_iter().map(|(name, _)| name).collect(),
                "model" => model = self.string("model", value),
                "mode" => mode = self.string("mode", value),
                "worktree" => worktree = self.boolean("worktree", value).unwrap_or(false),
                "start" => start = self.boolean("start", value).unwrap_or(true),
                "start_after" => after = self.names("start_after", value),
                "mail" => mail = self.mail(value),
                _ => self.unknown_field(key, field::AGENT),
            }
        }
        for key in ["name", "kind"].into_iter().filter(|key| !table.contains_key(*key)) {
            self.problem(&value.span(), format!("an agent has a {key}: {key} = \"…\""));
        }
        let run = kind.and_then(|(kind, at)| self.command(&kind, &at, command, args));
        let wanted = match (&name, run) {
            (Some(name), Some((kind, argv))) if self.problems.len() == before => Some(Wanted {
                name: name.clone(),
                work: Work { kind, argv, cwd: cwd.to_string_lossy().into_owned(), env, model, mode, worktree },
                role,
                groups,
                mail,
                start,
                start_after: after.iter().map(|(name, _)| name.clone()).collect(),
            }),
            _ => None,
        };
        Some(Draft { name, start, after, wanted })
    }

    /// The kind and what is run, as `agentmux new` takes them.
    fn command(
        &mut self,
        kind: &str,
        at: &Range<usize>,
        command: Option<(Vec<String>, Range<usize>)>,
        args: Vec<String>,
    ) -> Option<(KindName, Vec<String>)> {
        let (name, pane) = match kind.split_once(':') {
            Some(("tmux", pane)) => (KindName::TMUX, Some(pane.to_owned())),
            _ => (kind, None),
        };
        let Some(known) = self.place.kinds.get(name) else {
            let hint = match nearest(name, self.place.kinds.keys().map(String::as_str)) {
                Some(near) => format!("did you mean {near}?"),
                None => "agents.toml can define it".to_owned(),
            };
            self.problem(at, format!("unknown kind: {name} ({hint})"));
            return None;
        };
        let brings_none = known.program.is_none() && name != KindName::SHELL && known.dialect != Dialect::Tmux;
        if let Some((_, key)) = command.as_ref().filter(|_| !brings_none) {
            self.problem(key, format!("{name} has a program of its own: what it is given besides is args"));
            return None;
        }
        let command = command.into_iter().flat_map(|(words, _)| words);
        let argv: Vec<String> = pane.into_iter().chain(command).chain(args).collect();
        if known.dialect == Dialect::Tmux && argv.first().is_none_or(String::is_empty) {
            self.problem(at, "a pane is needed: kind = \"tmux:SESSION:WINDOW.PANE\"".into());
            return None;
        }
        if brings_none && argv.first().is_none_or(String::is_empty) {
            self.problem(at, format!("a command is needed: {name} (command = [\"PROGRAM\", \"ARGUMENT\"])"));
            return None;
        }
        Some((KindName(name.to_owned()), argv))
    }

    fn path(&mut self, text: &str, at: &Range<usize>) -> Option<PathBuf> {
        let path = match text.strip_prefix('~') {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => match self.place.home {
                Some(home) => home.join(rest.trim_start_matches('/')),
                None => {
                    self.problem(at, format!("HOME is not set: {text}"));
                    return None;
                }
            },
            _ => self.place.dir.join(text),
        };
        Some(tidy(&path))
    }

    fn env(&mut self, value: &Spanned<DeValue<'_>>) -> BTreeMap<String, String> {
        let mut env = BTreeMap::new();
        for (key, value) in self.table("env", value).into_iter().flatten() {
            let name = key.get_ref().as_ref();
            if name.is_empty() || name.contains(['=', '\0']) {
                self.problem(&key.span(), format!("not a name of an environment variable: {name:?}"));
            } else if env::is_ours(name) {
                self.problem(&key.span(), format!("agentmux itself sets this variable: {name}"));
            } else if let Some(value) = self.string(name, value) {
                env.insert(name.to_owned(), value);
            }
        }
        env
    }

    fn mail(&mut self, value: &Spanned<DeValue<'_>>) -> Mail {
        let mut mail = Mail::default();
        for (key, value) in self.table("mail", value).into_iter().flatten() {
            match key.get_ref().as_ref() {
                "paused" => mail.paused = self.boolean("paused", value),
                "while_working" => mail.while_working = self.while_working(value),
                "boundary" => {
                    mail.boundary_ms = self
                        .string("boundary", value)
                        .and_then(|text| duration_ms(&text).map_err(|error| self.problem(&value.span(), error)).ok());
                }
                "wakes_per_hour" => mail.wakes_per_hour = self.number("wakes_per_hour", value),
                _ => self.unknown_field(key, field::MAIL),
            }
        }
        mail
    }

    fn while_working(&mut self, value: &Spanned<DeValue<'_>>) -> Option<WhileWorking> {
        let text = self.string("while_working", value)?;
        let found = serde_json::from_value(text.as_str().into()).ok();
        if found.is_none() {
            self.problem(&value.span(), format!("while_working is now, boundary or turn_end, not {text}"));
        }
        found
    }

    /// Who waits for whom: only for agents of this file that are started, and never in a circle.
    fn check_order(&mut self, drafts: &[Draft]) {
        let known: BTreeMap<&Name, &Draft> =
            drafts.iter().filter_map(|draft| Some((draft.name.as_ref()?, draft))).collect();
        for (name, at) in drafts.iter().flat_map(|draft| &draft.after) {
            match known.get(name) {
                None => {
                    let near = nearest(name.as_str(), known.keys().map(|name| name.as_str()));
                    let hint = near.map_or_else(String::new, |near| format!(" (did you mean {near}?)"));
                    self.problem(at, format!("start_after names no agent of this file: {name}{hint}"));
                }
                Some(draft) if !draft.start => {
                    self.problem(at, format!("start_after names an agent that is not started: {name} (start = false)"));
                }
                Some(_) => {}
            }
        }
        let mut told: BTreeSet<&Name> = BTreeSet::new();
        for draft in drafts {
            let Some(circle) = draft.name.as_ref().and_then(|name| circle(name, &known)) else { continue };
            // Everyone in it would find the same one.
            if circle.iter().any(|name| told.contains(name)) {
                continue;
            }
            told.extend(&circle);
            let words: Vec<_> = circle.iter().chain(circle.first()).map(|name| name.as_str()).collect();
            let at = draft.after.first().map_or(0..0, |(_, at)| at.clone());
            self.problem(&at, format!("start_after goes in a circle: {}", words.join(" after ")));
        }
    }
}

/// The way from an agent over those it waits for back to itself.
fn circle<'a>(from: &'a Name, known: &BTreeMap<&'a Name, &'a Draft>) -> Option<Vec<&'a Name>> {
    // Whom each was reached from.
    let mut before: BTreeMap<&Name, &Name> = BTreeMap::new();
    let mut ends = vec![from];
    while let Some(end) = ends.pop() {
        let Some(draft) = known.get(end) else { continue };
        for (next, _) in &draft.after {
            if next == from {
                let back = std::iter::successors(Some(end), |at| before.get(at).copied());
                let mut way: Vec<_> = back.collect();
                way.reverse();
                return Some(way);
            }
            if !before.contains_key(next) {
                before.insert(next, end);
                ends.push(next);
            }
        }
    }
    None
}

/// `500ms`, `20s`, `5m`, `2h`.
pub fn duration_ms(text: &str) -> Result<u64, String> {
    let bad = || format!("not a duration: {text} (500ms, 20s, 5m, 2h)");
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| bad())?;
    let factor = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(bad()),
    };
    number.checked_mul(factor).ok_or_else(bad)
}

/// Without `.` and `..`, as a shell's `cd` would have it: the same directory is always the same text.
pub fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                tidy.pop();
            }
            part => tidy.push(part),
        }
    }
    tidy
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<TeamFile, Vec<String>> {
        let kinds = amux_agents::kinds::with(None).unwrap();
        let place = Place { dir: Path::new("/srv/shop"), home: Some(Path::new("/home/u")), kinds: &kinds };
        let told = |Problem { line, words }| format!("a.toml:{line}: {words}");
        parse(text, &place).map_err(|problems| problems.into_iter().map(told).collect())
    }

    const TEAM: &str = "[team]\nname = \"shop\"\n";

    #[test]
    fn durations_have_units() {
        assert_eq!(duration_ms("500ms"), Ok(500));
        assert_eq!(duration_ms("2h"), Ok(7_200_000));
        for bad in ["5", "s", "-1s", "1.5s", "99999999999999999h", ""] {
            assert!(duration_ms(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_says_what_it_says() {
        let text = r#"
            [team]
            name = "Shop"
            [[agent]]
            name = "lead"
            kind = "claude"
            args = ["--verbose"]
            role = "plans"
            groups = ["core"]
            model = "opus"
            mode = "plan"
            env = { PORT = "80" }
            [agent.mail]
            paused = true
            while_working = "turn_end"
            boundary = "10s"
            wakes_per_hour = 1_000
            [[agent]]
            name = "build"
            kind = "cmd"
            command = ["make"]
            args = ["-j4"]
            cwd = "../lib/./x"
            worktree = true
            start = false
            start_after = ["lead"]
            [[agent]]
            name = "pane"
            kind = "tmux:main:0.1"
            cwd = "~/src"
        "#;
        let file = read(text).unwrap();
        let [lead, build, pane] = file.agents.as_slice() else { panic!("{file:?}") };
        assert_eq!((file.team.as_str(), lead.work.cwd.as_str()), ("shop", "/srv/shop"));
        let mail = Mail {
            paused: Some(true),
            while_working: Some(WhileWorking::TurnEnd),
            boundary_ms: Some(10_000),
            wakes_per_hour: Some(1_000),
        };
        assert_eq!((lead.mail, lead.start, lead.work.env["PORT"].as_str()), (mail, true, "80"));
        assert_eq!((build.work.argv.join(" ").as_str(), build.work.cwd.as_str()), ("make -j4", "/srv/lib/x"));
        assert_eq!((build.start, build.work.worktree, build.start_after.len()), (false, true, 1));
        assert_eq!((pane.work.kind.0.as_str(), pane.work.argv.as_slice()), ("tmux", &["main:0.1".to_owned()][..]));
        assert_eq!(pane.work.cwd, "/home/u/src");
    }

    #[test]
    fn every_problem_is_told_with_its_line() {
        let cases: &[(&str, &[&str])] = &[
            ("", &["a.toml:1: the team has no name", "a.toml:1: the team has no agents"]),
            (
                "[team]\nnam = \"x\"\n",
                &["a.toml:1: the team has no agents", "no name", "2: unknown key: nam (did you mean name?)"],
            ),
            (
                "[team]\nname = \"a b\"\n[[agents]]\n",
                &["1: the team has no agents", "2: a name is", "3: unknown key: agents (did you mean agent?)"],
            ),
            ("[[agent]]\nname = \"a\"\nkind = \"shel\"\n", &["3: unknown kind: shel (did you mean shell?)"]),
            ("[[agent]]\nname = \"a\"\nkind = \"cmd\"\n", &["3: a command is needed: cmd"]),
            (
                "[[agent]]\nname = \"a\"\nkind = \"cmd\"\ncommand = \"make\"\n",
                &["a command is needed", "4: command is an array, not string"],
            ),
            (
                "[[agent]]\nname = \"a\"\nkind = \"claude\"\ncommand = [\"x\"]\n",
                &["4: claude has a program of its own"],
            ),
            ("[[agent]]\nname = \"a\"\nkind = \"tmux\"\n", &["3: a pane is needed"]),
            ("[[agent]]\nname = \"a\"\n", &["1: an agent has a kind"]),
            (
                "[[agent]]\nname = \"a\"\nkind = \"shell\"\n[agent.mail]\nwake = 1\nboundary = \"5\"\nwhile_working = \"never\"\n",
                &[
                    "5: unknown key: wake (did you mean wakes_per_hour?)",
                    "6: not a duration: 5",
                    "7: while_working is now, boundary or turn_end",
                ],
            ),
            (
                "[[agent]]\nname = \"a\"\nkind = \"shell\"\nenv = { AGENTMUX_RUN = \"1\", N = 1 }\n",
                &["agentmux itself sets", "4: N is a string, not integer"],
            ),
            (
                "[[agent]]\nname = \"a\"\nkind = \"shell\"\n[[agent]]\nname = \"A\"\nkind = \"shell\"\n",
                &["4: two agents have this name: a (line 1)"],
            ),
            (
                "[[agent]]\nname = \"a\"\nkind = \"shell\"\nstart_after = [\"ab\"]\n",
                &["4: start_after names no agent of this file: ab (did you mean a?)"],
            ),
            (
                "[[agent]]\nname = \"a\"\nkind = \"shell\"\nstart_after = [\"b\"]\n[[agent]]\nname = \"b\"\nkind = \"shell\"\nstart_after = [\"a\"]\n",
                &["4: start_after goes in a circle: a after b after a"],
            ),
            (
                "[[agent]]\nname = \"a\"\nkind = \"shell\"\nstart = false\n[[agent]]\nname = \"b\"\nkind = \"shell\"\nstart_after = [\"a\"]\n",
                &["8: start_after names an agent that is not started: a"],
            ),
            ("team = 1 2\nagent = \n", &["a.toml:1: ", "a.toml:2: "]),
        ];
        for (text, wanted) in cases {
            // The lines above are those of the part about agents.
            let whole = text.contains("team") || text.is_empty();
            let told = read(&if whole { (*text).to_owned() } else { format!("{text}{TEAM}") }).unwrap_err();
            assert_eq!(told.len(), wanted.len(), "{text}: {told:#?}");
            for wanted in *wanted {
                assert!(told.iter().any(|told| told.contains(wanted)), "{wanted}: {told:#?}");
            }
        }
    }

    #[test]
    fn of_very_many_problems_the_first_are_told() {
        let told = read(&format!("{TEAM}{}", "[[agent]]\nx = 1\n".repeat(1000))).unwrap_err();
        assert_eq!(told.len(), PROBLEMS_MAX);
        assert!(
            told[0].starts_with("a.toml:3: an agent has a") && told[2].starts_with("a.toml:4: unknown"),
            "{told:#?}"
        );
    }

    #[test]
    fn the_keys_that_are_suggested_are_those_that_are_read() {
        for key in field::AGENT.iter().map(|field| field.key) {
            let told = read(&format!("{TEAM}[[agent]]\n{key} = 2026-01-01\n")).unwrap_err().join("\n");
            assert!(!told.contains("unknown key"), "{told}");
        }
        for key in field::MAIL.iter().map(|field| field.key) {
            let told = read(&format!("{TEAM}[[agent]]\nmail = {{ {key} = 2026-01-01 }}\n")).unwrap_err().join("\n");
            assert!(!told.contains("unknown key"), "{told}");
        }
    }
}
