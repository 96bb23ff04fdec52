//! One datagram of the notification protocol as words. Pure; who may say them and what they move is decided elsewhere.

use amux_proto::ready::{GOAL_KEY, REAPED_KEY};
use amux_sys::process::ProcessId;

use crate::machine::Goal;

/// What one datagram says. Words we do not know are nobody's mistake and are passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) ready: bool,
    pub(crate) ping: bool,
    pub(crate) status: Option<String>,
    pub(crate) extend_ms: Option<u64>,
    pub(crate) stopping: Option<Goal>,
    /// The descriptors that came along are to be kept under this name.
    pub(crate) store: Option<String>,
    /// What is kept under this name is not needed any more.
    pub(crate) remove: Option<String>,
    /// The server knows how these ended.
    pub(crate) reaped: Vec<ProcessId>,
}

/// The protocol's own limit is a page.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4096;

impl Message {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let (mut message, mut name, mut restart) = (Self::default(), None, false);
        let (mut store, mut remove, mut stopping) = (false, false, false);
        for line in String::from_utf8_lossy(bytes).lines() {
            let Some((key, value)) = line.split_once('=') else { continue };
            match (key, value) {
                ("READY", "1") => message.ready = true,
                ("WATCHDOG", "1") => message.ping = true,
                ("STOPPING", "1") => stopping = true,
                ("STATUS", text) => message.status = Some(text.to_owned()),
                ("EXTEND_TIMEOUT_USEC", text) => message.extend_ms = text.parse().ok().map(|usec: u64| usec / 1000),
                ("FDSTORE", "1") => store = true,
                ("FDSTOREREMOVE", "1") => remove = true,
                ("FDNAME", text) => name = Some(text.to_owned()),
                (GOAL_KEY, text) => restart = text == "restart",
                (REAPED_KEY, text) => message.reaped.extend(process(text)),
                _ => {}
            }
        }
        message.stopping = stopping.then_some(if restart { Goal::Restart } else { Goal::End });
        message.remove = name.clone().filter(|_| remove);
        // The name the protocol gives to what has none.
        message.store = (store && !remove).then(|| name.unwrap_or_else(|| "stored".to_owned()));
        message
    }
}

fn process(text: &str) -> Option<ProcessId> {
    let (pid, start_ticks) = text.split_once(':')?;
    Some(ProcessId { pid: pid.parse().ok()?, start_ticks: start_ticks.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_strangers_passed_over() {
        let message = Message::parse(
            b"READY=1\nSTATUS=serving a=b\nWATCHDOG=1\nEXTEND_TIMEOUT_USEC=2500000\nMAINPID=1\nrubbish\n\xff=1\nX_AGENTMUX_REAPED=7:9\nX_AGENTMUX_REAPED=8:x",
        );
        assert_eq!(
            message,
            Message {
                ready: true,
                ping: true,
                status: Some("serving a=b".into()),
                extend_ms: Some(2_500),
                reaped: vec![ProcessId { pid: 7, start_ticks: 9 }],
                ..Message::default()
            }
        );
        assert_eq!(Message::parse(b"READY=0\nWATCHDOG=trigger"), Message::default());
    }

    #[test]
    fn what_to_keep_and_what_to_let_go() {
        assert_eq!(Message::parse(b"FDSTORE=1\nFDNAME=a.1\nFDPOLL=0").store, Some("a.1".into()));
        assert_eq!(Message::parse(b"FDSTORE=1").store, Some("stored".into()));
        assert_eq!(Message::parse(b"FDSTOREREMOVE=1\nFDNAME=a.1").remove, Some("a.1".into()));
        assert_eq!(Message::parse(b"FDSTOREREMOVE=1").remove, None, "nothing is let go without a name");
    }

    #[test]
    fn a_server_says_why_it_stops() {
        assert_eq!(Message::parse(b"STOPPING=1").stopping, Some(Goal::End));
        assert_eq!(Message::parse(b"X_AGENTMUX_GOAL=restart\nSTOPPING=1").stopping, Some(Goal::Restart));
        assert_eq!(Message::parse(b"X_AGENTMUX_GOAL=restart").stopping, None);
    }
}
