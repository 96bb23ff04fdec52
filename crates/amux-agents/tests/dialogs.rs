//! Recorded conversations with real CLIs: what they printed (`< `) and what the machine was told (`> `), in order,
//! against the items and the writes they lead to.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use amux_agents::claude::Claude;
use amux_agents::codex::Codex;
use amux_agents::once::{Format, Once};
use amux_agents::{Machine, Order, Out};
use amux_proto::Time;
use proptest::prelude::*;
use serde_json::Value;

#[derive(Debug, Clone)]
enum Line {
    Heard(String),
    Told(Box<Order>),
}

struct Dialog {
    name: String,
    machine: Machine,
    lines: Vec<Line>,
}

fn machine(kind: &str) -> Option<Machine> {
    let once = |format, fresh: &str, resume: &str| {
        let argv = |words: &str| words.split(' ').map(str::to_owned).collect();
        Machine::Once(Once::new(format, argv(fresh), Some(argv(resume))))
    };
    Some(match kind {
        "claude/stream" => Machine::Claude(Claude::default()),
        "codex/app-server" => Machine::Codex(Codex::default()),
        "codex/exec" => {
            once(Format::Codex, "codex exec --json -m {model} -", "codex exec resume --json -m {model} {session} -")
        }
        "claude/once" => once(
            Format::Claude,
            "claude -p --output-format stream-json --session-id {session}",
            "claude -p --output-format stream-json --resume {session}",
        ),
        "gemini/once" => once(
            Format::Gemini,
            "gemini --output-format stream-json -p {prompt}",
            "gemini --output-format stream-json -r {session} -p {prompt}",
        ),
        _ => return None,
    })
}

fn dialogs() -> Vec<Dialog> {
    let mut dialogs = Vec::new();
    for version in entries(&Path::new(env!("CARGO_MANIFEST_DIR")).join("samples")) {
        let cli = name(&version).split('-').next().unwrap_or_default().to_owned();
        for way in entries(&version) {
            let kind = format!("{cli}/{}", name(&way));
            for file in entries(&way) {
                let Some(machine) = machine(&kind) else { continue };
                let lines = fs::read_to_string(&file).expect("a sample is readable");
                let lines = lines.lines().map(parse).collect();
                let name = format!("{}-{}", kind.replace('/', "-"), name(&file).trim_end_matches(".jsonl"));
                dialogs.push(Dialog { name, machine, lines });
            }
        }
    }
    assert!(dialogs.len() > 20, "the samples are found");
    dialogs
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut entries: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    entries
}

fn name(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

fn parse(line: &str) -> Line {
    match line.split_at(2) {
        ("< ", heard) => Line::Heard(heard.to_owned()),
        ("> ", order) => Line::Told(Box::new(serde_json::from_str(order).expect("an order"))),
        (mark, _) => panic!("a line begins with {mark:?}"),
    }
}

/// Items, writes and refusals as text.
fn step(machine: &mut Machine, line: &Line) -> String {
    let mut out = Out::default();
    let mut text = String::new();
    match line {
        Line::Heard(heard) => machine.hear(heard, Time(0), &mut out),
        Line::Told(order) => {
            if let Err(refused) = machine.order(order, Time(0), &mut out) {
                writeln!(text, "    refused: {refused}").expect("a string");
            }
        }
    }
    for item in &out.items {
        writeln!(text, "    {}", serde_json::to_string(item).expect("items are plain")).expect("a string");
    }
    for write in &out.writes {
        let input = write.input.as_ref().map(|input| format!(" ({input})")).unwrap_or_default();
        writeln!(text, "    write{input} {}", write.line).expect("a string");
    }
    text
}

fn run(machine: &mut Machine, lines: &[Line]) -> String {
    lines.iter().map(|line| step(machine, line)).collect()
}

fn title(line: &Line) -> String {
    match line {
        Line::Told(order) => format!("> {}", serde_json::to_string(order).expect("orders are plain")),
        Line::Heard(heard) => {
            let frame: Value = serde_json::from_str(heard).unwrap_or_default();
            let words = ["method", "type", "subtype", "id"].map(|key| &frame[key]);
            let words = words.iter().filter(|word| !word.is_null() && word.to_string().len() < 60);
            format!("< {}", words.map(|word| word.to_string().replace('"', "")).collect::<Vec<_>>().join(" "))
        }
    }
}

#[test]
fn recorded_conversations_lead_to_the_items_and_writes_on_file() {
    for mut dialog in dialogs() {
        let mut story = String::new();
        for line in &dialog.lines {
            let step = step(&mut dialog.machine, line);
            if !step.is_empty() || matches!(line, Line::Told(_)) {
                writeln!(story, "{}\n{}", title(line), step.trim_end()).expect("a string");
            }
        }
        writeln!(story, "idle: {}, unknown: {}", dialog.machine.is_idle(), dialog.machine.unknown()).expect("a string");
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(dialog.name.as_str(), story);
        });
    }
}

