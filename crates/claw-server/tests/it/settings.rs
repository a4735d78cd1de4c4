use serde_json::json;

use crate::lab::Lab;

#[tokio::test]
async fn settings_are_read_and_changed_together_or_one_by_one() {
    let lab = Lab::new().await;
    let all = lab.get("/api/v1/config").send().await.expect(200);
    assert_eq!((&all["execution_backend"], &all["docker_memory_limit"]), (&json!("docker"), &json!("4g")));
    assert_eq!(all["anthropic_api_key"], "***set***");

    let changed = lab
        .put("/api/v1/config", json!({ "docker_memory_limit": "8g", "docker_pids_limit": "64" }))
        .send()
        .await;
    assert_eq!(changed.expect(200), json!({ "updated": 2 }));
    let one = lab.put("/api/v1/config/docker_cpu_limit", json!({ "value": "4.0" })).send().await;
    assert_eq!(one.expect(200), json!({ "key": "docker_cpu_limit", "value": "4.0" }));

    let read = lab.get("/api/v1/config/docker_memory_limit").send().await.expect(200);
    assert_eq!(read, json!({ "key": "docker_memory_limit", "value": "8g" }));
    let whole = lab.get("/api/v1/config").send().await.expect(200);
    assert_eq!(lab.put("/api/v1/config", whole.clone()).send().await.status, 200, "{whole}");
}

#[tokio::test]
async fn s7_no_request_can_move_jobs_onto_the_host() {
    let lab = Lab::new().await;

    lab.put("/api/v1/config", json!({ "execution_backend": "local" }))
        .send()
        .await
        .assert_error(400, "INVALID_REQUEST");
    let one = lab.put("/api/v1/config/execution_backend", json!({ "value": "local" })).send().await;
    one.assert_error(400, "INVALID_REQUEST");

    assert_eq!(lab.get("/api/v1/config/execution_backend").send().await.expect(200)["value"], "docker");
}

#[tokio::test]
async fn settings_that_do_not_exist_or_cannot_be_are_refused() {
    let lab = Lab::new().await;

    lab.get("/api/v1/config/nothing").send().await.assert_error(404, "SETTING_NOT_FOUND");
    lab.put("/api/v1/config", json!({ "nothing": "x" })).send().await.assert_error(404, "SETTING_NOT_FOUND");
    lab.put("/api/v1/config", json!({ "docker_pids_limit": 64 }))
        .send()
        .await
        .assert_error(422, "INVALID_BODY");
    lab.put("/api/v1/config/docker_pids_limit", json!({ "value": "-1" }))
        .send()
        .await
        .assert_error(400, "INVALID_REQUEST");
}
