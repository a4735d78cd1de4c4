//! What model turns cost.
//!
//! Amounts are exact: rates are whole millionths of a millionth of a dollar per token, and only the end of a sum is rounded.

mod table;

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Mutex, PoisonError},
};

use claw_core::{TokenUsage, Usd};
use serde::Deserialize;

use super::usage::Usage;
use crate::text::one_line;

/// Most names of unknown models that are warned about: an agent can make up any number of them.
const MAX_WARNINGS: usize = 20;

/// Most tokens of a request that are reckoned with, so that sums cannot overflow.
const MAX_TOKENS: u64 = 1 << 40;

/// Most web searches of a request that are reckoned with.
const MAX_SEARCHES: u64 = 1_000;

/// A price of one's own for a model: US dollars per million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelPrice {
    /// What the model reads.
    pub input: f64,
    /// What it writes.
    pub output: f64,
    /// What is put into its cache for five minutes; 1.25 times `input` if absent.
    #[serde(default)]
    pub cache_write_5m: Option<f64>,
    /// What is put into its cache for an hour; twice `input` if absent.
    #[serde(default)]
    pub cache_write_1h: Option<f64>,
    /// What it reads from its cache; a tenth of `input` if absent.
    #[serde(default)]
    pub cache_read: Option<f64>,
    /// One web search in US dollars; 0.01 if absent.
    #[serde(default)]
    pub web_search: Option<f64>,
}

/// Rates in millionths of a millionth of a dollar per token, and per web search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rates {
    input: u64,
    output: u64,
    cache_write_5m: u64,
    cache_write_1h: u64,
    cache_read: u64,
    web_search: u64,
}

/// All that the price of a model depends on.
#[derive(Clone, Copy, Debug)]
struct Entry {
    standard: Rates,
    fast: Option<Rates>,
    /// Other rates for prompts of more than so many tokens.
    long: Option<(u64, Rates)>,
}

/// The prices of all models.
#[derive(Debug)]
pub(super) struct PriceList {
    own: BTreeMap<String, Entry>,
    // A std mutex: held for a few instructions, never across an await.
    warned: Mutex<HashSet<String>>,
}

/// The price of one model.
#[derive(Clone, Debug)]
pub(super) struct Price {
    /// The model's name in the list; `other` for one that is not in it.
    pub(super) name: String,
    entry: Entry,
}

/// What a request may come to at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Worst {
    /// For what the model reads.
    pub(super) input: Usd,
    /// For what it writes and searches.
    pub(super) output: Usd,
}

impl Worst {
    pub(super) fn total(self) -> Usd {
        self.input.saturating_add(self.output)
    }
}

impl PriceList {
    /// Returns the list with prices of one's own, by the beginning of a model's name.
    ///
    /// # Errors
    ///
    /// Returns the model whose price is no price.
    pub(super) fn new(own: &BTreeMap<String, ModelPrice>) -> Result<Self, String> {
        let own = own
            .iter()
            .map(|(model, price)| {
                let standard = Rates::of(price).ok_or_else(|| model.clone())?;
                Ok((model.to_ascii_lowercase(), Entry { standard, fast: None, long: None }))
            })
            .collect::<Result<_, String>>()?;
        Ok(Self { own, warned: Mutex::default() })
    }

    /// Returns the price of the model that answered, or of the one that was asked if the answer's is not known. A model
    /// that is not in the list costs as much as the dearest.
    pub(super) fn of(&self, answered: Option<&str>, asked: &str) -> Price {
        if let Some(price) = answered.and_then(|model| self.find(model)).or_else(|| self.find(asked)) {
            return price;
        }
        self.warn(answered.unwrap_or(asked));
        Price { name: "other".to_owned(), entry: table::dearest() }
    }

    fn find(&self, model: &str) -> Option<Price> {
        let model = model.to_ascii_lowercase();
        let own = self
            .own
            .iter()
            .filter(|(name, _)| is_version_of(&model, name))
            .max_by_key(|(name, _)| name.len());
        if let Some((name, entry)) = own {
            return Some(Price { name: name.clone(), entry: *entry });
        }
        // Some hosts put their own words before the model's name.
        let bare = model.find("claude-").map(|at| &model[at..])?;
        let (name, entry) = table::find(|name| is_version_of(bare, name))?;
        Some(Price { name: name.to_owned(), entry })
    }

