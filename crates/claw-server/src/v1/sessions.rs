//! One's own account: its password and its sessions. Administrators look after those of others here, too.

use axum::{
    extract::{DefaultBodyLimit, State},
    http::header,
    response::{IntoResponse, Response},
};
use claw_core::{Secret, Timestamp};
use claw_gate::{Gate, SESSION_TTL, SessionView};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt as _},
    routes,
};

use super::auth::{Done, cookie};
use crate::{
    app::{MAX_PUBLIC_BODY_BYTES, Server},
    error::ApiResult,
    extract::{Caller, Connection, Id, Json, Query},
};

pub(super) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::default()
        .routes(routes!(change_password).layer(DefaultBodyLimit::max(MAX_PUBLIC_BODY_BYTES)))
        .routes(routes!(reset_password).layer(DefaultBodyLimit::max(MAX_PUBLIC_BODY_BYTES)))
        .routes(routes!(list_sessions))
        .routes(routes!(end_session))
}

/// The old and the new password.
#[derive(Deserialize, ToSchema)]
struct PasswordBody {
    /// The password until now.
    #[schema(format = Password)]
    old_password: String,
    /// The password from now on: 8 bytes or more.
    #[schema(format = Password)]
    new_password: String,
}

/// Change one's own password
///
/// For people. All sessions from before end; the answer brings the cookie of a new one.
#[utoipa::path(
    post, path = "/api/v1/auth/password", tag = "accounts",
    request_body = PasswordBody,
    responses(
        (status = 200, description = "The password is changed; the new session is in the cookie.", body = Done),
        (status = 400, description = "`INVALID_REQUEST`: what cannot be a password."),
        (status = 401, description = "`INVALID_LOGIN`: the old password is wrong, or no person asks; `API_KEY_REQUIRED`, `INVALID_KEY`"),
        (status = 422, description = "`INVALID_BODY`: a field is missing or has the wrong type."),
    ),
    extensions(("x-scope" = json!("any"))),
)]
async fn change_password(
    caller: Caller,
    connection: Connection,
    State(server): State<Server>,
    Json(body): Json<PasswordBody>,
) -> ApiResult<Response> {
    let (old, new) = (Secret::new(body.old_password), Secret::new(body.new_password));
    let session = server.gate().change_password(&caller, &old, &new, connection.client).await?;
    let cookie = cookie(session.expose(), SESSION_TTL.as_secs(), server.config().secure_cookies)?;
    Ok(([(header::SET_COOKIE, cookie)], Json(Done { ok: true })).into_response())
}

/// Another password for somebody.
#[derive(Deserialize, ToSchema)]
struct NewPasswordBody {
    /// The password from now on: 8 bytes or more.
    #[schema(format = Password)]
    password: String,
}

/// Reset somebody's password
///
/// For administrators. All their sessions end.
#[utoipa::path(
    put, path = "/api/v1/auth/users/{username}/password", tag = "accounts",
    params(("username" = String, Path, description = "The name the person signs in with.")),
    request_body = NewPasswordBody,
    responses(
        (status = 200, description = "The password is changed.", body = Done),
        (status = 400, description = "`INVALID_REQUEST`: what cannot be a password, or one's own account."),
        (status = 404, description = "`USER_NOT_FOUND`"),
        (status = 422, description = "`INVALID_BODY`: a field is missing or has the wrong type."),
    ),
    extensions(("x-scope" = json!("admin"))),
)]
async fn reset_password(
    caller: Caller,
    State(gate): State<Gate>,
    Id(username): Id<String>,
    Json(body): Json<NewPasswordBody>,
) -> ApiResult<Json<Done>> {
    gate.reset_password(&caller, &username, &Secret::new(body.password)).await?;
    Ok(Json(Done { ok: true }))
}

/// Whose sessions.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct WhoseQuery {
    /// Somebody else's, for administrators; one's own if left out.
    username: Option<String>,
}

/// A session.
#[derive(Serialize, ToSchema)]
struct SessionEntry {
    /// Names it; of no use as a cookie.
    id: String,
    /// Whose it is.
    username: String,
    /// When they signed in.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it ends by itself.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// Address that the sign-in came from.
    client: Option<String>,
    /// Whether it is the one that asks.
    current: bool,
}

impl From<SessionView> for SessionEntry {
    fn from(session: SessionView) -> Self {
        let SessionView { id, username, created_at, expires_at, client, current } = session;
        Self { id, username, created_at, expires_at, client: client.map(|ip| ip.to_string()), current }
    }
}

/// Open sessions.
#[derive(Serialize, ToSchema)]
struct SessionList {
    /// The soonest to end first.
    items: Vec<SessionEntry>,
}

/// List sessions
///
/// One's own, or as an administrator somebody else's.
#[utoipa::path(
    get, path = "/api/v1/auth/sessions", tag = "accounts",
    params(WhoseQuery),
    responses(
        (status = 200, description = "The sessions.", body = SessionList),
        (status = 400, description = "`INVALID_REQUEST`: no person asks, and no name is given."),
        (status = 404, description = "`USER_NOT_FOUND`"),
    ),
    extensions(("x-scope" = json!("any"))),
)]
async fn list_sessions(
    caller: Caller,
    State(gate): State<Gate>,
    Query(query): Query<WhoseQuery>,
) -> ApiResult<Json<SessionList>> {
    let sessions = gate.list_sessions(&caller, query.username.as_deref()).await?;
    Ok(Json(SessionList { items: sessions.into_iter().map(Into::into).collect() }))
}

/// End a session
///
/// One of one's own, or as an administrator of somebody else. It is refused from its next request on.
#[utoipa::path(
    delete, path = "/api/v1/auth/sessions/{id}", tag = "accounts",
    params(("id" = String, Path, description = "The session's id, from the list."), WhoseQuery),
    responses(
        (status = 200, description = "It is over.", body = Done),
        (status = 400, description = "`INVALID_REQUEST`: no person asks, and no name is given."),
        (status = 404, description = "`SESSION_NOT_FOUND`, `USER_NOT_FOUND`"),
    ),
    extensions(("x-scope" = json!("any"))),
)]
async fn end_session(
    caller: Caller,
    State(gate): State<Gate>,
    Id(id): Id<String>,
    Query(query): Query<WhoseQuery>,
) -> ApiResult<Json<Done>> {
    gate.end_session(&caller, query.username.as_deref(), &id).await?;
    Ok(Json(Done { ok: true }))
}
