//! How many requests and pulls there were in each of the last hours.

use std::collections::BTreeMap;

use claw_core::Timestamp;
use serde::{Deserialize, Serialize};

/// Hours that are told of.
pub(super) const HOURS: usize = 24;

/// Counts of one hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Hour {
    #[serde(default)]
    requests: u64,
    #[serde(default)]
    pulls: u64,
}

/// Counts by hour since 1970. Hours that are over for a day are forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hours(BTreeMap<i64, Hour>);

fn hour_of(time: Timestamp) -> i64 {
    time.as_second().div_euclid(3600)
}

impl Hours {
    pub(super) fn request(&mut self, now: Timestamp) {
        self.current(now).requests += 1;
    }

    pub(super) fn pull(&mut self, now: Timestamp) {
        self.current(now).pulls += 1;
    }

    fn current(&mut self, now: Timestamp) -> &mut Hour {
        let hour = hour_of(now);
        if !self.0.contains_key(&hour) {
            self.0 = self.0.split_off(&(hour - HOURS as i64));
        }
        self.0.entry(hour).or_default()
    }

    /// Adds what was counted elsewhere.
    pub(super) fn add(&mut self, other: &Self) {
        for (hour, counts) in &other.0 {
            let own = self.0.entry(*hour).or_default();
            own.requests += counts.requests;
            own.pulls += counts.pulls;
        }
    }

    /// Returns the requests of each of the last 24 hours, the oldest first, this hour last.
    pub(super) fn requests(&self, now: Timestamp) -> [u64; HOURS] {
        self.each(now, |hour| hour.requests)
    }

    /// Returns the pulls of the last 24 hours.
    pub(super) fn pulls(&self, now: Timestamp) -> u64 {
        self.each(now, |hour| hour.pulls).iter().sum()
    }

    fn each(&self, now: Timestamp, count: impl Fn(&Hour) -> u64) -> [u64; HOURS] {
        let oldest = hour_of(now) - (HOURS as i64 - 1);
        std::array::from_fn(|index| self.0.get(&(oldest + index as i64)).map_or(0, &count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(hour * 3600 + 1800).expect("a time")
    }

    #[test]
    fn b10_what_is_a_day_old_is_counted_no_more() {
        let mut hours = Hours::default();
        hours.request(at(100));
        hours.pull(at(100));
        hours.request(at(101));

        assert_eq!(hours.requests(at(101)).iter().sum::<u64>(), 2);
        assert_eq!(&hours.requests(at(101))[22..], [1, 1]);
        assert_eq!(hours.pulls(at(123)), 1);
        assert_eq!((hours.requests(at(124)).iter().sum::<u64>(), hours.pulls(at(124))), (1, 0));
        hours.request(at(500));
        assert_eq!(hours.0.len(), 1, "old hours are not kept");
    }

    #[test]
    fn counts_survive_being_written_down() {
        let mut hours = Hours::default();
        hours.request(at(100));
        let json = serde_json::to_value(&hours).expect("JSON");
        let mut read: Hours = serde_json::from_value(json).expect("reads back");

        read.add(&hours);

        assert_eq!(read.requests(at(100))[23], 2);
    }
}
