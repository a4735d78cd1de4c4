//! A fake of the Messages API that speaks the real streaming protocol, scripted through the prompt.
//!
//! The prompt carries what the model shall do: `FAKE:` and a JSON array, one step for each assistant turn.
//!
//! ```text
//! FAKE:[{"tool":"Bash","input":{"command":"pwd"}},{"text":"done"}]
//! FAKE:[{"tools":[{"tool":"Write","input":{…}},{"tool":"Bash","input":{…}}]},{"text":"ok"}]
//! FAKE:[{"error":529,"times":2},{"text":"recovered"}]    times: how often before going on; -1 is always
//! FAKE:[{"error":429,"times":1,"retry_after":1,"message":"slow down"},{"text":"fine"}]
//! FAKE:[{"text":"slow","delay":5}]                       seconds before the first byte
//! FAKE:[{"text":"a b c","chunk_delay":0.2}]              seconds between words
//! FAKE:[{"hold":"gate"},{"text":"after"}]                waits until the test calls `release("gate")`
//! FAKE:[{"text":"a b","hold_after_first_word":"gate"}]   sends "a ", waits, sends "b"
//! FAKE:[{"stream":"garbage"}]     also: empty, bad_json, truncate, reset, hang, error_event, no_message_stop
//! FAKE:[{"text":"x","usage":{"input_tokens":10,"output_tokens":5}}]
//! FAKE:[{"text":"x","thinking":"hm","stop_reason":"max_tokens","model":"claude-x"}]
//! FAKE:[{"echo":true}]            a JSON summary of the request: model, tool names, number of messages
//! ```
//!
//! Without a script, and after its last step, the answer is the default text. The server runs on a thread of its own, so
//! a test may block, and ends when [`FakeApi`] is dropped.

mod answer;
mod oauth;
mod script;
mod server;

