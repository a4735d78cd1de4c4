//! Starting, stopping, updating and removing installs.

use std::{collections::BTreeMap, sync::Arc};

use claw_core::Actor;
use claw_store::fault;
use serde_json::json;

use super::{
    ComposeVerb, Inner, Installed, Marketplace, MarketplaceError, PATIENCE, Result, Which, blueprint,
    blueprint::Edits,
    create::{self, Chosen},
    files::{self, CLOSED, OPEN},
    on_disk, own_container, ports, project_name,
    record::{Phase, Record, Versioned},
    running::Turn,
    values,
};
use crate::compose::{self, Project, quoted};

/// How far something is when its answer is due.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// The install as it is.
    pub installed: Installed,
    /// Whether it is done. Otherwise it goes on, and the install's state tells more later.
    pub done: bool,
    /// The end of what Compose said.
    pub output: String,
}

/// What an update did.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// The install as it is.
    pub progress: Progress,
    /// The version before.
    pub from: String,
    /// The version now.
    pub to: String,
    /// Whether there was anything newer.
    pub changed: bool,
}

/// What uninstalling did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uninstalled {
    /// The install that is gone.
    pub install_id: String,
    /// Its app.
    pub app_id: String,
    /// Where its data is, if it was kept, or belongs to users of its containers and cannot be removed by us.
    pub data_kept_in: Option<String>,
    /// Its volumes, if they were kept.
    pub volumes_kept: Vec<String>,
}

/// What can be done with the containers of an install.
#[derive(Clone, Copy)]
enum Act {
    Start,
    Stop,
    Restart,
}

impl Act {
    fn verb(self) -> &'static str {
        match self {
            Self::Start => "app.start",
            Self::Stop => "app.stop",
            Self::Restart => "app.restart",
        }
    }

    fn doing(self) -> &'static str {
        match self {
            Self::Start => "started",
            Self::Stop => "stopped",
            Self::Restart => "restarted",
        }
    }
}

impl Marketplace {
    /// Starts an install: reads and judges its compose file as it is now, gets its images, makes its containers.
    ///
    /// Answers after 25 seconds even if that goes on.
    ///
    /// # Errors
    ///
    /// [`MarketplaceError::NotInstalled`], [`MarketplaceError::PathForbidden`], [`MarketplaceError::Compose`],
    /// [`MarketplaceError::Refused`], [`MarketplaceError::Composer`] with the reason.
    pub async fn start(&self, actor: &Actor, which: &Which) -> Result<Progress> {
        self.act(actor, which, Act::Start).await
    }

    /// Stops an install's containers.
    ///
    /// # Errors
    ///
    /// As [`Marketplace::start`].
    pub async fn stop(&self, actor: &Actor, which: &Which) -> Result<Progress> {
        self.act(actor, which, Act::Stop).await
    }

    /// Restarts an install's containers, with what its files say now.
    ///
    /// # Errors
    ///
    /// As [`Marketplace::start`].
    pub async fn restart(&self, actor: &Actor, which: &Which) -> Result<Progress> {
        self.act(actor, which, Act::Restart).await
    }

    async fn act(&self, actor: &Actor, which: &Which, act: Act) -> Result<Progress> {
        let (target, which) = (told(which), which.clone());
        let inner = Arc::clone(&self.inner);
        let (found, finding) = tokio::sync::oneshot::channel();
        let effect = async move {
            let read = inner.find(&which).await?;
            // Nobody may be waiting.
            let _ = found.send(read.record.clone());
            inner.lead(read, act).await
        };
        let working = self.perform(actor, act.verb(), &target, None, effect);
        tokio::pin!(working);
        if let Ok(done) = tokio::time::timeout(PATIENCE, &mut working).await {
            let (record, output) = done?;
            return Ok(Progress { installed: self.inner.seen(record).await?, done: true, output });
        }
        match finding.await {
            Ok(record) => {
                Ok(Progress { installed: self.inner.seen(record).await?, done: false, output: String::new() })
            }
            Err(_) => Err(MarketplaceError::GivenUp),
        }
    }

