//! The two macros behind every command and event: a noun's vocabulary is written once, and the payload types, the
//! enum, its wire names, its decoder and its schemas follow from that one list.

/// Orders. Unknown fields are refused: a misspelt option must not be dropped in silence.
macro_rules! commands {
    ($( $(#[$meta:meta])* $name:literal $ts:literal $Verb:ident { $( $(#[$field_meta:meta])* $field:ident : $type:ty ),* $(,)? } )*) => {
        $(
            $(#[$meta])*
            #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema, ts_rs::TS)]
            #[serde(deny_unknown_fields)]
            #[schemars(rename = $ts)]
            #[ts(rename = $ts, optional_fields)]
            pub struct $Verb { $( $(#[$field_meta])* pub $field: $type ),* }
        )*
        vocabulary!(Command; $( $name $Verb )*);
    };
}

/// Facts. Unknown fields are tolerated: an older reader must be able to follow a newer log.
macro_rules! events {
    ($( $(#[$meta:meta])* $name:literal $ts:literal $Fact:ident { $( $(#[$field_meta:meta])* $field:ident : $type:ty ),* $(,)? } )*) => {
        $(
            $(#[$meta])*
            #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema, ts_rs::TS)]
            #[schemars(rename = $ts)]
            #[ts(rename = $ts)]
            pub struct $Fact { $( $(#[$field_meta])* pub $field: $type ),* }
        )*
        vocabulary!(Event; $( $name $Fact )*);
    };
}

macro_rules! vocabulary {
    ($Enum:ident; $( $name:literal $Item:ident )*) => {
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $Enum { $( $Item($Item) ),* }

        impl $Enum {
            pub const NAMES: &'static [&'static str] = &[ $( $name ),* ];

            pub fn name(&self) -> &'static str {
                match self { $( Self::$Item(_) => $name ),* }
            }

            /// `None` when the name is not one of this noun's.
            pub fn decode(name: &str, body: &str) -> Option<Result<Self, serde_json::Error>> {
                match name {
                    $( $name => Some(serde_json::from_str(body).map(Self::$Item)), )*
                    _ => None,
                }
            }

            pub fn encode(&self) -> serde_json::Result<Box<serde_json::value::RawValue>> {
                match self { $( Self::$Item(item) => serde_json::value::to_raw_value(item) ),* }
            }

            pub(crate) fn describe(to: &mut dyn crate::schema::Describe) {
                $( to.item($name, &crate::schema::Shape::of::<$Item>()); )*
            }
        }
    };
}

/// Joins the nouns' enums into one, keeping their names on the wire.
macro_rules! nouns {
    ($(#[$meta:meta])* $Enum:ident { $( $Noun:ident($module:ident) ),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $Enum { $( $Noun($module::$Enum) ),* }

        $( impl From<$module::$Enum> for $Enum { fn from(inner: $module::$Enum) -> Self { Self::$Noun(inner) } } )*

        impl $Enum {
            pub fn name(&self) -> &'static str {
                match self { $( Self::$Noun(inner) => inner.name() ),* }
            }

            /// `None` when no noun has this name.
            pub fn decode(name: &str, body: &str) -> Option<Result<Self, serde_json::Error>> {
                $( if let Some(decoded) = $module::$Enum::decode(name, body) { return Some(decoded.map(Self::$Noun)); } )*
                None
            }

            pub fn encode(&self) -> serde_json::Result<Box<serde_json::value::RawValue>> {
                match self { $( Self::$Noun(inner) => inner.encode() ),* }
            }

            pub fn names() -> impl Iterator<Item = &'static str> {
                [ $( $module::$Enum::NAMES ),* ].into_iter().flatten().copied()
            }

            pub(crate) fn describe(to: &mut dyn crate::schema::Describe) {
                $( $module::$Enum::describe(to); )*
            }
        }
    };
}
