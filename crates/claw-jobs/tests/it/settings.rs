//! Settings that change while the server runs.

use claw_core::{Coded, ErrorCode};
use claw_jobs::SettingEntry;

use crate::setting::{House, admin, agent};

fn entry(key: &str, value: &str) -> SettingEntry {
    SettingEntry { key: key.into(), value: value.into() }
}

#[tokio::test]
async fn an_administrator_changes_limits_and_sends_the_whole_map_back() {
    let house = House::new().await;
    let mut all = house.settings.all(&admin()).await.expect("settings");
    for setting in &mut all {
        if setting.key == "docker_memory_limit" {
            setting.value = "2g".into();
        }
    }

    house.settings.set(&admin(), all).await.expect("changed");

    assert_eq!(house.settings.get(&admin(), "docker_memory_limit").await.expect("a setting").value, "2g");
    assert_eq!(
        house.settings.get(&admin(), "anthropic_api_key").await.expect("a setting").value,
        "***set***"
    );
}

#[tokio::test]
async fn s7_nobody_moves_jobs_onto_the_host_or_mounts_folders_by_a_setting() {
    let house = House::new().await;
    let cases = [
        ("execution_backend", "docker", ErrorCode::InvalidRequest),
        ("sandbox_image", "evil:latest", ErrorCode::InvalidRequest),
        ("docker_credential_mounts", "[{\"host_path\":\"/\"}]", ErrorCode::SettingNotFound),
        ("docker_network_mode", "host", ErrorCode::InvalidRequest),
        ("docker_memory_limit", "lots", ErrorCode::InvalidRequest),
        ("docker_pids_limit", "-1", ErrorCode::InvalidRequest),
    ];
    for (key, value, code) in cases {
        let both = vec![entry("default_timeout_secs", "60"), entry(key, value)];

        let refused = house.settings.set(&admin(), both).await.expect_err("it is refused");

        assert_eq!(refused.code(), code, "{key}");
    }
    let timeout = house.settings.get(&admin(), "default_timeout_secs").await.expect("a setting");
    assert_eq!(timeout.value, "60", "the default, since nothing of a refused change is kept");
}

#[tokio::test]
async fn an_agent_neither_reads_nor_changes_settings() {
    let house = House::new().await;

    let read = house.settings.all(&agent("a")).await.expect_err("refused");
    let write =
        house.settings.set(&agent("a"), vec![entry("docker_cpu_limit", "1")]).await.expect_err("refused");

    assert_eq!((read.code(), write.code()), (ErrorCode::ScopeRequired, ErrorCode::ScopeRequired));
}
