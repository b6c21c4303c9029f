//! Meters: which events count, and by what number.
//!
//! Not here: finding the value inside an event's JSON. The engine follows the [`ValuePath`] and
//! hands over what it found; what that means is decided here.

use std::{str::FromStr, sync::Arc};

use sha2::{Digest, Sha256};

use crate::{
    codec::{Corrupt, Reader, Writer},
    ids::{EnvironmentId, MeterId},
    limits,
    metering::{accumulator::Amount, bucket::Bucket},
    quantity::{InvalidQuantity, Quantity},
    time::Timestamp,
};

/// How usage events become a number. Its parts never change once it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meter {
    /// The meter's id.
    pub id: MeterId,
    /// The environment it measures in.
    pub environment: EnvironmentId,
    /// The event type that it measures; compared exactly.
    pub event_type: Box<str>,
    /// How values are put together.
    pub aggregation: Aggregation,
    /// By what usage can be queried and lines be drawn, at most [`limits::METER_GROUP_KEYS`].
    pub group_by: Vec<GroupKey>,
    /// It measures events that pass all of these, at most [`limits::METER_FILTERS`].
    pub filters: Vec<Filter>,
}

/// How the values of a meter's events are put together. `value` says where inside an event's `data`
/// the value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are what the enum's comment and their types say")]
pub enum Aggregation {
    /// Each event counts one.
    Count,
    /// The sum; negative values are corrections.
    Sum { value: ValuePath },
    /// The sum, each value multiplied.
    SumWithMultiplier { value: ValuePath, multiplier: Quantity },
    /// The sum over buckets of the sum in each: the same total, with the buckets visible.
    BucketedSum { value: ValuePath, bucket: Bucket },
    /// The mean; for queries only.
    Average { value: ValuePath },
    /// The least; for queries only.
    Min { value: ValuePath },
    /// The greatest.
    Max { value: ValuePath },
    /// The sum over buckets of the greatest in each.
    BucketedMax { value: ValuePath, bucket: Bucket },
    /// The value with the latest time.
    Latest { value: ValuePath },
    /// How many different values there are, as text.
    UniqueCount { value: ValuePath },
    /// The sum of changes, each weighted by the part of the window after it; for queries only.
    WeightedSum { value: ValuePath },
}

/// A name for a place in events by whose value usage can be told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupKey {
    /// What queries and lines call it.
    pub name: Box<str>,
    /// Where the value stands inside an event's `data`.
    pub path: ValuePath,
}

/// A condition on events: one of the values stands at the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Where to look inside an event's `data`.
    pub path: ValuePath,
    /// What may stand there, as text.
    pub values: Vec<Box<str>>,
}

/// A path into an event's `data`: the JSONPath subset `$.a.b`, `$['a']["b"]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValuePath(Vec<Box<str>>);

/// The text is not a path that we can follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a JSONPath of member names such as $.tokens or $.usage['total.tokens']")]
pub struct InvalidValuePath;

/// What stands at a [`ValuePath`] in an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundValue<'a> {
    /// There is nothing there.
    Missing,
    /// A JSON number, as it was written.
    Number(&'a str),
    /// A JSON string, unescaped.
    Text(&'a str),
    /// `true` or `false`.
    Boolean(bool),
    /// `null`, an array or an object.
    Other,
}

/// An event's `data`, to be looked into.
pub trait EventData {
    /// What stands at this path.
    fn find(&mut self, path: &ValuePath) -> FoundValue<'_>;
}

/// What one event means to one meter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeterReading {
    /// The meter.
    pub meter: Arc<Meter>,
    /// What it adds, or why it moves no meter. The event is stored all the same.
    pub amount: Result<Amount, UncountedReason>,
    /// Its values for the meter's group-by keys, in their order; nothing where there is none.
    pub groups: Vec<Option<Box<str>>>,
}

