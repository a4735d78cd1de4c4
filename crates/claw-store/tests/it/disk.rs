//! File systems that are full, read-only or damaged, and files that another program holds. Each is told clearly, hurts
//! nothing that is stored, and passes without a restart where it can pass.
//!
//! The file systems are small ones of the tests' own, in a child with a mount namespace of its own, so that none is
//! left over.
#![expect(clippy::disallowed_methods, reason = "mounting needs the system's own commands")]

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::FileExt,
    path::Path,
    process::Command,
};

use claw_core::{Coded, ErrorCode};
use claw_store::{
    JobFilter, Store, StoreError,
    sqlite::{SqliteOptions, SqliteStore},
};
use rusqlite::Connection;

use crate::{
    child,
    setting::{assert_only_whole_submits, now, open, request},
};

const DONE: &str = "the child did its part";

/// Runs the test `part` in a child that may mount file systems which nobody else sees.
fn run_where_mounting_is_allowed(part: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let part = child::command(part, folder.path());
    let mut unshare = Command::new("unshare");
    unshare.arg("--mount");
    if !rustix::process::geteuid().is_root() {
        unshare.arg("--map-root-user");
    }
    unshare.arg(part.get_program()).args(part.get_args());
    for (name, value) in part.get_envs() {
        unshare.env(name, value.expect("set"));
    }
    let output = unshare.output().expect("unshare of util-linux");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains(DONE), "{text}\n{errors}");
}

fn mount(arguments: &[&str], folder: &Path) {
    let status = Command::new("mount").args(arguments).arg(folder).status().expect("mount of util-linux");
    assert!(status.success(), "mount {arguments:?} {}", folder.display());
}

fn small_disk(folder: &Path, size: &str) {
    mount(&["-t", "tmpfs", "-o", &format!("size={size},mode=0700"), "tmpfs"], folder);
}

/// Fills what is left of a disk.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("a file");
    for size in [4096, 1] {
        let error = loop {
            if let Err(error) = file.write_all(&vec![0; size]) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }
}

fn refusal(path: &Path) -> StoreError {
    match SqliteStore::open(path, SqliteOptions::default()) {
        Ok(_) => panic!("{} must not open", path.display()),
        Err(error) => error,
    }
}

#[test]
fn r5_a_full_disk_refuses_writes_until_there_is_room_and_loses_nothing() {
    run_where_mounting_is_allowed("disk::the_child_fills_a_small_disk");
}

/// Not a test of its own: the part of the child in the test above. Does nothing in the ordinary run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_child_fills_a_small_disk() {
    let Some(disk) = child::folder() else { return };
    small_disk(&disk, "2m");
    let (path, filling) = (disk.join("store.db"), disk.join("filling"));
    let opened = open(&path);
    let store = opened.store();
    store.jobs.submit(request("before"), now()).await.expect("stored");

    for round in 1..=3 {
        fill(&filling);
        let error = fail_to_submit(&store).await;
        assert_eq!(error.code(), ErrorCode::StorageFull, "{error:?}");
        assert!(error.to_string().contains("free space"), "{error}");
        let stored = assert_only_whole_submits(&store).await.len();
        store.upkeep.health().await.expect("what needs no room is answered");

        fs::remove_file(&filling).expect("room again");
        store.jobs.submit(request("after"), now()).await.expect("without a restart");
        assert_eq!(assert_only_whole_submits(&store).await.len(), stored + 1, "round {round}");
    }

    let stored = assert_only_whole_submits(&store).await;
    drop(store);
    opened.close().await;
    let opened = open(&path);
    assert_eq!(assert_only_whole_submits(&opened.store()).await, stored);
    opened.close().await;

    fill(&filling);
    let error = refusal(&disk.join("new/store.db"));
    assert!(error.to_string().contains("new/store.db"), "{error}");
    assert!(matches!(error, StoreError::Full { .. } | StoreError::Unavailable { .. }), "{error:?}");
    println!("{DONE}");
}

/// Submits until that fails: a log that was grown before takes some more.
async fn fail_to_submit(store: &Store) -> StoreError {
    for _ in 0..1_000 {
        if let Err(error) = store.jobs.submit(request(&"x".repeat(4_000)), now()).await {
            return error;
        }
    }
    panic!("a full disk takes everything");
}

