//! The task that follows the Engine.

use std::{collections::HashMap, pin::pin, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt, stream};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{MirrorPace, Shown, View, pending::Pending, snapshot, snapshot::Snapshot};
use crate::{Docker, DockerError, events, lines::Lines, wire};

/// Longest time for a look at everything. Hundreds of containers take less than a second.
const TAKE_LIMIT: Duration = Duration::from_secs(60);

/// Longest time for a look at what has changed.
const ROUND_LIMIT: Duration = Duration::from_secs(20);

/// A question to look at something at once.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) look: Look,
    pub(super) reply: oneshot::Sender<()>,
}

/// What is to be looked at.
#[derive(Debug)]
pub(super) enum Look {
    Container(String),
    Images,
}

pub(super) struct Follower {
    docker: Docker,
    shown: Arc<Shown>,
    asked: mpsc::Receiver<Ask>,
    pace: MirrorPace,
}

/// Why following has ended.
enum End {
    /// All handles of the mirror are gone.
    Unwanted,
    /// The stream ended, as it does when the Engine stops.
    Cut,
    /// Something went wrong.
    Failed(DockerError),
}

impl From<DockerError> for End {
    fn from(error: DockerError) -> Self {
        Self::Failed(error)
    }
}

impl Follower {
    pub(super) fn new(
        docker: Docker,
        shown: Arc<Shown>,
        asked: mpsc::Receiver<Ask>,
        pace: MirrorPace,
    ) -> Self {
        Self { docker, shown, asked, pace }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        let followed = stop.run_until_cancelled(self.follow_always()).await;
        if followed.is_none() {
            let reason = "the mirror was stopped".to_owned();
            let endpoint = self.docker.endpoint().to_owned();
            let advice = "start the server again";
            self.shown.show(View::Away(DockerError::Unavailable { endpoint, reason, advice }));
        }
    }

    async fn follow_always(&mut self) {
        let mut pause = self.pace.first_pause;
        loop {
            let began = Instant::now();
            let Err(end) = self.follow().await;
            if began.elapsed() > self.pace.longest_pause {
                pause = self.pace.first_pause;
            }
            let was_current = matches!(*self.shown.view.borrow(), View::Current(_));
            match end {
                End::Unwanted => return,
                // Most often the Engine is still there: who asks now waits for the next look.
                End::Failed(error) if was_current && !error.is_unavailable() => {
                    tracing::warn!(error = %error, "the Docker Engine's events cannot be read; looking at everything again");
                    self.shown.show(View::Syncing);
                }
                End::Cut if was_current => {
                    tracing::info!("the Docker Engine's events have ended; looking at everything again");
                    self.shown.show(View::Syncing);
                }
                End::Cut => self.away(DockerError::hung_up(self.docker.endpoint())),
                End::Failed(error) => self.away(error),
            }
            if !self.rest(pause).await {
                return;
            }
            pause = (pause * 2).min(self.pace.longest_pause);
        }
    }

    fn away(&self, error: DockerError) {
        if !matches!(*self.shown.view.borrow(), View::Away(_)) {
            tracing::warn!(error = %error, "cannot follow the Docker Engine; trying again until it answers");
        }
        self.shown.show(View::Away(error));
    }

    /// Waits. Who asks meanwhile gets no answer, which is one. Returns whether to go on.
    async fn rest(&mut self, pause: Duration) -> bool {
        let mut over = pin!(tokio::time::sleep(pause));
        loop {
            tokio::select! {
                () = &mut over => return true,
                ask = self.asked.recv() => if ask.is_none() { return false },
            }
        }
    }

    async fn follow(&mut self) -> Result<std::convert::Infallible, End> {
        // The Engine begins to answer just before it begins to listen to itself; what happens between the two is
        // remembered, and asked for by its own clock.
        let clock = self.docker.clock(self.pace.ping_limit).await?;
        let mut events = self.docker.event_lines(clock).await?;
        let mut current = self.take().await?;
        let mut pending = Pending::default();
        let docker = self.docker.clone();
        let mut checks = pin!(checks(docker, self.pace));
        loop {
            let due = pending.due();
            let begin = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            // All of them may be dropped at any point: what was read of an event or a check stays where it is.
            tokio::select! {
                event = next(&mut events) => pending.note(&event?, &self.pace),
                ask = self.asked.recv() => match ask {
                    None => return Err(End::Unwanted),
                    Some(Ask { look, reply }) => {
                        match look {
                            Look::Container(id) => pending.container(id),
                            Look::Images => pending.images = true,
                        }
                        pending.waiting.push(reply);
                        pending.now();
                    }
                },
                check = checks.next() => {
                    // The stream of checks does not end.
                    let Some(listed) = check.transpose()?.flatten() else { continue };
                    for id in current.differing(&listed) {
                        pending.container(id);
                        pending.soon(&self.pace);
                    }
                }
                () = begin => {
                    if let Some(changed) = self.round(&current, pending.take()).await? {
                        current = changed;
                    }
                }
            }
        }
    }

    /// Looks at everything and shows it.
    async fn take(&self) -> Result<Arc<Snapshot>, DockerError> {
        let taken = self.docker.bounded(TAKE_LIMIT, Snapshot::take(&self.docker)).await?;
        let taken = Arc::new(taken);
        self.shown.show(View::Current(Arc::clone(&taken)));
        Ok(taken)
    }

    /// Looks at what is pending, and shows it if it has changed.
    async fn round(
        &self,
        current: &Snapshot,
        pending: Pending,
    ) -> Result<Option<Arc<Snapshot>>, DockerError> {
        if pending.all {
            return self.take().await.map(Some);
        }
        let look = async {
            let looks = match pending.containers.is_empty() {
                true => HashMap::new(),
                false => snapshot::look_at(&self.docker, pending.containers.into_iter().collect()).await?,
            };
            let images = if pending.images { Some(self.docker.images().await?) } else { None };
            Ok((looks, images))
        };
        let (looks, images) = self.docker.bounded(ROUND_LIMIT, look).await?;
        let changed = current.with(looks, images).map(Arc::new);
        if let Some(changed) = &changed {
            self.shown.show(View::Current(Arc::clone(changed)));
        }
        for waiting in pending.waiting {
            // Who has stopped waiting needs no answer.
            let _ = waiting.send(());
        }
        Ok(changed)
    }
}

async fn next(events: &mut Lines) -> Result<crate::EngineEvent, End> {
    events::next_event(events).await?.ok_or(End::Cut)
}

/// Asks again and again whether the Engine is there, and now and then for the list.
fn checks(
    docker: Docker,
    pace: MirrorPace,
) -> impl Stream<Item = Result<Option<Vec<wire::Summary>>, DockerError>> {
    stream::unfold(1, move |count: u32| {
        let docker = docker.clone();
        async move {
            tokio::time::sleep(pace.ping_every).await;
            let checked = match docker.clock(pace.ping_limit).await {
                Err(error) => Err(error),
                Ok(_) if count.is_multiple_of(pace.pings_per_list.max(1)) => {
                    snapshot::list(&docker).await.map(Some)
                }
                Ok(_) => Ok(None),
            };
            Some((checked, count.wrapping_add(1)))
        }
    })
}
