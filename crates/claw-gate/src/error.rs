//! Every way in which the gate says no.

use std::{io, path::PathBuf, time::Duration};

use claw_core::{Coded, ErrorCode, KeyId, Role, Scope, Timestamp, UnknownScope, Usd};
use claw_store::StoreError;

use crate::{RetryAfter, password, people, token};

/// The gate did not let something happen. No variant holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// No credential was sent.
    #[error("a credential is needed: send an API key in `X-API-Key` or `Authorization: Bearer`, or sign in")]
    ApiKeyRequired,
    /// The credential is unknown, revoked or expired. Which of these is not told.
    #[error("the credential is not valid: check the key, or sign in again")]
    InvalidKey,
    /// Neither a key nor a user exists yet.
    #[error("set-up is not finished: use the setup token that the server printed when it started")]
    SetupRequired,
    /// The setup token is wrong or used.
    #[error("the setup token is not valid: use the one that the server printed when it started")]
    InvalidSetupToken,
    /// Set-up was done before, or someone else is doing it right now.
    #[error("set-up was done before: sign in or use an API key")]
    AlreadySetup,
    /// The credential lacks this scope.
    #[error("{0} scope required")]
    ScopeMissing(Scope),
    /// Only an administrator may do this.
    #[error("only an administrator may do this")]
    AdminRequired,
    /// The thing belongs to someone else. Callers answer exactly as if it did not exist.
    #[error("it does not exist")]
    NotTheirs,
    /// The scope was to be given by someone who does not hold it.
    #[error("scope `{0}` cannot be granted by a credential that does not hold it")]
    ScopeEscalation(Scope),
    /// Someone with a limit on what their jobs may cost was to give others the means to spend more.
    #[error(
        "your own key may spend {0} a day, so it cannot give others the means to spend: ask an administrator without \
         a limit"
    )]
    CapEscalation(Usd),
    /// Someone who expires was to give power that lasts longer.
    #[error(
        "your own key expires at {0}, so it cannot give anything that lasts longer: ask an administrator who stays"
    )]
    ExpiryEscalation(Timestamp),
    /// A scope name that does not exist.
    #[error(transparent)]
    UnknownScope(#[from] UnknownScope),
    /// A key without scopes could do nothing.
    #[error("at least one scope is required")]
    ScopesRequired,
    /// The role is not one of those that go with the thing.
    #[error("role `{}` does not go with a {what}: expected {expected}", role.as_str())]
    InvalidRole {
        /// What was to get the role.
        what: &'static str,
        /// The role asked for.
        role: Role,
        /// The roles that go with it.
        expected: &'static str,
    },
    /// The label is too long or holds control characters.
    #[error("a label has at most {} characters and no control characters", crate::keys::MAX_LABEL_CHARS)]
    InvalidLabel,
    /// The time at which a key expires is over.
    #[error("`{0}` is over: a key expires at a time to come")]
    InvalidExpiry(Timestamp),
    /// The former secret of a key was to stay good for too long.
    #[error("the former key can stay good for {} days at the most", crate::keys::MAX_GRACE.as_secs() / 86_400)]
    InvalidGrace,
    /// What was to be taken over is not the hash of a key.
    #[error("the hash of a key is its SHA-256 in 64 lower-case hexadecimal digits")]
    InvalidKeyHash,
    /// The username is not one.
    #[error(
        "a username has 1 to {} characters out of letters, digits, `.`, `_` and `-`, and not only dots",
        people::MAX_USERNAME_CHARS
    )]
    InvalidUsername,
    /// The password is too short or too long.
    #[error("a password has {} to {} bytes", password::MIN_BYTES, password::MAX_BYTES)]
    InvalidPassword,
    /// The key to look at or change does not exist.
    #[error("key {0} does not exist")]
    KeyNotFound(KeyId),
    /// The key to revoke does not exist.
    #[error("key {0} does not exist, so it cannot be revoked")]
    UnknownKeyToRevoke(KeyId),
    /// The change would leave nobody who can administer the installation.
    #[error("this is the last way in for an administrator: make another admin key or user first")]
    LastWayIn,
    /// A key cannot revoke itself.
    #[error("a key cannot revoke itself: use another admin key or sign in")]
    CannotRevokeSelf,
    /// The caller did not come with an API key, so there are no scopes of its own to lower.
    #[error("only an API key can lower its own scopes: use one, or change the key by its id")]
    NoOwnKey,
    /// The username and password do not go together, or there is no such user.
    #[error("the username or the password is wrong")]
    InvalidLogin,
    /// The caller is a program, and the question is about a person.
    #[error("this credential is not a person's: sign in with a username and a password")]
    NotAPerson,
    /// A user of that name exists.
    #[error("user `{0}` exists already")]
    UserExists(String),
    /// The user does not exist.
    #[error("user `{}` does not exist", .0.chars().take(people::MAX_USERNAME_CHARS).collect::<String>())]
    UserNotFound(String),
    /// One's own password is changed with the old one.
    #[error("this is your own account: change its password with the old one")]
    OwnPassword,
    /// The session does not exist, or is not the one of whom it was asked for.
    #[error("this session does not exist")]
    SessionNotFound,
    /// An account cannot delete itself.
    #[error("an account cannot delete itself: let another administrator do it")]
    CannotDeleteSelf,
    /// Too many failures.
    #[error(transparent)]
    RateLimited(#[from] RetryAfter),
    /// The configured token of the installation is too weak to be one.
    #[error(
        "CLAW_API_TOKEN must have at least {} characters, all of them visible ASCII: make one with \
         `openssl rand -hex 32`",
        token::MIN_API_TOKEN_CHARS
    )]
    WeakApiToken,
    /// The file that keeps the setup token cannot be read or written.
    #[error("the setup token file {} cannot be used: check the owner and mode of its folder", path.display())]
    SetupTokenFile {
        /// Where it is.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The password could not be hashed.
    #[error("password hashing failed: {reason}")]
    PasswordHashing {
        /// What went wrong; never the password or its hash.
        reason: String,
    },
    /// The store does not answer, refused, or holds something unreadable.
    #[error("who may enter cannot be looked up")]
    Store(#[source] StoreError),
}

impl GateError {
    /// Returns how long to wait before trying again, if the refusal is a matter of time.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited(RetryAfter(wait)) => Some(*wait),
            _ => None,
        }
    }
}

