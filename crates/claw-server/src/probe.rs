//! How things stand with other parts, asked now and then however many look: some who ask show no credential.

use std::{sync::Arc, time::Duration};

use claw_docker::{Docker, EngineInfo};
use tokio::{sync::Mutex, time::Instant};

/// How long the Engine's answer counts as current.
const FRESH: Duration = Duration::from_secs(2);

/// How long the Engine may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the Engine answered.
#[derive(Clone, Debug)]
pub(crate) struct EngineState {
    /// What it says about itself, or why there is no answer.
    pub(crate) info: Result<EngineInfo, String>,
    /// Whether the sandbox's image is there.
    pub(crate) image_ready: bool,
}

/// Remembers an answer for a while.
pub(crate) struct Remembered<T> {
    fresh: Duration,
    // Held while asking, so that of many who look at once one asks and the others get its answer.
    last: Mutex<Option<(Instant, T)>>,
}

impl<T: Clone> Remembered<T> {
    /// Lets an answer count for so long.
    pub(crate) fn new(fresh: Duration) -> Self {
        Self { fresh, last: Mutex::new(None) }
    }

    /// Returns the answer, asking for it unless it is fresh.
    pub(crate) async fn get(&self, ask: impl Future<Output = T>) -> T {
        let mut last = self.last.lock().await;
        if let Some((at, answer)) = &*last
            && at.elapsed() < self.fresh
        {
            return answer.clone();
        }
        let answer = ask.await;
        *last = Some((Instant::now(), answer.clone()));
        answer
    }
}

/// Asks the Engine and remembers the answer.
pub(crate) struct EngineProbe {
    engine: Option<Docker>,
    image: String,
    last: Remembered<Arc<EngineState>>,
}

impl EngineProbe {
    pub(crate) fn new(engine: Option<Docker>, image: String) -> Self {
        Self { engine, image, last: Remembered::new(FRESH) }
    }

    /// Returns how things stand, or stood less than two seconds ago.
    pub(crate) async fn state(&self) -> Arc<EngineState> {
        self.last.get(async { Arc::new(self.ask().await) }).await
    }

    async fn ask(&self) -> EngineState {
        let Some(engine) = &self.engine else {
            return EngineState { info: Err("no Docker Engine is configured".into()), image_ready: false };
        };
        let both = async { tokio::join!(engine.info(), engine.image(&self.image)) };
        match tokio::time::timeout(PATIENCE, both).await {
            Ok((info, image)) => EngineState {
                info: info.map_err(|error| error.to_string()),
                image_ready: matches!(image, Ok(Some(_))),
            },
            Err(_elapsed) => {
                let reason = format!("the Docker Engine did not answer within {} s", PATIENCE.as_secs());
                EngineState { info: Err(reason), image_ready: false }
            }
        }
    }
}
