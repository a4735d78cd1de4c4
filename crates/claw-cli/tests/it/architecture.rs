//! Holds the crates to the directions that ARCHITECTURE.md draws.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// Which crates of the house each crate may use. A crate that is missing here, or an arrow that is not, is a
/// decision of its own: change this table and ARCHITECTURE.md together, with the reason.
const MAY_USE: &[(&str, &[&str])] = &[
    ("claw-core", &[]),
    ("claw-store", &["claw-core"]),
    ("claw-docker", &["claw-core"]),
    ("claw-workspace", &["claw-core"]),
    ("claw-agent", &["claw-core", "claw-docker"]),
    ("claw-gate", &["claw-core", "claw-store"]),
    ("claw-jobs", &["claw-core", "claw-store", "claw-workspace", "claw-agent", "claw-gate"]),
    ("claw-homelab", &["claw-core", "claw-store", "claw-docker", "claw-gate"]),
    (
        "claw-server",
        &[
            "claw-core",
            "claw-store",
            "claw-docker",
            "claw-workspace",
            "claw-agent",
            "claw-gate",
            "claw-homelab",
            "claw-jobs",
            "claw-client",
            "claw-mcp",
        ],
    ),
    ("claw-client", &["claw-core"]),
    ("claw-mcp", &["claw-core", "claw-client"]),
    (
        "claw-cli",
        &[
            "claw-core",
            "claw-store",
            "claw-docker",
            "claw-workspace",
            "claw-agent",
            "claw-gate",
            "claw-homelab",
            "claw-jobs",
            "claw-server",
            "claw-client",
            "claw-mcp",
        ],
    ),
    ("claw-testkit", &["claw-core"]),
];

/// Outside crates that belong to one room alone.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("rusqlite", &["claw-store"]),
    ("bollard", &["claw-docker"]),
    ("argon2", &["claw-gate"]),
    ("axum", &["claw-server", "claw-testkit"]),
    ("utoipa", &["claw-server"]),
    ("rmcp", &["claw-mcp"]),
    ("clap", &["claw-cli", "claw-testkit"]),
];

struct Manifest {
    normal: BTreeSet<String>,
    dev: BTreeSet<String>,
}

fn crates_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn manifests() -> BTreeMap<String, Manifest> {
    let names = |table: &toml::Table, key: &str| -> BTreeSet<String> {
        table
            .get(key)
            .and_then(toml::Value::as_table)
            .map(|t| t.keys().cloned().collect())
            .unwrap_or_default()
    };
    std::fs::read_dir(crates_folder())
        .expect("the crates folder")
        .map(|entry| entry.expect("an entry").path())
        .map(|folder| {
            let text = std::fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest");
            let table: toml::Table = text.parse().expect("a manifest is TOML");
            let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
            (name, Manifest { normal: names(&table, "dependencies"), dev: names(&table, "dev-dependencies") })
        })
        .collect()
}

#[test]
fn crates_depend_on_each_other_in_the_drawn_directions_only() {
    let manifests = manifests();
    let known: BTreeSet<&str> = MAY_USE.iter().map(|(name, _)| *name).collect();
    let found: BTreeSet<&str> = manifests.keys().map(String::as_str).collect();
    assert_eq!(found, known, "every crate has a row in MAY_USE");

    for (name, allowed) in MAY_USE {
        let used: Vec<_> = manifests[*name].normal.iter().filter(|dep| dep.starts_with("claw-")).collect();
        for dependency in used {
            assert!(allowed.contains(&dependency.as_str()), "{name} must not depend on {dependency}");
        }
    }
}

#[test]
fn the_test_kit_is_a_dev_dependency_only() {
    for (name, manifest) in manifests() {
        assert!(!manifest.normal.contains("claw-testkit"), "{name} uses claw-testkit outside tests");
    }
}

#[test]
fn outside_things_are_used_in_their_own_room_only() {
    let manifests = manifests();
    for (dependency, rooms) in ONLY_IN {
        for (name, manifest) in &manifests {
            let allowed = rooms.contains(&name.as_str());
            assert!(allowed || !manifest.normal.contains(*dependency), "{name} must not use {dependency}");
        }
    }
}

#[test]
fn every_path_that_the_map_names_exists() {
    let root = crates_folder().join("..");
    let map = std::fs::read_to_string(root.join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    // Every second piece stands between backquotes.
    let quoted = map.split('`').skip(1).step_by(2);
    let paths: Vec<_> = quoted.filter(|text| text.contains("/src/") || text.contains("/tests/")).collect();
    assert!(paths.len() > 20, "the map names places: {paths:?}");

    for path in paths {
        let path = path.strip_prefix("crates/").unwrap_or(path);
        assert!(crates_folder().join(path).exists(), "ARCHITECTURE.md names {path}, which does not exist");
    }
}

#[test]
fn no_crate_needs_a_second_time_or_tls_library() {
    for (name, manifest) in manifests() {
        for dependency in manifest.normal.iter().chain(&manifest.dev) {
            let banned = ["chrono", "time", "openssl", "native-tls", "git2"].contains(&dependency.as_str());
            assert!(!banned, "{name} must not use {dependency}: see deny.toml");
        }
    }
}