use std::{
    collections::{HashMap, HashSet},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use hyper::HeaderMap;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::{oauth::Login, script::Step, server::Listener};

/// How long the `wait_for_…` methods wait before they fail the test: the slowest machine starts a CLI in less.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request as it came.
#[derive(Clone, Debug)]
pub struct RecordedRequest {
    /// The HTTP method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as JSON; null when there was none or it was not JSON.
    pub body: Value,
}

impl RecordedRequest {
    /// Returns the value of a header, if it was sent and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns whether this is a call for a message, rather than a probe or a count of tokens.
    pub fn is_message(&self) -> bool {
        self.method == "POST" && self.path.split('?').next() == Some("/v1/messages")
    }
}

/// How a fake API answers; [`FakeApi::builder`] makes one.
#[derive(Clone, Debug)]
pub struct FakeApiBuilder {
    default_text: String,
    require_key: Option<String>,
    login: Option<Login>,
}

impl FakeApiBuilder {
    /// Sets the answer to prompts without a script; `ok` unless set.
    #[must_use]
    pub fn default_text(mut self, text: impl Into<String>) -> Self {
        self.default_text = text.into();
        self
    }

    /// Answers 401 unless `x-api-key` or a bearer token equals `key`.
    #[must_use]
    pub fn require_key(mut self, key: impl Into<String>) -> Self {
        self.require_key = Some(key.into());
        self
    }

    /// Answers 401 unless the bearer token is that of the login, which begins as these two tokens and is renewed at
    /// [`FakeApi::token_endpoint`].
    #[must_use]
    pub fn login(mut self, access_token: &str, refresh_token: &str) -> Self {
        self.login = Some(Login::new(access_token, refresh_token));
        self
    }

    /// Starts the server on a free loopback port.
    pub async fn start(self) -> FakeApi {
        self.start_on(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a loopback port is free")
    }

    /// Starts the server on `address`.
    ///
    /// # Errors
    ///
    /// Fails when the address is taken or is not an address of this machine.
    pub fn start_on(self, address: SocketAddr) -> io::Result<FakeApi> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let base_url = format!("http://{}", listener.local_addr()?);
        FakeApi::run(self, base_url, None, move || {
            tokio::net::TcpListener::from_std(listener).map(Listener::Tcp)
        })
    }

    /// Starts the server on a unix socket at `path`, which every user of this machine may connect to.
    pub async fn start_unix(self, path: impl Into<PathBuf>) -> FakeApi {
        let path = path.into();
        let bind = || -> io::Result<std::os::unix::net::UnixListener> {
            let listener = std::os::unix::net::UnixListener::bind(&path)?;
            // A sandbox runs as another user than the test.
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let listener = bind().unwrap_or_else(|error| panic!("cannot listen on {}: {error}", path.display()));
        FakeApi::run(self, "http://localhost".to_owned(), Some(path), move || {
            tokio::net::UnixListener::from_std(listener).map(Listener::Unix)
        })
        .expect("the server's thread starts")
    }
}

/// A running fake API. Dropping it ends the server and all its connections.
#[derive(Debug)]
pub struct FakeApi {
    shared: Arc<Shared>,
    base_url: String,
    socket: Option<PathBuf>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl FakeApi {
    /// Returns a builder for a server that is not the plain one.
    pub fn builder() -> FakeApiBuilder {
        FakeApiBuilder { default_text: "ok".to_owned(), require_key: None, login: None }
    }

    /// Starts a server on a free loopback port that accepts any key.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Starts a server on a unix socket at `path` that accepts any key.
    pub async fn start_unix(path: impl Into<PathBuf>) -> Self {
        Self::builder().start_unix(path).await
    }

    fn run(
        options: FakeApiBuilder,
        base_url: String,
        socket: Option<PathBuf>,
        listen: impl FnOnce() -> io::Result<Listener> + Send + 'static,
    ) -> io::Result<Self> {
        let state = State { login: options.login.clone(), ..State::default() };
        let shared = Arc::new(Shared { options, state: Mutex::new(state), changed: watch::Sender::new(()) });
        let stop = CancellationToken::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("fake-api".to_owned()).spawn({
            let (shared, stop) = (Arc::clone(&shared), stop.clone());
            move || {
                runtime.block_on(async {
                    match listen() {
                        Ok(listener) => server::serve(listener, shared, stop).await,
                        Err(error) => panic!("the listener cannot be used: {error}"),
                    }
                });
            }
        })?;
        Ok(Self { shared, base_url, socket, stop, thread: Some(thread) })
    }

    /// Returns what to set as `ANTHROPIC_BASE_URL`; `http://localhost` for a server on a unix socket.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Returns what to set as `ANTHROPIC_UNIX_SOCKET` when the server listens on a unix socket.
    pub fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    /// Returns where the login is renewed. A token that renews is good for one renewal, and a used one is refused.
    pub fn token_endpoint(&self) -> String {
        format!("{}/v1/oauth/token", self.base_url)
    }

    /// Returns how often the login was renewed, and how often a renewal was asked for that was not granted.
    pub fn renewals(&self) -> (usize, usize) {
        self.shared.state().login.as_ref().map_or((0, 0), |login| (login.renewals, login.refusals))
    }

    /// Answers the next `times` requests for a renewal with this status.
    pub fn fail_renewals(&self, status: u16, times: usize) {
        self.shared.change(|state| {
            if let Some(login) = &mut state.login {
                login.failing = (status, times);
            }
        });
    }

    /// Makes the login's token count no more, as if it had been renewed elsewhere: that gave out these two.
    pub fn replace_login(&self, access_token: &str, refresh_token: &str) {
        self.shared.change(|state| {
            if let Some(login) = &mut state.login {
                login.access = access_token.to_owned();
                login.refresh = refresh_token.to_owned();
            }
        });
    }

    /// Returns all requests so far, probes included, oldest first.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.shared.state().requests.clone()
    }

    /// Returns the calls for a message so far, oldest first.
    pub fn message_requests(&self) -> Vec<RecordedRequest> {
        self.shared.state().messages().cloned().collect()
    }

    /// Makes the next `times` (a field of `step`; 1 if absent, negative is always) calls for a message answer with
    /// `step`, whatever their prompt says. `{"times":0}` ends an earlier order.
    ///
    /// # Panics
    ///
    /// Panics when `step` is not a step.
    pub fn force(&self, step: Value) {
        let step = Step::deserialize(&step).unwrap_or_else(|error| panic!("`{step}` is not a step: {error}"));
        self.shared.state().forced = Some((step.times.unwrap_or(1), step));
    }

    /// Lets all steps that hold at `name` go on, now and later.
    pub fn release(&self, name: &str) {
        self.shared.change(|state| {
            state.released.insert(name.to_owned());
        });
    }

    /// Waits until `count` calls for a message have come since the start, and returns the last of these.
    ///
    /// # Panics
    ///
    /// Panics when they do not come within a minute, like the other `wait_for_…` methods.
    pub async fn wait_for_request(&self, count: usize) -> RecordedRequest {
        self.wait_for(&format!("{count} calls for a message"), |state| {
            state.messages().nth(count.checked_sub(1)?).cloned()
        })
        .await
    }

    /// Waits until a step holds at `name`: the client has sent its request and waits for the answer.
    pub async fn wait_for_hold(&self, name: &str) {
        let held = |state: &State| state.holding.get(name).is_some_and(|count| *count > 0).then_some(());
        self.wait_for(&format!("a step that holds at `{name}`"), held).await;
    }

    /// Waits until no call for a message is under way: each was answered to its end, or its client has gone.
    pub async fn wait_until_idle(&self) {
        self.wait_for("all calls to end", |state| (state.in_flight == 0).then_some(())).await;
    }

    async fn wait_for<T>(&self, what: &str, mut ready: impl FnMut(&State) -> Option<T>) -> T {
        let mut changed = self.shared.changed.subscribe();
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                changed.mark_unchanged();
                if let Some(found) = ready(&self.shared.state()) {
                    return found;
                }
                changed.changed().await.expect("the sender lives as long as this server");
            }
        })
        .await;
        found.unwrap_or_else(|_| {
            let state = self.shared.state();
            let seen: Vec<_> = state.requests.iter().map(|r| format!("{} {}", r.method, r.path)).collect();
            panic!("waited {} s in vain for {what}; requests so far: {seen:?}", PATIENCE.as_secs())
        })
    }
}

