//! `settings.jsonc`: only a person edits it; the server reads it and tells the log what it says.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{path}: {why}")]
    Unreadable { path: String, why: String },
}

/// More than this is not a settings file.
const SETTINGS_BYTES_MAX: u64 = 1024 * 1024;

/// A missing file is an empty one.
pub(crate) fn read(path: &Path) -> Result<BTreeMap<String, Value>, Error> {
    let fail = |why: String| Error::Unreadable { path: path.display().to_string(), why };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(fail(error.to_string())),
        Ok(meta) if meta.len() > SETTINGS_BYTES_MAX => return Err(fail("too large to be settings".into())),
        Ok(_) => {}
    }
    let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
    let value: Option<Value> = jsonc_parser::parse_to_serde_value(&text, &jsonc_parser::ParseOptions::default())
        .map_err(|error| fail(error.to_string()))?;
    match value {
        None | Some(Value::Null) => Ok(BTreeMap::new()),
        Some(Value::Object(map)) => Ok(map.into_iter().collect()),
        Some(_) => Err(fail("the settings are one object: {\"key\": value}".into())),
    }
}
