//! The homelab's dialect, below `/api`, and `/health`.

mod auth;
mod health;
mod keys;
mod settings;
mod view;

use utoipa_axum::router::OpenApiRouter;

use crate::app::Server;

pub(crate) fn routes() -> OpenApiRouter<Server> {
    OpenApiRouter::default()
        .merge(health::routes())
        .merge(auth::routes())
        .merge(keys::routes())
        .merge(settings::routes())
}
