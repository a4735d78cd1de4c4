//! What the local sandbox keeps away from the agent, and the agent from the server.

use claw_agent::{
    local::LocalSandbox,
    sandbox::{Sandbox, SandboxKind},
};
use claw_core::{FailureKind, WorkspaceId};
use serde_json::json;

use crate::lab::{Lab, completed, config, entries, failed, script};

#[tokio::test]
async fn t25_nothing_that_the_repository_configures_is_run() {
    let lab = Lab::start().await;
    let ran = lab.folder.join("ran");
    let hook = |event: &str| json!([{"matcher": "", "hooks": [{"type": "command", "command": format!("touch {}-{event}", ran.display())}]}]);
    let settings = json!({
        "hooks": {"SessionStart": hook("start"), "UserPromptSubmit": hook("prompt"), "PreToolUse": hook("tool"), "Stop": hook("stop")},
        "env": {"BASH_ENV": "/dev/null", "CANARY": "sings"},
        "apiKeyHelper": format!("touch {}-helper", ran.display()),
        "statusLine": {"type": "command", "command": format!("touch {}-status", ran.display())},
    });
    lab.folder.write("work/.claude/settings.json", settings.to_string());
    lab.folder.write("work/.claude/settings.local.json", settings.to_string());
    let server =
        json!({"mcpServers": {"x": {"command": "touch", "args": [format!("{}-mcp", ran.display())]}}});
    lab.folder.write("work/.mcp.json", server.to_string());

    let report = lab
        .run_prompt(script(json!([{"tool": "Bash", "input": {"command": "echo \"canary:$CANARY\" > env.txt"}}, {"text": "done"}])))
        .await;

    assert_eq!(completed(&report), "done");
    let traces: Vec<String> =
        entries(lab.folder.path()).into_iter().filter(|name| name.starts_with("ran")).collect();
    assert_eq!(traces, Vec::<String>::new());
    assert_eq!(std::fs::read_to_string(lab.work_dir().join("env.txt")).unwrap(), "canary:\n");
}

#[tokio::test]
async fn a_link_in_the_working_copy_does_not_lead_the_agent_out() {
    let lab = Lab::start().await;
    std::os::unix::fs::symlink("/", lab.work_dir().join("out")).unwrap();
    let mut request = lab.request("hello");
    request.current_dir = Some("out".parse().unwrap());

    let report = lab.run(request).await;

    let expected = "could not start the sandbox: `out` is not a folder of the workspace";
    assert_eq!(failed(&report), (FailureKind::Sandbox, expected));
}

#[tokio::test]
async fn the_agent_starts_in_the_folder_it_was_given() {
    let lab = Lab::start().await;
    std::fs::create_dir_all(lab.work_dir().join("a/b")).unwrap();
    let mut request = lab.request(crate::lab::bash("touch here"));
    request.current_dir = Some("a/b".parse().unwrap());

    completed(&lab.run(request).await);

    assert!(lab.work_dir().join("a/b/here").exists());
}

#[tokio::test]
async fn a_workspaces_home_is_kept_until_it_is_forgotten() {
    let lab = Lab::start().await;
    let workspace = WorkspaceId::new();
    let mut request = lab.request(crate::lab::bash("touch ~/kept"));
    request.workspace = Some(workspace);

    completed(&lab.run(request).await);
    let kept = lab.data_dir.join("homes").join(workspace.to_string()).join("kept");
    let was_kept = kept.exists();
    lab.sandbox.forget_workspace(workspace).await.unwrap();

    assert!(was_kept && !kept.exists());
}

#[tokio::test]
async fn a_missing_cli_is_named_with_the_way_to_get_it() {
    let lab = Lab::start().await;
    assert_eq!(lab.sandbox.kind(), SandboxKind::Local);
    lab.sandbox.ready().await.unwrap();

    let sandbox = LocalSandbox::new(config("no-such-cli".into(), &lab.data_dir));
    let error = sandbox.ready().await.unwrap_err();

    assert!(
        error.to_string().contains("`no-such-cli` was not found: install it with `npm install"),
        "{error}"
    );
}
