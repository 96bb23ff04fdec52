//! The promises of the supervisor, told to the pure machine with a made-up clock.

use proptest::prelude::*;

use super::*;

const CALM: Memory = Memory { available_bytes: Some(8 << 30), killer_was_here: Some(false) };

/// The machine with a clock of its own and the wishes that are not words.
struct Play {
    machine: Machine,
    now: u64,
    wishes: Vec<Effect>,
    next_pid: u32,
}

impl Play {
    fn start(policy: Policy) -> Self {
        let (machine, effects) = Machine::start(policy);
        let mut play = Self { machine, now: 0, wishes: Vec::new(), next_pid: 100 };
        play.take(effects);
        play
    }

    fn tell(&mut self, input: Input) -> &mut Self {
        let effects = self.machine.handle(input, self.now, 0);
        self.take(effects);
        self
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            let spawn = effect == Effect::Spawn;
            if !matches!(effect, Effect::Say(_)) {
                self.wishes.push(effect);
            }
            if spawn {
                self.next_pid += 1;
                self.tell(Input::Spawned { pid: self.next_pid });
            }
        }
    }

    /// Time passes; every deadline on the way is met on the millisecond.
    fn pass(&mut self, ms: u64) -> &mut Self {
        let end = self.now + ms;
        while let Some(due) = self.machine.deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.tell(Input::Timer);
        }
        self.now = end;
        self
    }

    fn exit(&mut self, status: Status) -> &mut Self {
        self.tell(Input::Exited { status, memory: CALM })
    }

    fn wishes(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.wishes)
    }

    fn deaths(&mut self) -> Vec<Class> {
        self.wishes()
            .into_iter()
            .filter_map(|wish| match wish {
                Effect::Journal(death) => Some(death.class),
                _ => None,
            })
            .collect()
    }
}

fn serving() -> Play {
    let mut play = Play::start(Policy::default());
    play.pass(20).tell(Input::Ready).tell(Input::Ping);
    play.wishes();
    play
}

#[test]
fn a_server_that_is_not_ready_in_time_is_told_then_killed() {
    let mut play = Play::start(Policy::default());
    play.wishes();
    play.pass(29_999);
    assert_eq!(play.wishes(), []);
    play.pass(1);
    assert_eq!(play.wishes(), [Effect::Signal(Signal::Terminate)]);
    play.pass(2_000);
    assert_eq!(play.wishes(), [Effect::Signal(Signal::Kill)]);
    play.exit(Status::Signal(9));
    assert_eq!(play.deaths(), [Class::NotReady]);
}

#[test]
fn progress_moves_the_deadline_of_a_start_but_not_for_ever() {
    let mut play = Play::start(Policy::default());
    play.wishes();
    for n in 0..100 {
        play.tell(Input::Progress(Progress::Status(format!("stage {n}")))).pass(20_000);
    }
    let wishes = play.wishes();
    assert_eq!(wishes.first(), Some(&Effect::Signal(Signal::Terminate)));
    assert!(play.now > Policy::default().start_max_ms);

    let mut play = Play::start(Policy::default());
    play.wishes();
    play.tell(Input::Progress(Progress::Extend { ms: 120_000 })).pass(119_999);
    assert_eq!(play.wishes(), []);
    play.tell(Input::Progress(Progress::Migrating { migrations: 2 })).pass(29_999);
    assert_eq!(play.wishes(), []);
    play.tell(Input::Ready).pass(1_000_000);
    assert_eq!(play.wishes(), [], "without a ping there is no watchdog");
}

#[test]
fn the_same_words_again_are_no_progress() {
    let mut play = Play::start(Policy::default());
    play.wishes();
    for _ in 0..4 {
        play.tell(Input::Progress(Progress::Status("opening the store".into()))).pass(10_000);
    }
    assert_eq!(play.wishes().first(), Some(&Effect::Signal(Signal::Terminate)));
}

#[test]
fn a_server_that_falls_silent_is_killed_as_hung_and_started_again() {
    let mut play = serving();
    for _ in 0..10 {
        play.pass(7_000).tell(Input::Ping);
    }
    assert_eq!(play.wishes(), []);
    play.pass(15_000);
    assert_eq!(play.wishes(), [Effect::Signal(Signal::Abort)]);
    play.pass(2_000);
    assert_eq!(play.wishes(), [Effect::Signal(Signal::Kill)]);
    play.exit(Status::Signal(9));
    let wishes = play.wishes();
    assert!(matches!(
        &wishes[..],
        [Effect::Journal(Death { class: Class::Hung, initiator: Initiator::Launcher, .. }), Effect::Spawn]
    ));
}

