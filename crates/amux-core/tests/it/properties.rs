//! Whatever anybody says, in whatever order: these things stay true.

use std::collections::{BTreeMap, BTreeSet};

use amux_core::board::{self, Key, Touch};
use amux_core::row::{self, Row, Table};
use amux_core::{Ctx, Decided, State, apply, decide, invariant, mail, view, wish};
use amux_proto::command::run::Fact;
use amux_proto::entity::{Activity, Delivery, Message, Recipient, Stage};
use amux_proto::event::{message, request, session};
use amux_proto::transcript::InputStage;
use amux_proto::{AgentId, Command, Effect, Event, MessageId, Principal, Rejection, Rev, RunNo, Time, command, effect};
use amux_testkit::commands::{Rng, random_command};
use proptest::prelude::*;
use serde_json::json;

/// Long enough for teams to grow, shrink and be removed while their agents run.
const STEPS: usize = 300;

fn config(cases: u32) -> ProptestConfig {
    // A failure is kept by its seed in a test of its own, not in a file beside the tests.
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// A conversation: who says what is the seed's choice.
struct Walk {
    rng: Rng,
    now: Time,
    state: State,
    /// Where the store would have put the old mail.
    filed: BTreeMap<MessageId, Message>,
}

/// One thing that was said, and what it came to. `after` is the walk's state.
struct Turn {
    actor: Principal,
    command: Command,
    ctx: Ctx,
    before: State,
    outcome: Result<Decided, Rejection>,
}

impl Walk {
    fn new(seed: u64) -> Self {
        Self { rng: Rng::new(seed), now: Time(1_700_000_000_000), state: State::default(), filed: BTreeMap::new() }
    }

    fn turn(&mut self) -> Turn {
        let (actor, command) = self.next();
        self.says(actor, command)
    }

    fn next(&mut self) -> (Principal, Command) {
        let late = match self.rng.one_in(6) {
            true => self.rng.pick(self.filed.values()).and_then(late),
            false => None,
        };
        late.unwrap_or_else(|| random_command(&self.state, &mut self.rng))
    }

    fn says(&mut self, actor: Principal, command: Command) -> Turn {
        // Clocks jump; nothing may depend on their going forward.
        self.now = self.now.plus_ms(i64::try_from(self.rng.below(2000)).unwrap() - 200);
        if command.name() == "message.file" && self.rng.one_in(2) {
            self.now = self.now.plus_ms(60 * 60_000);
        }
        let expect = self.rng.one_in(15).then(|| Rev(self.rng.below(4)));
        let seed = self.rng.uuid().as_u128();
        let absent = mail::absent(&self.state, &actor, &command).references;
        let recalled = self
            .filed
            .values()
            .filter(|message| absent.iter().any(|id| *id == message.id.to_string()))
            .cloned()
            .collect();
        let ctx = Ctx { now: self.now, actor: actor.clone(), expect, seed, recalled };
        let outcome = decide(&self.state, &command, &ctx);
        let before = self.state.clone();
        for event in outcome.iter().flat_map(|decided| &decided.events) {
            match event {
                Event::Message(message::Event::Filed(filed)) => self
                    .filed
                    .extend(filed.messages.iter().filter_map(|id| Some((*id, self.state.messages.get(id)?.clone())))),
                Event::Message(message::Event::Recalled(message::Recalled { message })) => {
                    assert_eq!(self.filed.remove(&message.id).as_ref(), Some(message), "it comes back as it was");
                }
                _ => {}
            }
            apply(&mut self.state, self.now, event);
        }
        Turn { actor, command, ctx, before, outcome }
    }

    fn events(turn: &Turn) -> &[Event] {
        turn.outcome.as_ref().map_or(&[], |decided| &decided.events)
    }
}

/// What recipients take before their eyes, and when the server is told of it: known here from what happens to them, and
/// not from what the server makes of it.
#[derive(Default)]
struct Readers {
    /// Every wording of each message.
    wordings: BTreeMap<MessageId, Vec<String>>,
    /// Written to a run, with the words of that time. It is heard of later, or never.
    written: Vec<(AgentId, RunNo, MessageId, u32)>,
    /// Listed, with the words of that time. It is told later.
    listed: Vec<(Principal, Recipient, MessageId, u32)>,
    /// The editions of a copy that the server was told of, since it was begun to give it.
    given: BTreeMap<(MessageId, Recipient), BTreeSet<u32>>,
}

/// That a copy was given with the words of this edition.
type Told = (MessageId, Recipient, u32);

impl Readers {
    /// What one of them does next; with the copy and the edition, where it is told of one.
    fn next(&mut self, walk: &mut Walk) -> Option<(Principal, Command, Option<Told>)> {
        use command::message::{Ack, Command as Order, Edit, Seen, Send};
        let state = &walk.state;
        let rng = &mut walk.rng;
        let live: BTreeMap<AgentId, RunNo> = state
            .agents
            .values()
            .filter_map(|agent| Some((agent.id, agent.run.as_ref().filter(|run| run.is_live())?.no)))
            .collect();
        let waits = |(agent, run): (&AgentId, &RunNo)| {
            let (agent, run) = (*agent, *run);
            state.waiting_for(agent).map(move |message| (agent, run, message.id))
        };
        let waiting: Vec<_> = live.iter().flat_map(waits).collect();
        let newest = |message: &MessageId| u32::try_from(self.wordings[message].len() - 1).unwrap();
        match rng.below(6) {
            0 => {
                let (.., message) = rng.pick(&waiting)?;
                let edit = Edit { message: message.to_string(), body: format!("words {}", rng.below(1000)) };
                Some((Principal::Operator, Order::Edit(edit).into(), None))
            }
            1 => {
                let (agent, run, message) = *rng.pick(&waiting)?;
                if !self.written.iter().any(|known| (known.0, known.1, known.2) == (agent, run, message)) {
                    self.written.push((agent, run, message, newest(&message)));
                }
                None
            }
            2 => {
                let to_person = |message: &&Message| {
                    message.deliveries.iter().any(|copy| copy.to == Recipient::Operator && copy.stage.is_waiting())
                };
                let of_person = state.messages.values().filter(to_person).map(|message| message.id);
                let of_person = of_person.map(|message| (Principal::Operator, Recipient::Operator, message));
                let of_agents = waiting.iter().map(|(agent, run, message)| {
                    (Principal::Agent { agent: *agent, run: *run }, Recipient::Agent { agent: *agent }, *message)
                });
                let all: Vec<_> = of_agents.chain(of_person).collect();
                let (who, to, message) = rng.pick(&all)?.clone();
                self.listed.push((who, to, message, newest(&message)));
                None
            }
            3 => {
                self.written.retain(|(agent, run, ..)| live.get(agent) == Some(run));
                let at = usize::try_from(rng.below(self.written.len().max(1) as u64)).unwrap();
                let (agent, run, message, edition) = *self.written.get(at)?;
                // It is heard of several times, or of the last.
                if rng.one_in(2) {
                    self.written.swap_remove(at);
                }
                let stages = [InputStage::Handed, InputStage::Begun, InputStage::Ended, InputStage::Unproven];
                let (stage, evidence) = (rng.pick(stages)?, "it was read".into());
                let facts = vec![Fact::Input { message, stage, evidence, edition }];
                let known = &state.agents[&agent].run.as_ref()?.activity;
                let activity = Box::new(Activity { seen: known.seen + 1, ..known.clone() });
                let seen = command::run::Command::Seen(command::run::Seen { agent, run, activity, facts });
                let is_there = state.messages.contains_key(&message);
                let told = is_there.then_some((message, Recipient::Agent { agent }, edition));
                Some((Principal::System, seen.into(), told))
            }
            4 => {
                self.listed.retain(|(who, ..)| match who {
                    Principal::Agent { agent, run } => live.get(agent) == Some(run),
                    _ => true,
                });
                let at = usize::try_from(rng.below(self.listed.len().max(1) as u64)).unwrap();
                self.listed.get(at)?;
                let (who, to, message, edition) = self.listed.swap_remove(at);
                let seen = Seen { messages: vec![message.to_string()], editions: vec![edition] };
                // What was stopped stays so, also where it was called back then, and what has expired: nobody looked at it.
                let copies = state.messages.get(&message).into_iter().flat_map(|message| &message.deliveries);
                let is_stopped = |stage: &Stage| matches!(stage, Stage::Held { request: Some(_), .. });
                let stays = |copy: &Delivery| match copy.stage {
                    Stage::Cancelled { .. } => is_stopped(&copy.history[copy.history.len() - 2].stage),
                    Stage::Expired => true,
                    ref stage => is_stopped(stage),
                };
                let is_told = copies.into_iter().any(|copy| copy.to == to && !stays(copy));
                Some((who, Order::Seen(seen).into(), is_told.then_some((message, to, edition))))
            }
            _ => {
                // Whoever speaks of a message names it, and not its words.
                let read = self.written.iter().filter(|(agent, run, ..)| live.get(agent) == Some(run));
                let read =
                    read.map(|(agent, run, message, _)| (Principal::Agent { agent: *agent, run: *run }, *message));
                let listed = self.listed.iter().map(|(who, _, message, _)| (who.clone(), *message));
                let (who, message) = rng.pick(read.chain(listed).collect::<Vec<_>>())?;
                let order = if rng.one_in(2) {
                    Order::Ack(Ack { message: message.to_string() })
                } else {
                    let reply = json!({ "to": ["operator"], "body": "yes", "reply_to": message });
                    Order::Send(serde_json::from_value::<Send>(reply).unwrap())
                };
                Some((who, order.into(), None))
            }
        }
    }

    fn heard(&mut self, event: &Event) {
        match event {
            Event::Message(message::Event::Sent(message::Sent { message })) => {
                self.wordings.insert(message.id, vec![message.body.clone()]);
            }
            Event::Message(message::Event::Edited(message::Edited { message, body, .. })) => {
                self.wordings.get_mut(message).unwrap().push(body.clone());
            }
            // What waits, and what ends while it does, nobody was given.
            Event::Message(message::Event::Staged(message::Staged { message, to, stage, .. })) => {
                if matches!(stage, Stage::Accepted | Stage::Cancelled { .. } | Stage::Expired) {
                    self.given.remove(&(*message, *to));
                }
            }
            _ => {}
        }
    }
}

/// Without what it says of words that were read: nobody read them.
fn without_reading(mut command: Command) -> Command {
    match &mut command {
        Command::Run(command::run::Command::Seen(seen)) => {
            seen.facts.retain(|fact| !matches!(fact, Fact::Input { .. }));
        }
        Command::Message(command::message::Command::Seen(seen)) => seen.editions.clear(),
        _ => {}
    }
    command
}

/// What a person may still do with an old message: answer it, or have it given again.
fn late(old: &Message) -> Option<(Principal, Command)> {
    let is_open = |copy: &Delivery| copy.to == Recipient::Operator && copy.stage == Stage::Acked;
    let order = if old.deliveries.iter().any(is_open) {
        let reply = json!({ "to": ["operator"], "body": "late", "reply_to": old.id });
        command::message::Command::Send(serde_json::from_value(reply).unwrap())
    } else if old.expires.is_none() && old.deliveries.iter().any(|copy| copy.stage.is_end()) {
        command::message::Command::Retry(command::message::Retry { message: old.id.to_string(), to: None })
    } else {
        return None;
    };
    Some((Principal::Operator, Command::Message(order)))
}

proptest! {
    #![proptest_config(config(16))]

    #[test]
    fn every_invariant_holds_after_every_command(seed in any::<u64>()) {
        let mut walk = Walk::new(seed);
        for _ in 0..STEPS {
            let turn = walk.turn();
            let wrong = invariant::check(&walk.state);
            prop_assert!(wrong.is_empty(), "{wrong:?} after {:?} by {}", turn.command, turn.actor);
        }
    }

    #[test]
    fn a_row_that_no_event_touched_is_as_it_was(seed in any::<u64>()) {
        let mut walk = Walk::new(seed);
        for _ in 0..STEPS / 2 {
            let turn = walk.turn();
            let now = turn.ctx.now;
            let mut touched = BTreeSet::new();
            let mut state = turn.before.clone();
            for event in Walk::events(&turn) {
                board::touched(&state, event, &mut |touch| {
                    touched.insert(touch);
                });
                apply(&mut state, now, event);
            }
            if touched.contains(&Touch::Everything) {
                continue;
            }
            let is_touched = |key: &Key| {
                let waits = |agent: &AgentId| state.waiting_for(*agent).any(|mail| *key == Key::Message(mail.id));
                touched.iter().any(|touch| match touch {
                    Touch::Row(row) => row == key,
                    Touch::MailOf(agent) => waits(agent),
                    Touch::Everything => true,
                })
            };
            let keys = |state: &State| {
                let mut keys = board::keys(state);
                keys.extend(state.messages.keys().copied().map(Key::Message));
                keys
            };
            for key in keys(&turn.before).union(&keys(&state)).filter(|key| !is_touched(key)) {
                let (was, is) = (board::row(&turn.before, key, now).0, board::row(&state, key, now).0);
                prop_assert_eq!(was, is, "{:?} by {:?}", key, turn.command);
            }
        }
    }

    #[test]
    fn a_row_that_nothing_happens_to_stays_until_the_time_it_names(seed in any::<u64>()) {
        const LONG_MS: i64 = 365 * 24 * 3_600_000;
        let mut walk = Walk::new(seed);
        for _ in 0..STEPS / 2 {
            let now = walk.turn().ctx.now;
            for key in walk.state.messages.keys().copied().map(Key::Message) {
                let (row, until) = board::row(&walk.state, &key, now);
                let last = until.map_or(Time(now.0 + LONG_MS), |until| Time(until.0 - 1));
                prop_assert_eq!(&row, &board::row(&walk.state, &key, last).0, "{:?} at {}, named {:?}", key, now, until);
                if let Some(until) = until {
                    prop_assert!(until > now && row != board::row(&walk.state, &key, until).0, "{:?} at {}", key, until);
                }
            }
        }
    }

    #[test]
    fn a_command_changes_the_state_exactly_when_it_says_so(seed in any::<u64>()) {
        let mut walk = Walk::new(seed);
        for _ in 0..STEPS {
            let turn = walk.turn();
            let changed = turn.outcome.as_ref().map(|decided| decided.answer["changed"].as_bool());
            match changed {
                Ok(said) => prop_assert_eq!(said, Some(walk.state != turn.before), "{:?}", turn.command),
                Err(_) => prop_assert!(walk.state == turn.before),
            }
        }
    }

    #[test]
    fn the_same_command_in_the_same_state_gives_the_same_events(seed in any::<u64>()) {
        let mut walk = Walk::new(seed);
        for _ in 0..STEPS {
            let turn = walk.turn();
            let again = decide(&turn.before, &turn.command, &turn.ctx);
            prop_assert_eq!(&again, &turn.outcome);
        }
        let mut replay = Walk::new(seed);
        for _ in 0..STEPS {
            replay.turn();
        }
        prop_assert!(replay.state == walk.state);
    }

    #[test]
    fn rows_hold_the_whole_state(seed in any::<u64>()) {
        let mut walk = Walk::new(seed);
        for at in 0..STEPS {
            walk.turn();
            if at % 10 == 0 {
                prop_assert!(stored(&walk.state) == walk.state);
            }
        }
    }

    #[test]
    fn the_open_wishes_are_those_the_state_implies(seed in any::<u64>()) {
        let mut walk = Walk::new(seed);
        let mut open: BTreeMap<effect::Key, Effect> = BTreeMap::new();
        for _ in 0..STEPS {
            let turn = walk.turn();
            for event in Walk::events(&turn) {
                for wish in wish::opened(event) {
                    open.insert(wish.key(), wish);
                }
                for key in wish::settled(event) {
                    open.remove(&key);
                }
            }
            let implied: BTreeMap<_, _> = wish::open(&walk.state).into_iter().map(|wish| (wish.key(), wish)).collect();
            prop_assert_eq!(&open, &implied, "after {:?}", turn.command);
        }
    }

    #[test]
    fn a_delivery_never_steps_back_and_is_in_one_run_at_a_time(seed in any::<u64>()) {
        let mut walk = Walk::new(seed);
        for _ in 0..STEPS {
            let turn = walk.turn();
            let mut state = turn.before.clone();
            for event in Walk::events(&turn) {
                if let Event::Message(message::Event::Staged(message::Staged { message, to, stage, edition, .. })) = event {
                    let delivery = state.messages[message].deliveries.iter().find(|delivery| delivery.to == *to);
                    let before = delivery.expect("what is staged was sent");
                    let is_retry = matches!(&turn.command, Command::Message(command::message::Command::Retry(_)));
                    let begins_again = is_retry && *stage == Stage::Accepted;
                    // It was said of what was on its way already, or listed.
                    let is_too_late = match &turn.command {
                        Command::Run(command::run::Command::Seen(_)) => {
                            matches!(before.stage, Stage::Cancelled { .. } | Stage::Expired)
                                && matches!(stage, Stage::Routed { .. })
                        }
                        Command::Message(command::message::Command::Seen(_)) => {
                            matches!(before.stage, Stage::Cancelled { .. })
                                && matches!(stage, Stage::Routed { .. } | Stage::Shown)
                        }
                        _ => false,
                    };
                    // Which words it was may be learned of what has ended.
                    let is_learned = before.stage == *stage && edition.is_some();
                    prop_assert!(!before.stage.is_end() || begins_again || is_too_late || is_learned, "{event:?} after {before:?}");
                    if before.stage == Stage::Acked && !is_learned {
                        prop_assert!(matches!(stage, Stage::Answered { .. }), "{event:?} after {before:?}");
                    }
                    if let Stage::Routed { run } = stage {
                        prop_assert!(before.run.is_none(), "{event:?} after {before:?}");
                        let Recipient::Agent { agent } = to else { panic!("the operator has no runs") };
                        prop_assert_eq!(state.agents[agent].run.as_ref().map(|current| current.no), Some(*run));
                    }
                }
                apply(&mut state, turn.ctx.now, event);
            }
        }
    }

    #[test]
    fn the_words_a_receipt_shows_are_those_that_were_given(seed in any::<u64>()) {
        let mut walk = Walk::new(seed);
        let mut readers = Readers::default();
        for _ in 0..STEPS {
            let next = if walk.rng.one_in(2) { readers.next(&mut walk) } else { None };
            let (actor, command, told) = next.unwrap_or_else(|| {
                let (actor, command) = walk.next();
                (actor, without_reading(command), None)
            });
            let turn = walk.says(actor, command);
            Walk::events(&turn).iter().for_each(|event| readers.heard(event));
            if let Some((message, to, edition)) = told.filter(|_| turn.outcome.is_ok()) {
                readers.given.entry((message, to)).or_default().insert(edition);
            }
            let Readers { given, wordings, .. } = &readers;
            for ((message, to), editions) in given {
                let Some(known) = walk.state.messages.get(message) else { continue };
                let shown = view::message(&walk.state, &[], &Principal::Operator, &message.to_string(), walk.now).unwrap();
                let at = known.deliveries.iter().position(|copy| copy.to == *to).unwrap();
                let words = match shown.deliveries[at].edition {
                    Some(edition) => &shown.other.iter().find(|words| words.edition == edition).unwrap().body,
                    None => &shown.body,
                };
                let expected = &wordings[message][usize::try_from(*editions.last().unwrap()).unwrap()];
                prop_assert_eq!(words, expected, "{:?} to {:?} after {:?}", known, to, turn.command);
            }
        }
    }

    #[test]
    fn a_request_is_decided_once_and_settled_only_when_decided(seed in any::<u64>()) {
        let mut walk = Walk::new(seed);
        for _ in 0..STEPS {
            let turn = walk.turn();
            let mut state = turn.before.clone();
            for event in Walk::events(&turn) {
                let decided = |id| state.requests.get(id).map(|request| request.decided.is_some());
                match event {
                    Event::Request(request::Event::Decided(request::Decided { request, by, rule, .. })) => {
                        prop_assert_eq!(decided(request), Some(false), "{:?}", event);
                        // By a person, or by a rule that is named.
                        prop_assert_eq!(*by == Principal::System, rule.is_some(), "{:?}", event);
                    }
                    Event::Request(request::Event::Settled(request::Settled { request })) => {
                        prop_assert_eq!(decided(request), Some(true), "{:?}", event);
                    }
                    Event::Request(request::Event::Withdrawn(request::Withdrawn { request, .. })) => {
                        prop_assert!(decided(request).is_some(), "{event:?}");
                    }
                    _ => {}
                }
                apply(&mut state, turn.ctx.now, event);
            }
        }
    }

    #[test]
    fn a_stale_expectation_is_always_refused(seed in any::<u64>()) {
        let mut walk = Walk::new(seed);
        for _ in 0..STEPS {
            let turn = walk.turn();
            // No thing has this revision, so nothing may pass that was made for it.
            let ctx = Ctx { expect: Some(Rev(u64::MAX)), ..turn.ctx.clone() };
            prop_assert!(decide(&turn.before, &turn.command, &ctx).is_err(), "{:?}", turn.command);
        }
    }
}

// These compare everything with everything after every step.
proptest! {
    #![proptest_config(config(4))]

    #[test]
    fn folding_the_events_from_any_point_gives_the_state(seed in any::<u64>(), cut in 0..STEPS) {
        let mut walk = Walk::new(seed);
        let mut folded = State::default();
        for at in 0..STEPS {
            let turn = walk.turn();
            if at == cut {
                // A restart: what was stored is all there is.
                folded = stored(&turn.before);
            }
            for event in Walk::events(&turn) {
                // Through the wire, as a follower or the log would have it.
                let body = event.encode().unwrap();
                let event = Event::decode(event.name(), body.get()).unwrap().unwrap();
                apply(&mut folded, turn.ctx.now, &event);
            }
            prop_assert!(folded == walk.state, "after {:?}", turn.command);
        }
    }

    #[test]
    fn writing_the_touched_rows_batch_by_batch_keeps_the_tables(seed in any::<u64>(), batch in 1_usize..6) {
        let mut walk = Walk::new(seed);
        let mut tables = BTreeMap::new();
        let mut events = Vec::new();
        for at in 0..STEPS {
            let turn = walk.turn();
            events.extend_from_slice(Walk::events(&turn));
            if at % batch == 0 {
                let rows = row::touched(&walk.state, &events);
                let keys: BTreeSet<_> = rows.iter().map(|row| (row.table, row.id.clone())).collect();
                prop_assert_eq!(keys.len(), rows.len(), "a row is written twice");
                write(&mut tables, rows);
                events.clear();
                prop_assert_eq!(&tables, &keyed(row::all(&walk.state)));
            }
        }
    }

    #[test]
    fn an_event_changes_something_counts_it_up_by_one_and_touches_nothing_else(seed in any::<u64>()) {
        let mut walk = Walk::new(seed);
        for _ in 0..STEPS {
            let turn = walk.turn();
            let mut state = turn.before.clone();
            let mut before = keyed(row::all(&state));
            for event in Walk::events(&turn) {
                apply(&mut state, turn.ctx.now, event);
                let after = keyed(row::all(&state));
                let mut says_something = false;
                let touched = keyed(row::touched(&state, std::slice::from_ref(event)));
                for key in before.keys().chain(after.keys()) {
                    let (old, new) = (before.get(key), after.get(key));
                    if old == new {
                        continue;
                    }
                    says_something |= old.map(without_rev) != new.map(without_rev);
                    prop_assert!(touched.contains_key(key), "{} changes {key:?} unsaid", event.name());
                    // What is recalled comes back as it was, with its count.
                    let is_recalled = matches!(event, Event::Message(message::Event::Recalled(_)));
                    let counted = !is_recalled
                        && !matches!(key.0, Table::Order | Table::Closed | Table::Kind | Table::Policy | Table::Words);
                    if let (Some(new), true) = (new, counted) {
                        let expected = old.map_or(Rev(0), |old| old.rev).next();
                        prop_assert_eq!(new.rev, expected, "{} at {:?}", event.name(), key);
                    }
                }
                // That a conversation goes on is news that changes nothing.
                let goes_on = matches!(event, Event::Session(session::Event::Opened(_)));
                prop_assert!(says_something || goes_on, "{event:?} changes nothing");
                before = after;
            }
        }
    }
}

#[test]
fn the_random_commands_reach_every_verb_and_every_event() {
    let mut said = BTreeSet::new();
    let mut obeyed = BTreeSet::new();
    let mut happened = BTreeSet::new();
    for seed in 0..14 {
        let mut walk = Walk::new(seed);
        for _ in 0..1000 {
            let turn = walk.turn();
            said.insert(turn.command.name());
            if turn.outcome.is_ok() {
                obeyed.insert(turn.command.name());
            }
            happened.extend(Walk::events(&turn).iter().map(Event::name));
        }
    }
    let verbs: BTreeSet<_> = Command::names().collect();
    assert_eq!(said, verbs);
    assert_eq!(obeyed, verbs);
    assert_eq!(happened, Event::names().collect::<BTreeSet<_>>());
}

/// The state after a visit to the tables, its rows in another order.
fn stored(state: &State) -> State {
    let rows = row::all(state).into_iter().rev().map(|row| (row.table, row.id, row.body.expect("`all` has bodies")));
    row::load(rows).expect("what was written can be read")
}

/// What a row says, without how often it was said.
fn without_rev(row: &Row) -> serde_json::Value {
    let body = row.body.as_deref().expect("`all` has bodies");
    let mut body: serde_json::Value = serde_json::from_str(body).expect("bodies are JSON");
    if let Some(fields) = body.as_object_mut() {
        fields.remove("rev");
    }
    body
}

type Tables = BTreeMap<(Table, String), Row>;

fn keyed(rows: Vec<Row>) -> Tables {
    rows.into_iter().map(|row| ((row.table, row.id.clone()), row)).collect()
}

fn write(tables: &mut Tables, rows: Vec<Row>) {
    for row in rows {
        let key = (row.table, row.id.clone());
        match row.body {
            Some(_) => tables.insert(key, row),
            None => tables.remove(&key),
        };
    }
}
