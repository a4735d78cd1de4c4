//! Git folders that try to run something, or to get at what is not theirs.
//!
//! Each test plants a command that would leave a marker, and at least one shows that the plant is alive.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use claw_core::WorkspaceId;
use claw_workspace::{Kept, KeptAs, WorkingCopy};
use rustix::fs::{CWD, FileType, Mode};

use crate::support::{House, commit_all, git, git_output};

/// Does everything that the house ever does with a job's working copy and its workspace afterwards.
async fn whole_life(house: &House, workspace: WorkspaceId, copy: &WorkingCopy) -> Kept {
    // An edit meanwhile, so that a merge is part of it.
    house.write(workspace, "edited", "by a person").await;
    let kept = house.keep(copy).await;
    house.keep(copy).await;
    let next = house.checkout(workspace).await;
    fs::write(next.dir.join("next"), "x").expect("a file");
    house.keep(&next).await;
    house.names(workspace).await;
    house.workspaces.history(workspace, 0, 10).await.expect("a history");
    house.write(workspace, "after", "x").await;
    house.workspaces.discard(next.job).await.expect("removal");
    house.workspaces.discard(copy.job).await.expect("removal");
    house.check(workspace);
    kept
}

fn plant_hooks(folder: &Path, canary: &str) {
    fs::create_dir_all(folder).expect("a folder");
    for hook in [
        "applypatch-msg",
        "pre-applypatch",
        "post-applypatch",
        "pre-commit",
        "pre-merge-commit",
        "prepare-commit-msg",
        "commit-msg",
        "post-commit",
        "pre-rebase",
        "post-checkout",
        "post-merge",
        "pre-push",
        "pre-receive",
        "update",
        "proc-receive",
        "post-receive",
        "post-update",
        "reference-transaction",
        "push-to-checkout",
        "pre-auto-gc",
        "post-rewrite",
        "sendemail-validate",
        "fsmonitor-watchman",
        "post-index-change",
    ] {
        fs::copy(canary, folder.join(hook)).expect("a hook");
    }
}

#[tokio::test]
async fn s1_t24_hooks_do_not_run() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[("a", "1")]).await;
    fs::write(copy.dir.join("a"), "2").expect("a file");
    commit_all(&copy.dir, "before the plant");
    plant_hooks(&copy.dir.join(".git/hooks"), &house.canary());

    let kept = whole_life(&house, workspace, &copy).await;

    assert!(!house.canary_ran());
    assert_eq!(kept.agent_commits, 1);
    assert_eq!(house.read(workspace, "a").await.as_deref(), Some("2"));
}

#[tokio::test]
async fn the_plants_of_these_tests_are_alive() {
    let house = House::new().await;
    let (_, copy) = house.job(&[]).await;
    plant_hooks(&copy.dir.join(".git/hooks"), &house.canary());
    git_output(&copy.dir, &["commit", "--allow-empty", "-m", "x"]);
    assert!(house.canary_ran(), "a hook");

    let house = House::new().await;
    let (_, copy) = house.job(&[]).await;
    plant_configuration(&copy.dir, &house.canary());
    git_output(&copy.dir, &["status"]);
    assert!(house.canary_ran(), "a file-system monitor");

    let house = House::new().await;
    let (_, copy) = house.job(&[]).await;
    git(&copy.dir, &["config", "filter.evil.clean", &house.canary()]);
    fs::write(copy.dir.join(".gitattributes"), "* filter=evil\n").expect("a file");
    fs::remove_file(copy.dir.join(".git/info/attributes")).expect("removal");
    git_output(&copy.dir, &["add", "-A"]);
    assert!(house.canary_ran(), "a filter");
}

