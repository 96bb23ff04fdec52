//! Team files from a terminal: where one is looked for is in [`find`], and what it comes to is carried out in [`apply`].
//! What a file says and what makes a team so is `amux_team`, which is pure. How it is asked for and told is in `cli/up.rs`.

pub(crate) mod apply;
pub(crate) mod find;
pub(crate) mod starts;
