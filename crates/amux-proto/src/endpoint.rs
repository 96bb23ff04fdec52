//! `run/endpoint.json`: where a running server is found. Written when it serves, diagnostic for everybody else.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::ids::Epoch;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Endpoint {
    pub pid: u32,
    pub launcher_pid: Option<u32>,
    pub epoch: Epoch,
    pub version: String,
    pub socket: String,
    pub web_url: String,
    pub ws_url: String,
}
