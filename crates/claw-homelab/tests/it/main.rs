//! The homelab over real parts.

mod market;
mod market_lab;
