//! Containers, images and apps from the command line, against a scripted server.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::to_bytes,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    program::{Claw, Ran},
    server::HOSTILE,
};

/// A server that answers each route with what was said before, the last answer for ever.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<Scripted>>);

#[derive(Default)]
struct Scripted {
    answers: Vec<(String, VecDeque<(u16, Value)>)>,
    asked: Vec<String>,
}

impl Script {
    async fn answer(State(script): State<Self>, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, 1 << 20).await.expect("a body");
        let route = format!("{} {}", parts.method, parts.uri);
        let mut scripted = script.0.lock().expect("not poisoned");
        let body = String::from_utf8(body.to_vec()).expect("text");
        scripted.asked.push(format!("{route} {body}").trim_end().to_owned());
        let Some((_, answers)) = scripted.answers.iter_mut().find(|(known, _)| *known == route) else {
            return refusal(404, "ROUTE_NOT_FOUND", &format!("{route} is not in the script"));
        };
        let (status, body) = match answers.len() {
            1 => answers[0].clone(),
            _ => answers.pop_front().expect("an answer"),
        };
        (StatusCode::from_u16(status).expect("a status"), Json(body)).into_response()
    }
}

fn refusal(status: u16, code: &str, message: &str) -> Response {
    let body = refused(code, message);
    (StatusCode::from_u16(status).expect("a status"), Json(body)).into_response()
}

fn refused(code: &str, message: &str) -> Value {
    json!({ "success": false, "data": null, "error": { "code": code, "message": message } })
}

struct Homelab {
    url: String,
    home: TempDir,
    script: Script,
}

impl Homelab {
    async fn start() -> Self {
        let script = Script::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let app = Router::new().fallback(Script::answer).with_state(script.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, home: tempfile::tempdir().expect("a folder"), script }
    }

    /// Says what a route answers next.
    fn on(&self, route: &str, data: Value) -> &Self {
        self.on_status(route, 200, json!({ "success": true, "data": data, "error": null }))
    }

    fn refuses(&self, route: &str, status: u16, code: &str, message: &str) -> &Self {
        self.on_status(route, status, refused(code, message))
    }

    fn on_status(&self, route: &str, status: u16, body: Value) -> &Self {
        let mut scripted = self.script.0.lock().expect("not poisoned");
        match scripted.answers.iter_mut().find(|(known, _)| *known == route) {
            Some((_, answers)) => answers.push_back((status, body)),
            None => scripted.answers.push((route.to_owned(), VecDeque::from([(status, body)]))),
        }
        drop(scripted);
        self
    }

    /// Returns what was asked since the last time.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.script.0.lock().expect("not poisoned").asked)
    }

    fn command(&self, arguments: &[&str]) -> Claw {
        Claw::new(self.home.path(), arguments)
            .env("CLAW_API_URL", &self.url)
            .env("CLAW_API_KEY", "wag_live_x")
    }

    async fn claw(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).run().await
    }
}

fn web() -> Value {
    json!({
        "id": "4f".repeat(32), "name": "web", "image": HOSTILE, "state": "running", "status": "Up 2 hours",
        "created": "2026-01-01T00:00:00Z", "health": "healthy", "new": 1,
        "ports": [{ "private": 80, "public": 8080, "protocol": "tcp" }, { "private": 443, "protocol": "tcp" }],
    })
}

#[tokio::test]
async fn containers_are_listed_for_people_and_programs() {
    let homelab = Homelab::start().await;
    homelab.on("GET /api/containers", json!([web()]));

    let table = homelab.claw(&["containers", "list"]).await.ok();
    let json = homelab.claw(&["--json", "container", "list"]).await.json();

    assert!(table.starts_with("ID            NAME"), "{table}");
    assert!(table.contains("4f4f4f4f4f4f  web"), "{table}");
    assert!(table.contains("Up 2 hours (healthy)") && table.contains("8080->80/tcp, 443/tcp"), "{table}");
    assert!(!table.contains('\u{1b}'), "{table:?}");
    assert_eq!(json[0]["new"], 1);
}

