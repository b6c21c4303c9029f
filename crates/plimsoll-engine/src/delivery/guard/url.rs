//! Which URLs a channel may have.
//!
//! The text is judged before it is parsed, since the parser forgives what must not be forgiven
//! (tabs, backslashes, missing slashes); the host is judged after it is parsed, since the parser
//! reads all spellings of an IPv4 address as what they are.
//!
//! Not here: resolving names. The client does that when it dials, and judges what it finds.

use std::net::IpAddr;

use hyper::http::uri::PathAndQuery;
use plimsoll_core::limits;
use url::{Host, Url};

use super::{address::Forbidden, allow::AllowList};

/// Names that stand for the machine itself, its network or nothing at all.
const LOCAL_SUFFIXES: [&str; 13] = [
    "alt",
    "arpa",
    "corp",
    "home",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "onion",
    "private",
];

/// Ports from 1024 up on which something else than HTTP usually listens.
///
/// Below 1024 only 80 and 443 are open to webhooks.
const FORBIDDEN_PORTS: [u16; 32] = [
    1433, 1521, 1719, 1720, 1723, 2049, 2375, 2376, 2379, 2380, 3306, 3389, 3659, 4045, 4190, 4222,
    5060, 5061, 5432, 5672, 5900, 6000, 6379, 6566, 6667, 6697, 9042, 9092, 10250, 11211, 27017,
    50000,
];

/// Why a URL is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum UrlRefusal {
    /// It is too long.
    #[error("the URL has more than {} bytes", limits::URL_BYTES)]
    TooLong,
    /// It has a space, a control character or a backslash.
    #[error("the URL has a space, a control character or a backslash")]
    Character,
    /// It does not begin with `http://` or `https://`.
    #[error("the URL begins with https:// or http://")]
    Scheme,
    /// It is not a URL.
    #[error("the URL cannot be read")]
    Invalid,
    /// It has a user name or a password.
    #[error("the URL has a user name or password; use a custom header instead")]
    Credentials,
    /// The host is a name of this machine or of the local network.
    #[error("the URL names a host that is not on the public internet")]
    LocalName,
    /// The host is an address that webhooks may not reach.
    #[error("the URL leads to a {0}")]
    Address(Forbidden),
    /// The port is one of another protocol.
    #[error("the URL has a port that webhooks may not reach")]
    Port,
}

impl UrlRefusal {
    /// The stable code of the API.
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooLong => "url_too_long",
            Self::Character => "url_character_not_allowed",
            Self::Scheme => "url_scheme_not_allowed",
            Self::Invalid => "url_invalid",
            Self::Credentials => "url_credentials_not_allowed",
            Self::LocalName => "url_host_not_allowed",
            Self::Address(_) => "url_address_not_allowed",
            Self::Port => "url_port_not_allowed",
        }
    }
}

/// Judges the URL of a channel.
///
/// With a non-empty `allow` local names pass as well: who lists a private network means the names
/// in it too, and the address behind the name is judged when it is dialled.
pub fn vet_url(text: &str, allow: &AllowList) -> Result<Url, UrlRefusal> {
    if text.len() > limits::URL_BYTES {
        return Err(UrlRefusal::TooLong);
    }
    if text.chars().any(|it| it.is_control() || it.is_whitespace() || it == '\\') {
        return Err(UrlRefusal::Character);
    }
    let (scheme, rest) = text.split_once("://").ok_or(UrlRefusal::Scheme)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(UrlRefusal::Scheme);
    }
    if rest.starts_with('/') {
        return Err(UrlRefusal::Invalid);
    }
    let url = Url::parse(text).map_err(|_| UrlRefusal::Invalid)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlRefusal::Credentials);
    }
    vet_host(&url.host().ok_or(UrlRefusal::Invalid)?, allow)?;
    vet_port(url.port_or_known_default().ok_or(UrlRefusal::Invalid)?)?;
    // The parser of URLs leaves characters in the path that a request line cannot have.
    PathAndQuery::try_from(url.path()).map_err(|_| UrlRefusal::Invalid)?;
    if let Some(query) = url.query() {
        PathAndQuery::try_from(format!("/?{query}")).map_err(|_| UrlRefusal::Invalid)?;
    }
    Ok(url)
}

fn vet_host(host: &Host<&str>, allow: &AllowList) -> Result<(), UrlRefusal> {
    let address = match host {
        Host::Domain(name) => return vet_name(name, allow),
        Host::Ipv4(address) => IpAddr::V4(*address),
        Host::Ipv6(address) => IpAddr::V6(*address),
    };
    allow.vet(address).map_err(UrlRefusal::Address)
}

fn vet_name(name: &str, allow: &AllowList) -> Result<(), UrlRefusal> {
    // One dot at the end only says that the name is complete.
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_well_formed = name.len() <= 253
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_'))
        });
    if !is_well_formed {
        return Err(UrlRefusal::Invalid);
    }
    let is_local = match name.rsplit_once('.') {
        None => true,
        Some((_, last)) => LOCAL_SUFFIXES.iter().any(|it| last.eq_ignore_ascii_case(it)),
    };
    if is_local && allow.is_empty() { Err(UrlRefusal::LocalName) } else { Ok(()) }
}

fn vet_port(port: u16) -> Result<(), UrlRefusal> {
    let allowed = matches!(port, 80 | 443) || (port >= 1024 && !FORBIDDEN_PORTS.contains(&port));
    if allowed { Ok(()) } else { Err(UrlRefusal::Port) }
}

#[cfg(test)]
mod tests;
