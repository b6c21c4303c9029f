//! The bytes of every stored layout, as each released core wrote them.
//!
//! `tests/fixtures/v1/`, `v2/` … hold them as hexadecimal text. Stored bytes outlive the binary
//! that wrote them: a fixture is never edited once its version is released. While [`CORE_VERSION`]
//! is still the version of the folder, `PLIMSOLL_WRITE_FIXTURES=1 cargo test -p plimsoll-core`
//! writes them anew.
//!
//! Not here: that arbitrary values round trip (`commands`).

use std::{fmt::Write as _, fs, path::PathBuf, sync::Arc};

use plimsoll_core::{
    archive::{MemoryArchive, Segment},
    catalog::{
        feature::{Feature, FeatureKind},
        meter::{Aggregation, Filter, GroupKey, Meter, MeterReading},
    },
    codec::{CORE_VERSION, Reader, Writer},
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
    line::{Line, LineGroup, LineKind},
    metering::{accumulator::Amount, cell::Cell},
    quantity::Quantity,
    rule::{Rule, RuleKind, WhenSeveral},
    state::{ClosedWindow, RowStamp, SliceOf, State, UsageEvent},
    time::{DAY_MS, Timestamp},
};

const MS: u64 = 1_772_323_200_000;
const ENVIRONMENT: EnvironmentId = EnvironmentId::from_parts(MS, 1);
const METER: MeterId = MeterId::from_parts(MS, 2);
const FEATURE: FeatureId = FeatureId::from_parts(MS, 3);
const RULE: RuleId = RuleId::from_parts(MS, 4);
const CUSTOMER: CustomerId = CustomerId::from_parts(MS, 5);
const GONE: CustomerId = CustomerId::from_parts(MS, 6);
const ENTITLEMENT: EntitlementId = EntitlementId::from_parts(MS, 7);
const STAMP: Timestamp = Timestamp::from_ms(MS as i64);
const LATER: Timestamp = Timestamp::from_ms(MS as i64 + 60 * DAY_MS);
const IN_JUNE: Timestamp = Timestamp::from_ms(MS as i64 + 100 * DAY_MS);

#[test]
fn commands_of_version_1() {
    for (name, command) in fixed_commands() {
        let bytes = fixture(1, name, &command.encode());
        assert_eq!(Command::decode(command.row_kind(), &bytes), Ok(command), "{name}");
    }
}

#[test]
fn commands_since_version_2() {
    for version in 2..=CORE_VERSION {
        for (name, command) in fixed_commands().into_iter().chain(commands_since_2()) {
            let bytes = fixture(version, name, &command.encode());
            assert_eq!(Command::decode(command.row_kind(), &bytes), Ok(command), "{name}");
        }
    }
}

#[test]
fn checkpoints_of_every_version() {
    for version in 1..=CORE_VERSION {
        let written = fixed_state();
        let head = fixture(version, "head", &written.encode_head());
        let slice = fixture(version, "slice", &written.encode_slice(0));
        let parts = [SliceOf { slice: 0, position: 20, version, bytes: &slice }];
        let mut state = State::restore(&head, version, &parts).unwrap();
        state.finish_replay();
        let value = state.value(CUSTOMER, ENTITLEMENT, STAMP).unwrap();
        assert_eq!((value.usage, value.balance), (quantity("85.5"), Some(quantity("14.5"))));
        assert_eq!(state.customer_count(), 1);
        assert_eq!(state.catalog().seq(), 4);
        assert_eq!(state.last_usage_at(CUSTOMER), Some(STAMP));
        assert!(state.has_events(ENVIRONMENT));
        // The line at 80 % has fired in this state, the one at 10 left has not.
        assert_eq!(lines_that_fire(&mut state, "5"), ["balance_value"]);
    }
}

#[test]
fn archives_since_version_2() {
    for version in 2..=CORE_VERSION {
        check_archives(version);
    }
}

