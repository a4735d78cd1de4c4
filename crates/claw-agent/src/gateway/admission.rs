//! Whether a turn may begin, given what is left and what is under way.

use claw_core::Usd;

/// The turns that are under way, whose cost is not wholly counted yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct UnderWay {
    /// How many there are.
    pub(super) turns: usize,
    /// What they may come to at most, beyond what was counted.
    pub(super) worst: Usd,
}

/// What becomes of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It may begin.
    Begin,
    /// It may begin once others have ended, perhaps.
    Wait,
    /// Nothing is left.
    Refuse,
}

/// Decides about a turn that costs `own` at most.
///
/// Turns begin side by side as long as what is left covers the worst of them all. A turn whose worst is more than that begins
/// only alone. So a limit is passed by one turn at most, however many ask at once.
pub(super) fn decide(left: Option<Usd>, under_way: UnderWay, own: Usd) -> Admission {
    match left {
        None => Admission::Begin,
        Some(Usd::ZERO) => Admission::Refuse,
        Some(_) if under_way.turns == 0 => Admission::Begin,
        Some(left) if under_way.worst.saturating_add(own) <= left => Admission::Begin,
        Some(_) => Admission::Wait,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn under_way(turns: usize, worst: u64) -> UnderWay {
        UnderWay { turns, worst: Usd::from_nanos(worst) }
    }

    #[test]
    fn turns_run_side_by_side_only_as_far_as_what_is_left_covers_them_all() {
        let decide =
            |left, under_way, own| decide(Some(Usd::from_nanos(left)), under_way, Usd::from_nanos(own));

        assert_eq!(decide(10, under_way(0, 0), 10), Admission::Begin);
        assert_eq!(decide(10, under_way(0, 0), 99), Admission::Begin);
        assert_eq!(decide(10, under_way(1, 4), 6), Admission::Begin);
        assert_eq!(decide(10, under_way(1, 4), 7), Admission::Wait);
        assert_eq!(decide(10, under_way(1, 99), 1), Admission::Wait);
        assert_eq!(decide(0, under_way(0, 0), 0), Admission::Refuse);
        assert_eq!(decide(0, under_way(3, 9), 1), Admission::Refuse);
    }

    #[test]
    fn without_a_limit_everything_begins() {
        assert_eq!(super::decide(None, under_way(32, u64::MAX), Usd::from_nanos(9)), Admission::Begin);
    }

    proptest! {
        #![proptest_config(crate::fuzz::cases())]

        /// Plays turns that begin and end in any order and cost anything up to their worst, which may be more than the budget.
        #[test]
        fn r7_a_budget_is_passed_by_one_turn_at_most(
            budget in 0u64..100,
            turns in prop::collection::vec((0u64..60, 0.0..=1.0, any::<prop::sample::Index>()), 0..40),
        ) {
            let mut spent = 0;
            let mut open: Vec<(u64, u64)> = Vec::new();
            let mut largest = 0;
            for (worst, part, which) in turns {
                let left = Usd::from_nanos(budget.saturating_sub(spent));
                let sum = open.iter().map(|(worst, _)| worst).sum();
                if decide(Some(left), under_way(open.len(), sum), Usd::from_nanos(worst)) == Admission::Begin {
                    let cost = (worst as f64 * part) as u64;
                    largest = largest.max(cost);
                    open.push((worst, cost));
                } else if !open.is_empty() {
                    spent += open.swap_remove(which.index(open.len())).1;
                }
            }
            spent += open.iter().map(|(_, cost)| cost).sum::<u64>();
            prop_assert!(spent <= budget + largest);
        }
    }
}
