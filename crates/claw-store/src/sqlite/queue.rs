//! The writes that wait for the writer: bounded, first come first served, and looked at in batches.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    time::Duration,
};

use tokio::sync::Semaphore;

/// The callers' end.
pub(super) struct Entrance<T> {
    sender: Sender<T>,
    places: Arc<Semaphore>,
}

impl<T> Clone for Entrance<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), places: Arc::clone(&self.places) }
    }
}

impl<T> Entrance<T> {
    /// Waits for a place and takes it. An error means that nobody takes anything any more. Those who began to wait first
    /// come first.
    pub(super) async fn enter(&self, item: T) -> Result<(), Closed> {
        self.places.acquire().await.map_err(|_| Closed)?.forget();
        self.sender.send(item).map_err(|_| Closed)
    }
}

/// Nobody takes anything any more.
pub(super) struct Closed;

/// The writer's end.
pub(super) struct Exit<T> {
    receiver: Receiver<T>,
    places: Arc<Semaphore>,
}

impl<T> Drop for Exit<T> {
    fn drop(&mut self) {
        self.places.close();
    }
}

/// What came.
pub(super) enum Next<T> {
    /// Something, and what waited behind it.
    Batch(Vec<T>),
    /// Nothing for a while.
    Nothing,
    /// The end: there is nothing more to come.
    End,
}

impl<T> Exit<T> {
    /// Lets nobody enter any more. What waits is still handed out.
    pub(super) fn close(&self) {
        self.places.close();
    }

    /// Waits for something, no longer than `patience` if that is given, and takes along up to `most` of what waits.
    pub(super) fn next(&self, most: usize, patience: Option<Duration>) -> Next<T> {
        let first = match patience {
            None => self.receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(patience) => self.receiver.recv_timeout(patience),
        };
        let mut batch = match first {
            Ok(first) => vec![first],
            Err(RecvTimeoutError::Timeout) => return Next::Nothing,
            Err(RecvTimeoutError::Disconnected) => return Next::End,
        };
        batch.extend(self.receiver.try_iter().take(most - 1));
        self.places.add_permits(batch.len());
        Next::Batch(batch)
    }
}

/// Makes a queue with so many places.
pub(super) fn queue<T>(places: usize) -> (Entrance<T>, Exit<T>) {
    let (sender, receiver) = channel();
    let places = Arc::new(Semaphore::new(places));
    (Entrance { sender, places: Arc::clone(&places) }, Exit { receiver, places })
}
