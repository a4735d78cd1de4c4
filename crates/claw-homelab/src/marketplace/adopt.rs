//! Taking over an install that another server made, with the compose file as it is.

use std::{collections::BTreeMap, sync::Arc};

use claw_core::Actor;
use serde_json::json;

use super::{
    AppSource, Inner, Marketplace, MarketplaceError, Published, Result, blueprint,
    blueprint::Edits,
    create, files, naming, on_disk,
    record::{Phase, Record},
    running::Turn,
    shown,
};
use crate::compose::{Project, quoted};

/// An install of another server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForeignInstall {
    /// Its app.
    pub app_id: String,
    /// Its name.
    pub install_id: String,
    /// Its compose file, without variables.
    pub compose: String,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adopted {
    /// It is an install of ours, not started. Its folder, as the host sees it.
    New {
        /// The folder.
        install_dir: String,
    },
    /// It was taken over before, and is left as it is.
    Known,
}

impl Marketplace {
    /// Takes over an install. Its compose file is read by our rules, and judged by the policy when it is started, like
    /// one that somebody edited; it has no exceptions, whatever app it says it is. Nothing is started.
    ///
    /// # Errors
    ///
    /// The gate's refusal; [`MarketplaceError::Invalid`] for names that are none; [`MarketplaceError::Compose`] for a
    /// file that cannot be read by our rules; [`MarketplaceError::NameTaken`] if another app has its name.
    pub async fn adopt(&self, actor: &Actor, foreign: ForeignInstall) -> Result<Adopted> {
        let detail = json!({ "install": quoted(&foreign.install_id) });
        let (inner, owner, target) = (Arc::clone(&self.inner), actor.owner(), quoted(&foreign.app_id));
        let effect = async move { inner.adopt(owner, foreign).await };
        self.perform(actor, "app.adopt", &target, Some(detail), effect).await
    }
}

impl Inner {
    async fn adopt(&self, owner: String, foreign: ForeignInstall) -> Result<Adopted> {
        naming::app_id(&foreign.app_id)?;
        if naming::install_id(&foreign.install_id)? != foreign.install_id {
            return Err(MarketplaceError::invalid(
                claw_core::ErrorCode::InvalidCustomName,
                "the name of an install has lower-case letters, digits and dashes",
            ));
        }
        let lead = match self.running.enter(&foreign.install_id, "taken over")? {
            Turn::Lead(lead) => lead,
            Turn::Join(_) => {
                return Err(MarketplaceError::Busy { install: foreign.install_id, doing: "taken over" });
            }
        };
        let adopted = self.adopt_alone(owner, foreign).await;
        lead.end(&adopted);
        adopted
    }

    async fn adopt_alone(&self, owner: String, foreign: ForeignInstall) -> Result<Adopted> {
        let ForeignInstall { app_id, install_id, compose } = foreign;
        let before = self.records.get(&install_id).await?;
        match &before {
            Some(known) if known.record.app_id != app_id => {
                let what = format!("`{install_id}` is an install of {}", known.record.app_name);
                return Err(MarketplaceError::NameTaken { what });
            }
            // One whose files were not all written is written again.
            Some(known) if known.record.phase != Phase::Writing => return Ok(Adopted::Known),
            Some(_) | None => {}
        }
        let about = self.config.catalog.own(&app_id).map(|app| &app.about);
        let none = BTreeMap::new();
        let project = blueprint::project(&compose, &none, &Edits::default())?;
        let main = blueprint::main_service(&project, &app_id, about.map_or(0, |about| about.port));
        let names = create::container_names(&project, &main, &install_id);
        let edits = Edits { names: names.clone(), main: main.clone(), ..Edits::default() };
        let now = self.clock.now();
        let mut record = Record {
            app_name: about.map_or_else(|| app_id.clone(), |about| about.name.clone()),
            app_id,
            version: String::new(),
            // Not ours: what the catalog's own file may is not for a file from elsewhere.
            source: AppSource::Remote,
            container_name: install_id.clone(),
            main,
            services: names,
            ports: published(&project),
            extra: Vec::new(),
            owner,
            created_at: now,
            updated_at: now,
            phase: Phase::Writing,
            written: String::new(),
            // So that nobody makes it anew: its data may be there.
            started: true,
            failure: None,
            begun: None,
            next: None,
            made_up: Vec::new(),
            install_id,
        };
        let text = blueprint::text(&compose, &none, &[], &edits)?;
        let text = format!("{}{text}", create::header(&record.app_name, &record));
        let reserved = self.records.put(&record, before.map(|before| before.version)).await?;
        let (folder, folders) = (self.folder(&record), project.own_folders());
        on_disk({
            let text = text.clone();
            move || {
                folder.make(0o755)?;
                folders.iter().try_for_each(|inner| folder.make_inside(inner))?;
                folder.write(files::VALUES, "", files::CLOSED)?;
                folder.write(files::COMPOSE, &text, files::OPEN)
            }
        })
        .await?;
        record.phase = Phase::Ready;
        record.written = blueprint::digest(&text);
        self.records.put(&record, Some(reserved.version)).await?;
        Ok(Adopted::New { install_dir: shown(&self.host_folder(&record)) })
    }
}

/// Where the ports of a project are.
fn published(project: &Project) -> Vec<Published> {
    let of = |(name, service): (&String, &crate::compose::Service)| {
        let name = name.clone();
        let ports = service.wish.ports.clone().into_iter();
        ports.filter_map(move |port| {
            let protocol = match port.protocol {
                claw_docker::policy::Protocol::Udp => "udp",
                claw_docker::policy::Protocol::Tcp => "tcp",
            };
            Some(Published {
                service: name.clone(),
                container: port.container,
                host: port.host?,
                protocol: protocol.to_owned(),
                instead_of: None,
            })
        })
    };
    project.services.iter().flat_map(of).collect()
}
