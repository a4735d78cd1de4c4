//! People's accounts.

use axum::{extract::State, http::StatusCode};
use claw_core::{ErrorCode, Role, Secret};
use claw_gate::{Gate, UserView};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::auth::Done;
use crate::{
    app::Server,
    error::{ApiError, ApiResult},
    extract::{Caller, Id, Json},
};

pub(super) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::default().routes(routes!(list_users, create_user)).routes(routes!(delete_user))
}

/// A person.
#[derive(Serialize, ToSchema)]
pub(super) struct UserName {
    /// The name to sign in with.
    username: String,
    /// `admin` or `user`.
    role: &'static str,
}

impl From<UserView> for UserName {
    fn from(user: UserView) -> Self {
        Self { username: user.username, role: user.role.as_str() }
    }
}

/// All people.
#[derive(Serialize, ToSchema)]
struct UserList {
    /// By name.
    items: Vec<UserName>,
}

/// List people
#[utoipa::path(
    get, path = "/api/v1/auth/users", tag = "accounts",
    responses((status = 200, description = "All people.", body = UserList)),
    extensions(("x-scope" = json!("admin"))),
)]
async fn list_users(caller: Caller, State(gate): State<Gate>) -> ApiResult<Json<UserList>> {
    let users = gate.list_users(&caller).await?;
    Ok(Json(UserList { items: users.into_iter().map(UserName::from).collect() }))
}

/// A person to make an account for.
#[derive(Deserialize, ToSchema)]
struct NewUserBody {
    /// Letters, digits, `.`, `_` and `-`.
    username: String,
    /// The password: 8 bytes or more.
    #[schema(format = Password)]
    password: String,
    /// `admin` or `user`.
    #[schema(default = "user")]
    role: Option<String>,
}

/// Create an account
#[utoipa::path(
    post, path = "/api/v1/auth/users", tag = "accounts",
    request_body = NewUserBody,
    responses(
        (status = 201, description = "The person can sign in.", body = UserName),
        (status = 400, description = "`INVALID_REQUEST`, `INVALID_ROLE`"),
        (status = 409, description = "`USER_EXISTS`"),
        (status = 422, description = "`INVALID_BODY`: a field is missing or has the wrong type."),
    ),
    extensions(("x-scope" = json!("admin"))),
)]
async fn create_user(
    caller: Caller,
    State(gate): State<Gate>,
    Json(body): Json<NewUserBody>,
) -> ApiResult<(StatusCode, Json<UserName>)> {
    let role = match body.role.as_deref() {
        None | Some("" | "user") => Role::User,
        Some("admin") => Role::Admin,
        Some(_) => return Err(ApiError::new(ErrorCode::InvalidRole, "a person's `role` is admin or user")),
    };
    let user = gate.create_user(&caller, &body.username, &Secret::new(body.password), role).await?;
    Ok((StatusCode::CREATED, Json(user.into())))
}

/// Delete an account
///
/// Its sessions end at once.
#[utoipa::path(
    delete, path = "/api/v1/auth/users/{username}", tag = "accounts",
    params(("username" = String, Path, description = "The name the person signs in with.")),
    responses(
        (status = 200, description = "The account is gone.", body = Done),
        (status = 400, description = "`CANNOT_DELETE_SELF`, `REVOKE_FAILED`: the last way in for an administrator."),
        (status = 404, description = "`USER_NOT_FOUND`"),
    ),
    extensions(("x-scope" = json!("admin"))),
)]
async fn delete_user(
    caller: Caller,
    State(gate): State<Gate>,
    Id(username): Id<String>,
) -> ApiResult<Json<Done>> {
    gate.delete_user(&caller, &username).await?;
    Ok(Json(Done { ok: true }))
}
