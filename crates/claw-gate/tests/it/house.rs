//! A gate over a SQLite store in a folder of its own, with a clock that tests move and a store that tests break.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use claw_core::{Actor, ManualClock, Role, Scope, Secret, Timestamp};
use claw_gate::{
    Credential, FirstAdmin, Gate, GateConfig, GateError, KeyChange, KeyMeta, NewKey, SetupState,
};
use claw_store::{
    Document, DocumentFilter, DocumentPage, Documents, NewDocument, Precondition, Store, StoreError, Streams,
    sqlite::{SqliteOptions, SqliteStore},
};
use tempfile::TempDir;

/// An address of the documentation network.
pub(crate) fn client(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

pub(crate) const PASSWORD: &str = "correct horse battery";

pub(crate) struct House {
    pub(crate) folder: TempDir,
    pub(crate) documents: Arc<Breakable>,
    pub(crate) store: Store,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) gate: Gate,
}

impl House {
    /// A house where nobody has been yet. The gate has been started.
    pub(crate) async fn new() -> Self {
        Self::build(None).await
    }

    /// A house whose configuration has a token.
    pub(crate) async fn with_api_token(token: &str) -> Self {
        Self::build(Some(token)).await
    }

    async fn build(api_token: Option<&str>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store =
            SqliteStore::open(&folder.path().join("claw.db"), SqliteOptions::default()).expect("a store");
        let store = store.store();
        let documents = Arc::new(Breakable::new(Arc::clone(&store.documents)));
        let store = Store { documents: documents.clone(), ..store };
        let clock = Arc::new(ManualClock::new("2026-03-20T12:00:00Z".parse().expect("a time")));
        let gate = gate_in(folder.path(), api_token, &store, &clock);
        gate.start(None).await.expect("a start");
        Self { folder, documents, store, clock, gate }
    }

    /// Another server over the same store and folder, or the same one after a restart; not started.
    pub(crate) fn another_gate(&self, api_token: Option<&str>) -> Gate {
        gate_in(self.folder.path(), api_token, &self.store, &self.clock)
    }

    /// A gate whose audit trail goes elsewhere.
    pub(crate) fn gate_with_streams(&self, streams: Arc<dyn Streams>) -> Gate {
        let store = Store { streams, ..self.store.clone() };
        gate_in(self.folder.path(), None, &store, &self.clock)
    }

    /// Streams that are closed.
    pub(crate) async fn closed_streams(&self) -> Arc<dyn Streams> {
        let path = self.folder.path().join("closed.db");
        let store = SqliteStore::open(&path, SqliteOptions::default()).expect("a store");
        let streams = store.store().streams;
        store.close().await;
        streams
    }

    /// A gate over another store file.
    pub(crate) fn gate_on_copy(&self, path: &Path) -> Gate {
        let store = SqliteStore::open(path, SqliteOptions::default()).expect("a store").store();
        gate_in(self.folder.path(), None, &store, &self.clock)
    }

    /// The setup token that the start shows.
    pub(crate) async fn setup_token(&self) -> Secret {
        match self.gate.start(None).await.expect("a start") {
            SetupState::Required { token } => token,
            SetupState::Done => panic!("set-up is done"),
        }
    }

    /// Finishes set-up with a key that may do everything.
    pub(crate) async fn admin_key(&self) -> (Secret, Actor) {
        let token = self.setup_token().await;
        let (key, _meta) = self
            .gate
            .setup_with_key(&token, "first", BTreeSet::from([Scope::All]), client(1))
            .await
            .expect("a finished set-up");
        let actor = self.enter(&key).await.expect("a good key");
        (key, actor)
    }

    /// Makes a further key.
    pub(crate) async fn key(&self, by: &Actor, role: Role, scopes: &[Scope]) -> (Secret, KeyMeta) {
        self.gate.create_key(by, new_key("another", set(scopes), role)).await.expect("a key")
    }

    /// Makes an agent's key and comes in with it.
    pub(crate) async fn agent(&self, by: &Actor, scopes: &[Scope]) -> Actor {
        let (key, _meta) = self.key(by, Role::Agent, scopes).await;
        self.enter(&key).await.expect("a good key")
    }

    /// Makes a person and signs them in.
    pub(crate) async fn person(&self, by: &Actor, username: &str, role: Role) -> (Secret, Actor) {
        self.gate.create_user(by, username, &Secret::new(PASSWORD), role).await.expect("a user");
        let (cookie, _view) =
            self.gate.login(username, &Secret::new(PASSWORD), client(2), None).await.expect("a session");
        let actor = self.enter_with(Credential::Session(cookie.clone())).await.expect("a good session");
        (cookie, actor)
    }

