//! Every operation of the OpenAPI document against every kind of caller.

use axum::http::Method;
use claw_core::{Actor, Role, Scope, Secret};
use serde_json::{Value, json};

use crate::lab::Lab;

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
    /// Which of the things the path names, if it names one that has an owner.
    owned: Owned,
}

#[derive(Clone, Copy, PartialEq)]
enum Owned {
    No,
    Pending,
    Completed,
    Workspace,
    /// Of the person ann.
    Session,
}

fn row(operation: &'static str, success: u16) -> Row {
    Row { operation, query: "", body: None, success, code: "", owned: Owned::No }
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
    use Owned::{Completed, Pending, Session, Workspace};
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
        row("patch /api/keys/{id}", 200).body(json!({ "label": "renamed" })),
        row("delete /api/keys/{id}", 200),
        row("get /api/settings", 200),
        row("post /api/settings/scopes", 200).body(json!({ "scopes": ["*"] })),
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
        Owned::No | Owned::Session => {
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
        Owned::No => &things.key,
        Owned::Pending => &things.pending,
        Owned::Completed => &things.completed,
        Owned::Workspace => &things.workspace,
        Owned::Session => &things.session,
    };
    let path =
        operation.path.replace("{id}", id).replace("{path}", "docs/a.txt").replace("{username}", "ann");
    format!("{}{}", path.replace("{key}", "docker_pids_limit"), row.query)
}

/// Sends the row's request with these headers changed and returns the status and the error's code.
async fn attempt(
    lab: &Lab,
    operation: &Operation,
    path: &str,
    row: &Row,
    key: Option<&str>,
) -> (u16, String) {
    let method: Method = operation.method.to_uppercase().parse().expect("a method");
    let mut call = lab.call(method, path);
    call = if let Some(key) = key { call.key(key) } else { call.anonymous() };
    if let Some(body) = &row.body {
        call = call.json(body);
    }
    if operation.path == "/api/v1/events/jobs" {
        let response = call.open().await;
        if response.status() == 200 {
            // It never ends.
            return (200, String::new());
        }
        return attempt_ended(response).await;
    }
    attempt_ended(call.open().await).await
}

async fn attempt_ended(response: axum::response::Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a readable answer");
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let code = body["code"].as_str().or_else(|| body["error"]["code"].as_str()).unwrap_or_default();
    (status, code.to_owned())
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
        let name = format!("{} {}", operation.method, operation.path);
        let row = rows.iter().find(|row| row.operation == name);
        let row = row.unwrap_or_else(|| {
            panic!("{name} has no row here: say who may do it and what success looks like")
        });
        let lab = Lab::new().await;
        let things = things(&lab, operation, row).await;
        let path = path(operation, row, &things);
        check(&lab, operation, row, &path).await;
    }
}

async fn check(lab: &Lab, operation: &Operation, row: &Row, path: &str) {
    let name = row.operation;
    let refused = |status: u16, code: &str| (status, code.to_owned());
    let Some(scope) = &operation.scope else {
        assert!(row.owned == Owned::No, "{name} is public");
        assert_eq!(
            attempt(lab, operation, path, row, None).await.0,
            row.success,
            "{name} without a credential"
        );
        return;
    };
    let anonymous = attempt(lab, operation, path, row, None).await;
    assert_eq!(anonymous, refused(401, "API_KEY_REQUIRED"), "{name} without a credential");
    let wrong = attempt(lab, operation, path, row, Some("wag_live_wrong")).await;
    assert_eq!(wrong, refused(401, "INVALID_KEY"), "{name} with a wrong key");
    if row.owned == Owned::Session {
        let stranger = attempt(lab, operation, path, row, Some(&lab.key(&[Scope::JobsRead]).await)).await;
        assert_eq!(stranger, refused(403, "SCOPE_REQUIRED"), "{name} of another person");
    }
    if scope != "any" {
        let needed: Scope = scope.parse().unwrap_or_else(|error| panic!("{name}: {error}"));
        let implying = [needed, Scope::Admin, Scope::All];
        let others: Vec<_> = Scope::ALL.iter().copied().filter(|scope| !implying.contains(scope)).collect();
        let lacking = attempt(lab, operation, path, row, Some(&lab.key(&others).await)).await;
        assert_eq!(lacking, refused(403, "SCOPE_REQUIRED"), "{name} with every scope but its own");
        if row.owned != Owned::No {
            let stranger = attempt(lab, operation, path, row, Some(&lab.key(&[needed]).await)).await;
            let code = if row.owned == Owned::Workspace { "WORKSPACE_NOT_FOUND" } else { "JOB_NOT_FOUND" };
            assert_eq!(stranger, refused(404, code), "{name} on what belongs to another");
        }
    }
    let right = attempt(lab, operation, path, row, Some(&lab.admin)).await;
    assert_eq!(right, (row.success, row.code.to_owned()), "{name} with the right key");
}
