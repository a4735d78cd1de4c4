//! Readers: a few threads with a connection each, so that reads neither wait for writes nor block the runtime.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread::JoinHandle,
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{
    error::closed,
    file,
    queue::{Entrance, Exit, IDLE, Next, queue},
};
use crate::StoreError;

/// Reads that may wait. Past it callers wait for a place.
const QUEUE: usize = 1024;

type Read = Box<dyn FnOnce(&mut Connection) + Send>;

enum Message {
    Read(Read),
    /// End one thread.
    Close,
}

/// Sends reads to whichever reader thread is free.
#[derive(Clone)]
pub(super) struct Readers {
    queue: Entrance<Message>,
    threads: usize,
}

impl Readers {
    /// Starts a thread for each connection.
    pub(super) fn start(connections: Vec<Connection>) -> std::io::Result<(Self, Vec<JoinHandle<()>>)> {
        let (queue, exit) = queue(QUEUE);
        let threads = connections.len();
        let handles = (1..)
            .zip(connections)
            .map(|(number, connection)| {
                let exit = exit.clone();
                let thread = std::thread::Builder::new().name(format!("store-reader-{number}"));
                thread.spawn(move || work_off(connection, &exit))
            })
            .collect::<Result<_, _>>()?;
        Ok((Self { queue, threads }, handles))
    }

    /// Returns what `work` reads. All its statements see one snapshot.
    pub(super) async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let read: Read = Box::new(move |connection| {
            if !reply.is_closed() {
                // A caller that went away does not want to know.
                let _ = reply.send(in_snapshot(connection, work));
            }
        });
        self.queue.enter(Message::Read(read)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Has all threads end after everything that waits.
    pub(super) async fn close(&self) {
        for _ in 0..self.threads {
            // An error means that they ended already.
            let _ = self.queue.enter(Message::Close).await;
        }
    }
}

fn in_snapshot<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    // Dropped without a commit at the end: there is nothing to keep.
    let transaction = connection.transaction()?;
    work(&transaction)
}

fn work_off(mut connection: Connection, queue: &Exit<Message>) {
    let mut is_lean = false;
    loop {
        match queue.one((!is_lean).then_some(IDLE)) {
            Next::Came(Message::Read(read)) => {
                is_lean = false;
                // The caller learns of a panic by its dropped answer; the transaction ended with it.
                if catch_unwind(AssertUnwindSafe(|| read(&mut connection))).is_err() {
                    tracing::error!("a read panicked");
                }
            }
            Next::Nothing => {
                file::give_memory_back(&connection);
                is_lean = true;
            }
            Next::Came(Message::Close) | Next::End => return,
        }
    }
}
