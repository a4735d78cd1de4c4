//! The homelab's dialect, below `/api`, and `/health`.

mod activity;
mod auth;
mod containers;
mod exec;
mod health;
mod images;
mod keys;
mod logos;
mod marketplace;
mod settings;
mod stats;
mod system;
mod templates;
mod view;
mod viewer;

use utoipa_axum::router::OpenApiRouter;

use crate::app::Server;

pub(crate) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::default()
        .merge(health::routes())
        .merge(auth::routes())
        .merge(keys::routes())
        .merge(settings::routes())
        .merge(system::routes())
        .merge(containers::routes())
        .merge(stats::routes())
        .merge(exec::routes())
        .merge(images::routes())
        .merge(templates::routes())
        .merge(marketplace::routes())
        .merge(logos::routes())
        .merge(activity::routes())
        .merge(viewer::routes())
}
