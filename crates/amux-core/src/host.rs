//! The machine, as of the newest start of the server.

use amux_proto::command::host::{Boot, Command};
use amux_proto::entity::Host;
use amux_proto::event::host::{Booted, Event};
use amux_proto::{Rejection, Rev, Time};
use serde_json::{Value, json};

use crate::bounds::cut;
use crate::case::Case;
use crate::state::State;

pub(crate) fn decide(case: &mut Case<'_>, command: &Command) -> Result<Value, Rejection> {
    match command {
        Command::Boot(order) => Ok(boot(case, order)),
    }
}

/// Every start is a fact, even one that finds everything as it was.
fn boot(case: &mut Case<'_>, order: &Boot) -> Value {
    let Boot { hostname, boot_id, version } = order;
    let rebooted = case.state.host.as_ref().is_some_and(|host| host.boot_id != *boot_id);
    case.emit(Event::Booted(Booted { hostname: cut(hostname), boot_id: cut(boot_id), version: cut(version) }));
    json!({ "rebooted": rebooted })
}

pub(crate) fn apply(state: &mut State, at: Time, event: &Event) {
    match event {
        Event::Booted(Booted { hostname, boot_id, version }) => {
            let rev = state.host.as_ref().map_or(Rev(0), |host| host.rev).next();
            let (hostname, boot_id, version) = (hostname.clone(), boot_id.clone(), version.clone());
            state.host = Some(Host { hostname, boot_id, version, booted: at, rev });
        }
    }
}
