//! The Docker sandbox on a real Engine, with the real image. Most runs put a shell in the agent's place.

mod bad_days;
mod breaking;
mod cli;
mod disk;
mod ending;
mod hardening;
mod lab;
mod leaving;
mod streams;
mod warm;
mod warm_lab;
