//! The host of the corpus, made for real in a folder, and an Engine that says what is on it and does as it is told.

use std::{
    collections::BTreeMap,
    os::unix::{fs::symlink, net::UnixListener},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{Method, StatusCode, Uri},
    response::{IntoResponse as _, Response},
};
use claw_docker::{
    Docker,
    policy::{
        Own,
        corpus::world::{self, APPS, NETWORKS, OWN_ID},
    },
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// Parts of the host on paper that have another place in ours.
const MOVED: [&str; 2] = ["/home/me", "/srv"];

/// A host with an Engine.
pub(crate) struct Host {
    folder: TempDir,
    engine: Arc<Engine>,
    task: JoinHandle<()>,
    // Kept, so that there are sockets.
    _sockets: [UnixListener; 3],
}

/// What happens while the Engine makes a container, before it answers.
type Meanwhile = Box<dyn Fn() + Send>;

/// What the Engine was asked to do.
#[derive(Default)]
struct Engine {
    root: String,
    told: Mutex<Vec<String>>,
    made: Mutex<BTreeMap<String, Value>>,
    /// The images that the one name leads to, one after the other: the configuration of each.
    images: Mutex<Vec<Value>>,
    /// How many of them are over.
    moved: AtomicUsize,
    meanwhile: Mutex<Option<Meanwhile>>,
}

impl Engine {
    /// The number and the configuration of the image that the name leads to.
    fn image(&self) -> (usize, Value) {
        let images = self.images.lock().expect("no panic");
        let number = self.moved.load(Ordering::SeqCst);
        (number, images.get(number).or(images.last()).cloned().unwrap_or_else(|| json!({})))
    }

    /// What is looked at by an id.
    fn image_of(&self, id: &str) -> Option<Value> {
        let number = (0..=self.moved.load(Ordering::SeqCst)).find(|number| image_id(*number) == id)?;
        self.images.lock().expect("no panic").get(number).cloned()
    }
}

impl Host {
    pub(crate) fn new() -> Self {
        // Beside what is built: not below a folder that the policy takes for the system's.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let root = folder.path().canonicalize().expect("there");
        let moved = |path: &str| PathBuf::from(moved(&root, path));
        let apps = moved(APPS);
        for folder in [
            apps.join("grafana"),
            apps.join("vault/home"),
            apps.join("jellyfin"),
            apps.join("deep/down/media"),
            apps.join("shared"),
            moved("/home/me/documents"),
            moved("/srv/docker"),
            root.join("run"),
            root.join("ours"),
        ] {
            std::fs::create_dir_all(folder).expect("made");
        }
        for file in
            [apps.join("vault/home/.env"), apps.join("vault/home/compose.yaml"), root.join("ours/claw.db")]
        {
            std::fs::write(file, "").expect("written");
        }
        let socket = |path: PathBuf| UnixListener::bind(path).expect("bound");
        let sockets = [
            socket(root.join("run/docker.sock")),
            socket(root.join("run/containerd.sock")),
            socket(apps.join("app.sock")),
        ];
        for (name, to) in [
            ("link-to-etc", PathBuf::from("/etc")),
            ("link-to-root", PathBuf::from("/")),
            ("link-to-home", moved("/home/me/documents")),
            ("link-to-socket", root.join("run/docker.sock")),
            ("link-to-containerd", root.join("run/containerd.sock")),
            ("link-to-own", root.join("ours/claw.db")),
            ("link-inside", apps.join("grafana")),
            ("link-to-vault", apps.join("vault")),
            ("dangling", PathBuf::from("nowhere/at/all")),
            // Nobody can look through a link to itself.
            ("unseen", PathBuf::from("unseen")),
        ] {
            symlink(to, apps.join(name)).expect("linked");
        }
        #[expect(clippy::disallowed_methods, reason = "the standard library makes no pipes")]
        let piped = std::process::Command::new("mkfifo").arg(apps.join("pipe")).status();
        assert!(piped.expect("mkfifo").success());
        let engine = Arc::new(Engine { root: root.display().to_string(), ..Engine::default() });
        let listener = std::os::unix::net::UnixListener::bind(root.join("engine")).expect("bound");
        listener.set_nonblocking(true).expect("a socket that does not block");
        let listener = tokio::net::UnixListener::from_std(listener).expect("a socket");
        let router = Router::new().fallback(answer).with_state(Arc::clone(&engine));
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("served");
        });
        Self { folder, engine, task, _sockets: sockets }
    }

    pub(crate) fn docker(&self) -> Docker {
        let socket = self.folder.path().canonicalize().expect("there").join("engine");
        Docker::connect(Some(socket.to_str().expect("a plain path"))).expect("an address")
    }

    /// Where a path of the host on paper is.
    pub(crate) fn moved(&self, path: &str) -> String {
        moved(&self.folder.path().canonicalize().expect("there"), path)
    }

    /// What is ours, of a server that runs on the host itself.
    pub(crate) fn own(&self) -> Own {
        Own {
            folders: vec![
                "/home/me/.wagmios".to_owned(),
                "/var/lib/claw".to_owned(),
                self.moved("/home/me/.wagmios"),
                format!("{}/ours", self.engine.root),
            ],
            apps_folder: Some(self.moved(APPS)),
            ..Own::default()
        }
    }

    /// The same of a server that runs in a container, and sees no more of the host than the folder of the apps.
    pub(crate) fn own_in_container(&self) -> Own {
        Own {
            container_id: Some(OWN_ID.to_owned()),
            apps_folder_seen_at: Some(self.moved(APPS)),
            ..self.own()
        }
    }

    /// What the Engine was told to do since it was asked last.
    pub(crate) fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.engine.told.lock().expect("no panic"))
    }

    /// Lets the one name of an image lead to these one after the other: to the next one whenever a container is made.
    pub(crate) fn moving_images(&self, images: Vec<Value>) {
        *self.engine.images.lock().expect("no panic") = images;
        self.engine.moved.store(0, Ordering::SeqCst);
    }

    /// Lets something happen while a container is made.
    pub(crate) fn meanwhile(&self, happens: impl Fn() + Send + 'static) {
        *self.engine.meanwhile.lock().expect("no panic") = Some(Box::new(happens));
    }

    /// What containers were made with, by name, as the Engine was told it.
    pub(crate) fn made(&self) -> Vec<Value> {
        self.engine.made.lock().expect("no panic").values().map(|made| made["Wanted"].clone()).collect()
    }

    /// Tells whether the folder with all of this is below a path.
    pub(crate) fn is_below(&self, path: &str) -> bool {
        path.starts_with('/') && Path::new(&self.engine.root).starts_with(path)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn moved(root: &Path, path: &str) -> String {
    match MOVED.iter().any(|start| path.starts_with(start)) {
        true => format!("{}{path}", root.display()),
        false => path.to_owned(),
    }
}

async fn answer(State(engine): State<Arc<Engine>>, method: Method, uri: Uri, body: Bytes) -> Response {
    let path = uri.path().trim_start_matches("/v1.").trim_start_matches(|c: char| c.is_ascii_digit());
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if method == Method::GET || method == Method::HEAD {
        return read(&engine, &parts);
    }
    engine.told.lock().expect("no panic").push(format!("{method} {uri}"));
    match (method, parts.as_slice()) {
        (Method::POST, ["containers", "create"]) => {
            let wanted: Value = serde_json::from_slice(&body).expect("JSON");
            let name =
                uri.query().and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("name=")));
            let name = name.unwrap_or("unnamed");
            if let Some(meanwhile) = &*engine.meanwhile.lock().expect("no panic") {
                meanwhile();
            }
            let more =
                engine.images.lock().expect("no panic").len() > engine.moved.load(Ordering::SeqCst) + 1;
            engine.moved.fetch_add(usize::from(more), Ordering::SeqCst);
            let mut made = engine.made.lock().expect("no panic");
            if made.values().any(|made| made["Name"] == format!("/{name}")) {
                return (StatusCode::CONFLICT, json!({ "message": "the name is taken" }).to_string())
                    .into_response();
            }
            let id = hex(&format!("{name} {}", engine.told.lock().expect("no panic").len()));
            made.insert(id.clone(), inspected(&id, name, &wanted, engine.image().0));
            (StatusCode::CREATED, json!({ "Id": id, "Warnings": [] }).to_string()).into_response()
        }
        (Method::POST, ["containers", _, "start"]) => StatusCode::NO_CONTENT.into_response(),
        (Method::DELETE, ["containers", id]) => {
            engine.made.lock().expect("no panic").remove(*id);
            StatusCode::NO_CONTENT.into_response()
        }
        _ => (StatusCode::NOT_FOUND, json!({ "message": "no" }).to_string()).into_response(),
    }
}