/// Writes every setting that makes git run something.
fn plant_configuration(work: &Path, canary: &str) {
    let included = work.join(".git/included");
    fs::write(&included, format!("[core]\n\tsshCommand = {canary}\n[alias]\n\tfetch = !{canary}\n"))
        .expect("a file");
    let config = format!(
        "[core]\n\trepositoryformatversion = 0\n\tbare = false\n\tfsmonitor = {canary}\n\thooksPath = {hooks}\n\
         \tsshCommand = {canary}\n\tpager = {canary}\n\teditor = {canary}\n\taskPass = {canary}\n\
         \tgitProxy = {canary}\n\talternateRefsCommand = {canary}\n\tworktree = /etc\n\
         \tattributesFile = {work}/evil-attributes\n\texcludesFile = /etc/passwd\n\
         [include]\n\tpath = {included}\n[includeIf \"gitdir:/\"]\n\tpath = {included}\n\
         [diff]\n\texternal = {canary}\n[diff \"evil\"]\n\ttextconv = {canary}\n\tcommand = {canary}\n\
         [filter \"evil\"]\n\tclean = {canary}\n\tsmudge = {canary}\n\tprocess = {canary}\n\trequired = true\n\
         [merge \"evil\"]\n\tdriver = {canary} %A\n[merge]\n\tdefault = evil\n\
         [credential]\n\thelper = !{canary}\n[gpg]\n\tprogram = {canary}\n[commit]\n\tgpgSign = true\n\
         [log]\n\tshowSignature = true\n[sequence]\n\teditor = {canary}\n[interactive]\n\tdiffFilter = {canary}\n\
         [pager]\n\tlog = {canary}\n\tstatus = {canary}\n[uploadpack]\n\tpackObjectsHook = {canary}\n\
         [receive]\n\tprocReceiveRefs = refs\n[trailer \"x\"]\n\tcommand = {canary}\n\tcmd = {canary}\n\
         [url \"ext::{canary} \"]\n\tinsteadOf = /\n[protocol]\n\tallow = always\n\
         [submodule \"x\"]\n\turl = ext::{canary}\n\tupdate = !{canary}\n\tactive = true\n\
         [remote \"origin\"]\n\turl = ext::{canary}\n\tfetch = +refs/*:refs/*\n\tpromisor = true\n\
         \tuploadpack = {canary}\n[extensions]\n\tpartialClone = origin\n",
        hooks = work.join("evil-hooks").display(),
        work = work.display(),
        included = included.display(),
    );
    plant_hooks(&work.join("evil-hooks"), canary);
    fs::write(work.join(".git/config"), &config).expect("a file");
    fs::write(work.join(".git/config.worktree"), &config).expect("a file");
    for name in [".gitattributes", "evil-attributes", ".git/info/attributes"] {
        fs::write(work.join(name), "* filter=evil diff=evil merge=evil working-tree-encoding=UTF-16\n")
            .expect("a file");
    }
}

#[tokio::test]
async fn s1_t24_configuration_filters_and_drivers_do_not_run() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[("a", "1\n2\n3\n"), ("edited", "first")]).await;
    fs::write(copy.dir.join("a"), "one\n2\n3\n").expect("a file");
    commit_all(&copy.dir, "before the plant");
    plant_configuration(&copy.dir, &house.canary());
    house.write(workspace, "a", "1\n2\nthree\n").await;

    let kept = whole_life(&house, workspace, &copy).await;

    assert!(!house.canary_ran());
    assert!(matches!(kept.outcome, KeptAs::Merged { .. }), "{kept:?}");
    assert_eq!(house.read(workspace, "a").await.as_deref(), Some("one\n2\nthree\n"));
}

#[tokio::test]
async fn t24_submodules_are_data() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[]).await;
    let inner = copy.dir.join("inner");
    fs::create_dir(&inner).expect("a folder");
    git(&inner, &["init", "-q"]);
    git(&inner, &["-c", "user.name=x", "-c", "user.email=x", "commit", "-q", "--allow-empty", "-m", "inner"]);
    let modules =
        format!("[submodule \"inner\"]\n\tpath = inner\n\turl = ext::{}\n\tupdate = !{0}\n", house.canary());
    fs::write(copy.dir.join(".gitmodules"), modules).expect("a file");
    commit_all(&copy.dir, "with a submodule");
    git(&inner, &["config", "core.fsmonitor", &house.canary()]);
    plant_hooks(&inner.join(".git/hooks"), &house.canary());
    fs::write(inner.join("loose"), "x").expect("a file");

    let kept = whole_life(&house, workspace, &copy).await;

    assert!(!house.canary_ran());
    assert_eq!((kept.agent_commits, kept.notes.len()), (1, 0), "{:?}", kept.notes);
    assert_eq!(house.read(workspace, "inner/loose").await.as_deref(), Some("x"));
}

