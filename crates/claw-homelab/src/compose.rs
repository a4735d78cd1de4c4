//! Compose files, into a closed model and back.
//!
//! A file is read by rules of our own, which are narrower than Compose's: what could read another file, run something,
//! or mean two things is refused with its place (see [`parse`]). What the model holds is judged like any other wish,
//! and what Compose gets to see is written by [`render`] from what was approved, never the file that somebody sent.
//!
//! ```
//! let text = "services:\n  web:\n    image: nginx:1.27\n    ports: [\"${PORT:-8080}:80\"]\n";
//! let project = claw_homelab::compose::parse(text, &Default::default()).expect("a compose file");
//! assert_eq!(project.services["web"].wish.ports[0].host, Some(8080));
//! ```

mod cursor;
mod error;
mod interpolate;
mod mounts;
mod ports;
mod render;
mod service;
mod values;
mod yaml;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path, PathBuf},
};

use claw_docker::policy::{ContainerWish, MountWishSource};

pub use error::ComposeError;
pub(crate) use error::{is_deceptive, quoted};
pub(crate) use interpolate::is_variable_name;
pub use render::{Labels, Reader, render};
pub(crate) use yaml::{Node, Value};

use cursor::Cursor;

/// Most services of one file.
const MAX_SERVICES: usize = 32;

/// Name of the network that services join when they name none.
const DEFAULT_NETWORK: &str = "default";

/// What a compose file asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Project {
    /// Its containers, by the names by which they reach each other.
    pub services: BTreeMap<String, Service>,
    /// Its volumes, by the names that the services use.
    pub volumes: BTreeMap<String, VolumeSpec>,
    /// Its networks, by the names that the services use.
    pub networks: BTreeMap<String, NetworkSpec>,
}

/// One container of a project.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Service {
    /// What it is.
    pub wish: ContainerWish,
    /// The services that come before it.
    pub depends_on: BTreeMap<String, Condition>,
}

/// What must hold of a service before another one starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It was started.
    Started,
    /// Its health check passes.
    Healthy,
    /// It ended without failure.
    Completed,
}

/// A volume of a project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeSpec {
    /// Its name in the Engine; made of the project's name if absent.
    pub name: Option<String>,
    /// Its driver.
    pub driver: Option<String>,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Whether it belongs to somebody else and must exist.
    pub external: bool,
}

/// A network of a project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkSpec {
    /// Its name in the Engine; made of the project's name if absent.
    pub name: Option<String>,
    /// Whether nothing outside can be reached from it.
    pub internal: bool,
    /// Whether it belongs to somebody else and must exist.
    pub external: bool,
}

/// Reads a compose file. `variables` are all that `${NAME}` can name.
///
/// Taken are `services`, `volumes` and `networks`, with what [`ContainerWish`] has a field for, in their short and long
/// forms. `version`, `name` and `expose` are read and mean nothing. Everything else is refused.
///
/// # Errors
///
/// Returns the first thing that is wrong, with its line and path.
pub fn parse(text: &str, variables: &BTreeMap<String, String>) -> Result<Project, ComposeError> {
    let root = yaml::load(text, &mut |text, line| interpolate::interpolate(text, line, variables))?;
    let at = Cursor::root(&root);
    let mut fields = at.fields()?;
    fields.read("version", |at| at.text().map(drop))?;
    fields.read("name", |at| at.text().map(drop))?;
    let services = fields.take("services").ok_or_else(|| at.error("`services` is missing"))?;
    let volumes = fields.read("volumes", volumes)?.unwrap_or_default();
    let networks = fields.read("networks", networks)?.unwrap_or_default();
    fields.finish(|name| match name {
        "include" => Some("a file stands for itself; write the services out"),
        "secrets" | "configs" => Some("no further files are read; mount a file below `./`, or use variables"),
        _ if name.starts_with("x-") => Some("extensions mean nothing here"),
        _ => None,
    })?;
    let members = services.members()?;
    if members.is_empty() || members.len() > MAX_SERVICES {
        return Err(services.error(format!("a file has 1 to {MAX_SERVICES} services")));
    }
    let known: BTreeSet<&str> = members.iter().map(|(name, _)| *name).collect();
    let mut project = Project { services: BTreeMap::new(), volumes, networks };
    for (name, value) in members {
        if !mounts::is_name(name) {
            return Err(value.error("a service's name has letters, digits, `_`, `.` and `-`"));
        }
        let service = service::service(&value, &known)?;
        project.check(&service).map_err(|message| value.error(message))?;
        project.services.insert(name.to_owned(), service);
    }
    match project.circle() {
        Some(name) => Err(services.error(format!("`{name}` waits for itself through `depends_on`"))),
        None => Ok(project),
    }
}

