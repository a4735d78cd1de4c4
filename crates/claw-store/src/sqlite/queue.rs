//! What waits for a thread of the store: bounded, first come first served, taken one by one or in batches.

use std::{sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use tokio::sync::Semaphore;

/// How long nothing must come before a thread gives memory back that it keeps to be quick.
pub(super) const IDLE: Duration = Duration::from_secs(5);

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

/// The threads' end. Each of them has a clone.
pub(super) struct Exit<T> {
    receiver: Receiver<T>,
    places: Arc<Places>,
}

impl<T> Clone for Exit<T> {
    fn clone(&self) -> Self {
        Self { receiver: self.receiver.clone(), places: Arc::clone(&self.places) }
    }
}

/// Lets nobody enter any more when the last thread is gone.
struct Places(Arc<Semaphore>);

impl Drop for Places {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What came.
pub(super) enum Next<T> {
    /// Something.
    Came(T),
    /// Nothing for a while.
    Nothing,
    /// The end: there is nothing more to come.
    End,
}

impl<T> Exit<T> {
    /// Lets nobody enter any more. What waits is still handed out.
    pub(super) fn close(&self) {
        self.places.0.close();
    }

    /// Waits for something, no longer than `patience` if that is given.
    pub(super) fn one(&self, patience: Option<Duration>) -> Next<T> {
        let next = self.wait(patience);
        if matches!(next, Next::Came(_)) {
            self.places.0.add_permits(1);
        }
        next
    }

    /// Does the same, and takes along up to `most` of what waits.
    pub(super) fn batch(&self, most: usize, patience: Option<Duration>) -> Next<Vec<T>> {
        let first = match self.wait(patience) {
            Next::Came(first) => first,
            Next::Nothing => return Next::Nothing,
            Next::End => return Next::End,
        };
        let mut batch = vec![first];
        batch.extend(self.receiver.try_iter().take(most - 1));
        self.places.0.add_permits(batch.len());
        Next::Came(batch)
    }

    fn wait(&self, patience: Option<Duration>) -> Next<T> {
        let came = match patience {
            None => self.receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(patience) => self.receiver.recv_timeout(patience),
        };
        match came {
            Ok(item) => Next::Came(item),
            Err(RecvTimeoutError::Timeout) => Next::Nothing,
            Err(RecvTimeoutError::Disconnected) => Next::End,
        }
    }
}

/// Makes a queue with so many places.
pub(super) fn queue<T>(places: usize) -> (Entrance<T>, Exit<T>) {
    let (sender, receiver) = unbounded();
    let places = Arc::new(Semaphore::new(places));
    let exit = Exit { receiver, places: Arc::new(Places(Arc::clone(&places))) };
    (Entrance { sender, places }, exit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_thread_takes_its_turn_and_notices_that_nothing_comes() {
        let (entrance, exit) = queue(4);
        let other = exit.clone();
        for number in 1..=4 {
            assert!(entrance.enter(number).await.is_ok());
        }

        assert!(matches!(exit.one(None), Next::Came(1)));
        assert!(matches!(other.batch(2, None), Next::Came(batch) if batch == [2, 3]));
        assert!(matches!(exit.one(Some(Duration::ZERO)), Next::Came(4)));
        assert!(matches!(exit.one(Some(Duration::ZERO)), Next::Nothing));
        assert!(matches!(other.batch(2, Some(Duration::ZERO)), Next::Nothing));
        // Their places are free again.
        for number in 5..=8 {
            assert!(entrance.enter(number).await.is_ok());
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_a_place_when_the_last_thread_is_gone() {
        let (entrance, exit) = queue(1);
        let last = exit.clone();
        drop(exit);
        assert!(entrance.enter(1).await.is_ok());

        let waiting = tokio::spawn({
            let entrance = entrance.clone();
            async move { entrance.enter(2).await }
        });
        drop(last);

        assert!(waiting.await.expect("no panic").is_err());
        assert!(entrance.enter(3).await.is_err());
    }
}
