//! Templates of several services: installed and started like an app, for those who may make containers.

use std::{collections::BTreeMap, sync::Arc};

use claw_core::{Action, Actor, Resource};
use claw_docker::policy::Grants;
use claw_gate::{Deed, EffectPlace};
use serde_json::json;

use super::{
    About, App, AppSource, Inner, Installed, Marketplace, NewInstall, Result, Variable,
    life::Act,
    record::{Record, Versioned},
};
use crate::{EventKind, compose::quoted};

/// The app that all templates are installs of.
const APP: &str = "template";

/// A template that is deployed.
pub(crate) struct Deployment {
    /// Name of the template.
    pub(crate) template: String,
    /// A name for what is deployed.
    pub(crate) name: String,
    /// The compose file.
    pub(crate) compose: String,
    /// Values of its variables.
    pub(crate) variables: BTreeMap<String, String>,
}

impl Marketplace {
    /// Writes the files of a template with several services, and starts them. It is an install like those of apps from
    /// then on: to be stopped, started, restarted and uninstalled like them.
    ///
    /// # Errors
    ///
    /// As [`Marketplace::create`] and [`Marketplace::start`]. Nothing runs then, and there is no such install.
    pub(crate) async fn deploy(&self, actor: &Actor, deployment: Deployment) -> Result<Installed> {
        let Deployment { template, name, compose, variables } = deployment;
        let target = quoted(&template);
        let deed = Deed {
            action: Action::ContainersWrite,
            verb: "template.deploy",
            resource: Resource::Any,
            target: format!("template:{target}"),
            place: EffectPlace::Outside,
            detail: Some(json!({
                "name": quoted(&name),
                "variables": variables.keys().take(200).map(|name| quoted(name)).collect::<Vec<_>>(),
            })),
        };
        let app = app(&template, &compose, variables.keys());
        let new = NewInstall {
            app_id: APP.to_owned(),
            custom_name: Some(name),
            environment: variables,
            ..NewInstall::default()
        };
        let (inner, owner) = (Arc::clone(&self.inner), actor.owner());
        let effect = async move { inner.deploy(owner, new, app).await };
        let record = self.carry_out(actor, deed, EventKind::TemplateAction, &target, effect).await?;
        self.inner.seen(record).await
    }
}

/// A template as an app of nobody's catalog.
fn app<'a>(template: &str, compose: &str, variables: impl Iterator<Item = &'a String>) -> App {
    let variable = |name: &String| Variable {
        name: name.clone(),
        description: String::new(),
        default: None,
        required: false,
        generate: None,
        secret: false,
    };
    let about = About {
        id: APP.to_owned(),
        name: quoted(template),
        category: String::new(),
        description: "Deployed from a template.".to_owned(),
        port: 0,
        version: String::new(),
        website: String::new(),
        verified: false,
        popularity: 0.0,
        logo: String::new(),
        variables: variables.map(variable).collect(),
        notes: Vec::new(),
        no_healthcheck: BTreeMap::new(),
    };
    App {
        about: Arc::new(about),
        compose: compose.into(),
        logo: None,
        grants: Arc::new(Grants::default()),
        source: AppSource::Template,
    }
}

impl Inner {
    async fn deploy(&self, owner: String, new: NewInstall, app: App) -> Result<Record> {
        let created = self.create_of(owner, new, app).await?;
        let read = self.named(&created.install_id).await?;
        match self.lead(read, Act::Start).await {
            Ok((record, _)) => Ok(record),
            Err(error) => {
                // Volumes stay: they may be of an earlier deployment.
                let undone = match self.named(&created.install_id).await {
                    Ok(read) => self.uninstall(read, false).await.map(drop),
                    Err(error) => Err(error),
                };
                if let Err(error) = undone {
                    tracing::warn!(%error, install = created.install_id, "what a failed deployment left cannot be removed");
                }
                Err(error)
            }
        }
    }

    async fn named(&self, install: &str) -> Result<Versioned> {
        self.find(&super::Which::named(install)).await
    }
}
