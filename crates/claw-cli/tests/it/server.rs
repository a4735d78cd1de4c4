//! A scripted stand-in for the API: jobs end as their prompts say, and everything is kept in memory.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Json, Router,
    extract::{Path, Query, Request, State},
    http::{HeaderMap, StatusCode},
    middleware::Next,
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
    routing::{get, post, put},
};
use claw_core::WorkspaceId;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::program::{Claw, Ran};

/// The key that the server knows from the beginning, unless it waits to be set up.
pub(crate) const KEY: &str = "wag_live_known";
/// The one-time token of a server that waits to be set up.
pub(crate) const SETUP_TOKEN: &str = "one-time-token";
/// A job that ends well, fails, or runs until it is cancelled.
pub(crate) const SUCCEEDS: &str = "succeed";
pub(crate) const FAILS: &str = "fail";
pub(crate) const HANGS: &str = "hang";
/// What an agent might say to do harm to a terminal.
pub(crate) const HOSTILE: &str = "all \u{1b}]0;owned\u{7}\u{1b}[31mdone\u{202e}\u{9b}2J";

#[derive(Default)]
struct Kept {
    jobs: BTreeMap<String, Value>,
    idempotency: BTreeMap<String, String>,
    workspaces: BTreeMap<String, Value>,
    files: BTreeMap<String, String>,
    keys: BTreeMap<String, Value>,
    requests: Vec<(String, Value)>,
    waits_for_setup: bool,
}

#[derive(Clone)]
struct Shared {
    kept: Arc<Mutex<Kept>>,
    changed: watch::Sender<u64>,
}

impl Shared {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("no test panics while it holds the lock")
    }

    fn set_status(&self, id: &str, status: &str) {
        self.kept().jobs.get_mut(id).expect("the job")["status"] = status.into();
        self.changed.send_modify(|count| *count += 1);
    }
}

/// The server, and a home folder for those who use it.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) home: TempDir,
    shared: Shared,
}

impl Server {
    /// Starts a server that knows [`KEY`].
    pub(crate) async fn start() -> Self {
        Self::with(false).await
    }

    /// Starts a server that nobody has set up.
    pub(crate) async fn waiting_for_setup() -> Self {
        Self::with(true).await
    }

    async fn with(waits_for_setup: bool) -> Self {
        let kept = Arc::new(Mutex::new(Kept { waits_for_setup, ..Kept::default() }));
        let shared = Shared { kept, changed: watch::Sender::new(0) };
        if !waits_for_setup {
            shared.kept().keys.insert(KEY.into(), key_meta("known", &["*"], "admin"));
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let app = router(shared.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, home: tempfile::tempdir().expect("a folder"), shared }
    }

    /// Returns a run of `claw` without a credential.
    pub(crate) fn anonymous(&self, arguments: &[&str]) -> Claw {
        Claw::new(self.home.path(), arguments).env("CLAW_API_URL", &self.url)
    }

    /// Returns a run of `claw` with the known key.
    pub(crate) fn command(&self, arguments: &[&str]) -> Claw {
        self.anonymous(arguments).env("CLAW_API_KEY", KEY)
    }

    /// Runs `claw` with the known key.
    pub(crate) async fn claw(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).run().await
    }

    /// Submits a job and returns its id.
    pub(crate) async fn submit(&self, prompt: &str) -> String {
        self.claw(&["submit", "--quiet", prompt]).await.ok().trim().to_owned()
    }

    /// Makes another workspace with a name that one has, as other clients may.
    pub(crate) fn double_workspace(&self, name: &str) {
        let mut kept = self.shared.kept();
        let mut twin =
            kept.workspaces.values().find(|one| one["name"] == name).expect("the workspace").clone();
        let id = WorkspaceId::new().to_string();
        twin["id"] = id.clone().into();
        kept.workspaces.insert(id, twin);
    }

