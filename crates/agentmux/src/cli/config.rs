//! `agentmux config`: the settings file and what holds. Its check reads `policy.toml` too.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use amux_core::setting::{self, REGISTRY, WORDS};
use amux_proto::Code;
use amux_proto::exit::Exit;
use amux_sys::paths::Layout;
use jsonc_parser::common::Ranged as _;
use jsonc_parser::{CollectOptions, ParseOptions, ast};
use serde_json::{Value, json};

use crate::cli::policy;
use crate::context::Context;
use crate::output::{table, word};
use crate::report::Failure;

#[derive(clap::Subcommand)]
pub(crate) enum Config {
    /// Check the file without a server
    #[command(after_help = "Example: agentmux config check")]
    Check,
    /// Every setting, what it is and where it comes from
    #[command(after_help = "Example: agentmux config show")]
    Show,
    /// Where the file is
    #[command(after_help = "Example: agentmux config path")]
    Path,
    /// Set a value that the file does not speak of
    #[command(after_help = "Example: agentmux config set agent.stop_grace_ms 10000")]
    Set { key: String, value: String },
    /// Back to the default
    #[command(after_help = "Example: agentmux config unset agent.stop_grace_ms")]
    Unset { key: String },
    /// Make the server read its files again: settings.jsonc, agents.toml, policy.toml
    #[command(after_help = "Example: agentmux config reload")]
    Reload,
}

impl Config {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        let path = context.layout.settings();
        match self {
            Self::Check => match check(&context.layout) {
                Ok(Checked { values, rules, may }) => {
                    let policy = context.layout.policy();
                    let data = json!({
                        "path": path,
                        "keys": values.keys().collect::<Vec<_>>(),
                        "policy": { "path": policy, "rules": rules, "may": may },
                    });
                    Ok(context.out.done(&data, || {
                        let none = |path: &Path| format!("{} does not exist: the defaults hold", path.display());
                        let settings = match path.exists() {
                            true => format!("{}: {} keys, all good", path.display(), values.len()),
                            false => none(&path),
                        };
                        let policy = match policy.exists() {
                            true => format!("{}: {rules} rules, {may} rights, all good", policy.display()),
                            false => none(&policy),
                        };
                        format!("{settings}\n{policy}")
                    }))
                }
                Err(problems) => {
                    let message = match problems.as_slice() {
                        [one] => one.clone(),
                        many => format!("{} things are wrong: {}", many.len(), many.join("; ")),
                    };
                    let mut failure = Failure::new(Exit::Failed, Code::BadArgs, message);
                    if problems.len() > 1 {
                        failure.rejection = failure.rejection.details(json!({ "problems": problems }));
                    }
                    Err(failure)
                }
            },
            Self::Show => show(context),
            Self::Path => Ok(context.out.done(&json!({ "settings": path }), || path.display().to_string())),
            Self::Set { key, value } => {
                let value: Value = serde_json::from_str(value).unwrap_or_else(|_| value.clone().into());
                let answer = context.order("setting.set", &json!({ "key": key, "value": value }))?;
                Ok(context.out.done(&answer, || format!("{key} is {value}")))
            }
            Self::Unset { key } => {
                let answer = context.order("setting.unset", &json!({ "key": key }))?;
                Ok(context.out.done(&answer, || format!("{key} is the default again")))
            }
            Self::Reload => {
                let answer = context.act("server.reload", &json!({}))?;
                Ok(context
                    .out
                    .done(&answer, || format!("{} settings, kinds and rules changed", word(&answer["changed"]))))
            }
        }
    }
}

fn show(context: &Context) -> Result<ExitCode, Failure> {
    let set = context.ask("settings", &json!({}))?;
    let found = |key: &str| set.as_array().into_iter().flatten().find(|setting| setting["key"] == key);
    let row = |key: &str, default: Value, about: &str| {
        let (value, source) = match found(key) {
            Some(setting) => (setting["value"].clone(), setting["source"].clone()),
            None => (default.clone(), "default".into()),
        };
        json!({ "key": key, "value": value, "source": source, "default": default, "about": about })
    };
    let numbers = REGISTRY.iter().map(|known| row(known.key, known.default.into(), known.about));
    let words = WORDS.iter().map(|known| row(known.key, json!(known.default), known.about));
    let mut rows: Vec<Value> = numbers.chain(words).collect();
    rows.sort_by_key(|row| word(&row["key"]));
    Ok(context.out.done(&rows.clone().into(), || {
        let cells = |row: &Value| ["key", "value", "source", "about"].map(|name| word(&row[name])).to_vec();
        let rows: Vec<_> = rows.iter().map(cells).collect();
        table(&["key", "value", "source", "about"], &rows, |_, text| text.to_owned(), context.out)
    }))
}

/// What the files say.
pub(crate) struct Checked {
    pub(crate) values: BTreeMap<String, Value>,
    rules: usize,
    may: usize,
}

/// What the files say, or everything that is wrong with them, each with its line.
pub(crate) fn check(layout: &Layout) -> Result<Checked, Vec<String>> {
    match (settings(layout), policy::check(&layout.policy())) {
        (Ok(values), Ok((rules, may))) => Ok(Checked { values, rules, may }),
        (settings, policy) => Err([settings.err(), policy.err()].into_iter().flatten().flatten().collect()),
    }
}

fn settings(layout: &Layout) -> Result<BTreeMap<String, Value>, Vec<String>> {
    let path = layout.settings();
    let one = |problem: String| vec![format!("{}: {problem}", path.display())];
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(one(error.to_string())),
    };
    let (collect, options) = (CollectOptions::default(), ParseOptions::default());
    let tree = jsonc_parser::parse_to_ast(&text, &collect, &options).map_err(|error| {
        let (line, column) = (error.line_display(), error.column_display());
        vec![format!("{}:{line}:{column}: {}", path.display(), error.kind().to_string().to_lowercase())]
    })?;
    let written = match &tree.value {
        Some(ast::Value::Object(object)) => object.properties.as_slice(),
        Some(ast::Value::NullKeyword(_)) | None => &[],
        Some(_) => return Err(one("the settings are one object: {\"key\": value}".into())),
    };
    let mut values = BTreeMap::new();
    let mut problems = Vec::new();
    for property in written {
        let key = property.name.as_str();
        let line = text[..property.range.start].matches('\n').count() + 1;
        let mut problem = |words: String| problems.push(format!("{}:{line}: {words}", path.display()));
        let value = &text[property.value.range().start..property.value.range().end];
        let value = jsonc_parser::parse_to_serde_value(value, &options).unwrap_or(Value::Null);
        if let Err(rejection) = setting::check(key, &value) {
            let hint = rejection.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
            problem(format!("{}{hint}", rejection.message));
        }
        if values.insert(key.to_owned(), value).is_some() {
            problem(format!("it is there twice: {key}"));
        }
    }
    if problems.is_empty() { Ok(values) } else { Err(problems) }
}
