//! What a command prints: one JSON object for programs, or words and tables for people.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::cli::{Color, Global};
use crate::report::say;
use crate::text::plain;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
    color: bool,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Self {
        let color = match global.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        };
        Self { json: global.json, quiet: global.quiet, color }
    }

    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    pub(crate) fn is_quiet(self) -> bool {
        self.quiet
    }

    /// The end of a command: its data, or the words for a person.
    pub(crate) fn done(self, data: &Value, words: impl FnOnce() -> String) -> ExitCode {
        if self.json {
            say(&json!({ "ok": true, "data": data }).to_string());
        } else if !self.quiet {
            let words = words();
            if !words.is_empty() {
                say(&words);
            }
        }
        ExitCode::SUCCESS
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.styled("2", text)
    }

    pub(crate) fn state(self, state: &str) -> String {
        let code = match state {
            "failed" => "31",
            "needs_permission" | "needs_answer" | "needs_login" | "rate_limited" => "33",
            "working" | "starting" | "queued" | "compacting" | "background" => "36",
            "idle" => "32",
            _ => "2",
        };
        self.styled(code, state)
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.styled("1", text)
    }

    fn styled(self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Columns as wide as they must be; the last one is not padded. `style` sees (column, padded text).
pub(crate) fn table(head: &[&str], rows: &[Vec<String>], style: impl Fn(usize, &str) -> String, out: Output) -> String {
    let clean: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let width = |at: usize| {
        let cells = clean.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
        cells.chain([head[at].len()]).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..head.len()).map(width).collect();
    let pad = |at: usize, text: &str| {
        let missing = if at + 1 == head.len() { 0 } else { widths[at].saturating_sub(text.chars().count()) };
        format!("{text}{}", " ".repeat(missing))
    };
    let line = |cells: Vec<String>| cells.join("  ").trim_end().to_owned();
    let mut lines =
        vec![line(head.iter().enumerate().map(|(at, name)| out.dim(&pad(at, &name.to_uppercase()))).collect())];
    lines.extend(clean.iter().map(|row| {
        line(
            row.iter()
                .enumerate()
                .map(|(at, cell)| {
                    let padded = pad(at, cell);
                    let (text, blank) = padded.split_at(cell.len());
                    format!("{}{blank}", style(at, text))
                })
                .collect(),
        )
    }));
    lines.join("\n")
}

/// `3s`, `4m`, `2h`, `5d`: as exact as a person wants it.
pub(crate) fn age(since: &str) -> String {
    let Ok(since) = since.parse::<amux_proto::Time>() else { return "?".into() };
    let seconds = amux_proto::Time(amux_sys::clock::now_ms()).ms_since(since).max(0) / 1000;
    match seconds {
        0..=59 => format!("{seconds}s"),
        60..=3599 => format!("{}m", seconds / 60),
        3600..=86_399 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A field as a word; `-` for nothing.
pub(crate) fn word(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
