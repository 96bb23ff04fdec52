//! The first half of a chain: recorded frames of real CLIs become the entries of a transcript, which are kept where the
//! web interface finds them. Its tests make documents of these, whole and piece by piece. So a change on either side
//! that would show another document is seen on that side.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use amux_agents::claude::Claude;
use amux_agents::codex::Codex;
use amux_agents::once::{Format, Once};
use amux_agents::streams::Streams;
use amux_agents::{Machine, Out};
use amux_proto::Time;
use amux_proto::transcript::Entry;

/// Set, the kept entries are written anew instead of compared; `web` then renews its half with `npx vitest run -u`.
const RENEW: &str = "AGENTMUX_GOLDEN";

/// What each tells, so that all kinds of nodes are met, and each CLI.
const KEPT: [&str; 27] = [
    "claude-2.1.197/stream/background",
    "claude-2.1.197/stream/compact",
    "claude-2.1.197/stream/error-429",
    "claude-2.1.197/stream/error-529-retries",
    "claude-2.1.197/stream/interrupt",
    "claude-2.1.197/stream/interrupt-tool",
    "claude-2.1.197/stream/permission",
    "claude-2.1.197/stream/plan",
    "claude-2.1.197/stream/question",
    "claude-2.1.197/stream/resume",
    "claude-2.1.197/stream/set",
    "claude-2.1.197/stream/steer",
    "claude-2.1.197/stream/subagent",
    "claude-2.1.197/stream/write",
    "claude-2.1.197/once/two-turns",
    "codex-0.169.0/app-server/approval-patch",
    "codex-0.169.0/app-server/errors",
    "codex-0.169.0/app-server/interrupt",
    "codex-0.169.0/app-server/mcp",
    "codex-0.169.0/app-server/steer",
    "codex-0.169.0/app-server/tool",
    "codex-0.169.0/exec/thinking",
    "claude-agent-acp-0.49.0/plan",
    "claude-agent-acp-0.49.0/think",
    "gemini-0.61.0/edit",
    "opencode-1.18.33/allow",
    "qwen-0.15.10/edit",
];

/// Two seconds between inputs, so that what lasts has a length; a date that is nobody's.
const BEGIN_MS: i64 = 1_767_225_600_000;
const STEP_MS: i64 = 2000;

#[test]
fn what_clis_said_becomes_the_entries_that_the_web_interface_makes_documents_of() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web/golden/recorded");
    let is_renewed = std::env::var_os(RENEW).is_some();
    let mut files = BTreeSet::new();
    for sample in KEPT {
        let lines = fs::read_to_string(samples.join(format!("{sample}.jsonl"))).expect("a sample is readable");
        let told = entries(machine(sample), &lines);
        assert!(!told.is_empty(), "{sample} tells nothing");
        let text: String = told.iter().map(|entry| serde_json::to_string(entry).expect("plain") + "\n").collect();
        let file = format!("{}.entries.jsonl", sample.replace('/', "-"));
        if is_renewed {
            fs::write(kept.join(&file), &text).expect("a golden file is written");
        }
        let golden = fs::read_to_string(kept.join(&file)).unwrap_or_default();
        for (at, (now, then)) in text.lines().zip(golden.lines()).enumerate() {
            assert_eq!(now, then, "{file}:{}; if it should be so, {RENEW}=1", at + 1);
        }
        assert_eq!(text.len(), golden.len(), "{file} is longer or shorter; if it should be so, {RENEW}=1");
        files.insert(file);
    }
    let others = names(&kept).into_iter().filter(|name| name.ends_with(".entries.jsonl") && !files.contains(name));
    assert_eq!(others.collect::<Vec<_>>(), Vec::<String>::new(), "of no sample any more");
}

/// Numbered as a run numbers them: inputs from 1, whatever they are, and the items of each from 0.
fn entries(mut machine: Machine, lines: &str) -> Vec<Entry> {
    let mut told = Vec::new();
    let mut streams = Streams::default();
    let mut offset = 0;
    for (n, line) in (1..).zip(lines.lines()) {
        let at = Time(BEGIN_MS + STEP_MS * i64::try_from(n).expect("a sample is short"));
        let mut out = Out::default();
        match line.split_at(2) {
            ("< ", heard) => {
                offset += heard.len() as u64 + 1;
                machine.hear(heard, at, &mut out);
            }
            ("> ", order) => {
                let order = serde_json::from_str(order).expect("an order");
                // Refused when it was recorded, refused here.
                let _ = machine.order(&order, at, &mut out);
            }
            (mark, _) => panic!("a line begins with {mark:?}"),
        }
        told.extend((0..).zip(streams.pass(out.items)).map(|(i, item)| Entry { n, i, offset, at, item }));
    }
    told
}

fn machine(sample: &str) -> Machine {
    let once = |format, fresh: &str, resume: &str| {
        let argv = |words: &str| words.split(' ').map(str::to_owned).collect();
        Machine::Once(Once::new(format, argv(fresh), Some(argv(resume))))
    };
    match sample.split('/').collect::<Vec<_>>()[..] {
        [_, "stream", _] => Machine::Claude(Claude::default()),
        [_, "app-server", _] => Machine::Codex(Codex::default()),
        [_, "exec", _] => {
            once(Format::Codex, "codex exec --json -m {model} -", "codex exec resume --json -m {model} {session} -")
        }
        [_, "once", _] => once(
            Format::Claude,
            "claude -p --output-format stream-json --session-id {session}",
            "claude -p --output-format stream-json --resume {session}",
        ),
        _ => Machine::Acp(Box::default()),
    }
}

fn names(folder: &Path) -> Vec<String> {
    let paths = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).expect("the golden files are there");
        entries.map(|entry| entry.expect("an entry").path()).collect()
    };
    paths(folder).iter().filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect()
}