    fn warn(&self, model: &str) {
        let model = one_line(model, 100);
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.len() < MAX_WARNINGS && warned.insert(model.clone()) {
            tracing::warn!(
                "the price of the model `{model}` is not known, so it counts like the dearest one: set its price"
            );
        }
    }
}

impl Price {
    /// Returns what `usage` cost.
    pub(super) fn cost(&self, usage: &Usage) -> Usd {
        let rates = self.rates(usage);
        let tokens = rates.tokens(&usage.tokens);
        // Data that must stay in one country costs a tenth more; searches do not.
        let tokens = if usage.in_us { tokens * 11 / 10 } else { tokens };
        usd(tokens + u128::from(usage.web_searches) * u128::from(rates.web_search))
    }

    /// Returns the most that a request can cost which has so many tokens at most.
    pub(super) fn worst(&self, input_tokens: u64, output_tokens: u64, searches: u64) -> Worst {
        let all = [Some(self.entry.standard), self.entry.fast, self.entry.long.map(|(_, rates)| rates)];
        let most =
            |rate: fn(&Rates) -> u64| u128::from(all.iter().flatten().map(rate).max().unwrap_or_default());
        let (input_tokens, output_tokens) = (input_tokens.min(MAX_TOKENS), output_tokens.min(MAX_TOKENS));
        let searches = searches.min(MAX_SEARCHES);
        // Each search is another round, in which the model reads everything again.
        let read = u128::from(input_tokens) * (1 + u128::from(searches));
        let input = read * most(|rates| rates.cache_write_1h.max(rates.cache_write_5m).max(rates.input));
        let output = u128::from(output_tokens) * most(|rates| rates.output);
        let searched = u128::from(searches) * most(|rates| rates.web_search);
        Worst { input: usd(input * 11 / 10), output: usd(output * 11 / 10 + searched) }
    }

    fn rates(&self, usage: &Usage) -> Rates {
        let prompt = usage.prompt_tokens();
        match (self.entry.long, self.entry.fast) {
            (_, Some(fast)) if usage.fast => fast,
            (Some((above, long)), _) if prompt > above => long,
            _ => self.entry.standard,
        }
    }
}

impl Rates {
    /// `None` if an amount is negative, not a number, or absurdly large.
    fn of(price: &ModelPrice) -> Option<Self> {
        let rate = |dollars: f64| {
            let rate = (dollars * 1e6).round();
            (0.0..1e15).contains(&rate).then_some(rate as u64)
        };
        Some(Self {
            input: rate(price.input)?,
            output: rate(price.output)?,
            cache_write_5m: rate(price.cache_write_5m.unwrap_or(price.input * 1.25))?,
            cache_write_1h: rate(price.cache_write_1h.unwrap_or(price.input * 2.0))?,
            cache_read: rate(price.cache_read.unwrap_or(price.input * 0.1))?,
            web_search: rate(price.web_search.unwrap_or(0.01) * 1e6)?,
        })
    }

    fn tokens(&self, tokens: &TokenUsage) -> u128 {
        [
            (tokens.input, self.input),
            (tokens.output, self.output),
            (tokens.cache_write_5m, self.cache_write_5m),
            (tokens.cache_write_1h, self.cache_write_1h),
            (tokens.cache_read, self.cache_read),
        ]
        .into_iter()
        .map(|(count, rate)| u128::from(count) * u128::from(rate))
        .sum()
    }
}

/// Rounds to billionths of a dollar.
fn usd(trillionths: u128) -> Usd {
    Usd::from_nanos(u64::try_from((trillionths + 500) / 1000).unwrap_or(u64::MAX))
}

/// Tells whether `model` is `name`, or a dated or hosted version of it. `claude-opus-5-9` is none of `claude-opus-5`:
/// what is not known is not cheap.
fn is_version_of(model: &str, name: &str) -> bool {
    let Some(rest) = model.strip_prefix(name) else { return false };
    let Some(suffix) = rest.strip_prefix('-') else {
        return rest.is_empty() || rest.starts_with(['@', ':', '[']);
    };
    let digits = suffix.bytes().take_while(u8::is_ascii_digit).count();
    digits == 8 || suffix == "latest" || suffix.starts_with('v')
}

#[cfg(test)]
mod tests;
