//! Numbers for a scraper, and the counters behind them.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use amux_sys::process;

use crate::daemon::Daemon;

#[derive(Default)]
pub(crate) struct Counters {
    connections: AtomicU64,
    connections_total: AtomicU64,
    refused_total: AtomicU64,
}

/// One connection, until dropped.
pub(crate) struct Connected<'a>(&'a Counters);

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Counters {
    pub(crate) fn connected(&self) -> Connected<'_> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.connections_total.fetch_add(1, Ordering::Relaxed);
        Connected(self)
    }

    pub(crate) fn refused(&self) {
        self.refused_total.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn total(&self) -> u64 {
        self.connections_total.load(Ordering::Relaxed)
    }
}

/// Prometheus text.
pub(crate) fn text(daemon: &Daemon) -> String {
    let published = daemon.engine.published();
    let head = published.read(|_, head| head);
    let pid = std::process::id();
    let counters = &daemon.counters;
    let rows: [(&str, &str, &str, f64); 11] = [
        ("agentmux_head_seq", "counter", "Events committed since the store was made.", head.0 as f64),
        ("agentmux_log_floor_seq", "gauge", "Events up to here were compacted away.", published.floor().0 as f64),
        ("agentmux_agents", "gauge", "Agents that exist.", f64::from(published.agent_count())),
        ("agentmux_runs_live", "gauge", "Agents with a process.", daemon.runner.live().len() as f64),
        ("agentmux_wishes_open", "gauge", "Wishes not yet carried out.", published.wishes().len() as f64),
        ("agentmux_connections", "gauge", "Clients connected.", counters.connections() as f64),
        ("agentmux_connections_total", "counter", "Clients connected so far.", counters.total() as f64),
        (
            "agentmux_connections_refused_total",
            "counter",
            "Clients refused for want of a place.",
            counters.refused_total.load(Ordering::Relaxed) as f64,
        ),
        (
            "agentmux_read_only",
            "gauge",
            "1 while the store takes no writes.",
            f64::from(u8::from(published.mode() == amux_engine::Mode::ReadOnly)),
        ),
        (
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory of the server.",
            process::rss_bytes(pid).unwrap_or_default() as f64,
        ),
        (
            "process_cpu_seconds_total",
            "counter",
            "Processor time of the server.",
            process::cpu_ms(pid).unwrap_or_default() as f64 / 1000.0,
        ),
    ];
    let mut text = String::new();
    for (name, kind, help, value) in rows {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    }
    text
}
