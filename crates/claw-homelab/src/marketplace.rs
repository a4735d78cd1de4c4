//! Apps: the catalog, what is installed, and the life of an install.
//!
//! An install is a folder of plain files that people may edit ([`files`]), a record in the store that says how far it
//! is ([`record`]), and containers that Compose makes from what the policy approved. The file that somebody edited is
//! read and judged anew at each start; what Compose gets is written by us from the verdict, and kept for stopping and
//! removing, so that a broken edit keeps nobody from doing that.
//!
//! Every change goes on when whoever asked hangs up, one at a time for each install.

mod adopt;
mod app;
mod blueprint;
mod catalog;
mod choice;
mod composer;
mod create;
mod deploy;
mod error;
mod files;
mod life;
mod naming;
mod original;
mod ports;
mod raise;
mod record;
mod remote;
mod running;
mod strays;
mod uninstall;
mod update;
mod values;
mod view;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use claw_core::{Action, Actor, Clock, ErrorCode, Resource};
use claw_docker::{
    ContainerEntry, Docker, LogsQuery, Mirror,
    policy::{ContainerWish, Facts, Grants, Own, Policy},
};
use claw_gate::{Deed, EffectPlace, Gate};
use claw_store::Store;
use serde_json::{Value, json};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

pub use adopt::{Adopted, ForeignInstall};
pub use app::{About, App, AppSource, AppSummary, Generate, Note, Variable};
pub use catalog::Catalog;
pub use composer::{ComposeVerb, Composer, ComposerConfig, ComposerError};
pub use create::{Created, NewInstall};
pub(crate) use deploy::Deployment;
pub use error::MarketplaceError;
pub use life::Progress;
pub use record::Published;
pub use remote::Remote;
pub use uninstall::Uninstalled;
pub use update::Update;
pub use view::{InstallState, Installed, ServiceState};

use files::Folder;
use record::{Record, Records, Versioned};
use running::Running;

use crate::{
    Activity, EventKind, EventStatus, Making,
    compose::{Labels, Project, render},
};

/// How long callers are kept waiting for what goes on for longer. Clients of the original hang up after 30 seconds.
const PATIENCE: Duration = Duration::from_secs(25);

/// Most bytes of a log that are answered.
const MAX_LOG_BYTES: usize = 256 * 1024;

/// The label by which Compose knows the containers of a project.
const PROJECT_LABEL: &str = "com.docker.compose.project";

/// Where things are.
#[derive(Clone)]
pub struct MarketplaceConfig {
    /// What can be installed.
    pub catalog: Catalog,
    /// What runs it.
    pub composer: Composer,
    /// Folder of the installed apps, as this program sees it.
    pub apps_folder: PathBuf,
    /// The same folder as the Engine's host sees it.
    pub host_apps_folder: PathBuf,
    /// A folder for what people need not see.
    pub state_folder: PathBuf,
}

impl MarketplaceConfig {
    /// Returns the usual places below our folder: apps in `containers`, as the Engine's host sees them too, and the
    /// catalog that is part of the program.
    ///
    /// `path` and `home` are those of the server, and `environment` is what Compose needs to reach the Engine.
    pub fn below(data_dir: &Path, path: OsString, home: PathBuf, environment: Vec<(String, String)>) -> Self {
        let state_folder = data_dir.join("marketplace");
        let apps_folder = data_dir.join("containers");
        let folder = state_folder.join("empty");
        Self {
            catalog: Catalog::built_in(),
            composer: Composer::new(ComposerConfig { path, home, environment, folder }),
            host_apps_folder: apps_folder.clone(),
            apps_folder,
            state_folder,
        }
    }
}

/// What the marketplace is made of.
pub struct MarketplaceParts {
    /// The Engine.
    pub docker: Docker,
    /// What runs there.
    pub mirror: Mirror,
    /// Who may do what.
    pub gate: Gate,
    /// Where records are.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What may be created.
    pub policy: Policy,
    /// What is ours.
    pub own: Arc<Own>,
    /// Where it is told what was done.
    pub activity: Activity,
    /// What goes on behind answers.
    pub tasks: TaskTracker,
    /// Ends that.
    pub stop: CancellationToken,
    /// Held while containers are judged and made, at every door.
    pub(crate) making: Making,
    /// Where things are.
    pub config: MarketplaceConfig,
}

/// Apps. Cheap to clone.
#[derive(Clone)]
pub struct Marketplace {
    inner: Arc<Inner>,
}