    /// Brings an install to the catalog's version: images change, data and values stay.
    ///
    /// # Errors
    ///
    /// As [`Marketplace::start`]; [`MarketplaceError::Edited`] if somebody edited the compose file and `replace_edited`
    /// does not say to replace it; [`MarketplaceError::VariablesRequired`] if the newer version needs more.
    pub async fn update(
        &self,
        actor: &Actor,
        which: &Which,
        environment: BTreeMap<String, String>,
        replace_edited: bool,
    ) -> Result<Update> {
        let (target, which, inner) = (told(which), which.clone(), Arc::clone(&self.inner));
        let effect = async move {
            let read = inner.find(&which).await?;
            let install = read.record.install_id.clone();
            let lead = match inner.running.enter(&install, "updated")? {
                Turn::Lead(lead) => lead,
                Turn::Join(_) => return Err(MarketplaceError::Busy { install, doing: "updated" }),
            };
            let updated = inner.update(read, environment, replace_edited).await;
            lead.end(&updated);
            updated
        };
        let (record, from, changed, output) =
            self.perform(actor, "app.update", &target, None, effect).await?;
        let to = record.version.clone();
        let progress = Progress { installed: self.inner.seen(record).await?, done: true, output };
        Ok(Update { progress, from, to, changed })
    }

    /// Removes an install: its containers and networks, and its data too if so said.
    ///
    /// # Errors
    ///
    /// [`MarketplaceError::NotInstalled`], [`MarketplaceError::Composer`]; asking again goes on where it ended.
    pub async fn uninstall(&self, actor: &Actor, which: &Which, delete_data: bool) -> Result<Uninstalled> {
        let (target, which, inner) = (told(which), which.clone(), Arc::clone(&self.inner));
        let effect = async move {
            let read = inner.find(&which).await?;
            let install = read.record.install_id.clone();
            let lead = match inner.running.enter(&install, "removed")? {
                Turn::Lead(lead) => lead,
                Turn::Join(_) => return Err(MarketplaceError::Busy { install, doing: "removed" }),
            };
            let removed = inner.uninstall(read, delete_data).await;
            lead.end(&removed);
            removed
        };
        let detail = json!({ "delete_data": delete_data });
        self.perform(actor, "app.uninstall", &target, Some(detail), effect).await
    }
}

/// The install as the trail shows it.
fn told(which: &Which) -> String {
    let Which { name, app_id, compose_path } = which;
    quoted(name.as_ref().or(app_id.as_ref()).or(compose_path.as_ref()).map_or("", String::as_str))
}

impl Inner {
    /// Does it, or waits for somebody who does.
    async fn lead(&self, read: Versioned, act: Act) -> Result<(Record, String)> {
        let lead = match self.running.enter(&read.record.install_id, act.doing())? {
            Turn::Lead(lead) => lead,
            Turn::Join(join) => {
                join.wait().await?;
                return Ok((read.record, String::new()));
            }
        };
        let done = self.act(read, act).await;
        lead.end(&done);
        done
    }

    async fn act(&self, read: Versioned, act: Act) -> Result<(Record, String)> {
        let done = match act {
            Act::Start => self.up(&read.record, false).await,
            Act::Restart => self.up(&read.record, true).await,
            Act::Stop => self.stop(&read.record).await.map(|output| (read.record.clone(), output)),
        };
        let (record, output) = match done {
            Ok(done) => done,
            Err(error) => {
                let record = Record { failure: Some(error.to_string()), ..read.record };
                if let Err(error) = self.records.put(&record, Some(read.version)).await {
                    tracing::warn!(%error, "why an app could not be started is not kept");
                }
                return Err(error);
            }
        };
        let record = Record { failure: None, ..record };
        self.records.put(&record, Some(read.version)).await?;
        self.settle(&record).await;
        Ok((record, output))
    }

    /// Reads the files as they are now, judges them, and has Compose do the rest.
    async fn up(&self, record: &Record, restart: bool) -> Result<(Record, String)> {
        match record.phase {
            Phase::Ready => {}
            Phase::Writing => {
                let what = format!("`{}` was not wholly written, and so", record.install_id);
                return Err(MarketplaceError::NotInstalled { what });
            }
            Phase::Removing => {
                let what = format!("`{}` was not wholly removed, and so", record.install_id);
                return Err(MarketplaceError::NotInstalled { what });
            }
        }
        let (project, names) = self.on_disk_now(record).await?;
        let (folder, folders) = (self.folder(record), project.own_folders());
        on_disk(move || folders.iter().try_for_each(|inner| folder.make_inside(inner))).await?;
        let record = Record { services: names, started: true, ..record.clone() };
        let approved = self.approve(&project, &record, &self.grants(&record)).await?;
        let file = self.file_for_compose(&approved, &record).await?;
        let same = self.approved(&record).await?.as_ref() == Some(&file);
        self.keep_approved(&record, &file).await?;
        fault::point("app.approved");
        let name = project_name(&record.install_id);
        let mut output = self.config.composer.run(&name, &file, ComposeVerb::Up, &self.stop).await?;
        // What changed was made anew and so has just begun.
        if restart && same {
            output = self.config.composer.run(&name, &file, ComposeVerb::Restart, &self.stop).await?;
        }
        Ok((record, output))
    }

