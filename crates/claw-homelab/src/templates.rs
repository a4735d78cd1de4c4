//! Saved descriptions of containers.
//!
//! A template is any JSON object with a name. One that describes a container, itself (`image`, …) or in a compose file with
//! one service (`compose`), can be deployed, which is to ask for that container like any other door does: the same policy
//! judges it. A compose file with several services is installed like an app of the marketplace. Templates lie in the store
//! and not in files, so their names lead nowhere.

use std::{collections::BTreeMap, sync::Arc};

use claw_core::{Action, Actor, Coded as _, Decision, ErrorCode, Resource, decide};
use claw_docker::{
    ContainerEntry,
    policy::{ContainerWish, MountWishSource},
};
use claw_gate::{Deed, EffectPlace};
use claw_store::{DocumentFilter, NewDocument, Precondition, StoreError};
use serde_json::{Map, Value};

use crate::{
    Core, EventKind, EventStatus, HomelabError,
    compose::{self, Project, Service},
    containers,
    marketplace::{Deployment, Installed},
    request,
};

type Result<T> = std::result::Result<T, HomelabError>;

/// Kind of the documents.
const KIND: &str = "template";

/// Most templates.
const MOST: u64 = 1000;

/// Longest name, in characters.
const MAX_NAME_CHARS: usize = 128;

/// The name of a template that was saved without one.
const UNTITLED: &str = "untitled";

/// The use cases of templates. Cheap to clone.
#[derive(Clone)]
pub struct Templates {
    core: Arc<Core>,
}

/// What came of saving a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedTemplate {
    /// Its name.
    pub name: String,
    /// Whether another one of that name was replaced.
    pub replaced: bool,
}

/// What came of deploying a template.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployed {
    /// Its container; of several, the main one.
    pub container: ContainerEntry,
    /// The install that its services are, if there are several.
    pub install: Option<Installed>,
}

impl Templates {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Lists all templates as they were saved, by name.
    ///
    /// # Errors
    ///
    /// The gate's refusal; [`HomelabError::Store`].
    pub async fn list(&self, actor: &Actor) -> Result<Vec<Value>> {
        self.core.gate.permit(actor, Action::TemplatesRead, &Resource::Any)?;
        let filter = DocumentFilter { limit: MOST, ..DocumentFilter::default() };
        let page = self.core.store.documents.list(KIND, filter).await?;
        Ok(page.items.into_iter().map(|document| document.value).collect())
    }

    /// Returns a template as it was saved.
    ///
    /// # Errors
    ///
    /// The gate's refusal; [`HomelabError::TemplateNotFound`]; [`HomelabError::Store`].
    pub async fn get(&self, actor: &Actor, name: &str) -> Result<Value> {
        self.core.gate.permit(actor, Action::TemplatesRead, &Resource::Any)?;
        self.stored(name).await
    }

    async fn stored(&self, name: &str) -> Result<Value> {
        let found = self.core.store.documents.get(KIND, name).await?;
        found
            .map(|document| document.value)
            .ok_or_else(|| HomelabError::TemplateNotFound(HomelabError::shown(name)))
    }

    /// Saves a template, given as JSON. One of the same name is replaced unless `keep_existing`.
    ///
    /// # Errors
    ///
    /// The gate's refusal; [`HomelabError::Invalid`] for what is no JSON object or has no good name;
    /// [`HomelabError::TemplateExists`]; [`HomelabError::TooManyTemplates`]; [`HomelabError::Store`].
    pub async fn save(&self, actor: &Actor, body: &[u8], keep_existing: bool) -> Result<SavedTemplate> {
        let may_ask = decide(actor, Action::TemplatesWrite, &Resource::Any) == Decision::Allow;
        let (name, template) = if may_ask { read(body)? } else { (String::new(), Map::new()) };
        let deed = deed("template.save", &name);
        let effect = async {
            let documents = &self.core.store.documents;
            let replaced = documents.get(KIND, &name).await?.is_some();
            if !replaced && documents.count(KIND).await? >= MOST {
                return Err(HomelabError::TooManyTemplates(MOST));
            }
            let document = NewDocument {
                kind: KIND,
                id: name.clone(),
                sort_key: String::new(),
                owner: actor.owner(),
                value: Value::Object(template),
            };
            let precondition = if keep_existing { Precondition::Absent } else { Precondition::None };
            match documents.put(document, precondition).await {
                Ok(_) => Ok(SavedTemplate { name: name.clone(), replaced }),
                Err(StoreError::Conflict { .. }) => Err(HomelabError::TemplateExists(name.clone())),
                Err(error) => Err(error.into()),
            }
        };
        let done = self.core.gate.perform(actor, deed, effect).await;
        if may_ask {
            self.tell(actor, "save", &name, done.as_ref().err()).await;
        }
        done
    }

