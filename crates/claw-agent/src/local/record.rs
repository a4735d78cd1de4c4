//! What a later server must know of a run that this one did not end.

use std::{
    fs::{DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
};

use claw_core::JobId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Largest record that is read.
const MAX_RECORD_BYTES: u64 = 64 * 1024;

/// The folder of records, one file a run.
#[derive(Clone, Debug)]
pub(super) struct Records {
    folder: PathBuf,
}

/// One run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) job: JobId,
    pub(super) attempt: u64,
    /// What marks the run's processes; 32 random hexadecimal digits.
    pub(super) token: String,
}

impl Record {
    pub(super) fn new(job: JobId, attempt: u64) -> Self {
        Self { job, attempt, token: Uuid::new_v4().simple().to_string() }
    }
}

/// A record on disk.
#[derive(Debug)]
pub(super) struct RecordFile {
    path: PathBuf,
    record: Record,
}

impl Records {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(super) fn write(&self, record: Record) -> io::Result<RecordFile> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let path = self.folder.join(format!("{}.json", record.token));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(&serde_json::to_vec(&record)?)?;
        Ok(RecordFile { path, record })
    }

    /// Returns every record; one that cannot be read was cut off before its process started, and is removed.
    pub(super) fn read_all(&self) -> io::Result<Vec<RecordFile>> {
        let entries = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut records = Vec::new();
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            let readable = entry.metadata()?.len() <= MAX_RECORD_BYTES;
            let record = if readable { serde_json::from_slice(&std::fs::read(&path)?).ok() } else { None };
            match record {
                Some(record) => records.push(RecordFile { path, record }),
                None => std::fs::remove_file(&path)?,
            }
        }
        Ok(records)
    }
}

impl RecordFile {
    pub(super) fn job(&self) -> JobId {
        self.record.job
    }

    pub(super) fn token(&self) -> &str {
        &self.record.token
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
