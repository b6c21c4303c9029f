//! Subjects: the ids that usage events carry, and the customer whom each one means.
//!
//! Not here: the index in memory that ingest asks (the engine's catalogue).

use plimsoll_core::ids::{CustomerId, EnvironmentId};

use crate::{
    multirow,
    row::{MalformedRow, Row},
    statement::Statement,
    store::{ReadError, Store},
    value::Value,
};

/// The name of the statement that inserts. A subject that is taken is refused under it as unique.
pub const INSERT: &str = "subject.insert";

/// One subject of a customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectRow {
    /// In which environment.
    pub environment: EnvironmentId,
    /// The text that events carry.
    pub subject: String,
    /// Whose usage it is.
    pub customer: CustomerId,
}

/// Inserts subjects.
pub fn insert(rows: Vec<SubjectRow>) -> Vec<Statement> {
    let rows = rows
        .into_iter()
        .map(|it| {
            [Value::text_of(&it.environment), it.subject.into(), Value::text_of(&it.customer)]
        })
        .collect();
    multirow::insert(INSERT, "INSERT INTO subject (environment, subject, customer)", "", rows)
}

/// Deletes one subject of a customer; of another customer it is left alone.
pub fn delete(environment: EnvironmentId, subject: &str, customer: CustomerId) -> Statement {
    Statement::new(
        "subject.delete",
        "DELETE FROM subject WHERE environment = $1 AND subject = $2 AND customer = $3",
        vec![Value::text_of(&environment), subject.into(), Value::text_of(&customer)],
    )
}

/// Deletes every subject of a customer.
pub fn delete_of_customer(customer: CustomerId) -> Statement {
    Statement::new(
        "subject.delete_of_customer",
        "DELETE FROM subject WHERE customer = $1",
        vec![Value::text_of(&customer)],
    )
}

/// Who a subject is.
pub async fn get(
    store: &dyn Store,
    environment: EnvironmentId,
    subject: &str,
) -> Result<Option<SubjectRow>, ReadError> {
    let rows = store
        .query(Statement::new(
            "subject.get",
            "SELECT environment, subject, customer FROM subject \
             WHERE environment = $1 AND subject = $2",
            vec![Value::text_of(&environment), subject.into()],
        ))
        .await?;
    Ok(rows.first().map(from_row).transpose()?)
}

/// The subjects of a customer, in alphabetical order.
pub async fn of_customer(
    store: &dyn Store,
    customer: CustomerId,
) -> Result<Vec<SubjectRow>, ReadError> {
    let rows = store
        .query(Statement::new(
            "subject.of_customer",
            "SELECT environment, subject, customer FROM subject WHERE customer = $1 \
             ORDER BY subject",
            vec![Value::text_of(&customer)],
        ))
        .await?;
    Ok(rows.iter().map(from_row).collect::<Result<_, _>>()?)
}

/// At most `limit` subjects of all environments after this one (`None`: from the first), in the
/// order of the primary key. For filling an index in memory.
pub async fn scan(
    store: &dyn Store,
    after: Option<&SubjectRow>,
    limit: u32,
) -> Result<Vec<SubjectRow>, ReadError> {
    let (environment, subject) = after.map_or_else(
        || (String::new(), String::new()),
        |it| (it.environment.to_string(), it.subject.clone()),
    );
    let rows = store
        .query(Statement::new(
            "subject.scan",
            "SELECT environment, subject, customer FROM subject \
             WHERE (environment, subject) > ($1, $2) ORDER BY environment, subject LIMIT $3",
            vec![environment.into(), subject.into(), limit.into()],
        ))
        .await?;
    Ok(rows.iter().map(from_row).collect::<Result<_, _>>()?)
}

fn from_row(row: &Row) -> Result<SubjectRow, MalformedRow> {
    Ok(SubjectRow {
        environment: row.parse(0)?,
        subject: row.get_text(1)?.to_owned(),
        customer: row.parse(2)?,
    })
}
