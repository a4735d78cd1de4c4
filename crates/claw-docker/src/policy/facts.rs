//! What is true on the host about what a wish names.

use std::collections::{BTreeMap, BTreeSet};

use super::Own;

/// What is true on this host about what some wishes name, at the moment of [`Facts::gather`].
///
/// What was not looked at is not in here, and the judge refuses whatever depends on it.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// What is ours.
    pub own: Own,
    /// Names of containers that exist and are ours.
    pub protected: BTreeSet<String>,
    /// Paths of the host, by the spelling that was looked at.
    pub paths: BTreeMap<String, PathFact>,
    /// Volumes by name. `None`: there is none of that name.
    pub volumes: BTreeMap<String, Option<VolumeFact>>,
    /// Networks by name. `None`: there is none of that name.
    pub networks: BTreeMap<String, Option<NetworkFact>>,
    /// What containers have mounted from the host.
    pub mounted: Vec<Mounted>,
    /// Folder in which the Engine keeps everything.
    pub engine_folder: Option<String>,
    /// The Engine's socket.
    pub engine_socket: Option<String>,
}

/// One path of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathFact {
    /// The path without any symbolic link, as the Engine's host sees it.
    pub real: String,
    /// What is there.
    pub kind: PathKind,
}

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathKind {
    /// Nothing; the folder above it may be there.
    Missing,
    /// A folder.
    Folder,
    /// A plain file.
    File,
    /// The compose file or the passwords of an installed app, a folder with them, or one with such folders.
    AppFiles,
    /// A socket.
    Socket,
    /// A device.
    Device,
    /// A pipe, a link that leads nowhere, or something else.
    Other,
}

/// A volume that exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeFact {
    /// Its driver.
    pub driver: String,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A network that exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkFact {
    /// Its driver.
    pub driver: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A file or folder of the host that some container has mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// Name of the container.
    pub container: Option<String>,
    /// The path on the host.
    pub source: String,
    /// Whether the container cannot write there.
    pub read_only: bool,
}

impl Facts {
    /// Says that a network of this name, of the driver `bridge`, is made before the containers are. One that exists
    /// stays what it is.
    pub fn expect_network(&mut self, name: &str) {
        let made = || NetworkFact { driver: "bridge".to_owned(), ..Default::default() };
        self.networks.entry(name.to_owned()).or_default().get_or_insert_with(made);
    }
}
