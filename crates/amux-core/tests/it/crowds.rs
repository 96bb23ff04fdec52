//! Many agents, much mail and clocks that are wrong: what the rules of the mail come to when there is a lot of it. A
//! clock that the test moves, and agents that take what is due at once.

use std::collections::BTreeMap;

use amux_core::{Ctx, State, apply, decide, invariant, mail};
use amux_proto::command::message::{Command, Send};
use amux_proto::command::run::Fact;
use amux_proto::command::{agent, message};
use amux_proto::entity::{Class, Recipient, Stage};
use amux_proto::transcript::InputStage;
use amux_proto::{AgentId, MessageId, Principal, RunNo, Time};

use crate::world::{World, id, letter};

fn me(agent: AgentId) -> Principal {
    Principal::Agent { agent, run: RunNo(1) }
}

fn due(state: &State, agent: AgentId, now: Time) -> Vec<MessageId> {
    mail::due(state, agent, now, |_, _| false).batch.into_iter().map(|(id, _)| id).collect()
}

/// A world too large to be checked after every command.
struct Crowd {
    state: State,
    now: Time,
    seed: u128,
    members: Vec<AgentId>,
    wakes: BTreeMap<AgentId, usize>,
}

impl Crowd {
    fn new(count: usize) -> Self {
        let mut world = World::new();
        let members: Vec<AgentId> = (0..count).map(|n| world.running(&format!("m{n}"))).collect();
        Self { state: world.state, now: world.now, seed: 1 << 64, members, wakes: BTreeMap::new() }
    }

    fn passes(&mut self, ms: i64) {
        self.now = Time(self.now.0 + ms);
    }

    fn does(&mut self, actor: Principal, command: impl Into<amux_proto::Command>) -> serde_json::Value {
        self.seed += 1;
        let ctx = Ctx { now: self.now, actor, expect: None, seed: self.seed, recalled: Vec::new() };
        let decided = decide(&self.state, &command.into(), &ctx).expect("this is allowed here");
        for event in &decided.events {
            apply(&mut self.state, ctx.now, event);
        }
        decided.answer
    }

    fn send(&mut self, from: usize, to: usize, body: &str, class: Class) -> MessageId {
        let letter = Send { class, ..letter(&format!("m{to}"), body) };
        let answer = self.does(me(self.members[from]), Command::Send(letter));
        MessageId(id(&answer, "id"))
    }

    /// One turn about everything that is due, if something is; how many messages that were.
    fn takes(&mut self, member: usize) -> usize {
        let agent = self.members[member];
        let batch = due(&self.state, agent, self.now);
        if batch.is_empty() {
            return 0;
        }
        *self.wakes.entry(agent).or_default() += 1;
        for stage in [InputStage::Handed, InputStage::Begun, InputStage::Ended] {
            let mut activity = self.state.agents[&agent].run.as_ref().unwrap().activity.clone();
            activity.seen += 1;
            let fact =
                |message: &MessageId| Fact::Input { message: *message, stage, evidence: "seen".into(), edition: 0 };
            let facts: Vec<Fact> = batch.iter().map(fact).collect();
            self.does(Principal::System, crate::world::seen(agent, 1, activity, &facts));
        }
        batch.len()
    }

    fn works(&mut self, member: usize, turn_open: bool) {
        let agent = self.members[member];
        let mut activity = self.state.agents[&agent].run.as_ref().unwrap().activity.clone();
        activity.seen += 1;
        activity.turn_open = turn_open;
        self.does(Principal::System, crate::world::seen(agent, 1, activity, &[]));
    }

    fn wakes(&self, member: usize) -> usize {
        self.wakes.get(&self.members[member]).copied().unwrap_or(0)
    }
}

#[test]
fn a_hundred_agents_that_write_to_everybody_are_all_heard_once_and_in_order() {
    const MEMBERS: usize = 100;
    const EACH: usize = 10;
    let mut crowd = Crowd::new(MEMBERS);
    let mut heard = 0;
    for round in 0..EACH {
        // Whoever writes is at work.
        (0..MEMBERS).for_each(|member| crowd.works(member, true));
        for from in 0..MEMBERS {
            let letter = letter("team:default", &format!("{round}"));
            crowd.does(me(crowd.members[from]), Command::Send(letter));
        }
        (0..MEMBERS).for_each(|member| crowd.works(member, false));
        heard += (0..MEMBERS).map(|member| crowd.takes(member)).sum::<usize>();
        crowd.passes(60_000);
    }
    // Who is woken so often is woken less: the rest comes in larger pieces, and none of it is lost.
    let mut minutes = 0;
    while heard < MEMBERS * (MEMBERS - 1) * EACH {
        assert!(minutes < 24 * 60, "{heard} were heard");
        heard += (0..MEMBERS).map(|member| crowd.takes(member)).sum::<usize>();
        crowd.passes(60_000);
        minutes += 1;
    }
    let copies = crowd.state.messages.values().flat_map(|message| &message.deliveries);
    assert!(copies.clone().all(|copy| copy.stage == Stage::Acked && mail::attempts(copy) == 1));
    assert_eq!(copies.count(), MEMBERS * (MEMBERS - 1) * EACH);
    for member in &crowd.members {
        let mut last: BTreeMap<AgentId, (Time, u32)> = BTreeMap::new();
        let to = Recipient::Agent { agent: *member };
        for message in crowd.state.mail_of(to) {
            let Principal::Agent { agent: from, .. } = message.from else { panic!("agents write here") };
            let at = message.deliveries.iter().find(|copy| copy.to == to).unwrap().at;
            let (before, round) = last.insert(from, (at, message.body.parse().unwrap())).unwrap_or((at, 0));
            assert!(before <= at && round <= message.body.parse().unwrap(), "the order of one sender is kept");
        }
    }
    let woken_max = (0..MEMBERS).map(|member| crowd.wakes(member)).max().unwrap();
    eprintln!(
        "{heard} were heard, each of {MEMBERS} was woken {woken_max} times at most, in {} minutes",
        minutes + EACH
    );
    assert!(woken_max < MEMBERS * EACH / 20, "what comes from many comes in one piece: {woken_max}");
    assert_eq!(invariant::check(&crowd.state), Vec::<String>::new());
}

