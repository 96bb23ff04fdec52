//! The promises of the domain: by table (given these commands, when this one, then these events) and by property
//! (whatever anybody says, these things stay true).

mod agents;
mod board;
mod crowds;
mod layouts;
mod mail;
mod policies;
mod properties;
mod references;
mod requests_and_messages;
mod rights;
mod rules;
mod runs;
mod settings;
mod teams;
mod trees;
mod views;
mod world;
