//! The fixtures of this crate, proved against the real parts they stand beside.

mod docker;
mod fake_api;
mod fake_model;
