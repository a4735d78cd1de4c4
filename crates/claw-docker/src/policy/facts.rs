//! What is true on the host about what a wish names.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    ContainerWish, MountWishSource, Own,
    path::{is_beneath, is_strictly_beneath, normal},
};

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
    /// Says that the containers of these wishes are made together: each sees what the others mount.
    pub fn expect_mounts_of<'a>(&mut self, wishes: impl IntoIterator<Item = &'a ContainerWish>) {
        for wish in wishes {
            for mount in &wish.mounts {
                let MountWishSource::Bind(source) = &mount.source else { continue };
                let Some(path) = normal(source) else { continue };
                let source = self.paths.get(path.as_ref()).map_or(path.as_ref(), |fact| fact.real.as_str());
                self.mounted.push(Mounted {
                    container: wish.name.clone(),
                    source: source.to_owned(),
                    read_only: mount.read_only,
                });
            }
        }
    }

    /// Returns a container's mount in which a folder of an app lies, or would lie: what is put there, the container
    /// sees. Mounts of whole parts of the host, which only an administrator can make, and those of ours do not count.
    ///
    /// Needs [`Facts::gather_all`].
    pub fn open_to(&self, folder: &str) -> Option<&Mounted> {
        let real = |path: &str| self.paths.get(path).map_or(path.to_owned(), |fact| fact.real.clone());
        let apps = real(self.own.apps_folder.as_deref()?);
        // It need not be there yet, but where it will be is.
        let folder = match folder.strip_prefix(self.own.apps_folder.as_deref()?) {
            Some(rest) => format!("{apps}{rest}"),
            None => folder.to_owned(),
        };
        self.mounted.iter().find(|mounted| {
            let is_ours = mounted.container.as_ref().is_some_and(|name| self.protected.contains(name));
            !is_ours && is_strictly_beneath(&mounted.source, &apps) && is_beneath(&folder, &mounted.source)
        })
    }

    /// Says that a network of this name, of the driver `bridge`, is made before the containers are. One that exists
    /// stays what it is.
    pub fn expect_network(&mut self, name: &str) {
        let made = || NetworkFact { driver: "bridge".to_owned(), ..Default::default() };
        self.networks.entry(name.to_owned()).or_default().get_or_insert_with(made);
    }
}
