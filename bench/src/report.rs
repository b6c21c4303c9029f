//! Figures: as a table to read and as one JSON line each to keep.
//!
//! Not here: how they were measured.

use std::{fmt::Write as _, process::Command};

use serde_json::json;

use crate::{machine, options::Bench};

/// One measured number.
#[derive(Debug)]
pub(crate) struct Figure {
    /// What was measured.
    pub(crate) name: String,
    /// The number.
    pub(crate) value: f64,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// What the same run gave for the thing it is compared with.
    pub(crate) baseline: Option<f64>,
    /// How many customers there were, if not as many as the options say.
    pub(crate) customers: Option<u32>,
    /// Other numbers that explain this one.
    pub(crate) detail: Vec<(&'static str, f64)>,
}

impl Figure {
    /// A figure without a baseline.
    pub(crate) fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit, baseline: None, customers: None, detail: Vec::new() }
    }

    /// Names what it is compared with.
    pub(crate) fn against(mut self, baseline: f64) -> Self {
        self.baseline = Some(baseline);
        self
    }

    /// Says how many customers there were.
    pub(crate) fn of_customers(mut self, customers: u32) -> Self {
        self.customers = Some(customers);
        self
    }

    /// Adds a number that explains it.
    pub(crate) fn with(mut self, name: &'static str, value: f64) -> Self {
        self.detail.push((name, value));
        self
    }
}

/// The figures, one a line.
pub(crate) fn table(figures: &[Figure]) -> String {
    let mut text = format!(
        "\n{:<44} {:>14} {:<9} {:>14} {:>7}  {}\n",
        "figure", "value", "unit", "baseline", "ratio", "detail"
    );
    for figure in figures {
        let (baseline, ratio) = match figure.baseline {
            Some(baseline) => (number(baseline), format!("{:.2}", figure.value / baseline)),
            None => (String::new(), String::new()),
        };
        let detail: Vec<String> = figure
            .detail
            .iter()
            .map(|(name, value)| format!("{name} {}", number(*value)))
            .collect();
        let line = format!(
            "{:<44} {:>14} {:<9} {:>14} {:>7}  {}",
            figure.name,
            number(figure.value),
            figure.unit,
            baseline,
            ratio,
            detail.join(", ")
        );
        writeln!(text, "{}", line.trim_end()).expect("writing to a String cannot fail");
    }
    text
}

/// The figures as JSON, one object a line, each with what is needed to compare it later.
pub(crate) fn json_lines(figures: &[Figure], options: &Bench) -> Vec<String> {
    let commit = commit();
    let backend = if options.database_url.is_some() { "postgres" } else { "sqlite" };
    let at = plimsoll_core::time::Timestamp::from_ms(machine::epoch_ms()).to_string();
    figures
        .iter()
        .map(|figure| {
            let detail: serde_json::Map<String, serde_json::Value> = figure
                .detail
                .iter()
                .map(|(name, value)| (name.to_string(), json!(value)))
                .collect();
            json!({
                "figure": figure.name, "value": figure.value, "unit": figure.unit,
                "baseline": figure.baseline, "detail": detail, "backend": backend,
                "customers": figure.customers.unwrap_or_else(|| options.customers()),
                "batch": options.batch,
                "seconds": options.seconds, "cores": machine::cores(), "commit": commit, "at": at,
            })
            .to_string()
        })
        .collect()
}

/// The commit of the checkout the benchmark is run in, marked if files differ from it.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".to_owned();
    };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if changes.is_empty() => commit,
        _ => format!("{commit}+changes"),
    }
}

/// Large numbers with separators, small ones with decimals.
fn number(value: f64) -> String {
    if value.abs() < 1000.0 {
        return format!("{value:.2}");
    }
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

/// Percentiles of durations in nanoseconds, as milliseconds.
#[derive(Debug)]
pub(crate) struct Percentiles {
    sorted_ns: Vec<u64>,
}

impl Percentiles {
    /// Takes the samples in any order.
    pub(crate) fn new(mut samples_ns: Vec<u64>) -> Self {
        samples_ns.sort_unstable();
        Self { sorted_ns: samples_ns }
    }

    /// The smallest sample that at least `share` (0 to 1) of all do not exceed, in milliseconds.
    pub(crate) fn at_ms(&self, share: f64) -> f64 {
        let rank = (share * self.sorted_ns.len() as f64).ceil() as usize;
        let sample = self.sorted_ns.get(rank.saturating_sub(1)).or_else(|| self.sorted_ns.last());
        sample.map_or(f64::NAN, |ns| *ns as f64 / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples() {
        let percentiles = Percentiles::new((1..=100).rev().map(|ms| ms * 1_000_000).collect());
        let at = |share| format!("{}", percentiles.at_ms(share));
        assert_eq!([at(0.5), at(0.99), at(1.0)], ["50", "99", "100"]);
        assert!(Percentiles::new(Vec::new()).at_ms(0.5).is_nan());
    }

    #[test]
    fn numbers_are_readable() {
        let cases =
            [(0.5, "0.50"), (999.0, "999.00"), (1000.0, "1,000"), (1_234_567.8, "1,234,568")];
        for (value, expected) in cases {
            assert_eq!(number(value), expected);
        }
    }
}
