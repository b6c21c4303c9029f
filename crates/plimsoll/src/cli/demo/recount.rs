//! What must have happened, counted again in the plainest way.
//!
//! It shares nothing with the product: whole numbers instead of decimals, one loop over customers'
//! tallies instead of a log, and its own reading of when a line is reached. Usage of the scenario
//! only grows and stays inside one window, so a line is crossed at most once.
//!
//! Not here: what the product said (`compare`).

use std::collections::{BTreeMap, HashSet};

use super::scenario::{CHANNELS, Customer, Feature, Line, LineKind, RULES, Usage};

/// One line crossed by one customer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Crossing {
    /// Index into [`RULES`].
    pub(super) rule: usize,
    /// Index into the rule's lines.
    pub(super) line: usize,
    /// Index into the customers.
    pub(super) customer: usize,
    pub(super) feature: Feature,
}

/// How it was crossed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Circumstance {
    /// The event that crossed it; `None` when it was reached from the start.
    pub(super) event: Option<String>,
    pub(super) previous_usage: u64,
    pub(super) usage: u64,
}

/// Where one customer stands with one feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) limit: Option<u64>,
    pub(super) usage: u64,
}

impl Tally {
    /// Usage in percent of the limit, rounded down; `None` without a limit to measure against.
    pub(super) fn percentage(self) -> Option<u64> {
        (self.usage * 100).checked_div(self.limit?)
    }

    fn reaches(self, line: Line) -> bool {
        match (line.kind, self.limit) {
            (LineKind::UsageValue, _) => self.usage >= line.value,
            (_, None) => false,
            (LineKind::BalanceValue, Some(limit)) => limit.saturating_sub(self.usage) <= line.value,
            // Where nothing is allowed, a share means nothing until something is used.
            (LineKind::UsagePercentage | LineKind::Limit, Some(0)) => self.usage > 0,
            (LineKind::UsagePercentage | LineKind::Limit, Some(limit)) => {
                self.usage * 100 >= limit * line.value
            }
        }
    }
}

/// The recount so far.
#[derive(Debug)]
pub(super) struct Recount {
    tallies: Vec<[Tally; 3]>,
    crossings: BTreeMap<Crossing, Circumstance>,
    seen: HashSet<String>,
    duplicates: u64,
}

impl Recount {
    /// Before any usage. Lines that are reached from the start are crossed at once.
    pub(super) fn new(customers: &[Customer]) -> Self {
        let tallies: Vec<[Tally; 3]> = customers
            .iter()
            .map(|customer| customer.limits.map(|limit| Tally { limit, usage: 0 }))
            .collect();
        let mut recount =
            Self { tallies, crossings: BTreeMap::new(), seen: HashSet::new(), duplicates: 0 };
        for customer in 0..customers.len() {
            for feature in Feature::ALL {
                recount.note_crossings(customer, feature, 0, None);
            }
        }
        recount
    }

    /// Counts one event; a second one with the same id only counts as a duplicate.
    pub(super) fn add(&mut self, id: &str, usage: &Usage) {
        if !self.seen.insert(id.to_owned()) {
            self.duplicates += 1;
            return;
        }
        for feature in Feature::ALL {
            let tally = &mut self.tallies[usage.customer][feature as usize];
            let previous_usage = tally.usage;
            tally.usage += feature.quantity(&usage.request);
            self.note_crossings(usage.customer, feature, previous_usage, Some(id));
        }
    }

    fn note_crossings(
        &mut self,
        customer: usize,
        feature: Feature,
        previous_usage: u64,
        event: Option<&str>,
    ) {
        let tally = self.tally(customer, feature);
        for (rule_index, rule) in RULES.iter().enumerate() {
            if !rule.features.contains(&feature) {
                continue;
            }
            for (line_index, line) in rule.lines.iter().enumerate() {
                let crossing = Crossing { rule: rule_index, line: line_index, customer, feature };
                if tally.reaches(*line) && !self.crossings.contains_key(&crossing) {
                    let event = event.map(str::to_owned);
                    let usage = tally.usage;
                    self.crossings.insert(crossing, Circumstance { event, previous_usage, usage });
                }
            }
        }
    }

    /// Where a customer stands.
    pub(super) fn tally(&self, customer: usize, feature: Feature) -> Tally {
        self.tallies[customer][feature as usize]
    }

    /// Every line crossed so far.
    pub(super) fn crossings(&self) -> &BTreeMap<Crossing, Circumstance> {
        &self.crossings
    }