    /// The project of the files as they are, and the names of its containers.
    async fn on_disk_now(&self, record: &Record) -> Result<(Project, BTreeMap<String, String>)> {
        let folder = self.folder(record);
        let (text, values) =
            on_disk(move || Ok((folder.read(files::COMPOSE)?, folder.read(files::VALUES)?))).await?;
        let missing = || MarketplaceError::NotInstalled {
            what: format!("the compose.yaml of `{}` is not there, and so it", record.install_id),
        };
        let values = values.map_or_else(|| Ok(BTreeMap::new()), |values| values::read(&values))?;
        let mut project = compose::parse(&text.ok_or_else(missing)?, &values)?;
        let main = match project.services.contains_key(&record.main) {
            true => record.main.clone(),
            false => blueprint::main_service(&project, &record.app_id, 0),
        };
        let mut names = create::container_names(&project, &main, &record.container_name);
        for (name, service) in &mut project.services {
            match &service.wish.name {
                // Somebody may have chosen another one.
                Some(chosen) => {
                    names.insert(name.clone(), chosen.clone());
                }
                None => service.wish.name = names.get(name).cloned(),
            }
        }
        self.check_names(&names, record).await?;
        Ok((project, names))
    }

    async fn stop(&self, record: &Record) -> Result<String> {
        let name = project_name(&record.install_id);
        match self.approved(record).await? {
            Some(file) => Ok(self.config.composer.run(&name, &file, ComposeVerb::Stop, &self.stop).await?),
            // It was never started.
            None => Ok(String::new()),
        }
    }

    /// The file that Compose was given last.
    async fn approved(&self, record: &Record) -> Result<Option<String>> {
        let (folder, name) = (self.approved_files(), format!("{}.yaml", record.install_id));
        on_disk(move || folder.read(&name)).await
    }

    async fn keep_approved(&self, record: &Record, file: &str) -> Result<()> {
        let (folder, name) = (self.approved_files(), format!("{}.yaml", record.install_id));
        let file = file.to_owned();
        on_disk(move || {
            folder.make(0o700)?;
            // It holds the values of secrets.
            folder.write(&name, &file, CLOSED)
        })
        .await
    }