    /// Deletes a template. What was deployed from it stays.
    ///
    /// # Errors
    ///
    /// The gate's refusal; [`HomelabError::TemplateNotFound`]; [`HomelabError::Store`].
    pub async fn delete(&self, actor: &Actor, name: &str) -> Result<()> {
        let may_ask = decide(actor, Action::TemplatesWrite, &Resource::Any) == Decision::Allow;
        let effect = async {
            if self.core.store.documents.delete(KIND, name, Precondition::None).await? {
                Ok(())
            } else {
                Err(HomelabError::TemplateNotFound(HomelabError::shown(name)))
            }
        };
        let done = self.core.gate.perform(actor, deed("template.delete", name), effect).await;
        if may_ask {
            self.tell(actor, "delete", name, done.as_ref().err()).await;
        }
        done
    }

    /// Makes and starts the container that a template describes, under another name if one is given, with `variables` for
    /// those that a compose file names. Asks for the scope of templates and for that of containers: what may not be created
    /// at the front door may not be created here.
    ///
    /// Several services are an install from then on, like those of the marketplace, and `name` is the install's.
    ///
    /// # Errors
    ///
    /// As [`crate::Containers::create`]; [`HomelabError::TemplateNotFound`]; [`HomelabError::Compose`];
    /// [`HomelabError::App`]; [`HomelabError::Invalid`] for a template that describes no container.
    pub async fn deploy(
        &self,
        actor: &Actor,
        template: &str,
        name: Option<&str>,
        variables: &BTreeMap<String, String>,
    ) -> Result<Deployed> {
        self.core.gate.permit(actor, Action::TemplatesWrite, &Resource::Any)?;
        self.core.gate.permit(actor, Action::ContainersWrite, &Resource::Any)?;
        let Value::Object(mut members) = self.stored(template).await? else {
            return Err(HomelabError::TemplateNotFound(HomelabError::shown(template)));
        };
        let mut wish = match members.get("compose") {
            Some(Value::String(text)) if !members.contains_key("image") => {
                match composed(template, text, variables)? {
                    Composed::One(wish) => *wish,
                    Composed::Several => {
                        return self.deploy_several(actor, template, name, text, variables).await;
                    }
                }
            }
            _ if members.contains_key("image") => {
                if name.is_some() {
                    members.remove("name");
                }
                request::wish_of(members)?
            }
            _ => {
                let message = format!(
                    "template `{}` describes no container: it has neither `image` nor `compose`",
                    HomelabError::shown(template)
                );
                return Err(HomelabError::invalid(ErrorCode::InvalidRequest, message));
            }
        };
        if let Some(name) = name {
            wish.name = request::container_name(&name.into())?;
        }
        let container =
            containers::create(&self.core, actor, Action::ContainersWrite, wish, &by(template)).await?;
        Ok(Deployed { container, install: None })
    }

    async fn deploy_several(
        &self,
        actor: &Actor,
        template: &str,
        name: Option<&str>,
        compose: &str,
        variables: &BTreeMap<String, String>,
    ) -> Result<Deployed> {
        let deployment = Deployment {
            template: template.to_owned(),
            name: name.map_or_else(|| plain(template), str::to_owned),
            compose: compose.to_owned(),
            variables: variables.clone(),
        };
        let install = self.core.marketplace.deploy(actor, deployment).await?;
        for service in &install.services {
            if let Some(id) = &service.container_id {
                self.core.creators.note(id, actor, &by(template), self.core.clock.now()).await?;
            }
        }
        let container = self.core.docker.inspect(&install.container_name).await?.entry;
        Ok(Deployed { container, install: Some(install) })
    }

