//! The API reference: the OpenAPI document as a page to read.

mod schema;

use std::fmt::Write as _;

use serde_json::Value;

use super::html::{Escaped, Prose, document};
use schema::{Field, Schemas};

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// One operation of the document.
struct Operation<'a> {
    path: &'a str,
    method: &'static str,
    value: &'a Value,
}

impl<'a> Operation<'a> {
    fn text(&self, key: &str) -> &'a str {
        self.value[key].as_str().unwrap_or_default()
    }

    fn id(&self) -> &'a str {
        self.text("operationId")
    }

    fn has_tag(&self, tag: &str) -> bool {
        self.value["tags"].as_array().is_some_and(|tags| tags.iter().any(|name| name == tag))
    }
}

/// Renders the whole document.
pub(super) fn page(openapi: &Value) -> String {
    let operations = operations(openapi);
    let schemas = Schemas::of(openapi);
    let (mut index, mut groups) = (String::new(), String::new());
    for tag in openapi["tags"].as_array().into_iter().flatten() {
        let name = tag["name"].as_str().unwrap_or_default();
        let members: Vec<_> = operations.iter().filter(|operation| operation.has_tag(name)).collect();
        if members.is_empty() {
            continue;
        }
        add_index(&mut index, name, &members);
        let about = tag["description"].as_str().unwrap_or_default();
        add(
            &mut groups,
            format_args!("<section class=\"group\"><h2>{}</h2><p>{}</p>\n", Escaped(name), Prose(about)),
        );
        for operation in members {
            add_operation(&mut groups, operation, &schemas);
        }
        groups.push_str("</section>\n");
    }
    let about = openapi["info"]["description"].as_str().unwrap_or_default();
    let version = openapi["info"]["version"].as_str().unwrap_or_default();
    let content = format!(
        "<main class=\"docs\">\n<nav aria-label=\"Operations\">{index}</nav>\n<div>\n<section class=\"card\">\
         <h1>API reference <span class=\"scope\">{}</span></h1><p>{}</p></section>\n{groups}</div>\n</main>",
        Escaped(version),
        Prose(about)
    );
    document("API reference · ClawMachine", "/docs", &content)
}

fn operations(openapi: &Value) -> Vec<Operation<'_>> {
    let mut operations = Vec::new();
    for (path, item) in openapi["paths"].as_object().into_iter().flatten() {
        for method in METHODS {
            if let Some(value) = item.get(method) {
                operations.push(Operation { path, method, value });
            }
        }
    }
    operations
}