#[tokio::test]
async fn an_untouched_submodule_survives_a_job() {
    let house = House::new().await;
    let (workspace, first) = house.job(&[]).await;
    let inner = first.dir.join("inner");
    fs::create_dir(&inner).expect("a folder");
    git(&inner, &["init", "-q"]);
    git(&inner, &["-c", "user.name=x", "-c", "user.email=x", "commit", "-q", "--allow-empty", "-m", "inner"]);
    commit_all(&first.dir, "with a submodule");
    let kept = house.keep(&first).await;

    // An empty folder has nothing to keep; the commit with the submodule is in the history.
    assert_eq!(kept.agent_commits, 1);
    let again = house.checkout(workspace).await;
    fs::write(again.dir.join("a"), "x").expect("a file");
    assert_eq!(house.keep(&again).await.changed_files, 1);
    house.check(workspace);
}

#[tokio::test]
async fn t24_objects_of_another_workspace_cannot_be_borrowed() {
    let house = House::new().await;
    let victim = house.workspace(&[("secret", "TOP-SECRET")]).await;
    let (workspace, copy) = house.job(&[]).await;
    let secret = git(&house.repository(victim), &["rev-parse", "main:secret"]);
    let alternates = house.repository(victim).join("objects");
    fs::create_dir_all(copy.dir.join(".git/objects/info")).expect("a folder");
    fs::write(copy.dir.join(".git/objects/info/alternates"), format!("{}\n", alternates.display()))
        .expect("a file");
    git(&copy.dir, &["update-index", "--add", "--cacheinfo", &format!("100644,{secret},stolen")]);
    git(&copy.dir, &["commit", "-q", "-m", "theft"]);
    assert_eq!(git(&copy.dir, &["show", "HEAD:stolen"]), "TOP-SECRET");
    fs::write(copy.dir.join("own"), "x").expect("a file");

    let kept = whole_life(&house, workspace, &copy).await;

    assert_eq!(kept.agent_commits, 0);
    assert!(kept.notes.iter().any(|note| note.contains("incomplete")), "{:?}", kept.notes);
    let objects = git(&house.repository(workspace), &["cat-file", "--batch-all-objects", "--batch"]);
    assert!(!objects.contains("TOP-SECRET"));
    assert_eq!(house.read(workspace, "own").await.as_deref(), Some("x"));
    assert!(!house.repository(workspace).join("objects/info/alternates").exists());
}

#[tokio::test]
async fn t24_a_commit_of_another_workspace_is_not_taken_for_the_agents() {
    let house = House::new().await;
    let victim = house.workspace(&[("secret", "TOP-SECRET")]).await;
    let (workspace, copy) = house.job(&[]).await;
    let theirs = house.workspaces.head(victim).await.expect("a head");
    fs::write(copy.dir.join(".git/refs/heads/main"), format!("{theirs}\n")).expect("a reference");

    let kept = house.keep(&copy).await;

    assert_eq!((kept.outcome, kept.agent_commits), (KeptAs::Unchanged, 0));
    assert_eq!(house.names(workspace).await, [".gitignore"]);
}

/// Replaces `.git`, or a part of it, and expects that the files are kept and no commits.
async fn check_files_only(replace: impl FnOnce(&House, &Path)) {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[("a", "1")]).await;
    fs::write(copy.dir.join("a"), "2").expect("a file");
    commit_all(&copy.dir, "agent");
    replace(&house, &copy.dir);

    let kept = whole_life(&house, workspace, &copy).await;

    assert!(!house.canary_ran());
    assert_eq!(kept.agent_commits, 0);
    assert_eq!(house.read(workspace, "a").await.as_deref(), Some("2"));
    assert_eq!(house.read(workspace, "edited").await.as_deref(), Some("by a person"));
}

/// A repository outside the work tree whose configuration is alive.
fn armed_repository(house: &House) -> std::path::PathBuf {
    let work = house.root().join("armed");
    fs::create_dir(&work).expect("a folder");
    git(&work, &["init", "-q"]);
    git(&work, &["-c", "user.name=x", "-c", "user.email=x", "commit", "-q", "--allow-empty", "-m", "armed"]);
    plant_configuration(&work, &house.canary());
    plant_hooks(&work.join(".git/hooks"), &house.canary());
    work.join(".git")
}

