//! A ClawMachine server as tools see it, and one or many of them.

mod watch;

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use claw_client::{Client, ClientError, KeyMeta};
use claw_core::{ErrorCode, Scope};
use futures_util::future::join_all;
use tokio::{
    sync::{Notify, watch as channel},
    time::timeout,
};

/// How long a host may take to tell about the key.
const LONGEST_QUESTION: Duration = Duration::from_secs(30);

/// What is known about a host and the key that is used on it.
#[derive(Clone, Debug)]
pub enum Standing {
    /// Nobody has asked yet.
    Unknown,
    /// The host answered, and knows the key.
    Up(Arc<KeyMeta>),
    /// The host knew the key, and does not answer now. Tools stay as they were, so that what clients keep of them stays
    /// true over a restart of the host; their calls fail until it is back.
    Away {
        /// What it told of the key when it last answered.
        meta: Arc<KeyMeta>,
        /// What went wrong, for people.
        problem: Arc<str>,
    },
    /// The host has not answered yet, or does not know the key; the text says which, for people.
    Down(Arc<str>),
}

impl Standing {
    /// Returns what the host told of the key when it last answered.
    pub fn meta(&self) -> Option<&Arc<KeyMeta>> {
        match self {
            Self::Up(meta) | Self::Away { meta, .. } => Some(meta),
            Self::Unknown | Self::Down(_) => None,
        }
    }

    /// Returns why the host cannot be used now.
    pub fn problem(&self) -> Option<&str> {
        match self {
            Self::Away { problem, .. } | Self::Down(problem) => Some(problem),
            Self::Unknown | Self::Up(_) => None,
        }
    }

    /// Tells whether the host answered when it was last asked.
    pub fn is_up(&self) -> bool {
        matches!(self, Self::Up(_))
    }

    /// Tells whether the key holds `scope`. `*` holds all.
    pub fn permits(&self, scope: Scope) -> bool {
        self.meta().is_some_and(|meta| {
            meta.scopes.iter().any(|held| held == scope.as_str() || held == Scope::All.as_str())
        })
    }

    /// Tells whether both permit the same.
    fn permits_like(&self, other: &Self) -> bool {
        let scopes = |standing: &Self| standing.meta().map(|meta| meta.scopes.clone());
        scopes(self) == scopes(other)
    }

    /// What is known after the host was asked once more.
    fn after(&self, asked: &Result<Arc<KeyMeta>, ClientError>) -> Self {
        match (asked, self.meta()) {
            (Ok(meta), _) => Self::Up(Arc::clone(meta)),
            (Err(error), Some(meta)) if error.is_transient() => {
                Self::Away { meta: Arc::clone(meta), problem: error.to_string().into() }
            }
            (Err(error), _) => Self::Down(error.to_string().into()),
        }
    }
}

/// One server and the key used on it.
#[derive(Debug)]
pub struct Host {
    name: String,
    label: String,
    client: Client,
    known: RwLock<Known>,
    /// Counts the questions, so that an answer that comes late does not take the place of a newer one.
    questions: AtomicU64,
    /// Somebody wants to know whether the host is back.
    wanted: Notify,
    /// Counts the changes of all hosts that belong together.
    changes: channel::Sender<u64>,
}

/// What the newest answer told.
#[derive(Debug)]
struct Known {
    standing: Standing,
    /// Which question it answers.
    question: u64,
}

impl Host {
    /// Returns a host that nobody has asked yet.
    pub fn new(name: impl Into<String>, label: impl Into<String>, client: Client) -> Self {
        Self {
            name: name.into(),
            label: label.into(),
            client,
            known: RwLock::new(Known { standing: Standing::Unknown, question: 0 }),
            questions: AtomicU64::new(0),
            wanted: Notify::new(),
            changes: channel::Sender::new(0),
        }
    }

