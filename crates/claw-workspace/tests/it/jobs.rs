//! Working copies and what is kept of them.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
};

use claw_core::JobId;
use claw_workspace::{KeptAs, Limits, WorkspaceError};

use crate::support::{House, committed, git, path};

#[tokio::test]
async fn a_working_copy_has_the_files_and_a_git_that_sees_no_change() {
    let house = House::new().await;

    let (_, copy) =
        house.job(&[("a/b.txt", "hello\n"), (".gitattributes", "*.txt text eol=crlf ident\n")]).await;

    assert_eq!(fs::read_to_string(copy.dir.join("a/b.txt")).expect("the file"), "hello\n");
    assert_eq!(git(&copy.dir, &["status", "--porcelain"]), "");
    assert_eq!(git(&copy.dir, &["branch", "--show-current"]), "main");
    assert_eq!(git(&copy.dir, &["rev-parse", "HEAD"]), copy.base.expect("a base").to_string());
}

#[tokio::test]
async fn p7_a_working_copy_shares_no_file_with_the_repository() {
    let house = House::new().await;
    let (workspace, first) = house.job(&[("a", "x")]).await;
    git(&house.repository(workspace), &["repack", "-adq"]);
    let second = house.checkout(workspace).await;

    for copy in [first, second] {
        let mut folders = vec![copy.dir.join(".git")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder").flatten() {
                let metadata = entry.metadata().expect("its state");
                assert!(!metadata.is_symlink());
                if metadata.is_dir() {
                    folders.push(entry.path());
                } else {
                    assert_eq!(metadata.nlink(), 1, "{}", entry.path().display());
                }
            }
        }
        assert!(!copy.dir.join(".git/objects/info/alternates").exists());
    }
}

#[tokio::test]
async fn a_working_copy_belongs_to_the_owner_who_is_named() {
    let house = House::new().await;
    let workspace = house.workspace(&[("a/b", "x")]).await;
    let me = fs::metadata(house.root()).expect("a folder");
    // Only root can give files away; others name themselves.
    let owner = if me.uid() == 0 { (65_534, 65_533) } else { (me.uid(), me.gid()) };

    let copy = house.workspaces.checkout(workspace, JobId::new(), Some(owner)).await.expect("a working copy");
    symlink("x", copy.dir.join("link")).expect("a link");

    for name in ["", "a", "a/b", ".git", ".git/HEAD", ".git/index", ".git/objects"] {
        let metadata = fs::symlink_metadata(copy.dir.join(name)).expect("its state");
        assert_eq!((metadata.uid(), metadata.gid()), owner, "{name}");
    }
    assert_eq!(fs::metadata(house.job_folder(copy.job)).expect("its state").uid(), me.uid());
    house.keep(&copy).await;
}

#[tokio::test]
async fn a_working_copy_made_ahead_becomes_the_jobs_with_what_is_written_in_it() {
    let house = House::new().await;
    let (workspace, ahead) = house.job(&[("a", "x")]).await;
    let inside = fs::File::open(&ahead.dir).expect("the folder, held open as by a mount");
    let job = JobId::new();

    let copy = house.workspaces.hand_over(ahead.job, job).await.expect("handed over");
    fs::write(copy.dir.join("b"), "y").expect("written");
    let kept = house.keep(&copy).await;

    assert_eq!((copy.job, copy.workspace, copy.base), (job, Some(workspace), ahead.base));
    assert_eq!(fs::metadata(&copy.dir).expect("there").ino(), inside.metadata().expect("there").ino());
    assert!(!house.job_folder(ahead.job).exists());
    assert_eq!(house.restarted().await.working_copy(job).await.expect("asked"), Some(copy.clone()));
    assert_eq!(git(&house.repository(workspace), &["show", &format!("{}:b", committed(&kept))]), "y");
    let again = house.workspaces.hand_over(ahead.job, JobId::new()).await;
    assert!(matches!(again, Err(WorkspaceError::Io { .. })), "{again:?}");
    let taken = house.checkout(workspace).await;
    let taken = house.workspaces.hand_over(taken.job, job).await;
    assert!(matches!(taken, Err(WorkspaceError::WorkingCopyExists(_))), "{taken:?}");
}

