//! An OpenAPI 3.1 description of what the engine adds to an API: its answers, their headers, and who may call.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use tollgate::{Status, TokenFormat};

use super::examples::Example;
use super::facts::{Facts, RouteFacts};
use super::markdown::example_of;
use super::words::{of_header, of_status};

/// Methods that a path item of OpenAPI has.
const METHODS: [&str; 8] = ["GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"];

pub(super) fn write(facts: &Facts<'_>, title: &str) -> Value {
    let mut paths: BTreeMap<String, Value> = BTreeMap::new();
    // Paths that differ in the names of parameters alone are one path.
    let mut shapes: BTreeMap<String, String> = BTreeMap::new();
    let mut left_out = Vec::new();
    for route in &facts.routes {
        if !METHODS.contains(&route.method.as_str()) {
            left_out.push(route.name.as_str());
            continue;
        }
        let path = shapes.entry(shape(&route.pattern)).or_insert_with(|| route.pattern.clone());
        let item = paths.entry(path.clone()).or_insert_with(|| json!({}));
        if let Value::Object(item) = item {
            item.insert(route.method.to_lowercase(), operation(facts, route, path));
        }
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": { "title": title, "version": "0" },
        "paths": paths,
        "components": {
            "securitySchemes": { "bearer": security_scheme(facts) },
            "schemas": { "Error": error_schema(facts) },
            "headers": headers(facts),
        },
    });
    if let (Value::Object(members), false) = (&mut document, left_out.is_empty()) {
        // OpenAPI 3.1 has no place for other methods.
        members.insert("x-other-routes".to_owned(), json!(left_out));
    }
    document
}

/// A path without the names of its parameters.
fn shape(pattern: &str) -> String {
    let segment = |segment: &str| if segment.starts_with('{') { "{}" } else { segment }.to_owned();
    pattern.split('/').map(segment).collect::<Vec<_>>().join("/")
}

fn security_scheme(facts: &Facts<'_>) -> Value {
    let description = match facts.config.tokens.format {
        TokenFormat::Native => "`tg_live_`, 30 characters of base62, and a checksum.",
        TokenFormat::Opaque => "1 to 512 visible ASCII characters.",
    };
    json!({ "type": "http", "scheme": "bearer", "description": description })
}

fn error_schema(facts: &Facts<'_>) -> Value {
    let answers = facts.answers();
    let codes: Vec<&str> = answers
        .iter()
        .filter(|example| example.status.is_denial())
        .map(|example| example.status.code())
        .collect();
    let code = json!({ "type": "string", "enum": codes, "description": "For programs." });
    if facts.config.answers.problem_json {
        return json!({
            "type": "object",
            "description": "RFC 9457.",
            "required": ["type", "title", "status", "detail", "code"],
            "properties": {
                "type": { "type": "string" },
                "title": { "type": "string" },
                "status": { "type": "integer" },
                "detail": { "type": "string", "description": "For people." },
                "code": code,
            },
        });
    }
    json!({
        "type": "object",
        "required": ["message", "code"],
        "properties": {
            "message": { "type": "string", "description": "For people." },
            "code": code,
        },
    })
}

/// Headers that a response object describes: its content type has a place of its own.
fn described(example: &Example) -> impl Iterator<Item = &str> {
    example.header_names().filter(|name| *name != "Content-Type")
}

fn headers(facts: &Facts<'_>) -> Value {
    let examples = facts.routes.iter().flat_map(|route| &route.examples);
    let names: BTreeSet<&str> = examples.flat_map(described).collect();
    let mut out = Map::new();
    for name in names {
        let words = of_header(name, facts.config);
        let text = example_of(facts, name).unwrap_or_default();
        let (schema, example) = match (words.is_number, text.parse::<u64>()) {
            (true, Ok(number)) => {
                let least = u64::from(name == "Retry-After");
                (json!({ "type": "integer", "minimum": least }), json!(number))
            }
            _ => (json!({ "type": "string" }), json!(text)),
        };
        let description = format!("{}.", words.holds);
        let header = json!({ "description": description, "schema": schema, "example": example });
        out.insert(name.to_owned(), header);
    }
    Value::Object(out)
}

fn operation(facts: &Facts<'_>, route: &RouteFacts, path: &str) -> Value {
    let security: Vec<Value> = match route.scopes.is_empty() {
        true => vec![json!({ "bearer": [] })],
        // Any of them will do.
        false => route.scopes.iter().map(|scope| json!({ "bearer": [scope] })).collect(),
    };
    let mut operation = json!({
        "security": security,
        "responses": responses(facts, route),
    });
    let parameters = parameters(route, path);
    if let (Value::Object(members), false) = (&mut operation, parameters.is_empty()) {
        members.insert("parameters".to_owned(), Value::Array(parameters));
    }
    operation
}

fn parameters(route: &RouteFacts, path: &str) -> Vec<Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = names
        .map(|name| {
            let schema = json!({ "type": "string", "minLength": 1 });
            json!({ "name": name, "in": "path", "required": true, "schema": schema })
        })
        .collect();
    if route.takes_key {
        parameters.push(json!({
            "name": "Idempotency-Key",
            "in": "header",
            "required": route.needs_key,
            "description": "A retry with the same key gets the first answer again.",
            "schema": { "type": "string", "minLength": 1, "maxLength": 255 },
        }));
    }
    parameters
}

fn responses(facts: &Facts<'_>, route: &RouteFacts) -> Value {
    let mut by_http: BTreeMap<u16, Vec<&Example>> = BTreeMap::new();
    for example in route.examples.iter().filter(|example| example.status.is_denial()) {
        by_http.entry(example.status.http()).or_default().push(example);
    }
    let mut responses = Map::new();
    // What comes through is the API's own to describe.
    let passed = [Status::Allowed, Status::Replayed];
    let passed: Vec<&Example> = passed.iter().filter_map(|status| route.example(*status)).collect();
    if !passed.is_empty() {
        let own = json!({ "description": "The API's own answer.", "headers": references(&passed) });
        responses.insert("2XX".to_owned(), own);
    }
    for (http, examples) in by_http {
        responses.insert(http.to_string(), response(facts, &examples));
    }
    Value::Object(responses)
}

fn references(examples: &[&Example]) -> Value {
    let names: BTreeSet<&str> = examples.iter().flat_map(|example| described(example)).collect();
    let reference = |name: &str| json!({ "$ref": format!("#/components/headers/{name}") });
    Value::Object(names.into_iter().map(|name| (name.to_owned(), reference(name))).collect())
}

fn response(facts: &Facts<'_>, examples: &[&Example]) -> Value {
    let when: Vec<&str> = examples.iter().map(|example| of_status(example.status).0).collect();
    let codes: Vec<&str> = examples.iter().map(|example| example.status.code()).collect();
    let media_type = match facts.config.answers.problem_json {
        true => "application/problem+json",
        false => "application/json",
    };
    let bodies: Map<String, Value> = examples
        .iter()
        .map(|example| {
            let name = example.status.code().to_owned();
            (name, json!({ "value": example.body() }))
        })
        .collect();
    let schema = json!({
        "allOf": [
            { "$ref": "#/components/schemas/Error" },
            { "properties": { "code": { "enum": codes } } },
        ],
    });
    json!({
        "description": when.join(" Or: "),
        "headers": references(examples),
        "content": { media_type: { "schema": schema, "examples": bodies } },
    })
}
