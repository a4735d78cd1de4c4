//! Wake-ups. A signal says "look again"; what there is to see is in the store. Loss is harmless because every
//! waiter also has a timer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use claw_core::JobId;
use tokio::sync::watch;

use crate::StreamName;

/// What a signal is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// A job may be claimable.
    JobsWaiting,
    /// The job event stream grew.
    JobEvents,
    /// Someone asked for this running job to end.
    Cancel(JobId),
    /// This stream grew.
    Stream(StreamName),
}

/// Wakes up when a topic is signalled.
#[derive(Clone, Debug)]
pub struct SignalReceiver(watch::Receiver<u64>);

impl SignalReceiver {
    /// Waits for a signal that came after the subscription or the previous call. Several signals may arrive as one.
    /// Cancel safe.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // The sender is gone: nothing will ever come. Waiters have their own timer.
            std::future::pending::<()>().await;
        }
    }
}

/// Wake-ups among the tasks of one installation. Publishing never blocks and never fails.
pub trait Signals: Send + Sync {
    /// Wakes everyone who waits for `topic`.
    fn publish(&self, topic: Topic);

    /// Starts listening. Signals from before the call are not seen.
    fn subscribe(&self, topic: Topic) -> SignalReceiver;
}

/// Signals inside one process.
#[derive(Clone, Debug, Default)]
pub(crate) struct LocalSignals {
    topics: Arc<Mutex<HashMap<Topic, watch::Sender<u64>>>>,
}

/// Topics kept before those without listeners are dropped.
const TOPICS_BEFORE_SWEEP: usize = 1024;

impl Signals for LocalSignals {
    fn publish(&self, topic: Topic) {
        // A std mutex: held for a map look-up, never across an await.
        let topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = topics.get(&topic) {
            sender.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    fn subscribe(&self, topic: Topic) -> SignalReceiver {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        if topics.len() >= TOPICS_BEFORE_SWEEP {
            topics.retain(|_, sender| sender.receiver_count() > 0);
        }
        SignalReceiver(topics.entry(topic).or_insert_with(|| watch::Sender::new(0)).subscribe())
    }
}
