//! How ids, times and decimals are written in documents and read from requests.
//!
//! A decimal is always written as a string. A request may give it as a JSON number too, and the
//! digits are taken as they stand in the text: they never pass through a float.
//!
//! Not here: what the values mean (`plimsoll-core`).

use std::{fmt, str::FromStr};

use plimsoll_core::quantity::Quantity;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use serde_json::value::RawValue;

/// A decimal number of a request: a JSON string or a JSON number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, utoipa::ToSchema)]
#[schema(value_type = String, example = "1000")]
pub struct Decimal(pub Quantity);

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let text = raw.get();
        let parsed = match text.as_bytes().first() {
            Some(b'"') => {
                Quantity::parse(&serde_json::from_str::<String>(text).map_err(Error::custom)?)
            }
            Some(b'-' | b'0'..=b'9') => Quantity::parse(text),
            _ => return Err(Error::custom("expected a decimal number, as a string or a number")),
        };
        parsed.map(Self).map_err(Error::custom)
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A time of a request, as RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, format = DateTime, example = "2026-01-31T09:30:00Z")]
pub struct Time(#[serde(with = "as_text")] pub plimsoll_core::time::Timestamp);

/// One value as a JSON string, by its `Display` and `FromStr`: `#[serde(with = "as_text")]`.
pub mod as_text {
    use super::{Deserializer, Error, FromStr, Serializer, fmt, parse};

    /// Writes `value` as a string.
    pub fn serialize<T: fmt::Display, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    /// Reads a string as a `T`.
    pub fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: fmt::Display>,
        D: Deserializer<'de>,
    {
        let text: std::borrow::Cow<'de, str> = serde::Deserialize::deserialize(deserializer)?;
        parse(&text).map_err(Error::custom)
    }
}

/// A value or null: `#[serde(with = "as_text_or_null")]`.
pub mod as_text_or_null {
    use super::{Deserialize, Deserializer, Error, FromStr, Serializer, fmt, parse};

    /// Writes `value` as a string, or null.
    #[expect(clippy::ref_option, reason = "serde calls it with a reference to the field")]
    pub fn serialize<T: fmt::Display, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.collect_str(value),
            None => serializer.serialize_none(),
        }
    }

    /// Reads a string as a `T`, or null.
    pub fn deserialize<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr<Err: fmt::Display>,
        D: Deserializer<'de>,
    {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|it| parse(&it).map_err(Error::custom)).transpose()
    }
}

/// A list of values: `#[serde(with = "as_text_list")]`.
pub mod as_text_list {
    use super::{Deserialize, Deserializer, Error, FromStr, Serializer, fmt, parse};

    /// Writes every value as a string.
    pub fn serialize<T: fmt::Display, S: Serializer>(
        values: &[T],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(ToString::to_string))
    }

    /// Reads every string as a `T`.
    pub fn deserialize<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
    where
        T: FromStr<Err: fmt::Display>,
        D: Deserializer<'de>,
    {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts.iter().map(|it| parse(it).map_err(Error::custom)).collect()
    }
}

fn parse<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_digit_by_digit() {
        let cases = [
            ("\"1000\"", Some("1000")),
            ("1000", Some("1000")),
            ("0.1234567890123456789012345", Some("0.1234567890123456789012345")),
            ("-5", Some("-5")),
            ("1e3", Some("1000")),
            ("1e400", None),
            ("\"NaN\"", None),
            ("null", None),
            ("true", None),
            ("[1]", None),
            ("\"\"", None),
        ];
        for (json, expected) in cases {
            let got = serde_json::from_str::<Decimal>(json).ok().map(|it| it.0.to_string());
            assert_eq!(got.as_deref(), expected, "{json}");
        }
    }
}