#[test]
fn the_same_tape_and_journal_lead_to_the_same_items_and_writes() {
    for dialog in dialogs() {
        let (mut first, mut second) = (dialog.machine.clone(), dialog.machine);
        assert_eq!(run(&mut first, &dialog.lines), run(&mut second, &dialog.lines), "{}", dialog.name);
    }
}

#[test]
fn a_machine_that_was_stored_at_any_line_goes_on_as_if_it_had_not_been() {
    for dialog in dialogs() {
        let (mut whole, mut stored) = (dialog.machine.clone(), dialog.machine);
        for (at, line) in dialog.lines.iter().enumerate() {
            let state = serde_json::to_string(&stored).expect("a machine is serializable");
            stored = serde_json::from_str(&state).expect("a machine is restored");
            assert_eq!(step(&mut whole, line), step(&mut stored, line), "{} at line {}", dialog.name, at + 1);
        }
    }
}

#[test]
fn every_turn_ends_once_and_every_input_has_at_most_one_of_each_stage() {
    for mut dialog in dialogs() {
        let mut items = Vec::new();
        for line in &dialog.lines {
            let mut out = Out::default();
            match line {
                Line::Heard(heard) => dialog.machine.hear(heard, Time(0), &mut out),
                Line::Told(order) => drop(dialog.machine.order(order, Time(0), &mut out)),
            }
            items.extend(out.items.iter().map(|item| serde_json::to_value(item).expect("items are plain")));
        }
        let turns = |kind: &str| -> Vec<Value> {
            items.iter().filter(|item| item["type"] == kind).map(|item| item["turn"].clone()).collect()
        };
        assert_eq!(turns("turn_started"), turns("turn_ended"), "{}", dialog.name);
        let mut stages: Vec<String> = items
            .iter()
            .filter(|item| item["type"] == "input_stage")
            .map(|item| format!("{} {}", item["input"], item["stage"]))
            .collect();
        let all = stages.len();
        stages.sort();
        stages.dedup();
        assert_eq!(stages.len(), all, "{}", dialog.name);
        for input in items.iter().filter(|item| item["type"] == "input") {
            let is = |stage: &str| stages.contains(&format!("{} \"{stage}\"", input["input"]));
            // What waits for a conversation that is gone is put to the next one.
            let is_left = dialog.machine.dead_session().is_some();
            assert!(is("ended") || is("failed") || is_left, "{}: {input}", dialog.name);
        }
        let asks = |kind: &str, id: &str| -> Vec<Value> {
            items.iter().filter(|item| item["type"] == kind).map(|item| item.pointer(id).cloned().unwrap()).collect()
        };
        let (mut asked, mut closed) = (asks("asked", "/ask/id"), asks("ask_closed", "/ask"));
        asked.sort_by_key(Value::to_string);
        closed.sort_by_key(Value::to_string);
        assert_eq!(asked, closed, "{}", dialog.name);
    }
}

