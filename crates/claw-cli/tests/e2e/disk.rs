//! A disk of the data folder that fills up under the real server.

use std::{path::Path, time::Duration};

use claw_testkit::{SmallDisk, TestServer, wait_until};
use serde_json::Value;

use crate::setting::CLAW;

const MIB: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(20);

/// Starts a server on `disk` that keeps `reserve` free. Its jobs wait: there is no Docker.
async fn server_on(disk: &SmallDisk, reserve: &str) -> TestServer {
    let data_dir = disk.path().join("data");
    std::fs::create_dir(&data_dir).expect("a data folder");
    let nowhere = format!("unix://{}", disk.path().join("no-docker.sock").display());
    let variables = [("DOCKER_HOST", nowhere.as_str()), ("CLAW_STORAGE_RESERVE", reserve)];
    TestServer::start(Path::new(CLAW), &data_dir, &variables).await
}

/// Tries to submit a job; the error's code if it is refused.
async fn refused(server: &TestServer) -> Option<String> {
    let output = server.claw(&["--json", "submit", "anything"]).await;
    (!output.status.success()).then(|| {
        let error: Value = serde_json::from_slice(&output.stderr).expect("an error");
        error["code"].as_str().expect("a code").to_owned()
    })
}

/// Submits until that is refused for want of space, and returns how many jobs were taken meanwhile.
async fn taken_until_full(server: &TestServer) -> u64 {
    let mut taken = 0;
    wait_until("work is refused", PATIENCE, async || match refused(server).await {
        None => {
            taken += 1;
            false
        }
        Some(code) => code == "STORAGE_FULL",
    })
    .await;
    taken
}

#[tokio::test]
async fn p11_a_disk_that_is_nearly_full_takes_no_new_work_and_says_so_until_there_is_room() {
    let disk = SmallDisk::mount(64 * MIB);
    let server = server_on(&disk, "16m").await;
    assert_eq!(refused(&server).await, None);
    let filler = disk.fill(8 * MIB);

    let taken = 1 + taken_until_full(&server).await;

    let status = server.claw_ok(&["status"]).await;
    assert!(status.contains("less than the 16.0 MiB that `storage.reserve` keeps"), "{status}");
    assert_eq!(server.claw_json(&["list"]).await["total"], taken, "what is there can be read");
    assert_eq!(server.claw_json(&["audit", "verify"]).await["ok"], true);
    drop(filler);
    wait_until("work is taken again", PATIENCE, async || refused(&server).await.is_none()).await;
}

#[tokio::test]
async fn a_disk_without_one_byte_left_loses_nothing_and_serves_again_when_there_is_room() {
    let disk = SmallDisk::mount(64 * MIB);
    let mut server = server_on(&disk, "0").await;
    assert_eq!(refused(&server).await, None);
    let filler = disk.fill(0);

    // One before, and one as soon as there is room.
    let taken = 1 + taken_until_full(&server).await + 1;
    drop(filler);
    wait_until("work is taken again", PATIENCE, async || refused(&server).await.is_none()).await;
    server.kill().await;
    server.start_again().await;

    assert_eq!(server.claw_json(&["list"]).await["total"], taken, "no acknowledged job is lost");
    assert_eq!(server.claw_json(&["audit", "verify"]).await["ok"], true);
}
