//! A catalog of apps on the web, in the format of other catalogs.

use std::net::TcpListener;

use axum::{Router, routing::get};
use serde_json::json;

/// A port that nobody has right now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// A catalog with one app.
pub(crate) struct Catalog {
    pub(crate) url: String,
    serving: tokio::task::JoinHandle<()>,
}

impl Catalog {
    /// Serves a catalog whose app `id` is one container of `image`.
    pub(crate) async fn with(id: &str, image: &str) -> Self {
        let port = free_port();
        let manifest = json!({"apps": [{"id": id, "name": "Page", "description": "A page.", "category": "Tests", "defaultPort": port}]});
        let app = format!(
            "---\nid: {id}\nname: Page\nenvironment:\n  - name: TZ\n    description: Time zone\n    required: false\n    \
             default: Etc/UTC\n---\n\n```yaml\nservices:\n  page:\n    image: {image}\n    environment:\n      TZ: \
             ${{TZ}}\n    ports: [\"{port}:8080\"]\n    stop_grace_period: 2s\n```\n"
        );
        let router = Router::new()
            .route("/manifest.json", get(async move || manifest.to_string()))
            .route("/apps/{file}", get(async move || app));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/manifest.json", listener.local_addr().expect("an address"));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { url, serving }
    }
}

impl Drop for Catalog {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
