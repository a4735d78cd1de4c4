//! Keys that were looked up a moment ago, so that a busy client costs one look at the store a second and not one a
//! request.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use claw_core::{Actor, KeyId, Timestamp};
use tokio::time::Instant;

use crate::token::TokenHash;

/// How long a look at the store counts. A change through this gate counts at once, whatever this says; it bounds what a
/// change can be late that nobody waited for, since whoever asked for it went away in the middle.
const FRESH: Duration = Duration::from_secs(1);

/// Keys that are remembered at the most; beyond it all are forgotten.
const MOST: usize = 1024;

/// Valid keys by the hash of the key. Only hashes, as in the store: comparing them leaks nothing, because nobody can
/// steer the hash of a guess.
#[derive(Default)]
pub(crate) struct RecentKeys {
    // A std mutex: held for a map look-up, never across an await.
    keys: Mutex<HashMap<TokenHash, Recent>>,
}

struct Recent {
    id: KeyId,
    actor: Actor,
    looked_up: Instant,
    /// From then on it opens nothing.
    until: Timestamp,
    /// Writes to the gate's records before the look. One more, and the look no longer counts.
    writes: u64,
}

impl RecentKeys {
    /// Returns whose key it is if that is known and nothing was written since.
    pub(crate) fn get(&self, key: &TokenHash, writes: u64, now: Timestamp) -> Option<(KeyId, Actor)> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = keys.get(key)?;
        (recent.writes == writes && now < recent.until && recent.looked_up.elapsed() < FRESH)
            .then(|| (recent.id, recent.actor.clone()))
    }

    /// Notes whose key it is, and until when, as read when there had been so many writes.
    pub(crate) fn note(&self, key: TokenHash, writes: u64, until: Timestamp, id: KeyId, actor: Actor) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= MOST {
            keys.clear();
        }
        keys.insert(key, Recent { id, actor, looked_up: Instant::now(), until, writes });
    }
}

#[cfg(test)]
mod tests {
    use claw_core::{Principal, Scope, Secret};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_look_counts_for_a_second_and_until_the_next_write() {
        let keys = RecentKeys::default();
        let hash = TokenHash::of(&Secret::new("a key"));
        let id = KeyId::new();
        let actor = Actor::new(Principal::Key(id.to_string()), "agent", [Scope::JobsRead]);
        let (now, end) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
        keys.note(hash, 7, end, id, actor.clone());

        assert_eq!(keys.get(&hash, 7, now), Some((id, actor)));
        assert_eq!(keys.get(&hash, 8, now), None);
        assert_eq!(keys.get(&hash, 7, end), None, "it expired");
        assert_eq!(keys.get(&TokenHash::of(&Secret::new("another")), 7, now), None);
        tokio::time::advance(FRESH).await;
        assert_eq!(keys.get(&hash, 7, now), None);
    }

    #[test]
    fn no_more_keys_are_remembered_than_the_limit_says() {
        let keys = RecentKeys::default();
        let actor = Actor::new(Principal::Token, "agent", [Scope::JobsRead]);
        for number in 0..3 * MOST {
            let hash = TokenHash::of(&Secret::new(number.to_string()));
            keys.note(hash, 0, Timestamp::MAX, KeyId::new(), actor.clone());
        }

        assert!(keys.keys.lock().expect("a lock").len() <= MOST);
    }
}
