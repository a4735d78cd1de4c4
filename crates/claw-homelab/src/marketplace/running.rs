//! What is being done with which install: one thing at a time, and whoever asks for the same joins in.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use claw_core::Coded as _;
use tokio::sync::watch;

use super::MarketplaceError;

/// How something ended, for those who joined in.
type Ended = Result<(), MarketplaceError>;

/// What is being done. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Running {
    // A std mutex: held for a look-up, never across an await.
    doing: Arc<Mutex<HashMap<String, Doing>>>,
}

struct Doing {
    what: &'static str,
    ended: watch::Receiver<Option<Told>>,
}

/// A result that can be told to several.
#[derive(Clone)]
enum Told {
    Done,
    Failed(claw_core::ErrorCode, String),
}

/// The place of whoever does it. Others may begin once it is gone.
pub(crate) struct Lead {
    running: Running,
    install: String,
    ended: watch::Sender<Option<Told>>,
}

/// What is to be done by whoever asked.
pub(crate) enum Turn {
    /// Do it.
    Lead(Lead),
    /// Somebody does it: wait for them.
    Join(Join),
}

/// Waits for somebody else's end.
pub(crate) struct Join(watch::Receiver<Option<Told>>);

impl Running {
    /// Asks to do `what` with an install.
    ///
    /// # Errors
    ///
    /// [`MarketplaceError::Busy`] while something else is being done with it.
    pub(crate) fn enter(&self, install: &str, what: &'static str) -> Result<Turn, MarketplaceError> {
        let mut doing = self.doing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = doing.get(install) {
            return if known.what == what {
                Ok(Turn::Join(Join(known.ended.clone())))
            } else {
                Err(MarketplaceError::Busy { install: install.to_owned(), doing: known.what })
            };
        }
        let (sender, ended) = watch::channel(None);
        doing.insert(install.to_owned(), Doing { what, ended });
        Ok(Turn::Lead(Lead { running: self.clone(), install: install.to_owned(), ended: sender }))
    }

    /// Returns what is being done with an install.
    pub(crate) fn doing(&self, install: &str) -> Option<&'static str> {
        let doing = self.doing.lock().unwrap_or_else(PoisonError::into_inner);
        doing.get(install).map(|doing| doing.what)
    }
}

impl Lead {
    /// Tells the others how it went.
    pub(crate) fn end<T>(self, result: &Result<T, MarketplaceError>) {
        let told = match result {
            Ok(_) => Told::Done,
            Err(error) => Told::Failed(error.code(), error.to_string()),
        };
        // Nobody may be waiting.
        let _ = self.ended.send(Some(told));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        let mut doing = self.running.doing.lock().unwrap_or_else(PoisonError::into_inner);
        doing.remove(&self.install);
    }
}

impl Join {
    pub(crate) async fn wait(mut self) -> Ended {
        let told = match self.0.wait_for(Option::is_some).await {
            Ok(told) => told.clone(),
            Err(_) => None,
        };
        match told {
            Some(Told::Done) => Ok(()),
            Some(Told::Failed(code, message)) => Err(MarketplaceError::Invalid { code, message }),
            None => Err(MarketplaceError::GivenUp),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_same_is_joined_and_something_else_is_refused_until_it_is_done() {
        let running = Running::default();
        let Ok(Turn::Lead(lead)) = running.enter("web", "started") else { panic!("nobody is there") };

        let Ok(Turn::Join(join)) = running.enter("web", "started") else { panic!("somebody is there") };
        assert!(matches!(running.enter("web", "stopped"), Err(MarketplaceError::Busy { .. })));
        assert!(matches!(running.enter("other", "stopped"), Ok(Turn::Lead(_))));
        let failed: Result<(), _> = Err(MarketplaceError::AppNotFound { id: "web".into() });
        lead.end(&failed);

        let told = join.wait().await.expect_err("it failed");
        assert_eq!(told.code(), claw_core::ErrorCode::AppNotFound);
        assert!(matches!(running.enter("web", "stopped"), Ok(Turn::Lead(_))));
    }

    #[tokio::test]
    async fn whoever_joined_learns_that_it_was_given_up() {
        let running = Running::default();
        let Ok(Turn::Lead(lead)) = running.enter("web", "started") else { panic!("nobody is there") };
        let Ok(Turn::Join(join)) = running.enter("web", "started") else { panic!("somebody is there") };

        drop(lead);

        assert!(matches!(join.wait().await, Err(MarketplaceError::GivenUp)));
    }
}
