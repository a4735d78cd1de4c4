//! Making an install: files, a record, and the verdict that it may run. Nothing is started.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::Path,
    sync::Arc,
};

use claw_core::{Actor, ErrorCode, Secret, Timestamp};
use claw_store::fault;
use serde_json::json;

use super::{
    App, AppSource, Inner, Marketplace, MarketplaceError, Published, Result, blueprint,
    blueprint::Edits,
    choice::{Chosen, MAX_VARIABLES, choose},
    files::{self, Folder},
    naming, on_disk,
    ports::{self, Taken},
    record::{MAX_INSTALLS, Phase, Record, Versioned},
    running::Turn,
    shown, values,
};
use crate::compose::{Project, quoted};

/// What somebody says when making an install.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewInstall {
    /// The app.
    pub app_id: String,
    /// A name for the install; from the container's name, or the app's id, if absent.
    pub custom_name: Option<String>,
    /// Name of the main service's container; the install's id if absent.
    pub container_name: Option<String>,
    /// Values of variables: the app's own, and others for its main service.
    pub environment: BTreeMap<String, String>,
    /// Ports of the host by ports of the containers.
    pub ports: BTreeMap<u16, u16>,
}

/// An install that was made.
#[derive(Clone, Debug)]
pub struct Created {
    /// Identifies it.
    pub install_id: String,
    /// Its app.
    pub app_id: String,
    /// The app's name.
    pub app_name: String,
    /// Name of its main container.
    pub container_name: String,
    /// Its folder, as the host sees it.
    pub install_dir: String,
    /// Its compose file, as the host sees it.
    pub compose_path: String,
    /// The compose file. Secrets are named in it, not shown.
    pub compose: String,
    /// Where its ports are.
    pub ports: Vec<Published>,
    /// Passwords that were made up. This is the only time they are shown.
    pub generated: Vec<(String, Secret)>,
    /// What people should know.
    pub notes: Vec<String>,
}

impl Marketplace {
    /// Makes an install of an app. What was begun before and never started is made anew.
    ///
    /// # Errors
    ///
    /// [`MarketplaceError::VariablesRequired`] names all that is missing; [`MarketplaceError::Refused`] if the policy
    /// does not permit the app as asked for; [`MarketplaceError::NameTaken`]; [`MarketplaceError::Invalid`] for what is
    /// wrong in the request. Nothing is left behind then.
    pub async fn create(&self, actor: &Actor, new: NewInstall) -> Result<Created> {
        let detail = json!({
            "name": new.custom_name.as_deref().map(quoted),
            "variables": new.environment.keys().take(MAX_VARIABLES).map(|name| quoted(name)).collect::<Vec<_>>(),
            "ports": new.ports,
        });
        let (inner, owner, target) = (Arc::clone(&self.inner), actor.owner(), quoted(&new.app_id));
        let effect = async move { inner.create(owner, new).await };
        self.perform(actor, "app.create", &target, Some(detail), effect).await
    }
}

/// What is known before anything is written.
struct Plan {
    app: App,
    record: Record,
    edits: Edits,
    project: Project,
    values: BTreeMap<String, String>,
    secrets: Vec<String>,
    generated: Vec<(String, Secret)>,
    reused: Vec<String>,
}

impl Inner {
    async fn create(&self, owner: String, new: NewInstall) -> Result<Created> {
        naming::app_id(&new.app_id)?;
        let app = self.config.catalog.find(&new.app_id).await?;
        self.create_of(owner, new, app).await
    }

    /// Makes an install of this very app.
    pub(super) async fn create_of(&self, owner: String, new: NewInstall, app: App) -> Result<Created> {
        let container = new.container_name.as_deref().map(naming::container_name).transpose()?;
        let base = match (&new.custom_name, container) {
            (Some(name), _) => Some(naming::install_id(name)?),
            (None, Some(container)) => Some(naming::install_id(&container.replace('.', "-"))?),
            (None, None) => None,
        };
        let install_id = match base {
            Some(install_id) => install_id,
            None => self.free_id(&new.app_id).await?,
        };
        let lead = match self.running.enter(&install_id, "created")? {
            Turn::Lead(lead) => lead,
            Turn::Join(_) => {
                return Err(MarketplaceError::Busy { install: install_id, doing: "created" });
            }
        };
        let made = self.create_as(owner, new, app, install_id).await;
        lead.end(&made);
        made
    }

