//! All apps that can be installed: ours, which are part of the program, and those of an address that the administrator
//! may add.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, RwLock},
};

use super::{App, AppSource, MarketplaceError, remote::Remote};

/// An entry that the build put in.
struct Entry {
    app: &'static str,
    compose: &'static str,
    logo: Option<&'static [u8]>,
}

static BUILT_IN: &[Entry] = include!(concat!(env!("OUT_DIR"), "/apps.rs"));

/// Apps by id. Cheap to clone.
#[derive(Clone)]
pub struct Catalog {
    own: Arc<BTreeMap<String, App>>,
    remote: Option<Remote>,
    /// What the remote catalog listed last. A std lock: held for a look, never across an await.
    listed: Arc<RwLock<Arc<BTreeMap<String, App>>>>,
}

impl Catalog {
    /// Returns the catalog that is part of the program.
    pub fn built_in() -> Self {
        let mut apps = BTreeMap::new();
        for entry in BUILT_IN {
            match App::read(entry.app, entry.compose, entry.logo) {
                Ok(app) => {
                    apps.insert(app.about.id.clone(), app);
                }
                // The tests read every entry, so this is for builds that somebody changed.
                Err(error) => tracing::error!(error, "an entry of the catalog cannot be read"),
            }
        }
        Self::of(apps)
    }

    /// Reads a catalog from a folder laid out like ours: `<id>/app.toml`, `compose.yaml`, `logo.svg`.
    ///
    /// # Errors
    ///
    /// Returns which entry cannot be read, and why.
    pub fn from_folder(folder: &Path) -> Result<Self, String> {
        let mut apps = BTreeMap::new();
        let entries = std::fs::read_dir(folder).map_err(|error| error.to_string())?;
        for entry in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
            let read = |name: &str| {
                let path = entry.join(name);
                std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
            };
            let logo = read("logo.svg").ok();
            let app =
                App::read(&read("app.toml")?, &read("compose.yaml")?, logo.as_deref().map(str::as_bytes))
                    .map_err(|error| format!("{}: {error}", entry.display()))?;
            if entry.file_name().and_then(|name| name.to_str()) != Some(app.about.id.as_str()) {
                return Err(format!("{}: the folder is not named like the app", entry.display()));
            }
            apps.insert(app.about.id.clone(), app);
        }
        Ok(Self::of(apps))
    }

    fn of(apps: BTreeMap<String, App>) -> Self {
        Self { own: Arc::new(apps), remote: None, listed: Arc::default() }
    }

    /// Returns the catalog with another one behind it. Where both have an app, ours counts.
    #[must_use]
    pub fn with_remote(mut self, remote: Remote) -> Self {
        self.remote = Some(remote);
        self
    }

    /// Returns every app, the most popular first. Never waits for the network: another catalog is shown as it was when
    /// it was last read, and read again behind the answer.
    pub fn list(&self) -> Vec<App> {
        let listed = self.listed();
        let others = listed.iter().filter(|(id, _)| !self.own.contains_key(*id)).map(|(_, app)| app);
        let mut apps: Vec<App> = self.own.values().chain(others).cloned().collect();
        apps.sort_by(|one, other| {
            let by = other.about.popularity.total_cmp(&one.about.popularity);
            by.then_with(|| one.about.id.cmp(&other.about.id))
        });
        apps
    }

    /// Returns an app of ours.
    pub fn own(&self, id: &str) -> Option<&App> {
        self.own.get(id)
    }

    /// Returns an app with its compose file.
    ///
    /// # Errors
    ///
    /// [`MarketplaceError::AppNotFound`]; [`MarketplaceError::Remote`] if the other catalog lists it and its entry can
    /// neither be fetched nor was kept from before.
    pub async fn find(&self, id: &str) -> Result<App, MarketplaceError> {
        if let Some(app) = self.own.get(id) {
            return Ok(app.clone());
        }
        let listed = self.listed().get(id).cloned();
        match (&self.remote, listed) {
            (Some(remote), Some(app)) => remote.app(&app).await,
            _ => Err(MarketplaceError::AppNotFound { id: crate::compose::quoted(id) }),
        }
    }

    /// Reads the other catalog again, if there is one and it is time to.
    ///
    /// # Errors
    ///
    /// [`MarketplaceError::Remote`]; what was listed before stays then.
    pub async fn refresh(&self) -> Result<(), MarketplaceError> {
        let Some(remote) = &self.remote else { return Ok(()) };
        if let Some(apps) = remote.list().await? {
            let apps = apps.into_iter().map(|app| (app.about.id.clone(), app)).collect();
            *self.listed.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(apps);
        }
        Ok(())
    }

    /// Tells whether there is another catalog.
    pub fn has_remote(&self) -> bool {
        self.remote.is_some()
    }

    fn listed(&self) -> Arc<BTreeMap<String, App>> {
        Arc::clone(&self.listed.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl App {
    /// Returns an app of another catalog, of which only the list is known so far.
    pub(crate) fn listed(about: super::About) -> Self {
        Self {
            about: Arc::new(about),
            compose: "".into(),
            logo: None,
            grants: Arc::default(),
            source: AppSource::Remote,
        }
    }
}
