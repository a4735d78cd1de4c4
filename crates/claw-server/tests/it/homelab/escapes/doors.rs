//! The ways in, and how an attempt is made at each.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::Path, routing::get};
use claw_core::SystemClock;
use claw_homelab::marketplace::{Catalog, Remote};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::lab::{Answer, Lab};

/// A way to ask for a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Door {
    /// `POST /api/containers`, as the documents promise it.
    Create,
    /// The same, as the original reads it.
    CreateWritten,
    /// A template that is a container, saved and deployed.
    Template,
    /// A template with a compose file in short forms.
    TemplateCompose,
    /// A template with a compose file of two services in long forms, one of which is harmless.
    TemplateSeveral,
    /// An entry of our catalog.
    Catalog,
    /// An entry of another catalog.
    Remote,
    /// An entry of our catalog whose variables say it.
    Variables,
    /// The compose file of an install, edited and started.
    Edited,
}

impl Door {
    pub(crate) const ALL: [Self; 9] = [
        Self::Create,
        Self::CreateWritten,
        Self::Template,
        Self::TemplateCompose,
        Self::TemplateSeveral,
        Self::Catalog,
        Self::Remote,
        Self::Variables,
        Self::Edited,
    ];

    /// Tells whether the marketplace is behind it.
    pub(crate) fn is_market(self) -> bool {
        matches!(self, Self::TemplateSeveral | Self::Catalog | Self::Remote | Self::Variables | Self::Edited)
    }
}

/// What is put before a door.
#[derive(Clone, Debug)]
pub(crate) struct Knock {
    /// Tells it from the others.
    pub(crate) number: usize,
    /// What is asked for, in the door's words.
    pub(crate) text: Vec<u8>,
    /// The name that the container is to have, where that is said beside the text.
    pub(crate) name: Option<String>,
    /// The values of variables.
    pub(crate) values: BTreeMap<String, String>,
}

/// Things that are used over and over, each by one at a time.
pub(crate) struct Reused {
    /// Installs whose compose file may be edited.
    installs: Pool<(String, PathBuf)>,
    /// Names of templates: there may be only so many.
    templates: Pool<String>,
}

struct Pool<T>(Mutex<Vec<T>>);

