//! Full disks, what crashes leave, and an Engine that stops in the middle.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt as _};

use claw_core::{Coded as _, ErrorCode};
use claw_homelab::marketplace::{InstallState, NewInstall, Which};
use claw_store::{NewDocument, Precondition};
use claw_testkit::{DockerScope, SmallDisk, TempDir};

use crate::market_lab::{Lab, ann};

fn page(name: &str) -> NewInstall {
    NewInstall {
        app_id: "page".into(),
        custom_name: Some(name.to_owned()),
        environment: BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]),
        ..NewInstall::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_leaves_no_half_of_an_install_and_the_same_works_with_room() {
    let disk = SmallDisk::mount(1 << 20);
    let mut lab = Lab::with(TempDir::shared(), DockerScope::new(), Some(disk.path())).await;
    let name = lab.install("full");
    let filler = disk.fill(0);

    let error = lab.marketplace.create(&ann(), page(&name)).await.expect_err("no room");

    assert_eq!(error.code(), ErrorCode::StorageFull, "{error}");
    assert!(lab.marketplace.installed(&ann()).await.expect("a list").is_empty());
    drop(filler);
    let created = lab.marketplace.create(&ann(), page(&name)).await.expect("an install");
    assert_eq!(created.generated.len(), 1);
    let seen = lab.marketplace.status(&ann(), &Which::named(&name)).await.expect("it");
    assert_eq!(seen.state, InstallState::Created);
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
