//! The main job: submitted, sandboxed, streamed, kept.

use claw_testkit::{TempDir, wait_until};
use serde_json::json;

use crate::setting::{REAL_KEY, Setting, bash};

#[tokio::test]
async fn o1_a_job_writes_a_file_in_the_sandbox_and_everything_is_there_after_a_restart() {
    let mut setting = Setting::docker().await;
    let workspace = setting.workspace("site").await;
    let script = json!([
        {"tool": "Write", "input": {"file_path": "/workspace/hello.md", "content": "hello from the sandbox\n"}},
        {"text": "I wrote hello.md."}
    ]);

    let id = setting.submit(script, &["--workspace", "site", "--wait"]).await;

    let job = setting.job(&id).await;
    assert_eq!(job["status"], "completed", "{job:#}");
    let content = setting.server.claw_ok(&["workspace", "cat", "site", "hello.md"]).await;
    assert_eq!(content, "hello from the sandbox\n");
    let history = setting.server.claw_ok(&["--json", "workspace", "history", "site"]).await;
    assert!(history.contains(&id), "the history names the job: {history}");
    let before = everything(&setting, &id, &workspace).await;
    assert!(before.log.contains("I wrote hello.md.") && before.log.contains("tool_use"), "{}", before.log);

    setting.server.stop().await;
    setting.server.start_again().await;

    assert_eq!(everything(&setting, &id, &workspace).await, before);
    setting.assert_nothing_left().await;
}

#[derive(Debug, PartialEq)]
struct Everything {
    job: serde_json::Value,
    result: serde_json::Value,
    log: String,
    history: String,
    events: String,
}

async fn everything(setting: &Setting, id: &str, workspace: &str) -> Everything {
    let everything = Everything {
        job: setting.job(id).await,
        result: setting.server.claw_json(&["result", id]).await,
        log: setting.server.claw_ok(&["logs", "--raw", id]).await,
        history: setting.server.claw_ok(&["--json", "workspace", "history", workspace]).await,
        events: setting.server.claw_ok(&["--json", "workspace", "events", workspace]).await,
    };
    assert_eq!(everything.result["result"], "I wrote hello.md.");
    assert!(everything.result["cost_usd"].as_f64().is_some_and(|usd| usd > 0.0), "{:#}", everything.result);
    everything
}

#[tokio::test]
async fn s4_s12_no_secret_can_be_read_inside_the_sandbox() {
    let setting = Setting::docker().await;
    let look = "env; cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n'; cat /proc/*/cmdline | tr '\\0' ' '; \
                ls -laR /run/claw /home/claw; cat /run/claw/* 2>&1; mount; ls -la /workspace / /root /var/run 2>&1";
    let script = json!([bash(look), {"text": "looked"}]);

    let id = setting.submit(script, &["--wait"]).await;

    let log = setting.server.claw_ok(&["logs", "--raw", &id]).await;
    assert!(log.contains("ANTHROPIC_UNIX_SOCKET"), "the command ran: {log}");
    for secret in [REAL_KEY, claw_testkit::TEST_TOKEN, "docker.sock", "claw.db"] {
        assert!(!log.contains(secret), "{secret} can be seen in the sandbox: {log}");
    }
    let asked = setting.model.requests();
    let messages: Vec<_> = asked.iter().filter(|request| request.path.starts_with("/v1/messages")).collect();
    assert!(!messages.is_empty());
    assert!(
        messages.iter().all(|request| request.header("x-api-key") == Some(REAL_KEY)),
        "the gateway puts the key in"
    );
}

#[tokio::test]
async fn s46_the_sandbox_has_no_network_and_no_way_up() {
    let setting = Setting::docker().await;
    let look = "ls /sys/class/net; grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status; id -u; \
                touch /usr/x 2>&1; echo done";
    let id = setting.submit(json!([bash(look), {"text": "looked"}]), &["--wait"]).await;

    let log = setting.server.claw_ok(&["logs", "--raw", &id]).await;

    for expected in
        ["lo\\nCapEff:\\t0000000000000000\\nNoNewPrivs:\\t1\\nSeccomp:\\t2\\n", "Read-only file system"]
    {
        assert!(log.contains(expected), "`{expected}` is not in {log}");
    }
}

