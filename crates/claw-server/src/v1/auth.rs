//! People's sessions, and set-up with a first person.

use axum::{
    extract::{DefaultBodyLimit, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use claw_core::{Principal, Secret};
use claw_gate::{Credential, Gate, KeyMeta, SESSION_TTL, UserView};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt as _},
    routes,
};

use super::users::UserName;
use crate::{
    app::{MAX_PUBLIC_BODY_BYTES, Server},
    error::{ApiError, ApiResult},
    extract::{AfterSetup, Caller, Connection, Json, MaybeCredential, SECURE_SESSION_COOKIE, SESSION_COOKIE},
};

pub(super) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::default()
        .routes(routes!(log_in).layer(DefaultBodyLimit::max(MAX_PUBLIC_BODY_BYTES)))
        .routes(routes!(log_out))
        .routes(routes!(who_am_i))
        .routes(routes!(set_up_user).layer(DefaultBodyLimit::max(MAX_PUBLIC_BODY_BYTES)))
}

/// A username and its password.
#[derive(Deserialize, ToSchema)]
struct LoginBody {
    /// The username.
    username: String,
    /// The password.
    #[schema(format = Password)]
    password: String,
}

/// Sign in
///
/// Each sign-in begins a session of its own that lasts a day.
#[utoipa::path(
    post, path = "/api/v1/auth/login", tag = "accounts",
    request_body = LoginBody,
    responses(
        (status = 200, description = "Signed in; the session is in the cookie `claw_session`.", body = UserName),
        (status = 401, description = "`INVALID_LOGIN`, the same for an unknown name and a wrong password; `SETUP_REQUIRED`"),
        (status = 422, description = "`INVALID_BODY`: a field is missing or has the wrong type."),
        (status = 429, description = "`RATE_LIMITED`: too many failures; see `Retry-After`."),
    ),
)]
async fn log_in(
    _after_setup: AfterSetup,
    connection: Connection,
    MaybeCredential(credential): MaybeCredential,
    State(server): State<Server>,
    Json(body): Json<LoginBody>,
) -> ApiResult<Response> {
    let password = Secret::new(body.password);
    let old = match &credential {
        Credential::Session(cookie) => Some(cookie),
        Credential::ApiKey(_) | Credential::Bearer(_) | Credential::None => None,
    };
    let (session, user) = server.gate().login(&body.username, &password, connection.client, old).await?;
    let cookie = cookie(session.expose(), SESSION_TTL.as_secs(), server.config().secure_cookies)?;
    Ok(([(header::SET_COOKIE, cookie)], Json(UserName::from(user))).into_response())
}

/// The answer to what needs none.
#[derive(Serialize, ToSchema)]
pub(super) struct Done {
    /// Always true.
    pub(super) ok: bool,
}

/// Sign out
#[utoipa::path(
    post, path = "/api/v1/auth/logout", tag = "accounts",
    responses((status = 200, description = "The session is over. Keys have none and stay good.", body = Done)),
    extensions(("x-scope" = json!("any"))),
)]
async fn log_out(caller: Caller, State(server): State<Server>) -> ApiResult<Response> {
    if let Some(session) = caller.session() {
        server.gate().logout(session).await?;
    }
    let cookie = cookie("", 0, server.config().secure_cookies)?;
    Ok(([(header::SET_COOKIE, cookie)], Json(Done { ok: true })).into_response())
}

pub(super) fn cookie(value: &str, max_age_secs: u64, secure: bool) -> ApiResult<HeaderValue> {
    let (name, secure) = if secure { (SECURE_SESSION_COOKIE, "; Secure") } else { (SESSION_COOKIE, "") };
    let text = format!("{name}={value}; HttpOnly; SameSite=Lax; Path=/; Max-Age={max_age_secs}{secure}");
    let mut value = HeaderValue::from_str(&text).map_err(|_| {
        ApiError::new(claw_core::ErrorCode::Internal, "the session cannot be put into a cookie")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Who is asking.
#[derive(Serialize, ToSchema)]
struct MeView {
    /// The username, or the key's label.
    username: String,
    /// `admin`, `user` or `agent`.
    role: &'static str,
    /// What came with the request: `user`, `key` or `token`.
    kind: &'static str,
    /// What it may do.
    #[schema(value_type = Vec<String>)]
    scopes: Vec<claw_core::Scope>,
}

/// Get who is asking
///
/// For every kind of credential.
#[utoipa::path(
    get, path = "/api/v1/auth/me", tag = "accounts",
    responses((status = 200, description = "Who is asking.", body = MeView)),
    extensions(("x-scope" = json!("any"))),
)]
async fn who_am_i(caller: Caller, State(gate): State<Gate>) -> ApiResult<Json<MeView>> {
    let KeyMeta { label, role, scopes, .. } = gate.own_key(&caller).await?;
    let (kind, username) = match &caller.principal {
        Principal::User(name) => ("user", name.clone()),
        Principal::Key(_) => ("key", label),
        Principal::Token | Principal::System => ("token", label),
    };
    Ok(Json(MeView { username, role: role.as_str(), kind, scopes }))
}

/// The setup token and the first person.
#[derive(Deserialize, ToSchema)]
struct SetupUserBody {
    /// The token that the server printed when it started.
    #[schema(format = Password)]
    setup_token: String,
    /// The username.
    username: String,
    /// The password: 8 bytes or more.
    #[schema(format = Password)]
    password: String,
}

/// Finish set-up with a first person
///
/// They become administrator. `POST /api/auth/setup` finishes it with a first key instead.
#[utoipa::path(
    post, path = "/api/v1/auth/setup", tag = "accounts",
    request_body = SetupUserBody,
    responses(
        (status = 201, description = "Set-up is finished; sign in.", body = UserName),
        (status = 400, description = "`INVALID_REQUEST`: no username or password; the token stays good."),
        (status = 403, description = "`INVALID_SETUP_TOKEN`"),
        (status = 409, description = "`ALREADY_SETUP`"),
        (status = 422, description = "`INVALID_BODY`: a field is missing or has the wrong type."),
        (status = 429, description = "`RATE_LIMITED`: too many wrong tokens; see `Retry-After`."),
    ),
)]
async fn set_up_user(
    connection: Connection,
    State(gate): State<Gate>,
    Json(body): Json<SetupUserBody>,
) -> ApiResult<(StatusCode, Json<UserName>)> {
    let (token, password) = (Secret::new(body.setup_token), Secret::new(body.password));
    let user: UserView = gate.setup_with_user(&token, &body.username, &password, connection.client).await?;
    Ok((StatusCode::CREATED, Json(user.into())))
}
