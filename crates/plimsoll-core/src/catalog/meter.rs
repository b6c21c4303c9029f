//! Meters: which events count, and by what number.
//!
//! Not here: finding the value inside an event's JSON. The engine follows the [`ValuePath`] and
//! hands over what it found; what that means is decided here.

use std::str::FromStr;

use crate::{
    codec::{Corrupt, Reader, Writer},
    ids::{EnvironmentId, MeterId},
    limits,
    quantity::{InvalidQuantity, Quantity},
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
}

/// How the values of a meter's events are put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aggregation {
    /// Each event counts one.
    Count,
    /// The sum of a value of each event; negative values are corrections.
    Sum {
        /// Where the value is, inside the event's `data`.
        value: ValuePath,
    },
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
    /// `true`, `false`, `null`, an array or an object.
    Other,
}

/// What one event means to one meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// It adds this much.
    Counted(Quantity),
    /// It moves no meter, and here is why. The event is stored all the same.
    Uncounted(UncountedReason),
}

/// Why an accepted event moves no meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::enum_variant_names, reason = "reasons about other things than the value follow")]
pub enum UncountedReason {
    /// Nothing stands at the meter's path.
    ValueMissing,
    /// What stands there is no decimal number.
    ValueNotNumeric,
    /// The number, or the total with it, has more than 28 digits.
    ValueOutOfRange,
}

impl UncountedReason {
    /// The stable code of the reason.
    pub fn code(self) -> &'static str {
        match self {
            Self::ValueMissing => "value_missing",
            Self::ValueNotNumeric => "value_not_numeric",
            Self::ValueOutOfRange => "value_out_of_range",
        }
    }
}

impl Meter {
    /// Where this meter's value stands in an event, if it needs one.
    pub fn value_path(&self) -> Option<&ValuePath> {
        match &self.aggregation {
            Aggregation::Count => None,
            Aggregation::Sum { value } => Some(value),
        }
    }

    /// What an event means to this meter, given what stands at its path.
    pub fn reading(&self, found: FoundValue<'_>) -> Reading {
        match &self.aggregation {
            Aggregation::Count => Reading::Counted(Quantity::ONE),
            Aggregation::Sum { .. } => Reading::of(found),
        }
    }

    pub(crate) fn encode(&self, writer: &mut Writer) {
        writer.bits(self.id.bits());
        writer.bits(self.environment.bits());
        writer.text(&self.event_type);
        match &self.aggregation {
            Aggregation::Count => writer.byte(0),
            Aggregation::Sum { value } => {
                writer.byte(1);
                writer.list(value.0.iter(), |writer, it| writer.text(it));
            }
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        Ok(Self {
            id: MeterId::from_bits(reader.bits()?),
            environment: EnvironmentId::from_bits(reader.bits()?),
            event_type: reader.text()?.into(),
            aggregation: match reader.byte()? {
                0 => Aggregation::Count,
                1 => Aggregation::Sum {
                    value: ValuePath(reader.list(|it| it.text().map(Box::from))?),
                },
                _ => return Err(Corrupt { expected: "an aggregation" }),
            },
        })
    }
}

impl Reading {
    fn of(found: FoundValue<'_>) -> Self {
        let text = match found {
            FoundValue::Number(text) | FoundValue::Text(text) => text,
            FoundValue::Missing => return Self::Uncounted(UncountedReason::ValueMissing),
            FoundValue::Other => return Self::Uncounted(UncountedReason::ValueNotNumeric),
        };
        match Quantity::parse(text) {
            Ok(quantity) => Self::Counted(quantity),
            Err(InvalidQuantity::NotANumber) => Self::Uncounted(UncountedReason::ValueNotNumeric),
            Err(InvalidQuantity::OutOfRange) => Self::Uncounted(UncountedReason::ValueOutOfRange),
        }
    }
}

impl ValuePath {
    /// The member names to follow, outermost first.
    pub fn members(&self) -> &[Box<str>] {
        &self.0
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

    #[test]
    fn readings() {
        use FoundValue::{Missing, Number, Other, Text};
        use UncountedReason::{ValueMissing, ValueNotNumeric, ValueOutOfRange};
        let cases = [
            (Number("12.5"), Ok("12.5")),
            (Number("-3"), Ok("-3")),
            (Text("42"), Ok("42")),
            (Text("NaN"), Err(ValueNotNumeric)),
            (Text("many"), Err(ValueNotNumeric)),
            (Text(""), Err(ValueNotNumeric)),
            (Number("1e400"), Err(ValueOutOfRange)),
            (Missing, Err(ValueMissing)),
            (Other, Err(ValueNotNumeric)),
        ];
        for (found, expected) in cases {
            let expected = match expected {
                Ok(text) => Reading::Counted(text.parse().unwrap()),
                Err(reason) => Reading::Uncounted(reason),
            };
            assert_eq!(Reading::of(found), expected, "{found:?}");
        }
    }
}
