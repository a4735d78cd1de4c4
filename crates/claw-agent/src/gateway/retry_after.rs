//! For how long an answer asks to be left alone.

use std::time::Duration;

use claw_core::Timestamp;
use hyper::HeaderMap;

/// Longest pause that is believed.
const MAX_PAUSE: Duration = Duration::from_secs(3600);

/// The limits that the API tells about with an answer: what is left of each, and when it is full again.
const LIMITS: [&str; 6] = ["requests", "tokens", "input-tokens", "output-tokens", "unified-5h", "unified-7d"];

/// Returns for how long an answer asks not to be asked again: by `retry-after` in seconds or as a date (RFC 9110 section
/// 10.2.3), else by the limits of which nothing is left. `None` if it does not say, or if that moment has passed.
pub(super) fn pause_of(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let asked = match text("retry-after") {
        Some(value) => seconds(value).or_else(|| until(http_date(value)?, now)),
        None => LIMITS
            .iter()
            .filter(|limit| {
                text(&format!("anthropic-ratelimit-{limit}-remaining")) == Some("0")
                    || text(&format!("anthropic-ratelimit-{limit}-status")) == Some("rejected")
            })
            .filter_map(|limit| moment(text(&format!("anthropic-ratelimit-{limit}-reset"))?))
            .chain(text("anthropic-ratelimit-unified-reset").and_then(moment))
            .filter_map(|reset| until(reset, now))
            .max(),
    };
    asked.filter(|pause| !pause.is_zero()).map(|pause| pause.min(MAX_PAUSE))
}

fn seconds(value: &str) -> Option<Duration> {
    let seconds: f64 = value.parse().ok().filter(|seconds: &f64| !seconds.is_nan())?;
    Duration::try_from_secs_f64(seconds.min(MAX_PAUSE.as_secs_f64())).ok()
}

fn http_date(value: &str) -> Option<Timestamp> {
    Some(jiff::fmt::rfc2822::parse(value).ok()?.timestamp())
}

/// A moment as RFC 3339 text or as seconds since 1970.
fn moment(value: &str) -> Option<Timestamp> {
    value.parse().ok().or_else(|| Timestamp::from_second(value.parse().ok()?).ok())
}

fn until(moment: Timestamp, now: Timestamp) -> Option<Duration> {
    Duration::try_from(moment.duration_since(now)).ok()
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    fn pause(headers: &[(&'static str, &str)]) -> Option<f64> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"));
        }
        let now = "2026-01-02T03:04:05Z".parse().expect("a moment");
        pause_of(&map, now).map(|pause| pause.as_secs_f64())
    }

    #[test]
    fn seconds_and_dates_are_understood_and_capped() {
        for (value, expected) in [
            ("3", Some(3.0)),
            (" 0.5 ", Some(0.5)),
            ("999999999", Some(3600.0)),
            ("1e300", Some(3600.0)),
            ("Fri, 02 Jan 2026 03:05:05 GMT", Some(60.0)),
            ("Sat, 03 Jan 2026 03:05:05 GMT", Some(3600.0)),
            ("Fri, 02 Jan 2026 03:00:00 GMT", None),
            ("0", None),
            ("-1", None),
            ("NaN", None),
            ("soon", None),
        ] {
            assert_eq!(pause(&[("retry-after", value)]), expected, "{value}");
        }
        assert_eq!(pause(&[]), None);
    }

    #[test]
    fn the_limit_that_is_used_up_longest_counts() {
        let headers = [
            ("anthropic-ratelimit-requests-remaining", "0"),
            ("anthropic-ratelimit-requests-reset", "2026-01-02T03:04:10Z"),
            ("anthropic-ratelimit-tokens-remaining", "0"),
            ("anthropic-ratelimit-tokens-reset", "2026-01-02T03:04:20Z"),
            ("anthropic-ratelimit-output-tokens-remaining", "77"),
            ("anthropic-ratelimit-output-tokens-reset", "2026-01-02T03:14:20Z"),
        ];
        assert_eq!(pause(&headers), Some(15.0));
        assert_eq!(pause(&[("anthropic-ratelimit-unified-reset", "1767323055")]), Some(10.0));
    }
}
