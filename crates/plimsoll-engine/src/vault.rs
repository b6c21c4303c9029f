//! Keeps secrets unreadable at rest: seals with a master key, and hashes API keys.
//!
//! A sealed secret is bound to its place by associated data (such as the channel's id), so that a
//! ciphertext copied to another row does not open there.
//!
//! Not here: where the master key comes from (`plimsoll/config`).

use std::{fmt, sync::Arc};

use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest::{SHA256, digest},
};

use crate::deps::Random;

/// Bytes of the master key.
pub const MASTER_KEY_BYTES: usize = 32;
/// The first byte of what is sealed; another one will come with another cipher.
const VERSION: u8 = 1;

/// Seals and opens secrets with the master key.
pub struct Vault {
    key: LessSafeKey,
    random: Arc<dyn Random>,
}

/// The bytes were not sealed by this key for this place, or were changed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a stored secret cannot be opened: the master key is another one, or it was changed")]
pub struct Unopenable;

impl Vault {
    /// A vault with this master key; `random` gives the nonces.
    pub fn new(master_key: &[u8; MASTER_KEY_BYTES], random: Arc<dyn Random>) -> Self {
        let key = UnboundKey::new(&CHACHA20_POLY1305, master_key)
            .expect("the cipher takes keys of MASTER_KEY_BYTES");
        Self { key: LessSafeKey::new(key), random }
    }

    /// Encrypts `secret` for the place named by `associated`.
    ///
    /// The result is the version, the nonce, the ciphertext and its tag: 29 bytes more than
    /// `secret`. Sealing the same secret twice gives different bytes.
    pub fn seal(&self, secret: &[u8], associated: &[u8]) -> Vec<u8> {
        // 96 random bits: a collision becomes likely after some 2^48 secrets under one key.
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce);
        let mut text = secret.to_vec();
        self.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(associated),
                &mut text,
            )
            .expect("a secret is shorter than what the cipher can seal");
        [&[VERSION], nonce.as_slice(), &text].concat()
    }

    /// Decrypts what [`Vault::seal`] made for the same place.
    pub fn open(&self, sealed: &[u8], associated: &[u8]) -> Result<Vec<u8>, Unopenable> {
        let (version, rest) = sealed.split_first().ok_or(Unopenable)?;
        let (nonce, text) = rest.split_first_chunk().ok_or(Unopenable)?;
        if *version != VERSION {
            return Err(Unopenable);
        }
        let mut text = text.to_vec();
        let length = self
            .key
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(associated), &mut text)
            .map_err(|_| Unopenable)?
            .len();
        text.truncate(length);
        Ok(text)
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").finish_non_exhaustive()
    }
}

/// The SHA-256 of `bytes` in lower-case hexadecimal.
///
/// For API keys, which are long and random: a slow hash would add nothing but time.
pub fn fingerprint(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    // Every request is authenticated by one: formatting byte by byte would cost more than hashing.
    let mut text = String::with_capacity(64);
    for byte in digest(&SHA256, bytes).as_ref() {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deps::SystemRandom;

    fn vault(key: u8) -> Vault {
        Vault::new(&[key; MASTER_KEY_BYTES], Arc::new(SystemRandom))
    }

    #[test]
    fn what_is_sealed_opens_with_the_same_key_and_place_only() {
        for secret in [&b""[..], b"whsec_x", &[7; 1000]] {
            let sealed = vault(1).seal(secret, b"chn_1");
            assert_eq!(sealed.len(), secret.len() + 29);
            assert_eq!(vault(1).open(&sealed, b"chn_1").as_deref(), Ok(secret));
            assert_eq!(vault(1).open(&sealed, b"chn_2"), Err(Unopenable));
            assert_eq!(vault(2).open(&sealed, b"chn_1"), Err(Unopenable));
        }
    }

    #[test]
    fn what_was_changed_does_not_open() {
        let sealed = vault(1).seal(b"secret", b"");
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert_eq!(vault(1).open(&changed, b""), Err(Unopenable), "byte {index}");
            assert_eq!(vault(1).open(&sealed[..index], b""), Err(Unopenable), "length {index}");
        }
    }

    #[test]
    fn sealing_twice_gives_different_bytes() {
        assert_ne!(vault(1).seal(b"secret", b""), vault(1).seal(b"secret", b""));
    }

    #[test]
    fn fingerprints_are_sha_256() {
        assert_eq!(
            fingerprint(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
