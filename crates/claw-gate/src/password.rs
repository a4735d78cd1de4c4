//! Password hashing with Argon2id, off the async threads and a few at a time.

use std::{sync::Arc, time::Duration};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{self, PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use claw_core::Secret;
use tokio::sync::Semaphore;

use crate::{GateError, RetryAfter};

/// Shortest password.
pub(crate) const MIN_BYTES: usize = 8;

/// Longest password. Longer ones only cost hashing time.
pub(crate) const MAX_BYTES: usize = 1024;

/// Hashes computed at the same time. Each takes 19 MiB and a core for some 20 ms.
const CONCURRENT: usize = 2;

/// How long a sign-in waits for its turn before it is sent away: past this the server is flooded with sign-ins.
const QUEUE_WAIT: Duration = Duration::from_secs(5);

/// Hashes and verifies passwords.
pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
}

/// A password's hash in PHC form, with its parameters and salt.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PasswordDigest(String);

impl PasswordDigest {
    pub(crate) fn from_stored(text: String) -> Self {
        Self(text)
    }

    pub(crate) fn as_stored(&self) -> &str {
        &self.0
    }
}

impl Passwords {
    pub(crate) fn new() -> Self {
        Self { turns: Arc::new(Semaphore::new(CONCURRENT)) }
    }

    /// Hashes a new password.
    pub(crate) async fn hash(&self, password: &Secret) -> Result<PasswordDigest, GateError> {
        check_length(password)?;
        let password = password.clone();
        self.in_turn(move || {
            let hash = argon2()?.hash_password(password.expose().as_bytes()).map_err(hashing)?;
            Ok(PasswordDigest(hash.to_string()))
        })
        .await
    }

    /// Tells whether `password` is the one behind `digest`. Without a digest the answer is no, at the same price, so
    /// that the time does not tell whether the account exists.
    pub(crate) async fn verify(
        &self,
        password: &Secret,
        digest: Option<PasswordDigest>,
    ) -> Result<bool, GateError> {
        let password = password.clone();
        self.in_turn(move || {
            let argon2 = argon2()?;
            let password = password.expose().as_bytes();
            match digest {
                Some(digest) => {
                    let hash = PasswordHash::new(&digest.0).map_err(hashing)?;
                    match argon2.verify_password(password, &hash) {
                        Ok(()) => Ok(true),
                        Err(password_hash::Error::PasswordInvalid) => Ok(false),
                        Err(error) => Err(hashing(error)),
                    }
                }
                None => {
                    let mut output = [0_u8; Params::DEFAULT_OUTPUT_LEN];
                    argon2.hash_password_into(password, b"nobody's account", &mut output).map_err(hashing)?;
                    std::hint::black_box(output);
                    Ok(false)
                }
            }
        })
        .await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, GateError> + Send + 'static,
    ) -> Result<T, GateError> {
        let turn = tokio::time::timeout(QUEUE_WAIT, Arc::clone(&self.turns).acquire_owned())
            .await
            .map_err(|_elapsed| RetryAfter(QUEUE_WAIT))?
            .map_err(hashing)?;
        tokio::task::spawn_blocking(move || {
            // Held by the work itself: it goes on when the caller has gone away.
            let _turn = turn;
            work()
        })
        .await
        .map_err(hashing)?
    }
}

fn check_length(password: &Secret) -> Result<(), GateError> {
    if (MIN_BYTES..=MAX_BYTES).contains(&password.expose().len()) {
        Ok(())
    } else {
        Err(GateError::InvalidPassword)
    }
}

/// Argon2id with 19 MiB, 2 passes and 1 lane: the OWASP Password Storage Cheat Sheet's first choice.
fn argon2() -> Result<Argon2<'static>, GateError> {
    let params = Params::new(19 * 1024, 2, 1, None).map_err(hashing)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hashing(error: impl std::fmt::Display) -> GateError {
    GateError::PasswordHashing { reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_verifies_against_its_own_hash_only() {
        let passwords = Passwords::new();
        let password = Secret::new("correct horse");
        let digest = passwords.hash(&password).await.expect("a hash");

        assert!(digest.as_stored().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(passwords.verify(&password, Some(digest.clone())).await.expect("a verdict"));
        assert!(!passwords.verify(&Secret::new("wrong horse"), Some(digest)).await.expect("a verdict"));
        assert!(!passwords.verify(&password, None).await.expect("a verdict"));
    }

    #[tokio::test]
    async fn the_same_password_hashes_differently_each_time() {
        let passwords = Passwords::new();
        let password = Secret::new("correct horse");

        let first = passwords.hash(&password).await.expect("a hash");
        let second = passwords.hash(&password).await.expect("a hash");
        assert!(first != second);
    }

    #[test]
    fn passwords_have_8_to_1024_bytes() {
        for (length, fits) in [(0, false), (7, false), (8, true), (1024, true), (1025, false)] {
            assert_eq!(check_length(&Secret::new("p".repeat(length))).is_ok(), fits, "{length}");
        }
    }

    #[tokio::test]
    async fn a_damaged_stored_hash_is_an_error_and_not_access() {
        let digest = PasswordDigest::from_stored("$argon2id$nonsense".into());

        let verdict = Passwords::new().verify(&Secret::new("correct horse"), Some(digest)).await;
        assert!(matches!(verdict, Err(GateError::PasswordHashing { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_sign_ins_is_sent_away_instead_of_queued_for_ever() {
        let passwords = Passwords::new();
        let _taken = Arc::clone(&passwords.turns).acquire_many_owned(2).await.expect("both turns");

        let verdict = passwords.verify(&Secret::new("correct horse"), None).await;
        assert!(matches!(verdict, Err(GateError::RateLimited(_))));
    }
}
