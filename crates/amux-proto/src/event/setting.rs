//! What happened to settings.

use serde_json::Value;

use crate::entity::SettingSource;

events! {
    "setting.changed" "SettingChanged" Changed {
        key: String, #[ts(type = "unknown")] value: Value, source: SettingSource,
    }
    /// Back to the default.
    "setting.cleared" "SettingCleared" Cleared { key: String }
}
