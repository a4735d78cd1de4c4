//! Limits on failures: how often a wrong secret may be tried.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use claw_core::{Clock, Secret, Timestamp};

use crate::token::TokenHash;

/// The span in which failures are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// Failures from one address in the window, counted apart for sign-ins and for other credentials.
const PER_ADDRESS: usize = 10;

/// Failed sign-ins to one account from one address in the window.
const PER_ACCOUNT_AND_ADDRESS: usize = 5;

/// Failed sign-ins to one account from all addresses in the window. Above what one address can reach, so that one
/// stranger cannot lock a person out.
const PER_ACCOUNT: usize = 30;

/// How many keys a limiter remembers. About 2 MB when full.
const CAPACITY: usize = 10_000;

/// Too many failures; the wait until the next try is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many failed attempts: try again in {} s", .0.as_secs().max(1))]
pub struct RetryAfter(pub Duration);

/// Counts failures by key in a sliding window.
///
/// An attempt is counted when it begins and given back if it succeeds, so that many attempts at the same moment
/// cannot slip through before the first of them has failed. Memory is bounded: when too many keys are known, those
/// whose last failure is longest ago are forgotten.
pub struct FailureLimiter<K> {
    limit: usize,
    window: Duration,
    capacity: usize,
    clock: Arc<dyn Clock>,
    // A std mutex: held for a map look-up, never across an await.
    failures: Mutex<HashMap<K, VecDeque<Timestamp>>>,
}

impl<K: Eq + Hash + Clone> FailureLimiter<K> {
    /// Returns a limiter that allows `limit` failures in `window` and remembers `capacity` keys.
    pub fn new(limit: usize, window: Duration, capacity: usize, clock: Arc<dyn Clock>) -> Self {
        Self { limit, window, capacity: capacity.max(1), clock, failures: Mutex::new(HashMap::new()) }
    }

    /// Counts an attempt as failed for now.
    ///
    /// # Errors
    ///
    /// [`RetryAfter`] if the limit is reached; the attempt is not counted then.
    pub fn begin(&self, key: &K) -> Result<(), RetryAfter> {
        let now = self.clock.now();
        let mut failures = self.lock();
        if !failures.contains_key(key) && failures.len() >= self.capacity {
            self.make_room(&mut failures, now);
        }
        let times = failures.entry(key.clone()).or_default();
        times.retain(|time| self.counts(*time, now));
        if let Some(oldest) = times.front()
            && times.len() >= self.limit
        {
            let passed = Duration::try_from(now.duration_since(*oldest)).unwrap_or_default();
            return Err(RetryAfter(self.window.saturating_sub(passed)));
        }
        times.push_back(now);
        Ok(())
    }

    /// Takes back one counted attempt: it succeeded.
    pub fn forgive(&self, key: &K) {
        let mut failures = self.lock();
        if let Some(times) = failures.get_mut(key) {
            times.pop_back();
            if times.is_empty() {
                failures.remove(key);
            }
        }
    }

    /// Tells whether a failure is inside the window. One from the future means that the clock was set back; it is
    /// forgotten, since it would count for an unknown time.
    fn counts(&self, time: Timestamp, now: Timestamp) -> bool {
        Duration::try_from(now.duration_since(time)).is_ok_and(|passed| passed < self.window)
    }

    fn make_room(&self, failures: &mut HashMap<K, VecDeque<Timestamp>>, now: Timestamp) {
        failures.retain(|_, times| times.back().is_some_and(|last| self.counts(*last, now)));
        if failures.len() < self.capacity {
            return;
        }
        // Half at once, so that the search is paid for by the thousands of insertions that follow.
        let mut last: Vec<Timestamp> = failures.values().filter_map(|times| times.back().copied()).collect();
        let middle = last.len() / 2;
        let (_, median, _) = last.select_nth_unstable(middle);
        let median = *median;
        failures.retain(|_, times| times.back().is_some_and(|last| *last > median));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, VecDeque<Timestamp>>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The part of an address that one party commands: all of an IPv4 address, the /64 network of an IPv6 one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Network(IpAddr);

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.into()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into())
            }
        }
    }
}

/// The limits of one gate.
pub(crate) struct Limits {
    credentials: FailureLimiter<Network>,
    login_address: FailureLimiter<Network>,
    login_account_address: FailureLimiter<(TokenHash, Network)>,
    login_account: FailureLimiter<TokenHash>,
}

impl Limits {
    pub(crate) fn new(clock: &Arc<dyn Clock>) -> Self {
        Self {
            credentials: FailureLimiter::new(PER_ADDRESS, WINDOW, CAPACITY, Arc::clone(clock)),
            login_address: FailureLimiter::new(PER_ADDRESS, WINDOW, CAPACITY, Arc::clone(clock)),
            login_account_address: FailureLimiter::new(
                PER_ACCOUNT_AND_ADDRESS,
                WINDOW,
                CAPACITY,
                Arc::clone(clock),
            ),
            login_account: FailureLimiter::new(PER_ACCOUNT, WINDOW, CAPACITY, Arc::clone(clock)),
        }
    }

    /// Counts a wrong key, token or setup token. The right one is never refused, because 256 random bits cannot be
    /// guessed: the limit only keeps the noise of one address from drowning the rest.
    pub(crate) fn wrong_credential(&self, client: IpAddr) -> Result<(), RetryAfter> {
        self.credentials.begin(&client.into())
    }