#[tokio::test]
async fn a_follower_sees_the_log_while_the_job_runs() {
    let setting = Setting::docker().await;
    let script = json!([bash("echo first-sign-of-life"), {"hold": "rest"}, {"text": "the end"}]);
    let id = setting.submit(script, &[]).await;
    let folder = TempDir::new();
    let seen = folder.path().join("seen");
    let mut follower = setting.server.client();
    follower.args(["logs", "--follow", "--raw", &id]);
    follower.stdout(std::fs::File::create(&seen).expect("a file"));
    let mut follower = follower.spawn().expect("the client starts");
    let has_seen = |text: &str| std::fs::read_to_string(&seen).is_ok_and(|log| log.contains(text));

    wait_until("the first line is seen", std::time::Duration::from_secs(60), async || {
        has_seen("first-sign-of-life")
    })
    .await;
    assert_eq!(setting.job(&id).await["status"], "running");
    assert!(!has_seen("the end"));
    setting.model.release("rest");

    assert!(follower.wait().await.expect("the follower ends").success());
    assert!(has_seen("the end"));
    assert_eq!(setting.ended(&id).await["status"], "completed");
}

#[tokio::test]
async fn commits_of_the_agent_are_kept_and_the_work_of_an_ephemeral_workspace_is_not() {
    let setting = Setting::docker().await;
    setting.workspace("kept").await;
    setting.server.claw_ok(&["workspace", "create", "thrown-away", "--persistence", "ephemeral"]).await;
    let commit = "echo a > a.txt && git add a.txt && git -c user.name=Agent -c user.email=agent@example.com \
                  commit -q -m 'agent: add a' && echo b > b.txt";
    let script = || json!([bash(commit), {"text": "committed"}]);

    setting.submit(script(), &["--workspace", "kept", "--wait"]).await;
    setting.submit(script(), &["--workspace", "thrown-away", "--wait"]).await;

    let history = setting.server.claw_ok(&["--json", "workspace", "history", "kept"]).await;
    assert!(history.contains("agent: add a") && history.contains("claw: post-job"), "{history}");
    assert_eq!(setting.server.claw_ok(&["workspace", "cat", "kept", "b.txt"]).await, "b\n");
    let files = setting.server.claw_ok(&["workspace", "files", "thrown-away"]).await;
    assert!(!files.contains("a.txt"), "{files}");
}

#[tokio::test]
async fn an_edit_made_while_a_job_runs_loses_neither_side() {
    let setting = Setting::docker().await;
    setting.workspace("site").await;
    let script = json!([bash("echo agent > agent.txt"), {"hold": "edit"}, {"text": "done"}]);
    let id = setting.submit(script, &["--workspace", "site"]).await;
    wait_until("the agent has written", std::time::Duration::from_secs(60), async || {
        setting.server.claw_ok(&["logs", "--raw", &id]).await.contains("tool_result")
    })
    .await;

    let edit = setting.folder.path().join("edit.txt");
    std::fs::write(&edit, "person\n").expect("a file to put");
    setting.server.claw_ok(&["workspace", "put", "site", "person.txt", edit.to_str().expect("UTF-8")]).await;
    setting.model.release("edit");
    setting.ended(&id).await;

    assert_eq!(setting.server.claw_ok(&["workspace", "cat", "site", "agent.txt"]).await, "agent\n");
    assert_eq!(setting.server.claw_ok(&["workspace", "cat", "site", "person.txt"]).await, "person\n");
}

#[tokio::test]
async fn the_doctor_finds_nothing_wrong_with_a_server_that_works() {
    let setting = Setting::docker().await;

    let output = setting.server.client().env_remove("ANTHROPIC_API_KEY").arg("doctor").output().await;

    let output = output.expect("the command runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
