//! A data folder as the other servers left them, and hostile ones.

use std::{fs, os::unix::fs::symlink, path::Path};

use claw_core::{Role, Scope};
use serde_json::json;
use tempfile::TempDir;

use super::*;

fn write(root: &Path, path: &str, content: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, content).expect("written");
}

fn key(hash: char, role: Option<&str>, scopes: &[&str]) -> String {
    let mut value = json!({
        "id": "6f9c0f0e-5ad2-4f3e-9d5b-2f6f1c1c9a11", "key_prefix": "Gx0eHx8=",
        "key_hash": hash.to_string().repeat(64), "scopes": scopes, "label": "openclaw-agent",
        "created_at": "2026-03-20T12:00:00.123456789Z", "last_used_at": "0001-01-01T00:00:00Z",
    });
    if let Some(role) = role {
        value["role"] = role.into();
    }
    serde_json::to_string_pretty(&value).expect("JSON")
}

fn found(folder: &TempDir) -> Found {
    look(folder.path(), None).expect("a folder")
}

#[test]
fn everything_of_a_server_s_folder_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    write(root, "keys/6f9c0f0e-5ad2-4f3e-9d5b-2f6f1c1c9a11.json", key('a', Some("admin"), &["*"]));
    write(root, "keys/b.json", key('b', Some("agent"), &["containers:read", "secrets:write"]));
    write(root, "keys/meta.json", key('c', None, &["*"]));
    write(root, "keys/setup-token", "wag_setup_x");
    write(root, "templates/web.json", r#"{"name":"other","image":"nginx"}"#);
    write(root, "containers/jellyfin/media/docker-compose.yml", "services: {}\n");
    write(root, "containers/jellyfin/media/README.md", "# Jellyfin\n");
    write(root, "containers/jellyfin/media/jellyfin/config/data.db", "data");
    write(root, "containers/README.md", "not an app");
    write(root, "pull_count.json", r#"{"Pulls":3}"#);

    let found = found(&folder);

    assert_eq!(found.problems, [""; 0]);
    assert_eq!(found.keys.len(), 2, "the old file counts only when it is alone");
    let (admin, agent) = (&found.keys[0], &found.keys[1]);
    assert_eq!((admin.role, admin.scopes.iter().next()), (Role::Admin, Some(&Scope::All)));
    assert_eq!(admin.id.map(|id| id.to_string()).as_deref(), Some("6f9c0f0e-5ad2-4f3e-9d5b-2f6f1c1c9a11"));
    assert_eq!(admin.last_used_at, admin.created_at, "never used");
    assert_eq!(agent.scopes, [Scope::ContainersRead].into());
    assert!(found.notes.iter().any(|note| note.contains("secrets:write")), "{:?}", found.notes);
    assert_eq!(found.templates.len(), 1);
    assert_eq!(found.templates[0].name, "web");
    assert!(String::from_utf8_lossy(&found.templates[0].body).contains(r#""name":"web""#));
    let app = &found.apps[0];
    assert_eq!((app.app_id.as_str(), app.install_id.as_str()), ("jellyfin", "media"));
    assert_eq!(found.apps.len(), 1);
}

#[test]
fn the_one_key_of_the_oldest_servers_is_an_administrator_s() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "keys/meta.json", key('c', None, &["containers:read", "keys:write"]));

    let found = found(&folder);

    assert_eq!(found.keys[0].role, Role::Admin);
    assert_eq!(found.keys[0].scopes, [Scope::ContainersRead, Scope::KeysWrite].into());
}

#[test]
fn t19_an_agent_s_wildcard_becomes_what_it_meant_and_never_money() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "keys/a.json", key('a', Some("agent"), &["*"]));

    let scopes = &found(&folder).keys[0].scopes;

    assert!(scopes.contains(&Scope::ContainersDelete) && scopes.contains(&Scope::SystemRead));
    // The other server ran nothing inside of containers, so nobody ever meant to allow it.
    assert!(!scopes.contains(&Scope::ContainersExec));
    for scope in [Scope::All, Scope::Admin, Scope::KeysWrite, Scope::JobsWrite] {
        assert!(!scopes.contains(&scope), "{scope}");
    }
}

#[test]
fn a3_no_link_leads_out_of_the_folder_and_no_pipe_holds_the_reader() {
    let outside = tempfile::tempdir().expect("a folder");
    write(outside.path(), "key.json", key('a', Some("admin"), &["*"]));
    write(outside.path(), "docker-compose.yml", "secret: outside\n");
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    for path in ["keys", "containers/app/one", "containers/app/two"] {
        fs::create_dir_all(root.join(path)).expect("made");
    }
    symlink(outside.path().join("key.json"), root.join("keys/linked.json")).expect("a link");
    symlink(outside.path(), root.join("templates")).expect("a link");
    symlink(outside.path(), root.join("containers/app/linked")).expect("a link");
    symlink(outside.path(), root.join("containers/linked")).expect("a link");
    symlink(outside.path().join("docker-compose.yml"), root.join("containers/app/one/docker-compose.yml"))
        .expect("a link");
    let pipe = root.join("containers/app/two/docker-compose.yml");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
        .expect("a pipe");

    let found = found(&folder);

    assert!(found.keys.is_empty() && found.templates.is_empty() && found.apps.is_empty(), "{found:?}");
    assert_eq!(found.problems.len(), 6, "{:#?}", found.problems);
    assert!(!format!("{found:?}").contains("outside\n"));
}

#[test]
fn what_is_broken_too_large_or_too_much_is_named_and_the_rest_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    write(root, "keys/a-good.json", key('a', Some("agent"), &["images:read"]));
    write(root, "keys/b-cut.json", &key('b', Some("agent"), &["images:read"])[..40]);
    write(root, "keys/c-large.json", vec![b' '; 70 * 1024]);
    write(root, "keys/d-hash.json", key('G', Some("agent"), &["images:read"]));
    write(root, "keys/e-role.json", key('e', Some("root"), &["images:read"]));
    write(root, "keys/f-scopes.json", key('f', Some("agent"), &["secrets:write"]));
    write(root, "keys/g-same.json", key('a', Some("admin"), &["*"]));
    write(root, "templates/array.json", "[1]");
    write(root, "templates/large.json", vec![b'x'; 300 * 1024]);
    write(root, "containers/app/binary/docker-compose.yml", [0xff, 0xfe]);
    for number in 0..510 {
        fs::create_dir_all(root.join(format!("containers/many/n{number:04}"))).expect("made");
    }

    let found = found(&folder);

    assert_eq!(found.keys.len(), 1);
    assert_eq!(found.problems.len(), 10, "{:#?}", found.problems);
    let told = found.problems.join("\n");
    assert!(!told.contains(&"b".repeat(20)), "no hash is shown: {told}");
}

#[test]
fn b3_apps_are_found_in_a_folder_of_their_own_and_ours_are_no_foreign_ones() {
    let data = tempfile::tempdir().expect("a folder");
    let apps = tempfile::tempdir().expect("a folder");
    write(apps.path(), "nginx/nginx-1700000000/docker-compose.yml", "services: {}\n");
    write(apps.path(), "nginx/taken/docker-compose.yml", "services: {}\n");
    write(apps.path(), "nginx/taken/compose.yaml", "services: {}\n");
    write(apps.path(), "nginx/taken/.env", "");

    let found = look(data.path(), Some(apps.path())).expect("folders");

    let ids: Vec<_> = found.apps.iter().map(|app| app.install_id.as_str()).collect();
    assert_eq!(ids, ["nginx-1700000000"]);
    assert!(look(&data.path().join("missing"), None).is_err());
}
