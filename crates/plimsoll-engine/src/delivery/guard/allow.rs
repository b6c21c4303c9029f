//! What the operator allows although it is not on the public internet.
//!
//! Not here: reading the setting (`plimsoll/config`).

use std::{fmt, net::IpAddr, str::FromStr};

use super::address::{self, Forbidden};

/// Networks that webhooks may reach beside the public internet. Empty by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowList(Vec<Network>);

/// An entry of the list is not a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{entry:?} is not a network such as 127.0.0.0/8 or fd00::/8")]
pub struct InvalidAllowList {
    /// The entry.
    pub entry: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    prefix: u32,
}

impl AllowList {
    /// Whether nothing beside the public internet is allowed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Judges an address that is about to be connected to.
    pub fn vet(&self, address: IpAddr) -> Result<(), Forbidden> {
        let verdict = address::judge(address);
        if verdict.is_err() && self.contains(address) { Ok(()) } else { verdict }
    }

    fn contains(&self, address: IpAddr) -> bool {
        // `localhost` means both loopbacks; who allows one means the machine itself.
        let address = match address.to_canonical() {
            IpAddr::V6(loopback) if loopback.is_loopback() => {
                return self.0.iter().any(|it| it.address.is_loopback());
            }
            other => other,
        };
        self.0.iter().any(|it| it.contains(address))
    }
}

impl FromStr for AllowList {
    type Err = InvalidAllowList;

    /// Reads networks or single addresses, separated by commas.
    fn from_str(text: &str) -> Result<Self, InvalidAllowList> {
        text.split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .map(|entry| {
                Network::parse(entry).ok_or_else(|| InvalidAllowList { entry: entry.to_owned() })
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl fmt::Display for AllowList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, network) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{network:?}")?;
        }
        Ok(())
    }
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let widest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(widest);
        (prefix <= widest).then_some(Self { address, prefix })
    }

    fn contains(&self, address: IpAddr) -> bool {
        let common = match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                (network.to_bits() ^ address.to_bits()).leading_zeros()
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                (network.to_bits() ^ address.to_bits()).leading_zeros()
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
        };
        common >= self.prefix
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(list: &str, address: &str, allowed: bool) {
        let list: AllowList = list.parse().unwrap();
        let got = list.vet(address.parse().unwrap());
        assert_eq!(got.is_ok(), allowed, "{list} {address}: {got:?}");
    }

    #[test]
    fn what_is_listed_is_allowed() {
        check("", "127.0.0.1", false);
        check("", "8.8.8.8", true);
        check("127.0.0.0/8", "127.0.0.1", true);
        check("127.0.0.0/8", "::ffff:127.0.0.1", true);
        check("127.0.0.0/8", "::1", true);
        check("127.0.0.0/8", "128.0.0.1", true);
        check("127.0.0.0/8", "10.0.0.1", false);
        check("127.0.0.1", "127.0.0.1", true);
        check("127.0.0.1", "127.0.0.2", false);
        check("10.1.0.0/16, fd00::/8", "10.1.255.255", true);
        check("10.1.0.0/16, fd00::/8", "10.2.0.0", false);
        check("10.1.0.0/16, fd00::/8", "fd12::1", true);
        check("10.1.0.0/16, fd00::/8", "fe80::1", false);
        check("10.1.0.0/16", "::1", false);
        check("0.0.0.0/0", "169.254.169.254", true);
        check("0.0.0.0/0", "fe80::1", false);
        check("::/0", "fe80::1", true);
        check("::/0", "10.0.0.1", false);
    }

    #[test]
    fn what_is_not_a_network_is_named() {
        for entry in ["localhost", "127.0.0.0/33", "::/129", "127.0.0.0/", "127.1", "/8", "a/b"] {
            let got = format!("10.0.0.0/8,{entry}").parse::<AllowList>();
            assert_eq!(got, Err(InvalidAllowList { entry: entry.to_owned() }));
        }
    }
}
