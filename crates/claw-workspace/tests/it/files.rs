//! The file browser.

use std::{collections::BTreeSet, fs, os::unix::fs::symlink};

use claw_core::{Coded, ErrorCode};
use claw_workspace::{EntryKind, FileEntry, WorkspaceError};

use crate::support::{House, git, path};

#[tokio::test]
async fn p6_files_and_folders_are_listed_with_their_sizes() {
    let house = House::new().await;
    let workspace = house.workspace(&[(".gitignore", ""), ("a/b/c.txt", "hello"), ("ü \n.txt", "")]).await;

    let listing = house.workspaces.list_files(workspace, 100).await.expect("a listing");

    let entry = |path: &str, kind, size| FileEntry { path: path.to_owned(), kind, size };
    assert_eq!(
        listing.files,
        [
            entry(".gitignore", EntryKind::File, 0),
            entry("a", EntryKind::Folder, 0),
            entry("a/b", EntryKind::Folder, 0),
            entry("a/b/c.txt", EntryKind::File, 5),
            entry("ü \n.txt", EntryKind::File, 0),
        ]
    );
    assert!(!listing.truncated);
}

#[tokio::test]
async fn a_listing_ends_at_its_limit_and_says_so() {
    let house = House::new().await;
    let names: Vec<String> = (0..500).map(|n| format!("file-{n:03}")).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
    let workspace = house.workspace(&files).await;

    let short = house.workspaces.list_files(workspace, 7).await.expect("a listing");
    let exact = house.workspaces.list_files(workspace, 501).await.expect("a listing");

    assert_eq!((short.files.len(), short.truncated), (7, true));
    assert_eq!((exact.files.len(), exact.truncated), (501, false));
}

#[tokio::test]
async fn what_is_written_can_be_read_and_has_its_author_in_the_history() {
    let house = House::new().await;
    let workspace = house.workspace(&[]).await;
    house.clock.advance(60);
    let content: Vec<u8> = (0..=255).cycle().take(3_000_000).collect();

    let commit = house
        .workspaces
        .write_file(workspace, &path("a/b\n/ü.bin"), &content, "user:ann")
        .await
        .expect("a write");

    let read =
        house.workspaces.read_file(workspace, &path("a/b\n/ü.bin"), 3_000_000).await.expect("the file");
    assert!(read == content);
    let history = house.workspaces.history(workspace, 0, 1).await.expect("a history");
    assert_eq!((history[0].hash, history[0].author.as_str()), (commit, "user:ann"));
    assert_eq!(history[0].message, "claw: file browser update");
    assert_eq!(history[0].date.as_second(), 1_800_000_060);
    house.check(workspace);
}

#[tokio::test]
async fn writing_what_is_there_makes_no_commit() {
    let house = House::new().await;
    let workspace = house.workspace(&[("a", "same")]).await;
    let before = house.workspaces.head(workspace).await.expect("a head");

    house.write(workspace, "a", "same").await;

    assert_eq!(house.workspaces.head(workspace).await.expect("a head"), before);
}

