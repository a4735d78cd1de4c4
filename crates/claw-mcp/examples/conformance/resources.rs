//! Resources of the suite, and the skill beside them.

use claw_mcp::skills;
use rmcp::{
    ErrorData,
    model::{ReadResourceResponse, ReadResourceResult, Resource, ResourceContents, ResourceTemplate},
};
use serde_json::json;

use crate::calls::PNG;

pub(crate) fn resources() -> Vec<Resource> {
    let fixture = |name: &str, kind: &str| {
        Resource::new(format!("test://{name}"), name).with_description("A fixture").with_mime_type(kind)
    };
    let mut resources = vec![
        fixture("static-text", "text/plain"),
        fixture("static-binary", "image/png"),
        fixture("watched-resource", "text/plain"),
    ];
    resources.extend(skills::clawmachine().resources());
    resources
}

pub(crate) fn templates() -> Vec<ResourceTemplate> {
    let template = ResourceTemplate::new("test://template/{id}/data", "template");
    vec![template.with_description("A fixture").with_mime_type("application/json")]
}

pub(crate) fn read(uri: &str) -> Result<ReadResourceResponse, ErrorData> {
    let of_template = uri.strip_prefix("test://template/").and_then(|rest| rest.strip_suffix("/data"));
    let contents = match (uri, of_template) {
        ("test://static-text", _) => {
            ResourceContents::text("This is the content of the static text resource.", uri)
        }
        ("test://static-binary", _) => ResourceContents::blob(PNG, uri).with_mime_type("image/png"),
        ("test://watched-resource", _) => ResourceContents::text("Watched.", uri),
        (_, Some(id)) => {
            let text =
                json!({"id": id, "templateTest": true, "data": format!("Data for ID: {id}")}).to_string();
            ResourceContents::text(text, uri).with_mime_type("application/json")
        }
        _ => skills::clawmachine().read(uri).ok_or_else(|| unknown(uri))?,
    };
    Ok(ReadResourceResult::new(vec![contents]).into())
}

pub(crate) fn unknown(uri: &str) -> ErrorData {
    ErrorData::resource_not_found("Resource not found", Some(json!({"uri": uri})))
}
