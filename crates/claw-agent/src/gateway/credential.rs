//! The credential for the model API: where it comes from, and how it is kept fresh.

use std::{fmt, path::PathBuf, sync::Arc};

use claw_core::{Clock, Coded, ErrorCode, Secret};
use reqwest::Url;

use super::{
    login::{self, LoginFile, RefreshError},
    state::{LoginState, LoginStatus},
};

/// Where the credential comes from.
#[derive(Clone, Debug)]
pub enum CredentialSource {
    /// An API key (`ANTHROPIC_API_KEY`).
    ApiKey(Secret),
    /// A bearer token (`ANTHROPIC_AUTH_TOKEN`), such as for a proxy that speaks the API.
    AuthToken(Secret),
    /// A long-lived token of a Claude login (`CLAUDE_CODE_OAUTH_TOKEN`).
    OauthToken(Secret),
    /// The file that logging in with the Claude CLI leaves (`~/.claude/.credentials.json`). It is renewed in time.
    LoginFile(PathBuf),
    /// None was set up.
    Missing,
}

/// A credential, by the way it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// As `x-api-key`.
    ApiKey(Secret),
    /// As `Authorization: Bearer`.
    Bearer(Secret),
    /// As `Authorization: Bearer`, with the beta that logins need.
    Oauth(Secret),
}

impl Credential {
    /// Returns the kind in words.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ApiKey(_) => "API key",
            Self::Bearer(_) => "bearer token",
            Self::Oauth(_) => login::KIND,
        }
    }
}

/// Why there is no credential. For administrators: the texts may name files of this machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// None was set up.
    #[error(
        "there is no credential for the model API: set ANTHROPIC_API_KEY or log in with `claude`, then submit the job again"
    )]
    Missing,
    /// The login file cannot be read as one.
    #[error("the Claude login in {} cannot be read ({reason}): log in again with `claude`, then submit the job again", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong; nothing of the file's content.
        reason: &'static str,
    },
    /// The login ran out.
    #[error("the Claude login in {} expired: log in again with `claude`, then submit the job again", .path.display())]
    Expired {
        /// The file.
        path: PathBuf,
    },
    /// The login ran out and could not be renewed.
    #[error("the Claude login in {} expired and could not be renewed", .path.display())]
    NotRenewed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: RefreshError,
    },
}

impl CredentialError {
    /// Returns the error for those who use the model and run the machine not: it names no file.
    pub fn for_users(&self) -> String {
        let what = match self {
            Self::Missing => return self.to_string(),
            Self::Unreadable { .. } => "cannot be read",
            Self::Expired { .. } => "expired",
            Self::NotRenewed { .. } => "expired and could not be renewed",
        };
        format!("the server's Claude login {what}: log in again with `claude`, then submit the job again")
    }
}

impl Coded for CredentialError {
    fn code(&self) -> ErrorCode {
        ErrorCode::InvalidRequest
    }
}

/// Hands out the credential.
pub(super) enum CredentialStore {
    Fixed(Credential),
    Login(LoginFile),
    Missing,
}

impl fmt::Debug for CredentialStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(credential) => f.debug_tuple("Fixed").field(credential).finish(),
            Self::Login(login) => f.debug_tuple("Login").field(login).finish(),
            Self::Missing => f.write_str("Missing"),
        }
    }
}

impl CredentialStore {
    pub(super) fn new(
        source: CredentialSource,
        token_endpoint: Url,
        client: reqwest::Client,
        clock: Arc<dyn Clock>,
    ) -> Self {
        match source {
            CredentialSource::ApiKey(key) => Self::Fixed(Credential::ApiKey(key)),
            CredentialSource::AuthToken(token) => Self::Fixed(Credential::Bearer(token)),
            CredentialSource::OauthToken(token) => Self::Fixed(Credential::Oauth(token)),
            CredentialSource::LoginFile(path) => {
                Self::Login(LoginFile::new(path, token_endpoint, client, clock))
            }
            CredentialSource::Missing => Self::Missing,
        }
    }

    /// Returns the credential to use now.
    pub(super) async fn current(&self) -> Result<Credential, CredentialError> {
        match self {
            Self::Fixed(credential) => Ok(credential.clone()),
            Self::Login(login) => Ok(Credential::Oauth(login.token().await?)),
            Self::Missing => Err(CredentialError::Missing),
        }
    }

    /// Returns what may be used instead of a credential that the model API refused.
    pub(super) async fn instead_of(&self, refused: &Credential) -> Option<Credential> {
        match (self, refused) {
            (Self::Login(login), Credential::Oauth(token)) => {
                Some(Credential::Oauth(login.instead_of(token).await?))
            }
            (Self::Fixed(_) | Self::Login(_) | Self::Missing, _) => None,
        }
    }

    /// Returns how the credential stands.
    pub(super) async fn state(&self) -> LoginState {
        let fixed = |kind, status, error| LoginState {
            kind,
            status,
            expires_at: None,
            refreshed_at: None,
            refresh_token_first_seen: None,
            error,
        };
        match self {
            Self::Fixed(credential) => fixed(credential.kind(), LoginStatus::Valid, None),
            Self::Login(login) => login.state().await,
            Self::Missing => fixed("none", LoginStatus::Missing, Some(CredentialError::Missing.to_string())),
        }
    }

    /// Waits until nothing is under way that must not be cut short.
    pub(super) async fn settled(&self) {
        if let Self::Login(login) = self {
            login.settled().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn store(source: CredentialSource) -> CredentialStore {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let nowhere = "http://127.0.0.1:1/".parse().expect("an address");
        CredentialStore::new(source, nowhere, reqwest::Client::new(), Arc::new(claw_core::SystemClock))
    }

    fn write(path: &Path, token: &str, expires_at: i64) {
        let text = format!(
            r#"{{"claudeAiOauth":{{"accessToken":"{token}","expiresAt":{expires_at},"scopes":[]}}}}"#
        );
        std::fs::write(path, text).expect("the login file is written");
    }

    #[tokio::test]
    async fn a_renewed_login_is_used_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(".credentials.json");
        let store = store(CredentialSource::LoginFile(path.clone()));

        write(&path, "old", 4_000_000_000_000);
        let first = store.current().await;
        write(&path, "renewed", 4_000_000_000_000);
        let second = store.current().await;

        assert_eq!(first, Ok(Credential::Oauth(Secret::new("old"))));
        assert_eq!(second, Ok(Credential::Oauth(Secret::new("renewed"))));
    }

    #[tokio::test]
    async fn missing_expired_and_broken_logins_say_what_to_do() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("login");
        let store = store(CredentialSource::LoginFile(path.clone()));

        let missing = store.current().await;
        write(&path, "t", 1);
        let expired = store.current().await;
        std::fs::write(&path, r#"{"claudeAiOauth":{"accessToken":"very-secret""#).expect("written");
        let broken = store.current().await.expect_err("broken");

        assert_eq!(missing, Err(CredentialError::Missing));
        assert_eq!(expired, Err(CredentialError::Expired { path: path.clone() }));
        assert!(
            broken.to_string().contains("log in again") && !format!("{broken:?}").contains("very-secret")
        );
        assert!(!broken.for_users().contains(&path.display().to_string()));
    }

    #[test]
    fn debug_output_does_not_show_the_credential() {
        let source = CredentialSource::ApiKey(Secret::new("sk-ant-hush"));
        assert!(!format!("{:?}", store(source)).contains("hush"));
    }
}
