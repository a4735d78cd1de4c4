//! Starting and stopping installs.
//!
//! What is begun is on record before Compose begins it, so that whoever comes after a crash learns that it may be half
//! done. Asking for it again does the rest: Compose makes what is missing and leaves what is there.

use std::{collections::BTreeMap, sync::Arc};

use claw_core::Actor;
use claw_store::fault;

use super::{
    ComposeVerb, Inner, Installed, Marketplace, MarketplaceError, PATIENCE, Result, Which, blueprint, create,
    files::{self, CLOSED},
    on_disk, project_name,
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

/// What can be done with the containers of an install.
#[derive(Clone, Copy)]
pub(super) enum Act {
    Start,
    Stop,
    Restart,
    /// A start with newer files.
    Update,
}

impl Act {
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::Start => "app.start",
            Self::Stop => "app.stop",
            Self::Restart => "app.restart",
            Self::Update => "app.update",
        }
    }

    pub(super) fn doing(self) -> &'static str {
        match self {
            Self::Start => "started",
            Self::Stop => "stopped",
            Self::Restart => "restarted",
            Self::Update => "updated",
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
}

/// The install as the trail shows it.
pub(super) fn told(which: &Which) -> String {
    let Which { name, app_id, compose_path } = which;
    quoted(name.as_ref().or(app_id.as_ref()).or(compose_path.as_ref()).map_or("", String::as_str))
}

impl Inner {
    /// Does it, or waits for somebody who does.
    pub(super) async fn lead(&self, read: Versioned, act: Act) -> Result<(Record, String)> {
        let lead = match self.running.enter(&read.record.install_id, act.doing())? {
            Turn::Lead(lead) => lead,
            Turn::Join(join) => {
                join.wait().await?;
                return Ok((read.record, String::new()));
            }
        };
        let done = self.act_anew(read, act).await;
        lead.end(&done);
        done
    }

    /// Does it with the record as it is now, which may be another one than before it was this one's turn.
    async fn act_anew(&self, read: Versioned, act: Act) -> Result<(Record, String)> {
        let now = self.again(read).await?;
        let (now, _) = self.after_cut_off_update(now).await?;
        self.act(now, act).await
    }

    /// Reads a record again.
    pub(super) async fn again(&self, read: Versioned) -> Result<Versioned> {
        let install = &read.record.install_id;
        let missing = || MarketplaceError::NotInstalled { what: quoted(install) };
        self.records.get(install).await?.ok_or_else(missing)
    }

    pub(super) async fn act(&self, mut read: Versioned, act: Act) -> Result<(Record, String)> {
        let was_started = read.record.started;
        let done = match act {
            Act::Start | Act::Update | Act::Restart => self.up(&mut read, act).await,
            Act::Stop => self.down(&mut read, act).await,
        };
        let mut record = Record { begun: None, ..read.record };
        record.failure = done.as_ref().err().map(ToString::to_string);
        record.started &= was_started || done.is_ok();
        let kept = self.records.put(&record, Some(read.version)).await;
        match (done, kept) {
            (Ok(output), Ok(_)) => {
                self.settle(&record).await;
                Ok((record, output))
            }
            (Ok(_), Err(error)) => Err(error),
            (Err(error), Ok(_)) => Err(error),
            (Err(error), Err(unkept)) => {
                tracing::warn!(error = %unkept, "why an app could not be started is not kept");
                Err(error)
            }
        }
    }

    /// Puts on record what is begun now.
    async fn begin(&self, read: &mut Versioned, act: Act, change: impl FnOnce(&mut Record)) -> Result<()> {
        let mut record = read.record.clone();
        change(&mut record);
        record.begun = Some(act.doing().to_owned());
        *read = self.records.put(&record, Some(read.version)).await?;
        Ok(())
    }

    /// Refuses an install of which something is missing.
    pub(super) fn is_whole(&self, record: &Record) -> Result<()> {
        let half = match record.phase {
            Phase::Ready => return Ok(()),
            Phase::Writing => "written",
            Phase::Removing => "removed",
        };
        let what = format!("`{}` was not wholly {half}, and so", record.install_id);
        Err(MarketplaceError::NotInstalled { what })
    }

    /// Reads the files as they are now, judges them, and has Compose do the rest.
    async fn up(&self, read: &mut Versioned, act: Act) -> Result<String> {
        let record = &read.record;
        self.is_whole(record)?;
        let (project, names) = self.on_disk_now(record).await?;
        let (folder, folders) = (self.folder(record), project.own_folders());
        on_disk(move || folders.iter().try_for_each(|inner| folder.make_inside(inner))).await?;
        let grants = self.grants(record);
        let approved = self.approve(&project, record, &grants).await?;
        let file = self.file_for_compose(&approved, record).await?;
        let same = self.approved(record).await?.as_ref() == Some(&file);
        self.begin(read, act, |record| {
            record.services = names;
            record.started = true;
        })
        .await?;
        self.keep_approved(&read.record, &file).await?;
        fault::point("app.approved");
        let name = project_name(&read.record.install_id);
        let composer = &self.config.composer;
        let mut output = self.raise(&project, &read.record, &grants).await?;
        // What changed was made anew and so has just begun.
        if matches!(act, Act::Restart) && same {
            output = composer.run(&name, &file, ComposeVerb::Restart, &self.stop).await?;
        }
        fault::point("app.composed");
        Ok(output)
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

    async fn down(&self, read: &mut Versioned, act: Act) -> Result<String> {
        let name = project_name(&read.record.install_id);
        // Otherwise it was never started.
        let Some(file) = self.approved(&read.record).await? else { return Ok(String::new()) };
        self.begin(read, act, |_| {}).await?;
        Ok(self.config.composer.run(&name, &file, ComposeVerb::Stop, &self.stop).await?)
    }

    /// The file that Compose was given last.
    pub(super) async fn approved(&self, record: &Record) -> Result<Option<String>> {
        let (folder, name) = (self.approved_files(), approved_file(&record.install_id));
        on_disk(move || folder.read(&name)).await
    }

    async fn keep_approved(&self, record: &Record, file: &str) -> Result<()> {
        let (folder, name) = (self.approved_files(), approved_file(&record.install_id));
        let file = file.to_owned();
        on_disk(move || {
            folder.make(0o700)?;
            // It holds the values of secrets.
            folder.write(&name, &file, CLOSED)
        })
        .await
    }
}

/// Name of the file that Compose was given last.
pub(super) fn approved_file(install: &str) -> String {
    format!("{install}.yaml")
}
