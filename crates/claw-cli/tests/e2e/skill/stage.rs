//! A server on which examples are played: the names in them stand for things that are really there.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use claw_testkit::{TEST_TOKEN, wait_until};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use super::{
    catalog::{Catalog, free_port},
    engine::{Image, Thing, unique},
    registry::Registry,
    shape::fits,
    text::Example,
};
use crate::setting::{Setting, prompt};

/// How long a state that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// What an agent of the skill has: a server, a key, and what happened so far.
pub(super) struct Stage {
    client: Client,
    key: String,
    key_id: String,
    /// What the names and numbers of the examples stand for here.
    names: BTreeMap<String, String>,
    /// Placeholders that earlier answers filled.
    known: BTreeMap<String, String>,
    registry: Registry,
    setting: Setting,
    _catalog: Catalog,
    _things: Vec<Thing>,
    _image: Image,
}

impl Stage {
    pub(super) async fn new() -> Self {
        // An error says that a provider is installed already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (image, registry) = (Image::that_waits(), Registry::holding().await);
        let app = unique("app");
        let catalog = Catalog::with(&app, &image.0).await;
        let mut setting = Setting::docker_with(&[("CLAW_MARKETPLACE_URL", &catalog.url)]).await;
        let mut names = BTreeMap::from([
            ("nginx:1.27".to_owned(), image.0.clone()),
            ("postgres:17".to_owned(), registry.image.clone()),
            ("jellyfin".to_owned(), app),
            ("8080".to_owned(), free_port().to_string()),
        ]);
        let mut things = Vec::new();
        for name in ["web", "web-two", "web-data", "web-from-template", "my-jellyfin"] {
            let thing = Thing(unique(name));
            names.insert(name.to_owned(), thing.0.clone());
            things.push(thing);
        }
        setting
            .docker
            .also_remove_label(format!("com.docker.compose.project=claw-app-{}", names["my-jellyfin"]));
        let mut stage = Self {
            client: Client::new(),
            key: String::new(),
            key_id: String::new(),
            names,
            known: BTreeMap::new(),
            registry,
            setting,
            _catalog: catalog,
            _things: things,
            _image: image,
        };
        let new = json!({"label": "agent", "scopes": ["containers:read"]});
        let made = stage.ask(Method::POST, "/api/keys", TEST_TOKEN, Some(&new)).await.1;
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        stage.key = text(&made["data"]["key"]);
        stage.key_id = text(&made["data"]["meta"]["id"]);
        let key = stage.key.clone();
        stage.known.insert("key".into(), key);
        stage.catalog_is_read().await;
        stage
    }

    /// Other catalogs are read while the server goes on.
    async fn catalog_is_read(&self) {
        let path = format!("/api/marketplace/{}", self.names["jellyfin"]);
        wait_until("the catalog is read", PATIENCE, async || {
            self.ask(Method::GET, "/api/marketplace", TEST_TOKEN, None).await;
            self.ask(Method::GET, &path, TEST_TOKEN, None).await.0 == StatusCode::OK
        })
        .await;
    }

    /// Runs one example, and compares what comes with what the page shows.
    pub(super) async fn run(&mut self, example: &Example) {
        self.prepare(example).await;
        let place = &example.place;
        let path = self.path(&example.path);
        let method: Method = example.method.parse().expect("a method");
        let body = example.body.as_ref().map(|body| self.real(body));
        let shown = example.answer.as_ref().map(|answer| self.real(answer));
        let is_refused =
            shown.as_ref().is_some_and(|shown| shown["error"].is_object() || shown["code"].is_string());
        let mut last = String::new();
        let mut answer = Value::Null;
        let come = async || {
            let mut request =
                self.client.request(method.clone(), format!("{}{path}", self.setting.server.url()));
            for (name, value) in &example.headers {
                request = request.header(name, self.filled(value));
            }
            if let Some(body) = &body {
                request = request.body(body.to_string());
            }
            let response = request.send().await.expect("an answer");
            let (status, text) = (response.status(), response.text().await.expect("text"));
            answer = serde_json::from_str(&text).unwrap_or_default();
            let outcome = match &shown {
                _ if status.is_success() == is_refused => Err(format!("{status}")),
                Some(shown) => fits(shown, &answer),
                None => Ok(()),
            };
            last = format!("{outcome:?}: {text}");
            outcome.is_ok()
        };
        if method == Method::GET {
            // The pages say to look again until it is so.
            wait_until(place, PATIENCE, come).await;
        } else {
            let mut come = come;
            assert!(come().await, "{place}: {} {path}\n{last}", example.method);
        }
        self.remember(&example.path, &answer);
        self.follow_up(example).await;
    }

