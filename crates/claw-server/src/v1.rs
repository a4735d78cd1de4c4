//! The orchestrator's dialect, below `/api/v1`.

mod audit;
mod auth;
mod config;
mod docker;
mod events;
mod files;
mod jobs;
mod login;
mod logs;
mod maintenance;
mod not_offered;
mod paging;
mod sessions;
mod spending;
mod status;
mod users;
mod webhook;
mod workers;
mod workspaces;

use utoipa_axum::router::OpenApiRouter;

use crate::app::Server;

pub(crate) use status::{Health, StatusView, overview};

pub(crate) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::default()
        .merge(jobs::routes())
        .merge(logs::routes())
        .merge(audit::routes())
        .merge(sessions::routes())
        .merge(spending::routes())
        .merge(maintenance::routes())
        .merge(login::routes())
        .merge(events::routes())
        .merge(webhook::routes())
        .merge(workspaces::routes())
        .merge(files::routes())
        .merge(auth::routes())
        .merge(users::routes())
        .merge(status::routes())
        .merge(workers::routes())
        .merge(docker::routes())
        .merge(config::routes())
}
