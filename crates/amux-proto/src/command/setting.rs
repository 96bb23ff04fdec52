//! Settings. What `settings.jsonc` says, a command cannot change.

use std::collections::BTreeMap;

use serde_json::Value;

commands! {
    "setting.set" "SettingSet" Set { key: String, #[ts(type = "unknown")] value: Value }
    /// Back to the default.
    "setting.unset" "SettingUnset" Unset { key: String }
    /// The content of the settings file; only the server says this.
    "setting.load" "SettingLoad" Load { #[ts(type = "Record<string, unknown>")] values: BTreeMap<String, Value> }
}