fn read(engine: &Engine, parts: &[&str]) -> Response {
    let missing =
        || (StatusCode::NOT_FOUND, json!({ "message": "there is none" }).to_string()).into_response();
    let found = match parts {
        ["_ping"] => return "OK".into_response(),
        ["version"] => {
            json!({ "Version": "28.0.0", "ApiVersion": "1.47", "MinAPIVersion": "1.24", "Os": "linux" })
        }
        ["info"] => {
            json!({ "DockerRootDir": format!("{}/srv/docker", engine.root), "ServerVersion": "28.0.0" })
        }
        // Nothing ever happens.
        ["events"] => {
            let never = futures_util::stream::pending::<Result<Bytes, std::convert::Infallible>>();
            return Body::from_stream(never).into_response();
        }
        ["containers", "json"] => listed(engine),
        ["containers", id, "json"] => match engine.made.lock().expect("no panic").get(*id) {
            Some(made) => made.clone(),
            None if *id == OWN_ID => inspected(OWN_ID, "homelab", &json!({}), 0),
            None => return missing(),
        },
        ["volumes", name] => match world::volumes(name) {
            Some(volume) => {
                let (driver, options, labels) = (volume.driver, volume.options, volume.labels);
                json!({ "Name": name, "Driver": driver, "Options": options, "Labels": labels })
            }
            None => return missing(),
        },
        ["networks"] => NETWORKS
            .iter()
            .filter_map(|name| Some((name, world::networks(name)?)))
            .map(|(name, network)| json!({ "Id": hex(name), "Name": name, "Driver": network.driver }))
            .collect(),
        ["images", "json"] => json!([]),
        ["images", id, "json"] if id.starts_with("sha256:") => match engine.image_of(id) {
            Some(config) => json!({ "Id": id, "Created": "2026-01-01T00:00:00Z", "Config": config }),
            None => return missing(),
        },
        ["images", .., "json"] => {
            let (number, config) = engine.image();
            json!({ "Id": image_id(number), "Created": "2026-01-01T00:00:00Z", "Config": config })
        }
        _ => return missing(),
    };
    found.to_string().into_response()
}

