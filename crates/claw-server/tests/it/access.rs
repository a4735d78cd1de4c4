//! Every operation of the OpenAPI document against every kind of caller.

use axum::http::Method;
use claw_core::{Actor, Role, Scope, Secret};
use serde_json::{Value, json};

use crate::{homelab::engine, lab::Lab};

/// One operation of the document.
pub(crate) struct Operation {
    pub(crate) method: String,
    pub(crate) path: String,
    /// `None` for public ones.
    pub(crate) scope: Option<String>,
}

pub(crate) fn operations() -> Vec<Operation> {
    let document = serde_json::to_value(claw_server::openapi()).expect("the document is JSON");
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let scope = operation["x-scope"].as_str().map(str::to_owned);
            operations.push(Operation { method: method.clone(), path: path.clone(), scope });
        }
    }
    operations
}

/// The things that rows name; all of them the admin's.
#[derive(Default)]
struct Things {
    pending: String,
    completed: String,
    workspace: String,
    key: String,
    session: String,
}

struct Row {
    operation: &'static str,
    /// Query and body of a request that succeeds.
    query: &'static str,
    body: Option<Value>,
    /// Status of the success.
    success: u16,
    /// Error code of the "success" where a key can have none, such as for what only people do.
    code: &'static str,
    /// The same for an administrator with a session, where it differs.
    person: Option<(u16, &'static str)>,
    /// Which of the things the path names, if it names one that has an owner.
    owned: Owned,
}

#[derive(Clone, Copy, PartialEq)]
enum Owned {
    No,
    Pending,
    Completed,
    Workspace,
    /// One for administrators alone, who may manage each other's.
    Key,
    /// Of the person ann.
    Session,
}

fn row(operation: &'static str, success: u16) -> Row {
    Row { operation, query: "", body: None, success, code: "", person: None, owned: Owned::No }
}

impl Row {
    fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    fn code(mut self, code: &'static str) -> Self {
        self.code = code;
        self
    }

    fn person(mut self, status: u16, code: &'static str) -> Self {
        self.person = Some((status, code));
        self
    }

    fn query(mut self, query: &'static str) -> Self {
        self.query = query;
        self
    }

