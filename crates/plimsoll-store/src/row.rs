//! A row that the database gave back, read column by column with the type that the reader expects.
//!
//! Not here: rows with names and meaning; each typed module has its own row struct.

use std::str::FromStr;

use bytes::Bytes;
use plimsoll_core::time::Timestamp;

use crate::value::Value;

/// One row of a result, columns in the order of the statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row(Vec<Value>);

/// A column does not hold what the reader expects: the store was written by something else, or a
/// statement and its reader disagree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column} of the row holds {found}, expected {expected}")]
pub struct MalformedRow {
    /// Which column, counted from 0.
    pub column: usize,
    /// What the reader asked for.
    pub expected: &'static str,
    /// What is there.
    pub found: String,
}

impl Row {
    /// A row of these values.
    pub const fn new(values: Vec<Value>) -> Self {
        Self(values)
    }

    /// The values, in the order of the statement's columns.
    pub fn values(&self) -> &[Value] {
        &self.0
    }

    /// The values themselves.
    pub fn into_values(self) -> Vec<Value> {
        self.0
    }

    /// The BIGINT in this column.
    pub fn get_int(&self, column: usize) -> Result<i64, MalformedRow> {
        self.opt_int(column)?.ok_or_else(|| self.malformed(column, "integer"))
    }

    /// The BIGINT in this column, or `None` for NULL.
    pub fn opt_int(&self, column: usize) -> Result<Option<i64>, MalformedRow> {
        match self.0.get(column) {
            Some(Value::Int(it)) => Ok(Some(*it)),
            Some(Value::Null) => Ok(None),
            Some(Value::Text(_) | Value::Bytes(_)) | None => Err(self.malformed(column, "integer")),
        }
    }

    /// The BIGINT in this column, which is never negative and below 2^32.
    pub fn get_u32(&self, column: usize) -> Result<u32, MalformedRow> {
        u32::try_from(self.get_int(column)?)
            .map_err(|_| self.malformed(column, "integer from 0 to 2^32 - 1"))
    }

    /// The BIGINT in this column, which is never negative and below 2^16.
    pub fn get_u16(&self, column: usize) -> Result<u16, MalformedRow> {
        u16::try_from(self.get_int(column)?)
            .map_err(|_| self.malformed(column, "integer from 0 to 2^16 - 1"))
    }

    /// The TEXT in this column.
    pub fn get_text(&self, column: usize) -> Result<&str, MalformedRow> {
        self.opt_text(column)?.ok_or_else(|| self.malformed(column, "text"))
    }

    /// The TEXT in this column, or `None` for NULL.
    pub fn opt_text(&self, column: usize) -> Result<Option<&str>, MalformedRow> {
        match self.0.get(column) {
            Some(Value::Text(it)) => Ok(Some(it)),
            Some(Value::Null) => Ok(None),
            Some(Value::Int(_) | Value::Bytes(_)) | None => Err(self.malformed(column, "text")),
        }
    }

    /// The BYTEA in this column. Cloning what is returned copies nothing.
    pub fn get_bytes(&self, column: usize) -> Result<&Bytes, MalformedRow> {
        self.opt_bytes(column)?.ok_or_else(|| self.malformed(column, "bytes"))
    }

    /// The BYTEA in this column, or `None` for NULL.
    pub fn opt_bytes(&self, column: usize) -> Result<Option<&Bytes>, MalformedRow> {
        match self.0.get(column) {
            Some(Value::Bytes(it)) => Ok(Some(it)),
            Some(Value::Null) => Ok(None),
            Some(Value::Int(_) | Value::Text(_)) | None => Err(self.malformed(column, "bytes")),
        }
    }

    /// The TEXT in this column as an id, or as another type that has a text form.
    pub fn parse<T: FromStr>(&self, column: usize) -> Result<T, MalformedRow> {
        self.get_text(column)?.parse().map_err(|_| self.malformed(column, "the text form of an id"))
    }

    /// As [`Row::parse`], or `None` for NULL.
    pub fn opt_parse<T: FromStr>(&self, column: usize) -> Result<Option<T>, MalformedRow> {
        self.opt_text(column)?.map(|_| self.parse(column)).transpose()
    }

    /// The BIGINT in this column as a point in time.
    pub fn get_time(&self, column: usize) -> Result<Timestamp, MalformedRow> {
        self.get_int(column).map(Timestamp::from_ms)
    }

    /// As [`Row::get_time`], or `None` for NULL.
    pub fn opt_time(&self, column: usize) -> Result<Option<Timestamp>, MalformedRow> {
        Ok(self.opt_int(column)?.map(Timestamp::from_ms))
    }

    pub(crate) fn malformed(&self, column: usize, expected: &'static str) -> MalformedRow {
        let found = match self.0.get(column) {
            Some(Value::Int(it)) => format!("integer {it}"),
            Some(it) => it.kind().to_owned(),
            None => "no column".to_owned(),
        };
        MalformedRow { column, expected, found }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_read_only_as_what_it_is() {
        let row = Row::new(vec![Value::Int(-1), "a".into(), Value::Null, Bytes::new().into()]);
        assert_eq!(row.get_int(0), Ok(-1));
        assert_eq!(row.get_text(1), Ok("a"));
        assert_eq!(row.opt_text(2), Ok(None));
        assert_eq!(row.opt_int(2), Ok(None));
        assert_eq!(row.get_bytes(3), Ok(&Bytes::new()));
        assert!(row.get_u32(0).is_err());
        assert!(row.get_int(1).is_err());
        assert!(row.get_text(2).is_err());
        assert!(row.get_text(3).is_err());
        assert_eq!(
            row.get_text(4).map_err(|it| it.to_string()),
            Err("column 4 of the row holds no column, expected text".to_owned()),
        );
    }
}
