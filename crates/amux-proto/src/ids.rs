//! Identities and counters. Ids are inputs, never outputs: whoever creates a thing may bring its id along.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;
use uuid::Uuid;

use crate::Time;

macro_rules! ids {
    ($( $(#[$meta:meta])* $Id:ident )*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, TS)]
        #[serde(transparent)]
        #[schemars(transparent)]
        #[ts(type = "string")]
        pub struct $Id(pub Uuid);

        impl fmt::Display for $Id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl FromStr for $Id {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    )* };
}

ids! {
    /// One command, for ever: the same id means the same effect and the same answer.
    CmdId
    TeamId
    /// The durable identity of an agent; its name may change, this does not.
    AgentId
    WorkspaceId
    TabId
    PaneId
    /// A split of the layout tree; leaves are addressed by the panes in them.
    NodeId
    /// Something that was closed and can be reopened.
    ClosedId
    MessageId
    ThreadId
    RequestId
    FlowId
    /// Changes only when the store was restored or replaced; a restart of the server keeps it.
    Epoch
}

/// Ids that are made one after another lie one after another: a table of them grows at its end, however large it is.
/// Such an id tells when it was made; it is no secret.
pub fn uuid_at(Time(millis): Time, entropy: &[u8; 10]) -> Uuid {
    uuid::Builder::from_unix_timestamp_millis(u64::try_from(millis).unwrap_or(0), entropy).into_uuid()
}

impl CmdId {
    pub fn new(now: Time, entropy: [u8; 10]) -> Self {
        Self(uuid_at(now, &entropy))
    }
}

macro_rules! counters {
    ($( $(#[$meta:meta])* $Counter:ident($inner:ty) )*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, TS)]
        #[serde(transparent)]
        #[schemars(transparent)]
        #[ts(type = "number")]
        pub struct $Counter(pub $inner);

        impl $Counter {
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $Counter {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )* };
}

counters! {
    /// The place of an event in the one order. Starts at 1; 0 is "before everything".
    Seq(u64)
    /// How often an aggregate changed; what `expect` is compared with.
    Rev(u64)
    /// One process generation of an agent: 1, 2, 3 …; never reused.
    RunNo(u32)
}

/// A name of a team or an agent: `[a-z0-9][a-z0-9_-]{0,30}`, stored lower-case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, TS)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
#[ts(type = "string")]
pub struct Name(String);

/// Long enough for people, short enough for a column.
pub const NAME_CHARS_MAX: usize = 31;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a name is 1 to 31 of a-z 0-9 _ - and starts with a letter or digit, not {0:?}")]
pub struct BadName(String);

impl Name {
    pub fn new(text: &str) -> Result<Self, BadName> {
        let lower = text.to_ascii_lowercase();
        let mut chars = lower.chars();
        let first_is_good = chars.next().is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        let rest_is_good = chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-');
        if first_is_good && rest_is_good && lower.len() <= NAME_CHARS_MAX {
            Ok(Self(lower))
        } else {
            Err(BadName(text.chars().take(64).collect()))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = BadName;
    fn try_from(text: String) -> Result<Self, BadName> {
        Self::new(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl FromStr for Name {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        Self::new(text)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a file holds, by the SHA-256 of it: 64 lower-case hexadecimal digits, as `sha256sum` prints them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, TS)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
#[ts(type = "string")]
pub struct Digest(String);

const DIGEST_CHARS: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 of 0-9 a-f, not {0:?}")]
pub struct BadDigest(String);

impl Digest {
    pub fn new(text: &str) -> Result<Self, BadDigest> {
        let is_good = text.len() == DIGEST_CHARS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if is_good { Ok(Self(text.to_owned())) } else { Err(BadDigest(text.chars().take(DIGEST_CHARS).collect())) }
    }

    pub fn of(hash: [u8; 32]) -> Self {
        Self(hash.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Digest {
    type Error = BadDigest;
    fn try_from(text: String) -> Result<Self, BadDigest> {
        Self::new(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_is_made_later_has_the_greater_id() {
        let made = [(0, 9), (1, 7), (1_700_000_000_000, 5), (1_700_000_000_001, 3)];
        let ids = made.map(|(millis, chance)| CmdId::new(Time(millis), [chance; 10]));
        assert!(ids.is_sorted(), "whatever chance adds");
        assert!(ids.iter().all(|CmdId(id)| id.get_version_num() == 7));
        assert_ne!(CmdId::new(Time(1), [1; 10]), CmdId::new(Time(1), [2; 10]));
        assert_eq!(CmdId::new(Time(-1), [1; 10]), CmdId::new(Time(0), [1; 10]), "a clock before 1970 breaks nothing");
    }
}
