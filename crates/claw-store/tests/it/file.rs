//! Opening: which files are accepted, with which rights, and what a refusal says.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use claw_store::{
    StoreError,
    sqlite::{SqliteOptions, SqliteStore},
};
use rusqlite::Connection;

use crate::setting::open;

fn refusal(path: &Path) -> StoreError {
    match SqliteStore::open(path, SqliteOptions::default()) {
        Ok(_) => panic!("{} must not open", path.display()),
        Err(error) => error,
    }
}

/// Checks that the store is unavailable for a reason that names the file and holds the text.
fn assert_unavailable(path: &Path, text: &str) {
    let error = refusal(path);
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains(&path.display().to_string()) && message.contains(text), "{message}");
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it exists").permissions().mode() & 0o777
}

#[tokio::test]
async fn file_and_folder_are_for_nobody_else() {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let folder = parent.path().join("data/deep");
    let path = folder.join("store.db");

    let opened = open(&path);

    assert_eq!(mode(&folder), 0o700);
    for name in ["store.db", "store.db-wal", "store.db-shm", "store.db.lock"] {
        assert_eq!(mode(&folder.join(name)), 0o600, "{name}");
    }
    opened.close().await;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("ours");
    open(&path).close().await;
    assert_eq!(mode(&path), 0o600, "a file that others could read is mended");
}

#[tokio::test]
async fn a_second_server_on_the_same_file_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("store.db");
    let first = open(&path);

    assert_unavailable(&path, "is in use by another running server: stop that one");

    first.close().await;
    open(&path).close().await;
}

#[tokio::test]
async fn a_store_that_is_dropped_gives_its_file_free() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("store.db");
    drop(open(&path));

    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while let Err(error) = SqliteStore::open(&path, SqliteOptions::default()) {
        assert!(std::time::Instant::now() < deadline, "{error}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("store.db");
    open(&path).close().await;
    let connection = Connection::open(&path).expect("a database");
    connection.pragma_update(None, "user_version", 9_999).expect("writable");
    drop(connection);

    let error = refusal(&path);

    assert!(matches!(error, StoreError::NewerSchema { found: 9_999, .. }), "{error:?}");
    assert!(error.to_string().contains("start the newer version again or restore a backup"), "{error}");
    let connection = Connection::open(&path).expect("a database");
    let version: u32 =
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).expect("readable");
    assert_eq!(version, 9_999);
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("store.db");
    let content = b"notes to myself, long enough to be taken for a header of a database file\n".repeat(100);
    fs::write(&path, &content).expect("written");

    assert_unavailable(&path, "file is not a database: move the file away");

    assert_eq!(fs::read(&path).expect("readable"), content);
}

#[test]
fn a_database_of_another_program_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("store.db");
    let connection = Connection::open(&path).expect("a database");
    connection.execute_batch("CREATE TABLE notes (text TEXT)").expect("writable");
    drop(connection);

    assert_unavailable(&path, "a database of another program");
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    // The kernel's own file system refuses new files even to root.
    assert_unavailable(Path::new("/sys/kernel/store.db"), "make the data folder writable");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("file");
    fs::write(&file, "").expect("written");
    assert_unavailable(&file.join("store.db"), "make the data folder writable");
}
