//! A language for tables: one step a line, what came of it behind `=>`.
//!
//! ```text
//! entitle acme tokens 100                    => 0/100
//! rule warn 80%
//! use acme 80                                => 80/100; warn:80% crossed (usage)
//! ```
//!
//! Every script runs twice: once straight through, once with a checkpoint and a restart after each
//! step. Both must say the same, and no identity may come twice.
//!
//! Not here: what is expected of which row (`rows`, `corners`).

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use crate::{
    catalog::{
        feature::{Feature, FeatureKind},
        meter::{Aggregation, FoundValue, Meter, Reading},
    },
    command::{Command, ControlCommand, CustomerCommand},
    effect::Effect,
    entitlement::{
        Entitlement, EntitlementKind,
        period::{Interval, UsagePeriod},
    },
    ids::{
        ChannelId, CustomerId, EntitlementId, EnvironmentId, FeatureId, LineId, MeterId, RuleId,
    },
    line::{
        Line, LineKind,
        crossing::{Crossing, Identity},
    },
    quantity::Quantity,
    rule::{Rule, RuleKind, WhenSeveral},
    state::{RowStamp, State, UsageEvent},
    time::Timestamp,
};

const ENVIRONMENT: EnvironmentId = EnvironmentId::from_parts(0, 1);

/// Runs a script and compares what it says behind each `=>` with what happened.
#[track_caller]
pub(super) fn check(script: &str) {
    for restarts in [false, true] {
        let mut ledger = Ledger::new(restarts);
        let expected = script.lines().map(tidy).filter(|it| !it.is_empty());
        let expected: Vec<String> = expected.collect();
        let got: Vec<String> = expected.iter().map(|it| ledger.step(it)).collect();
        let (expected, got) = (expected.join("\n"), got.join("\n"));
        assert!(got == expected, "restarts: {restarts}, expected\n{expected}\n\ngot\n{got}\n");
    }
}

/// Runs a script and gives the crossings of its last step.
pub(super) fn crossings_of_last_step(script: &str) -> Vec<Crossing> {
    let mut ledger = Ledger::new(false);
    for line in script.lines().map(tidy).filter(|it| !it.is_empty()) {
        ledger.step(&line);
    }
    ledger.crossings
}

