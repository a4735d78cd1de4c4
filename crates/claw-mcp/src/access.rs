//! Which hosts, and with which keys, a request may use.

use std::{sync::Arc, time::Duration};

use futures_util::{
    StreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use rmcp::{ErrorData, model::Extensions};

use crate::Hosts;

/// Tells which hosts a request may use.
///
/// `clawmachine` holds its hosts and keys itself ([`Fixed`]); a server that offers MCP makes them from the credential
/// of each request. What came with a request is in its extensions: over HTTP an [`http::request::Parts`].
pub trait Access: Send + Sync + 'static {
    /// Returns the hosts for one request.
    ///
    /// # Errors
    ///
    /// An error for the client when the request carries nothing that permits anything.
    fn hosts<'a>(&'a self, request: &'a Extensions) -> BoxFuture<'a, Result<Arc<Hosts>, ErrorData>>;

    /// Returns the hosts for a request that lists what they permit: what is known of them is no older than the request.
    ///
    /// # Errors
    ///
    /// Like [`Access::hosts`].
    fn fresh<'a>(&'a self, request: &'a Extensions) -> BoxFuture<'a, Result<Arc<Hosts>, ErrorData>> {
        self.hosts(request)
    }

    /// Returns a stream that yields each time what [`Access::hosts`] tells may have changed, and that ends when there
    /// is nothing to wait for any more.
    fn changes(&self, request: &Extensions) -> BoxStream<'static, ()>;
}

/// Who sent a request, as far as it matters for what belongs to them: nobody else sees their sessions and tasks.
///
/// A transport puts it into the extensions of its requests. Requests without one all come from one and the same: whoever
/// started the program, or holds its token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Owner(Arc<str>);

impl Owner {
    /// Returns the owner of this name.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// Finds who sent a request of the protocol.
    pub(crate) fn of(request: &Extensions) -> Self {
        let parts = request.get::<http::request::Parts>();
        parts.and_then(|parts| parts.extensions.get::<Self>()).cloned().unwrap_or_default()
    }
}

/// How long a list waits for a host that does not answer.
const LIST_PATIENCE: Duration = Duration::from_secs(2);

/// The same hosts for every request.
#[derive(Clone, Debug)]
pub struct Fixed(pub Arc<Hosts>);

impl Access for Fixed {
    fn hosts<'a>(&'a self, _: &'a Extensions) -> BoxFuture<'a, Result<Arc<Hosts>, ErrorData>> {
        Box::pin(async { Ok(Arc::clone(&self.0)) })
    }

    fn fresh<'a>(&'a self, _: &'a Extensions) -> BoxFuture<'a, Result<Arc<Hosts>, ErrorData>> {
        Box::pin(async {
            self.0.refresh(LIST_PATIENCE).await;
            Ok(Arc::clone(&self.0))
        })
    }

    fn changes(&self, _: &Extensions) -> BoxStream<'static, ()> {
        let changes = self.0.changes();
        stream::unfold(changes, |mut changes| async {
            changes.changed().await.ok()?;
            Some(((), changes))
        })
        .boxed()
    }
}

/// Tells what the sender of one request may use. A server that has admitted a request puts it into the request's
/// extensions as an [`Admitted`].
pub trait Admission: Send + Sync {
    /// Returns the hosts as the sender may use them now; `None` if they would not be let in any more.
    fn hosts(&self) -> BoxFuture<'_, Option<Arc<Hosts>>>;

    /// Returns a stream that yields each time the sender may have been given or lost something.
    fn changes(&self) -> BoxStream<'static, ()>;
}

/// The [`Admission`] of a request.
#[derive(Clone)]
pub struct Admitted(pub Arc<dyn Admission>);

/// Hosts as each request's [`Admitted`] tells them.
#[derive(Clone, Copy, Debug, Default)]
pub struct PerRequest;

impl PerRequest {
    fn admitted(request: &Extensions) -> Option<&Admitted> {
        request.get::<http::request::Parts>()?.extensions.get()
    }
}

impl Access for PerRequest {
    fn hosts<'a>(&'a self, request: &'a Extensions) -> BoxFuture<'a, Result<Arc<Hosts>, ErrorData>> {
        Box::pin(async move {
            let hosts = match Self::admitted(request) {
                Some(Admitted(admission)) => admission.hosts().await,
                None => None,
            };
            hosts.ok_or_else(|| ErrorData::invalid_request("the API key is not valid any more", None))
        })
    }

    fn changes(&self, request: &Extensions) -> BoxStream<'static, ()> {
        match Self::admitted(request) {
            Some(Admitted(admission)) => admission.changes(),
            None => stream::empty().boxed(),
        }
    }
}