    async fn tell(&self, actor: &Actor, action: &str, name: &str, error: Option<&HomelabError>) {
        let status = if error.is_some() { EventStatus::Error } else { EventStatus::Success };
        let details = error
            .map(|error| serde_json::json!({ "details": error.to_string(), "code": error.code().as_str() }));
        self.core.activity.note(actor, EventKind::TemplateAction, action, name, status, details).await;
    }
}

fn deed(verb: &'static str, name: &str) -> Deed {
    Deed {
        action: Action::TemplatesWrite,
        verb,
        resource: Resource::Any,
        target: format!("template:{name}"),
        place: EffectPlace::Store,
        detail: None,
    }
}

/// How a container is said to be made.
fn by(template: &str) -> String {
    format!("template:{template}")
}

/// What a compose file describes.
enum Composed {
    One(Box<ContainerWish>),
    Several,
}

/// Reads a compose file. Volumes of one service are named after the template.
fn composed(name: &str, text: &str, variables: &BTreeMap<String, String>) -> Result<Composed> {
    let Project { services, volumes, .. } = compose::parse(text, variables).map_err(HomelabError::Compose)?;
    let mut services = services.into_values();
    let (Some(Service { mut wish, .. }), None) = (services.next(), services.next()) else {
        return Ok(Composed::Several);
    };
    for mount in &mut wish.mounts {
        if let MountWishSource::Volume { name: volume, driver, options } = &mut mount.source
            && let Some(spec) = volumes.get(volume)
        {
            driver.clone_from(&spec.driver);
            options.clone_from(&spec.options);
            match &spec.name {
                Some(real) => volume.clone_from(real),
                None if spec.external => {}
                None => *volume = format!("{}_{volume}", plain(name)),
            }
        }
    }
    if wish.name.is_none() {
        wish.name = Some(plain(name));
    }
    Ok(Composed::One(Box::new(wish)))
}

/// Returns a template's name as Docker takes it for other things.
fn plain(name: &str) -> String {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    match plain.trim_matches('-') {
        "" => UNTITLED.to_owned(),
        plain => plain.to_owned(),
    }
}

/// Reads a template and its name.
fn read(body: &[u8]) -> Result<(String, Map<String, Value>)> {
    let template = request::object(body)?;
    let name = match template.get("name") {
        Some(Value::String(name)) if !name.is_empty() => name.clone(),
        // As clients have always been answered.
        Some(_) | None => UNTITLED.to_owned(),
    };
    let is_good = name.chars().count() <= MAX_NAME_CHARS
        && !name.contains("..")
        && !name.contains(['/', '\\'])
        && !name.chars().any(char::is_control);
    if is_good {
        Ok((name, template))
    } else {
        let message = format!(
            "`{}` is not a name for a template: it has at most {MAX_NAME_CHARS} characters, and no `/`, `\\` or `..`",
            HomelabError::shown(&name)
        );
        Err(HomelabError::invalid(ErrorCode::InvalidTemplateName, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a3_a_template_cannot_be_called_by_a_path() {
        for name in ["../x", "a/b", "a\\b", "..", "a\nb", "a\0b", &"x".repeat(200)] {
            let body = serde_json::json!({ "name": name, "compose": "x" }).to_string();
            let error = read(body.as_bytes()).expect_err("refused");
            assert_eq!(error.code(), ErrorCode::InvalidTemplateName, "{name:?}");
        }
        for (body, name) in [
            (r#"{"name":"my app 2","compose":"services: {}"}"#, "my app 2"),
            (r#"{"compose":""}"#, "untitled"),
            (r#"{"name":7}"#, "untitled"),
        ] {
            assert_eq!(read(body.as_bytes()).expect("read").0, name);
        }
    }
}
