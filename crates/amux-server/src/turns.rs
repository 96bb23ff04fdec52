//! Whose turn it is where there is more to do than one thing at a time: what is urgent goes first, and nothing that is
//! ready waits for ever beside it.

/// Every so many turns somebody else has the first word, so that what is not urgent is only slow beside what never
/// pauses.
const FAIR_EVERY: u32 = 8;

#[derive(Debug, Default)]
pub(crate) struct Turns {
    said: u32,
    /// Heard and answered since something was said unasked.
    heard: u32,
}

impl Turns {
    /// The most urgent that is ready. In a fair turn the search begins at another one each time, and each has its turn.
    pub(crate) fn choose<T, const N: usize>(&self, mut by_urgency: [Option<T>; N]) -> Option<T> {
        if self.said % FAIR_EVERY == FAIR_EVERY - 1 {
            by_urgency.rotate_left((self.said / FAIR_EVERY) as usize % N);
        }
        by_urgency.into_iter().flatten().next()
    }

    /// Whoever asks without a pause does not keep us from saying something else.
    pub(crate) fn is_saying_due(&self) -> bool {
        self.heard >= FAIR_EVERY
    }

    pub(crate) fn heard(&mut self) {
        self.heard = self.heard.saturating_add(1);
    }

    pub(crate) fn said(&mut self) {
        (self.said, self.heard) = (self.said.wrapping_add(1), 0);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn said(turns: &mut Turns, ready: [Option<u8>; 5]) -> u8 {
        let one = turns.choose(ready).unwrap();
        turns.said();
        one
    }

    #[test]
    fn the_urgent_goes_first_and_none_waits_for_ever_beside_it() {
        for never_ready in [None, Some(1), Some(3)] {
            let ready = [0, 1, 2, 3, 4].map(|one| (Some(one) != never_ready).then_some(one));
            let mut turns = Turns::default();
            let round = 5 * FAIR_EVERY;
            for _ in 0..3 {
                let said: Vec<_> = (0..round).map(|_| said(&mut turns, ready)).collect();
                let each: BTreeSet<_> = said.iter().copied().collect();
                assert_eq!(each, ready.into_iter().flatten().collect(), "each in its turn");
                let urgent = said.iter().filter(|one| **one == 0).count();
                assert!(urgent >= 7 * 5, "the urgent seven times of eight: {urgent}");
            }
        }
        assert_eq!(Turns::default().choose([None::<u8>; 5]), None);
    }

    #[test]
    fn whoever_asks_without_a_pause_is_told_something_else_in_between() {
        let mut turns = Turns::default();
        for _ in 0..3 {
            for _ in 0..FAIR_EVERY {
                assert!(!turns.is_saying_due());
                turns.heard();
            }
            assert!(turns.is_saying_due());
            turns.said();
        }
    }
}
