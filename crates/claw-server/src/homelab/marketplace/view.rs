//! Apps as clients see them: the flat members that some read beside the nested ones that others do.

use std::collections::BTreeMap;

use claw_core::{Secret, Timestamp};
use claw_homelab::marketplace::{
    App, AppSource, Created, Installed, Progress, Published, ServiceState, Uninstalled, Update,
};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

/// An app of the catalog.
#[derive(Clone, Serialize, ToSchema)]
pub(super) struct AppView {
    /// Identifies it.
    #[schema(example = "jellyfin")]
    id: String,
    /// Its name.
    name: String,
    /// What it is.
    description: String,
    /// The group in which lists show it.
    category: String,
    /// Address of its mark.
    logo: String,
    /// Port of the host on which it is found.
    port: u16,
    /// The same.
    #[serde(rename = "defaultPort")]
    default_port: u16,
    /// Whether the entry was looked through.
    verified: bool,
    /// By which lists are ordered, the greatest first.
    popularity: f64,
    /// Its version.
    version: String,
    /// Its home page.
    website: String,
    /// `built-in`, or `remote` for apps of another catalog.
    #[schema(value_type = String)]
    source: AppSource,
}

impl AppView {
    pub(super) fn of(app: &App) -> Self {
        let about = &app.about;
        let logo = match app.logo {
            Some(_) => format!("/api/marketplace/{}/logo", about.id),
            None => about.logo.clone(),
        };
        Self {
            id: about.id.clone(),
            name: about.name.clone(),
            description: about.description.clone(),
            category: about.category.clone(),
            logo,
            port: about.port,
            default_port: about.port,
            verified: about.verified,
            popularity: about.popularity,
            version: about.version.clone(),
            website: about.website.clone(),
            source: app.source,
        }
    }
}

/// The catalog as the original answered it.
#[derive(Serialize, ToSchema)]
pub(super) struct ManifestView {
    version: &'static str,
    updated: &'static str,
    apps: Vec<AppView>,
}

impl ManifestView {
    pub(super) fn of(apps: Vec<AppView>) -> Self {
        Self { version: env!("CARGO_PKG_VERSION"), updated: "", apps }
    }
}

/// An app with everything that is known about it.
#[derive(Serialize, ToSchema)]
pub(super) struct DetailsView {
    /// Identifies it.
    id: String,
    /// Its name.
    name: String,
    /// What it is.
    description: String,
    /// The port of the host on which it is found.
    port: u16,
    /// The group in which lists show it.
    category: String,
    /// The same and more.
    meta: AppView,
    /// What can be said at installation.
    template: TemplateView,
    /// Its compose file.
    raw_markdown: String,
    /// What people should know.
    notes: Vec<String>,
    /// What it may have beyond the policy, and why.
    #[schema(value_type = Object)]
    grants: serde_json::Value,
}

/// What can be said at installation.
#[derive(Serialize, ToSchema)]
struct TemplateView {
    id: String,
    name: String,
    category: String,
    description: String,
    /// Image of its main service.
    image: String,
    /// Ports of the host.
    ports: Vec<u16>,
    environment: Vec<VariableView>,
    volumes: Vec<VolumeView>,
}

/// Something that may or must be said at installation.
#[derive(Serialize, ToSchema)]
struct VariableView {
    name: String,
    description: String,
    required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<String>,
    /// `password` if one is made up when it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    generate: Option<&'static str>,
    /// Whether its value is kept apart and not shown.
    secret: bool,
}

/// A place where the app keeps data.
#[derive(Serialize, ToSchema)]
struct VolumeView {
    name: String,
    /// Where it is in the container.
    description: String,
    required: bool,
}