    /// Returns the same host with what is known of the key already.
    pub fn known(self, meta: KeyMeta) -> Self {
        let standing = Standing::Up(Arc::new(meta));
        Self { known: RwLock::new(Known { standing, question: 0 }), ..self }
    }

    /// Returns its name: the value of the `host` argument.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its label, for people.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Returns the client that calls it with its key.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns what was known when it was last asked.
    pub fn standing(&self) -> Standing {
        self.known.read().unwrap_or_else(PoisonError::into_inner).standing.clone()
    }

    /// Asks the host about the key, and keeps the answer.
    ///
    /// # Errors
    ///
    /// What went wrong; it is kept as the host's standing too.
    pub async fn refresh(&self) -> Result<Arc<KeyMeta>, ClientError> {
        let question = self.questions.fetch_add(1, Ordering::Relaxed) + 1;
        let asked = match timeout(LONGEST_QUESTION, self.client.setup_status()).await {
            Ok(status) => status.and_then(|status| {
                status.into_value().meta.map(Arc::new).ok_or_else(|| {
                    ClientError::new(ErrorCode::InvalidKey, "the server does not know this API key")
                })
            }),
            Err(_elapsed) => {
                let message = format!("no answer from {} in time", self.client.server());
                Err(ClientError::new(ErrorCode::ServerUnreachable, message))
            }
        };
        self.learn(question, &asked);
        asked
    }

    /// Asks the host about the key, and waits at most `patience` for its answer. Returns what is known then.
    pub async fn ask(&self, patience: Duration) -> Standing {
        // The standing tells how it went.
        let _elapsed = timeout(patience, self.refresh()).await;
        let standing = self.standing();
        if !standing.is_up() {
            self.suspect();
        }
        standing
    }

    /// Says that the host may be gone or back: whoever watches it looks at once.
    pub fn suspect(&self) {
        self.wanted.notify_one();
    }

    fn learn(&self, question: u64, asked: &Result<Arc<KeyMeta>, ClientError>) {
        let changed = {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            if known.question > question {
                return;
            }
            let standing = known.standing.after(asked);
            let changed = !standing.permits_like(&known.standing);
            *known = Known { standing, question };
            changed
        };
        if changed {
            self.changes.send_modify(|count| *count = count.wrapping_add(1));
        }
    }
}

/// The hosts that tools may use, in the order of their configuration.
#[derive(Debug)]
pub struct Hosts {
    list: Vec<Arc<Host>>,
    many: bool,
    changes: channel::Sender<u64>,
}

impl Hosts {
    /// One host: tools take no `host` argument.
    pub fn single(host: Host) -> Self {
        Self::new([host], false)
    }

    /// Many hosts (or one that is named): tools take a `host` argument.
    pub fn many(hosts: impl IntoIterator<Item = Host>) -> Self {
        Self::new(hosts, true)
    }

    fn new(hosts: impl IntoIterator<Item = Host>, many: bool) -> Self {
        let changes = channel::Sender::new(0);
        let list =
            hosts.into_iter().map(|host| Arc::new(Host { changes: changes.clone(), ..host })).collect();
        Self { list, many, changes }
    }

    /// Returns what changes each time one of them permits something else than before, is gone or comes back.
    pub fn changes(&self) -> channel::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Asks all hosts about their keys at the same time, and waits at most `patience`: who has not answered by then is
    /// known as before.
    pub async fn refresh(&self, patience: Duration) {
        let asked = join_all(self.iter().map(|host| async move { drop(host.refresh().await) }));
        // The standings tell how it went.
        let _elapsed = timeout(patience, asked).await;
    }

    /// Tells whether tools take a `host` argument.
    pub fn are_named(&self) -> bool {
        self.many
    }

    /// Returns the hosts in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Host>> {
        self.list.iter()
    }

    /// Returns the host with this name.
    pub fn find(&self, name: &str) -> Option<&Arc<Host>> {
        self.list.iter().find(|host| host.name() == name)
    }
}
