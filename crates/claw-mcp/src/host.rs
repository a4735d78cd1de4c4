//! A ClawMachine server as tools see it, and one or many of them.

use std::sync::{Arc, PoisonError, RwLock};

use claw_client::{Client, ClientError, KeyMeta};
use claw_core::Scope;
use tokio::sync::watch;

/// What is known about a host and the key that is used on it.
#[derive(Clone, Debug)]
pub enum Standing {
    /// Nobody has asked yet.
    Unknown,
    /// The host answered, and knows the key.
    Up(Arc<KeyMeta>),
    /// The host did not answer, or does not know the key; the text says which, for people.
    Down(Arc<str>),
}

impl Standing {
    /// Tells whether the key holds `scope`. `*` holds all.
    pub fn permits(&self, scope: Scope) -> bool {
        let Standing::Up(meta) = self else { return false };
        meta.scopes.iter().any(|held| held == scope.as_str() || held == Scope::All.as_str())
    }

    /// Tells whether both permit the same.
    fn permits_like(&self, other: &Self) -> bool {
        let scopes = |standing: &Self| match standing {
            Self::Up(meta) => Some(meta.scopes.clone()),
            Self::Unknown | Self::Down(_) => None,
        };
        scopes(self) == scopes(other)
    }
}

/// One server and the key used on it.
#[derive(Debug)]
pub struct Host {
    name: String,
    label: String,
    client: Client,
    standing: RwLock<Standing>,
    /// Counts the changes of all hosts that belong together.
    changes: watch::Sender<u64>,
}

impl Host {
    /// Returns a host that nobody has asked yet.
    pub fn new(name: impl Into<String>, label: impl Into<String>, client: Client) -> Self {
        let standing = RwLock::new(Standing::Unknown);
        Self { name: name.into(), label: label.into(), client, standing, changes: watch::Sender::new(0) }
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
        self.standing.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the host about the key, and keeps the answer.
    ///
    /// # Errors
    ///
    /// What went wrong; it is kept as [`Standing::Down`] too.
    pub async fn refresh(&self) -> Result<Arc<KeyMeta>, ClientError> {
        let asked = self.client.setup_status().await.and_then(|status| {
            status.into_value().meta.map(Arc::new).ok_or_else(|| {
                ClientError::new(claw_core::ErrorCode::InvalidKey, "the server does not know this API key")
            })
        });
        let standing = match &asked {
            Ok(meta) => Standing::Up(Arc::clone(meta)),
            Err(error) => Standing::Down(error.to_string().into()),
        };
        let before = {
            let mut held = self.standing.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *held, standing.clone())
        };
        if !standing.permits_like(&before) {
            self.changes.send_modify(|count| *count = count.wrapping_add(1));
        }
        asked
    }
}

/// The hosts that tools may use, in the order of their configuration.
#[derive(Debug)]
pub struct Hosts {
    list: Vec<Arc<Host>>,
    many: bool,
    changes: watch::Sender<u64>,
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
        let changes = watch::Sender::new(0);
        let list =
            hosts.into_iter().map(|host| Arc::new(Host { changes: changes.clone(), ..host })).collect();
        Self { list, many, changes }
    }

    /// Returns what changes each time one of them permits something else than before, is gone or comes back.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
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