#[tokio::test]
async fn a_container_is_started_stopped_and_deleted() {
    let homelab = Homelab::start().await;
    homelab
        .on("POST /api/containers/web/start", json!({ "status": "started" }))
        .on("POST /api/containers/web/stop", json!({ "status": "stopped" }))
        .on("POST /api/containers/web/restart", json!({ "status": "restarted" }))
        .on("DELETE /api/containers/web/delete", json!({ "status": "deleted" }))
        .refuses("DELETE /api/containers/none/delete", 404, "NOT_FOUND", "container `none` does not exist")
        .refuses("POST /api/containers/claw/stop", 403, "PROTECTED", "it belongs to ClawMachine itself");

    assert_eq!(homelab.claw(&["containers", "start", "web"]).await.ok(), "web started\n");
    assert_eq!(homelab.claw(&["containers", "stop", "web"]).await.ok(), "web stopped\n");
    assert_eq!(homelab.claw(&["containers", "restart", "web"]).await.ok(), "web restarted\n");
    // Nobody is there to be asked.
    assert_eq!(homelab.claw(&["containers", "delete", "web"]).await.ok(), "web deleted; its volumes stay\n");
    let json = homelab.claw(&["--json", "containers", "delete", "--yes", "web"]).await.json();
    let missing = homelab.claw(&["containers", "delete", "none"]).await.failed(2);
    let protected = homelab.claw(&["containers", "stop", "claw"]).await.failed(1);
    let odd = homelab.claw(&["containers", "stop", ".."]).await.failed(1);

    assert_eq!(json, json!({ "status": "deleted" }));
    assert!(missing.contains("hint: `claw containers list`"), "{missing}");
    assert!(protected.contains("ClawMachine's own"), "{protected}");
    assert!(odd.contains("is no name of a container"), "{odd}");
}

#[tokio::test]
async fn a_container_is_made_with_what_was_said_after_its_image_was_pulled() {
    let homelab = Homelab::start().await;
    let pull = |status: &str| json!({ "status": status, "image": "nginx:latest", "pull_id": "p1" });
    homelab
        .on("GET /api/images", json!([]))
        .on("POST /api/images/pull?wait=false", pull("pulling"))
        .on("GET /api/images/pulls/p1", pull("pulled"))
        .on("POST /api/containers", web());

    let made = homelab
        .command(&[
            "containers",
            "create",
            "--name",
            "web",
            "-e",
            "TZ=Etc/UTC",
            "-e",
            "TOKEN",
            "-p",
            "8080:80",
            "-p",
            "53:53/udp",
            "--volume",
            "data:/data:ro",
            "--restart",
            "unless-stopped",
            "nginx",
            "nginx",
            "-g",
            "daemon off;",
        ])
        .env("TOKEN", "from the shell")
        .run()
        .await;

    assert_eq!(made.ok(), "web runs, 8080->80/tcp, 443/tcp\n");
    let sent = homelab.asked().pop().expect("a request");
    let body: Value = serde_json::from_str(sent.trim_start_matches("POST /api/containers ")).expect("JSON");
    let expected = json!({
        "image": "nginx", "name": "web", "env": { "TZ": "Etc/UTC", "TOKEN": "from the shell" },
        "ports": [
            { "private": 80, "public": 8080, "protocol": "tcp" }, { "private": 53, "public": 53, "protocol": "udp" },
        ],
        "volumes": [{ "host": "data", "container": "/data", "read_only": true }],
        "command": ["nginx", "-g", "daemon off;"], "restart": "unless-stopped",
    });
    assert_eq!(body, expected);
    let missing = homelab.claw(&["containers", "create", "-e", "NOT_HERE", "nginx"]).await.failed(64);
    assert!(missing.contains("has no value in this shell"), "{missing}");
}