    /// Returns the bodies that were sent to a route.
    pub(crate) fn sent_to(&self, route: &str) -> Vec<Value> {
        let kept = self.shared.kept();
        kept.requests.iter().filter(|(to, _)| to == route).map(|(_, body)| body.clone()).collect()
    }
}

fn router(shared: Shared) -> Router {
    let open = Router::new()
        .route("/health", get(|| async { "ok" }))
        .route("/ready", get(ready))
        .route("/api/v1/auth/oauth-status", get(login))
        .route("/api/auth/status", get(auth_status))
        .route("/api/auth/setup", post(auth_setup))
        .route("/api/auth/verify", post(auth_verify));
    let guarded = Router::new()
        .route("/api/v1/jobs", post(submit).get(list))
        .route("/api/v1/jobs/{id}", get(job).delete(delete_job))
        .route("/api/v1/jobs/{id}/result", get(result))
        .route("/api/v1/jobs/{id}/logs", get(logs))
        .route("/api/v1/jobs/{id}/logs/stream", get(log_stream))
        .route("/api/v1/jobs/{id}/cancel", post(cancel))
        .route("/api/v1/events/jobs", get(job_events))
        .route("/api/v1/status", get(status))
        .route(
            "/api/v1/spending",
            get(|| async {
                Json(json!({"from": "2026-01-01", "to": "2026-01-01", "group_by": "day", "total_usd": 1.25, "items": []}))
            }),
        )
        .route(
            "/api/v1/config/{key}",
            get(|Path(key): Path<String>| async move { Json(json!({"key": key, "value": "100"})) }),
        )
        .route("/api/settings", get(own_key))
        .route("/api/v1/workers", get(|| async { Json(json!({"items": [], "capacity": 2, "active": 0})) }))
        .route("/api/v1/auth/users", post(create_user))
        .route("/api/v1/workspaces", post(create_workspace).get(list_workspaces))
        .route("/api/v1/workspaces/{id}/files/{*path}", put(put_file).get(get_file).delete(delete_file))
        .route("/api/keys", post(create_key).get(list_keys))
        .route("/api/keys/{id}", axum::routing::patch(update_key))
        .route("/api/keys/{id}/rotate", post(rotate_key))
        .layer(axum::middleware::from_fn_with_state(shared.clone(), guard));
    open.merge(guarded).with_state(shared)
}

async fn guard(State(shared): State<Shared>, headers: HeaderMap, request: Request, next: Next) -> Response {
    let (is_known, waits) = {
        let kept = shared.kept();
        let key = headers.get("x-api-key").and_then(|key| key.to_str().ok());
        (key.is_some_and(|key| kept.keys.contains_key(key)), kept.waits_for_setup)
    };
    match (is_known, waits, headers.contains_key("x-api-key")) {
        (true, _, _) => next.run(request).await,
        (false, true, _) => error(StatusCode::UNAUTHORIZED, "SETUP_REQUIRED", "set-up is not finished"),
        (false, false, true) => error(StatusCode::UNAUTHORIZED, "INVALID_KEY", "the key is not valid"),
        (false, false, false) => error(StatusCode::UNAUTHORIZED, "API_KEY_REQUIRED", "a key is needed"),
    }
}

fn error(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({"error": message, "code": code}))).into_response()
}

fn data(value: Value) -> Response {
    Json(json!({"success": true, "data": value})).into_response()
}

fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "JOB_NOT_FOUND", "the job does not exist")
}

fn new_id() -> String {
    claw_core::JobId::new().to_string()
}

fn key_meta(label: &str, scopes: &[&str], role: &str) -> Value {
    json!({"id": new_id(), "key_prefix": "wag_live_k", "label": label, "scopes": scopes, "role": role,
           "created_at": "2026-01-01T00:00:00Z", "last_used_at": ""})
}

async fn own_key(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let key = headers["x-api-key"].to_str().expect("text");
    let meta = shared.kept().keys[key].clone();
    data(meta)
}