fn check_archives(version: i64) {
    let (mut state, mut archive) = full_state();
    let next_month = Timestamp::from_ms(MS as i64 + 40 * DAY_MS);
    let pulse = state.due_pulse(next_month).unwrap();
    state.apply(40, &pulse, &mut archive, &mut Vec::new());
    use_at(&mut state, &mut archive, 41, next_month);
    let window = archive.windows.values().next().unwrap();
    let bytes = fixture(version, "closed_window", &window.encode());
    let read = ClosedWindow::decode(&bytes, version).unwrap();
    assert_eq!((read.window(), read.value()), (window.window(), window.value()));
    let segment = archive.segments.values().next().unwrap();
    let bytes = fixture(version, "segment", &segment.encode());
    assert_eq!(Segment::decode(&bytes, version).as_ref(), Ok(segment));
    let cell = archive.cells.values().next().unwrap();
    let mut writer = Writer::new();
    cell.encode(&mut writer);
    let bytes = fixture(version, "cell", &writer.into_bytes());
    assert_eq!(Cell::decode(&mut Reader::of_version(&bytes, version)).as_ref(), Ok(cell));
}

#[test]
fn checkpoints_since_version_2_hold_everything() {
    for version in 2..=CORE_VERSION {
        check_full_checkpoint(version);
    }
}

fn check_full_checkpoint(version: i64) {
    let (written, _) = full_state();
    let head = fixture(version, "full_head", &written.encode_head());
    let slice = fixture(version, "full_slice", &written.encode_slice(0));
    let parts = [SliceOf { slice: 0, position: 30, version, bytes: &slice }];
    let mut state = State::restore(&head, version, &parts).unwrap();
    state.finish_replay();
    assert_eq!(
        state.value(CUSTOMER, ENTITLEMENT, STAMP),
        written.value(CUSTOMER, ENTITLEMENT, STAMP)
    );
    assert_eq!(
        state.grant_balances(CUSTOMER, ENTITLEMENT, STAMP),
        written.grant_balances(CUSTOMER, ENTITLEMENT, STAMP)
    );
    assert_eq!(state.environments_with_set_clock(), [ENVIRONMENT]);
    let restored: Vec<_> = state.customers_with_cells(METER).collect();
    assert_eq!(restored, written.customers_with_cells(METER).collect::<Vec<_>>());
}

/// Since version 3: with what windows that nobody used had closed, before terms and rules changed.
#[test]
fn checkpoints_of_version_3_know_past_terms() {
    let (written, mut archive) = changed_state();
    let head = fixture(3, "changed_head", &written.encode_head());
    let slice = fixture(3, "changed_slice", &written.encode_slice(0));
    let parts = [SliceOf { slice: 0, position: 36, version: 3, bytes: &slice }];
    let mut state = State::restore(&head, 3, &parts).unwrap();
    state.finish_replay();
    let effects = use_late(&mut state, &mut archive, 40, IN_JUNE, IN_JUNE.plus_ms(-30 * DAY_MS));
    // In May, which nobody used.
    let window = archive.windows.values().nth(1).unwrap().value();
    assert_eq!((window.usage, window.limit), (quantity("60"), Some(quantity("100"))));
    // The lines on 50 came after it closed; of those that stood then, these are past.
    let late = effects.iter().filter_map(|it| match it {
        Effect::Crossing(it) => Some((it.line.kind.name(), it.late)),
        Effect::Uncounted { .. } | Effect::Reset(_) => None,
    });
    assert_eq!(late.collect::<Vec<_>>(), [("every", true), ("usage_value", true)]);
}

#[test]
fn a_deleted_customer_keeps_the_stamp_of_its_last_usage() {
    let mut state = fixed_state();
    let delete = change(CustomerCommand::Delete { customer: CUSTOMER });
    state.apply(21, &delete, &mut MemoryArchive::default(), &mut Vec::new());
    assert_eq!(state.last_usage_at(CUSTOMER), Some(STAMP));
    let (head, slice) = (state.encode_head(), state.encode_slice(0));
    let restored = State::restore_current(&head, &[(0, 21, &slice)]).unwrap();
    assert_eq!(restored.last_usage_at(CUSTOMER), Some(STAMP), "through a checkpoint");
    assert_eq!(restored.last_usage_at(GONE), None, "it never sent any");
}

