//! Removing installs.
//!
//! The record goes last but for the file that Compose was given: as long as one is there, removing it again goes on
//! where a crash ended it. A file without a record is removed at the next start.

use std::sync::Arc;

use claw_core::Actor;
use claw_store::fault;
use serde_json::json;

use super::{
    ComposeVerb, Inner, Marketplace, MarketplaceError, Result, Which, blueprint,
    files::{self, Left},
    life::{approved_file, told},
    on_disk, project_name,
    record::{Phase, Record, Versioned},
    running::Turn,
    shown,
};
use crate::compose;

/// What uninstalling did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uninstalled {
    /// The install that is gone.
    pub install_id: String,
    /// Its app.
    pub app_id: String,
    /// Where its data is, if it was kept, or belongs to users of its containers and cannot be removed by us.
    pub data_kept_in: Option<String>,
    /// What is left to do by hand, if its data was to go and could not.
    pub note: Option<String>,
    /// Its volumes, if they were kept.
    pub volumes_kept: Vec<String>,
}

impl Marketplace {
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

impl Inner {
    pub(super) async fn uninstall(&self, read: Versioned, delete_data: bool) -> Result<Uninstalled> {
        let read = self.again(read).await?;
        let record = Record { phase: Phase::Removing, begun: None, next: None, ..read.record };
        let read = self.records.put(&record, Some(read.version)).await?;
        fault::point("app.removing");
        let mut volumes = Vec::new();
        if let Some(file) = self.approved(&record).await? {
            let name = project_name(&record.install_id);
            let verb = ComposeVerb::Down { volumes: delete_data };
            self.config.composer.run(&name, &file, verb, &self.stop).await?;
            volumes = own_volumes(&file);
        }
        fault::point("app.down");
        self.settle(&record).await;
        let folder = self.folder(&record);
        let left = on_disk(move || {
            let left = if delete_data { folder.remove_what_we_may()? } else { Left::of(&folder) };
            // The values stay with the data, which may need its passwords.
            for name in [files::COMPOSE, files::README, files::BACKUP] {
                folder.remove_file(name)?;
            }
            folder.remove_fresh(files::VALUES)?;
            Ok(left)
        })
        .await?;
        let folder = self.folder(&record);
        match on_disk(move || folder.read(files::VALUES)).await? {
            // Whoever installs it again gets these, and no others that somebody puts there.
            Some(values) => self.records.vouch(&record, &blueprint::digest(&values)).await?,
            None => self.records.forget_left(&record).await?,
        }
        fault::point("app.removed");
        self.records.delete(&read).await?;
        fault::point("app.forgotten");
        // Not sooner: who goes on after a crash needs it to find the volumes.
        self.forget_approved(&record.install_id).await?;
        let place = shown(&self.host_folder(&record));
        let note = match &left {
            Left::Others(name) => Some(format!(
                "`{name}` in {place} belongs to users of the app's containers, so this server may not remove all of \
                 it: remove the folder as root, such as with `rm -r {place}`"
            )),
            _ => None,
        };
        Ok(Uninstalled {
            data_kept_in: (!matches!(left, Left::Nothing)).then_some(place),
            note,
            volumes_kept: if delete_data { Vec::new() } else { volumes },
            install_id: record.install_id,
            app_id: record.app_id,
        })
    }

    async fn forget_approved(&self, install: &str) -> Result<()> {
        let (folder, name) = (self.approved_files(), approved_file(install));
        on_disk(move || folder.remove_file(&name)).await
    }

    /// Removes what a crash left of installs that are gone.
    pub(super) async fn forget_the_gone(&self) -> Result<()> {
        let folder = self.approved_files();
        // First the files: one whose record is not there then has none any more.
        let names = on_disk(move || folder.names()).await?;
        for name in names {
            let plain = name.strip_prefix('.').and_then(|name| name.strip_suffix(".new")).unwrap_or(&name);
            let Some(install) = plain.strip_suffix(".yaml") else { continue };
            if self.records.get(install).await?.is_none() {
                self.forget_approved(install).await?;
            }
        }
        Ok(())
    }
}

/// The volumes that a file of ours makes.
fn own_volumes(file: &str) -> Vec<String> {
    // Written by us, and with every variable put in.
    let volumes = compose::placed_volumes(file).unwrap_or_default();
    volumes.into_iter().filter(|(_, spec)| !spec.external).map(|(name, _)| name).collect()
}
