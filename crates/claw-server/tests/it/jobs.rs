use claw_core::{FailureKind, JobId, JobOutcome, Scope};
use serde_json::{Value, json};

use crate::lab::{Lab, completed, now};

#[tokio::test]
async fn a_submitted_job_can_be_read_back_with_every_field_clients_know() {
    let lab = Lab::new().await;
    let body = json!({
        "prompt": "build it", "model": "opus", "max_budget_usd": 1.5, "allowed_tools": ["Bash"], "tags": ["night"],
        "priority": 12, "timeout_secs": 60, "working_dir": ".", "output_dest": {"type": "redis"},
        "skill_ids": [], "tool_ids": null, "template_id": null, "from_the_future": 1,
    });

    let receipt = lab.post("/api/v1/jobs", body).send().await.expect(201);
    let mut job =
        lab.get(&format!("/api/v1/jobs/{}", receipt["id"].as_str().expect("an id"))).send().await.expect(200);

    assert_eq!(receipt["status"], "pending");
    assert_eq!(receipt["created_at"], job["created_at"]);
    let owner = job["owner"].take();
    assert!(owner.as_str().is_some_and(|owner| owner.starts_with("key:")), "{owner}");
    let expected = json!({
        "id": receipt["id"], "status": "pending", "prompt": "build it", "skill_ids": [], "skill_tags": [],
        "tool_ids": [], "tags": ["night"], "working_dir": ".", "model": "opus", "max_budget_usd": 1.5,
        "allowed_tools": ["Bash"], "output_dest": {"type": "redis"}, "source": "api", "priority": 9,
        "created_at": receipt["created_at"], "started_at": null, "completed_at": null, "worker_id": null,
        "error": null, "cost_usd": null, "duration_ms": null, "retry_count": 0, "timeout_secs": 60,
        "workspace_id": null, "cron_id": null, "template_id": null, "pipeline_run_id": null, "pipeline_step": null,
        "skill_snapshot": null, "assembled_prompt": null, "owner": null, "cancel_requested": false,
        "not_before": null,
    });
    assert_eq!(job, expected);
}

#[tokio::test]
async fn s25_what_this_version_does_not_offer_is_refused_by_name() {
    let lab = Lab::new().await;
    for (field, value) in [
        ("skill_ids", json!(["x"])),
        ("skill_tags", json!(["x"])),
        ("tool_ids", json!(["x"])),
        ("template_id", json!("0190a5d0-0000-7000-8000-000000000000")),
        ("output_dest", json!({"type": "file", "path": "/etc"})),
        ("output_dest", json!("file")),
    ] {
        for route in ["/api/v1/jobs", "/api/v1/webhook/submit"] {
            let answer = lab.post(route, json!({ "prompt": "x", field: value })).send().await;

            answer.assert_error(400, "INVALID_REQUEST");
            assert!(answer.text().contains(&format!("`{field}` is not available")), "{}", answer.text());
        }
    }
    assert_eq!(lab.get("/api/v1/jobs").send().await.expect(200)["total"], 0);
}

#[tokio::test]
async fn a_second_submit_with_the_same_idempotency_key_returns_the_first_job() {
    let lab = Lab::new().await;
    let submit =
        |prompt: &str| lab.post("/api/v1/jobs", json!({ "prompt": prompt })).header("idempotency-key", "k-1");

    let first = submit("once").send().await.expect(201);
    let second = submit("once").send().await.expect(200);
    let other = submit("twice").send().await;

    assert_eq!(first, second);
    other.assert_error(409, "IDEMPOTENCY_MISMATCH");
    let empty = lab.post("/api/v1/jobs", json!({ "prompt": "x" })).header("idempotency-key", "").send().await;
    empty.assert_error(400, "INVALID_REQUEST");
}

#[tokio::test]
async fn a_webhook_submits_with_its_own_receipt_and_source() {
    let lab = Lab::new().await;

    let receipt = lab.post("/api/v1/webhook/submit", json!({ "prompt": "x" })).send().await.expect(202);

    assert_eq!(receipt["status"], "pending");
    let job = lab
        .get(&format!("/api/v1/jobs/{}", receipt["job_id"].as_str().expect("an id")))
        .send()
        .await
        .expect(200);
    assert_eq!(job["source"], "webhook");
}

