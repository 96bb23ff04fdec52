//! The environment of a server and of a window, complete. Whatever another agentmux told us is left out: a nested
//! launcher believes only itself.

use std::ffi::{OsStr, OsString};

use amux_proto::env;
use amux_sys::paths::Layout;

pub(crate) type Environment = Vec<(OsString, OsString)>;

/// What both of them are told.
pub(crate) struct Common<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) profile: &'a str,
    pub(crate) instance: &'a str,
    pub(crate) app_path: &'a OsStr,
}

/// What only the server is told.
pub(crate) struct Server<'a> {
    pub(crate) auth_key: &'a str,
    pub(crate) watchdog_ms: u64,
    pub(crate) fds: usize,
    pub(crate) fd_names: String,
}

/// What only a window is told.
pub(crate) struct Backend<'a> {
    pub(crate) ws: &'a str,
    pub(crate) web: &'a str,
    pub(crate) pid: u32,
}

pub(crate) fn server(
    own: impl Iterator<Item = (OsString, OsString)>,
    common: &Common<'_>,
    server: Server<'_>,
) -> Environment {
    let mut environment = common_to_both(own, common);
    let mut give = |name: &str, value: OsString| environment.push((name.into(), value));
    give(env::AUTH_KEY, server.auth_key.into());
    give(env::NOTIFY_SOCKET, common.layout.launcher_socket().into());
    give(env::WATCHDOG_USEC, (server.watchdog_ms.saturating_mul(1000)).to_string().into());
    if server.fds > 0 {
        give(env::LISTEN_FDS, server.fds.to_string().into());
        give(env::LISTEN_FDNAMES, server.fd_names.into());
    }
    environment
}

pub(crate) fn window(
    own: impl Iterator<Item = (OsString, OsString)>,
    common: &Common<'_>,
    backend: &Backend<'_>,
) -> Environment {
    let mut environment = common_to_both(own, common);
    let mut give = |name: &str, value: &str| environment.push((name.into(), value.into()));
    give(env::BACKEND_WS, backend.ws);
    give(env::BACKEND_WEB, backend.web);
    give(env::BACKEND_PID, &backend.pid.to_string());
    environment
}

fn common_to_both(own: impl Iterator<Item = (OsString, OsString)>, common: &Common<'_>) -> Environment {
    let mut filter = None;
    let mut environment = Environment::new();
    for (name, value) in own {
        if name == env::LOG {
            filter = Some(value);
        } else if !name.to_str().is_some_and(env::is_ours) {
            environment.push((name, value));
        }
    }
    let mut give = |name: &str, value: OsString| environment.push((name.into(), value));
    // The one word of ours that is a person's and not a launcher's.
    if let Some(filter) = filter {
        give(env::LOG, filter);
    }
    let Layout { state_dir, config_dir, .. } = common.layout;
    give(env::PROFILE, common.profile.into());
    give(env::STATE_DIR, state_dir.into());
    give(env::DATA_DIR, state_dir.into());
    give(env::CONFIG_DIR, config_dir.into());
    give(env::LOG_DIR, common.layout.logs().into());
    give(env::INSTANCE_ID, common.instance.into());
    give(env::RUNTIME_MODE, if cfg!(debug_assertions) { "dev" } else { "installed" }.into());
    give(env::APP_PATH, common.app_path.into());
    give(env::SRV_PIPE_PATH, common.layout.srv_socket().into());
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_another_agentmux_said_gets_through() {
        let layout = Layout::resolve("p", Some("/s".into()), Some("/c".into()), &|_| None).unwrap();
        let common = Common { layout: &layout, profile: "p", instance: "i", app_path: OsStr::new("/app") };
        let outer = [
            ("PATH", "/bin"),
            ("AGENTMUX_AUTH_KEY", "outer"),
            ("AGENTMUX_TOKEN", "outer"),
            ("AGENTMUX_STATE_DIR", "/outer"),
            ("AGENTMUX_WHATEVER", "outer"),
            ("AGENTMUX_LOG", "debug"),
            ("NOTIFY_SOCKET", "/outer"),
            ("LISTEN_FDS", "9"),
            ("LISTEN_PID", "1"),
            ("WATCHDOG_PID", "1"),
        ];
        let own = || outer.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let environment =
            server(own(), &common, Server { auth_key: "k", watchdog_ms: 15_000, fds: 2, fd_names: "a:b".into() });
        let get = |name: &str| {
            let found: Vec<_> = environment.iter().filter(|(key, _)| key == name).collect();
            assert!(found.len() <= 1, "{name} is said twice");
            found.first().map(|(_, value)| value.to_str().unwrap())
        };
        assert!(environment.iter().all(|(_, value)| !value.to_str().unwrap().contains("outer")));
        for (name, value) in [
            ("PATH", "/bin"),
            ("AGENTMUX_LOG", "debug"),
            ("AGENTMUX_PROFILE", "p"),
            ("AGENTMUX_AUTH_KEY", "k"),
            ("AGENTMUX_DATA_DIR", "/s"),
            ("AGENTMUX_CONFIG_DIR", "/c"),
            ("AGENTMUX_LOG_DIR", "/s/logs"),
            ("AGENTMUX_INSTANCE_ID", "i"),
            ("AGENTMUX_APP_PATH", "/app"),
            ("AGENTMUX_SRV_PIPE_PATH", "/s/run/srv.sock"),
            ("NOTIFY_SOCKET", "/s/run/launcher.sock"),
            ("WATCHDOG_USEC", "15000000"),
            ("LISTEN_FDS", "2"),
            ("LISTEN_FDNAMES", "a:b"),
        ] {
            assert_eq!(get(name), Some(value), "{name}");
        }
        assert_eq!(get("LISTEN_PID"), None);
        assert_eq!(get("WATCHDOG_PID"), None);

        let backend = Backend { ws: "ws://x", web: "http://x", pid: 7 };
        let environment = window(own(), &common, &backend);
        let names: Vec<_> = environment.iter().map(|(name, _)| name.to_str().unwrap()).collect();
        assert!(names.contains(&"AGENTMUX_BACKEND_WS") && names.contains(&"AGENTMUX_DATA_DIR"));
        assert!(!names.contains(&"AGENTMUX_AUTH_KEY") && !names.contains(&"NOTIFY_SOCKET"));
    }
}
