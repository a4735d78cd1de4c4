//! Content that is small where the agent keeps it and large once it is unpacked.

use std::{fs, path::Path};

use claw_core::JobId;
use claw_workspace::Limits;

use crate::support::{House, commit_all, git};

/// Bytes that compress to a thousandth.
fn bomb(folder: &Path, name: &str, bytes: usize) {
    fs::write(folder.join(name), vec![0; bytes]).expect("a file");
}

fn small() -> Limits {
    Limits { max_file_bytes: 1 << 20, max_new_bytes: 2 << 20, ..Limits::default() }
}

/// Bytes that the files of a fresh working copy have together.
async fn checked_out(house: &House, workspace: claw_core::WorkspaceId) -> u64 {
    let copy = house.workspaces.checkout(workspace, JobId::new(), None).await.expect("a working copy");
    let files = fs::read_dir(&copy.dir).expect("the folder").map(|entry| entry.expect("an entry"));
    files
        .map(|entry| entry.metadata().expect("metadata"))
        .filter(|data| data.is_file())
        .map(|data| data.len())
        .sum()
}

#[tokio::test]
async fn t23_a_committed_file_that_unpacks_beyond_the_limit_does_not_reach_later_jobs() {
    let house = House::with(small(), None).await;
    let (workspace, copy) = house.job(&[("small", "x")]).await;
    bomb(&copy.dir, "bomb", 32 << 20);
    commit_all(&copy.dir, "a bomb, 32 KB in the object store");

    let kept = house.keep(&copy).await;

    assert!(!kept.skipped.is_empty() || !kept.notes.is_empty(), "{kept:?}");
    assert!(checked_out(&house, workspace).await < 1 << 20);
    house.check(workspace);
}

#[tokio::test]
async fn t23_many_committed_files_that_unpack_beyond_the_limit_together_do_not_reach_later_jobs() {
    let house = House::with(small(), None).await;
    let (workspace, copy) = house.job(&[("small", "x")]).await;
    for n in 0..16 {
        bomb(&copy.dir, &format!("bomb-{n}"), (1 << 20) - n);
    }
    commit_all(&copy.dir, "many");

    house.keep(&copy).await;

    assert!(checked_out(&house, workspace).await <= 3 << 20);
}

#[tokio::test]
async fn t23_a_bomb_on_a_side_branch_is_checked_out_by_nobody() {
    let house = House::with(small(), None).await;
    let (workspace, copy) = house.job(&[("small", "x")]).await;
    git(&copy.dir, &["checkout", "-q", "-b", "side"]);
    bomb(&copy.dir, "bomb", 32 << 20);
    commit_all(&copy.dir, "a bomb");
    git(&copy.dir, &["checkout", "-q", "main"]);

    house.keep(&copy).await;

    assert!(checked_out(&house, workspace).await < 1 << 20);
}

#[tokio::test]
async fn t23_an_archive_is_a_file_like_any_other_and_is_not_unpacked() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[]).await;
    // The beginning of a ZIP whose only entry is named `../../escaped`.
    fs::write(
        copy.dir.join("evil.zip"),
        b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x0d\0\0\0../../escaped",
    )
    .expect("a file");

    house.keep(&copy).await;

    assert_eq!(house.names(workspace).await, [".gitignore", "evil.zip"]);
    assert!(!house.data().join("escaped").exists());
}
