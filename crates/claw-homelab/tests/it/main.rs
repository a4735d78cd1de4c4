//! The homelab over real parts.

mod catalog;
mod hostile;
mod market;
mod market_bad_days;
mod market_lab;
