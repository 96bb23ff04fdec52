//! What waits for a human.

use std::process::ExitCode;

use serde_json::json;

use crate::context::Context;
use crate::output::{age, table, word};
use crate::report::Failure;

pub(crate) fn list(context: &Context) -> Result<ExitCode, Failure> {
    let requests = context.ask("requests", &json!({}))?;
    Ok(context.out.done(&requests, || {
        let rows = requests.as_array().into_iter().flatten();
        let rows: Vec<_> = rows
            .map(|request| {
                let since = age(request["created"].as_str().unwrap_or_default());
                vec![
                    word(&request["id"]),
                    word(&request["agent"]),
                    word(&request["kind"]),
                    since,
                    word(&request["title"]),
                ]
            })
            .collect();
        if rows.is_empty() {
            return "nothing waits for you".into();
        }
        table(&["id", "agent", "kind", "since", "title"], &rows, |_, text| text.to_owned(), context.out)
    }))
}