impl DetailsView {
    pub(super) fn of(app: &App) -> Self {
        let about = &app.about;
        let meta = AppView::of(app);
        let summary = app.summary();
        let variable = |variable: &claw_homelab::marketplace::Variable| VariableView {
            name: variable.name.clone(),
            description: variable.description.clone(),
            required: variable.required,
            default: variable.default.clone(),
            generate: variable.generate.map(|_| "password"),
            secret: variable.is_secret(),
        };
        let volume =
            |(name, target): (String, String)| VolumeView { name, description: target, required: true };
        Self {
            id: meta.id.clone(),
            name: meta.name.clone(),
            description: meta.description.clone(),
            port: meta.port,
            category: meta.category.clone(),
            template: TemplateView {
                id: meta.id.clone(),
                name: meta.name.clone(),
                category: meta.category.clone(),
                description: meta.description.clone(),
                image: summary.image,
                ports: summary.ports,
                environment: about.variables.iter().map(variable).collect(),
                volumes: summary.volumes.into_iter().map(volume).collect(),
            },
            raw_markdown: app.compose.to_string(),
            notes: about.notes.iter().map(|note| note.text.clone()).collect(),
            grants: serde_json::to_value(&*app.grants).unwrap_or_default(),
            meta,
        }
    }
}

/// An app that was installed.
#[derive(Serialize, ToSchema)]
pub(super) struct CreatedView {
    app_id: String,
    app_name: String,
    /// Identifies the install.
    install_id: String,
    /// Name of its main container.
    container_name: String,
    /// Its folder on the host.
    install_dir: String,
    /// Its compose file on the host.
    compose_path: String,
    /// The compose file. Secrets are named in it, not shown.
    compose: String,
    /// Always `created`.
    status: &'static str,
    /// Where its ports are.
    ports: Vec<PortView>,
    /// Passwords that were made up, by name. This is the only time they are shown.
    #[schema(value_type = BTreeMap<String, String>)]
    generated: BTreeMap<String, Shown>,
    /// What people should know.
    notes: Vec<String>,
}

/// A secret that is shown once.
struct Shown(Secret);

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

impl From<Created> for CreatedView {
    fn from(created: Created) -> Self {
        Self {
            app_id: created.app_id,
            app_name: created.app_name,
            install_id: created.install_id,
            container_name: created.container_name,
            install_dir: created.install_dir,
            compose_path: created.compose_path,
            compose: created.compose,
            status: "created",
            ports: created.ports.into_iter().map(PortView::from).collect(),
            generated: created.generated.into_iter().map(|(name, value)| (name, Shown(value))).collect(),
            notes: created.notes,
        }
    }
}

/// A port of an install.
#[derive(Serialize, ToSchema)]
pub(super) struct PortView {
    service: String,
    /// Port of the container.
    container: u16,
    /// Port of the host; 0 if the Engine picks one.
    host: u16,
    /// `tcp` or `udp`.
    protocol: String,
    /// The port that the app has by default, if that was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    instead_of: Option<u16>,
}

impl From<Published> for PortView {
    fn from(port: Published) -> Self {
        let Published { service, container, host, protocol, instead_of } = port;
        Self { service, container, host, protocol, instead_of }
    }
}

/// An install.
#[derive(Serialize, ToSchema)]
pub(super) struct InstalledView {
    app_id: String,
    app_name: String,
    /// Name of its main container.
    container_name: String,
    /// `created`, `running`, `partial`, `stopped`, `incomplete`, `removing`, or `unknown` while the Engine does not answer.
    status: &'static str,
    /// Identifies it.
    install_id: String,
    /// Its version.
    version: String,
    /// A newer version that the catalog has.
    #[serde(skip_serializing_if = "Option::is_none")]
    update: Option<String>,
    /// What is being done with it right now, such as `started`.
    #[serde(skip_serializing_if = "Option::is_none")]
    doing: Option<&'static str>,
    /// Its folder on the host.
    install_dir: String,
    /// Its compose file on the host.
    compose_path: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    ports: Vec<PortView>,
    services: Vec<ServiceView>,
    /// Why what was tried last did not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    /// Its folder on the host, by the original's name.
    path: String,
    /// The install once more, in the original's form.
    versions: Vec<VersionView>,
}

