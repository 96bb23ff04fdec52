//! What it costs to show everything while much happens.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use amux_sys::process;
use amux_testkit::wire::Wire;
use serde_json::json;

use super::{Row, ms, row, shells, start, stop, world};

const AGENTS: usize = 200;
const EVENTS_PER_S: u32 = 1_000;
const LOOK: Duration = Duration::from_secs(10);

/// Events of many agents, with nobody who watches, one browser, and three.
pub(super) fn watch() -> Vec<Row> {
    let world = world();
    let (srv, _) = start(&world.home);
    shells(&world.home, AGENTS, "exec sleep 100000");
    let mut alone = 0.0;
    let rows = [0usize, 1, 3].map(|watchers| {
        let is_over = AtomicBool::new(false);
        let (percent, said, heard) = std::thread::scope(|threads| {
            let watching: Vec<_> = (0..watchers)
                .map(|_| {
                    let mut wire = world.home.connect().expect("the server answers");
                    wire.send(&json!({ "id": 1_000_000, "watch": {} })).expect("it is asked");
                    assert!(wire.frame().expect("the board")["rows"]["reset"] == true);
                    let is_over = &is_over;
                    threads.spawn(move || {
                        let mut frames = 0u64;
                        while !is_over.load(Ordering::Relaxed) && wire.frame().is_ok() {
                            frames += 1;
                        }
                        frames
                    })
                })
                .collect();
            let mut wire = world.home.connect().expect("the server answers");
            let cpu = process::cpu_ms(srv.pid()).unwrap_or(0);
            let began = Instant::now();
            let said = say(&mut wire, watchers);
            let took = began.elapsed();
            let cpu = process::cpu_ms(srv.pid()).unwrap_or(0) - cpu;
            is_over.store(true, Ordering::Relaxed);
            // Whoever waits for a frame is told of this one.
            wire.must("team.create", json!({ "name": format!("end{watchers}") }));
            let frames: u64 = watching.into_iter().map(|watcher| watcher.join().expect("a watcher ends")).sum();
            let heard = frames as f64 / took.as_secs_f64() / watchers.max(1) as f64;
            (cpu as f64 / ms(took) * 100.0, said as f64 / took.as_secs_f64(), heard)
        });
        if watchers == 0 {
            alone = percent;
        }
        row(
            &format!("{AGENTS} agents, {said:.0} events/s, {watchers} watchers"),
            format!("{percent:.0} % of a core, {heard:.0} frames/s each"),
            if watchers == 0 { "–" } else { "at most a quarter of a core more than with none" },
            format!("with none {alone:.0} %"),
        )
    });
    stop(&world.home);
    rows.into()
}

/// Events at that rate, each of the next agent; how many there were.
fn say(wire: &mut Wire, round: usize) -> u32 {
    const UNDER_WAY: usize = 16;
    let (began, mut ids, mut said) = (Instant::now(), VecDeque::new(), 0);
    while began.elapsed() < LOOK {
        let at = Duration::from_secs(1) * said / EVENTS_PER_S;
        if let Some(early) = at.checked_sub(began.elapsed()) {
            std::thread::sleep(early);
        }
        let agent = format!("a{}", said as usize % AGENTS);
        let role = format!("{round}: works on part {said}");
        let order = json!({ "cmd": "agent.describe", "args": { "agent": agent, "role": role, "groups": [] } });
        ids.push_back(wire.start(order).expect("it is sent"));
        said += 1;
        if ids.len() == UNDER_WAY {
            let answer = ids.pop_front().map(|id| wire.answer(id).expect("an answer"));
            assert!(answer.is_some_and(|answer| answer["error"].is_null()));
        }
    }
    ids.into_iter().for_each(|id| drop(wire.answer(id).expect("an answer")));
    said
}
