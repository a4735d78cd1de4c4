//! Full disks, what crashes leave, and an Engine that stops in the middle.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt as _};

use claw_core::{Coded as _, ErrorCode};
use claw_homelab::marketplace::{InstallState, Installed, Marketplace, NewInstall, Which};
use claw_store::{NewDocument, Precondition};
use claw_testkit::{DockerScope, SmallDisk, TempDir, wait_until};

use crate::{
    market_lab::{Lab, PATIENCE, Place, ann, which, write_page},
    private_engine::PrivateEngine,
};

fn page(name: &str) -> NewInstall {
    NewInstall {
        app_id: "page".into(),
        custom_name: Some(name.to_owned()),
        environment: BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]),
        ..NewInstall::default()
    }
}

/// Pages that are left on a full disk: so many files can still be begun.
const PAGES: [u64; 6] = [0, 1, 2, 3, 4, 5];

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_leaves_no_half_of_an_install_and_the_same_works_with_room() {
    let disk = SmallDisk::mount(1 << 20);
    let mut lab = Lab::with(TempDir::shared(), DockerScope::new(), Some(disk.path())).await;
    let name = lab.install("full");
    let files = disk.path().join("page").join(&name);
    let mut was_full = 0;
    for pages in PAGES {
        let filler = disk.fill(pages * 4096);

        let made = lab.marketplace.create(&ann(), page(&name)).await;
        drop(filler);

        if made.is_ok() {
            assert!(pages > 0, "no room");
            lab.marketplace.uninstall(&ann(), &Which::named(&name), true).await.expect("it is gone");
        } else if let Err(error) = made {
            assert_eq!(error.code(), ErrorCode::StorageFull, "{pages}: {error}");
            was_full += 1;
        }
        assert!(!files.exists(), "{pages}: something is left");
        assert!(lab.marketplace.installed(&ann()).await.expect("a list").is_empty());
    }
    assert!(was_full > 1, "it was full at one place only");

    let created = lab.marketplace.create(&ann(), page(&name)).await.expect("an install");
    assert_eq!(created.generated.len(), 1);
    let seen = lab.marketplace.status(&ann(), &Which::named(&name)).await.expect("it");
    assert_eq!(seen.state, InstallState::Created);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_during_an_update_leaves_the_version_before_and_its_files() {
    let (disk, folder) = (SmallDisk::mount(1 << 20), TempDir::shared());
    let mut lab = Lab::with(folder, DockerScope::new(), Some(disk.path())).await;
    let name = lab.install("fuller");
    lab.marketplace.create(&ann(), page(&name)).await.expect("an install");
    let compose = disk.path().join("page").join(&name).join("compose.yaml");
    let before = std::fs::read_to_string(&compose).expect("a file");
    write_page(&lab.catalog, "2", crate::market_lab::free_port());
    let (folder, scope) = lab.end().await;
    let lab = Lab::with(folder, scope, Some(disk.path())).await;
    let (market, which) = (lab.marketplace.clone(), Which::named(&name));

    let filler = disk.fill(0);
    let error = market.update(&ann(), &which, BTreeMap::new(), false).await.expect_err("no room");
    drop(filler);

    assert_eq!(error.code(), ErrorCode::StorageFull, "{error}");
    let seen = market.status(&ann(), &which).await.expect("it");
    assert_eq!((seen.state, seen.version.as_str()), (InstallState::Created, "1"));
    assert!(seen.failure.expect("it is told").contains("cannot be written"));
    assert_eq!(std::fs::read_to_string(&compose).expect("a file"), before);
    let update = market.update(&ann(), &which, BTreeMap::new(), false).await.expect("an update");
    assert!(update.changed && update.generated.is_empty());
    assert_eq!(update.progress.installed.failure, None);
}

/// A program in front of Compose that stops it in the middle of a start: once the first container is there, and until
/// there is a file `go`.
fn write_pause(folder: &TempDir, engine: &PrivateEngine) -> std::path::PathBuf {
    let script = format!(
        "#!/bin/bash\nexport PATH=\"$PATH:/usr/bin:/bin\"\nif [[ \" $* \" == *\" up \"* ]] && rm {at}/once; then\n  \
         {real} \"$@\" <&0 &\n  until [ -n \"$(docker --host unix://{socket} ps --all --quiet)\" ]; do sleep 0.02; \
         done\n  kill -STOP $!\n  touch {at}/paused\n  until [ -e {at}/go ]; do sleep 0.02; done\n  kill -CONT $!\n  \
         wait $!\n  exit\nfi\nexec {real} \"$@\"\n",
        at = folder.path().display(),
        real = which("docker-compose").display(),
        socket = engine.socket().display(),
    );
    folder.write("once", "");
    let program = folder.write("programs/docker-compose", script);
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("own file");
    folder.join("programs")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_dies_and_restarts_in_the_middle_of_a_start_leaves_what_is_true() {
    let mut engine = PrivateEngine::start().await;
    let folder = TempDir::shared();
    let place = Place {
        engine: Some(engine.socket()),
        programs: Some(write_pause(&folder, &engine)),
        ..Place::at(folder.path())
    };
    // Its network has no loopback to publish a port at.
    let file = place.catalog().join("page/compose.yaml");
    let compose = std::fs::read_to_string(&file).expect("a file");
    let without: Vec<_> = compose.lines().filter(|line| !line.trim_start().starts_with("ports:")).collect();
    std::fs::write(&file, without.join("\n")).expect("written");
    let house = place.open().await;
    let (market, which) = (house.homelab.marketplace.clone(), Which::named("restarted"));
    market.create(&ann(), page("restarted")).await.expect("an install");
    let start = tokio::spawn({
        let (market, which) = (market.clone(), which.clone());
        async move { market.start(&ann(), &which).await }
    });
    wait_until("Compose is at work", PATIENCE, async || folder.join("paused").exists()).await;

    engine.kill();
    let seen = market.status(&ann(), &which).await.expect("the store answers");
    assert_eq!(seen.doing, Some("started"));
    engine.run().await;
    folder.write("go", "");

    let ended = start.await.expect("no panic");
    let seen = state_settles(&market, &which).await;
    match ended {
        // It may have found the Engine again.
        Ok(_) => assert_eq!(seen.failure, None),
        Err(error) => {
            assert_eq!(error.code(), ErrorCode::ComposeUpFailed, "{error}");
            assert_eq!(seen.failure, Some(error.to_string()));
            assert_ne!(seen.state, InstallState::Running, "{seen:?}");
        }
    }
    let started = market.start(&ann(), &which).await.expect("a start").installed;
    assert_eq!((started.state, started.failure), (InstallState::Running, None));
    assert_eq!(engine.containers(), ["restarted", "restarted-helper"]);

    // One that restarts behind our back takes its containers along, and that is seen.
    engine.restart().await;
    wait_until("it is seen that nothing runs", PATIENCE, async || {
        market.status(&ann(), &which).await.expect("it").state == InstallState::Stopped
    })
    .await;
    let started = market.start(&ann(), &which).await.expect("a start").installed;
    assert_eq!(started.state, InstallState::Running);
    market.uninstall(&ann(), &which, true).await.expect("it is gone");
    assert_eq!(engine.containers(), Vec::<String>::new());
    house.end().await;
}

/// What is seen once the Engine is seen again.
async fn state_settles(market: &Marketplace, which: &Which) -> Installed {
    let mut seen = None;
    wait_until("the Engine is seen", PATIENCE, async || {
        let now = market.status(&ann(), which).await.expect("it");
        let settled = now.state != InstallState::Unknown;
        seen = Some(now);
        settled
    })
    .await;
    seen.expect("it was seen")
}

/// Writes what a crash would have left in the store.
async fn set_phase(lab: &Lab, install: &str, phase: &str) {
    let documents = &lab.store.documents;
    let mut found = documents.get("app-install", install).await.expect("a store").expect("a record");
    found.value["phase"] = phase.into();
    let document = NewDocument {
        kind: "app-install",
        id: found.id,
        sort_key: String::new(),
        owner: found.owner,
        value: found.value,
    };
    documents.put(document, Precondition::None).await.expect("a write");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_leaves_is_told_and_finished_by_asking_again() {
    let mut lab = Lab::new().await;
    let name = lab.install("crash");
    let market = lab.marketplace.clone();
    let first = market.create(&ann(), page(&name)).await.expect("an install");
    let password = first.generated[0].1.clone();
    // As if it had ended between the name and the files.
    set_phase(&lab, &name, "writing").await;
    std::fs::remove_file(lab.app_folder(&name).join("compose.yaml")).expect("a file");

    let seen = market.status(&ann(), &Which::named(&name)).await.expect("it");
    assert_eq!(seen.state, InstallState::Incomplete);
    let error = market.start(&ann(), &Which::named(&name)).await.expect_err("no files");
    assert_eq!(error.code(), ErrorCode::ComposeNotFound);
    market.create(&ann(), page(&name)).await.expect("an install");
    let values = std::fs::read_to_string(lab.app_folder(&name).join(".env")).expect("values");
    assert!(values.contains(password.expose()));

    // As if it had ended while it was removed.
    set_phase(&lab, &name, "removing").await;
    assert_eq!(market.status(&ann(), &Which::named(&name)).await.expect("it").state, InstallState::Removing);
    assert_eq!(
        market.create(&ann(), page(&name)).await.expect_err("half of it is there").code(),
        ErrorCode::NameTaken
    );
    market.uninstall(&ann(), &Which::named(&name), true).await.expect("it is gone");
    assert!(!lab.app_folder(&name).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn t12_values_are_for_their_owner_alone() {
    let mut lab = Lab::new().await;
    let name = lab.install("modes");
    lab.marketplace.create(&ann(), page(&name)).await.expect("an install");

    let mode = |file: &str| {
        let file = lab.app_folder(&name).join(file);
        std::fs::metadata(file).expect("a file").permissions().mode() & 0o777
    };

    assert_eq!((mode(".env"), mode("compose.yaml"), mode("README.md")), (0o600, 0o644, 0o644));
}
