//! How things stand with the Docker Engine, asked at most every two seconds however many look.

use std::{sync::Arc, time::Duration};

use claw_docker::{Docker, EngineInfo};
use tokio::{sync::Mutex, time::Instant};

/// How long an answer counts as current.
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

/// Asks the Engine and remembers the answer.
pub(crate) struct EngineProbe {
    engine: Option<Docker>,
    image: String,
    // Held while asking, so that of many who look at once one asks and the others get its answer.
    last: Mutex<Option<(Instant, Arc<EngineState>)>>,
}

impl EngineProbe {
    pub(crate) fn new(engine: Option<Docker>, image: String) -> Self {
        Self { engine, image, last: Mutex::new(None) }
    }

    /// Returns how things stand, or stood less than two seconds ago.
    pub(crate) async fn state(&self) -> Arc<EngineState> {
        let mut last = self.last.lock().await;
        if let Some((at, state)) = &*last
            && at.elapsed() < FRESH
        {
            return Arc::clone(state);
        }
        let state = Arc::new(self.ask().await);
        *last = Some((Instant::now(), Arc::clone(&state)));
        state
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