    async fn create_as(
        &self,
        owner: String,
        new: NewInstall,
        app: App,
        install_id: String,
    ) -> Result<Created> {
        let before = self.replaceable(&app, &install_id).await?;
        let plan = self.plan(owner, new, app, install_id, before.as_ref().map(|read| &read.record)).await?;
        // Nobody may mount the folder between the look at who has, and the files in it.
        let _alone = self.making.lock().await;
        // Before anything is written: what is refused leaves no trace.
        self.approve(&plan.project, &plan.record, &plan.app.grants).await?;
        // From here on the name is taken; what a crash leaves is finished by whoever creates it again.
        let reserved = match self.records.put(&plan.record, before.as_ref().map(|read| read.version)).await {
            Err(MarketplaceError::Store(claw_store::StoreError::Conflict { .. })) => {
                return Err(MarketplaceError::NameTaken {
                    what: format!("`{}` is being installed by somebody else", plan.record.install_id),
                });
            }
            reserved => reserved?,
        };
        fault::point("app.reserved");
        let folder = self.folder(&plan.record);
        let fresh = on_disk({
            let folder = folder.clone();
            move || Ok(!folder.path().exists())
        })
        .await?;
        match self.write(&plan, &folder, &reserved).await {
            Ok(created) => Ok(created),
            Err(error) => {
                self.take_back(reserved, before, fresh, folder).await;
                Err(error)
            }
        }
    }

    /// Finds an install of that name that may be made anew: one whose files were not all written, or that was never
    /// started.
    async fn replaceable(&self, app: &App, install_id: &str) -> Result<Option<Versioned>> {
        let Some(before) = self.records.get(install_id).await? else {
            if self.records.count().await? >= MAX_INSTALLS {
                let message = format!("there are {MAX_INSTALLS} installed apps, and no more may be");
                return Err(MarketplaceError::invalid(ErrorCode::Conflict, message));
            }
            return Ok(None);
        };
        let record = &before.record;
        let untouched = match record.phase {
            Phase::Writing => true,
            Phase::Ready => !record.started,
            Phase::Removing => false,
        };
        if record.app_id == app.about.id && untouched {
            return Ok(Some(before));
        }
        Err(MarketplaceError::NameTaken {
            what: format!("`{install_id}` is an install of {}", record.app_name),
        })
    }

    /// The app's id, or with the first number that nobody has.
    async fn free_id(&self, app: &str) -> Result<String> {
        let records = self.records.all().await?;
        // One that was never started is made anew, so that asking twice makes one.
        let taken = |id: &str| records.iter().any(|record| record.install_id == id && record.started);
        let mut numbers = (2..=MAX_INSTALLS).map(|number| format!("{app}-{number}"));
        let found = if taken(app) { numbers.find(|id| !taken(id)) } else { Some(app.to_owned()) };
        found.map(|id| naming::install_id(&id)).unwrap_or_else(|| naming::install_id(app))
    }

    async fn plan(
        &self,
        owner: String,
        new: NewInstall,
        app: App,
        install_id: String,
        before: Option<&Record>,
    ) -> Result<Plan> {
        let now = self.clock.now();
        let mut record = Record {
            app_id: app.about.id.clone(),
            app_name: app.about.name.clone(),
            version: app.about.version.clone(),
            source: app.source,
            container_name: new.container_name.clone().unwrap_or_else(|| install_id.clone()),
            main: String::new(),
            services: BTreeMap::new(),
            ports: Vec::new(),
            extra: Vec::new(),
            owner,
            created_at: before.map_or(now, |before| before.created_at),
            updated_at: now,
            phase: Phase::Writing,
            written: String::new(),
            started: false,
            failure: None,
            begun: None,
            next: None,
            made_up: Vec::new(),
            install_id,
        };
        let kept = self.kept_values(&record, before.is_some()).await?;
        let mut chosen = choose(&app, new.environment, kept)?;
        if let Some(before) = before.filter(|before| before.owner == record.owner) {
            chosen.tell_again(&before.made_up);
        }
        let Chosen { values, secrets, generated, extra, reused } = chosen;
        record.made_up = generated.iter().map(|(name, _)| name.clone()).collect();
        let mut edits = Edits { extra, ..Edits::default() };
        let mut project = blueprint::project(&app.compose, &values, &edits)?;
        edits.main = blueprint::main_service(&project, &app.about.id, app.about.port);
        edits.names = container_names(&project, &edits.main, &record.container_name);
        if app.source == AppSource::Template {
            // It is deployed as it was written.
            edits.names.extend(chosen_names(&project));
            record.container_name.clone_from(&edits.names[&edits.main]);
            record.ports = ports::as_written(&project);
        } else {
            let taken = self.taken_ports(Some(&record.install_id)).await?;
            record.ports = ports::assign(&mut project, &edits.main, &new.ports, taken, ports::is_busy)?;
        }
        self.check_names(&edits.names, &record).await?;
        edits.ports = host_ports(&project);
        // Once more with everything, so that what is judged is what will be written.
        let project = blueprint::project(&app.compose, &values, &edits)?;
        record.main.clone_from(&edits.main);
        record.services.clone_from(&edits.names);
        record.extra.clone_from(&edits.extra);
        Ok(Plan { app, record, edits, project, values, secrets, generated, reused })
    }

