//! Schemas of the types that are read and written, without what a model does not need: hosts send them with every
//! turn.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// Of arguments: complete.
pub(crate) fn input<T: JsonSchema>() -> Map<String, Value> {
    let mut schema = of::<T>();
    let Some(fields) = schema.as_object_mut() else { return Map::new() };
    fields.entry("properties").or_insert_with(|| json!({}));
    fields.clone()
}

/// Of an answer. Nothing of it is required: a refusal is an answer too, and has none of it.
pub(crate) fn output<T: JsonSchema>() -> Map<String, Value> {
    let mut schema = of::<T>();
    shorten(&mut schema, 0);
    schema.as_object().cloned().unwrap_or_default()
}

fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    compact(&mut schema);
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("description");
    }
    schema
}

fn compact(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    for name in ["$schema", "title", "format", "minimum", "default", "additionalProperties"] {
        fields.remove(name);
    }
    // What may be left out may be null as well; saying so costs more than it tells.
    if let Some(Value::Array(types)) = fields.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            fields.insert("type".into(), only);
        }
    }
    for choice in ["oneOf", "anyOf"] {
        let Some(Value::Array(mut forms)) = fields.remove(choice) else { continue };
        forms.retain(|form| form["type"] != "null");
        match (words(&forms), forms.as_mut_slice()) {
            (Some(words), _) => {
                fields.insert("type".into(), "string".into());
                fields.insert("enum".into(), words.into());
            }
            (None, [Value::Object(only)]) => {
                for (name, value) in std::mem::take(only) {
                    fields.entry(name).or_insert(value);
                }
                return compact(schema);
            }
            _ => {
                fields.insert(choice.into(), forms.into());
            }
        }
    }
    if let Some(Value::Array(words)) = fields.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        properties.values_mut().for_each(compact);
    }
    if let Some(items) = fields.get_mut("items") {
        compact(items);
        items.as_object_mut().map(|items| items.remove("description"));
    }
}

/// What can be said, where each form is one word or a few; what each means is left to the tool's own description.
fn words(forms: &[Value]) -> Option<Vec<Value>> {
    let words: Option<Vec<Vec<Value>>> = forms
        .iter()
        .map(|form| match (form.get("const"), form.get("enum")) {
            (Some(word), _) => Some(vec![word.clone()]),
            (None, Some(Value::Array(words))) => Some(words.clone()),
            _ => None,
        })
        .collect();
    words.map(|words| words.concat()).filter(|words| !words.is_empty() && forms.len() > 1)
}

/// The names and kinds of what is there, and of the rows of a list their names.
fn shorten(schema: &mut Value, depth: u32) {
    let Some(fields) = schema.as_object_mut() else { return };
    for name in ["required", "description", "enum"] {
        fields.remove(name);
    }
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        for property in properties.values_mut() {
            if depth == 0 { shorten(property, depth) } else { *property = json!({}) }
        }
    }
    if let Some(items) = fields.get_mut("items") {
        shorten(items, depth + 1);
    }
}
