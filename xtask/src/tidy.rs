//! The house rules that a script can see. Each is a row of a table: what, where, and why.

use std::process::Command;

use anyhow::{Context as _, bail};
use serde_json::Value;

/// Which crates a crate of ours may know. Whoever is not here may know all (the binary, the tests' kit).
const ARROWS: &[(&str, &[&str])] = &[
    ("amux-proto", &[]),
    ("amux-sys", &[]),
    ("amux-core", &["amux-proto"]),
    ("amux-agents", &["amux-proto"]),
    ("amux-engine", &["amux-core", "amux-proto", "amux-sys"]),
    ("amux-runner", &["amux-engine", "amux-agents", "amux-sys", "amux-proto"]),
    ("amux-mcp", &["amux-proto"]),
    ("amux-team", &["amux-proto"]),
    ("amux-server", &["amux-runner", "amux-engine", "amux-mcp", "amux-team", "amux-sys", "amux-proto"]),
    ("amux-launcher", &["amux-sys", "amux-proto"]),
    ("amux-client", &["amux-proto", "amux-sys"]),
    ("xtask", &["amux-proto"]),
];

struct Rule {
    /// Any of these in a line of code breaks the rule.
    words: &'static [&'static str],
    /// Paths it holds for.
    within: &'static [&'static str],
    /// Paths it does not hold for.
    except: &'static [&'static str],
    looks_at: LooksAt,
    why: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LooksAt {
    /// Without comments and the insides of strings.
    Code,
    /// Strings and all, without comments.
    Text,
    Comments,
    Everything,
}

const RUST: &[&str] = &["crates/", "xtask/"];
const TESTS: &[&str] = &["/tests/", "/examples/", "crates/amux-testkit/", "xtask/"];

const RULES: &[Rule] = &[
    Rule {
        words: &["Command::new(\"", "Command::new(&", "process::Command"],
        within: &["crates/"],
        except: &["crates/amux-sys/", "/tests/", "/examples/", "crates/amux-testkit/"],
        looks_at: LooksAt::Text,
        why: "processes are born in amux-sys only",
    },
    Rule {
        words: &["cfg(target_os", "unsafe {", "unsafe fn", "unsafe impl"],
        within: RUST,
        except: &["crates/amux-sys/", "xtask/src/tidy.rs"],
        looks_at: LooksAt::Code,
        why: "what differs between systems, and what is unsafe, is in amux-sys",
    },
    Rule {
        words: &["SELECT ", "INSERT INTO", "DELETE FROM", "CREATE TABLE", "PRAGMA "],
        within: &["crates/"],
        except: &["crates/amux-engine/", "crates/amux-testkit/"],
        looks_at: LooksAt::Text,
        why: "SQL is in amux-engine only",
    },
    Rule {
        words: &[
            "Instant::now",
            "SystemTime::now",
            "Uuid::now_v7",
            "Uuid::new_v4",
            "thread::sleep",
            "env::var",
            "std::fs",
        ],
        within: &["crates/amux-core/src/", "crates/amux-proto/src/"],
        except: &[],
        looks_at: LooksAt::Code,
        why: "the core is pure: clocks, chance and files come in as arguments",
    },
    Rule {
        words: &["env::set_var", "env::remove_var"],
        within: RUST,
        except: &["crates/amux-sys/"],
        looks_at: LooksAt::Code,
        why: "the environment of a process is not a place for state",
    },
    Rule {
        words: &["unbounded_channel", "mpsc::channel()", "UnboundedSender"],
        within: RUST,
        except: &["xtask/src/tidy.rs"],
        looks_at: LooksAt::Code,
        why: "every queue has a bound",
    },
    Rule {
        words: &["#[allow(", "#![allow(", "todo!(", "unimplemented!(", "dbg!(", "#[ignore"],
        within: RUST,
        except: &[],
        looks_at: LooksAt::Code,
        why: "a lint is expected with a reason, a test runs, a function is done",
    },
    Rule {
        words: &[
            "previously",
            "no longer",
            "used to ",
            "legacy",
            "port of ",
            "PR #",
            "issue #",
            "TODO",
            "FIXME",
            "XXX",
            "for now",
        ],
        within: RUST,
        except: &["xtask/src/tidy.rs"],
        looks_at: LooksAt::Comments,
        why: "comments say why; history is in git",
    },
    Rule {
        words: &[
            concat!("crates", ".io"),
            concat!("npmjs", ".org"),
            concat!("pypi", ".org"),
            concat!("/ro", "ot/"),
            concat!("/wo", "rk/"),
        ],
        within: &[""],
        except: &["Cargo.lock", "LICENSE"],
        looks_at: LooksAt::Everything,
        why: "the project speaks only of itself: no registries, no paths of a machine",
    },
];