/// Why an accepted event moves no meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UncountedReason {
    /// Nothing stands at the meter's path.
    ValueMissing,
    /// What stands there is no decimal number.
    ValueNotNumeric,
    /// The number, or the total with it, has more than 28 digits.
    ValueOutOfRange,
    /// What stands there is an array, an object or null, which cannot be told apart from others.
    ValueNotScalar,
    /// One different value more than [`limits::UNIQUE_VALUES`].
    UniqueLimit,
    /// One group-by value more than [`limits::GROUP_VALUES`].
    GroupLimit,
    /// A group-by value of more than [`limits::GROUP_VALUE_BYTES`].
    GroupValueTooLong,
    /// One bucket more than [`limits::WINDOW_BUCKETS`].
    BucketLimit,
}

impl UncountedReason {
    /// The stable code of the reason.
    pub fn code(self) -> &'static str {
        match self {
            Self::ValueMissing => "value_missing",
            Self::ValueNotNumeric => "value_not_numeric",
            Self::ValueOutOfRange => "value_out_of_range",
            Self::ValueNotScalar => "value_not_scalar",
            Self::UniqueLimit => "unique_limit",
            Self::GroupLimit => "group_limit",
            Self::GroupValueTooLong => "group_value_too_long",
            Self::BucketLimit => "bucket_limit",
        }
    }
}

impl Aggregation {
    /// Where this aggregation's value stands in an event, if it needs one.
    pub fn value_path(&self) -> Option<&ValuePath> {
        match self {
            Self::Count => None,
            Self::Sum { value }
            | Self::SumWithMultiplier { value, .. }
            | Self::BucketedSum { value, .. }
            | Self::Average { value }
            | Self::Min { value }
            | Self::Max { value }
            | Self::BucketedMax { value, .. }
            | Self::Latest { value }
            | Self::UniqueCount { value }
            | Self::WeightedSum { value } => Some(value),
        }
    }

    /// Whether entitlements can be limited by it (design 5.2).
    pub fn is_limitable(&self) -> bool {
        !matches!(self, Self::Average { .. } | Self::Min { .. } | Self::WeightedSum { .. })
    }

    /// Whether what it adds up to takes the same few bytes however much is added. Only then is the
    /// usage of many customers kept together.
    pub fn is_small(&self) -> bool {
        !matches!(self, Self::UniqueCount { .. } | Self::BucketedMax { .. })
    }

    /// What stands at the value's path, as an amount of an event of this time.
    fn amount(&self, found: FoundValue<'_>, time: Timestamp) -> Result<Amount, UncountedReason> {
        match self {
            Self::Count => Ok(Amount::Quantity(Quantity::ONE)),
            Self::UniqueCount { .. } => distinct(found).map(Amount::Distinct),
            Self::SumWithMultiplier { multiplier, .. } => number(found)?
                .checked_mul(*multiplier)
                .map(Amount::Quantity)
                .map_err(|_| UncountedReason::ValueOutOfRange),
            Self::BucketedSum { bucket, .. } | Self::BucketedMax { bucket, .. } => {
                Ok(Amount::Bucketed(bucket.start_of(time), number(found)?))
            }
            Self::Sum { .. }
            | Self::Average { .. }
            | Self::Min { .. }
            | Self::Max { .. }
            | Self::Latest { .. }
            | Self::WeightedSum { .. } => number(found).map(Amount::Quantity),
        }
    }