/// Reads YAML in which nothing is put in and nothing is looked for.
pub(crate) fn load_plain(text: &str) -> Result<Node, ComposeError> {
    yaml::load(text, &mut |text, _| Ok(text.to_owned()))
}

/// Returns the volumes of a file that [`render`] wrote of a placed project.
pub(crate) fn placed_volumes(text: &str) -> Result<BTreeMap<String, VolumeSpec>, ComposeError> {
    let root = load_plain(text)?;
    let listed = Cursor::root(&root).fields()?.take("volumes");
    let Some(listed) = listed else { return Ok(BTreeMap::new()) };
    let external = |at: &Cursor<'_>| Ok(at.fields()?.boolean("external").unwrap_or(false));
    let spec = |(name, value): (&str, Cursor<'_>)| {
        let spec = VolumeSpec { external: external(&value)?, ..VolumeSpec::default() };
        Ok((name.to_owned(), spec))
    };
    listed.members()?.into_iter().map(spec).collect()
}

fn volumes(at: &Cursor<'_>) -> Result<BTreeMap<String, VolumeSpec>, ComposeError> {
    let mut volumes = BTreeMap::new();
    for (name, value) in at.members()? {
        check_name(&value, name)?;
        let mut spec = VolumeSpec::default();
        if !value.is_null() {
            let mut fields = value.fields()?;
            spec = VolumeSpec {
                name: fields.text("name")?,
                driver: fields.text("driver")?,
                options: fields
                    .read("driver_opts", |at| at.pairs(|at, _| Err(at.error("a value is missing"))))?
                    .unwrap_or_default()
                    .into_iter()
                    .collect(),
                external: fields.boolean("external")?,
            };
            fields.finish(|_| None)?;
        }
        named(&value, spec.name.as_deref(), spec.external)?;
        volumes.insert(name.to_owned(), spec);
    }
    Ok(volumes)
}

fn networks(at: &Cursor<'_>) -> Result<BTreeMap<String, NetworkSpec>, ComposeError> {
    let mut networks = BTreeMap::new();
    for (name, value) in at.members()? {
        check_name(&value, name)?;
        let mut spec = NetworkSpec::default();
        if !value.is_null() {
            let mut fields = value.fields()?;
            spec = NetworkSpec {
                name: fields.text("name")?,
                internal: fields.boolean("internal")?,
                external: fields.boolean("external")?,
            };
            fields.read("driver", |at| match at.words()? {
                "bridge" => Ok(()),
                _ => Err(at.error("the driver of a network is bridge")),
            })?;
            fields.finish(|_| None)?;
        }
        named(&value, spec.name.as_deref(), spec.external)?;
        networks.insert(name.to_owned(), spec);
    }
    Ok(networks)
}

fn check_name(at: &Cursor<'_>, name: &str) -> Result<(), ComposeError> {
    if mounts::is_name(name) {
        return Ok(());
    }
    Err(at.error("a name has letters, digits, `_`, `.` and `-`, and begins with a letter or digit"))
}

/// Checks the name that something has in the Engine. What the project makes for itself is named by us, so that it never
/// takes over, and later removes, what is somebody else's.
fn named(at: &Cursor<'_>, name: Option<&str>, external: bool) -> Result<(), ComposeError> {
    match name {
        Some(_) if !external => {
            Err(at.error("`name` goes with `external: true`: what the app makes for itself is named by us"))
        }
        Some(name) => check_name(at, name),
        None => Ok(()),
    }
}

impl Project {
    /// Looks whether what a service names is there.
    fn check(&self, service: &Service) -> Result<(), String> {
        for mount in &service.wish.mounts {
            if let MountWishSource::Volume { name, .. } = &mount.source
                && !self.volumes.contains_key(name)
            {
                return Err(format!("the volume `{name}` is not listed under `volumes` of the file"));
            }
        }
        for name in &service.wish.networks {
            if name != DEFAULT_NETWORK && !self.networks.contains_key(name) {
                return Err(format!(
                    "the network `{}` is not listed under `networks` of the file",
                    quoted(name)
                ));
            }
        }
        if service.wish.network_mode.is_some() && !service.wish.networks.is_empty() {
            return Err("`network_mode` and `networks` cannot stand together".to_owned());
        }
        Ok(())
    }