struct Inner {
    docker: Docker,
    mirror: Mirror,
    gate: Gate,
    clock: Arc<dyn Clock>,
    policy: Policy,
    own: Arc<Own>,
    activity: Activity,
    tasks: TaskTracker,
    stop: CancellationToken,
    making: Making,
    config: MarketplaceConfig,
    records: Records,
    running: Running,
}

type Result<T> = std::result::Result<T, MarketplaceError>;

/// Names an install. Callers of different kinds know it by different things.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Which {
    /// Its id, or the name of its main container.
    pub name: Option<String>,
    /// Its app: the newest install of it, if nothing else is said.
    pub app_id: Option<String>,
    /// Path of its compose file.
    pub compose_path: Option<String>,
}

impl Which {
    /// Names an install by its id or its container's name.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..Self::default() }
    }
}

impl Marketplace {
    /// Puts the marketplace together.
    pub fn new(parts: MarketplaceParts) -> Self {
        let MarketplaceParts {
            docker,
            mirror,
            gate,
            store,
            clock,
            policy,
            own,
            activity,
            tasks,
            stop,
            making,
            config,
        } = parts;
        let records = Records::new(store.documents);
        let running = Running::default();
        let inner = Inner {
            docker,
            mirror,
            gate,
            clock,
            policy,
            own,
            activity,
            tasks,
            stop,
            making,
            config,
            records,
            running,
        };
        let marketplace = Self { inner: Arc::new(inner) };
        marketplace.recover_behind();
        marketplace.refresh_behind();
        marketplace
    }

    /// Returns every app, the most popular first.
    ///
    /// # Errors
    ///
    /// [`MarketplaceError::Gate`].
    pub fn catalog(&self, actor: &Actor) -> Result<Vec<App>> {
        self.may_read(actor)?;
        self.refresh_behind();
        Ok(self.inner.config.catalog.list())
    }

    /// Returns an app with its compose file.
    ///
    /// # Errors
    ///
    /// [`MarketplaceError::Gate`], [`MarketplaceError::AppNotFound`], [`MarketplaceError::Remote`].
    pub async fn app(&self, actor: &Actor, id: &str) -> Result<App> {
        self.may_read(actor)?;
        self.inner.config.catalog.find(id).await
    }

    /// Returns an app of ours, for its mark, which anybody may see.
    pub fn logo(&self, id: &str) -> Option<Arc<[u8]>> {
        self.inner.config.catalog.own(id).and_then(|app| app.logo.clone())
    }

    /// Returns every install, the oldest first.
    ///
    /// # Errors
    ///
    /// [`MarketplaceError::Gate`], [`MarketplaceError::Store`]. Without the Engine the list is there, and says so.
    pub async fn installed(&self, actor: &Actor) -> Result<Vec<Installed>> {
        self.may_read(actor)?;
        let containers = self.inner.mirror.containers().await;
        let records = self.inner.records.all().await?;
        let containers = containers.as_deref().map_err(ToString::to_string);
        Ok(records.into_iter().map(|record| self.inner.view(record, containers.clone())).collect())
    }

    /// Returns one install.
    ///
    /// # Errors
    ///
    /// As [`Marketplace::installed`]; [`MarketplaceError::NotInstalled`].
    pub async fn status(&self, actor: &Actor, which: &Which) -> Result<Installed> {
        self.may_read(actor)?;
        let record = self.inner.find(which).await?.record;
        self.inner.seen(record).await
    }

    /// Returns the end of what a service of an install wrote; of its main one, if none is named.
    ///
    /// # Errors
    ///
    /// [`MarketplaceError::NotInstalled`] if there is no such install or service, or it has no container yet.
    pub async fn logs(
        &self,
        actor: &Actor,
        which: &Which,
        service: Option<&str>,
        tail: Option<u32>,
    ) -> Result<String> {
        self.may_read(actor)?;
        let record = self.inner.find(which).await?.record;
        let service = service.unwrap_or(&record.main);
        let missing = || MarketplaceError::NotInstalled {
            what: format!("{} of {}", crate::compose::quoted(service), record.install_id),
        };
        let containers = self.inner.mirror.containers().await?;
        let name = record.services.get(service).ok_or_else(missing)?;
        let container = own_container(&containers, &record, name).ok_or_else(missing)?;
        let query = LogsQuery { tail, ..LogsQuery::default() };
        Ok(self.inner.docker.log_text(&container.id, query, MAX_LOG_BYTES).await?.text)
    }