#[test]
fn twenty_workers_that_tell_how_far_they_are_wake_nobody() {
    let mut crowd = Crowd::new(21);
    for beat in 0..50 {
        for worker in 1..=20 {
            crowd.send(worker, 0, &format!("{beat} %"), Class::State);
        }
        crowd.passes(1_000);
        assert_eq!(crowd.takes(0), 0);
    }
    crowd.passes(3_600_000);
    assert_eq!((crowd.takes(0), crowd.wakes(0)), (0, 0));
    // What wakes is not hidden by a thousand that do not, and is not taken for one of them.
    let done = crowd.send(7, 0, "done", Class::Request);
    let mut taken = 0;
    while crowd.state.messages[&done].deliveries[0].stage.is_waiting() {
        let more = crowd.takes(0);
        assert!(more > 0, "it is never given: {taken} were");
        taken += more;
    }
    assert_eq!(taken, 1001, "all of it, in its order");
}

#[test]
fn a_person_is_heard_before_a_thousand_messages_that_agents_may_not_be_woken_for() {
    let mut crowd = Crowd::new(2);
    let agent = crowd.members[0];
    let rules = agent::Mail {
        agent: agent.to_string(),
        paused: None,
        while_working: None,
        boundary_ms: None,
        wakes_per_hour: Some(0),
    };
    crowd.does(Principal::Operator, agent::Command::Mail(rules));
    for n in 0..1_000 {
        crowd.send(1, 0, &format!("{n}"), Class::Request);
    }
    assert_eq!(crowd.takes(0), 0);
    let letter = letter("m0", "stop that");
    let person = MessageId(id(&crowd.does(Principal::Operator, Command::Send(letter)), "id"));
    assert_eq!(due(&crowd.state, agent, crowd.now), [person]);
}

#[test]
fn a_clock_that_leaps_forward_gives_everything_once_and_claims_nothing() {
    const EIGHT_HOURS: i64 = 8 * 3_600_000;
    let mut crowd = Crowd::new(3);
    let agent = crowd.members[0];
    // One is in its hands, one waits to be collected, and one has only so long.
    let given = crowd.send(1, 0, "given", Class::Request);
    let seen = |crowd: &mut Crowd, stage| {
        let mut activity = crowd.state.agents[&agent].run.as_ref().unwrap().activity.clone();
        activity.seen += 1;
        let fact = Fact::Input { message: given, stage, evidence: "seen".into(), edition: 0 };
        crowd.does(Principal::System, crate::world::seen(agent, 1, activity, &[fact]));
    };
    seen(&mut crowd, InputStage::Handed);
    let collected = crowd.send(1, 0, "by the way", Class::Info);
    let short = Send { ttl_ms: Some(60_000), class: Class::Info, ..letter("m0", "soon") };
    let short = MessageId(id(&crowd.does(me(crowd.members[2]), Command::Send(short)), "id"));
    assert!(due(&crowd.state, agent, crowd.now).is_empty());
    crowd.passes(EIGHT_HOURS);
    let stage = |crowd: &Crowd, id: MessageId| crowd.state.messages[&id].deliveries[0].stage.clone();
    assert_eq!(stage(&crowd, given), Stage::Handed, "sleep is no proof of anything");
    assert_eq!(due(&crowd.state, agent, crowd.now), [collected], "and what is in its hands is not given again");
    let (_, over) = crowd.state.next_to_expire().unwrap();
    assert_eq!(over, short);
    crowd.does(Principal::System, Command::Expire(message::Expire { message: short.to_string() }));
    assert_eq!(stage(&crowd, short), Stage::Expired);
    assert_eq!((crowd.takes(0), crowd.takes(0)), (1, 0));
    seen(&mut crowd, InputStage::Ended);
    assert_eq!((stage(&crowd, given), stage(&crowd, collected)), (Stage::Acked, Stage::Acked));
}

#[test]
fn a_clock_that_leaps_back_changes_no_order_and_holds_nothing_for_good() {
    let mut crowd = Crowd::new(2);
    let agent = crowd.members[0];
    let first = crowd.send(1, 0, "before", Class::Request);
    crowd.passes(-7_200_000);
    let second = crowd.send(1, 0, "after", Class::Request);
    crowd.passes(-3_600_000);
    let third = crowd.send(1, 0, "and again", Class::Request);
    assert_eq!(due(&crowd.state, agent, crowd.now), [first, second, third], "in the order they were said");
    assert_eq!(crowd.takes(0), 3);
    // What was given at a time that has not come yet counts, and does not hold anything up for longer than it may.
    for n in 0..40 {
        crowd.send(1, 0, &format!("{n}"), Class::Request);
        crowd.takes(0);
        crowd.passes(-60_000);
    }
    let last = crowd.send(1, 0, "last", Class::Request);
    let mut waited_ms = 0;
    while crowd.state.messages[&last].deliveries[0].stage.is_waiting() {
        assert!(waited_ms <= 5 * 3_600_000, "it is held for good");
        crowd.takes(0);
        crowd.passes(60_000);
        waited_ms += 60_000;
    }
    assert_eq!(invariant::check(&crowd.state), Vec::<String>::new());
}
