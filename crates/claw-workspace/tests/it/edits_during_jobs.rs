//! A workspace that is edited while a job works in it.

use std::fs;

use claw_workspace::KeptAs;

use crate::support::{House, commit_all, git};

#[tokio::test]
async fn r1_an_edit_and_a_job_in_different_files_go_together() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[("a", "1"), ("b", "2")]).await;
    fs::write(copy.dir.join("a"), "job").expect("a file");
    house.write(workspace, "b", "edit").await;

    let kept = house.keep(&copy).await;

    let KeptAs::Merged { commit } = kept.outcome else { panic!("{kept:?}") };
    assert_eq!(house.workspaces.head(workspace).await.expect("a head"), commit);
    assert_eq!(house.read(workspace, "a").await.as_deref(), Some("job"));
    assert_eq!(house.read(workspace, "b").await.as_deref(), Some("edit"));
    let history = house.workspaces.history(workspace, 0, 10).await.expect("a history");
    let jobs: Vec<_> = history.iter().map(|commit| (commit.message.as_str(), commit.job)).collect();
    let (merge, post) = (format!("claw: merge job {}", copy.job), format!("claw: post-job {}", copy.job));
    assert!(jobs.contains(&(&merge, Some(copy.job))), "{jobs:?}");
    assert!(jobs.contains(&(&post, Some(copy.job))), "{jobs:?}");
    assert!(jobs.contains(&("claw: file browser update", None)), "{jobs:?}");
    assert_eq!(
        git(&house.repository(workspace), &["for-each-ref", "--format=%(refname)"]),
        "refs/heads/main"
    );
    house.check(workspace);
}

#[tokio::test]
async fn an_edit_after_the_job_builds_on_it() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[("a", "1")]).await;
    fs::write(copy.dir.join("a"), "job").expect("a file");
    house.keep(&copy).await;

    house.write(workspace, "a", "edit").await;

    assert_eq!(house.read(workspace, "a").await.as_deref(), Some("edit"));
    assert_eq!(house.workspaces.history(workspace, 0, 10).await.expect("a history").len(), 3);
}

#[tokio::test]
async fn r1_a_conflict_leaves_main_alone_and_keeps_the_jobs_side_on_a_branch() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[("a", "1"), ("b", "1")]).await;
    fs::write(copy.dir.join("a"), "job").expect("a file");
    fs::write(copy.dir.join("b"), "job").expect("a file");
    house.write(workspace, "a", "edit").await;
    let before = house.workspaces.head(workspace).await.expect("a head");

    let kept = house.keep(&copy).await;
    let again = house.keep(&copy).await;

    let KeptAs::Conflict { branch, commit, paths } = &kept.outcome else { panic!("{kept:?}") };
    assert_eq!(*branch, format!("claw/conflict-{}", copy.job));
    assert_eq!(paths, &["a"]);
    assert_eq!(house.workspaces.head(workspace).await.expect("a head"), before);
    let repository = house.repository(workspace);
    assert_eq!(git(&repository, &["rev-parse", branch]), commit.to_string());
    assert_eq!(git(&repository, &["show", &format!("{branch}:a")]), "job");
    assert_eq!(git(&repository, &["show", "main:a"]), "edit");
    assert_eq!(again.outcome, kept.outcome);
    house.check(workspace);
}

#[tokio::test]
async fn a_later_run_of_a_job_in_conflict_gets_a_branch_of_its_own() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[("a", "1")]).await;
    let mut branches = Vec::new();
    for n in ["first", "second"] {
        let _ = house.workspaces.discard(copy.job).await;
        let copy = house.workspaces.checkout(workspace, copy.job, None).await.expect("a working copy");
        fs::write(copy.dir.join("a"), n).expect("a file");
        house.write(workspace, "a", &format!("edit against {n}")).await;
        match house.keep(&copy).await.outcome {
            KeptAs::Conflict { branch, .. } => branches.push(branch),
            other => panic!("{other:?}"),
        }
    }

    let first = format!("claw/conflict-{}", copy.job);
    assert_eq!(branches, [first.clone(), format!("{first}-2")]);
    assert_eq!(git(&house.repository(workspace), &["show", &format!("{first}:a")]), "first");
}

#[tokio::test]
async fn the_same_change_on_both_sides_is_no_conflict() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[("a", "1")]).await;
    fs::write(copy.dir.join("a"), "same").expect("a file");
    house.write(workspace, "a", "same").await;

    let kept = house.keep(&copy).await;

    assert!(matches!(kept.outcome, KeptAs::Merged { .. }), "{kept:?}");
    assert_eq!(house.read(workspace, "a").await.as_deref(), Some("same"));
}

#[tokio::test]
async fn two_jobs_at_once_both_keep_their_work() {
    let house = House::new().await;
    let (workspace, first) = house.job(&[]).await;
    let second = house.checkout(workspace).await;
    fs::write(first.dir.join("first"), "1").expect("a file");
    fs::write(second.dir.join("second"), "2").expect("a file");
    commit_all(&second.dir, "by the second agent");

    let (one, two) = tokio::join!(house.workspaces.keep(&first), house.workspaces.keep(&second));

    one.expect("kept");
    two.expect("kept");
    assert_eq!(house.names(workspace).await, [".gitignore", "first", "second"]);
    house.check(workspace);
}

#[tokio::test]
async fn r2_edits_while_jobs_are_kept_in_another_process_lose_nothing() {
    let house = House::new().await;
    let workspace = house.workspace(&[]).await;
    let other = house.restarted().await;
    let mut copies = Vec::new();
    for n in 0..4 {
        let copy = house.checkout(workspace).await;
        fs::write(copy.dir.join(format!("job-{n}")), "x").expect("a file");
        copies.push(copy);
    }

    let edits = async {
        for n in 0..8 {
            while other
                .write_file(workspace, &crate::support::path(&format!("edit-{n}")), b"x", "user")
                .await
                .is_err()
            {}
        }
    };
    let keeps = async {
        for copy in &copies {
            // A refused attempt can be repeated; the working copy is still there.
            while house.workspaces.keep(copy).await.is_err() {}
        }
    };
    tokio::join!(edits, keeps);

    assert_eq!(house.names(workspace).await.len(), 1 + 4 + 8);
    house.check(workspace);
}
