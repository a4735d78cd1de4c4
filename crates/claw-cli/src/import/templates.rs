//! `templates/`: one JSON file for each.

use serde_json::Value;

use super::{Found, folder::Folder, inside, names};

/// Most templates.
const MOST: usize = 1_000;

/// Largest one.
const MAX_BYTES: u64 = 256 * 1024;

/// A template, as it is to be saved.
#[derive(Debug)]
pub(crate) struct FoundTemplate {
    pub(crate) name: String,
    /// A JSON object with that name in it.
    pub(crate) body: Vec<u8>,
}

pub(super) fn look(data: &Folder, found: &mut Found) {
    let Some(folder) = inside(data, "templates", found) else { return };
    for file in names(&folder, MOST, found) {
        let Some(name) = file.strip_suffix(".json") else { continue };
        match read(&folder, &file, name) {
            Ok(template) => found.templates.push(template),
            Err(problem) => found.problems.push(format!("{}: {problem}", folder.shown(&file))),
        }
    }
}

fn read(folder: &Folder, file: &str, name: &str) -> Result<FoundTemplate, String> {
    let bytes = folder.read(file, MAX_BYTES).map_err(|error| error.to_string())?.ok_or("it is gone")?;
    let value = serde_json::from_slice(&bytes).map_err(|error| format!("it is not JSON: {error}"))?;
    let Value::Object(mut template) = value else { return Err("it is not a JSON object".to_owned()) };
    // Clients know it by the name of its file.
    template.insert("name".to_owned(), name.into());
    Ok(FoundTemplate { name: name.to_owned(), body: Value::Object(template).to_string().into_bytes() })
}
