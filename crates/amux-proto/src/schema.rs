//! What the generated files are made from: TypeScript declarations and JSON Schemas of every word in this crate.
//! `cargo xtask gen` writes them; a test compares them with what is checked in.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use schemars::JsonSchema;
use serde_json::{Value, json};
use ts_rs::{TS, TypeVisitor};

use crate::{command, event, frame, query, view};

/// The files as (path from the repository's root, content).
pub fn files() -> Vec<(&'static str, String)> {
    vec![
        ("web/src/proto/index.ts", typescript()),
        ("docs/contracts/commands.schema.json", pretty(&schemas("commands", &mut |to| describe_orders(to)))),
        ("docs/contracts/events.schema.json", pretty(&schemas("events", &mut |to| event::Event::describe(to)))),
        ("docs/contracts/queries.schema.json", pretty(&schemas("queries", &mut |to| query::Query::describe(to)))),
        ("docs/contracts/frames.schema.json", pretty(&frame_schemas())),
        ("docs/contracts/openapi.json", pretty(&openapi())),
    ]
}

/// Commands and acts: one frame, one list.
fn describe_orders(to: &mut dyn Describe) {
    command::Command::describe(to);
    query::Act::describe(to);
}

/// Receives every item of a vocabulary, one by one.
pub trait Describe {
    fn item(&mut self, name: &'static str, shape: &Shape);
}

/// One type, seen by both generators.
pub struct Shape {
    ts_name: String,
    collect: fn(&mut Declarations),
    schema: fn(&mut schemars::SchemaGenerator) -> schemars::Schema,
}

impl Shape {
    pub fn of<T: TS + JsonSchema + 'static>() -> Self {
        Self { ts_name: T::name(&config()), collect: Declarations::add::<T>, schema: |g| g.subschema_for::<T>() }
    }
}

/// The OpenAPI document of the HTTP mirror, from the same list of commands.
pub fn openapi() -> Value {
    struct Paths(schemars::SchemaGenerator, serde_json::Map<String, Value>);
    impl Describe for Paths {
        fn item(&mut self, name: &'static str, shape: &Shape) {
            let body = (shape.schema)(&mut self.0);
            let operation = json!({ "post": {
                "operationId": name,
                "requestBody": { "required": true, "content": { "application/json": { "schema": {
                    "type": "object",
                    "properties": { "args": body, "cmd_id": { "type": "string", "format": "uuid" }, "expect": { "type": "integer" } },
                } } } },
                "responses": {
                    "200": { "description": "Committed.", "content": { "application/json": { "schema": { "type": "object" } } } },
                    "default": { "description": "Refused.", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Rejection" } } } },
                },
            } });
            self.1.insert(format!("/v1/cmd/{name}"), operation);
        }
    }
    let mut paths = Paths(generator("#/components/schemas/"), serde_json::Map::new());
    describe_orders(&mut paths);
    let Paths(mut generator, mut paths) = paths;
    let _ = generator.subschema_for::<crate::Rejection>();
    for (path, schema) in [
        ("/v1/snapshot", generator.subschema_for::<view::Snapshot>()),
        ("/v1/agents", generator.subschema_for::<Vec<view::Agent>>()),
    ] {
        let answer = json!({ "get": { "responses": { "200": {
            "description": "The state as of one sequence number.",
            "content": { "application/json": { "schema": schema } } } } } });
        paths.insert(path.into(), answer);
    }
    let bytes = json!({ "application/octet-stream": { "schema": { "type": "string", "format": "binary" } } });
    paths.insert(
        "/v1/attachments".into(),
        json!({ "post": {
            "requestBody": { "required": true, "content": bytes },
            "responses": { "200": {
                "description": "On disk, and can be named by a message.",
                "content": { "application/json": { "schema": generator.subschema_for::<view::Stored>() } } } } } }),
    );
    paths.insert(
        "/v1/attachments/{digest}".into(),
        json!({ "get": {
            "parameters": [{ "name": "digest", "in": "path", "required": true, "schema": { "type": "string" } }],
            "responses": { "200": { "description": "What it holds.", "content": bytes } } } }),
    );
    for (path, what) in [("/healthz", "Alive and serving."), ("/metrics", "Prometheus text.")] {
        paths.insert(path.into(), json!({ "get": { "responses": { "200": { "description": what } } } }));
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "agentmux", "version": "1" },
        "paths": paths,
        "components": { "schemas": generator.take_definitions(true) },
    })
}

