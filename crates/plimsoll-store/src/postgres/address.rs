//! Where the database is, and how to connect to it: the URL.
//!
//! Not here: certificates (`tls`).

use std::{fmt, time::Duration};

use tokio::task::JoinHandle;
use tokio_postgres::{
    Client, Config, NoTls, Socket,
    config::SslMode,
    tls::{MakeTlsConnect, TlsConnect},
};

use crate::{
    postgres::{
        session::{Session, describe},
        tls::{self, Trust},
    },
    store::OpenError,
};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long data may stay without acknowledgement before the connection counts as dead.
const SILENCE: Duration = Duration::from_secs(20);

/// A database, and how to reach it.
pub(super) struct Address {
    config: Config,
    tls: Option<tls::Connector>,
}

impl fmt::Debug for Address {
    /// Leaves out the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address")
            .field("hosts", &self.config.get_hosts())
            .field("database", &self.config.get_dbname())
            .finish_non_exhaustive()
    }
}

impl Address {
    /// Reads a URL such as `postgres://user:password@host:5432/database?sslmode=verify-full`.
    pub(super) fn parse(url: &str) -> Result<Self, OpenError> {
        let (rest, security) = Security::split_off(url)?;
        let mut config: Config = rest.parse().map_err(|it| wrong(&describe(&it)))?;
        let (mode, trust) = security.decide();
        config.ssl_mode(mode);
        config.connect_timeout(CONNECT_TIMEOUT);
        config.tcp_user_timeout(SILENCE);
        config.keepalives_idle(SILENCE);
        if config.get_application_name().is_none() {
            config.application_name("plimsoll");
        }
        let connector = |trust: Trust| tls::connector(&trust).map_err(|it| wrong(&it));
        Ok(Self { config, tls: trust.map(connector).transpose()? })
    }

    /// Makes a connection.
    pub(super) async fn connect(&self) -> Result<Session, String> {
        match &self.tls {
            None => self.connect_with(NoTls).await,
            Some(connector) => self.connect_with(connector.clone()).await,
        }
    }

    async fn connect_with<T>(&self, tls: T) -> Result<Session, String>
    where
        T: MakeTlsConnect<Socket> + Send + 'static,
        T::Stream: Send,
        T::TlsConnect: Send,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        let (client, connection) = self.config.connect(tls).await.map_err(|it| describe(&it))?;
        let driver = drive(async move {
            if let Err(error) = connection.await {
                tracing::warn!(error = describe(&error), "a connection to the database was lost");
            }
        });
        begin(client, driver).await
    }
}

async fn begin(client: Client, driver: JoinHandle<()>) -> Result<Session, String> {
    match tokio::time::timeout(CONNECT_TIMEOUT, Session::begin(client, driver)).await {
        Ok(begun) => begun,
        Err(_) => Err("no answer from the database".to_owned()),
    }
}

#[expect(clippy::disallowed_methods, reason = "the session owns the task and awaits or aborts it")]
fn drive(connection: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(connection)
}

/// The parameters of a URL that say how to use TLS. `tokio-postgres` knows only a part of them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Security {
    mode: Mode,
    root_certificate: Option<String>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Mode {
    #[default]
    Disable,
    Prefer,
    Require,
    Verify,
}

impl Security {
    /// Cuts the parameters about TLS out of a URL.
    fn split_off(url: &str) -> Result<(String, Self), OpenError> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(wrong("it must begin with postgres:// or postgresql://"));
        }
        let mut security = Self::default();
        let Some((rest, query)) = url.split_once('?') else {
            return Ok((url.to_owned(), security));
        };
        let mut others = Vec::new();
        for parameter in query.split('&') {
            match parameter.split_once('=') {
                Some(("sslmode", mode)) => security.mode = Mode::parse(mode)?,
                Some(("sslrootcert", path)) => security.root_certificate = Some(decode(path)?),
                Some(_) | None => others.push(parameter),
            }
        }
        Ok((format!("{rest}?{}", others.join("&")), security))
    }

    fn decide(self) -> (SslMode, Option<Trust>) {
        let roots = self.root_certificate.map_or(Trust::Platform, Trust::File);
        match (self.mode, roots) {
            (Mode::Disable, _) => (SslMode::Disable, None),
            (Mode::Prefer, _) => (SslMode::Prefer, Some(Trust::Anyone)),
            // As libpq has it: a root certificate turns verification on.
            (Mode::Require, Trust::Platform | Trust::Anyone) => {
                (SslMode::Require, Some(Trust::Anyone))
            }
            (Mode::Require | Mode::Verify, roots) => (SslMode::Require, Some(roots)),
        }
    }
}

impl Mode {
    fn parse(text: &str) -> Result<Self, OpenError> {
        match text {
            "disable" | "allow" => Ok(Self::Disable),
            "prefer" => Ok(Self::Prefer),
            "require" => Ok(Self::Require),
            "verify-ca" | "verify-full" => Ok(Self::Verify),
            _ => Err(wrong(
                "sslmode must be disable, allow, prefer, require, verify-ca or verify-full",
            )),
        }
    }
}

/// Undoes `%41` for `A`.
fn decode(text: &str) -> Result<String, OpenError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let hex = rest.get(..2).and_then(|it| str::from_utf8(it).ok());
        let byte = hex.and_then(|it| u8::from_str_radix(it, 16).ok());
        bytes.push(byte.ok_or_else(|| wrong("a % in it is not followed by two hex digits"))?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).map_err(|_| wrong("a path in it is not UTF-8"))
}

fn wrong(detail: &str) -> OpenError {
    OpenError::Url { detail: detail.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sslmode_is_taken_as_libpq_does() {
        let file = |path: &str| Some(Trust::File(path.to_owned()));
        let cases = [
            ("", (SslMode::Disable, None)),
            ("?sslmode=disable", (SslMode::Disable, None)),
            ("?sslmode=prefer", (SslMode::Prefer, Some(Trust::Anyone))),
            ("?sslmode=require", (SslMode::Require, Some(Trust::Anyone))),
            ("?sslmode=require&sslrootcert=/a%20b.pem", (SslMode::Require, file("/a b.pem"))),
            ("?sslmode=verify-full", (SslMode::Require, Some(Trust::Platform))),
            ("?sslrootcert=r.pem&sslmode=verify-ca", (SslMode::Require, file("r.pem"))),
        ];
        for (query, expected) in cases {
            let url = format!("postgres://u@h/d{query}");
            let (rest, security) = Security::split_off(&url).unwrap();
            assert_eq!(security.decide(), expected, "{url}");
            assert!(rest.parse::<Config>().is_ok(), "{rest}");
        }
    }

    #[test]
    fn other_parameters_are_left_in_place() {
        let url = "postgres://u@h/d?connect_timeout=3&sslmode=prefer&application_name=x";
        let (rest, _) = Security::split_off(url).unwrap();
        assert_eq!(rest, "postgres://u@h/d?connect_timeout=3&application_name=x");
    }

    #[test]
    fn a_wrong_url_is_refused_without_repeating_it() {
        let cases = [
            "mysql://u:hunter2@h/d",
            "postgres://u:hunter2@h:port/d",
            "postgres://u:hunter2@h/d?sslmode=maybe",
            "postgres://u:hunter2@h/d?sslmode=verify-full&sslrootcert=%4",
            "postgres://u:hunter2@h/d?sslmode=verify-full&sslrootcert=/does/not/exist.pem",
            "postgres://u:hunter2@h/d?surprise=1",
        ];
        for url in cases {
            let error = Address::parse(url).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
