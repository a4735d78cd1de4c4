//! The credential for the model API: where it comes from and when it is read again.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use claw_core::{Clock, Coded, ErrorCode, Secret};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::state::{LoginState, LoginStatus};

/// Largest login file that is read. Real ones have less than 2 kB.
const MAX_LOGIN_FILE_BYTES: u64 = 1024 * 1024;

/// Where the credential comes from.
#[derive(Clone, Debug)]
pub enum CredentialSource {
    /// An API key (`ANTHROPIC_API_KEY`).
    ApiKey(Secret),
    /// A bearer token (`ANTHROPIC_AUTH_TOKEN`), such as for a proxy that speaks the API.
    AuthToken(Secret),
    /// A long-lived token of a Claude login (`CLAUDE_CODE_OAUTH_TOKEN`).
    OauthToken(Secret),
    /// The file that logging in with the Claude CLI leaves (`~/.claude/.credentials.json`).
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
            Self::Oauth(_) => "Claude login",
        }
    }
}

/// Why there is no credential.
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
}

impl Coded for CredentialError {
    fn code(&self) -> ErrorCode {
        ErrorCode::InvalidRequest
    }
}

/// Hands out the credential, reading a login file again when it changed.
pub(super) struct CredentialStore {
    source: CredentialSource,
    clock: Arc<dyn Clock>,
    cached: Mutex<Option<Cached>>,
}

struct Cached {
    stamp: (SystemTime, u64),
    login: Login,
}

#[derive(Clone)]
struct Login {
    token: Secret,
    expires_at_ms: Option<i64>,
}

impl fmt::Debug for CredentialStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialStore").field("source", &self.source).finish_non_exhaustive()
    }
}

impl CredentialStore {
    pub(super) fn new(source: CredentialSource, clock: Arc<dyn Clock>) -> Self {
        Self { source, clock, cached: Mutex::new(None) }
    }

    /// Returns the credential to use now.
    pub(super) async fn current(&self) -> Result<Credential, CredentialError> {
        match &self.source {
            CredentialSource::ApiKey(key) => Ok(Credential::ApiKey(key.clone())),
            CredentialSource::AuthToken(token) => Ok(Credential::Bearer(token.clone())),
            CredentialSource::OauthToken(token) => Ok(Credential::Oauth(token.clone())),
            CredentialSource::LoginFile(path) => self.login(path).await,
            CredentialSource::Missing => Err(CredentialError::Missing),
        }
    }

    /// Returns how the credential stands.
    pub(super) async fn state(&self) -> LoginState {
        let mut state = LoginState {
            kind: "none",
            status: LoginStatus::Missing,
            expires_at: None,
            refreshed_at: None,
            refresh_token_first_seen: None,
            error: None,
        };
        match self.current().await {
            Ok(credential) => (state.kind, state.status) = (credential.kind(), LoginStatus::Valid),
            Err(error) => state.error = Some(error.to_string()),
        }
        state
    }

    async fn login(&self, path: &Path) -> Result<Credential, CredentialError> {
        let unreadable = |reason| CredentialError::Unreadable { path: path.to_owned(), reason };
        // Held while reading, so that many requests at once read the file once.
        let mut cached = self.cached.lock().await;
        let metadata = match tokio::fs::metadata(path).await {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(CredentialError::Missing);
            }
            Err(_) => return Err(unreadable("no permission or a broken disk")),
        };
        let modified = metadata.modified().map_err(|_| unreadable("no time of change"))?;
        let stamp = (modified, metadata.len());
        if metadata.len() > MAX_LOGIN_FILE_BYTES || !metadata.is_file() {
            return Err(unreadable("not a login file"));
        }
        let login = match cached.as_ref().filter(|cached| cached.stamp == stamp) {
            Some(cached) => cached.login.clone(),
            None => {
                let bytes =
                    tokio::fs::read(path).await.map_err(|_| unreadable("no permission or a broken disk"))?;
                let login = parse_login(&bytes).ok_or_else(|| unreadable("not a login file"))?;
                *cached = Some(Cached { stamp, login: login.clone() });
                login
            }
        };
        if login.expires_at_ms.is_some_and(|at| at <= self.clock.now().as_millisecond()) {
            return Err(CredentialError::Expired { path: path.to_owned() });
        }
        Ok(Credential::Oauth(login.token))
    }
}

fn parse_login(bytes: &[u8]) -> Option<Login> {
    #[derive(Deserialize)]
    struct File {
        #[serde(rename = "claudeAiOauth")]
        login: Fields,
    }
    #[derive(Deserialize)]
    struct Fields {
        #[serde(rename = "accessToken")]
        access_token: String,
        #[serde(rename = "expiresAt")]
        expires_at: Option<i64>,
    }
    let File { login } = serde_json::from_slice(bytes).ok()?;
    Some(Login { token: Secret::new(login.access_token), expires_at_ms: login.expires_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(source: CredentialSource) -> CredentialStore {
        CredentialStore::new(source, Arc::new(claw_core::SystemClock))
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
        assert_eq!(expired, Err(CredentialError::Expired { path }));
        assert!(
            broken.to_string().contains("log in again") && !format!("{broken:?}").contains("very-secret")
        );
    }

    #[test]
    fn debug_output_does_not_show_the_credential() {
        let source = CredentialSource::ApiKey(Secret::new("sk-ant-hush"));
        assert!(!format!("{:?}", store(source)).contains("hush"));
    }
}