/// The stored bytes of this name; written first if that was asked for.
fn fixture(version: i64, name: &str, current: &[u8]) -> Vec<u8> {
    let folder =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/v{version}"));
    let path = folder.join(format!("{name}.hex"));
    // Those of an older version are never written.
    if asked_to_write() && CORE_VERSION == version {
        fs::create_dir_all(&folder).unwrap();
        fs::write(&path, to_hex(current)).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let bytes = from_hex(&text);
    if CORE_VERSION == version {
        assert_eq!(to_hex(current), text, "{name}: the layout has changed, raise CORE_VERSION");
    }
    bytes
}

#[expect(clippy::disallowed_methods, reason = "a test has no configuration to take this from")]
fn asked_to_write() -> bool {
    std::env::var_os("PLIMSOLL_WRITE_FIXTURES").is_some()
}

fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(32) {
        for byte in line {
            write!(text, "{byte:02x}").unwrap();
        }
        text.push('\n');
    }
    text
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pairs = digits.chunks(2).map(|it| std::str::from_utf8(it).unwrap());
    pairs.map(|it| u8::from_str_radix(it, 16).unwrap()).collect()
}

fn quantity(text: &str) -> Quantity {
    text.parse().unwrap()
}

fn document(text: &str) -> Arc<[u8]> {
    Arc::from(text.as_bytes())
}

fn control(seq: u64, command: ControlCommand) -> Command {
    Command::Control { seq, command }
}

fn change(command: CustomerCommand) -> Command {
    Command::Customer { environment: ENVIRONMENT, stamped_at: STAMP, command }
}

fn fixed_commands() -> Vec<(&'static str, Command)> {
    let mut commands = fixed_controls();
    commands.extend(fixed_changes());
    let (environment, stamped_at) = (ENVIRONMENT, STAMP);
    let slice = Command::Slice { environment, stamped_at, from: 1_000, to: 2_000 };
    commands.push(("slice_command", slice));
    commands
}

fn fixed_controls() -> Vec<(&'static str, Command)> {
    let plain = |id, kind| Feature {
        id: FeatureId::from_parts(MS, id),
        environment: ENVIRONMENT,
        kind,
        document: document("{}"),
    };
    let counting = Meter {
        id: MeterId::from_parts(MS, 9),
        aggregation: Aggregation::Count,
        ..summing_meter()
    };
    let warning = Rule {
        kind: RuleKind::LimitWarning,
        lines: vec![line(13, LineKind::Limit, "75"), line(14, LineKind::UsageValue, "1e3")],
        ..full_rule()
    };
    let reached = Rule { kind: RuleKind::LimitReached, lines: Vec::new(), ..full_rule() };
    let deleted = ControlCommand::DeleteRule { environment: ENVIRONMENT, rule: RULE };
    let commands = [
        ("put_meter_sum", ControlCommand::PutMeter(summing_meter())),
        ("put_meter_count", ControlCommand::PutMeter(counting)),
        ("delete_meter", ControlCommand::DeleteMeter(METER)),
        ("put_feature_metered", ControlCommand::PutFeature(metered_feature())),
        ("put_feature_boolean", ControlCommand::PutFeature(plain(10, FeatureKind::Boolean))),
        ("put_feature_static", ControlCommand::PutFeature(plain(11, FeatureKind::Static))),
        ("delete_feature", ControlCommand::DeleteFeature(FEATURE)),
        ("put_rule_threshold", ControlCommand::PutRule(full_rule())),
        ("put_rule_limit_warning", ControlCommand::PutRule(warning)),
        ("put_rule_limit_reached", ControlCommand::PutRule(reached)),
        ("delete_rule", deleted),
    ];
    commands.into_iter().map(|(name, it)| (name, control(300, it))).collect()
}