    /// Distinct events.
    pub(super) fn accepted(&self) -> u64 {
        self.seen.len() as u64
    }

    /// Events that had come before.
    pub(super) fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Webhooks that all crossings together must give.
    pub(super) fn webhooks(&self) -> usize {
        self.crossings.keys().map(|it| RULES[it.rule].channels.len()).sum()
    }
}

impl Crossing {
    /// The names of the channels that must hear of it.
    pub(super) fn channels(&self) -> impl Iterator<Item = &'static str> {
        RULES[self.rule].channels.iter().map(|index| CHANNELS[*index])
    }
}

#[cfg(test)]
mod tests {
    use super::{super::trace::Request, *};

    /// One customer with these limits on input tokens, output tokens and requests.
    fn recount(limits: [Option<u64>; 3]) -> Recount {
        let customer = Customer {
            key: "a".to_owned(),
            name: "A".to_owned(),
            subjects: vec!["a".to_owned()],
            limits,
            interval: "month",
        };
        Recount::new(&[customer])
    }

    fn usage(context_tokens: u64, generated_tokens: u64) -> Usage {
        let request = Request { offset_ms: 0, context_tokens, generated_tokens };
        Usage { customer: 0, subject: 0, request }
    }

    /// `feature rule/line previous→usage by event`, sorted.
    fn crossings(recount: &Recount) -> Vec<String> {
        recount
            .crossings()
            .iter()
            .map(|(crossing, how)| {
                format!(
                    "{} {}/{} {}→{} by {}",
                    crossing.feature.key(),
                    crossing.rule,
                    crossing.line,
                    how.previous_usage,
                    how.usage,
                    how.event.as_deref().unwrap_or("nothing"),
                )
            })
            .collect()
    }

    #[test]
    fn a_line_is_crossed_by_the_event_that_reaches_it_and_by_no_other() {
        let mut recount = recount([Some(100), None, None]);
        recount.add("e1", &usage(49, 0));
        assert_eq!(crossings(&recount), [""; 0]);
        recount.add("e2", &usage(1, 0));
        recount.add("e3", &usage(1, 0));
        assert_eq!(crossings(&recount), ["input_tokens 0/0 49→50 by e2"]);
        recount.add("e4", &usage(60, 0));
        assert_eq!(
            crossings(&recount),
            [
                "input_tokens 0/0 49→50 by e2",
                "input_tokens 0/1 51→111 by e4",
                "input_tokens 0/2 51→111 by e4",
                "input_tokens 3/0 51→111 by e4",
            ]
        );
        assert_eq!(recount.tally(0, Feature::InputTokens).percentage(), Some(111));
        assert_eq!(recount.webhooks(), 5);
    }

    #[test]
    fn a_duplicate_changes_nothing() {
        let mut recount = recount([Some(100), None, None]);
        recount.add("e1", &usage(49, 0));
        recount.add("e1", &usage(49, 0));
        assert_eq!(recount.tally(0, Feature::InputTokens).usage, 49);
        assert_eq!((recount.accepted(), recount.duplicates()), (1, 1));
    }

    #[test]
    fn a_limit_of_zero_is_reached_by_the_first_token_and_a_balance_at_once() {
        let mut recount = recount([None, Some(0), None]);
        let from_the_start =
            ["output_tokens 1/0 0→0 by nothing", "output_tokens 1/1 0→0 by nothing"];
        assert_eq!(crossings(&recount), from_the_start);
        recount.add("e1", &usage(0, 0));
        assert_eq!(crossings(&recount), from_the_start);
        recount.add("e2", &usage(0, 1));
        assert_eq!(crossings(&recount)[2..], ["output_tokens 3/0 0→1 by e2"]);
    }

    #[test]
    fn without_a_limit_only_absolute_lines_are_crossed() {
        let mut recount = recount([None; 3]);
        recount.add("e1", &usage(1_000_000, 50_000));
        assert_eq!(crossings(&recount), ["output_tokens 1/2 0→50000 by e1"]);
    }

    #[test]
    fn requests_are_counted() {
        let mut recount = recount([None, None, Some(4)]);
        for id in ["e1", "e2", "e3", "e4"] {
            recount.add(id, &usage(0, 0));
        }
        let expected = ["requests 2/0 2→3 by e3", "requests 3/0 3→4 by e4"];
        assert_eq!(crossings(&recount), expected);
    }
}
