//! Signs webhooks by Standard Webhooks 1.0.
//!
//! `v1` is HMAC-SHA256 with a shared secret (`whsec_…`); `v1a` is ed25519 with a key pair
//! (`whsk_…`). What is signed is `{id}.{timestamp}.{body}`, over the very bytes that are sent.
//!
//! Not here: which secrets a channel has and how they are kept (`ops`, `vault`).

use std::fmt;

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
    prelude::BASE64_STANDARD,
};
use plimsoll_core::time::Timestamp;
use ring::{
    hmac,
    signature::{Ed25519KeyPair, KeyPair as _},
};

use crate::deps::Random;

const SYMMETRIC_PREFIX: &str = "whsec_";
const ASYMMETRIC_PREFIX: &str = "whsk_";
const PUBLIC_PREFIX: &str = "whpk_";
/// Bytes of a symmetric secret.
const SYMMETRIC_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Bytes of a symmetric secret that we make.
const GENERATED_BYTES: usize = 32;
/// Bytes of an ed25519 seed.
const SEED_BYTES: usize = 32;

/// Other libraries write secrets with and without padding.
const BASE64_ANY_PADDING: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A key that signs, until it expires.
pub struct Secret {
    key: Key,
    /// From this time on it signs no more; `None` for the current secret.
    expires_at: Option<Timestamp>,
}

enum Key {
    Symmetric(hmac::Key),
    Asymmetric(Box<Ed25519KeyPair>),
}

/// Why a text is not a secret. Never holds the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum InvalidSecret {
    /// It does not begin with `whsec_` or `whsk_`.
    #[error("a secret begins with {SYMMETRIC_PREFIX} or {ASYMMETRIC_PREFIX}")]
    Prefix,
    /// The rest is not base64.
    #[error("the part of a secret after its prefix is base64")]
    Base64,
    /// It has too few or too many bytes.
    #[error("a {SYMMETRIC_PREFIX} secret holds 24 to 64 bytes, a {ASYMMETRIC_PREFIX} secret 64")]
    Length,
    /// The halves of a key pair do not belong together.
    #[error("the public half of the key does not belong to its private half")]
    KeyPair,
}

impl Secret {
    /// Reads a secret in its text form.
    pub fn parse(text: &str, expires_at: Option<Timestamp>) -> Result<Self, InvalidSecret> {
        let key = if let Some(rest) = text.strip_prefix(SYMMETRIC_PREFIX) {
            let bytes = decode(rest)?;
            if !SYMMETRIC_BYTES.contains(&bytes.len()) {
                return Err(InvalidSecret::Length);
            }
            Key::Symmetric(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
        } else if let Some(rest) = text.strip_prefix(ASYMMETRIC_PREFIX) {
            let bytes = decode(rest)?;
            if bytes.len() != 2 * SEED_BYTES {
                return Err(InvalidSecret::Length);
            }
            let (seed, public) = bytes.split_at(SEED_BYTES);
            let pair = Ed25519KeyPair::from_seed_and_public_key(seed, public)
                .map_err(|_| InvalidSecret::KeyPair)?;
            Key::Asymmetric(Box::new(pair))
        } else {
            return Err(InvalidSecret::Prefix);
        };
        Ok(Self { key, expires_at })
    }

    /// Makes the text of a new symmetric secret.
    pub fn generate(random: &dyn Random) -> String {
        let mut bytes = [0; GENERATED_BYTES];
        random.fill(&mut bytes);
        format!("{SYMMETRIC_PREFIX}{}", BASE64_STANDARD.encode(bytes))
    }

    /// The text of the public key that verifies what an asymmetric secret signs.
    pub fn public_key(&self) -> Option<String> {
        match &self.key {
            Key::Symmetric(_) => None,
            Key::Asymmetric(pair) => {
                let public = BASE64_STANDARD.encode(pair.public_key().as_ref());
                Some(format!("{PUBLIC_PREFIX}{public}"))
            }
        }
    }

    fn is_valid(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|it| now < it)
    }

    fn write_signature(&self, id: &str, timestamp: &str, body: &[u8], header: &mut String) {
        let parts: [&[u8]; 5] = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
        match &self.key {
            Key::Symmetric(key) => {
                let mut context = hmac::Context::with_key(key);
                for part in parts {
                    context.update(part);
                }
                header.push_str("v1,");
                BASE64_STANDARD.encode_string(context.sign(), header);
            }
            Key::Asymmetric(pair) => {
                header.push_str("v1a,");
                BASE64_STANDARD.encode_string(pair.sign(&parts.concat()), header);
            }
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// The value of `webhook-signature`: one signature for each secret that is valid at `now`, in the
/// order of `secrets`, separated by single spaces.
///
/// `timestamp` is the value of `webhook-timestamp`, whole seconds since the epoch.
pub fn sign(secrets: &[Secret], now: Timestamp, id: &str, timestamp: &str, body: &[u8]) -> String {
    // "v1," and 44 characters of base64 are the usual case.
    let mut header = String::with_capacity(48 * secrets.len());
    for secret in secrets.iter().filter(|it| it.is_valid(now)) {
        if !header.is_empty() {
            header.push(' ');
        }
        secret.write_signature(id, timestamp, body, &mut header);
    }
    header
}

fn decode(text: &str) -> Result<Vec<u8>, InvalidSecret> {
    BASE64_ANY_PADDING.decode(text).map_err(|_| InvalidSecret::Base64)
}

#[cfg(test)]
mod tests;