fn fixed_changes() -> Vec<(&'static str, Command)> {
    let customer = CUSTOMER;
    let put = |kind| {
        let entitlement = Entitlement { id: ENTITLEMENT, feature: FEATURE, kind };
        CustomerCommand::PutEntitlement { customer, entitlement }
    };
    let metered = |limit: Option<&str>, interval, anchor| {
        let period = UsagePeriod { interval, anchor };
        let limits = Limits::hard(limit.map(quantity));
        put(EntitlementKind::Metered(Box::new(Terms::new(limits, period))))
    };
    let entitlement = ENTITLEMENT;
    let commands = [
        ("create_customer", CustomerCommand::Create { customer }),
        ("delete_customer", CustomerCommand::Delete { customer }),
        ("put_entitlement_hour", metered(Some("0"), Interval::Hour, None)),
        ("put_entitlement_day", metered(Some("12.50"), Interval::Day, None)),
        ("put_entitlement_week", metered(None, Interval::Week, None)),
        ("put_entitlement_month", metered(Some("1e27"), Interval::Month, Some(STAMP))),
        ("put_entitlement_year", metered(Some("0.001"), Interval::Year, None)),
        ("put_entitlement_boolean", put(EntitlementKind::Boolean)),
        ("put_entitlement_static", put(EntitlementKind::Static)),
        ("delete_entitlement", CustomerCommand::DeleteEntitlement { customer, entitlement }),
    ];
    commands.into_iter().map(|(name, it)| (name, change(it))).collect()
}

fn commands_since_2() -> Vec<(&'static str, Command)> {
    let (customer, entitlement, environment) = (CUSTOMER, ENTITLEMENT, ENVIRONMENT);
    let grouped = ControlCommand::PutMeter(grouped_meter());
    let lines = vec![
        line(18, LineKind::BalancePercentage, "10"),
        line(19, LineKind::Every, "100"),
        line(20, LineKind::SoftLimit, "80"),
        line(21, LineKind::TierLimit, "75"),
        group_line(22, None),
        group_line(23, Some("gpt")),
    ];
    let rule = Rule { kind: RuleKind::TierLimitReached, lines, ..full_rule() };
    let set_clock = ControlCommand::SetClock { environment, now: STAMP };
    let reset = ManualReset { at: STAMP, retains_anchor: true, preserves_overage: Some(false) };
    let terms = full_terms();
    let (limits, tiers) = (terms.limits, terms.tiers.clone());
    let kind = EntitlementKind::Metered(Box::new(terms));
    let full = Entitlement { id: entitlement, feature: FEATURE, kind };
    let (grant, at) = (full_grant(), STAMP);
    vec![
        ("put_meter_grouped", control(300, grouped)),
        ("put_rule_every_kind", control(300, ControlCommand::PutRule(rule))),
        ("set_clock", control(300, set_clock)),
        (
            "put_entitlement_full",
            change(CustomerCommand::PutEntitlement { customer, entitlement: full }),
        ),
        (
            "put_grant",
            change(CustomerCommand::PutGrant { customer, entitlement, grant: grant.clone() }),
        ),
        (
            "void_grant",
            change(CustomerCommand::VoidGrant { customer, entitlement, grant: grant.id, at }),
        ),
        ("reset", change(CustomerCommand::ResetEntitlement { customer, entitlement, reset })),
        (
            "change_limits",
            change(CustomerCommand::ChangeLimits { customer, entitlement, limits, tiers, at }),
        ),
        ("pulse", Command::Pulse { environment, stamped_at: STAMP, slots: vec![7, 300, 1] }),
    ]
}

fn grouped_meter() -> Meter {
    let path = |text: &str| text.parse().unwrap();
    Meter {
        group_by: vec![GroupKey { name: "model".into(), path: path("$.model") }],
        filters: vec![Filter { path: path("$.region"), values: vec!["eu".into(), "us".into()] }],
        ..summing_meter()
    }
}

fn group_line(id: u128, value: Option<&str>) -> Line {
    let group = Some(LineGroup { key: "model".into(), value: value.map(Box::from) });
    Line { group, ..line(id, LineKind::UsageValue, "50") }
}

fn full_terms() -> Terms {
    let period = UsagePeriod { interval: Interval::Month, anchor: None };
    let limits = Limits { hard: Some(quantity("100")), soft: Some(quantity("90")) };
    Terms {
        tiers: vec![quantity("50"), quantity("75.5")],
        limit_priority: 5,
        preserves_overage: true,
        ..Terms::new(limits, period)
    }
}

fn full_grant() -> Grant {
    Grant {
        id: GrantId::from_parts(MS, 30),
        amount: quantity("40"),
        priority: 2,
        effective_at: STAMP,
        expires_at: Some(Timestamp::from_ms(MS as i64 + 90 * DAY_MS)),
        recurrence: Some(UsagePeriod { interval: Interval::Week, anchor: Some(STAMP) }),
        min_rollover: quantity("1"),
        max_rollover: quantity("20"),
    }
}