#[tokio::test]
async fn t24_a_git_folder_that_is_a_file_leads_nowhere() {
    check_files_only(|house, work| {
        fs::remove_dir_all(work.join(".git")).expect("removal");
        fs::write(work.join(".git"), format!("gitdir: {}\n", armed_repository(house).display()))
            .expect("a file");
    })
    .await;
}

#[tokio::test]
async fn t24_a_git_folder_that_is_a_link_leads_nowhere() {
    check_files_only(|house, work| {
        fs::remove_dir_all(work.join(".git")).expect("removal");
        symlink(armed_repository(house), work.join(".git")).expect("a link");
    })
    .await;
}

#[tokio::test]
async fn t24_a_git_folder_that_is_a_pipe_stops_nothing() {
    check_files_only(|_, work| {
        fs::remove_dir_all(work.join(".git")).expect("removal");
        rustix::fs::mknodat(CWD, work.join(".git"), FileType::Fifo, Mode::RWXU, 0).expect("a named pipe");
    })
    .await;
}

#[tokio::test]
async fn t24_a_git_folder_that_is_missing_costs_the_commits_only() {
    check_files_only(|_, work| fs::remove_dir_all(work.join(".git")).expect("removal")).await;
}

#[tokio::test]
async fn t24_an_object_store_that_is_a_link_is_not_read() {
    check_files_only(|house, work| {
        fs::rename(work.join(".git/objects"), house.root().join("objects")).expect("a move");
        symlink(house.root().join("objects"), work.join(".git/objects")).expect("a link");
    })
    .await;
}

#[tokio::test]
async fn t24_references_that_are_links_or_pipes_are_not_read() {
    for name in [".git/HEAD", ".git/refs/heads/main", ".git/packed-refs", ".git/refs/heads/side"] {
        check_files_only(|_, work| {
            for path in [work.join(name), work.join(".git/HEAD")] {
                let _ = fs::remove_file(&path);
            }
            symlink("/etc/passwd", work.join(name)).expect("a link");
            if name != ".git/HEAD" {
                rustix::fs::mknodat(CWD, work.join(".git/HEAD"), FileType::Fifo, Mode::RWXU, 0)
                    .expect("a named pipe");
            }
            fs::remove_dir_all(work.join(".git/refs/heads")).expect("removal");
        })
        .await;
    }
}

#[tokio::test]
async fn t24_a_head_that_names_a_file_outside_is_no_reference() {
    for head in
        ["ref: /etc/passwd\n", "ref: refs/heads/../../../../../../etc/passwd\n", "\0\0\0", "ref: refs/heads/"]
    {
        check_files_only(|_, work| fs::write(work.join(".git/HEAD"), head).expect("a file")).await;
    }
}

#[tokio::test]
async fn t24_missing_objects_cost_the_commits_only() {
    check_files_only(|_, work| {
        let tree = git(work, &["rev-parse", "HEAD^{tree}"]);
        fs::remove_file(work.join(".git/objects").join(&tree[..2]).join(&tree[2..])).expect("removal");
    })
    .await;
}

#[tokio::test]
async fn t24_objects_under_a_false_name_cost_the_commits_only() {
    check_files_only(|_, work| {
        // The tree's name, with the content of another object.
        let tree = git(work, &["rev-parse", "HEAD^{tree}"]);
        let other = git(work, &["rev-parse", "HEAD"]);
        let file = |id: &str| work.join(".git/objects").join(&id[..2]).join(&id[2..]);
        fs::remove_file(file(&tree)).expect("removal");
        fs::copy(file(&other), file(&tree)).expect("a copy");
    })
    .await;
}

#[tokio::test]
async fn t24_objects_that_are_links_are_not_copied() {
    check_files_only(|house, work| {
        let head = git(work, &["rev-parse", "HEAD"]);
        let file = work.join(".git/objects").join(&head[..2]).join(&head[2..]);
        fs::rename(&file, house.root().join("moved")).expect("a move");
        symlink(house.root().join("moved"), &file).expect("a link");
    })
    .await;
}

