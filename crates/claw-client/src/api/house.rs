//! Looking after an installation: audit, spending, sessions, the model login, removing what is old.

use claw_core::{ErrorCode, Secret, Timestamp};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::v1;
use crate::{Answer, Client, ClientError, FileDownload};

/// Which audit entries to list.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AuditQuery {
    /// From before this entry on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// Not older than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Not newer than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// By this actor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Whose verb begins so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verb: Option<String>,
    /// Whose target begins so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// That ended so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// How many at the most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// One audit entry.
#[derive(Clone, Debug, Deserialize)]
pub struct AuditEntry {
    /// Its number.
    pub seq: u64,
    /// When it was written.
    pub at: Timestamp,
    /// Who; empty for somebody unknown.
    pub actor: String,
    /// Their name for people.
    #[serde(default)]
    pub label: String,
    /// What.
    pub verb: String,
    /// To what.
    #[serde(default)]
    pub target: String,
    /// Address they came from.
    pub client: Option<String>,
    /// Id of the request.
    pub request_id: Option<String>,
    /// Further facts.
    pub detail: Option<serde_json::Value>,
    /// How it went.
    pub outcome: String,
    /// Error code of a failure or refusal.
    pub code: Option<String>,
    /// When the outcome was known.
    pub settled_at: Option<Timestamp>,
    /// Further refusals of the same kind without an entry.
    #[serde(default)]
    pub more: u64,
}

/// One page of the audit trail.
#[derive(Clone, Debug, Deserialize)]
pub struct AuditPage {
    /// The entries, newest first.
    pub items: Vec<AuditEntry>,
    /// Where the next page begins, as [`AuditQuery::before`].
    pub next: Option<u64>,
}

/// What a check of the audit trail came to.
#[derive(Clone, Debug, Deserialize)]
pub struct AuditVerification {
    /// Whether nothing was changed.
    pub ok: bool,
    /// Number of the oldest record.
    pub first: u64,
    /// Number of the newest record.
    pub last: u64,
    /// The first record that does not follow from the one before it.
    pub broken_at: Option<u64>,
    /// Hash of the newest record.
    pub head: String,
}

/// What to sum up.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SpendingQuery {
    /// First day, as `YYYY-MM-DD`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Last day, included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// `day`, `workspace`, `model` or `key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_by: Option<String>,
    /// Of this owner alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// A sum.
#[derive(Clone, Debug, Deserialize)]
pub struct SpendingRow {
    /// What it is the sum of.
    pub key: String,
    /// Runs of jobs that ended.
    #[serde(default)]
    pub runs: u64,
    /// Model turns.
    #[serde(default)]
    pub turns: u64,
    /// Tokens the model read, not from its cache.
    #[serde(default)]
    pub input_tokens: u64,
    /// Tokens the model wrote.
    #[serde(default)]
    pub output_tokens: u64,
    /// Tokens put into the model's cache.
    #[serde(default)]
    pub cache_write_tokens: u64,
    /// Tokens read from the model's cache.
    #[serde(default)]
    pub cache_read_tokens: u64,
    /// Cost in US dollars.
    pub cost_usd: f64,
}

/// What was spent.
#[derive(Clone, Debug, Deserialize)]
pub struct Spending {
    /// First day.
    pub from: String,
    /// Last day, included.
    pub to: String,
    /// By what it is summed up.
    pub group_by: String,
    /// The sums.
    pub items: Vec<SpendingRow>,
    /// Cost of all of it in US dollars.
    pub total_usd: f64,
}

/// How much of one kind was removed, or would be.
#[derive(Clone, Debug, Deserialize)]
pub struct Removed {
    /// The kind.
    pub kind: String,
    /// How many.
    pub removed: u64,
}

/// What was removed, or would be.
#[derive(Clone, Debug, Deserialize)]
pub struct Removals {
    /// Whether nothing was removed, and the counts say what would be.
    pub dry_run: bool,
    /// Every kind once.
    pub items: Vec<Removed>,
}

/// How the credential for the model API stands.
#[derive(Clone, Debug, Deserialize)]
pub struct ModelLogin {
    /// `valid`, `expired` or `missing`.
    pub status: String,
    /// When it runs out, in milliseconds since 1970.
    pub expires_at: Option<i64>,
    /// Its kind, for administrators.
    pub kind: Option<String>,
    /// More exactly, for administrators.
    pub state: Option<String>,
    /// What is wrong, for administrators.
    pub error: Option<String>,
}

impl ModelLogin {
    /// Tells whether jobs reach the model API with it.
    pub fn serves(&self) -> bool {
        matches!(self.state.as_deref().unwrap_or(&self.status), "valid" | "expiring")
    }
}

/// A session of a person.
#[derive(Clone, Debug, Deserialize)]
pub struct Session {
    /// Names it.
    pub id: String,
    /// Whose it is.
    pub username: String,
    /// When they signed in.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// Address that the sign-in came from.
    pub client: Option<String>,
}

/// Open sessions.
#[derive(Clone, Debug, Deserialize)]
pub struct SessionList {
    /// The soonest to end first.
    pub items: Vec<Session>,
}

impl Client {
    /// Lists the audit trail.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn audit(&self, query: &AuditQuery) -> Result<Answer<AuditPage>, ClientError> {
        self.get(v1!["audit"]).query(query).json().await
    }

    /// Exports the audit trail from after entry `after`, as JSON lines as they arrive.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn audit_export(&self, after: Option<u64>) -> Result<FileDownload, ClientError> {
        let response = self.get(v1!["audit", "export"]).query(&[("after", after)]).streaming().send().await?;
        Ok(FileDownload { response, server: self.server().clone() })
    }

    /// Has the server check every hash of the audit trail.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn audit_verify(&self) -> Result<Answer<AuditVerification>, ClientError> {
        self.get(v1!["audit", "verify"]).streaming().json().await
    }

    /// Sums up what jobs cost.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn spending(&self, query: &SpendingQuery) -> Result<Answer<Spending>, ClientError> {
        self.get(v1!["spending"]).query(query).json().await
    }

    /// Removes what is old, or tells what would be removed.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn collect_garbage(&self, dry_run: bool) -> Result<Answer<Removals>, ClientError> {
        self.post(v1!["maintenance", "gc"]).query(&[("dry_run", dry_run)]).streaming().json().await
    }

    /// Tells how the credential for the model API stands.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn model_login(&self) -> Result<Answer<ModelLogin>, ClientError> {
        self.get(v1!["auth", "oauth-status"]).json().await
    }

    /// Lists the sessions of a person.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn sessions(&self, username: &str) -> Result<Answer<SessionList>, ClientError> {
        let call = self.get(v1!["auth", "sessions"]).query(&[("username", username)]);
        call.missing(ErrorCode::UserNotFound).json().await
    }

    /// Ends a session of a person.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn end_session(
        &self,
        username: &str,
        id: &str,
    ) -> Result<Answer<serde_json::Value>, ClientError> {
        let call = self.call(Method::DELETE, v1!["auth", "sessions", id]).query(&[("username", username)]);
        call.missing(ErrorCode::SessionNotFound).json().await
    }

    /// Gives a person another password; their sessions end.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn reset_password(
        &self,
        username: &str,
        password: &Secret,
    ) -> Result<Answer<serde_json::Value>, ClientError> {
        let call = self.call(Method::PUT, v1!["auth", "users", username, "password"]);
        let body = serde_json::json!({ "password": password.expose() });
        call.body(&body).missing(ErrorCode::UserNotFound).json().await
    }
}