#[test]
fn a_launcher_that_slept_does_not_blame_the_server() {
    let mut play = serving();
    play.now += 3_600_000;
    play.tell(Input::Timer);
    assert_eq!(play.wishes(), []);
    play.pass(15_000);
    assert_eq!(play.wishes(), [Effect::Signal(Signal::Abort)], "but it listens again from now on");
}

#[test]
fn a_crash_is_answered_at_once() {
    let mut play = serving();
    play.exit(Status::Signal(9));
    let wishes = play.wishes();
    assert!(
        matches!(
            &wishes[..],
            [
                Effect::Journal(Death {
                    class: Class::Crash,
                    initiator: Initiator::Outside,
                    next: Next::Restart { wait_ms: 0 },
                    ..
                }),
                Effect::Spawn
            ]
        ),
        "{wishes:?}"
    );
}

#[test]
fn a_crash_loop_ends_with_the_reason() {
    let mut play = Play::start(Policy::default());
    for _ in 0..5 {
        play.pass(10_000).exit(Status::Code(101));
    }
    let wishes = play.wishes();
    assert_eq!(
        wishes.last(),
        Some(&Effect::End(End::GaveUp {
            words: "gave up on the server (5 crash); the last time: exit code 101 before it served".into()
        }))
    );
    assert!(play.machine.is_done());
}

#[test]
fn what_refuses_is_never_started_again() {
    for (code, refusal) in [(70, Refusal::Fatal), (71, Refusal::Held), (72, Refusal::NewerSchema)] {
        let mut play = Play::start(Policy::default());
        play.exit(Status::Code(code));
        assert_eq!(play.wishes().last(), Some(&Effect::End(End::Refused(refusal))));
    }
}

#[test]
fn asked_to_end_it_asks_waits_and_then_kills() {
    let mut play = serving();
    play.tell(Input::Stop(Asker::Terminate));
    assert_eq!(play.wishes(), [Effect::Signal(Signal::Terminate)]);
    play.tell(Input::Progress(Progress::Extend { ms: 15_000 })).pass(14_999);
    assert_eq!(play.wishes(), []);
    play.tell(Input::Progress(Progress::Extend { ms: 1_000_000 })).pass(1_000_000);
    assert_eq!(play.wishes().first(), Some(&Effect::Signal(Signal::Kill)));
    play.exit(Status::Signal(9));
    let wishes = play.wishes();
    assert!(matches!(
        &wishes[..],
        [
            Effect::Journal(Death { class: Class::KilledByUs, initiator: Initiator::Operator, next: Next::End, .. }),
            Effect::End(End::Stopped(Asker::Terminate))
        ]
    ));
}

#[test]
fn a_stop_is_kept_even_if_the_server_crashes_on_the_way() {
    let mut play = serving();
    play.tell(Input::Stop(Asker::Interrupt)).exit(Status::Signal(11));
    assert_eq!(play.wishes().last(), Some(&Effect::End(End::Stopped(Asker::Interrupt))));
}

#[test]
fn a_second_interrupt_kills() {
    let mut play = serving();
    play.tell(Input::Stop(Asker::Interrupt)).tell(Input::Stop(Asker::Terminate));
    assert_eq!(play.wishes(), [Effect::Signal(Signal::Terminate)]);
    play.tell(Input::Stop(Asker::Interrupt));
    assert_eq!(play.wishes(), [Effect::Signal(Signal::Kill)]);
}

#[test]
fn asked_to_end_while_it_waits_it_starts_nothing_more() {
    let mut play = serving();
    play.exit(Status::Code(1)).exit(Status::Code(1));
    assert!(play.machine.deadline().is_some());
    play.wishes();
    play.tell(Input::Stop(Asker::Terminate));
    assert_eq!(play.wishes(), [Effect::End(End::Stopped(Asker::Terminate))]);
    play.pass(1_000_000);
    assert_eq!(play.wishes(), []);
}

#[test]
fn a_restart_that_hangs_on_its_way_down_is_still_a_restart_and_a_stop_still_a_stop() {
    for (goal, last) in [(Goal::Restart, Effect::Spawn), (Goal::End, Effect::End(End::Clean))] {
        let mut play = serving();
        play.tell(Input::Stopping(goal)).pass(10_000);
        assert_eq!(play.wishes(), [Effect::Signal(Signal::Kill)]);
        play.exit(Status::Signal(9));
        assert_eq!(play.wishes().last(), Some(&last));
    }
}

