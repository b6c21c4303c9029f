//! A PostgreSQL database for one test, dropped with it.

use std::process::Command;

/// A database of its own.
#[derive(Debug)]
pub(crate) struct Database {
    server: String,
    name: String,
}

impl Database {
    /// Makes a database. `None`, with a line that says so, where there is no PostgreSQL; with
    /// `CI=true` that is a failure.
    pub(crate) fn create() -> Option<Self> {
        let server = server();
        if psql(&server, "SELECT 1").is_none() {
            assert_ne!(variable("CI").as_deref(), Some("true"), "PostgreSQL does not answer");
            println!("SKIPPED: no PostgreSQL answers at {server}");
            return None;
        }
        let name = format!("plimsoll_test_{:016x}", random());
        psql(&server, &format!("CREATE DATABASE {name}")).expect("a database is made");
        Some(Self { server, name })
    }

    pub(crate) fn url(&self) -> String {
        let (start, _) = self.server.rsplit_once('/').expect("a URL with a database");
        format!("{start}/{}", self.name)
    }
}

impl Database {
    /// Whether anyone may connect from now on.
    pub(crate) fn allow_connections(&self, allow: bool) {
        let alter = format!("ALTER DATABASE {} ALLOW_CONNECTIONS {allow}", self.name);
        psql(&self.server, &alter).expect("the database is altered");
    }

    /// Breaks every connection that there is now.
    pub(crate) fn disconnect_all(&self) {
        let name = &self.name;
        let disconnect = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        );
        psql(&self.server, &disconnect).expect("connections are broken");
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        if psql(&self.server, &drop).is_none() {
            println!("the database {} could not be dropped", self.name);
        }
    }
}

fn server() -> String {
    variable("PLIMSOLL_TEST_POSTGRES_URL")
        .unwrap_or_else(|| "postgres://root@127.0.0.1:5432/postgres".to_owned())
}

/// A setting of the test run.
#[expect(clippy::disallowed_methods, reason = "settings of the tests, not of the program")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Runs one statement by psql(1), so that the tests need no driver.
fn psql(server: &str, statement: &str) -> Option<()> {
    let output = Command::new("psql").args(["-qX", "-d", server, "-c", statement]).output().ok()?;
    output.status.success().then_some(())
}

/// Differs from call to call and from process to process.
pub(crate) fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}
