//! Work trees that try to reach out of the sandbox.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt, symlink},
        net::UnixListener,
    },
};

use rustix::fs::{CWD, FileType, Mode};

use crate::support::{House, commit_all, git};

#[tokio::test]
async fn s2_t22_links_are_kept_as_links_and_never_read() {
    let house = House::new().await;
    let secret = house.root().join("secret");
    fs::create_dir(&secret).expect("a folder");
    fs::write(secret.join("file"), "TOP-SECRET").expect("a file");
    let (workspace, copy) = house.job(&[("dir/inside", "x"), ("plain", "y")]).await;
    symlink("/etc/passwd", copy.dir.join("passwd")).expect("a link");
    symlink(&secret, copy.dir.join("outside")).expect("a link");
    fs::remove_dir_all(copy.dir.join("dir")).expect("removal");
    symlink(&secret, copy.dir.join("dir")).expect("a link in place of a folder");
    fs::remove_file(copy.dir.join("plain")).expect("removal");
    symlink(secret.join("file"), copy.dir.join("plain")).expect("a link in place of a file");
    symlink("/etc/passwd", copy.dir.join(".gitattributes")).expect("a link");
    symlink("/etc/passwd", copy.dir.join(".gitmodules")).expect("a link");
    fs::remove_file(copy.dir.join(".gitignore")).expect("removal");
    symlink("/etc/passwd", copy.dir.join(".gitignore")).expect("a link");

    let kept = house.keep(&copy).await;

    let repository = house.repository(workspace);
    let tree = git(&repository, &["ls-tree", "-r", "main"]);
    let kinds: Vec<_> =
        tree.lines().map(|line| (&line[..6], line.rsplit('\t').next().unwrap_or(""))).collect();
    let links =
        [".gitattributes", ".gitignore", "dir", "outside", "passwd", "plain"].map(|name| ("120000", name));
    assert_eq!(kinds, links);
    assert_eq!(git(&repository, &["show", "main:passwd"]), "/etc/passwd");
    assert_eq!(kept.skipped.len(), 1, "{:?}", kept.skipped);
    assert_eq!(kept.skipped[0].path, ".gitmodules");
    // Nothing of what the links point to is anywhere in the repository.
    let objects = git(&repository, &["cat-file", "--batch-all-objects", "--batch"]);
    assert!(!objects.contains("TOP-SECRET") && !objects.contains("root:x:0"));
    // The next job gets them as links, and writes through none of them.
    house.checkout(workspace).await;
    assert_eq!(fs::read_dir(&secret).expect("the folder").count(), 1);
    house.check(workspace);
}

/// One name that git's checkout refuses, and no later job could begin in the workspace.
#[tokio::test]
async fn t22_no_name_makes_the_workspace_unusable_for_the_next_job() {
    let names = [
        ".gitmodules:x",
        ".gitmodules::$DATA",
        ".gitmodules . :x",
        ".GitModules ..",
        "GITMOD~1:x",
        "gitmod~4 .",
        "gi7eba~1",
        "GI7EB~10",
        ".g\u{200c}itmodules",
        ".gitattributes:x",
        "git~1:x",
        "git~2",
        ".git :x",
        ".gi\u{200d}t",
        "CON",
        "a:b",
        "end. ",
    ];
    let house = House::new().await;
    let (workspace, copy) = house.job(&[]).await;
    fs::create_dir(copy.dir.join("links")).expect("a folder");
    fs::create_dir(copy.dir.join("folders")).expect("a folder");
    for name in names {
        fs::write(copy.dir.join(name), name).expect("a file");
        symlink("/etc/passwd", copy.dir.join("links").join(name)).expect("a link");
        fs::create_dir(copy.dir.join("folders").join(name)).expect("a folder");
        fs::write(copy.dir.join("folders").join(name).join("file"), name).expect("a file");
    }

    fs::write(copy.dir.join("folders/.gitattributes"), "x ".repeat(5000)).expect("a file");

    house.keep(&copy).await;

    let next = house.checkout(workspace).await;
    fs::write(next.dir.join("links/more"), "x").expect("a file");
    fs::write(next.dir.join("folders/more"), "x").expect("a file");
    commit_all(&next.dir, "agent");
    let kept = house.keep(&next).await;
    assert_eq!((kept.agent_commits, kept.notes), (1, vec![]), "its own commits are taken too");
}

