//! The list prices, as Claude Code 2.1.329 carries them (its `pricing_tiers`), so that both come to the same sums.
//!
//! US dollars per million tokens: input, output, cache write for 5 minutes and for an hour, cache read. A web search costs a
//! cent everywhere.

use super::{Entry, Rates};

/// What one web search costs, in millionths of a millionth of a dollar.
const WEB_SEARCH: u64 = 10_000_000_000;

/// Dollars per million tokens, in thousandths.
const fn rates(input: u64, output: u64, cache_write_5m: u64, cache_write_1h: u64, cache_read: u64) -> Rates {
    Rates {
        input: input * 1_000,
        output: output * 1_000,
        cache_write_5m: cache_write_5m * 1_000,
        cache_write_1h: cache_write_1h * 1_000,
        cache_read: cache_read * 1_000,
        web_search: WEB_SEARCH,
    }
}

const HAIKU_3_5: Rates = rates(800, 4_000, 1_000, 1_600, 80);
const HAIKU_4_5: Rates = rates(1_000, 5_000, 1_250, 2_000, 100);
const HAIKU_5_5: Rates = rates(100, 500, 125, 200, 10);
const HAIKU_5_5_LONG: Rates = rates(500, 2_500, 625, 1_000, 50);
const TIER_2_10: Rates = rates(2_000, 10_000, 2_500, 4_000, 200);
const TIER_2_10_READ_0_1: Rates = rates(2_000, 10_000, 2_500, 4_000, 100);
const TIER_3_15: Rates = rates(3_000, 15_000, 3_750, 6_000, 300);
const TIER_4_20: Rates = rates(4_000, 20_000, 5_000, 8_000, 200);
const TIER_5_25: Rates = rates(5_000, 25_000, 6_250, 10_000, 500);
const TIER_8_40: Rates = rates(8_000, 40_000, 10_000, 16_000, 200);
const TIER_10_50: Rates = rates(10_000, 50_000, 12_500, 20_000, 1_000);
const TIER_10_50_READ_0_25: Rates = rates(10_000, 50_000, 12_500, 20_000, 250);
const TIER_15_75: Rates = rates(15_000, 75_000, 18_750, 30_000, 1_500);

const FAST_8_40: Rates = rates(8_000, 40_000, 10_000, 16_000, 400);
const FAST_16_80: Rates = rates(16_000, 80_000, 20_000, 32_000, 400);
const FAST_30_150: Rates = rates(30_000, 150_000, 37_500, 60_000, 3_000);

const fn plain(standard: Rates) -> Entry {
    Entry { standard, fast: None, long: None }
}

const fn with_fast(standard: Rates, fast: Rates) -> Entry {
    Entry { standard, fast: Some(fast), long: None }
}

/// Prices by model. A name stands for its dated versions too.
const MODELS: &[(&str, Entry)] = &[
    ("claude-3-5-haiku", plain(HAIKU_3_5)),
    ("claude-haiku-4-5", plain(HAIKU_4_5)),
    ("claude-haiku-5-5", Entry { standard: HAIKU_5_5, fast: None, long: Some((100_000, HAIKU_5_5_LONG)) }),
    ("claude-3-5-sonnet", plain(TIER_3_15)),
    ("claude-3-7-sonnet", plain(TIER_3_15)),
    ("claude-sonnet-4", plain(TIER_3_15)),
    ("claude-sonnet-4-0", plain(TIER_3_15)),
    ("claude-sonnet-4-5", plain(TIER_3_15)),
    ("claude-sonnet-4-6", plain(TIER_3_15)),
    ("claude-sonnet-5", plain(TIER_2_10)),
    ("claude-sonnet-5-5", plain(TIER_2_10_READ_0_1)),
    ("claude-opus-4", plain(TIER_15_75)),
    ("claude-opus-4-0", plain(TIER_15_75)),
    ("claude-opus-4-1", plain(TIER_15_75)),
    ("claude-opus-4-5", plain(TIER_5_25)),
    ("claude-opus-4-6", with_fast(TIER_5_25, FAST_30_150)),
    ("claude-opus-4-7", with_fast(TIER_5_25, FAST_30_150)),
    ("claude-opus-4-8", with_fast(TIER_5_25, TIER_10_50)),
    ("claude-opus-5", with_fast(TIER_5_25, TIER_10_50)),
    ("claude-opus-5-5", with_fast(TIER_4_20, FAST_8_40)),
    ("claude-fable-5", plain(TIER_10_50)),
    ("claude-fable-5-1", plain(TIER_10_50_READ_0_25)),
    ("claude-fable-5-2", with_fast(TIER_8_40, FAST_16_80)),
    ("claude-mythos-5", plain(TIER_10_50)),
    ("claude-mythos-5-1", plain(TIER_10_50_READ_0_25)),
    ("claude-mythos-5-2", with_fast(TIER_8_40, FAST_16_80)),
];

/// Returns the entry with the longest of the names that match.
pub(super) fn find(matches: impl Fn(&str) -> bool) -> Option<(&'static str, Entry)> {
    MODELS.iter().filter(|(name, _)| matches(name)).max_by_key(|(name, _)| name.len()).copied()
}

/// Returns the highest prices there are.
pub(super) fn dearest() -> Entry {
    with_fast(TIER_15_75, FAST_30_150)
}

#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    MODELS.iter().map(|(name, _)| *name)
}
