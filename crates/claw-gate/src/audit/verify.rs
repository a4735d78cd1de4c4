//! Checking the chain, stored or exported.
//!
//! The chain shows a record that was changed, removed, put in or moved, a cut beginning and a cut end, as long as whoever
//! did it did not compute the hashes anew from there on. Against somebody who can write the store's file and does that,
//! only a head noted elsewhere helps ([`Verification::head`], or an export kept elsewhere): it is missing from the new
//! chain. What was never written the chain cannot show.

use std::{io::BufRead, sync::Arc};

use claw_core::Timestamp;
use claw_store::{ChainHash, StoreError, StreamName, Streams, chain_hash};
use futures_util::Stream;
use serde::{Deserialize, Serialize};

/// Records read in one go.
const PAGE: u64 = 500;

/// Version of the export's form.
const FORM: u32 = 1;

/// What a check of the chain came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// Number of the first record that was checked.
    pub first: u64,
    /// Number of the last record that was checked.
    pub last: u64,
    /// The first record whose number or hash does not follow from the one before it: it, or something before it, was
    /// changed. `None`: nothing was.
    pub broken_at: Option<u64>,
    /// Hash of the last record. Noted elsewhere, it shows later that nothing was cut off or written anew.
    pub head: ChainHash,
}

struct Chain {
    verification: Verification,
}

impl Chain {
    fn new(after: u64, before: ChainHash) -> Self {
        Self { verification: Verification { first: after + 1, last: after, broken_at: None, head: before } }
    }

    fn add(&mut self, seq: u64, at: Timestamp, data: &[u8], hash: ChainHash) {
        let state = &mut self.verification;
        let follows = seq == state.last + 1 && chain_hash(state.head, seq, at, data) == hash;
        if !follows && state.broken_at.is_none() {
            state.broken_at = Some(seq);
        }
        (state.last, state.head) = (seq, hash);
    }
}

/// Checks what is stored.
pub(super) async fn stored(streams: &dyn Streams) -> Result<Verification, StoreError> {
    let stream = StreamName::audit();
    let mut page = streams.read_chained(&stream, 0, PAGE).await?;
    let mut chain = Chain::new(page.after, page.before);
    while !page.records.is_empty() {
        for chained in &page.records {
            chain.add(chained.record.seq, chained.record.at, &chained.record.data, chained.hash);
        }
        page = streams.read_chained(&stream, chain.verification.last, PAGE).await?;
    }
    let newest = streams.last_seq(&stream).await?;
    // The stream counts its records apart from them, so a tail that was cut off shows.
    if newest != chain.verification.last && chain.verification.broken_at.is_none() {
        chain.verification.broken_at = Some(chain.verification.last + 1);
    }
    Ok(chain.verification)
}

#[derive(Serialize, Deserialize)]
struct Head {
    claw_audit: u32,
    after: u64,
    before: String,
}

#[derive(Serialize, Deserialize)]
struct Line {
    seq: u64,
    at: Timestamp,
    hash: String,
    /// The record as stored, byte for byte.
    data: String,
}

struct Export {
    streams: Arc<dyn Streams>,
    after: u64,
    begun: bool,
}

/// Returns the records as lines.
pub(super) fn export(
    streams: Arc<dyn Streams>,
    after: u64,
) -> impl Stream<Item = Result<String, StoreError>> + Send {
    let start = Export { streams, after, begun: false };
    futures_util::stream::try_unfold(start, |mut export| async move {
        let page = export.streams.read_chained(&StreamName::audit(), export.after, PAGE).await?;
        let mut lines = String::new();
        if !export.begun {
            export.begun = true;
            push(&mut lines, &Head { claw_audit: FORM, after: page.after, before: page.before.to_string() })?;
        }
        for chained in page.records {
            export.after = chained.record.seq;
            // Records are JSON, so they are text; one that is not was tampered with, and its hash will not fit.
            let data = String::from_utf8_lossy(&chained.record.data).into_owned();
            let line =
                Line { seq: chained.record.seq, at: chained.record.at, hash: chained.hash.to_string(), data };
            push(&mut lines, &line)?;
        }
        Ok((!lines.is_empty()).then_some((lines, export)))
    })
}

fn push(lines: &mut String, line: &impl Serialize) -> Result<(), StoreError> {
    let json = serde_json::to_string(line)
        .map_err(|error| StoreError::Corrupt { what: "audit record".into(), reason: error.to_string() })?;
    lines.push_str(&json);
    lines.push('\n');
    Ok(())
}

/// An export that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The file cannot be read.
    #[error("the export cannot be read")]
    Read(#[from] std::io::Error),
    /// A line is not what an export holds.
    #[error("line {line} is no line of an audit export: {reason}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// Why.
        reason: String,
    },
}

/// Checks an export, wherever it was kept.
///
/// # Errors
///
/// [`ExportError::Line`] for what is no export at all. A changed record is no error: [`Verification::broken_at`] names it.
pub fn verify_export(export: impl BufRead) -> Result<Verification, ExportError> {
    let mut lines = (1..).zip(export.lines());
    let bad =
        |line: usize, reason: &dyn std::fmt::Display| ExportError::Line { line, reason: reason.to_string() };
    let head = lines.next().ok_or_else(|| bad(1, &"it is missing"))?.1?;
    let head: Head = serde_json::from_str(&head).map_err(|error| bad(1, &error))?;
    if head.claw_audit != FORM {
        return Err(bad(1, &format!("form {} is not known here: use a newer version", head.claw_audit)));
    }
    let before = ChainHash::from_hex(&head.before).ok_or_else(|| bad(1, &"`before` is no hash"))?;
    let mut chain = Chain::new(head.after, before);
    for (number, line) in lines {
        let line: Line = serde_json::from_str(&line?).map_err(|error| bad(number, &error))?;
        let hash = ChainHash::from_hex(&line.hash).ok_or_else(|| bad(number, &"`hash` is no hash"))?;
        chain.add(line.seq, line.at, line.data.as_bytes(), hash);
    }
    Ok(chain.verification)
}