    fn encode(&self, writer: &mut Writer) {
        writer.byte(match self {
            Self::Count => 0,
            Self::Sum { .. } => 1,
            Self::SumWithMultiplier { .. } => 2,
            Self::BucketedSum { .. } => 3,
            Self::Average { .. } => 4,
            Self::Min { .. } => 5,
            Self::Max { .. } => 6,
            Self::BucketedMax { .. } => 7,
            Self::Latest { .. } => 8,
            Self::UniqueCount { .. } => 9,
            Self::WeightedSum { .. } => 10,
        });
        if let Some(value) = self.value_path() {
            value.encode(writer);
        }
        match self {
            Self::SumWithMultiplier { multiplier, .. } => writer.quantity(*multiplier),
            Self::BucketedSum { bucket, .. } | Self::BucketedMax { bucket, .. } => {
                bucket.encode(writer);
            }
            _ => {}
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let tag = reader.byte()?;
        if tag == 0 {
            return Ok(Self::Count);
        }
        let value = ValuePath::decode(reader)?;
        Ok(match tag {
            1 => Self::Sum { value },
            2 => Self::SumWithMultiplier { value, multiplier: reader.quantity()? },
            3 => Self::BucketedSum { value, bucket: Bucket::decode(reader)? },
            4 => Self::Average { value },
            5 => Self::Min { value },
            6 => Self::Max { value },
            7 => Self::BucketedMax { value, bucket: Bucket::decode(reader)? },
            8 => Self::Latest { value },
            9 => Self::UniqueCount { value },
            10 => Self::WeightedSum { value },
            _ => return Err(Corrupt { expected: "an aggregation" }),
        })
    }
}

impl Meter {
    /// What an event of this time means to this meter; nothing if it does not pass the filters.
    pub fn read(
        self: &Arc<Self>,
        time: Timestamp,
        event: &mut dyn EventData,
    ) -> Option<MeterReading> {
        let mut passes = |it: &Filter| {
            let found = text_of(event.find(&it.path));
            found.is_some_and(|found| it.values.iter().any(|value| **value == *found))
        };
        if !self.filters.iter().all(&mut passes) {
            return None;
        }
        let found = match self.aggregation.value_path() {
            Some(path) => event.find(path),
            None => FoundValue::Missing,
        };
        let mut amount = self.aggregation.amount(found, time);
        let mut groups = Vec::with_capacity(self.group_by.len());
        for key in &self.group_by {
            let value = text_of(event.find(&key.path));
            if value.is_some_and(|it| it.len() > limits::GROUP_VALUE_BYTES) {
                amount = Err(UncountedReason::GroupValueTooLong);
            }
            groups.push(value.map(Box::from));
        }
        Some(MeterReading { meter: Arc::clone(self), amount, groups })
    }

    pub(crate) fn encode(&self, writer: &mut Writer) {
        writer.bits(self.id.bits());
        writer.bits(self.environment.bits());
        writer.text(&self.event_type);
        self.aggregation.encode(writer);
        writer.list(self.group_by.iter(), |writer, it| {
            writer.text(&it.name);
            it.path.encode(writer);
        });
        writer.list(self.filters.iter(), |writer, it| {
            it.path.encode(writer);
            writer.list(it.values.iter(), |writer, it| writer.text(it));
        });
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let mut meter = Self {
            id: MeterId::from_bits(reader.bits()?),
            environment: EnvironmentId::from_bits(reader.bits()?),
            event_type: reader.text()?.into(),
            aggregation: Aggregation::decode(reader)?,
            group_by: Vec::new(),
            filters: Vec::new(),
        };
        if reader.version() >= 2 {
            meter.group_by = reader.list(|reader| {
                Ok(GroupKey { name: reader.text()?.into(), path: ValuePath::decode(reader)? })
            })?;
            meter.filters = reader.list(|reader| {
                let path = ValuePath::decode(reader)?;
                Ok(Filter { path, values: reader.list(|it| it.text().map(Box::from))? })
            })?;
        }
        Ok(meter)
    }
}

/// The number that stands there.
fn number(found: FoundValue<'_>) -> Result<Quantity, UncountedReason> {
    let text = match found {
        FoundValue::Number(text) | FoundValue::Text(text) => text,
        FoundValue::Missing => return Err(UncountedReason::ValueMissing),
        FoundValue::Boolean(_) | FoundValue::Other => return Err(UncountedReason::ValueNotNumeric),
    };
    Quantity::parse(text).map_err(|error| match error {
        InvalidQuantity::NotANumber => UncountedReason::ValueNotNumeric,
        InvalidQuantity::OutOfRange => UncountedReason::ValueOutOfRange,
    })
}

/// A value as text: a number as it was written, so `1` and `1.0` are two.
fn text_of(found: FoundValue<'_>) -> Option<&str> {
    match found {
        FoundValue::Number(text) | FoundValue::Text(text) => Some(text),
        FoundValue::Boolean(true) => Some("true"),
        FoundValue::Boolean(false) => Some("false"),
        FoundValue::Missing | FoundValue::Other => None,
    }
}

/// What stands for a value among different ones: 128 bits of a digest count as exact.
fn distinct(found: FoundValue<'_>) -> Result<u128, UncountedReason> {
    if found == FoundValue::Missing {
        return Err(UncountedReason::ValueMissing);
    }
    let text = text_of(found).ok_or(UncountedReason::ValueNotScalar)?;
    let digest = Sha256::digest(text.as_bytes());
    Ok(digest.iter().take(16).fold(0, |bits, it| (bits << 8) | u128::from(*it)))
}

impl ValuePath {
    /// The member names to follow, outermost first.
    pub fn members(&self) -> &[Box<str>] {
        &self.0
    }

