//! Who is started when: nobody before those it waits for run, and everybody else at once. Pure: what is seen of the
//! agents and the time come in. One that does not come up holds back those that wait for it and nobody else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use amux_proto::Name;
use amux_proto::view::AgentState;

/// From a wish to an agent that can be spoken to, with the end of the run before it: a CLI that is fetched first takes
/// most of a minute.
pub(crate) const START_PATIENCE: Duration = Duration::from_secs(60);

/// What is shown of an agent.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) state: AgentState,
    pub(crate) run: u64,
    pub(crate) pid: Option<u64>,
    pub(crate) reason: Option<String>,
    /// It cannot be spoken to yet. What waits for it is shown before that.
    pub(crate) is_starting: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Stage {
    Waiting {
        after: Vec<Name>,
    },
    Begun {
        run: u64,
        until: Instant,
    },
    Runs(Seen),
    /// It did what it was there for.
    Ended(Seen),
    Failed(String),
}

#[derive(Debug, Default)]
pub(crate) struct Starts {
    each: BTreeMap<Name, Stage>,
    /// Those of which it was told that they came up or failed.
    told: BTreeSet<Name>,
    /// Why those that are not up are not, by what was seen last.
    slow: BTreeMap<Name, String>,
}

impl Starts {
    pub(crate) fn put(&mut self, agent: &Name, stage: Stage) {
        self.each.insert(agent.clone(), stage);
    }

    pub(crate) fn stage(&self, agent: &Name) -> Option<&Stage> {
        self.each.get(agent)
    }

    pub(crate) fn see(&mut self, seen: &BTreeMap<Name, Seen>, now: Instant) {
        for (name, stage) in &mut self.each {
            let Stage::Begun { run, until } = stage else { continue };
            let (run, is_late) = (*run, now >= *until);
            *stage = match seen.get(name) {
                None => Stage::Failed("it was removed meanwhile".into()),
                Some(seen) if seen.run >= run && !seen.is_starting => match seen.state {
                    AgentState::Failed => Stage::Failed(seen.reason.clone().unwrap_or_else(|| "it failed".into())),
                    AgentState::Offline => Stage::Ended(seen.clone()),
                    _ => Stage::Runs(seen.clone()),
                },
                Some(seen) if is_late => {
                    let why = seen.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
                    Stage::Failed(format!("not up in {} s{why}", START_PATIENCE.as_secs()))
                }
                Some(seen) => {
                    self.slow.insert(name.clone(), seen.reason.clone().unwrap_or_else(|| "starting".into()));
                    continue;
                }
            };
        }
    }

    /// Those whose turn it is. Those that wait for one that failed have failed too.
    pub(crate) fn due(&mut self) -> Vec<Name> {
        // At least one fails a round.
        while let Some((name, cause)) = self.held_back() {
            self.each.insert(name, Stage::Failed(format!("not started, it waits for {cause}")));
        }
        let is_up = |name: &Name| matches!(self.each.get(name), None | Some(Stage::Runs(_) | Stage::Ended(_)));
        let due = self.each.iter().filter(|(_, stage)| match stage {
            Stage::Waiting { after } => after.iter().all(is_up),
            _ => false,
        });
        due.map(|(name, _)| name.clone()).collect()
    }

    fn held_back(&self) -> Option<(Name, Name)> {
        self.each.iter().find_map(|(name, stage)| {
            let Stage::Waiting { after } = stage else { return None };
            let failed = after.iter().find(|name| matches!(self.each.get(*name), Some(Stage::Failed(_))))?;
            Some((name.clone(), failed.clone()))
        })
    }

    pub(crate) fn is_done(&self) -> bool {
        !self.each.values().any(|stage| matches!(stage, Stage::Waiting { .. } | Stage::Begun { .. }))
    }

    /// Those that have come up or failed since this was asked last.
    pub(crate) fn news(&mut self) -> Vec<(Name, Stage)> {
        let is_settled = |stage: &Stage| matches!(stage, Stage::Runs(_) | Stage::Ended(_) | Stage::Failed(_));
        let settled = self.each.iter().filter(|(_, stage)| is_settled(stage));
        let news = settled.filter(|(name, _)| self.told.insert((*name).clone()));
        news.map(|(name, stage)| (name.clone(), stage.clone())).collect()
    }

    /// Those that everybody waits for, each with the reason.
    pub(crate) fn slow(&self) -> Vec<(&Name, &str)> {
        let begun = self.each.iter().filter(|(_, stage)| matches!(stage, Stage::Begun { .. }));
        begun.map(|(name, _)| (name, self.slow.get(name).map_or("starting", String::as_str))).collect()
    }

