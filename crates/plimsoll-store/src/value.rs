//! A value that a statement sends to the database or gets back: the three column types, or nothing.
//!
//! Not here: what a value means. The typed modules (`log`, `delivery`, …) know that.

use std::fmt;

use bytes::Bytes;
use plimsoll_core::time::Timestamp;

/// A value of a column: BIGINT, TEXT or BYTEA, or NULL.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// NULL of any column type.
    Null,
    /// A BIGINT.
    Int(i64),
    /// A TEXT. It cannot hold U+0000: PostgreSQL has no such text, so both backends refuse it.
    Text(String),
    /// A BYTEA. Any bytes.
    Bytes(Bytes),
}

impl fmt::Debug for Value {
    /// Shows text and numbers, and the length of bytes: payloads can be sealed or megabytes long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Int(it) => write!(f, "{it}"),
            Self::Text(it) => write!(f, "{it:?}"),
            Self::Bytes(it) => write!(f, "<{} bytes>", it.len()),
        }
    }
}

impl Value {
    /// What the value is, for error messages.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Int(_) => "integer",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
        }
    }

    /// Roughly the memory that the value takes outside this enum, in bytes.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Null | Self::Int(_) => 8,
            Self::Text(it) => it.len(),
            Self::Bytes(it) => it.len(),
        }
    }

    /// An id, or anything else that is stored as its text form.
    pub fn text_of(displayed: &impl fmt::Display) -> Self {
        Self::Text(displayed.to_string())
    }

    /// As [`Value::text_of`]; `None` is NULL.
    pub fn text_of_option(displayed: Option<&impl fmt::Display>) -> Self {
        displayed.map_or(Self::Null, |it| Self::Text(it.to_string()))
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Int(i64::from(value))
    }
}

impl From<u16> for Value {
    fn from(value: u16) -> Self {
        Self::Int(i64::from(value))
    }
}

impl From<Timestamp> for Value {
    /// Milliseconds since the epoch.
    fn from(value: Timestamp) -> Self {
        Self::Int(value.as_ms())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<Bytes> for Value {
    fn from(value: Bytes) -> Self {
        Self::Bytes(value)
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(value.into())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