#[tokio::test]
async fn what_a_job_adds_changes_and_deletes_is_committed_with_its_id() {
    let house = House::new().await;
    let (workspace, copy) =
        house.job(&[("change", "1"), ("delete", "2"), ("deep/stay", "3"), ("mode", "4")]).await;
    fs::write(copy.dir.join("change"), "one").expect("a file");
    fs::remove_file(copy.dir.join("delete")).expect("removal");
    fs::create_dir_all(copy.dir.join("new/folder")).expect("a folder");
    fs::write(copy.dir.join("new/folder/file"), "new").expect("a file");
    fs::set_permissions(copy.dir.join("mode"), fs::Permissions::from_mode(0o755)).expect("a mode");

    let kept = house.keep(&copy).await;

    let commit = committed(&kept);
    assert_eq!((kept.changed_files, kept.agent_commits, kept.skipped_count), (4, 0, 0));
    assert_eq!(
        house.names(workspace).await,
        [".gitignore", "change", "deep/stay", "mode", "new/folder/file"]
    );
    assert_eq!(house.read(workspace, "change").await.as_deref(), Some("one"));
    assert!(git(&house.repository(workspace), &["ls-tree", "main", "mode"]).starts_with("100755"));
    let history = house.workspaces.history(workspace, 0, 10).await.expect("a history");
    assert_eq!(history.len(), 2);
    assert_eq!(history[0].hash.to_string(), commit);
    assert_eq!(history[0].message, format!("claw: post-job {}", copy.job));
    assert_eq!(history[0].job, Some(copy.job));
    house.check(workspace);
}

#[tokio::test]
async fn r18_a_job_that_changes_nothing_makes_no_commit() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[("a", "x")]).await;
    let before = house.workspaces.head(workspace).await.expect("a head");

    let kept = house.keep(&copy).await;

    assert_eq!(kept.outcome, KeptAs::Unchanged);
    assert_eq!(house.workspaces.head(workspace).await.expect("a head"), before);
}

#[tokio::test]
async fn files_become_folders_and_folders_become_files() {
    let house = House::new().await;
    let (workspace, copy) =
        house.job(&[("file", "1"), ("folder/a", "2"), ("folder/b/c", "3"), ("link", "4")]).await;
    fs::remove_file(copy.dir.join("file")).expect("removal");
    fs::create_dir(copy.dir.join("file")).expect("a folder");
    fs::write(copy.dir.join("file/inside"), "5").expect("a file");
    fs::remove_dir_all(copy.dir.join("folder")).expect("removal");
    fs::write(copy.dir.join("folder"), "6").expect("a file");
    fs::remove_file(copy.dir.join("link")).expect("removal");
    symlink("file", copy.dir.join("link")).expect("a link");

    house.keep(&copy).await;

    assert_eq!(house.names(workspace).await, [".gitignore", "file/inside", "folder", "link"]);
    let again = house.checkout(workspace).await;
    assert_eq!(fs::read_link(again.dir.join("link")).expect("a link").to_string_lossy(), "file");
    assert_eq!(fs::read_to_string(again.dir.join("folder")).expect("a file"), "6");
    house.check(workspace);
}

#[tokio::test]
async fn ignored_files_stay_out_but_tracked_ones_stay_in() {
    let house = House::new().await;
    let rules = "*.log\nbuild/\n!keep.log\n";
    let (workspace, copy) =
        house.job(&[(".gitignore", rules), ("old.log", "1"), ("build/tracked", "2")]).await;
    for (name, content) in [
        ("old.log", "changed"),
        ("new.log", "x"),
        ("keep.log", "x"),
        ("build/tracked", "changed"),
        ("build/new", "x"),
    ] {
        fs::write(copy.dir.join(name), content).expect("a file");
    }
    fs::create_dir_all(copy.dir.join("build/deep/deeper")).expect("a folder");
    fs::write(copy.dir.join("build/deep/deeper/file"), "x").expect("a file");

    let kept = house.keep(&copy).await;

    assert_eq!(house.names(workspace).await, [".gitignore", "build/tracked", "keep.log", "old.log"]);
    assert_eq!(house.read(workspace, "old.log").await.as_deref(), Some("changed"));
    assert_eq!(house.read(workspace, "build/tracked").await.as_deref(), Some("changed"));
    assert_eq!(kept.changed_files, 3);
}