    /// When it has to be looked at again, whatever happens.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let ends = self.each.values().filter_map(|stage| match stage {
            Stage::Begun { until, .. } => Some(*until),
            _ => None,
        });
        ends.min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn names(texts: &[&str]) -> Vec<Name> {
        texts.iter().map(|text| name(text)).collect()
    }

    fn starts(each: &[(&str, &[&str])]) -> Starts {
        let mut starts = Starts::default();
        each.iter().for_each(|(agent, after)| starts.put(&name(agent), Stage::Waiting { after: names(after) }));
        starts
    }

    fn seen(each: &[(&str, u64, AgentState)]) -> BTreeMap<Name, Seen> {
        let seen = |run, state| {
            let is_starting = matches!(state, AgentState::Starting | AgentState::Queued);
            Seen { state, run, pid: None, reason: is_starting.then(|| "no hello".into()), is_starting }
        };
        each.iter().map(|(agent, run, state)| (name(agent), seen(*run, *state))).collect()
    }

    #[test]
    fn each_starts_when_those_it_waits_for_run() {
        let mut starts = starts(&[("a", &[]), ("b", &["a"]), ("c", &["a", "b"]), ("d", &["kept"])]);
        let now = Instant::now();
        assert_eq!(starts.due(), names(&["a", "d"]), "what is not started here runs already");
        for agent in ["a", "d"] {
            starts.put(&name(agent), Stage::Begun { run: 2, until: now + START_PATIENCE });
        }
        starts.see(&seen(&[("a", 1, AgentState::Idle), ("d", 2, AgentState::Starting)]), now);
        assert_eq!(starts.due(), [], "the run before it is another");
        starts.see(&seen(&[("a", 2, AgentState::Unknown), ("d", 2, AgentState::Starting)]), now);
        assert_eq!(starts.due(), names(&["b"]));
        starts.put(&name("b"), Stage::Begun { run: 1, until: now + START_PATIENCE });
        starts.see(&seen(&[("b", 1, AgentState::Offline), ("d", 2, AgentState::NeedsLogin)]), now);
        assert_eq!(starts.due(), names(&["c"]), "b did its work and ended");
        assert!(!starts.is_done());
    }

    #[test]
    fn one_that_fails_holds_back_who_waits_for_it_and_nobody_else() {
        let mut starts =
            starts(&[("bad", &[]), ("b", &["bad"]), ("c", &["b"]), ("slow", &[]), ("e", &["slow"]), ("f", &[])]);
        let now = Instant::now();
        assert_eq!(starts.due(), names(&["bad", "f", "slow"]));
        for agent in ["bad", "f", "slow"] {
            starts.put(&name(agent), Stage::Begun { run: 1, until: now + START_PATIENCE });
        }
        let what = [("bad", 1, AgentState::Failed), ("f", 1, AgentState::Idle), ("slow", 1, AgentState::Starting)];
        starts.see(&seen(&what), now);
        assert_eq!(starts.due(), []);
        let failed = |starts: &Starts, agent| match starts.stage(&name(agent)) {
            Some(Stage::Failed(why)) => why.clone(),
            other => format!("{other:?}"),
        };
        assert_eq!(failed(&starts, "c"), "not started, it waits for b");
        assert_eq!(starts.deadline(), Some(now + START_PATIENCE));
        starts.see(&seen(&what), now + START_PATIENCE);
        assert_eq!(starts.due(), []);
        assert_eq!(failed(&starts, "slow"), "not up in 60 s: no hello");
        assert!(starts.is_done());
    }

    #[test]
    fn each_is_told_once_when_it_is_up_and_the_slow_one_is_named() {
        let mut starts = starts(&[("a", &[]), ("bad", &[]), ("slow", &[])]);
        let now = Instant::now();
        for agent in ["a", "bad", "slow"] {
            starts.put(&name(agent), Stage::Begun { run: 1, until: now + START_PATIENCE });
        }
        let told = |starts: &mut Starts| starts.news().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(told(&mut starts), []);
        // Mail that waits for one hides that it is starting, and it is not up for that.
        starts.see(
            &seen(&[("a", 1, AgentState::Idle), ("bad", 1, AgentState::Failed), ("slow", 1, AgentState::Queued)]),
            now,
        );
        assert_eq!(told(&mut starts), names(&["a", "bad"]));
        assert_eq!(told(&mut starts), []);
        assert_eq!(starts.slow(), [(&name("slow"), "no hello")]);
        starts.see(&seen(&[("a", 1, AgentState::Idle), ("slow", 1, AgentState::Working)]), now);
        assert_eq!(told(&mut starts), names(&["slow"]));
        assert!(starts.is_done() && starts.slow().is_empty());
    }
}