fn add_index(html: &mut String, tag: &str, operations: &[&Operation<'_>]) {
    add(html, format_args!("<section><h2>{}</h2><ul>", Escaped(tag)));
    for operation in operations {
        let (id, summary) = (Escaped(operation.id()), Escaped(operation.text("summary")));
        add(html, format_args!("<li><a href=\"#{id}\">{summary}</a></li>"));
    }
    html.push_str("</ul></section>\n");
}

fn add_operation(html: &mut String, operation: &Operation<'_>, schemas: &Schemas<'_>) {
    let Operation { path, method, value } = operation;
    let summary = operation.text("summary");
    add(
        html,
        format_args!(
            "<details class=\"operation\"><summary><span class=\"method {method}\">{}</span><code>{}</code>\
             <span class=\"what\">{}</span></summary>\n<div id=\"{}\">",
            method.to_uppercase(),
            Escaped(path),
            Escaped(summary),
            Escaped(operation.id()),
        ),
    );
    let scope = match value["x-scope"].as_str() {
        None => "public: no credential needed".to_owned(),
        Some("any") => "any valid credential".to_owned(),
        Some(scope) => format!("needs scope {scope}"),
    };
    add(html, format_args!("<p><span class=\"scope\">{}</span></p>", Escaped(&scope)));
    // The description repeats nothing of the summary.
    let about = operation.text("description");
    if !about.is_empty() && about != summary {
        add(html, format_args!("<p>{}</p>", Prose(about)));
    }
    add_parameters(html, value, schemas);
    add_request(html, value, schemas);
    add(
        html,
        format_args!("<h4>Example</h4><pre><code>{}</code></pre>", Escaped(&example(operation, schemas))),
    );
    add_responses(html, value, schemas);
    html.push_str("</div></details>\n");
}

fn add_parameters(html: &mut String, operation: &Value, schemas: &Schemas<'_>) {
    let Some(parameters) = operation["parameters"].as_array().filter(|all| !all.is_empty()) else { return };
    html.push_str("<h4>Parameters</h4><table class=\"fields\"><tbody>");
    for parameter in parameters {
        let place = parameter["in"].as_str().unwrap_or_default();
        let field = Field {
            name: parameter["name"].as_str().unwrap_or_default().to_owned(),
            kind: format!("{place} · {}", schemas.kind(&parameter["schema"])),
            required: parameter["required"] == true,
            about: parameter["description"].as_str().unwrap_or_default().to_owned(),
        };
        add_field(html, &field);
    }
    html.push_str("</tbody></table>");
}

fn add_request(html: &mut String, operation: &Value, schemas: &Schemas<'_>) {
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    if body.is_null() {
        return;
    }
    html.push_str("<h4>Body (JSON)</h4>");
    add_fields(html, schemas.fields(body));
}

fn add_responses(html: &mut String, operation: &Value, schemas: &Schemas<'_>) {
    let responses = operation["responses"].as_object();
    for (status, response) in responses.into_iter().flatten().filter(|(status, _)| status.starts_with('2')) {
        add(
            html,
            format_args!("<h4>{status}</h4><p>{}</p>", Prose(response["description"].as_str().unwrap_or(""))),
        );
        for (media_type, content) in response["content"].as_object().into_iter().flatten() {
            if media_type != "application/json" {
                add(html, format_args!("<p class=\"kind\">{}</p>", Escaped(media_type)));
            }
            // Answers always hold all their fields, so which ones they must hold tells nothing.
            let fields = schemas.fields(&content["schema"]).into_iter();
            add_fields(html, fields.map(|field| Field { required: false, ..field }).collect());
        }
    }
    html.push_str("<h4>Errors</h4><table class=\"fields\"><tbody>");
    for (status, response) in responses.into_iter().flatten().filter(|(status, _)| !status.starts_with('2')) {
        let response = schemas.response(response);
        let text = Prose(response["description"].as_str().unwrap_or_default()).to_string();
        add(html, format_args!("<tr><td><code>{status}</code></td><td>{text}</td></tr>"));
    }
    html.push_str("</tbody></table>");
}

fn add_fields(html: &mut String, fields: Vec<Field>) {
    if fields.is_empty() {
        return;
    }
    html.push_str("<table class=\"fields\"><tbody>");
    for field in &fields {
        add_field(html, field);
    }
    html.push_str("</tbody></table>");
}

fn add_field(html: &mut String, field: &Field) {
    let must = if field.required { " <span class=\"must\">required</span>" } else { "" };
    add(
        html,
        format_args!(
            "<tr><td><code>{}</code>{must}</td><td><span class=\"kind\">{}</span> {}</td></tr>",
            Escaped(&field.name),
            Escaped(&field.kind),
            Prose(&field.about)
        ),
    );
}

/// Returns a command line that makes the request.
fn example(operation: &Operation<'_>, schemas: &Schemas<'_>) -> String {
    let Operation { path, method, value } = operation;
    let mut url = String::from("$CLAW_URL");
    for part in path.split_inclusive('}') {
        match part.split_once('{') {
            Some((before, name)) => {
                let name = name.trim_end_matches('}').to_uppercase();
                add(&mut url, format_args!("{before}${name}"));
            }
            None => url.push_str(part),
        }
    }
    let mut command = String::from("curl");
    if *method != "get" {
        add(&mut command, format_args!(" -X {}", method.to_uppercase()));
    }
    if path.ends_with("/stream") || path.ends_with("/events/jobs") {
        command.push_str(" -N");
    }
    add(&mut command, format_args!(" \"{url}\""));
    if !value["x-scope"].is_null() {
        command.push_str(" \\\n  -H \"X-API-Key: $CLAW_API_KEY\"");
    }
    let body = &value["requestBody"]["content"]["application/json"]["schema"];
    if !body.is_null() {
        let body = schemas.example(body);
        add(&mut command, format_args!(" \\\n  -H 'Content-Type: application/json' \\\n  -d '{body}'"));
    }
    command
}

fn add(html: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = html.write_fmt(text);
}
