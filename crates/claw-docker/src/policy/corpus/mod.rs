//! Attempts to get more than an app may have, once each, for every door to try.
//!
//! The policy is shown them as they stand ([`attempts`] with [`world::facts`]); doors are shown them in their own
//! words, over a host that is made like this one on paper.

mod app;
mod mounts;
mod powers;
pub mod world;

use super::ContainerWish;
use world::plain;

/// One attempt. What it asks for beyond [`world::plain`] is refused by one rule alone.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The rule, and what is special about this one.
    pub name: String,
    /// The rule that refuses it.
    pub rule: &'static str,
    /// The policy file it is judged by; empty for the default.
    pub policy: &'static str,
    /// What is asked for.
    pub wish: ContainerWish,
}

/// Returns every attempt.
pub fn attempts() -> Vec<Attempt> {
    let mut corpus = Corpus::default();
    mounts::mounts(&mut corpus);
    mounts::volumes(&mut corpus);
    mounts::targets(&mut corpus);
    powers::powers(&mut corpus);
    powers::namespaces(&mut corpus);
    app::identity(&mut corpus);
    app::process(&mut corpus);
    app::ports_and_limits(&mut corpus);
    corpus.attempts
}

/// Collects attempts.
#[derive(Default)]
struct Corpus {
    attempts: Vec<Attempt>,
}

impl Corpus {
    /// One attempt.
    fn one(&mut self, rule: &'static str, name: &str, change: impl FnOnce(&mut ContainerWish)) {
        self.under("", rule, name, change);
    }

    /// One attempt under a policy of its own.
    fn under(
        &mut self,
        policy: &'static str,
        rule: &'static str,
        name: &str,
        change: impl FnOnce(&mut ContainerWish),
    ) {
        let mut wish = plain();
        change(&mut wish);
        self.attempts.push(Attempt { name: format!("{rule}: {name}"), rule, policy, wish });
    }

    /// One attempt for each spelling.
    fn each(&mut self, rule: &'static str, spellings: &[&str], change: impl Fn(&mut ContainerWish, &str)) {
        for spelling in spellings {
            self.one(rule, spelling, |wish| change(wish, spelling));
        }
    }
}
