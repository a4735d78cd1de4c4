//! The conformance suite against SQLite, and what only a file can get wrong.

mod conformance;
