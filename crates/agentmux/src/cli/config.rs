//! `agentmux config`: the settings file and what holds.

use std::collections::BTreeMap;
use std::process::ExitCode;

use amux_core::setting::{self, REGISTRY};
use amux_proto::Code;
use amux_proto::exit::Exit;
use amux_sys::paths::Layout;
use serde_json::{Value, json};

use crate::context::Context;
use crate::output::{table, word};
use crate::report::Failure;

#[derive(clap::Subcommand)]
pub(crate) enum Config {
    /// Check the file without a server
    Check,
    /// Every setting, what it is and where it comes from
    Show,
    /// Where the file is
    Path,
    /// Set a value that the file does not speak of
    Set { key: String, value: String },
    /// Back to the default
    Unset { key: String },
    /// Make the server read the file again
    Reload,
}

impl Config {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode, Failure> {
        let path = context.layout.settings();
        match self {
            Self::Check => match check(&context.layout) {
                Ok(values) => {
                    let data = json!({ "path": path, "keys": values.keys().collect::<Vec<_>>() });
                    Ok(context.out.done(&data, || match path.exists() {
                        true => format!("{}: {} keys, all good", path.display(), values.len()),
                        false => format!("{} does not exist: the defaults hold", path.display()),
                    }))
                }
                Err(problems) => {
                    let mut failure = Failure::new(Exit::Failed, Code::BadArgs, problems.join("\n"));
                    failure.rejection = failure.rejection.details(json!({ "problems": problems }));
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
                Ok(context.out.done(&answer, || format!("{} settings changed", word(&answer["changed"]))))
            }
        }
    }
}

fn show(context: &Context) -> Result<ExitCode, Failure> {
    let set = context.ask("settings", &json!({}))?;
    let found = |key: &str| set.as_array().into_iter().flatten().find(|setting| setting["key"] == key);
    let rows: Vec<Value> = REGISTRY
        .iter()
        .map(|known| {
            let (value, source) = match found(known.key) {
                Some(setting) => (setting["value"].clone(), setting["source"].clone()),
                None => (known.default.into(), "default".into()),
            };
            json!({ "key": known.key, "value": value, "source": source, "default": known.default, "about": known.about })
        })
        .collect();
    Ok(context.out.done(&rows.clone().into(), || {
        let cells = |row: &Value| ["key", "value", "source", "about"].map(|name| word(&row[name])).to_vec();
        let rows: Vec<_> = rows.iter().map(cells).collect();
        table(&["key", "value", "source", "about"], &rows, |_, text| text.to_owned(), context.out)
    }))
}

/// The file's settings, or everything that is wrong with it, each with its line.
pub(crate) fn check(layout: &Layout) -> Result<BTreeMap<String, Value>, Vec<String>> {
    let path = layout.settings();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(vec![format!("{}: {error}", path.display())]),
    };
    let parsed: Result<Option<Value>, _> =
        jsonc_parser::parse_to_serde_value(&text, &jsonc_parser::ParseOptions::default());
    let values: BTreeMap<String, Value> = match parsed {
        Ok(Some(Value::Object(map))) => map.into_iter().collect(),
        Ok(None | Some(Value::Null)) => BTreeMap::new(),
        Ok(Some(_)) => return Err(vec![format!("{}: the settings are one object", path.display())]),
        Err(error) => return Err(vec![format!("{}: {error}", path.display())]),
    };
    let line_of = |key: &str| {
        let quoted = format!("\"{key}\"");
        text.lines().position(|line| line.contains(&quoted)).map_or(1, |at| at + 1)
    };
    let problem = |(key, value): (&String, &Value)| {
        let rejection = setting::check(key, value).err()?;
        let hint = rejection.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        Some(format!("{}:{}: {}{hint}", path.display(), line_of(key), rejection.message))
    };
    let problems: Vec<_> = values.iter().filter_map(problem).collect();
    if problems.is_empty() { Ok(values) } else { Err(problems) }
}
