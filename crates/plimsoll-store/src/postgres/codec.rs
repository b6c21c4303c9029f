//! Values on PostgreSQL's wire.
//!
//! Not here: SQL.

use std::error::Error;

use bytes::{Bytes, BytesMut};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::{row::Row, value::Value};

/// A parameter of a statement.
#[derive(Debug)]
pub(super) struct Param<'a>(pub(super) &'a Value);

/// A value of a result.
struct Column(Value);

impl ToSql for Param<'_> {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match (self.0, ty) {
            (Value::Null, _) => Ok(IsNull::Yes),
            (Value::Int(it), &Type::INT8) => it.to_sql(ty, out),
            (Value::Text(it), &Type::TEXT) => it.as_str().to_sql(ty, out),
            (Value::Bytes(it), &Type::BYTEA) => it.as_ref().to_sql(ty, out),
            (value, ty) => Err(format!("a parameter is {}, expected {ty}", value.kind()).into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Column {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let value = match *ty {
            Type::INT8 => Value::Int(i64::from_sql(ty, raw)?),
            Type::INT4 => Value::Int(i32::from_sql(ty, raw)?.into()),
            Type::TEXT => Value::Text(String::from_sql(ty, raw)?),
            _ => Value::Bytes(Bytes::copy_from_slice(raw)),
        };
        Ok(Self(value))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(Value::Null))
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::INT8 | Type::INT4 | Type::TEXT | Type::BYTEA)
    }
}

/// Reads a row; an error if a column has a type that the store does not use.
pub(super) fn read(row: &tokio_postgres::Row) -> Result<Row, tokio_postgres::Error> {
    let values = (0..row.len()).map(|column| row.try_get::<_, Column>(column).map(|it| it.0));
    Ok(Row::new(values.collect::<Result<_, _>>()?))
}
