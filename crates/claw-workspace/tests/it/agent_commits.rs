//! Commits that the agent makes with its own git.

use std::fs;

use claw_core::JobId;
use claw_workspace::KeptAs;

use crate::support::{House, commit_all, committed, git};

#[tokio::test]
async fn the_agents_commits_are_in_the_history_below_the_jobs() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[("a", "1")]).await;
    fs::write(copy.dir.join("a"), "2").expect("a file");
    let first = commit_all(&copy.dir, "agent: first");
    fs::write(copy.dir.join("b"), "3").expect("a file");
    let second = commit_all(&copy.dir, "agent: second");
    fs::write(copy.dir.join("c"), "not committed").expect("a file");

    let kept = house.keep(&copy).await;

    let commit = committed(&kept);
    assert_eq!((kept.agent_commits, kept.notes.as_slice()), (2, &[][..]));
    let repository = house.repository(workspace);
    let parents = git(&repository, &["log", "-1", "--format=%P", "main"]);
    assert_eq!(parents, format!("{} {second}", copy.base.expect("a base")));
    let history = house.workspaces.history(workspace, 0, 10).await.expect("a history");
    let hashes: Vec<_> = history.iter().map(|commit| commit.hash.to_string()).collect();
    assert!(hashes.contains(&first) && hashes.contains(&second) && hashes[0] == commit);
    assert_eq!(house.names(workspace).await, [".gitignore", "a", "b", "c"]);
    house.check(workspace);
}

#[tokio::test]
async fn commits_without_further_changes_still_get_the_jobs_commit() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[]).await;
    fs::write(copy.dir.join("a"), "x").expect("a file");
    let agent = commit_all(&copy.dir, "agent");

    let kept = house.keep(&copy).await;
    let again = house.keep(&copy).await;

    assert_eq!(committed(&kept), committed(&again));
    let history = house.workspaces.history(workspace, 0, 10).await.expect("a history");
    assert_eq!(history.len(), 3);
    assert_eq!(history[0].job, Some(copy.job));
    assert!(history.iter().any(|commit| commit.hash.to_string() == agent && commit.job.is_none()));
}

#[tokio::test]
async fn commits_survive_the_agents_own_packing() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[("a", "1")]).await;
    for n in 0..20 {
        fs::write(copy.dir.join("a"), format!("{n}\n").repeat(100)).expect("a file");
        commit_all(&copy.dir, &n.to_string());
    }
    git(&copy.dir, &["gc", "-q", "--prune=now"]);

    let kept = house.keep(&copy).await;

    assert_eq!(kept.agent_commits, 20);
    assert_eq!(kept.notes, [""; 0]);
    house.check(workspace);
}

#[tokio::test]
async fn branches_with_commits_of_their_own_are_kept_under_the_jobs_name() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[]).await;
    git(&copy.dir, &["checkout", "-q", "-b", "try/this"]);
    fs::write(copy.dir.join("a"), "x").expect("a file");
    let side = commit_all(&copy.dir, "side");
    git(&copy.dir, &["branch", "contained", "HEAD"]);
    git(&copy.dir, &["checkout", "-q", "main"]);
    git(&copy.dir, &["branch", "nothing-new"]);

    let kept = house.keep(&copy).await;

    assert_eq!(kept.outcome, KeptAs::Unchanged);
    let tips: Vec<_> =
        kept.branches.iter().map(|it| git(&house.repository(workspace), &["rev-parse", it])).collect();
    assert!(tips.iter().all(|tip| *tip == side) && !tips.is_empty());
    assert!(kept.branches.contains(&format!("claw/job-{}/try/this", copy.job)), "{:?}", kept.branches);
    assert!(!kept.branches.iter().any(|branch| branch.ends_with("nothing-new")));
    assert_eq!(house.keep(&copy).await.branches, kept.branches);
    house.check(workspace);
}

#[tokio::test]
async fn a_branch_that_is_checked_out_counts_as_the_agents_line() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[]).await;
    git(&copy.dir, &["checkout", "-q", "-b", "feature"]);
    fs::write(copy.dir.join("a"), "x").expect("a file");
    commit_all(&copy.dir, "feature");

    let kept = house.keep(&copy).await;

    assert_eq!((kept.agent_commits, kept.branches.len()), (1, 0));
    assert_eq!(house.names(workspace).await, [".gitignore", "a"]);
}

