use crate::{
    access::operations,
    lab::{Lab, Options},
};

#[tokio::test]
async fn the_first_page_tells_how_to_finish_set_up_and_later_how_things_stand() {
    let lab = Lab::before_setup(Options::default()).await;

    let before = lab.get("/").send().await;
    assert_eq!(before.header("content-type"), "text/html; charset=utf-8");
    assert!(before.text().contains("Set-up is not finished") && before.text().contains("/api/auth/setup"));
    assert!(!before.text().contains(&lab.setup_token));

    let lab = Lab::new().await;
    lab.job("x").await;
    let after = lab.get("/").anonymous().send().await.text();
    assert!(after.contains("<dt>Waiting</dt><dd>1</dd>"), "{after}");
    assert!(after.contains("1.2.3") && after.contains("/docs") && after.contains("/api/openapi.json"));
}

#[tokio::test]
async fn without_the_store_the_first_page_says_so() {
    let mut lab = Lab::new().await;
    lab.cut_store().await;

    assert!(lab.get("/").send().await.text().contains("The store does not answer"));
}

#[tokio::test]
async fn the_reference_shows_every_operation() {
    let lab = Lab::new().await;
    let page = lab.get("/docs").anonymous().send().await.text();

    for operation in operations() {
        let head = format!("{}</span><code>{}</code>", operation.method.to_uppercase(), operation.path);
        assert!(page.contains(&head), "{head}");
        if let Some(scope) = operation.scope.filter(|scope| scope != "any") {
            assert!(page.contains(&format!("needs scope {scope}")), "{scope}");
        }
    }
}

#[tokio::test]
async fn s43_pages_load_nothing_but_our_style() {
    let lab = Lab::new().await;
    for path in ["/", "/docs"] {
        let page = lab.get(path).send().await.text();
        for foreign in ["<script", "style=", "onclick", "src=\"http", "href=\"http", "@import"] {
            assert!(!page.contains(foreign), "{path} holds {foreign}");
        }
    }
    let style = lab.get("/assets/app.css").send().await;
    assert_eq!(style.header("content-type"), "text/css; charset=utf-8");
    assert!(!style.text().contains("url("));
}
