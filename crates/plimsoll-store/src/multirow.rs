//! Statements that carry many rows, cut into few distinct texts.
//!
//! Rows are sent in chunks of powers of two, so that however many rows there are, both backends
//! find the chunk's statement in their cache of prepared ones.
//!
//! Not here: which tables exist.

use std::fmt::Write as _;

use crate::{statement::Statement, value::Value};

/// Rows of the largest chunk. Rows have at most 14 columns, so a chunk stays far below the 32,766
/// parameters that SQLite takes, and the 65,535 of PostgreSQL.
const CHUNK_ROWS: usize = 256;

/// Builds `{head} VALUES ($1, $2), ($3, $4), … {tail}` for these rows, in order.
pub(crate) fn insert<const N: usize>(
    name: &'static str,
    head: &str,
    tail: &str,
    rows: Vec<[Value; N]>,
) -> Vec<Statement> {
    insert_flat(name, head, tail, N, rows.into_iter().flatten().collect())
}

/// As [`insert`], for rows of `columns` values that follow each other.
pub(crate) fn insert_flat(
    name: &'static str,
    head: &str,
    tail: &str,
    columns: usize,
    values: Vec<Value>,
) -> Vec<Statement> {
    chunked(name, columns, values, |rows| {
        let mut sql = String::with_capacity(head.len() + tail.len() + rows * columns * 7);
        sql.push_str(head);
        sql.push_str(" VALUES ");
        write_tuples(&mut sql, rows, columns, &[]);
        sql.push_str(tail);
        sql
    })
}

/// Builds `WITH {relation} AS (VALUES ($1, …), …) {rest}` for these rows, in order.
///
/// The first row is cast to `types`: where no column says what a parameter is, PostgreSQL would
/// take it for text. Joined to a table, the relation stands in front of `CROSS JOIN`: SQLite takes
/// that order as said, where it would else read all of the table and look each row up in these.
pub(crate) fn with<const N: usize>(
    name: &'static str,
    relation: &str,
    types: [&'static str; N],
    rest: &str,
    rows: Vec<[Value; N]>,
) -> Vec<Statement> {
    chunked(name, N, rows.into_iter().flatten().collect(), |rows| {
        let mut sql = format!("WITH {relation} AS (VALUES ");
        write_tuples(&mut sql, rows, N, &types);
        sql.push_str(") ");
        sql.push_str(rest);
        sql
    })
}

/// Writes `($first, $first+1, …)` with a placeholder for each of `ids`, padded to a power of two
/// by repeating the last one. Returns the text and the parameters.
pub(crate) fn members(first: usize, ids: &[String]) -> (String, Vec<Value>) {
    members_of(first, ids.iter().map(|it| Value::from(it.as_str())).collect())
}

/// As [`members`], for values of any one type.
pub(crate) fn members_of(first: usize, mut params: Vec<Value>) -> (String, Vec<Value>) {
    let Some(last) = params.last().cloned() else { return ("(NULL)".to_owned(), Vec::new()) };
    params.resize(params.len().next_power_of_two(), last);
    let mut sql = String::with_capacity(params.len() * 7);
    for index in 0..params.len() {
        sql.push(if index == 0 { '(' } else { ',' });
        write_placeholder(&mut sql, first + index);
    }
    sql.push(')');
    (sql, params)
}

fn chunked(
    name: &'static str,
    columns: usize,
    values: Vec<Value>,
    sql: impl Fn(usize) -> String,
) -> Vec<Statement> {
    let mut statements = Vec::new();
    let mut rows = values.len() / columns;
    let mut values = values.into_iter();
    while rows > 0 {
        let count = largest_power_of_two(rows.min(CHUNK_ROWS));
        let params = values.by_ref().take(count * columns).collect();
        statements.push(Statement::new(name, sql(count), params));
        rows -= count;
    }
    statements
}

/// The largest power of two that is not above `count`, which is not 0.
const fn largest_power_of_two(count: usize) -> usize {
    1 << count.ilog2()
}

/// Writes `rows` tuples of `columns` placeholders; the first tuple is cast to `types`, if given.
fn write_tuples(sql: &mut String, rows: usize, columns: usize, types: &[&str]) {
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ",(" });
        for column in 0..columns {
            if column > 0 {
                sql.push(',');
            }
            match types.get(column) {
                Some(of_type) if row == 0 => {
                    sql.push_str("CAST(");
                    write_placeholder(sql, column + 1);
                    sql.push_str(" AS ");
                    sql.push_str(of_type);
                    sql.push(')');
                }
                Some(_) | None => write_placeholder(sql, row * columns + column + 1),
            }
        }
        sql.push(')');
    }
}

fn write_placeholder(sql: &mut String, number: usize) {
    write!(sql, "${number}").expect("writing to a string does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: i64) -> Vec<[Value; 2]> {
        (0..count).map(|it| [Value::Int(it), Value::Int(-it)]).collect()
    }

    #[test]
    fn rows_are_cut_into_powers_of_two_and_keep_their_order() {
        let cases: [(i64, &[usize]); 6] = [
            (0, &[]),
            (1, &[1]),
            (7, &[4, 2, 1]),
            (256, &[256]),
            (257, &[256, 1]),
            (1000, &[256, 256, 256, 128, 64, 32, 8]),
        ];
        for (count, expected) in cases {
            let statements = insert("t", "INSERT INTO t (a, b)", "", rows(count));
            let chunks: Vec<_> = statements.iter().map(|it| it.params.len() / 2).collect();
            assert_eq!(chunks, expected, "{count} rows");
            let sent: Vec<_> = statements.into_iter().flat_map(|it| it.params).collect();
            assert_eq!(sent, rows(count).concat(), "{count} rows");
        }
    }

    #[test]
    fn texts_are_as_the_databases_take_them() {
        let inserts = insert("t", "INSERT INTO t (a, b)", " RETURNING a", rows(2));
        assert_eq!(inserts[0].sql, "INSERT INTO t (a, b) VALUES ($1,$2),($3,$4) RETURNING a");
        let updates = with("t", "v (a, b)", ["TEXT", "BIGINT"], "SELECT a FROM v", rows(2));
        assert_eq!(
            updates[0].sql,
            "WITH v (a, b) AS (VALUES (CAST($1 AS TEXT),CAST($2 AS BIGINT)),($3,$4)) \
             SELECT a FROM v",
        );
        let ids = ["x".to_owned(), "y".to_owned(), "z".to_owned()];
        let (sql, params) = members(2, &ids);
        assert_eq!(sql, "($2,$3,$4,$5)");
        assert_eq!(params, ["x", "y", "z", "z"].map(Value::from));
    }
}
