//! Which IP addresses are no place for a webhook, by numeric range.
//!
//! Not here: what the operator allows in spite of it (`allow`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address may not be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Forbidden {
    /// "This host" or "this network".
    #[error("unspecified address")]
    Unspecified,
    /// The machine itself.
    #[error("loopback address")]
    Loopback,
    /// RFC 1918, or the unique local addresses of IPv6.
    #[error("private address")]
    Private,
    /// The link, where clouds serve instance metadata.
    #[error("link-local address")]
    LinkLocal,
    /// Behind a carrier's NAT.
    #[error("shared address of a carrier")]
    CarrierShared,
    /// A cloud's own service at an address that looks public.
    #[error("address of a cloud's internal service")]
    CloudService,
    /// Many receivers, or all.
    #[error("multicast or broadcast address")]
    Multicast,
    /// For examples in documents.
    #[error("documentation address")]
    Documentation,
    /// For measuring equipment.
    #[error("benchmarking address")]
    Benchmarking,
    /// An address that carries another one inside.
    #[error("transition or tunnel address")]
    Tunnel,
    /// Set aside by a registry; not on the internet.
    #[error("reserved address")]
    Reserved,
}

/// IPv4 blocks that are not on the public internet: network, prefix length, why.
const IPV4_FORBIDDEN: [([u8; 4], u32, Forbidden); 17] = [
    ([0, 0, 0, 0], 8, Forbidden::Unspecified),
    ([10, 0, 0, 0], 8, Forbidden::Private),
    ([100, 64, 0, 0], 10, Forbidden::CarrierShared),
    ([127, 0, 0, 0], 8, Forbidden::Loopback),
    // Azure's wire server answers every virtual machine here.
    ([168, 63, 129, 16], 32, Forbidden::CloudService),
    ([169, 254, 0, 0], 16, Forbidden::LinkLocal),
    ([172, 16, 0, 0], 12, Forbidden::Private),
    ([192, 0, 0, 0], 24, Forbidden::Reserved),
    ([192, 0, 2, 0], 24, Forbidden::Documentation),
    ([192, 88, 99, 0], 24, Forbidden::Tunnel),
    ([192, 168, 0, 0], 16, Forbidden::Private),
    ([198, 18, 0, 0], 15, Forbidden::Benchmarking),
    ([198, 51, 100, 0], 24, Forbidden::Documentation),
    ([203, 0, 113, 0], 24, Forbidden::Documentation),
    ([224, 0, 0, 0], 4, Forbidden::Multicast),
    ([255, 255, 255, 255], 32, Forbidden::Multicast),
    ([240, 0, 0, 0], 4, Forbidden::Reserved),
];

/// IPv6 blocks with a reason of their own: first four segments, prefix length, why.
///
/// What is in none of them is forbidden anyway unless it is global unicast (`2000::/3`).
const IPV6_FORBIDDEN: [([u16; 4], u32, Forbidden); 11] = [
    // Protocol assignments, with Teredo, ORCHID and the benchmarking block.
    ([0x2001, 0, 0, 0], 23, Forbidden::Tunnel),
    ([0x2001, 0xdb8, 0, 0], 32, Forbidden::Documentation),
    ([0x2002, 0, 0, 0], 16, Forbidden::Tunnel),
    ([0x3fff, 0, 0, 0], 20, Forbidden::Documentation),
    ([0x5f00, 0, 0, 0], 16, Forbidden::Reserved),
    // IPv4-compatible, SIIT, locally used NAT64: all that nests IPv4 in the lowest block.
    ([0, 0, 0, 0], 8, Forbidden::Tunnel),
    ([0x100, 0, 0, 0], 8, Forbidden::Reserved),
    ([0xfc00, 0, 0, 0], 7, Forbidden::Private),
    ([0xfe80, 0, 0, 0], 10, Forbidden::LinkLocal),
    ([0xfec0, 0, 0, 0], 10, Forbidden::Private),
    ([0xff00, 0, 0, 0], 8, Forbidden::Multicast),
];

/// Judges an address that nobody allowed.
pub(super) fn judge(address: IpAddr) -> Result<(), Forbidden> {
    match address {
        IpAddr::V4(address) => judge_ipv4(address),
        IpAddr::V6(address) => judge_ipv6(address),
    }
}

fn judge_ipv4(address: Ipv4Addr) -> Result<(), Forbidden> {
    let bits = address.to_bits();
    for (network, prefix, why) in IPV4_FORBIDDEN {
        let network = Ipv4Addr::from(network).to_bits();
        if (bits ^ network).leading_zeros() >= prefix {
            return Err(why);
        }
    }
    Ok(())
}

