//! Prints one stored event of every type that random commands lead to, as lines for the engine's corpus. Lines are
//! only ever added there: they are the shapes that were written once and must be readable for ever.

use std::collections::BTreeMap;

use amux_core::{Ctx, State, apply, decide};
use amux_proto::{Event, Time};
use amux_testkit::commands::{Rng, random_command};

fn main() {
    let mut found: BTreeMap<&str, String> = BTreeMap::new();
    for seed in 0..500 {
        let (mut state, mut rng) = (State::default(), Rng::new(seed));
        for step in 0..500 {
            let (actor, command) = random_command(&state, &mut rng);
            let now = Time(1_700_000_000_000 + step);
            let ctx = Ctx { now, actor, expect: None, seed: u128::from(rng.next()), recalled: Vec::new() };
            let Ok(decided) = decide(&state, &command, &ctx) else { continue };
            for event in decided.events {
                let body = event.encode().expect("an event can be written");
                let row = format!(r#"{{"type":"{}","v":1,"body":{}}}"#, event.name(), body.get());
                found.entry(event.name()).or_insert(row);
                apply(&mut state, now, &event);
            }
        }
        if found.len() == Event::names().count() {
            break;
        }
    }
    for name in Event::names() {
        match found.get(name) {
            Some(row) => println!("{row}"),
            None => eprintln!("never happened: {name}"),
        }
    }
}
