//! Who is at the other end: the client's address, behind proxies that are trusted and only behind those.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::HeaderMap;

/// Addresses in `X-Forwarded-For` that are looked at, from the nearest on.
const MAX_HOPS: usize = 16;

/// Proxies whose word about the client's address is believed.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrustedProxies(Vec<(IpAddr, u8)>);

impl TrustedProxies {
    /// Trusts proxies with addresses in these networks, each an address and the length of its prefix.
    pub(crate) fn new(networks: &[(IpAddr, u8)]) -> Self {
        Self(networks.iter().map(|(address, length)| (plain(*address), *length)).collect())
    }

    /// Returns the client's address: the peer's, unless that is a trusted proxy. Then the nearest address that
    /// `X-Forwarded-For` names and that is no trusted proxy itself; what stands before it was written by strangers.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = plain(peer);
        if !self.holds(client) {
            return client;
        }
        let lines: Vec<_> =
            headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok()).collect();
        let hops = lines.iter().rev().flat_map(|line| line.rsplit(','));
        for hop in hops.take(MAX_HOPS) {
            let Some(address) = address(hop.trim()) else { return client };
            client = address;
            if !self.holds(address) {
                return client;
            }
        }
        client
    }

    fn holds(&self, address: IpAddr) -> bool {
        self.0.iter().any(|(network, length)| is_within(address, *network, *length))
    }
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
        IpAddr::V6(v6) => (u128::from(Ipv6Addr::from(v6.octets())), 128),
    };
    let ((address, width), (network, network_width)) = (bits(address), bits(network));
    let mask = u128::MAX.checked_shl(128 - u32::from(length.min(width))).unwrap_or(0);
    width == network_width && address & mask == network & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(proxies: &[&str], peer: &str, forwarded: &[&str]) -> String {
        let networks: Vec<_> = proxies
            .iter()
            .map(|text| {
                let (address, length) = text.split_once('/').expect("a network");
                (address.parse().expect("an address"), length.parse().expect("a length"))
            })
            .collect();
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", line.parse().expect("a header value"));
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
}
