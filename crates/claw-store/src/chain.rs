//! Records that are chained by hashes, so that a change of any of them shows.

use std::fmt;

use claw_core::Timestamp;
use sha2::{Digest, Sha256};

use crate::Record;

/// Hash of a record and, through the one before it, of all records before.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChainHash([u8; 32]);

impl ChainHash {
    /// What stands before the first record of a stream.
    pub const START: Self = Self([0; 32]);

    /// Returns the hash with these bytes; `None` unless there are 32.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads what `Display` wrote: 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 64 || !text.is_ascii() {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Returns the hash of a record: SHA-256 over the hash of the one before it, its number (8 bytes, big endian), its
/// moment (nanoseconds since 1970, 16 bytes, big endian), and its data.
pub fn chain_hash(previous: ChainHash, seq: u64, at: Timestamp, data: &[u8]) -> ChainHash {
    let mut hasher = Sha256::new();
    hasher.update(previous.0);
    hasher.update(seq.to_be_bytes());
    hasher.update(at.as_nanosecond().to_be_bytes());
    hasher.update(data);
    ChainHash(hasher.finalize().into())
}

/// A record of a chained stream with its hash as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainedRecord {
    /// The record.
    pub record: Record,
    /// Its hash, as it was computed when it was appended.
    pub hash: ChainHash,
}

/// A stretch of a chained stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainPage {
    /// Number of the record before the first of `records`; its data may have been trimmed.
    pub after: u64,
    /// Hash of that record, or [`ChainHash::START`] for number 0.
    pub before: ChainHash,
    /// The records, in order.
    pub records: Vec<ChainedRecord>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_depends_on_every_part_and_reads_back_from_its_text() {
        let at = Timestamp::from_second(5).expect("a time");
        let hash = chain_hash(ChainHash::START, 1, at, b"x");

        assert_eq!(ChainHash::from_hex(&hash.to_string()), Some(hash));
        assert_eq!(ChainHash::from_hex("00"), None);
        for other in [
            chain_hash(hash, 1, at, b"x"),
            chain_hash(ChainHash::START, 2, at, b"x"),
            chain_hash(ChainHash::START, 1, Timestamp::UNIX_EPOCH, b"x"),
            chain_hash(ChainHash::START, 1, at, b"y"),
        ] {
            assert_ne!(other, hash);
        }
    }
}
