//! What one turn is charged, in two parts.

use claw_core::{ModelUse, TokenUsage, Usd};

use super::{
    account::Account,
    prices::{PriceList, Worst},
    request::Facts,
    tap::Reading,
    usage::Usage,
};

/// Bytes of a request that count as one token where the API did not say how many there were. Less than most text has, so that
/// the estimate is rather too high.
const BYTES_PER_TOKEN: u64 = 3;

/// The charges of one turn.
#[derive(Debug)]
pub(super) struct Bill {
    asked_model: String,
    input_estimate: u64,
    worst: Worst,
    /// What was charged when the answer began.
    charged: Option<(TokenUsage, Usd)>,
    closed: bool,
}

impl Bill {
    pub(super) fn new(facts: Facts, body_bytes: usize, prices: &PriceList) -> Self {
        let input_estimate = (body_bytes as u64).div_ceil(BYTES_PER_TOKEN);
        let worst = prices.of(None, &facts.model).worst(input_estimate, facts.max_tokens, facts.max_searches);
        Self { asked_model: facts.model, input_estimate, worst, charged: None, closed: false }
    }

    /// Returns the most that the turn may cost.
    pub(super) fn worst(&self) -> Worst {
        self.worst
    }

    /// Tells whether nothing was charged yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.charged.is_none() && !self.closed
    }

    /// Tells whether everything was charged.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Returns the charge for the beginning of an answer.
    pub(super) fn open(&mut self, reading: Reading, prices: &PriceList) -> Option<ModelUse> {
        let (tokens, used) = self.part(&reading, prices)?;
        self.charged = Some((tokens, used.cost));
        Some(used)
    }

    /// Charges the rest of a turn. `whole` tells whether the answer came to its end; if it did not, what the API did not tell
    /// is estimated.
    pub(super) async fn close(
        &mut self,
        reading: Reading,
        whole: bool,
        prices: &PriceList,
        account: &Account,
    ) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        let estimated = Reading { usage: reading.usage.or_else(|| (!whole).then(Usage::default)), ..reading };
        if let Some((_, rest)) = self.part(&estimated, prices) {
            account.charge(rest).await;
        }
    }

    /// Charges a turn that the API was asked for, and whose answer nobody waited for.
    pub(super) async fn close_unanswered(&mut self, prices: &PriceList, account: &Account) {
        self.close(Reading { model: None, usage: None }, false, prices, account).await;
    }

    /// Returns all tokens so far, and the charge for those that were not charged yet.
    fn part(&self, reading: &Reading, prices: &PriceList) -> Option<(TokenUsage, ModelUse)> {
        let mut usage = reading.usage?;
        if usage.prompt_tokens() == 0 {
            usage.tokens.input = self.input_estimate;
        }
        let price = prices.of(reading.model.as_deref(), &self.asked_model);
        let (tokens, cost) = (usage.tokens, price.cost(&usage));
        let (charged_tokens, charged) = self.charged.unwrap_or_default();
        let used = ModelUse {
            model: reading.model.clone().unwrap_or_else(|| self.asked_model.clone()),
            tokens: minus(tokens, charged_tokens),
            turns: u64::from(self.charged.is_none()),
            cost: cost.saturating_sub(charged),
        };
        count(&price.name, &used);
        Some((tokens, used))
    }
}

fn minus(tokens: TokenUsage, others: TokenUsage) -> TokenUsage {
    TokenUsage {
        input: tokens.input.saturating_sub(others.input),
        output: tokens.output.saturating_sub(others.output),
        cache_write_5m: tokens.cache_write_5m.saturating_sub(others.cache_write_5m),
        cache_write_1h: tokens.cache_write_1h.saturating_sub(others.cache_write_1h),
        cache_read: tokens.cache_read.saturating_sub(others.cache_read),
    }
}

/// Adds to the metrics, by the model's name in the price list: the names that agents and proxies make up are without number.
fn count(model: &str, used: &ModelUse) {
    // Dollars have fractions, which counters have not.
    metrics::gauge!("claw_cost_usd_total", "model" => model.to_owned()).increment(used.cost.dollars());
    let TokenUsage { input, output, cache_write_5m, cache_write_1h, cache_read } = used.tokens;
    for (kind, tokens) in [
        ("input", input),
        ("output", output),
        ("cache_write", cache_write_5m.saturating_add(cache_write_1h)),
        ("cache_read", cache_read),
    ] {
        if tokens > 0 {
            metrics::counter!("claw_tokens_total", "model" => model.to_owned(), "kind" => kind)
                .increment(tokens);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn prices() -> PriceList {
        PriceList::new(&BTreeMap::new()).expect("a list")
    }

    fn bill() -> Bill {
        let facts = Facts { model: "claude-opus-5-5".to_owned(), max_tokens: 100, max_searches: 0 };
        Bill::new(facts, 3_000, &prices())
    }

    fn reading(input: u64, output: u64) -> Reading {
        let tokens = TokenUsage { input, output, ..TokenUsage::default() };
        Reading { model: None, usage: Some(Usage { tokens, ..Usage::default() }) }
    }

    #[test]
    fn both_parts_come_to_the_whole() {
        let mut bill = bill();

        let first = bill.open(reading(100, 0), &prices()).expect("a charge");
        let (_, second) = bill.part(&reading(100, 20), &prices()).expect("a charge");

        assert_eq!((first.turns, first.tokens.input, first.cost.nanos()), (1, 100, 400_000));
        assert_eq!((second.turns, second.tokens.input, second.tokens.output), (0, 0, 20));
        assert_eq!(first.cost.saturating_add(second.cost).nanos(), 800_000);
    }

    #[test]
    fn input_that_the_api_did_not_tell_is_estimated_from_the_request() {
        let used = bill().open(reading(0, 5), &prices()).expect("a charge");

        assert_eq!(used.tokens, TokenUsage { input: 1_000, output: 5, ..TokenUsage::default() });
    }
}