    /// Gives the key exactly what the example needs, and makes what it takes for granted.
    async fn prepare(&mut self, example: &Example) {
        if example.path.contains("{running_job_id}") && !self.known.contains_key("running_job_id") {
            let held = prompt(&json!([{"hold": "forever"}, {"text": "never"}]));
            self.grant(&["jobs:write"]).await;
            let body = json!({"prompt": held});
            let job = self.ask(Method::POST, "/api/v1/jobs", &self.key, Some(&body)).await.1;
            let id = job["id"].as_str().expect("an id").to_owned();
            self.setting.wait_for(&id, &["running"]).await;
            self.known.insert("running_job_id".into(), id);
        }
        let mut scopes: BTreeSet<String> = example.scopes.iter().cloned().collect();
        let route = self.path(&example.path);
        if let Some(scope) = self.scope_of(&example.method, route.split('?').next().unwrap_or_default()).await
        {
            scopes.insert(scope);
        }
        if scopes.is_empty() || example.path == "/api/settings/scopes" {
            scopes.insert("containers:read".into());
        }
        let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
        self.grant(&scopes).await;
    }

    async fn grant(&self, scopes: &[&str]) {
        let path = format!("/api/keys/{}", self.key_id);
        let (status, answer) =
            self.ask(Method::PATCH, &path, TEST_TOKEN, Some(&json!({"scopes": scopes}))).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }

    /// The scope that a route names when it is refused: what the server itself says that the example needs.
    async fn scope_of(&self, method: &str, path: &str) -> Option<String> {
        let document = self.ask(Method::GET, "/api/openapi.json", TEST_TOKEN, None).await.1;
        let wanted: Vec<&str> = path.split('/').collect();
        let fits = |template: &str| {
            let segments: Vec<&str> = template.split('/').collect();
            let rest = segments.last() == Some(&"{path}") && wanted.len() >= segments.len();
            let pairs = segments.iter().zip(&wanted);
            (rest || segments.len() == wanted.len())
                && pairs.clone().all(|(segment, given)| segment.starts_with('{') || segment == given)
        };
        let paths = document["paths"].as_object().expect("paths");
        let operation = paths
            .iter()
            .filter(|(template, operations)| {
                fits(template) && operations.get(method.to_lowercase()).is_some()
            })
            .min_by_key(|(template, _)| template.matches('{').count())
            .map(|(_, operations)| &operations[method.to_lowercase()])
            .unwrap_or_else(|| panic!("there is no {method} {path}"));
        operation["x-scope"].as_str().filter(|scope| *scope != "any").map(str::to_owned)
    }

    /// What goes on after some requests, and must be over before the next one.
    async fn follow_up(&mut self, example: &Example) {
        if example.path.starts_with("/api/images/pull?") {
            self.registry.release();
        }
        if example.path.ends_with("/cancel") {
            self.setting.wait_for(&self.known["running_job_id"], &["cancelled"]).await;
        }
    }

    /// Keeps the ids that an answer tells, under the names that the pages use.
    fn remember(&mut self, path: &str, answer: &Value) {
        let told = if answer["data"].is_object() { &answer["data"] } else { answer };
        let what = path.split('?').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
        for (name, value) in told.as_object().into_iter().flatten() {
            let Some(value) = value.as_str() else { continue };
            if name == "id" && what.ends_with('s') {
                self.known.insert(format!("{}_id", what.trim_end_matches('s')), value.to_owned());
            } else if name == "pull_id" {
                self.known.insert(name.clone(), value.to_owned());
            }
        }
    }

    /// A text with its placeholders filled.
    fn filled(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, value) in &self.known {
            text = text.replace(&format!("{{{name}}}"), value);
        }
        assert!(!text.contains("_id}"), "nothing told what fills `{text}`");
        text
    }

    /// A path with its placeholders filled, and the names that things have here.
    fn path(&self, path: &str) -> String {
        let path = self.filled(path);
        let (path, query) =
            path.split_once('?').map_or((path.as_str(), None), |(path, query)| (path, Some(query)));
        let segments = path.split('/').map(|segment| match self.names.get(&segment.replace("%3A", ":")) {
            Some(name) => name.replace('/', "%2F").replace(':', "%3A"),
            None => segment.to_owned(),
        });
        let path = segments.collect::<Vec<_>>().join("/");
        query.map_or(path.clone(), |query| format!("{path}?{query}"))
    }

    /// A body with its placeholders filled, and the names and numbers that things have here.
    fn real(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => match self.names.get(text) {
                Some(name) => json!(name),
                None => json!(self.filled(text)),
            },
            Value::Number(number) => match self.names.get(&number.to_string()) {
                Some(port) => json!(port.parse::<u64>().expect("a number")),
                None => value.clone(),
            },
            Value::Array(items) => items.iter().map(|item| self.real(item)).collect(),
            Value::Object(members) => {
                Value::Object(members.iter().map(|(name, value)| (name.clone(), self.real(value))).collect())
            }
            _ => value.clone(),
        }
    }

    async fn ask(&self, method: Method, path: &str, key: &str, body: Option<&Value>) -> (StatusCode, Value) {
        let mut request = self.client.request(method, format!("{}{path}", self.setting.server.url()));
        request = request.header("X-API-Key", key).header("Content-Type", "application/json");
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let answer = request.send().await.expect("an answer");
        let status = answer.status();
        (status, serde_json::from_str(&answer.text().await.expect("text")).unwrap_or_default())
    }
}
