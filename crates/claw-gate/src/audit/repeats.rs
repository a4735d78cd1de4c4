//! What happens again and again, bounded: a stranger who is refused without end, or a page that is read every second,
//! must not fill the trail.

use std::{collections::HashMap, marker::PhantomData, time::Duration};

use claw_core::{AuditAct, AuditRecord};
use tokio::time::Instant;

/// What one party did of one kind within this time makes two records: the first, and how many more there were.
const WINDOW: Duration = Duration::from_secs(60);

/// Parties that are told apart within a window; those beyond share one record.
const MAX_PARTIES: usize = 512;

/// Verb of the record that stands for parties beyond those.
const CROWD: &str = "many";

/// Its code.
const CROWD_CODE: &str = "MANY";

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Party {
    actor: String,
    client: Option<String>,
    verb: String,
    code: &'static str,
}

struct Count {
    /// The newest act that has no record of its own.
    act: Option<AuditAct>,
    more: u64,
    ends: Instant,
}

impl Count {
    fn begin() -> Self {
        Self { act: None, more: 0, ends: Instant::now() + WINDOW }
    }
}

/// Returns who stands for all those that are not told apart.
fn crowd() -> (Party, AuditAct) {
    let party = Party { actor: String::new(), client: None, verb: CROWD.to_owned(), code: CROWD_CODE };
    (party, AuditAct { verb: CROWD.to_owned(), ..AuditAct::default() })
}

/// Refusals.
#[derive(Debug, Default)]
pub(super) struct Refused;

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Read;

/// How something that happens again and again is recorded.
pub(super) trait Repeated {
    /// Makes the record; `code` is empty for what has none.
    fn record(act: AuditAct, code: &str, more: u64) -> AuditRecord;
}

impl Repeated for Refused {
    fn record(act: AuditAct, code: &str, more: u64) -> AuditRecord {
        AuditRecord::Denied { act, code: code.to_owned(), more }
    }
}

impl Repeated for Read {
    fn record(act: AuditAct, _code: &str, more: u64) -> AuditRecord {
        AuditRecord::Read { act, more }
    }
}

/// Refusals that are being counted.
pub(super) type Denials = Repeats<Refused>;

/// Reads that are being counted.
pub(super) type Reads = Repeats<Read>;

/// What is being counted.
#[derive(Default)]
pub(super) struct Repeats<K> {
    parties: HashMap<Party, Count>,
    kind: PhantomData<K>,
}

impl<K: Repeated> Repeats<K> {
    /// Takes one; returns the record to write now, if it is the first of its kind for a while.
    pub(super) fn add(&mut self, act: AuditAct, code: &'static str) -> Option<AuditRecord> {
        let mut party =
            Party { actor: act.actor.clone(), client: act.client.clone(), verb: act.verb.clone(), code };
        let mut act = act;
        if !self.parties.contains_key(&party) && self.parties.len() >= MAX_PARTIES {
            (party, act) = crowd();
        }
        let known = self.parties.contains_key(&party);
        let count = self.parties.entry(party).or_insert_with(Count::begin);
        if known {
            count.more += 1;
            count.act = Some(act);
            return None;
        }
        Some(K::record(act, code, 0))
    }

    /// Counts further ones of which nothing else is known.
    pub(super) fn count_further(&mut self, number: u64) {
        if number > 0 {
            let (party, act) = crowd();
            let count = self.parties.entry(party).or_insert_with(Count::begin);
            count.more += number;
            count.act = Some(act);
        }
    }

    /// Waits until a window has ended.
    pub(super) async fn due(&self) {
        match self.parties.values().map(|count| count.ends).min() {
            Some(ends) => tokio::time::sleep_until(ends).await,
            None => std::future::pending().await,
        }
    }

    /// Returns what windows that have ended counted.
    pub(super) fn take_due(&mut self) -> Vec<AuditRecord> {
        let now = Instant::now();
        let mut records = Vec::new();
        self.parties.retain(|party, count| {
            let ended = count.ends <= now;
            if ended {
                records.extend(summary::<K>(party, count));
            }
            !ended
        });
        records
    }

    /// Returns what all windows counted.
    pub(super) fn take_all(&mut self) -> Vec<AuditRecord> {
        self.parties.drain().filter_map(|(party, mut count)| summary::<K>(&party, &mut count)).collect()
    }
}

fn summary<K: Repeated>(party: &Party, count: &mut Count) -> Option<AuditRecord> {
    let act = count.act.take()?;
    Some(K::record(act, party.code, count.more - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn act(actor: usize) -> AuditAct {
        AuditAct { actor: format!("key:{actor}"), verb: "job.submit".into(), ..AuditAct::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn t31_t32_a_flood_of_refusals_makes_two_records_and_counts_the_rest() {
        let mut denials = Denials::default();

        let now: Vec<_> = (0..1_000).filter_map(|_| denials.add(act(1), "SCOPE_REQUIRED")).collect();
        denials.due().await;
        let later = denials.take_due();

        assert_eq!(now.len(), 1);
        assert!(matches!(&later[..], [AuditRecord::Denied { more: 998, .. }]), "{later:?}");
        assert!(denials.add(act(1), "SCOPE_REQUIRED").is_some(), "a new window begins with a record");
    }

    #[tokio::test]
    async fn t31_refusals_that_found_no_place_are_counted() {
        let mut denials = Denials::default();

        denials.count_further(0);
        assert!(denials.take_all().is_empty());
        denials.count_further(4_211);

        let records = denials.take_all();
        assert!(
            matches!(&records[..], [AuditRecord::Denied { more: 4_210, code, .. }] if code == CROWD_CODE),
            "{records:?}"
        );
    }

    #[tokio::test]
    async fn t32_many_parties_are_counted_together_in_bounded_memory() {
        let mut denials = Denials::default();

        let now = (0..10_000).filter_map(|party| denials.add(act(party), "INVALID_KEY")).count();

        assert_eq!(now, MAX_PARTIES + 1);
        assert_eq!(denials.parties.len(), MAX_PARTIES + 1);
        let counted: u64 = denials
            .take_all()
            .iter()
            .map(|record| match record {
                AuditRecord::Denied { more, .. } => more + 1,
                _ => 0,
            })
            .sum();
        assert_eq!(counted as usize + now, 10_000);
    }
}