async fn ready() -> Response {
    let reasons = ["the disk has 12.0 MiB free"];
    (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"ready": false, "reasons": reasons}))).into_response()
}

async fn login() -> Json<Value> {
    Json(
        json!({"status": "valid", "state": "expiring", "kind": "Claude login", "expires_at": 1_767_225_600_000_i64}),
    )
}

async fn auth_status(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let waits = shared.kept().waits_for_setup;
    let meta = (headers.contains_key("x-api-key") && !waits).then(|| key_meta("admin", &["*"], "admin"));
    data(json!({"has_key": !waits, "wizard_required": waits, "setup_required": waits, "meta": meta}))
}

async fn auth_setup(State(shared): State<Shared>, Json(body): Json<Value>) -> Response {
    let mut kept = shared.kept();
    if !kept.waits_for_setup {
        return error(StatusCode::CONFLICT, "ALREADY_SETUP", "set-up was done before");
    }
    if body["setup_token"] != SETUP_TOKEN {
        return error(StatusCode::FORBIDDEN, "INVALID_SETUP_TOKEN", "the setup token is wrong or used");
    }
    kept.waits_for_setup = false;
    let meta = key_meta("admin", &["*"], "admin");
    kept.keys.insert("wag_live_first".into(), meta.clone());
    kept.requests.push(("setup".into(), body));
    data(json!({"key": "wag_live_first", "meta": meta}))
}

async fn auth_verify(State(shared): State<Shared>, Json(body): Json<Value>) -> Response {
    match shared.kept().keys.get(body["key"].as_str().unwrap_or_default()) {
        Some(meta) => data(json!({"valid": true, "key_id": meta["id"], "scopes": meta["scopes"]})),
        None => error(StatusCode::UNAUTHORIZED, "INVALID_KEY", "the key is not valid"),
    }
}

async fn submit(State(shared): State<Shared>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let key = headers["idempotency-key"].to_str().expect("text").to_owned();
    let mut kept = shared.kept();
    kept.requests.push(("jobs".into(), body.clone()));
    let id = kept.idempotency.entry(key).or_insert_with(new_id).clone();
    let (status, error) = match body["prompt"].as_str() {
        Some(FAILS) => ("failed", json!(format!("the model said no {HOSTILE}"))),
        Some(HANGS) => ("running", Value::Null),
        _ => ("completed", Value::Null),
    };
    let tags = body["tags"].as_array().cloned().unwrap_or_default();
    let job = kept.jobs.entry(id).or_insert_with_key(|id| {
        json!({"id": id, "status": status, "prompt": body["prompt"], "tags": tags, "error": error,
               "created_at": "2026-01-01T00:00:00Z", "cost_usd": 0.0008, "from_the_future": "\u{9b}"})
    });
    let receipt = json!({"id": job["id"], "status": "pending", "created_at": job["created_at"]});
    (StatusCode::CREATED, Json(receipt)).into_response()
}

async fn list(State(shared): State<Shared>, Query(query): Query<BTreeMap<String, String>>) -> Json<Value> {
    let kept = shared.kept();
    let number = |name: &str, or: usize| query.get(name).map_or(or, |text| text.parse().expect("a number"));
    let fits = |job: &&Value| query.get("status").is_none_or(|status| job["status"] == **status);
    let all: Vec<_> = kept.jobs.values().rev().filter(fits).collect();
    let items: Vec<_> = all.iter().skip(number("offset", 0)).take(number("limit", 20)).collect();
    Json(
        json!({"items": items, "total": all.len(), "offset": number("offset", 0), "limit": number("limit", 20)}),
    )
}

async fn job(State(shared): State<Shared>, Path(id): Path<String>) -> Response {
    shared.kept().jobs.get(&id).map_or_else(not_found, |job| Json(job).into_response())
}

