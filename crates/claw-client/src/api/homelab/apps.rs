//! Apps: browsing, installing, and what becomes of them.

use std::{collections::BTreeMap, time::Duration};

use claw_core::{ErrorCode, Secret};
use serde::{Deserialize, Deserializer, Serialize};

use super::part;
use crate::{Answer, Client, ClientError, client::Call};

/// Longest change that answers only when it is done: an update gets images.
const LONG_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// An app of the catalog.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct App {
    /// Identifies it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub description: String,
    /// Port of the host on which it is found.
    pub port: u16,
    /// The group in which lists show it.
    pub category: String,
    /// Its version.
    pub version: String,
    /// Its home page.
    pub website: String,
    /// `built-in`, or `remote` for apps of another catalog.
    pub source: String,
}

/// An app with everything that is known about it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct AppDetails {
    /// Identifies it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub description: String,
    /// Port of the host on which it is found.
    pub port: u16,
    /// The group in which lists show it.
    pub category: String,
    /// The same and more, as lists show it.
    pub meta: App,
    /// What can be said at installation.
    pub template: AppTemplate,
    /// Its compose file.
    #[serde(rename = "raw_markdown")]
    pub compose: String,
    /// What people should know.
    pub notes: Vec<String>,
    /// What it may have beyond the policy, and why.
    pub grants: serde_json::Value,
}

/// What can be said at installation.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct AppTemplate {
    /// Image of its main service.
    pub image: String,
    /// Ports of the host.
    pub ports: Vec<u16>,
    /// Its variables.
    pub environment: Vec<AppVariable>,
    /// Where it keeps data.
    pub volumes: Vec<AppVolume>,
}

/// Something that may or must be said at installation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AppVariable {
    /// Its name.
    pub name: String,
    /// What it is.
    pub description: String,
    /// Whether it must be said.
    pub required: bool,
    /// Its value if it is not said.
    pub default: Option<String>,
    /// `password` if one is made up when it is not said.
    pub generate: Option<String>,
    /// Whether its value is kept apart and not shown.
    pub secret: bool,
}

/// A place where an app keeps data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AppVolume {
    /// Its name.
    pub name: String,
    /// Where it is in the container.
    pub description: String,
}

/// An app to install. What is empty is not sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct InstallApp {
    /// The app's id.
    pub app_id: String,
    /// A name for the install.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_name: Option<String>,
    /// Name of the main container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_name: Option<String>,
    /// Values of variables.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Ports of the containers by ports of the host. They replace the app's own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<u16, u16>,
}

/// An app that was installed just now; it is not started.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NewApp {
    /// The app's id.
    pub app_id: String,
    /// Its name.
    pub app_name: String,
    /// Identifies the install.
    pub install_id: String,
    /// Name of its main container.
    pub container_name: String,
    /// Its folder on the host.
    pub install_dir: String,
    /// Its compose file on the host.
    pub compose_path: String,
    /// `created`.
    pub status: String,
    /// Where its ports are.
    pub ports: Vec<AppPort>,
    /// Passwords that were made up, by name. This is the only time they are told.
    #[serde(deserialize_with = "secrets")]
    pub generated: BTreeMap<String, Secret>,
    /// What people should know.
    pub notes: Vec<String>,
}

fn secrets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Secret>, D::Error> {
    let texts = BTreeMap::<String, String>::deserialize(deserializer)?;
    Ok(texts.into_iter().map(|(name, text)| (name, Secret::new(text))).collect())
}

/// A port of an install.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AppPort {
    /// Its service.
    pub service: String,
    /// Port of the container.
    pub container: u16,
    /// Port of the host; 0 if the Engine picks one.
    pub host: u16,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The port that the app has by default, if that was taken.
    pub instead_of: Option<u16>,
}