#[tokio::test]
async fn a_rewritten_or_detached_history_loses_nothing_of_ours() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[("a", "1")]).await;
    git(&copy.dir, &["checkout", "-q", "--orphan", "fresh"]);
    fs::write(copy.dir.join("b"), "2").expect("a file");
    let orphan = commit_all(&copy.dir, "fresh start");
    git(&copy.dir, &["checkout", "-q", "--detach"]);

    let kept = house.keep(&copy).await;

    assert_eq!(kept.agent_commits, 1);
    let log = git(&house.repository(workspace), &["log", "--format=%H", "main"]);
    assert!(log.contains(&orphan) && log.contains(&copy.base.expect("a base").to_string()));
    house.check(workspace);
}

#[tokio::test]
async fn going_back_in_history_is_a_change_of_files_only() {
    let house = House::new().await;
    let workspace = house.workspace(&[("a", "1")]).await;
    house.write(workspace, "a", "2").await;
    let copy = house.checkout(workspace).await;
    git(&copy.dir, &["reset", "-q", "--hard", "HEAD~1"]);

    let kept = house.keep(&copy).await;

    assert_eq!((kept.agent_commits, kept.changed_files), (0, 1));
    assert_eq!(house.read(workspace, "a").await.as_deref(), Some("1"));
    assert_eq!(house.workspaces.history(workspace, 0, 10).await.expect("a history").len(), 3);
}

#[tokio::test]
async fn an_agent_cannot_sign_for_another_job() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[]).await;
    let victim = JobId::new();
    git(
        &copy.dir,
        &["commit", "-q", "--allow-empty", "-m", &format!("claw: merge job {victim}\n\nClaw-Job: {victim}")],
    );
    git(
        &copy.dir,
        &["commit", "-q", "--allow-empty", "-m", &format!("claw: post-job {victim}\n\nClaw-Job: {victim}")],
    );

    house.keep(&copy).await;

    let history = house.workspaces.history(workspace, 0, 10).await.expect("a history");
    assert_eq!(history.len(), 4);
    assert!(history.iter().all(|commit| commit.job != Some(victim)));
    assert_eq!(history.iter().filter(|commit| commit.job == Some(copy.job)).count(), 1);
}

#[tokio::test]
async fn an_ignored_file_that_the_agent_committed_is_kept() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[(".gitignore", "*.log\n")]).await;
    fs::write(copy.dir.join("wanted.log"), "x").expect("a file");
    fs::write(copy.dir.join("other.log"), "x").expect("a file");
    git(&copy.dir, &["add", "-f", "wanted.log"]);
    git(&copy.dir, &["commit", "-q", "-m", "agent"]);

    house.keep(&copy).await;

    assert_eq!(house.names(workspace).await, [".gitignore", "wanted.log"]);
}

#[tokio::test]
async fn a_conflict_keeps_the_agents_commits_on_the_branch() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[("a", "1")]).await;
    fs::write(copy.dir.join("a"), "job").expect("a file");
    let agent = commit_all(&copy.dir, "agent");
    house.write(workspace, "a", "edit").await;

    let kept = house.keep(&copy).await;

    let KeptAs::Conflict { branch, .. } = &kept.outcome else { panic!("{kept:?}") };
    assert!(git(&house.repository(workspace), &["log", "--format=%H", branch]).contains(&agent));
}

#[tokio::test]
async fn a_giant_message_does_not_close_the_history() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[]).await;
    let giant = "x".repeat(70 << 20);
    let message = house.root().join("message");
    fs::write(&message, format!("{giant}\n\nClaw-Job: {giant}\n")).expect("a file");
    fs::write(copy.dir.join("a"), "x").expect("a file");
    git(&copy.dir, &["add", "a"]);
    git(&copy.dir, &["commit", "-q", "-F", &message.display().to_string()]);

    let kept = house.keep(&copy).await;

    assert_eq!((kept.agent_commits, kept.changed_files, kept.notes.len()), (0, 1, 1), "{kept:?}");
    let history = house.workspaces.history(workspace, 0, 10).await.expect("a history");
    assert_eq!(history[0].job, Some(copy.job));
    assert_eq!(house.names(workspace).await, [".gitignore", "a"]);
}
