//! The policy, from outside: what it refuses, what it lets through, and what comes of it on a real Engine.

mod images;
mod ordinary;
mod properties;
mod real;
mod refusals;