    fn of(mut self, owned: Owned) -> Self {
        self.owned = owned;
        self
    }
}

fn rows() -> Vec<Row> {
    use Owned::{Completed, Key, Pending, Session, Workspace};
    let login = json!({ "username": "ann", "password": "correct horse" });
    let person = json!({ "setup_token": "wag_setup_x", "username": "x", "password": "long enough" });
    vec![
        row("get /health", 200),
        row("get /api/openapi.json", 200),
        row("get /api/v1/status", 200),
        row("get /api/auth/status", 200),
        row("post /api/auth/setup", 409).body(json!({ "setup_token": "wag_setup_x", "scopes": ["*"] })),
        row("post /api/auth/verify", 401).body(json!({ "key": "wag_live_x" })),
        row("post /api/v1/auth/login", 200).body(login),
        row("post /api/v1/auth/setup", 409).body(person),
        row("get /api/keys", 200),
        row("post /api/keys", 200).body(json!({ "scopes": ["jobs:read"] })),
        row("patch /api/keys/{id}", 200).body(json!({ "label": "renamed" })).of(Key),
        row("delete /api/keys/{id}", 200).of(Key),
        row("post /api/keys/{id}/rotate", 200).body(json!({})).of(Key),
        row("get /api/settings", 200),
        row("post /api/settings/scopes", 200).body(json!({ "scopes": ["*"] })).person(400, "INVALID_REQUEST"),
        row("post /api/v1/auth/logout", 200),
        row("get /api/v1/auth/me", 200),
        row("get /api/v1/auth/users", 200),
        row("post /api/v1/auth/users", 201).body(json!({ "username": "bob", "password": "long enough" })),
        row("delete /api/v1/auth/users/{username}", 200),
        row("get /api/v1/config", 200),
        row("put /api/v1/config", 200).body(json!({ "docker_pids_limit": "128" })),
        row("get /api/v1/config/{key}", 200),
        row("put /api/v1/config/{key}", 200).body(json!({ "value": "128" })),
        row("get /api/v1/docker/status", 200),
        row("get /api/v1/workers", 200),
        row("get /api/v1/events/jobs", 200),
        row("get /api/v1/jobs", 200),
        row("post /api/v1/jobs", 201).body(json!({ "prompt": "x" })),
        row("post /api/v1/webhook/submit", 202).body(json!({ "prompt": "x" })),
        row("get /api/v1/jobs/{id}", 200).of(Pending),
        row("delete /api/v1/jobs/{id}", 204).of(Completed),
        row("get /api/v1/jobs/{id}/result", 200).of(Completed),
        row("post /api/v1/jobs/{id}/cancel", 200).of(Pending),
        row("get /api/v1/jobs/{id}/logs", 200).of(Completed),
        row("get /api/v1/jobs/{id}/logs/stream", 200).of(Completed),
        row("get /metrics", 401),
        row("get /ready", 200),
        row("get /api/v1/auth/oauth-status", 200),
        row("post /api/v1/auth/password", 401)
            .body(json!({ "old_password": "correct horse", "new_password": "battery staple" }))
            .code("INVALID_LOGIN"),
        row("put /api/v1/auth/users/{username}/password", 200).body(json!({ "password": "battery staple" })),
        row("get /api/v1/auth/sessions", 200).query("?username=ann"),
        row("delete /api/v1/auth/sessions/{id}", 200).query("?username=ann").of(Session),
        row("get /api/v1/audit", 200),
        row("get /api/v1/audit/export", 200),
        row("get /api/v1/audit/verify", 200),
        row("get /api/v1/spending", 200),
        row("post /api/v1/maintenance/gc", 200),
        row("get /api/v1/workspaces", 200),
        row("post /api/v1/workspaces", 201).body(json!({ "name": "x" })),
        row("get /api/v1/workspaces/{id}", 200).of(Workspace),
        row("put /api/v1/workspaces/{id}", 200).body(json!({ "name": "y" })).of(Workspace),
        row("delete /api/v1/workspaces/{id}", 204).query("?delete_files=true").of(Workspace),
        row("get /api/v1/workspaces/{id}/history", 200).of(Workspace),
        row("get /api/v1/workspaces/{id}/events", 200).of(Workspace),
        row("get /api/v1/workspaces/{id}/files", 200).of(Workspace),
        row("get /api/v1/workspaces/{id}/files/{path}", 200).of(Workspace),
        row("put /api/v1/workspaces/{id}/files/{path}", 204).body(json!({ "content": "x" })).of(Workspace),
        row("delete /api/v1/workspaces/{id}/files/{path}", 204).of(Workspace),
    ]
    .into_iter()
    .chain(homelab_rows())
    .collect()
}

/// What is done to things goes to ones that there are not, which tells that it was let in and costs nothing.
fn homelab_rows() -> Vec<Row> {
    let no_image = || json!({ "image": "-" });
    vec![
        row("get /api/system/info", 200),
        row("get /api/system/metrics", 200),
        row("get /api/metrics/summary", 200),
        row("get /api/activity", 200),
        row("get /api/ws/activity", 400).code("INVALID_REQUEST"),
        row("post /api/ws/ticket", 200),
        row("get /api/proxy-image", 404).query("?path=logos/nothing.svg").code("NOT_FOUND"),
        row("get /api/containers", 200),
        row("post /api/containers", 400).body(no_image()).code("INVALID_IMAGE"),
        row("get /api/containers/{id}/logs", 404).code("NOT_FOUND"),
        row("get /api/containers/{id}/config", 404).code("NOT_FOUND"),
        row("get /api/containers/{id}/stats", 404).code("NOT_FOUND"),
        row("post /api/containers/{id}/exec", 404).body(json!({ "command": ["true"] })).code("NOT_FOUND"),
        row("post /api/containers/{id}/start", 404).code("NOT_FOUND"),
        row("post /api/containers/{id}/stop", 404).code("NOT_FOUND"),
        row("post /api/containers/{id}/restart", 404).code("NOT_FOUND"),
        row("delete /api/containers/{id}/delete", 404).code("NOT_FOUND"),
        row("post /api/containers/{id}/delete", 404).code("NOT_FOUND"),
        row("get /api/images", 200),
        row("post /api/images/pull", 400).body(no_image()).code("INVALID_IMAGE"),
        row("post /api/containers/pull", 400).body(no_image()).code("INVALID_IMAGE"),
        row("get /api/images/pulls", 200),
        row("get /api/images/pulls/{id}", 404).code("NOT_FOUND"),
        row("delete /api/images/pulls/{id}", 404).code("NOT_FOUND"),
        row("delete /api/images/{id}", 404).code("NOT_FOUND"),
        row("get /api/containers/templates", 200),
        row("post /api/containers/templates", 200).body(json!({ "name": "x", "image": "y" })),
        row("get /api/containers/templates/{name}", 404).code("NOT_FOUND"),
        row("delete /api/containers/templates/{name}", 404).code("NOT_FOUND"),
        row("post /api/containers/templates/{name}/deploy", 404).body(json!({})).code("NOT_FOUND"),
        row("get /api/marketplace", 200),
        row("get /api/marketplace/installed", 200),
        row("get /api/marketplace/{id}", 404).code("APP_NOT_FOUND"),
        row("get /api/marketplace/{id}/logo", 404).code("APP_NOT_FOUND"),
        row("get /api/marketplace/{id}/status", 404).code("COMPOSE_NOT_FOUND"),
        row("get /api/marketplace/{id}/logs", 404).code("COMPOSE_NOT_FOUND"),
        row("post /api/marketplace/create", 400).body(json!({})).code("APP_ID_REQUIRED"),
        row("post /api/marketplace/start", 400).body(json!({})).code("CONTAINER_NAME_REQUIRED"),
        row("post /api/marketplace/stop", 400).body(json!({})).code("CONTAINER_NAME_REQUIRED"),
        row("post /api/marketplace/restart", 400).body(json!({})).code("CONTAINER_NAME_REQUIRED"),
        row("post /api/marketplace/update", 400).body(json!({})).code("CONTAINER_NAME_REQUIRED"),
        row("post /api/marketplace/uninstall", 400).body(json!({})).code("CONTAINER_NAME_REQUIRED"),
    ]
}

/// Tells whether an operation asks the Engine.
fn asks_the_engine(operation: &Operation) -> bool {
    ["/api/system", "/api/metrics", "/api/containers", "/api/images", "/api/marketplace"]
        .iter()
        .any(|part| operation.path.starts_with(part))
}

/// Makes what the row needs.
async fn things(lab: &Lab, operation: &Operation, row: &Row) -> Things {
    let mut things = Things::default();
    match row.owned {
        Owned::Completed => things.completed = lab.completed_job().await.to_string(),
        Owned::Pending => things.pending = lab.job("waits").await.to_string(),
        Owned::Workspace => {
            things.workspace = lab.workspace("mine").await;
            let file = format!("/api/v1/workspaces/{}/files/docs/a.txt", things.workspace);
            assert_eq!(lab.put(&file, json!({ "content": "hello" })).send().await.status, 204);
        }
        Owned::No | Owned::Key | Owned::Session => {
            let key = lab.post("/api/keys", json!({ "scopes": ["jobs:read"] })).send().await.data();
            things.key = key["meta"]["id"].as_str().expect("an id").to_owned();
        }
    }
    if ["login", "{username}", "sessions"].iter().any(|part| operation.path.contains(part)) {
        let password = Secret::new("correct horse");
        lab.gate.create_user(&Actor::system(), "ann", &password, Role::User).await.expect("a user is made");
        lab.gate.login("ann", &password, [127, 0, 0, 1].into(), None).await.expect("signed in");
        let sessions = lab.gate.list_sessions(&Actor::system(), Some("ann")).await.expect("sessions");
        things.session = sessions[0].id.clone();
    }
    things
}

fn path(operation: &Operation, row: &Row, things: &Things) -> String {
    let id = match row.owned {
        Owned::No | Owned::Key => &things.key,
        Owned::Pending => &things.pending,
        Owned::Completed => &things.completed,
        Owned::Workspace => &things.workspace,
        Owned::Session => &things.session,
    };
    let path =
        operation.path.replace("{id}", id).replace("{path}", "docs/a.txt").replace("{username}", "ann");
    let path = path.replace("{name}", "nothing");
    format!("{}{}", path.replace("{key}", "docker_pids_limit"), row.query)
}

/// Sends the row's request with these headers and returns the status and the error's code.
async fn attempt(
    lab: &Lab,
    operation: &Operation,
    path: &str,
    row: &Row,
    headers: &[(&'static str, &str)],
) -> (u16, String) {
    let method: Method = operation.method.to_uppercase().parse().expect("a method");
    let mut call = lab.call(method, path).anonymous();
    if let Some(body) = &row.body {
        call = call.json(body);
    }
    for (name, value) in headers {
        call = call.set(name, value);
    }
    let response = call.open().await;
    if operation.path == "/api/v1/events/jobs" && response.status() == 200 {
        // It never ends.
        return (200, String::new());
    }
    attempt_ended(response).await
}

async fn attempt_ended(response: axum::response::Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a readable answer");
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let code = body["code"].as_str().or_else(|| body["error"]["code"].as_str()).unwrap_or_default();
    (status, code.to_owned())
}

fn row_of<'a>(rows: &'a [Row], operation: &Operation) -> &'a Row {
    let name = format!("{} {}", operation.method, operation.path);
    rows.iter()
        .find(|row| row.operation == name)
        .unwrap_or_else(|| panic!("{name} has no row here: say who may do it and what success looks like"))
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// What those learn who ask for what belongs to another.
fn not_found(owned: Owned) -> (u16, String) {
    match owned {
        Owned::Pending | Owned::Completed => refused(404, "JOB_NOT_FOUND"),
        Owned::Workspace => refused(404, "WORKSPACE_NOT_FOUND"),
        Owned::Session => refused(404, "SESSION_NOT_FOUND"),
        Owned::Key => refused(403, "ADMIN_REQUIRED"),
        Owned::No => panic!("nobody's"),
    }
}

#[tokio::test]
async fn s20_t20_every_operation_lets_in_whom_it_says_and_nobody_else() {
    let rows = rows();
    let operations = operations();
    for row in &rows {
        let known = operations.iter().any(|op| format!("{} {}", op.method, op.path) == row.operation);
        assert!(known, "{} is not in the document", row.operation);
    }
    for operation in &operations {
        let row = row_of(&rows, operation);
        let lab = if asks_the_engine(operation) { engine::lab().await } else { Lab::new().await };
        let things = things(&lab, operation, row).await;
        let path = path(operation, row, &things);
        check(&lab, operation, row, &path).await;
    }
}

/// Every route with every scope alone.
#[tokio::test]
async fn a2_each_scope_opens_the_routes_that_name_it_and_no_others() {
    let lab = Lab::new().await;
    let rows = rows();
    let mut keys = Vec::new();
    for scope in Scope::ALL {
        keys.push((*scope, lab.key(&[*scope]).await));
    }
    for operation in &operations() {
        let Some(needed) = operation.scope.as_deref().filter(|scope| *scope != "any") else { continue };
        let row = row_of(&rows, operation);
        let path = path(
            operation,
            row,
            &Things {
                key: uuid(),
                pending: uuid(),
                completed: uuid(),
                workspace: uuid(),
                session: "x".into(),
            },
        );
        for (scope, key) in &keys {
            let (status, code) = attempt(&lab, operation, &path, row, &[("x-api-key", key)]).await;
            let is_open = scope.as_str() == needed || matches!(scope, Scope::Admin | Scope::All);
            let is_refused = (status, code.as_str()) == (403, "SCOPE_REQUIRED");
            // Deploying a template needs the scope of containers too.
            let needs_more = operation.path.ends_with("/deploy") && *scope == Scope::TemplatesWrite;
            assert_eq!(is_refused, !is_open || needs_more, "{} with {scope}: {status} {code}", row.operation);
        }
    }
}

fn uuid() -> String {
    "01900000-0000-7000-8000-000000000000".into()
}

async fn check(lab: &Lab, operation: &Operation, row: &Row, path: &str) {
    let name = row.operation;
    let with_key = async |key: &str| attempt(lab, operation, path, row, &[("x-api-key", key)]).await;
    // Whoever asks what is possible does nothing: everything is still there for those who come after.
    let asked = lab.call(Method::OPTIONS, path).send().await;
    assert_eq!((asked.status.as_u16(), asked.text().as_str()), (204, ""), "{name} asked for its options");
    let anonymous = attempt(lab, operation, path, row, &[]).await;
    let Some(scope) = &operation.scope else {
        assert!(row.owned == Owned::No, "{name} is public");
        assert_eq!(anonymous.0, row.success, "{name} without a credential");
        return;
    };
    assert_eq!(anonymous, refused(401, "API_KEY_REQUIRED"), "{name} without a credential");
    assert_eq!(with_key("wag_live_wrong").await, refused(401, "INVALID_KEY"), "{name} with a wrong key");
    if operation.method == "get" {
        let head = lab.call(Method::HEAD, path).anonymous().send().await;
        assert_eq!(head.status, 401, "the head of {name} without a credential");
    }
    if row.owned == Owned::Session {
        let stranger = with_key(&lab.key(&[Scope::JobsRead]).await).await;
        assert_eq!(stranger, refused(403, "SCOPE_REQUIRED"), "{name} of another person");
    }
    if scope != "any" {
        let needed: Scope = scope.parse().unwrap_or_else(|error| panic!("{name}: {error}"));
        let implying = [needed, Scope::Admin, Scope::All];
        let others: Vec<_> = Scope::ALL.iter().copied().filter(|scope| !implying.contains(scope)).collect();
        let lacking = with_key(&lab.key(&others).await).await;
        assert_eq!(lacking, refused(403, "SCOPE_REQUIRED"), "{name} with every scope but its own");
        if row.owned != Owned::No {
            let stranger = with_key(&lab.key(&[needed]).await).await;
            assert_eq!(stranger, not_found(row.owned), "{name} on what belongs to another");
        }
    }
    let right = with_key(&lab.admin).await;
    assert_eq!(right, (row.success, row.code.to_owned()), "{name} with the right key");
}

const PASSWORD: &str = "a password of their own";

async fn sign_in(lab: &Lab, username: &str) -> String {
    let login = lab.gate.login(username, &Secret::new(PASSWORD), [127, 0, 0, 1].into(), None).await;
    format!("claw_session={}", login.expect("signed in").0.expose())
}

#[tokio::test]
async fn s20_t16_every_operation_takes_sessions_from_pages_of_ours_and_for_what_their_person_may() {
    let lab = engine::lab().await;
    let nobody = Actor::system();
    for (username, role) in [("root", Role::Admin), ("eve", Role::User)] {
        let made = lab.gate.create_user(&nobody, username, &Secret::new(PASSWORD), role).await;
        made.expect("a user is made");
    }
    let eve = sign_in(&lab, "eve").await;
    let rows = rows();
    for operation in operations().iter().filter(|operation| operation.scope.is_some()) {
        let row = row_of(&rows, operation);
        let things = things(&lab, operation, row).await;
        let path = path(operation, row, &things);
        let root = sign_in(&lab, "root").await;
        check_session(&lab, operation, row, &path, (&root, &eve)).await;
        // Jobs that wait would be claimed in the place of the next row's.
        let waiting = lab.get("/api/v1/jobs?status=pending").send().await.expect(200);
        for job in waiting["items"].as_array().expect("jobs") {
            let id = job["id"].as_str().expect("an id");
            lab.post(&format!("/api/v1/jobs/{id}/cancel"), json!({})).send().await.expect(200);
        }
        // Gone already if that was the operation.
        let _ = lab.gate.delete_user(&nobody, "ann").await;
        lab.gate.logout(&Secret::new(root.trim_start_matches("claw_session="))).await.expect("signed out");
    }
}

async fn check_session(lab: &Lab, operation: &Operation, row: &Row, path: &str, (root, eve): (&str, &str)) {
    const OURS: (&str, &str) = ("origin", "http://localhost:5179");
    let name = row.operation;
    let with = async |headers: &[(&'static str, &str)]| attempt(lab, operation, path, row, headers).await;

    let over = with(&[("cookie", "claw_session=over"), OURS]).await;
    assert_eq!(over, refused(401, "INVALID_KEY"), "{name} with a session that is none");
    for foreign in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")] {
        let foreign = with(&[("cookie", root), foreign]).await;
        assert_eq!(foreign, refused(403, "ORIGIN_NOT_ALLOWED"), "{name} from a page of somebody else");
    }
    if operation.method == "post" {
        for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
            let form = with(&[("cookie", root), ("content-type", kind)]).await;
            assert_eq!(form, refused(403, "ORIGIN_NOT_ALLOWED"), "{name} by a form of type {kind}");
        }
    }
    let options = lab.call(Method::OPTIONS, path).anonymous().header("cookie", root).send().await;
    assert_eq!(options.status, 204, "{name} asked for its options");
    let scope = operation.scope.as_deref().unwrap_or_default();
    if ["admin", "keys:write"].contains(&scope) {
        let lacking = with(&[("cookie", eve), OURS]).await;
        assert_eq!(lacking, refused(403, "SCOPE_REQUIRED"), "{name} by a person who is no administrator");
    } else if row.owned != Owned::No {
        // Without the query, which asks for somebody else's.
        let own = path.split('?').next().unwrap_or(path);
        let own = if row.owned == Owned::Session { own } else { path };
        let stranger = attempt(lab, operation, own, row, &[("cookie", eve), OURS]).await;
        assert_eq!(stranger, not_found(row.owned), "{name} on what belongs to another");
    }
    let right = with(&[("cookie", root), OURS]).await;
    let expected = row.person.unwrap_or((row.success, row.code));
    assert_eq!(right, (expected.0, expected.1.to_owned()), "{name} by an administrator");
}
