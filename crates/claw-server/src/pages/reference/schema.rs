//! Schemas as rows of a table, and examples of what they describe.

use serde_json::{Map, Value, json};

/// How deep fields of fields are shown.
const MAX_DEPTH: usize = 3;

/// One row.
pub(super) struct Field {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) required: bool,
    pub(super) about: String,
}

/// The document's named schemas and responses.
pub(super) struct Schemas<'a>(&'a Value, &'a Value);

impl<'a> Schemas<'a> {
    pub(super) fn of(openapi: &'a Value) -> Self {
        Self(&openapi["components"]["schemas"], &openapi["components"]["responses"])
    }

    /// Follows a response's reference.
    pub(super) fn response(&self, response: &'a Value) -> &'a Value {
        match response["$ref"].as_str() {
            Some(reference) => &self.1[reference.rsplit('/').next().unwrap_or_default()],
            None => response,
        }
    }

    /// Follows a reference, and takes the one real choice of "this or null".
    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let mut schema = schema;
        // Schemas here do not refer to themselves; the bound is for those that would.
        for _ in 0..8 {
            let choices = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array());
            let choice = choices.and_then(|all| all.iter().find(|one| one["type"] != "null"));
            schema = match (schema["$ref"].as_str(), choice) {
                (Some(reference), _) => &self.0[reference.rsplit('/').next().unwrap_or_default()],
                (None, Some(choice)) if schema["properties"].is_null() => choice,
                (None, _) => return schema,
            };
        }
        schema
    }

    /// Says in a few words what values a schema allows.
    pub(super) fn kind(&self, schema: &'a Value) -> String {
        let nullable = schema["type"].as_array().is_some_and(|types| types.iter().any(|name| name == "null"))
            || schema["oneOf"].as_array().is_some_and(|all| all.iter().any(|one| one["type"] == "null"));
        let schema = self.resolve(schema);
        let name = match &schema["type"] {
            Value::String(name) => name.as_str(),
            Value::Array(names) => {
                names.iter().filter_map(Value::as_str).find(|name| *name != "null").unwrap_or("any")
            }
            _ if !schema["allOf"].is_null() => "object",
            _ => "any",
        };
        let mut kind = if let Some(values) = self.values(schema) {
            values
        } else if name == "array" {
            format!("array of {}", self.kind(&schema["items"]))
        } else if name == "object" && !schema["additionalProperties"].is_null() {
            format!("map of {}", self.kind(&schema["additionalProperties"]))
        } else {
            match schema["format"].as_str() {
                Some(format @ ("uuid" | "date-time")) => format!("{name} ({format})"),
                _ => name.to_owned(),
            }
        };
        if nullable {
            kind.push_str(" or null");
        }
        kind
    }

    /// Joins the values of an enumeration, whether they stand in one list or in described choices.
    fn values(&self, schema: &'a Value) -> Option<String> {
        let list = schema["enum"].as_array().or_else(|| schema["items"]["enum"].as_array())?;
        let values: Vec<_> = list.iter().filter_map(Value::as_str).collect();
        Some(values.join(" | "))
    }

    /// Returns the rows of an object, with the objects inside it below their own names.
    pub(super) fn fields(&self, schema: &'a Value) -> Vec<Field> {
        let mut fields = Vec::new();
        self.add_fields(&mut fields, schema, "", 0);
        fields
    }

    fn add_fields(&self, fields: &mut Vec<Field>, schema: &'a Value, prefix: &str, depth: usize) {
        let schema = self.resolve(schema);
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.add_fields(fields, part, prefix, depth);
        }
        let is_required = |name: &str| {
            schema["required"].as_array().is_some_and(|names| names.iter().any(|required| required == name))
        };
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{prefix}{name}");
            let about =
                property["description"].as_str().or_else(|| self.resolve(property)["description"].as_str());
            fields.push(Field {
                name: path.clone(),
                kind: self.kind(property),
                required: is_required(name),
                about: about.unwrap_or_default().to_owned(),
            });
            let inner = self.resolve(property);
            let (inner, path) = match &inner["items"] {
                Value::Null => (inner, format!("{path}.")),
                items => (self.resolve(items), format!("{path}[].")),
            };
            if depth < MAX_DEPTH {
                self.add_fields(fields, inner, &path, depth + 1);
            }
        }
    }

    /// Returns an example: the required fields of an object, or all of them if it requires none.
    pub(super) fn example(&self, schema: &'a Value) -> Value {
        let given = ["example", "default"].into_iter().map(|key| &schema[key]).find(|value| !value.is_null());
        if let Some(given) = given.or_else(|| schema["examples"].get(0)) {
            return given.clone();
        }
        let schema = self.resolve(schema);
        let kind = match &schema["type"] {
            Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null"),
            name => name.as_str(),
        };
        match kind {
            Some("object") => self.example_object(schema),
            Some("array") => json!([self.example(&schema["items"])]),
            Some("integer" | "number") => json!(1),
            Some("boolean") => json!(true),
            _ => schema["enum"].get(0).cloned().unwrap_or_else(|| json!("…")),
        }
    }

    fn example_object(&self, schema: &'a Value) -> Value {
        let mut object = Map::new();
        if !schema["additionalProperties"].is_null() {
            object.insert("docker_memory_limit".into(), json!("8g"));
        }
        let required = schema["required"].as_array();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            if required.is_none_or(|names| names.iter().any(|required| required == name)) {
                object.insert(name.clone(), self.example(property));
            }
        }
        Value::Object(object)
    }
}