/// An install.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct InstalledApp {
    /// The app's id.
    pub app_id: String,
    /// Its name.
    pub app_name: String,
    /// Name of its main container.
    pub container_name: String,
    /// `created`, `running`, `partial`, `stopped`, `incomplete`, `removing` or `unknown`.
    pub status: String,
    /// Identifies the install.
    pub install_id: String,
    /// Its version.
    pub version: String,
    /// A newer version that the catalog has.
    pub update: Option<String>,
    /// What is being done with it right now.
    pub doing: Option<String>,
    /// Its folder on the host.
    pub install_dir: String,
    /// Its compose file on the host.
    pub compose_path: String,
    /// When it was installed.
    pub created_at: String,
    /// When it was changed last.
    pub updated_at: String,
    /// Where its ports are.
    pub ports: Vec<AppPort>,
    /// Its services.
    pub services: Vec<AppService>,
    /// Why what was tried last did not work.
    pub failure: Option<String>,
}

/// A service of an install.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AppService {
    /// Its name.
    pub name: String,
    /// Name of its container.
    pub container_name: String,
    /// Full id of its container, if there is one.
    pub container_id: Option<String>,
    /// The Engine's word for how it is; `absent` if there is no container.
    pub state: String,
    /// `starting`, `healthy` or `unhealthy`, if it has a health check.
    pub health: Option<String>,
    /// Its image.
    pub image: String,
}

/// Which install is meant. One of the members is enough; with the app's id alone it is the newest install of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WhichApp {
    /// Its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub install_id: Option<String>,
    /// Name of its main container, or its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_name: Option<String>,
    /// Its app.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_id: Option<String>,
    /// Its compose file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compose_path: Option<String>,
}

impl WhichApp {
    /// Means the install of this id or main container.
    pub fn named(name: impl Into<String>) -> Self {
        Self { container_name: Some(name.into()), ..Self::default() }
    }
}

/// What was done with an install.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct AppProgress {
    /// Name of its main container.
    pub container_name: String,
    /// Its compose file on the host.
    pub compose_path: String,
    /// What was done, such as `started`, or goes on, such as `starting`.
    pub status: String,
    /// The end of what Compose said. Untrusted.
    pub output: String,
    /// The install as it is.
    pub app: InstalledApp,
}

/// What an update did.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct AppUpdate {
    /// Name of its main container.
    pub container_name: String,
    /// `updated`, or `current` if there was nothing newer.
    pub status: String,
    /// The version before.
    pub from: String,
    /// The version now.
    pub to: String,
    /// Passwords that were made up for what is new, by name. This is the only time they are told.
    #[serde(deserialize_with = "secrets")]
    pub generated: BTreeMap<String, Secret>,
    /// The end of what Compose said. Untrusted.
    pub output: String,
    /// The install as it is.
    pub app: InstalledApp,
}

/// An install that is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct UninstalledApp {
    /// Its id.
    pub install_id: String,
    /// Its app.
    pub app_id: String,
    /// `uninstalled`.
    pub status: String,
    /// The folder on the host that has its data, if that was kept.
    pub data_kept_in: Option<String>,
    /// What is left to do by hand, if its data was to go and could not.
    pub note: Option<String>,
    /// Its volumes, if they were kept.
    pub volumes_kept: Vec<String>,
}

#[derive(Serialize)]
struct Changed<'a, T: Serialize> {
    #[serde(flatten)]
    which: &'a WhichApp,
    #[serde(flatten)]
    change: T,
}