const BAD_NAMES: &[&str] = &["util.rs", "utils.rs", "common.rs", "misc.rs", "helpers.rs", "manager.rs"];

/// The story is in main.rs, the work elsewhere.
const MAIN_LINES_MAX: usize = 60;

/// Licences that may be in the binary, by the words of their expressions.
const LICENCES: &[&str] = &[
    "MIT",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "0BSD",
    "Unlicense",
    "Unicode-3.0",
    "CC0-1.0",
    "BSL-1.0",
    "MIT-0",
    "LLVM-exception",
    "Unicode-DFS-2016",
];

pub(crate) fn tidy() -> anyhow::Result<()> {
    let mut findings = Vec::new();
    for path in files()? {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        findings.extend(look(&path, &text));
    }
    findings.extend(packages()?);
    if findings.is_empty() {
        return Ok(());
    }
    for finding in &findings {
        println!("{finding}");
    }
    bail!("{} things are untidy", findings.len())
}

fn files() -> anyhow::Result<Vec<String>> {
    let out = Command::new("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]).output()?;
    Ok(String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect())
}

fn look(path: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let is_rust = path.ends_with(".rs");
    if is_rust && !text.starts_with("//!") {
        findings.push(format!("{path}:1: a file begins with what it is (//!)"));
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    if BAD_NAMES.contains(&name) {
        findings.push(format!("{path}: a name that says nothing"));
    }
    if path == "crates/agentmux/src/main.rs" && text.lines().count() > MAIN_LINES_MAX {
        findings.push(format!("{path}: more than {MAIN_LINES_MAX} lines; the work is elsewhere"));
    }
    let sorted = if is_rust { sort(text) } else { Vec::new() };
    for rule in RULES {
        let holds = rule.within.iter().any(|prefix| path.starts_with(prefix))
            && !rule.except.iter().any(|part| path.contains(part));
        if !holds || (!is_rust && rule.looks_at != LooksAt::Everything) {
            continue;
        }
        for (at, line) in text.lines().enumerate() {
            let seen = match rule.looks_at {
                LooksAt::Everything => line,
                LooksAt::Code => &sorted[at].code,
                LooksAt::Text => &sorted[at].text,
                LooksAt::Comments => &sorted[at].comment,
            };
            if let Some(word) = rule.words.iter().find(|word| seen.contains(**word)) {
                findings.push(format!("{path}:{}: {word:?}: {}", at + 1, rule.why));
            }
        }
    }
    if is_rust && !TESTS.iter().any(|part| path.contains(part)) {
        let before_tests = text.split("#[cfg(test)]").next().unwrap_or(text);
        for (at, line) in sort(before_tests).iter().enumerate() {
            if line.code.contains(".unwrap()") {
                findings.push(format!("{path}:{}: unwrap: say with expect which invariant holds", at + 1));
            }
        }
    }
    findings
}

/// A line, taken apart.
#[derive(Default)]
struct Line {
    code: String,
    text: String,
    comment: String,
}

/// Good enough for our own code: line comments, strings with escapes, raw strings, character literals.
fn sort(text: &str) -> Vec<Line> {
    #[derive(PartialEq)]
    enum In {
        Code,
        Str,
        Raw(usize),
    }
    let mut state = In::Code;
    let mut lines = Vec::new();
    for source in text.lines() {
        let mut line = Line::default();
        let chars: Vec<char> = source.chars().collect();
        let mut at = 0;
        while at < chars.len() {
            let rest = &chars[at..];
            match state {
                In::Code if rest.starts_with(&['/', '/']) => {
                    line.comment = rest.iter().collect();
                    break;
                }
                In::Code if rest[0] == '"' => {
                    line.code.push('"');
                    line.text.push('"');
                    state = In::Str;
                }
                In::Code if rest[0] == 'r' && matches!(rest.get(1), Some('"' | '#')) && raw_hashes(rest).is_some() => {
                    let hashes = raw_hashes(rest).unwrap_or(0);
                    state = In::Raw(hashes);
                    at += hashes + 1;
                }
                In::Code if rest[0] == '\'' && rest.get(1) == Some(&'\\') && rest.get(3) == Some(&'\'') => at += 3,
                In::Code if rest[0] == '\'' && rest.get(2) == Some(&'\'') => at += 2,
                In::Code => {
                    line.code.push(rest[0]);
                    line.text.push(rest[0]);
                }
                In::Str if rest[0] == '\\' => at += 1,
                In::Str if rest[0] == '"' => {
                    line.code.push('"');
                    line.text.push('"');
                    state = In::Code;
                }
                In::Raw(hashes) if rest[0] == '"' && rest[1..].iter().take_while(|c| **c == '#').count() >= hashes => {
                    at += hashes;
                    state = In::Code;
                }
                In::Str | In::Raw(_) => line.text.push(rest[0]),
            }
            at += 1;
        }
        lines.push(line);
    }
    lines
}

fn raw_hashes(rest: &[char]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
    (rest.get(hashes + 1) == Some(&'"')).then_some(hashes)
}

fn packages() -> anyhow::Result<Vec<String>> {
    let out = Command::new("cargo").args(["metadata", "--format-version", "1", "--locked"]).output()?;
    let metadata: Value = serde_json::from_slice(&out.stdout).context("cargo metadata says no JSON")?;
    let mut findings = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let licence = package["license"].as_str().unwrap_or("none");
        let words = licence.split(['/', ' ', '(', ')']).filter(|word| !["", "OR", "AND", "WITH"].contains(word));
        if !words.clone().any(|word| LICENCES.contains(&word)) {
            findings.push(format!("{name}: licence {licence}"));
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(of, _)| *of == name) else { continue };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let on = dependency["name"].as_str().unwrap_or_default();
            let is_ours = on.starts_with("amux-") || on == "agentmux";
            let is_dev = dependency["kind"] == "dev";
            if is_ours && !is_dev && !allowed.contains(&on) {
                findings.push(format!("{name}: may not know {on}"));
            }
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_comments_are_not_code() {
        let lines = sort("let x = \"unsafe {\"; // unsafe {\nlet y = r#\"a \" b\"#; let c = '\"'; call();");
        assert!(!lines[0].code.contains("unsafe") && lines[0].text.contains("unsafe"));
        assert!(lines[0].comment.contains("unsafe"));
        assert!(lines[1].code.contains("call()") && !lines[1].code.contains('b'));
    }

    #[test]
    fn each_rule_sees_what_it_is_for() {
        let bad = [
            ("crates/amux-core/src/x.rs", "//! x\nlet now = Instant::now();", "pure"),
            ("crates/amux-server/src/x.rs", "//! x\nfn f() { unsafe { g() } }", "amux-sys"),
            ("crates/amux-server/src/x.rs", "//! x\nlet s = \"SELECT 1\";", "SQL"),
            ("crates/amux-server/src/x.rs", "//! x\n// This was previously elsewhere.", "history"),
            ("crates/amux-server/src/x.rs", "//! x\nlet x = y.unwrap();", "expect"),
            ("crates/amux-server/src/x.rs", "fn f() {}", "begins with"),
            ("crates/amux-server/src/util.rs", "//! x", "name"),
            ("README.md", concat!("see /wo", "rk/main"), "itself"),
        ];
        for (path, text, why) in bad {
            assert!(look(path, text).iter().any(|finding| finding.contains(why)), "{path}: {text}");
        }
        assert!(look("crates/amux-server/src/x.rs", "//! x\n// no unsafe { here }\nlet s = \"unsafe {\";").is_empty());
    }
}