fn tidy(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The state under test, and the names that a script has given.
struct Ledger {
    state: State,
    restarts: bool,
    clock: Timestamp,
    position: u64,
    seq: u64,
    minted: u128,
    meters: BTreeMap<String, MeterId>,
    features: BTreeMap<String, FeatureId>,
    customers: BTreeMap<String, CustomerId>,
    entitlements: BTreeMap<(String, String), EntitlementId>,
    rules: BTreeMap<String, Rule>,
    rule_names: BTreeMap<RuleId, String>,
    identities: Vec<Identity>,
    crossings: Vec<Crossing>,
}

impl Ledger {
    fn new(restarts: bool) -> Self {
        let mut ledger = Self {
            state: State::new(),
            restarts,
            clock: time("2026-03-01"),
            position: 0,
            seq: 0,
            minted: 0,
            meters: BTreeMap::new(),
            features: BTreeMap::new(),
            customers: BTreeMap::new(),
            entitlements: BTreeMap::new(),
            rules: BTreeMap::new(),
            rule_names: BTreeMap::new(),
            identities: Vec::new(),
            crossings: Vec::new(),
        };
        // What most scripts need: a feature `tokens`, measured by the meter `tokens`.
        ledger.put_feature("tokens", Some("tokens"));
        ledger
    }

    /// Runs one line and gives it as it should have read.
    fn step(&mut self, line: &str) -> String {
        let step = line.split_once(" =>").map_or(line, |(step, _)| step);
        let words: Vec<&str> = step.split(' ').collect();
        self.crossings.clear();
        let (shown, effects) = match words.as_slice() {
            ["clock", at @ ..] => {
                self.clock = time(&at.join(" "));
                (None, Vec::new())
            }
            ["feature", name, "boolean"] => (None, self.put_feature(name, None)),
            ["feature", name, meter] => (None, self.put_feature(name, Some(meter))),
            ["entitle", customer, feature, what, rest @ ..] => {
                let effects = self.entitle(customer, feature, what, rest.first().copied());
                (Some(self.values(customer)), effects)
            }
            ["revoke", customer, feature] => (None, self.revoke(customer, feature)),
            ["create", customer] => {
                let customer = self.customers[*customer];
                (None, self.customer_command(CustomerCommand::Create { customer }))
            }
            ["delete", customer] => {
                let customer = self.customers[*customer];
                (None, self.customer_command(CustomerCommand::Delete { customer }))
            }
            ["rule", name, words @ ..] => (None, self.put_rule(name, words, true)),
            ["lazily", "rule", name, words @ ..] => (None, self.put_rule(name, words, false)),
            ["unrule", name] => (None, self.delete_rule(name)),
            ["sweep"] => (None, self.sweep()),
            ["slice", from, to] => {
                (None, self.slice(ENVIRONMENT, from.parse().unwrap(), to.parse().unwrap()))
            }
            ["use", customer, amount, options @ ..] => {
                let effects = self.usage(customer, amount, options);
                (Some(self.values(customer)), effects)
            }
            ["value", customer] => (Some(self.values(customer)), Vec::new()),
            _ => panic!("no such step: {step}"),
        };
        let outcome: Vec<String> =
            shown.into_iter().chain(effects.iter().map(|it| self.show(it))).collect();
        for effect in effects {
            if let Effect::Crossing(crossing) = effect {
                assert!(!self.identities.contains(&crossing.identity), "twice: {crossing:?}");
                self.identities.push(crossing.identity);
                self.crossings.push(*crossing);
            }
        }
        if self.restarts {
            self.restart();
        }
        if outcome.is_empty() {
            step.to_owned()
        } else {
            format!("{step} => {}", outcome.join("; "))
        }
    }

    fn restart(&mut self) {
        let head = self.state.encode_head();
        let slices: Vec<Vec<u8>> =
            (0..self.state.slice_count()).map(|it| self.state.encode_slice(it)).collect();
        let parts: Vec<(usize, u64, &[u8])> = slices
            .iter()
            .enumerate()
            .map(|(index, bytes)| (index, self.position, bytes.as_slice()))
            .collect();
        self.state = State::restore(&head, &parts).unwrap();
        self.state.finish_replay();
        assert_eq!(self.state.encode_head(), head);
        for (index, bytes) in slices.iter().enumerate() {
            assert_eq!(self.state.encode_slice(index), *bytes);
        }
    }

    fn mint(&mut self) -> u128 {
        self.minted += 1;
        self.minted
    }

    fn apply(&mut self, command: &Command) -> Vec<Effect> {
        self.position += 1;
        let mut effects = Vec::new();
        // What is applied is what the log would hold.
        let bytes = command.encode();
        let read = Command::decode(command.row_kind(), &bytes).unwrap();
        assert_eq!(read, *command);
        self.state.apply(self.position, &read, &mut effects);
        effects
    }

    fn control(&mut self, command: ControlCommand) -> Vec<Effect> {
        self.seq += 1;
        self.apply(&Command::Control { seq: self.seq, command })
    }

    fn customer_command(&mut self, command: CustomerCommand) -> Vec<Effect> {
        let (environment, stamped_at) = (ENVIRONMENT, self.clock);
        self.apply(&Command::Customer { environment, stamped_at, command })
    }

    fn sweep(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some(due) = self.state.due_slice() {
            effects.extend(self.slice(due.environment, due.from, due.to));
        }
        effects
    }

    fn slice(&mut self, environment: EnvironmentId, from: u32, to: u32) -> Vec<Effect> {
        let stamped_at = self.clock;
        self.apply(&Command::Slice { environment, stamped_at, from, to })
    }

    fn put_feature(&mut self, name: &str, meter: Option<&str>) -> Vec<Effect> {
        let kind = match meter {
            None => FeatureKind::Boolean,
            Some(meter) => FeatureKind::Metered { meter: self.meter(meter) },
        };
        let id = FeatureId::from_parts(0, self.mint());
        self.features.insert(name.to_owned(), id);
        let document = Arc::from(&b"{}"[..]);
        self.control(ControlCommand::PutFeature(Feature {
            id,
            environment: ENVIRONMENT,
            kind,
            document,
        }))
    }

    fn meter(&mut self, name: &str) -> MeterId {
        if let Some(id) = self.meters.get(name) {
            return *id;
        }
        let id = MeterId::from_parts(0, self.mint());
        self.meters.insert(name.to_owned(), id);
        let value = "$.value".parse().unwrap();
        let meter = Meter {
            id,
            environment: ENVIRONMENT,
            event_type: name.into(),
            aggregation: Aggregation::Sum { value },
        };
        self.control(ControlCommand::PutMeter(meter));
        id
    }

    fn customer(&mut self, name: &str) -> CustomerId {
        if let Some(id) = self.customers.get(name) {
            return *id;
        }
        let customer = CustomerId::from_parts(0, self.mint());
        self.customers.insert(name.to_owned(), customer);
        self.customer_command(CustomerCommand::Create { customer });
        customer
    }

    fn entitle(
        &mut self,
        name: &str,
        feature: &str,
        what: &str,
        interval: Option<&str>,
    ) -> Vec<Effect> {
        let customer = self.customer(name);
        let fresh = EntitlementId::from_parts(0, self.mint());
        let key = (name.to_owned(), feature.to_owned());
        let id = *self.entitlements.entry(key).or_insert(fresh);
        let interval = match interval {
            None | Some("month") => Interval::Month,
            Some("day") => Interval::Day,
            Some("hour") => Interval::Hour,
            Some(other) => panic!("no such interval: {other}"),
        };
        let limit = match what {
            "unlimited" | "boolean" => None,
            limit => Some(quantity(limit)),
        };
        let kind = if what == "boolean" {
            EntitlementKind::Boolean
        } else {
            EntitlementKind::Metered { limit, period: UsagePeriod { interval, anchor: None } }
        };
        let entitlement = Entitlement { id, feature: self.features[feature], kind };
        self.customer_command(CustomerCommand::PutEntitlement { customer, entitlement })
    }

    fn revoke(&mut self, customer: &str, feature: &str) -> Vec<Effect> {
        let key = (customer.to_owned(), feature.to_owned());
        let entitlement = self.entitlements.remove(&key).unwrap();
        let customer = self.customers[customer];
        self.customer_command(CustomerCommand::DeleteEntitlement { customer, entitlement })
    }

    fn put_rule(&mut self, name: &str, words: &[&str], sweeps: bool) -> Vec<Effect> {
        let known = self.rules.get(name).cloned();
        let id = known.as_ref().map_or_else(|| RuleId::from_parts(0, self.mint()), |it| it.id);
        let mut rule = Rule {
            id,
            environment: ENVIRONMENT,
            kind: RuleKind::BalanceThreshold,
            features: Vec::new(),
            customers: Vec::new(),
            lines: Vec::new(),
            channels: vec![ChannelId::from_parts(0, 1)],
            when_several: WhenSeveral::Each,
            sends_resolved: false,
            hysteresis: Quantity::ZERO,
            evaluate_on_create: true,
            disabled: false,
            document: Arc::from(&b"{}"[..]),
        };
        for word in words {
            match word.split_once('=') {
                None if *word == "highest" => rule.when_several = WhenSeveral::Highest,
                None if *word == "resolved" => rule.sends_resolved = true,
                None if *word == "quiet" => rule.evaluate_on_create = false,
                None if *word == "disabled" => rule.disabled = true,
                None => {
                    let line = self.line(word, known.as_ref());
                    rule.lines.push(line);
                }
                Some(("hysteresis", value)) => rule.hysteresis = quantity(value),
                Some(("features", names)) => {
                    rule.features = names.split(',').map(|it| self.features[it]).collect();
                }
                Some(("customers", names)) => {
                    rule.customers = names.split(',').map(|it| self.customers[it]).collect();
                }
                Some(_) => panic!("no such option: {word}"),
            }
        }
        self.rule_names.insert(rule.id, name.to_owned());
        self.rules.insert(name.to_owned(), rule.clone());
        let mut effects = self.control(ControlCommand::PutRule(rule));
        if sweeps {
            effects.extend(self.sweep());
        }
        effects
    }

    /// `80%` of the limit, `800` used, `left:200` of the limit, `limit:80` percent of a typed rule.
    fn line(&mut self, word: &str, known: Option<&Rule>) -> Line {
        let (kind, value) = if let Some(percent) = word.strip_suffix('%') {
            (LineKind::UsagePercentage, percent)
        } else if let Some(left) = word.strip_prefix("left:") {
            (LineKind::BalanceValue, left)
        } else if let Some(percent) = word.strip_prefix("limit:") {
            (LineKind::Limit, percent)
        } else {
            (LineKind::UsageValue, word)
        };
        let value = quantity(value);
        let kept =
            known.and_then(|it| it.lines.iter().find(|it| (it.kind, it.value) == (kind, value)));
        let id = kept.map_or_else(|| LineId::from_parts(0, self.mint()), |it| it.id);
        Line { id, kind, value }
    }

    fn delete_rule(&mut self, name: &str) -> Vec<Effect> {
        let rule = self.rules.remove(name).unwrap().id;
        let mut effects =
            self.control(ControlCommand::DeleteRule { environment: ENVIRONMENT, rule });
        effects.extend(self.sweep());
        effects
    }

    fn usage(&mut self, customer: &str, amount: &str, options: &[&str]) -> Vec<Effect> {
        let customer = self.customer(customer);
        let (mut meter, mut event_time) = ("tokens", self.clock);
        match options {
            [] => {}
            ["of", name] => meter = name,
            ["from", at @ ..] => event_time = time(&at.join(" ")),
            other => panic!("no such options: {other:?}"),
        }
        let value = "$.value".parse().unwrap();
        let aggregation = Aggregation::Sum { value };
        let found = FoundValue::Text(amount);
        let id = self.meters[meter];
        let probe = Meter { id, environment: ENVIRONMENT, event_type: meter.into(), aggregation };
        let readings: [(MeterId, Reading); 1] = [(id, probe.reading(found))];
        self.position += 1;
        let row =
            RowStamp { position: self.position, environment: ENVIRONMENT, stamped_at: self.clock };
        let mut effects = Vec::new();
        self.state.begin_usage(row);
        let event = UsageEvent { customer, time: event_time, index: 0, readings: &readings };
        self.state.apply_usage(row, event, &mut effects);
        effects
    }

    /// `usage/limit` of each metered entitlement, named where there are several.
    fn values(&self, customer: &str) -> String {
        let id = self.customers[customer];
        let own = self.entitlements.iter().filter(|((owner, _), _)| owner == customer);
        let values: Vec<(&str, String)> = own
            .filter_map(|((_, feature), entitlement)| {
                let value = self.state.value(id, *entitlement, self.clock)?;
                let limit = value.limit.map_or_else(|| "unlimited".to_owned(), |it| it.to_string());
                Some((feature.as_str(), format!("{}/{limit}", value.usage)))
            })
            .collect();
        match values.as_slice() {
            [] => "no value".to_owned(),
            [(_, value)] => value.clone(),
            several => {
                let named = several.iter().map(|(feature, value)| format!("{feature} {value}"));
                named.collect::<Vec<_>>().join(", ")
            }
        }
    }

    /// `warn:80% crossed (usage)`, with the customer and feature where there are several.
    fn show(&self, effect: &Effect) -> String {
        let crossing = match effect {
            Effect::Uncounted { reason, .. } => return format!("uncounted {}", reason.code()),
            Effect::Crossing(crossing) => crossing,
        };
        let mut text = String::new();
        if self.customers.len() > 1 {
            let name = self.customers.iter().find(|(_, id)| **id == crossing.customer).unwrap().0;
            write!(text, "{name} ").unwrap();
        }
        if self.features.len() > 1 {
            let name = self.features.iter().find(|(_, id)| **id == crossing.feature).unwrap().0;
            write!(text, "{name} ").unwrap();
        }
        let Line { kind, value, .. } = crossing.line;
        let line = match kind {
            LineKind::UsagePercentage => format!("{value}%"),
            LineKind::UsageValue => value.to_string(),
            LineKind::BalanceValue => format!("left:{value}"),
            LineKind::Limit => format!("limit:{value}"),
        };
        let (rule, edge) = (&self.rule_names[&crossing.rule.id], crossing.identity.edge.name());
        write!(text, "{rule}:{line} {edge} ({})", crossing.cause.name()).unwrap();
        if let Some(suppression) = crossing.suppression {
            write!(text, " unsent: {}", suppression.code()).unwrap();
        }
        text
    }
}

fn quantity(text: &str) -> Quantity {
    text.parse().unwrap()
}

/// `2026-03-01`, `2026-03-01 10:00` or `2026-03-01 10:00:30`.
fn time(text: &str) -> Timestamp {
    let text = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{}:00Z", text.replace(' ', "T")),
        _ => format!("{}Z", text.replace(' ', "T")),
    };
    text.parse().unwrap()
}
