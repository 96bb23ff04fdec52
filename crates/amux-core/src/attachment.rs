//! Files that go with messages: what may be named, and who may have what. What they hold is not here; that it is on disk
//! before a message that names it is accepted is the server's to see to.

use std::collections::BTreeSet;

use amux_proto::entity::{Attachment, Message};
use amux_proto::{ATTACHMENTS_MAX, Code, Digest, FILE_NAME_BYTES_MAX, Principal, Rejection, text};
use serde_json::json;

use crate::bounds::{self, bad};
use crate::message::own_copy;
use crate::policy::denied;
use crate::state::{Sender, State};
use crate::{resolve, setting};

/// What a message is to carry.
pub(crate) fn check(state: &State, attachments: &[Attachment]) -> Result<(), Rejection> {
    if attachments.len() > ATTACHMENTS_MAX {
        return Err(bounds::limit("attachments of a message", ATTACHMENTS_MAX));
    }
    let mut names = BTreeSet::new();
    for attachment in attachments {
        check_name(&attachment.name)?;
        check_size(state, attachment.bytes)?;
        // Systems differ in whether these are two files.
        if !names.insert(attachment.name.to_lowercase()) {
            return Err(bad(format!("two attachments have one name: {}", attachment.name)));
        }
    }
    Ok(())
}

/// Whether a file may be so large.
pub fn check_size(state: &State, bytes: u64) -> Result<(), Rejection> {
    let max = setting::attachment_bytes_max(state);
    if bytes <= max {
        return Ok(());
    }
    Err(Rejection::new(Code::TooLarge, format!("too long: the attachment has more than {max} bytes"))
        .hint("name the place of the file instead, or see message.attachment_max_mb in agentmux config show")
        .details(json!({ "max": max })))
}

/// It becomes a file of that name in a directory of ours, and stands in a line of ours that a model reads: it leads
/// nowhere else, and what is seen of it is all there is.
fn check_name(name: &str) -> Result<(), Rejection> {
    bounds::at_most("the name of an attachment", name.len(), FILE_NAME_BYTES_MAX)?;
    let is_path = name.contains(['/', '\\']) || name.starts_with('.');
    if name.trim().is_empty() || is_path || !text::is_seen(name) {
        let shown: String = text::each(name).filter(|(_, is_seen)| *is_seen).map(|(c, _)| c).collect();
        return Err(bad(format!("not the name of a file: {shown:?}")).hint("no path, no dot at its beginning"));
    }
    Ok(())
}

/// The nearest name that may be one, from that of a file somewhere.
pub fn file_name(name: &str) -> String {
    let mut plain = seen(name);
    if plain.starts_with('.') {
        plain.replace_range(..1, "_");
    }
    // What ended with a joined character may end with the joiner now.
    let cut = seen(bounds::cut_at(&plain, FILE_NAME_BYTES_MAX));
    if cut.trim().is_empty() { "file".to_owned() } else { cut }
}

fn seen(name: &str) -> String {
    text::each(name).map(|(c, is_seen)| if is_seen && !matches!(c, '/' | '\\') { c } else { '_' }).collect()
}

/// What somebody wants to have of a message: of several, by name.
pub fn find<'a>(
    state: &'a State,
    old: &'a [Message],
    actor: &Principal,
    message: &str,
    name: Option<&str>,
) -> Result<&'a Attachment, Rejection> {
    let message = resolve::message_or_old(state, old, actor, message)?;
    if !may_have(actor, message) {
        return Err(denied("party_to_message", actor, "attachment"));
    }
    let names: Vec<&str> = message.attachments.iter().map(|attachment| attachment.name.as_str()).collect();
    let Some(name) = name else {
        return match &message.attachments[..] {
            [only] => Ok(only),
            [] => Err(Rejection::new(Code::NotFound, format!("nothing is attached to it: {}", message.id))),
            _ => {
                Err(Rejection::new(Code::Ambiguous, format!("several files are attached to it: {}", names.join(", ")))
                    .details(json!({ "names": names })))
            }
        };
    };
    message.attachments.iter().find(|attachment| attachment.name == name).ok_or_else(|| {
        Rejection::new(Code::NotFound, format!("no such attachment: {name}")).details(json!({ "names": names }))
    })
}

/// The same by what it holds, whichever message it came with. What is not for somebody does not exist for them.
pub fn held<'a>(state: &'a State, old: &'a [Message], actor: &Principal, digest: &Digest) -> Option<&'a Attachment> {
    let of = |message: &'a Message| message.attachments.iter().find(|attachment| attachment.digest == *digest);
    state.messages.values().rev().chain(old).filter(|message| may_have(actor, message)).find_map(of)
}

/// Everything that some message holds on to.
pub fn named(state: &State) -> BTreeSet<Digest> {
    let all = state.messages.values().flat_map(|message| &message.attachments);
    all.map(|attachment| attachment.digest.clone()).collect()
}

/// Whoever sent it or was sent it, and the person all of them work for.
fn may_have(actor: &Principal, message: &Message) -> bool {
    match actor {
        Principal::Operator | Principal::System => true,
        Principal::Agent { .. } => {
            Sender::from(actor) == Sender::from(&message.from) || own_copy(message, actor).is_some()
        }
        Principal::Peer(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_nowhere_and_hides_nothing() {
        for bad in [
            "",
            " ",
            ".",
            "..",
            ".bashrc",
            "../x",
            "a/b",
            "a\\b",
            "a\nb",
            "a\0",
            "\u{202e}txt.exe",
            "a\u{200b}b",
            "\u{2800}",
        ] {
            assert_eq!(check_name(bad).unwrap_err().code, Code::BadArgs, "{bad:?}");
            check_name(&file_name(bad)).unwrap();
        }
        assert_eq!(check_name(&"é".repeat(128)).unwrap_err().code, Code::TooLarge);
        check_name(&file_name(&"é".repeat(128))).unwrap();
        // Cut inside a family.
        (0..8).for_each(|n| check_name(&file_name(&("x".repeat(n) + &"👩\u{200d}".repeat(40) + "👩"))).unwrap());
        for good in ["a.txt", "two words (1).md", "日本.png", "-x", "a..b", "👩\u{200d}💻.md"] {
            check_name(good).unwrap();
            assert_eq!(file_name(good), good);
        }
    }
}
