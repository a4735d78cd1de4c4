//! Telling clients that their tools have changed.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt as _;
use rmcp::{
    ErrorData, RoleServer,
    model::Extensions,
    service::{NotificationContext, SubscriptionContext},
};
use tokio_util::task::AbortOnDropHandle;

use super::{Shared, listing};
use crate::Access;

/// The tools and where they can be used, as far as clients see it. `None` when the request would be refused now.
type Outline = Option<Vec<(&'static str, Vec<String>)>>;

/// Watches for the client of a session, which has no request of its own to wait for changes with.
#[derive(Default)]
pub(super) struct Watching(Mutex<Option<AbortOnDropHandle<()>>>);

impl Watching {
    /// Begins to watch, instead of what was watched before.
    pub(super) fn begin<A: Access>(&self, shared: Arc<Shared<A>>, context: NotificationContext<RoleServer>) {
        let watch = async move {
            let mut changes = Changes::of(&shared, &context.extensions).await;
            while changes.next().await.is_some() {
                if context.peer.notify_tool_list_changed().await.is_err() {
                    return;
                }
            }
        };
        let watch = AbortOnDropHandle::new(tokio::spawn(watch));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(watch);
    }
}

/// Tells a subscription's client of changes until it goes, or there can be no more.
pub(super) async fn tell<A: Access>(
    shared: &Shared<A>,
    subscription: &SubscriptionContext,
) -> Result<(), ErrorData> {
    let mut changes = Changes::of(shared, &subscription.request_context().extensions).await;
    loop {
        tokio::select! {
            () = subscription.cancelled() => return Ok(()),
            change = changes.next() => match change {
                // What the client did not ask for is not sent, which is no reason to end.
                Some(()) => drop(subscription.sink().notify_tool_list_changed().await),
                None => return Ok(()),
            },
        }
    }
}

/// The changes of one client's tools.
struct Changes<'a, A> {
    shared: &'a Shared<A>,
    request: &'a Extensions,
    may_have_changed: futures_util::stream::BoxStream<'static, ()>,
    seen: Outline,
}

impl<'a, A: Access> Changes<'a, A> {
    async fn of(shared: &'a Shared<A>, request: &'a Extensions) -> Self {
        // Before the look, so that a change during it is not missed.
        let may_have_changed = shared.access.changes(request);
        let seen = outline(shared, request).await;
        Self { shared, request, may_have_changed, seen }
    }

    async fn next(&mut self) -> Option<()> {
        loop {
            self.may_have_changed.next().await?;
            let now = outline(self.shared, self.request).await;
            if now != self.seen {
                self.seen = now;
                return Some(());
            }
        }
    }
}

async fn outline<A: Access>(shared: &Shared<A>, request: &Extensions) -> Outline {
    let hosts = shared.access.hosts(request).await.ok()?;
    Some(listing::outline(&hosts, |tool| shared.offers(tool)))
}
