//! The homelab's routes over a real Engine.

mod activity;
mod containers;
mod contract;
mod engine;
mod images;
mod registry;
mod socket;
mod system;
mod templates;
