//! Another catalog behind ours, in the original's format, by the address of its manifest.
//!
//! What was read is kept on disk with its ETag, so that the catalog is there without the network, and asking again
//! costs next to nothing. Its apps are judged as anything else is, without exceptions.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use claw_core::Clock;
use reqwest::{Client, StatusCode, Url, header};
use sha2::{Digest as _, Sha256};

use super::{
    App, MarketplaceError,
    files::{Folder, OPEN},
    original,
};

/// How long a fetch may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Largest answer in bytes.
const MAX_BYTES: usize = 2 * 1024 * 1024;

/// How long the list counts before it is asked for again.
const FRESH_SECS: u64 = 10 * 60;

/// How long after a failure it is asked for again.
const RETRY_SECS: u64 = 60;

/// A catalog on the web. Cheap to clone.
#[derive(Clone)]
pub struct Remote {
    inner: Arc<Inner>,
}

struct Inner {
    manifest: Url,
    folder: Folder,
    client: Client,
    clock: Arc<dyn Clock>,
    /// When the list was last asked for, in seconds; 0 for never.
    asked: AtomicU64,
}

impl Remote {
    /// Returns the catalog at `manifest`, an address that ends in `/manifest.json`. What is read is kept in `folder`.
    ///
    /// # Errors
    ///
    /// [`MarketplaceError::Remote`] if the address is none of a manifest.
    pub fn new(
        manifest: &str,
        folder: impl Into<PathBuf>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, MarketplaceError> {
        let wrong = |reason: &str| MarketplaceError::Remote { reason: reason.to_owned() };
        let manifest = Url::parse(manifest).map_err(|_| wrong("it is no address"))?;
        if !matches!(manifest.scheme(), "https" | "http") || !manifest.path().ends_with("/manifest.json") {
            return Err(wrong("it does not begin with https:// and end in /manifest.json"));
        }
        // An error says that a provider is installed already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .timeout(LIMIT)
            // Where it was set up to go, and nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("clawmachine/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| wrong(&error.to_string()))?;
        let folder = Folder::new(folder);
        Ok(Self { inner: Arc::new(Inner { manifest, folder, client, clock, asked: AtomicU64::new(0) }) })
    }

    /// Returns the list, or `None` if it was asked for a short while ago.
    pub(crate) async fn list(&self) -> Result<Option<Vec<App>>, MarketplaceError> {
        let now = self.inner.clock.now().as_second().unsigned_abs();
        let before = self.inner.asked.load(Ordering::Relaxed);
        if before != 0 && now.abs_diff(before) < FRESH_SECS {
            return Ok(None);
        }
        // One asks; the others keep what they have.
        if self.inner.asked.compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return Ok(None);
        }
        let read = self.fetch(self.inner.manifest.clone(), |text| original::manifest(text.as_bytes())).await;
        if read.is_err() {
            self.inner.asked.store(now.saturating_sub(FRESH_SECS - RETRY_SECS), Ordering::Relaxed);
        }
        Ok(Some(read?.into_iter().map(App::listed).collect()))
    }

    /// Returns an app of the list with its compose file.
    pub(crate) async fn app(&self, listed: &App) -> Result<App, MarketplaceError> {
        let mut address = self.inner.manifest.clone();
        // The id is a slug and the path ends as it was checked to.
        let folder = address.path().trim_end_matches("/manifest.json").to_owned();
        address.set_path(&format!("{folder}/apps/{}.md", listed.about.id));
        let entry = |text: &str| {
            original::markdown(text).map_err(|reason| format!("the entry of `{}`: {reason}", listed.about.id))
        };
        let read = self.fetch(address, entry).await?;
        let about = super::About { variables: read.variables, ..(*listed.about).clone() };
        Ok(App { about: Arc::new(about), compose: read.compose.into(), ..listed.clone() })
    }

    /// Fetches what `read` makes of a text. Takes the text from before if nothing changed, there is no answer, or the
    /// answer makes no sense; one that makes no sense is not kept.
    async fn fetch<T>(
        &self,
        address: Url,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, MarketplaceError> {
        let name = hex(&Sha256::digest(address.as_str().as_bytes())[..16]);
        // What was kept by another version may be nothing to this one, and is asked for anew then.
        let kept = self.kept(&name).await.and_then(|(tag, text)| Some((tag, read(&text).ok()?)));
        let (before, kept) = kept.unzip();
        let answer = match self.ask(address, before.as_deref()).await {
            Ok(Some((tag, text))) => read(&text).map(|read| Some((tag, text, read))),
            Ok(None) => Ok(None),
            Err(reason) => Err(reason),
        };
        match (answer, kept) {
            (Ok(Some((tag, text, read))), _) => {
                self.keep(name, format!("{tag}\n{text}")).await;
                Ok(read)
            }
            (Ok(None), Some(kept)) => Ok(kept),
            (Ok(None), None) => Err(MarketplaceError::Remote {
                reason: "it says that nothing changed, and was never read".into(),
            }),
            (Err(reason), Some(kept)) => {
                tracing::warn!(reason, "the other catalog cannot be read; it is shown as it was");
                Ok(kept)
            }
            (Err(reason), None) => Err(MarketplaceError::Remote { reason }),
        }
    }

    async fn keep(&self, name: String, content: String) {
        let folder = self.inner.folder.clone();
        let written = tokio::task::spawn_blocking(move || {
            folder.make(0o700)?;
            folder.write(&name, &content, OPEN)
        });
        if let Ok(Err(error)) = written.await {
            tracing::warn!(%error, "what the other catalog says is not kept");
        }
    }

    /// `Ok(None)`: what has this tag is what there is.
    async fn ask(&self, address: Url, tag: Option<&str>) -> Result<Option<(String, String)>, String> {
        let mut request = self.inner.client.get(address);
        if let Some(tag) = tag.filter(|tag| !tag.is_empty()) {
            request = request.header(header::IF_NONE_MATCH, tag);
        }
        let mut answer = request.send().await.map_err(|error| innermost(&error))?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED => return Ok(None),
            status => return Err(format!("it answers {}", status.as_u16())),
        }
        let tag = answer.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok()).unwrap_or_default();
        let tag = tag.lines().next().unwrap_or_default().to_owned();
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| innermost(&error))? {
            if body.len() + piece.len() > MAX_BYTES {
                return Err(format!("it answers with more than {MAX_BYTES} bytes"));
            }
            body.extend_from_slice(&piece);
        }
        let text = String::from_utf8(body).map_err(|_| "it answers with what is no text".to_owned())?;
        Ok(Some((tag, text)))
    }

    /// The tag and the text from before.
    async fn kept(&self, name: &str) -> Option<(String, String)> {
        let (folder, name) = (self.inner.folder.clone(), name.to_owned());
        let read = tokio::task::spawn_blocking(move || folder.read_up_to(&name, MAX_BYTES as u64 + 1024));
        // A cache that cannot be read is as good as none.
        let text = read.await.ok()?.ok()??;
        let (tag, text) = text.split_once('\n')?;
        Some((tag.to_owned(), text.to_owned()))
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The outer errors of the client say only that something failed.
fn innermost(error: &reqwest::Error) -> String {
    let mut error: &dyn std::error::Error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