#[tokio::test]
async fn lists_filter_page_and_count_truly() {
    let lab = Lab::new().await;
    for number in 0..5 {
        let tag = if number % 2 == 0 { "even" } else { "odd" };
        let body = json!({ "prompt": format!("job {number}"), "tags": [tag], "priority": number });
        lab.post("/api/v1/jobs", body).send().await.expect(201);
    }
    let list = async |query: &str| {
        let page = lab.get(&format!("/api/v1/jobs{query}")).send().await.expect(200);
        let prompts: Vec<_> = page["items"]
            .as_array()
            .expect("items")
            .iter()
            .map(|job| job["prompt"].as_str().unwrap_or("").to_owned())
            .collect();
        (prompts.join(","), page["total"].clone(), page["offset"].clone(), page["limit"].clone())
    };
    let page = |prompts: &str, total: u64, offset: u64, limit: u64| {
        (prompts.to_owned(), json!(total), json!(offset), json!(limit))
    };

    assert_eq!(list("").await, page("job 4,job 3,job 2,job 1,job 0", 5, 0, 20));
    assert_eq!(list("?limit=2&offset=1").await, page("job 3,job 2", 5, 1, 2));
    assert_eq!(list("?tag=even&sort=oldest").await, page("job 0,job 2,job 4", 3, 0, 20));
    assert_eq!(list("?search=JOB%203").await, page("job 3", 1, 0, 20));
    assert_eq!(list("?sort=priority&limit=1").await, page("job 4", 5, 0, 1));
    assert_eq!(list("?status=running").await, page("", 0, 0, 20));
    assert_eq!(list("?source=webhook").await, page("", 0, 0, 20));
    assert_eq!(
        list("?workspace_id=&tag=&limit=1000").await,
        page("job 4,job 3,job 2,job 1,job 0", 5, 0, 100)
    );
    assert_eq!(list("?offset=18446744073709551615").await.0, "");
}

#[tokio::test]
async fn a_query_that_means_nothing_is_refused_with_what_would_be_right() {
    let lab = Lab::new().await;
    for (query, hint) in [
        ("status=done", "pending"),
        ("sort=best", "newest"),
        ("source=mail", "webhook"),
        ("limit=-1", "limit"),
        ("offset=x", "offset"),
        ("workspace_id=x", "workspace id"),
    ] {
        let answer = lab.get(&format!("/api/v1/jobs?{query}")).send().await;

        answer.assert_error(400, "INVALID_REQUEST");
        assert!(answer.text().contains(hint), "{query}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_job_reads_as_its_state_says() {
    let lab = Lab::new().await;
    let id = lab.job("x").await;
    let path = format!("/api/v1/jobs/{id}");
    let read = async || lab.get(&path).send().await.expect(200);

    let claimed = lab.claim().await;
    let running = read().await;
    assert_eq!(running["status"], "running");
    assert_eq!(running["worker_id"], "test-boot-0");
    assert!(running["started_at"].is_string());

    let retry_at = Some(now());
    let failed =
        JobOutcome::Failed { kind: FailureKind::ModelUnavailable, error: "overloaded".into(), retry_at };
    lab.finish(&claimed, failed).await;
    let waiting = read().await;
    assert_eq!((&waiting["status"], &waiting["error"]), (&json!("pending"), &json!("overloaded")));
    assert_eq!((&waiting["retry_count"], &waiting["started_at"]), (&json!(1), &Value::Null));
    assert!(waiting["not_before"].is_string());

    let claimed = lab.claim().await;
    lab.finish(&claimed, completed("done")).await;
    let done = read().await;
    assert_eq!((&done["status"], &done["error"]), (&json!("completed"), &Value::Null));
    assert_eq!((&done["cost_usd"], &done["duration_ms"]), (&json!(0.5), &json!(3000)));
    let result = lab.get(&format!("{path}/result")).send().await.expect(200);
    let expected = json!({
        "job_id": id.to_string(), "result": "done", "cost_usd": 0.5, "duration_ms": 3000, "model": null,
        "session_id": null, "num_turns": 2, "commit": null, "note": null, "completed_at": done["completed_at"],
    });
    assert_eq!(result, expected);
}

#[tokio::test]
async fn a_job_without_a_result_says_why() {
    let lab = Lab::new().await;
    let id = lab.job("x").await;

    let answer = lab.get(&format!("/api/v1/jobs/{id}/result")).send().await;

    answer.assert_error(404, "RESULT_NOT_FOUND");
    assert!(answer.text().contains("pending"), "{}", answer.text());
}

#[tokio::test]
async fn cancel_answers_alike_for_waiting_and_running_jobs_and_tells_the_state() {
    let lab = Lab::new().await;
    let waiting = lab.job("waits").await;
    let cancel = async |id: JobId| {
        lab.call(axum::http::Method::POST, &format!("/api/v1/jobs/{id}/cancel")).send().await
    };

    let answer = cancel(waiting).await.expect(200);
    assert_eq!(answer, json!({ "id": waiting.to_string(), "status": "cancelled", "state": "cancelled" }));
    cancel(waiting).await.assert_error(409, "JOB_WRONG_STATE");

    let running = lab.job("runs").await;
    lab.claim().await;
    let answer = cancel(running).await.expect(200);
    assert_eq!(answer, json!({ "id": running.to_string(), "status": "cancelled", "state": "running" }));
    let job = lab.get(&format!("/api/v1/jobs/{running}")).send().await.expect(200);
    assert_eq!(job["cancel_requested"], true);
}

#[tokio::test]
async fn r25_only_ended_jobs_can_be_deleted_and_then_they_are_gone() {
    let lab = Lab::new().await;
    let waiting = lab.job("waits").await;
    lab.delete(&format!("/api/v1/jobs/{waiting}")).send().await.assert_error(409, "JOB_WRONG_STATE");
    lab.call(axum::http::Method::POST, &format!("/api/v1/jobs/{waiting}/cancel")).send().await.expect(200);

    let answer = lab.delete(&format!("/api/v1/jobs/{waiting}")).send().await;

    assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0));
    lab.get(&format!("/api/v1/jobs/{waiting}")).send().await.assert_error(404, "JOB_NOT_FOUND");
    lab.delete(&format!("/api/v1/jobs/{waiting}")).send().await.assert_error(404, "JOB_NOT_FOUND");
}

