use std::{collections::BTreeSet, path::Path};

use claw_core::ErrorCode;
use serde_json::Value;

use crate::lab::Lab;

/// The document that is committed, so that changes of the API are seen in review.
const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");

fn document() -> Value {
    serde_json::to_value(claw_server::openapi()).expect("the document is JSON")
}

/// Follows a reference, if it is one.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
        Some(pointer) => document.pointer(pointer).expect("what it refers to"),
        None => value,
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a person asks for the update, not the product")]
fn the_committed_document_is_the_one_that_the_code_describes() {
    let current = serde_json::to_string_pretty(&document()).expect("JSON") + "\n";
    let path = Path::new(COMMITTED);
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
        std::fs::write(path, &current).expect("the document can be written");
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == current,
        "docs/openapi.json is not what the code describes: run `UPDATE_OPENAPI=1 cargo test -p claw-server openapi` \
         and review the difference"
    );
}

#[tokio::test]
async fn the_document_is_served_to_everyone() {
    let lab = Lab::new().await;

    let answer = lab.get("/api/openapi.json").anonymous().send().await;

    assert_eq!(answer.expect(200), document());
    assert_eq!(answer.header("content-type"), "application/json");
}

#[test]
fn every_operation_is_described_in_full() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    let tags: Vec<_> = document["tags"].as_array().expect("tags").iter().map(|tag| &tag["name"]).collect();
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let name = format!("{method} {path}");
            let summary = operation["summary"].as_str().unwrap_or_default();
            assert!(!summary.is_empty() && !summary.ends_with('.'), "{name}: {summary}");
            assert!(
                ids.insert(operation["operationId"].as_str().expect("an id")),
                "{name}: its id is used twice"
            );
            assert!(tags.contains(&&operation["tags"][0]), "{name}: {}", operation["tags"]);
            let scoped = operation["x-scope"].is_string();
            assert_eq!(scoped, operation["security"].is_array(), "{name}");
            let responses = operation["responses"].as_object().expect("responses");
            let succeeds = |status: &String| status.starts_with('2') || status == "101";
            assert!(responses.keys().any(succeeds), "{name}");
            for status in ["421", "500", "503"]
                .into_iter()
                .chain(if scoped { &["401", "403"][..] } else { &[] }.iter().copied())
            {
                assert!(responses.contains_key(status), "{name} does not mention {status}");
            }
            for (status, response) in responses.iter().filter(|(status, _)| status.starts_with(['4', '5'])) {
                let schema = &resolved(&document, response)["content"]["application/json"]["schema"];
                assert!(schema.is_object(), "{name}: {status}");
            }
            for placeholder in path.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
                let parameters = operation["parameters"].as_array().expect("parameters");
                let named =
                    |parameter: &&Value| parameter["name"] == placeholder && parameter["in"] == "path";
                assert_eq!(parameters.iter().filter(named).count(), 1, "{name}: {placeholder}");
            }
        }
    }
}

#[test]
fn every_code_that_is_mentioned_exists_and_has_the_status_it_stands_under() {
    let document = document();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            for (status, response) in operation["responses"].as_object().expect("responses") {
                let text = resolved(&document, response)["description"].as_str().unwrap_or_default();
                let quoted = text.split('`').skip(1).step_by(2);
                for code in quoted.filter(|word| word.chars().all(|c| c.is_ascii_uppercase() || c == '_')) {
                    let known = ErrorCode::ALL.iter().find(|known| known.as_str() == code);
                    let known = known.unwrap_or_else(|| panic!("{method} {path}: unknown code {code}"));
                    assert_eq!(known.http_status().to_string(), *status, "{method} {path}: {code}");
                }
            }
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn walk(value: &Value, document: &Value) {
        match value {
            Value::Object(fields) => {
                if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                    let pointer = reference.strip_prefix('#').expect("a reference inside the document");
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                }
                fields.values().for_each(|value| walk(value, document));
            }
            Value::Array(items) => items.iter().for_each(|value| walk(value, document)),
            _ => {}
        }
    }
    let document = document();
    walk(&document, &document);
}