#[test]
fn a_stop_overrides_a_restart_that_is_under_way() {
    let mut play = serving();
    play.tell(Input::Stopping(Goal::Restart)).tell(Input::Stop(Asker::Terminate)).exit(Status::Code(64));
    assert_eq!(play.wishes().last(), Some(&Effect::End(End::Stopped(Asker::Terminate))));
}

#[test]
fn a_program_that_cannot_be_run_ends_the_first_start_with_the_reason() {
    let (mut machine, _) = Machine::start(Policy::default());
    let effects = machine.handle(Input::NotSpawned { why: "no such program: /x".into() }, 0, 0);
    assert_eq!(
        effects.last(),
        Some(&Effect::End(End::GaveUp {
            words: "gave up on the server (1 not_started); the last time: no such program: /x".into()
        }))
    );
}

fn any_input() -> impl Strategy<Value = Input> {
    let status = prop_oneof![
        prop_oneof![Just(0), Just(1), Just(64), Just(101)].prop_map(Status::Code),
        prop_oneof![Just(6), Just(9), Just(15)].prop_map(Status::Signal)
    ];
    let memory = prop_oneof![
        Just(CALM),
        Just(Memory::default()),
        Just(Memory { available_bytes: Some(1), killer_was_here: Some(true) })
    ];
    prop_oneof![
        4 => Just(Input::Ready),
        2 => Just(Input::Ping),
        1 => "[a-c]".prop_map(|text| Input::Progress(Progress::Status(text))),
        1 => (0_u64..1 << 40).prop_map(|ms| Input::Progress(Progress::Extend { ms })),
        1 => prop_oneof![Just(Goal::End), Just(Goal::Restart)].prop_map(Input::Stopping),
        4 => (status, memory).prop_map(|(status, memory)| Input::Exited { status, memory }),
        1 => prop_oneof![Just(Asker::Terminate), Just(Asker::Interrupt)].prop_map(Input::Stop),
        6 => Just(Input::Timer),
    ]
}

proptest! {
    /// Whatever happens in whatever order: never two servers, a server that is to end is killed in bounded time,
    /// nothing is wished for after the end, and nothing runs then.
    #[test]
    fn there_is_never_a_second_server_and_never_one_left_behind(
        acts in proptest::collection::vec((any_input(), 0_u64..40_000, any::<bool>()), 1..120)
    ) {
        let policy = Policy::default();
        let (mut machine, first) = Machine::start(policy);
        let (mut now, mut alive, mut ended) = (0, false, false);
        let mut told_to_end: Option<u64> = None;
        let mut queue: Vec<Effect> = first;
        for (input, later, spawns) in acts {
            // The shell never delivers an exit of a server that is not there, and meets every deadline.
            while let Some(effect) = (!queue.is_empty()).then(|| queue.remove(0)) {
                prop_assert!(!ended, "a wish after the end: {:?}", effect);
                match effect {
                    Effect::Spawn => {
                        prop_assert!(!alive, "a second server");
                        told_to_end = None;
                        let input = if spawns {
                            alive = true;
                            Input::Spawned { pid: 7 }
                        } else {
                            Input::NotSpawned { why: "no".into() }
                        };
                        queue.extend(machine.handle(input, now, later));
                    }
                    Effect::Signal(Signal::Kill) => prop_assert!(alive),
                    Effect::Signal(Signal::Terminate | Signal::Abort) => {
                        prop_assert!(alive);
                        told_to_end.get_or_insert(now);
                    }
                    Effect::End(_) => {
                        prop_assert!(!alive, "ended with a server running");
                        ended = true;
                    }
                    Effect::Journal(_) | Effect::Say(_) => {}
                }
            }
            if matches!(input, Input::Exited { .. }) {
                if !alive {
                    continue;
                }
                alive = false;
            }
            if input == Input::Timer && let Some(due) = machine.deadline() {
                now = now.max(due);
            } else {
                now += later.min(machine.deadline().map_or(u64::MAX, |due| due.saturating_sub(now)));
            }
            queue.extend(machine.handle(input, now, later));
            if alive && let Some(since) = told_to_end {
                prop_assert!(machine.deadline().is_some(), "told to end and not waited for");
                prop_assert!(machine.deadline().is_some_and(|due| due <= now.max(since + policy.stop_max_ms) + policy.stop_max_ms));
            }
            prop_assert_eq!(machine.is_done(), ended || queue.iter().any(|wish| matches!(wish, Effect::End(_))));
        }
    }
}
