use super::*;

fn list() -> PriceList {
    PriceList::new(&BTreeMap::new()).expect("no prices of one's own")
}

fn usage(input: u64, output: u64) -> Usage {
    Usage { tokens: TokenUsage { input, output, ..TokenUsage::default() }, ..Usage::default() }
}

fn cost(model: &str, usage: &Usage) -> Usd {
    list().of(Some(model), "").cost(usage)
}

fn usd(dollars: f64) -> Usd {
    Usd::from_dollars(dollars).expect("an amount")
}

#[test]
fn each_kind_of_token_has_its_price() {
    let tokens = TokenUsage {
        input: 1_000_000,
        output: 1_000_000,
        cache_write_5m: 1_000_000,
        cache_write_1h: 1_000_000,
        cache_read: 1_000_000,
    };
    let usage = Usage { tokens, web_searches: 3, ..Usage::default() };

    assert_eq!(cost("claude-opus-5-5", &usage), usd(4.0 + 20.0 + 5.0 + 8.0 + 0.2 + 0.03));
    assert_eq!(
        cost("claude-opus-5-5", &Usage { fast: true, ..usage }),
        usd(8.0 + 40.0 + 10.0 + 16.0 + 0.4 + 0.03)
    );
    assert_eq!(
        cost("claude-sonnet-4-5", &Usage { fast: true, ..usage }),
        usd(3.0 + 15.0 + 3.75 + 6.0 + 0.3 + 0.03)
    );
}

#[test]
fn data_that_stays_in_one_country_costs_more() {
    assert_eq!(cost("claude-opus-5-5", &Usage { in_us: true, ..usage(100, 20) }), usd(0.00088));
}

#[test]
fn long_prompts_have_their_own_price() {
    assert_eq!(cost("claude-haiku-5-5", &usage(100_000, 1_000_000)), usd(0.01 + 0.5));
    assert_eq!(cost("claude-haiku-5-5", &usage(100_001, 1_000_000)), usd(0.050_000_5 + 2.5));
}

#[test]
fn versions_of_a_model_are_found_and_other_models_are_not_taken_for_them() {
    let name = |model: &str| list().of(Some(model), "").name;

    for (model, expected) in [
        ("claude-opus-4-5-20251101", "claude-opus-4-5"),
        ("claude-opus-4-20250514", "claude-opus-4"),
        ("claude-3-5-haiku-latest", "claude-3-5-haiku"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5"),
        ("claude-haiku-4-5@20251001", "claude-haiku-4-5"),
        ("anthropic/Claude-Opus-5", "claude-opus-5"),
        ("claude-opus-5-9", "other"),
        ("claude-opus-55", "other"),
        ("gpt", "other"),
        ("", "other"),
    ] {
        assert_eq!(name(model), expected, "{model}");
    }
    for model in table::names() {
        assert_eq!(name(model), model);
    }
}

#[test]
fn an_unknown_model_costs_as_much_as_the_dearest() {
    let unknown = cost("claude-next", &usage(1_000_000, 1_000_000));

    for model in table::names() {
        assert!(cost(model, &usage(1_000_000, 1_000_000)) <= unknown, "{model}");
    }
    assert_eq!(list().of(Some("claude-next"), "claude-haiku-4-5").name, "claude-haiku-4-5");
}

#[test]
fn prices_of_ones_own_come_first_and_must_be_prices() {
    let price = |input| ModelPrice {
        input,
        output: 2.0,
        cache_write_5m: None,
        cache_write_1h: None,
        cache_read: None,
        web_search: None,
    };
    let own = |input| PriceList::new(&BTreeMap::from([("Local".to_owned(), price(input))]));

    let list = own(1.0).expect("a price");

    let tokens = TokenUsage { input: 1_000_000, cache_read: 1_000_000, ..TokenUsage::default() };
    assert_eq!(list.of(Some("local-20260101"), "").cost(&Usage { tokens, ..Usage::default() }), usd(1.1));
    for wrong in [-1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(own(wrong).err().as_deref(), Some("Local"));
    }
}

#[test]
fn the_worst_case_covers_every_way_a_turn_may_be_billed() {
    let list = list();
    for model in table::names().chain(["claude-next"]) {
        let price = list.of(Some(model), "");
        let worst = price.worst(200_000, 1_000, 0).total();
        for kind in 0..4 {
            let mut tokens = TokenUsage { output: 1_000, ..TokenUsage::default() };
            *[
                &mut tokens.input,
                &mut tokens.cache_write_5m,
                &mut tokens.cache_write_1h,
                &mut tokens.cache_read,
            ][kind] = 200_000;
            for fast in [false, true] {
                let cost = price.cost(&Usage { tokens, fast, in_us: true, web_searches: 0 });
                assert!(cost <= worst, "{model}: {cost} > {worst}");
            }
        }
    }
    assert!(list.of(None, "m").worst(u64::MAX, u64::MAX, u64::MAX).total() > Usd::from_nanos(1 << 60));
}
