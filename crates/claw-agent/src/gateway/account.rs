//! The costs of one run: turns that want to begin, turns under way, and what is charged for them.

use std::{
    collections::VecDeque,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use claw_core::{ModelUse, Usd};
use tokio::sync::{Mutex as AsyncMutex, Notify};

use super::{
    Meter, MeterError,
    admission::{Admission, UnderWay, decide},
    prices::Worst,
};

/// Longest wait of a turn for others to end.
const MAX_WAIT: Duration = Duration::from_secs(300);

/// Keeps a run within what its meter allows.
#[derive(Debug)]
pub(super) struct Account {
    meter: Arc<dyn Meter>,
    // A std mutex: held for a few instructions, never across an await.
    state: Mutex<State>,
    /// Held by the turn that is decided about. The others wait in line.
    deciding: AsyncMutex<()>,
    /// Held while charging, so that nothing is charged twice.
    charging: AsyncMutex<()>,
    /// A turn ended, or less of it is left.
    released: Notify,
}

#[derive(Debug, Default)]
struct State {
    under_way: UnderWay,
    /// What could not be charged yet. Bounded by the turns under way, since no further one begins.
    owed: VecDeque<ModelUse>,
    spent: Usd,
}

/// Why a turn does not begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// This limit is used up.
    UsedUp(String),
    /// Costs cannot be counted now.
    Uncounted(MeterError),
    /// Other turns took too long.
    Busy,
    /// Nobody waits for it any more.
    GivenUp,
}

impl Account {
    pub(super) fn new(meter: Arc<dyn Meter>) -> Arc<Self> {
        Arc::new(Self {
            meter,
            state: Mutex::default(),
            deciding: AsyncMutex::default(),
            charging: AsyncMutex::default(),
            released: Notify::new(),
        })
    }

    /// Waits until a turn may begin that costs `worst` at most, or until `given_up`. It counts as under way until what is
    /// returned is dropped.
    pub(super) async fn admit(
        self: &Arc<Self>,
        worst: Worst,
        given_up: impl Future<Output = ()>,
    ) -> Result<Place, Refused> {
        // Only the waits end early: a charge that was given up midway might be made twice.
        let mut given_up = pin!(async {
            tokio::select! {
                () = given_up => Refused::GivenUp,
                () = tokio::time::sleep(MAX_WAIT) => Refused::Busy,
            }
        });
        let _deciding = tokio::select! {
            biased;
            refused = &mut given_up => return Err(refused),
            deciding = self.deciding.lock() => deciding,
        };
        loop {
            let released = self.released.notified();
            // Looked at before the meter is asked: a turn that ends between the two counts twice, never not at all.
            let under_way = self.with(|state| state.under_way);
            self.settle().await.map_err(Refused::Uncounted)?;
            let allowance = self.meter.allowance().await.map_err(Refused::Uncounted)?;
            match decide(allowance.left, under_way, worst.total()) {
                Admission::Begin => return Ok(Place::take(self.clone(), worst)),
                Admission::Refuse => return Err(Refused::UsedUp(allowance.limit)),
                Admission::Wait => tokio::select! {
                    biased;
                    refused = &mut given_up => return Err(refused),
                    () = released => {}
                },
            }
        }
    }

    /// Counts a cost. What the meter does not take is kept for later; then no further turn begins until it does.
    pub(super) async fn charge(&self, used: ModelUse) {
        self.with(|state| {
            state.spent = state.spent.saturating_add(used.cost);
            state.owed.push_back(used);
        });
        if let Err(error) = self.settle().await {
            tracing::error!(%error, "a model turn could not be charged: no further one begins until it is");
        }
    }

    /// Charges what is owed. Must be awaited to its end.
    pub(super) async fn settle(&self) -> Result<(), MeterError> {
        let _charging = self.charging.lock().await;
        while let Some(used) = self.with(|state| state.owed.front().cloned()) {
            self.meter.charge(used).await?;
            self.with(|state| state.owed.pop_front());
        }
        Ok(())
    }

    /// Returns what the turns came to so far.
    pub(super) fn spent(&self) -> Usd {
        self.with(|state| state.spent)
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A turn's place among those under way.
#[derive(Debug)]
pub(super) struct Place {
    account: Arc<Account>,
    worst: Usd,
}

impl Place {
    fn take(account: Arc<Account>, worst: Worst) -> Self {
        let worst = worst.total();
        account.with(|state| {
            state.under_way.turns += 1;
            state.under_way.worst = state.under_way.worst.saturating_add(worst);
        });
        Self { account, worst }
    }

    /// Notes that the turn costs `worst` at most beyond what was charged for it.
    pub(super) fn narrow(&mut self, worst: Usd) {
        let less = self.worst.saturating_sub(worst);
        self.worst = self.worst.saturating_sub(less);
        self.account.with(|state| state.under_way.worst = state.under_way.worst.saturating_sub(less));
        self.account.released.notify_waiters();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.account.with(|state| {
            state.under_way.turns -= 1;
            state.under_way.worst = state.under_way.worst.saturating_sub(self.worst);
        });
        self.account.released.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        sync::atomic::{AtomicU64, Ordering},
    };

    use async_trait::async_trait;

    use super::*;
    use crate::gateway::Allowance;

    /// Has so much left, in billionths of a dollar.
    #[derive(Debug)]
    struct Left(AtomicU64);

    #[async_trait]
    impl Meter for Left {
        async fn allowance(&self) -> Result<Allowance, MeterError> {
            let left = Usd::from_nanos(self.0.load(Ordering::Relaxed));
            Ok(Allowance { left: Some(left), limit: "the limit".to_owned() })
        }

        async fn charge(&self, used: ModelUse) -> Result<(), MeterError> {
            self.0.fetch_sub(used.cost.nanos(), Ordering::Relaxed);
            Ok(())
        }
    }

    fn account(left: u64) -> Arc<Account> {
        Account::new(Arc::new(Left(AtomicU64::new(left))))
    }

    fn worst(nanos: u64) -> Worst {
        Worst { input: Usd::from_nanos(nanos), output: Usd::ZERO }
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_waits_for_others_and_not_for_ever() {
        let account = account(10);
        let first = account.admit(worst(8), pending()).await.expect("alone");

        let second = account.admit(worst(8), pending()).await;
        let third = account.admit(worst(8), std::future::ready(())).await;
        drop(first);
        let fourth = account.admit(worst(8), pending()).await;

        assert_eq!(second.err(), Some(Refused::Busy));
        assert_eq!(third.err(), Some(Refused::GivenUp));
        assert!(fourth.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_charged_of_a_turn_makes_room_for_others() {
        let account = account(10);
        let mut first = account.admit(worst(8), pending()).await.expect("alone");

        let waiting = account.admit(worst(8), pending());
        let narrowing = async {
            tokio::task::yield_now().await;
            first.narrow(Usd::from_nanos(2));
        };
        let (second, ()) = tokio::join!(waiting, narrowing);

        assert!(second.is_ok());
    }
}