    /// Values from an earlier install in the same folder, whose data may still be there and need them. A container that
    /// had the folder mounted may have put some there too: passwords that it knows.
    async fn kept_values(&self, record: &Record, is_known: bool) -> Result<BTreeMap<String, String>> {
        let folder = self.folder(record);
        let Some(text) = on_disk(move || folder.read(files::VALUES)).await? else {
            return Ok(BTreeMap::new());
        };
        if is_known || self.records.is_vouched(record, &blueprint::digest(&text)).await? {
            return values::read(&text);
        }
        let message = format!(
            "there is a .env in {} that no uninstall left: look at it and move it away, or choose another `custom_name`",
            shown(&self.host_folder(record))
        );
        Err(MarketplaceError::invalid(ErrorCode::Conflict, message))
    }

    /// Refuses names of containers that somebody has.
    pub(super) async fn check_names(&self, names: &BTreeMap<String, String>, record: &Record) -> Result<()> {
        let containers = self.mirror.containers().await?;
        let records = self.records.all().await?;
        for name in names.values() {
            naming::container_name(name)?;
            let other = |other: &&Record| {
                other.install_id != record.install_id && other.services.values().any(|taken| taken == name)
            };
            let exists = containers.iter().any(|container| container.name == *name)
                && super::own_container(&containers, record, name).is_none();
            if exists || records.iter().any(|known| other(&known)) {
                return Err(MarketplaceError::NameTaken { what: format!("there is a container `{name}`") });
            }
        }
        Ok(())
    }

    /// Ports of the host that containers have, that other installs will want, and that are ours.
    pub(super) async fn taken_ports(&self, except: Option<&str>) -> Result<Taken> {
        use claw_docker::policy::Protocol;
        let mut taken = Taken::new();
        let project = except.map(super::project_name);
        for container in self.mirror.containers().await?.iter() {
            if project.is_some() && container.labels.get(super::PROJECT_LABEL) == project.as_ref() {
                continue;
            }
            for port in &container.ports {
                let protocol = if port.protocol == "udp" { Protocol::Udp } else { Protocol::Tcp };
                taken.extend(port.public.map(|public| (public, protocol)));
            }
        }
        for record in self.records.all().await? {
            if except != Some(record.install_id.as_str()) {
                taken.extend(record.ports.iter().map(|port| (port.host, port.protocol())));
            }
        }
        taken.extend(self.own.ports.iter().flat_map(|&port| [(port, Protocol::Tcp), (port, Protocol::Udp)]));
        Ok(taken)
    }

    async fn write(&self, plan: &Plan, folder: &Folder, reserved: &Versioned) -> Result<Created> {
        let Plan { app, record, edits, project, values, secrets, generated, reused } = plan;
        let text = blueprint::text(&app.compose, values, secrets, edits)?;
        let folders = project.own_folders();
        let apps = Folder::new(&self.config.apps_folder);
        let place = Path::new(&record.app_id).join(&record.install_id);
        on_disk({
            let folder = folder.clone();
            move || {
                apps.make(0o755)?;
                // A container that had a folder there may have left a link in it.
                apps.make_inside(&place)?;
                folders.iter().try_for_each(|inner| folder.make_inside(inner))
            }
        })
        .await?;
        let mut notes: Vec<String> = app.about.notes.iter().map(|note| note.text.clone()).collect();
        for port in record.ports.iter().filter(|port| port.protocol == "tcp") {
            if let Some(instead) = port.instead_of {
                notes.insert(0, format!("port {instead} is taken, so the app is at port {}", port.host));
            }
        }
        if !reused.is_empty() {
            notes.push(format!(
                "values of an earlier install in this folder are used again: {}",
                reused.join(", ")
            ));
        }
        let header = header(&app.about.name, record);
        let compose = format!("{header}{text}");
        let readme = readme(app, record, self.clock.now(), &notes);
        let values = values::write(values);
        on_disk({
            let (folder, compose) = (folder.clone(), compose.clone());
            move || {
                folder.write(files::VALUES, &values, files::CLOSED)?;
                folder.write(files::COMPOSE, &compose, files::OPEN)?;
                folder.write(files::README, &readme, files::OPEN)
            }
        })
        .await?;
        fault::point("app.files_written");
        let record = Record { phase: Phase::Ready, written: blueprint::digest(&compose), ..record.clone() };
        self.records.put(&record, Some(reserved.version)).await?;
        self.records.forget_left(&record).await?;
        let host_folder = self.host_folder(&record);
        Ok(Created {
            compose_path: shown(&host_folder.join(files::COMPOSE)),
            install_dir: shown(&host_folder),
            install_id: record.install_id,
            app_id: record.app_id,
            app_name: record.app_name,
            container_name: record.container_name,
            compose,
            ports: record.ports,
            generated: generated.clone(),
            notes,
        })
    }