#[derive(Debug, Clone)]
enum Harm {
    Cut {
        at: usize,
        keep: usize,
    },
    Drop {
        at: usize,
    },
    Swap {
        at: usize,
        with: usize,
    },
    Twice {
        at: usize,
    },
    Garbage {
        at: usize,
        text: String,
    },
    /// A value somewhere in the frame becomes another.
    Blur {
        at: usize,
        which: usize,
        with: usize,
    },
}

fn harm() -> impl Strategy<Value = Harm> {
    let at = 0usize..10_000;
    prop_oneof![
        (at.clone(), at.clone()).prop_map(|(at, keep)| Harm::Cut { at, keep }),
        at.clone().prop_map(|at| Harm::Drop { at }),
        (at.clone(), at.clone()).prop_map(|(at, with)| Harm::Swap { at, with }),
        at.clone().prop_map(|at| Harm::Twice { at }),
        (at.clone(), ".{0,40}").prop_map(|(at, text)| Harm::Garbage { at, text }),
        (at.clone(), at.clone(), at).prop_map(|(at, which, with)| Harm::Blur { at, which, with }),
    ]
}

fn blur(value: &mut Value, left: &mut usize, with: usize) {
    if *left == 0 {
        let others = [Value::Null, Value::from(0), Value::from("é"), Value::Bool(true), Value::from(Vec::<u8>::new())];
        *value = others[with % others.len()].clone();
    }
    *left = left.wrapping_sub(1);
    match value {
        Value::Array(all) => all.iter_mut().for_each(|value| blur(value, left, with)),
        Value::Object(all) => all.values_mut().for_each(|value| blur(value, left, with)),
        _ => {}
    }
}

fn harmed(mut lines: Vec<Line>, harms: &[Harm]) -> Vec<Line> {
    for harm in harms {
        let count = lines.len().max(1);
        match harm {
            Harm::Cut { at, keep } => {
                if let Some(Line::Heard(line)) = lines.get_mut(at % count) {
                    *line = line.chars().take(keep % line.chars().count().max(1)).collect();
                }
            }
            Harm::Drop { at } if !lines.is_empty() => drop(lines.remove(at % count)),
            Harm::Swap { at, with } if !lines.is_empty() => lines.swap(at % count, with % count),
            Harm::Twice { at } if !lines.is_empty() => lines.insert(at % count, lines[at % count].clone()),
            Harm::Garbage { at, text } => lines.insert(at % count, Line::Heard(text.clone())),
            Harm::Blur { at, which, with } => {
                if let Some(Line::Heard(line)) = lines.get_mut(at % count)
                    && let Ok(mut frame) = serde_json::from_str::<Value>(line)
                {
                    blur(&mut frame, &mut (which % 40), *with);
                    *line = frame.to_string();
                }
            }
            Harm::Drop { .. } | Harm::Swap { .. } | Harm::Twice { .. } => {}
        }
    }
    lines
}

#[test]
fn no_harm_to_a_tape_makes_a_machine_panic_or_forget_itself() {
    let all = dialogs();
    let mut runner = proptest::test_runner::TestRunner::new_with_rng(
        ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() },
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let cases = (0..all.len(), prop::collection::vec(harm(), 1..12), 0usize..10_000);
    runner
        .run(&cases, |(which, harms, stored)| {
            let lines = harmed(all[which].lines.clone(), &harms);
            let (mut first, mut second) = (all[which].machine.clone(), all[which].machine.clone());
            let at = stored % lines.len().max(1);
            let story = run(&mut first, &lines);
            let mut again = run(&mut second, &lines[..at]);
            let state = serde_json::to_string(&second).expect("a machine is serializable");
            second = serde_json::from_str(&state).expect("a machine is restored");
            again.push_str(&run(&mut second, &lines[at..]));
            prop_assert_eq!(story, again);
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}
