//! A file with prices of one's own.
//!
//! ```toml
//! # US dollars per million tokens.
//! ["my-model"]
//! input = 3.0
//! output = 15.0
//! ```

use std::{collections::BTreeMap, path::Path};

use claw_agent::gateway::ModelPrice;

use crate::error::CliError;

/// Reads the file; no file, no prices.
pub(super) fn load(path: Option<&Path>) -> Result<BTreeMap<String, ModelPrice>, CliError> {
    let Some(path) = path else { return Ok(BTreeMap::new()) };
    let wrong = |reason: &dyn std::fmt::Display| {
        CliError::usage(format!("`model.prices`: {} cannot be used: {reason}", path.display())).with_hint(
            "it holds a table for each model, such as [\"my-model\"] with `input` and `output` in US dollars per \
             million tokens",
        )
    };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
    let prices: BTreeMap<String, ModelPrice> = toml::from_str(&text).map_err(|error| wrong(&error))?;
    for (model, price) in &prices {
        let all = [
            Some(price.input),
            Some(price.output),
            price.cache_write_5m,
            price.cache_write_1h,
            price.cache_read,
            price.web_search,
        ];
        if all.into_iter().flatten().any(|amount| !(0.0..=1e6).contains(&amount)) {
            return Err(wrong(&format!("the prices of `{model}` must be amounts of 0 or more")));
        }
    }
    Ok(prices)
}

#[cfg(test)]
mod tests {

    #[test]
    fn prices_are_read_and_what_is_none_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("prices.toml");
        let load = |text: &str| {
            std::fs::write(&path, text).expect("written");
            super::load(Some(&path))
        };

        let prices = load("[\"my-model\"]\ninput = 3.0\noutput = 15.0\n").expect("prices");
        assert_eq!(prices["my-model"].output, 15.0);
        for wrong in [
            "[m]\ninput = -1.0\noutput = 1.0",
            "[m]\ninput = 1.0",
            "[m]\ninput = 1.0\noutput = 1.0\nx = 1",
            "[",
        ] {
            assert!(load(wrong).is_err(), "{wrong}");
        }
        assert!(super::load(None).expect("none").is_empty());
        assert!(super::load(Some(&folder.path().join("missing"))).is_err());
    }
}
