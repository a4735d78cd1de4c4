//! The model gateway: agents reach their model API through a socket of ours, and the credential stays with us.
//!
//! Each run gets its own unix socket. What comes in is checked against a short list of routes and for what would make
//! the API reach other hosts, the credential is put in, and the answer is passed through as it comes. The agent behind
//! the socket is hostile: it can use the model, and nothing else of what the credential could do.
//!
//! A request's way: `route` and `request` say whether it may pass, `account` waits until the run's budget has room for
//! it (`admission` is the rule), `pause` until the API takes requests, `turn` asks, and `pump` passes the answer on
//! while `tap` reads how much it used and `bill` charges that at the `prices`. What a request costs is charged however
//! it ends, also when the agent goes away.
//!
//! ```no_run
//! # async fn example(meter: std::sync::Arc<dyn claw_agent::gateway::Meter>) -> Result<(), Box<dyn std::error::Error>> {
//! use claw_agent::gateway::{CredentialSource, Gateway, GatewayConfig};
//! use claw_core::{Secret, SystemClock};
//!
//! let config = GatewayConfig::new(CredentialSource::ApiKey(Secret::new("sk-ant-…")));
//! let gateway = Gateway::new(config, std::sync::Arc::new(SystemClock))?;
//! let session = gateway.open("/run/claw/job/api.sock".as_ref(), meter).await?;
//! // … the agent runs …
//! let report = session.close().await;
//! # Ok(()) }
//! ```

mod account;
mod admission;
mod answer;
mod bill;
mod credential;
mod headers;
mod login;
mod meter;
mod pause;
mod prices;
mod proxy;
mod pump;
mod report;
mod request;
mod retry_after;
mod route;
mod session;
mod sse;
mod state;
mod tap;
mod turn;
mod usage;

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use claw_core::{Clock, Coded, ErrorCode, Secret};
use reqwest::Url;
use tokio::sync::watch;

pub use credential::{Credential, CredentialError, CredentialSource};
pub use login::RefreshError;
pub use meter::{Allowance, Meter, MeterError};
pub use prices::ModelPrice;
pub use report::{ErrorOrigin, GatewayReport, UpstreamError};
pub use session::GatewaySession;
pub(crate) use session::MAX_SOCKET_PATH_BYTES;
pub use state::{LoginState, LoginStatus, ModelState};

use credential::CredentialStore;
use pause::Pauses;
use prices::PriceList;

/// How the gateway works.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Where the model API is.
    pub upstream: Url,
    /// Where the credential comes from.
    pub credential: CredentialSource,
    /// Where a Claude login is renewed.
    pub token_endpoint: Url,
    /// Prices of one's own, by the name of the model or its beginning; the others are the list prices.
    pub prices: BTreeMap<String, ModelPrice>,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for the beginning of an answer. An answer that is not streamed begins when it is complete.
    pub answer_timeout: Duration,
    /// Longest silence within an answer. The API sends a ping every few seconds; the CLI itself would wait 5 minutes.
    pub idle_timeout: Duration,
    /// Largest request body in bytes, held in memory while it is checked. The API itself refuses more than 32 MB.
    pub max_request_bytes: usize,
    /// Most connections of one run. Sub-agents talk at the same time.
    pub max_connections: usize,
}

impl GatewayConfig {
    /// Returns the usual settings with this credential.
    pub fn new(credential: CredentialSource) -> Self {
        Self {
            upstream: Url::parse("https://api.anthropic.com").expect("a constant address parses"),
            credential,
            token_endpoint: Url::parse("https://platform.claude.com/v1/oauth/token")
                .expect("a constant address parses"),
            prices: BTreeMap::new(),
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(600),
            idle_timeout: Duration::from_secs(120),
            max_request_bytes: 32 * 1024 * 1024,
            max_connections: 32,
        }
    }
}