impl From<StoreError> for GateError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Coded for GateError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::ApiKeyRequired => ErrorCode::ApiKeyRequired,
            Self::InvalidKey => ErrorCode::InvalidKey,
            Self::SetupRequired => ErrorCode::SetupRequired,
            Self::InvalidSetupToken => ErrorCode::InvalidSetupToken,
            Self::AlreadySetup => ErrorCode::AlreadySetup,
            Self::ScopeMissing(_) => ErrorCode::ScopeRequired,
            Self::AdminRequired => ErrorCode::AdminRequired,
            Self::NotTheirs => ErrorCode::RouteNotFound,
            Self::ScopeEscalation(_) | Self::CapEscalation(_) | Self::ExpiryEscalation(_) => {
                ErrorCode::ScopeEscalation
            }
            Self::UnknownScope(_) => ErrorCode::UnknownScope,
            Self::ScopesRequired => ErrorCode::ScopesRequired,
            Self::InvalidRole { .. } => ErrorCode::InvalidRole,
            Self::InvalidLabel
            | Self::InvalidExpiry(_)
            | Self::InvalidGrace
            | Self::InvalidKeyHash
            | Self::InvalidUsername
            | Self::InvalidPassword
            | Self::NoOwnKey
            | Self::OwnPassword
            | Self::WeakApiToken => ErrorCode::InvalidRequest,
            Self::KeyNotFound(_) => ErrorCode::KeyNotFound,
            Self::UnknownKeyToRevoke(_) | Self::LastWayIn => ErrorCode::RevokeFailed,
            Self::CannotRevokeSelf => ErrorCode::CannotRevokeSelf,
            Self::InvalidLogin | Self::NotAPerson => ErrorCode::InvalidLogin,
            Self::UserExists(_) => ErrorCode::UserExists,
            Self::UserNotFound(_) => ErrorCode::UserNotFound,
            Self::SessionNotFound => ErrorCode::SessionNotFound,
            Self::CannotDeleteSelf => ErrorCode::CannotDeleteSelf,
            Self::RateLimited(_) => ErrorCode::RateLimited,
            Self::SetupTokenFile { .. }
            | Self::PasswordHashing { .. }
            | Self::Store(StoreError::Corrupt { .. }) => ErrorCode::Internal,
            // Whatever else the store says about keys and users, the caller can only try again later.
            Self::Store(_) => ErrorCode::StoreUnavailable,
        }
    }
}