#[tokio::test]
async fn content_is_kept_byte_for_byte() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[(".gitattributes", "* text=auto eol=lf ident\n")]).await;
    let content = "$Id$ one\r\ntwo\nthree\r\n";
    fs::write(copy.dir.join("a.txt"), content).expect("a file");

    house.keep(&copy).await;

    assert_eq!(house.read(workspace, "a.txt").await.as_deref(), Some(content));
    let again = house.checkout(workspace).await;
    assert_eq!(fs::read_to_string(again.dir.join("a.txt")).expect("the file"), content);
}

#[tokio::test]
async fn a_job_without_a_workspace_has_an_empty_folder_and_keeps_nothing() {
    let house = House::new().await;
    let copy = house.workspaces.checkout_empty(JobId::new(), None).await.expect("a folder");
    assert_eq!(fs::read_dir(&copy.dir).expect("the folder").count(), 0);
    fs::write(copy.dir.join("a"), "x").expect("a file");

    let kept = house.keep(&copy).await;

    assert_eq!(kept.outcome, KeptAs::Unchanged);
    assert_eq!((copy.workspace, copy.base), (None, None));
}

#[tokio::test]
async fn r6_keeping_twice_commits_once() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[]).await;
    fs::write(copy.dir.join("a"), "x").expect("a file");
    let first = house.keep(&copy).await;
    house.clock.advance(3600);

    let again = house.keep(&copy).await;
    house.write(workspace, "b", "y").await;
    let later = house.keep(&copy).await;

    assert_eq!(committed(&first), committed(&again));
    assert_eq!(committed(&first), committed(&later));
    assert_eq!(house.workspaces.history(workspace, 0, 10).await.expect("a history").len(), 3);
}

#[tokio::test]
async fn after_a_restart_the_working_copy_is_found_and_kept() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[]).await;
    fs::write(copy.dir.join("a"), "x").expect("a file");

    let restarted = house.restarted().await;

    assert_eq!(restarted.leftover_jobs().await.expect("the jobs"), [copy.job]);
    let found = restarted.working_copy(copy.job).await.expect("a record").expect("a working copy");
    assert_eq!(found, copy);
    restarted.keep(&found).await.expect("the work is kept");
    restarted.discard(copy.job).await.expect("removal");
    assert_eq!(house.read(workspace, "a").await.as_deref(), Some("x"));
    assert!(restarted.leftover_jobs().await.expect("the jobs").is_empty());
    assert_eq!(restarted.working_copy(copy.job).await.expect("no record"), None);
}

#[tokio::test]
async fn a_working_copy_that_is_half_removed_is_never_kept() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[("a", "x"), ("b", "y")]).await;
    // What a crash leaves in the middle of `discard`: the record goes first.
    fs::remove_file(house.job_folder(copy.job).join("meta.json")).expect("removal");
    fs::remove_file(copy.dir.join("a")).expect("removal");

    let kept = house.workspaces.keep(&copy).await;

    assert!(matches!(kept, Err(WorkspaceError::NoWorkingCopy(job)) if job == copy.job));
    assert_eq!(house.read(workspace, "a").await.as_deref(), Some("x"));
    assert_eq!(house.workspaces.leftover_jobs().await.expect("the jobs"), [copy.job]);
    let again = house.workspaces.checkout(workspace, copy.job, None).await.expect("a fresh working copy");
    assert!(again.dir.join("a").exists());
}

#[tokio::test]
async fn a_working_copy_from_before_a_power_cut_is_not_kept() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[("a", "x")]).await;
    let record = house.job_folder(copy.job).join("meta.json");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("the machine's start");
    let text = fs::read_to_string(&record).expect("a record");
    assert!(text.contains(boot.trim()));
    fs::write(&record, text.replace(boot.trim(), "another start")).expect("a record");
    fs::write(copy.dir.join("a"), "").expect("what a power cut leaves");

    let kept = house.workspaces.keep(&copy).await;

    assert!(matches!(kept, Err(WorkspaceError::NoWorkingCopy(job)) if job == copy.job));
    assert_eq!(house.workspaces.working_copy(copy.job).await.expect("a record"), None);
    assert_eq!(house.workspaces.leftover_jobs().await.expect("the jobs"), [copy.job]);
    assert_eq!(house.read(workspace, "a").await.as_deref(), Some("x"));
}

