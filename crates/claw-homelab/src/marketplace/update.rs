//! Bringing installs to the version of the catalog.
//!
//! The record that is to be is put beside the one that is before any file is written, and the compose file is written
//! last. So whoever comes after a crash sees by that file which of both is true, and asking again does the rest.

use std::{collections::BTreeMap, sync::Arc};

use claw_core::{Actor, Secret};
use claw_store::fault;

use super::{
    Inner, Marketplace, MarketplaceError, Result, Which, blueprint,
    blueprint::Edits,
    choice::{self, Chosen},
    create,
    files::{self, CLOSED, OPEN},
    life::{Act, Progress, told},
    on_disk, own_container, ports,
    record::{Record, Versioned},
    running::Turn,
    values,
};

/// What an update did.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// The install as it is.
    pub progress: Progress,
    /// The version before.
    pub from: String,
    /// The version now.
    pub to: String,
    /// Whether there was anything newer, or to finish.
    pub changed: bool,
    /// Passwords that were made up for what is new. This is the only time they are shown.
    pub generated: Vec<(String, Secret)>,
}

/// What an update did, before it is known how the install is.
struct Updated {
    record: Record,
    from: String,
    changed: bool,
    output: String,
    generated: Vec<(String, Secret)>,
}

/// What an update left that nobody ended.
pub(super) struct CutOff {
    /// Its files are written.
    is_half_done: bool,
    /// And the containers were being made.
    is_half_started: bool,
    /// Names of the passwords that it made up, and told nobody.
    made_up: Vec<String>,
}

impl Marketplace {
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
            let lead = match inner.running.enter(&install, Act::Update.doing())? {
                Turn::Lead(lead) => lead,
                Turn::Join(_) => return Err(MarketplaceError::Busy { install, doing: Act::Update.doing() }),
            };
            let updated = inner.update(read, environment, replace_edited).await;
            lead.end(&updated);
            updated
        };
        let Updated { record, from, changed, output, generated } =
            self.perform(actor, Act::Update.verb(), &target, None, effect).await?;
        let to = record.version.clone();
        let progress = Progress { installed: self.inner.seen(record).await?, done: true, output };
        Ok(Update { progress, from, to, changed, generated })
    }
}

impl Inner {
    async fn update(
        &self,
        read: Versioned,
        environment: BTreeMap<String, String>,
        replace_edited: bool,
    ) -> Result<Updated> {
        let read = self.again(read).await?;
        let (read, cut_off) = self.after_cut_off_update(read).await?;
        self.is_whole(&read.record)?;
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
        let Chosen { values, secrets, extra, mut generated, .. } =
            choice::choose(&app, given, BTreeMap::new())?;
        let made_up: Vec<String> = generated.iter().map(|(name, _)| name.clone()).collect();
        let untold = cut_off.made_up.iter().filter(|name| !made_up.contains(name));
        generated
            .extend(untold.filter_map(|name| Some((name.clone(), Secret::new(values.get(name)?.clone())))));
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
        let mut next = Record {
            version: app.about.version.clone(),
            app_name: app.about.name.clone(),
            main: edits.main.clone(),
            services: edits.names.clone(),
            extra: edits.extra.clone(),
            ports,
            updated_at: self.clock.now(),
            begun: None,
            failure: None,
            made_up: generated.iter().map(|(name, _)| name.clone()).collect(),
            ..record.clone()
        };
        if !record.started {
            // Who makes it anew is told all of them once more.
            next.made_up.extend(record.made_up.iter().filter(|name| values.contains_key(*name)).cloned());
        }
        let text = blueprint::text(&app.compose, &values, &secrets, &edits)?;
        let text = format!("{}{text}", create::header(&app.about.name, &next));
        if text == before && next.version == from && !cut_off.is_half_done {
            return Ok(Updated {
                record,
                from,
                changed: false,
                output: String::new(),
                generated: Vec::new(),
            });
        }
        self.approve(&project, &next, &app.grants).await?;
        let restart = self.is_up(&record).await? || cut_off.is_half_started;
        next.written = blueprint::digest(&text);
        let notes: Vec<String> = app.about.notes.iter().map(|note| note.text.clone()).collect();
        let readme = create::readme(&app, &next, self.clock.now(), &notes);
        let begun = Some(Act::Update.doing().to_owned());
        let beginning = Record { begun: begun.clone(), next: Some(Box::new(next.clone())), ..record.clone() };
        let read = self.records.put(&beginning, Some(read.version)).await?;
        fault::point("app.updating");
        let written = on_disk(move || {
            if edited {
                folder.write(files::BACKUP, &before, OPEN)?;
            }
            folder.write(files::VALUES, &values::write(&values), CLOSED)?;
            folder.write(files::README, &readme, OPEN)?;
            // Last: by this one it is told how far it came.
            folder.write(files::COMPOSE, &text, OPEN)
        });
        if let Err(error) = written.await {
            let record = Record { failure: Some(error.to_string()), ..record };
            if let Err(unkept) = self.records.put(&record, Some(read.version)).await {
                tracing::warn!(error = %unkept, "an update that failed stays on record as begun");
            }
            return Err(error);
        }
        fault::point("app.updated");
        next.begun = begun.filter(|_| restart);
        let read = self.records.put(&next, Some(read.version)).await?;
        if !restart {
            return Ok(Updated { record: next, from, changed: true, output: String::new(), generated });
        }
        let (record, output) = self.act(read, Act::Update).await?;
        Ok(Updated { record, from, changed: true, output, generated })
    }

    async fn is_up(&self, record: &Record) -> Result<bool> {
        let containers = self.mirror.containers().await?;
        let up =
            |name: &String| own_container(&containers, record, name).is_some_and(|found| found.is_running());
        Ok(record.services.values().any(up))
    }

    /// Finds out how far an update came that nobody ended: the compose file that is there tells. Returns the record that
    /// belongs to it.
    pub(super) async fn after_cut_off_update(&self, read: Versioned) -> Result<(Versioned, CutOff)> {
        let record = &read.record;
        let Some(next) = record.next.clone() else {
            let is_half_started = record.begun.as_deref() == Some(Act::Update.doing());
            let made_up = if is_half_started { record.made_up.clone() } else { Vec::new() };
            return Ok((read, CutOff { is_half_done: is_half_started, is_half_started, made_up }));
        };
        let folder = self.folder(record);
        let text = on_disk(move || folder.read(files::COMPOSE)).await?.unwrap_or_default();
        let made_up = next.made_up.clone();
        let is_half_done = blueprint::digest(&text) == next.written;
        let record = if is_half_done { *next } else { Record { next: None, begun: None, ..read.record } };
        let read = self.records.put(&record, Some(read.version)).await?;
        Ok((read, CutOff { is_half_done, is_half_started: false, made_up }))
    }
}