#[tokio::test]
async fn t22_pipes_sockets_and_devices_are_named_and_left_out() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[("tracked", "x")]).await;
    fs::remove_file(copy.dir.join("tracked")).expect("removal");
    let fifo = |name: &str| {
        rustix::fs::mknodat(CWD, copy.dir.join(name), FileType::Fifo, Mode::RWXU, 0).expect("a named pipe");
    };
    fifo("tracked");
    fifo("pipe");
    let _socket = UnixListener::bind(copy.dir.join("socket")).expect("a socket");
    let is_root = fs::metadata(house.root()).expect("a folder").uid() == 0;
    if is_root {
        let device = rustix::fs::makedev(1, 5);
        rustix::fs::mknodat(CWD, copy.dir.join("zero"), FileType::CharacterDevice, Mode::RWXU, device)
            .expect("a device");
    }
    fs::write(copy.dir.join("file"), "kept").expect("a file");

    let kept = house.keep(&copy).await;

    let expected = if is_root {
        ["pipe", "socket", "tracked", "zero"].as_slice()
    } else {
        &["pipe", "socket", "tracked"]
    };
    assert_eq!(kept.skipped.iter().map(|it| it.path.as_str()).collect::<Vec<_>>(), expected);
    assert_eq!(house.names(workspace).await, [".gitignore", "file"]);
    house.workspaces.discard(copy.job).await.expect("removal");
}

#[tokio::test]
async fn t22_rules_from_a_pipe_do_not_stop_the_house() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[]).await;
    fs::remove_file(copy.dir.join(".gitignore")).expect("removal");
    rustix::fs::mknodat(CWD, copy.dir.join(".gitignore"), FileType::Fifo, Mode::RWXU, 0)
        .expect("a named pipe");
    fs::write(copy.dir.join("a"), "x").expect("a file");

    house.keep(&copy).await;

    assert_eq!(house.names(workspace).await, ["a"]);
}

#[tokio::test]
async fn t22_any_bytes_are_a_name() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[]).await;
    let names: [&[u8]; 8] = [
        b"new\nline",
        b"\xff\xfe",
        b"\"quoted\"",
        b"tab\there",
        b"-dash",
        b" blank ",
        b"deleteall",
        b"caf\xc3\xa9\x01",
    ];
    for name in names {
        fs::write(copy.dir.join(OsStr::from_bytes(name)), name).expect("a file");
    }
    fs::write(copy.dir.join("back\\slash"), "x").expect("a file");

    let kept = house.keep(&copy).await;

    assert_eq!(kept.skipped.len(), 1, "{:?}", kept.skipped);
    assert_eq!(kept.skipped[0].path, "back\\slash");
    let again = house.checkout(workspace).await;
    for name in names {
        let content = fs::read(again.dir.join(OsStr::from_bytes(name))).expect("the file");
        assert_eq!(content, name);
    }
    assert_eq!(house.keep(&again).await.changed_files, 0);
    house.check(workspace);
}

#[tokio::test]
async fn t24_every_spelling_of_the_git_folder_is_left_out() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[]).await;
    fs::create_dir(copy.dir.join("sub")).expect("a folder");
    for name in [
        ".GIT",
        ".Git",
        "git~1",
        ".git ",
        ".git.",
        ".g\u{200c}it",
        ".git::$INDEX_ALLOCATION",
        "sub/.git",
        "sub/.gIt",
    ] {
        fs::create_dir(copy.dir.join(name)).expect("a folder");
        fs::write(copy.dir.join(name).join("config"), "[core]\n\tfsmonitor = false\n").expect("a file");
    }
    for name in [".gitkeep", ".github", "git", "sub/file"] {
        fs::write(copy.dir.join(name), "x").expect("a file");
    }

    let kept = house.keep(&copy).await;

    assert_eq!(kept.skipped_count, 9, "{:?}", kept.skipped);
    assert_eq!(house.names(workspace).await, [".github", ".gitignore", ".gitkeep", "git", "sub/file"]);
    house.check(workspace);
    house.checkout(workspace).await;
}

