//! Lists over so many jobs that the engine reads them in its other ways: merged ranges and the search index.

use claw_store::conformance::lists::compare_lists;

use crate::setting::open;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_of_many_jobs_equal_naive_ones_too() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let opened = open(&folder.path().join("store.db"));

    compare_lists(&opened.store(), 3_000, 150).await;

    opened.close().await;
}