fn listed(engine: &Engine) -> Value {
    let root = Path::new(&engine.root);
    let others = world::mounted().into_iter().enumerate().map(|(index, mounted)| {
        let name = mounted.container.unwrap_or_default();
        json!({
            "Id": hex(&format!("{name}{index}")), "Names": [format!("/{name}")], "State": "exited", "Image": "x",
            "Mounts": [{ "Type": "bind", "Source": moved(root, &mounted.source), "RW": !mounted.read_only }],
        })
    });
    let made = engine.made.lock().expect("no panic").clone();
    let made = made.into_iter().map(|(id, made)| {
        let mounts = made["Wanted"]["HostConfig"]["Mounts"].as_array().cloned().unwrap_or_default();
        let mount = |mount: &Value| {
            let is_read_only = mount["ReadOnly"] == true;
            json!({ "Type": mount["Type"], "Source": mount["Source"], "RW": !is_read_only })
        };
        let mounts: Vec<Value> = mounts.iter().map(mount).collect();
        json!({ "Id": id, "Names": [made["Name"]], "State": "created", "Image": "x", "Mounts": mounts })
    });
    let own = json!({ "Id": OWN_ID, "Names": ["/homelab"], "State": "running", "Image": "claw" });
    others.chain(made).chain([own]).collect()
}

fn inspected(id: &str, name: &str, wanted: &Value, image: usize) -> Value {
    json!({
        "Id": id, "Name": format!("/{name}"), "Created": "2026-01-01T00:00:00Z", "Image": image_id(image),
        "State": { "Status": "running" }, "Config": { "Image": wanted["Image"], "Labels": wanted["Labels"] },
        "Wanted": wanted,
    })
}

fn image_id(number: usize) -> String {
    format!("sha256:{}", hex(&format!("image {number}")))
}

fn hex(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