fn typescript() -> String {
    struct Maps<'a>(&'a mut Declarations, String);
    impl Describe for Maps<'_> {
        fn item(&mut self, name: &'static str, shape: &Shape) {
            (shape.collect)(self.0);
            let _ = writeln!(self.1, "  \"{name}\": {};", shape.ts_name);
        }
    }
    let mut declarations = Declarations::default();
    let mut out = String::from("// Generated by `cargo xtask gen`. Do not edit.\n\n");
    let mut maps = String::new();
    for (title, name, describe) in [
        ("Every command and its arguments.", "Commands", describe_orders as fn(&mut dyn Describe)),
        ("Every event and its data.", "Events", event::Event::describe),
        ("Every question and its arguments.", "Queries", query::Query::describe),
    ] {
        let mut map = Maps(&mut declarations, String::new());
        describe(&mut map);
        let _ = write!(maps, "/** {title} */\nexport type {name} = {{\n{}}};\n\n", map.1);
    }
    Declarations::add::<frame::ClientFrame>(&mut declarations);
    Declarations::add::<frame::ServerFrame>(&mut declarations);
    Declarations::add::<view::Snapshot>(&mut declarations);
    Declarations::add::<view::Status>(&mut declarations);
    Declarations::add::<view::TranscriptPage>(&mut declarations);
    Declarations::add::<view::FramesPage>(&mut declarations);
    Declarations::add::<view::AgentCommands>(&mut declarations);
    Declarations::add::<view::AgentFiles>(&mut declarations);
    Declarations::add::<view::Session>(&mut declarations);
    Declarations::add::<crate::board::Row>(&mut declarations);
    Declarations::add::<crate::transcript::Entry>(&mut declarations);
    Declarations::add::<view::Stored>(&mut declarations);
    Declarations::add::<view::AttachmentPart>(&mut declarations);
    Declarations::add::<crate::endpoint::Endpoint>(&mut declarations);
    for (docs, declaration) in declarations.0.into_values() {
        let _ = write!(out, "{docs}export {declaration}\n\n");
    }
    out.push_str(maps.trim_end());
    out.push('\n');
    out
}

/// Declarations by their TypeScript name.
#[derive(Default)]
struct Declarations(BTreeMap<String, (String, String)>);

impl Declarations {
    fn add<T: TS + 'static + ?Sized>(&mut self) {
        self.visit::<T>();
    }
}

impl TypeVisitor for Declarations {
    fn visit<T: TS + 'static + ?Sized>(&mut self) {
        T::visit_generics(self);
        if T::output_path().is_none() {
            T::visit_dependencies(self);
            return;
        }
        let name = T::ident(&config());
        if self.0.contains_key(&name) {
            return;
        }
        self.0.insert(name.clone(), (T::docs().unwrap_or_default(), T::decl(&config())));
        T::visit_dependencies(self);
    }
}

fn schemas(title: &str, describe: &mut dyn FnMut(&mut dyn Describe)) -> Value {
    struct Properties(schemars::SchemaGenerator, serde_json::Map<String, Value>);
    impl Describe for Properties {
        fn item(&mut self, name: &'static str, shape: &Shape) {
            let schema = (shape.schema)(&mut self.0);
            self.1.insert(name.into(), schema.to_value());
        }
    }
    let mut properties = Properties(generator("#/$defs/"), serde_json::Map::new());
    describe(&mut properties);
    let Properties(mut generator, properties) = properties;
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "type": "object",
        "properties": properties,
        "$defs": generator.take_definitions(true),
    })
}

fn frame_schemas() -> Value {
    let mut generator = generator("#/$defs/");
    let client = generator.subschema_for::<frame::ClientFrame>();
    let server = generator.subschema_for::<frame::ServerFrame>();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "frames",
        "oneOf": [client, server],
        "$defs": generator.take_definitions(true),
    })
}

fn generator(definitions: &str) -> schemars::SchemaGenerator {
    let path = definitions.trim_start_matches('#').trim_end_matches('/').to_owned();
    schemars::generate::SchemaSettings::draft2020_12().with(|s| s.definitions_path = path.into()).into_generator()
}

fn config() -> ts_rs::Config {
    // Sequence numbers stay below 2^53, and JSON.parse gives numbers.
    ts_rs::Config::new().with_large_int("number")
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}
