//! Team files: what is written is read ([`parse`]), compared with what is there ([`plan`]), and carried out
//! ([`apply`]). The first two are pure; where a file is looked for is in [`find`]. How it is asked for and told is in
//! `cli/up.rs`.

pub(crate) mod apply;
pub(crate) mod find;
pub(crate) mod parse;
pub(crate) mod plan;
pub(crate) mod starts;
