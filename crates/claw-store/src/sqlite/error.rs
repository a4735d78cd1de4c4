//! What SQLite says, in the contract's words.

use claw_core::Timestamp;
use rusqlite::ErrorCode;

use crate::StoreError;

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
            let reason =
                format!("{error}: free space on the disk of the data folder, nothing needs a restart");
            return Self::Full { reason };
        }
        let reason = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                format!("{error}: another program is using the store's file, end that one")
            }
            Some(ErrorCode::SystemIoFailure) => format!("{error}: look after the disk of the data folder"),
            Some(ErrorCode::NotADatabase) => {
                format!("{error}: move the file away, or restore a backup")
            }
            Some(ErrorCode::DatabaseCorrupt) => format!("{error}: restore a backup"),
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                format!("{error}: make the data folder writable for this user")
            }
            _ => error.to_string(),
        };
        Self::Unavailable { reason }
    }
}

/// The error of everyone who asks a store that was closed.
pub(super) fn closed() -> StoreError {
    StoreError::Unavailable { reason: "the store is closed".into() }
}

pub(super) fn corrupt(what: &str, reason: impl ToString) -> StoreError {
    StoreError::Corrupt { what: what.to_owned(), reason: reason.to_string() }
}

/// Returns a number as SQLite keeps it. Larger ones are cut: nothing counts that far.
pub(super) fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Returns a number that SQLite kept; nothing negative is ever stored.
pub(super) fn from_sql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Returns a moment in nanoseconds since 1970, cut to the years 1677 to 2262.
pub(super) fn nanoseconds(moment: Timestamp) -> i64 {
    let nanoseconds = moment.as_nanosecond();
    i64::try_from(nanoseconds).unwrap_or(if nanoseconds < 0 { i64::MIN } else { i64::MAX })
}

/// The moment of that many nanoseconds since 1970.
pub(super) fn moment(nanoseconds: i64) -> Timestamp {
    // Every i64 is within the range of `Timestamp`.
    Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or(Timestamp::UNIX_EPOCH)
}
