//! Who is at the other end: the client's address, behind proxies that are trusted and only behind those.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::HeaderMap;

/// Addresses that are looked at of those that proxies added, from the nearest on.
const MAX_HOPS: usize = 16;

/// Bits of an IPv6 address that name a network. One client has all addresses of its network.
const IPV6_NETWORK_BITS: u32 = 64;

/// Proxies whose word about the client's address is believed.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrustedProxies(Vec<(IpAddr, u8)>);

impl TrustedProxies {
    /// Trusts proxies with addresses in these networks, each an address and the length of its prefix.
    pub(crate) fn new(networks: &[(IpAddr, u8)]) -> Self {
        Self(networks.iter().map(|(address, length)| (plain(*address), *length)).collect())
    }

    /// Returns the client's address: the peer's, unless that is a trusted proxy. Then the nearest address that
    /// `X-Forwarded-For` or `Forwarded` names and that is no trusted proxy itself; what stands before it was written by
    /// strangers. A proxy writes one of the two and passes the other on, so where they disagree neither is believed.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = plain(peer);
        if !self.holds(peer) {
            return peer;
        }
        let by_custom = self.nearest_stranger(peer, headers, "x-forwarded-for", address);
        let by_standard = self.nearest_stranger(peer, headers, "forwarded", forwarded_for);
        match (by_custom, by_standard) {
            (Some(client), None) | (None, Some(client)) => client,
            (Some(one), Some(other)) if one == other => one,
            (Some(_), Some(_)) | (None, None) => peer,
        }
    }

    /// Follows the hops in a header from the nearest on; `None` if there is no such header.
    fn nearest_stranger(
        &self,
        peer: IpAddr,
        headers: &HeaderMap,
        name: &str,
        read: fn(&str) -> Option<IpAddr>,
    ) -> Option<IpAddr> {
        let lines: Vec<_> = headers.get_all(name).iter().collect();
        if lines.is_empty() {
            return None;
        }
        // Cut at every comma, quoted or not: an address has none, and a quote that a stranger left open swallows nothing.
        let hops = lines.iter().rev().flat_map(|line| line.to_str().unwrap_or("?").rsplit(','));
        let mut client = peer;
        for hop in hops.take(MAX_HOPS) {
            let Some(address) = read(hop.trim()) else { break };
            client = address;
            if !self.holds(address) {
                break;
            }
        }
        Some(client)
    }

    /// Tells whether the address is a trusted proxy's.
    pub(crate) fn holds(&self, address: IpAddr) -> bool {
        self.0.iter().any(|(network, length)| is_within(address, *network, *length))
    }
}

/// Returns the party that an address belongs to: the address itself, or the network of an IPv6 address.
pub(crate) fn party(address: IpAddr) -> IpAddr {
    match plain(address) {
        IpAddr::V6(v6) => {
            let mask = u128::MAX << (128 - IPV6_NETWORK_BITS);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Reads the address in one element of `Forwarded` (RFC 7239, section 4).
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    address(value.trim().trim_matches('"'))
}

/// Reads an address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let text = match text.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?,
        None if text.matches(':').count() == 1 => text.split(':').next()?,
        None => text,
    };
    text.parse().ok().map(plain)
}

/// Returns an IPv4 address that is written as IPv6 in its own form.
pub(crate) fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

fn is_within(address: IpAddr, network: IpAddr, length: u8) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)) << 96, 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    let ((address, width), (network, network_width)) = (bits(address), bits(network));
    let mask = u128::MAX.checked_shl(128 - u32::from(length.min(width))).unwrap_or(0);
    width == network_width && address & mask == network & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(proxies: &[&str], peer: &str, forwarded: &[&str]) -> String {
        let headers: Vec<_> = forwarded.iter().map(|line| ("x-forwarded-for", *line)).collect();
        client_by(proxies, peer, &headers)
    }

    fn client_by(proxies: &[&str], peer: &str, lines: &[(&'static str, &str)]) -> String {
        let networks: Vec<_> = proxies
            .iter()
            .map(|text| {
                let (address, length) = text.split_once('/').expect("a network");
                (address.parse().expect("an address"), length.parse().expect("a length"))
            })
            .collect();
        let mut headers = HeaderMap::new();
        for (name, line) in lines {
            headers.append(*name, line.parse().expect("a header value"));
        }
        TrustedProxies::new(&networks).client(peer.parse().expect("an address"), &headers).to_string()
    }

    #[test]
    fn t18_a_forwarded_address_counts_only_from_a_trusted_proxy() {
        assert_eq!(client(&[], "192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
        assert_eq!(client(&["10.0.0.0/8"], "192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
        assert_eq!(client(&["10.0.0.0/8"], "10.1.2.3", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(client(&["0.0.0.0/0"], "10.1.2.3", &[]), "10.1.2.3");
    }

    #[test]
    fn t18_what_a_client_writes_before_the_proxy_does_not_count() {
        let trusted = &["10.0.0.0/8", "2001:db8::/32"];
        assert_eq!(client(trusted, "10.0.0.1", &["1.1.1.1, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(client(trusted, "10.0.0.1", &["1.1.1.1", "203.0.113.9, 10.0.0.2"]), "203.0.113.9");
        assert_eq!(client(trusted, "2001:db8::1", &["1.1.1.1, nonsense"]), "2001:db8::1");
        assert_eq!(client(trusted, "10.0.0.1", &["1.1.1.1, nonsense, 10.0.0.7"]), "10.0.0.7");
    }

    #[test]
    fn t18_every_spelling_of_an_address_is_one_address() {
        assert_eq!(client(&["10.0.0.0/8"], "::ffff:10.0.0.1", &["::ffff:203.0.113.9"]), "203.0.113.9");
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", &["203.0.113.9:4711"]), "203.0.113.9");
        assert_eq!(client(&["::1/128"], "::1", &["[2001:db8::5]:80"]), "2001:db8::5");
    }

    #[test]
    fn t18_the_standard_header_is_read_too_and_where_both_disagree_neither_counts() {
        let by = |lines: &[(&'static str, &str)]| client_by(&["10.0.0.0/8"], "10.0.0.1", lines);

        assert_eq!(by(&[("forwarded", "for=192.0.2.60;proto=http;by=10.0.0.1")]), "192.0.2.60");
        assert_eq!(by(&[("forwarded", "for=1.1.1.1, For=\"[2001:db8::1]:4711\"")]), "2001:db8::1");
        assert_eq!(
            by(&[("forwarded", "for=1.1.1.1"), ("forwarded", "for=10.0.0.2, for=_hidden")]),
            "10.0.0.1"
        );
        assert_eq!(by(&[("forwarded", "for=\"1.1.1.1, for=203.0.113.9")]), "203.0.113.9");
        let (custom, standard) = (("x-forwarded-for", "203.0.113.9"), ("forwarded", "for=203.0.113.9"));
        assert_eq!(by(&[custom, standard]), "203.0.113.9");
        assert_eq!(by(&[custom, ("forwarded", "for=1.1.1.1")]), "10.0.0.1");
        assert_eq!(by(&[("x-forwarded-for", "\u{ff}")]), "10.0.0.1");
    }

    #[test]
    fn t32_all_addresses_of_an_ipv6_network_are_one_party() {
        let party_of = |text: &str| party(text.parse().expect("an address")).to_string();

        assert_eq!(party_of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(party_of("::ffff:192.0.2.1"), "192.0.2.1");
        assert_ne!(party_of("192.0.2.1"), party_of("192.0.2.2"));
    }
}
