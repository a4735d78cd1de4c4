//! Random secrets and the hashes that are kept of them.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use claw_core::Secret;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::GateError;

/// What every API key begins with, so that scanners find leaked ones.
pub(crate) const KEY_PREFIX: &str = "wag_live_";

/// What every setup token begins with.
pub(crate) const SETUP_PREFIX: &str = "wag_setup_";

/// Fewest characters of `CLAW_API_TOKEN`: what cannot be guessed at the rate a server answers.
pub(crate) const MIN_API_TOKEN_CHARS: usize = 16;

/// Random bytes in a key, a setup token or a session cookie.
const SECRET_BYTES: usize = 32;

/// Characters of 32 bytes in base64 with padding.
const ENCODED_CHARS: usize = 44;

/// The SHA-256 of a secret of ours: all that is kept of it.
///
/// A fast hash is right here, unlike for passwords, because the secrets are 256 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TokenHash([u8; 32]);

impl TokenHash {
    pub(crate) fn of(secret: &Secret) -> Self {
        Self(Sha256::digest(secret.expose().as_bytes()).into())
    }

    /// Returns the lower-case hexadecimal form, which is also the id under which it is stored.
    pub(crate) fn hex(self) -> String {
        use fmt::Write as _;
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// Compares in constant time.
    pub(crate) fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// Compares with a stored hexadecimal form in constant time.
    pub(crate) fn matches_hex(self, stored: &str) -> bool {
        self.hex().as_bytes().ct_eq(stored.as_bytes()).into()
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(***)")
    }
}

/// Makes a new API key: the prefix and 32 random bytes in base64url with padding, 53 characters in all.
pub(crate) fn new_key() -> Secret {
    new_secret(KEY_PREFIX)
}

/// Makes a new setup token.
pub(crate) fn new_setup_token() -> Secret {
    new_secret(SETUP_PREFIX)
}

/// Makes the value of a session cookie: 32 random bytes in base64url without padding, which cookies do not quote.
pub(crate) fn new_session() -> Secret {
    let secret = new_secret("");
    Secret::new(secret.expose().trim_end_matches('='))
}

/// Returns the name under which a session may be shown, made from the id under which it is stored: 128 bits that cannot
/// be guessed and lead neither to the id nor to the cookie.
pub(crate) fn session_handle(stored_id: &str) -> String {
    let mut hex = TokenHash::of(&Secret::new(format!("session {stored_id}"))).hex();
    hex.truncate(32);
    hex
}

/// Makes the mark of a new account. Not a secret, only different each time.
pub(crate) fn new_account() -> String {
    new_session().expose().to_owned()
}

/// Tells whether `text` has the form of an API key. What has not is refused without a look at the store.
pub(crate) fn is_key(text: &Secret) -> bool {
    has_form(text.expose(), KEY_PREFIX)
}

/// Tells whether `text` has the form of a setup token.
pub(crate) fn is_setup_token(text: &str) -> bool {
    has_form(text, SETUP_PREFIX)
}

/// Returns the last 8 characters, by which people tell keys apart. Over 200 random bits stay hidden.
pub(crate) fn key_tail(key: &Secret) -> String {
    let text = key.expose();
    text[text.len().saturating_sub(8)..].to_owned()
}

/// Checks the installation's own token and returns its hash.
pub(crate) fn check_api_token(token: &Secret) -> Result<TokenHash, GateError> {
    let text = token.expose();
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    if text.len() < MIN_API_TOKEN_CHARS || !visible {
        return Err(GateError::WeakApiToken);
    }
    Ok(TokenHash::of(token))
}

fn new_secret(prefix: &str) -> Secret {
    let mut bytes = [0_u8; SECRET_BYTES];
    // The thread's generator: cryptographically secure and seeded by the operating system.
    rand::fill(&mut bytes);
    let mut text = String::with_capacity(prefix.len() + ENCODED_CHARS);
    text.push_str(prefix);
    URL_SAFE.encode_string(bytes, &mut text);
    Secret::new(text)
}

fn has_form(text: &str, prefix: &str) -> bool {
    let Some(encoded) = text.strip_prefix(prefix) else { return false };
    let mut bytes = [0_u8; SECRET_BYTES + 1];
    encoded.len() == ENCODED_CHARS && URL_SAFE.decode_slice(encoded, &mut bytes) == Ok(SECRET_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_53_characters_and_ends_with_padding() {
        let key = new_key();

        assert_eq!(key.expose().len(), 53);
        assert!(key.expose().starts_with("wag_live_") && key.expose().ends_with('='));
        assert!(is_key(&key));
        assert_eq!(key_tail(&key), key.expose()[45..]);
    }

    #[test]
    fn no_two_secrets_are_alike() {
        assert_ne!(new_key(), new_key());
        assert_ne!(new_session(), new_session());
    }

    #[test]
    fn a_session_value_needs_no_quoting_in_a_cookie() {
        assert_eq!(new_session().expose().len(), 43);
        assert!(!new_session().expose().contains('='));
    }

    #[test]
    fn what_is_not_formed_like_a_key_is_not_one() {
        let key = new_key();
        let text = key.expose();
        for wrong in [
            "",
            "wag_live_",
            &text[..52],
            &text[9..],
            &format!("{text}="),
            &text.replace("wag_live_", "wag_setup_"),
            &text.replace("wag_live_", "WAG_LIVE_"),
            &format!("wag_live_{}", "é".repeat(22)),
            &format!("wag_live_{}", "!".repeat(44)),
        ] {
            assert!(!is_key(&Secret::new(wrong)), "{wrong}");
        }
    }

    #[test]
    fn the_hash_is_the_lower_case_sha_256_of_the_whole_key() {
        let hash = TokenHash::of(&Secret::new("abc"));

        assert_eq!(hash.hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(hash.matches_hex(&hash.hex()));
        assert!(!hash.matches_hex(&TokenHash::of(&Secret::new("abd")).hex()));
        assert!(!hash.matches_hex(""));
        assert_eq!(format!("{hash:?}"), "TokenHash(***)");
    }

    #[test]
    fn s30_hashes_of_fixed_length_are_compared_instead_of_secrets_and_all_of_them() {
        // What is compared never depends on how much of a secret was guessed: hashes of equal length, through `subtle`.
        let hash = TokenHash::of(&new_key());
        for position in 0..32 {
            let mut other = hash;
            other.0[position] ^= 1;
            assert!(!hash.matches(&other), "{position}");
            assert!(!hash.matches_hex(&other.hex()), "{position}");
        }
        assert!(hash.matches(&hash) && hash.matches_hex(&hash.hex()));
    }

    #[test]
    fn t20_a_session_s_name_has_128_bits_and_does_not_show_its_id() {
        let id = TokenHash::of(&new_session()).hex();

        assert_eq!(session_handle(&id).len(), 32);
        assert_eq!(session_handle(&id), session_handle(&id));
        assert!(!id.contains(&session_handle(&id)));
        assert_ne!(session_handle(&id), session_handle("other"));
    }

    #[test]
    fn a_short_or_invisible_api_token_is_refused() {
        for weak in
            ["", "short", "123456789012345", "1234567890 123456", "123456789012345é", "123456789012345\n"]
        {
            assert!(matches!(check_api_token(&Secret::new(weak)), Err(GateError::WeakApiToken)), "{weak:?}");
        }
        assert!(check_api_token(&Secret::new("1234567890123456")).is_ok());
    }
}
