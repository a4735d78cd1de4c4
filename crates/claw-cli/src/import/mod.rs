//! What another server left in its data folder, read without trusting any of it.
//!
//! The folder is read by descriptor, one name at a time: no symbolic link inside of it is followed, whatever changes
//! meanwhile. Files and their number are bounded. What cannot be used is named and left.

mod apps;
mod folder;
mod keys;
mod templates;

use std::path::Path;

use claw_gate::ForeignKey;

use self::folder::Folder;
pub(crate) use self::{apps::FoundApp, templates::FoundTemplate};
use crate::error::CliError;

/// Everything that can be taken over, and what cannot.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) keys: Vec<ForeignKey>,
    pub(crate) templates: Vec<FoundTemplate>,
    pub(crate) apps: Vec<FoundApp>,
    /// What is not taken over, and why.
    pub(crate) problems: Vec<String>,
    /// What people should know besides.
    pub(crate) notes: Vec<String>,
}

/// Looks through the data folder of a WAGMIOS server; its apps may be in a folder of their own.
pub(crate) fn look(data_dir: &Path, apps_dir: Option<&Path>) -> Result<Found, CliError> {
    let folder = open(data_dir)?;
    let mut found = Found::default();
    keys::look(&folder, &mut found);
    templates::look(&folder, &mut found);
    match apps_dir {
        Some(apps_dir) => apps::look(&open(apps_dir)?, &mut found),
        None => {
            if let Some(apps) = inside(&folder, "containers", &mut found) {
                apps::look(&apps, &mut found);
            }
        }
    }
    Ok(found)
}

fn open(path: &Path) -> Result<Folder, CliError> {
    Folder::open(path).map_err(|error| {
        CliError::usage(format!("cannot read the folder {}: {error}", path.display()))
            .with_hint("the data of a WAGMIOS server is its volume `wagmios_data`; `docker volume inspect` tells where it is")
    })
}

/// Opens a folder that need not be there. What stands in its place is a problem.
fn inside(folder: &Folder, name: &str, found: &mut Found) -> Option<Folder> {
    match folder.inside(name) {
        Ok(inside) => inside,
        Err(error) => {
            found.problems.push(format!("{}: {error}", folder.shown(name)));
            None
        }
    }
}

/// Lists a folder; a problem if that does not work or there is too much in it.
fn names(folder: &Folder, most: usize, found: &mut Found) -> Vec<String> {
    match folder.names(most) {
        Ok(names) => {
            if names.more {
                found
                    .problems
                    .push(format!("{}: only the first {most} entries are looked at", folder.path()));
            }
            names.names
        }
        Err(error) => {
            found.problems.push(format!("{}: {error}", folder.path()));
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests;