/// An install in the original's form.
#[derive(Serialize, ToSchema)]
struct VersionView {
    id: String,
    path: String,
}

/// A service of an install.
#[derive(Serialize, ToSchema)]
struct ServiceView {
    name: String,
    container_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_id: Option<String>,
    /// The Engine's word for how it is; `absent` if there is no container.
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<String>,
    image: String,
}

impl From<ServiceState> for ServiceView {
    fn from(service: ServiceState) -> Self {
        let ServiceState { name, container_name, container_id, state, health, image } = service;
        Self { name, container_name, container_id, state, health, image }
    }
}

impl From<Installed> for InstalledView {
    fn from(installed: Installed) -> Self {
        Self {
            status: installed.state.as_str(),
            versions: vec![VersionView {
                id: installed.install_id.clone(),
                path: installed.install_dir.clone(),
            }],
            path: installed.install_dir.clone(),
            app_id: installed.app_id,
            app_name: installed.app_name,
            container_name: installed.container_name,
            install_id: installed.install_id,
            version: installed.version,
            update: installed.update,
            doing: installed.doing,
            install_dir: installed.install_dir,
            compose_path: installed.compose_path,
            created_at: installed.created_at,
            updated_at: installed.updated_at,
            ports: installed.ports.into_iter().map(PortView::from).collect(),
            services: installed.services.into_iter().map(ServiceView::from).collect(),
            failure: installed.failure,
        }
    }
}

/// What was done with an install.
#[derive(Serialize, ToSchema)]
pub(super) struct ProgressView {
    /// Name of its main container.
    container_name: String,
    /// Its compose file on the host.
    compose_path: String,
    /// What was done, such as `started`, or goes on, such as `starting`.
    status: &'static str,
    /// The end of what Compose said.
    output: String,
    /// The install as it is.
    app: InstalledView,
}

impl ProgressView {
    pub(super) fn of(progress: Progress, done: &'static str, going_on: &'static str) -> Self {
        Self {
            container_name: progress.installed.container_name.clone(),
            compose_path: progress.installed.compose_path.clone(),
            status: if progress.done { done } else { going_on },
            output: progress.output,
            app: progress.installed.into(),
        }
    }
}

/// What an update did.
#[derive(Serialize, ToSchema)]
pub(super) struct UpdateView {
    /// Name of its main container.
    container_name: String,
    /// `updated`, or `current` if there was nothing newer.
    status: &'static str,
    /// The version before.
    from: String,
    /// The version now.
    to: String,
    /// The passwords and keys that were made up for variables of the new version. They are not shown again.
    #[schema(value_type = BTreeMap<String, String>)]
    generated: BTreeMap<String, Shown>,
    /// The end of what Compose said.
    output: String,
    /// The install as it is.
    app: InstalledView,
}

impl From<Update> for UpdateView {
    fn from(update: Update) -> Self {
        let Update { progress, from, to, changed, generated } = update;
        Self {
            container_name: progress.installed.container_name.clone(),
            status: if changed { "updated" } else { "current" },
            from,
            to,
            generated: generated.into_iter().map(|(name, value)| (name, Shown(value))).collect(),
            output: progress.output,
            app: progress.installed.into(),
        }
    }
}

/// An install that is gone.
#[derive(Serialize, ToSchema)]
pub(super) struct UninstalledView {
    install_id: String,
    app_id: String,
    /// Always `uninstalled`.
    status: &'static str,
    /// The folder on the host that has its data, if that was kept, or belongs to others and could not be removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    data_kept_in: Option<String>,
    /// Its volumes, if they were kept.
    volumes_kept: Vec<String>,
    /// What is left for a person to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl From<Uninstalled> for UninstalledView {
    fn from(gone: Uninstalled) -> Self {
        let Uninstalled { install_id, app_id, data_kept_in, volumes_kept, note } = gone;
        Self { install_id, app_id, status: "uninstalled", data_kept_in, volumes_kept, note }
    }
}
