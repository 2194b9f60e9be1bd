//! The JSON Schema of every message, from the types that read and write them.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::body::ErrorBody;
use super::request::Call;
use super::request::{Operations, RequestFields};
use super::session::IdSchema;
use super::{PROTOCOL, event, request};
use crate::limits;
use crate::store::Result;

/// The JSON Schema (draft 2020-12) of every message: `requests` and `replies` by operation, and `error` for a failure
/// of any request. Shared parts are under `$defs`.
#[must_use]
pub fn schema() -> Value {
    let mut schemas = Schemas::default();
    request::schemas(&mut schemas);
    schemas.error::<ErrorBody>();
    event::schemas(&mut schemas);
    let Schemas { mut generator, requests, replies, events, error } = schemas;
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": format!("kv/{PROTOCOL}"),
        "description": "One JSON object per line. A request is one of `requests`, its reply the one of the same name in \
            `replies`, or `error`; behind a subscribe come `events`. Clients ignore members that they do not know.",
        "requests": requests,
        "replies": replies,
        "events": events,
        "error": error,
        "$defs": generator.take_definitions(true),
    })
}

/// Collects the schemas of messages.
#[derive(Default)]
pub(super) struct Schemas {
    generator: SchemaGenerator,
    requests: Map<String, Value>,
    replies: Map<String, Value>,
    events: Map<String, Value>,
    error: Value,
}

impl Operations for Schemas {
    fn add<F: RequestFields, B: JsonSchema>(&mut self, op: &str, _call: impl FnOnce(F) -> Result<Call>) {
        let mut schema = with_op(op, F::schema(&mut self.generator));
        let id = json!({ "description": "Echoed in the reply.", "type": ["string", "integer"] });
        let timeout_ms = json!({
            "description": "How long to wait for an answer, in milliseconds.",
            "type": "integer",
            "minimum": 1,
            "maximum": limits::TIMEOUT_MS,
        });
        insert_properties(&mut schema, [("id", id), ("timeout_ms", timeout_ms)]);
        self.requests.insert(op.to_owned(), schema);
        self.add_reply::<B>(op);
    }

    fn add_reply<B: JsonSchema>(&mut self, op: &str) {
        let schema = as_reply(true, B::json_schema(&mut self.generator));
        match self.replies.get_mut(op) {
            None => drop(self.replies.insert(op.to_owned(), schema)),
            Some(other) => *other = json!({ "anyOf": [other.take(), schema] }),
        }
    }
}

impl Schemas {
    /// Adds an event of subscriptions.
    pub(super) fn event<T: JsonSchema>(&mut self, event: &str) {
        let mut schema = T::json_schema(&mut self.generator).to_value();
        let subscription = IdSchema::json_schema(&mut self.generator).to_value();
        insert_properties(
            &mut schema,
            [("subscription", subscription), ("event", json!({ "const": event }))],
        );
        require(&mut schema, "subscription");
        require(&mut schema, "event");
        self.events.insert(event.to_owned(), schema);
    }

    /// Adds the reply that any operation may have.
    pub(super) fn error<T: JsonSchema>(&mut self) {
        let error = self.generator.subschema_for::<T>();
        let schema = json!({ "type": "object", "properties": { "error": error }, "required": ["error"] });
        self.error = as_reply(false, Schema::try_from(schema).unwrap_or_default());
    }
}

/// The schema of an object with these fields and the name of its operation.
pub(super) fn with_op(op: &str, fields: Schema) -> Value {
    let mut schema = fields.to_value();
    insert_properties(&mut schema, [("op", json!({ "const": op }))]);
    require(&mut schema, "op");
    schema
}

/// The schema of an object that may also have the properties of a group.
pub(super) fn with_properties_of(group: &Schema, fields: Schema) -> Schema {
    let mut schema = fields.to_value();
    if let Some(Value::Object(added)) = group.get("properties") {
        insert_properties(&mut schema, added.iter().map(|(name, field)| (name.as_str(), field.clone())));
    }
    Schema::try_from(schema).unwrap_or_default()
}

fn as_reply(ok: bool, body: Schema) -> Value {
    let mut schema = body.to_value();
    let id = json!({ "description": "That of the request.", "type": ["string", "integer"] });
    insert_properties(&mut schema, [("id", id), ("ok", json!({ "const": ok }))]);
    require(&mut schema, "ok");
    schema
}

fn insert_properties<'a>(schema: &mut Value, properties: impl IntoIterator<Item = (&'a str, Value)>) {
    let Some(schema) = schema.as_object_mut() else { return };
    let known = schema.entry("properties").or_insert_with(|| json!({}));
    if let Some(known) = known.as_object_mut() {
        known.extend(properties.into_iter().map(|(name, field)| (name.to_owned(), field)));
    }
}

fn require(schema: &mut Value, name: &str) {
    let Some(schema) = schema.as_object_mut() else { return };
    if let Some(required) = schema.entry("required").or_insert_with(|| json!([])).as_array_mut() {
        required.push(json!(name));
    }
}
