//! The homelab over real parts.

mod catalog;
mod hostile;
mod market;
mod market_lab;