async fn result(State(shared): State<Shared>, Path(id): Path<String>) -> Response {
    match shared.kept().jobs.get(&id).map(|job| job["status"].clone()) {
        None => not_found(),
        Some(status) if status == "completed" => {
            Json(json!({"job_id": id, "result": HOSTILE, "cost_usd": 0.0008,
            "duration_ms": 1250, "num_turns": 3, "commit": "0123456789abcdef"}))
            .into_response()
        }
        Some(_) => error(StatusCode::NOT_FOUND, "RESULT_NOT_FOUND", "the job has no result"),
    }
}

fn log_lines() -> Vec<String> {
    [
        json!({"type": "system", "subtype": "init", "model": "claude", "claude_code_version": "2"}),
        json!({"type": "assistant", "message": {"content": [{"type": "text", "text": HOSTILE}]}}),
        json!({"type": "result", "subtype": "success", "is_error": false, "total_cost_usd": 0.0008}),
    ]
    .map(|line| line.to_string())
    .to_vec()
}

async fn logs(Query(query): Query<BTreeMap<String, usize>>, Path(id): Path<String>) -> Json<Value> {
    let all = log_lines();
    let lines: Vec<_> = all.iter().skip(query["offset"]).take(query["limit"]).collect();
    Json(json!({"job_id": id, "lines": lines, "total": all.len(), "offset": query["offset"]}))
}

async fn log_stream(State(shared): State<Shared>, headers: HeaderMap, Path(id): Path<String>) -> Response {
    let after =
        headers.get("last-event-id").map_or(0, |id| id.to_str().expect("text").parse().expect("a number"));
    let lines: Vec<_> = log_lines().into_iter().enumerate().skip(after).collect();
    let lines = stream::iter(lines)
        .map(|(index, line)| Event::default().event("log").id((index + 1).to_string()).data(line));
    let end = stream::once(async move {
        let mut changed = shared.changed.subscribe();
        let status = loop {
            let status = shared.kept().jobs[&id]["status"].clone();
            if status != "running" {
                break status;
            }
            changed.changed().await.expect("the server lives");
        };
        Event::default().event("end").data(json!({"job_id": id, "status": status}).to_string())
    });
    Sse::new(lines.chain(end).map(Ok::<_, Infallible>)).into_response()
}

async fn cancel(State(shared): State<Shared>, Path(id): Path<String>) -> Response {
    let status = shared.kept().jobs.get(&id).map(|job| job["status"].clone());
    match status {
        None => not_found(),
        Some(status) if status == "running" => {
            shared.set_status(&id, "cancelled");
            Json(json!({"id": id, "status": "cancelled"})).into_response()
        }
        Some(_) => error(StatusCode::CONFLICT, "JOB_WRONG_STATE", "the job has ended"),
    }
}

async fn delete_job(State(shared): State<Shared>, Path(id): Path<String>) -> Response {
    let mut kept = shared.kept();
    match kept.jobs.get(&id).map(|job| job["status"] == "running") {
        None => not_found(),
        Some(true) => error(StatusCode::CONFLICT, "JOB_WRONG_STATE", "the job is running"),
        Some(false) => {
            kept.jobs.remove(&id);
            StatusCode::NO_CONTENT.into_response()
        }
    }
}

async fn job_events(State(shared): State<Shared>) -> Response {
    let connected =
        stream::once(async { Event::default().event("connected").data("{\"status\":\"connected\"}") });
    let updates = stream::unfold((shared.changed.subscribe(), shared), |(mut changed, shared)| async move {
        changed.changed().await.ok()?;
        let (id, status) = {
            let kept = shared.kept();
            let job = kept.jobs.values().next_back().expect("a job changed");
            (job["id"].clone(), job["status"].clone())
        };
        let update = json!({"type": "job_update", "job_id": id, "status": status});
        Some((Event::default().event("job_update").data(update.to_string()), (changed, shared)))
    });
    Sse::new(connected.chain(updates).map(Ok::<_, Infallible>)).into_response()
}