/// What can go wrong with the gateway itself.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The address of the model API cannot be used.
    #[error(
        "the model API's address must begin with http:// or https:// and hold no user name, query or fragment"
    )]
    Upstream,
    /// A price is no price.
    #[error("the price of `{0}` is no price: give dollars per million tokens, 0 or more")]
    Price(String),
    /// The HTTP client cannot be set up.
    #[error(
        "could not set up the client for the model API; check that the machine has CA certificates (package ca-certificates)"
    )]
    Client(#[source] reqwest::Error),
    /// The socket cannot be opened.
    #[error("could not open the model gateway's socket; check the data directory's space and permissions")]
    Socket(#[source] std::io::Error),
}

impl Coded for GatewayError {
    fn code(&self) -> ErrorCode {
        ErrorCode::Internal
    }
}

/// Opens sockets through which agents reach the model API. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gateway {
    shared: Arc<Shared>,
}

struct Shared {
    config: GatewayConfig,
    credentials: CredentialStore,
    pauses: Pauses,
    prices: PriceList,
    clock: Arc<dyn Clock>,
    client: reqwest::Client,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Gateway {
    /// Returns a gateway. Makes no connection yet. `clock` tells when a login ran out.
    ///
    /// # Errors
    ///
    /// Fails if the upstream address is not plain http(s), or if the machine lacks CA certificates.
    pub fn new(config: GatewayConfig, clock: Arc<dyn Clock>) -> Result<Self, GatewayError> {
        let upstream = &config.upstream;
        let plain = matches!(upstream.scheme(), "http" | "https")
            && upstream.username().is_empty()
            && upstream.password().is_none()
            && upstream.query().is_none()
            && upstream.fragment().is_none();
        if !plain {
            return Err(GatewayError::Upstream);
        }
        // An error says that a provider is installed already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(config.connect_timeout)
            .build()
            .map_err(GatewayError::Client)?;
        let prices = PriceList::new(&config.prices).map_err(GatewayError::Price)?;
        let credentials = CredentialStore::new(
            config.credential.clone(),
            config.token_endpoint.clone(),
            client.clone(),
            clock.clone(),
        );
        let pauses = Pauses::new(clock.clone());
        Ok(Self { shared: Arc::new(Shared { config, credentials, pauses, prices, clock, client }) })
    }

    /// Opens `socket`, which any user who can reach its folder may connect to. A file of that name is replaced. What is
    /// asked through it is charged to `meter`, and goes no further than that allows.
    ///
    /// # Errors
    ///
    /// Fails if the socket cannot be made.
    pub async fn open(&self, socket: &Path, meter: Arc<dyn Meter>) -> Result<GatewaySession, GatewayError> {
        GatewaySession::open(self.shared.clone(), socket, meter).map_err(GatewayError::Socket)
    }

    /// Returns whether the model API takes requests.
    pub fn model_state(&self) -> ModelState {
        self.shared.pauses.state()
    }

    /// Returns what tells of changes of [`Gateway::model_state`].
    pub fn model_changed(&self) -> watch::Receiver<ModelState> {
        self.shared.pauses.subscribe()
    }

    /// Returns how the credential stands, looking at the login file if there is one.
    pub async fn login(&self) -> LoginState {
        self.shared.credentials.state().await
    }

    /// Returns the secret that would be used now, for whoever keeps it out of what agents leave behind; `None` if there
    /// is none. A login that is about to run out is renewed.
    pub async fn secret(&self) -> Option<Secret> {
        match self.shared.credentials.current().await.ok()? {
            Credential::ApiKey(secret) | Credential::Bearer(secret) | Credential::Oauth(secret) => {
                Some(secret)
            }
        }
    }

    /// Waits until nothing is under way that must not be cut short, which is the renewal of a login.
    pub async fn settled(&self) {
        self.shared.credentials.settled().await;
    }

    /// Returns the kind of the credential that would be used now, such as `API key`.
    ///
    /// # Errors
    ///
    /// Says why there is none and how to mend that.
    pub async fn credential_kind(&self) -> Result<&'static str, CredentialError> {
        Ok(self.shared.credentials.current().await?.kind())
    }
}
