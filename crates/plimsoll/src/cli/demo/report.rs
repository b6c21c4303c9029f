//! The table at the end, and the verdict.
//!
//! Not here: how the differences were found (`compare`).

use std::{fmt::Write as _, time::Duration};

/// Differences named one by one; more are only counted.
const DIFFERENCES_SHOWN: usize = 20;

/// What the demonstration comes down to.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) events_sent: u64,
    pub(super) accepted: u64,
    pub(super) duplicates: u64,
    pub(super) lines_crossed: usize,
    pub(super) webhooks_expected: usize,
    pub(super) webhooks_received: usize,
    pub(super) webhooks_verified: usize,
    /// From the first byte of the event's request to the webhook's body, unsorted.
    pub(super) latencies: Vec<Duration>,
    pub(super) elapsed: Duration,
    pub(super) differences: Vec<String>,
}

impl Report {
    /// Whether the product and the recount agree.
    pub(super) fn agrees(&self) -> bool {
        self.differences.is_empty()
    }

    /// The table and the verdict.
    pub(super) fn text(&self) -> String {
        let rows = [
            ("events sent", self.events_sent.to_string()),
            ("  accepted", self.accepted.to_string()),
            ("  duplicates recognised", self.duplicates.to_string()),
            ("lines crossed", self.lines_crossed.to_string()),
            ("webhooks expected", self.webhooks_expected.to_string()),
            ("  received", self.webhooks_received.to_string()),
            ("  signature verified", self.webhooks_verified.to_string()),
            ("event to webhook, p50", milliseconds(percentile(&self.latencies, 50))),
            ("event to webhook, p99", milliseconds(percentile(&self.latencies, 99))),
            ("took", format!("{:.1} s", self.elapsed.as_secs_f64())),
        ];
        let mut text = String::from("\n");
        for (name, value) in rows {
            writeln!(text, "  {name:<26} {value:>12}").expect("writing to a String cannot fail");
        }
        text.push('\n');
        if self.agrees() {
            text.push_str("  Counted again by other code: every value, line and webhook agrees.\n");
            return text;
        }
        for difference in self.differences.iter().take(DIFFERENCES_SHOWN) {
            writeln!(text, "  DIFFERENCE  {difference}").expect("writing to a String cannot fail");
        }
        let count = self.differences.len();
        writeln!(text, "\n  {count} differences between the product and the recount.")
            .expect("writing to a String cannot fail");
        text
    }
}

/// The smallest sample that `percent` of all do not exceed.
fn percentile(samples: &[Duration], percent: usize) -> Option<Duration> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

fn milliseconds(duration: Option<Duration>) -> String {
    duration.map_or_else(|| "-".to_owned(), |it| format!("{:.1} ms", it.as_secs_f64() * 1e3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(differences: &[&str]) -> Report {
        Report {
            events_sent: 3,
            accepted: 2,
            duplicates: 1,
            lines_crossed: 4,
            webhooks_expected: 5,
            webhooks_received: 5,
            webhooks_verified: 5,
            latencies: (1..=200).rev().map(Duration::from_millis).collect(),
            elapsed: Duration::from_secs(2),
            differences: differences.iter().map(|it| (*it).to_owned()).collect(),
        }
    }

    #[test]
    fn a_report_without_differences_agrees() {
        let text = report(&[]).text();
        assert!(report(&[]).agrees());
        assert!(text.contains("event to webhook, p50          100.0 ms"), "{text}");
        assert!(text.contains("event to webhook, p99          198.0 ms"), "{text}");
        assert!(text.contains("every value, line and webhook agrees"), "{text}");
    }

    #[test]
    fn a_report_with_differences_names_them() {
        let report = report(&["a", "b"]);
        assert!(!report.agrees());
        assert!(report.text().contains("DIFFERENCE  b"), "{}", report.text());
        assert!(report.text().contains("2 differences"), "{}", report.text());
        assert_eq!(percentile(&[], 50), None);
    }
}
