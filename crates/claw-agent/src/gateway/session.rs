//! One run's socket: opened for the run, gone with it.

use std::{
    fs::Permissions,
    io,
    os::{
        fd::AsRawFd,
        unix::{fs::PermissionsExt, net::UnixListener as StdUnixListener},
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::fs::{Mode, OFlags};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Meter, Shared,
    account::Account,
    proxy::answer,
    report::{GatewayReport, UpstreamError},
};

/// Longest path that fits a socket address (108 bytes with the NUL).
pub(crate) const MAX_SOCKET_PATH_BYTES: usize = 107;

/// Longest wait for the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// Pause after a failed accept, which means that file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An open socket of the gateway. Dropping it ends its connections and removes the socket.
#[derive(Debug)]
pub struct GatewaySession {
    socket: PathBuf,
    state: Arc<SessionState>,
}

/// Most bytes of request bodies that one run's requests hold in memory together.
const MAX_BODIES_BYTES: usize = 128 * 1024 * 1024;

/// What the connections of a session share.
#[derive(Debug)]
pub(super) struct SessionState {
    /// One permit for each byte of a body that may still be taken in.
    bodies: Arc<Semaphore>,
    /// One permit for each request under way, which may outlive its connection.
    turns: Arc<Semaphore>,
    // A std mutex: held for a few instructions, never across an await.
    report: Mutex<GatewayReport>,
    /// What the run's turns cost.
    pub(super) account: Arc<Account>,
    /// Ends everything.
    stop: CancellationToken,
    /// Cancelled when the run can do no more, since a limit is used up.
    exhausted: CancellationToken,
    /// Connections, and turns that outlive them.
    tasks: TaskTracker,
}

impl SessionState {
    fn new(meter: Arc<dyn Meter>, max_turns: usize) -> Self {
        Self {
            bodies: Arc::new(Semaphore::new(MAX_BODIES_BYTES)),
            turns: Arc::new(Semaphore::new(max_turns)),
            report: Mutex::default(),
            account: Account::new(meter),
            stop: CancellationToken::new(),
            exhausted: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Takes room for so many bytes of a body; `None` if other requests of the run hold it all.
    pub(super) fn body_room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        self.bodies.clone().try_acquire_many_owned(bytes.try_into().ok()?).ok()
    }

    /// Returns what is cancelled when the session ends.
    pub(super) fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a task of the session, which ends by itself soon after the session's stop.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.tasks.spawn(task)
    }

    /// Notes that a limit is used up.
    pub(super) fn refuse_for_budget(&self, message: &str) {
        self.with(|report| report.refused_for_budget = Some(message.to_owned()));
        self.exhausted.cancel();
    }

    /// Waits until fewer requests are under way than the run may have at once.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        self.turns.clone().acquire_owned().await.ok()
    }

    pub(super) fn count_request(&self) {
        self.with(|report| report.requests += 1);
    }

    pub(super) fn set_last_error(&self, error: Option<UpstreamError>) {
        self.with(|report| report.last_error = error);
    }

    fn with<T>(&self, act: impl FnOnce(&mut GatewayReport) -> T) -> T {
        act(&mut self.report.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl GatewaySession {
    pub(super) fn open(shared: Arc<Shared>, socket: &Path, meter: Arc<dyn Meter>) -> io::Result<Self> {
        let listener = bind(socket)?;
        let state = Arc::new(SessionState::new(meter, shared.config.max_connections));
        let accepting = accept(listener, shared, state.clone());
        state.spawn(state.stop().run_until_cancelled_owned(accepting));
        Ok(Self { socket: socket.to_owned(), state })
    }

    /// Returns what the traffic came to so far.
    pub fn report(&self) -> GatewayReport {
        let mut report = self.state.with(|report| report.clone());
        report.spent = self.state.account.spent();
        report
    }

    /// Returns what is cancelled when a limit is used up, so that the agent cannot go on.
    pub fn exhausted(&self) -> CancellationToken {
        self.state.exhausted.clone()
    }

    /// Ends the session's connections, removes the socket and returns what the traffic came to. What was under way is charged
    /// as far as it came; that goes on if nobody waits for this.
    pub async fn close(self) -> GatewayReport {
        self.state.stop.cancel();
        self.state.tasks.close();
        self.state.tasks.wait().await;
        if let Err(error) = self.state.account.settle().await {
            tracing::error!(%error, "some cost of a run was never charged");
        }
        self.report()
    }
}

impl Drop for GatewaySession {
    fn drop(&mut self) {
        self.state.stop.cancel();
        if let Err(error) = std::fs::remove_file(&self.socket)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "could not remove the model gateway's socket {}", self.socket.display());
        }
    }
}

/// Opens the socket so that another user (the sandbox's) may connect, through a folder that decides who gets there.
fn bind(socket: &Path) -> io::Result<UnixListener> {
    let (Some(folder), Some(name)) = (socket.parent(), socket.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the socket needs a folder and a name"));
    };
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // A path too long for an address is reached through an open handle of its folder.
    let handle = rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let short = Path::new("/proc/self/fd").join(handle.as_raw_fd().to_string()).join(name);
    let address = if socket.as_os_str().len() > MAX_SOCKET_PATH_BYTES { &short } else { socket };
    let listener = StdUnixListener::bind(address)?;
    std::fs::set_permissions(socket, Permissions::from_mode(0o666))?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

async fn accept(listener: UnixListener, shared: Arc<Shared>, state: Arc<SessionState>) {
    let connections = Arc::new(Semaphore::new(shared.config.max_connections));
    while let Ok(permit) = connections.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (shared, state) = (shared.clone(), state.clone());
                let stop = state.stop();
                state.clone().spawn(stop.run_until_cancelled_owned(async move {
                    serve(stream, &shared, &state).await;
                    drop(permit);
                }));
            }
            Err(error) => {
                tracing::warn!(%error, "the model gateway could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: UnixStream, shared: &Arc<Shared>, state: &Arc<SessionState>) {
    let service =
        service_fn(async |request| Ok::<_, std::convert::Infallible>(answer(shared, state, request).await));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        // Usual: the agent was stopped, or the upstream's answer broke off and so must ours.
        tracing::debug!(%error, "a connection to the model gateway ended early");
    }
}