    fn may_read(&self, actor: &Actor) -> Result<()> {
        Ok(self.inner.gate.permit(actor, Action::MarketplaceRead, &Resource::Any)?)
    }

    /// Ends what a server before this one left running, and removes what it left lying.
    fn recover_behind(&self) {
        if self.inner.tasks.is_closed() {
            return;
        }
        let inner = Arc::clone(&self.inner);
        self.inner.tasks.spawn(async move {
            inner.config.composer.end_strays().await;
            if let Err(error) = inner.forget_the_gone().await {
                tracing::warn!(%error, "files of apps that are gone cannot be removed");
            }
        });
    }

    /// Reads the other catalog again behind the answer.
    fn refresh_behind(&self) {
        let catalog = self.inner.config.catalog.clone();
        if catalog.has_remote() && !self.inner.tasks.is_closed() {
            let stop = self.inner.stop.clone();
            self.inner.tasks.spawn(async move {
                let refreshed = tokio::select! {
                    refreshed = catalog.refresh() => refreshed,
                    () = stop.cancelled() => return,
                };
                if let Err(error) = refreshed {
                    tracing::warn!(%error, "the other catalog is shown as it was");
                }
            });
        }
    }

    /// Returns what the policy was widened by for an app's container, so for one that we made ourselves: nothing for
    /// any other.
    pub(crate) async fn grants_of(&self, container: &ContainerEntry) -> Arc<Grants> {
        let Some(install) = container.labels.get("claw.install") else { return Arc::default() };
        // What cannot be read widens nothing.
        let found = self.inner.records.get(install).await.ok().flatten().map(|found| found.record);
        let is_its = |record: &Record| record.services.values().any(|name| *name == container.name);
        found.filter(is_its).map(|record| self.inner.grants(&record)).unwrap_or_default()
    }

    /// Does something on the record, to its end, whether or not the caller waits for it.
    async fn perform<T: Send + 'static>(
        &self,
        actor: &Actor,
        verb: &'static str,
        target: &str,
        detail: Option<Value>,
        effect: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let deed = Deed {
            action: Action::MarketplaceWrite,
            verb,
            resource: Resource::Any,
            target: format!("app:{target}"),
            place: EffectPlace::Outside,
            detail,
        };
        self.carry_out(actor, deed, EventKind::AppAction, target, effect).await
    }

    async fn carry_out<T: Send + 'static>(
        &self,
        actor: &Actor,
        deed: Deed,
        kind: EventKind,
        target: &str,
        effect: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let verb = deed.verb;
        let (inner, actor, told) = (Arc::clone(&self.inner), actor.clone(), target.to_owned());
        let work = async move {
            let done = inner.gate.perform(&actor, deed, effect).await;
            let (status, details) = match &done {
                Ok(_) => (EventStatus::Success, None),
                Err(error) => (EventStatus::Error, Some(json!({ "error": error.to_string() }))),
            };
            inner.activity.note(&actor, kind, verb, &told, status, details).await;
            done
        };
        self.inner.tasks.spawn(work.in_current_span()).await.unwrap_or(Err(MarketplaceError::GivenUp))
    }
}

impl Inner {
    /// Finds the install that is meant.
    async fn find(&self, which: &Which) -> Result<Versioned> {
        let Which { name, app_id, compose_path } = which;
        let missing = |what: &str| MarketplaceError::NotInstalled { what: crate::compose::quoted(what) };
        if let Some(path) = compose_path {
            let roots = [self.config.apps_folder.as_path(), self.config.host_apps_folder.as_path()];
            let (app, install) = files::install_of_path(path, &roots)?;
            let found = self.records.get(&install).await?;
            return found.filter(|found| found.record.app_id == app).ok_or_else(|| missing(path));
        }
        let records = self.records.all().await?;
        let of_app = |record: &&Record| app_id.as_ref().is_none_or(|app| *app == record.app_id);
        let newest_first = records.iter().rev().filter(of_app);
        let found = match name {
            Some(name) => {
                naming::container_name(name)?;
                let named = |record: &&Record| record.container_name == *name || record.install_id == *name;
                newest_first.clone().find(named)
            }
            None if app_id.is_some() => newest_first.clone().next(),
            None => {
                let message = "name the install: its `container_name`, `app_id` or `compose_path`";
                return Err(MarketplaceError::invalid(ErrorCode::ContainerNameRequired, message));
            }
        };
        let what = name.as_ref().or(app_id.as_ref()).map_or("", String::as_str);
        let found = found.ok_or_else(|| missing(what))?;
        self.records.get(&found.install_id).await?.ok_or_else(|| missing(what))
    }