async fn status() -> Json<Value> {
    Json(json!({"status": "healthy", "queue": {"pending": 1, "running": 2, "completed": 3, "failed": 4},
        "docker_available": false, "sandbox_image_ready": false, "execution_backend": "docker", "worker_count": 2,
        "capacity": 2, "active": 1, "sandboxes_waiting": 1}))
}

async fn create_user(State(shared): State<Shared>, Json(body): Json<Value>) -> Response {
    let answer = json!({"username": body["username"], "role": body["role"]});
    shared.kept().requests.push(("users".into(), body));
    (StatusCode::CREATED, Json(answer)).into_response()
}

async fn create_workspace(State(shared): State<Shared>, Json(mut body): Json<Value>) -> Response {
    body["id"] = new_id().into();
    let id = body["id"].as_str().expect("an id").to_owned();
    shared.kept().workspaces.insert(id, body.clone());
    (StatusCode::CREATED, Json(body)).into_response()
}

async fn list_workspaces(State(shared): State<Shared>) -> Json<Value> {
    let items: Vec<_> = shared.kept().workspaces.values().cloned().collect();
    Json(json!({"total": items.len(), "items": items}))
}

async fn put_file(
    State(shared): State<Shared>,
    Path((_, path)): Path<(String, String)>,
    Json(body): Json<Value>,
) -> StatusCode {
    shared.kept().files.insert(path, body["content"].as_str().expect("text").to_owned());
    StatusCode::NO_CONTENT
}

async fn get_file(State(shared): State<Shared>, Path((_, path)): Path<(String, String)>) -> Response {
    let content = shared.kept().files.get(&path).cloned();
    content.map_or_else(|| StatusCode::NOT_FOUND.into_response(), IntoResponse::into_response)
}

async fn delete_file(State(shared): State<Shared>, Path((_, path)): Path<(String, String)>) -> StatusCode {
    match shared.kept().files.remove(&path) {
        Some(_) => StatusCode::NO_CONTENT,
        None => StatusCode::NOT_FOUND,
    }
}

async fn create_key(State(shared): State<Shared>, Json(body): Json<Value>) -> Response {
    let scopes: Vec<_> =
        body["scopes"].as_array().expect("scopes").iter().filter_map(Value::as_str).collect();
    let meta = key_meta(
        body["label"].as_str().unwrap_or("agent"),
        &scopes,
        body["role"].as_str().unwrap_or("agent"),
    );
    let key = format!("wag_live_{}", new_id());
    let mut meta = meta;
    meta["expires_at"] = body["expires_at"].clone();
    shared.kept().keys.insert(key.clone(), meta.clone());
    data(json!({"key": key, "meta": meta}))
}

async fn rotate_key(State(shared): State<Shared>, Path(id): Path<String>) -> Response {
    let mut kept = shared.kept();
    let Some((old, mut meta)) =
        kept.keys.iter().find(|(_, meta)| meta["id"] == *id).map(|(key, meta)| (key.clone(), meta.clone()))
    else {
        return error(StatusCode::NOT_FOUND, "KEY_NOT_FOUND", "the key does not exist");
    };
    meta["former_until"] = "2031-01-01T00:00:00Z".into();
    let key = format!("wag_live_{}", new_id());
    kept.keys.remove(&old);
    kept.keys.insert(key.clone(), meta.clone());
    data(json!({"key": key, "meta": meta}))
}

async fn list_keys(State(shared): State<Shared>) -> Response {
    data(shared.kept().keys.values().cloned().collect())
}

async fn update_key(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    Json(body): Json<Value>,
) -> Response {
    let mut kept = shared.kept();
    let Some(meta) = kept.keys.values_mut().find(|meta| meta["id"] == *id) else {
        return error(StatusCode::NOT_FOUND, "KEY_NOT_FOUND", "the key does not exist");
    };
    for (name, value) in body.as_object().expect("an object") {
        meta[name] = value.clone();
    }
    data(meta.clone())
}
