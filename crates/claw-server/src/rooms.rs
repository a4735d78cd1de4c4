//! Bounded numbers of things that each party may hold open at the same time.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

/// Counts what each party holds. Cheap to clone; clones share the counts.
pub(crate) struct Rooms<K> {
    each: usize,
    // A std mutex: held for a look-up, never across an await. Holds parties that hold something, and no others.
    taken: Arc<Mutex<HashMap<K, usize>>>,
}

impl<K> Clone for Rooms<K> {
    fn clone(&self) -> Self {
        Self { each: self.each, taken: Arc::clone(&self.taken) }
    }
}

/// A place that a party holds until it is dropped.
pub(crate) struct Room<K: Eq + Hash> {
    party: Option<K>,
    rooms: Rooms<K>,
}

impl<K: Eq + Hash + Clone> Rooms<K> {
    /// Gives each party so many places.
    pub(crate) fn new(each: usize) -> Self {
        Self { each, taken: Arc::default() }
    }

    /// Takes a place; `None` if the party holds all of its own.
    pub(crate) fn enter(&self, party: K) -> Option<Room<K>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let held = taken.entry(party.clone()).or_default();
        if *held >= self.each {
            return None;
        }
        *held += 1;
        Some(Room { party: Some(party), rooms: self.clone() })
    }
}

impl<K: Eq + Hash> Drop for Room<K> {
    fn drop(&mut self) {
        let Some(party) = self.party.take() else { return };
        let mut taken = self.rooms.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = taken.get_mut(&party) {
            *held -= 1;
            if *held == 0 {
                taken.remove(&party);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t32_one_party_cannot_take_the_places_of_others_and_leaves_nothing_behind() {
        let rooms = Rooms::new(2);
        let held: Vec<_> = (0..2).map(|_| rooms.enter("a").expect("a place")).collect();

        assert!(rooms.enter("a").is_none());
        assert!(rooms.enter("b").is_some());
        drop(held);
        assert!(rooms.taken.lock().expect("a lock").is_empty());
        assert!(rooms.enter("a").is_some());
    }
}
