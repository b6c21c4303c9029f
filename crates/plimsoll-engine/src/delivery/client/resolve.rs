//! Turns a name into addresses.
//!
//! Names are complete: no search domain is ever tried, so that `db.` does not become a host of the
//! company's network. The machine's hosts file is asked first, then its name servers.
//!
//! Not here: judging the addresses (`dial`).

use std::{collections::BTreeSet, fmt, net::IpAddr, time::Duration};

use hickory_resolver::{
    Hosts, TokioResolver,
    config::{LookupIpStrategy, ResolveHosts},
    proto::{
        op::Query,
        rr::{Name, RecordType},
    },
};

use crate::deps::BoxFuture;

/// The longest that an address is believed.
const POSITIVE_TTL_MAX: Duration = Duration::from_mins(5);
/// The longest that the absence of an address is believed.
const NEGATIVE_TTL_MAX: Duration = Duration::from_secs(30);
/// Time for one question to one name server; two fit into the time for connecting.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(2);

/// How names become addresses.
pub trait Resolve: Send + Sync + fmt::Debug {
    /// All addresses of a complete name (with a dot at the end); never an empty list.
    fn resolve(&self, name: &str) -> BoxFuture<'_, Result<Vec<IpAddr>, ResolveError>>;
}

/// The name has no addresses, or nobody could say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the name does not resolve: {detail}")]
pub struct ResolveError {
    /// What the resolver said.
    pub detail: String,
}

/// The machine's hosts file and name servers.
pub struct SystemResolver {
    hosts: Hosts,
    /// Absent where the machine has no name servers.
    resolver: Option<TokioResolver>,
}

impl SystemResolver {
    /// Reads the machine's configuration, once.
    pub fn new() -> Self {
        let hosts = Hosts::from_system().unwrap_or_default();
        let resolver = TokioResolver::builder_tokio().and_then(|mut builder| {
            let options = builder.options_mut();
            options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
            options.use_hosts_file = ResolveHosts::Never;
            options.timeout = QUESTION_TIMEOUT;
            options.attempts = 1;
            options.positive_max_ttl = Some(POSITIVE_TTL_MAX);
            options.negative_max_ttl = Some(NEGATIVE_TTL_MAX);
            builder.build()
        });
        let resolver = resolver
            .inspect_err(|error| {
                tracing::warn!(%error, "only names in the hosts file resolve: no name servers");
            })
            .ok();
        Self { hosts, resolver }
    }

    fn in_hosts_file(&self, name: &Name) -> Vec<IpAddr> {
        [RecordType::A, RecordType::AAAA]
            .into_iter()
            .filter_map(|kind| self.hosts.lookup_static_host(&Query::query(name.clone(), kind)))
            .flat_map(|found| {
                found.answers().iter().filter_map(|it| it.data.ip_addr()).collect::<Vec<_>>()
            })
            .collect()
    }

    async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let name = Name::from_ascii(name).map_err(refuse)?;
        let known = self.in_hosts_file(&name);
        if !known.is_empty() {
            return Ok(known);
        }
        let resolver = self.resolver.as_ref().ok_or_else(|| refuse("no name servers"))?;
        let found = resolver.lookup_ip(name).await.map_err(refuse)?;
        // A server that repeats itself must not make us try the same address twice.
        let addresses: BTreeSet<_> = found.iter().collect();
        if addresses.is_empty() {
            return Err(refuse("no addresses"));
        }
        Ok(addresses.into_iter().collect())
    }
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SystemResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemResolver").finish_non_exhaustive()
    }
}

impl Resolve for SystemResolver {
    fn resolve(&self, name: &str) -> BoxFuture<'_, Result<Vec<IpAddr>, ResolveError>> {
        let name = name.to_owned();
        Box::pin(async move { self.lookup(&name).await })
    }
}

fn refuse(error: impl fmt::Display) -> ResolveError {
    ResolveError { detail: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Needs no network: both questions are answered by the machine itself.
    #[tokio::test]
    async fn the_machine_knows_itself_and_refuses_what_is_no_name() {
        let resolver = SystemResolver::new();
        let found = resolver.resolve("localhost.").await.unwrap();
        assert!(!found.is_empty() && found.iter().all(IpAddr::is_loopback), "{found:?}");
        let label = "a".repeat(64);
        assert!(resolver.resolve(&format!("{label}.example.com.")).await.is_err());
    }
}
