//! The homelab over real parts.

mod catalog;
mod hostile;
mod market;
mod market_bad_days;
mod market_catalogs;
mod market_compose;
mod market_crashes;
mod market_images;
mod market_lab;
mod podman;
mod private_engine;
