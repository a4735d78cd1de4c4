//! An app of the catalog.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use claw_docker::policy::{Grants, MountWish, MountWishSource};
use serde::{Deserialize, Serialize};

use super::blueprint;
use crate::compose;

/// An app that can be installed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App {
    /// What is told about it.
    pub about: Arc<About>,
    /// Its compose file, as the catalog has it.
    pub compose: Arc<str>,
    /// Its mark, an SVG.
    pub logo: Option<Arc<[u8]>>,
    /// The reviewed exceptions from the policy; none for apps of other people's catalogs.
    pub grants: Arc<Grants>,
    /// Where it comes from.
    pub source: AppSource,
}

/// Which catalog an app comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AppSource {
    /// Ours, part of the program.
    #[serde(rename = "built-in")]
    BuiltIn,
    /// One that the administrator added by its address.
    Remote,
    /// None: it is a template that somebody saved.
    Template,
}

/// What is told about an app.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// Identifies it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The group in which lists show it.
    pub category: String,
    /// What it is, in a sentence.
    pub description: String,
    /// Port of the host on which people find it, unless that is taken.
    pub port: u16,
    /// Version of the software; grows with each change of the images.
    #[serde(default)]
    pub version: String,
    /// Its home page.
    #[serde(default)]
    pub website: String,
    /// Whether the entry was looked through.
    #[serde(default)]
    pub verified: bool,
    /// By which lists are ordered, the greatest first.
    #[serde(default)]
    pub popularity: f64,
    /// Address of its mark, in other people's catalogs.
    #[serde(default)]
    pub logo: String,
    /// What may or must be said at installation.
    #[serde(default)]
    pub variables: Vec<Variable>,
    /// What people should know.
    #[serde(default)]
    pub notes: Vec<Note>,
    /// Why a service has no health check, by service.
    #[serde(default)]
    pub no_healthcheck: BTreeMap<String, String>,
}

/// Something that may or must be said at installation.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// Its name, as the compose file refers to it.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// Its value unless another is given.
    #[serde(default)]
    pub default: Option<String>,
    /// Whether it must be given.
    #[serde(default)]
    pub required: bool,
    /// What is made up when it is not given.
    #[serde(default)]
    pub generate: Option<Generate>,
    /// Whether its value is not to be shown.
    #[serde(default)]
    pub secret: bool,
}

impl Variable {
    /// Tells whether its value is kept apart from the compose file.
    pub fn is_secret(&self) -> bool {
        self.secret || self.generate.is_some()
    }
}

/// What can be made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Generate {
    /// A password of letters and digits.
    Password,
}

/// Something that people should know.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// The text.
    pub text: String,
}

impl App {
    /// Reads an entry of our catalog.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with `app.toml`.
    pub fn read(toml: &str, compose: &str, logo: Option<&[u8]>) -> Result<Self, String> {
        let wrong = |error: toml::de::Error| error.to_string();
        let mut about: toml::Table = toml::from_str(toml).map_err(wrong)?;
        let grants = about.remove("grants").map(toml::Value::try_into).transpose().map_err(wrong)?;
        let about: About = about.try_into().map_err(wrong)?;
        Ok(Self {
            about: Arc::new(about),
            compose: compose.into(),
            logo: logo.map(Into::into),
            grants: Arc::new(grants.unwrap_or_default()),
            source: AppSource::BuiltIn,
        })
    }
}

/// What stands in an app's compose file, for lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppSummary {
    /// Image of its main service.
    pub image: String,
    /// Ports of the host.
    pub ports: Vec<u16>,
    /// Where it keeps data: names and places in the containers.
    pub volumes: Vec<(String, String)>,
}

impl App {
    /// Returns what stands in its compose file; nothing where that cannot be read.
    pub fn summary(&self) -> AppSummary {
        let variables = self.about.variables.iter();
        // Stands for what nobody has said yet.
        let values =
            variables.map(|variable| (variable.name.clone(), variable.default.clone().unwrap_or_default()));
        let Ok(project) = compose::parse(&self.compose, &values.collect()) else {
            return AppSummary::default();
        };
        let main = blueprint::main_service(&project, &self.about.id, self.about.port);
        let wishes = || project.services.values().map(|service| &service.wish);
        let ports: BTreeSet<u16> = wishes()
            .flat_map(|wish| &wish.ports)
            .filter_map(|port| port.host)
            .filter(|port| *port > 0)
            .collect();
        let volume = |mount: &MountWish| match &mount.source {
            MountWishSource::Bind(source) => {
                Some((source.trim_start_matches("./").to_owned(), mount.target.clone()))
            }
            MountWishSource::Volume { name, .. } => Some((name.clone(), mount.target.clone())),
            MountWishSource::Anonymous | MountWishSource::Tmpfs { .. } => None,
        };
        AppSummary {
            image: project.services.get(&main).map(|service| service.wish.image.clone()).unwrap_or_default(),
            ports: ports.into_iter().collect(),
            volumes: wishes().flat_map(|wish| &wish.mounts).filter_map(volume).collect(),
        }
    }
}