#[tokio::test]
async fn r1_work_that_is_not_kept_yet_is_not_overwritten() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[]).await;

    let again = house.workspaces.checkout(workspace, copy.job, None).await;

    assert!(matches!(again, Err(WorkspaceError::WorkingCopyExists(job)) if job == copy.job));
}

#[tokio::test]
async fn a_second_run_of_the_same_job_is_kept_too() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[]).await;
    fs::write(copy.dir.join("a"), "first").expect("a file");
    house.keep(&copy).await;
    house.workspaces.discard(copy.job).await.expect("removal");

    let copy = house.workspaces.checkout(workspace, copy.job, None).await.expect("a working copy");
    fs::write(copy.dir.join("a"), "second").expect("a file");
    house.keep(&copy).await;

    assert_eq!(house.read(workspace, "a").await.as_deref(), Some("second"));
    assert_eq!(house.workspaces.history(workspace, 0, 10).await.expect("a history").len(), 3);
}

#[tokio::test]
async fn what_is_beyond_a_limit_is_left_out_and_named_and_the_former_version_stays() {
    let limits = Limits { max_file_bytes: 1000, max_new_bytes: 1500, max_depth: 3, ..Limits::default() };
    let house = House::with(limits, None).await;
    let (workspace, copy) = house.job(&[("big", "small"), ("a/b/c/ok", "1"), ("a/b/c/d/e", "2")]).await;
    fs::write(copy.dir.join("big"), vec![b'x'; 1001]).expect("a file");
    fs::write(copy.dir.join("n1"), vec![b'1'; 900]).expect("a file");
    fs::write(copy.dir.join("n2"), vec![b'2'; 900]).expect("a file");
    fs::remove_file(copy.dir.join("a/b/c/ok")).expect("removal");

    let kept = house.keep(&copy).await;

    let skipped: Vec<_> = kept.skipped.iter().map(ToString::to_string).collect();
    assert_eq!(
        skipped,
        [
            "\"a/b/c/d\": the folder lies too deep",
            "\"big\": the file is too large",
            "\"n2\": the job's new files are too large together"
        ]
    );
    assert_eq!(house.names(workspace).await, [".gitignore", "a/b/c/d/e", "big", "n1"]);
    assert_eq!(house.read(workspace, "big").await.as_deref(), Some("small"));
}

#[tokio::test]
async fn a_tree_with_too_many_files_is_kept_in_part_and_nothing_counts_as_deleted() {
    let limits = Limits { max_entries: 50, ..Limits::default() };
    let house = House::with(limits, None).await;
    let (workspace, copy) = house.job(&[("z", "x"), ("zz", "y")]).await;
    for n in 0..100 {
        fs::write(copy.dir.join(format!("f{n}")), "x").expect("a file");
    }

    let kept = house.keep(&copy).await;

    assert!(kept.skipped.iter().any(|skipped| skipped.why.contains("too many files")), "{:?}", kept.skipped);
    let names = house.names(workspace).await;
    assert!(names.contains(&"z".to_owned()) && names.contains(&"zz".to_owned()));
    assert!(kept.changed_files >= 40, "{}", kept.changed_files);
}

#[tokio::test]
async fn the_whole_way_works_with_every_git_on_this_machine() {
    for program in ["/usr/local/bin/git", "/usr/bin/git"] {
        if !fs::exists(program).expect("a look") {
            continue;
        }
        let house = House::with(Limits::default(), Some(program.into())).await;
        let (workspace, copy) = house.job(&[("a", "1\n2\n3\n4\n5\n"), ("b", "x")]).await;
        fs::write(copy.dir.join("a"), "1\n2\n3\n4\nfive\n").expect("a file");
        crate::support::commit_all(&copy.dir, "agent");
        fs::write(copy.dir.join("c"), "new").expect("a file");
        house.write(workspace, "a", "one\n2\n3\n4\n5\n").await;

        let kept = house.keep(&copy).await;

        assert!(matches!(kept.outcome, KeptAs::Merged { .. }), "{program}: {kept:?}");
        assert_eq!((kept.agent_commits, kept.notes.len()), (1, 0), "{program}: {kept:?}");
        assert_eq!(house.read(workspace, "a").await.as_deref(), Some("one\n2\n3\n4\nfive\n"));
        house.workspaces.delete_path(workspace, &path("b"), "x").await.expect("deletion");
        house.workspaces.discard(copy.job).await.expect("removal");
        house.check(workspace);
    }
}
