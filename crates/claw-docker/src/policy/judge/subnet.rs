//! Ranges of addresses.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

/// A range of addresses, such as `172.28.0.0/14`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(in crate::policy) struct Subnet {
    address: IpAddr,
    bits: u8,
}

impl Subnet {
    pub(super) fn read(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        if bits.is_empty() || !bits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let bits: u8 = bits.parse().ok()?;
        (bits <= if address.is_ipv4() { 32 } else { 128 }).then_some(Self { address, bits })
    }

    /// Tells whether every address of `inner` is in this range.
    pub(super) fn holds(&self, inner: &Self) -> bool {
        let (ours, theirs, width) = match (self.address, inner.address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (u128::from(ours.to_bits()), u128::from(theirs.to_bits()), 32)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => (ours.to_bits(), theirs.to_bits(), 128),
            _ => return false,
        };
        let rest = width - u32::from(self.bits);
        let begin = |bits: u128| bits.checked_shr(rest).unwrap_or(0);
        inner.bits >= self.bits && begin(ours) == begin(theirs)
    }
}

impl TryFrom<String> for Subnet {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::read(&text)
            .ok_or_else(|| format!("`{text}` is no address range: expected one such as 172.28.0.0/14"))
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_what_lies_in_it() {
        let holds = |outer: &str, inner: &str| {
            Subnet::read(outer).expect(outer).holds(&Subnet::read(inner).expect(inner))
        };

        assert!(
            holds("172.28.0.0/14", "172.31.255.0/24")
                && holds("10.0.0.0/8", "10.0.0.0/8")
                && holds("0.0.0.0/0", "8.8.8.8/32")
        );
        assert!(holds("fd00::/8", "fdaa::/64") && holds("::/0", "::1/128"));
        assert!(
            !holds("172.28.0.0/14", "172.32.0.0/24")
                && !holds("10.0.0.0/8", "0.0.0.0/0")
                && !holds("::/0", "10.0.0.0/8")
        );
        for text in ["", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/+8", "10.0.0.0/", "10.0.0/8", "::/129", "a/8"] {
            assert_eq!(Subnet::read(text), None, "{text}");
        }
    }
}