/// A state with groups, grants, cells, lines of groups that have fired, and a clock that was set.
fn full_state() -> (State, MemoryArchive) {
    let (mut state, mut archive) = (State::new(), MemoryArchive::default());
    let kind = EntitlementKind::Metered(Box::new(full_terms()));
    let full = Entitlement { id: ENTITLEMENT, feature: FEATURE, kind };
    let (customer, entitlement, environment) = (CUSTOMER, ENTITLEMENT, ENVIRONMENT);
    let lines = vec![line(19, LineKind::Every, "10"), group_line(22, None)];
    let rule = Rule { lines, ..full_rule() };
    let commands = [
        control(1, ControlCommand::PutMeter(grouped_meter())),
        control(2, ControlCommand::PutFeature(metered_feature())),
        control(3, ControlCommand::PutRule(rule)),
        control(4, ControlCommand::SetClock { environment, now: STAMP }),
        change(CustomerCommand::Create { customer }),
        change(CustomerCommand::PutEntitlement { customer, entitlement: full }),
        change(CustomerCommand::PutGrant { customer, entitlement, grant: full_grant() }),
        change(CustomerCommand::VoidGrant {
            customer,
            entitlement,
            grant: full_grant().id,
            at: LATER,
        }),
    ];
    for (position, command) in (1..).zip(&commands) {
        state.apply(position, command, &mut archive, &mut Vec::new());
    }
    use_at(&mut state, &mut archive, 29, STAMP);
    let now = LATER;
    let set = control(5, ControlCommand::SetClock { environment, now });
    state.apply(30, &set, &mut archive, &mut Vec::new());
    (state, archive)
}

/// The same after limits, tiers, anchor and rules were changed, the last of them not stamped yet.
fn changed_state() -> (State, MemoryArchive) {
    let (mut state, mut archive) = full_state();
    let (customer, entitlement, environment) = (CUSTOMER, ENTITLEMENT, ENVIRONMENT);
    let limits = Limits { hard: None, soft: Some(quantity("7")) };
    let reset = ManualReset { at: IN_JUNE, retains_anchor: false, preserves_overage: None };
    let rule = |id, number| {
        let lines = vec![line(number, LineKind::UsageValue, "50")];
        let id = RuleId::from_parts(MS, id);
        ControlCommand::PutRule(Rule { id, lines, ..full_rule() })
    };
    let (at, stamped_at, tiers) = (IN_JUNE, IN_JUNE, vec![quantity("3.5")]);
    let change = |command| Command::Customer { environment, stamped_at, command };
    let commands = [
        Command::Pulse { environment, stamped_at, slots: vec![0] },
        control(6, rule(40, 41)),
        change(CustomerCommand::ChangeLimits { customer, entitlement, limits, tiers, at }),
        change(CustomerCommand::ResetEntitlement { customer, entitlement, reset }),
        control(7, rule(42, 43)),
    ];
    for (position, command) in (31..).zip(&commands) {
        state.apply(position, command, &mut archive, &mut Vec::new());
    }
    (state, archive)
}

/// Uses 60 of the group `gpt`.
fn use_at(state: &mut State, archive: &mut MemoryArchive, position: u64, stamped_at: Timestamp) {
    use_late(state, archive, position, stamped_at, stamped_at);
}

/// Uses 60 of the group `gpt`, at an earlier time.
fn use_late(
    state: &mut State,
    archive: &mut MemoryArchive,
    position: u64,
    stamped_at: Timestamp,
    time: Timestamp,
) -> Vec<Effect> {
    let row = RowStamp { position, environment: ENVIRONMENT, stamped_at };
    let amount = Ok(Amount::Quantity(quantity("60")));
    let meter = Arc::new(grouped_meter());
    let readings = [MeterReading { meter, amount, groups: vec![Some("gpt".into())] }];
    let event = UsageEvent { customer: CUSTOMER, time, index: 0, readings: &readings };
    let mut effects = Vec::new();
    state.begin_usage(row);
    state.apply_usage(row, event, archive, &mut effects);
    effects
}

