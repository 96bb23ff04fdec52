//! Places for connections. Agents have a few each and cannot take them all, so that there is always one for a person.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use amux_proto::{AgentId, Code, Principal, Rejection};

/// Whose connection it is, for as much as was known when it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Guest {
    Operator,
    Agent(AgentId),
    /// Some agent's, perhaps; all of them are one guest.
    Stray,
}

/// A CLI with its tools, each with a connection or two.
const EACH_MAX: usize = 16;
const STRAYS_MAX: usize = 64;

pub(crate) struct Places {
    all_max: usize,
    /// What agents and strays can have together; the rest is the operator's.
    agents_max: usize,
    taken: Mutex<HashMap<Guest, usize>>,
}

/// A place, until dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    guest: Guest,
}

impl Guest {
    pub(crate) fn of(principal: &Principal) -> Self {
        match principal {
            Principal::Agent { agent, .. } => Self::Agent(*agent),
            Principal::Operator | Principal::System => Self::Operator,
            Principal::Peer(_) => Self::Stray,
        }
    }
}

impl Places {
    pub(crate) fn new(all_max: usize, reserved: usize) -> Arc<Self> {
        Arc::new(Self { all_max, agents_max: all_max.saturating_sub(reserved), taken: Mutex::default() })
    }

    pub(crate) fn take(self: &Arc<Self>, guest: Guest) -> Result<Place, Rejection> {
        let busy = |why: String| Rejection::new(Code::Busy, why);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let operators = taken.get(&Guest::Operator).copied().unwrap_or(0);
        let own = taken.get(&guest).copied().unwrap_or(0);
        let own_max = match guest {
            Guest::Operator => self.all_max,
            Guest::Agent(_) => EACH_MAX,
            Guest::Stray => STRAYS_MAX,
        };
        if own >= own_max {
            return Err(busy(format!("too many connections: you have {own} already")));
        }
        if all >= self.all_max || (guest != Guest::Operator && all - operators >= self.agents_max) {
            return Err(busy("too many connections".into()));
        }
        *taken.entry(guest).or_default() += 1;
        Ok(Place { places: Arc::clone(self), guest })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.guest) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.guest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_however_many_leave_places_for_the_operator() {
        let places = Places::new(100, 20);
        let mut held = Vec::new();
        for n in 0..20 {
            let guest = Guest::Agent(AgentId(uuid::Uuid::from_u128(n)));
            let got: Vec<_> = (0..50).map_while(|_| places.take(guest).ok()).collect();
            assert!(got.len() <= EACH_MAX);
            held.extend(got);
        }
        assert_eq!(held.len(), 80);
        assert!(places.take(Guest::Stray).is_err());
        held.extend((0..20).map(|_| places.take(Guest::Operator).unwrap()));
        assert_eq!(places.take(Guest::Operator).err().unwrap().code, Code::Busy);
        held.clear();
        assert!(places.taken.lock().unwrap().is_empty(), "every place is given back");
    }
}