    /// Begins a sign-in, which counts as failed until [`LoginAttempt::succeeded`]. Unlike a key, a password can be
    /// guessed, so that past the limit even the right one is refused.
    pub(crate) fn login(&self, username: &str, client: IpAddr) -> Result<LoginAttempt<'_>, RetryAfter> {
        let attempt = LoginAttempt {
            limits: self,
            // Hashed, so that a key has the same size whatever was sent as a name.
            account: TokenHash::of(&Secret::new(username)),
            network: client.into(),
        };
        self.login_address.begin(&attempt.network)?;
        if let Err(wait) = self.login_account_address.begin(&(attempt.account, attempt.network)) {
            self.login_address.forgive(&attempt.network);
            return Err(wait);
        }
        if let Err(wait) = self.login_account.begin(&attempt.account) {
            self.login_address.forgive(&attempt.network);
            self.login_account_address.forgive(&(attempt.account, attempt.network));
            return Err(wait);
        }
        Ok(attempt)
    }
}

/// One sign-in under way.
#[must_use = "a sign-in that succeeded must be told so"]
pub(crate) struct LoginAttempt<'a> {
    limits: &'a Limits,
    account: TokenHash,
    network: Network,
}

impl LoginAttempt<'_> {
    pub(crate) fn succeeded(self) {
        self.limits.login_address.forgive(&self.network);
        self.limits.login_account_address.forgive(&(self.account, self.network));
        self.limits.login_account.forgive(&self.account);
    }
}

#[cfg(test)]
mod tests {
    use claw_core::ManualClock;

    use super::*;

    fn limiter(limit: usize, capacity: usize) -> (FailureLimiter<u32>, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        (FailureLimiter::new(limit, WINDOW, capacity, clock.clone()), clock)
    }

    #[test]
    fn the_limit_holds_in_any_window_and_tells_the_wait() {
        let (limiter, clock) = limiter(2, 10);

        assert_eq!(limiter.begin(&1), Ok(()));
        clock.advance(20);
        assert_eq!(limiter.begin(&1), Ok(()));
        assert_eq!(limiter.begin(&1), Err(RetryAfter(Duration::from_secs(40))));
        clock.advance(40);
        assert_eq!(limiter.begin(&1), Ok(()), "the first failure left the window");
        assert_eq!(limiter.begin(&1), Err(RetryAfter(Duration::from_secs(20))));
    }

    #[test]
    fn refused_attempts_do_not_lengthen_the_wait() {
        let (limiter, clock) = limiter(1, 10);
        assert_eq!(limiter.begin(&1), Ok(()));
        for _ in 0..59 {
            clock.advance(1);
            assert!(limiter.begin(&1).is_err());
        }
        clock.advance(1);

        assert_eq!(limiter.begin(&1), Ok(()));
    }

    #[test]
    fn a_forgiven_attempt_does_not_count() {
        let (limiter, _clock) = limiter(1, 10);
        for _ in 0..5 {
            assert_eq!(limiter.begin(&1), Ok(()));
            limiter.forgive(&1);
        }

        assert!(limiter.lock().is_empty());
    }

    #[test]
    fn keys_do_not_disturb_each_other() {
        let (limiter, _clock) = limiter(1, 10);

        assert_eq!(limiter.begin(&1), Ok(()));
        assert_eq!(limiter.begin(&2), Ok(()));
        assert!(limiter.begin(&1).is_err());
    }

    #[test]
    fn a20_memory_stays_bounded_and_the_newest_failures_are_kept() {
        let (limiter, clock) = limiter(1, 100);
        for key in 0..10_000 {
            clock.advance(i64::from(key % 50 == 0));
            assert_eq!(limiter.begin(&key), Ok(()));
            assert!(limiter.lock().len() <= 100);
        }

        assert!(limiter.begin(&9_999).is_err());
    }

    #[test]
    fn a_clock_set_back_does_not_lock_anyone_out() {
        let (limiter, clock) = limiter(1, 10);
        assert_eq!(limiter.begin(&1), Ok(()));
        clock.advance(-3600);

        assert_eq!(limiter.begin(&1), Ok(()));
    }

    #[test]
    fn t18_an_ipv6_party_cannot_dodge_by_changing_addresses_in_its_network() {
        let network = |text: &str| Network::from(text.parse::<IpAddr>().expect("an address"));

        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }

    #[test]
    fn t18_one_stranger_cannot_lock_a_person_out_but_many_together_are_slowed() {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let limits = Limits::new(&clock);
        let address = |last: u8| IpAddr::from([192, 0, 2, last]);
        for _ in 0..100 {
            let _ = limits.login("ann", address(1));
        }
        assert!(limits.login("ann", address(1)).is_err());
        assert!(limits.login("ann", address(2)).is_ok());

        let heard = (3..=50).filter(|last| limits.login("ann", address(*last)).is_ok()).count();
        assert_eq!(heard, PER_ACCOUNT - PER_ACCOUNT_AND_ADDRESS - 1);
    }

    #[test]
    fn t18_trying_many_names_from_one_address_is_limited_too() {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let limits = Limits::new(&clock);
        let heard = (0..50)
            .filter(|n| limits.login(&format!("user{n}"), IpAddr::from([192, 0, 2, 1])).is_ok())
            .count();

        assert_eq!(heard, PER_ADDRESS);
    }
}