#[tokio::test]
async fn t24_files_of_nested_repositories_are_kept_without_their_git_folders() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[]).await;
    let nested = copy.dir.join("nested");
    fs::create_dir(&nested).expect("a folder");
    git(&nested, &["init", "-q"]);
    git(&nested, &["config", "core.fsmonitor", &house.canary()]);
    fs::write(nested.join("file"), "x").expect("a file");
    fs::create_dir(copy.dir.join("worktree")).expect("a folder");
    fs::write(copy.dir.join("worktree/.git"), "gitdir: /etc\n").expect("a file");
    fs::write(copy.dir.join("worktree/file"), "x").expect("a file");

    let kept = house.keep(&copy).await;

    assert_eq!(house.names(workspace).await, [".gitignore", "nested/file", "worktree/file"]);
    assert_eq!(kept.skipped_count, 2);
    assert!(!house.canary_ran());
}

#[tokio::test]
async fn t22_a_tree_deeper_than_paths_can_be_is_kept_as_far_as_it_goes_and_removed() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[]).await;
    fs::write(copy.dir.join("a"), "x").expect("a file");
    let mut folder =
        rustix::fs::open(&copy.dir, rustix::fs::OFlags::DIRECTORY, Mode::empty()).expect("the folder");
    for _ in 0..3000 {
        rustix::fs::mkdirat(&folder, "deep", Mode::RWXU).expect("a folder");
        folder = rustix::fs::openat(&folder, "deep", rustix::fs::OFlags::DIRECTORY, Mode::empty())
            .expect("the folder");
    }

    let kept = house.keep(&copy).await;

    assert_eq!(house.names(workspace).await, [".gitignore", "a"]);
    assert_eq!(kept.skipped.len(), 1);
    assert_eq!(kept.skipped[0].why, "the folder lies too deep");
    house.workspaces.discard(copy.job).await.expect("removal");
    assert!(!house.job_folder(copy.job).exists());
}

#[tokio::test]
async fn t22_closed_files_and_folders_are_kept_and_removed() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[]).await;
    fs::create_dir_all(copy.dir.join("closed/inner")).expect("a folder");
    fs::write(copy.dir.join("closed/inner/file"), "x").expect("a file");
    for name in ["closed/inner/file", "closed/inner", "closed"] {
        fs::set_permissions(copy.dir.join(name), fs::Permissions::from_mode(0o0)).expect("a mode");
    }

    house.keep(&copy).await;

    assert_eq!(house.read(workspace, "closed/inner/file").await.as_deref(), Some("x"));
    house.workspaces.discard(copy.job).await.expect("removal");
    assert!(!house.job_folder(copy.job).exists());
}

#[tokio::test]
async fn t27_a_sparse_giant_is_neither_read_nor_kept() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[]).await;
    fs::File::create(copy.dir.join("giant")).and_then(|file| file.set_len(1 << 40)).expect("a sparse file");
    fs::write(copy.dir.join("a"), "x").expect("a file");

    let kept = house.keep(&copy).await;

    assert_eq!(kept.skipped[0].why, "the file is too large");
    assert_eq!(house.names(workspace).await, [".gitignore", "a"]);
}

#[tokio::test]
async fn t22_a_work_folder_that_became_a_link_is_an_error_and_what_it_points_to_is_safe() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[("a", "x")]).await;
    let outside = house.root().join("outside");
    fs::create_dir(&outside).expect("a folder");
    fs::write(outside.join("precious"), "x").expect("a file");
    fs::rename(&copy.dir, house.job_folder(copy.job).join("moved")).expect("a move");
    symlink(&outside, &copy.dir).expect("a link");

    house.workspaces.keep(&copy).await.expect_err("no work tree");
    house.workspaces.discard(copy.job).await.expect("removal");

    assert_eq!(house.names(workspace).await, [".gitignore", "a"]);
    assert!(outside.join("precious").exists());
}

#[tokio::test]
async fn t27_a_hundred_thousand_files_are_removed() {
    let house = House::new().await;
    let (_, copy) = house.job(&[]).await;
    for folder in 0..100 {
        let folder = copy.dir.join(format!("d{folder}"));
        fs::create_dir(&folder).expect("a folder");
        for file in 0..1000 {
            fs::File::create(folder.join(file.to_string())).expect("a file");
        }
    }

    house.workspaces.discard(copy.job).await.expect("removal");

    assert!(!house.job_folder(copy.job).exists());
}
