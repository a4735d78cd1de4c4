//! An answer on its way from the API to the agent: passed on as it comes, read on the way, charged before its end is shown.

use std::{future::pending, sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::body::Frame;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};

use super::{
    Shared, account::Place, answer::Piece, bill::Bill, report::UpstreamError, session::SessionState, tap::Tap,
};

/// How long an answer is read on that the agent does not want any more. The API writes and counts it all the same; after that
/// the connection is ended, which ends the writing too.
const READ_ON: Duration = Duration::from_secs(300);

/// How long an agent may leave an answer unread.
const READER_TIME: Duration = Duration::from_secs(300);

/// An answer under way.
pub(super) struct Pump {
    pub(super) shared: Arc<Shared>,
    pub(super) session: Arc<SessionState>,
    pub(super) side: Side,
    /// Kept until everything is charged.
    pub(super) place: Option<Place>,
    pub(super) bill: Option<Bill>,
}

/// The agent's side.
pub(super) struct Side {
    pieces: Option<mpsc::Sender<Option<Piece>>>,
    gone_at: Option<Instant>,
}

/// How the reading of an answer ended.
enum End {
    Whole,
    Broken(&'static str),
    /// We ended it.
    Cut,
}

enum Next {
    Bytes(Bytes),
    End(End),
}

impl Pump {
    pub(super) async fn run(mut self, mut response: reqwest::Response) {
        let began = Instant::now();
        let mut tap = Tap::default();
        let mut opening = None;
        // The last piece of a document, which nobody gets before it is charged.
        let mut held: Option<Bytes> = None;
        let end = loop {
            let bytes = match self.next(&mut response).await {
                Next::Bytes(bytes) => bytes,
                Next::End(end) => break end,
            };
            if self.bill.as_ref().is_some_and(|bill| !bill.is_closed()) {
                tap.push(&bytes);
                self.open(&tap, &mut opening);
            }
            if opening.as_ref().is_some_and(JoinHandle::is_finished)
                && let (Some(place), Some(bill)) = (&mut self.place, &self.bill)
            {
                place.narrow(bill.worst().output);
            }
            if tap.is_over() {
                self.settle(std::mem::take(&mut tap), true, &mut opening).await;
            }
            let ready = if tap.is_document() { held.replace(bytes) } else { Some(bytes) };
            if let Some(bytes) = ready {
                self.side.pass(Ok(Frame::data(bytes)), &self.session).await;
            }
        };
        let is_whole = matches!(end, End::Whole);
        self.settle(tap, is_whole, &mut opening).await;
        if self.bill.is_some() {
            metrics::histogram!("claw_gateway_turn_seconds").record(began.elapsed().as_secs_f64());
        }
        // Only now: what is left of the budget is known again.
        drop(self.place.take());
        if let Some(bytes) = held {
            self.side.pass(Ok(Frame::data(bytes)), &self.session).await;
        }
        match end {
            End::Whole => {
                self.note(None);
                self.side.end().await;
            }
            End::Broken(message) => {
                self.note(Some(UpstreamError::broken_answer(message)));
                self.side.pass(Err(message.into()), &self.session).await;
            }
            // Dropping the sender breaks the answer off.
            End::Cut => {}
        }
    }

    async fn next(&mut self, response: &mut reqwest::Response) -> Next {
        let stop = self.session.stop();
        loop {
            let read_until = self.side.gone_at.map(|at| at + READ_ON);
            let over = async {
                match read_until {
                    Some(until) => sleep_until(until).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return Next::End(End::Cut),
                () = over => return Next::End(End::Cut),
                () = self.side.gone(), if read_until.is_none() => {}
                chunk = timeout(self.shared.config.idle_timeout, response.chunk()) => return match chunk {
                    Ok(Ok(Some(bytes))) => Next::Bytes(bytes),
                    Ok(Ok(None)) => Next::End(End::Whole),
                    Ok(Err(_)) => Next::End(End::Broken("the model API's answer broke off: try again later")),
                    Err(_) => Next::End(End::Broken("the model API's answer stalled: try again later")),
                },
            }
        }
    }

    /// Charges the beginning of an answer, beside its passing.
    fn open(&mut self, tap: &Tap, opening: &mut Option<JoinHandle<()>>) {
        let Some(bill) = self.bill.as_mut().filter(|bill| bill.is_fresh()) else { return };
        let Some(used) = tap.beginning().and_then(|reading| bill.open(reading, &self.shared.prices)) else {
            return;
        };
        let account = self.session.account.clone();
        *opening = Some(self.session.spawn(async move { account.charge(used).await }));
    }

    /// Charges the rest.
    async fn settle(&mut self, tap: Tap, whole: bool, opening: &mut Option<JoinHandle<()>>) {
        if let Some(opening) = opening.take()
            && let Err(error) = opening.await
        {
            tracing::error!(%error, "charging a model turn broke");
        }
        if let Some(bill) = &mut self.bill {
            bill.close(tap.end(), whole, &self.shared.prices, &self.session.account).await;
        }
    }

    fn note(&self, error: Option<UpstreamError>) {
        if self.bill.is_some() {
            self.session.set_last_error(error);
        }
    }
}

impl Side {
    pub(super) fn new(pieces: mpsc::Sender<Option<Piece>>) -> Self {
        Self { pieces: Some(pieces), gone_at: None }
    }

    /// Passes a piece on, if there still is anybody.
    async fn pass(&mut self, piece: Piece, session: &SessionState) {
        let Some(pieces) = &self.pieces else { return };
        let stop = session.stop();
        let passed = tokio::select! {
            biased;
            () = stop.cancelled() => false,
            passed = timeout(READER_TIME, pieces.send(Some(piece))) => matches!(passed, Ok(Ok(()))),
        };
        if !passed {
            self.leave();
        }
    }

    /// Ends the answer well.
    async fn end(&mut self) {
        if let Some(pieces) = self.pieces.take() {
            // Whoever does not take it for so long is not there.
            let _ = timeout(READER_TIME, pieces.send(None)).await;
        }
    }

    /// Waits until the agent has gone.
    async fn gone(&mut self) {
        match &self.pieces {
            Some(pieces) => pieces.closed().await,
            None => return,
        }
        self.leave();
    }

    fn leave(&mut self) {
        self.pieces = None;
        self.gone_at.get_or_insert_with(Instant::now);
    }
}
