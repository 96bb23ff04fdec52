//! Settings: the file wins, and nothing is accepted that has no meaning.

use std::collections::BTreeMap;

use amux_core::setting;
use amux_proto::Code;
use amux_proto::command::setting::{Command, Load, Set, Unset};
use serde_json::{Value, json};

use crate::world::World;

fn set(key: &str, value: Value) -> Command {
    Command::Set(Set { key: key.into(), value })
}

fn unset(key: &str) -> Command {
    Command::Unset(Unset { key: key.into() })
}

fn load(values: &[(&str, Value)]) -> Command {
    let values: BTreeMap<_, _> = values.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    Command::Load(Load { values })
}

#[test]
fn a_setting_is_what_was_set_or_its_default() {
    let mut world = World::new();
    assert_eq!(setting::agent_stop_grace_ms(&world.state), 5000);
    assert_eq!(world.events(set("agent.stop_grace_ms", json!(100))), ["setting.changed"]);
    assert_eq!(setting::agent_stop_grace_ms(&world.state), 100);
    assert_eq!(world.events(set("agent.stop_grace_ms", json!(100))), [""; 0]);
    assert_eq!(world.events(unset("agent.stop_grace_ms")), ["setting.cleared"]);
    assert_eq!(world.events(unset("agent.stop_grace_ms")), [""; 0]);
    assert_eq!(setting::agent_stop_grace_ms(&world.state), 5000);
}

#[test]
fn the_registry_is_sorted_and_its_defaults_are_allowed() {
    assert!(setting::REGISTRY.is_sorted_by_key(|known| known.key));
    assert!(setting::WORDS.is_sorted_by_key(|known| known.key));
    for known in setting::REGISTRY {
        assert_eq!(setting::check(known.key, &json!(known.default)), Ok(()), "{}", known.key);
        assert!(known.about.ends_with('.'), "{}", known.key);
    }
    for known in setting::WORDS {
        assert_eq!(setting::check(known.key, &json!(known.default)), Ok(()), "{}", known.key);
        assert!(known.about.ends_with('.'), "{}", known.key);
    }
}

#[test]
fn a_list_takes_what_its_key_is_for_and_nothing_else() {
    let mut world = World::new();
    let origins = |value| set("http.allowed_origins", value);
    let wrong = [
        json!("mux.example"),
        json!(["mux.example"]),
        json!(["https://mux.example/"]),
        json!(["https://Mux.example"]),
        json!(["file://x"]),
        json!([1]),
        json!(vec!["https://mux.example"; 17]),
    ];
    for value in wrong {
        world.refused_with(Code::BadArgs, origins(value));
    }
    world.says(origins(json!(["https://mux.example", "http://[::1]:8080"])));
    assert_eq!(setting::http_allowed_origins(&world.state), ["https://mux.example", "http://[::1]:8080"]);
    world.says(origins(json!("https://mux.example")));
    assert_eq!(setting::http_allowed_origins(&world.state), ["https://mux.example"]);
    world.says(unset("http.allowed_origins"));
    assert_eq!(setting::http_allowed_origins(&world.state), [""; 0]);
}

#[test]
fn a_list_of_words_is_one_of_those_there_are() {
    let mut world = World::new();
    assert_eq!(world.events(set("notify.on", json!(["failed", "finished"]))), ["setting.changed"]);
    assert_eq!(setting::notify_on(&world.state), ["failed", "finished"]);
    assert_eq!(world.events(set("notify.command", json!("bell"))), ["setting.changed"]);
    assert_eq!(setting::notify_command(&world.state), ["bell"]);
    for value in [json!(["failed", "sneezed"]), json!(1), json!([1]), json!(null), json!([""])] {
        world.refused_with(Code::BadArgs, set("notify.on", value));
    }
    world.events(unset("notify.on"));
    assert_eq!(setting::notify_on(&world.state).len(), 5);
    let refusal = world.refused(set("notify.comand", json!([])));
    assert_eq!(refusal.hint.as_deref(), Some("did you mean notify.command?"));
}

#[test]
fn what_the_web_interface_keeps_is_small() {
    let mut world = World::new();
    let copy = format!("2026-11-21T19:31:45.000Z stuck {0} {1}@{1} unproven", uuid::Uuid::nil(), "n".repeat(31));
    assert_eq!(world.events(set("web.seen", json!([copy]))), ["setting.changed"]);
    world.refused_with(Code::BadArgs, set("web.seen", json!(["x".repeat(257)])));
    world.says(set("notify.command", json!(["x".repeat(257)])));
}

#[test]
fn a_value_out_of_bounds_and_an_unknown_key_are_refused() {
    let mut world = World::new();
    for value in [json!(60_001), json!(-1), json!("5000"), json!(1.5), json!(null), json!([])] {
        world.refused_with(Code::BadArgs, set("agent.stop_grace_ms", value));
    }
    let refusal = world.refused(set("shelf.kep", json!(3)));
    assert_eq!((refusal.code, refusal.hint.as_deref()), (Code::BadArgs, Some("did you mean shelf.keep?")));
    world.refused_with(Code::BadArgs, unset("nonsense"));
}

#[test]
fn what_the_file_says_a_command_cannot_change() {
    let mut world = World::new();
    assert_eq!(world.events(load(&[("shelf.keep", json!(3))])), ["setting.changed"]);
    let refusal = world.refused(set("shelf.keep", json!(4)));
    assert_eq!(refusal.code, Code::Conflict);
    assert!(refusal.hint.is_some_and(|hint| hint.starts_with("edit settings.jsonc")));
    world.refused_with(Code::Conflict, unset("shelf.keep"));
    // Taken out of the file, it is free.
    assert_eq!(world.events(load(&[])), ["setting.cleared"]);
    world.says(set("shelf.keep", json!(4)));
}

#[test]
fn reading_the_file_again_says_only_what_is_different() {
    let mut world = World::new();
    world.says(set("log.keep_days", json!(9)));
    world.says(set("terminal.rows", json!(30)));
    assert_eq!(world.events(load(&[("shelf.keep", json!(3)), ("log.keep_days", json!(9))])).len(), 2);
    assert_eq!(world.events(load(&[("shelf.keep", json!(3)), ("log.keep_days", json!(9))])), [""; 0]);
    assert_eq!(world.events(load(&[("shelf.keep", json!(5))])), ["setting.changed", "setting.cleared"]);
    // What a command set and the file does not speak of stays.
    assert_eq!(setting::terminal_rows(&world.state), 30);
}

#[test]
fn a_file_with_a_mistake_is_not_used_at_all() {
    let mut world = World::new();
    let refusal =
        world.refused(load(&[("shelf.keep", json!(3)), ("shelf.kep", json!(3)), ("log.keep_days", json!(0))]));
    assert_eq!(refusal.code, Code::BadArgs);
    assert_eq!(refusal.details.unwrap()["problems"].as_array().map(Vec::len), Some(2));
    assert!(world.state.settings.is_empty());
}
