//! Which hosts, and with which keys, a request may use.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use rmcp::{ErrorData, RoleServer, service::RequestContext};

use crate::Hosts;

/// Tells which hosts a request may use.
///
/// `clawmachine` holds its hosts and keys itself ([`Fixed`]); a server that offers MCP makes them from the credential
/// of each request.
pub trait Access: Send + Sync + 'static {
    /// Returns the hosts for one request.
    ///
    /// # Errors
    ///
    /// An error for the client when the request carries nothing that permits anything.
    fn hosts<'a>(
        &'a self,
        context: &'a RequestContext<RoleServer>,
    ) -> BoxFuture<'a, Result<Arc<Hosts>, ErrorData>>;
}

/// The same hosts for every request.
#[derive(Clone, Debug)]
pub struct Fixed(pub Arc<Hosts>);

impl Access for Fixed {
    fn hosts<'a>(
        &'a self,
        _: &'a RequestContext<RoleServer>,
    ) -> BoxFuture<'a, Result<Arc<Hosts>, ErrorData>> {
        Box::pin(async { Ok(Arc::clone(&self.0)) })
    }
}
