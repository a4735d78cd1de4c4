//! The table: what was to be held, what was measured, and how.

use serde_json::{Value, json};

use crate::{machine::Machine, rows::Group, stats::Samples};

/// In what a row is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Milliseconds,
    Megabytes,
    PerSecond,
    Count,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Milliseconds if value < 0.1 => format!("{:.1} µs", value * 1_000.0),
            Self::Milliseconds if value < 10.0 => format!("{value:.2} ms"),
            Self::Milliseconds if value < 100.0 => format!("{value:.1} ms"),
            Self::Milliseconds => format!("{value:.0} ms"),
            Self::Megabytes => format!("{value:.1} MB"),
            Self::PerSecond => format!("{}/s", grouped(value)),
            Self::Count => grouped(value),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::Megabytes => "MB",
            Self::PerSecond => "1/s",
            Self::Count => "1",
        }
    }
}

/// A number with commas, as people read it.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What is to be held.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Budget {
    MedianAtMost(f64),
    P99AtMost(f64),
    MedianAtLeast(f64),
    /// Told for comparison.
    Nothing,
}

/// One row.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) unit: Unit,
    pub(crate) budget: Budget,
    pub(crate) median: f64,
    pub(crate) p99: Option<f64>,
    /// How it was measured, and what else was seen.
    pub(crate) how: String,
}

impl Row {
    /// Returns a row whose only number is the median of `samples`.
    pub(crate) fn median(
        what: &str,
        unit: Unit,
        budget: Budget,
        samples: &Samples,
        how: impl Into<String>,
    ) -> Self {
        let (median, how) = (samples.median(), how.into());
        Self { what: what.to_owned(), unit, budget, median, p99: None, how }
    }

    /// Returns a row with median and 99th percentile.
    pub(crate) fn both(
        what: &str,
        unit: Unit,
        budget: Budget,
        samples: &Samples,
        how: impl Into<String>,
    ) -> Self {
        Self { p99: Some(samples.p99()), ..Self::median(what, unit, budget, samples, how) }
    }

    /// Tells whether the budget was held; nothing if there is none.
    fn is_held(&self) -> Option<bool> {
        match self.budget {
            Budget::MedianAtMost(most) => Some(self.median <= most),
            Budget::P99AtMost(most) => Some(self.p99.is_some_and(|p99| p99 <= most)),
            Budget::MedianAtLeast(least) => Some(self.median >= least),
            Budget::Nothing => None,
        }
    }

    fn verdict(&self) -> &'static str {
        match self.is_held() {
            Some(true) => "ok",
            Some(false) => "**missed**",
            None => "",
        }
    }

    fn show_budget(&self) -> String {
        match self.budget {
            Budget::MedianAtMost(most) => format!("≤ {}", self.unit.show(most)),
            Budget::P99AtMost(most) => format!("≤ {} p99", self.unit.show(most)),
            Budget::MedianAtLeast(least) => format!("≥ {}", self.unit.show(least)),
            Budget::Nothing => String::new(),
        }
    }

    fn to_json(&self) -> Value {
        let (judged, limit) = match self.budget {
            Budget::MedianAtMost(most) => ("median at most", Some(most)),
            Budget::P99AtMost(most) => ("p99 at most", Some(most)),
            Budget::MedianAtLeast(least) => ("median at least", Some(least)),
            Budget::Nothing => ("nothing", None),
        };
        json!({
            "what": self.what, "unit": self.unit.name(), "budget": {"judged": judged, "limit": limit},
            "median": self.median, "p99": self.p99, "held": self.is_held(), "how": self.how,
        })
    }
}

/// All rows, and what they were measured on.
#[derive(Debug)]
pub(crate) struct Table {
    machine: Machine,
    quick: bool,
    rows: Vec<Row>,
    failures: Vec<(Group, String)>,
}

impl Table {
    pub(crate) fn new(machine: Machine, quick: bool) -> Self {
        Self { machine, quick, rows: Vec::new(), failures: Vec::new() }
    }

    pub(crate) fn add(&mut self, rows: Vec<Row>) {
        self.rows.extend(rows);
    }

    pub(crate) fn failed(&mut self, group: Group, error: &str) {
        eprintln!("could not measure {}: {error}", group.describe());
        self.failures.push((group, error.to_owned()));
    }

    /// Tells whether everything was measured.
    pub(crate) fn is_whole(&self) -> bool {
        self.failures.is_empty()
    }

    pub(crate) fn to_markdown(&self) -> String {
        let mut text = format!("{}\n", self.machine.describe());
        if self.quick {
            text += "A quick run: these numbers are not for quoting.\n";
        }
        text += "\n| what | budget | median | p99 | | how |\n|---|---|---|---|---|---|\n";
        for row in &self.rows {
            let p99 = row.p99.map(|p99| row.unit.show(p99)).unwrap_or_default();
            let median = row.unit.show(row.median);
            let (what, budget, verdict, how) = (&row.what, row.show_budget(), row.verdict(), &row.how);
            text += &format!("| {what} | {budget} | {median} | {p99} | {verdict} | {how} |\n");
        }
        for (group, error) in &self.failures {
            text += &format!("\nNot measured: {}: {error}\n", group.describe());
        }
        text
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "machine": self.machine.to_json(), "quick": self.quick,
            "rows": self.rows.iter().map(Row::to_json).collect::<Vec<_>>(),
            "not_measured": self.failures.iter().map(|(group, error)| json!({"group": group.describe(), "error": error})).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(budget: Budget, median: f64, p99: Option<f64>) -> Row {
        Row { what: "x".into(), unit: Unit::Milliseconds, budget, median, p99, how: String::new() }
    }

    #[test]
    fn each_budget_judges_its_own_number() {
        assert_eq!(row(Budget::MedianAtMost(5.0), 5.0, Some(9.0)).is_held(), Some(true));
        assert_eq!(row(Budget::P99AtMost(5.0), 1.0, Some(5.1)).is_held(), Some(false));
        assert_eq!(row(Budget::MedianAtLeast(5.0), 4.0, None).is_held(), Some(false));
        assert_eq!(row(Budget::Nothing, 4.0, None).is_held(), None);
        assert_eq!(row(Budget::P99AtMost(5.0), 1.0, None).is_held(), Some(false), "what was not measured");
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!([1.0, 999.0, 1_000.0, 1_234_567.0].map(grouped), ["1", "999", "1,000", "1,234,567"]);
    }
}