    /// The folder of an install, as we see it.
    fn folder(&self, record: &Record) -> Folder {
        Folder::new(self.config.apps_folder.join(&record.app_id).join(&record.install_id))
    }

    /// The folder of an install, as the Engine's host sees it.
    fn host_folder(&self, record: &Record) -> PathBuf {
        self.config.host_apps_folder.join(&record.app_id).join(&record.install_id)
    }

    /// Where the files are that Compose was given.
    fn approved_files(&self) -> Folder {
        Folder::new(self.config.state_folder.join("approved"))
    }

    /// The exceptions of an app. Only entries of ours have some.
    fn grants(&self, record: &Record) -> Arc<Grants> {
        match record.source {
            AppSource::BuiltIn => {
                self.config.catalog.own(&record.app_id).map(|app| Arc::clone(&app.grants)).unwrap_or_default()
            }
            AppSource::Remote | AppSource::Template => Arc::default(),
        }
    }

    /// Judges a project as it would be on the host, and returns what was approved.
    async fn approve(&self, project: &Project, record: &Record, grants: &Grants) -> Result<Project> {
        let project_name = project_name(&record.install_id);
        let mut placed = project.placed(&project_name, &self.host_folder(record))?;
        let wishes: Vec<ContainerWish> =
            placed.services.values().map(|service| service.wish.clone()).collect();
        let mut facts = Facts::gather_all(&self.docker, &self.policy, &wishes, &self.own).await?;
        self.is_private(record, &facts)?;
        facts.expect_mounts_of(&wishes);
        for (name, _) in placed.networks.iter().filter(|(_, spec)| !spec.external) {
            facts.expect_network(name);
        }
        for (name, service) in &mut placed.services {
            let judged = self.policy.judge(&service.wish, &facts, grants);
            let approved =
                judged.map_err(|refused| MarketplaceError::Refused { service: name.clone(), refused })?;
            service.wish = approved.wish().clone();
        }
        Ok(placed)
    }

    /// Refuses an install whose files some container would see: its passwords are among them.
    fn is_private(&self, record: &Record, facts: &Facts) -> Result<()> {
        let folder = shown(&self.host_folder(record));
        let Some(open) = facts.open_to(&folder) else { return Ok(()) };
        let by = open.container.as_deref().unwrap_or("somebody");
        let message = format!(
            "the container `{}` has mounted {}, and would see the passwords of the app: remove it first, or choose \
             another `custom_name`",
            crate::compose::quoted(by),
            crate::compose::quoted(&open.source)
        );
        Err(MarketplaceError::invalid(ErrorCode::BlockedVolume, message))
    }

    /// Writes the file for Compose from what was approved.
    async fn file_for_compose(&self, approved: &Project, record: &Record) -> Result<String> {
        let labels = Labels::from([
            ("claw.app".to_owned(), record.app_id.clone()),
            ("claw.install".to_owned(), record.install_id.clone()),
        ]);
        Ok(render(approved, &labels, self.config.composer.reader().await?))
    }

    /// Waits until the mirror shows what was just done to the containers of an install.
    async fn settle(&self, record: &Record) {
        for name in record.services.values() {
            if let Ok(Some(container)) = self.mirror.find(name).await {
                self.mirror.settled(&container.id).await;
            }
        }
    }

    async fn seen(&self, record: Record) -> Result<Installed> {
        let containers = self.mirror.containers().await;
        Ok(self.view(record, containers.as_deref().map_err(ToString::to_string)))
    }
}

/// The name of an install's project. Not `claw-` and the id alone: such are names of the house's own.
fn project_name(install: &str) -> String {
    format!("claw-app-{install}")
}

/// Finds the container of an install by name. One of that name that somebody else made is not it.
fn own_container<'a>(
    containers: &'a [ContainerEntry],
    record: &Record,
    name: &str,
) -> Option<&'a ContainerEntry> {
    let project = project_name(&record.install_id);
    let own = |container: &&ContainerEntry| {
        container.labels.get(PROJECT_LABEL).is_some_and(|label| *label == project)
    };
    containers.iter().filter(own).find(|container| container.name == name)
}

/// Does something with files where it holds up nobody.
async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(MarketplaceError::GivenUp))
}

/// The path as text for answers.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
