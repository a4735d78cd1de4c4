//! What happens at the Engine, as it happens.

use std::collections::BTreeMap;

use claw_core::Timestamp;
use futures_util::{StreamExt, stream, stream::BoxStream};

use crate::{
    Docker, DockerError,
    lines::{Lines, Pieces},
    request::Ask,
    wire,
};

/// Something that happened at the Engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineEvent {
    /// What it happened to: `container`, `image`, `network`, `volume`, `daemon`, …
    pub kind: String,
    /// What happened, such as `start` or `die`. Some words carry more behind a colon (`exec_start: ls`).
    pub action: String,
    /// Id or name of the thing; empty for what concerns many (`prune`).
    pub id: String,
    /// More about it: name, image, exit code, and the container's labels.
    pub attributes: BTreeMap<String, String>,
    /// When, by the Engine's clock.
    pub at: Timestamp,
}

impl Docker {
    /// Returns what happens from now on, or from `since` on as far as the Engine remembers (some hundred events).
    ///
    /// The stream ends when the Engine does, and after its first error. Events can be lost when nobody reads: the
    /// Engine does not wait.
    pub fn events(&self, since: Option<Timestamp>) -> BoxStream<'static, Result<EngineEvent, DockerError>> {
        let docker = self.clone();
        stream::once(async move { docker.event_lines(since).await })
            .flat_map(|opened| match opened {
                Ok(lines) => event_stream(lines).boxed(),
                Err(error) => stream::once(async move { Err(error) }).boxed(),
            })
            .boxed()
    }

    pub(crate) async fn event_lines(&self, since: Option<Timestamp>) -> Result<Lines, DockerError> {
        let ask = Ask::get("/events").with_some("since", since.map(|since| since.as_second().to_string()));
        let answer = self.open(ask).await?;
        Ok(Lines::new(Pieces::new(self.clone(), answer.into_body(), None)))
    }
}

fn event_stream(lines: Lines) -> impl futures_util::Stream<Item = Result<EngineEvent, DockerError>> + Send {
    stream::unfold(Some(lines), |lines| async {
        let mut lines = lines?;
        match next_event(&mut lines).await {
            Ok(Some(event)) => Some((Ok(event), Some(lines))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
}

/// Returns the next event, or `None` at the end. Cancel safe.
pub(crate) async fn next_event(lines: &mut Lines) -> Result<Option<EngineEvent>, DockerError> {
    let Some(event) = lines.next::<wire::Event>().await? else { return Ok(None) };
    Ok(Some(EngineEvent {
        kind: event.kind,
        action: event.action,
        id: event.actor.id,
        attributes: event.actor.attributes,
        at: Timestamp::from_nanosecond(event.nanoseconds.into()).unwrap_or(Timestamp::UNIX_EPOCH),
    }))
}