impl Drop for FakeApi {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // A panic of the server's thread has been printed, and a second one while dropping would abort the test run.
            drop(thread.join());
        }
        if let Some(socket) = &self.socket {
            // The folder may be gone already; then there is nothing to tidy up.
            drop(std::fs::remove_file(socket));
        }
    }
}

/// What the server and the test share. The lock is held only for short sections without an await.
#[derive(Debug)]
struct Shared {
    options: FakeApiBuilder,
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    requests: Vec<RecordedRequest>,
    /// How often a step with `times` has come, by script, session and step.
    times_seen: HashMap<String, i64>,
    forced: Option<(i64, Step)>,
    released: HashSet<String>,
    holding: HashMap<String, usize>,
    in_flight: usize,
    login: Option<Login>,
}

impl State {
    fn messages(&self) -> impl Iterator<Item = &RecordedRequest> {
        self.requests.iter().filter(|request| request.is_message())
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and wakes all who wait for a change.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state());
        self.changed.send_replace(());
        result
    }

    /// Waits until `name` is released.
    async fn hold(&self, name: &str) {
        let _holding = Holding::new(self, name);
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            if self.state().released.contains(name) || changed.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Counts a step as held at a name for as long as this lives, also when the client goes away meanwhile.
struct Holding<'shared> {
    shared: &'shared Shared,
    name: String,
}

impl<'shared> Holding<'shared> {
    fn new(shared: &'shared Shared, name: &str) -> Self {
        shared.change(|state| *state.holding.entry(name.to_owned()).or_default() += 1);
        Self { shared, name: name.to_owned() }
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.shared.change(|state| {
            if let Some(count) = state.holding.get_mut(&self.name) {
                *count = count.saturating_sub(1);
            }
        });
    }
}
