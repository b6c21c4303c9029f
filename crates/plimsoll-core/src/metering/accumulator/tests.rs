//! What accumulators hold, in whatever order and parts it came.
//!
//! Not here: windows and limits (`state::tests`).

use proptest::prelude::*;

use super::*;
use crate::metering::bucket::Bucket;

fn quantity(text: &str) -> Quantity {
    text.parse().unwrap()
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_ms(1_772_323_200_000 + ms)
}

const HOUR_MS: i64 = 3_600_000;

fn window() -> Window {
    Window { from: at(0), to: at(HOUR_MS) }
}

/// One of each kind, with nothing in it.
fn empties() -> Vec<Accumulator> {
    let value = || "$.v".parse().unwrap();
    let aggregations = [
        Aggregation::Sum { value: value() },
        Aggregation::Average { value: value() },
        Aggregation::Min { value: value() },
        Aggregation::Max { value: value() },
        Aggregation::Latest { value: value() },
        Aggregation::UniqueCount { value: value() },
        Aggregation::WeightedSum { value: value() },
        Aggregation::BucketedMax { value: value(), bucket: Bucket::Minute },
    ];
    aggregations.iter().map(Accumulator::empty).collect()
}

/// What a value means to an accumulator of this kind.
fn amount(kind: &Accumulator, time: Timestamp, value: Quantity) -> Amount {
    match kind {
        Accumulator::Unique(_) => Amount::Distinct(value.to_parts().0.unsigned_abs()),
        Accumulator::BucketMaxima(_) => Amount::Bucketed(Bucket::Minute.start_of(time), value),
        _ => Amount::Quantity(value),
    }
}

#[test]
fn values_of_each_kind() {
    let events = [(0, "4"), (1_800_000, "-1"), (900_000, "10"), (59_000, "4"), (1_800_000, "2")];
    let expected = [
        ("sum", Some("19"), "19"),
        ("avg", Some("3.8"), "0"),
        ("min", Some("-1"), "0"),
        ("max", Some("10"), "10"),
        // The last of two values of one moment is the later one.
        ("latest", Some("2"), "2"),
        ("unique", Some("4"), "4"),
        // 4·1 + 10·3/4 + 4·3541/3600 + (2 - 1)/2
        ("weighted", Some("15.934444444444444444444444444"), "0"),
        ("buckets", Some("16"), "16"),
    ];
    for (mut accumulator, (name, value, usage)) in empties().into_iter().zip(expected) {
        assert!(accumulator.is_empty(), "{name}");
        for (ms, text) in events {
            let amount = amount(&accumulator, at(ms), quantity(text));
            accumulator.add(at(ms), amount).unwrap();
        }
        let got = accumulator.value_in(window()).map(|it| it.to_string());
        assert_eq!(got.as_deref(), value, "{name}");
        assert_eq!(accumulator.usage().to_string(), usage, "{name}");
        assert!(!accumulator.is_empty() && accumulator.emptied().is_empty(), "{name}");
    }
}

#[test]
fn what_was_never_used_has_a_value_only_where_nothing_is_zero() {
    let expected = [Some("0"), None, None, None, None, Some("0"), Some("0"), Some("0")];
    for (accumulator, expected) in empties().iter().zip(expected) {
        let got = accumulator.value_in(window()).map(|it| it.to_string());
        assert_eq!(got.as_deref(), expected, "{accumulator:?}");
    }
}

#[test]
fn bounds_refuse_the_new_and_take_the_known() {
    let mut unique = Accumulator::Unique(BTreeSet::new());
    for value in 0..limits::UNIQUE_VALUES as u128 {
        unique.add(at(0), Amount::Distinct(value)).unwrap();
    }
    let beyond = Amount::Distinct(u128::MAX);
    assert_eq!(unique.add(at(0), beyond), Err(UncountedReason::UniqueLimit));
    assert_eq!(unique.add(at(0), Amount::Distinct(7)), Ok(()));
    assert_eq!(unique.usage(), Quantity::from_integer(limits::UNIQUE_VALUES as i64));

    let mut buckets = Accumulator::BucketMaxima(Box::default());
    for bucket in 0..limits::WINDOW_BUCKETS as i64 {
        buckets.add(at(0), Amount::Bucketed(at(bucket), Quantity::ONE)).unwrap();
    }
    let beyond = Amount::Bucketed(at(-1), Quantity::ONE);
    assert_eq!(buckets.add(at(0), beyond), Err(UncountedReason::BucketLimit));
    assert_eq!(buckets.add(at(0), Amount::Bucketed(at(5), quantity("3"))), Ok(()));
    let total = limits::WINDOW_BUCKETS as i64 + 2;
    assert_eq!(buckets.usage(), Quantity::from_integer(total));
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let most = quantity("79228162514264337593543950335");
    for mut accumulator in empties() {
        let first = amount(&accumulator, at(0), most);
        if accumulator.add(at(0), first).is_err() {
            assert!(accumulator.is_empty());
            continue;
        }
        let before = accumulator.clone();
        let second = amount(&accumulator, at(60_000), most);
        if accumulator.add(at(60_000), second).is_err() {
            assert_eq!(accumulator, before);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// However events are cut into parts, the parts together hold what all of them do.
    #[test]
    fn parts_merge_to_the_whole(
        events in prop::collection::vec((0..HOUR_MS, -50_i64..50), 0..30),
        cut: prop::sample::Index,
    ) {
        for empty in empties() {
            let add = |into: &mut Accumulator, events: &[(i64, i64)]| {
                for (ms, value) in events {
                    let amount = amount(into, at(*ms), Quantity::from_integer(*value));
                    into.add(at(*ms), amount).unwrap();
                }
            };
            let (first, second) = events.split_at(cut.index(events.len() + 1));
            let (mut whole, mut one, mut two) = (empty.clone(), empty.clone(), empty);
            add(&mut whole, &events);
            add(&mut one, first);
            add(&mut two, second);
            one.merge(&two).unwrap();
            prop_assert_eq!(&one, &whole);
            let mut writer = Writer::new();
            whole.encode(&mut writer);
            let bytes = writer.into_bytes();
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(Accumulator::decode(&mut reader), Ok(whole));
            prop_assert_eq!(reader.finish(), Ok(()));
        }
    }
}
