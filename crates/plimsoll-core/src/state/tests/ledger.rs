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

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    archive::MemoryArchive,
    catalog::{
        feature::{Feature, FeatureKind},
        meter::{GroupKey, Meter},
    },
    command::{Command, ControlCommand, CustomerCommand, ManualReset},
    effect::Effect,
    entitlement::{
        Entitlement, EntitlementKind, Terms,
        grant::Grant,
        period::{Interval, UsagePeriod},
        source::Limits,
    },
    ids::{
        ChannelId, CustomerId, EntitlementId, EnvironmentId, FeatureId, GrantId, LineId, MeterId,
        RuleId,
    },
    line::{Line, crossing::Crossing},
    quantity::Quantity,
    rule::{Rule, RuleKind, WhenSeveral},
    state::{RowStamp, State, UsageEvent},
    time::Timestamp,
};

mod show;
mod words;

pub(super) use words::Data;
use words::{aggregation_of, interval_of, limits_of, line_of, quantity, time};

const ENVIRONMENT: EnvironmentId = EnvironmentId::from_parts(0, 1);

/// Runs a script and compares what it says behind each `=>` with what happened.
#[track_caller]
pub(super) fn check(script: &str) {
    for restarts in [false, true] {
        run(script, restarts);
    }
}

/// As [`check`], without restarts: for scripts of thousands of lines.
#[track_caller]
pub(super) fn check_once(script: &str) {
    run(script, false);
}

#[track_caller]
fn run(script: &str, restarts: bool) {
    let mut ledger = Ledger::new(restarts);
    let expected = script.lines().map(tidy).filter(|it| !it.is_empty());
    let expected: Vec<String> = expected.collect();
    let got: Vec<String> = expected.iter().map(|it| ledger.step(it)).collect();
    let (expected, got) = (expected.join("\n"), got.join("\n"));
    assert!(got == expected, "restarts: {restarts}, expected\n{expected}\n\ngot\n{got}\n");
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
    archive: MemoryArchive,
    restarts: bool,
    /// Whether resets are among what came of a step.
    shows_resets: bool,
    clock: Timestamp,
    position: u64,
    seq: u64,
    minted: u128,
    meters: BTreeMap<String, Arc<Meter>>,
    grants: BTreeMap<String, GrantId>,
    features: BTreeMap<String, FeatureId>,
    customers: BTreeMap<String, CustomerId>,
    entitlements: BTreeMap<(String, String), EntitlementId>,
    rules: BTreeMap<String, Rule>,
    rule_names: BTreeMap<RuleId, String>,
    identities: BTreeSet<[u8; 32]>,
    crossings: Vec<Crossing>,
}