impl Client {
    /// Lists the apps of the catalog, the most popular first. Needs `marketplace:read`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn apps(&self) -> Result<Answer<Vec<App>>, ClientError> {
        self.get(["api", "marketplace"]).data().await
    }

    /// Describes an app of the catalog. Needs `marketplace:read`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]; [`ErrorCode::AppNotFound`].
    pub async fn app(&self, id: &str) -> Result<Answer<AppDetails>, ClientError> {
        // Routes of the same form that are no apps.
        if matches!(id, "installed" | "create" | "start" | "stop" | "restart" | "update" | "uninstall") {
            let message = format!("the catalog has no app {id:?}; browse it for what there is");
            return Err(ClientError::new(ErrorCode::AppNotFound, message));
        }
        let call = self.get(["api", "marketplace", part("an app", id)?]);
        call.missing(ErrorCode::AppNotFound).data().await
    }

    /// Lists the installed apps, the oldest first. Needs `marketplace:read`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn installed_apps(&self) -> Result<Answer<Vec<InstalledApp>>, ClientError> {
        self.get(["api", "marketplace", "installed"]).data().await
    }

    /// Returns an install, by its id or the name of its main container. Needs `marketplace:read`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]; [`ErrorCode::ComposeNotFound`].
    pub async fn installed_app(&self, name: &str) -> Result<Answer<InstalledApp>, ClientError> {
        let call = self.get(["api", "marketplace", part("an installed app", name)?, "status"]);
        call.missing(ErrorCode::ComposeNotFound).data().await
    }

    /// Returns the newest lines that a service of an install wrote: of the main one unless `service` says otherwise,
    /// 100 unless `tail` does. They are untrusted. Needs `marketplace:read`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]; [`ErrorCode::ComposeNotFound`].
    pub async fn app_logs(
        &self,
        name: &str,
        service: Option<&str>,
        tail: Option<u32>,
    ) -> Result<Answer<String>, ClientError> {
        #[derive(Serialize)]
        struct Query<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            service: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            tail: Option<u32>,
        }
        let call = self.get(["api", "marketplace", part("an installed app", name)?, "logs"]);
        call.missing(ErrorCode::ComposeNotFound).query(&Query { service, tail }).data().await
    }

    /// Installs an app: writes its files and starts nothing. Needs `marketplace:write`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]; [`ErrorCode::VariablesRequired`] names what must be said, [`ErrorCode::NameTaken`],
    /// [`ErrorCode::PolicyRefused`].
    pub async fn install_app(&self, app: &InstallApp) -> Result<Answer<NewApp>, ClientError> {
        self.post(["api", "marketplace", "create"]).body(app).data().await
    }

    /// Gets the images of an installed app, makes and starts its containers. After some 25 seconds the answer is
    /// `starting` and the server goes on: [`Client::installed_app`] tells how it stands. Needs `marketplace:write`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]; [`ErrorCode::ComposeNotFound`], [`ErrorCode::ComposeUpFailed`].
    pub async fn start_app(&self, which: &WhichApp) -> Result<Answer<AppProgress>, ClientError> {
        self.of_install("start").body(which).data().await
    }

    /// Stops the containers of an installed app. Needs `marketplace:write`.
    ///
    /// # Errors
    ///
    /// See [`Client::start_app`].
    pub async fn stop_app(&self, which: &WhichApp) -> Result<Answer<AppProgress>, ClientError> {
        self.of_install("stop").body(which).data().await
    }

    /// Restarts an installed app with what its files say now. Needs `marketplace:write`.
    ///
    /// # Errors
    ///
    /// See [`Client::start_app`].
    pub async fn restart_app(&self, which: &WhichApp) -> Result<Answer<AppProgress>, ClientError> {
        self.of_install("restart").body(which).data().await
    }

    /// Brings an installed app to the version that the catalog has. `environment` has values of variables that change, or
    /// that the newer version needs; a compose file that somebody edited is only replaced if `replace_edited` says so.
    /// Needs `marketplace:write`.
    ///
    /// # Errors
    ///
    /// See [`Client::start_app`]; [`ErrorCode::Conflict`] when the compose file was edited.
    pub async fn update_app(
        &self,
        which: &WhichApp,
        environment: &BTreeMap<String, String>,
        replace_edited: bool,
    ) -> Result<Answer<AppUpdate>, ClientError> {
        #[derive(Serialize)]
        struct Change<'a> {
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            environment: &'a BTreeMap<String, String>,
            replace_edited: bool,
        }
        let change = Change { environment, replace_edited };
        self.of_install("update").body(&Changed { which, change }).data().await
    }

    /// Removes an installed app. Its data stays unless `delete_data` says otherwise. Needs `marketplace:write`.
    ///
    /// # Errors
    ///
    /// See [`Client::start_app`].
    pub async fn uninstall_app(
        &self,
        which: &WhichApp,
        delete_data: bool,
    ) -> Result<Answer<UninstalledApp>, ClientError> {
        #[derive(Serialize)]
        struct Change {
            delete_data: bool,
        }
        let change = Change { delete_data };
        self.of_install("uninstall").body(&Changed { which, change }).data().await
    }

    fn of_install(&self, what: &'static str) -> Call<'_> {
        self.post(["api", "marketplace", what]).missing(ErrorCode::ComposeNotFound).within(LONG_TIMEOUT)
    }
}
