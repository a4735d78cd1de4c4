//! First set-up and API keys, in the homelab's dialect.

use claw_core::{ErrorCode, KeyId, Secret};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::{Answer, Client, ClientError};

/// Whether set-up was done.
#[derive(Clone, Debug, Deserialize)]
pub struct SetupStatus {
    /// At least one key exists.
    #[serde(default)]
    pub has_key: bool,
    /// Nobody can enter yet.
    #[serde(default)]
    pub setup_required: bool,
    /// The key that asked, if one did.
    pub meta: Option<KeyMeta>,
}

/// What is told about a key. It is not the key.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct KeyMeta {
    /// Identifies the key.
    pub id: String,
    /// Its first characters, by which a person recognizes it.
    #[serde(default)]
    pub key_prefix: String,
    /// A name for people.
    #[serde(default)]
    pub label: String,
    /// `admin` or `agent`.
    #[serde(default)]
    pub role: String,
    /// What it may do, as scope names; newer servers may know more than this client.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// When it was made.
    #[serde(default)]
    pub created_at: String,
    /// When it was last used; empty if never.
    pub last_used_at: Option<String>,
    /// Most US dollars that its jobs may cost on one day.
    pub max_usd_per_day: Option<f64>,
    /// From then on it is refused.
    pub expires_at: Option<String>,
    /// Until when the key that this one was before its rotation is good.
    pub former_until: Option<String>,
}

/// A key that was just made: the only time it is shown.
#[derive(Clone, Debug, Deserialize)]
pub struct NewKey {
    /// The key itself.
    #[serde(deserialize_with = "secret")]
    pub key: Secret,
    /// What is told about it later.
    pub meta: KeyMeta,
}

/// The answer to whether a key is good.
#[derive(Clone, Debug, Deserialize)]
pub struct VerifiedKey {
    /// It is.
    #[serde(default)]
    pub valid: bool,
    /// Its id.
    #[serde(default)]
    pub key_id: String,
    /// What it may do.
    #[serde(default)]
    pub scopes: Vec<String>,
}

/// What to change of a key; `None` leaves as it is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct UpdateKey {
    /// The scopes it holds from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// Its new name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Most US dollars that its jobs may cost on one day from now on; `Some(None)` for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_usd_per_day: Option<Option<f64>>,
    /// When it expires from now on; `Some(None)` for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Option<String>>,
}

fn secret<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}

impl Client {
    /// Tells whether set-up was done. Needs no credential.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]; [`ErrorCode::InvalidKey`] when the client's key is wrong.
    pub async fn setup_status(&self) -> Result<Answer<SetupStatus>, ClientError> {
        self.get(["api", "auth", "status"]).data().await
    }

    /// Makes the first key, with the one-time token that the server printed at its first start.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]; [`ErrorCode::AlreadySetup`], [`ErrorCode::InvalidSetupToken`].
    pub async fn set_up(
        &self,
        setup_token: &Secret,
        label: &str,
        scopes: &[&str],
    ) -> Result<Answer<NewKey>, ClientError> {
        #[derive(Serialize)]
        struct Body<'a> {
            setup_token: &'a str,
            label: &'a str,
            scopes: &'a [&'a str],
        }
        let body = Body { setup_token: setup_token.expose(), label, scopes };
        self.post(["api", "auth", "setup"]).body(&body).data().await
    }

    /// Asks whether `key` is good.
    ///
    /// # Errors
    ///
    /// See [`ClientError`]; [`ErrorCode::InvalidKey`] when it is not.
    pub async fn verify_key(&self, key: &Secret) -> Result<Answer<VerifiedKey>, ClientError> {
        #[derive(Serialize)]
        struct Body<'a> {
            key: &'a str,
        }
        self.post(["api", "auth", "verify"]).body(&Body { key: key.expose() }).data().await
    }

    /// Lists all keys.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn keys(&self) -> Result<Answer<Vec<KeyMeta>>, ClientError> {
        self.get(["api", "keys"]).data().await
    }

    /// Returns what is told about the key that asks.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn own_key(&self) -> Result<Answer<KeyMeta>, ClientError> {
        self.get(["api", "settings"]).data().await
    }

    /// Makes a key. `role` is `agent` or `admin`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn create_key(
        &self,
        label: Option<&str>,
        scopes: &[String],
        role: Option<&str>,
        max_usd_per_day: Option<f64>,
        expires_at: Option<&str>,
    ) -> Result<Answer<NewKey>, ClientError> {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            label: Option<&'a str>,
            scopes: &'a [String],
            #[serde(skip_serializing_if = "Option::is_none")]
            role: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            max_usd_per_day: Option<f64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            expires_at: Option<&'a str>,
        }
        let body = Body { label, scopes, role, max_usd_per_day, expires_at };
        self.post(["api", "keys"]).body(&body).data().await
    }

    /// Gives a key another secret; the former one stays good for `grace_seconds`, or as long as the server thinks
    /// right.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn rotate_key(
        &self,
        id: &str,
        grace_seconds: Option<u64>,
    ) -> Result<Answer<NewKey>, ClientError> {
        #[derive(Serialize)]
        struct Body {
            #[serde(skip_serializing_if = "Option::is_none")]
            grace_seconds: Option<u64>,
        }
        let call = self.call(Method::POST, ["api", "keys", checked(id)?, "rotate"]);
        call.missing(ErrorCode::KeyNotFound).body(&Body { grace_seconds }).data().await
    }

    /// Changes a key's scopes or name. The key itself stays the same.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn update_key(&self, id: &str, changes: &UpdateKey) -> Result<Answer<KeyMeta>, ClientError> {
        let call = self.call(Method::PATCH, ["api", "keys", checked(id)?]);
        call.missing(ErrorCode::KeyNotFound).body(changes).data().await
    }

    /// Lowers the scopes of the key that asks.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn lower_own_scopes(&self, scopes: &[String]) -> Result<Answer<KeyMeta>, ClientError> {
        #[derive(Serialize)]
        struct Body<'a> {
            scopes: &'a [String],
        }
        self.post(["api", "settings", "scopes"]).body(&Body { scopes }).data().await
    }

    /// Revokes a key at once.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn revoke_key(&self, id: &str) -> Result<Answer<serde_json::Value>, ClientError> {
        let call = self.call(Method::DELETE, ["api", "keys", checked(id)?]);
        call.missing(ErrorCode::KeyNotFound).data().await
    }
}

/// Key ids come from the server, where they are UUIDs; anything else must not shape a request's path.
fn checked(id: &str) -> Result<&str, ClientError> {
    id.parse::<KeyId>()
        .map(|_| id)
        .map_err(|error| ClientError::new(ErrorCode::InvalidRequest, error.to_string()))
}
