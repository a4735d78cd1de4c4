use serde_json::json;

use crate::lab::{Answer, Lab};

struct Shelf {
    lab: Lab,
    path: String,
}

impl Shelf {
    async fn new() -> Self {
        let lab = Lab::new().await;
        let workspace = lab.workspace("files").await;
        Self { path: format!("/api/v1/workspaces/{workspace}/files"), lab }
    }

    async fn write(&self, name: &str, content: &str) -> Answer {
        self.lab.put(&format!("{}/{name}", self.path), json!({ "content": content })).send().await
    }

    async fn read(&self, name: &str) -> Answer {
        self.lab.get(&format!("{}/{name}", self.path)).send().await
    }
}

#[tokio::test]
async fn a_file_is_written_listed_read_and_deleted() {
    let shelf = Shelf::new().await;

    assert_eq!(shelf.write("src/a%20b/%C3%BC.txt", "hello\n").await.status, 204);
    let listed = shelf.lab.get(&shelf.path).send().await.expect(200);
    let read = shelf.read("src/a%20b/%C3%BC.txt").await.expect(200);

    let entry = |path: &str, is_dir: bool, size: u64| json!({ "path": path, "is_dir": is_dir, "size": size });
    let files = listed["files"].as_array().expect("files");
    for expected in [entry("src", true, 0), entry("src/a b", true, 0), entry("src/a b/ü.txt", false, 6)] {
        assert!(files.contains(&expected), "{expected}: {files:?}");
    }
    assert_eq!(listed["truncated"], false);
    assert_eq!(read, json!({ "path": "src/a b/ü.txt", "content": "hello\n" }));

    assert_eq!(shelf.lab.delete(&format!("{}/src", shelf.path)).send().await.status, 204);
    shelf.read("src/a%20b/%C3%BC.txt").await.assert_error(404, "FILE_NOT_FOUND");
    shelf.lab.delete(&format!("{}/src", shelf.path)).send().await.assert_error(404, "FILE_NOT_FOUND");
}

#[tokio::test]
async fn s22_t22_a_path_that_leaves_the_workspace_is_refused() {
    let shelf = Shelf::new().await;
    for name in [
        "..",
        "../x",
        "a/../../x",
        "%2e%2e/x",
        "..%2fx",
        "%2fetc%2fpasswd",
        "/etc/passwd",
        "a//b",
        ".git/config",
        ".GIT/hooks/pre-commit",
        "a%5c..%5cb",
        "a%00b",
    ] {
        shelf.read(name).await.assert_error(403, "PATH_NOT_ALLOWED");
        shelf.write(name, "x").await.assert_error(403, "PATH_NOT_ALLOWED");
        let deleted = shelf.lab.delete(&format!("{}/{name}", shelf.path)).send().await;
        deleted.assert_error(403, "PATH_NOT_ALLOWED");
    }
}

#[tokio::test]
async fn s42_a_page_in_a_workspace_is_never_served_as_a_page() {
    let shelf = Shelf::new().await;
    let page = "<script>fetch('/api/keys')</script>";
    for name in ["page.html", "page.HTM", "image.svg", "feed.xml", "code.js", "style.css"] {
        assert_eq!(shelf.write(name, page).await.status, 204);

        let shown = shelf.read(&format!("{name}?raw=true")).await;
        assert_eq!((shown.status.as_u16(), shown.text().as_str()), (200, page));
        assert_eq!(shown.header("content-type"), "text/plain; charset=utf-8", "{name}");
        let saved = shelf.read(&format!("{name}?download=true")).await;
        assert!(saved.header("content-disposition").starts_with("attachment;"), "{name}");
        let json = shelf.read(name).await;
        assert_eq!(json.header("content-type"), "application/json", "{name}");
        for answer in [shown, saved] {
            assert!(
                answer.header("content-security-policy").starts_with("sandbox; default-src 'none'"),
                "{name}"
            );
            assert_eq!(answer.header("x-content-type-options"), "nosniff", "{name}");
        }
    }
}

#[tokio::test]
async fn a_name_cannot_leave_its_header() {
    let shelf = Shelf::new().await;
    let name = "a%22;%20filename=evil.exe%0d%0aX-Evil:1";
    assert_eq!(shelf.write(name, "x").await.status, 204);

    let saved = shelf.read(&format!("{name}?download=true")).await;

    let expected = "attachment; filename*=UTF-8''a%22%3B%20filename%3Devil.exe%0D%0AX-Evil%3A1";
    assert_eq!(saved.header("content-disposition"), expected);
    assert_eq!(saved.header("x-evil"), "");
}

#[tokio::test]
async fn folders_have_no_content_and_bad_bodies_write_nothing() {
    let shelf = Shelf::new().await;
    assert_eq!(shelf.write("src/a.txt", "x").await.status, 204);

    shelf.read("src").await.assert_error(400, "INVALID_REQUEST");
    shelf.write("src", "x").await.assert_error(400, "INVALID_REQUEST");
    shelf.write("src/a.txt/b", "x").await.assert_error(400, "INVALID_REQUEST");
    let bad = shelf.lab.put(&format!("{}/b.txt", shelf.path), json!({ "content": 1 })).send().await;
    bad.assert_error(422, "INVALID_BODY");
    shelf.read("b.txt").await.assert_error(404, "FILE_NOT_FOUND");
}

#[tokio::test]
async fn bytes_that_are_no_text_are_read_raw() {
    let shelf = Shelf::new().await;
    let id = shelf.path.split('/').nth(4).expect("an id").parse().expect("an id");
    let files = claw_workspace::Workspaces::open(shelf.lab.folder()).await.expect("workspaces");
    let path = "image.png".parse().expect("a path");
    files.write_file(id, &path, b"\x89PNG\xff", "test").await.expect("a file is written");

    shelf.read("image.png").await.assert_error(422, "FILE_NOT_TEXT");
    let raw = shelf.read("image.png?raw=true").await;

    assert_eq!(raw.body, b"\x89PNG\xff");
    assert_eq!(raw.header("content-type"), "image/png");
    assert_eq!(raw.header("content-disposition"), "inline; filename*=UTF-8''image.png");
}