fn summing_meter() -> Meter {
    Meter {
        id: METER,
        environment: ENVIRONMENT,
        event_type: "llm.request".into(),
        aggregation: Aggregation::Sum { value: "$.usage['total tokens']".parse().unwrap() },
        group_by: Vec::new(),
        filters: Vec::new(),
    }
}

fn metered_feature() -> Feature {
    let kind = FeatureKind::Metered { meter: METER };
    Feature { id: FEATURE, environment: ENVIRONMENT, kind, document: document(r#"{"key":"t"}"#) }
}

fn line(id: u128, kind: LineKind, value: &str) -> Line {
    Line { id: LineId::from_parts(MS, id), kind, value: quantity(value), group: None }
}

fn full_rule() -> Rule {
    Rule {
        id: RULE,
        environment: ENVIRONMENT,
        kind: RuleKind::BalanceThreshold,
        features: vec![FEATURE],
        customers: vec![CUSTOMER, GONE],
        lines: vec![
            line(11, LineKind::UsagePercentage, "80"),
            line(12, LineKind::BalanceValue, "10"),
        ],
        channels: vec![ChannelId::from_parts(MS, 8)],
        when_several: WhenSeveral::Highest,
        sends_resolved: true,
        hysteresis: quantity("2.5"),
        evaluate_on_create: true,
        disabled: false,
        document: document(r#"{"name":"80"}"#),
    }
}

/// A head and a slice with something in every field: a sweep under way, a customer that is gone,
/// a line that has fired.
fn fixed_state() -> State {
    let (mut state, mut archive) = (State::new(), MemoryArchive::default());
    let period = UsagePeriod { interval: Interval::Month, anchor: None };
    let terms = Terms::new(Limits::hard(Some(quantity("100"))), period);
    let kind = EntitlementKind::Metered(Box::new(terms));
    let entitlement = Entitlement { id: ENTITLEMENT, feature: FEATURE, kind };
    let boolean = Entitlement {
        id: EntitlementId::from_parts(MS, 15),
        feature: FeatureId::from_parts(MS, 10),
        kind: EntitlementKind::Boolean,
    };
    let customer = CUSTOMER;
    let mut other_rule = full_rule();
    other_rule.id = RuleId::from_parts(MS, 16);
    other_rule.lines = vec![line(17, LineKind::UsageValue, "1000000")];
    let commands = [
        control(1, ControlCommand::PutMeter(summing_meter())),
        control(2, ControlCommand::PutFeature(metered_feature())),
        control(3, ControlCommand::PutRule(full_rule())),
        change(CustomerCommand::Create { customer: GONE }),
        change(CustomerCommand::Create { customer }),
        change(CustomerCommand::PutEntitlement { customer, entitlement }),
        change(CustomerCommand::PutEntitlement { customer, entitlement: boolean }),
        change(CustomerCommand::Delete { customer: GONE }),
    ];
    for (position, command) in (1..).zip(&commands) {
        state.apply(position, command, &mut archive, &mut Vec::new());
    }
    assert_eq!(lines_that_fire(&mut state, "85.5"), ["usage_percentage"]);
    let made_late = control(4, ControlCommand::PutRule(other_rule));
    state.apply(20, &made_late, &mut archive, &mut Vec::new());
    state
}

fn lines_that_fire(state: &mut State, amount: &str) -> Vec<&'static str> {
    let row = RowStamp { position: 19, environment: ENVIRONMENT, stamped_at: STAMP };
    let meter = Arc::new(summing_meter());
    let amount = Ok(Amount::Quantity(quantity(amount)));
    let readings = [MeterReading { meter, amount, groups: Vec::new() }];
    let event = UsageEvent { customer: CUSTOMER, time: STAMP, index: 0, readings: &readings };
    let mut effects = Vec::new();
    state.begin_usage(row);
    state.apply_usage(row, event, &mut MemoryArchive::default(), &mut effects);
    let crossings = effects.iter().filter_map(|it| match it {
        Effect::Crossing(crossing) => Some(crossing.line.kind.name()),
        Effect::Uncounted { .. } | Effect::Reset(_) => None,
    });
    crossings.collect()
}