fn judge_ipv6(address: Ipv6Addr) -> Result<(), Forbidden> {
    if let Some(inner) = nested_ipv4(address) {
        return judge_ipv4(inner);
    }
    if address.is_unspecified() {
        return Err(Forbidden::Unspecified);
    }
    if address.is_loopback() {
        return Err(Forbidden::Loopback);
    }
    let segments = address.segments();
    for ([first, second, third, fourth], prefix, why) in IPV6_FORBIDDEN {
        let network = Ipv6Addr::new(first, second, third, fourth, 0, 0, 0, 0).to_bits();
        if (address.to_bits() ^ network).leading_zeros() >= prefix {
            return Err(why);
        }
    }
    // ISATAP hides an IPv4 address in the interface id, under any prefix.
    if matches!(segments[4], 0 | 0x200) && segments[5] == 0x5efe {
        return Err(Forbidden::Tunnel);
    }
    let is_global_unicast = segments[0] & 0xe000 == 0x2000;
    if is_global_unicast { Ok(()) } else { Err(Forbidden::Reserved) }
}

/// The IPv4 address that is really reached through a mapped or NAT64 address.
///
/// Networks with DNS64 answer every IPv4-only name with NAT64 addresses, so that refusing them
/// would refuse the internet; the address inside is judged instead.
fn nested_ipv4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    if let Some(mapped) = address.to_ipv4_mapped() {
        return Some(mapped);
    }
    let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = address.segments() else { return None };
    Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str, expected: Result<(), Forbidden>) {
        let parsed: IpAddr = address.parse().unwrap();
        assert_eq!(judge(parsed), expected, "{address}");
    }

    #[test]
    fn public_addresses_are_fine() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.15",
            "168.63.129.17",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450:4001::1",
            "2001:4860:4860::8888",
            "2001:200::1",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
        ] {
            check(address, Ok(()));
        }
    }

    #[test]
    fn every_block_is_refused_from_its_first_to_its_last_address() {
        use Forbidden as F;
        for (address, why) in [
            ("0.0.0.0", F::Unspecified),
            ("0.255.255.255", F::Unspecified),
            ("10.0.0.0", F::Private),
            ("10.255.255.255", F::Private),
            ("100.64.0.0", F::CarrierShared),
            ("100.100.100.200", F::CarrierShared),
            ("100.127.255.255", F::CarrierShared),
            ("127.0.0.0", F::Loopback),
            ("127.255.255.255", F::Loopback),
            ("168.63.129.16", F::CloudService),
            ("169.254.0.0", F::LinkLocal),
            ("169.254.169.254", F::LinkLocal),
            ("169.254.170.2", F::LinkLocal),
            ("172.16.0.0", F::Private),
            ("172.31.255.255", F::Private),
            ("192.0.0.8", F::Reserved),
            ("192.0.2.1", F::Documentation),
            ("192.88.99.1", F::Tunnel),
            ("192.168.255.255", F::Private),
            ("198.18.0.0", F::Benchmarking),
            ("198.19.255.255", F::Benchmarking),
            ("198.51.100.1", F::Documentation),
            ("203.0.113.255", F::Documentation),
            ("224.0.0.0", F::Multicast),
            ("239.255.255.255", F::Multicast),
            ("240.0.0.0", F::Reserved),
            ("255.255.255.254", F::Reserved),
            ("255.255.255.255", F::Multicast),
        ] {
            check(address, Err(why));
            // The same address in the two nestings that lead to it.
            check(&format!("::ffff:{address}"), Err(why));
            check(&format!("64:ff9b::{address}"), Err(why));
        }
    }

    #[test]
    fn ipv6_that_is_not_the_internet_is_refused() {
        use Forbidden as F;
        for (address, why) in [
            ("::", F::Unspecified),
            ("::1", F::Loopback),
            ("::7f00:1", F::Tunnel),
            ("::8.8.8.8", F::Tunnel),
            ("::ffff:0:7f00:1", F::Tunnel),
            ("::5efe:7f00:1", F::Tunnel),
            ("2a00::5efe:8.8.8.8", F::Tunnel),
            ("2a00::200:5efe:8.8.8.8", F::Tunnel),
            ("64:ff9b:1::1", F::Tunnel),
            ("100::1", F::Reserved),
            ("2001::1", F::Tunnel),
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", F::Tunnel),
            ("2001:2::1", F::Tunnel),
            ("2001:10::1", F::Tunnel),
            ("2001:20::1", F::Tunnel),
            ("2001:1ff:ffff::1", F::Tunnel),
            ("2001:db8::1", F::Documentation),
            ("2002:7f00:1::", F::Tunnel),
            ("2002:808:808::1", F::Tunnel),
            ("3fff::1", F::Documentation),
            ("3fff:fff::1", F::Documentation),
            ("5f00::1", F::Reserved),
            ("4000::1", F::Reserved),
            ("fc00::1", F::Private),
            ("fd00:ec2::254", F::Private),
            ("fe80::1", F::LinkLocal),
            ("febf::1", F::LinkLocal),
            ("fec0::1", F::Private),
            ("ff02::1", F::Multicast),
        ] {
            check(address, Err(why));
        }
    }
}