#[tokio::test]
async fn whoever_may_not_pull_leaves_that_to_the_server_and_a_refusal_names_the_way() {
    let homelab = Homelab::start().await;
    homelab
        .refuses("GET /api/images", 403, "SCOPE_REQUIRED", "images:read scope required")
        .refuses("POST /api/containers", 403, "POLICY_REFUSED", "the policy does not permit this")
        .refuses("POST /api/containers", 409, "NAME_TAKEN", "a container named `web` exists already");

    let refused = homelab.claw(&["containers", "create", "nginx"]).await.failed(1);
    let taken = homelab.claw(&["containers", "create", "--name", "web", "nginx"]).await.failed(3);

    assert!(refused.contains("policy.toml") && refused.contains("`claw policy explain`"), "{refused}");
    assert!(taken.contains("--name gives it another one"), "{taken}");
}

#[tokio::test]
async fn logs_and_output_of_containers_do_no_harm_to_a_terminal() {
    let homelab = Homelab::start().await;
    let logs = "GET /api/containers/web/logs?tail=5&timestamps=true";
    homelab.on(logs, json!(HOSTILE));

    let text = homelab.claw(&["containers", "logs", "-n", "5", "-t", "web"]).await.ok();

    assert!(text.contains("all") && text.ends_with('\n') && !text.contains('\u{1b}'), "{text:?}");
    assert!(!text.contains('\u{202e}'), "{text:?}");
}

#[tokio::test]
async fn a_program_in_a_container_ends_the_command_as_it_ended() {
    let homelab = Homelab::start().await;
    let done = |code: Value, more: Value| {
        let mut done = json!({
            "exit_code": code, "stdout": "out\n", "stderr": "err\n", "truncated": false, "timed_out": false,
            "left_running": false,
        });
        done.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        done
    };
    homelab
        .on("POST /api/containers/web/exec", done(json!(0), json!({})))
        .on("POST /api/containers/web/exec", done(json!(3), json!({})))
        .on(
            "POST /api/containers/web/exec",
            done(json!(null), json!({ "timed_out": true, "left_running": true })),
        )
        .on("POST /api/containers/web/exec", done(json!(null), json!({ "truncated": true })))
        .refuses(
            "POST /api/containers/off/exec",
            409,
            "CONFLICT",
            "container `off` does not run: start it first",
        );

    let fine =
        homelab.claw(&["containers", "exec", "-u", "1000", "-w", "/tmp", "web", "ls", "-l", "--all"]).await;
    let failed = homelab.claw(&["containers", "exec", "web", "--", "false"]).await;
    let late = homelab.claw(&["containers", "exec", "--timeout", "1", "web", "sleep", "9"]).await;
    let long = homelab.claw(&["containers", "exec", "web", "yes"]).await;
    let off = homelab.claw(&["containers", "exec", "off", "true"]).await.failed(3);

    assert_eq!((fine.code, fine.stdout.as_str(), fine.stderr.as_str()), (0, "out\n", "err\n"));
    assert_eq!((failed.code, failed.stdout.as_str()), (3, "out\n"));
    assert!(failed.stderr.contains("it ended with exit code 3"), "{failed:?}");
    assert_eq!(late.code, 4);
    assert!(late.stderr.contains("within 1 s") && late.stderr.contains("goes on"), "{late:?}");
    assert!(long.code == 3 && long.stderr.contains("wrote without end"), "{long:?}");
    assert!(off.contains("`claw containers start off`"), "{off}");
    let asked = homelab.asked();
    let body = |index: usize| -> Value {
        serde_json::from_str(asked[index].trim_start_matches("POST /api/containers/web/exec ")).expect("JSON")
    };
    let expected = json!({
        "command": ["ls", "-l", "--all"], "user": "1000", "working_dir": "/tmp", "timeout_seconds": 30, "max_bytes": 65536,
    });
    assert_eq!((body(0), &body(1)["command"]), (expected, &json!(["false"])));
}

