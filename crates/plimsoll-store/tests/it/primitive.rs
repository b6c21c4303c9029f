//! Behaviours of batches, statements and queries, whatever is stored.

use bytes::Bytes;
use futures_util::future::join_all;
use plimsoll_store::{
    Batch, CommitError, Expect, Lane, QueryError, Refusal, Statement, Value, control, log, meta,
};

use crate::{
    sample::{at, commit, log_row, refused_as_unique, try_commit},
    world::World,
};

pub(crate) async fn values_come_back_as_they_were(world: &World) {
    let store = world.open().await;
    let texts = ["", "a", "ünïcödé \u{1F6A2}", "it's $1 ?1 \"quoted\" \\"];
    let large = Bytes::from(vec![7; 100_000]);
    let payloads = [&b""[..], b"\0", b"\xff\xfe\0\x01"].map(Bytes::from_static);
    let payloads = [&payloads[..], &[large]].concat();
    let numbers = [0, -1, i64::MIN, i64::MAX];
    let mut statements = Vec::new();
    for (index, ((text, payload), number)) in texts.iter().zip(&payloads).zip(numbers).enumerate() {
        statements.push(Statement::new(
            "insert",
            "INSERT INTO resource (id, environment, kind, key, parent, version, doc, created_at, \
             updated_at, deleted_at) VALUES ($1, $2, 'x', $3, NULL, $4, $2, 0, 0, $5)",
            vec![index.to_string().into(), (*text).into(), Value::Null, number.into(), Value::Null],
        ));
        statements.extend(log::append(vec![log_row(1, index as i64 + 1, payload.clone())]));
    }
    commit(&*store, statements).await;
    for (index, ((text, payload), number)) in texts.iter().zip(&payloads).zip(numbers).enumerate() {
        let select = Statement::new(
            "select",
            "SELECT doc, key, version, payload FROM resource \
             JOIN log ON position = $2 WHERE id = $1",
            vec![index.to_string().into(), (index as i64 + 1).into()],
        );
        let rows = store.query(select).await.unwrap();
        let expected = [(*text).into(), Value::Null, number.into(), Value::Bytes(payload.clone())];
        assert_eq!(rows[0].values(), expected);
    }
    store.close().await;
}

pub(crate) async fn a_batch_is_all_or_nothing(world: &World) {
    let store = world.open().await;
    commit(&*store, [meta::insert("a", "1")]).await;
    let batch = [meta::put("a", "2"), meta::insert("b", "2"), meta::insert("b", "3")];
    assert_eq!(refused_as_unique(try_commit(&*store, batch).await), meta::INSERT);
    assert_eq!(meta::get(&*store, "a").await, Ok(Some("1".to_owned())));
    assert_eq!(meta::get(&*store, "b").await, Ok(None));
    store.close().await;
}

pub(crate) async fn a_guard_refuses_its_batch_and_says_what_it_found(world: &World) {
    let store = world.open().await;
    let guarded = |seq| [control::guard(seq), meta::insert("a", "1")];
    let refused = try_commit(&*store, guarded(7)).await;
    let refusal = Refusal::Expectation { found: "[0]".to_owned() };
    assert_eq!(refused, Err(CommitError::Refused { statement: control::GUARD, refusal }));
    assert_eq!(meta::get(&*store, "a").await, Ok(None));

    let nothing = Statement::new("guard", "SELECT value FROM meta WHERE key = 'a'", Vec::new())
        .expecting(Expect::Row(vec!["1".into()]));
    let refused = try_commit(&*store, [nothing.clone()]).await;
    let refusal = Refusal::Expectation { found: "no row".to_owned() };
    assert_eq!(refused, Err(CommitError::Refused { statement: "guard", refusal }));

    // A guard sees what its own batch did before it.
    let [head, insert] = guarded(0);
    let rows = commit(&*store, [head, insert, nothing]).await;
    assert_eq!(rows.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 1]);
    store.close().await;
}

pub(crate) async fn a_unique_value_refuses_by_the_statement_s_name(world: &World) {
    let store = world.open().await;
    commit(&*store, log::append(vec![log_row(1, 1, "a")])).await;
    let mut batch = vec![meta::insert("a", "1")];
    batch.extend(log::append(vec![log_row(1, 2, "b"), log_row(1, 1, "c")]));
    batch.push(meta::insert("a", "2"));
    assert_eq!(refused_as_unique(try_commit(&*store, batch).await), log::APPEND);
    assert_eq!(log::last_position(&*store, 1).await, Ok(1));
    store.close().await;
}

pub(crate) async fn rows_affected_are_counted(world: &World) {
    let store = world.open().await;
    commit(&*store, ["a", "b", "c"].map(|key| meta::insert(key, "1"))).await;
    let update = |sql: &'static str, rows| {
        Statement::new("update", sql, Vec::new()).expecting(Expect::RowsAffected(rows))
    };
    let all = "UPDATE meta SET value = '2'";
    let refused = try_commit(&*store, [update(all, 2)]).await;
    let refusal = Refusal::Expectation { found: "3 rows affected".to_owned() };
    assert_eq!(refused, Err(CommitError::Refused { statement: "update", refusal }));
    let none = update("DELETE FROM meta WHERE key = 'z'", 0);
    let returning = update("UPDATE meta SET value = '3' WHERE key < 'c' RETURNING key", 2);
    let rows = commit(&*store, [update(all, 3), none, returning]).await;
    assert_eq!(rows.iter().map(Vec::len).collect::<Vec<_>>(), [0, 0, 2]);
    store.close().await;
}

