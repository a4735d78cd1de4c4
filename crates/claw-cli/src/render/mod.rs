//! How things look to a person.

pub(crate) mod csv;
pub(crate) mod log;
pub(crate) mod table;

use claw_core::{JobStatus, Timestamp};
use owo_colors::Style;

use crate::output::Stream;

/// Returns a status word in its color.
pub(crate) fn status(stream: Stream, status: JobStatus) -> String {
    let style = match status {
        JobStatus::Pending => Style::new().yellow(),
        JobStatus::Running => Style::new().cyan(),
        JobStatus::Completed => Style::new().green(),
        JobStatus::Failed => Style::new().red(),
        JobStatus::Cancelled => Style::new().magenta(),
    };
    stream.paint(style, status)
}

/// Returns an amount: cents as cents, and what is below with as many digits as it takes.
pub(crate) fn cost(usd: f64) -> String {
    if usd == 0.0 || usd >= 0.1 { format!("${usd:.2}") } else { format!("${usd:.4}") }
}

/// Returns a duration in its two largest units.
pub(crate) fn duration_ms(ms: u64) -> String {
    let secs = ms / 1000;
    match secs {
        0..60 => format!("{}.{} s", secs, ms % 1000 / 100),
        60..3600 => format!("{} min {} s", secs / 60, secs % 60),
        _ => format!("{} h {} min", secs / 3600, secs % 3600 / 60),
    }
}

/// Returns how long ago something was, in its largest unit.
pub(crate) fn age(then: Option<Timestamp>, now: Timestamp) -> String {
    let Some(then) = then else {
        return "-".into();
    };
    let secs = (now.as_second() - then.as_second()).max(0);
    match secs {
        0..60 => format!("{secs}s"),
        60..3600 => format!("{}m", secs / 60),
        3600..86_400 => format!("{}h", secs / 3600),
        _ => format!("{}d", secs / 86_400),
    }
}

/// Returns a time to the second.
pub(crate) fn time(at: Timestamp) -> String {
    // Whole seconds always have a place in the calendar.
    let whole = Timestamp::from_second(at.as_second()).unwrap_or(at);
    whole.to_string().replace('T', " ").replace('Z', " UTC")
}

/// Returns a size in its largest unit.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", bytes as f64 / 1_073_741_824.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_times_and_sizes_are_short_and_exact_enough() {
        assert_eq!([0.0, 0.0008, 0.05, 1.236].map(cost), ["$0.00", "$0.0008", "$0.0500", "$1.24"]);
        assert_eq!(
            [0, 1_250, 61_000, 3_700_000].map(duration_ms),
            ["0.0 s", "1.2 s", "1 min 1 s", "1 h 1 min"]
        );
        assert_eq!([0, 2048, 5 << 20, 3 << 30].map(size), ["0 B", "2.0 KiB", "5.0 MiB", "3.0 GiB"]);
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let now = at("2026-01-02T00:00:00Z");
        assert_eq!(age(Some(at("2026-01-01T22:30:00Z")), now), "1h");
        assert_eq!(age(Some(at("2026-01-03T00:00:00Z")), now), "0s");
        assert_eq!(time(at("2026-01-02T03:04:05.678Z")), "2026-01-02 03:04:05 UTC");
    }
}
