//! What only PostgreSQL can show: connections that die, and outcomes that nobody knows.

use std::{sync::Arc, time::Duration};

use futures_util::future::join;
use plimsoll_store::{
    CommitError, OpenError, PostgresStore, QueryError, Statement, Store, log, meta,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};

use crate::{
    sample::{commit, log_row, try_commit},
    world::World,
};

/// Cuts every connection to the test's database but its own.
async fn cut_connections(admin: &tokio_postgres::Client, doing: &str) -> usize {
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> \
               pg_backend_pid() AND datname = current_database() AND query LIKE $1";
    admin.query(sql, &[&format!("{doing}%")]).await.unwrap().len()
}

#[tokio::test]
async fn idle_connections_that_died_are_replaced() {
    let Some(world) = World::postgres().await else { return };
    let (store, admin) = (world.open().await, world.admin().await);
    for round in 1..=5 {
        commit(&*store, log::append(vec![log_row(1, round, "a")])).await;
        assert!(cut_connections(&admin, "").await >= 1);
        assert_eq!(log::last_position(&*store, 1).await, Ok(round));
        assert!(cut_connections(&admin, "").await >= 1);
    }
    store.close().await;
}

/// What is cut before COMMIT is certainly not committed, so it is tried again.
#[tokio::test]
async fn a_batch_that_is_cut_before_commit_is_tried_again() {
    let Some(world) = World::postgres().await else { return };
    let (store, admin) = (world.open().await, world.admin().await);
    let sleep = Statement::new("sleep", "SELECT count(*) FROM pg_sleep(0.5)", Vec::new());
    let mut statements = log::append(vec![log_row(1, 1, "a")]);
    statements.push(sleep);
    let cutting =
        async { while cut_connections(&admin, "SELECT count(*) FROM pg_sleep").await == 0 {} };
    let (committed, ()) = join(try_commit(&*store, statements), cutting).await;
    committed.unwrap();
    assert_eq!(log::read(&*store, 1, 0, 1_000).await.unwrap().len(), 1);
    assert!(store.healthy());
    store.close().await;
}

/// Stands between store and database, and cuts a connection when COMMIT passes.
struct Proxy {
    port: u16,
    rule: watch::Sender<Rule>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Pass,
    /// COMMIT does not reach the database.
    CutBeforeCommit,
    /// COMMIT reaches the database, its answer does not come back.
    CutAfterCommit,
    /// Nobody is connected.
    Refuse,
}

impl Proxy {
    #[expect(clippy::disallowed_methods, reason = "the tasks end with the test's runtime")]
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let rule = watch::Sender::new(Rule::Pass);
        let rules = rule.subscribe();
        drop(tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                drop(tokio::spawn(pass(client, rules.clone())));
            }
        }));
        Self { port, rule }
    }

    /// The URL of the world's database through the proxy.
    fn url(&self, world: &World) -> String {
        world.url().replace(":5432/", &format!(":{}/", self.port))
    }
}

async fn pass(mut client: TcpStream, rules: watch::Receiver<Rule>) {
    if *rules.borrow() == Rule::Refuse {
        return;
    }
    let mut changes = rules.clone();
    let mut server = TcpStream::connect("127.0.0.1:5432").await.unwrap();
    let (mut from_client, mut from_server) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(read @ 1..) = read else { return };
                let is_commit = from_client[..read].windows(7).any(|it| it == b"COMMIT\0");
                let rule = *rules.borrow();
                if is_commit && rule == Rule::CutBeforeCommit {
                    return;
                }
                server.write_all(&from_client[..read]).await.unwrap();
                if is_commit && rule == Rule::CutAfterCommit {
                    // The answer says that it has happened; it is kept back.
                    assert!(server.read(&mut from_server).await.unwrap() > 0);
                    return;
                }
            }
            read = server.read(&mut from_server) => {
                let Ok(read @ 1..) = read else { return };
                if client.write_all(&from_server[..read]).await.is_err() {
                    return;
                }
            }
            () = async { drop(changes.wait_for(|it| *it == Rule::Refuse).await) } => return,
        }
    }
}

