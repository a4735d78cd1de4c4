//! `keys/`: one file for each key, or `meta.json` of the oldest servers.

use std::collections::BTreeSet;

use claw_core::{Clock as _, Role, Scope, SystemClock, Timestamp};
use claw_gate::ForeignKey;
use serde::Deserialize;

use super::{Found, folder::Folder, inside, names};

/// Most keys.
const MOST: usize = 1_000;

/// Largest file of one; a key with every scope has less than one KB.
const MAX_BYTES: u64 = 64 * 1024;

/// Longest label that is taken over, in characters.
const MAX_LABEL_CHARS: usize = 100;

/// The file of the oldest servers, which knew one key.
const SINGLE: &str = "meta.json";

/// What `*` meant to the other server, which ran no jobs.
const EVERYTHING: &[Scope] = &[
    Scope::ContainersRead,
    Scope::ContainersWrite,
    Scope::ContainersDelete,
    Scope::ImagesRead,
    Scope::ImagesWrite,
    Scope::TemplatesRead,
    Scope::TemplatesWrite,
    Scope::MarketplaceRead,
    Scope::MarketplaceWrite,
    Scope::SystemRead,
];

#[derive(Deserialize)]
struct KeyFile {
    #[serde(default)]
    id: String,
    #[serde(default)]
    key_prefix: String,
    key_hash: String,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    created_at: String,
    #[serde(default)]
    last_used_at: String,
    #[serde(default)]
    label: String,
    role: Option<String>,
}

pub(super) fn look(data: &Folder, found: &mut Found) {
    let Some(folder) = inside(data, "keys", found) else {
        found.notes.push(format!("{} has no folder `keys`", data.path()));
        return;
    };
    let mut files = names(&folder, MOST, found);
    files.retain(|name| name.ends_with(".json"));
    // As the other server did: the old file counts when there is no other.
    if files.len() > 1 {
        files.retain(|name| name != SINGLE);
    }
    let mut hashes = BTreeSet::new();
    for name in files {
        let shown = folder.shown(&name);
        match read(&folder, &name, found) {
            Ok(key) if hashes.insert(key.hash.clone()) => found.keys.push(key),
            Ok(_) => found.problems.push(format!("{shown}: another file has the same key")),
            Err(problem) => found.problems.push(format!("{shown}: {problem}")),
        }
    }
}

fn read(folder: &Folder, name: &str, found: &mut Found) -> Result<ForeignKey, String> {
    let bytes = folder.read(name, MAX_BYTES).map_err(|error| error.to_string())?.ok_or("it is gone")?;
    // A message of the parser could show a hash.
    let file: KeyFile = serde_json::from_slice(&bytes).map_err(|_| "it is not the file of a key")?;
    let role = match file.role.as_deref() {
        Some("agent") => Role::Agent,
        // The oldest servers knew no roles, and one key that could do everything.
        Some("admin") | None => Role::Admin,
        Some(_) => return Err("its role is neither admin nor agent".to_owned()),
    };
    let hash = file.key_hash;
    if hash.len() != 64 || !hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err("its `key_hash` is not a SHA-256 in lower-case hexadecimal digits".to_owned());
    }
    let label: String = file.label.chars().filter(|c| !c.is_control()).take(MAX_LABEL_CHARS).collect();
    let scopes = scopes(&file.scopes, role, &folder.shown(name), found);
    if scopes.is_empty() {
        return Err("none of its scopes exists here".to_owned());
    }
    let now = SystemClock.now();
    let time = |text: &str| text.parse::<Timestamp>().ok().filter(|time| *time <= now);
    let created_at = time(&file.created_at).unwrap_or(now);
    Ok(ForeignKey {
        id: file.id.parse().ok(),
        hash,
        key_prefix: file.key_prefix,
        label,
        scopes,
        role,
        created_at,
        last_used_at: time(&file.last_used_at).map_or(created_at, |used| used.max(created_at)),
    })
}

/// Reads the scopes that exist here. What has no meaning here is named and left out, which takes nothing away: it
/// guarded nothing there either.
fn scopes(names: &[String], role: Role, shown: &str, found: &mut Found) -> BTreeSet<Scope> {
    let mut scopes = BTreeSet::new();
    for name in names {
        match name.parse() {
            Ok(Scope::All) if role == Role::Agent => {
                scopes.extend(EVERYTHING);
                found.notes.push(format!(
                    "{shown}: `*` of an agent becomes every scope of containers, images, templates, the marketplace \
                     and the system that the other server had; running programs in containers, jobs and workspaces, \
                     which cost money, are not among them"
                ));
            }
            Ok(scope) => {
                scopes.insert(scope);
            }
            Err(_) => {
                let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
                found.notes.push(format!("{shown}: scope `{name}` does not exist here and is left out"));
            }
        }
    }
    scopes
}