impl Ledger {
    fn new(restarts: bool) -> Self {
        let mut ledger = Self {
            state: State::new(),
            archive: MemoryArchive::default(),
            restarts,
            shows_resets: false,
            clock: time("2026-03-01"),
            position: 0,
            seq: 0,
            minted: 0,
            meters: BTreeMap::new(),
            grants: BTreeMap::new(),
            features: BTreeMap::new(),
            customers: BTreeMap::new(),
            entitlements: BTreeMap::new(),
            rules: BTreeMap::new(),
            rule_names: BTreeMap::new(),
            identities: BTreeSet::new(),
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
        let (shown, effects) =
            self.catalogue_step(&words).unwrap_or_else(|| self.usage_step(&words));
        let outcome: Vec<String> =
            shown.into_iter().chain(effects.iter().filter_map(|it| self.show(it))).collect();
        self.remember(effects);
        if self.restarts {
            self.restart();
        }
        let outcome: Vec<_> = outcome.into_iter().filter(|it| !it.is_empty()).collect();
        if outcome.is_empty() {
            step.to_owned()
        } else {
            format!("{step} => {}", outcome.join("; "))
        }
    }

    /// Steps of the catalogue and of time; what is shown, and what came of it.
    fn catalogue_step(&mut self, words: &[&str]) -> Option<(Option<String>, Vec<Effect>)> {
        Some(match words {
            ["clock", at @ ..] => {
                self.clock = time(&at.join(" "));
                (None, Vec::new())
            }
            ["meter", name, aggregation, options @ ..] => {
                self.put_meter(name, aggregation, options);
                (None, Vec::new())
            }
            ["set", "clock", at @ ..] => (None, self.set_clock(time(&at.join(" ")))),
            ["pulse"] => (None, self.pulse()),
            ["show", "resets"] => {
                self.shows_resets = true;
                (None, Vec::new())
            }
            ["feature", name, "boolean"] => (None, self.put_feature(name, None)),
            ["feature", name, meter] => (None, self.put_feature(name, Some(meter))),
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
            _ => return None,
        })
    }

    /// Steps of one customer; what is shown, and what came of it.
    fn usage_step(&mut self, words: &[&str]) -> (Option<String>, Vec<Effect>) {
        match words {
            ["grant", customer, feature, name, amount, options @ ..] => {
                let effects = self.grant(customer, feature, name, amount, options);
                (Some(self.values(customer)), effects)
            }
            ["void", customer, feature, name, at @ ..] => {
                let effects = self.void(customer, feature, name, at);
                (Some(self.values(customer)), effects)
            }
            ["reset", customer, feature, options @ ..] => {
                let effects = self.reset(customer, feature, options);
                (Some(self.values(customer)), effects)
            }
            ["limit", customer, feature, what, at @ ..] => {
                let effects = self.change_limits(customer, feature, what, at);
                (Some(self.values(customer)), effects)
            }
            ["grants", customer, feature] => (Some(self.balances(customer, feature)), Vec::new()),
            ["segments", customer, feature] => (Some(self.segments(customer, feature)), Vec::new()),
            ["burned", customer, feature] => (Some(self.burned(customer, feature)), Vec::new()),
            ["closed", customer, feature] => (Some(self.closed(customer, feature)), Vec::new()),
            ["entitle", customer, feature, what, rest @ ..] => {
                let effects = self.entitle(customer, feature, what, rest);
                (Some(self.values(customer)), effects)
            }
            ["revoke", customer, feature] => (None, self.revoke(customer, feature)),
            ["use", customer, amount, options @ ..] => {
                let effects = self.usage(customer, amount, options);
                (Some(self.values(customer)), effects)
            }
            ["value", customer] => (Some(self.values(customer)), Vec::new()),
            _ => panic!("no such step: {words:?}"),
        }
    }

    /// No identity may come twice.
    fn remember(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            let digest = match &effect {
                Effect::Crossing(crossing) => crossing.identity.digest(),
                Effect::Reset(reset) => reset.digest(None),
                Effect::Uncounted { .. } => continue,
            };
            assert!(self.identities.insert(digest), "twice: {effect:?}");
            if let Effect::Crossing(crossing) = effect {
                self.crossings.push(*crossing);
            }
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
        self.state = State::restore_current(&head, &parts).unwrap();
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
        self.state.apply(self.position, &read, &mut self.archive, &mut effects);
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
        if !self.meters.contains_key(name) {
            self.put_meter(name, "sum", &[]);
        }
        self.meters[name].id
    }

    /// `sum`, `max`, `max/hour`, `sum*0.5`, …; `by=model,region` groups.
    fn put_meter(&mut self, name: &str, aggregation: &str, options: &[&str]) {
        let id = MeterId::from_parts(0, self.mint());
        let groups = options.iter().find_map(|it| it.strip_prefix("by="));
        let keys = groups.into_iter().flat_map(|it| it.split(','));
        let meter = Meter {
            id,
            environment: ENVIRONMENT,
            event_type: name.into(),
            aggregation: aggregation_of(aggregation),
            group_by: keys
                .map(|it| GroupKey { name: it.into(), path: format!("$.{it}").parse().unwrap() })
                .collect(),
            filters: Vec::new(),
        };
        self.meters.insert(name.to_owned(), Arc::new(meter.clone()));
        self.control(ControlCommand::PutMeter(meter));
    }

    fn set_clock(&mut self, now: Timestamp) -> Vec<Effect> {
        let mut effects = self.control(ControlCommand::SetClock { environment: ENVIRONMENT, now });
        self.clock = self.state.stamp(ENVIRONMENT, now);
        effects.extend(self.pulse());
        effects
    }

    /// Works off everything that is due.
    fn pulse(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some(pulse) = self.state.due_pulse(self.clock) {
            effects.extend(self.apply(&pulse));
        }
        effects
    }

    fn of_entitlement(
        &mut self,
        customer: &str,
        feature: &str,
        command: impl FnOnce(CustomerId, EntitlementId) -> CustomerCommand,
    ) -> Vec<Effect> {
        let entitlement = self.entitlements[&(customer.to_owned(), feature.to_owned())];
        let customer = self.customers[customer];
        self.customer_command(command(customer, entitlement))
    }

    /// `priority=1 from=… until=… every=day rollover=0..50`; times as in [`time`] with `_`.
    fn grant(
        &mut self,
        customer: &str,
        feature: &str,
        name: &str,
        amount: &str,
        options: &[&str],
    ) -> Vec<Effect> {
        let id = GrantId::from_parts(self.clock.as_ms() as u64, self.mint());
        self.grants.insert(name.to_owned(), id);
        let amount = quantity(amount);
        let mut grant = Grant {
            id,
            amount,
            priority: 0,
            effective_at: self.clock,
            expires_at: None,
            recurrence: None,
            min_rollover: Quantity::ZERO,
            max_rollover: amount,
        };
        for option in options {
            match option.split_once('=').unwrap() {
                ("priority", value) => grant.priority = value.parse().unwrap(),
                ("from", at) => grant.effective_at = time(&at.replace('_', " ")),
                ("until", at) => grant.expires_at = Some(time(&at.replace('_', " "))),
                ("every", interval) => {
                    let interval = interval_of(interval);
                    grant.recurrence = Some(UsagePeriod { interval, anchor: None });
                }
                ("rollover", range) => {
                    let (least, most) = range.split_once("..").unwrap();
                    (grant.min_rollover, grant.max_rollover) = (quantity(least), quantity(most));
                }
                other => panic!("no such option: {other:?}"),
            }
        }
        self.of_entitlement(customer, feature, |customer, entitlement| CustomerCommand::PutGrant {
            customer,
            entitlement,
            grant,
        })
    }

    fn void(&mut self, customer: &str, feature: &str, name: &str, at: &[&str]) -> Vec<Effect> {
        let (grant, at) = (self.grants[name], self.moment(at));
        self.of_entitlement(customer, feature, |customer, entitlement| CustomerCommand::VoidGrant {
            customer,
            entitlement,
            grant,
            at,
        })
    }

    /// The time that these words say; none is now.
    fn moment(&self, words: &[&str]) -> Timestamp {
        if words.is_empty() { self.clock } else { time(&words.join(" ")) }
    }

    /// `anew` begins a whole period; `overage` and `no-overage` say what becomes of it.
    fn reset(&mut self, customer: &str, feature: &str, options: &[&str]) -> Vec<Effect> {
        let mut reset =
            ManualReset { at: self.clock, retains_anchor: true, preserves_overage: None };
        for option in options {
            match *option {
                "anew" => reset.retains_anchor = false,
                "overage" => reset.preserves_overage = Some(true),
                "no-overage" => reset.preserves_overage = Some(false),
                at => reset.at = time(&at.replace('_', " ")),
            }
        }
        self.of_entitlement(customer, feature, |customer, entitlement| {
            CustomerCommand::ResetEntitlement { customer, entitlement, reset }
        })
    }

    fn change_limits(
        &mut self,
        customer: &str,
        feature: &str,
        what: &str,
        at: &[&str],
    ) -> Vec<Effect> {
        let at = self.moment(at);
        let (limits, tiers) = limits_of(what);
        self.of_entitlement(customer, feature, |customer, entitlement| {
            CustomerCommand::ChangeLimits { customer, entitlement, limits, tiers, at }
        })
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

    /// `100`, `unlimited`, `100/80` with a soft limit, `-/80` with nothing else, `tiers:10,20`;
    /// then the period, `preserve`, `limit-priority=5`.
    fn entitle(&mut self, name: &str, feature: &str, what: &str, options: &[&str]) -> Vec<Effect> {
        let customer = self.customer(name);
        let fresh = EntitlementId::from_parts(0, self.mint());
        let key = (name.to_owned(), feature.to_owned());
        let id = *self.entitlements.entry(key).or_insert(fresh);
        let mut period = UsagePeriod { interval: Interval::Month, anchor: None };
        let (limits, tiers) =
            if what == "boolean" { (Limits::default(), Vec::new()) } else { limits_of(what) };
        let mut terms = Terms { tiers, ..Terms::new(limits, period) };
        for option in options {
            match option.split_once('=') {
                None if *option == "preserve" => terms.preserves_overage = true,
                None => period.interval = interval_of(option),
                Some(("limit-priority", value)) => terms.limit_priority = value.parse().unwrap(),
                Some(("anchor", at)) => period.anchor = Some(time(&at.replace('_', " "))),
                Some(_) => panic!("no such option: {option}"),
            }
        }
        terms.period = period;
        let kind = if what == "boolean" {
            EntitlementKind::Boolean
        } else {
            EntitlementKind::Metered(Box::new(terms))
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

    /// A line as [`words::line_of`] reads it; one that the rule had keeps its id.
    fn line(&mut self, word: &str, known: Option<&Rule>) -> Line {
        let (kind, value, group) = line_of(word);
        let is_same = |it: &&Line| (it.kind, it.value, &it.group) == (kind, value, &group);
        let kept = known.and_then(|it| it.lines.iter().find(is_same));
        let id = kept.map_or_else(|| LineId::from_parts(0, self.mint()), |it| it.id);
        Line { id, kind, value, group }
    }

    fn delete_rule(&mut self, name: &str) -> Vec<Effect> {
        let rule = self.rules.remove(name).unwrap().id;
        let mut effects =
            self.control(ControlCommand::DeleteRule { environment: ENVIRONMENT, rule });
        effects.extend(self.sweep());
        effects
    }

    /// `of <meter>`, `from <time>`, `model=gpt`.
    fn usage(&mut self, customer: &str, amount: &str, options: &[&str]) -> Vec<Effect> {
        let customer = self.customer(customer);
        let (mut meter, mut event_time) = ("tokens", self.clock);
        let mut data = BTreeMap::from([("value", amount)]);
        let mut options = options.iter();
        while let Some(option) = options.next() {
            match option.split_once('=') {
                Some((key, value)) => drop(data.insert(key, value)),
                None if *option == "of" => meter = options.next().unwrap(),
                None if *option == "from" => {
                    let words: Vec<_> = options.by_ref().copied().collect();
                    event_time = time(&words.join(" "));
                }
                None => panic!("no such option: {option}"),
            }
        }
        let event_time = event_time.min(self.clock);
        let readings: Vec<_> =
            self.meters[meter].read(event_time, &mut Data(data)).into_iter().collect();
        self.position += 1;
        let row =
            RowStamp { position: self.position, environment: ENVIRONMENT, stamped_at: self.clock };
        let mut effects = Vec::new();
        self.state.begin_usage(row);
        let event = UsageEvent { customer, time: event_time, index: 0, readings: &readings };
        self.state.apply_usage(row, event, &mut self.archive, &mut effects);
        effects
    }
}