    /// Undoes a create that failed. What cannot be undone stays as it is, and creating it again finishes it.
    async fn take_back(&self, reserved: Versioned, before: Option<Versioned>, fresh: bool, folder: Folder) {
        if fresh {
            let removed = on_disk(move || folder.remove_all()).await;
            if let Err(error) = removed {
                tracing::warn!(%error, "what a failed install left cannot be removed");
            }
        }
        let undone = match before {
            Some(before) => self.records.put(&before.record, Some(reserved.version)).await.map(drop),
            None => self.records.delete(&reserved).await,
        };
        if let Err(error) = undone {
            tracing::warn!(%error, "a failed install stays in the list as incomplete");
        }
    }
}

/// Names the containers: the main one as asked, the others after it.
pub(super) fn container_names(project: &Project, main: &str, name: &str) -> BTreeMap<String, String> {
    let of = |service: &String| match service == main {
        true => name.to_owned(),
        false => format!("{name}-{service}"),
    };
    project.services.keys().map(|service| (service.clone(), of(service))).collect()
}

/// The names of containers that the file says.
fn chosen_names(project: &Project) -> impl Iterator<Item = (String, String)> {
    let services = project.services.iter();
    services.filter_map(|(service, described)| Some((service.clone(), described.wish.name.clone()?)))
}

/// The ports of the host by service and index, as edits of the file.
pub(super) fn host_ports(project: &Project) -> BTreeMap<(String, usize), u16> {
    let of = |(name, service): (&String, &crate::compose::Service)| {
        let ports = service.wish.ports.iter().enumerate();
        let name = name.clone();
        ports.filter_map(move |(index, port)| Some(((name.clone(), index), port.host?))).collect::<Vec<_>>()
    };
    project.services.iter().flat_map(of).collect()
}

/// The first lines of a compose file.
pub(super) fn header(app: &str, record: &Record) -> String {
    let version = if record.version.is_empty() { String::new() } else { format!(" {}", record.version) };
    format!(
        "# {}{version}, installed by ClawMachine as {}. Edit it and restart the app; values of ${{NAME}} are in .env.\n",
        quoted(app),
        record.install_id,
    )
}

/// What people read first.
pub(super) fn readme(app: &App, record: &Record, now: Timestamp, notes: &[String]) -> String {
    let about = &app.about;
    let mut text = format!("# {}\n\n{}\n\n", quoted(&about.name), about.description);
    // Writing to a String cannot fail.
    let _ = writeln!(text, "- App: {} {}", about.id, about.version);
    let _ = writeln!(text, "- Install: {}", record.install_id);
    let _ = writeln!(text, "- Container: {}", record.container_name);
    let _ = writeln!(text, "- Written: {}", now.strftime("%Y-%m-%d %H:%M UTC"));
    if about.website.starts_with("https://") {
        let _ = writeln!(text, "- Home page: {}", about.website);
    }
    let mut shown = BTreeSet::new();
    for port in &record.ports {
        if shown.insert((port.host, &port.protocol)) {
            let _ = writeln!(
                text,
                "- Port {}/{}: {} at {}",
                port.host, port.protocol, port.service, port.container
            );
        }
    }
    text.push_str(
        "\nThe app is made from `compose.yaml`; values of its variables, passwords too, are in `.env`. Both may be \
         edited: the change holds from the next start on, if the policy permits it.\n",
    );
    if !notes.is_empty() {
        text.push_str("\n## Notes\n\n");
        for note in notes {
            let _ = writeln!(text, "- {note}");
        }
    }
    text
}