#[tokio::test]
async fn t24_a_damaged_pack_costs_the_commits_only() {
    check_files_only(|_, work| {
        git(work, &["repack", "-adq"]);
        for entry in fs::read_dir(work.join(".git/objects/pack")).expect("packs").flatten() {
            if entry.file_name().to_string_lossy().ends_with(".pack") {
                fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o644)).expect("a mode");
                let mut bytes = fs::read(entry.path()).expect("a pack");
                let middle = bytes.len() / 2;
                bytes[middle] ^= 0xff;
                fs::write(entry.path(), bytes).expect("a damaged pack");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn t24_trees_with_git_folders_in_them_are_refused() {
    check_files_only(|_, work| {
        // What no git writes by itself: a commit whose tree has a folder `.git` with a hook.
        let blob = git(work, &["hash-object", "-w", "a"]);
        let write_tree = |name: &str, entry: &str| {
            let file = work.join("../tree");
            let mut bytes = format!("{entry} {name}\0").into_bytes();
            let id = if entry == "100755" {
                &blob
            } else {
                &fs::read_to_string(work.join("../last")).expect("an id")
            };
            bytes.extend((0..20).map(|n| u8::from_str_radix(&id[n * 2..n * 2 + 2], 16).expect("a hash")));
            fs::write(&file, bytes).expect("a file");
            let file = file.to_string_lossy().into_owned();
            let id = git(work, &["hash-object", "-w", "-t", "tree", "--literally", &file]);
            fs::write(work.join("../last"), &id).expect("a file");
            id
        };
        write_tree("pre-commit", "100755");
        write_tree("hooks", "40000");
        let root = write_tree(".git", "40000");
        let commit = git(work, &["commit-tree", "-p", "HEAD", "-m", "evil", &root]);
        git(work, &["update-ref", "refs/heads/main", &commit]);
    })
    .await;
}

#[tokio::test]
async fn a_bad_branch_does_not_cost_the_good_commits() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[]).await;
    fs::write(copy.dir.join("a"), "x").expect("a file");
    commit_all(&copy.dir, "good");
    let heads = copy.dir.join(".git/refs/heads");
    fs::write(heads.join("ghost"), "0123456789012345678901234567890123456789\n").expect("a reference");
    fs::write(heads.join("zero"), "0000000000000000000000000000000000000000\n").expect("a reference");
    let blob = git(&copy.dir, &["rev-parse", "HEAD:a"]);
    fs::write(heads.join("blob"), format!("{blob}\n")).expect("a reference");
    fs::write(heads.join("-option --upload-pack=x"), "garbage").expect("a reference");

    let kept = whole_life(&house, workspace, &copy).await;

    assert_eq!((kept.agent_commits, kept.branches.len()), (1, 0));
    assert_eq!(kept.notes.len(), 1, "{:?}", kept.notes);
}

#[tokio::test]
async fn t24_graphs_and_indexes_of_the_agent_are_not_believed() {
    let house = House::new().await;
    let (workspace, copy) = house.job(&[]).await;
    fs::write(copy.dir.join("a"), "x").expect("a file");
    commit_all(&copy.dir, "agent");
    git(&copy.dir, &["repack", "-adq"]);
    let info = copy.dir.join(".git/objects/info");
    fs::create_dir_all(&info).expect("a folder");
    fs::write(info.join("commit-graph"), "garbage").expect("a file");
    fs::write(copy.dir.join(".git/objects/pack/multi-pack-index"), "garbage").expect("a file");
    fs::write(copy.dir.join(".git/index"), "garbage").expect("a file");
    fs::write(copy.dir.join(".git/shallow"), "garbage").expect("a file");
    for entry in fs::read_dir(copy.dir.join(".git/objects/pack")).expect("packs").flatten() {
        if entry.file_name().to_string_lossy().ends_with(".idx") {
            fs::remove_file(entry.path()).expect("removal");
            fs::write(entry.path(), "garbage").expect("a file");
        }
    }

    let kept = whole_life(&house, workspace, &copy).await;

    assert_eq!((kept.agent_commits, kept.notes.len()), (1, 0), "{:?}", kept.notes);
}