#[tokio::test]
async fn s21_an_agent_sees_and_lists_only_its_own_jobs() {
    let lab = Lab::new().await;
    lab.job("the admin's").await;
    let agent = lab.key(&[Scope::JobsRead, Scope::JobsWrite]).await;
    lab.post("/api/v1/jobs", json!({ "prompt": "mine" })).key(&agent).send().await.expect(201);

    let page = lab.get("/api/v1/jobs").key(&agent).send().await.expect(200);

    assert_eq!((&page["total"], &page["items"][0]["prompt"]), (&json!(1), &json!("mine")));
}

#[tokio::test]
async fn a_job_cannot_be_submitted_into_a_workspace_of_someone_else() {
    let lab = Lab::new().await;
    let workspace = lab.workspace("private").await;
    let agent = lab.key(&[Scope::JobsWrite, Scope::WorkspacesWrite]).await;

    let body = json!({ "prompt": "x", "workspace_id": workspace });
    let answer = lab.post("/api/v1/jobs", body).key(&agent).send().await;

    answer.assert_error(404, "WORKSPACE_NOT_FOUND");
}

#[tokio::test]
async fn workers_show_who_runs_what_to_those_who_may_see_it() {
    let lab = Lab::new().await;
    let id = lab.job("x").await;
    lab.claim().await;
    let agent = lab.key(&[Scope::JobsRead]).await;

    let all = lab.get("/api/v1/workers").send().await.expect(200);
    let none = lab.get("/api/v1/workers").key(&agent).send().await.expect(200);

    assert_eq!(all["items"][0]["worker_id"], "test-boot-0");
    assert_eq!(all["items"][0]["job_id"], id.to_string());
    assert_eq!(none["items"], json!([]));
    assert_eq!(
        (&all["capacity"], &all["active"], &all["waiting_because"]),
        (&json!(0), &json!(0), &Value::Null)
    );
}

#[tokio::test]
async fn s20_s21_every_list_shows_a_caller_only_what_is_theirs() {
    let lab = Lab::new().await;
    let scopes = [Scope::JobsRead, Scope::JobsWrite, Scope::WorkspacesRead, Scope::WorkspacesWrite];
    let mut agents = Vec::new();
    for name in ["apples", "pears"] {
        let key = lab.key(&scopes).await;
        let make = async |path: &str, body| lab.post(path, body).key(&key).send().await.expect(201);
        let workspace = make("/api/v1/workspaces", json!({ "name": name })).await["id"].clone();
        let body = json!({ "prompt": name, "tags": [name], "workspace_id": workspace });
        make("/api/v1/jobs", body).await;
        lab.claim().await;
        agents.push((name, key, workspace));
    }
    let total = async |key: &str, path: &str| {
        let list = lab.get(path).key(key).send().await.expect(200);
        let items = list["items"].as_array().expect("items").len();
        assert!(list["total"].is_null() || list["total"] == items, "{path}: {list}");
        items
    };

    for ((name, key, own), (other, _, foreign)) in [(&agents[0], &agents[1]), (&agents[1], &agents[0])] {
        let (own, foreign) = (own.as_str().expect("an id"), foreign.as_str().expect("an id"));
        for (path, expected) in [
            ("/api/v1/jobs".to_owned(), 1),
            ("/api/v1/jobs?status=running&sort=priority".to_owned(), 1),
            ("/api/v1/jobs?source=api&sort=oldest".to_owned(), 1),
            (format!("/api/v1/jobs?search={name}"), 1),
            (format!("/api/v1/jobs?search={other}"), 0),
            (format!("/api/v1/jobs?tag={name}"), 1),
            (format!("/api/v1/jobs?tag={other}"), 0),
            (format!("/api/v1/jobs?workspace_id={own}"), 1),
            (format!("/api/v1/jobs?workspace_id={foreign}"), 0),
            ("/api/v1/workspaces".to_owned(), 1),
            ("/api/v1/workers".to_owned(), 1),
            ("/api/v1/spending?group_by=key".to_owned(), 0),
        ] {
            assert_eq!(total(key, &path).await, expected, "{name}: {path}");
        }
        for path in ["files", "history", "events", "files/CLAUDE.md"] {
            let path = format!("/api/v1/workspaces/{foreign}/{path}");
            lab.get(&path).key(key).send().await.assert_error(404, "WORKSPACE_NOT_FOUND");
        }
        for path in ["/api/v1/audit", "/api/v1/audit/export", "/api/v1/auth/users"] {
            lab.get(path).key(key).send().await.assert_error(403, "SCOPE_REQUIRED");
        }
    }
    for path in ["/api/v1/jobs", "/api/v1/workspaces", "/api/v1/workers"] {
        assert_eq!(total(&lab.admin, path).await, 2, "an administrator sees all: {path}");
    }
}