    /// Finds a service that waits for itself.
    fn circle(&self) -> Option<&str> {
        let mut left: BTreeSet<&str> = self.services.keys().map(String::as_str).collect();
        loop {
            let waits =
                |name: &&str| self.services[*name].depends_on.keys().any(|on| left.contains(on.as_str()));
            let ready: Vec<&str> = left.iter().copied().filter(|name| !waits(name)).collect();
            if ready.is_empty() {
                return left.first().copied();
            }
            for name in ready {
                left.remove(name);
            }
            if left.is_empty() {
                return None;
            }
        }
    }

    /// Returns the project as it is on the Engine's host: volumes and networks by their real names, and paths that
    /// begin with `./` below `folder`.
    ///
    /// # Errors
    ///
    /// Returns a path that does not stay below the folder, or that is the folder itself, where our own files are.
    pub fn placed(&self, project: &str, folder: &Path) -> Result<Self, ComposeError> {
        let real = |given: &Option<String>, external: bool, key: &str| match given {
            Some(name) => name.clone(),
            None if external => key.to_owned(),
            None => format!("{project}_{key}"),
        };
        let mut placed = Self::default();
        for (key, spec) in &self.volumes {
            let name = real(&spec.name, spec.external, key);
            placed.volumes.insert(name.clone(), VolumeSpec { name: Some(name), ..spec.clone() });
        }
        let default = self.networks.get(DEFAULT_NETWORK).cloned().unwrap_or_default();
        let network = |key: &str| {
            let spec = self.networks.get(key).unwrap_or(&default);
            (real(&spec.name, spec.external, key), spec)
        };
        for (name, service) in &self.services {
            let mut service = service.clone();
            if service.wish.networks.is_empty() && service.wish.network_mode.is_none() {
                service.wish.networks.push(DEFAULT_NETWORK.to_owned());
            }
            for joined in &mut service.wish.networks {
                let (name, spec) = network(joined);
                let spec = NetworkSpec { name: Some(name.clone()), ..spec.clone() };
                placed.networks.insert(name.clone(), spec);
                *joined = name;
            }
            for (index, mount) in service.wish.mounts.iter_mut().enumerate() {
                match &mut mount.source {
                    MountWishSource::Bind(source) => {
                        let path = below(source, folder).ok_or_else(|| {
                            let path = format!("services.{name}.volumes[{index}]");
                            let message = format!(
                                "`{}` is not a file or folder below the app's own: write `./name`",
                                quoted(source)
                            );
                            ComposeError::new(path, 0, message)
                        })?;
                        *source = path;
                    }
                    MountWishSource::Volume { name, driver, options } => {
                        if let Some(spec) = self.volumes.get(name) {
                            *driver = spec.driver.clone();
                            *options = spec.options.clone();
                            *name = real(&spec.name, spec.external, name);
                        }
                    }
                    MountWishSource::Anonymous | MountWishSource::Tmpfs { .. } => {}
                }
            }
            placed.services.insert(name.clone(), service);
        }
        Ok(placed)
    }

    /// Returns the folders below the app's own that are mounted, as `config` for `./config`.
    pub fn own_folders(&self) -> BTreeSet<PathBuf> {
        let mounts = self.services.values().flat_map(|service| &service.wish.mounts);
        let inner = |source: &str| match inside(source) {
            Some(path) if !path.as_os_str().is_empty() => Some(path),
            _ => None,
        };
        mounts
            .filter_map(|mount| match &mount.source {
                MountWishSource::Bind(source) if !source.starts_with('/') => inner(source),
                _ => None,
            })
            .collect()
    }
}

/// A bind's source on the host. `None` if it is relative and does not lead below `folder`.
fn below(source: &str, folder: &Path) -> Option<String> {
    if source.starts_with('/') {
        return Some(source.to_owned());
    }
    let path = inside(source)?;
    let first = path.components().next()?.as_os_str().to_str()?.to_owned();
    // Our own files begin with a dot, but for these.
    if first.starts_with('.') || first == "compose.yaml" || first.starts_with("compose.yaml.") {
        return None;
    }
    folder.join(path).to_str().map(str::to_owned)
}

/// A relative path without dots; `None` if it leads out.
fn inside(source: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for component in Path::new(source).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(path)
}
