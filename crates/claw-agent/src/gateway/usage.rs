//! What an answer of the API says it used.

use claw_core::TokenUsage;
use serde_json::Value;

/// Most tokens of one kind that are believed: no model takes more, and sums of them cannot overflow.
const MAX_TOKENS: u64 = 1 << 40;

/// What one turn used, with what its price depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) tokens: TokenUsage,
    pub(super) web_searches: u64,
    /// Whether it ran at the higher speed, for a higher price.
    pub(super) fast: bool,
    /// Whether it was kept in one country, for a higher price.
    pub(super) in_us: bool,
}

impl Usage {
    /// Returns this usage changed by a `usage` object. What the object does not say, or says with nonsense, stays.
    pub(super) fn updated(mut self, usage: &Value) -> Self {
        let count = |name: &str| number(usage.get(name)?);
        // Later objects of a stream repeat some counts as 0 that were told before.
        let told = |name: &str| count(name).filter(|count| *count > 0);
        if let Some(input) = told("input_tokens") {
            self.tokens.input = input;
        }
        if let Some(output) = count("output_tokens") {
            self.tokens.output = output;
        }
        if let Some(read) = told("cache_read_input_tokens") {
            self.tokens.cache_read = read;
        }
        self.update_cache_writes(usage);
        if let Some(searches) =
            usage.get("server_tool_use").and_then(|used| number(used.get("web_search_requests")?))
        {
            self.web_searches = searches;
        }
        if let Some(speed) = usage.get("speed").and_then(Value::as_str) {
            self.fast = speed == "fast";
        }
        if let Some(place) = usage.get("inference_geo").and_then(Value::as_str) {
            self.in_us = place == "us";
        }
        self
    }

    /// The sum is told, and how much of it is kept for an hour or for five minutes; the rest is for five minutes.
    fn update_cache_writes(&mut self, usage: &Value) {
        let total = usage.get("cache_creation_input_tokens").and_then(number).unwrap_or_default();
        let part = |name: &str| usage.get("cache_creation")?.get(name).and_then(number);
        let hour = part("ephemeral_1h_input_tokens").unwrap_or_default();
        let minutes = part("ephemeral_5m_input_tokens").unwrap_or_default();
        if total.max(hour + minutes) > 0 {
            self.tokens.cache_write_1h = hour;
            self.tokens.cache_write_5m = minutes.max(total.saturating_sub(hour));
        }
    }

    /// Adds the rounds that the API took besides the message itself, such as to shorten the conversation. They are billed,
    /// and the counts of the message leave them out.
    pub(super) fn with_other_rounds(mut self, usage: &Value) -> Self {
        let rounds = usage.get("iterations").and_then(Value::as_array).into_iter().flatten().take(100);
        for round in rounds.filter(|round| round.get("type").and_then(Value::as_str) != Some("message")) {
            self.tokens = self.tokens.plus(Self::default().updated(round).tokens);
        }
        self
    }

    /// Returns how many tokens the model was given.
    pub(super) fn prompt_tokens(&self) -> u64 {
        let TokenUsage { input, output: _, cache_write_5m, cache_write_1h, cache_read } = self.tokens;
        input + cache_write_5m + cache_write_1h + cache_read
    }

    /// Returns the part that is billed when an answer begins.
    pub(super) fn input_side(self) -> Self {
        Self { tokens: TokenUsage { output: 0, ..self.tokens }, web_searches: 0, ..self }
    }
}

fn number(value: &Value) -> Option<u64> {
    value.as_u64().map(|count| count.min(MAX_TOKENS))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn counts_are_read_and_nonsense_is_passed_over() {
        let start = Usage::default().updated(&json!({
            "input_tokens": 10, "output_tokens": 1, "cache_read_input_tokens": 7,
            "cache_creation_input_tokens": 30, "cache_creation": {"ephemeral_1h_input_tokens": 20},
            "speed": "fast", "inference_geo": "us",
        }));
        let end = start.updated(&json!({
            "input_tokens": 0, "output_tokens": 99, "cache_read_input_tokens": "x", "cache_creation_input_tokens": null,
            "server_tool_use": {"web_search_requests": 2}, "speed": 3,
        }));

        let tokens =
            TokenUsage { input: 10, output: 99, cache_write_5m: 10, cache_write_1h: 20, cache_read: 7 };
        assert_eq!(end, Usage { tokens, web_searches: 2, fast: true, in_us: true });
        assert_eq!(start.input_side().tokens.output, 0);
    }

    #[test]
    fn rounds_besides_the_message_are_added() {
        let usage = json!({"input_tokens": 10, "output_tokens": 5, "iterations": [
            {"type": "message", "input_tokens": 10, "output_tokens": 5},
            {"type": "compaction", "input_tokens": 100, "output_tokens": 50},
        ]});

        let tokens = Usage::default().updated(&usage).with_other_rounds(&usage).tokens;

        assert_eq!((tokens.input, tokens.output), (110, 55));
    }

    #[test]
    fn absurd_counts_do_not_overflow() {
        let usage = json!({"input_tokens": u64::MAX, "cache_read_input_tokens": u64::MAX,
            "cache_creation_input_tokens": u64::MAX, "cache_creation": {"ephemeral_1h_input_tokens": u64::MAX,
            "ephemeral_5m_input_tokens": u64::MAX}, "output_tokens": -5});

        assert!(Usage::default().updated(&usage).prompt_tokens() > 0);
    }
}