#[tokio::test]
async fn a_script_stays_executable_when_it_is_edited() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[]).await;
    fs::write(copy.dir.join("run"), "old").expect("a file");
    fs::set_permissions(copy.dir.join("run"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("a mode");
    house.keep(&copy).await;

    house.write(workspace, "run", "new").await;

    let line = git(&house.repository(workspace), &["ls-tree", "main", "run"]);
    assert!(line.starts_with("100755"), "{line}");
    assert_eq!(house.read(workspace, "run").await.as_deref(), Some("new"));
}

#[tokio::test]
async fn what_is_no_file_is_a_typed_error() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[("folder/file", "x")]).await;
    symlink("/etc/passwd", copy.dir.join("link")).expect("a link");
    symlink("/etc", copy.dir.join("folder/etc")).expect("a link");
    house.keep(&copy).await;
    let read = async |name: &str| house.workspaces.read_file(workspace, &path(name), 10).await.map(drop);
    let write =
        async |name: &str| house.workspaces.write_file(workspace, &path(name), b"", "x").await.map(drop);
    let code = |result: Result<(), WorkspaceError>| result.expect_err("no file").code();

    assert_eq!(code(read("missing").await), ErrorCode::FileNotFound);
    assert_eq!(code(read("folder/missing/deep").await), ErrorCode::FileNotFound);
    assert_eq!(code(read("folder/etc/passwd").await), ErrorCode::FileNotFound);
    assert_eq!(code(read("folder").await), ErrorCode::InvalidRequest);
    assert_eq!(code(read("link").await), ErrorCode::PathNotAllowed);
    assert_eq!(code(write("folder").await), ErrorCode::InvalidRequest);
    assert_eq!(code(write("folder/file/x/y").await), ErrorCode::InvalidRequest);
    assert_eq!(code(write("folder/etc/passwd").await), ErrorCode::InvalidRequest);
    assert_eq!(code(write("link").await), ErrorCode::PathNotAllowed);
    assert_eq!(code(write(&format!("{}z", "a/".repeat(1500))).await), ErrorCode::InvalidRequest);
}

#[tokio::test]
async fn a_file_larger_than_asked_for_is_not_read() {
    let house = House::new().await;
    let workspace = house.workspace(&[("a", "12345")]).await;

    let error = house.workspaces.read_file(workspace, &path("a"), 4).await.expect_err("too large");

    assert_eq!(error.code(), ErrorCode::PayloadTooLarge);
    assert_eq!(house.workspaces.read_file(workspace, &path("a"), 5).await.expect("the file"), b"12345");
}

#[tokio::test]
async fn files_and_folders_are_deleted() {
    let house = House::new().await;
    let workspace = house.workspace(&[("a/b", "1"), ("a/c/d", "2"), ("e", "3"), ("*", "4")]).await;
    let delete = async |name: &str| house.workspaces.delete_path(workspace, &path(name), "user:ann").await;

    delete("a").await.expect("a folder");
    delete("*").await.expect("a name that is no pattern");

    assert_eq!(house.names(workspace).await, [".gitignore", "e"]);
    assert_eq!(delete("a").await.expect_err("gone").code(), ErrorCode::FileNotFound);
    house.check(workspace);
}

#[tokio::test]
async fn the_last_file_can_be_deleted() {
    let house = House::new().await;
    let workspace = house.workspace(&[]).await;

    house.workspaces.delete_path(workspace, &path(".gitignore"), "x").await.expect("deletion");

    assert!(house.names(workspace).await.is_empty());
    let copy = house.checkout(workspace).await;
    fs::write(copy.dir.join("a"), "again").expect("a file");
    house.keep(&copy).await;
    assert_eq!(house.names(workspace).await, ["a"]);
}

#[tokio::test]
async fn concurrent_writers_lose_nothing_even_in_two_processes() {
    let house = House::new().await;
    let workspace = house.workspace(&[]).await;
    let other = house.restarted().await;

    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..10 {
        let workspaces = if n % 2 == 0 { house.workspaces.clone() } else { other.clone() };
        tasks.spawn(async move {
            // Two processes may meet more often than one call tries.
            loop {
                match workspaces.write_file(workspace, &path(&format!("f{n}")), b"x", "user").await {
                    Err(WorkspaceError::Contended(_)) => {}
                    result => break result,
                }
            }
        });
    }
    while let Some(result) = tasks.join_next().await {
        result.expect("no panic").expect("a write");
    }

    let expected: BTreeSet<String> = (0..10).map(|n| format!("f{n}")).chain([".gitignore".into()]).collect();
    assert_eq!(house.names(workspace).await.into_iter().collect::<BTreeSet<_>>(), expected);
    assert_eq!(house.workspaces.history(workspace, 0, 100).await.expect("a history").len(), 11);
}