#[tokio::test]
async fn what_a_container_uses_is_shown_with_units() {
    let homelab = Homelab::start().await;
    let stats = json!({ "cpu_percent": 150.04, "memory_bytes": 2048, "memory_limit_bytes": 4096, "memory_percent": 50.0, "pids": 3 });
    homelab.on("GET /api/containers/web/stats", stats);

    let text = homelab.claw(&["containers", "stats", "web"]).await.ok();

    assert!(text.contains("cpu        150.0 %") && text.contains("2.0 KiB of 4.0 KiB (50.0 %)"), "{text}");
}

#[tokio::test]
async fn images_are_listed_pulled_and_deleted() {
    let homelab = Homelab::start().await;
    let pull = |status: &str| json!({ "status": status, "image": "nginx:1", "pull_id": "p1", "code": "IMAGE_PULL_FAILED", "reason": "no network" });
    homelab
        .on("GET /api/images", json!([{ "id": format!("sha256:{}", "ab".repeat(32)), "repository": "nginx", "tag": "1", "size_human": "187MB" }]))
        .on("POST /api/images/pull?wait=false", pull("pulling"))
        .on("GET /api/images/pulls/p1", pull("pulled"))
        .on("GET /api/images/pulls/p1", pull("failed"))
        .on("DELETE /api/images/ghcr.io%2Fa%2Fb:1", json!({ "status": "deleted" }))
        .refuses("DELETE /api/images/used", 409, "CONFLICT", "a container uses it");

    let table = homelab.claw(&["images", "list"]).await.ok();
    let pulled = homelab.claw(&["images", "pull", "nginx:1"]).await;
    let failed = homelab.claw(&["images", "pull", "nginx:1"]).await.failed(1);
    let deleted = homelab.claw(&["images", "delete", "ghcr.io/a/b:1"]).await.ok();
    let used = homelab.claw(&["images", "delete", "used"]).await.failed(3);

    assert!(table.contains("abababababab  nginx") && table.contains("187MB"), "{table}");
    assert!(pulled.stderr.contains("pulling nginx:1"), "{pulled:?}");
    assert_eq!(pulled.ok(), "nginx:1 is there\n");
    assert!(failed.contains("no network") && failed.contains("check its network"), "{failed}");
    assert_eq!(deleted, "ghcr.io/a/b:1 deleted\n");
    assert!(used.contains("`claw containers list` shows who uses it"), "{used}");
}

fn installed(status: &str, doing: Value, failure: Value) -> Value {
    json!({
        "app_id": "jellyfin", "app_name": "Jellyfin", "container_name": "media", "install_id": "media", "status": status,
        "version": "10.10", "doing": doing, "failure": failure, "install_dir": "/apps/jellyfin/media",
        "ports": [{ "service": "jellyfin", "container": 8096, "host": 8097, "protocol": "tcp", "instead_of": 8096 }],
        "services": [{ "name": "jellyfin", "container_name": "media", "state": "running", "image": "jellyfin/jellyfin:10" }],
    })
}

