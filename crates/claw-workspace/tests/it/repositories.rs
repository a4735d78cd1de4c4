//! The life of a repository.

use std::{fs, os::unix::fs::PermissionsExt};

use claw_core::{Coded, ErrorCode, WorkspaceId};
use claw_workspace::{Settings, WorkspaceError, Workspaces};

use crate::support::{House, git, path};

#[tokio::test]
async fn r4_a_new_workspace_has_the_baseline_the_given_files_and_one_commit() {
    let house = House::new().await;

    let workspace = house.workspace(&[("CLAUDE.md", "Be brief.\n"), ("src/a.txt", "a")]).await;

    assert_eq!(house.names(workspace).await, [".gitignore", "CLAUDE.md", "src/a.txt"]);
    assert!(house.read(workspace, ".gitignore").await.is_some_and(|text| text.contains(".claw-*.sh\n")));
    let history = house.workspaces.history(workspace, 0, 10).await.expect("a history");
    assert_eq!(history.len(), 1);
    assert_eq!(history[0].message, "claw: workspace initialized");
    assert_eq!((history[0].author.as_str(), history[0].job), ("Claw Machine", None));
    assert_eq!(history[0].date.as_second(), 1_800_000_000);
    assert_eq!(git(&house.repository(workspace), &["symbolic-ref", "HEAD"]), "refs/heads/main");
    house.check(workspace);
}

#[tokio::test]
async fn a_given_gitignore_takes_the_place_of_the_baseline() {
    let house = House::new().await;

    let workspace = house.workspace(&[(".gitignore", "mine\n")]).await;

    assert_eq!(house.read(workspace, ".gitignore").await.as_deref(), Some("mine\n"));
}

#[tokio::test]
async fn other_users_do_not_get_in_however_the_folders_were_made() {
    let house = House::new().await;
    let folders = ["repos", "jobs"].map(|name| house.data().join(name));
    for folder in &folders {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("as a backup may restore it");
    }

    house.restarted().await;

    for folder in &folders {
        assert_eq!(folder.metadata().expect("a folder").permissions().mode() & 0o777, 0o700);
    }
}

#[tokio::test]
async fn a_workspace_is_created_once() {
    let house = House::new().await;
    let workspace = house.workspace(&[("a", "first")]).await;

    let again = house.workspaces.create(workspace, &[(path("a"), b"second".to_vec())]).await;

    assert!(matches!(again, Err(WorkspaceError::Exists(id)) if id == workspace));
    assert_eq!(house.read(workspace, "a").await.as_deref(), Some("first"));
}

#[tokio::test]
async fn files_that_would_have_to_be_folders_too_are_refused() {
    let house = House::new().await;
    let files = [(path("a"), Vec::new()), (path("a/b"), Vec::new())];

    let created = house.workspaces.create(WorkspaceId::new(), &files).await;

    assert!(matches!(created, Err(WorkspaceError::NotAFolder { path }) if path == "a/b"));
}

#[tokio::test]
async fn a_deleted_workspace_is_gone_and_can_be_deleted_again() {
    let house = House::new().await;
    let workspace = house.workspace(&[]).await;

    house.workspaces.delete(workspace).await.expect("deletion");
    house.workspaces.delete(workspace).await.expect("nothing to do");

    assert!(!house.workspaces.exists(workspace).await);
    let listed = house.workspaces.list_files(workspace, 10).await.expect_err("no workspace");
    assert_eq!(listed.code(), ErrorCode::WorkspaceNotFound);
    assert_eq!(fs::read_dir(house.data().join("repos")).expect("the folder").count(), 0);
}

#[tokio::test]
async fn folders_of_the_house_are_closed_to_others() {
    use std::os::unix::fs::PermissionsExt;
    let house = House::new().await;
    let (workspace, copy) = house.job(&[]).await;

    for folder in [
        house.data().join("repos"),
        house.data().join("jobs"),
        house.repository(workspace),
        house.job_folder(copy.job),
    ] {
        let mode = fs::metadata(&folder).expect("the folder").permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{}", folder.display());
    }
}

#[tokio::test]
async fn a_missing_or_old_git_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let open = |git: std::path::PathBuf| {
        let settings = Settings { git: Some(git), ..Settings::default() };
        let data = folder.path().join("data");
        async move { Workspaces::open_with(&data, settings).await.expect_err("no usable git") }
    };
    let old = folder.path().join("old-git");
    fs::write(&old, "#!/bin/sh\necho git version 2.30.2\n").expect("a script");
    fs::set_permissions(&old, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("an executable");

    assert!(matches!(open("/nonexistent/git".into()).await, WorkspaceError::GitMissing { .. }));
    let error = open(old).await.to_string();
    assert_eq!(error, "git git version 2.30.2 is too old; install version 2.39 or newer");
}

#[tokio::test]
async fn many_edits_are_packed_and_nothing_is_lost() {
    let house = House::new().await;
    let workspace = house.workspace(&[]).await;
    // Objects spread evenly over 256 folders; the house looks at one of them.
    let crowded = house.repository(workspace).join("objects/17");
    fs::create_dir_all(&crowded).expect("a folder");
    let packs = || {
        let names =
            fs::read_dir(house.repository(workspace).join("objects/pack")).expect("the packs").flatten();
        names.filter(|name| name.file_name().to_string_lossy().ends_with(".pack")).count()
    };

    let mut edits = 0;
    while packs() == 0 {
        edits += 1;
        assert!(edits < 1000, "never packed");
        if edits > 20 {
            // The rest of a long life, without its thousand edits: objects of real content in that folder.
            for n in 0..200_000u32 {
                let output = n.to_string();
                let id = sha1_of_blob(&output);
                if id.starts_with("17") && fs::read_dir(&crowded).expect("the folder").count() < 8 {
                    let file = house.root().join("blob");
                    fs::write(&file, &output).expect("a file");
                    let file = file.to_string_lossy().into_owned();
                    assert_eq!(git(&house.repository(workspace), &["hash-object", "-w", &file]), id);
                }
            }
        }
        house.write(workspace, &format!("f{edits}"), "x").await;
    }

    assert_eq!(house.names(workspace).await.len(), edits + 1);
    house.check(workspace);
    let copy = house.checkout(workspace).await;
    assert!(copy.dir.join(format!("f{edits}")).exists());
}

fn sha1_of_blob(content: &str) -> String {
    use sha1::{Digest, Sha1};
    let digest = Sha1::digest(format!("blob {}\0{content}", content.len()));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