    fn encode(&self, writer: &mut Writer) {
        writer.list(self.0.iter(), |writer, it| writer.text(it));
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        reader.list(|it| it.text().map(Box::from)).map(Self)
    }
}

impl FromStr for ValuePath {
    type Err = InvalidValuePath;

    fn from_str(text: &str) -> Result<Self, InvalidValuePath> {
        let mut rest = text.strip_prefix('$').ok_or(InvalidValuePath)?;
        let mut members = Vec::new();
        while !rest.is_empty() {
            let (member, after) = if let Some(dotted) = rest.strip_prefix('.') {
                let end = dotted.find(['.', '[']).unwrap_or(dotted.len());
                dotted.split_at(end)
            } else {
                let bracketed = rest.strip_prefix('[').ok_or(InvalidValuePath)?;
                let quote = bracketed.chars().next().filter(|it| matches!(it, '\'' | '"'));
                let quote = quote.ok_or(InvalidValuePath)?;
                let (member, after) = bracketed[1..].split_once(quote).ok_or(InvalidValuePath)?;
                (member, after.strip_prefix(']').ok_or(InvalidValuePath)?)
            };
            let plain = |it: char| !it.is_control() && !matches!(it, '*' | '?' | '@' | '\\');
            if member.is_empty() || !member.chars().all(plain) {
                return Err(InvalidValuePath);
            }
            members.push(Box::from(member));
            rest = after;
        }
        let bounded = members.len() <= limits::JSON_DEPTH && text.len() <= limits::NAME_BYTES;
        if members.is_empty() || !bounded { Err(InvalidValuePath) } else { Ok(Self(members)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_paths() {
        let cases: [(&str, Option<&[&str]>); 12] = [
            ("$.tokens", Some(&["tokens"])),
            ("$.usage.total", Some(&["usage", "total"])),
            ("$['total.tokens']", Some(&["total.tokens"])),
            ("$.a[\"b\"].c", Some(&["a", "b", "c"])),
            ("tokens", None),
            ("$", None),
            ("$.", None),
            ("$..a", None),
            ("$.a[0]", None),
            ("$.*", None),
            ("$['a'", None),
            ("$[?(@.a)]", None),
        ];
        for (text, expected) in cases {
            let got = text.parse::<ValuePath>().ok();
            let members: Option<Vec<&str>> =
                got.as_ref().map(|it| it.members().iter().map(AsRef::as_ref).collect());
            assert_eq!(members.as_deref(), expected, "{text}");
        }
    }

    /// Data of one level, by name.
    struct Data(Vec<(&'static str, FoundValue<'static>)>);

    impl EventData for Data {
        fn find(&mut self, path: &ValuePath) -> FoundValue<'_> {
            let name = path.members().join(".");
            self.0.iter().find(|it| it.0 == name).map_or(FoundValue::Missing, |it| it.1)
        }
    }

    fn meter(aggregation: Aggregation) -> Meter {
        Meter {
            id: MeterId::from_bits(1),
            environment: EnvironmentId::from_bits(1),
            event_type: "t".into(),
            aggregation,
            group_by: Vec::new(),
            filters: Vec::new(),
        }
    }

    fn path(text: &str) -> ValuePath {
        text.parse().unwrap()
    }

    const NOON: Timestamp = Timestamp::from_ms(43_200_000);

    #[test]
    fn amounts() {
        use FoundValue::{Boolean, Missing, Number, Other, Text};
        use UncountedReason::{ValueMissing, ValueNotNumeric, ValueOutOfRange};
        let cases = [
            (Number("12.5"), Ok("12.5")),
            (Number("-3"), Ok("-3")),
            (Text("42"), Ok("42")),
            (Text("NaN"), Err(ValueNotNumeric)),
            (Text("many"), Err(ValueNotNumeric)),
            (Text(""), Err(ValueNotNumeric)),
            (Boolean(true), Err(ValueNotNumeric)),
            (Number("1e400"), Err(ValueOutOfRange)),
            (Missing, Err(ValueMissing)),
            (Other, Err(ValueNotNumeric)),
        ];
        for (found, expected) in cases {
            let expected = expected.map(|it| Amount::Quantity(it.parse().unwrap()));
            let sum = Aggregation::Sum { value: path("$.v") };
            assert_eq!(sum.amount(found, NOON), expected, "{found:?}");
        }
        let doubled = Aggregation::SumWithMultiplier {
            value: path("$.v"),
            multiplier: "0.5".parse().unwrap(),
        };
        let half = Amount::Quantity("6.25".parse().unwrap());
        assert_eq!(doubled.amount(Number("12.5"), NOON), Ok(half));
        let bucketed = Aggregation::BucketedMax { value: path("$.v"), bucket: Bucket::Day };
        let today = Amount::Bucketed(Timestamp::from_ms(0), Quantity::ONE);
        assert_eq!(bucketed.amount(Number("1"), NOON), Ok(today));
    }

    #[test]
    fn different_values_are_told_apart_as_text() {
        use FoundValue::{Boolean, Missing, Number, Other, Text};
        let unique = Aggregation::UniqueCount { value: path("$.v") };
        let of = |found| unique.amount(found, NOON);
        assert_eq!(of(Text("a")), of(Text("a")));
        assert_ne!(of(Text("a")), of(Text("b")));
        assert_eq!(of(Text("7")), of(Number("7")));
        assert_eq!(of(Text("true")), of(Boolean(true)));
        assert!(of(Text("")).is_ok());
        assert_eq!(of(Other), Err(UncountedReason::ValueNotScalar));
        assert_eq!(of(Missing), Err(UncountedReason::ValueMissing));
    }

    #[test]
    fn filters_are_and_over_paths_and_or_inside() {
        let mut meter = meter(Aggregation::Count);
        let filter = |at: &str, values: &[&str]| Filter {
            path: path(at),
            values: values.iter().map(|it| Box::from(*it)).collect(),
        };
        meter.filters = vec![filter("$.model", &["small", "large"]), filter("$.paid", &["true"])];
        let cases = [
            (vec![("model", FoundValue::Text("small")), ("paid", FoundValue::Boolean(true))], true),
            (vec![("model", FoundValue::Text("large")), ("paid", FoundValue::Text("true"))], true),
            (
                vec![("model", FoundValue::Text("large")), ("paid", FoundValue::Boolean(false))],
                false,
            ),
            (
                vec![("model", FoundValue::Text("other")), ("paid", FoundValue::Boolean(true))],
                false,
            ),
            (vec![("model", FoundValue::Text("small"))], false),
            (vec![("model", FoundValue::Other), ("paid", FoundValue::Boolean(true))], false),
        ];
        for (data, passes) in cases {
            let shown = format!("{data:?}");
            assert_eq!(
                Arc::new(meter.clone()).read(NOON, &mut Data(data)).is_some(),
                passes,
                "{shown}"
            );
        }
    }

    #[test]
    fn group_values_are_texts_numbers_and_booleans() {
        let mut meter = meter(Aggregation::Count);
        let names = ["text", "number", "flag", "list", "missing"];
        meter.group_by = names
            .map(|name| GroupKey { name: name.into(), path: path(&format!("$.{name}")) })
            .to_vec();
        let data = vec![
            ("text", FoundValue::Text("eu")),
            ("number", FoundValue::Number("1.50")),
            ("flag", FoundValue::Boolean(false)),
            ("list", FoundValue::Other),
        ];
        let reading = Arc::new(meter.clone()).read(NOON, &mut Data(data)).unwrap();
        let got: Vec<Option<&str>> = reading.groups.iter().map(Option::as_deref).collect();
        assert_eq!(got, [Some("eu"), Some("1.50"), Some("false"), None, None]);
        let long: &'static str = "x".repeat(limits::GROUP_VALUE_BYTES + 1).leak();
        let reading = Arc::new(meter.clone())
            .read(NOON, &mut Data(vec![("text", FoundValue::Text(long))]))
            .unwrap();
        assert_eq!(reading.amount, Err(UncountedReason::GroupValueTooLong));
    }
}
