//! The suite that every engine passes.

use claw_store::{
    conformance::Fixture,
    sqlite::{SqliteOptions, SqliteStore},
};

async fn open() -> Fixture {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let opened =
        SqliteStore::open(&folder.path().join("store.db"), SqliteOptions::default()).expect("a store");
    Fixture { store: opened.store(), guard: Box::new((opened, folder)) }
}

claw_store::conformance_suite!(open);