pub(crate) async fn what_is_not_valid_is_refused_as_such(world: &World) {
    let store = world.open().await;
    let cases = [
        Statement::new("no_table", "DELETE FROM nowhere", Vec::new()),
        Statement::new("no_sql", "DELETE DELETE", Vec::new()),
        Statement::new("not_null", "INSERT INTO meta (key, value) VALUES ('a', NULL)", Vec::new()),
        Statement::new("too_few", "DELETE FROM meta WHERE key = $1", Vec::new()),
        Statement::new("nul", "DELETE FROM meta WHERE key = $1", vec!["a\0b".into()]),
    ];
    for case in cases {
        let name = case.name;
        match try_commit(&*store, [meta::put("a", "1"), case]).await {
            Err(CommitError::Refused { statement, refusal: Refusal::Invalid { .. } }) => {
                assert_eq!(statement, name);
            }
            other => panic!("{name}: {other:?}"),
        }
        assert_eq!(meta::get(&*store, "a").await, Ok(None), "{name}");
    }
    let query = store.query(Statement::new("q", "SELECT nothing FROM meta", Vec::new())).await;
    assert!(matches!(query, Err(QueryError::Invalid { statement: "q", .. })), "{query:?}");
    assert!(store.healthy());
    store.close().await;
}

/// On SQLite the batches wait while the first one counts, and share a transaction.
pub(crate) async fn a_refused_batch_harms_no_other(world: &World) {
    let store = world.open().await;
    let busy = Statement::new(
        "busy",
        "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 300000) \
         SELECT count(*) FROM c",
        Vec::new(),
    );
    let mut batches = vec![Batch::new(Lane::Log, vec![busy])];
    for n in 0..60 {
        let mut statements = vec![meta::insert(&format!("key {n}"), "1")];
        match n % 3 {
            0 => statements.push(control::guard(99)),
            1 => statements.push(meta::insert(&format!("key {n}"), "2")),
            _ => {}
        }
        batches.push(Batch::new(Lane::Log, statements));
    }
    let answers = join_all(batches.into_iter().map(|it| store.commit(it))).await;
    for (n, answer) in answers[1..].iter().enumerate() {
        assert_eq!(answer.is_ok(), n % 3 == 2, "{n}: {answer:?}");
        let stored = meta::get(&*store, &format!("key {n}")).await.unwrap();
        assert_eq!(stored.is_some(), n % 3 == 2, "{n}");
    }
    store.close().await;
}

pub(crate) async fn a_commit_is_seen_by_every_later_query(world: &World) {
    let store = world.open().await;
    let write_and_read = |worker: i64| {
        let store = &store;
        async move {
            for round in 0..40 {
                let (key, value) = (format!("worker {worker}"), round.to_string());
                commit(&**store, [meta::put(&key, &value)]).await;
                assert_eq!(meta::get(&**store, &key).await, Ok(Some(value)));
            }
        }
    };
    join_all((0..6).map(write_and_read)).await;
    store.close().await;
}

pub(crate) async fn control_changes_are_numbered_without_gaps(world: &World) {
    let store = world.open().await;
    let change = |n: i64| {
        let store = &store;
        async move {
            let mut statements = control::append(at(n), Bytes::from(vec![1])).to_vec();
            if n % 4 == 0 {
                statements.push(control::guard(-1));
            }
            let batch = Batch::new(Lane::Control, statements);
            store.commit(batch).await.map(|rows| rows[0][0].get_int(0).unwrap())
        }
    };
    let answers = join_all((0..80).map(change)).await;
    let mut numbers: Vec<_> = answers.into_iter().filter_map(Result::ok).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=60).collect::<Vec<_>>());
    assert_eq!(control::head(&*store).await, Ok(60));
    let stored = control::since(&*store, 0, 100).await.unwrap();
    assert_eq!(stored.iter().map(|it| it.seq).collect::<Vec<_>>(), numbers);
    store.close().await;
}

pub(crate) async fn a_closed_store_answers_unavailable(world: &World) {
    let store = world.open().await;
    commit(&*store, [meta::insert("a", "1")]).await;
    assert!(store.healthy());
    store.close().await;
    store.close().await;
    assert!(!store.healthy());
    let refused = try_commit(&*store, [meta::insert("b", "1")]).await;
    assert!(matches!(refused, Err(CommitError::Unavailable { .. })), "{refused:?}");
    let refused = meta::ping(&*store).await;
    assert!(matches!(refused, Err(QueryError::Unavailable { .. })), "{refused:?}");
    let again = world.open().await;
    assert_eq!(meta::get(&*again, "a").await, Ok(Some("1".to_owned())));
    assert_eq!(meta::get(&*again, "b").await, Ok(None));
    again.close().await;
}