#[tokio::test]
async fn apps_are_found_and_described() {
    let homelab = Homelab::start().await;
    let app = |id: &str, category: &str| json!({ "id": id, "name": id.to_uppercase(), "description": "What it is.", "port": 8096, "category": category });
    let details = json!({
        "id": "jellyfin", "name": "Jellyfin", "description": "Streams.", "port": 8096, "category": "Media",
        "meta": { "version": "10.10", "website": "https://jellyfin.org" }, "raw_markdown": "services: {}\n",
        "template": {
            "image": "jellyfin/jellyfin:10", "ports": [8096],
            "environment": [{ "name": "TZ", "description": "Time zone.", "required": true }],
            "volumes": [{ "name": "config", "description": "/config" }],
        },
        "notes": ["Open it once."], "grants": { "cap_add": ["NET_ADMIN"], "reason": "It makes a tunnel." },
    });
    homelab
        .on("GET /api/marketplace", json!([app("jellyfin", "Media"), app("gluetun", "VPN")]))
        .on("GET /api/marketplace/jellyfin", details)
        .refuses("GET /api/marketplace/none", 404, "APP_NOT_FOUND", "no such app");

    let all = homelab.claw(&["apps", "list"]).await.ok();
    let vpn = homelab.claw(&["apps", "list", "--category", "vpn"]).await.ok();
    let found = homelab.claw(&["-q", "app", "list", "--search", "JELLY"]).await.ok();
    let shown = homelab.claw(&["apps", "show", "jellyfin"]).await.ok();
    let compose = homelab.claw(&["apps", "show", "--compose", "jellyfin"]).await.ok();
    let missing = homelab.claw(&["apps", "show", "none"]).await.failed(2);

    assert!(all.contains("jellyfin") && all.contains("gluetun"), "{all}");
    assert!(!vpn.contains("jellyfin") && vpn.contains("gluetun"), "{vpn}");
    assert_eq!(found.lines().count(), 1, "{found}");
    for part in [
        "image      jellyfin/jellyfin:10",
        "TZ: Time zone. [required]",
        "config at /config",
        "It makes a tunnel",
        "Open it once.",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert_eq!(compose, "services: {}\n");
    assert!(missing.contains("hint: `claw apps list`"), "{missing}");
}

#[tokio::test]
async fn an_app_is_installed_with_its_passwords_shown_and_started_when_it_is_started() {
    let homelab = Homelab::start().await;
    let made = json!({
        "app_id": "jellyfin", "app_name": "Jellyfin", "install_id": "media", "container_name": "media", "status": "created",
        "install_dir": "/apps/jellyfin/media", "compose_path": "/apps/jellyfin/media/compose.yaml", "notes": ["Open it."],
        "generated": { "ADMIN_PASSWORD": "s3cret" }, "ports": installed("", json!(null), json!(null))["ports"],
    });
    let progress = json!({ "container_name": "media", "status": "starting", "app": installed("partial", json!("started"), json!(null)) });
    homelab
        .refuses("POST /api/marketplace/create", 400, "VARIABLES_REQUIRED", "TZ is required")
        .on("POST /api/marketplace/create", made)
        .on("POST /api/marketplace/start", progress)
        .on("GET /api/marketplace/media/status", installed("partial", json!("started"), json!(null)))
        .on("GET /api/marketplace/media/status", installed("running", json!(null), json!(null)));

    let required = homelab.claw(&["apps", "install", "jellyfin"]).await.failed(1);
    let done = homelab
        .claw(&[
            "apps",
            "install",
            "jellyfin",
            "--name",
            "media",
            "-e",
            "TZ=UTC",
            "-p",
            "8097:8096",
            "--start",
        ])
        .await;

    assert!(required.contains("-e NAME=VALUE"), "{required}");
    assert!(done.stderr.contains("port 8096 is taken, so it is 8097 instead"), "{done:?}");
    let text = done.ok();
    assert!(
        text.contains("Jellyfin is installed as media") && text.contains("ADMIN_PASSWORD=s3cret"),
        "{text}"
    );
    assert!(text.contains("media running, 8097->8096/tcp"), "{text}");
    let asked = homelab.asked();
    let create =
        r#"{"app_id":"jellyfin","custom_name":"media","environment":{"TZ":"UTC"},"ports":{"8097":8096}}"#;
    assert_eq!(asked[1], format!("POST /api/marketplace/create {create}"));
}

#[tokio::test]
async fn a_start_that_fails_behind_the_answer_is_told_with_the_reason() {
    let homelab = Homelab::start().await;
    let progress =
        json!({ "status": "starting", "app": installed("partial", json!("started"), json!(null)) });
    homelab.on("POST /api/marketplace/start", progress).on(
        "GET /api/marketplace/media/status",
        installed("stopped", json!(null), json!("the image is not there")),
    );

    let failed = homelab.claw(&["apps", "start", "media"]).await.failed(1);
    let at_once = homelab.claw(&["apps", "start", "--no-wait", "media"]).await;

    assert!(
        failed.contains("the image is not there") && failed.contains("`claw apps logs media`"),
        "{failed}"
    );
    assert!(at_once.stderr.contains("it goes on; `claw apps status media`"), "{at_once:?}");
}

#[tokio::test]
async fn installed_apps_are_listed_stopped_updated_and_uninstalled() {
    let homelab = Homelab::start().await;
    let app = installed("running", json!(null), json!(null));
    let stopped = json!({ "status": "stopped", "app": installed("stopped", json!(null), json!(null)) });
    homelab
        .on("GET /api/marketplace/installed", json!([app]))
        .on("GET /api/marketplace/media/status", app.clone())
        .on("GET /api/marketplace/media/logs?service=db&tail=7", json!("a\nb"))
        .on("POST /api/marketplace/stop", stopped)
        .refuses("POST /api/marketplace/update", 409, "CONFLICT", "somebody edited the compose file")
        .on(
            "POST /api/marketplace/update",
            json!({ "status": "updated", "from": "1", "to": "2", "generated": { "NEW_KEY": "k" } }),
        )
        .on(
            "POST /api/marketplace/uninstall",
            json!({ "status": "uninstalled", "data_kept_in": "/apps/jellyfin/media", "volumes_kept": ["v"] }),
        )
        .refuses("GET /api/marketplace/none/status", 404, "COMPOSE_NOT_FOUND", "there is no such install");

    let list = homelab.claw(&["apps", "installed"]).await.ok();
    let status = homelab.claw(&["apps", "status", "media"]).await.ok();
    let logs = homelab.claw(&["apps", "logs", "media", "--service", "db", "-n", "7"]).await.ok();
    let stop = homelab.claw(&["apps", "stop", "media"]).await.ok();
    let edited = homelab.claw(&["apps", "update", "media"]).await.failed(3);
    let updated = homelab.claw(&["apps", "update", "media", "--replace-edited"]).await.ok();
    let gone = homelab.claw(&["apps", "uninstall", "media", "--yes"]).await;
    let missing = homelab.claw(&["apps", "status", "none"]).await.failed(2);

    assert!(list.contains("media") && list.contains("8097->8096/tcp"), "{list}");
    assert!(status.contains("media: running, jellyfin/jellyfin:10"), "{status}");
    assert_eq!((logs.as_str(), stop.as_str()), ("a\nb\n", "media stopped, 8097->8096/tcp\n"));
    assert!(edited.contains("--replace-edited"), "{edited}");
    assert!(updated.contains("media updated from 1 to 2") && updated.contains("NEW_KEY=k"), "{updated}");
    assert!(gone.stderr.contains("its data is in /apps/jellyfin/media"), "{gone:?}");
    assert_eq!(gone.ok(), "media is uninstalled\n");
    assert!(missing.contains("hint: `claw apps installed`"), "{missing}");
    let last = homelab.asked().into_iter().rev().find(|asked| asked.contains("uninstall")).expect("asked");
    assert!(last.ends_with(r#"{"container_name":"media","delete_data":false}"#), "{last}");
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_before_anything_is_sent() {
    let homelab = Homelab::start().await;

    for arguments in [
        &["containers"][..],
        &["containers", "exec", "web"],
        &["containers", "exec", "--timeout", "601", "web", "true"],
        &["containers", "create", "-p", "http", "nginx"],
        &["containers", "create", "--volume", "data", "nginx"],
        &["containers", "create", "-e", "=x", "nginx"],
        &["containers", "create", "-e", "A=1", "-e", "A=2", "nginx"],
        &["containers", "logs", "--since", "yesterday", "web"],
        &["containers", "logs", "-n", "1001", "web"],
        &["apps", "install", "jellyfin", "-p", "8096"],
        &["apps", "logs", "media", "-n", "0"],
        &["images", "pull"],
    ] {
        let ran = homelab.claw(arguments).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (64, ""), "{arguments:?}: {ran:?}");
    }

    assert_eq!(homelab.asked(), Vec::<String>::new());
}
