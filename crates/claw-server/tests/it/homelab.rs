//! The homelab's routes over a real Engine.

mod activity;
mod containers;
mod contract;
pub(crate) mod engine;
mod escapes;
mod exec;
mod images;
mod marketplace;
mod registry;
mod socket;
mod system;
mod templates;
