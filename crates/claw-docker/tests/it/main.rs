//! The handle against a real Engine, and against sockets that behave badly.

mod broken;
mod real;
