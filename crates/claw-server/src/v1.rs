//! The orchestrator's dialect, below `/api/v1`.

mod auth;
mod config;
mod docker;
mod events;
mod files;
mod jobs;
mod logs;
mod not_offered;
mod paging;
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