impl<T: Clone> Pool<T> {
    async fn with<A>(&self, work: impl AsyncFnOnce(&T) -> A) -> A {
        let take = || self.0.lock().expect("no panic").pop();
        let thing = loop {
            match take() {
                Some(thing) => break thing,
                None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        };
        let done = work(&thing).await;
        self.0.lock().expect("no panic").push(thing);
        done
    }
}

impl Reused {
    /// Makes as many of each; the installs are of the app `plain`.
    pub(crate) async fn new(lab: &Lab, count: usize) -> Self {
        let mut installs = Vec::new();
        for _ in 0..count {
            // Labs of one host come one after the other, and leave their files to nobody.
            static NEXT: AtomicUsize = AtomicUsize::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let body = json!({ "app_id": "plain", "custom_name": format!("edited-{number}") });
            let made = lab.post("/api/marketplace/create", body).send().await.data();
            let path = made["compose_path"].as_str().expect("a path");
            installs.push((made["container_name"].as_str().expect("a name").to_owned(), path.into()));
        }
        let templates = (0..count).map(|number| format!("template-{number}")).collect();
        Self { installs: Pool(Mutex::new(installs)), templates: Pool(Mutex::new(templates)) }
    }
}

/// Stands in a template for its name, which is chosen when it is saved.
pub(crate) const TEMPLATE: &str = "the name of the template";

/// Asks at a door, and returns the answer that says no, or the last one.
pub(crate) async fn knock(lab: &Lab, reused: &Reused, door: Door, knock: &Knock) -> Answer {
    let Knock { number, text, name, values } = knock;
    match door {
        Door::Create | Door::CreateWritten => {
            lab.post("/api/containers", Value::Null).body(text.clone()).send().await
        }
        Door::Template => {
            let work = async |template: &String| {
                let body = replaced(text, TEMPLATE, template);
                let saved = lab.post("/api/containers/templates", Value::Null).body(body).send().await;
                match saved.status.is_success() {
                    true => deploy(lab, template, name.as_deref()).await,
                    false => saved,
                }
            };
            reused.templates.with(work).await
        }
        Door::TemplateCompose | Door::TemplateSeveral => {
            let work = async |template: &String| {
                let body = json!({ "name": template, "compose": String::from_utf8_lossy(text) });
                let saved = lab.post("/api/containers/templates", body).send().await;
                match saved.status.is_success() {
                    true => deploy(lab, template, None).await,
                    false => saved,
                }
            };
            reused.templates.with(work).await
        }
        Door::Catalog | Door::Remote | Door::Variables => {
            let app = app_id(door, *number);
            let mut body = json!({ "app_id": app, "custom_name": app, "environment": values });
            if let Some(name) = name {
                body["container_name"] = name.as_str().into();
            }
            lab.post("/api/marketplace/create", body).send().await
        }
        Door::Edited => {
            let work = async |(name, path): &(String, PathBuf)| {
                std::fs::write(path, text).expect("written");
                lab.post("/api/marketplace/start", json!({ "container_name": name })).send().await
            };
            reused.installs.with(work).await
        }
    }
}

/// Replaces a text among bytes that need not be text.
fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    match bytes.windows(from.len()).position(|window| window == from.as_bytes()) {
        Some(at) => [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat(),
        None => bytes.to_vec(),
    }
}

async fn deploy(lab: &Lab, template: &str, name: Option<&str>) -> Answer {
    let path = percent(template);
    lab.post(&format!("/api/containers/templates/{path}/deploy"), json!({ "name": name })).send().await
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// The id of the app that stands for an attempt.
pub(crate) fn app_id(door: Door, number: usize) -> String {
    format!("{}-{number}", format!("{door:?}").to_lowercase())
}

/// Catalogs with an app for each knock: ours in a folder, and another one that is served.
pub(crate) struct Catalogs {
    pub(crate) catalog: Catalog,
    _folder: TempDir,
    server: JoinHandle<()>,
}

impl Catalogs {
    pub(crate) async fn new(knocks: &[(Door, Knock)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let plain = "services:\n  web:\n    image: nginx:1.29\n";
        let write = |id: &str, compose: &[u8], values: &BTreeMap<String, String>| {
            let at = folder.path().join("catalog").join(id);
            std::fs::create_dir_all(&at).expect("made");
            let about = "category = \"Tests\"\ndescription = \"A test.\"\nport = 80\nname = \"Test\"";
            let variables: String =
                values.keys().map(|name| format!("[[variables]]\nname = \"{name}\"\n")).collect();
            std::fs::write(at.join("app.toml"), format!("id = \"{id}\"\n{about}\n{variables}"))
                .expect("written");
            std::fs::write(at.join("compose.yaml"), compose).expect("written");
        };
        write("plain", plain.as_bytes(), &BTreeMap::new());
        let mut remote = BTreeMap::new();
        for (door, knock) in knocks {
            let id = app_id(*door, knock.number);
            match door {
                Door::Catalog | Door::Variables => write(&id, &knock.text, &knock.values),
                Door::Remote => {
                    let compose = String::from_utf8_lossy(&knock.text);
                    remote
                        .insert(format!("{id}.md"), format!("---\nname: x\n---\n```yaml\n{compose}\n```\n"));
                }
                _ => {}
            }
        }
        let ids = remote.keys().map(|file| json!({ "id": file.trim_end_matches(".md"), "defaultPort": 80 }));
        let manifest = json!({ "apps": ids.collect::<Vec<_>>() }).to_string();
        let router = Router::new().route("/manifest.json", get(async move || manifest)).route(
            "/apps/{file}",
            get(async move |Path(file): Path<String>| remote.get(&file).cloned().unwrap_or_default()),
        );
        let listener =
            tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("served") });
        let url = format!("http://{address}/manifest.json");
        let kept = folder.path().join("kept");
        let remote = Remote::new(&url, kept, std::sync::Arc::new(SystemClock)).expect("an address");
        let catalog =
            Catalog::from_folder(&folder.path().join("catalog")).expect("a catalog").with_remote(remote);
        catalog.refresh().await.expect("the other catalog answers");
        Self { catalog, _folder: folder, server }
    }
}

impl Drop for Catalogs {
    fn drop(&mut self) {
        self.server.abort();
    }
}