#[tokio::test]
async fn an_outcome_is_unknown_only_between_commit_and_its_answer() {
    let Some(world) = World::postgres().await else { return };
    if !world.url().contains(":5432/") {
        return;
    }
    let proxy = Proxy::start().await;
    let store = PostgresStore::open(&proxy.url(&world), 4).await.unwrap();
    let cases = [(Rule::CutBeforeCommit, 1, false), (Rule::CutAfterCommit, 2, true)];
    for (rule, position, committed) in cases {
        proxy.rule.send_replace(rule);
        let answer = try_commit(&*store, log::append(vec![log_row(position, 1, "a")])).await;
        assert!(matches!(answer, Err(CommitError::Unknown { .. })), "{rule:?}: {answer:?}");
        assert!(!store.healthy());
        proxy.rule.send_replace(Rule::Pass);
        let last = log::last_position(&*store, position).await.unwrap();
        assert_eq!(last == 1, committed, "{rule:?}");
        assert!(store.healthy());
    }
    store.close().await;
}

#[tokio::test]
async fn a_database_that_is_gone_is_unavailable_until_it_is_back() {
    let Some(world) = World::postgres().await else { return };
    if !world.url().contains(":5432/") {
        return;
    }
    let proxy = Proxy::start().await;
    let store = PostgresStore::open(&proxy.url(&world), 4).await.unwrap();
    commit(&*store, [meta::insert("a", "1")]).await;
    proxy.rule.send_replace(Rule::Refuse);
    let gone = try_commit(&*store, [meta::insert("b", "1")]).await;
    assert!(matches!(gone, Err(CommitError::Unavailable { .. })), "{gone:?}");
    let gone = meta::ping(&*store).await;
    assert!(matches!(gone, Err(QueryError::Unavailable { .. })), "{gone:?}");
    assert!(!store.healthy());
    proxy.rule.send_replace(Rule::Pass);
    commit(&*store, [meta::insert("b", "1")]).await;
    assert!(store.healthy());
    store.close().await;
}

/// A batch whose future is dropped leaves no connection in the middle of a transaction.
#[tokio::test]
async fn a_dropped_commit_leaves_no_transaction_behind() {
    let Some(world) = World::postgres().await else { return };
    let store = PostgresStore::open(&world.url(), 2).await.unwrap();
    for _ in 0..4 {
        let sleep = Statement::new("sleep", "SELECT count(*) FROM pg_sleep(9)", Vec::new());
        let batch = [meta::put("a", "lost"), sleep];
        let dropped = timeout(Duration::from_millis(100), try_commit(&*store, batch)).await;
        assert!(dropped.is_err(), "{dropped:?}");
    }
    let admin = world.admin().await;
    cut_connections(&admin, "SELECT count(*) FROM pg_sleep").await;
    commit(&*store, [meta::put("a", "kept")]).await;
    assert_eq!(meta::get(&*store, "a").await, Ok(Some("kept".to_owned())));
    store.close().await;
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_is_refused_without_its_password() {
    let url = "postgres://someone:hunter2@127.0.0.1:1/nowhere";
    let refused = PostgresStore::open(url, 4).await;
    let Err(error @ OpenError::Database { .. }) = refused else { panic!("{refused:?}") };
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

/// As far as the machine's PostgreSQL offers TLS. It has a certificate that nobody vouches for.
#[tokio::test]
async fn tls_is_used_as_sslmode_says() {
    let Some(world) = World::postgres().await else { return };
    let on = world.admin().await.query_one("SHOW ssl", &[]).await.unwrap();
    if on.get::<_, String>(0) != "on" {
        eprintln!("SKIPPED: PostgreSQL offers no TLS");
        return;
    }
    let open = async |mode: &str| -> Result<Arc<dyn Store>, OpenError> {
        PostgresStore::open(&format!("{}?sslmode={mode}", world.url()), 2).await
    };
    for (mode, encrypted) in [("disable", 0), ("prefer", 1), ("require", 1)] {
        let store = open(mode).await.unwrap();
        let sql = "SELECT CAST(CAST(ssl AS INT) AS BIGINT) FROM pg_stat_ssl \
                   WHERE pid = pg_backend_pid()";
        let rows = store.query(Statement::new("ssl", sql, Vec::new())).await.unwrap();
        assert_eq!(rows[0].get_int(0), Ok(encrypted), "{mode}");
        store.close().await;
    }
    let refused = open("verify-full").await;
    assert!(matches!(refused, Err(OpenError::Database { .. })), "{refused:?}");
}
