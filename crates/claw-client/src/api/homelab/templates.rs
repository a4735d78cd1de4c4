//! Templates: containers described for later.

use std::collections::BTreeMap;

use claw_core::ErrorCode;
use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::{
    containers::{CREATE_TIMEOUT, Container, Done},
    part,
};
use crate::{Answer, Client, ClientError};

/// A template that was saved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SavedTemplate {
    /// Always `saved`.
    pub status: String,
    /// Its name.
    pub name: String,
    /// Whether another one of that name was replaced.
    pub replaced: bool,
}

/// Templates are any JSON objects with a `name`, so they are not typed here.
impl Client {
    /// Lists templates as they were saved. Needs `templates:read`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn templates(&self) -> Result<Answer<Vec<serde_json::Value>>, ClientError> {
        self.get(["api", "containers", "templates"]).data().await
    }

    /// Returns a template as it was saved. Needs `templates:read`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]; [`ErrorCode::NotFound`].
    pub async fn template(&self, name: &str) -> Result<Answer<serde_json::Value>, ClientError> {
        self.of_template(Method::GET, name)?.data().await
    }

    /// Saves a template. One of the same name is replaced only if `overwrite` says so. Needs `templates:write`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]; [`ErrorCode::Conflict`], [`ErrorCode::InvalidTemplateName`].
    pub async fn save_template(
        &self,
        template: &serde_json::Value,
        overwrite: bool,
    ) -> Result<Answer<SavedTemplate>, ClientError> {
        let call = self.post(["api", "containers", "templates"]);
        call.query(&[("overwrite", overwrite)]).body(template).data().await
    }

    /// Deletes a template; what was deployed from it stays. Needs `templates:write`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]; [`ErrorCode::NotFound`].
    pub async fn delete_template(&self, name: &str) -> Result<Answer<Done>, ClientError> {
        self.of_template(Method::DELETE, name)?.data().await
    }

    /// Makes and starts the container that a template describes, under `container_name` if that is given. `variables`
    /// are values for what its compose file names. Needs `templates:write` and `containers:write`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]; those of [`Client::create_container`] too.
    pub async fn deploy_template(
        &self,
        name: &str,
        container_name: Option<&str>,
        variables: &BTreeMap<String, String>,
    ) -> Result<Answer<Container>, ClientError> {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            name: Option<&'a str>,
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            variables: &'a BTreeMap<String, String>,
        }
        let name = part("a template", name)?;
        let call = self.post(["api", "containers", "templates", name, "deploy"]);
        let call = call.missing(ErrorCode::NotFound).within(CREATE_TIMEOUT);
        call.body(&Body { name: container_name, variables }).data().await
    }

    fn of_template(&self, method: Method, name: &str) -> Result<crate::client::Call<'_>, ClientError> {
        let name = part("a template", name)?;
        Ok(self.call(method, ["api", "containers", "templates", name]).missing(ErrorCode::NotFound))
    }
}
