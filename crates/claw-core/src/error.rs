//! Stable error codes and the one mapping from them to HTTP status and exit code.

use std::{error::Error, fmt};

use serde::Serialize;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $status:literal, $exit:literal;)*) => {
        /// A stable, append-only code that says what kind of thing went wrong.
        ///
        /// Clients branch on the code; the message beside it is for people and may change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode { $($(#[$doc])* $variant,)* }

        impl ErrorCode {
            /// Every code, in order of definition.
            pub const ALL: &'static [ErrorCode] = &[$(Self::$variant,)*];

            /// Returns the code as it is sent to clients.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// Returns the HTTP status that goes with the code.
            pub fn http_status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// Returns the exit code of the command line: 1 general, 2 not found, 3 wrong state, 4 wait timed out.
            pub fn exit_code(self) -> u8 {
                match self { $(Self::$variant => $exit,)* }
            }
        }
    };
}

error_codes! {
    /// The request cannot be understood or holds a value that is not allowed.
    InvalidRequest = "INVALID_REQUEST", 400, 1;
    /// The body is JSON but a field is missing or has the wrong type.
    InvalidBody = "INVALID_BODY", 422, 1;
    /// The body's content type is not the one the route reads.
    UnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE", 415, 1;
    /// The body is larger than the route accepts.
    PayloadTooLarge = "PAYLOAD_TOO_LARGE", 413, 1;
    /// A scope name that does not exist.
    UnknownScope = "UNKNOWN_SCOPE", 400, 1;
    /// A role that is neither `admin` nor `agent` (keys) or `user` (people).
    InvalidRole = "INVALID_ROLE", 400, 1;
    /// A key needs at least one scope.
    ScopesRequired = "SCOPES_REQUIRED", 400, 1;
    /// The key to revoke is unknown, or it is the last way in for an administrator.
    RevokeFailed = "REVOKE_FAILED", 400, 1;
    /// No credential was sent.
    ApiKeyRequired = "API_KEY_REQUIRED", 401, 1;
    /// A credential was sent and is not valid, whatever its kind.
    InvalidKey = "INVALID_KEY", 401, 1;
    /// Username and password do not go together.
    InvalidLogin = "INVALID_LOGIN", 401, 1;
    /// Nothing answers before the first key or user exists.
    SetupRequired = "SETUP_REQUIRED", 401, 1;
    /// The setup token is wrong or used.
    InvalidSetupToken = "INVALID_SETUP_TOKEN", 403, 1;
    /// The credential lacks the scope.
    ScopeRequired = "SCOPE_REQUIRED", 403, 1;
    /// Only an administrator may do this.
    AdminRequired = "ADMIN_REQUIRED", 403, 1;
    /// Nobody can grant what they do not hold.
    ScopeEscalation = "SCOPE_ESCALATION", 403, 1;
    /// A key cannot revoke itself.
    CannotRevokeSelf = "CANNOT_REVOKE_SELF", 403, 1;
    /// The request names a host or origin that this server does not answer for.
    HostNotAllowed = "HOST_NOT_ALLOWED", 421, 1;
    /// A browser page of another origin sent the request.
    OriginNotAllowed = "ORIGIN_NOT_ALLOWED", 403, 1;
    /// A path leaves the workspace or names something that is not to be touched.
    PathNotAllowed = "PATH_NOT_ALLOWED", 403, 1;
    /// The route does not exist.
    RouteNotFound = "ROUTE_NOT_FOUND", 404, 1;
    /// The route exists, but not with this method.
    MethodNotAllowed = "METHOD_NOT_ALLOWED", 405, 1;
    /// The job does not exist, or not for this caller.
    JobNotFound = "JOB_NOT_FOUND", 404, 2;
    /// The job exists and has no result (yet).
    ResultNotFound = "RESULT_NOT_FOUND", 404, 2;
    /// The workspace does not exist, or not for this caller.
    WorkspaceNotFound = "WORKSPACE_NOT_FOUND", 404, 2;
    /// The file does not exist in the workspace.
    FileNotFound = "FILE_NOT_FOUND", 404, 2;
    /// The key does not exist.
    KeyNotFound = "KEY_NOT_FOUND", 404, 2;
    /// The user does not exist.
    UserNotFound = "USER_NOT_FOUND", 404, 2;
    /// The setting does not exist.
    SettingNotFound = "SETTING_NOT_FOUND", 404, 2;
    /// The job is in a state that does not allow this.
    JobWrongState = "JOB_WRONG_STATE", 409, 3;
    /// A job of the workspace is waiting or running.
    WorkspaceBusy = "WORKSPACE_BUSY", 409, 3;
    /// The workspace changed meanwhile in the same place.
    WorkspaceConflict = "WORKSPACE_CONFLICT", 409, 3;
    /// The file is not text and was asked for as JSON.
    FileNotText = "FILE_NOT_TEXT", 422, 1;
    /// A user of that name exists.
    UserExists = "USER_EXISTS", 409, 3;
    /// Set-up was done before.
    AlreadySetup = "ALREADY_SETUP", 409, 3;
    /// An account cannot delete itself.
    CannotDeleteSelf = "CANNOT_DELETE_SELF", 400, 1;
    /// The same idempotency key came with another request.
    IdempotencyMismatch = "IDEMPOTENCY_MISMATCH", 409, 3;
    /// Too many requests; try again after `Retry-After` seconds.
    RateLimited = "RATE_LIMITED", 429, 1;
    /// The Docker Engine does not answer or refused.
    DockerError = "DOCKER_ERROR", 503, 1;
    /// The store does not answer.
    StoreUnavailable = "STORE_UNAVAILABLE", 503, 1;
    /// The disk is nearly full: new work is refused until there is room again.
    StorageFull = "STORAGE_FULL", 507, 1;
    /// Someone else changed the thing meanwhile; read it again and repeat the change.
    Conflict = "CONFLICT", 409, 3;
    /// The wait ended before the job did.
    WaitTimedOut = "WAIT_TIMED_OUT", 504, 4;
    /// Something broke here; details are in the server's log.
    Internal = "INTERNAL", 500, 1;
    /// A client could not reach the server. Servers do not send it.
    ServerUnreachable = "SERVER_UNREACHABLE", 502, 1;
    /// What answered a client does not speak our API, or another version of it. Servers do not send it.
    UnexpectedAnswer = "UNEXPECTED_ANSWER", 502, 1;
    /// The job that a client waited for failed or was cancelled. Servers do not send it.
    JobFailed = "JOB_FAILED", 424, 1;
    /// The session does not exist, or is someone else's.
    SessionNotFound = "SESSION_NOT_FOUND", 404, 2;
    /// The policy does not permit what would come of the request.
    PolicyRefused = "POLICY_REFUSED", 403, 1;
    /// The policy does not permit one of the mounts.
    BlockedVolume = "BLOCKED_VOLUME", 403, 1;
    /// The container, image or volume belongs to ClawMachine itself.
    Protected = "PROTECTED", 403, 1;
    /// The container, image, template or file does not exist.
    NotFound = "NOT_FOUND", 404, 2;
    /// A container of that name exists.
    NameTaken = "NAME_TAKEN", 409, 3;
    /// Not a name for a container.
    InvalidName = "INVALID_NAME", 400, 1;
    /// Not a reference to an image.
    InvalidImage = "INVALID_IMAGE", 400, 1;
    /// Not a port.
    InvalidPort = "INVALID_PORT", 400, 1;
    /// Not a variable.
    InvalidEnv = "INVALID_ENV", 400, 1;
    /// Not a number of log lines.
    InvalidTail = "INVALID_TAIL", 400, 1;
    /// Not a place in a container where something can be mounted.
    InvalidVolumeTarget = "INVALID_VOLUME_TARGET", 400, 1;
    /// Not a name for a template.
    InvalidTemplateName = "INVALID_TEMPLATE_NAME", 400, 1;
    /// Not a path below the folder.
    InvalidPath = "INVALID_PATH", 400, 1;
    /// The Engine could not get the image.
    ImagePullFailed = "IMAGE_PULL_FAILED", 502, 1;
    /// The catalog has no such app.
    AppNotFound = "APP_NOT_FOUND", 404, 2;
    /// No app was named.
    AppIdRequired = "APP_ID_REQUIRED", 400, 1;
    /// Not an id of an app.
    InvalidAppId = "INVALID_APP_ID", 400, 1;
    /// Not a name for an installed app.
    InvalidCustomName = "INVALID_CUSTOM_NAME", 400, 1;
    /// The app needs variables that were not given.
    VariablesRequired = "VARIABLES_REQUIRED", 400, 1;
    /// No installed app was named.
    ContainerNameRequired = "CONTAINER_NAME_REQUIRED", 400, 1;
    /// Not a name for the container of an app.
    InvalidContainerName = "INVALID_CONTAINER_NAME", 400, 1;
    /// Not a compose file, or one with what is not known here.
    InvalidComposeFile = "INVALID_COMPOSE_FILE", 400, 1;
    /// There is no such compose file.
    ComposeNotFound = "COMPOSE_NOT_FOUND", 404, 2;
    /// The path is not below the folder of the installed apps.
    PathForbidden = "PATH_FORBIDDEN", 403, 1;
    /// The app's containers could not be started.
    ComposeUpFailed = "COMPOSE_UP_FAILED", 502, 1;
    /// The entry of an app cannot be fetched from the other catalog.
    TemplateFetchFailed = "TEMPLATE_FETCH_FAILED", 502, 1;
    /// Volumes of an app cannot be chosen at installation.
    VolumeOverridesUnsupported = "VOLUME_OVERRIDES_UNSUPPORTED", 400, 1;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// An error that knows its stable code.
///
/// Doors show `code` and the error's own text. An error whose code is [`ErrorCode::Internal`] is logged with its
/// sources and shown as a plain sentence.
pub trait Coded: Error {
    /// Returns the stable code.
    fn code(&self) -> ErrorCode;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_statuses_and_exit_codes_are_append_only() {
        let table: Vec<_> = ErrorCode::ALL
            .iter()
            .map(|code| format!("{} {} {}", code.as_str(), code.http_status(), code.exit_code()))
            .collect();

        insta::assert_snapshot!(table.join("\n"));
    }

    #[test]
    fn no_code_appears_twice() {
        let mut codes: Vec<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        codes.sort_unstable();
        codes.dedup();

        assert_eq!(codes.len(), ErrorCode::ALL.len());
    }
}