    pub(crate) async fn enter(&self, key: &Secret) -> Result<Actor, GateError> {
        self.enter_with(Credential::ApiKey(key.clone())).await
    }

    pub(crate) async fn enter_with(&self, credential: Credential) -> Result<Actor, GateError> {
        self.gate.authenticate(credential, client(3)).await
    }

    pub(crate) fn now(&self) -> Timestamp {
        use claw_core::Clock as _;
        self.clock.now()
    }
}

pub(crate) fn new_key(label: &str, scopes: BTreeSet<Scope>, role: Role) -> NewKey {
    NewKey { label: label.to_owned(), scopes, role, max_usd_per_day: None, expires_at: None }
}

pub(crate) fn key_change(label: Option<&str>, scopes: Option<BTreeSet<Scope>>) -> KeyChange {
    KeyChange { label: label.map(str::to_owned), scopes, ..KeyChange::default() }
}

pub(crate) fn set(scopes: &[Scope]) -> BTreeSet<Scope> {
    scopes.iter().copied().collect()
}

pub(crate) fn first_admin(username: &str, password: &str) -> Option<FirstAdmin> {
    Some(FirstAdmin { username: username.into(), password: Secret::new(password) })
}

fn gate_in(folder: &Path, api_token: Option<&str>, store: &Store, clock: &Arc<ManualClock>) -> Gate {
    let config = GateConfig { api_token: api_token.map(Secret::new), data_dir: folder.to_owned() };
    Gate::new(config, store.clone(), clock.clone()).expect("a gate")
}

/// Documents that fail when told to, and count what is asked of them.
pub(crate) struct Breakable {
    inner: Arc<dyn Documents>,
    broken: AtomicBool,
    refused_kind: Mutex<Option<&'static str>>,
    reads: AtomicUsize,
    writes: AtomicUsize,
}

impl Breakable {
    fn new(inner: Arc<dyn Documents>) -> Self {
        Self {
            inner,
            broken: AtomicBool::new(false),
            refused_kind: Mutex::new(None),
            reads: AtomicUsize::new(0),
            writes: AtomicUsize::new(0),
        }
    }

    /// From now on nothing works, or everything again.
    pub(crate) fn set_broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::SeqCst);
    }

    /// From now on writes of this kind are refused, or none any more.
    pub(crate) fn refuse_writes_of(&self, kind: Option<&'static str>) {
        *self.refused_kind.lock().expect("a lock") = kind;
    }

    /// Calls that read and calls that write since the last look.
    pub(crate) fn take_calls(&self) -> (usize, usize) {
        (self.reads.swap(0, Ordering::SeqCst), self.writes.swap(0, Ordering::SeqCst))
    }

    fn read(&self) -> Result<(), StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if self.broken.load(Ordering::SeqCst) { Err(gone()) } else { Ok(()) }
    }

    fn write(&self, kind: &'static str) -> Result<(), StoreError> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        let refused = *self.refused_kind.lock().expect("a lock") == Some(kind);
        if refused || self.broken.load(Ordering::SeqCst) { Err(gone()) } else { Ok(()) }
    }
}

fn gone() -> StoreError {
    StoreError::Unavailable { reason: "the disk is gone".into() }
}

#[async_trait]
impl Documents for Breakable {
    async fn get(&self, kind: &'static str, id: &str) -> Result<Option<Document>, StoreError> {
        self.read()?;
        self.inner.get(kind, id).await
    }

    async fn put(&self, document: NewDocument, precondition: Precondition) -> Result<u64, StoreError> {
        self.write(document.kind)?;
        self.inner.put(document, precondition).await
    }

    async fn delete(
        &self,
        kind: &'static str,
        id: &str,
        precondition: Precondition,
    ) -> Result<bool, StoreError> {
        self.write(kind)?;
        self.inner.delete(kind, id, precondition).await
    }

    async fn list(&self, kind: &'static str, filter: DocumentFilter) -> Result<DocumentPage, StoreError> {
        self.read()?;
        self.inner.list(kind, filter).await
    }

    async fn count(&self, kind: &'static str) -> Result<u64, StoreError> {
        self.read()?;
        self.inner.count(kind).await
    }
}
