//! The small company of the demonstration: what it sells, to whom, and who wants to know what.
//!
//! It sells access to a language model and meters input tokens, output tokens and requests. Its
//! customers have different limits, drawn from the seed around what each will really use, so that
//! some stay below their lines and some go far past them. One may use nothing, some are unlimited.
//!
//! Not here: HTTP (`install`), what is expected to happen (`recount`).

use super::{
    dice::Dice,
    trace::{Request, Trace},
};

/// What is sold. Each feature has a meter of the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Feature {
    InputTokens,
    OutputTokens,
    Requests,
}

/// What a line is drawn on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineKind {
    UsagePercentage,
    UsageValue,
    BalanceValue,
    /// The one line of the typed rules, in percent of the limit.
    Limit,
}

impl LineKind {
    /// The name in rules and notifications.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::UsagePercentage => "usage_percentage",
            Self::UsageValue => "usage_value",
            Self::BalanceValue => "balance_value",
            Self::Limit => "limit",
        }
    }
}

/// A line of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) kind: LineKind,
    pub(super) value: u64,
}

/// A rule: when, about what, to whom.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: &'static str,
    pub(super) notification_type: &'static str,
    pub(super) features: &'static [Feature],
    pub(super) lines: &'static [Line],
    /// Indices into [`CHANNELS`].
    pub(super) channels: &'static [usize],
}

/// Who is told.
pub(super) const CHANNELS: [&str; 2] = ["billing", "customer-success"];

/// Everything that somebody wants to know.
pub(super) const RULES: [Rule; 4] = [
    Rule {
        name: "Input tokens at 50, 80 and 100 percent",
        notification_type: "entitlements.balance.threshold",
        features: &[Feature::InputTokens],
        lines: &[
            line(LineKind::UsagePercentage, 50),
            line(LineKind::UsagePercentage, 80),
            line(LineKind::UsagePercentage, 100),
        ],
        channels: &[0],
    },
    Rule {
        name: "Output tokens running out",
        notification_type: "entitlements.balance.threshold",
        features: &[Feature::OutputTokens],
        lines: &[
            line(LineKind::BalanceValue, 2_000),
            line(LineKind::BalanceValue, 500),
            line(LineKind::UsageValue, 50_000),
        ],
        channels: &[0, 1],
    },
    Rule {
        name: "Requests nearly used up",
        notification_type: "entitlement.limit.warning",
        features: &[Feature::Requests],
        lines: &[line(LineKind::Limit, 75)],
        channels: &[1],
    },
    Rule {
        name: "Nothing left",
        notification_type: "entitlement.limit.reached",
        features: &[Feature::InputTokens, Feature::OutputTokens, Feature::Requests],
        lines: &[line(LineKind::Limit, 100)],
        channels: &[0, 1],
    },
];

const fn line(kind: LineKind, value: u64) -> Line {
    Line { kind, value }
}

/// The type of every usage event.
pub(super) const EVENT_TYPE: &str = "llm.request";

const FIRST_NAMES: [&str; 10] = [
    "amber", "basalt", "cedar", "delta", "ember", "fjord", "garnet", "harbor", "indigo", "juniper",
];
const LAST_NAMES: [&str; 5] = ["labs", "mail", "motors", "press", "works"];

/// Limits in percent of what the customer will use.
const LIMIT_SHARES: [u64; 8] = [40, 60, 80, 95, 110, 130, 180, 400];
/// Every so many customers have no limit on anything.
const UNLIMITED_EVERY: usize = 17;
/// This one may use no output tokens at all.
const BLOCKED: usize = 23;

impl Feature {
    pub(super) const ALL: [Self; 3] = [Self::InputTokens, Self::OutputTokens, Self::Requests];

    /// The key of the feature and of its meter.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::InputTokens => "input_tokens",
            Self::OutputTokens => "output_tokens",
            Self::Requests => "requests",
        }
    }

    /// What one request uses of it.
    pub(super) fn quantity(self, request: &Request) -> u64 {
        match self {
            Self::InputTokens => request.context_tokens,
            Self::OutputTokens => request.generated_tokens,
            Self::Requests => 1,
        }
    }
}

/// A customer of the company.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Customer {
    pub(super) key: String,
    pub(super) name: String,
    pub(super) subjects: Vec<String>,
    /// In the order of [`Feature::ALL`]; `None` is unlimited.
    pub(super) limits: [Option<u64>; 3],
    /// How long its usage adds up.
    pub(super) interval: &'static str,
}

/// One request and who made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Usage {
    /// Index into the customers.
    pub(super) customer: usize,
    /// Which of its subjects made it.
    pub(super) subject: usize,
    pub(super) request: Request,
}

/// The company and everything that will be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scenario {
    pub(super) customers: Vec<Customer>,
    pub(super) usage: Vec<Usage>,
    pub(super) duration_ms: i64,
}

