//! How many cases the property tests try.

use proptest::test_runner::Config;

/// Returns the bounded number of cases that each test run tries; `PROPTEST_CASES` asks for more.
#[expect(clippy::disallowed_methods, reason = "the length of a fuzzing run is for whoever starts it")]
pub(crate) fn cases() -> Config {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    Config { cases: asked.unwrap_or(256), failure_persistence: None, ..Config::default() }
}