#[tokio::test]
async fn the_lock_of_a_killed_process_does_not_close_the_workspace_for_ever() {
    let house = House::new().await;
    let workspace = house.workspace(&[]).await;
    let lock = house.repository(workspace).join("refs/heads/main.lock");
    let file = fs::File::create(&lock).expect("a lock");
    let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000);
    file.set_modified(long_ago).expect("an old lock");

    house.write(workspace, "a", "x").await;

    assert_eq!(house.read(workspace, "a").await.as_deref(), Some("x"));
}

#[tokio::test]
async fn history_is_paged() {
    let house = House::new().await;
    let workspace = house.workspace(&[]).await;
    for n in 0..5 {
        house.clock.advance(1);
        house.write(workspace, "a", &n.to_string()).await;
    }

    let all = house.workspaces.history(workspace, 0, 100).await.expect("a history");
    let page = house.workspaces.history(workspace, 2, 2).await.expect("a history");
    let beyond = house.workspaces.history(workspace, 6, 2).await.expect("a history");

    assert_eq!(all.len(), 6);
    assert_eq!(page, all[2..4]);
    assert!(beyond.is_empty());
}

#[tokio::test]
async fn names_that_git_takes_for_revisions_are_names() {
    let house = House::new().await;
    let workspace = house.workspace(&[("secret", "of another commit")]).await;
    let commit = git(&house.repository(workspace), &["rev-parse", "main"]);
    let names = [
        format!("build-g{}/secret", &commit[..7]),
        format!("build-g{}^{{tree}}/secret", &commit[..7]),
        format!("x/build-g{}/deep/secret", &commit[..12]),
        "folder^{commit}/secret".to_owned(),
        "folder~3/secret".to_owned(),
        "a:b/secret".to_owned(),
        "@{-1}/secret".to_owned(),
    ];
    for name in &names {
        house.write(workspace, name, "mine").await;
    }

    for name in &names {
        assert_eq!(house.read(workspace, name).await.as_deref(), Some("mine"), "{name}");
        // A second edit of the same file, and its removal, find it too.
        house.write(workspace, name, "changed").await;
        let removed = house.workspaces.delete_path(workspace, &path(name), "user:ann").await;
        assert!(removed.is_ok(), "{name}: {removed:?}");
    }
    assert_eq!(house.names(workspace).await, [".gitignore", "secret"]);
}

#[tokio::test]
async fn s2_s23_t22_a_link_that_a_job_left_is_neither_read_nor_written_through() {
    let house = House::new().await;
    let outside = house.root().join("outside");
    fs::create_dir(&outside).expect("a folder");
    fs::write(outside.join("file"), "TOP-SECRET").expect("a file");
    let (workspace, copy) = house.job(&[]).await;
    symlink(outside.join("file"), copy.dir.join("leaf")).expect("a link to a file");
    symlink(&outside, copy.dir.join("folder")).expect("a link to a folder");
    house.keep(&copy).await;

    let read = |name: &'static str| {
        let house = &house;
        async move { house.workspaces.read_file(workspace, &path(name), 1 << 20).await }
    };
    let write = |name: &'static str| {
        let house = &house;
        async move { house.workspaces.write_file(workspace, &path(name), b"changed", "user:ann").await }
    };
    assert!(matches!(read("leaf").await, Err(WorkspaceError::IsLink { .. })));
    assert!(matches!(read("folder/file").await, Err(WorkspaceError::FileNotFound { .. })));
    assert!(matches!(write("leaf").await, Err(WorkspaceError::IsLink { .. })));
    assert!(matches!(write("folder/file").await, Err(WorkspaceError::NotAFolder { .. })));
    assert!(matches!(write("folder/new").await, Err(WorkspaceError::NotAFolder { .. })));
    assert_eq!(fs::read_to_string(outside.join("file")).expect("the file"), "TOP-SECRET");
    assert_eq!(fs::read_dir(&outside).expect("the folder").count(), 1);
}
