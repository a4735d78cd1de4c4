//! Workspaces and their files.

use crate::server::Server;

#[tokio::test]
async fn files_go_in_and_come_out_as_they_are() {
    let server = Server::start().await;
    server.claw(&["workspace", "create", "site", "--persistence", "ephemeral"]).await.ok();
    let content = "a\u{1b}[31m\n\tb";
    let file = server.home.path().join("local.txt");
    std::fs::write(&file, content).expect("a file");

    server.claw(&["workspace", "put", "site", "src/ü b.txt", &file.to_string_lossy()]).await.ok();
    server.command(&["workspace", "put", "site", "piped.txt"]).stdin("piped").run().await.ok();

    assert_eq!(server.claw(&["workspace", "cat", "site", "src/ü b.txt"]).await.ok(), content);
    assert_eq!(server.claw(&["workspace", "cat", "site", "piped.txt"]).await.ok(), "piped");
    server.claw(&["workspace", "rm", "site", "piped.txt"]).await.ok();
    server.claw(&["workspace", "cat", "site", "piped.txt"]).await.failed(2);
}

#[tokio::test]
async fn a_path_that_leaves_the_workspace_is_refused_before_anything_is_sent() {
    let server = Server::start().await;
    server.claw(&["workspace", "create", "site"]).await.ok();

    for path in ["../etc/passwd", "/etc/passwd", ".git/config", "a/../../b"] {
        server.claw(&["workspace", "cat", "site", path]).await.failed(64);
    }
}

#[tokio::test]
async fn a_name_that_two_workspaces_have_is_refused_with_both() {
    let server = Server::start().await;
    server.claw(&["workspace", "create", "twin"]).await.ok();
    let taken = server.claw(&["workspace", "create", "twin"]).await.failed(3);
    server.double_workspace("twin");

    let said = server.claw(&["workspace", "cat", "twin", "a"]).await.failed(64);
    let missing = server.claw(&["workspace", "cat", "nobody", "a"]).await.failed(2);

    assert!(taken.contains("a workspace with the name `twin` exists"), "{taken}");
    assert_eq!(said.matches("twin").count(), 3, "{said}");
    assert!(missing.contains("no workspace has the name or id `nobody`"), "{missing}");
}