#[test]
fn what_cannot_be_written_is_named() {
    run_where_mounting_is_allowed("disk::the_child_opens_what_is_read_only");
}

/// Not a test of its own: the part of the child in the test above. Does nothing in the ordinary run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_child_opens_what_is_read_only() {
    let Some(disk) = child::folder() else { return };
    small_disk(&disk, "8m");
    let path = disk.join("store.db");
    let opened = open(&path);
    opened.store().jobs.submit(request("kept"), now()).await.expect("stored");
    opened.close().await;
    let content = fs::read(&path).expect("readable");

    mount(&["--bind", path.to_str().expect("text")], &path);
    mount(&["-o", "remount,bind,ro"], &path);
    assert_names_the_way_out(&path);
    assert!(Command::new("umount").arg(&path).status().expect("umount").success());
    mount(&["-o", "remount,ro"], &disk);
    assert_names_the_way_out(&path);
    mount(&["-o", "remount,rw"], &disk);

    assert_eq!(fs::read(&path).expect("readable"), content, "it is left alone");
    let opened = open(&path);
    assert_eq!(assert_only_whole_submits(&opened.store()).await.len(), 1);
    opened.close().await;
    println!("{DONE}");
}

fn assert_names_the_way_out(path: &Path) {
    let error = refusal(path);
    assert_eq!(error.code(), ErrorCode::StoreUnavailable);
    let text = error.to_string();
    assert!(text.contains(path.to_str().expect("text")), "{text}");
    assert!(text.contains("make the data folder writable for this user"), "{text}");
}

/// A closed store with some jobs.
async fn filled(path: &Path) {
    let opened = open(path);
    for _ in 0..50 {
        opened.store().jobs.submit(request(&"x".repeat(4_000)), now()).await.expect("stored");
    }
    opened.close().await;
}

#[tokio::test]
async fn a_file_that_was_cut_off_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("store.db");
    filled(&path).await;
    let length = fs::metadata(&path).expect("it exists").len();
    let cut = OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(length / 2));
    cut.expect("writable");

    let error = refusal(&path);

    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("the file is cut off"), "{error}");
    assert!(error.to_string().contains("restore a backup"), "{error}");
    assert_eq!(fs::metadata(&path).expect("it exists").len(), length / 2);
}

#[tokio::test]
async fn damage_inside_the_file_is_told_to_whoever_meets_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("store.db");
    filled(&path).await;
    let file = OpenOptions::new().write(true).open(&path).expect("writable");
    let length = file.metadata().expect("known").len();
    // All but the pages with the schema.
    for page in 8..length / 4096 {
        file.write_all_at(&[0x5a; 4096], page * 4096).expect("written");
    }

    // The index of the search is met first or the jobs themselves, by the layout of the file.
    let error = match SqliteStore::open(&path, SqliteOptions::default()) {
        Err(error) => error,
        Ok(opened) => {
            let listed = opened.store().jobs.list(JobFilter { limit: 100, ..JobFilter::default() }).await;
            opened.close().await;
            listed.expect_err("it meets the damage")
        }
    };

    assert_eq!(error.code(), ErrorCode::StoreUnavailable, "{error:?}");
    assert!(error.to_string().contains("restore a backup"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_another_program_holds_is_told_and_passes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("store.db");
    let opened = open(&path);
    let store = opened.store();
    let other = Connection::open(&path).expect("a database");
    other.execute_batch("BEGIN IMMEDIATE").expect("a lock");

    let error = store.jobs.submit(request("refused"), now()).await.expect_err("the file is held");

    assert_eq!(error.code(), ErrorCode::StoreUnavailable);
    assert!(error.to_string().contains("another program is using the store's file"), "{error}");
    assert!(store.jobs.counts().await.is_ok(), "reads go on");
    other.execute_batch("ROLLBACK").expect("given back");
    store.jobs.submit(request("stored"), now()).await.expect("without a restart");
    assert_eq!(assert_only_whole_submits(&store).await.len(), 1);
    opened.close().await;
}
