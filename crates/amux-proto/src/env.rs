//! Names of environment variables, so that no one spells them twice.

/// Read by every command.
pub const PROFILE: &str = "AGENTMUX_PROFILE";
pub const STATE_DIR: &str = "AGENTMUX_STATE_DIR";
pub const CONFIG_DIR: &str = "AGENTMUX_CONFIG_DIR";
/// The program a client runs to start the server, before [`RELAY_COMMAND`] and the running executable.
pub const COMMAND: &str = "AGENTMUX_COMMAND";
pub const RELAY_COMMAND: &str = "AGENTMUX_RELAY_COMMAND";
pub const LOG: &str = "AGENTMUX_LOG";

/// Given by the launcher to the server.
pub const AUTH_KEY: &str = "AGENTMUX_AUTH_KEY";
pub const INSTANCE_ID: &str = "AGENTMUX_INSTANCE_ID";
pub const DATA_DIR: &str = "AGENTMUX_DATA_DIR";
pub const LOG_DIR: &str = "AGENTMUX_LOG_DIR";
pub const RUNTIME_MODE: &str = "AGENTMUX_RUNTIME_MODE";
pub const APP_PATH: &str = "AGENTMUX_APP_PATH";
pub const SRV_PIPE_PATH: &str = "AGENTMUX_SRV_PIPE_PATH";
pub const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";
pub const LISTEN_FDS: &str = "LISTEN_FDS";
pub const LISTEN_FDNAMES: &str = "LISTEN_FDNAMES";
pub const LISTEN_PID: &str = "LISTEN_PID";
pub const WATCHDOG_USEC: &str = "WATCHDOG_USEC";

/// Given by the launcher to a window.
pub const BACKEND_WS: &str = "AGENTMUX_BACKEND_WS";
pub const BACKEND_WEB: &str = "AGENTMUX_BACKEND_WEB";
pub const BACKEND_PID: &str = "AGENTMUX_BACKEND_PID";

/// Given to every agent process.
pub const AGENT: &str = "AGENTMUX_AGENT";
pub const AGENT_UID: &str = "AGENTMUX_AGENT_UID";
pub const RUN: &str = "AGENTMUX_RUN";
/// `<uid>:<run>`: how the tree of an agent is known again after a crash.
pub const TAG: &str = "AGENTMUX_TAG";
pub const TOKEN: &str = "AGENTMUX_TOKEN";
pub const SOCKET: &str = "AGENTMUX_SOCKET";
pub const LOCAL_URL: &str = "AGENTMUX_LOCAL_URL";

/// Given to the command that shows notifications: `tell` or `resolved`, words, and all of it as JSON.
pub const NOTICE: &str = "AGENTMUX_NOTICE";
pub const NOTICE_TITLE: &str = "AGENTMUX_NOTICE_TITLE";
pub const NOTICE_TEXT: &str = "AGENTMUX_NOTICE_TEXT";
pub const NOTICE_JSON: &str = "AGENTMUX_NOTICE_JSON";

/// What a launcher must not pass on: a nested start would otherwise believe the outer one's words.
pub fn is_ours(name: &str) -> bool {
    name.starts_with("AGENTMUX_")
        || matches!(name, NOTIFY_SOCKET | LISTEN_FDS | LISTEN_FDNAMES | LISTEN_PID | WATCHDOG_USEC | "WATCHDOG_PID")
}
