//! The bytes of every stored layout, as each released core wrote them.
//!
//! `tests/fixtures/v1/` holds them as hexadecimal text. Stored bytes outlive the binary that wrote
//! them: a fixture is never edited once its version is released. While [`CORE_VERSION`] is still
//! the version of the folder, `PLIMSOLL_WRITE_FIXTURES=1 cargo test -p plimsoll-core` writes them
//! anew.
//!
//! Not here: that arbitrary values round trip (`commands`).

use std::{fmt::Write as _, fs, path::PathBuf, sync::Arc};

use plimsoll_core::{
    catalog::{
        feature::{Feature, FeatureKind},
        meter::{Aggregation, Meter, Reading},
    },
    codec::CORE_VERSION,
    command::{Command, ControlCommand, CustomerCommand},
    effect::Effect,
    entitlement::{
        Entitlement, EntitlementKind,
        period::{Interval, UsagePeriod},
    },
    ids::{
        ChannelId, CustomerId, EntitlementId, EnvironmentId, FeatureId, LineId, MeterId, RuleId,
    },
    line::{Line, LineKind},
    quantity::Quantity,
    rule::{Rule, RuleKind, WhenSeveral},
    state::{RowStamp, State, UsageEvent},
    time::Timestamp,
};

const VERSION: i64 = 1;
const MS: u64 = 1_772_323_200_000;
const ENVIRONMENT: EnvironmentId = EnvironmentId::from_parts(MS, 1);
const METER: MeterId = MeterId::from_parts(MS, 2);
const FEATURE: FeatureId = FeatureId::from_parts(MS, 3);
const RULE: RuleId = RuleId::from_parts(MS, 4);
const CUSTOMER: CustomerId = CustomerId::from_parts(MS, 5);
const GONE: CustomerId = CustomerId::from_parts(MS, 6);
const ENTITLEMENT: EntitlementId = EntitlementId::from_parts(MS, 7);
const STAMP: Timestamp = Timestamp::from_ms(MS as i64);

#[test]
fn commands_of_version_1() {
    for (name, command) in fixed_commands() {
        let bytes = fixture(name, &command.encode());
        assert_eq!(Command::decode(command.row_kind(), &bytes), Ok(command), "{name}");
    }
}

#[test]
fn checkpoints_of_version_1() {
    let written = fixed_state();
    let head = fixture("head", &written.encode_head());
    let slice = fixture("slice", &written.encode_slice(0));
    let mut state = State::restore(&head, &[(0, 20, &slice)]).unwrap();
    state.finish_replay();
    let value = state.value(CUSTOMER, ENTITLEMENT, STAMP).unwrap();
    assert_eq!((value.usage, value.balance), (quantity("85.5"), Some(quantity("14.5"))));
    assert_eq!(state.customer_count(), 1);
    assert_eq!(state.catalog().seq(), 4);
    assert_eq!(state.last_usage_at(CUSTOMER), Some(STAMP));
    // The line at 80 % has fired in this state, the one at 10 left has not.
    assert_eq!(lines_that_fire(&mut state, "5"), ["balance_value"]);
}

#[test]
fn a_deleted_customer_keeps_the_stamp_of_its_last_usage() {
    let mut state = fixed_state();
    state.apply(21, &change(CustomerCommand::Delete { customer: CUSTOMER }), &mut Vec::new());
    assert_eq!(state.last_usage_at(CUSTOMER), Some(STAMP));
    let (head, slice) = (state.encode_head(), state.encode_slice(0));
    let restored = State::restore(&head, &[(0, 21, &slice)]).unwrap();
    assert_eq!(restored.last_usage_at(CUSTOMER), Some(STAMP), "through a checkpoint");
    assert_eq!(restored.last_usage_at(GONE), None, "it never sent any");
}

/// The stored bytes of this name; written first if that was asked for.
fn fixture(name: &str, current: &[u8]) -> Vec<u8> {
    let folder =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/v{VERSION}"));
    let path = folder.join(format!("{name}.hex"));
    if asked_to_write() {
        assert_eq!(CORE_VERSION, VERSION, "fixtures of a released version are never written");
        fs::write(&path, to_hex(current)).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let bytes = from_hex(&text);
    if CORE_VERSION == VERSION {
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
        put(EntitlementKind::Metered { limit: limit.map(quantity), period })
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

fn summing_meter() -> Meter {
    Meter {
        id: METER,
        environment: ENVIRONMENT,
        event_type: "llm.request".into(),
        aggregation: Aggregation::Sum { value: "$.usage['total tokens']".parse().unwrap() },
    }
}

fn metered_feature() -> Feature {
    let kind = FeatureKind::Metered { meter: METER };
    Feature { id: FEATURE, environment: ENVIRONMENT, kind, document: document(r#"{"key":"t"}"#) }
}

fn line(id: u128, kind: LineKind, value: &str) -> Line {
    Line { id: LineId::from_parts(MS, id), kind, value: quantity(value) }
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
    let mut state = State::new();
    let period = UsagePeriod { interval: Interval::Month, anchor: None };
    let kind = EntitlementKind::Metered { limit: Some(quantity("100")), period };
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
        state.apply(position, command, &mut Vec::new());
    }
    assert_eq!(lines_that_fire(&mut state, "85.5"), ["usage_percentage"]);
    let made_late = control(4, ControlCommand::PutRule(other_rule));
    state.apply(20, &made_late, &mut Vec::new());
    state
}

fn lines_that_fire(state: &mut State, amount: &str) -> Vec<&'static str> {
    let row = RowStamp { position: 19, environment: ENVIRONMENT, stamped_at: STAMP };
    let readings = [(METER, Reading::Counted(quantity(amount)))];
    let event = UsageEvent { customer: CUSTOMER, time: STAMP, index: 0, readings: &readings };
    let mut effects = Vec::new();
    state.begin_usage(row);
    state.apply_usage(row, event, &mut effects);
    let crossings = effects.iter().filter_map(|it| match it {
        Effect::Crossing(crossing) => Some(crossing.line.kind.name()),
        Effect::Uncounted { .. } => None,
    });
    crossings.collect()
}
