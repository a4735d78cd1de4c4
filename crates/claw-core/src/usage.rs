//! What model turns use and cost.

use std::{fmt, iter::Sum};

use serde::{Deserialize, Serialize};

/// An amount of US dollars, exact to a billionth: prices per token are that small, and sums must not drift.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Usd(u64);

const NANOS: f64 = 1e9;

impl Usd {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Returns an amount in billionths of a dollar.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Returns the nearest amount; `None` for what is negative, not a number, or more than 18 billion dollars.
    pub fn from_dollars(dollars: f64) -> Option<Self> {
        let nanos = (dollars * NANOS).round();
        // The bounds keep the conversion exact in meaning: no NaN, no wrap.
        (nanos >= 0.0 && nanos < u64::MAX as f64).then_some(Self(nanos as u64))
    }

    /// Returns the amount in billionths of a dollar.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Returns the amount in dollars, as the API shows it.
    pub fn dollars(self) -> f64 {
        self.0 as f64 / NANOS
    }

    /// Adds; the largest amount there is if the sum is larger.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Subtracts; nothing if `other` is larger.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Usd {
    /// Writes `$12.34`, with up to six decimals where they matter.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.6}", self.dollars());
        let kept = text.trim_end_matches('0');
        let decimals = kept.len() - kept.find('.').map_or(kept.len(), |point| point + 1);
        write!(f, "${:.*}", decimals.max(2), self.dollars())
    }
}

impl Sum for Usd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Self::saturating_add)
    }
}

/// Tokens of one or more model turns, by what they are billed as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct TokenUsage {
    /// Read by the model, not from its cache.
    pub input: u64,
    /// Written by the model.
    pub output: u64,
    /// Put into the model's cache for five minutes.
    pub cache_write_5m: u64,
    /// Put into the model's cache for an hour.
    pub cache_write_1h: u64,
    /// Read from the model's cache.
    pub cache_read: u64,
}

impl TokenUsage {
    /// Adds kind by kind, without wrapping.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            output: self.output.saturating_add(other.output),
            cache_write_5m: self.cache_write_5m.saturating_add(other.cache_write_5m),
            cache_write_1h: self.cache_write_1h.saturating_add(other.cache_write_1h),
            cache_read: self.cache_read.saturating_add(other.cache_read),
        }
    }
}

/// What a model turn, or a part of one, used and cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelUse {
    /// The model's name as the API gave it.
    pub model: String,
    /// Tokens.
    pub tokens: TokenUsage,
    /// Model turns that began: 1 for the first charge of a turn, 0 for later ones.
    pub turns: u64,
    /// Price of it all.
    pub cost: Usd,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_and_refuse_what_is_no_amount() {
        assert_eq!(Usd::from_dollars(0.0008).map(Usd::nanos), Some(800_000));
        assert_eq!(
            (0..10).map(|_| Usd::from_nanos(100_000_000)).sum::<Usd>(),
            Usd::from_nanos(1_000_000_000)
        );
        for wrong in [-0.01, f64::NAN, f64::INFINITY, 1e30] {
            assert_eq!(Usd::from_dollars(wrong), None, "{wrong}");
        }
        assert_eq!(Usd::from_nanos(1).saturating_sub(Usd::from_nanos(2)), Usd::ZERO);
    }

    #[test]
    fn amounts_read_like_money_and_keep_small_parts() {
        for (nanos, text) in
            [(0, "$0.00"), (5_000_000_000, "$5.00"), (800_000, "$0.0008"), (1_230_000_000, "$1.23")]
        {
            assert_eq!(Usd::from_nanos(nanos).to_string(), text);
        }
    }
}