impl Scenario {
    /// Gives every request of `trace` to a customer, and every customer its limits.
    pub(super) fn new(trace: &Trace, seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0x5CE7_A210);
        let count = FIRST_NAMES.len() * LAST_NAMES.len();
        let weights = weights(count, &mut dice);
        let total: u64 = weights.iter().sum();
        let usage: Vec<Usage> = trace
            .requests()
            .iter()
            .map(|request| {
                let customer = owner_of(dice.below(total), &weights);
                let subject = usize::from(has_two_subjects(customer) && dice.below(4) == 0);
                Usage { customer, subject, request: *request }
            })
            .collect();
        let intervals = intervals(trace.duration_ms());
        let customers = used(count, &usage)
            .into_iter()
            .enumerate()
            .map(|(index, used)| customer(index, used, intervals, &mut dice))
            .collect();
        Self { customers, usage, duration_ms: trace.duration_ms() }
    }
}

/// A few customers use most: weights fall with the rank, and ranks are dealt by chance.
fn weights(count: usize, dice: &mut Dice) -> Vec<u64> {
    let mut weights: Vec<u64> = (0..count).map(|rank| 10_000 / (rank as u64 + 4)).collect();
    for index in (1..count).rev() {
        weights.swap(index, dice.below(index as u64 + 1) as usize);
    }
    weights
}

fn owner_of(ticket: u64, weights: &[u64]) -> usize {
    let mut end = 0;
    weights
        .iter()
        .position(|weight| {
            end += weight;
            ticket < end
        })
        .unwrap_or(0)
}

/// What each customer will use, in the order of [`Feature::ALL`].
fn used(count: usize, usage: &[Usage]) -> Vec<[u64; 3]> {
    let mut used = vec![[0; 3]; count];
    for one in usage {
        for feature in Feature::ALL {
            used[one.customer][feature as usize] += feature.quantity(&one.request);
        }
    }
    used
}

/// Every third customer also has a staging system with a subject of its own.
fn has_two_subjects(customer: usize) -> bool {
    customer.is_multiple_of(3)
}

/// Periods that are longer than the trace: anchored at its start, one window holds all of it.
fn intervals(duration_ms: i64) -> &'static [&'static str] {
    const DAY_MS: i64 = 24 * 60 * 60 * 1000;
    // Half a day less than the period leaves room for the replay itself.
    match duration_ms {
        ..43_200_000 => &["day", "week", "month", "year"],
        _ if duration_ms < 6 * DAY_MS => &["week", "month", "year"],
        _ if duration_ms < 27 * DAY_MS => &["month", "year"],
        _ => &["year"],
    }
}

fn customer(
    index: usize,
    used: [u64; 3],
    intervals: &'static [&'static str],
    dice: &mut Dice,
) -> Customer {
    let first = FIRST_NAMES.get(index % FIRST_NAMES.len()).copied().unwrap_or("acme");
    let last = LAST_NAMES.get(index / FIRST_NAMES.len()).copied().unwrap_or("inc");
    let key = format!("{first}-{last}");
    let mut subjects = vec![format!("{key}-production")];
    if has_two_subjects(index) {
        subjects.push(format!("{key}-staging"));
    }
    let limits = used.map(|used| {
        let limit = rounded(used * dice.pick(&LIMIT_SHARES) / 100);
        (!index.is_multiple_of(UNLIMITED_EVERY)).then_some(limit)
    });
    let [input, output, requests] = limits;
    let output = if index == BLOCKED { Some(0) } else { output };
    Customer {
        name: format!("{} {}", capitalized(first), capitalized(last)),
        key,
        subjects,
        limits: [input, output, requests],
        interval: dice.pick(intervals),
    }
}

/// Two leading digits, as a salesperson would write it; at least 10.
fn rounded(number: u64) -> u64 {
    let mut unit = 1;
    while number / unit >= 100 {
        unit *= 10;
    }
    (number / unit * unit).max(10)
}

fn capitalized(word: &str) -> String {
    let mut characters = word.chars();
    characters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_company() {
        let trace = Trace::generate(1);
        let scenario = Scenario::new(&trace, 1);
        assert_eq!(scenario, Scenario::new(&trace, 1));
        assert_ne!(scenario, Scenario::new(&trace, 2));
        assert_eq!(scenario.usage.len(), trace.requests().len());
        assert_eq!(scenario.customers.len(), 50);
        let mut keys: Vec<&str> = scenario.customers.iter().map(|it| it.key.as_str()).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 50);
    }

    #[test]
    fn there_is_someone_of_each_sort() {
        let scenario = Scenario::new(&Trace::generate(1), 1);
        let limits = |wanted: Option<u64>| {
            scenario.customers.iter().filter(|it| it.limits[1] == wanted).count()
        };
        assert_eq!((limits(None), limits(Some(0))), (3, 1));
        assert!(scenario.customers.iter().any(|it| it.subjects.len() == 2));
        for usage in &scenario.usage {
            assert!(usage.subject < scenario.customers[usage.customer].subjects.len());
        }
    }

    #[test]
    fn limits_have_two_digits() {
        let cases = [(0, 10), (9, 10), (99, 99), (101, 100), (129_999, 120_000)];
        for (number, expected) in cases {
            assert_eq!(rounded(number), expected);
        }
    }
}