    async fn update(
        &self,
        read: Versioned,
        environment: BTreeMap<String, String>,
        replace_edited: bool,
    ) -> Result<(Record, String, bool, String)> {
        let record = read.record.clone();
        let from = record.version.clone();
        let app = self.config.catalog.find(&record.app_id).await?;
        let folder = self.folder(&record);
        let (before, values) = on_disk({
            let folder = folder.clone();
            move || Ok((folder.read(files::COMPOSE)?.unwrap_or_default(), folder.read(files::VALUES)?))
        })
        .await?;
        let edited = blueprint::digest(&before) != record.written;
        if edited && !replace_edited {
            return Err(MarketplaceError::Edited { install: record.install_id });
        }
        // Values stay; what the newer version needs beyond them is asked for or made up.
        let mut given = values.map_or_else(|| Ok(BTreeMap::new()), |values| values::read(&values))?;
        given.extend(environment);
        let Chosen { values, secrets, extra, .. } = create::choose(&app, given, BTreeMap::new())?;
        // What only the former version knew is no variable for the containers of this one.
        let extra = extra.into_iter().filter(|name| record.extra.contains(name)).collect();
        let mut edits = Edits { extra, ..Edits::default() };
        let mut project = blueprint::project(&app.compose, &values, &edits)?;
        edits.main = blueprint::main_service(&project, &app.about.id, app.about.port);
        edits.names = create::container_names(&project, &edits.main, &record.container_name);
        let (kept, mut taken) = (&record.ports, self.taken_ports(Some(&record.install_id)).await?);
        // Ports stay where they are.
        for (name, service) in &mut project.services {
            for port in service.wish.ports.iter_mut().filter(|port| port.host.is_some()) {
                let same = kept.iter().find(|known| {
                    known.service == *name
                        && known.container == port.container
                        && known.protocol() == port.protocol
                });
                if let Some(known) = same {
                    port.host = Some(known.host);
                    taken.remove(&(known.host, port.protocol));
                }
            }
        }
        let own = |port, protocol| {
            !kept.iter().any(|known| known.host == port && known.protocol() == protocol)
                && ports::is_busy(port, protocol)
        };
        let ports = ports::assign(&mut project, &edits.main, &BTreeMap::new(), taken, own)?;
        edits.ports = create::host_ports(&project);
        let project = blueprint::project(&app.compose, &values, &edits)?;
        let record = Record {
            version: app.about.version.clone(),
            app_name: app.about.name.clone(),
            main: edits.main.clone(),
            services: edits.names.clone(),
            extra: edits.extra.clone(),
            ports,
            updated_at: self.clock.now(),
            ..record
        };
        let text = blueprint::text(&app.compose, &values, &secrets, &edits)?;
        let text = format!("{}{text}", create::header(&app.about.name, &record));
        if text == before && record.version == from {
            return Ok((read.record, from, false, String::new()));
        }
        self.approve(&project, &record, &app.grants).await?;
        let was_up = self.was_up(&read.record).await?;
        let written = blueprint::digest(&text);
        let notes: Vec<String> = app.about.notes.iter().map(|note| note.text.clone()).collect();
        let readme = create::readme(&app, &record, self.clock.now(), &notes);
        on_disk(move || {
            if edited {
                folder.write(files::BACKUP, &before, OPEN)?;
            }
            folder.write(files::VALUES, &values::write(&values), CLOSED)?;
            folder.write(files::COMPOSE, &text, OPEN)?;
            folder.write(files::README, &readme, OPEN)
        })
        .await?;
        let record = Record { written, ..record };
        let read = self.records.put(&record, Some(read.version)).await?;
        if !was_up {
            return Ok((record, from, true, String::new()));
        }
        let (record, output) = self.act(read, Act::Start).await?;
        Ok((record, from, true, output))
    }

    async fn was_up(&self, record: &Record) -> Result<bool> {
        let containers = self.mirror.containers().await?;
        let up =
            |name: &String| own_container(&containers, record, name).is_some_and(|found| found.is_running());
        Ok(record.services.values().any(up))
    }

    async fn uninstall(&self, read: Versioned, delete_data: bool) -> Result<Uninstalled> {
        let record = Record { phase: Phase::Removing, ..read.record };
        let read = self.records.put(&record, Some(read.version)).await?;
        fault::point("app.removing");
        let mut volumes = Vec::new();
        if let Some(file) = self.approved(&record).await? {
            let name = project_name(&record.install_id);
            let verb = ComposeVerb::Down { volumes: delete_data };
            self.config.composer.run(&name, &file, verb, &self.stop).await?;
            volumes = own_volumes(&file);
        }
        self.settle(&record).await;
        let (folder, approved) = (self.folder(&record), self.approved_files());
        let approved_file = format!("{}.yaml", record.install_id);
        let left = on_disk(move || {
            let removed = delete_data && folder.remove_what_we_may()?;
            // The values stay with the data, which may need its passwords.
            for name in [files::COMPOSE, files::README, files::BACKUP] {
                folder.remove_file(name)?;
            }
            approved.remove_file(&approved_file)?;
            Ok(!removed)
        })
        .await?;
        fault::point("app.removed");
        self.records.delete(&read).await?;
        Ok(Uninstalled {
            data_kept_in: left.then(|| super::shown(&self.host_folder(&record))),
            volumes_kept: if delete_data { Vec::new() } else { volumes },
            install_id: record.install_id,
            app_id: record.app_id,
        })
    }
}

/// The volumes that a file of ours makes.
fn own_volumes(file: &str) -> Vec<String> {
    // Written by us, and with every variable put in.
    let volumes = compose::placed_volumes(file).unwrap_or_default();
    volumes.into_iter().filter(|(_, spec)| !spec.external).map(|(name, _)| name).collect()
}
