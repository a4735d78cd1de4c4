//! `containers/<app>/<install>/docker-compose.yml`: the installed apps.

use super::{Found, folder::Folder, inside, names};

/// Most apps, and most installs of one.
const MOST: usize = 500;

/// Largest compose file.
const MAX_BYTES: u64 = 256 * 1024;

/// The names that a compose file can have, as the other server knew them.
const COMPOSE: [&str; 3] = ["docker-compose.yml", "compose.yaml", "compose.yml"];

/// What an install of our own has beside its compose file.
const OURS: &str = ".env";

/// An installed app.
#[derive(Debug)]
pub(crate) struct FoundApp {
    pub(crate) app_id: String,
    pub(crate) install_id: String,
    /// Its compose file.
    pub(crate) compose: String,
    /// Its folder.
    pub(crate) folder: String,
}

pub(super) fn look(apps: &Folder, found: &mut Found) {
    for app_id in names(apps, MOST, found) {
        if !is_id(&app_id) {
            continue;
        }
        let Some(app) = inside(apps, &app_id, found) else { continue };
        for install_id in names(&app, MOST, found) {
            if !is_id(&install_id) {
                continue;
            }
            let Some(folder) = inside(&app, &install_id, found) else { continue };
            match read(&folder) {
                Ok(Some(compose)) => found.apps.push(FoundApp {
                    app_id: app_id.clone(),
                    install_id,
                    compose,
                    folder: folder.path().to_owned(),
                }),
                Ok(None) => {}
                Err(problem) => found.problems.push(format!("{}: {problem}", folder.path())),
            }
        }
    }
}

fn read(folder: &Folder) -> Result<Option<String>, String> {
    // One that we wrote, or took over before, is no foreign one.
    if folder.has(OURS) && folder.has("compose.yaml") {
        return Ok(None);
    }
    for name in COMPOSE {
        let bytes = folder.read(name, MAX_BYTES).map_err(|error| format!("{name}: {error}"))?;
        if let Some(bytes) = bytes {
            return String::from_utf8(bytes).map(Some).map_err(|_| format!("{name}: it is not text"));
        }
    }
    Ok(None)
}

/// Tells whether a name is the id of an app or an install; everything else is data of somebody.
fn is_id(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= 63 && name.starts_with(plain) && name.chars().all(|c| plain(c) || c == '-')
}
