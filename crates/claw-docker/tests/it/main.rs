//! The handle against a real Engine, and against sockets that behave badly.

mod broken;
mod hostile;
mod lab;
mod logs;
mod mirror;
mod mirror_faults;
mod operations;
mod policy;
mod pulling;
mod real;
mod tls;
